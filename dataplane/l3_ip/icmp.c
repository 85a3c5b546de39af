/* ICMP (RFC 792, 1122, 5927): echo is answered in the packet it came in; errors about our packets
 * are kept for L4; unreachable messages go out at a limited rate. The notices and the limit serve
 * ICMPv6, too (icmpv6.c).
 *
 * Path: ip_input hands messages in; replies go back to the station they came from. Errors never
 * answer errors, groups, broadcasts or parts of datagrams: ip_input lets none of these come this
 * far. Memory: a fixed array of notices, emptied by L4 after each batch. Failure: counted drops.
 */
#include <netinet/in.h>

#include "dataplane/base/hash.h"
#include "dataplane/l3_ip/ip_internal.h"
#include "dataplane/l3_ip/wire_icmp.h"

#define ICMP_TOKENS_MAX        100U
#define ICMP_TOKEN_INTERVAL_US 2500ULL /* 400 tokens a second: about 200 errors */
#define ICMP_ERROR_BYTES_MAX   576U    /* of the whole IP packet (RFC 1812 4.3.2.3) */
#define ICMP_QUOTED_L4_BYTES   8U      /* the least an error must quote: ports and SEQ */

/* ---- errors in ---------------------------------------------------------------------------------
 */

/* The quoted header may be cut behind its first 8 L4 bytes, so its total length is not compared. */
static bool icmp_parse_quote(const struct net_interface *interface, struct slice quote,
                             struct icmp_notice *notice)
{
    if (quote.size < IPV4_HEADER_BYTES || quote.data[0] >> 4 != 4) {
        return false;
    }
    size_t header_bytes = (size_t)(quote.data[0] & 0x0f) * 4;
    if (header_bytes < IPV4_HEADER_BYTES || quote.size - ICMP_QUOTED_L4_BYTES < header_bytes) {
        return false;
    }
    uint8_t protocol = quote.data[9];
    bool first_part = (bytes_read_be16(quote.data + 6) & IPV4_OFFSET_MASK) == 0;
    uint32_t source = bytes_read_be32(quote.data + 12);
    if (!first_part || (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) ||
        !link_has_ipv4(interface, source)) {
        return false;
    }
    const uint8_t *l4 = quote.data + header_bytes;
    notice->protocol = protocol;
    ip_address_set(&notice->local.address, source);
    ip_address_set(&notice->peer.address, bytes_read_be32(quote.data + 16));
    notice->local.port = bytes_read_be16(l4);
    notice->peer.port = bytes_read_be16(l4 + 2);
    notice->sequence = protocol == IPPROTO_TCP ? bytes_read_be32(l4 + 4) : 0;
    return true;
}

static void icmp_note_kind(struct icmp_notice *notice, const uint8_t *message)
{
    uint8_t type = message[0], code = message[1];
    notice->kind = ICMP_NOTICE_OTHER;
    if (type != ICMP_TYPE_UNREACHABLE) {
        return;
    }
    if (code == ICMP_CODE_FRAGMENTATION_NEEDED) {
        notice->kind = ICMP_NOTICE_PACKET_TOO_BIG;
        notice->mtu = bytes_read_be16(message + 6);
    } else if (code == ICMP_CODE_PROTOCOL || code == ICMP_CODE_PORT) {
        notice->kind = ICMP_NOTICE_NOBODY_THERE;
    }
}

void icmp_keep_notice(struct net *net, struct rte_mbuf *mbuf, const struct icmp_notice *notice)
{
    if (net->notice_count == ICMP_NOTICES_MAX) {
        net_drop(net, mbuf, METRIC_NET_DROP_ICMP_NOTICES_FULL);
        return;
    }
    net->notices[net->notice_count++] = *notice;
    net_count(net, METRIC_NET_ICMP_ERRORS_RECEIVED);
    rte_pktmbuf_free(mbuf);
}

static void icmp_accept_error(struct net *net, const struct ip_datagram *datagram,
                              struct slice message)
{
    struct icmp_notice notice = {.kind = ICMP_NOTICE_OTHER};
    if (!icmp_parse_quote(datagram->interface, slice_from(message, ICMP_HEADER_BYTES), &notice)) {
        net_drop(net, datagram->mbuf, METRIC_NET_DROP_ICMP_QUOTE);
        return;
    }
    icmp_note_kind(&notice, message.data);
    icmp_keep_notice(net, datagram->mbuf, &notice);
}

bool net_has_icmp_notices(const struct net *net)
{
    return net->notice_count > 0;
}

uint32_t net_take_icmp_notices(struct net *net, struct icmp_notice *notices, uint32_t count_max)
{
    uint32_t count = net->notice_count < count_max ? net->notice_count : count_max;
    memcpy(notices, net->notices, count * sizeof(notices[0]));
    net->notice_count -= count;
    memmove(net->notices, net->notices + count, net->notice_count * sizeof(notices[0]));
    return count;
}

/* ---- echo --------------------------------------------------------------------------------------
 */

/* The request's own buffer, or a copy when somebody else holds it too or the headers have no room
 * in front. A reply that will be fragmented needs room for the IP header only, which came with it.
 */
