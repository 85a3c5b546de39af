/* Loss: how it is found, what is sent again, and what that does to the window.
 *
 *             lost text                        RTO
 *     NONE ---------------> FAST --------------------------.
 *      ^ ^  RACK, 3 dup ACKs  |                            v
 *      | '--------------------'        RTO              TIMEOUT
 *      |    recovery_point acked  NONE ---------------->   |
 *      '---------------------------------------------------'
 *                              recovery_point acked
 *
 * The sender sends while pipe < cwnd, lost text first (tcp_output.c); what is lost, SACKed or under
 * way stands in the flight (tcp_flight.h). So limited transmit (RFC 3042), recovery and slow start
 * after a timeout are one rule, and what differs is who sets cwnd:
 *
 *   found by   RACK (RFC 8985) where the peer knows SACK: what was sent before something that was
 *              delivered, and is overdue by a reordering window, is lost. Otherwise three duplicate
 *              ACKs and then each partial ACK (RFC 6582). A tail that nobody reports is probed, and
 *              at last the retransmission timer has its say.
 *   FAST       proportional rate reduction (RFC 9937): cwnd = pipe + what this ACK allows
 *   TIMEOUT    slow start from one segment; F-RTO (RFC 5682) looks first whether it was needless
 *   undone     when timestamps (RFC 3522, 4015), F-RTO or duplicate SACKs (RFC 2883, 3708) show
 * that nothing had been lost, cwnd and ssthresh are what they were
 *
 * What was SACKed is believed after a timeout too, but for a peer that acknowledges less than it
 * had SACKed: then it has dropped that text, and nothing of it is believed (RFC 2018 section 8).
 */
#include "dataplane/l4_transport/tcp_internal.h"

#define SAME_TIME_FRACTION   32U   /* of a round trip: text sent within it counts as one */
#define FLIGHT_HEADROOM      6U    /* ranges that SACK blocks leave to sending */
#define REORDER_STEPS_MAX    16U   /* the window has its bound in SRTT anyway */
#define REORDER_RECOVERIES   16U   /* for which a wider reordering window stays */
#define DSACKED_SEGMENTS_MAX 1000U /* of one block: more is nonsense */

static uint32_t low_us(const struct instant *now)
{
    return (uint32_t)now->mono_us;
}

/* ---- the flight --------------------------------------------------------------------------------
 */

static bool need_flight(struct tcp *tcp, struct tcp_connection *c)
{
    if (!c->has_flight && tcp_flight_bytes(c) > 0) {
        c->flight = tcp_flight_create(&tcp->flights, c->snd_una, c->snd_nxt, c->flight_sent_us);
        c->has_flight = c->flight != NULL;
    }
    return c->has_flight;
}

void tcp_recovery_forget_flight(struct tcp *tcp, struct tcp_connection *c)
{
    if (c->has_flight) {
        tcp_flight_destroy(&tcp->flights, c->flight);
        c->flight = NULL;
        c->has_flight = false;
    }
}

bool tcp_recovery_has_room(struct tcp *tcp, struct tcp_connection *c)
{
    return !c->has_flight || tcp_flight_reserve(&tcp->flights, &c->flight, 1) ||
           tcp_flight_ends_plain(c->flight);
}

void tcp_recovery_on_sent(struct tcp *tcp, struct tcp_connection *c, uint32_t end,
                          const struct instant *now)
{
    uint32_t grain_us = c->srtt_us / SAME_TIME_FRACTION;
    if (tcp_flight_bytes(c) == 0) {
        c->flight_sent_us = low_us(now);
        return;
    }
    if (!c->has_flight && (low_us(now) - c->flight_sent_us <= grain_us || !need_flight(tcp, c))) {
        return;
    }
    tcp_flight_reserve(&tcp->flights, &c->flight, 1);
    tcp_flight_append(c->flight, end, low_us(now), grain_us);
}

