/* The control thread: a libuv loop on the main thread. It never touches a packet and may sleep.
 *
 *   workers --to_control--> requests (CONFIG SET, CONFIG REWRITE, SHUTDOWN) --> answered, back
 *   every 100 ms            publishes struct control_status for INFO
 *   near maxmemory          chooses what to evict, every millisecond (eviction/eviction.h)
 *   SIGINT, SIGTERM         end control_run: the clean stop
 *
 * The configuration in force is published in a slot under RCU: a change builds the next snapshot,
 * swaps the pointer, waits for one grace period and frees the old one. The control thread is
 * registered with RCU for the eviction's sake, and offline but for its short calls.
 */
#ifndef NICACHED_CONTROL_CONTROL_H
#define NICACHED_CONTROL_CONTROL_H

#include "config/config.h"
#include "dataplane/base/metrics.h"

struct access;
struct capture;
struct channel;
struct control;
struct control_status;
struct shard;

/* NULL when out of memory or descriptors. Takes over `config` when it succeeds. From here on SIGINT
 * and SIGTERM are noticed, and acted upon by control_run. */
struct control *control_create(struct config *config, struct config_error *error);
/* Frees the configuration in force; nobody reads the slot any more. */
void control_destroy(struct control *control);

const struct config *const *control_config_slot(const struct control *control);
const struct control_status *control_status_slot(const struct control *control);
int control_wake_fd(const struct control *control);

/* CONFIG SET of security-group and its like goes there, too. Before control_run; borrowed. */
void control_set_access(struct control *control, struct access *access);
/* The same for capture-file. One that the configuration asks for already is begun, or a warning
 * says why not. */
void control_set_capture(struct control *control, struct capture *capture);

/* Looks at the links of the ports, with each tick. NULL: there are none. */
void control_set_links(struct control *control, void (*watch)(void *argument), void *argument);

/* The workers' ends, by worker. All arrays are borrowed until control_detach_workers. */
struct control_workers {
    uint32_t count;
    const struct metrics *const *metrics;
    struct shard *const *shards;                   /* NULL: nothing is evicted (tests) */
    struct channel *const *from;                   /* requests */
    struct channel *const *to;                     /* answers */
    void (*wake)(void *argument, uint32_t worker); /* an answer is on its way; may be NULL */
    void *argument;
};
/* 0, or -ENOMEM. */
int control_attach_workers(struct control *control, const struct control_workers *workers);
/* The workers have stopped. Frees the requests that are still under way in either direction. */
void control_detach_workers(struct control *control);

/* Runs the loop until a signal or a SHUTDOWN ends it. Returns at once if that has happened already.
 */
void control_run(struct control *control);
/* Any thread. `why` is a literal, for the log. */
void control_request_stop(struct control *control, const char *why);

#endif
