/* IPv6 packets in (RFC 8200, 8504): validated, extension headers walked, reassembled, headers off;
 * ICMPv6 and neighbour discovery answered.
 *
 * Path: ip_input_batch --> here --> UDP and TCP datagrams go up, ICMPv6 to icmpv6.c, fragments by
 * way of ip_fragment.c. Thread: the owning worker. Failure: a counted drop with a reason of its
 * own.
 *
 * What is handed up has the same shape as IPv4's (ip_input.c): l3_len bytes of headers lie in
 * front, extension headers included. We are a host: what asks for more than to be passed over (a
 * route, an option, a second fragment header) is dropped.
 */
#include <netinet/in.h>

#include "dataplane/l2_link/nd.h"
#include "dataplane/l2_link/wire_nd.h"
#include "dataplane/l3_ip/ip_internal.h"

#define TCP_HEADER_BYTES 20U
#define L3_BYTES_MAX     511U /* what mbuf->l3_len can say */
_Static_assert(IPV6_HEADER_BYTES + 2 * IPV6_CHAIN_BYTES_MAX <= L3_BYTES_MAX,
               "the header and two walks fit");

static bool ipv6_is_group(const struct address *address)
{
    return address->bytes[0] == 0xff;
}

/* A group, loopback or an IPv4 address in disguise sends nothing; nobody may, to ask whether an
 * address is free: neighbour discovery alone answers that. */
static bool ipv6_source_is_possible(const struct ipv6_header *header)
{
    static const struct address nobody;
    if (address_equal(&header->source, &nobody)) {
        return header->next == IPV6_ICMP && header->hop_limit == ND_HOP_LIMIT &&
               ipv6_is_group(&header->destination);
    }
    return !ipv6_is_group(&header->source) && !address_is_loopback(&header->source) &&
           !address_is_ipv4(&header->source);
}

/* METRIC_COUNT when the packet is for us and may be believed, else the reason to drop it. */
static enum metric ipv6_check(const struct net_interface *interface,
                              const struct link_packet *packet, struct ipv6_header *header)
{
    const struct rte_mbuf *mbuf = packet->mbuf;
    switch (wire_ipv6_parse(slice_of(rte_pktmbuf_mtod(mbuf, uint8_t *), mbuf->data_len), header)) {
    case WIRE_IPV6_TRUNCATED: return METRIC_NET_DROP_IPV6_TRUNCATED;
    case WIRE_IPV6_VERSION: return METRIC_NET_DROP_IPV6_VERSION;
    case WIRE_IPV6_RIGHT: break;
    }
    bool group = ipv6_is_group(&header->destination);
    if (UNLIKELY(group ? !nd_listens_to(interface, &header->destination)
                       : link_find_address(interface, &header->destination) < 0)) {
        return METRIC_NET_DROP_IPV6_NOT_OURS;
    }
    if (UNLIKELY(packet->group && !group)) {
        return METRIC_NET_DROP_IPV6_LINK_GROUP;
    }
    /* Another station with an address of ours is what neighbour discovery wants to hear of. */
    if (UNLIKELY(header->next != IPV6_ICMP && link_find_address(interface, &header->source) >= 0)) {
        return METRIC_NET_DROP_IPV6_LAND;
    }
    return LIKELY(ipv6_source_is_possible(header)) ? METRIC_COUNT : METRIC_NET_DROP_IPV6_SOURCE;
}

/* ---- headers off -------------------------------------------------------------------------------
 */

/* `bytes` of headers have been read: the data begins behind them. */
static void ipv6_pass(struct rte_mbuf *mbuf, uint32_t bytes)
{
    mbuf->data_off = (uint16_t)(mbuf->data_off + bytes);
    mbuf->data_len = (uint16_t)(mbuf->data_len - bytes);
    mbuf->pkt_len = mbuf->data_len;
    mbuf->l3_len = (mbuf->l3_len + bytes) & L3_BYTES_MAX;
}

