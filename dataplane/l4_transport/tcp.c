/* Composition: creating the instance, listening, connecting, the end of a pass. */
#include "dataplane/l4_transport/tcp.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/l2_link/packet.h"
#include "dataplane/l4_transport/tcp_internal.h"

#define HELD_PACKETS_MIN  4096U
#define PORT_FIRST        32768U
#define PORT_COUNT        28232U
#define PORT_TRIES        64U
#define PURPOSE_PORT      3U
#define PURPOSE_CHOICES   6U
#define CONNECTIONS_FIRST 63U
#define AWAITING_MAX      (1U << 18) /* 4 MiB */

void tcp_default_options(struct tcp_options *options)
{
    *options = (struct tcp_options){
        .connections_max = 1U << 20,
        .half_open_max = 2048,
        .receive_buffer_bytes_max = 256U << 10,
        .send_unacknowledged_bytes_max = 4U << 20,
        .keepalive_s = 300,
        .rto_min_ms = 200,
        .time_wait_ms = 60000,
        .delayed_ack_ms = 40,
        .time_wait_max = 16384,
        .orphans_max = 8192,
        .linger_ms = 60000,
        .segment_bytes_min = 48,
        .reassembly_bytes_max = 64ULL << 20,
    };
}

static uint8_t shift_for(uint32_t buffer_bytes)
{
    uint8_t shift = 0;
    while (shift < TCP_WINDOW_SCALE_SHIFT_MAX && buffer_bytes >> shift > UINT16_MAX) {
        shift++;
    }
    return shift;
}

/* Bounds that arithmetic elsewhere relies on. */
static void bound_options(struct tcp_options *o)
{
    uint32_t buffer_max = 1U << 29;
    o->receive_buffer_bytes_max =
        o->receive_buffer_bytes_max > buffer_max ? buffer_max : o->receive_buffer_bytes_max;
    o->send_unacknowledged_bytes_max = o->send_unacknowledged_bytes_max > buffer_max
                                           ? buffer_max
                                           : o->send_unacknowledged_bytes_max;
    o->rto_min_ms = o->rto_min_ms < 1 ? 1 : o->rto_min_ms;
    o->segment_bytes_min = o->segment_bytes_min < 48 ? 48 : o->segment_bytes_min;
    o->segment_bytes_min = o->segment_bytes_min > 536 ? 536 : o->segment_bytes_min;
}

/* Choices that a peer can watch tell nothing about the keys: they come from a key of their own. */
static void init_secrets(struct tcp *tcp)
{
    tcp_secret_init(&tcp->secret, tcp->options.seed, tcp->options.seed_more);
    tcp_cookies_init(&tcp->cookies, &tcp->secret);
    static const struct endpoint nobody;
    tcp->random_state = tcp_secret_of_tuple(&tcp->secret, &nobody, &nobody, PURPOSE_CHOICES) | 1;
}

struct tcp *tcp_create(const struct tcp_options *options)
{
    struct tcp *tcp = calloc(1, sizeof(*tcp));
    if (tcp == NULL) {
        return NULL;
    }
    tcp->options = *options;
    bound_options(&tcp->options);
    tcp->net = options->net;
    tcp->metrics = options->metrics;
    tcp->pending_tail = &tcp->pending;
    tcp->receive_shift = shift_for(tcp->options.receive_buffer_bytes_max);
    tcp->pass = 1;
    tcp->held_max = HELD_PACKETS_MIN;
    tcp->held = calloc(tcp->held_max, sizeof(struct rte_mbuf *));
    TAILQ_INIT(&tcp->time_wait);
    timer_wheel_init(&tcp->wheel, 0);
    due_queue_init(&tcp->awaiting, AWAITING_MAX);
    init_secrets(tcp);
    object_pool_init(&tcp->connections, sizeof(struct tcp_connection), CONNECTIONS_FIRST);
    tcp_flight_pools_init(&tcp->flights);
    tcp->congestion = tcp->options.congestion == TCP_CONGESTION_NEWRENO ? &tcp_newreno : &tcp_cubic;
    tcp_reassembly_budget_init(&tcp->reassembly, options->pool,
                               tcp->options.receive_buffer_bytes_max,
                               tcp->options.reassembly_bytes_max);
    if (tcp->held == NULL ||
        !tcp_table_init(&tcp->table, tcp->options.connections_max + tcp->options.time_wait_max)) {
        free(tcp->held);
        free(tcp);
        return NULL;
    }
    return tcp;
}

