/* ICMPv6 (RFC 4443, 5927): echo, errors in and out, and the door of neighbour discovery.
 *
 * Path: ipv6_input hands messages in; replies go back to the station they came from. Neighbour
 * messages go down to l2_link/nd.c when they are plain: no extension headers, hop limit 255.
 * Listener queries go to l2_link/mld.c. Failure: counted drops. Errors never answer errors or
 * groups.
 *
 * An echo request to a group is not answered: RFC 4443 4.2 lets us choose, and one packet would
 * wake every station of a link.
 */
#include <netinet/in.h>

#include "dataplane/l2_link/nd.h"
#include "dataplane/l2_link/wire_nd.h"
#include "dataplane/l3_ip/ip_internal.h"
#include "dataplane/l3_ip/wire_icmp.h"
#include "dataplane/l3_ip/wire_icmpv6.h"

#define QUOTED_L4_BYTES 8U /* the least an error must quote: ports and SEQ */

/* ---- errors in ---------------------------------------------------------------------------------
 */

/* The quote may be cut off behind its first 8 L4 bytes, so its payload length is not compared. */
static bool icmpv6_parse_quote(const struct net_interface *interface, struct slice quote,
                               struct icmp_notice *notice)
{
    if (quote.size < IPV6_HEADER_BYTES || quote.data[0] >> 4 != 6) {
        return false;
    }
    struct ipv6_chain chain = {.may_begin = true, .next = quote.data[6]};
    struct slice behind = slice_from(quote, IPV6_HEADER_BYTES);
    if (wire_ipv6_walk(behind, &chain) != WIRE_IPV6_CHAIN_RIGHT || chain.offset != 0) {
        return false;
    }
    memcpy(notice->local.address.bytes, quote.data + 8, 16);
    memcpy(notice->peer.address.bytes, quote.data + 24, 16);
    if ((chain.next != IPPROTO_TCP && chain.next != IPPROTO_UDP) ||
        behind.size - chain.bytes < QUOTED_L4_BYTES ||
        link_find_address(interface, &notice->local.address) < 0) {
        return false;
    }
    const uint8_t *l4 = behind.data + chain.bytes;
    notice->protocol = chain.next;
    notice->local.port = bytes_read_be16(l4);
    notice->peer.port = bytes_read_be16(l4 + 2);
    notice->sequence = chain.next == IPPROTO_TCP ? bytes_read_be32(l4 + 4) : 0;
    return true;
}

static void icmpv6_note_kind(struct icmp_notice *notice, const uint8_t *message)
{
    uint8_t type = message[0], code = message[1];
    notice->kind = ICMP_NOTICE_OTHER;
    if (type == ICMPV6_TYPE_PACKET_TOO_BIG) {
        uint32_t mtu = bytes_read_be32(message + 4);
        notice->kind = ICMP_NOTICE_PACKET_TOO_BIG;
        notice->mtu = (uint16_t)(mtu > UINT16_MAX ? UINT16_MAX : mtu);
    } else if ((type == ICMPV6_TYPE_UNREACHABLE && code == ICMPV6_CODE_PORT) ||
               (type == ICMPV6_TYPE_PARAMETER_PROBLEM && code == ICMPV6_CODE_NEXT_HEADER)) {
        notice->kind = ICMP_NOTICE_NOBODY_THERE;
    }
}

static void icmpv6_accept_error(struct net *net, const struct ip_datagram *datagram,
                                struct slice message)
{
    struct icmp_notice notice = {.kind = ICMP_NOTICE_OTHER};
    if (!icmpv6_parse_quote(datagram->interface, slice_from(message, ICMPV6_HEADER_BYTES),
                            &notice)) {
        net_drop(net, datagram->mbuf, METRIC_NET_DROP_ICMP_QUOTE);
        return;
    }
    icmpv6_note_kind(&notice, message.data);
    icmp_keep_notice(net, datagram->mbuf, &notice);
}

/* ---- neighbours --------------------------------------------------------------------------------
 */

static void icmpv6_hand_to_neighbours(const struct ip_datagram *datagram, struct slice message,
                                      const struct instant *now)
{
    struct nd_envelope envelope = {.source = datagram->source,
                                   .destination = datagram->destination,
                                   .station = datagram->source_mac,
                                   .overheard = packet_is_overheard(datagram->mbuf)};
    nd_input(datagram->interface, message, &envelope, now);
    rte_pktmbuf_free(datagram->mbuf);
}

