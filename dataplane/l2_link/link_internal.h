/* What the files of the link layer share. */
#ifndef NICACHED_L2_LINK_LINK_INTERNAL_H
#define NICACHED_L2_LINK_LINK_INTERNAL_H

#include "dataplane/base/check.h"
#include "dataplane/l2_link/link.h"
#include "dataplane/l2_link/neighbour.h"
#include "dataplane/l2_link/packet.h"

#define LINK_DEFEND_INTERVAL_US 10000000ULL /* RFC 5227 DEFEND_INTERVAL; of each address */

struct link {
    struct link_options options;
    uint64_t defended_us[ADDRESSES_MAX]; /* last announcement against a conflict; 0: none */
    uint64_t reported_us;                /* last answer to a listener query; 0: none */
    struct neighbour_table neighbours;
};

static inline void link_count(const struct net_interface *interface, enum metric metric)
{
    metric_add(interface->link->options.metrics, metric, 1);
}

static inline void link_drop(const struct net_interface *interface, struct rte_mbuf *mbuf,
                             enum metric reason)
{
    rte_pktmbuf_free(mbuf);
    link_count(interface, reason);
}

/* Frames the payload and appends it to tx. Takes over the mbuf. */
void link_transmit(struct net_interface *interface, const struct rte_ether_addr *destination,
                   uint16_t type, struct rte_mbuf *mbuf);

/* An IP packet to an address: its Ethernet type. */
static inline uint16_t link_type_for(const struct address *address)
{
    return address_is_ipv4(address) ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6;
}

/* Whether our address of this number may be defended now; notes that it is. */
bool link_may_defend(struct net_interface *interface, uint32_t number, const struct instant *now);

/* ---- arp.c, nd.c, mld.c
 * --------------------------------------------------------------------------------
 */

/* Takes over the mbuf, whose data starts at the ARP message. */
void arp_input(struct net_interface *interface, struct rte_mbuf *mbuf,
               const struct rte_ether_addr *frame_source, const struct instant *now);
/* `station` NULL: everybody. */
void arp_send_request(struct net_interface *interface, const struct address *target,
                      const struct rte_ether_addr *station);
void arp_announce(struct net_interface *interface, uint32_t ours);

/* `station` NULL: whoever listens for the target. */
void nd_send_solicitation(struct net_interface *interface, const struct address *target,
                          const struct rte_ether_addr *station);
/* Asks whether somebody else has our address. */
void nd_probe(struct net_interface *interface, const struct address *ours);
void nd_announce(struct net_interface *interface, const struct address *ours);
/* The solicited-node group of an address. */
struct address nd_group_of(const struct address *address);
/* Reports the groups that we listen to. */
void mld_announce(struct net_interface *interface);
/* Whether the interface listens to this group of IPv6: as a MAC, and as an address (nd.h). */
bool nd_listens_to_station(const struct net_interface *interface,
                           const struct rte_ether_addr *group);

#endif
