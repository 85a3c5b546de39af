/* Congestion control behind one table of functions: how the window grows, and what a loss does to
 * it. Loss recovery (tcp_recovery.c) decides when; an algorithm only answers:
 *
 *   on_acknowledged   congestion avoidance: text was acknowledged that filled the window
 *   on_loss           a new loss; returns ssthresh (cwnd is still what it was)
 *   on_timeout        after on_loss, when the retransmission timer found it
 *   on_idle           the connection had nothing to send for a while
 *   on_undo           the last loss was none: cwnd and ssthresh are what they had been
 *
 * Slow start (with HyStart++), the window during recovery and the restart after idleness are the
 * same for all. State: union tcp_congestion_state in the connection, zeroed when it is made.
 */
#ifndef NICACHED_L4_TRANSPORT_TCP_CONGESTION_H
#define NICACHED_L4_TRANSPORT_TCP_CONGESTION_H

#include <stdbool.h>
#include <stdint.h>

struct tcp_connection;
struct instant;

union tcp_congestion_state {
    struct {
        uint32_t credit; /* bytes acknowledged towards the next step */
    } newreno;
    struct {
        uint32_t credit;       /* bytes acknowledged that are not in `estimate` yet */
        uint32_t window_max;   /* W_max: cwnd at the last loss, or a little less */
        uint32_t window_prior; /* cwnd_prior: cwnd at the last loss */
        uint32_t estimate;     /* W_est: what NewReno would have */
        uint32_t k_ms;         /* K: when the curve passes W_max */
        uint32_t epoch_ms;     /* when the curve began */
        bool running;          /* it has */
    } cubic;
};

/* HyStart++ (RFC 9406): how the first slow start ends before it overruns the path. A round is the
 * time until what was under way at its start is acknowledged. */
struct tcp_slow_start {
    uint32_t round_end;                 /* SND.NXT at the start of the round */
    uint32_t last_min_us, round_min_us; /* smallest round trip of the last round and of this one */
    uint32_t baseline_us;               /* not 0: growing slowly since round trips reached this */
    uint8_t samples, slow_rounds;
};

struct tcp_congestion_control {
    void (*on_acknowledged)(struct tcp_connection *c, uint32_t acked, const struct instant *now);
    uint32_t (*on_loss)(struct tcp_connection *c);
    void (*on_timeout)(struct tcp_connection *c);
    void (*on_idle)(struct tcp_connection *c);
    void (*on_undo)(struct tcp_connection *c);
};

extern const struct tcp_congestion_control tcp_newreno, tcp_cubic;

/* CUBIC's curve, for the tests: W_cubic(t) in bytes; K for the step from `window` to `window_max`.
 */
uint32_t tcp_cubic_window(uint32_t window_max, uint32_t k_ms, uint32_t t_ms, uint32_t mss);
uint32_t tcp_cubic_k_ms(uint32_t window, uint32_t window_max, uint32_t mss);

#endif
