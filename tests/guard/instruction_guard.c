/* Fixed inputs for one core, to count its instructions under callgrind. guard.py runs it and
 * compares; by itself it shows TSC cycles per request:
 *
 *   instruction_guard                          every case
 *   instruction_guard udp_get                  one case
 *   instruction_guard --keys 1000000 udp_get   the same where the keys are not in the cache: cycles
 *                                              only, and how they are spread over the stages
 *   instruction_guard --connections 100000 --under-way 64 tcp_get
 *                                              the same where the connections are not: each round
 *                                              is the next 64 ones', so all ask in turn; with
 *                                              --ack-delay 1000 the client's ACK of a reply waits
 *                                              that long (ms) for the next request to ride on, with
 *                                              --ack-delay 0 each comes by itself, in front of the
 *                                              next round's requests
 *
 * A client (a TCP host of tests/support) and a core share a link without loss, delay or chance, in
 * simulated time. In each round every connection, or every one whose turn it is, sends its requests
 * and gets its replies, which are compared byte for byte. Only core_pass is counted: the client,
 * and the copying of frames from one to the other, are not. The same build gives the same count.
 */
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <valgrind/callgrind.h>

#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/base/rcu.h"
#include "dataplane/base/stages.h"
#include "dataplane/base/timer_wheel.h"
#include "dataplane/core/core.h"
#include "drivers/eal_memory.h"
#include "tests/support/packet_builder.h"
#include "tests/support/simulated_host.h"
#include "tests/support/simulated_server.h"

enum {
    KEYS_DEFAULT = 10000,
    KEYS_MAX = 16000000,
    KEY_BYTES = 16,
    VALUE_BYTES = 64,
    LARGE_VALUE_BYTES = 16384,
    LARGE_KEYS_DEFAULT = 500,
    LARGE_KEYS_MAX = 8000, /* 131 MB: no cache holds them */
    UNDER_WAY_DEFAULT = 32,
    UNDER_WAY_MAX = 256,
    CONNECTIONS_MAX = 120000,
    ACK_DELAY_MS_MAX = 10000,
    ACK_DELAY_STACK = ACK_DELAY_MS_MAX + 1, /* the stack's own */
    CLIENT_ADDRESSES = 6,                   /* IPv4; each has 28,232 ports */
    STEP_US = 100,
    /* With --keys or --connections. A round of 50 requests in it is 200,000 a second, and 100,000
     * connections are each silent for half a second: longer than a retransmission timeout. */
    STEP_US_COLD = 250,
    STEP_US_LONE = 4,    /* a round trip of one who asks as soon as it has its reply */
    WARM_UP_ROUNDS = 40, /* the first calls of a command are all timed, which is not counted */
    ROUND_STEPS_MAX = 200,
    ROUNDS_MAX = 1024,
    /* With --keys or --connections: the median of more, and as one what the client's delayed
     * acknowledgments, which come by its timer's tick, are spread over. */
    ROUNDS_COLD = ROUNDS_MAX,
    PARTS_COLD = 16,
    MULTIGET_KEYS = 50,
    PIPELINE = 16,
    FRAMES_MAX = 4096,
    TEXT_BYTES_MAX = 17408,
    SETS_MAX = 8, /* under way on a connection while keys are loaded */
    POOL_MBUFS = 16383,
    SERVER_NUMBER = 1,
    CLIENT_NUMBER = 2,
    REDIS_PORT = 6379,
    MEMCACHE_PORT = 11211,
};

struct text {
    uint8_t bytes[TEXT_BYTES_MAX];
    size_t size;
};

/* A connection's part of a round. */
struct turn {
    struct stream *stream;
    struct text request, reply; /* sent, and expected */
    size_t checked;
};

struct connection {
    struct stream *stream;
    bool opened;
    struct turn *turn; /* NULL: it is others' */
};

struct frames {
    struct rte_mbuf *array[FRAMES_MAX];
    uint32_t count;
};

/* What the command line asks for. */
struct scale {
    uint32_t keys, value_bytes;
    uint32_t connections, under_way; /* all of them, and those of a round */
    uint32_t step_us;
    uint32_t ack_delay_ms; /* ACK_DELAY_STACK; 0: each by itself */
};

struct guard {
    uint64_t now_us, random, shards_in_turn;
    struct scale scale;
    bool counting;
    uint64_t cycles[ROUNDS_MAX]; /* of each round, while counting */
    uint32_t rounds;
    struct rte_mempool *pool;
    struct frames to_server, from_server;
    struct simulated_host client;
    struct connection *connections;
    uint32_t next_connection; /* whose turn is next */
    struct turn turns[UNDER_WAY_MAX];
    struct simulated_server server;
};

/* ---- texts ----------------------------------------------------------------------------------- */

