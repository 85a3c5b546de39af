/* The life of a connection: acquired from the pool, entered into the table, moved along the edges
 * of tcp_state.h, ended, and freed at the end of the pass.
 *
 * Memory stays valid until tcp_release of the pass in which the session got STREAM_CLOSED: events
 * of one batch may still name a stream that ended later in that batch. A connection is freed when
 * all of these hold: CLOSED, last event emitted (or none owed), not on the dirty list, not pending.
 */
#include "dataplane/l4_transport/tcp_internal.h"

/* Whether the session has this stream, or had it. */
static bool known_to_session(const struct tcp_connection *c)
{
    return !c->passive || c->opened;
}

void tcp_connection_init(struct tcp *tcp, struct tcp_connection *c, const struct endpoint *local,
                         const struct endpoint *peer, struct net_interface *interface,
                         const struct instant *now)
{
    memset(c, 0, sizeof(*c));
    c->stream.local = *local;
    c->stream.peer = *peer;
    c->ipv4 = address_is_ipv4(&local->address) && address_is_ipv4(&peer->address);
    c->stream.dirty_list = &tcp->dirty;
    c->stream.socket_fd = -1;
    c->interface = interface;
    c->path_mtu = interface->mtu;
    c->retransmit_due = c->ack_due = c->idle_due = c->timer_due = TCP_NEVER;
    c->last_receive = tcp_receive_tick(now);
    c->rto_us = TCP_RTO_INITIAL_US;
    c->rcv_shift = tcp->receive_shift;
}

struct tcp_connection *tcp_connection_acquire(struct tcp *tcp, const struct endpoint *local,
                                              const struct endpoint *peer,
                                              struct net_interface *interface,
                                              const struct instant *now)
{
    struct tcp_connection *c = object_pool_acquire(&tcp->connections);
    if (c == NULL) {
        metric_add(tcp->metrics, METRIC_TCP_DROP_NO_MEMORY, 1);
        return NULL;
    }
    tcp_connection_init(tcp, c, local, peer, interface, now);
    tcp_table_insert(&tcp->table, c);
    tcp->connection_count++;
    metric_add(tcp->metrics, METRIC_TCP_CONNECTIONS, 1);
    metric_add(tcp->metrics, METRIC_CONNECTION_BYTES, tcp->connections.object_bytes);
    return c;
}

static void count_half_open(struct tcp *tcp, const struct tcp_connection *c, int change)
{
    if (c->passive && c->state == TCP_SYN_RECEIVED) {
        tcp->half_open_count += (uint32_t)change;
        metric_add(tcp->metrics, METRIC_TCP_HALF_OPEN, (uint64_t)(int64_t)change);
    }
}

void tcp_set_state(struct tcp *tcp, struct tcp_connection *c, enum tcp_state state)
{
    CHECK(tcp_state_may_follow((enum tcp_state)c->state, state));
    count_half_open(tcp, c, -1);
    c->state = (uint8_t)state;
    count_half_open(tcp, c, 1);
}

/* What only a connection with traffic needs. */
static void free_attachments(struct tcp *tcp, struct tcp_connection *c)
{
    byte_queue_clear(&c->stream.out, tcp->options.pool);
    c->has_cursor = false;
    tcp_recovery_forget_flight(tcp, c);
    tcp_drop_reassembly(tcp, c);
}

static void disarm_timer(struct tcp *tcp, struct tcp_connection *c)
{
    timer_wheel_cancel(&tcp->wheel, &c->timer);
    tcp_stop_awaiting(tcp, c);
    c->timer_due = c->retransmit_due = c->ack_due = c->idle_due = TCP_NEVER;
}

/* A connection may be ended while it still waits on the pending list, so this may come twice. */
static void bury(struct tcp *tcp, struct tcp_connection *c)
{
    if (c->buried) {
        return;
    }
    c->buried = true;
    c->dead_next = tcp->dead;
    tcp->dead = c;
}

static void count_orphan(struct tcp *tcp, int change)
{
    tcp->orphan_count += (uint32_t)change;
    metric_add(tcp->metrics, METRIC_TCP_ORPHANS, (uint64_t)(int64_t)change);
}

bool tcp_enter_source(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    enum metric reason = access_enter(tcp->options.access, &c->stream.peer.address, now->mono_us);
    if (reason != METRIC_COUNT) {
        metric_add(tcp->metrics, reason, 1);
        return false;
    }
    c->entered = true;
    return true;
}

static void leave_count(struct tcp *tcp, struct tcp_connection *c)
{
    if (c->entered) {
        c->entered = false;
        access_leave(tcp->options.access, &c->stream.peer.address);
    }
    if (c->detached && c->state != TCP_TIME_WAIT) {
        count_orphan(tcp, -1);
    }
    if (c->state == TCP_TIME_WAIT) {
        TAILQ_REMOVE(&tcp->time_wait, c, time_wait_link);
        tcp->time_wait_count--;
        metric_subtract(tcp->metrics, METRIC_TCP_TIME_WAIT_NOW, 1);
    } else {
        tcp->connection_count--;
        metric_subtract(tcp->metrics, METRIC_TCP_CONNECTIONS, 1);
    }
}

