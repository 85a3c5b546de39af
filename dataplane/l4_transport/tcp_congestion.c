/* What all congestion controls have in common: the initial window (RFC 6928), slow start, the
 * restart after idleness (RFC 5681 4.1, RFC 9438 5.8 leaves it so). */
#include "dataplane/l4_transport/tcp_internal.h"

#define SLOW_START_STEP_MAX 8U /* segments of one ACK that count (RFC 9406 4.2, without pacing) */

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
}

void tcp_congestion_restart_idle(const struct tcp *tcp, struct tcp_connection *c)
{
    uint32_t window = initial_window(c);
    c->cwnd = c->cwnd < window ? c->cwnd : window;
    tcp->congestion->on_idle(c);
}

/* Slow start up to ssthresh; what is acknowledged beyond it counts for congestion avoidance.
 * Returns that. */
static uint32_t grow_in_slow_start(struct tcp_connection *c, uint32_t acked)
{
    uint32_t room = c->ssthresh - c->cwnd, most = SLOW_START_STEP_MAX * c->snd_mss;
    acked = acked < most ? acked : most;
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