static void append(struct text *text, const void *bytes, size_t size)
{
    CHECK(size <= TEXT_BYTES_MAX - text->size);
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
}

static void __attribute__((format(printf, 2, 3)))
append_format(struct text *text, const char *format, ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    CHECK(size >= 0 && (size_t)size < sizeof(line));
    append(text, line, (size_t)size);
}

static void key_name(uint32_t key, char name[KEY_BYTES + 1])
{
    snprintf(name, KEY_BYTES + 1, "key:%012u", key);
}

static void append_value(const struct guard *guard, struct text *text, uint32_t key)
{
    char value[LARGE_VALUE_BYTES + 1];
    uint32_t bytes = guard->scale.value_bytes;
    snprintf(value, sizeof(value), "%0*u", (int)bytes, key);
    append(text, value, bytes);
    append(text, "\r\n", 2);
}

static uint32_t draw_key(struct guard *guard)
{
    return (uint32_t)(random_next(&guard->random) >> 33) % guard->scale.keys;
}

/* ---- cases: one request and its reply -------------------------------------------------------- */

static void get_from_memcache(const struct guard *guard, uint32_t key, struct text *request,
                              struct text *reply)
{
    char name[KEY_BYTES + 1];
    key_name(key, name);
    append_format(request, "get %s\r\n", name);
    append_format(reply, "VALUE %s 0 %u\r\n", name, guard->scale.value_bytes);
    append_value(guard, reply, key);
    append_format(reply, "END\r\n");
}

static void ask_memcache_get(struct guard *guard, struct text *request, struct text *reply)
{
    get_from_memcache(guard, draw_key(guard), request, reply);
}

static void ask_memcache_set(struct guard *guard, struct text *request, struct text *reply)
{
    char name[KEY_BYTES + 1];
    uint32_t key = draw_key(guard);
    key_name(key, name);
    append_format(request, "set %s 0 0 %u\r\n", name, guard->scale.value_bytes);
    append_value(guard, request, key);
    append_format(reply, "STORED\r\n");
}

static void ask_multiget(struct guard *guard, struct text *request, struct text *reply)
{
    append_format(request, "get");
    for (int i = 0; i < MULTIGET_KEYS; i++) {
        char name[KEY_BYTES + 1];
        uint32_t key = draw_key(guard);
        key_name(key, name);
        append_format(request, " %s", name);
        append_format(reply, "VALUE %s 0 %u\r\n", name, guard->scale.value_bytes);
        append_value(guard, reply, key);
    }
    append_format(request, "\r\n");
    append_format(reply, "END\r\n");
}

static void append_key(struct text *text, uint32_t key)
{
    char name[KEY_BYTES + 1];
    key_name(key, name);
    append_format(text, "$%d\r\n%s\r\n", KEY_BYTES, name);
}

static void append_bulk_value(const struct guard *guard, struct text *text, uint32_t key)
{
    append_format(text, "$%u\r\n", guard->scale.value_bytes);
    append_value(guard, text, key);
}

static void append_pair(const struct guard *guard, struct text *text, uint32_t key)
{
    append_key(text, key);
    append_bulk_value(guard, text, key);
}

static void get_key(const struct guard *guard, uint32_t key, struct text *request,
                    struct text *reply)
{
    append_format(request, "*2\r\n$3\r\nGET\r\n");
    append_key(request, key);
    append_bulk_value(guard, reply, key);
}

static void ask_redis_get(struct guard *guard, struct text *request, struct text *reply)
{
    get_key(guard, draw_key(guard), request, reply);
}

static void ask_mget(struct guard *guard, struct text *request, struct text *reply)
{
    append_format(request, "*%d\r\n$4\r\nMGET\r\n", MULTIGET_KEYS + 1);
    append_format(reply, "*%d\r\n", MULTIGET_KEYS);
    for (int i = 0; i < MULTIGET_KEYS; i++) {
        uint32_t key = draw_key(guard);
        append_key(request, key);
        append_bulk_value(guard, reply, key);
    }
}

static void ask_mset(struct guard *guard, struct text *request, struct text *reply)
{
    append_format(request, "*%d\r\n$4\r\nMSET\r\n", 2 * MULTIGET_KEYS + 1);
    for (int i = 0; i < MULTIGET_KEYS; i++) {
        append_pair(guard, request, draw_key(guard));
    }
    append_format(reply, "+OK\r\n");
}

static void set_key(const struct guard *guard, uint32_t key, struct text *request,
                    struct text *reply)
{
    append_format(request, "*3\r\n$3\r\nSET\r\n");
    append_pair(guard, request, key);
    append_format(reply, "+OK\r\n");
}

static void ask_redis_set(struct guard *guard, struct text *request, struct text *reply)
{
    set_key(guard, draw_key(guard), request, reply);
}

