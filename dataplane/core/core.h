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

struct config_error;
struct core;
struct port;

/* One port as a core sees it: a receive and a transmit queue, and the addresses it serves there.
 * The functions that may be NULL are those of a port that workers share (core_distributor.h). */
struct core_link {
    void *context;
    uint16_t queue;
    uint16_t (*receive)(void *context, uint16_t queue, struct rte_mbuf **packets,
                        uint16_t count_max);
    /* Takes over the packets; returns how many of them it had no room for and dropped. */
    uint16_t (*transmit)(void *context, uint16_t queue, struct rte_mbuf **packets, uint16_t count);
    /* Before receive, in every pass: between the port's queue and other workers. True when anything
     * was moved. May be NULL. */
    bool (*exchange)(void *context, uint16_t queue);
    /* After `asleep` was set: whether another worker has put something here. May be NULL. */
    bool (*has_frames)(void *context, uint16_t queue);
    /* A TCP segment made whole from fragments: true when it belongs to another worker and was taken
     * over. May be NULL. */
    bool (*hand_on)(void *context, uint16_t queue, struct ip_datagram *datagram);
    const char *name; /* of its interface; NULL: no VLAN can be on it */
    /* How often its link has changed, atomic: even while it is up. NULL: it is always up. */
    const uint64_t *link_changes;
    /* Frames lost before receive since the last call. May be NULL. */
    uint64_t (*take_missed)(void *context, uint16_t queue);
    /* For a port whose wait_fd has to be asked beforehand: what comes from now on makes it
     * readable, and then the queue is looked at once more. May be NULL. */
    void (*arm)(void *context, uint16_t queue);
    /* No more of that; true: something has. */
    bool (*disarm)(void *context, uint16_t queue);
    int wait_fd;   /* readable when packets wait, or -1 */
    uint16_t port; /* as DPDK numbers it, for captures */
    bool wakes;    /* packets end a sleep; otherwise the worker looks from time to time */
    struct net_interface interface; /* addresses, MAC, what the port does in hardware */
};

/* The interface of one more VLAN of the link's port: false unless `config` is one. */
bool core_vlan_interface(const struct core_link *link, const struct interface_config *config,
                         struct net_interface *interface);
/* The link of worker `number` to a port that is set up. */
void core_link_to_port(struct core_link *link, struct port *port, uint32_t number);

/* Everything is borrowed and outlives the core, but for `links`, `now` and `error`. */
struct core_options {
    uint32_t number, worker_count;
    /* The slot that the control thread publishes configurations in: read once per pass. */
    const struct config *const *config_slot;

    /* Only interfaces that are up. Of these the core opens the `socket` ones itself (an optional
     * one whose address is missing is left out with a warning), and puts the `vlan` ones on their
     * links. */
    const struct interface_config *interfaces;
    uint32_t interface_count;
    const struct core_link *links;
    uint32_t link_count;
    struct rte_mempool *pool; /* NULL when there is no link */

    struct access *access;                    /* shared by all workers; NULL: no rules */
    struct capture *capture;                  /* the same; NULL: none */
    struct shard *shard;                      /* this worker's */
    struct shard *const *all_shards;          /* by worker, for figures */
    struct metrics *metrics;                  /* this worker's */
    const struct metrics *const *all_metrics; /* by worker */

    struct channel *to_control, *from_control; /* NULL: CONFIG SET and SHUTDOWN are refused */
    struct channel *from_reclaimer;            /* NULL: shard_maintain frees at once */
    /* By worker; the own entries are NULL. Both NULL where there is one worker. */
    struct channel *const *to_peers, *const *from_peers;
    const struct control_status *status;
    int control_wake_fd; /* eventfd: 8 bytes are written after a send on to_control; or -1 */
    uint64_t seed;       /* 0: random */

    const struct instant *now;
    struct config_error *error; /* filled in when core_create returns NULL: one line */
};

/* Opens the listeners. NULL when memory is short or a listener cannot be opened. */
struct core *core_create(const struct core_options *options);
/* Once, before the first core runs: the workers of one process find each other. The array is the
 * caller's, lives as long as the cores, and is indexed by their numbers. */
void cores_join(struct core *const *cores, uint32_t count);
/* core_run of every core has returned or was never called. Leaves the channels alone: the control
 * thread frees the requests that are still in them. */
void core_destroy(struct core *core);

/* The worker's thread, registered with EAL and RCU: passes until core_request_stop. RCU-online
 * between passes, offline whenever it sleeps. Closes its connections before it returns. */
void core_run(struct core *core);
void core_request_stop(struct core *core);
/* Ends a sleep early: there is a message for it. */
void core_wake(struct core *core);
/* The same for other workers, which have put something where it looks before it sleeps; a system
 * call only if it sleeps. */
void core_wake_if_asleep(struct core *core);

/* One pass. True when there was anything to do, or will be in a moment. */
bool core_pass(struct core *core, const struct instant *now);
/* When the next timer is due (mono_us); UINT64_MAX: none. As of the last pass. */
uint64_t core_next_timer(const struct core *core);
/* Resets every connection, sends the last frames. */
void core_close_all(struct core *core, const struct instant *now);

#endif
