/* Opening a connection: SYN in, SYN and SYN,ACK out, what both sides agreed on.
 *
 * A half-open connection takes one object of the pool and their number is bounded; beyond the bound
 * SYNs are answered with cookies, for which nothing is kept (tcp_cookie.h). Text on a SYN is not
 * accepted (it comes again after the handshake). Initial sequence numbers: RFC 6528.
 */
#include "dataplane/l4_transport/tcp_internal.h"

#define PURPOSE_ISN       1U
#define PURPOSE_TIMESTAMP 2U
#define ISN_TICK_US       4U
#define MSS_MAX           65000U /* header and text stay below 64 KiB */

static uint32_t initial_sequence(const struct tcp *tcp, const struct tcp_connection *c,
                                 const struct instant *now)
{
    return (uint32_t)(now->mono_us / ISN_TICK_US) +
           (uint32_t)tcp_secret_of_tuple(&tcp->secret, &c->stream.local, &c->stream.peer,
                                         PURPOSE_ISN);
}

static uint16_t headers_bytes(const struct tcp_connection *c)
{
    return address_is_ipv4(&c->stream.peer.address) ? TCP_IPV4_HEADERS_BYTES
                                                    : TCP_IPV6_HEADERS_BYTES;
}

static uint16_t clamp_mss(uint32_t mss, uint32_t least)
{
    mss = mss < least ? least : mss;
    return (uint16_t)(mss > MSS_MAX ? MSS_MAX : mss);
}

/* From the peer's MSS and the path's MTU: text that fits beside the options of a plain segment. */
void tcp_update_segment_size(struct tcp *tcp, struct tcp_connection *c)
{
    uint32_t path = c->path_mtu > headers_bytes(c) ? c->path_mtu - (uint32_t)headers_bytes(c) : 0;
    uint32_t mss = c->peer_mss < path ? c->peer_mss : path;
    mss = clamp_mss(mss, tcp->options.segment_bytes_min);
    c->snd_mss = (uint16_t)(mss - (c->ts_enabled ? TCP_TIMESTAMPS_BYTES : 0U));
}

static void init_sending(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    c->iss = initial_sequence(tcp, c, now);
    c->snd_una = c->iss;
    c->snd_nxt = c->iss + 1;
    c->ts_offset = (uint32_t)tcp_secret_of_tuple(&tcp->secret, &c->stream.local, &c->stream.peer,
                                                 PURPOSE_TIMESTAMP);
    c->offered_mss = clamp_mss(c->interface->mtu - (uint32_t)headers_bytes(c), TCP_MSS_DEFAULT / 2);
    c->peer_mss = TCP_MSS_DEFAULT;
    c->flight_sent_us = (uint32_t)now->mono_us;
}

/* What the peer's SYN offers; what it does not offer is not used (RFC 7323 1.3, 2.2). An MSS of 0
 * counts as none. */
static void adopt_offer(struct tcp *tcp, struct tcp_connection *c,
                        const struct tcp_segment *segment)
{
    const struct tcp_header_options *offer = &segment->options;
    c->irs = segment->seq;
    c->rcv_nxt = c->rcv_adv = c->last_ack_sent = segment->seq + 1;
    c->peer_mss = offer->has_mss && offer->mss != 0 ? offer->mss : TCP_MSS_DEFAULT;
    c->sack_enabled = offer->has_sack_permitted;
    c->ts_enabled = offer->has_timestamps;
    c->ts_recent = offer->ts_value;
    c->snd_shift = offer->has_window_scale ? offer->window_scale : 0;
    c->rcv_shift = offer->has_window_scale ? tcp->receive_shift : 0;
    c->snd_wnd = c->snd_wnd_max = segment->window; /* never scaled on a SYN */
    c->snd_wl1 = segment->seq;
    tcp_update_segment_size(tcp, c);
    tcp_congestion_init(c);
}

/* On a SYN the window is never scaled. */
static uint16_t syn_window(const struct tcp *tcp)
{
    uint32_t buffer = tcp->options.receive_buffer_bytes_max;
    return (uint16_t)(buffer > UINT16_MAX ? UINT16_MAX : buffer);
}

/* SYN in SYN-SENT; SYN,ACK in SYN-RECEIVED, with what both offered. */
bool tcp_send_syn(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    bool answer = c->state == TCP_SYN_RECEIVED;
    uint16_t window = syn_window(tcp);
    struct tcp_header_options options = {
        .has_mss = true,
        .mss = c->offered_mss,
        .has_sack_permitted = !answer || c->sack_enabled,
        .has_timestamps = !answer || c->ts_enabled,
        .ts_value = tcp_timestamp(c, now),
        .ts_echo = answer ? c->ts_recent : 0,
        .has_window_scale = !answer || c->syn_had_scale,
        .window_scale = tcp->receive_shift,
    };
    if (answer) {
        c->rcv_adv = c->rcv_nxt + window;
    }
    tcp_send_handshake(tcp, c, answer ? TCP_SYN | TCP_ACK : TCP_SYN, window, &options, now);
    return true;
}

