/* Everything that time brings to a connection. It has up to three due times (retransmission or
 * persist, delayed ACK, idleness) and one timer node, armed at or before the earliest of them: a
 * due time that moves back, as the retransmission's does with every ACK, costs one store, and the
 * node finds out when it fires.
 *
 * Text that leaves is acknowledged long before anything is due, so the node is not armed for it at
 * once: the connection waits in tcp->awaiting for rto_min_ms, the least time after which a lone
 * segment may go again, and only then, if there is still reason to, the node is armed (at once for
 * what is due before: more than one segment). The ACK after which a connection rests takes back
 * what was done (tcp_rest). So the node, whose line is cold, and the wheel's lists, which
 * lead through other connections, are touched neither by a reply nor by its ACK.
 *
 * TIME-WAIT needs no node: all last equally long, so their list is sorted.
 */
#include "dataplane/l4_transport/tcp_internal.h"

#define KEEPALIVE_INTERVAL_DIVISOR 4U
#define CLOSED_RETRIES_MIN         8U

/* RFC 8985 7.2: two round trips, and when one segment is out, the time the peer may delay its ACK.
 */
static uint64_t probe_timeout_us(const struct tcp *tcp, const struct tcp_connection *c)
{
    uint64_t timeout = 2ULL * c->srtt_us + 2U * TIMER_WHEEL_TICK_US;
    if (tcp_flight_bytes(c) <= c->snd_mss) {
        timeout += (uint64_t)tcp->options.rto_min_ms * 1000U;
    }
    return timeout;
}

static bool probe_is_useful(const struct tcp_connection *c)
{
    return c->sack_enabled && c->srtt_us != 0 && c->retries == 0 &&
           (LIKELY(tcp_is_plain(c)) ||
            (c->recovery == TCP_RECOVERY_NONE && c->probe == TCP_PROBE_NONE &&
             c->state >= TCP_ESTABLISHED && (!c->has_flight || c->flight->sacked_bytes == 0)));
}

static uint64_t awaiting_us(const struct tcp *tcp)
{
    return tcp->options.rto_min_ms * 1000ULL;
}

/* One that waits already is looked at before a time that begins now is over. */
static inline void arm_retransmit_timer(struct tcp *tcp, struct tcp_connection *c,
                                        const struct instant *now)
{
    uint64_t look_us = now->mono_us + awaiting_us(tcp);
    if (LIKELY(c->retransmit_due >= look_us)) {
        if (c->awaiting_place == 0) {
            c->awaiting_place = due_queue_push(&tcp->awaiting, c, look_us);
        }
        if (LIKELY(c->awaiting_place != 0)) {
            return;
        }
    }
    c->flight_timed = true;
    tcp_arm_timer(tcp, c, c->retransmit_due);
}

void tcp_arm_retransmit(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    uint64_t timeout = tcp_rto_us(c);
    c->due = TCP_DUE_TIMEOUT;
    if (probe_is_useful(c)) {
        uint64_t probe = probe_timeout_us(tcp, c);
        timeout = probe < timeout ? probe : timeout;
        c->due = TCP_DUE_PROBE;
    }
    c->retransmit_due = now->mono_us + timeout;
    arm_retransmit_timer(tcp, c, now);
}

/* Takes the place of a probe, and of a timeout that is farther away. */
void tcp_arm_reorder(struct tcp *tcp, struct tcp_connection *c, uint32_t wait_us,
                     const struct instant *now)
{
    uint64_t due = now->mono_us + wait_us;
    if (c->due != TCP_DUE_TIMEOUT || due < c->retransmit_due) {
        c->due = TCP_DUE_REORDER;
        c->retransmit_due = due;
        tcp_arm_timer(tcp, c, due);
    }
}

void tcp_arm_persist(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    if (c->retransmit_due == TCP_NEVER) {
        c->retransmit_due = now->mono_us + tcp_rto_us(c);
    }
    tcp_arm_timer(tcp, c, c->retransmit_due);
}

void tcp_arm_delayed_ack(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    if (c->ack_due == TCP_NEVER) {
        c->ack_due = now->mono_us + (uint64_t)tcp->options.delayed_ack_ms * 1000U;
        tcp_arm_timer(tcp, c, c->ack_due);
    }
}

void tcp_arm_idle(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    if (c->detached) {
        c->idle_due = now->mono_us + (uint64_t)tcp->options.linger_ms * 1000U;
    } else if (tcp->options.keepalive_s != 0 && c->idle_due == TCP_NEVER) {
        c->idle_due = now->mono_us + (uint64_t)tcp->options.keepalive_s * 1000000U;
    }
    tcp_arm_timer(tcp, c, c->idle_due);
}

