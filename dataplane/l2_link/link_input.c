/* Frames in: Ethernet and VLAN off, ARP answered, IP handed up.
 *
 * Path: net_input_batch hands in what is not ordinary; what comes back goes to ip_input. Thread:
 * the owning worker. Failure: every frame that goes no further is freed and counted under one
 * reason.
 */
#include "dataplane/l2_link/link_internal.h"
#include "dataplane/l2_link/wire_ethernet.h"

/* What a frame's header says, whose VLAN it is, and how it was addressed. */
struct link_frame {
    struct ethernet_header ethernet;
    struct net_interface *interface;
    bool group;
};

/* The NIC may have taken the tag off already. */
static uint16_t link_vlan_of(const struct rte_mbuf *mbuf, const struct ethernet_header *ethernet)
{
    bool stripped = (mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0;
    return stripped ? mbuf->vlan_tci & ETHERNET_VLAN_MASK : ethernet->vlan;
}

/* Everybody, or a group of IPv6 that we are in. */
static bool link_is_in_group(const struct net_interface *interface,
                             const struct rte_ether_addr *destination)
{
    return rte_is_broadcast_ether_addr(destination) ||
           (interface->ipv6_count != 0 && nd_listens_to_station(interface, destination));
}

static bool link_is_addressed(const struct net_interface *interface,
                              const struct rte_ether_addr *destination)
{
    return rte_is_same_ether_addr(destination, &interface->mac) ||
           (interface->any_station && rte_is_unicast_ether_addr(destination));
}

static struct net_interface *link_find_vlan(struct net_interface *interface, uint16_t vlan)
{
    while (interface != NULL && interface->vlan != vlan) {
        interface = interface->next_vlan;
    }
    return interface;
}

/* METRIC_COUNT when the frame is for us, else the reason to drop it. */
static enum metric link_check_frame(struct net_interface *interface, const struct rte_mbuf *mbuf,
                                    struct link_frame *frame)
{
    struct ethernet_header *ethernet = &frame->ethernet;
    if (!wire_ethernet_parse(slice_of(rte_pktmbuf_mtod(mbuf, uint8_t *), mbuf->data_len),
                             ethernet)) {
        return METRIC_NET_DROP_LINK_RUNT;
    }
    uint16_t vlan = link_vlan_of(mbuf, ethernet);
    interface =
        LIKELY(vlan == interface->vlan) ? interface : link_find_vlan(interface->next_vlan, vlan);
    if (UNLIKELY(interface == NULL)) {
        return METRIC_NET_DROP_LINK_VLAN;
    }
    frame->interface = interface;
    frame->group = rte_is_multicast_ether_addr(&ethernet->destination);
    if (!(UNLIKELY(frame->group) ? link_is_in_group(interface, &ethernet->destination)
                                 : link_is_addressed(interface, &ethernet->destination))) {
        return METRIC_NET_DROP_LINK_DESTINATION;
    }
    if (!rte_is_valid_assigned_ether_addr(&ethernet->source) ||
        rte_is_same_ether_addr(&ethernet->source, &interface->mac)) {
        return METRIC_NET_DROP_LINK_SOURCE;
    }
    return METRIC_COUNT;
}

static bool link_hand_up(struct rte_mbuf *mbuf, const struct link_frame *frame, bool ipv6,
                         struct link_packet *packet)
{
    packet->mbuf = mbuf;
    packet->interface = frame->interface;
    packet->group = frame->group;
    packet->ipv6 = ipv6;
    rte_ether_addr_copy(&frame->ethernet.source, &packet->source);
    return true;
}

/* Hands the frame's payload to ARP, or up (true), or drops it. */
static bool link_dispatch(struct net_interface *interface, struct rte_mbuf *mbuf,
                          const struct link_frame *frame, const struct instant *now,
                          struct link_packet *packet)
{
    uint16_t type = frame->ethernet.type;
    CHECK(rte_pktmbuf_adj(mbuf, (uint16_t)frame->ethernet.bytes) != NULL);
    if (LIKELY(type == RTE_ETHER_TYPE_IPV4) && LIKELY(interface->ipv4_count != 0)) {
        return link_hand_up(mbuf, frame, false, packet);
    }
    if (type == RTE_ETHER_TYPE_IPV6 && interface->ipv6_count != 0) {
        return link_hand_up(mbuf, frame, true, packet);
    }
    if (type == RTE_ETHER_TYPE_ARP && interface->ipv4_count != 0) {
        arp_input(interface, mbuf, &frame->ethernet.source, now);
        return false;
    }
    bool known =
        type == RTE_ETHER_TYPE_IPV4 || type == RTE_ETHER_TYPE_IPV6 || type == RTE_ETHER_TYPE_ARP;
    link_drop(interface, mbuf,
              known ? METRIC_NET_DROP_LINK_FAMILY : METRIC_NET_DROP_LINK_ETHERTYPE);
    return false;
}

bool link_input_frame(struct net_interface *interface, struct rte_mbuf *mbuf,
                      const struct instant *now, struct link_packet *packet)
{
    if (UNLIKELY(mbuf->nb_segs != 1)) {
        mbuf = packet_make_contiguous(interface->link->options.large_pool, mbuf);
        if (mbuf == NULL) {
            link_count(interface, METRIC_NET_DROP_LINK_OVERSIZE);
            return false;
        }
    }
    if (!interface->rx_checksum) {
        packet_forget_checksums(mbuf);
    }
    struct link_frame frame;
    enum metric reason = link_check_frame(interface, mbuf, &frame);
    if (UNLIKELY(reason != METRIC_COUNT)) {
        link_drop(interface, mbuf, reason);
        return false;
    }
    return link_dispatch(frame.interface, mbuf, &frame, now, packet);
}
