/* Link layer of one interface: Ethernet II with 802.1Q, ARP, neighbour discovery, and the array of
 * frames to send.
 *
 *   frame --> link_input_frame --> packet (data starts at the IP header)
 *                 | ARP answered here; neighbour discovery (nd.h) comes back from ICMPv6
 *
 *   IP packet --> link_output_to_station   --> interface->tx
 *             --> link_output_to_neighbour --> interface->tx, or waits for ARP or an advertisement
 *
 * Thread: the owning worker. Time is an argument. Memory: packet buffers only; the neighbour table
 * is part of the link. A frame that goes no further is freed and counted under its net_drop_* row.
 */
#ifndef NICACHED_L2_LINK_LINK_H
#define NICACHED_L2_LINK_LINK_H

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "dataplane/base/address.h"
#include "dataplane/base/check.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/metrics.h"

#define NET_TX_BURST       64U
#define NET_TX_QUEUE       1024U /* frames an interface may hold within one pass; more are dropped */
#define NET_INTERFACES_MAX 16U

struct link;

struct net_interface {
    uint32_t index;
    struct rte_ether_addr mac;
    /* Ours. Where one is IPv6, net_add_interface adds the link-local one unless it is there. */
    struct interface_addresses addresses;
    uint16_t vlan; /* 0: untagged */
    uint16_t mtu;  /* of the IP packet */
    /* What the port does in hardware; the rest is done in software. */
    bool tx_ipv4_checksum, tx_tcp_checksum, tx_udp_checksum, rx_checksum;
    /* Not 0: a TCP packet of up to so many bytes may leave as one, to be cut into segments by the
     * port (with the checksums of IPv4 and TCP; frames may be chains then). */
    uint32_t tx_tso_bytes, tx_tso_bytes_ipv6;
    /* Not 0: frames may be chains, the parts behind the first, of up to so many bytes, in memory
     * that is no packet buffer; or in such only as devices can read. */
    uint16_t tx_external_bytes;
    bool tx_external_mapped;
    /* A replayed capture was taken at some other station: any unicast destination is ours. */
    bool any_station;
    bool quiet; /* another worker announces our address */
    /* Other VLANs of the same port: their frames come in by the first of the chain. */
    struct net_interface *next_vlan;
    /* Frames to send in this pass, complete with Ethernet header. The loop (or a test) takes them.
     */
    struct rte_mbuf *tx[NET_TX_QUEUE];
    uint32_t tx_count;

    /* Derived by net_add_interface from the above: the first IPv4 address, in host order, for the
     * packet path; 0 where there is none. */
    uint32_t ipv4, ipv4_mask, ipv4_broadcast;
    uint32_t ipv4_count, ipv6_count; /* addresses of the family */
    struct link *link;
};

struct link_options {
    struct rte_mempool *pool;       /* frames we compose */
    struct rte_mempool *large_pool; /* packet_create_large_pool: chains are made contiguous there */
    struct metrics *metrics;
    uint64_t seed; /* of the neighbour table's hash */
};

/* Gives the interface its link state; the derived fields are set. NULL when memory is short. */
struct link *link_create(const struct net_interface *interface, const struct link_options *options);
/* Frees the link, the packets that wait for a neighbour and the frames not yet taken from tx. */
void link_destroy(struct net_interface *interface);

/* An IP packet without its frame. */
struct link_packet {
    struct rte_mbuf *mbuf; /* one segment; data starts at the IP header, padding still behind */
    struct net_interface *interface; /* that of its VLAN */
    struct rte_ether_addr source;
    bool group; /* the frame was sent to everybody or to a group */
    bool ipv6;
};

/* Takes over a frame, answers ARP; true when `packet` goes up to IP. */
bool link_input_frame(struct net_interface *interface, struct rte_mbuf *mbuf,
                      const struct instant *now, struct link_packet *packet);

/* Frames an IP packet (`type`: its Ethernet type) for a station whose MAC the caller knows. Takes
 * over the mbuf. */
void link_output_to_station(struct net_interface *interface, const struct rte_ether_addr *station,
                            uint16_t type, struct rte_mbuf *mbuf);
/* The same for an on-link address, whose family is the packet's: resolved by ARP or neighbour
 * discovery; meanwhile one packet waits. */
void link_output_to_neighbour(struct net_interface *interface, const struct address *address,
                              struct rte_mbuf *mbuf, const struct instant *now);

/* Valid traffic came from this station, on behalf of an on-link address or through the gateway:
 * what is unknown is learnt, what is known is confirmed, nothing is overwritten. */
void link_note_traffic(struct net_interface *interface, const struct address *address,
                       const struct rte_ether_addr *station, const struct instant *now);

/* Tells everybody our addresses (RFC 5227 announcement; RFC 4862 probe and unsolicited
 * advertisement; not if quiet) and asks for the gateways'. */
void link_announce(struct net_interface *interface, const struct instant *now);

/* Retries and timeouts of neighbours. Returns the next due time (mono_us) or UINT64_MAX. */
uint64_t link_run_timers(struct net_interface *interface, const struct instant *now);

/* ---- whose address it is --------------------------------------------------------------------- */

/* Ours: position in interface->addresses.at, or -1. */
int32_t link_find_address(const struct net_interface *interface, const struct address *address);
/* The same for an IPv4 address beside the first one. */
bool link_has_further_ipv4(const struct net_interface *interface, uint32_t ipv4);
/* The last address of one of our networks, where that means everybody. */
bool link_is_further_broadcast(const struct net_interface *interface, uint32_t ipv4);
/* The longest of our networks that holds the address; NULL when none does. */
const struct address_prefix *link_network_of(const struct net_interface *interface,
                                             const struct address *address);
/* The gateway of the address's family; NULL when there is none. */
const struct address *link_gateway_for(const struct net_interface *interface,
                                       const struct address *address);
/* The address of ours that speaks to this one (RFC 6724, in short): that of the network it lies in,
 * or of the gateway's, or the first that is good beyond the link. NULL when the family has none. */
const struct address *link_source_for(const struct net_interface *interface,
                                      const struct address *address);

/* The interface has IPv4 addresses. */
static inline bool link_has_ipv4(const struct net_interface *interface, uint32_t ipv4)
{
    return ipv4 == interface->ipv4 ||
           (UNLIKELY(interface->ipv4_count > 1) && link_has_further_ipv4(interface, ipv4));
}

static inline bool link_is_broadcast(const struct net_interface *interface, uint32_t ipv4)
{
    return ipv4 == interface->ipv4_broadcast ||
           (UNLIKELY(interface->ipv4_count > 1) && link_is_further_broadcast(interface, ipv4));
}

static inline bool link_is_on_link(const struct net_interface *interface,
                                   const struct address *address)
{
    bool first = interface->ipv4_count != 0 && address_is_ipv4(address) &&
                 ((address_to_ipv4(address) ^ interface->ipv4) & interface->ipv4_mask) == 0;
    return LIKELY(first) ||
           (interface->addresses.count > 1 && link_network_of(interface, address) != NULL);
}

#endif
