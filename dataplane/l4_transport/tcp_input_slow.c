/* The slow path: RFC 9293 3.10.7 step by step, with RFC 5961 (blind attacks), RFC 7323 (PAWS),
 * RFC 6191 and RFC 1337 (TIME-WAIT). Each step is a function that says whether the segment goes on.
 */
#include <netinet/in.h>

#include "dataplane/l4_transport/tcp_internal.h"

enum step { STEP_GO_ON, STEP_DONE };

/* RFC 5961 5 and 7: an ACK that tells a true peer where we are, at most ten a second for each
 * connection, the exact number drawn anew so that the limit tells an attacker nothing. */
void tcp_challenge(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    uint32_t now_ms = (uint32_t)(now->mono_us / 1000U);
    if (now_ms - c->challenge_window_ms >= 1000U || c->challenge_max == 0) {
        c->challenge_window_ms = now_ms;
        c->challenge_count = 0;
        uint32_t more =
            (uint32_t)(random_next(&tcp->random_state) >> 33) % (TCP_CHALLENGES_PER_SECOND / 2);
        c->challenge_max = (uint8_t)(TCP_CHALLENGES_PER_SECOND / 2 + 1 + more);
    }
    if (c->challenge_count >= c->challenge_max) {
        metric_add(tcp->metrics, METRIC_TCP_CHALLENGES_SUPPRESSED, 1);
        return;
    }
    c->challenge_count++;
    metric_add(tcp->metrics, METRIC_TCP_CHALLENGE_ACKS, 1);
    tcp_send_ack(tcp, c, now);
}

static uint32_t sequence_length(const struct tcp_segment *segment)
{
    return segment->text_bytes + ((segment->flags & TCP_SYN) != 0) +
           ((segment->flags & TCP_FIN) != 0);
}

/* RFC 9293 3.10.7.4, first step. Differences, both needed by true peers: an empty segment right at
 * the window's edge is accepted (a peer that filled the window acknowledges from there), and with a
 * zero window text at RCV.NXT lets the ACK through. */
static bool sequence_is_acceptable(const struct tcp_connection *c,
                                   const struct tcp_segment *segment)
{
    uint32_t length = sequence_length(segment);
    if (length == 0 || c->rcv_adv == c->rcv_nxt) {
        return seq_at_or_before(c->rcv_nxt, segment->seq) &&
               seq_at_or_before(segment->seq, c->rcv_adv);
    }
    return seq_before(segment->seq, c->rcv_adv) && seq_before(c->rcv_nxt, segment->seq + length);
}

/* RFC 5961 3.2: only the exact number resets; near it, the peer is asked. */
static enum step check_reset(struct tcp *tcp, struct tcp_connection *c,
                             const struct tcp_segment *segment, const struct instant *now,
                             struct tcp_events *events)
{
    if (!(segment->flags & TCP_RST)) {
        return STEP_GO_ON;
    }
    if (c->state == TCP_TIME_WAIT || !seq_at_or_before(c->rcv_nxt, segment->seq) ||
        (segment->seq != c->rcv_nxt && !seq_before(segment->seq, c->rcv_adv))) {
        metric_add(tcp->metrics, METRIC_TCP_DROP_RESET, 1);
        return STEP_DONE; /* RFC 1337: a reset does not end TIME-WAIT */
    }
    if (segment->seq != c->rcv_nxt) {
        metric_add(tcp->metrics, METRIC_TCP_DROP_RESET, 1);
        tcp_challenge(tcp, c, now);
        return STEP_DONE;
    }
    metric_add(tcp->metrics, METRIC_TCP_RESETS_IN, 1);
    tcp_connection_end(tcp, c, events);
    return STEP_DONE;
}

/* RFC 7323 5.5: in 24 days without a segment the peer's clock may have gone half round, so that the
 * last timestamp says nothing about the next. */
static bool timestamp_is_outdated(const struct tcp_connection *c, const struct instant *now)
{
    static const uint32_t outdated = (24ULL * 24 * 3600 * 1000000) >> TCP_RECEIVE_TICK_BITS;
    return tcp_receive_tick(now) - c->last_receive > outdated;
}