/* ---- the same with two workers: keys of the shard whose connections these are, and of the other
 */

static uint32_t draw_key_of(struct guard *guard, uint32_t owner)
{
    for (;;) {
        char name[KEY_BYTES + 1];
        uint32_t number = draw_key(guard);
        key_name(number, name);
        struct key key = key_hashed(slice_of(name, KEY_BYTES));
        if (key_owner(&key, 2) == owner) {
            return number;
        }
    }
}

static void get_key_of(struct guard *guard, uint32_t owner, struct text *request,
                       struct text *reply)
{
    get_key(guard, draw_key_of(guard, owner), request, reply);
}

static void ask_foreign_memcache_get(struct guard *guard, struct text *request, struct text *reply)
{
    get_from_memcache(guard, draw_key_of(guard, 1), request, reply);
}

static void ask_own_get(struct guard *guard, struct text *request, struct text *reply)
{
    get_key_of(guard, 0, request, reply);
}

static void ask_foreign_get(struct guard *guard, struct text *request, struct text *reply)
{
    get_key_of(guard, 1, request, reply);
}

static void ask_own_set(struct guard *guard, struct text *request, struct text *reply)
{
    set_key(guard, draw_key_of(guard, 0), request, reply);
}

static void ask_foreign_set(struct guard *guard, struct text *request, struct text *reply)
{
    set_key(guard, draw_key_of(guard, 1), request, reply);
}

/* Keys of both shards in turn, the other one's first. */
static void ask_sets_in_turn(struct guard *guard, struct text *request, struct text *reply)
{
    set_key(guard, draw_key_of(guard, guard->shards_in_turn++ % 2 == 0 ? 1 : 0), request, reply);
}

static void set_two_keys(const struct guard *guard, uint32_t first, uint32_t second,
                         struct text *request, struct text *reply)
{
    append_format(request, "*5\r\n$4\r\nMSET\r\n");
    append_pair(guard, request, first);
    append_pair(guard, request, second);
    append_format(reply, "+OK\r\n");
}

static void ask_own_mset(struct guard *guard, struct text *request, struct text *reply)
{
    set_two_keys(guard, draw_key_of(guard, 0), draw_key_of(guard, 0), request, reply);
}

static void ask_joint_mset(struct guard *guard, struct text *request, struct text *reply)
{
    set_two_keys(guard, draw_key_of(guard, 0), draw_key_of(guard, 1), request, reply);
}

struct guard_case {
    const char *name;
    uint16_t port;
    bool udp;
    uint32_t pipeline; /* requests per segment */
    uint32_t rounds;
    void (*ask)(struct guard *guard, struct text *request, struct text *reply);
};

static const struct guard_case cases[] = {
    {"udp_get", MEMCACHE_PORT, true, 1, 64, ask_memcache_get},
    {"udp_set", MEMCACHE_PORT, true, 1, 64, ask_memcache_set},
    {"tcp_get", MEMCACHE_PORT, false, 1, 64, ask_memcache_get},
    {"tcp_set", MEMCACHE_PORT, false, 1, 64, ask_memcache_set},
    {"tcp_resp_get", REDIS_PORT, false, 1, 64, ask_redis_get},
    {"tcp_resp_set", REDIS_PORT, false, 1, 64, ask_redis_set},
    {"tcp_resp_get_pipelined", REDIS_PORT, false, PIPELINE, 16, ask_redis_get},
    {"tcp_resp_set_pipelined", REDIS_PORT, false, PIPELINE, 16, ask_redis_set},
    {"tcp_multiget", MEMCACHE_PORT, false, 1, 16, ask_multiget},
    {"tcp_resp_mget", REDIS_PORT, false, 1, 16, ask_mget},
    {"tcp_resp_mset", REDIS_PORT, false, 1, 16, ask_mset},
};

/* Counted are the passes of both workers. */
static const struct guard_case pair_cases[] = {
    {"pair_foreign_udp_get", MEMCACHE_PORT, true, 1, 64, ask_foreign_memcache_get},
    {"pair_own_get", REDIS_PORT, false, 1, 64, ask_own_get},
    {"pair_foreign_get", REDIS_PORT, false, 1, 64, ask_foreign_get},
    {"pair_own_set", REDIS_PORT, false, 1, 64, ask_own_set},
    {"pair_foreign_set", REDIS_PORT, false, 1, 64, ask_foreign_set},
    {"pair_own_mset_2", REDIS_PORT, false, 1, 64, ask_own_mset},
    {"pair_joint_mset_2", REDIS_PORT, false, 1, 64, ask_joint_mset},
    {"pair_own_get_pipelined", REDIS_PORT, false, PIPELINE, 16, ask_own_get},
    {"pair_foreign_get_pipelined", REDIS_PORT, false, PIPELINE, 16, ask_foreign_get},
    {"pair_own_set_pipelined", REDIS_PORT, false, PIPELINE, 16, ask_own_set},
    {"pair_foreign_set_pipelined", REDIS_PORT, false, PIPELINE, 16, ask_foreign_set},
    {"pair_sets_in_turn_pipelined", REDIS_PORT, false, PIPELINE, 16, ask_sets_in_turn},
};

