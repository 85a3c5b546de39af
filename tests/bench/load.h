/* The load: connections that ask, wait for replies and measure. One session layer for every
 * transport.
 *
 *   transport_input --> events --> replies --> latency, checks --> connection has room: ready list
 *   schedule (open loop) or ready list (closed loop) --> request --> transport_output
 *
 * Closed loop: each connection sends `pipeline` requests, waits for all their replies, and sends
 * again, as redis-benchmark does; over UDP it refills at once. Open loop: requests have fixed
 * times, and a latency counts from the time a request was meant to leave, also when no connection
 * was free then.
 *
 * Thread: one. Memory: all of it at load_create. Failure: a peer that breaks the protocol, refuses
 * or goes away ends the run with a line that says so; errors and misses are counted.
 */
#ifndef NICACHED_TESTS_BENCH_LOAD_H
#define NICACHED_TESTS_BENCH_LOAD_H

#include "tests/bench/histogram.h"
#include "tests/bench/ledger.h"
#include "tests/bench/transport.h"
#include "tests/bench/workload.h"

struct load;

struct load_options {
    struct transport *transport;
    struct workload *workload;
    struct endpoint peer;
    bool datagrams; /* memcached's UDP protocol */
    uint32_t connections, pipeline;
    uint32_t in_flight_max; /* on all connections: no more begin; 0: no limit */
    const char *password;   /* NULL: none */
    struct ledger *ledger;  /* NULL: values are not checked */
    uint64_t timeout_ns;    /* without any answer: a stream fails the run, a datagram is lost */
    uint64_t datagram_timeout_ns;
    bool busy;                  /* poll without sleeping */
    uint64_t (*clock_ns)(void); /* NULL: load_clock_ns; a test has a clock of its own */
};

struct load_second {
    uint64_t replies, p50_ns, p99_ns, maximum_ns;
};

struct load_phase {
    bool preload;           /* every key once, in order */
    uint64_t request_count; /* 0: by duration */
    uint64_t warmup_ns, duration_ns;
    double rate; /* requests a second; 0: closed loop */
    bool poisson;
    uint64_t seed;
    bool show_progress;
};

struct load_result {
    struct histogram all, kinds[REQUEST_KIND_COUNT];
    uint64_t elapsed_ns; /* first request meant to leave, to last reply */
    uint64_t replies, errors, not_stored, hits, misses;
    uint64_t lost;       /* datagrams without an answer */
    uint64_t unanswered; /* when the run ended, and their connection was still there */
    uint64_t unsent;     /* open loop: due, but no connection was free until the end */
    uint64_t disconnects;
    uint64_t bytes_sent, bytes_received;
    uint64_t values_checked, faults[VALUE_FAULT_COUNT];
    char first_error[160], first_fault[160];
    struct load_second *seconds; /* freed by load_result_deinit */
    uint32_t second_count;
};

void load_result_deinit(struct load_result *result);

uint64_t load_clock_ns(void);

struct load *load_create(const struct load_options *options);
void load_destroy(struct load *load);
/* Opens all connections. 0 or -1 with the reason. */
int load_connect(struct load *load, struct config_error *error);
/* Runs one phase to its end. 0 or -1 with the reason; the result is valid as far as it came. */
int load_run(struct load *load, const struct load_phase *phase, struct load_result *result,
             struct config_error *error);
/* Closes all connections in order, some at a time, and waits for the peer's end of each: a close is
 * repeated when it gets lost, a reset is not. Gives up when nothing happens any more. */
void load_disconnect(struct load *load);
/* From a signal handler: the running phase ends, later ones do not begin. */
void load_interrupt(void);
bool load_was_interrupted(void);

#endif