void tcp_recovery_on_resent(struct tcp *tcp, struct tcp_connection *c, uint32_t start, uint32_t end,
                            const struct instant *now)
{
    if (need_flight(tcp, c)) {
        tcp_flight_reserve(&tcp->flights, &c->flight, 2);
        tcp_flight_resend(c->flight, start, end, low_us(now));
    }
    if (c->undo_armed && c->undo_resent < UINT16_MAX) {
        c->undo_resent++;
    }
}

static void lose(struct tcp *tcp, struct tcp_connection *c, uint32_t start, uint32_t end)
{
    if (need_flight(tcp, c)) {
        tcp_flight_reserve(&tcp->flights, &c->flight, 2);
        tcp_flight_lose(c->flight, start, seq_min(end, c->snd_nxt));
    }
}

uint32_t tcp_pipe_bytes(const struct tcp_connection *c)
{
    uint32_t pipe = tcp_flight_bytes(c), gone = 0;
    if (c->has_flight) {
        gone = c->flight->sacked_bytes + c->flight->lost_bytes;
    }
    if (!c->sack_enabled) {
        gone += (uint32_t)c->dupacks *
                c->snd_mss; /* each stands for one segment that has left the network */
    }
    return gone < pipe ? pipe - gone : 0;
}

uint32_t tcp_lost_bytes(const struct tcp_connection *c)
{
    return c->has_flight ? c->flight->lost_bytes : 0;
}

/* ---- what an ACK delivers ----------------------------------------------------------------------
 */

/* Blocks above SND.UNA; the ACK itself is in the flight already. */
static void take_blocks(struct tcp *tcp, struct tcp_connection *c,
                        const struct tcp_segment *segment, struct tcp_flight_news *news)
{
    for (uint32_t i = 0; i < segment->options.sack_count; i++) {
        const struct tcp_sack_block *block = &segment->options.sack[i];
        if (!seq_before(segment->ack, block->start) || !seq_before(block->start, block->end) ||
            !seq_before(c->snd_una, block->start) || !seq_at_or_before(block->end, c->snd_nxt)) {
            continue; /* nonsense, or a duplicate report */
        }
        if (tcp_flight_reserve(&tcp->flights, &c->flight, 2 + FLIGHT_HEADROOM)) {
            tcp_flight_sack(c->flight, block->start, block->end, news);
        } else {
            metric_add(tcp->metrics, METRIC_TCP_SACK_NO_ROOM, 1);
        }
    }
}

/* The whole flight was sent at once, and is one range. */
static void take_plain(const struct tcp_connection *c, const struct tcp_segment *segment,
                       struct tcp_flight_news *news)
{
    news->delivered = segment->ack - c->snd_una;
    news->highest_end = news->newest_end = segment->ack;
    news->again = news->newest_again = c->retries > 0;
    news->original = !news->again && seq_at_or_before(segment->ack, news->original_before);
    news->newest_known = true;
    news->oldest_known = !news->again;
    news->newest_sent_us = news->oldest_sent_us = c->flight_sent_us;
}

void tcp_recovery_take_ack(struct tcp *tcp, struct tcp_connection *c,
                           const struct tcp_segment *segment, struct tcp_flight_news *news)
{
    bool blocks = segment->options.sack_count > 0 && c->sack_enabled &&
                  seq_before(segment->ack, c->snd_nxt) && need_flight(tcp, c);
    *news = (struct tcp_flight_news){.original_before = c->recovery_point};
    if (c->has_flight) {
        tcp_flight_acknowledge(c->flight, segment->ack, news);
    } else if (segment->ack != c->snd_una) {
        take_plain(c, segment, news);
    }
    if (blocks) {
        take_blocks(tcp, c, segment, news);
    }
}

/* ---- RACK --------------------------------------------------------------------------------------
 */

static void note_rtt(struct tcp_connection *c, uint32_t rtt_us, const struct instant *now)
{
    tcp_congestion_note_rtt(c, rtt_us);
    tcp_note_smallest_rtt(c, rtt_us, now);
}