static void give_up(struct tcp *tcp, struct tcp_connection *c, bool reset,
                    const struct instant *now, struct tcp_events *events)
{
    metric_add(tcp->metrics, METRIC_TCP_GIVE_UPS, 1);
    if (reset) {
        tcp_send_reset(tcp, c, now);
    }
    tcp_connection_end(tcp, c, events);
}

static void retransmit_handshake(struct tcp *tcp, struct tcp_connection *c,
                                 const struct instant *now, struct tcp_events *events)
{
    uint32_t most = c->passive ? TCP_SYN_ACK_RETRIES_MAX : TCP_SYN_RETRIES_MAX;
    if (c->retries >= most) {
        give_up(tcp, c, false, now, events);
        return;
    }
    c->retries++;
    c->backoff++;
    c->resent_us = now->mono_us;
    metric_add(tcp->metrics, METRIC_TCP_RETRANSMITS, 1);
    tcp_send_syn(tcp, c, now);
    c->retransmit_due = now->mono_us + tcp_rto_us(c);
}

static void probe_window(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    metric_add(tcp->metrics, METRIC_TCP_WINDOW_PROBES, 1);
    int32_t room = (int32_t)(c->snd_una + c->snd_wnd - c->snd_nxt);
    if (room > 0) {
        /* Held back as too small a step until now: overridden (RFC 9293 3.8.6.2.1). */
        uint32_t half = c->snd_wnd_max;
        c->snd_wnd_max = 0;
        tcp_transmit(tcp, c, now);
        c->snd_wnd_max = half;
        return;
    }
    tcp_send_probe_segment(tcp, c, now);
    c->retries++;
    c->backoff = c->backoff < 16 ? c->backoff + 1 : 16;
    c->retransmit_due = now->mono_us + tcp_rto_us(c);
}

static void on_retransmission_timeout(struct tcp *tcp, struct tcp_connection *c,
                                      const struct instant *now)
{
    metric_add(tcp->metrics, METRIC_TCP_TIMEOUTS, 1);
    c->resent_us = now->mono_us;
    c->retries++;
    c->backoff = c->backoff < 16 ? c->backoff + 1 : 16;
    tcp_recovery_on_timeout(tcp, c, now);
    tcp_resend_first(tcp, c, now);
    tcp_arm_retransmit(tcp, c, now);
}

static void on_probe_due(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    c->resent_us = now->mono_us;
    tcp_send_probe(tcp, c, now);
    tcp_arm_retransmit(tcp, c, now);
}

static void on_reorder_due(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    uint32_t wait_us = tcp_recovery_on_reorder_timer(tcp, c, now);
    tcp_transmit(tcp, c, now);
    tcp_arm_retransmit(tcp, c, now);
    if (wait_us > 0) {
        tcp_arm_reorder(tcp, c, wait_us, now);
    }
}

static void on_retransmit_due(struct tcp *tcp, struct tcp_connection *c, const struct instant *now,
                              struct tcp_events *events)
{
    c->retransmit_due = TCP_NEVER;
    tcp_settle_window(tcp, c);
    if (c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED) {
        retransmit_handshake(tcp, c, now, events);
    } else if (c->retries >= TCP_RETRIES_MAX) {
        give_up(tcp, c, true, now, events);
    } else if (tcp_flight_bytes(c) == 0) {
        if (c->stream.out.size > 0) {
            probe_window(tcp, c, now);
        }
    } else if (c->due == TCP_DUE_PROBE) {
        on_probe_due(tcp, c, now);
    } else if (c->due == TCP_DUE_REORDER) {
        on_reorder_due(tcp, c, now);
    } else {
        on_retransmission_timeout(tcp, c, now);
    }
}

/* Rounded down: nobody is asked early. */
static uint64_t silence_us(const struct tcp_connection *c, const struct instant *now)
{
    uint64_t ticks = tcp_receive_tick(now) - c->last_receive;
    return ticks == 0 ? 0 : (ticks - 1) << TCP_RECEIVE_TICK_BITS;
}

