/* Link layer of one interface: Ethernet II with 802.1Q, ARP, and the array of frames to send.
 *
 *   frames --> link_input_batch --> packets (data starts at the IPv4 header)
 *                 | ARP answered here
 *
 *   IPv4 packet --> link_output_to_station   --> interface->tx
 *               --> link_output_to_neighbour --> interface->tx, or waits for ARP
 *
 * Thread: the owning worker. Time is an argument. Memory: packet buffers only; the neighbour table
 * is part of the link. A frame that goes no further is freed and counted under its net_drop_* row.
 */
#ifndef NICACHED_L2_LINK_LINK_H
#define NICACHED_L2_LINK_LINK_H

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "dataplane/base/address.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/metrics.h"

#define NET_TX_BURST       64U
#define NET_TX_QUEUE       1024U /* frames an interface may hold within one pass; more are dropped */
#define NET_INTERFACES_MAX 16U

struct link;

struct net_interface {
    uint32_t index;
    struct rte_ether_addr mac;
    struct address address; /* IPv4 now; the type has room for IPv6 */
    uint8_t prefix_length;
    bool has_gateway;
    struct address gateway;
    uint16_t vlan; /* 0: untagged */
    uint16_t mtu;  /* of the IP packet */
    /* What the port does in hardware; the rest is done in software. */
    bool tx_ipv4_checksum, tx_tcp_checksum, tx_udp_checksum, rx_checksum;
    /* A replayed capture was taken at some other station: any unicast destination is ours. */
    bool any_station;
    bool quiet; /* another worker announces our address */
    /* Frames to send in this pass, complete with Ethernet header. The loop (or a test) takes them.
     */
    struct rte_mbuf *tx[NET_TX_QUEUE];
    uint32_t tx_count;

    /* Derived by net_add_interface from the above; host order. */
    uint32_t ipv4, ipv4_mask, ipv4_broadcast, ipv4_gateway;
    struct link *link;
};

struct link_options {
    struct rte_mempool *pool;       /* frames we compose */
    struct rte_mempool *large_pool; /* packet_create_large_pool: chains are made contiguous there */
    struct metrics *metrics;
    uint64_t seed; /* of the neighbour table's hash */
};

/* Gives the interface its link state; the ipv4 fields are set. NULL when memory is short. */
struct link *link_create(const struct net_interface *interface, const struct link_options *options);
/* Frees the link, the packets that wait for ARP and the frames not yet taken from tx. */
void link_destroy(struct net_interface *interface);

/* An IPv4 packet without its frame. */
struct link_packet {
    struct rte_mbuf *mbuf; /* one segment; data starts at the IP header, padding still behind */
    struct rte_ether_addr source;
    bool broadcast; /* the frame was sent to everybody */
};

/* Takes over `count` frames, answers ARP, fills `packets` (room for `count`); returns how many. */
uint32_t link_input_batch(struct net_interface *interface, struct rte_mbuf **frames, uint32_t count,
                          const struct instant *now, struct link_packet *packets);

/* Frames an IPv4 packet for a station whose MAC the caller knows. Takes over the mbuf. */
void link_output_to_station(struct net_interface *interface, const struct rte_ether_addr *station,
                            struct rte_mbuf *mbuf);
/* The same for an on-link address (host order): resolved by ARP; meanwhile one packet waits. */
void link_output_to_neighbour(struct net_interface *interface, uint32_t ipv4, struct rte_mbuf *mbuf,
                              const struct instant *now);

/* Valid traffic came from this station, on behalf of an on-link address or through the gateway:
 * what is unknown is learnt, what is known is confirmed, nothing is overwritten. */
void link_note_traffic(struct net_interface *interface, uint32_t ipv4,
                       const struct rte_ether_addr *station, const struct instant *now);

/* Tells everybody our address (RFC 5227 announcement; not if quiet) and asks for the gateway's. */
void link_announce(struct net_interface *interface, const struct instant *now);

/* Retries and timeouts of ARP. Returns the next due time (mono_us) or UINT64_MAX. */
uint64_t link_run_timers(struct net_interface *interface, const struct instant *now);

static inline bool link_is_on_link(const struct net_interface *interface, uint32_t ipv4)
{
    return ((ipv4 ^ interface->ipv4) & interface->ipv4_mask) == 0;
}

#endif