/* RFC 8985 6.2 step 2: whether it was the copy before the last that was delivered. The echo is that
 * of text in order (RFC 7323 4.3): of what is SACKed it says nothing. */
static bool is_of_an_earlier_copy(const struct tcp_connection *c, uint32_t rtt_us,
                                  const struct tcp_segment *segment,
                                  const struct tcp_flight_news *news, const struct instant *now)
{
    if (rtt_us < c->rtt_min_us) {
        return true;
    }
    return c->ts_enabled && segment->options.has_timestamps &&
           seq_at_or_before(news->newest_end, segment->ack) &&
           tcp_timestamp(c, now) - segment->options.ts_echo > rtt_us / 1000U + 1U;
}

/* RFC 8985 6.2 steps 1 to 3. */
static void note_newest(struct tcp *tcp, struct tcp_connection *c,
                        const struct tcp_segment *segment, const struct tcp_flight_news *news,
                        const struct instant *now)
{
    struct tcp_flight *flight = c->flight;
    uint32_t rtt_us = low_us(now) - news->newest_sent_us;
    if (!news->newest_known ||
        (news->newest_again && is_of_an_earlier_copy(c, rtt_us, segment, news, now))) {
        return;
    }
    note_rtt(c, rtt_us, now);
    if (flight == NULL) {
        return;
    }
    flight->forward_end = seq_max(flight->forward_end, news->highest_end);
    if (!flight->rack_known || tcp_flight_sent_after(news->newest_sent_us, news->newest_end,
                                                     flight->rack_sent_us, flight->rack_end)) {
        flight->rack_known = true;
        flight->rack_sent_us = news->newest_sent_us;
        flight->rack_end = news->newest_end;
        flight->rack_rtt_us = rtt_us;
    }
    if (news->reordered && !c->reordering_seen) {
        c->reordering_seen = true;
        metric_add(tcp->metrics, METRIC_TCP_REORDERINGS, 1);
    }
}

/* RFC 8985 6.2 step 4. */
uint32_t tcp_reorder_window_us(const struct tcp_connection *c)
{
    const struct tcp_flight *flight = c->flight;
    bool many = flight->sacked_bytes > (TCP_DUPLICATE_THRESHOLD - 1U) * c->snd_mss ||
                c->dupacks >= TCP_DUPLICATE_THRESHOLD;
    if (!c->reordering_seen && (many || c->recovery != TCP_RECOVERY_NONE)) {
        return 0;
    }
    uint32_t window_us = c->rtt_min_us / 4U * (1U + c->reorder_steps);
    return window_us < c->srtt_us ? window_us : c->srtt_us;
}

/* One step wider for each round trip in which a duplicate was reported. */
static void widen_reorder_window(struct tcp_connection *c)
{
    if (c->dsack_round_open && seq_before(c->snd_una, c->dsack_round)) {
        return;
    }
    c->dsack_round_open = true;
    c->dsack_round = c->snd_nxt;
    c->reorder_recoveries = REORDER_RECOVERIES;
    if (c->reorder_steps < REORDER_STEPS_MAX) {
        c->reorder_steps++;
    }
}

/* Returns the bytes that are newly lost; `*wait_us`: until more may be, 0 for never. */
static uint32_t detect_loss(struct tcp *tcp, struct tcp_connection *c, const struct instant *now,
                            uint32_t *wait_us)
{
    bool again;
    if (!c->has_flight) {
        return 0;
    }
    uint32_t lost =
        tcp_flight_detect(c->flight, tcp_reorder_window_us(c), low_us(now), wait_us, &again);
    if (again) {
        metric_add(tcp->metrics, METRIC_TCP_LOST_RETRANSMITS, 1);
    }
    return lost;
}

/* ---- undoing -----------------------------------------------------------------------------------
 */

