/* ICMP errors that quote a segment of ours (RFC 5927, RFC 9293 3.9.2.2, RFC 1191, RFC 8201).
 *
 * Anybody can forge them. A quoted sequence number that is not in flight is ignored; what stays is
 * soft: no error ends a synchronized connection, the retransmission timer has the last word. A
 * smaller path MTU is believed down to 552 bytes, with IPv6 down to 1280, which every path has.
 */
#include <netinet/in.h>

#include "dataplane/l4_transport/tcp_internal.h"

#define NOTICES_AT_ONCE 32U

static bool quotes_text_in_flight(const struct tcp_connection *c, uint32_t sequence)
{
    return seq_at_or_before(c->snd_una, sequence) && seq_before(sequence, c->snd_nxt);
}

/* What is in flight was too large for the path: all of it goes again in smaller segments, and the
 * window stays as it is, for this is no sign of congestion. */
static void lower_path_mtu(struct tcp *tcp, struct tcp_connection *c, uint16_t mtu,
                           const struct instant *now)
{
    uint16_t least =
        address_is_ipv4(&c->stream.peer.address) ? TCP_PATH_MTU_MIN : TCP_PATH_MTU_MIN_IPV6;
    mtu = mtu < least ? least : mtu;
    if (mtu >= c->path_mtu) {
        return;
    }
    c->path_mtu = mtu;
    tcp_update_segment_size(tcp, c);
    if (c->state < TCP_ESTABLISHED) {
        return;
    }
    tcp_recovery_resend_all(tcp, c, now);
}

static void take_notice(struct tcp *tcp, const struct icmp_notice *notice,
                        const struct instant *now)
{
    uint64_t hash = tcp_table_hash(&notice->local.address, notice->local.port,
                                   &notice->peer.address, notice->peer.port);
    struct tcp_connection *c =
        tcp_table_find(&tcp->table, hash, &notice->local.address, notice->local.port,
                       &notice->peer.address, notice->peer.port);
    if (c == NULL || !quotes_text_in_flight(c, notice->sequence)) {
        metric_add(tcp->metrics, METRIC_NET_DROP_ICMP_STALE, 1);
        return;
    }
    if (notice->kind == ICMP_NOTICE_PACKET_TOO_BIG) {
        lower_path_mtu(tcp, c, notice->mtu, now);
    } else if (c->state == TCP_SYN_SENT && notice->kind == ICMP_NOTICE_NOBODY_THERE) {
        tcp_connection_end(tcp, c, NULL);
    }
}

void tcp_take_icmp_notices(struct tcp *tcp, const struct instant *now)
{
    if (LIKELY(!net_has_icmp_notices(tcp->net))) {
        return;
    }
    struct icmp_notice notices[NOTICES_AT_ONCE];
    uint32_t count = net_take_icmp_notices(tcp->net, notices, NOTICES_AT_ONCE);
    for (uint32_t i = 0; i < count; i++) {
        if (notices[i].protocol == IPPROTO_TCP) {
            take_notice(tcp, &notices[i], now);
        }
    }
}
