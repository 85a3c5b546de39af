/* A core: one worker's whole dataplane, from the receive queues to the transmit queues.
 *
 * It is a function of (packets, messages, time): core_pass takes the time and reads no clock; ports
 * are reached through struct core_link, so that a test can join two stacks by a simulated network.
 * core_run is the loop around it for a real worker: it reads the clock, sleeps when there is
 * nothing to do, and goes RCU-offline while it sleeps.
 *
 * Thread: created on the control thread; from core_run on everything belongs to the worker, but for
 * core_request_stop and core_wake, which any thread may call.
 */
#ifndef NICACHED_CORE_CORE_H
#define NICACHED_CORE_CORE_H

#include "config/config.h"
#include "dataplane/channel/channel.h"
#include "dataplane/l3_ip/net.h"
#include "dataplane/l7_command/command.h"

struct core;

/* What a core needs of a port: a receive and a transmit queue. `transmit` takes over the packets.
 */
struct core_link {
    void *context;
    uint16_t (*receive)(void *context, struct rte_mbuf **packets, uint16_t count_max);
    void (*transmit)(void *context, struct rte_mbuf **packets, uint16_t count);
    int wait_fd; /* readable when packets wait, or -1: the worker then looks every millisecond */
    struct net_interface interface; /* addresses, MAC, offloads */
};

struct core_options {
    uint32_t number, worker_count;
    const struct config *const *config; /* the published pointer */
    const struct core_link *links;
    uint32_t link_count;
    struct rte_mempool *pool; /* NULL when there is no link */
    struct shard *shard;
    struct shard *const *all_shards; /* worker_count of them */
    struct metrics *metrics;
    const struct metrics *const *all_metrics;
    struct channel *to_control, *from_control; /* NULL: CONFIG SET and SHUTDOWN are refused */
    struct channel *from_reclaimer;            /* NULL: shard_maintain frees at once */
    const struct control_status *status;
    int control_wake_fd; /* eventfd of the control thread, or -1 */
    uint64_t seed;       /* 0: random */
};

/* NULL with a one-line reason: a socket that cannot be bound, memory. Kernel sockets of `socket`
 * interfaces are opened here. */
struct core *core_create(const struct core_options *options, const struct instant *now,
                         struct config_error *error);
void core_destroy(struct core *core);

/* The worker's thread: returns after core_request_stop, with every connection reset or closed. */
void core_run(struct core *core);
void core_request_stop(struct core *core);
void core_wake(struct core *core); /* a message was sent to it */

/* One pass. True when there was anything to do. */
bool core_pass(struct core *core, const struct instant *now);
/* When the next timer is due (mono_us); UINT64_MAX: none. As of the last pass. */
uint64_t core_next_timer(const struct core *core);
/* Resets every connection, sends the last frames. */
void core_close_all(struct core *core, const struct instant *now);

#endif
