/* Congestion control and loss detection: NewReno windows (RFC 5681, 6582, 6928), loss by SACK
 * (RFC 6675), needless recoveries undone by timestamps (RFC 3522, 4015).
 *
 * One picture serves all ways of finding a loss:
 *
 *      snd_una        high_rxt              lost_to                    snd_nxt
 *        |  sent again   |  lost, to be sent   |   in the network, or SACKed |
 *        |---------------|---------------------|---[####]-----[##]-----------|
 *
 *   pipe = everything between snd_una and snd_nxt that is neither SACKed nor lost and still to be
 * sent again; without SACK every duplicate ACK stands for one segment that left the network.
 *
 * The sender sends while pipe < cwnd: retransmissions first, new text then. That gives limited
 * transmit (RFC 3042), recovery and slow start after a timeout by one rule.
 *
 * SACK information is thrown away on a timeout: a peer may take it back (RFC 2018 section 8).
 */
#include "dataplane/l4_transport/tcp_internal.h"

#define WINDOW_BYTES_MAX (1U << 30)

static uint32_t initial_window(const struct tcp_connection *c)
{
    uint32_t mss = c->snd_mss, two = 2 * mss;
    uint32_t ten = 10 * mss, cap = two > 14600 ? two : 14600;
    return ten < cap ? ten : cap;
}

void tcp_congestion_init(struct tcp_connection *c)
{
    c->cwnd = initial_window(c);
    c->ssthresh = WINDOW_BYTES_MAX;
    c->recovery = TCP_RECOVERY_NONE;
    c->high_rxt = c->lost_to = c->recovery_point = c->snd_una;
}

/* RFC 5681 4.1. */
void tcp_congestion_restart_idle(struct tcp_connection *c)
{
    uint32_t window = initial_window(c);
    c->cwnd = c->cwnd < window ? c->cwnd : window;
    c->cwnd_acked = 0;
}

void tcp_congestion_forget_scoreboard(struct tcp *tcp, struct tcp_connection *c)
{
    if (c->scoreboard != NULL) {
        tcp_pool_release(&tcp->scoreboards, c->scoreboard);
        c->scoreboard = NULL;
    }
}

static uint32_t missing(const struct tcp_connection *c, uint32_t start, uint32_t end)
{
    if (!seq_before(start, end)) {
        return 0;
    }
    return c->scoreboard != NULL ? tcp_ranges_missing(c->scoreboard, start, end) : end - start;
}

uint32_t tcp_pipe_bytes(const struct tcp_connection *c)
{
    uint32_t pipe = tcp_flight_bytes(c), gone = 0;
    if (c->scoreboard != NULL) {
        gone = c->scoreboard->bytes;
    } else if (!c->sack_enabled) {
        gone = c->dupacks * c->snd_mss;
    }
    if (c->recovery != TCP_RECOVERY_NONE) {
        gone += missing(c, c->high_rxt, c->lost_to);
    }
    return gone < pipe ? pipe - gone : 0;
}

/* Growth: slow start below ssthresh with at most two segments per ACK (RFC 3465), else one segment
 * per window. A window that the sender does not fill proves nothing and does not grow. */
void tcp_congestion_on_ack(struct tcp_connection *c, uint32_t acked)
{
    if (c->recovery == TCP_RECOVERY_FAST ||
        (c->recovery == TCP_RECOVERY_NONE && !c->cwnd_limited)) {
        return;
    }
    if (c->cwnd < c->ssthresh) {
        uint32_t step = 2U * c->snd_mss;
        c->cwnd += acked < step ? acked : step;
    } else {
        c->cwnd_acked += acked;
        if (c->cwnd_acked >= c->cwnd) {
            c->cwnd_acked -= c->cwnd;
            c->cwnd += c->snd_mss;
        }
    }
    c->cwnd = c->cwnd > WINDOW_BYTES_MAX ? WINDOW_BYTES_MAX : c->cwnd;
}

static void remember_for_undo(struct tcp_connection *c, const struct instant *now)
{
    if (c->recovery == TCP_RECOVERY_NONE) {
        c->undo_possible = c->ts_enabled;
        c->undo_ts = tcp_timestamp(c, now);
        c->undo_cwnd = c->cwnd;
        c->undo_ssthresh = c->ssthresh;
    }
}

static void reduce_threshold(struct tcp_connection *c)
{
    uint32_t half = tcp_flight_bytes(c) / 2, least = 2U * c->snd_mss;
    c->ssthresh = half > least ? half : least;
}

