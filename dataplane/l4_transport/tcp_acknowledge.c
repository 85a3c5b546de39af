/* What an acceptable ACK of the peer says: bytes that need not be kept, the round-trip time, the
 * send window, and through tcp_recovery.c what was lost. */
#include "dataplane/l4_transport/tcp_internal.h"

#define RTT_US_MAX 60000000U

/* RFC 6298 2.2, 2.3; the variance term has the floor that Linux gives it, so that a steady short
 * round trip does not make every delayed ACK a timeout. */
static inline void sample_round_trip(struct tcp_connection *c, uint32_t rtt_us, uint32_t rto_min_us)
{
    rtt_us = rtt_us == 0 ? 1 : rtt_us;
    rtt_us = rtt_us > RTT_US_MAX ? RTT_US_MAX : rtt_us;
    if (c->srtt_us == 0) {
        c->srtt_us = rtt_us;
        c->rttvar_us = rtt_us / 2;
    } else {
        uint32_t deviation = c->srtt_us > rtt_us ? c->srtt_us - rtt_us : rtt_us - c->srtt_us;
        c->rttvar_us = c->rttvar_us - c->rttvar_us / 4 + deviation / 4;
        c->srtt_us = c->srtt_us - c->srtt_us / 8 + rtt_us / 8;
    }
    uint32_t margin = 4 * c->rttvar_us;
    margin = margin < rto_min_us ? rto_min_us : margin;
    uint64_t rto = (uint64_t)c->srtt_us + margin;
    c->rto_us = rto > TCP_RTO_MAX_US ? TCP_RTO_MAX_US : (uint32_t)rto;
    c->backoff = 0; /* Karn: only a valid sample takes the backoff away */
}

void tcp_rtt_sample(struct tcp_connection *c, uint32_t rtt_us, uint32_t rto_min_us)
{
    sample_round_trip(c, rtt_us, rto_min_us);
}

/* Karn's algorithm: a timed segment that was sent again gives no sample; with timestamps the echo
 * says which copy was acknowledged (RFC 7323 4.1). An echo from before the last time that silence
 * made us send again does not say it: the first copy may have been slow, but it may as well have
 * arrived at once, the ACKs of it and of copies since were lost, and a peer repeats the first echo
 * for each copy that it had already. Such an ACK is no sample either: it would make all our waiting
 * a round trip. */
static void measure(struct tcp *tcp, struct tcp_connection *c, const struct tcp_segment *segment,
                    bool timed, uint32_t sent_us, const struct instant *now)
{
    uint32_t floor_us = tcp->options.rto_min_ms * 1000U;
    if (timed) {
        tcp_rtt_sample(c, (uint32_t)now->mono_us - sent_us, floor_us);
    } else if (c->ts_enabled && segment->options.has_timestamps && segment->options.ts_echo != 0) {
        uint32_t rtt_ms = tcp_timestamp(c, now) - segment->options.ts_echo;
        rtt_ms = rtt_ms == 0 ? 1 : rtt_ms;
        if (rtt_ms <= RTT_US_MAX / 1000U &&
            rtt_ms * 1000ULL <= now->mono_us - c->resent_us + 1000U) {
            tcp_rtt_sample(c, rtt_ms * 1000U, floor_us);
        }
    }
}

void tcp_measure_round_trip(struct tcp *tcp, struct tcp_connection *c,
                            const struct tcp_segment *segment, const struct instant *now)
{
    bool timed = c->retries == 0 && c->flight_sent_us != 0; /* a SYN cookie's time is not kept */
    measure(tcp, c, segment, timed, c->flight_sent_us, now);
}

/* The FIN is acknowledged when the ACK goes beyond the text; it has no byte in the queue. */
static inline void consume(struct tcp *tcp, struct tcp_connection *c, uint32_t acked)
{
    struct byte_queue *out = &c->stream.out;
    size_t bytes = acked < out->size ? acked : out->size;
    c->snd_una += acked;
    if (bytes == 0) {
        return;
    }
    if (UNLIKELY(c->has_cursor) &&
        seq_at_or_before(c->send_chunk_seq + (uint32_t)c->send_chunk->size, c->snd_una)) {
        c->has_cursor = false;
    }
    byte_queue_consume(out, tcp->options.pool, bytes);
}