/* RFC 7323 5.3. A segment without the option is accepted, as Linux does. */
static enum step check_timestamp(struct tcp *tcp, struct tcp_connection *c,
                                 struct tcp_segment *segment, const struct instant *now)
{
    if (!c->ts_enabled || !segment->options.has_timestamps ||
        !seq_before(segment->options.ts_value, c->ts_recent) || timestamp_is_outdated(c, now)) {
        return STEP_GO_ON;
    }
    metric_add(tcp->metrics, METRIC_TCP_DROP_OLD_TIMESTAMP, 1);
    if (sequence_length(segment) > 0) {
        tcp_send_ack(tcp, c, now);
    } else {
        tcp_challenge(tcp, c, now);
    }
    return STEP_DONE;
}

/* First step: outside the window an ACK says where we are. Empty segments get it at a limited rate:
 * two peers must not echo each other's ACKs for ever. */
static enum step check_sequence(struct tcp *tcp, struct tcp_connection *c,
                                struct tcp_segment *segment, const struct instant *now)
{
    if (sequence_is_acceptable(c, segment)) {
        return STEP_GO_ON;
    }
    metric_add(tcp->metrics, METRIC_TCP_DROP_OUTSIDE_WINDOW, 1);
    if (c->state == TCP_TIME_WAIT && (segment->flags & TCP_FIN)) {
        tcp_restart_time_wait(tcp, c, now);
    }
    if (c->state == TCP_SYN_RECEIVED && (segment->flags & TCP_SYN) && segment->seq == c->irs) {
        tcp_send_syn(tcp, c, now); /* the SYN again: our answer was lost */
    } else if (segment->text_bytes > 0 || (segment->flags & TCP_FIN)) {
        tcp_send_ack(tcp, c, now);
    } else {
        tcp_challenge(tcp, c, now);
    }
    return STEP_DONE;
}

/* Fourth step, RFC 5961 4: a SYN never resets; a peer that truly restarted answers our ACK with
 * the exact reset. */
static enum step check_syn(struct tcp *tcp, struct tcp_connection *c,
                           const struct tcp_segment *segment, const struct instant *now)
{
    if (!(segment->flags & TCP_SYN)) {
        return STEP_GO_ON;
    }
    if (c->state == TCP_SYN_RECEIVED && !c->passive && (segment->flags & TCP_ACK) &&
        segment->seq == c->irs && segment->ack == c->snd_nxt) {
        return STEP_GO_ON; /* simultaneous open: the SYN,ACK that crossed ours */
    }
    metric_add(tcp->metrics, METRIC_TCP_DROP_SYN, 1);
    tcp_challenge(tcp, c, now);
    return STEP_DONE;
}

static enum step complete_handshake(struct tcp *tcp, struct tcp_connection *c,
                                    struct tcp_segment *segment, const struct instant *now,
                                    struct tcp_events *events)
{
    if (segment->ack != c->snd_nxt) {
        metric_add(tcp->metrics, METRIC_TCP_DROP_BAD_ACK, 1);
        tcp_send_reset_reply(tcp, segment);
        return STEP_DONE;
    }
    if (c->passive && !tcp_enter_source(tcp, c, now)) {
        tcp_send_reset(tcp, c, now);
        tcp_connection_end(tcp, c, NULL);
        return STEP_DONE;
    }
    tcp_establish(tcp, c, segment, now, events);
    uint8_t shift = segment->flags & TCP_SYN ? 0 : c->snd_shift;
    c->snd_wnd = c->snd_wnd_max = (uint32_t)segment->window << shift;
    c->snd_wl1 = segment->seq;
    return STEP_GO_ON;
}

/* What the ACK of our FIN does to the state. */
static enum step check_fin_acknowledged(struct tcp *tcp, struct tcp_connection *c,
                                        const struct instant *now, struct tcp_events *events)
{
    if (!tcp_state_fin_sent((enum tcp_state)c->state) || c->snd_una != c->snd_nxt) {
        return STEP_GO_ON;
    }
    if (c->state == TCP_FIN_WAIT_1) {
        tcp_set_state(tcp, c, TCP_FIN_WAIT_2);
        tcp_arm_idle(tcp, c, now);
        return STEP_GO_ON;
    }
    if (c->state == TCP_CLOSING) {
        tcp_enter_time_wait(tcp, c, now);
    } else {
        tcp_connection_end(tcp, c, events);
    }
    return STEP_DONE;
}

