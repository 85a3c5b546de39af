/* What the files of the link layer share. */
#ifndef NICACHED_L2_LINK_LINK_INTERNAL_H
#define NICACHED_L2_LINK_LINK_INTERNAL_H

#include "dataplane/base/check.h"
#include "dataplane/l2_link/link.h"
#include "dataplane/l2_link/neighbour.h"
#include "dataplane/l2_link/packet.h"

struct link {
    struct link_options options;
    uint64_t defended_us; /* last announcement against a conflict */
    bool defended;
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

/* ---- arp.c ------------------------------------------------------------------------------------
 */

/* Takes over the mbuf, whose data starts at the ARP message. */
void arp_input(struct net_interface *interface, struct rte_mbuf *mbuf,
               const struct rte_ether_addr *frame_source, const struct instant *now);
/* `station` NULL: everybody. */
void arp_send_request(struct net_interface *interface, uint32_t target,
                      const struct rte_ether_addr *station);

#endif