static inline void note_drained(struct tcp *tcp, struct tcp_connection *c,
                                struct tcp_events *events)
{
    struct stream *stream = &c->stream;
    if (LIKELY(stream->drain_below == 0) || stream->out.size > stream->drain_below) {
        return;
    }
    stream->drain_below = 0;
    if (tcp_events_have_room(events)) {
        tcp_emit(events, c, STREAM_DRAINED, slice_of(NULL, 0));
    } else {
        c->drained_pending = true;
        tcp_queue_pending(tcp, c);
    }
}

static void acknowledge_new(struct tcp *tcp, struct tcp_connection *c,
                            const struct tcp_segment *segment, const struct instant *now,
                            struct tcp_events *events)
{
    consume(tcp, c, segment->ack - c->snd_una);
    c->retries = 0;
    if (c->detached) {
        tcp_arm_idle(tcp, c, now); /* progress: the time to linger starts anew */
    }
    note_drained(tcp, c, events);
}

/* `anew`: SND.UNA moved, or recovery began. */
static void restart_timer(struct tcp *tcp, struct tcp_connection *c, bool anew, uint32_t wait_us,
                          const struct instant *now)
{
    if (anew) {
        c->retransmit_due = TCP_NEVER;
        if (tcp_flight_bytes(c) > 0) {
            tcp_arm_retransmit(tcp, c, now);
        }
    }
    if (wait_us > 0) {
        tcp_arm_reorder(tcp, c, wait_us, now);
    }
}

static bool is_duplicate(const struct tcp_connection *c, const struct tcp_segment *segment,
                         bool window_changed)
{
    return segment->ack == c->snd_una && tcp_flight_bytes(c) > 0 && !window_changed &&
           segment->text_bytes == 0 && !(segment->flags & TCP_FIN);
}

/* Nothing was lost or reported, and the ACK is news: what most are. */
static bool is_plain(const struct tcp_connection *c, const struct tcp_segment *segment)
{
    return !c->has_flight && c->recovery == TCP_RECOVERY_NONE && c->probe == TCP_PROBE_NONE &&
           segment->options.sack_count == 0 && segment->ack != c->snd_una;
}

static void follow_plain(struct tcp *tcp, struct tcp_connection *c,
                         const struct tcp_segment *segment, const struct instant *now,
                         struct tcp_events *events)
{
    uint32_t acked = segment->ack - c->snd_una;
    measure(tcp, c, segment, c->retries == 0, c->flight_sent_us, now);
    tcp_recovery_on_plain_ack(tcp, c, acked, now);
    acknowledge_new(tcp, c, segment, now, events);
    restart_timer(tcp, c, true, 0, now);
}

/* What the ACK says about what is under way. The first text that was acknowledged is timed, unless
 * something of it was sent again. */
static void follow_flight(struct tcp *tcp, struct tcp_connection *c,
                          const struct tcp_segment *segment, bool window_changed,
                          const struct instant *now, struct tcp_events *events)
{
    struct tcp_flight_news news;
    uint32_t acked = segment->ack - c->snd_una;
    uint8_t recovery = c->recovery;
    bool duplicate = is_duplicate(c, segment, window_changed);
    tcp_recovery_take_ack(tcp, c, segment, &news);
    if (acked > 0) {
        measure(tcp, c, segment, news.oldest_known && !news.again, news.oldest_sent_us, now);
        acknowledge_new(tcp, c, segment, now, events);
    }
    uint32_t wait_us = tcp_recovery_on_ack(tcp, c, segment, &news, acked, duplicate, now);
    restart_timer(tcp, c,
                  acked > 0 || (c->recovery == TCP_RECOVERY_FAST && recovery != c->recovery),
                  wait_us, now);
    if (duplicate || news.sacked) {
        stream_mark_dirty(&c->stream);
    }
}

