/* What all congestion controls have in common: the initial window (RFC 6928), slow start with
 * HyStart++ (RFC 9406), the restart after idleness (RFC 5681 4.1).
 *
 * HyStart++: when the round trips of the first slow start have grown by an eighth (4 to 16 ms), a
 * queue is building up. The window then grows at a quarter of the pace, and after five such rounds
 * slow start is over; when the round trips shrink again before that, it was something else. */
#include "dataplane/l4_transport/tcp_internal.h"

#define SLOW_START_STEP_MAX 8U /* segments of one ACK that count (RFC 9406 4.2, without pacing) */
#define ROUND_SAMPLES       8U
#define GROWTH_MIN_US       4000U
#define GROWTH_MAX_US       16000U
#define SLOW_DIVISOR        4U
#define SLOW_ROUNDS         5U

static uint32_t initial_window(const struct tcp_connection *c)
{
    uint32_t mss = c->snd_mss, two = 2 * mss;
    uint32_t ten = 10 * mss, cap = two > 14600 ? two : 14600;
    return ten < cap ? ten : cap;
}

void tcp_congestion_init(struct tcp_connection *c)
{
    c->cwnd = initial_window(c);
    c->ssthresh = TCP_WINDOW_BYTES_MAX;
    c->recovery = TCP_RECOVERY_NONE;
    c->recovery_point = c->snd_una - 1; /* RFC 6582: ISS */
    c->slow_start = (struct tcp_slow_start){.round_end = c->snd_una};
}

void tcp_congestion_restart_idle(const struct tcp *tcp, struct tcp_connection *c)
{
    uint32_t window = initial_window(c);
    c->cwnd = c->cwnd < window ? c->cwnd : window;
    tcp->congestion->on_idle(c);
}

static void start_round(struct tcp_connection *c)
{
    struct tcp_slow_start *s = &c->slow_start;
    s->last_min_us = s->round_min_us;
    s->round_min_us = UINT32_MAX;
    s->samples = 0;
    s->round_end = c->snd_nxt;
    if (s->baseline_us != 0 && ++s->slow_rounds == SLOW_ROUNDS) {
        c->ssthresh = c->cwnd;
    }
}

/* Round trips while the window is not full are the application's, not the path's. */
void tcp_congestion_note_rtt(struct tcp_connection *c, uint32_t rtt_us)
{
    struct tcp_slow_start *s = &c->slow_start;
    if (!c->cwnd_limited || c->ssthresh != TCP_WINDOW_BYTES_MAX) {
        return;
    }
    if (seq_at_or_before(s->round_end, c->snd_una)) {
        start_round(c);
    }
    s->round_min_us = rtt_us < s->round_min_us ? rtt_us : s->round_min_us;
    if (s->samples < ROUND_SAMPLES) {
        s->samples++;
    }
    if (s->samples < ROUND_SAMPLES || s->last_min_us == 0 || s->last_min_us == UINT32_MAX) {
        return;
    }
    uint32_t growth_us = s->last_min_us / 8;
    growth_us = growth_us < GROWTH_MIN_US ? GROWTH_MIN_US : growth_us;
    growth_us = growth_us > GROWTH_MAX_US ? GROWTH_MAX_US : growth_us;
    if (s->baseline_us == 0 && s->round_min_us >= s->last_min_us + growth_us) {
        s->baseline_us = s->round_min_us;
        s->slow_rounds = 0;
    } else if (s->round_min_us < s->baseline_us) {
        s->baseline_us = 0;
    }
}

/* Slow start up to ssthresh; what is acknowledged beyond it counts for congestion avoidance.
 * Returns that. */
static uint32_t grow_in_slow_start(struct tcp_connection *c, uint32_t acked)
{
    uint32_t room = c->ssthresh - c->cwnd, most = SLOW_START_STEP_MAX * c->snd_mss;
    acked = acked < most ? acked : most;
    acked = c->slow_start.baseline_us != 0 ? acked / SLOW_DIVISOR : acked;
    uint32_t step = acked < room ? acked : room;
    c->cwnd += step;
    return acked - step;
}

/* A window that the sender does not fill proves nothing and does not grow. */
void tcp_congestion_grow(const struct tcp *tcp, struct tcp_connection *c, uint32_t acked,
                         const struct instant *now)
{
    if (c->recovery == TCP_RECOVERY_NONE && !c->cwnd_limited) {
        return;
    }
    if (c->cwnd < c->ssthresh) {
        acked = grow_in_slow_start(c, acked);
    }
    if (acked > 0) {
        tcp->congestion->on_acknowledged(c, acked, now);
    }
    c->cwnd = c->cwnd > TCP_WINDOW_BYTES_MAX ? TCP_WINDOW_BYTES_MAX : c->cwnd;
}