/* One request a pass: what is left of it without company is the pass itself. */
static const struct guard_case lone_cases[] = {
    {"lone_udp_get", MEMCACHE_PORT, true, 1, 64, ask_memcache_get},
    {"lone_tcp_resp_get", REDIS_PORT, false, 1, 64, ask_redis_get},
};

/* Values that leave from where they are stored, in a dozen segments each. */
static const struct guard_case large_cases[] = {
    {"large_tcp_resp_get", REDIS_PORT, false, 1, 16, ask_redis_get},
};

/* ---- the link -------------------------------------------------------------------------------- */

static void frames_push(struct frames *frames, struct rte_mbuf *mbuf)
{
    CHECK(frames->count < FRAMES_MAX);
    frames->array[frames->count++] = mbuf;
}

static uint32_t frames_take(struct frames *frames, struct rte_mbuf **to, uint32_t count_max)
{
    uint32_t count = frames->count < count_max ? frames->count : count_max;
    memcpy(to, frames->array, count * sizeof(*to));
    frames->count -= count;
    if (frames->count > 0) {
        memmove(frames->array, frames->array + count, frames->count * sizeof(*to));
    }
    return count;
}

static uint16_t guard_receive(void *context, uint16_t queue, struct rte_mbuf **packets,
                              uint16_t count_max)
{
    struct guard *guard = context;
    return (uint16_t)frames_take(&guard->to_server, packets, count_max);
}

static uint16_t guard_transmit(void *context, uint16_t queue, struct rte_mbuf **packets,
                               uint16_t count)
{
    struct guard *guard = context;
    struct frames *frames = &guard->from_server;
    CHECK(count <= FRAMES_MAX - frames->count);
    memcpy(frames->array + frames->count, packets, count * sizeof(*packets));
    frames->count += count;
    return 0;
}

/* As a port would deliver it: one fresh segment. */
static struct rte_mbuf *received_copy(struct guard *guard, struct rte_mbuf *mbuf)
{
    struct frame frame;
    frame_from_mbuf(&frame, mbuf);
    rte_pktmbuf_free(mbuf);
    struct rte_mbuf *copy = frame_to_mbuf(&frame, guard->pool, 0);
    CHECK(copy != NULL);
    return copy;
}

/* ---- a step of simulated time ---------------------------------------------------------------- */

static bool is_cold(const struct scale *scale)
{
    uint32_t warm = scale->value_bytes == VALUE_BYTES ? KEYS_DEFAULT : LARGE_KEYS_DEFAULT;
    return scale->keys != warm || scale->connections > scale->under_way;
}

static struct instant instant_now(const struct guard *guard)
{
    return (struct instant){guard->now_us, 1700000000000 + guard->now_us / 1000,
                            1700000000000000 + guard->now_us};
}

/* The client takes what the server has sent, and sends. */
static void client_pass(struct guard *guard)
{
    struct instant now = instant_now(guard);
    struct net_interface *interface = guard->client.interface;
    do {
        struct rte_mbuf *frames[SIMULATED_BURST];
        uint32_t count = frames_take(&guard->from_server, frames, SIMULATED_BURST);
        for (uint32_t i = 0; i < count; i++) {
            frames[i] = received_copy(guard, frames[i]);
        }
        simulated_host_pass(&guard->client, frames, count, &now);
        for (uint32_t i = 0; i < interface->tx_count; i++) {
            frames_push(&guard->to_server, received_copy(guard, interface->tx[i]));
        }
        interface->tx_count = 0;
    } while (guard->from_server.count > 0);
}

/* With two workers each has two turns: what travels comes home in the second. */
static void pass_all_cores(struct guard *guard, const struct instant *now)
{
    core_pass(guard->server.core, now);
    if (guard->server.worker_count == 2) {
        core_pass(guard->server.cores[1], now);
        core_pass(guard->server.core, now);
        core_pass(guard->server.cores[1], now);
    }
}

static void server_pass(struct guard *guard)
{
    struct instant now = instant_now(guard);
    guard->now_us += guard->scale.step_us;
    if (!guard->counting) {
        pass_all_cores(guard, &now);
        return;
    }
    uint64_t start = rte_rdtsc();
    CALLGRIND_TOGGLE_COLLECT;
    pass_all_cores(guard, &now);
    CALLGRIND_TOGGLE_COLLECT;
    guard->cycles[guard->rounds] += rte_rdtsc() - start;
}