/* Every connection that the table holds, in any order; `act` may take it out. */
static void for_each_connection(struct tcp *tcp,
                                void (*act)(struct tcp *, struct tcp_connection *,
                                            const struct instant *),
                                const struct instant *now)
{
    for (uint32_t i = 0; i < tcp_table_bucket_count(&tcp->table); i++) {
        struct tcp_bucket *bucket = &tcp->table.buckets[i];
        struct tcp_connection *c = tcp_bucket_overflow(bucket);
        while (c != NULL) { /* before the slots, which they may get */
            struct tcp_connection *next = c->table_next;
            act(tcp, c, now);
            c = next;
        }
        for (uint32_t slot = 0; slot < TCP_TABLE_SLOTS; slot++) {
            if (bucket->slots[slot] != NULL) {
                act(tcp, bucket->slots[slot], now);
            }
        }
    }
}

static void end_silently(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    c->closed_emitted = true;
    c->closed_pending = false;
    tcp_connection_end(tcp, c, NULL);
}

static void abort_silently(struct tcp *tcp, struct tcp_connection *c, const struct instant *now)
{
    /* A reset may bring a request to a neighbour with it. */
    if (c->interface->tx_count >= NET_TX_QUEUE / 2) {
        return; /* its turn comes with the next call */
    }
    if (c->state != TCP_TIME_WAIT && c->state != TCP_SYN_SENT) {
        tcp_send_reset(tcp, c, now);
    }
    end_silently(tcp, c, now);
}

bool tcp_abort_all(struct tcp *tcp, const struct instant *now)
{
    for_each_connection(tcp, abort_silently, now);
    return tcp->connection_count + tcp->time_wait_count == 0;
}

/* Nobody will hear of what is still pending or dirty. */
static void drop_links(struct tcp *tcp)
{
    while (tcp->pending != NULL) {
        struct tcp_connection *c = tcp->pending;
        tcp->pending = c->pending_next;
        c->pending = false;
        if (c->state == TCP_CLOSED && !c->buried) {
            c->buried = true;
            c->dead_next = tcp->dead;
            tcp->dead = c;
        }
    }
    tcp->pending_tail = &tcp->pending;
    while (tcp->dirty.first != NULL) {
        tcp->dirty.first->dirty = false;
        tcp->dirty.first = tcp->dirty.first->dirty_next;
    }
}

void tcp_destroy(struct tcp *tcp)
{
    for_each_connection(tcp, end_silently, NULL);
    drop_links(tcp);
    tcp_release(tcp);
    tcp_reassembly_budget_deinit(&tcp->reassembly);
    object_pool_deinit(&tcp->connections);
    tcp_flight_pools_deinit(&tcp->flights);
    tcp_table_deinit(&tcp->table);
    due_queue_deinit(&tcp->awaiting);
    free(tcp->held);
    free(tcp);
}

bool tcp_find_listener(const struct tcp *tcp, uint16_t port, uint32_t *listener)
{
    for (uint32_t i = 0; i < tcp->listener_count; i++) {
        if (tcp->listeners[i].port == port) {
            *listener = tcp->listeners[i].listener;
            return true;
        }
    }
    return false;
}

int tcp_listen(struct tcp *tcp, uint16_t port, uint32_t listener)
{
    uint32_t taken;
    if (tcp_find_listener(tcp, port, &taken)) {
        return -EADDRINUSE;
    }
    if (tcp->listener_count == TCP_LISTENERS_MAX) {
        return -ENOSPC;
    }
    tcp->listeners[tcp->listener_count++] = (struct tcp_listener){port, listener};
    return 0;
}

