/* The core: everything that one worker runs, from the receive bursts to the transmit bursts.
 *
 * Thread: core_create and core_destroy on the control thread, core_run on the worker's own thread,
 * core_request_stop and core_wake on any. Order of calls:
 *
 *   core_create -> [worker thread, registered with EAL and RCU] core_run -> core_destroy
 *                       core_request_stop from elsewhere ends core_run
 */
#ifndef NICACHED_CORE_CORE_H
#define NICACHED_CORE_CORE_H

#include <stdint.h>

#include "config/config.h"
#include "dataplane/base/metrics.h"

struct channel;
struct control_status;
struct core;
struct port;
struct rte_mempool;
struct shard;

/* Everything is borrowed and outlives the core; core_create copies what it keeps. */
struct core_options {
    uint32_t number, worker_count;
    /* The slot that the control thread publishes configurations in: read it with RCU_READ once per
     * pass, and hold the result no longer than the pass. */
    const struct config *const *config_slot;

    /* What to serve on: ports[i] belongs to interfaces[i] and is NULL for a socket interface. Only
     * interfaces that are up; an `optional` socket whose address is missing is left out with a
     * warning by core_create. */
    struct port *const *ports;
    const struct interface_config *interfaces;
    uint32_t interface_count;
    struct rte_mempool *pool; /* NULL when no interface has a port */

    struct shard *shard;                      /* this worker's */
    struct shard *const *all_shards;          /* by worker, for figures */
    struct metrics *metrics;                  /* this worker's */
    const struct metrics *const *all_metrics; /* by worker */

    struct channel *to_control, *from_control;
    struct channel *to_reclaimer, *from_reclaimer;
    const struct control_status *status;
    int control_wake_fd; /* an eventfd: write 8 bytes after sending on to_control; rare */

    struct config_error *error; /* filled in when core_create returns NULL: one line */
};

/* Opens the listeners. NULL when memory is short or a listener cannot be opened. */
struct core *core_create(const struct core_options *options);
/* Runs passes until core_request_stop; calls shard_attach_thread first, is RCU-online between
 * passes and offline whenever it sleeps. Closes its connections before it returns. */
void core_run(struct core *core);
void core_request_stop(struct core *core);
/* Ends a sleep early: there is a message on from_control. */
void core_wake(struct core *core);
/* core_run has returned or was never called. Leaves the channels alone: the control thread frees
 * the requests that are still in them. */
void core_destroy(struct core *core);

#endif
