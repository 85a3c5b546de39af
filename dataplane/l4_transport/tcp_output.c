/* What to send and when. tcp_output walks the dirty streams once per pass, after the sessions have
 * written their replies: so all replies of a pass leave together, and the ACK of the requests rides
 * on them. Text stays in stream.out until it is acknowledged; no packet buffer is held for it.
 */
#include "dataplane/l4_transport/tcp_internal.h"

#define TX_RESERVE       64U  /* places in the transmit array that text leaves to ACKs and resets */
#define HEADERS_MAX      100U /* of IPv6 and TCP, with options */
#define CUT_SEGMENTS_MAX 64U  /* of one packet: what the least of the ports cuts at once */
#define SELDOM_MS        16U  /* between replies: a peer delays its ACK for longer */

static inline uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static bool transmit_array_is_full(const struct tcp_connection *c)
{
    return c->interface->tx_count >= NET_TX_QUEUE - TX_RESERVE;
}

static bool fin_is_in_flight(const struct tcp_connection *c)
{
    return tcp_state_fin_sent((enum tcp_state)c->state);
}

static void fin_left(struct tcp *tcp, struct tcp_connection *c)
{
    tcp_set_state(tcp, c, c->state == TCP_CLOSE_WAIT ? TCP_LAST_ACK : TCP_FIN_WAIT_1);
}

static uint32_t unsent_bytes(const struct tcp_connection *c)
{
    return tcp_state_sends((enum tcp_state)c->state)
               ? (uint32_t)c->stream.out.size - tcp_flight_bytes(c)
               : 0;
}

/* New text at SND.NXT; FIN goes with the last byte. */
static bool send_new(struct tcp *tcp, struct tcp_connection *c, uint32_t text_bytes,
                     const struct instant *now)
{
    bool last = text_bytes == unsent_bytes(c);
    bool fin = last && c->detached;
    uint8_t flags = (uint8_t)((last && text_bytes > 0 ? TCP_PSH : 0) | (fin ? TCP_FIN : 0));
    if (!tcp_recovery_has_room(tcp, c)) {
        return false; /* the next ACK makes some */
    }
    if (!tcp_send_segment(tcp, c, c->snd_nxt, text_bytes, flags, now)) {
        stream_mark_dirty(&c->stream);
        return false;
    }
    uint32_t end = c->snd_nxt + text_bytes + fin;
    tcp_recovery_on_sent(tcp, c, end, now);
    c->snd_nxt = end;
    if (fin) {
        fin_left(tcp, c);
    }
    return true;
}

/* How much may be sent by the peer's window, with the sender's silly window avoidance
 * (RFC 9293 3.8.6.2.1): full segments, all there is, or half of the largest window seen. */
static uint32_t allowed_by_window(const struct tcp_connection *c, uint32_t wanted)
{
    int32_t room = (int32_t)(c->snd_una + c->snd_wnd - c->snd_nxt);
    if (room <= 0) {
        return 0;
    }
    if (wanted <= (uint32_t)room) {
        return wanted;
    }
    return (uint32_t)room >= c->snd_wnd_max / 2 ? (uint32_t)room : 0;
}

/* Where the port cuts packets, text that may follow at once goes with a full segment: whole
 * segments, or all there is. In one pass no more than the transmit array would take one by one:
 * each takes a buffer. */
static uint32_t extend(const struct tcp *tcp, const struct tcp_connection *c, uint32_t size,
                       uint32_t unsent, uint32_t pipe)
{
    const struct net_interface *interface = c->interface;
    uint32_t most = LIKELY(c->ipv4) ? interface->tx_tso_bytes : interface->tx_tso_bytes_ipv6;
    uint32_t mss = c->snd_mss;
    if (LIKELY(most == 0) || size < mss || unsent == size || tcp->cut_segments >= NET_TX_QUEUE) {
        return size;
    }
    most = most > HEADERS_MAX ? most - HEADERS_MAX : 0;
    most = least(most, CUT_SEGMENTS_MAX * mss);
    most = least(most, c->cwnd > pipe ? c->cwnd - pipe : 0);
    most = least(most, c->snd_una + c->snd_wnd - c->snd_nxt); /* at least a segment's */
    uint32_t kept_max = tcp->options.send_unacknowledged_bytes_max, flight = tcp_flight_bytes(c);
    most = least(most, kept_max > flight ? kept_max - flight : 0);
    uint32_t whole = most >= unsent ? unsent : most / mss * mss;
    return whole > size ? whole : size;
}

static void send_new_text(struct tcp *tcp, struct tcp_connection *c, uint32_t pipe,
                          const struct instant *now)
{
    uint32_t unsent;
    c->cwnd_limited = false;
    while ((unsent = unsent_bytes(c)) > 0) {
        uint32_t wanted = unsent < c->snd_mss ? unsent : c->snd_mss;
        uint32_t size = allowed_by_window(c, wanted);
        if (size == 0) {
            return;
        }
        if (pipe > 0 && pipe + size > c->cwnd) {
            c->cwnd_limited = true;
            return;
        }
        if (tcp_flight_bytes(c) + size > tcp->options.send_unacknowledged_bytes_max &&
            tcp_flight_bytes(c) > 0) {
            return;
        }
        if (transmit_array_is_full(c)) {
            stream_mark_dirty(&c->stream);
            return;
        }
        size = extend(tcp, c, size, unsent, pipe);
        if (!send_new(tcp, c, size, now)) {
            return;
        }
        pipe += size;
    }
}