void tcp_connection_end(struct tcp *tcp, struct tcp_connection *c, struct tcp_events *events)
{
    CHECK(c->state != TCP_CLOSED);
    leave_count(tcp, c);
    tcp_set_state(tcp, c, TCP_CLOSED);
    tcp_table_remove(&tcp->table, c);
    disarm_timer(tcp, c);
    free_attachments(tcp, c);
    c->drained_pending = c->finished_pending = false;
    if (!known_to_session(c) || c->closed_emitted) {
        bury(tcp, c);
    } else if (!c->closed_pending && events != NULL && tcp_events_have_room(events)) {
        tcp_emit(events, c, STREAM_CLOSED, slice_of(NULL, 0));
        c->closed_emitted = true;
        bury(tcp, c);
    } else if (!c->closed_pending) {
        c->closed_pending = true;
        c->closed_pass = (uint32_t)(events == NULL ? tcp->pass : tcp->pass - 1);
        tcp_queue_pending(tcp, c);
    }
}

void tcp_restart_time_wait(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    TAILQ_REMOVE(&tcp->time_wait, c, time_wait_link);
    c->time_wait_due = now->mono_us + (uint64_t)tcp->options.time_wait_ms * 1000U;
    TAILQ_INSERT_TAIL(&tcp->time_wait, c, time_wait_link);
}

void tcp_enter_time_wait(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    leave_count(tcp, c);
    tcp_set_state(tcp, c, TCP_TIME_WAIT);
    disarm_timer(tcp, c);
    free_attachments(tcp, c);
    c->time_wait_due = now->mono_us + (uint64_t)tcp->options.time_wait_ms * 1000U;
    TAILQ_INSERT_TAIL(&tcp->time_wait, c, time_wait_link);
    tcp->time_wait_count++;
    metric_add(tcp->metrics, METRIC_TCP_TIME_WAIT_NOW, 1);
    if (tcp->time_wait_count > tcp->options.time_wait_max) {
        metric_add(tcp->metrics, METRIC_TCP_TIME_WAIT_EVICTED, 1);
        tcp_connection_end(tcp, TAILQ_FIRST(&tcp->time_wait), NULL);
    }
}

bool tcp_detach_session(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    if (tcp->orphan_count >= tcp->options.orphans_max) {
        metric_add(tcp->metrics, METRIC_TCP_ORPHANS_RESET, 1);
        tcp_send_reset(tcp, c, now);
        tcp_connection_end(tcp, c, NULL);
        return false;
    }
    c->detached = true;
    count_orphan(tcp, 1);
    c->stream.drain_below = 0;
    c->drained_pending = c->finished_pending = false;
    c->stream.unread_bytes = 0;
    c->closed_pending = true;
    c->closed_pass = (uint32_t)tcp->pass;
    tcp_queue_pending(tcp, c);
    tcp_arm_idle(tcp, c, now);
    return true;
}

void tcp_queue_pending(struct tcp *tcp, struct tcp_connection *c)
{
    if (c->pending) {
        return;
    }
    c->pending = true;
    c->pending_next = NULL;
    *tcp->pending_tail = c;
    tcp->pending_tail = &c->pending_next;
}

/* True: nothing is left to say. */
static bool emit_for_session(struct tcp *tcp, struct tcp_connection *c, struct tcp_events *events)
{
    if (!c->detached && c->state != TCP_CLOSED) {
        if (!tcp_deliver_stored(tcp, c, events, UINT32_MAX)) {
            return false;
        }
        if (c->drained_pending) {
            if (!tcp_events_have_room(events)) {
                return false;
            }
            c->drained_pending = false;
            tcp_emit(events, c, STREAM_DRAINED, slice_of(NULL, 0));
        }
    }
    if (c->closed_pending) {
        if (c->closed_pass == (uint32_t)tcp->pass || !tcp_events_have_room(events)) {
            return false;
        }
        c->closed_pending = false;
        c->closed_emitted = true;
        tcp_emit(events, c, STREAM_CLOSED, slice_of(NULL, 0));
    }
    return true;
}

void tcp_emit_pending(struct tcp *tcp, struct tcp_events *events)
{
    struct tcp_connection *c = tcp->pending;
    tcp->pending = NULL;
    tcp->pending_tail = &tcp->pending;
    while (c != NULL) {
        struct tcp_connection *next = c->pending_next;
        c->pending = false;
        if (!emit_for_session(tcp, c, events)) {
            tcp_queue_pending(tcp, c);
        } else if (c->state == TCP_CLOSED) {
            bury(tcp, c);
        }
        c = next;
    }
}

void tcp_free_dead(struct tcp *tcp)
{
    struct tcp_connection *c = tcp->dead;
    tcp->dead = NULL;
    while (c != NULL) {
        struct tcp_connection *next = c->dead_next;
        if (c->stream.dirty || c->pending) {
            c->dead_next = tcp->dead; /* somebody still links to it: the next pass */
            tcp->dead = c;
        } else {
            byte_queue_clear(&c->stream.out, tcp->options.pool);
            object_pool_release(&tcp->connections, c);
            metric_subtract(tcp->metrics, METRIC_CONNECTION_BYTES, tcp->connections.object_bytes);
        }
        c = next;
    }
}

void tcp_move_timer(struct tcp *tcp, struct tcp_connection *c, uint64_t due_us)
{
    if (due_us == TCP_NEVER) {
        timer_wheel_cancel(&tcp->wheel, &c->timer);
    } else {
        timer_wheel_arm(&tcp->wheel, &c->timer, due_us);
    }
    c->timer_due = due_us;
}