static void step(struct guard *guard)
{
    client_pass(guard);
    server_pass(guard);
}

/* ---- the client ------------------------------------------------------------------------------ */

static void check_reply(struct turn *turn, struct slice data)
{
    CHECK(turn != NULL && data.size <= turn->reply.size - turn->checked);
    CHECK(memcmp(turn->reply.bytes + turn->checked, data.data, data.size) == 0);
    turn->checked += data.size;
}

static void on_events(struct simulated_host *host, const struct stream_event *events,
                      uint32_t count, const struct instant *now)
{
    for (uint32_t i = 0; i < count; i++) {
        struct connection *connection = events[i].stream->session;
        CHECK(events[i].type == STREAM_OPENED || events[i].type == STREAM_DATA ||
              events[i].type == STREAM_CLOSED);
        if (events[i].type == STREAM_OPENED) {
            connection->opened = true;
        } else if (events[i].type == STREAM_DATA) {
            check_reply(connection->turn, events[i].data);
        } else {
            connection->stream = NULL;
        }
    }
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static bool all_opened(const struct guard *guard, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++) {
        if (!guard->connections[i].opened) {
            return false;
        }
    }
    return true;
}

static void open_some(struct guard *guard, const struct endpoint *server, uint32_t first,
                      uint32_t end)
{
    struct instant now = instant_now(guard);
    for (uint32_t i = first; i < end; i++) {
        struct connection *connection = &guard->connections[i];
        *connection = (struct connection){.stream = tcp_connect(guard->client.tcp, server, &now)};
        CHECK(connection->stream != NULL);
        connection->stream->session = connection;
    }
    for (int i = 0; i < 20000 && !all_opened(guard, first, end); i++) {
        step(guard);
    }
    CHECK(all_opened(guard, first, end));
}

static void open_connections(struct guard *guard, uint16_t port)
{
    struct endpoint server = {simulated_host_address(SERVER_NUMBER), port};
    uint32_t count = guard->scale.connections, part = guard->scale.under_way;
    for (uint32_t i = 0; i < count; i += part) {
        open_some(guard, &server, i, least(i + part, count));
    }
    guard->next_connection = 0;
}

/* The server has taken all there is. */
static void settle(struct guard *guard)
{
    do {
        step(guard);
    } while (guard->to_server.count > 0);
}

static void close_connections(struct guard *guard)
{
    for (uint32_t i = 0; i < guard->scale.connections; i++) {
        struct stream *stream = guard->connections[i].stream;
        stream->abort_requested = true;
        stream_mark_dirty(stream);
        if ((i + 1) % guard->scale.under_way == 0) {
            settle(guard);
        }
    }
    for (int i = 0; i < 10; i++) {
        step(guard);
    }
}

static void send_request(struct guard *guard, struct turn *turn)
{
    byte_queue_append(&turn->stream->out, &guard->client.bytes, turn->request.bytes,
                      turn->request.size);
    stream_mark_dirty(turn->stream);
    turn->request.size = 0;
}

/* The next connections have their turn. */
static void begin_round(struct guard *guard)
{
    for (uint32_t i = 0; i < guard->scale.under_way; i++) {
        struct turn *turn = &guard->turns[i];
        struct connection *connection = &guard->connections[guard->next_connection];
        guard->next_connection = (guard->next_connection + 1) % guard->scale.connections;
        connection->turn = turn;
        turn->stream = connection->stream;
        turn->request.size = turn->reply.size = turn->checked = 0;
    }
}

static bool all_replied(const struct guard *guard)
{
    for (uint32_t i = 0; i < guard->scale.under_way; i++) {
        if (guard->turns[i].checked < guard->turns[i].reply.size) {
            return false;
        }
    }
    return true;
}

/* The client's acknowledgments travel with its next requests, those that wait so long. One step is
 * enough, but for a pipeline whose requests travel one after the other, and for more requests than
 * the server takes at once. */
static void finish_round(struct guard *guard)
{
    for (int i = 0; i < ROUND_STEPS_MAX && !all_replied(guard); i++) {
        step(guard);
        client_pass(guard);
    }
    for (uint32_t i = 0; i < guard->scale.under_way; i++) {
        struct turn *turn = &guard->turns[i];
        struct connection *connection = turn->stream->session;
        CHECK(turn->checked == turn->reply.size);
        connection->turn = NULL;
    }
}

static void run_tcp_round(struct guard *guard, const struct guard_case *one)
{
    begin_round(guard);
    for (uint32_t i = 0; i < guard->scale.under_way; i++) {
        struct turn *turn = &guard->turns[i];
        for (uint32_t j = 0; j < one->pipeline; j++) {
            one->ask(guard, &turn->request, &turn->reply);
        }
        send_request(guard, turn);
    }
    finish_round(guard);
}