/* METRIC_COUNT when the message may be acted on, else the reason to drop it. */
static enum metric icmpv6_check(const struct ip_datagram *datagram, struct slice message,
                                uint8_t hop_limit, bool plain)
{
    if (message.size < ICMPV6_HEADER_BYTES) {
        return METRIC_NET_DROP_ICMP_TRUNCATED;
    }
    uint64_t sum = checksum_pseudo(&datagram->source, &datagram->destination, IPPROTO_ICMPV6,
                                   (uint32_t)message.size);
    if (!checksum_is_right(checksum_add(sum, message.data, message.size))) {
        return METRIC_NET_DROP_ICMP_CHECKSUM;
    }
    uint8_t type = message.data[0];
    if (type == ND_SOLICITATION || type == ND_ADVERTISEMENT) {
        return plain && hop_limit == ND_HOP_LIMIT ? METRIC_COUNT : METRIC_NET_DROP_ND_HOP_LIMIT;
    }
    if (type == ICMPV6_TYPE_LISTENER_QUERY) {
        return hop_limit == 1 && address_is_link_local(&datagram->source)
                   ? METRIC_COUNT
                   : METRIC_NET_DROP_ND_HOP_LIMIT;
    }
    if (type == ND_ROUTER_SOLICITATION || type == ND_ROUTER_ADVERTISEMENT || type == ND_REDIRECT) {
        return METRIC_NET_DROP_ND_ROUTER;
    }
    if (datagram->destination.bytes[0] == 0xff) {
        return METRIC_NET_DROP_ICMP_TYPE;
    }
    return link_find_address(datagram->interface, &datagram->source) < 0
               ? METRIC_COUNT
               : METRIC_NET_DROP_IPV6_LAND;
}

void icmpv6_input(struct net *net, const struct ip_datagram *datagram, uint8_t hop_limit,
                  bool plain, const struct instant *now)
{
    struct slice message =
        slice_of(rte_pktmbuf_mtod(datagram->mbuf, uint8_t *), datagram->mbuf->data_len);
    enum metric reason = icmpv6_check(datagram, message, hop_limit, plain);
    if (reason != METRIC_COUNT) {
        net_drop(net, datagram->mbuf, reason);
        return;
    }
    switch (message.data[0]) {
    case ICMPV6_TYPE_ECHO_REQUEST: icmp_answer_echo(net, datagram, ICMPV6_TYPE_ECHO_REPLY); break;
    case ND_SOLICITATION:
    case ND_ADVERTISEMENT: icmpv6_hand_to_neighbours(datagram, message, now); break;
    case ICMPV6_TYPE_LISTENER_QUERY:
        mld_answer_query(datagram->interface, now);
        rte_pktmbuf_free(datagram->mbuf);
        break;
    case ICMPV6_TYPE_UNREACHABLE:
    case ICMPV6_TYPE_PACKET_TOO_BIG:
    case ICMPV6_TYPE_TIME_EXCEEDED:
    case ICMPV6_TYPE_PARAMETER_PROBLEM: icmpv6_accept_error(net, datagram, message); break;
    default: net_drop(net, datagram->mbuf, METRIC_NET_DROP_ICMP_TYPE); break;
    }
}

/* ---- errors out --------------------------------------------------------------------------------
 */

/* The message about a datagram: as much of it as fits into IPv6's smallest MTU. */
static void icmpv6_compose_error(struct rte_mbuf *mbuf, const struct ip_datagram *about,
                                 enum icmpv6_error error, uint32_t at)
{
    static const struct {
        uint8_t type, code;
    } numbers[] = {
        [ICMPV6_ERROR_PORT] = {ICMPV6_TYPE_UNREACHABLE, ICMPV6_CODE_PORT},
        [ICMPV6_ERROR_PROTOCOL] = {ICMPV6_TYPE_PARAMETER_PROBLEM, ICMPV6_CODE_NEXT_HEADER},
        [ICMPV6_ERROR_OPTION] = {ICMPV6_TYPE_PARAMETER_PROBLEM, ICMPV6_CODE_OPTION},
    };
    uint32_t quote_bytes = (uint32_t)about->mbuf->l3_len + about->mbuf->data_len;
    uint32_t quote_bytes_max = IPV6_MTU_MIN - IPV6_HEADER_BYTES - ICMPV6_HEADER_BYTES;
    quote_bytes = quote_bytes < quote_bytes_max ? quote_bytes : quote_bytes_max;
    uint8_t *message =
        (uint8_t *)rte_pktmbuf_append(mbuf, (uint16_t)(ICMPV6_HEADER_BYTES + quote_bytes));
    CHECK(message != NULL);
    memcpy(message + ICMPV6_HEADER_BYTES, ip_header_of(about->mbuf), quote_bytes);
    wire_icmpv6_compose_error(message, numbers[error].type, numbers[error].code, at, quote_bytes,
                              &about->destination, &about->source);
}

void icmpv6_send_error(struct net *net, const struct ip_datagram *about, enum icmpv6_error error,
                       uint32_t at, const struct instant *now)
{
    CHECK(about->mbuf->l3_len >= IPV6_HEADER_BYTES && about->mbuf->data_off >= about->mbuf->l3_len);
    static const struct address nobody;
    if (about->destination.bytes[0] == 0xff || address_equal(&about->source, &nobody)) {
        return;
    }
    if (!icmp_may_send_error(net, now)) {
        net_count(net, METRIC_NET_ICMP_ERRORS_SUPPRESSED);
        return;
    }
    struct rte_mbuf *mbuf = net_allocate(net);
    if (mbuf == NULL) {
        return;
    }
    icmpv6_compose_error(mbuf, about, error, at);
    net_count(net, METRIC_NET_ICMP_ERRORS_SENT);
    ip_output_to_station(net, about->interface, &about->destination, &about->source, IPPROTO_ICMPV6,
                         &about->source_mac, mbuf);
}
