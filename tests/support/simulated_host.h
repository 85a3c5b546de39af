/* A host for tests: one stack (net and TCP) with one interface, and the calls of a pass in their
 * order. Frames come from wherever the test takes them; what the host sends lies in interface->tx.
 */
#ifndef NICACHED_TESTS_SUPPORT_SIMULATED_HOST_H
#define NICACHED_TESTS_SUPPORT_SIMULATED_HOST_H

#include "dataplane/l4_transport/tcp.h"

#define SIMULATED_BURST      64U
#define SIMULATED_EVENTS_MAX (4U * SIMULATED_BURST + 4U)

struct simulated_host {
    struct metrics metrics;
    struct byte_pool bytes;
    struct net *net;
    struct net_interface *interface;
    struct tcp *tcp;
    struct stream_event event_array[SIMULATED_EVENTS_MAX];
    /* The session layer of the test; called for the events of input and timers. */
    void (*on_events)(struct simulated_host *host, const struct stream_event *events,
                      uint32_t count, const struct instant *now);
    void *context;
    uint64_t next_due_us; /* of the timers, after a pass */
};

/* Starts DPDK's memory once per process, without hugepages. */
void simulated_memory_setup(void);
struct rte_mempool *simulated_pool_create(const char *name, uint32_t count, uint32_t data_bytes);

/* `number` makes MAC and address: 02:00:00:00:00:number, 198.18.0.number. `options` may be NULL. */
void simulated_host_init(struct simulated_host *host, uint8_t number, uint16_t mtu,
                         struct rte_mempool *pool, const struct tcp_options *options,
                         const struct instant *now);
void simulated_host_deinit(struct simulated_host *host);
struct rte_ether_addr simulated_host_mac(uint8_t number);
struct address simulated_host_address(uint8_t number);
/* The same host by IPv6, in fd00::/64. */
struct address simulated_host_address_ipv6(uint8_t number);
/* IPv4 alone. A simulated host has both. */
struct interface_addresses simulated_host_addresses(uint8_t number);

/* One pass: at most SIMULATED_BURST frames in, sessions, output, timers. Takes over the frames. */
void simulated_host_pass(struct simulated_host *host, struct rte_mbuf **frames, uint32_t count,
                         const struct instant *now);

#endif
