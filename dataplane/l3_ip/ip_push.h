/* IPv4 packets out, inline for who sends the most of them: the header, and with it the frame's
 * where the station is known. ip_output.c has the rest of the ways.
 */
#ifndef NICACHED_L3_IP_IP_PUSH_H
#define NICACHED_L3_IP_IP_PUSH_H

#include <netinet/in.h>

#include "dataplane/l2_link/link_frame.h"
#include "dataplane/l3_ip/net.h"
#include "dataplane/l3_ip/wire_ipv4.h"

#define IP_SEND_TTL 64U /* and hop limit */

/* What the hardware is to do about L4; the checksum field must hold what it expects. */
static inline uint64_t ip_l4_offload_flags(const struct net_interface *interface, uint8_t protocol)
{
    if (protocol == IPPROTO_TCP && interface->tx_tcp_checksum) {
        return RTE_MBUF_F_TX_TCP_CKSUM;
    }
    if (protocol == IPPROTO_UDP && interface->tx_udp_checksum) {
        return RTE_MBUF_F_TX_UDP_CKSUM;
    }
    return 0;
}

/* The port cuts it: then the MTU is not its limit. */
static inline bool ip_is_cut(const struct rte_mbuf *mbuf)
{
    return (mbuf->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0;
}

/* The packet needs no fragments, and its buffer has room for `front` bytes of headers. */
static inline bool ip_is_whole(const struct net_interface *interface, const struct rte_mbuf *mbuf,
                               uint32_t front)
{
    return (mbuf->pkt_len + IPV4_HEADER_BYTES <= interface->mtu || ip_is_cut(mbuf)) &&
           rte_pktmbuf_headroom(mbuf) >= front;
}

/* Writes the header of a packet of `total` bytes with it, and what the hardware is to do. */
static __rte_always_inline void ip_put_header(const struct net_interface *interface, uint8_t *to,
                                              const struct address *source,
                                              const struct address *destination, uint8_t protocol,
                                              uint32_t total, struct rte_mbuf *mbuf)
{
    struct ipv4_header header = {.source = address_to_ipv4(source),
                                 .destination = address_to_ipv4(destination),
                                 .total_bytes = (uint16_t)total,
                                 .fragment = IPV4_DONT_FRAGMENT,
                                 .ttl = IP_SEND_TTL,
                                 .protocol = protocol};
    wire_ipv4_compose(to, &header, !interface->tx_ipv4_checksum);
    mbuf->l3_len = IPV4_HEADER_BYTES;
    uint64_t flags = ip_l4_offload_flags(interface, protocol) |
                     (interface->tx_ipv4_checksum ? RTE_MBUF_F_TX_IP_CKSUM : 0);
    if (UNLIKELY(flags != 0)) {
        mbuf->ol_flags |= flags | RTE_MBUF_F_TX_IPV4;
    }
}

/* ip_output_to_station for IPv4 addresses. `metrics` are the net's. */
static __rte_always_inline void
ip_push_to_station(struct net *net, struct metrics *metrics, struct net_interface *interface,
                   const struct address *source, const struct address *destination,
                   uint8_t protocol, const struct rte_ether_addr *station, struct rte_mbuf *mbuf)
{
    uint32_t link_bytes = wire_ethernet_bytes(interface->vlan), total;
    if (UNLIKELY(!ip_is_whole(interface, mbuf, link_bytes + IPV4_HEADER_BYTES) ||
                 !link_frame_has_room(interface))) {
        ip_output_to_station(net, interface, source, destination, protocol, station, mbuf);
        return;
    }
    total = mbuf->pkt_len + IPV4_HEADER_BYTES;
    uint8_t *frame =
        (uint8_t *)rte_pktmbuf_prepend(mbuf, (uint16_t)(link_bytes + IPV4_HEADER_BYTES));
    ip_put_header(interface, frame + link_bytes, source, destination, protocol, total, mbuf);
    link_frame_push(interface, metrics, station, RTE_ETHER_TYPE_IPV4, link_bytes, mbuf);
}

#endif
