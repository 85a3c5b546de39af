/* NewReno's windows (RFC 5681): one segment more for each window acknowledged, half of the flight
 * after a loss. */
#include "dataplane/l4_transport/tcp_internal.h"

static void on_acknowledged(struct tcp_connection *c, uint32_t acked, const struct instant *now)
{
    uint32_t *credit = &c->congestion.newreno.credit;
    (void)now;
    *credit += acked;
    if (*credit >= c->cwnd) {
        *credit -= c->cwnd;
        c->cwnd += c->snd_mss;
    }
}

static uint32_t on_loss(struct tcp_connection *c)
{
    uint32_t half = tcp_flight_bytes(c) / 2, least = 2U * c->snd_mss;
    c->congestion.newreno.credit = 0;
    return half > least ? half : least;
}

static void start_step(struct tcp_connection *c)
{
    c->congestion.newreno.credit = 0;
}

const struct tcp_congestion_control tcp_newreno = {
    .on_acknowledged = on_acknowledged,
    .on_loss = on_loss,
    .on_timeout = start_step,
    .on_idle = start_step,
    .on_undo = start_step,
};