/* ---- datagrams ------------------------------------------------------------------------------- */

static const uint8_t udp_header[8] = {0, 1, 0, 0, 0, 1, 0, 0}; /* request 1, datagram 0 of 1 */

static void send_datagram(struct guard *guard, const struct text *request)
{
    struct station client = {
        {0x02, 0, 0, 0, 0, CLIENT_NUMBER}, IPV4(198, 18, 0, CLIENT_NUMBER), 40000};
    struct station server = {
        {0x02, 0, 0, 0, 0, SERVER_NUMBER}, IPV4(198, 18, 0, SERVER_NUMBER), MEMCACHE_PORT};
    uint8_t payload[2048];
    struct frame frame;
    memcpy(payload, udp_header, sizeof(udp_header));
    memcpy(payload + sizeof(udp_header), request->bytes, request->size);
    frame_udp(&frame, &client, &server, slice_of(payload, sizeof(udp_header) + request->size));
    struct rte_mbuf *mbuf = frame_to_mbuf(&frame, guard->pool, 0);
    CHECK(mbuf != NULL);
    frames_push(&guard->to_server, mbuf);
}

static void check_datagram(struct rte_mbuf *mbuf, const struct text *reply)
{
    enum { HEADER_BYTES = AT_L4 + 8 + (int)sizeof(udp_header) };
    struct frame frame;
    frame_from_mbuf(&frame, mbuf);
    rte_pktmbuf_free(mbuf);
    CHECK(frame_fault(&frame) == NULL);
    CHECK(frame.size == HEADER_BYTES + reply->size);
    CHECK(memcmp(frame.bytes + HEADER_BYTES, reply->bytes, reply->size) == 0);
}

static void run_udp_round(struct guard *guard, const struct guard_case *one)
{
    for (uint32_t i = 0; i < guard->scale.under_way; i++) {
        struct turn *turn = &guard->turns[i];
        turn->request.size = turn->reply.size = 0;
        one->ask(guard, &turn->request, &turn->reply);
        send_datagram(guard, &turn->request);
    }
    while (guard->to_server.count > 0) {
        server_pass(guard);
    }
    CHECK(guard->from_server.count == guard->scale.under_way);
    for (uint32_t i = 0; i < guard->scale.under_way; i++) {
        check_datagram(guard->from_server.array[i], &guard->turns[i].reply);
    }
    guard->from_server.count = 0;
}

/* ---- the server ------------------------------------------------------------------------------ */

static void create_server(struct guard *guard, bool pair)
{
    struct instant now = instant_now(guard);
    (pair ? simulated_server_init_pair : simulated_server_init)(&guard->server);
    guard->server.config->port = REDIS_PORT;
    guard->server.config->maxclients = CONNECTIONS_MAX;
    guard->server.config->memcache_port = MEMCACHE_PORT;
    guard->server.config->memcache_udp_port = MEMCACHE_PORT;
    free(guard->server.config->memcache_udp_allow); /* a get's reply is larger than its request */
    guard->server.config->memcache_udp_allow = strdup("198.18.0.0/15");
    struct core_link link = simulated_server_link(SERVER_NUMBER, guard);
    link.interface.tx_external_bytes = UINT16_MAX;
    link.receive = guard_receive;
    link.transmit = guard_transmit;
    struct core_options options = {
        .links = &link, .link_count = 1, .pool = guard->pool, .seed = 1, .now = &now};
    simulated_server_start(&guard->server, &options);
}

static void add_client_addresses(struct guard *guard)
{
    struct interface_addresses *addresses = &guard->client.interface->addresses;
    for (uint8_t i = 1; i < CLIENT_ADDRESSES; i++) {
        CHECK(addresses->count < sizeof(addresses->at) / sizeof(addresses->at[0]));
        addresses->at[addresses->count++] =
            (struct address_prefix){simulated_host_address((uint8_t)(CLIENT_NUMBER + i)), 24};
    }
    net_complete_interface(guard->client.interface);
}

static void create_guard(struct guard *guard, const char *name, bool pair,
                         const struct scale *scale)
{
    guard->now_us = 1000000;
    guard->random = 1;
    guard->scale = *scale;
    guard->connections = calloc(scale->connections, sizeof(*guard->connections));
    CHECK(guard->connections != NULL);
    /* With a cache for this thread, as the server's own pool. */
    guard->pool = rte_pktmbuf_pool_create(name, POOL_MBUFS, 256, 0, 2048 + RTE_PKTMBUF_HEADROOM,
                                          SOCKET_ID_ANY);
    CHECK(guard->pool != NULL);
    create_server(guard, pair);
    struct instant now = instant_now(guard);
    struct tcp_options options;
    tcp_default_options(&options);
    options.seed = 1;
    if (scale->ack_delay_ms != ACK_DELAY_STACK) {
        options.delayed_ack_ms = scale->ack_delay_ms;
    }
    simulated_host_init(&guard->client, CLIENT_NUMBER, 1500, guard->pool, &options, &now);
    guard->client.on_events = on_events;
    add_client_addresses(guard);
}

