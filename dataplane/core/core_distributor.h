/* A port shared by workers: software RSS behind struct core_link.
 *
 * Every frame is handled by the worker that owns its flow, worked out by the hash of port_rss.h,
 * whatever queue it came in by; a worker without a queue of its own sends through another's.
 *
 *     port          worker 0              worker 1              worker 2
 *   queue 0 ----> exchange --ring 0>1--> receive
 *                    |  `-----ring 0>2-----------------------> receive
 *                    `--> receive
 *   queue 1 ----------------------------> exchange --> ...
 *   queue 0 <---- exchange <--------------output ring 2------- transmit
 *
 * What belongs to whom:
 *   TCP, UDP                the owner of addresses and ports
 *   a fragment, other IP    the owner of the addresses; a UDP datagram that becomes whole is served
 *                           there, a TCP segment is handed on (hand_on) as a frame
 *   an ICMP error           the owner of the flow it quotes
 *   ARP, ND                 the worker that took it in answers; all others get a copy that is
 * marked as overheard, of which they learn and which they do not answer anything else           the
 * worker that took it in, which drops and counts it A port with RSS of its own that agrees
 * (port_spreads) has done the first row already.
 *
 * Invariants:
 *  1. One sender and one receiver for each ring; nobody waits for room: what finds its ring full is
 *     a counted drop (net_drop_hand_on_full, net_drop_output_ring_full).
 *  2. A frame that is in a ring is either seen by its receiver's look before it sleeps, or its
 *     sender sees the receiver asleep and wakes it (core_peers.c).
 *  3. Frames of one flow that come in by one queue stay in order.
 *
 * Thread: create, flush and destroy: control, while no worker runs. The link's functions: the
 * worker of that number.
 */
#ifndef NICACHED_CORE_CORE_DISTRIBUTOR_H
#define NICACHED_CORE_CORE_DISTRIBUTOR_H

#include "dataplane/core/core.h"
#include "drivers/port_rss.h"

struct distributor;

/* Borrowed, and outlives the distributor, but for `queues`. */
struct distributor_options {
    const struct core_link *queues;     /* the port's queue pairs; that of number n is worker n's */
    uint32_t queue_count, worker_count; /* at most as many queues as workers */
    bool port_spreads;                  /* and has a queue for each worker */
    const struct port_rss *rss;
    struct rte_mempool *pool;
    struct metrics *metrics; /* by worker */
    /* There is something in a ring for this worker: wake it if it sleeps. */
    void (*wake)(void *argument, uint32_t worker);
    void *argument;
};

/* NULL when memory is short. */
struct distributor *distributor_create(const struct distributor_options *options);
/* Sends what waits in output rings, frees all else. Before the cores are destroyed: their stacks
 * own some of the buffers. */
void distributor_flush(struct distributor *distributor);
/* What is still in the rings is freed. */
void distributor_destroy(struct distributor *distributor);

void distributor_link(struct distributor *distributor, uint32_t worker, struct core_link *link);

#endif
