/* Fuzz target: one TCP conversation, and all that others may say about it on the link. The input
 * begins with the world (IPv4 or IPv6, a VLAN, a gateway, the buffers of frames) and how the
 * conversation begins; then comes a list of steps. Each is a segment made relative to what the
 * connection expects (so that the edges of the windows are near); a segment in fragments (some
 * missing, repeated or contradicting each other); a message of ARP, neighbour discovery, ICMP or
 * multicast listener discovery about those who talk; a wrapping for the next frames: extension
 * headers, IP options, tags, another station, a changed byte; a passage of time; or something that
 * the session does. Connections may begin with a cookie.
 *
 * The text of both sides is a function of its sequence number, so every byte that is delivered or
 * sent is checked wherever it comes from. After each step what must hold does
 * (conversation_checks.c), and the stack has sent no more than the step explains. At the end the
 * peer is gone: all must come to an end by itself, each stream with one STREAM_CLOSED, and all
 * memory must be back.
 */
#include "dataplane/l2_link/link_internal.h"
#include "tests/fuzz/conversation.h"

#define STEPS_MAX        200U
#define BUFFER_MIN       4000U
#define FRAME_PART_BYTES 37U
#define LAST_PAUSE_US    (2000ULL * 1000000)

/* The first byte of the input. */
enum {
    WORLD_IPV6 = 1,
    WORLD_VLAN = 2,
    WORLD_GATEWAY = 4, /* the peer is behind it */
    WORLD_MORE_ADDRESSES = 8,
    WORLD_NEWRENO = 0x10,
    WORLD_CHAINS = 0x20,       /* frames come in several buffers */
    WORLD_EXACT_MEMORY = 0x40, /* of just their size */
};