static void remember_for_undo(struct tcp_connection *c, const struct instant *now)
{
    c->undo_armed = true;
    c->undo_by_echo = c->ts_enabled;
    c->undo_timeout = false;
    c->undo_resent = 0;
    c->undo_start = c->snd_una;
    c->undo_ts = tcp_timestamp(c, now);
    c->undo_cwnd = c->cwnd;
    c->undo_ssthresh = c->ssthresh;
}

static void leave_recovery(struct tcp_connection *c)
{
    c->recovery = TCP_RECOVERY_NONE;
    c->frto = TCP_FRTO_NONE;
    c->dupacks = 0;
    c->undo_by_echo = false;
    if (c->reorder_recoveries > 0 && --c->reorder_recoveries == 0) {
        c->reorder_steps = 0;
    }
}

static void undo(struct tcp *tcp, struct tcp_connection *c)
{
    metric_add(tcp->metrics,
               c->undo_timeout ? METRIC_TCP_UNDONE_TIMEOUTS : METRIC_TCP_UNDONE_RECOVERIES, 1);
    c->cwnd = c->cwnd > c->undo_cwnd ? c->cwnd : c->undo_cwnd;
    c->ssthresh = c->ssthresh > c->undo_ssthresh ? c->ssthresh : c->undo_ssthresh;
    c->undo_armed = false;
    tcp->congestion->on_undo(c);
    if (c->has_flight) {
        tcp_flight_find_all(c->flight);
    }
    leave_recovery(c);
}

/* Eifel: the first ACK after text was sent again tells by its echo which copy it is for. */
static bool is_needless_by_echo(struct tcp_connection *c, const struct tcp_segment *segment,
                                bool progress)
{
    if (!c->undo_by_echo || !progress || !segment->options.has_timestamps) {
        return false;
    }
    c->undo_by_echo = false;
    return seq_before(segment->options.ts_echo, c->undo_ts);
}

/* RFC 2883: the first block lies below the ACK, or inside the second. */
static const struct tcp_sack_block *duplicate_report(const struct tcp_connection *c,
                                                     const struct tcp_segment *segment)
{
    const struct tcp_sack_block *block = segment->options.sack;
    if (!c->sack_enabled || segment->options.sack_count == 0 ||
        !seq_before(block[0].start, block[0].end)) {
        return NULL;
    }
    bool below = seq_at_or_before(block[0].end, segment->ack);
    bool inside = segment->options.sack_count > 1 &&
                  seq_at_or_before(block[1].start, block[0].start) &&
                  seq_at_or_before(block[0].end, block[1].end);
    return below || inside ? block : NULL;
}

/* Whether all that was sent again has been reported as a duplicate. */
static bool is_needless_by_duplicates(struct tcp_connection *c, const struct tcp_sack_block *block)
{
    if (!c->undo_armed || c->undo_resent == 0 || seq_at_or_before(block->end, c->undo_start)) {
        return false;
    }
    uint32_t segments = (block->end - block->start + c->snd_mss - 1) / c->snd_mss;
    if (segments > DSACKED_SEGMENTS_MAX) {
        return false;
    }
    c->undo_resent =
        segments < c->undo_resent ? (uint16_t)(c->undo_resent - segments) : (uint16_t)0;
    return c->undo_resent == 0;
}

/* ---- the tail loss probe -----------------------------------------------------------------------
 */

static void on_probe_repaired(struct tcp *tcp, struct tcp_connection *c)
{
    metric_add(tcp->metrics, METRIC_TCP_TAIL_PROBE_RECOVERIES, 1);
    if (c->recovery == TCP_RECOVERY_NONE) {
        c->ssthresh = tcp->congestion->on_loss(c);
        c->cwnd = c->cwnd < c->ssthresh ? c->cwnd : c->ssthresh;
    }
}

