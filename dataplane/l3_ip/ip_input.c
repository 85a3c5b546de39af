/* IPv4 packets in (RFC 791, 1122): validated, reassembled, headers off; ICMP answered. Those of
 * IPv6 go to ipv6_input.c.
 *
 * Path: link_input --> here --> UDP and TCP datagrams go up, ICMP to icmp.c, fragments by way of
 * ip_fragment.c. Thread: the owning worker. Failure: a counted drop with a reason of its own.
 *
 * What is handed up: one segment; data starts at the L4 header and ends with it; l3_len bytes of IP
 * header lie in front; the checksum flags say GOOD or BAD only where the port can tell.
 */
#include <netinet/in.h>

#include "dataplane/l3_ip/ip_internal.h"

static enum metric ip_reason_of_fault(enum wire_ipv4_fault fault)
{
    switch (fault) {
    case WIRE_IPV4_RIGHT: break;
    case WIRE_IPV4_TRUNCATED: return METRIC_NET_DROP_IP_TRUNCATED;
    case WIRE_IPV4_VERSION: return METRIC_NET_DROP_IP_VERSION;
    case WIRE_IPV4_HEADER_LENGTH: return METRIC_NET_DROP_IP_HEADER_LENGTH;
    case WIRE_IPV4_TOTAL_LENGTH: return METRIC_NET_DROP_IP_TOTAL_LENGTH;
    }
    return METRIC_COUNT;
}

static bool ip_checksum_is_right(const struct rte_mbuf *mbuf, const struct ipv4_header *header)
{
    uint64_t told = mbuf->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
    if (told == RTE_MBUF_F_RX_IP_CKSUM_GOOD) {
        return true;
    }
    if (told == RTE_MBUF_F_RX_IP_CKSUM_BAD) {
        return false;
    }
    return wire_ipv4_checksum_is_right(rte_pktmbuf_mtod(mbuf, const uint8_t *),
                                       header->header_bytes);
}

static enum metric ip_check_options(const struct rte_mbuf *mbuf, const struct ipv4_header *header)
{
    struct slice options = slice_of(rte_pktmbuf_mtod(mbuf, uint8_t *) + IPV4_HEADER_BYTES,
                                    header->header_bytes - IPV4_HEADER_BYTES);
    switch (wire_ipv4_check_options(options)) {
    case WIRE_IPV4_OPTIONS_RIGHT: break;
    case WIRE_IPV4_OPTIONS_MALFORMED: return METRIC_NET_DROP_IP_OPTIONS;
    case WIRE_IPV4_OPTIONS_SOURCE_ROUTE: return METRIC_NET_DROP_IP_SOURCE_ROUTE;
    }
    return METRIC_COUNT;
}

/* METRIC_COUNT when the packet is for us and may be believed, else the reason to drop it. */
static enum metric ip_check(const struct net_interface *interface, const struct link_packet *packet,
                            struct ipv4_header *header)
{
    const struct rte_mbuf *mbuf = packet->mbuf;
    enum wire_ipv4_fault fault =
        wire_ipv4_parse(slice_of(rte_pktmbuf_mtod(mbuf, uint8_t *), mbuf->data_len), header);
    if (UNLIKELY(fault != WIRE_IPV4_RIGHT)) {
        return ip_reason_of_fault(fault);
    }
    if (UNLIKELY(!ip_checksum_is_right(mbuf, header))) {
        return METRIC_NET_DROP_IP_CHECKSUM;
    }
    if (UNLIKELY(!link_has_ipv4(interface, header->destination))) {
        return METRIC_NET_DROP_IP_NOT_OURS;
    }
    if (UNLIKELY(packet->group)) {
        return METRIC_NET_DROP_IP_LINK_BROADCAST;
    }
    if (UNLIKELY(link_has_ipv4(interface, header->source))) {
        return METRIC_NET_DROP_IP_LAND;
    }
    if (UNLIKELY(!ip_source_is_possible(interface, header->source))) {
        return METRIC_NET_DROP_IP_SOURCE;
    }
    if (UNLIKELY(header->ttl == 0)) {
        return METRIC_NET_DROP_IP_TTL;
    }
    return LIKELY(header->header_bytes == IPV4_HEADER_BYTES) ? METRIC_COUNT
                                                             : ip_check_options(mbuf, header);
}