static void on_keepalive_due(struct tcp *tcp, struct tcp_connection *c, const struct instant *now,
                             struct tcp_events *events)
{
    uint64_t idle_us = (uint64_t)tcp->options.keepalive_s * 1000000U;
    uint64_t interval_us = idle_us / KEEPALIVE_INTERVAL_DIVISOR;
    uint64_t silent_us = silence_us(c, now);
    if (silent_us < idle_us) {
        c->keepalive_probes = 0;
        c->idle_due = now->mono_us + (idle_us - silent_us);
    } else if (tcp_flight_bytes(c) > 0) {
        c->idle_due = now->mono_us + interval_us; /* the retransmission timer is asking already */
    } else if (c->keepalive_probes >= TCP_KEEPALIVE_PROBES_MAX) {
        give_up(tcp, c, true, now, events);
    } else {
        c->keepalive_probes++;
        metric_add(tcp->metrics, METRIC_TCP_KEEPALIVE_PROBES, 1);
        tcp_send_probe_segment(tcp, c, now);
        c->idle_due = now->mono_us + interval_us;
    }
}

/* The session has left, and nothing went on for the time to linger. Replies under way still get
 * their number of tries: with a slow timer the time alone would be a few of them, and on a bad link
 * those may all be lost though the peer lives. */
static void on_linger_due(struct tcp *tcp, struct tcp_connection *c, const struct instant *now,
                          struct tcp_events *events)
{
    if (tcp_flight_bytes(c) > 0 && c->retries < CLOSED_RETRIES_MIN) {
        c->idle_due = now->mono_us + tcp_rto_us(c);
    } else {
        give_up(tcp, c, true, now, events);
    }
}

static void on_idle_due(struct tcp *tcp, struct tcp_connection *c, const struct instant *now,
                        struct tcp_events *events)
{
    c->idle_due = TCP_NEVER;
    if (c->detached) {
        on_linger_due(tcp, c, now, events);
    } else if (tcp->options.keepalive_s != 0) {
        on_keepalive_due(tcp, c, now, events);
    }
}

static void on_timer(struct tcp *tcp, struct tcp_connection *c, const struct instant *now,
                     struct tcp_events *events)
{
    c->timer_due = TCP_NEVER;
    c->flight_timed = false;
    if (c->ack_due <= now->mono_us) {
        c->ack_due = TCP_NEVER;
        if (!tcp_send_ack(tcp, c, now)) {
            tcp_arm_delayed_ack(tcp, c, now);
        }
    }
    if (c->retransmit_due <= now->mono_us) {
        on_retransmit_due(tcp, c, now, events);
    }
    if (c->state != TCP_CLOSED && c->idle_due <= now->mono_us) {
        on_idle_due(tcp, c, now, events);
    }
    if (c->state != TCP_CLOSED && c->state != TCP_TIME_WAIT) {
        uint64_t due = c->retransmit_due < c->ack_due ? c->retransmit_due : c->ack_due;
        tcp_arm_timer(tcp, c, c->idle_due < due ? c->idle_due : due);
    }
}

static void end_time_waits(struct tcp *tcp, const struct instant *now)
{
    struct tcp_connection *c;
    while ((c = TAILQ_FIRST(&tcp->time_wait)) != NULL && c->time_wait_due <= now->mono_us) {
        tcp_connection_end(tcp, c, NULL);
    }
}

uint64_t tcp_next_timer(const struct tcp *tcp, const struct instant *now)
{
    if (tcp->pending != NULL || tcp->dirty.first != NULL) {
        return now->mono_us;
    }
    uint64_t due = timer_wheel_next_due(&tcp->wheel);
    uint64_t look_us = due_queue_next_due(&tcp->awaiting);
    due = look_us < due ? look_us : due;
    const struct tcp_connection *waiting = TAILQ_FIRST(&tcp->time_wait);
    return waiting != NULL && waiting->time_wait_due < due ? waiting->time_wait_due : due;
}

/* What has waited for its ACK for so long is timed. */
static void end_awaiting(struct tcp *tcp, const struct instant *now)
{
    struct tcp_connection *c;
    while ((c = due_queue_take(&tcp->awaiting, now->mono_us)) != NULL) {
        c->awaiting_place = 0;
        if (c->retransmit_due != TCP_NEVER) {
            arm_retransmit_timer(tcp, c, now);
        }
    }
}

void tcp_run_timers(struct tcp *tcp, const struct instant *now, struct tcp_events *events)
{
    tcp_emit_pending(tcp, events);
    end_awaiting(tcp, now);
    /* Bounded: a node that fires is armed for later than now. */
    while (tcp_events_have_room(events)) {
        struct timer_node *node = timer_wheel_take_due(&tcp->wheel, now->mono_us);
        if (node == NULL) {
            break;
        }
        uint8_t *at = (uint8_t *)node - offsetof(struct tcp_connection, timer);
        on_timer(tcp, (struct tcp_connection *)(void *)at, now, events);
    }
    end_time_waits(tcp, now);
}