/* RFC 9293 3.10.7.4, fifth step: the window of the newest segment. */
static bool update_window(struct tcp_connection *c, const struct tcp_segment *segment)
{
    if (seq_before(segment->seq, c->snd_wl1)) {
        return false;
    }
    uint32_t window = (uint32_t)segment->window << c->snd_shift;
    bool changed = window != c->snd_wnd;
    c->snd_wnd = window;
    c->snd_wnd_max = window > c->snd_wnd_max ? window : c->snd_wnd_max;
    c->snd_wl1 = segment->seq;
    return changed;
}

void tcp_process_ack(struct tcp *tcp, struct tcp_connection *c, const struct tcp_segment *segment,
                     const struct instant *now, struct tcp_events *events)
{
    bool was_persisting = tcp_flight_bytes(c) == 0;
    tcp_settle_window(tcp, c);
    bool window_changed = update_window(c, segment);
    /* Reports of duplicates come when nothing is under way any more, too. */
    if (!was_persisting && is_plain(c, segment)) {
        follow_plain(tcp, c, segment, now, events);
    } else if (!was_persisting || segment->options.sack_count > 0 || c->probe != TCP_PROBE_NONE) {
        follow_flight(tcp, c, segment, window_changed, now, events);
    }
    if (c->snd_wnd == 0 && !c->detached) {
        c->retries = 0; /* it took its window back: what we send again is a probe, and answered */
    }
    if (was_persisting && tcp_flight_bytes(c) == 0) {
        c->retries = 0; /* an answered probe: the peer lives */
        if (c->snd_wnd > 0 && window_changed) {
            c->retransmit_due = TCP_NEVER;
            c->backoff = 0;
        }
    }
    if (c->stream.out.size > tcp_flight_bytes(c) || c->recovery != TCP_RECOVERY_NONE ||
        c->detached) {
        stream_mark_dirty(&c->stream);
    }
}

/* Nothing is under way, and nothing waits to be sent: an ACK of nothing new brings a window only.
 */
static inline bool is_at_rest(const struct tcp_connection *c)
{
    return c->snd_nxt == c->snd_una && c->stream.out.size == 0 && c->backoff == 0;
}

void tcp_process_plain_ack(struct tcp *tcp, struct tcp_connection *c,
                           const struct tcp_segment *segment, const struct instant *now,
                           struct tcp_events *events)
{
    uint32_t acked = segment->ack - c->snd_una;
    uint32_t window = (uint32_t)segment->window << c->snd_shift;
    if (UNLIKELY((acked == 0 && !is_at_rest(c)) || window == 0 || c->retries != 0 ||
                 c->cwnd_limited || !c->sack_enabled || seq_before(segment->seq, c->snd_wl1))) {
        tcp_process_ack(tcp, c, segment, now, events);
        return;
    }
    if (UNLIKELY(window > c->snd_wnd)) {
        c->snd_wnd_max = window > c->snd_wnd_max ? window : c->snd_wnd_max;
    }
    c->snd_wnd = window;
    c->snd_wl1 = segment->seq;
    if (UNLIKELY(acked == 0)) {
        return;
    }
    uint32_t rtt_us = (uint32_t)now->mono_us - c->flight_sent_us;
    sample_round_trip(c, rtt_us, tcp->options.rto_min_ms * 1000U);
    tcp_note_smallest_rtt(c, rtt_us, now);
    consume(tcp, c, acked);
    note_drained(tcp, c, events);
    c->retransmit_due = TCP_NEVER;
    if (tcp_flight_bytes(c) > 0) {
        tcp_arm_retransmit(tcp, c, now);
    } else if (segment->text_bytes == 0) {
        tcp_rest(tcp, c);
    }
    if (c->stream.out.size > tcp_flight_bytes(c)) {
        stream_mark_dirty(&c->stream);
    }
}
