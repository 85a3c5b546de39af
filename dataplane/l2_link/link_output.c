/* Packets out: the frame's header in front, the frame into the interface's transmit array.
 *
 * Thread: the owning worker. Failure: a full array or a buffer without headroom is a counted drop.
 */
#include "dataplane/l2_link/link_internal.h"
#include "dataplane/l2_link/wire_ethernet.h"

void link_transmit(struct net_interface *interface, const struct rte_ether_addr *destination,
                   uint16_t type, struct rte_mbuf *mbuf)
{
    if (UNLIKELY(interface->tx_count >= NET_TX_QUEUE)) {
        link_drop(interface, mbuf, METRIC_NET_DROP_TX_QUEUE_FULL);
        return;
    }
    uint16_t header_bytes = wire_ethernet_bytes(interface->vlan);
    uint8_t *header = (uint8_t *)rte_pktmbuf_prepend(mbuf, header_bytes);
    if (UNLIKELY(header == NULL)) {
        link_drop(interface, mbuf, METRIC_NET_DROP_TX_HEADROOM);
        return;
    }
    wire_ethernet_compose(header, destination, &interface->mac, interface->vlan, type);
    mbuf->l2_len = (uint64_t)header_bytes & 0x7f;
    interface->tx[interface->tx_count++] = mbuf;
    link_count(interface, METRIC_NET_TX_PACKETS);
    metric_add(interface->link->options.metrics, METRIC_NET_TX_BYTES, mbuf->pkt_len);
}

void link_output_to_station(struct net_interface *interface, const struct rte_ether_addr *station,
                            uint16_t type, struct rte_mbuf *mbuf)
{
    link_transmit(interface, station, type, mbuf);
}

void link_output_to_neighbour(struct net_interface *interface, const struct address *address,
                              struct rte_mbuf *mbuf, const struct instant *now)
{
    const struct rte_ether_addr *station = neighbour_resolve(interface, address, mbuf, now);
    if (LIKELY(station != NULL)) {
        link_transmit(interface, station, link_type_for(address), mbuf);
    }
}