/* Sends text of [seq, limit) again, at most one segment, with the FIN if it lies there. Returns how
 * far it got in sequence space; 0: no buffer. */
static uint32_t send_again(struct tcp *tcp, struct tcp_connection *c, uint32_t seq, uint32_t limit,
                           const struct instant *now)
{
    uint32_t text_end = tcp_send_end(c);
    uint32_t text = seq_before(seq, text_end) ? seq_min(text_end, limit) - seq : 0;
    text = text < c->snd_mss ? text : c->snd_mss;
    bool fin = fin_is_in_flight(c) && seq + text == text_end && seq_before(text_end, limit);
    uint8_t flags =
        (uint8_t)((seq + text == text_end && text > 0 ? TCP_PSH : 0) | (fin ? TCP_FIN : 0));
    if ((text == 0 && !fin) || !tcp_send_segment(tcp, c, seq, text, flags, now)) {
        return 0;
    }
    uint32_t bytes = text + (fin ? 1U : 0U);
    metric_add(tcp->metrics, METRIC_TCP_RETRANSMITS, 1);
    tcp_recovery_on_resent(tcp, c, seq, seq + bytes, now);
    return bytes;
}

/* Returns what was sent. */
static uint32_t send_lost_text(struct tcp *tcp, struct tcp_connection *c, uint32_t pipe,
                               const struct instant *now)
{
    uint32_t start = c->snd_una, end, total = 0;
    while (c->has_flight && tcp_flight_next_lost(c->flight, start, &start, &end)) {
        uint32_t size = end - start < c->snd_mss ? end - start : c->snd_mss;
        if (pipe > 0 && pipe + size > c->cwnd) {
            break;
        }
        uint32_t sent = transmit_array_is_full(c) ? 0 : send_again(tcp, c, start, end, now);
        if (sent == 0) {
            stream_mark_dirty(&c->stream);
            break;
        }
        start += sent;
        pipe += sent;
        total += sent;
    }
    return total;
}

void tcp_resend_first(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    uint32_t start = c->snd_una, end = c->snd_nxt;
    if (c->has_flight && !tcp_flight_next_lost(c->flight, start, &start, &end)) {
        return;
    }
    if (transmit_array_is_full(c) || send_again(tcp, c, start, end, now) == 0) {
        stream_mark_dirty(&c->stream);
    }
}

/* Nothing in flight, text waiting, no window: only a probe can find out when it opens. */
static bool must_persist(const struct tcp_connection *c)
{
    return tcp_flight_bytes(c) == 0 && unsent_bytes(c) > 0;
}

/* F-RTO lets new text go first; when there is none, or no room for it, the lost. */
static void send_text(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    uint32_t pipe = tcp_pipe_bytes(c), nxt_before = c->snd_nxt, sent = 0;
    if (c->frto == TCP_FRTO_SECOND) {
        send_new_text(tcp, c, pipe, now);
        if (c->snd_nxt != nxt_before || seq_before(c->recovery_point, c->snd_nxt)) {
            return;
        }
        c->frto = TCP_FRTO_NONE;
    }
    sent = send_lost_text(tcp, c, pipe, now);
    if (tcp_lost_bytes(c) == 0) {
        send_new_text(tcp, c, pipe + sent, now);
    }
    if (c->recovery == TCP_RECOVERY_FAST) {
        c->flight->prr_sent += sent + (c->snd_nxt - nxt_before);
    }
}

/* RFC 5681 4.1. */
static bool was_silent(const struct tcp_connection *c, const struct instant *now)
{
    return tcp_send_tick(now) - c->last_send > tcp_rto_us(c) >> 10;
}

void tcp_transmit(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    uint32_t flight_before = tcp_flight_bytes(c), nxt_before = c->snd_nxt;
    c->cwnd_stale |= flight_before == 0 && was_silent(c, now);
    if (unsent_bytes(c) > 0) {
        tcp_settle_window(tcp, c);
    }
    send_text(tcp, c, now);
    if (c->detached && tcp_state_sends((enum tcp_state)c->state) && unsent_bytes(c) == 0) {
        send_new(tcp, c, 0, now);
    }
    if (must_persist(c)) {
        if (!c->stream.dirty) {
            tcp_arm_persist(tcp, c, now);
        }
    } else if (tcp_flight_bytes(c) > 0 && (c->retransmit_due == TCP_NEVER || flight_before == 0 ||
                                           (c->snd_nxt != nxt_before && c->due == TCP_DUE_PROBE))) {
        tcp_arm_retransmit(tcp, c, now);
    }
}