/* The base header off, link padding off. */
static void ipv6_strip(struct rte_mbuf *mbuf, const struct ipv6_header *header)
{
    mbuf->data_len = (uint16_t)(IPV6_HEADER_BYTES + header->payload_bytes);
    mbuf->l3_len = 0;
    ipv6_pass(mbuf, IPV6_HEADER_BYTES);
}

/* A header that may not be passed over: says so to the sender where RFC 8200 asks for it. */
static void ipv6_refuse_chain(struct net *net, const struct ip_datagram *datagram,
                              const struct ipv6_chain *chain, enum wire_ipv6_chain_fault fault,
                              const struct instant *now)
{
    enum metric reason = METRIC_NET_DROP_IPV6_EXTENSION;
    switch (fault) {
    case WIRE_IPV6_CHAIN_ROUTING: reason = METRIC_NET_DROP_IPV6_ROUTING; break;
    case WIRE_IPV6_CHAIN_OPTION: reason = METRIC_NET_DROP_IPV6_OPTION; break;
    case WIRE_IPV6_CHAIN_OPTION_TELL:
    case WIRE_IPV6_CHAIN_OPTION_TELL1:
        /* What was sent to a group is not told either: it would make us an amplifier. */
        icmpv6_send_error(net, datagram, ICMPV6_ERROR_OPTION,
                          datagram->mbuf->l3_len + chain->fault_at, now);
        reason = METRIC_NET_DROP_IPV6_OPTION;
        break;
    case WIRE_IPV6_CHAIN_RIGHT:
    case WIRE_IPV6_CHAIN_TRUNCATED:
    case WIRE_IPV6_CHAIN_TOO_LONG:
    case WIRE_IPV6_CHAIN_ORDER: break;
    }
    net_drop(net, datagram->mbuf, reason);
}

/* Walks the extension headers at the data's beginning and passes them; false when that was the end.
 */
static bool ipv6_walk(struct net *net, const struct ip_datagram *datagram, struct ipv6_chain *chain,
                      const struct instant *now)
{
    struct rte_mbuf *mbuf = datagram->mbuf;
    enum wire_ipv6_chain_fault fault =
        wire_ipv6_walk(slice_of(rte_pktmbuf_mtod(mbuf, uint8_t *), mbuf->data_len), chain);
    if (UNLIKELY(fault != WIRE_IPV6_CHAIN_RIGHT)) {
        ipv6_refuse_chain(net, datagram, chain, fault, now);
        return false;
    }
    ipv6_pass(mbuf, chain->bytes);
    return true;
}

/* ---- fragments ---------------------------------------------------------------------------------
 */

/* The upper layer's header is part of the chain (RFC 7112), TCP's without its options. */
static uint32_t ipv6_upper_bytes(uint8_t protocol)
{
    return protocol == IPPROTO_TCP ? TCP_HEADER_BYTES : fragment_first_bytes(protocol);
}

/* How much of the datagram its first fragment must hold: all headers (RFC 7112). 0 when its
 * extension headers alone do not fit. */
static uint32_t ipv6_first_bytes(const struct ip_datagram *datagram, const struct ipv6_chain *chain)
{
    const struct rte_mbuf *mbuf = datagram->mbuf;
    struct ipv6_chain rest = {.next = chain->next};
    if (chain->offset != 0) {
        return fragment_first_bytes(chain->next);
    }
    enum wire_ipv6_chain_fault fault =
        wire_ipv6_walk(slice_of(rte_pktmbuf_mtod(mbuf, uint8_t *), mbuf->data_len), &rest);
    return fault == WIRE_IPV6_CHAIN_TRUNCATED ? UINT32_MAX
                                              : rest.bytes + ipv6_upper_bytes(rest.next);
}