/* RFC 8985 7.4.2: did the probe repair a loss that nobody else saw? */
static void check_probe(struct tcp *tcp, struct tcp_connection *c,
                        const struct tcp_segment *segment, const struct tcp_flight_news *news,
                        const struct tcp_sack_block *duplicate)
{
    if (c->probe == TCP_PROBE_NONE || seq_before(segment->ack, c->probe_end)) {
        return;
    }
    if (c->probe == TCP_PROBE_NEW || (duplicate != NULL && duplicate->end == c->probe_end)) {
        c->probe = TCP_PROBE_NONE;
    } else if (seq_before(c->probe_end, segment->ack)) {
        c->probe = TCP_PROBE_NONE;
        on_probe_repaired(tcp, c);
    } else if (news->delivered == 0 && segment->options.sack_count == 0 &&
               segment->text_bytes == 0) {
        c->probe = TCP_PROBE_NONE; /* a duplicate ACK: both copies arrived */
    }
}

/* ---- proportional rate reduction ---------------------------------------------------------------
 */

static void start_reduction(struct tcp_connection *c, uint32_t delivered)
{
    struct tcp_flight *flight = c->flight;
    uint32_t under_way = tcp_flight_bytes(c) - flight->sacked_bytes + delivered;
    flight->prr_flight = under_way > c->snd_mss ? under_way : c->snd_mss;
    flight->prr_delivered = flight->prr_sent = 0;
}

/* RFC 9937 section 6. `safe`: SND.UNA moved and nothing more was found lost. */
void tcp_recovery_reduce(struct tcp_connection *c, uint32_t delivered, bool safe)
{
    struct tcp_flight *flight = c->flight;
    if (delivered == 0) {
        return;
    }
    flight->prr_delivered += delivered;
    uint32_t pipe = tcp_pipe_bytes(c), most = UINT32_MAX;
    uint64_t allowed = flight->prr_delivered;
    if (pipe > c->ssthresh) {
        allowed = (allowed * c->ssthresh + flight->prr_flight - 1) / flight->prr_flight;
    } else {
        most = c->ssthresh - pipe;
    }
    uint32_t step = allowed > flight->prr_sent ? (uint32_t)(allowed - flight->prr_sent) : 0;
    if (pipe <= c->ssthresh && safe) {
        step = (step > delivered ? step : delivered) + c->snd_mss;
    }
    step = step < most ? step : most;
    if (flight->prr_sent == 0 && step < c->snd_mss) {
        step = c->snd_mss; /* what was lost first goes again at once */
    }
    c->cwnd = pipe + step;
}

/* ---- entering and leaving ----------------------------------------------------------------------
 */

static void enter_fast(struct tcp *tcp, struct tcp_connection *c, uint32_t delivered,
                       const struct instant *now)
{
    metric_add(tcp->metrics, METRIC_TCP_FAST_RECOVERIES, 1);
    remember_for_undo(c, now);
    c->ssthresh = tcp->congestion->on_loss(c);
    c->recovery = TCP_RECOVERY_FAST;
    c->recovery_point = c->snd_nxt;
    c->probe = TCP_PROBE_NONE;
    start_reduction(c, delivered);
}

void tcp_recovery_on_timeout(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    bool first = c->recovery == TCP_RECOVERY_NONE;
    if (first) {
        remember_for_undo(c, now);
        c->ssthresh = tcp->congestion->on_loss(c);
    }
    c->undo_timeout = true;
    tcp->congestion->on_timeout(c);
    if (need_flight(tcp, c)) {
        if (tcp_flight_has_reneged(c->flight)) {
            metric_add(tcp->metrics, METRIC_TCP_SACK_RENEGES, 1);
            tcp_flight_renege(c->flight);
        }
        /* RFC 8985 6.3: what was sent only just now may still arrive. */
        tcp_flight_lose_older(c->flight, low_us(now) - c->srtt_us);
    }
    c->cwnd = c->snd_mss;
    c->dupacks = 0;
    c->probe = TCP_PROBE_NONE;
    c->recovery = TCP_RECOVERY_TIMEOUT;
    c->recovery_point = c->snd_nxt;
    c->frto = first && !c->ts_enabled ? TCP_FRTO_FIRST : TCP_FRTO_NONE;
}

