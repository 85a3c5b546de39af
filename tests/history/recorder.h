/* Clients that ask, and write down what they were told.
 *
 * Each client pipelines up to its own depth over one connection. Connections are given up and made
 * anew all the time (so that they land on other workers): most with nothing outstanding, some cut
 * off in the middle of their requests. A filler, whose operations are not recorded, makes the index
 * grow and shrink and memory run out.
 *
 * Beside the groups each client owns a set of keys that it writes in order, the flag last, without
 * waiting; who reads the flag and then the others must find them as new.
 *
 * Times are taken before a request is handed to the kernel and after its reply came from it: an
 * interval is never too short.
 *
 * Thread: one. Failure: recorder_run says why in `problem`. What a server answers that no command
 * answers is a problem too, not a violation.
 */
#ifndef NICACHED_TESTS_HISTORY_RECORDER_H
#define NICACHED_TESTS_HISTORY_RECORDER_H

#include "tests/history/history.h"

#define RECORDER_CLIENTS_MAX  24U
#define RECORDER_GROUPS_MAX   64U
#define RECORDER_PIPELINE_MAX 64U

struct recorder_options {
    const char *host;
    uint16_t port, memcache_port; /* 0: no client speaks that protocol */
    uint32_t clients, groups, pipeline;
    uint64_t operations, seed;
    uint32_t filler_keys; /* at most so many at a time */
    bool refusals;        /* writes may be refused for want of memory */
    bool eviction;        /* any key may vanish at any moment */
    bool expiry, flush, cut;
};

struct recorder;

struct recorder_report {
    uint64_t operations, filler_operations, flag_reads, refused;
    uint64_t connections, cut_connections, unanswered;
    uint64_t duration_ns;
    uint64_t flag_violations, count_violations; /* printed to stderr as they are seen */
};

struct recorder *recorder_create(const struct recorder_options *options);
/* False: `problem` says why in one line. */
bool recorder_run(struct recorder *recorder, char problem[256]);
const struct recorder_report *recorder_report(const struct recorder *recorder);
const struct history *recorder_history(const struct recorder *recorder, uint32_t group);
void recorder_destroy(struct recorder *recorder);

#endif