/* Far more than the index needs until it has moved all entries to where they stay. */
#define SETTLING_PASSES 1000

static void load_keys(struct guard *guard)
{
    open_connections(guard, REDIS_PORT);
    for (uint32_t key = 0; key < guard->scale.keys;) {
        begin_round(guard);
        for (uint32_t i = 0; i < guard->scale.under_way; i++) {
            struct turn *turn = &guard->turns[i];
            uint32_t sets = least(SETS_MAX, TEXT_BYTES_MAX / guard->scale.value_bytes);
            for (uint32_t j = 0; j < sets && key < guard->scale.keys; j++) {
                set_key(guard, key++, &turn->request, &turn->reply);
            }
            send_request(guard, turn);
        }
        finish_round(guard);
    }
    close_connections(guard);
    for (uint32_t i = 0; i < SETTLING_PASSES; i++) {
        server_pass(guard);
    }
    uint64_t count = 0;
    for (uint32_t i = 0; i < guard->server.worker_count; i++) {
        count += shard_key_count(guard->server.shards[i], 0);
    }
    CHECK(count == guard->scale.keys);
}

static int compare_cycles(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Of the first worker, while a case is counted: packets for each request, and what the stages of
 * timed passes took. Not receive: it begins when the pass before ended, and has the client in it.
 */
static void print_stages(const struct guard *guard, const struct metrics *before)
{
    const struct metrics *now = &guard->server.metrics;
    double requests = (double)(metric_read(now, METRIC_LOOP_TIMED_REQUESTS) -
                               metric_read(before, METRIC_LOOP_TIMED_REQUESTS));
    double packets =
        (double)(metric_read(now, METRIC_LOOP_PACKETS) - metric_read(before, METRIC_LOOP_PACKETS));
    printf("    %-12s %8.2f\n", "packets",
           packets / (double)(metric_read(now, METRIC_LOOP_REQUESTS) -
                              metric_read(before, METRIC_LOOP_REQUESTS)));
    if (requests == 0) {
        printf("    stages: the passes that were timed had no request\n"); /* one in so many is */
        return;
    }
    for (uint32_t i = STAGE_RECEIVE + 1; i < STAGE_SLEEP; i++) {
        enum metric metric = stage_cycles_metric((enum stage)i);
        double cycles = (double)(metric_read(now, metric) - metric_read(before, metric));
        if (cycles >= requests) {
            printf("    %-12s %8.0f\n", stage_names[i], cycles / requests);
        }
    }
}

/* Every connection has had its turn. */
static uint32_t warm_up_count(const struct guard *guard)
{
    return WARM_UP_ROUNDS + guard->scale.connections / guard->scale.under_way - 1;
}

static void run_case(struct guard *guard, const struct guard_case *one)
{
    if (!one->udp) {
        open_connections(guard, one->port);
    }
    guard->random = 1;
    guard->rounds = 0;
    memset(guard->cycles, 0, sizeof(guard->cycles));
    uint32_t rounds = is_cold(&guard->scale) ? ROUNDS_COLD : one->rounds;
    uint32_t parts = is_cold(&guard->scale) ? PARTS_COLD : 1;
    uint32_t warm_up = warm_up_count(guard);
    struct metrics before = {{0}};
    for (uint32_t i = 0; i < warm_up + rounds * parts; i++) {
        if (i == warm_up) {
            guard->counting = true;
            before = guard->server.metrics;
        }
        (one->udp ? run_udp_round : run_tcp_round)(guard, one);
        guard->rounds += guard->counting && (i - warm_up + 1) % parts == 0 ? 1 : 0;
    }
    guard->counting = false;
    CALLGRIND_DUMP_STATS_AT(one->name);
    double passed = guard->scale.under_way * one->pipeline * parts;
    /* The median: a round during which the thread was interrupted says nothing. And the best tenth:
     * where somebody works beside us on the same core, half of the rounds are slow. */
    qsort(guard->cycles, guard->rounds, sizeof(guard->cycles[0]), compare_cycles);
    printf("%s %.0f requests, %.0f TSC cycles each, %.0f in the best tenth\n", one->name,
           rounds * passed, (double)guard->cycles[guard->rounds / 2] / passed,
           (double)guard->cycles[guard->rounds / 10] / passed);
    if (is_cold(&guard->scale)) {
        print_stages(guard, &before);
    }
    if (!one->udp) {
        close_connections(guard);
    }
}

/* What the index of a server takes while it grows, at most. */
#define INDEX_BYTES_PER_KEY 160U

static void start_dpdk(uint32_t key_count)
{
    /* No vector paths that depend on the machine. */
    static char memory[16];
    snprintf(memory, sizeof(memory), "%u", 320 + key_count / 1000 * INDEX_BYTES_PER_KEY / 1000);
    static char arguments[][32] = {"guard",
                                   "--no-huge",
                                   "--no-pci",
                                   "-l",
                                   "0",
                                   "--no-shconf",
                                   "--no-telemetry",
                                   "--log-level=error",
                                   "--force-max-simd-bitwidth=128",
                                   "-m"};
    enum { COUNT = sizeof(arguments) / sizeof(arguments[0]) };
    char *vector[COUNT + 1];
    for (size_t i = 0; i < COUNT; i++) {
        vector[i] = arguments[i];
    }
    vector[COUNT] = memory;
    CHECK(rte_eal_init(COUNT + 1, vector) >= 0);
    (void)eal_memory_enlarge_pages(); /* as the server does */
}

/* Those of the list that are wanted: all, or the one that is named. */
static void run_cases(const char *server_name, bool pair, const struct scale *scale,
                      const struct guard_case *list, size_t count, const char *name)
{
    static struct guard guard;
    bool created = false;
    for (size_t i = 0; i < count; i++) {
        if (name != NULL && strcmp(name, list[i].name) != 0) {
            continue;
        }
        if (!created) {
            memset(&guard, 0, sizeof(guard));
            create_guard(&guard, server_name, pair, scale);
            load_keys(&guard);
            created = true;
        }
        run_case(&guard, &list[i]);
    }
}

static uint32_t read_count(const char *text, uint32_t least_count, uint32_t most)
{
    char *end;
    unsigned long count = strtoul(text, &end, 10);
    CHECK(end != text && *end == 0 && count >= least_count && count <= most);
    return (uint32_t)count;
}

/* Returns how many arguments there were. */
static int read_scale(int argument_count, char **arguments, struct scale *scale)
{
    int at = 1;
    *scale = (struct scale){
        .keys = KEYS_DEFAULT,
        .value_bytes = VALUE_BYTES,
        .under_way = UNDER_WAY_DEFAULT,
        .ack_delay_ms = ACK_DELAY_STACK,
    };
    for (; at + 1 < argument_count && arguments[at][0] == '-'; at += 2) {
        if (strcmp(arguments[at], "--keys") == 0) {
            scale->keys = read_count(arguments[at + 1], 1, KEYS_MAX);
        } else if (strcmp(arguments[at], "--connections") == 0) {
            scale->connections = read_count(arguments[at + 1], 1, CONNECTIONS_MAX);
        } else if (strcmp(arguments[at], "--ack-delay") == 0) {
            scale->ack_delay_ms = read_count(arguments[at + 1], 0, ACK_DELAY_MS_MAX);
        } else {
            CHECK(strcmp(arguments[at], "--under-way") == 0);
            scale->under_way = read_count(arguments[at + 1], 1, UNDER_WAY_MAX);
        }
    }
    scale->connections = scale->connections == 0 ? scale->under_way : scale->connections;
    CHECK(scale->connections >= scale->under_way);
    scale->step_us = is_cold(scale) ? STEP_US_COLD : STEP_US;
    return at;
}

int main(int argument_count, char **arguments)
{
    struct scale scale;
    int at = read_scale(argument_count, arguments, &scale);
    const char *name = at < argument_count ? arguments[at] : NULL;
    start_dpdk(scale.keys);
    command_table_setup();
    rcu_thread_register();
    printf("build %s\n", GUARD_BUILD);
    run_cases("guard", false, &scale, cases, sizeof(cases) / sizeof(cases[0]), name);
    struct scale lone = scale;
    lone.connections = lone.under_way = 1;
    lone.step_us = STEP_US_LONE;
    run_cases("lone", false, &lone, lone_cases, sizeof(lone_cases) / sizeof(lone_cases[0]), name);
    struct scale large = scale;
    large.value_bytes = LARGE_VALUE_BYTES;
    large.keys =
        scale.keys == KEYS_DEFAULT ? LARGE_KEYS_DEFAULT : least(scale.keys, LARGE_KEYS_MAX);
    run_cases("large", false, &large, large_cases, sizeof(large_cases) / sizeof(large_cases[0]),
              name);
    run_cases("pair", true, &scale, pair_cases, sizeof(pair_cases) / sizeof(pair_cases[0]), name);
    rcu_thread_unregister();
    return 0;
}