void tcp_recovery_resend_all(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    tcp_settle_window(tcp, c);
    if (c->recovery == TCP_RECOVERY_NONE) {
        c->recovery = TCP_RECOVERY_TIMEOUT;
        c->recovery_point = c->snd_nxt;
        c->ssthresh = c->cwnd;
        c->undo_armed = c->undo_by_echo = false;
    }
    c->frto = TCP_FRTO_NONE;
    if (need_flight(tcp, c)) {
        tcp_flight_lose_older(c->flight, low_us(now));
    }
    stream_mark_dirty(&c->stream);
}

/* ---- without SACK: RFC 5681 3.2, RFC 6582 ------------------------------------------------------
 */

/* Returns the bytes that this ACK delivered, as far as one can know (RFC 9937 section 5). */
static uint32_t count_duplicates(struct tcp_connection *c, uint32_t acked, bool duplicate)
{
    if (duplicate) {
        if (c->dupacks < tcp_flight_bytes(c) / c->snd_mss + 1 && c->dupacks < UINT16_MAX) {
            c->dupacks++;
        }
        return c->snd_mss;
    }
    if (acked == 0) {
        return 0;
    }
    uint32_t reported = (acked - 1) / c->snd_mss; /* one of them was the missing one */
    reported = reported < c->dupacks ? reported : c->dupacks;
    c->dupacks = (uint16_t)(c->dupacks - reported);
    return acked - reported * c->snd_mss;
}

static uint32_t detect_by_duplicates(struct tcp *tcp, struct tcp_connection *c, uint32_t acked)
{
    uint32_t before = tcp_lost_bytes(c);
    bool third = c->recovery == TCP_RECOVERY_NONE && acked == 0 &&
                 c->dupacks == TCP_DUPLICATE_THRESHOLD && seq_before(c->recovery_point, c->snd_una);
    bool partial = c->recovery == TCP_RECOVERY_FAST && acked > 0;
    if (third || partial) {
        lose(tcp, c, c->snd_una, c->snd_una + c->snd_mss);
    }
    return tcp_lost_bytes(c) - before;
}

/* ---- an ACK ------------------------------------------------------------------------------------
 */

/* RFC 5682. True: the timeout was needless. */
static bool is_needless_by_frto(struct tcp_connection *c, const struct tcp_flight_news *news,
                                uint32_t acked)
{
    if (c->frto == TCP_FRTO_SECOND && news->original) {
        return true;
    }
    bool first = c->frto == TCP_FRTO_FIRST;
    c->frto = TCP_FRTO_NONE;
    if (first && acked > 0) {
        c->frto = TCP_FRTO_SECOND; /* tcp_output.c sends new text now, if it can */
        c->cwnd = tcp_pipe_bytes(c) + 2U * c->snd_mss;
    }
    return false;
}

static void on_recovery_over(struct tcp_connection *c)
{
    if (c->recovery == TCP_RECOVERY_FAST) {
        c->cwnd = c->ssthresh;
    }
    leave_recovery(c);
}

static bool is_needless(struct tcp_connection *c, const struct tcp_segment *segment, uint32_t acked,
                        const struct tcp_sack_block *duplicate)
{
    return is_needless_by_echo(c, segment, acked > 0) ||
           (duplicate != NULL && is_needless_by_duplicates(c, duplicate));
}

static void step_timeout(struct tcp *tcp, struct tcp_connection *c,
                         const struct tcp_flight_news *news, uint32_t acked,
                         const struct instant *now)
{
    if (c->frto != TCP_FRTO_NONE && is_needless_by_frto(c, news, acked)) {
        undo(tcp, c);
    } else if (c->frto == TCP_FRTO_NONE && acked > 0) {
        tcp_congestion_grow(tcp, c, acked, now);
    }
}

/* Flight, SND.UNA and what the ACK says of both are up to date. Returns how long text may be late
 * before it counts as lost. */