static void enter_fast_recovery(struct tcp *tcp, struct tcp_connection *c, uint32_t lost_to,
                                const struct instant *now)
{
    remember_for_undo(c, now);
    reduce_threshold(c);
    c->cwnd = c->ssthresh;
    c->cwnd_acked = 0;
    c->recovery = TCP_RECOVERY_FAST;
    c->recovery_point = c->snd_nxt;
    c->high_rxt = c->snd_una;
    c->lost_to = lost_to;
    c->rescue_nxt = c->snd_nxt;
    c->rtt_sent_us = 0;
    metric_add(tcp->metrics, METRIC_TCP_FAST_RECOVERIES, 1);
    stream_mark_dirty(&c->stream);
}

static void leave_recovery(struct tcp_connection *c)
{
    c->recovery = TCP_RECOVERY_NONE;
    c->high_rxt = c->lost_to = c->snd_una;
    c->dupacks = 0;
    c->undo_possible = false;
}

void tcp_congestion_on_timeout(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    remember_for_undo(c, now);
    if (c->recovery != TCP_RECOVERY_TIMEOUT) {
        reduce_threshold(c);
    }
    tcp_congestion_forget_scoreboard(tcp, c);
    c->cwnd = c->snd_mss;
    c->cwnd_acked = 0;
    c->dupacks = 0;
    c->probe_sent = false;
    c->rtt_sent_us = 0;
    c->recovery = TCP_RECOVERY_TIMEOUT;
    c->recovery_point = c->snd_nxt;
    c->high_rxt = c->snd_una;
    c->lost_to = c->snd_nxt;
}

/* RFC 6675 IsLost: three ranges, or more than two segments of bytes, were SACKed above. Everything
 * missing below the range where that is reached counts as lost. */
static uint32_t lost_below(const struct tcp_connection *c)
{
    const struct tcp_ranges *board = c->scoreboard;
    uint32_t bytes = 0, enough = (TCP_DUPLICATE_THRESHOLD - 1) * c->snd_mss;
    for (uint32_t i = board->count; i > 0; i--) {
        const struct tcp_range *range = &board->at[i - 1];
        bytes += range->end - range->start;
        if (bytes > enough || board->count - i + 1 >= TCP_DUPLICATE_THRESHOLD) {
            return range->start;
        }
    }
    return c->snd_una;
}

/* The scoreboard is full, or the block is nonsense: ignored, recovery is only slower. Blocks below
 * snd_una are duplicate reports (RFC 2883). */
static void add_blocks(struct tcp_connection *c, const struct tcp_segment *segment)
{
    for (uint32_t i = 0; i < segment->options.sack_count; i++) {
        const struct tcp_sack_block *block = &segment->options.sack[i];
        if (seq_before(c->snd_una, block->start) && seq_before(segment->ack, block->start) &&
            seq_before(block->start, block->end) && seq_at_or_before(block->end, c->snd_nxt)) {
            tcp_ranges_add(c->scoreboard, block->start, block->end);
        }
    }
}

static bool acquire_scoreboard(struct tcp *tcp, struct tcp_connection *c)
{
    if (c->scoreboard == NULL) {
        c->scoreboard = tcp_pool_acquire(&tcp->scoreboards);
        if (c->scoreboard != NULL) {
            c->scoreboard->count = c->scoreboard->stamp = c->scoreboard->bytes = 0;
        }
    }
    return c->scoreboard != NULL;
}

/* A retransmission of the first hole that was itself lost: text sent after it was SACKed by more
 * than the threshold, and the hole is still there. */
static void find_lost_retransmission(struct tcp_connection *c)
{
    const struct tcp_ranges *board = c->scoreboard;
    if (c->recovery == TCP_RECOVERY_NONE || c->high_rxt == c->snd_una || board->count == 0) {
        return;
    }
    uint32_t highest = board->at[board->count - 1].end;
    if (seq_before(c->rescue_nxt + (TCP_DUPLICATE_THRESHOLD - 1) * c->snd_mss, highest)) {
        c->high_rxt = c->snd_una;
        c->rescue_nxt = c->snd_nxt;
    }
}