void tcp_send_probe(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    metric_add(tcp->metrics, METRIC_TCP_TAIL_PROBES, 1);
    uint32_t unsent = unsent_bytes(c);
    uint32_t size = allowed_by_window(c, unsent < c->snd_mss ? unsent : c->snd_mss);
    if (unsent > 0 && size > 0) {
        send_new(tcp, c, size, now);
        c->probe = TCP_PROBE_NEW;
    } else {
        uint32_t flight = tcp_flight_bytes(c);
        uint32_t back = flight < c->snd_mss ? flight : c->snd_mss;
        send_again(tcp, c, c->snd_nxt - back, c->snd_nxt, now);
        c->probe = TCP_PROBE_AGAIN;
    }
    c->probe_end = c->snd_nxt;
}

/* Whether the window has opened enough to be worth a segment of its own: what the peer knows of is
 * less than half the buffer, and it gains two segments, or half the buffer. */
static bool window_update_is_due(const struct tcp *tcp, const struct tcp_connection *c)
{
    uint32_t half = tcp->options.receive_buffer_bytes_max / 2, two = 2U * c->offered_mss;
    if (c->rcv_adv - c->rcv_nxt > half || !tcp_state_receives((enum tcp_state)c->state)) {
        return false;
    }
    return tcp_receive_edge(tcp, c) - c->rcv_adv >= (half < two ? half : two);
}

static void acknowledge(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    bool now_due = c->ack_now || (c->ack_pending && tcp->options.delayed_ack_ms == 0);
    if (now_due || window_update_is_due(tcp, c)) {
        if (!tcp_send_ack(tcp, c, now)) {
            c->ack_pending = true;
            tcp_arm_delayed_ack(tcp, c, now);
        }
    } else if (c->ack_pending) {
        tcp_arm_delayed_ack(tcp, c, now);
    }
}

static void abort_connection(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    if (c->state != TCP_SYN_SENT && c->state != TCP_TIME_WAIT) {
        tcp_send_reset(tcp, c, now);
    }
    tcp_connection_end(tcp, c, NULL);
}

/* What the session asked for. False: the connection is gone. */
static bool follow_requests(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    struct stream *stream = &c->stream;
    if (c->detached) {
        return true;
    }
    bool handshaking = c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED;
    if (stream->abort_requested || (stream->close_requested && handshaking)) {
        abort_connection(tcp, c, now);
        return false;
    }
    if (stream->close_requested) {
        return tcp_detach_session(tcp, c, now);
    }
    if (stream->drain_below != 0 && stream->out.size <= stream->drain_below) {
        stream->drain_below = 0;
        c->drained_pending = true;
        tcp_queue_pending(tcp, c);
    }
    return true;
}

/* What most replies are: all there is, in one segment, and nothing else under way or asked for. The
 * windows say nothing else about it than send_new_text would find: with nothing under way cwnd lets
 * one segment through. */
static inline bool is_plain_reply(const struct tcp_connection *c)
{
    const struct stream *stream = &c->stream;
    uint32_t reasons = !tcp_is_plain(c);
    reasons |= c->snd_nxt != c->snd_una;
    reasons |= stream->out.size - 1 >= c->snd_mss; /* and when there is nothing */
    reasons |= stream->out.size > c->snd_wnd;
    reasons |= stream->close_requested | stream->abort_requested;
    reasons |= stream->drain_below != 0;
    reasons |= transmit_array_is_full(c);
    return reasons == 0;
}

/* Text that has left waits for its ACK for as long as the peer delays that. Of a connection that is
 * asked again before, it is gone soon; those that ask seldom are many, and each would keep a page.
 */
static inline void keep_reply(struct tcp *tcp, struct tcp_connection *c, uint32_t silent_ms)
{
    if (silent_ms >= SELDOM_MS && !c->has_cursor) {
        byte_queue_shrink(&c->stream.out, tcp->options.pool);
    }
}

/* The segment acknowledges what there is to be, and says all there is about the window. */
static inline void send_plain_reply(struct tcp *tcp, struct tcp_connection *c,
                                    const struct instant *now)
{
    uint32_t size = (uint32_t)c->stream.out.size;
    c->cwnd_limited = false;
    uint32_t silent_ms = tcp_send_tick(now) - c->last_send;
    c->cwnd_stale |= was_silent(c, now);
    if (UNLIKELY(!tcp_send_segment(tcp, c, c->snd_nxt, size, TCP_PSH, now))) {
        stream_mark_dirty(&c->stream);
        acknowledge(tcp, c, now);
        return;
    }
    keep_reply(tcp, c, silent_ms);
    c->flight_sent_us = (uint32_t)now->mono_us;
    c->snd_nxt += size;
    tcp_arm_retransmit(tcp, c, now);
}

void tcp_output_connection(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    if (LIKELY(is_plain_reply(c))) {
        send_plain_reply(tcp, c, now);
        return;
    }
    if (c->state == TCP_CLOSED || !follow_requests(tcp, c, now)) {
        return;
    }
    if (c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED) {
        return;
    }
    if (c->state != TCP_TIME_WAIT) {
        tcp_transmit(tcp, c, now);
    }
    acknowledge(tcp, c, now);
}
