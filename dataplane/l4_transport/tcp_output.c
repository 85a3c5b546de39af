/* What to send and when. tcp_output walks the dirty streams once per pass, after the sessions have
 * written their replies: so all replies of a pass leave together, and the ACK of the requests rides
 * on them. Text stays in stream.out until it is acknowledged; no packet buffer is held for it.
 */
#include "dataplane/l4_transport/tcp_internal.h"

#define TX_RESERVE 64U /* places in the transmit array that text leaves to ACKs and resets */

static bool transmit_array_is_full(const struct tcp_connection *c)
{
    return c->interface->tx_count >= NET_TX_QUEUE - TX_RESERVE;
}

static bool fin_is_in_flight(const struct tcp_connection *c)
{
    return tcp_state_fin_sent((enum tcp_state)c->state);
}

/* RFC 6298: one segment at a time is timed, and none while text is being sent again. */
static void start_timing(struct tcp_connection *c, uint32_t end, const struct instant *now)
{
    if (c->rtt_sent_us == 0 && c->recovery == TCP_RECOVERY_NONE) {
        c->rtt_seq = end;
        c->rtt_sent_us = now->mono_us;
    }
}

static void fin_left(struct tcp *tcp, struct tcp_connection *c)
{
    c->snd_nxt++;
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
    bool fin = last && c->fin_queued;
    uint8_t flags = (uint8_t)((last && text_bytes > 0 ? TCP_PSH : 0) | (fin ? TCP_FIN : 0));
    if (!tcp_send_segment(tcp, c, c->snd_nxt, text_bytes, flags, now)) {
        stream_mark_dirty(&c->stream);
        return false;
    }
    c->snd_nxt += text_bytes;
    start_timing(c, c->snd_nxt, now);
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
    metric_add(tcp->metrics, METRIC_TCP_RETRANSMITS, 1);
    c->rtt_sent_us = 0;
    return text + (fin ? 1U : 0U);
}

bool tcp_retransmit_at(struct tcp *tcp, struct tcp_connection *c, uint32_t seq, uint32_t limit,
                       const struct instant *now)
{
    return send_again(tcp, c, seq, limit, now) > 0;
}

/* The next hole that counts as lost. */
static bool next_hole(const struct tcp_connection *c, uint32_t *start, uint32_t *end)
{
    if (!seq_before(c->high_rxt, c->lost_to)) {
        return false;
    }
    if (c->scoreboard != NULL) {
        return tcp_ranges_gap(c->scoreboard, c->high_rxt, c->lost_to, start, end);
    }
    *start = c->high_rxt;
    *end = c->lost_to;
    return true;
}

static uint32_t send_lost_text(struct tcp *tcp, struct tcp_connection *c, uint32_t pipe,
                               const struct instant *now)
{
    uint32_t start, end;
    while (next_hole(c, &start, &end)) {
        /* The first hole is sent again at once, whatever the window (RFC 5681 3.2 step 3). */
        if (start != c->snd_una && pipe + c->snd_mss > c->cwnd) {
            return pipe;
        }
        if (transmit_array_is_full(c)) {
            stream_mark_dirty(&c->stream);
            return pipe;
        }
        uint32_t sent = send_again(tcp, c, start, end, now);
        if (sent == 0) {
            stream_mark_dirty(&c->stream);
            return pipe;
        }
        if (start == c->snd_una) {
            c->rescue_nxt = c->snd_nxt;
        }
        c->high_rxt = start + sent;
        pipe += sent;
    }
    c->high_rxt = seq_max(c->high_rxt, c->lost_to);
    return pipe;
}

/* Nothing in flight, text waiting, no window: only a probe can find out when it opens. */
static bool must_persist(const struct tcp_connection *c)
{
    return tcp_flight_bytes(c) == 0 && unsent_bytes(c) > 0;
}

void tcp_transmit(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    uint32_t flight_before = tcp_flight_bytes(c);
    if (flight_before == 0 && c->last_send_us + tcp_rto_us(c) < now->mono_us) {
        tcp_congestion_restart_idle(c);
    }
    uint32_t nxt_before = c->snd_nxt;
    uint32_t pipe = tcp_pipe_bytes(c);
    uint32_t pipe_before = pipe;
    if (c->recovery != TCP_RECOVERY_NONE) {
        pipe = send_lost_text(tcp, c, pipe, now);
    }
    if (!seq_before(c->high_rxt, c->lost_to)) {
        send_new_text(tcp, c, pipe, now);
    }
    if (c->fin_queued && tcp_state_sends((enum tcp_state)c->state) && unsent_bytes(c) == 0) {
        send_new(tcp, c, 0, now);
    }
    if (must_persist(c)) {
        if (!c->stream.dirty) {
            tcp_arm_persist(tcp, c, now);
        }
    } else if (tcp_flight_bytes(c) > 0 && (c->retransmit_due == TCP_NEVER || flight_before == 0 ||
                                           c->snd_nxt != nxt_before || pipe != pipe_before)) {
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
    } else {
        uint32_t flight = tcp_flight_bytes(c);
        uint32_t back = flight < c->snd_mss ? flight : c->snd_mss;
        send_again(tcp, c, c->snd_nxt - back, c->snd_nxt, now);
    }
    c->probe_sent = true;
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
    if (c->ack_now || window_update_is_due(tcp, c)) {
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

void tcp_output_connection(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
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
