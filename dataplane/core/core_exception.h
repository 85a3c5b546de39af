/* The exception path: a port that the host shares. What is not ours goes to the host's kernel by a
 * companion TAP, and what the kernel sends there leaves by the port.
 *
 *     port queue n --> receive --> judge (exception_rules.h) --> ours: the stack, or the
 * distributor
 *                                        `--> the host's: TAP queue n --> kernel
 *     port queue n <-- exchange <------------------------------ TAP queue n <-- kernel
 *
 * It stands below everything that drops: between a port's queue and the loop or the distributor.
 *
 * Invariants:
 *  1. Each worker with a queue of the port has the TAP's queue of the same number to itself: no
 *     frame changes hands between threads. The kernel sends a flow by the queue that last brought
 *     one of its frames.
 *  2. No loop: what comes from the TAP goes to the port only, what comes from the port never back.
 *  3. A pass moves at most a burst each way; nobody waits: what is not taken is dropped and
 * counted.
 *
 * Thread: create and destroy: control, while no worker runs. The link's functions: the worker of
 * that number.
 */
#ifndef NICACHED_CORE_CORE_EXCEPTION_H
#define NICACHED_CORE_CORE_EXCEPTION_H

#include "dataplane/core/core.h"
#include "dataplane/core/exception_rules.h"

struct exception;

/* Borrowed, and outlives the exception path, but for the arrays of links and the rules. */
struct exception_options {
    const struct core_link *queues, *taps; /* of the port and of its TAP, by queue */
    uint32_t queue_count;
    struct exception_rules rules; /* but for the interfaces: those of the link and its VLANs */
    const struct interface_config *interfaces; /* that are up: which of them are its VLANs */
    uint32_t interface_count;
    struct rte_mempool *pool;
    struct metrics *metrics; /* by worker */
};

/* NULL when memory or descriptors are short. */
struct exception *exception_create(const struct exception_options *options);
void exception_destroy(struct exception *exception);

/* The port's queue with the exception path on it. */
void exception_link(struct exception *exception, uint32_t queue, struct core_link *link);

#endif