void tcp_congestion_note_sack(struct tcp *tcp, struct tcp_connection *c,
                              const struct tcp_segment *segment, const struct instant *now)
{
    if (tcp_flight_bytes(c) == 0 || !acquire_scoreboard(tcp, c)) {
        return;
    }
    uint32_t before = c->scoreboard->bytes;
    add_blocks(c, segment);
    if (c->scoreboard->count == 0) {
        tcp_congestion_forget_scoreboard(tcp, c);
        return;
    }
    if (c->scoreboard->bytes == before) {
        return;
    }
    c->dupacks++;
    uint32_t lost_to = lost_below(c);
    const struct tcp_range *last = &c->scoreboard->at[c->scoreboard->count - 1];
    if (c->probe_sent && seq_at_or_before(c->probe_end, last->end)) {
        lost_to = last->start; /* the probe arrived long after all before it: that is lost */
        c->probe_sent = false;
    } else if (c->dupacks >= TCP_DUPLICATE_THRESHOLD && lost_to == c->snd_una) {
        lost_to = c->scoreboard->at[0].start;
    }
    if (c->recovery == TCP_RECOVERY_NONE && seq_before(c->snd_una, lost_to)) {
        enter_fast_recovery(tcp, c, lost_to, now);
    } else if (c->recovery != TCP_RECOVERY_NONE) {
        c->lost_to = seq_max(c->lost_to, lost_to);
        find_lost_retransmission(c);
    }
    stream_mark_dirty(&c->stream);
}

/* Without SACK: RFC 5681 3.2. */
void tcp_congestion_on_duplicate(struct tcp *tcp, struct tcp_connection *c,
                                 const struct instant *now)
{
    if (c->sack_enabled) {
        return; /* counted by what the scoreboard gained */
    }
    if (c->dupacks < tcp_flight_bytes(c) / c->snd_mss + 1) {
        c->dupacks++;
    }
    if (c->recovery == TCP_RECOVERY_NONE && c->dupacks == TCP_DUPLICATE_THRESHOLD) {
        uint32_t lost_to = seq_min(c->snd_una + c->snd_mss, c->snd_nxt);
        enter_fast_recovery(tcp, c, lost_to, now);
    }
    stream_mark_dirty(&c->stream);
}

static void undo_if_needless(struct tcp *tcp, struct tcp_connection *c,
                             const struct tcp_segment *segment)
{
    if (!c->undo_possible || !segment->options.has_timestamps) {
        return;
    }
    c->undo_possible = false;
    if (!seq_before(segment->options.ts_echo, c->undo_ts)) {
        return;
    }
    c->cwnd = c->cwnd > c->undo_cwnd ? c->cwnd : c->undo_cwnd;
    c->ssthresh = c->ssthresh > c->undo_ssthresh ? c->ssthresh : c->undo_ssthresh;
    metric_add(tcp->metrics, METRIC_TCP_UNDONE_RECOVERIES, 1);
    leave_recovery(c);
}

/* RFC 6582: each partial ACK names the next hole. */
static void on_partial_ack(struct tcp_connection *c, uint32_t acked)
{
    uint32_t segments = acked / c->snd_mss + 1;
    c->dupacks = c->dupacks > segments ? c->dupacks - segments : 0;
    c->high_rxt = seq_max(c->high_rxt, c->snd_una);
    if (c->recovery == TCP_RECOVERY_FAST && !c->sack_enabled) {
        c->high_rxt = c->snd_una;
        c->lost_to = seq_min(c->snd_una + c->snd_mss, c->snd_nxt);
    }
    c->lost_to = seq_max(c->lost_to, c->snd_una);
    c->rescue_nxt = c->snd_nxt;
}

static void leave_fast_recovery(struct tcp_connection *c)
{
    uint32_t flight = tcp_flight_bytes(c);
    uint32_t window = (flight > c->snd_mss ? flight : c->snd_mss) + c->snd_mss;
    window = window > 2U * c->snd_mss ? window : 2U * c->snd_mss;
    c->cwnd = c->ssthresh < window ? c->ssthresh : window;
    leave_recovery(c);
}

void tcp_congestion_on_progress(struct tcp *tcp, struct tcp_connection *c, uint32_t acked,
                                const struct tcp_segment *segment)
{
    if (c->scoreboard != NULL) {
        tcp_ranges_trim(c->scoreboard, c->snd_una);
        if (c->scoreboard->count == 0) {
            tcp_congestion_forget_scoreboard(tcp, c);
        }
    }
    if (c->probe_sent && seq_at_or_before(c->probe_end, c->snd_una)) {
        c->probe_sent = false;
    }
    undo_if_needless(tcp, c, segment);
    tcp_congestion_on_ack(c, acked);
    if (c->recovery == TCP_RECOVERY_NONE) {
        c->dupacks = 0;
        c->high_rxt = c->lost_to = c->snd_una;
    } else if (seq_before(c->snd_una, c->recovery_point)) {
        on_partial_ack(c, acked);
    } else if (c->recovery == TCP_RECOVERY_FAST) {
        leave_fast_recovery(c);
    } else {
        leave_recovery(c);
    }
}