/* Header off, link padding off. */
static void ip_strip(struct rte_mbuf *mbuf, const struct ipv4_header *header)
{
    uint16_t size = (uint16_t)(header->total_bytes - header->header_bytes);
    mbuf->data_off = (uint16_t)(mbuf->data_off + header->header_bytes);
    mbuf->data_len = size;
    mbuf->pkt_len = size;
    mbuf->l3_len = header->header_bytes & 0x3f;
}

static void ip_refuse_protocol(struct net *net, const struct ip_datagram *datagram,
                               const struct instant *now)
{
    icmp_send_protocol_unreachable(net, datagram, now);
    net_drop(net, datagram->mbuf, METRIC_NET_DROP_IP_PROTOCOL);
}

/* True when the datagram goes up to L4; otherwise its mbuf is taken care of. */
static bool ip_dispatch(struct net *net, const struct ip_datagram *datagram,
                        const struct instant *now)
{
    switch (datagram->protocol) {
    case IPPROTO_TCP:
        /* UDP and ICMP are answered to the station they came from: only TCP looks neighbours up. */
        link_note_traffic(datagram->interface, &datagram->source, &datagram->source_mac, now);
        return true;
    case IPPROTO_UDP: return true;
    case IPPROTO_ICMP: icmp_input(net, datagram); return false;
    default: ip_refuse_protocol(net, datagram, now); return false;
    }
}

/* True when the fragment completed its datagram. */
static bool ip_reassemble(struct net *net, struct ip_datagram *datagram,
                          const struct ipv4_header *header, const struct instant *now)
{
    struct fragment_part part = {
        .key = {.source = datagram->source,
                .destination = datagram->destination,
                .interface = datagram->interface->index,
                .identification = header->identification,
                .protocol = header->protocol},
        .offset = (header->fragment & IPV4_OFFSET_MASK) * FRAGMENT_BLOCK_BYTES,
        .last = (header->fragment & IPV4_MORE_FRAGMENTS) == 0,
        .protocol = header->protocol,
        .first_bytes = fragment_first_bytes(header->protocol),
        .header_bytes = IPV4_HEADER_BYTES,
    };
    if (!fragment_accept(net, datagram, &part, now)) {
        return false;
    }
    /* The header that an ICMP error about the whole datagram will quote. */
    struct ipv4_header whole = *header;
    whole.fragment = 0;
    whole.total_bytes = (uint16_t)(IPV4_HEADER_BYTES + datagram->mbuf->data_len);
    wire_ipv4_compose(rte_pktmbuf_mtod(datagram->mbuf, uint8_t *) - IPV4_HEADER_BYTES, &whole,
                      true);
    return true;
}

static void ip_describe(const struct link_packet *packet, const struct ipv4_header *header,
                        struct ip_datagram *datagram)
{
    datagram->mbuf = packet->mbuf;
    datagram->interface = packet->interface;
    ip_address_set(&datagram->source, header->source);
    ip_address_set(&datagram->destination, header->destination);
    rte_ether_addr_copy(&packet->source, &datagram->source_mac);
    datagram->protocol = header->protocol;
}

bool ip_input_packet(struct net *net, const struct link_packet *packet, const struct instant *now,
                     struct ip_datagram *datagram)
{
    struct ipv4_header header;
    enum metric reason = ip_check(packet->interface, packet, &header);
    if (UNLIKELY(reason != METRIC_COUNT)) {
        net_drop(net, packet->mbuf, reason);
        return false;
    }
    ip_strip(packet->mbuf, &header);
    ip_describe(packet, &header, datagram);
    datagram->reassembled = (header.fragment & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK)) != 0;
    if (UNLIKELY(datagram->reassembled) && !ip_reassemble(net, datagram, &header, now)) {
        return false;
    }
    return ip_dispatch(net, datagram, now);
}