static struct rte_mbuf *icmp_take_for_reply(struct net *net, const struct ip_datagram *datagram)
{
    struct rte_mbuf *mbuf = datagram->mbuf;
    uint32_t total = mbuf->pkt_len + net_header_bytes(&datagram->source);
    bool fragmented = total > datagram->interface->mtu;
    if (LIKELY(packet_is_exclusive(mbuf) &&
               (mbuf->data_off >= PACKET_HEADROOM_BYTES || fragmented))) {
        return mbuf;
    }
    struct rte_mbuf *copy = rte_pktmbuf_copy(mbuf, net->large_pool, 0, UINT32_MAX);
    rte_pktmbuf_free(mbuf);
    if (copy == NULL) {
        net_count(net, METRIC_NET_DROP_NO_BUFFER);
    }
    return copy;
}

void icmp_answer_echo(struct net *net, const struct ip_datagram *datagram, uint8_t reply_type)
{
    struct rte_mbuf *mbuf = icmp_take_for_reply(net, datagram);
    if (mbuf == NULL) {
        return;
    }
    packet_clear_offloads(mbuf);
    wire_icmp_make_echo_reply(rte_pktmbuf_mtod(mbuf, uint8_t *), reply_type);
    net_count(net, METRIC_NET_ICMP_ECHO_REPLIES);
    ip_output_to_station(net, datagram->interface, &datagram->destination, &datagram->source,
                         datagram->protocol, &datagram->source_mac, mbuf);
}

void icmp_input(struct net *net, const struct ip_datagram *datagram)
{
    struct slice message =
        slice_of(rte_pktmbuf_mtod(datagram->mbuf, uint8_t *), datagram->mbuf->data_len);
    if (message.size < ICMP_HEADER_BYTES) {
        net_drop(net, datagram->mbuf, METRIC_NET_DROP_ICMP_TRUNCATED);
        return;
    }
    if (!checksum_is_right(checksum_add(0, message.data, message.size))) {
        net_drop(net, datagram->mbuf, METRIC_NET_DROP_ICMP_CHECKSUM);
        return;
    }
    switch (message.data[0]) {
    case ICMP_TYPE_ECHO_REQUEST: icmp_answer_echo(net, datagram, ICMP_TYPE_ECHO_REPLY); break;
    case ICMP_TYPE_UNREACHABLE:
    case ICMP_TYPE_TIME_EXCEEDED:
    case ICMP_TYPE_PARAMETER_PROBLEM: icmp_accept_error(net, datagram, message); break;
    default: net_drop(net, datagram->mbuf, METRIC_NET_DROP_ICMP_TYPE); break;
    }
}

/* ---- errors out --------------------------------------------------------------------------------
 */

static void icmp_refill(struct icmp_limit *limit, uint64_t now_us)
{
    uint64_t earned = (now_us - limit->refilled_us) / ICMP_TOKEN_INTERVAL_US;
    limit->refilled_us += earned * ICMP_TOKEN_INTERVAL_US;
    uint64_t room = ICMP_TOKENS_MAX - limit->tokens;
    limit->tokens += (uint32_t)(earned < room ? earned : room);
}

bool icmp_may_send_error(struct net *net, const struct instant *now)
{
    struct icmp_limit *limit = &net->icmp_limit;
    icmp_refill(limit, now->mono_us);
    uint32_t price = 1 + (uint32_t)(random_next(&net->random) >> 32) % 3;
    if (limit->tokens < price) {
        return false;
    }
    limit->tokens -= price;
    return true;
}

/* Writes the message about a datagram into `mbuf`. */
static void icmp_compose_error(struct rte_mbuf *mbuf, const struct rte_mbuf *about, uint8_t code)
{
    uint32_t quote_bytes = (uint32_t)about->l3_len + about->data_len;
    uint32_t quote_bytes_max = ICMP_ERROR_BYTES_MAX - IPV4_HEADER_BYTES - ICMP_HEADER_BYTES;
    quote_bytes = quote_bytes < quote_bytes_max ? quote_bytes : quote_bytes_max;
    uint8_t *message =
        (uint8_t *)rte_pktmbuf_append(mbuf, (uint16_t)(ICMP_HEADER_BYTES + quote_bytes));
    CHECK(message != NULL);
    memcpy(message + ICMP_HEADER_BYTES, ip_header_of(about), quote_bytes);
    wire_icmp_compose_unreachable(message, code, quote_bytes);
}

static void icmp_send_unreachable(struct net *net, const struct ip_datagram *about, uint8_t code,
                                  const struct instant *now)
{
    CHECK(about->mbuf->l3_len >= IPV4_HEADER_BYTES && about->mbuf->data_off >= about->mbuf->l3_len);
    if (!icmp_may_send_error(net, now)) {
        net_count(net, METRIC_NET_ICMP_ERRORS_SUPPRESSED);
        return;
    }
    struct rte_mbuf *mbuf = net_allocate(net);
    if (mbuf == NULL) {
        return;
    }
    icmp_compose_error(mbuf, about->mbuf, code);
    net_count(net, METRIC_NET_ICMP_ERRORS_SENT);
    ip_output_to_station(net, about->interface, &about->destination, &about->source, IPPROTO_ICMP,
                         &about->source_mac, mbuf);
}

void icmp_send_protocol_unreachable(struct net *net, const struct ip_datagram *about,
                                    const struct instant *now)
{
    icmp_send_unreachable(net, about, ICMP_CODE_PROTOCOL, now);
}

void icmp_send_port_unreachable(struct net *net, const struct ip_datagram *about,
                                const struct instant *now)
{
    if (LIKELY(address_is_ipv4(&about->source))) {
        icmp_send_unreachable(net, about, ICMP_CODE_PORT, now);
    } else {
        icmpv6_send_error(net, about, ICMPV6_ERROR_PORT, 0, now);
    }
}