static void remember_station(struct tcp_connection *c, const struct ip_datagram *datagram)
{
    c->station = datagram->source_mac;
    c->station_known = true;
}

static bool may_connect(struct tcp *tcp, const struct tcp_segment *segment,
                        const struct instant *now)
{
    enum metric reason = access_check(tcp->options.access, &segment->datagram->source,
                                      segment->local_port, now->mono_us);
    if (reason != METRIC_COUNT) {
        metric_add(tcp->metrics, reason, 1);
        return false;
    }
    if (tcp->connection_count >= tcp->options.connections_max) {
        metric_add(tcp->metrics, METRIC_TCP_DROP_CONNECTION_LIMIT, 1);
        return false;
    }
    return true;
}

/* The new numbers begin beyond the old ones: a late segment of the old connection fits nowhere. */
static void step_over(struct tcp_connection *c, const struct tcp_connection *before)
{
    if (before != NULL && !seq_before(before->snd_nxt, c->iss)) {
        c->iss = before->snd_nxt + UINT16_MAX + 2;
        c->snd_una = c->iss;
        c->snd_nxt = c->iss + 1;
    }
}

static struct endpoint local_of(const struct tcp_segment *segment)
{
    return (struct endpoint){segment->datagram->destination, segment->local_port};
}

static struct endpoint peer_of(const struct tcp_segment *segment)
{
    return (struct endpoint){segment->datagram->source, segment->peer_port};
}

static void adopt_cookie(struct tcp_connection *c, uint32_t cookie)
{
    c->iss = c->snd_una = cookie;
    c->snd_nxt = cookie + 1;
}

/* The answer is composed from a connection that is gone with this call. */
static void answer_with_cookie(struct tcp *tcp, const struct tcp_segment *segment,
                               const struct instant *now)
{
    struct endpoint local = local_of(segment), peer = peer_of(segment);
    struct tcp_connection c;
    tcp_connection_init(tcp, &c, &local, &peer, segment->datagram->interface, now);
    c.state = TCP_SYN_RECEIVED;
    remember_station(&c, segment->datagram);
    init_sending(tcp, &c, now);
    adopt_offer(tcp, &c, segment);
    adopt_cookie(
        &c, tcp_cookie_make(&tcp->cookies, &local, &peer, segment->seq, c.peer_mss, now->mono_us));
    if (c.ts_enabled) {
        uint32_t clock = tcp_timestamp(&c, now);
        c.ts_offset += tcp_cookie_stamp(clock, &segment->options) - clock;
        c.syn_had_scale = segment->options.has_window_scale;
    } else {
        c.sack_enabled = false; /* nowhere to remember it */
    }
    metric_add(tcp->metrics, METRIC_TCP_COOKIES_SENT, 1);
    tcp_send_syn(tcp, &c, now);
}

/* The SYN as it must have been. */
static struct tcp_segment syn_of_cookie(const struct tcp_segment *segment, uint16_t mss)
{
    struct tcp_segment syn = *segment;
    syn.seq--;
    syn.options = (struct tcp_header_options){.has_mss = true, .mss = mss};
    if (segment->options.has_timestamps) {
        syn.options.has_timestamps = true;
        syn.options.ts_value = segment->options.ts_value;
        tcp_cookie_read_stamp(segment->options.ts_echo, &syn.options);
    }
    return syn;
}

struct tcp_connection *tcp_accept_cookie(struct tcp *tcp, const struct tcp_segment *segment,
                                         uint32_t listener, const struct instant *now)
{
    struct endpoint local = local_of(segment), peer = peer_of(segment);
    uint32_t cookie = segment->ack - 1;
    uint16_t mss;
    if (!tcp_cookie_check(&tcp->cookies, &local, &peer, segment->seq - 1, cookie, now->mono_us,
                          &mss) ||
        !may_connect(tcp, segment, now)) {
        return NULL;
    }
    struct tcp_connection *c =
        tcp_connection_acquire(tcp, &local, &peer, segment->datagram->interface, now);
    if (c == NULL) {
        return NULL;
    }
    c->passive = true;
    c->stream.listener = listener;
    remember_station(c, segment->datagram);
    init_sending(tcp, c, now);
    adopt_cookie(c, cookie);
    tcp_set_state(tcp, c, TCP_SYN_RECEIVED);
    struct tcp_segment syn = syn_of_cookie(segment, mss);
    adopt_offer(tcp, c, &syn);
    c->rcv_adv = c->rcv_nxt + syn_window(tcp);
    c->flight_sent_us = 0; /* nobody knows when the answer left: the echo is no sample either */
    c->resent_us = now->mono_us;
    metric_add(tcp->metrics, METRIC_TCP_COOKIES_ACCEPTED, 1);
    return c;
}