/* Fifth step; RFC 5961 5.2 bounds how old an ACK may be. */
static enum step check_ack(struct tcp *tcp, struct tcp_connection *c, struct tcp_segment *segment,
                           const struct instant *now, struct tcp_events *events)
{
    if (!(segment->flags & TCP_ACK)) {
        metric_add(tcp->metrics, METRIC_TCP_DROP_NO_ACK, 1);
        return STEP_DONE;
    }
    if (c->state == TCP_SYN_RECEIVED) {
        return complete_handshake(tcp, c, segment, now, events);
    }
    if (seq_before(c->snd_nxt, segment->ack) ||
        seq_before(segment->ack, c->snd_una - c->snd_wnd_max)) {
        metric_add(tcp->metrics, METRIC_TCP_DROP_BAD_ACK, 1);
        tcp_challenge(tcp, c, now);
        return STEP_DONE;
    }
    if (c->state == TCP_TIME_WAIT) {
        return STEP_DONE;
    }
    if (seq_at_or_before(c->snd_una, segment->ack)) {
        tcp_process_ack(tcp, c, segment, now, events);
    }
    return check_fin_acknowledged(tcp, c, now, events);
}

/* What lies outside the window is cut off; the FIN goes with the end. */
static void trim(struct tcp *tcp, struct tcp_connection *c, struct tcp_segment *segment)
{
    if (seq_before(segment->seq, c->rcv_nxt)) {
        uint32_t old = c->rcv_nxt - segment->seq;
        old = old < segment->text_bytes ? old : segment->text_bytes;
        segment->seq += old;
        segment->skip += old;
        segment->text_bytes -= old;
        if (old > 0) {
            c->ack_now = true; /* a repeated text: our ACK was lost */
            stream_mark_dirty(&c->stream);
            metric_add(tcp->metrics, METRIC_TCP_DROP_REPEATED, segment->text_bytes == 0);
        }
    }
    uint32_t room = c->rcv_adv - segment->seq;
    if (segment->text_bytes > room ||
        (segment->text_bytes == room && (segment->flags & TCP_FIN) && room == 0)) {
        segment->text_bytes = segment->text_bytes < room ? segment->text_bytes : room;
        segment->flags &= (uint8_t)~TCP_FIN;
        c->ack_now = true;
        stream_mark_dirty(&c->stream);
    }
    if (c->peer_fin_seen && seq_before(c->rcv_fin, segment->seq + segment->text_bytes)) {
        uint32_t most = seq_before(c->rcv_fin, segment->seq) ? 0 : c->rcv_fin - segment->seq;
        segment->text_bytes = most; /* text behind the FIN: nonsense */
    }
}

/* Text for a stream that nobody reads any more, after all of ours was acknowledged: the peer has to
 * know that it is lost (RFC 9293 3.6.1). */
static enum step check_text_after_close(struct tcp *tcp, struct tcp_connection *c,
                                        const struct tcp_segment *segment,
                                        const struct instant *now)
{
    if (c->state != TCP_FIN_WAIT_2 || segment->text_bytes == 0) {
        return STEP_GO_ON;
    }
    metric_add(tcp->metrics, METRIC_TCP_DROP_AFTER_CLOSE, 1);
    tcp_send_reset(tcp, c, now);
    tcp_connection_end(tcp, c, NULL);
    return STEP_DONE;
}

/* Seventh and eighth step. */
static void take_text_and_fin(struct tcp *tcp, struct tcp_connection *c,
                              struct tcp_segment *segment, const struct instant *now,
                              struct tcp_events *events)
{
    if (!tcp_state_receives((enum tcp_state)c->state)) {
        return;
    }
    trim(tcp, c, segment);
    if (check_text_after_close(tcp, c, segment, now) == STEP_DONE) {
        return;
    }
    if ((segment->flags & TCP_FIN) && !c->peer_fin_seen) {
        c->peer_fin_seen = true;
        c->rcv_fin = segment->seq + segment->text_bytes;
    }
    if (segment->text_bytes > 0) {
        tcp_receive_text(tcp, c, segment, now, events);
    } else if ((segment->flags & TCP_FIN) && segment->seq != c->rcv_nxt) {
        tcp_send_ack(tcp, c, now);
    }
    tcp_receive_fin(tcp, c, now, events);
}

static bool listens(const struct tcp *tcp, const struct tcp_segment *segment, uint32_t *listener)
{
    return tcp_find_listener(tcp, segment->local_port, listener);
}

static void parse_options(struct tcp_segment *segment)
{
    struct slice options =
        slice_of(segment->header + TCP_HEADER_BYTES, segment->header_bytes - TCP_HEADER_BYTES);
    tcp_options_parse(options, &segment->options);
}