/* The second one. */
enum {
    BEGIN_BUFFER = 3, /* the receive buffer's size */
    BEGIN_ACTIVE = 4,
    BEGIN_SHAKING_HANDS = 8,
    BEGIN_WITH_OPTIONS = 0x10,
    BEGIN_WITH_COOKIES = 0x20, /* for every SYN */
    BEGIN_WITH_SMALL_WINDOW = 0x40,
    BEGIN_WITH_OFFLOADS = 0x80, /* the port cuts segments and makes sums */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct address own_address(const struct conversation *v)
{
    return v->ipv6 ? simulated_host_address_ipv6(OWN) : simulated_host_address(OWN);
}

struct tcp_connection *connection_of(const struct conversation *v)
{
    struct address own = own_address(v);
    uint64_t hash = tcp_table_hash(&own, v->port, &v->peer, v->peer_port);
    return tcp_table_find(&v->b->host.tcp->table, hash, &own, v->port, &v->peer, v->peer_port);
}

/* ---- the session -------------------------------------------------------------------------------
 */

static void on_opened(struct conversation *v, struct stream *stream)
{
    const struct tcp_connection *c = tcp_connection_of_stream(stream);
    if (v->stream != NULL && v->stream != stream) {
        CHECK(v->ending == NULL);
        CHECK(tcp_connection_of_stream(v->stream)->state == TCP_CLOSED);
        v->ending = v->stream;
    } else {
        CHECK(v->stream == NULL || (v->active && !v->opened));
    }
    v->stream = stream;
    v->opened = true;
    v->finished = v->close_asked = v->hold = false;
    v->receive_seq = c->irs + 1;
    v->iss = c->iss;
    v->written = 0;
    v->opened_now = true;
}

static void on_data(struct conversation *v, struct slice data)
{
    CHECK(v->opened && !v->finished && !v->close_asked && data.size > 0);
    for (size_t i = 0; i < data.size; i++) {
        CHECK(data.data[i] == byte_at(v->receive_seq + (uint32_t)i));
    }
    v->receive_seq += (uint32_t)data.size;
    v->stream->unread_bytes += v->hold ? data.size : 0;
}

static void on_event(struct conversation *v, const struct stream_event *event)
{
    if (event->type == STREAM_OPENED) {
        on_opened(v, event->stream);
        return;
    }
    if (v->ending != NULL && event->stream == v->ending) {
        CHECK(event->type == STREAM_CLOSED);
        v->ending = NULL;
        return;
    }
    CHECK(v->stream == event->stream);
    if (event->type == STREAM_DATA) {
        on_data(v, event->data);
    } else if (event->type == STREAM_FINISHED) {
        CHECK(v->opened && !v->finished && !v->close_asked);
        v->finished = true;
    } else if (event->type == STREAM_DRAINED) {
        CHECK(v->opened && !v->close_asked && v->stream->drain_below == 0);
    } else {
        v->stream = NULL;
        v->opened = false;
    }
}

static void on_events(struct simulated_host *host, const struct stream_event *events,
                      uint32_t count, const struct instant *now)
{
    for (uint32_t i = 0; i < count; i++) {
        on_event(host->context, &events[i]);
    }
}

static void write_text(struct conversation *v, uint32_t size)
{
    uint8_t bytes[UNSENT_MAX];
    size_t room = v->stream->out.size < UNSENT_MAX ? UNSENT_MAX - v->stream->out.size : 0;
    size = size < room ? size : (uint32_t)room;
    for (uint32_t i = 0; i < size; i++) {
        bytes[i] = byte_at(v->iss + 1 + v->written + i);
    }
    byte_queue_append(&v->stream->out, &v->b->host.bytes, bytes, size);
    v->written += size;
}

static void session_step(struct conversation *v, uint8_t what, uint8_t amount)
{
    struct stream *stream = v->stream;
    if (stream == NULL || v->close_asked) {
        return;
    }
    if (what < 6 && v->opened) {
        write_text(v, what < 3 ? amount : 48U * amount);
    } else if (what < 8 && v->opened) {
        stream->drain_below = amount * 8U;
    } else if (what < 10) {
        v->hold = !v->hold;
    } else if (what < 12) {
        size_t read = amount * 64U;
        stream->unread_bytes -= read < stream->unread_bytes ? read : stream->unread_bytes;
    } else if (what < 13) {
        stream->unread_bytes = 0;
    } else if (what < 15) {
        stream->close_requested = v->close_asked = true;
    } else {
        stream->abort_requested = v->close_asked = true;
    }
    v->b->stream = stream;
    bench_touch(v->b);
}

/* ---- the steps ---------------------------------------------------------------------------------
 */

/* What is queued arrives without waiting for another segment. */
static void flush(struct conversation *v)
{
    uint32_t count = v->b->queued_count;
    if (count > 0) {
        v->batch_window = 0;
        bench_advance(v->b, 1);
        check_step(v, BARE_FRAMES_A_STEP * count, OTHER_FRAMES_A_STEP * (count + 1));
        bench_forget(v->b);
    }
}

static void send_segment(struct conversation *v, struct input *input, uint8_t what)
{
    if ((what & 7) < 3) {
        odd_segment(v, input, what & 8);
    } else {
        proper_segment(v, input);
    }
    check_step(v, BARE_FRAMES_A_STEP * v->arrived, OTHER_FRAMES_A_STEP * (v->arrived + 1));
}

static void pause_for(struct conversation *v, struct input *input, uint8_t unit)
{
    static const uint32_t units_us[4] = {10, 1000, 20000, 400000};
    bench_advance(v->b, (uint64_t)units_us[unit] * (1U + take(input)));
    check_step(v, BARE_FRAMES_A_PAUSE, OTHER_FRAMES_A_PAUSE);
}

/* From now on the peer does not answer for itself, or does so again. */
static void toggle_mute(struct conversation *v, struct input *input)
{
    (void)input;
    v->b->mute = !v->b->mute;
    v->was_mute = true;
}

typedef void (*message_step)(struct conversation *v, struct input *input);

/* NULL: nothing but time passes. */
static message_step message_of(uint8_t what)
{
    static const message_step messages[8] = {
        [1] = choose_wrapping, [2] = neighbour_message, [3] = icmp_message, [4] = listener_message,
        [5] = icmp_message,    [6] = neighbour_message, [7] = toggle_mute,
    };
    if ((what & 7) == 6) {
        return messages[what >> 3 & 7];
    }
    return what & 0x20 ? arp_message : what & 0x18 ? fragmented_segment : NULL;
}

static void step(struct conversation *v, struct input *input)
{
    uint8_t what = take(input);
    bool batch = (what & 7) < 4;
    if (!batch) {
        flush(v);
    }
    bench_forget(v->b);
    v->arrived = 0;
    if (batch) {
        send_segment(v, input, what);
    } else if ((what & 7) < 6) {
        session_step(v, what >> 4, take(input));
        check_step(v, BARE_FRAMES_A_STEP, OTHER_FRAMES_A_STEP);
    } else if (message_of(what) == NULL) {
        pause_for(v, input, what >> 6);
    } else {
        message_of(what)(v, input);
        check_step(v, BARE_FRAMES_A_STEP, OTHER_FRAMES_A_STEP * (v->arrived + 1));
    }
}

/* ---- beginning and end -------------------------------------------------------------------------
 */

static void let_port_cut(struct net_interface *interface)
{
    interface->tx_ipv4_checksum = interface->tx_tcp_checksum = true;
    interface->tx_tso_bytes = interface->tx_tso_bytes_ipv6 = 65535;
}

/* The peer's address is beyond the link, and its station is that of the gateway. The host has
 * announced itself before: its table is given the gateway, and asks for it now. */
static void add_gateway(struct conversation *v)
{
    struct net_interface *interface = v->b->host.interface;
    struct interface_addresses *addresses = &interface->addresses;
    struct instant now = {.mono_us = v->b->now_us};
    addresses->gateways[addresses->gateway_count++] = v->peer;
    neighbour_table_init(&interface->link->neighbours, addresses, 1);
    neighbour_ask_gateways(interface, &now);
    bench_advance(v->b, 1);
    v->peer.bytes[v->ipv6 ? 1 : 13]++;
}

/* Beside those that the conversation is about. */
static void add_addresses(struct net_interface *interface)
{
    struct interface_addresses *addresses = &interface->addresses;
    struct address ipv4 = simulated_host_address(OWN), ipv6 = simulated_host_address_ipv6(OWN);
    ipv4.bytes[13] = 20;
    ipv6.bytes[1] = 2;
    addresses->at[addresses->count++] = (struct address_prefix){ipv4, 16};
    addresses->at[addresses->count++] = (struct address_prefix){ipv6, 64};
    net_complete_interface(interface);
}

static void choose_world(struct conversation *v, uint8_t how)
{
    v->ipv6 = how & WORLD_IPV6;
    v->tagged = how & WORLD_VLAN;
    v->routed = how & WORLD_GATEWAY;
    v->b->host.interface->vlan = v->tagged ? VLAN : 0;
    v->peer = v->ipv6 ? simulated_host_address_ipv6(PEER) : simulated_host_address(PEER);
    v->told_mtu = UINT16_MAX;
    v->b->exact = how & WORLD_EXACT_MEMORY;
    v->b->part_bytes = how & WORLD_CHAINS ? FRAME_PART_BYTES : 0;
    if (how & WORLD_MORE_ADDRESSES) {
        add_addresses(v->b->host.interface);
    }
    if (v->routed) {
        add_gateway(v);
    }
}

static void connect_to_peer(struct conversation *v)
{
    struct endpoint peer = {v->peer, BENCH_PORT};
    struct instant now = {.mono_us = v->b->now_us};
    v->stream = v->b->stream = tcp_connect(v->b->host.tcp, &peer, &now);
    CHECK(v->stream != NULL);
    v->port = v->stream->local.port;
    v->peer_port = BENCH_PORT;
    bench_advance(v->b, 1);
}

static struct tcp_options choose_options(uint8_t world, uint8_t how)
{
    struct tcp_options options = bench_options();
    options.connections_max = options.time_wait_max = 4;
    options.half_open_max = how & BEGIN_WITH_COOKIES ? 0 : 4;
    options.receive_buffer_bytes_max = BUFFER_MIN << 2 * (how & BEGIN_BUFFER);
    options.keepalive_s = 30;
    options.time_wait_ms = 1000;
    options.segment_bytes_min = SEGMENT_BYTES_MIN;
    options.congestion = world & WORLD_NEWRENO ? TCP_CONGESTION_NEWRENO : TCP_CONGESTION_CUBIC;
    return options;
}

static void shake_hands(struct conversation *v, struct input *input, uint8_t how)
{
    uint8_t options[44];
    struct probe p = {.flags = (uint8_t)(v->active ? TCP_SYN | TCP_ACK : TCP_SYN),
                      .seq = v->b->peer_nxt++,
                      .ack = v->b->own_nxt,
                      .window = (uint16_t)(how & BEGIN_WITH_SMALL_WINDOW ? 3000 : 0)};
    p.options =
        slice_of(options, write_options(v, input, how & BEGIN_WITH_OPTIONS ? 5 : 0, options));
    inject(v, &p, 0, false);
    check_step(v, BARE_FRAMES_A_STEP, OTHER_FRAMES_A_STEP);
}

static void start(struct conversation *v, struct input *input)
{
    uint8_t world = take(input), how = take(input);
    struct tcp_options options = choose_options(world, how);
    v->b = bench_create(&options);
    v->b->host.context = v;
    v->b->host.on_events = on_events;
    v->b->on_frame = check_frame;
    v->active = how & BEGIN_ACTIVE;
    v->port = BENCH_PORT;
    v->peer_port = BENCH_PEER_PORT;
    choose_world(v, world);
    if (how & BEGIN_WITH_OFFLOADS) {
        let_port_cut(v->b->host.interface);
    }
    if (v->active) {
        connect_to_peer(v);
    }
    check_step(v, BARE_FRAMES_A_STEP, OTHER_FRAMES_A_STEP);
    if (how & BEGIN_SHAKING_HANDS) {
        shake_hands(v, input, how);
    }
}

static void finish(struct conversation *v)
{
    flush(v);
    check_table(v);
    bench_advance(v->b, LAST_PAUSE_US);
    check_end(v);
    bench_destroy(v->b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, data + size};
    struct conversation conversation = {0};
    start(&conversation, &input);
    for (uint32_t i = 0; i < STEPS_MAX && input.at < input.end; i++) {
        step(&conversation, &input);
    }
    finish(&conversation);
    return 0;
}