void tcp_accept_syn(struct tcp *tcp, struct tcp_segment *segment, uint32_t listener,
                    const struct tcp_connection *before, const struct instant *now)
{
    struct endpoint local = local_of(segment), peer = peer_of(segment);
    if (!may_connect(tcp, segment, now)) {
        return;
    }
    if (tcp->half_open_count >= tcp->options.half_open_max) {
        answer_with_cookie(tcp, segment, now);
        return;
    }
    struct tcp_connection *c =
        tcp_connection_acquire(tcp, &local, &peer, segment->datagram->interface, now);
    if (c == NULL) {
        return;
    }
    c->passive = true;
    c->stream.listener = listener;
    remember_station(c, segment->datagram);
    init_sending(tcp, c, now);
    step_over(c, before);
    tcp_set_state(tcp, c, TCP_SYN_RECEIVED);
    adopt_offer(tcp, c, segment);
    c->syn_had_scale = segment->options.has_window_scale;
    tcp_send_syn(tcp, c, now);
    c->retransmit_due = now->mono_us + tcp_rto_us(c);
    tcp_arm_timer(tcp, c, c->retransmit_due);
}

void tcp_start_active(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    init_sending(tcp, c, now);
    tcp_set_state(tcp, c, TCP_SYN_SENT);
    metric_add(tcp->metrics, METRIC_TCP_OPENS_ACTIVE, 1);
    tcp_send_syn(tcp, c, now);
    c->retransmit_due = now->mono_us + tcp_rto_us(c);
    tcp_arm_timer(tcp, c, c->retransmit_due);
}

/* RFC 6191: a newer timestamp, or without timestamps a sequence number beyond what was received. */
bool tcp_syn_may_reuse(const struct tcp_connection *c, const struct tcp_segment *segment)
{
    if ((segment->flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) != TCP_SYN) {
        return false;
    }
    if (c->ts_enabled && segment->options.has_timestamps &&
        segment->options.ts_value != c->ts_recent) {
        return seq_before(c->ts_recent, segment->options.ts_value);
    }
    return seq_before(c->rcv_nxt, segment->seq);
}

void tcp_establish(struct tcp *tcp, struct tcp_connection *c, const struct tcp_segment *segment,
                   const struct instant *now, struct tcp_events *events)
{
    tcp_measure_round_trip(tcp, c, segment, now);
    bool lost_syn = c->retries > 0;
    c->snd_una = c->iss + 1;
    c->retries = c->backoff = 0;
    c->retransmit_due = TCP_NEVER;
    if (c->srtt_us == 0) {
        c->rto_us = lost_syn ? 3 * TCP_RTO_INITIAL_US : TCP_RTO_INITIAL_US; /* RFC 6298 5.7 */
    }
    tcp_congestion_init(c);
    remember_station(c, segment->datagram);
    tcp_set_state(tcp, c, TCP_ESTABLISHED);
    c->opened = true;
    if (c->passive) {
        metric_add(tcp->metrics, METRIC_TCP_OPENS_PASSIVE, 1);
    }
    tcp_emit(events, c, STREAM_OPENED, slice_of(NULL, 0));
    tcp_arm_idle(tcp, c, now);
    stream_mark_dirty(&c->stream);
}

/* RFC 9293 3.10.7.3, fourth step: the SYN. */
static void take_syn(struct tcp *tcp, struct tcp_connection *c, struct tcp_segment *segment,
                     const struct instant *now, struct tcp_events *events)
{
    bool acknowledged = (segment->flags & TCP_ACK) != 0;
    adopt_offer(tcp, c, segment);
    if (acknowledged) {
        c->rcv_adv = c->rcv_nxt + syn_window(tcp);
        tcp_establish(tcp, c, segment, now, events);
        c->ack_now = true;
        return;
    }
    /* Simultaneous open. */
    remember_station(c, segment->datagram);
    c->syn_had_scale = segment->options.has_window_scale;
    tcp_set_state(tcp, c, TCP_SYN_RECEIVED);
    tcp_send_syn(tcp, c, now);
}

/* RFC 9293 3.10.7.3. */
void tcp_input_syn_sent(struct tcp *tcp, struct tcp_connection *c, struct tcp_segment *segment,
                        const struct instant *now, struct tcp_events *events)
{
    bool has_ack = (segment->flags & TCP_ACK) != 0;
    bool is_syn = (segment->flags & (TCP_SYN | TCP_FIN)) == TCP_SYN;
    if (has_ack && segment->ack != c->snd_nxt) {
        metric_add(tcp->metrics, METRIC_TCP_DROP_BAD_ACK, 1);
        tcp_send_reset_reply(tcp, segment);
        return;
    }
    if (segment->flags & TCP_RST) {
        if (has_ack) {
            metric_add(tcp->metrics, METRIC_TCP_RESETS_IN, 1);
            tcp_connection_end(tcp, c, events);
        } else {
            metric_add(tcp->metrics, METRIC_TCP_DROP_NO_ANSWER, 1);
        }
    } else if (is_syn) {
        take_syn(tcp, c, segment, now, events);
    } else {
        metric_add(tcp->metrics, METRIC_TCP_DROP_NO_ANSWER, 1);
    }
}