/* Without a cookie on its way, an ACK to a listener is nothing but a stray one. */
static bool may_bear_cookie(const struct tcp *tcp, const struct tcp_segment *segment,
                            const struct instant *now)
{
    return (segment->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_ACK &&
           tcp_cookies_in_use(&tcp->cookies, now->mono_us);
}

/* RFC 9293 3.10.7.1 and 3.10.7.2. */
void tcp_input_unconnected(struct tcp *tcp, struct tcp_segment *segment, const struct instant *now,
                           struct tcp_events *events)
{
    uint32_t listener;
    uint8_t kind = segment->flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN);
    bool listening = listens(tcp, segment, &listener);
    enum metric reason = access_check_rules(tcp->options.access, &segment->datagram->source,
                                            segment->local_port, IPPROTO_TCP);
    if (reason != METRIC_COUNT) {
        metric_add(tcp->metrics, reason, 1);
        return;
    }
    if (listening && kind == TCP_SYN) {
        parse_options(segment);
        tcp_accept_syn(tcp, segment, listener, NULL, now);
        return;
    }
    if (listening && may_bear_cookie(tcp, segment, now)) {
        parse_options(segment);
        struct tcp_connection *c = tcp_accept_cookie(tcp, segment, listener, now);
        if (c != NULL) {
            tcp_input_slow(tcp, c, segment, now, events);
            return;
        }
        metric_add(tcp->metrics, METRIC_TCP_DROP_COOKIE, 1);
    } else {
        metric_add(tcp->metrics, METRIC_TCP_DROP_UNCONNECTED, 1);
    }
    bool answered = !listening || (segment->flags & TCP_ACK);
    if (answered && !(segment->flags & TCP_RST)) {
        tcp_send_reset_reply(tcp, segment);
    }
}

static enum step check_time_wait_reuse(struct tcp *tcp, struct tcp_connection *c,
                                       struct tcp_segment *segment, const struct instant *now)
{
    uint32_t listener;
    if (c->state != TCP_TIME_WAIT || !tcp_syn_may_reuse(c, segment) ||
        !listens(tcp, segment, &listener)) {
        return STEP_GO_ON;
    }
    metric_add(tcp->metrics, METRIC_TCP_TIME_WAIT_REUSED, 1);
    tcp_connection_end(tcp, c, NULL);
    tcp_accept_syn(tcp, segment, listener, c, now);
    return STEP_DONE;
}

/* RFC 7323 4.3: the timestamp to echo is that of the segment that advanced the window's left edge.
 * It replaces an outdated one whatever it is: the next segments are compared with it. */
static void note_alive(struct tcp_connection *c, const struct tcp_segment *segment,
                       const struct instant *now)
{
    bool replaces =
        timestamp_is_outdated(c, now) || !seq_before(segment->options.ts_value, c->ts_recent);
    c->last_receive = tcp_receive_tick(now);
    tcp_follow_station(c, segment->datagram);
    if (c->ts_enabled && segment->options.has_timestamps &&
        seq_at_or_before(segment->seq, c->last_ack_sent) && replaces) {
        c->ts_recent = segment->options.ts_value;
    }
}

void tcp_input_slow(struct tcp *tcp, struct tcp_connection *c, struct tcp_segment *segment,
                    const struct instant *now, struct tcp_events *events)
{
    parse_options(segment);
    if (c->state == TCP_SYN_SENT) {
        tcp_input_syn_sent(tcp, c, segment, now, events);
        return;
    }
    if (check_time_wait_reuse(tcp, c, segment, now) == STEP_DONE ||
        check_reset(tcp, c, segment, now, events) == STEP_DONE ||
        check_timestamp(tcp, c, segment, now) == STEP_DONE) {
        return;
    }
    bool crossed_syn = c->state == TCP_SYN_RECEIVED && !c->passive && (segment->flags & TCP_SYN) &&
                       segment->seq == c->irs;
    if ((!crossed_syn && (segment->flags & TCP_SYN) && c->state != TCP_SYN_RECEIVED &&
         check_syn(tcp, c, segment, now) == STEP_DONE) ||
        (!crossed_syn && check_sequence(tcp, c, segment, now) == STEP_DONE) ||
        check_syn(tcp, c, segment, now) == STEP_DONE) {
        return;
    }
    if (check_ack(tcp, c, segment, now, events) == STEP_DONE) {
        return;
    }
    note_alive(c, segment, now);
    if (segment->flags & TCP_SYN) {
        return; /* text on a SYN comes again; it does not begin at SEG.SEQ anyway */
    }
    take_text_and_fin(tcp, c, segment, now, events);
}
