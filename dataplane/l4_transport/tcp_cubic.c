/* CUBIC (RFC 9438): after a loss the window follows C (t - K)^3 + W_max, flat around the window at
 * which the loss came, whatever the round-trip time; where NewReno would have more, that.
 *
 * Windows are bytes, times milliseconds. The arithmetic is that of integers: what a rounding leaves
 * out of a step the next step has, because the curve is computed from the time, not summed up.
 *
 * on_loss takes cwnd, not the flight (RFC 9438 4.6 allows it to who validates cwnd): cwnd grows
 * only when it was what held the sender back, and starts anew after idleness.
 */
#include "dataplane/l4_transport/tcp_internal.h"

/* beta = 7/10; C = 4/10 segments per cubed second; alpha = 3 (1 - beta) / (1 + beta) = 9/17 */
#define BETA_NUMERATOR    7U
#define BETA_DENOMINATOR  10U
#define ALPHA_NUMERATOR   9U
#define ALPHA_DENOMINATOR 17U
#define CURVE_MS_MAX      100000U /* 400,000 segments off W_max: far beyond any window */
#define ESTIMATE_STEP_MIN 64U     /* bytes, so that rounding takes little off the estimate */

static uint32_t cube_root(uint64_t of)
{
    uint64_t root = 0;
    for (int bit = 20; bit >= 0; bit--) {
        uint64_t larger = root | 1ULL << bit;
        root = larger * larger * larger <= of ? larger : root;
    }
    return (uint32_t)root;
}

/* K = cbrt((W_max - window) / C); in milliseconds, so 10^9 under the root. */
uint32_t tcp_cubic_k_ms(uint32_t window, uint32_t window_max, uint32_t mss)
{
    uint64_t below = window < window_max ? window_max - window : 0;
    return cube_root(below * 2500000000ULL / mss);
}

uint32_t tcp_cubic_window(uint32_t window_max, uint32_t k_ms, uint32_t t_ms, uint32_t mss)
{
    uint64_t off_ms = t_ms < k_ms ? k_ms - t_ms : t_ms - k_ms;
    off_ms = off_ms < CURVE_MS_MAX ? off_ms : CURVE_MS_MAX;
    uint64_t off_bytes = off_ms * off_ms * off_ms / 1000U * 4U * mss / 10000000U;
    if (t_ms < k_ms) {
        return off_bytes < window_max ? window_max - (uint32_t)off_bytes : 0;
    }
    uint64_t window = window_max + off_bytes;
    return window < TCP_WINDOW_BYTES_MAX ? (uint32_t)window : TCP_WINDOW_BYTES_MAX;
}

static void start_epoch(struct tcp_connection *c, uint32_t now_ms)
{
    c->congestion.cubic.running = true;
    c->congestion.cubic.epoch_ms = now_ms;
    c->congestion.cubic.estimate = c->cwnd;
    c->congestion.cubic.credit = 0;
    if (c->congestion.cubic.window_max < c->cwnd) {
        c->congestion.cubic.window_max = c->cwnd;
    }
    c->congestion.cubic.k_ms = tcp_cubic_k_ms(c->cwnd, c->congestion.cubic.window_max, c->snd_mss);
}

/* RFC 9438 4.3. */
static void update_estimate(struct tcp_connection *c, uint32_t acked)
{
    uint64_t step = (uint64_t)(c->congestion.cubic.credit + acked) * c->snd_mss / c->cwnd;
    if (c->congestion.cubic.estimate < c->congestion.cubic.window_prior) {
        step = step * ALPHA_NUMERATOR / ALPHA_DENOMINATOR;
    }
    if (step < ESTIMATE_STEP_MIN) {
        c->congestion.cubic.credit += acked;
        return;
    }
    c->congestion.cubic.credit = 0;
    step += c->congestion.cubic.estimate;
    c->congestion.cubic.estimate =
        step < TCP_WINDOW_BYTES_MAX ? (uint32_t)step : TCP_WINDOW_BYTES_MAX;
}

/* RFC 9438 4.2 to 4.5. */
static void on_acknowledged(struct tcp_connection *c, uint32_t acked, const struct instant *now)
{
    uint32_t now_ms = (uint32_t)(now->mono_us / 1000U);
    if (!c->congestion.cubic.running) {
        start_epoch(c, now_ms);
    }
    update_estimate(c, acked);
    uint32_t window_max = c->congestion.cubic.window_max, k_ms = c->congestion.cubic.k_ms;
    uint32_t t_ms = now_ms - c->congestion.cubic.epoch_ms;
    if (tcp_cubic_window(window_max, k_ms, t_ms, c->snd_mss) < c->congestion.cubic.estimate) {
        uint32_t estimate = c->congestion.cubic.estimate;
        c->cwnd = c->cwnd > estimate ? c->cwnd : estimate;
        return;
    }
    uint32_t target = tcp_cubic_window(window_max, k_ms, t_ms + c->srtt_us / 1000U, c->snd_mss);
    uint32_t most = c->cwnd + c->cwnd / 2;
    target = target > most ? most : target;
    if (target > c->cwnd) {
        c->cwnd += (uint32_t)((uint64_t)(target - c->cwnd) * acked / c->cwnd);
    }
}

/* RFC 9438 4.6, and 4.7: a flow that lost before it was back at W_max leaves room for others. */
static uint32_t on_loss(struct tcp_connection *c)
{
    uint64_t window = c->cwnd;
    if (window < c->congestion.cubic.window_max) {
        c->congestion.cubic.window_max =
            (uint32_t)(window * (BETA_DENOMINATOR + BETA_NUMERATOR) / (2U * BETA_DENOMINATOR));
    } else {
        c->congestion.cubic.window_max = c->cwnd;
    }
    c->congestion.cubic.window_prior = c->cwnd;
    c->congestion.cubic.running = false;
    uint32_t reduced = (uint32_t)(window * BETA_NUMERATOR / BETA_DENOMINATOR);
    uint32_t least = 2U * c->snd_mss;
    return reduced > least ? reduced : least;
}

/* RFC 9438 4.8: the next curve begins where slow start ends, flat. */
static void on_timeout(struct tcp_connection *c)
{
    c->congestion.cubic.window_max = 0;
}

static void on_idle(struct tcp_connection *c)
{
    c->congestion.cubic.running = false;
}

/* RFC 9438 4.9: the window of the last loss is that before it, or lower. */
static void on_undo(struct tcp_connection *c)
{
    if (c->congestion.cubic.window_max < c->congestion.cubic.window_prior) {
        c->congestion.cubic.window_max = c->congestion.cubic.window_prior;
    }
    c->congestion.cubic.running = false;
}

const struct tcp_congestion_control tcp_cubic = {
    .on_acknowledged = on_acknowledged,
    .on_loss = on_loss,
    .on_timeout = on_timeout,
    .on_idle = on_idle,
    .on_undo = on_undo,
};