static uint32_t step(struct tcp *tcp, struct tcp_connection *c, const struct tcp_flight_news *news,
                     uint32_t acked, bool duplicate, const struct instant *now)
{
    uint32_t wait_us = 0;
    bool over = c->recovery != TCP_RECOVERY_NONE && seq_at_or_before(c->recovery_point, c->snd_una);
    uint32_t delivered = c->sack_enabled ? news->delivered : count_duplicates(c, acked, duplicate);
    if (over) {
        if (c->recovery == TCP_RECOVERY_TIMEOUT) {
            tcp_congestion_grow(tcp, c, acked, now);
        }
        on_recovery_over(c);
    } else if (c->recovery == TCP_RECOVERY_NONE && acked > 0) {
        tcp_congestion_grow(tcp, c, acked, now);
    }
    uint32_t lost =
        c->sack_enabled ? detect_loss(tcp, c, now, &wait_us) : detect_by_duplicates(tcp, c, acked);
    if (c->recovery == TCP_RECOVERY_NONE && tcp_lost_bytes(c) > 0) {
        enter_fast(tcp, c, delivered, now);
    }
    if (c->recovery == TCP_RECOVERY_FAST) {
        tcp_recovery_reduce(c, delivered, acked > 0 && lost == 0);
    } else if (c->recovery == TCP_RECOVERY_TIMEOUT) {
        step_timeout(tcp, c, news, acked, now);
    }
    return wait_us;
}

static void note_progress(struct tcp *tcp, struct tcp_connection *c, uint32_t acked)
{
    if (acked > 0 && c->recovery == TCP_RECOVERY_NONE) {
        c->dupacks = 0;
        if (!c->sack_enabled && seq_before(c->recovery_point, c->snd_una)) {
            c->recovery_point = c->snd_una - 1; /* never far behind: numbers wrap */
        }
    }
    if (c->has_flight && tcp_flight_bytes(c) == 0) {
        tcp_recovery_forget_flight(tcp, c);
    }
}

uint32_t tcp_recovery_on_ack(struct tcp *tcp, struct tcp_connection *c,
                             const struct tcp_segment *segment, const struct tcp_flight_news *news,
                             uint32_t acked, bool duplicate, const struct instant *now)
{
    const struct tcp_sack_block *report = duplicate_report(c, segment);
    note_newest(tcp, c, segment, news, now);
    if (news->sacked && c->dupacks < UINT16_MAX) {
        c->dupacks++;
    }
    if (report != NULL) {
        metric_add(tcp->metrics, METRIC_TCP_DUPLICATES_REPORTED, 1);
        widen_reorder_window(c);
    }
    check_probe(tcp, c, segment, news, report);
    if (is_needless(c, segment, acked, report)) {
        undo(tcp, c);
    }
    uint32_t wait_us = step(tcp, c, news, acked, duplicate, now);
    note_progress(tcp, c, acked);
    return wait_us;
}

void tcp_recovery_on_plain_ack(struct tcp *tcp, struct tcp_connection *c, uint32_t acked,
                               const struct instant *now)
{
    if (c->retries == 0) {
        note_rtt(c, low_us(now) - c->flight_sent_us, now);
    }
    tcp_congestion_grow(tcp, c, acked, now);
    note_progress(tcp, c, acked);
}

uint32_t tcp_recovery_on_reorder_timer(struct tcp *tcp, struct tcp_connection *c,
                                       const struct instant *now)
{
    uint32_t wait_us = 0;
    if (detect_loss(tcp, c, now, &wait_us) > 0) {
        metric_add(tcp->metrics, METRIC_TCP_REORDER_TIMEOUTS, 1);
        if (c->recovery == TCP_RECOVERY_NONE) {
            enter_fast(tcp, c, 0, now);
            tcp_recovery_reduce(c, 1, false); /* no ACK, but it counts as one of a byte */
        }
    }
    return wait_us;
}