/* True when the fragment completed its datagram; `next` is then the first header of it. */
static bool ipv6_reassemble(struct net *net, struct ip_datagram *datagram,
                            const struct ipv6_header *header, const struct ipv6_chain *chain,
                            const struct instant *now)
{
    struct fragment_part part = {
        .key = {.source = datagram->source,
                .destination = datagram->destination,
                .interface = datagram->interface->index,
                .identification = chain->identification},
        .offset = chain->offset,
        .last = chain->last,
        .protocol = chain->next,
        .first_bytes = ipv6_first_bytes(datagram, chain),
        .header_bytes = IPV6_HEADER_BYTES,
    };
    if (!fragment_accept(net, datagram, &part, now)) {
        return false;
    }
    struct ipv6_header whole = *header;
    whole.next = datagram->protocol;
    whole.payload_bytes = datagram->mbuf->data_len;
    wire_ipv6_compose(rte_pktmbuf_mtod(datagram->mbuf, uint8_t *) - IPV6_HEADER_BYTES, &whole);
    return true;
}

/* From the first extension header to the upper layer: at most one fragment header on the way. A
 * fragment that is the whole datagram is taken for itself (RFC 6946). `next_at`: where the number
 * of the upper layer stands, from the IPv6 header on. */
static bool ipv6_reach_upper_layer(struct net *net, struct ip_datagram *datagram,
                                   const struct ipv6_header *header, uint32_t *next_at,
                                   const struct instant *now)
{
    struct ipv6_chain chain = {.may_begin = true, .next = header->next};
    uint32_t walked_from = datagram->mbuf->l3_len;
    *next_at = 6;
    for (uint32_t walks = 0; walks < 2; walks++) {
        if (!ipv6_walk(net, datagram, &chain, now)) {
            return false;
        }
        *next_at = chain.next_at != UINT32_MAX ? walked_from + chain.next_at : *next_at;
        datagram->protocol = chain.next;
        if (LIKELY(!chain.fragmented)) {
            break;
        }
        datagram->reassembled = true;
        bool whole = chain.offset == 0 && chain.last;
        if (!whole && !ipv6_reassemble(net, datagram, header, &chain, now)) {
            return false;
        }
        *next_at = whole ? *next_at : 6;
        walked_from = datagram->mbuf->l3_len;
        chain.next = datagram->protocol;
        chain.may_begin = false;
    }
    return true;
}

/* ---- dispatch ----------------------------------------------------------------------------------
 */

static void ipv6_refuse_protocol(struct net *net, const struct ip_datagram *datagram,
                                 uint32_t next_at, const struct instant *now)
{
    if (datagram->protocol != IPV6_NOTHING) {
        icmpv6_send_error(net, datagram, ICMPV6_ERROR_PROTOCOL, next_at, now);
    }
    net_drop(net, datagram->mbuf, METRIC_NET_DROP_IPV6_PROTOCOL);
}

bool ipv6_input_packet(struct net *net, const struct link_packet *packet, const struct instant *now,
                       struct ip_datagram *datagram)
{
    struct net_interface *interface = packet->interface;
    struct ipv6_header header;
    uint32_t next_at;
    enum metric reason = ipv6_check(interface, packet, &header);
    if (UNLIKELY(reason != METRIC_COUNT)) {
        net_drop(net, packet->mbuf, reason);
        return false;
    }
    ipv6_strip(packet->mbuf, &header);
    *datagram = (struct ip_datagram){.mbuf = packet->mbuf,
                                     .interface = interface,
                                     .source = header.source,
                                     .destination = header.destination,
                                     .source_mac = packet->source};
    if (!ipv6_reach_upper_layer(net, datagram, &header, &next_at, now)) {
        return false;
    }
    if (datagram->protocol == IPPROTO_ICMPV6) {
        icmpv6_input(net, datagram, header.hop_limit, header.next == IPPROTO_ICMPV6, now);
        return false;
    }
    if (UNLIKELY(ipv6_is_group(&header.destination))) {
        net_drop(net, datagram->mbuf, METRIC_NET_DROP_IPV6_NOT_OURS);
        return false;
    }
    if (datagram->protocol != IPPROTO_TCP && datagram->protocol != IPPROTO_UDP) {
        ipv6_refuse_protocol(net, datagram, next_at, now);
        return false;
    }
    if (datagram->protocol == IPPROTO_TCP) {
        link_note_traffic(interface, &datagram->source, &datagram->source_mac, now);
    }
    return true;
}
