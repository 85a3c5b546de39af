/* The last step of every packet out, inline for who sends the most of them: the frame's header, the
 * frame into the interface's transmit array.
 */
#ifndef NICACHED_L2_LINK_LINK_FRAME_H
#define NICACHED_L2_LINK_LINK_FRAME_H

#include "dataplane/l2_link/link.h"
#include "dataplane/l2_link/wire_ethernet.h"

/* Writes the header, whose `header_bytes` (wire_ethernet_bytes) the mbuf has in front of its packet
 * already, and takes it over. There is room in the array. */
static inline void link_frame_push(struct net_interface *interface, struct metrics *metrics,
                                   const struct rte_ether_addr *destination, uint16_t type,
                                   uint32_t header_bytes, struct rte_mbuf *mbuf)
{
    wire_ethernet_compose(rte_pktmbuf_mtod(mbuf, uint8_t *), destination, &interface->mac,
                          interface->vlan, type);
    mbuf->l2_len = (uint64_t)header_bytes & 0x7f;
    interface->tx[interface->tx_count++] = mbuf;
    metric_add(metrics, METRIC_NET_TX_PACKETS, 1);
    metric_add(metrics, METRIC_NET_TX_BYTES, mbuf->pkt_len);
}

static inline bool link_frame_has_room(const struct net_interface *interface)
{
    return interface->tx_count < NET_TX_QUEUE;
}

#endif