/* RFC 6056, algorithm 3: where to begin is a keyed hash of the destination, so another
 * destination's ports tell nothing about ours. */
static bool choose_port(struct tcp *tcp, struct endpoint *local, const struct endpoint *peer)
{
    local->port = 0;
    uint32_t start = (uint32_t)tcp_secret_of_tuple(&tcp->secret, local, peer, PURPOSE_PORT);
    for (uint32_t i = 0; i < PORT_TRIES; i++) {
        uint16_t port = (uint16_t)(PORT_FIRST + (start + tcp->port_next++) % PORT_COUNT);
        uint64_t hash = tcp_table_hash(&local->address, port, &peer->address, peer->port);
        uint32_t listener;
        if (!tcp_find_listener(tcp, port, &listener) &&
            tcp_table_find(&tcp->table, hash, &local->address, port, &peer->address, peer->port) ==
                NULL) {
            local->port = port;
            return true;
        }
    }
    return false;
}

/* The address that routing chose; when its ports are used up, another one of the same network. */
static bool choose_local(struct tcp *tcp, const struct net_interface *interface,
                         struct endpoint *local, const struct endpoint *peer)
{
    if (choose_port(tcp, local, peer)) {
        return true;
    }
    for (uint32_t i = 0; i < interface->addresses.count; i++) {
        const struct address_prefix *other = &interface->addresses.at[i];
        if (address_is_within(&local->address, other) &&
            !address_equal(&local->address, &other->address)) {
            struct endpoint from = {.address = other->address};
            if (choose_port(tcp, &from, peer)) {
                *local = from;
                return true;
            }
        }
    }
    return false;
}

struct stream *tcp_connect(struct tcp *tcp, const struct endpoint *peer, const struct instant *now)
{
    struct endpoint local = {.port = 0};
    struct net_interface *interface = net_route(tcp->net, &peer->address, &local.address);
    if (interface == NULL || tcp->connection_count >= tcp->options.connections_max) {
        return NULL;
    }
    if (!choose_local(tcp, interface, &local, peer)) {
        return NULL;
    }
    struct tcp_connection *c = tcp_connection_acquire(tcp, &local, peer, interface, now);
    if (c == NULL) {
        return NULL;
    }
    tcp_start_active(tcp, c, now);
    return &c->stream;
}

bool tcp_output(struct tcp *tcp, const struct instant *now)
{
    /* A stream may be marked again on the way (no room in the transmit array): that is for the next
     * pass. */
    struct stream *stream = tcp->sending;
    if (stream == NULL) {
        stream = tcp->dirty.first;
        tcp->dirty.first = NULL;
    }
    bool is_burst = false;
    while (stream != NULL && !is_burst) {
        struct tcp_connection *c = tcp_connection_of_stream(stream);
        const struct net_interface *interface = c->interface;
        stream->dirty = false;
        stream = stream->dirty_next;
        tcp_output_connection(tcp, c, now);
        is_burst = interface->tx_count >= NET_TX_BURST;
    }
    tcp->sending = stream;
    return stream != NULL;
}

void tcp_prefetch(const struct stream *stream)
{
    tcp_prefetch_connection((const struct tcp_connection *)(const void *)stream);
}

void tcp_release(struct tcp *tcp)
{
    if (tcp->held_count > 0) {
        packet_free_bulk(tcp->held, tcp->held_count);
        tcp->held_count = 0;
    }
    tcp_reassembly_free_used(&tcp->reassembly);
    if (tcp->dead != NULL) {
        tcp_free_dead(tcp);
    }
    tcp->cut_segments = 0;
    tcp->pass++;
}

uint32_t tcp_connection_count(const struct tcp *tcp)
{
    return tcp->connection_count;
}
