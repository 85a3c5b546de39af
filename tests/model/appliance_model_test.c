/* The whole appliance over a lossy network, in one process and in simulated time.
 *
 *   clients (TCP hosts of tests/support) <-- simulated links --> one core: stack, sessions,
 *   loss to 10 %, reorder to 20 %, duplication to 5 %,            parsers, commands, store
 *   corruption to 1 %, jitter, MTU from 576: by the seed
 *
 * Every connection speaks Redis or memcached, pipelined, with keys of its own, so that the test
 * knows each reply byte for byte. Requests leave in random pieces, so that segments are cut at any
 * place. Values are mostly small, some are larger than what fits inline, so that they go through
 * blobs. Connections end and begin again.
 *
 *   appliance_model_test                     one short run of each seed 1 to 10
 *   SEED=7 REQUESTS=1000000 appliance_model_test   one run; prints how it went
 *
 * The same seed gives the same run; a failure prints it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/base/rcu.h"
#include "dataplane/core/core.h"
#include "tests/support/simulated_host.h"
#include "tests/support/simulated_network.h"
#include "tests/support/simulated_server.h"

enum {
    CONNECTIONS = 24,
    KEYS = 12,
    VALUE_BYTES_MAX = 120000,
    SERVER_NUMBER = 1,
    CLIENT_NUMBER = 2,
    PIECES_QUEUED_MAX = 60000, /* request bytes a client keeps under way */
    STALL_US_MAX = 300 * 1000000,
};

/* ---- a client's connection --------------------------------------------------------------------
 */

struct text {
    uint8_t *bytes;
    size_t size, capacity;
};

static void text_append(struct text *text, const void *bytes, size_t size)
{
    if (size == 0) {
        return;
    }
    if (text->size + size > text->capacity) {
        text->capacity = (text->size + size) * 2;
        text->bytes = realloc(text->bytes, text->capacity);
        CHECK(text->bytes != NULL);
    }
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
}

static void __attribute__((format(printf, 2, 3)))
text_format(struct text *text, const char *format, ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    CHECK(size >= 0 && (size_t)size < sizeof(line));
    text_append(text, line, (size_t)size);
}

/* What the model knows of a key: a value, or nothing. */
struct model_value {
    bool exists;
    struct text text;
};

struct connection {
    struct test_run *run;
    struct stream *stream; /* NULL between two lives */
    uint32_t number;
    bool memcache, opened, finishing;
    struct text requests; /* made, not yet handed to TCP */
    size_t requests_sent;
    struct text replies; /* expected, not yet received */
    size_t replies_checked;
    uint32_t outstanding; /* bytes of replies to come bound this */
    struct model_value keys[KEYS];
    uint64_t lives;
};

struct test_run {
    uint64_t seed, random;
    uint64_t requests_wanted, requests_made, replies_checked_bytes;
    uint64_t now_us, progress_us;
    uint64_t refused_packets; /* by the port's full queue */
    struct simulated_network *network;
    struct rte_mempool *pool;
    struct simulated_host clients;
    struct connection connections[CONNECTIONS];

    struct simulated_server server;
};

static uint32_t pick(struct test_run *run, uint32_t bound)
{
    return (uint32_t)(random_next(&run->random) >> 33) % bound;
}

/* ---- requests and the replies they must get ----------------------------------------------------
 */

static void key_name(const struct connection *connection, uint32_t key, char *name, size_t size)
{
    snprintf(name, size, "c%u:key:%u", connection->number, key);
}

static void bulk(struct text *text, const void *bytes, size_t size)
{
    text_format(text, "$%zu\r\n", size);
    text_append(text, bytes, size);
    text_append(text, "\r\n", 2);
}

static void bulk_string(struct text *text, const char *string)
{
    bulk(text, string, strlen(string));
}

static size_t random_value(struct test_run *run, uint8_t *value)
{
    size_t size = pick(run, 100) == 0 ? pick(run, VALUE_BYTES_MAX) : pick(run, 300);
    for (size_t i = 0; i < size; i++) {
        value[i] = (uint8_t)random_next(&run->random);
    }
    return size;
}

static void expect_bulk(struct connection *connection, const struct model_value *value)
{
    if (value->exists) {
        bulk(&connection->replies, value->text.bytes, value->text.size);
    } else {
        text_format(&connection->replies, "$-1\r\n");
    }
}

static void ask_set(struct connection *connection, uint32_t key, const char *name)
{
    static uint8_t bytes[VALUE_BYTES_MAX];
    struct model_value *value = &connection->keys[key];
    size_t size = random_value(connection->run, bytes);
    text_format(&connection->requests, "*3\r\n");
    bulk_string(&connection->requests, "SET");
    bulk_string(&connection->requests, name);
    bulk(&connection->requests, bytes, size);
    text_format(&connection->replies, "+OK\r\n");
    value->exists = true;
    value->text.size = 0;
    text_append(&value->text, bytes, size);
}

static void ask_append(struct connection *connection, uint32_t key, const char *name)
{
    static uint8_t bytes[VALUE_BYTES_MAX];
    struct model_value *value = &connection->keys[key];
    size_t size = random_value(connection->run, bytes);
    if (!value->exists) {
        value->text.size = 0;
    } else if (value->text.size + size > VALUE_BYTES_MAX * 2) {
        return;
    }
    text_format(&connection->requests, "*3\r\n");
    bulk_string(&connection->requests, "append");
    bulk_string(&connection->requests, name);
    bulk(&connection->requests, bytes, size);
    value->exists = true;
    text_append(&value->text, bytes, size);
    text_format(&connection->replies, ":%zu\r\n", value->text.size);
}

static void ask_about(struct connection *connection, uint32_t key, const char *name)
{
    struct model_value *value = &connection->keys[key];
    size_t size = value->exists ? value->text.size : 0;
    switch (pick(connection->run, 5)) {
    case 0:
        text_format(&connection->requests, "GET %s\r\n", name);
        expect_bulk(connection, value);
        break;
    case 1:
        text_format(&connection->requests, "*2\r\n$6\r\nstrlen\r\n");
        bulk_string(&connection->requests, name);
        text_format(&connection->replies, ":%zu\r\n", size);
        break;
    case 2:
        text_format(&connection->requests, "EXISTS %s %s\r\n", name, name);
        text_format(&connection->replies, ":%d\r\n", value->exists ? 2 : 0);
        break;
    case 3: {
        size_t from = pick(connection->run, 200), to = from + pick(connection->run, 400);
        text_format(&connection->requests, "GETRANGE %s %zu %zu\r\n", name, from, to);
        size_t end = to + 1 < size ? to + 1 : size;
        bulk(&connection->replies, value->text.bytes + from, from < end ? end - from : 0);
        break;
    }
    default:
        text_format(&connection->requests, "*2\r\n$3\r\nDEL\r\n");
        bulk_string(&connection->requests, name);
        text_format(&connection->replies, ":%d\r\n", value->exists ? 1 : 0);
        value->exists = false;
        break;
    }
}

static void ask_many(struct connection *connection)
{
    uint32_t count = 1 + pick(connection->run, KEYS);
    text_format(&connection->requests, "*%u\r\n$4\r\nMGET\r\n", count + 1);
    text_format(&connection->replies, "*%u\r\n", count);
    for (uint32_t i = 0; i < count; i++) {
        char name[64];
        uint32_t key = pick(connection->run, KEYS);
        key_name(connection, key, name, sizeof(name));
        bulk_string(&connection->requests, name);
        expect_bulk(connection, &connection->keys[key]);
    }
}

static void ask_nonsense(struct connection *connection)
{
    if (pick(connection->run, 2) == 0) {
        text_format(&connection->requests, "nonsense 'a b' c\r\n");
        text_format(&connection->replies,
                    "-ERR unknown command 'nonsense', with args beginning with: 'a b' 'c' \r\n");
    } else {
        text_format(&connection->requests, "\r\nPING \"quoted text\"\r\n");
        text_format(&connection->replies, "$11\r\nquoted text\r\n");
    }
}

static void ask_redis(struct connection *connection)
{
    char name[64];
    uint32_t key = pick(connection->run, KEYS), what = pick(connection->run, 20);
    key_name(connection, key, name, sizeof(name));
    if (what < 6) {
        ask_set(connection, key, name);
    } else if (what < 8) {
        ask_append(connection, key, name);
    } else if (what < 17) {
        ask_about(connection, key, name);
    } else if (what < 19) {
        ask_many(connection);
    } else {
        ask_nonsense(connection);
    }
}

static void ask_memcache(struct connection *connection)
{
    static uint8_t bytes[VALUE_BYTES_MAX];
    char name[64];
    uint32_t key = pick(connection->run, KEYS), what = pick(connection->run, 10);
    struct model_value *value = &connection->keys[key];
    key_name(connection, key, name, sizeof(name));
    if (what < 4) {
        size_t size = random_value(connection->run, bytes);
        bool quiet = pick(connection->run, 4) == 0;
        text_format(&connection->requests, "set %s 5 0 %zu%s\r\n", name, size,
                    quiet ? " noreply" : "");
        text_append(&connection->requests, bytes, size);
        text_append(&connection->requests, "\r\n", 2);
        text_format(&connection->replies, "%s", quiet ? "" : "STORED\r\n");
        value->exists = true;
        value->text.size = 0;
        text_append(&value->text, bytes, size);
    } else if (what < 8) {
        text_format(&connection->requests, "get %s\r\n", name);
        if (value->exists) {
            text_format(&connection->replies, "VALUE %s 5 %zu\r\n", name, value->text.size);
            text_append(&connection->replies, value->text.bytes, value->text.size);
            text_append(&connection->replies, "\r\n", 2);
        }
        text_format(&connection->replies, "END\r\n");
    } else {
        text_format(&connection->requests, "delete %s\r\n", name);
        text_format(&connection->replies, value->exists ? "DELETED\r\n" : "NOT_FOUND\r\n");
        value->exists = false;
    }
}

/* ---- the client side ---------------------------------------------------------------------------
 */

static void check_replies(struct connection *connection, struct slice data)
{
    struct test_run *run = connection->run;
    struct text *replies = &connection->replies;
    CHECK(data.size <= replies->size - connection->replies_checked);
    if (memcmp(replies->bytes + connection->replies_checked, data.data, data.size) != 0) {
        size_t at = 0;
        while (replies->bytes[connection->replies_checked + at] == data.data[at]) {
            at++;
        }
        fail_msg("seed %llu: connection %u: reply byte %zu of life %llu is wrong",
                 (unsigned long long)run->seed, connection->number,
                 connection->replies_checked + at, (unsigned long long)connection->lives);
    }
    connection->replies_checked += data.size;
    run->replies_checked_bytes += data.size;
    run->progress_us = run->now_us;
    if (connection->replies_checked == replies->size) {
        connection->replies_checked = replies->size = 0;
    }
}

static void take_event(struct simulated_host *host, const struct stream_event *event)
{
    struct connection *connection = event->stream->session;
    switch (event->type) {
    case STREAM_OPENED: connection->opened = true; break;
    case STREAM_DATA: check_replies(connection, event->data); break;
    case STREAM_FINISHED:
        CHECK(connection->finishing); /* the server ends only what we ended */
        event->stream->close_requested = true;
        stream_mark_dirty(event->stream);
        break;
    case STREAM_DRAINED: break;
    case STREAM_CLOSED:
        CHECK(connection->finishing && connection->replies.size == 0);
        connection->stream = NULL;
        break;
    }
}

static void on_events(struct simulated_host *host, const struct stream_event *events,
                      uint32_t count, const struct instant *now)
{
    for (uint32_t i = 0; i < count; i++) {
        take_event(host, &events[i]);
    }
}

static void begin_life(struct connection *connection, const struct instant *now)
{
    struct test_run *run = connection->run;
    struct endpoint server = {simulated_host_address(SERVER_NUMBER),
                              connection->memcache ? 11211 : 6379};
    connection->stream = tcp_connect(run->clients.tcp, &server, now);
    CHECK(connection->stream != NULL);
    connection->stream->session = connection;
    connection->opened = connection->finishing = false;
    connection->lives++;
}

static void send_a_piece(struct connection *connection)
{
    struct test_run *run = connection->run;
    size_t left = connection->requests.size - connection->requests_sent;
    if (left == 0 || connection->stream->out.size > PIECES_QUEUED_MAX) {
        return;
    }
    size_t piece = 1 + (pick(run, 3) == 0 ? pick(run, 20000) : pick(run, 200));
    piece = piece < left ? piece : left;
    byte_queue_append(&connection->stream->out, &run->clients.bytes,
                      connection->requests.bytes + connection->requests_sent, piece);
    connection->requests_sent += piece;
    stream_mark_dirty(connection->stream);
    if (connection->requests_sent == connection->requests.size) {
        connection->requests_sent = connection->requests.size = 0;
    }
}

static void drive_connection(struct connection *connection, const struct instant *now)
{
    struct test_run *run = connection->run;
    bool more = run->requests_made < run->requests_wanted;
    if (connection->stream == NULL) {
        if (more) {
            begin_life(connection, now);
        }
        return;
    }
    if (!connection->opened || connection->finishing) {
        return;
    }
    while (more && connection->requests.size < 4000 && connection->replies.size < 500000 &&
           pick(run, 8) != 0) {
        (connection->memcache ? ask_memcache : ask_redis)(connection);
        run->requests_made++;
        more = run->requests_made < run->requests_wanted;
    }
    send_a_piece(connection);
    bool idle = connection->requests.size == 0 && connection->replies.size == 0;
    if (idle && connection->stream->out.size == 0 && (!more || pick(run, 200) == 0)) {
        connection->finishing = true;
        connection->stream->close_requested = true;
        stream_mark_dirty(connection->stream);
    }
}

/* ---- the server side ---------------------------------------------------------------------------
 */

static uint16_t link_receive(void *context, uint16_t queue, struct rte_mbuf **packets,
                             uint16_t count_max)
{
    struct test_run *run = context;
    return (uint16_t)simulated_network_receive(run->network, 0, packets, count_max, run->now_us);
}

/* Now and then the queue is full, and the last packet is lost here. */
static uint16_t link_transmit(void *context, uint16_t queue, struct rte_mbuf **packets,
                              uint16_t count)
{
    struct test_run *run = context;
    uint16_t refused = pick(run, 500) == 0 ? 1 : 0;
    if (refused > 0) {
        rte_pktmbuf_free(packets[count - 1]);
        run->refused_packets++;
    }
    simulated_network_send(run->network, 0, packets, count - refused, run->now_us);
    return refused;
}

/* Every third seed is of jumbo frames. */
static uint16_t largest_mtu(const struct test_run *run)
{
    return run->seed % 3 == 0 ? 9000 : 1500;
}

/* About as many bytes in either case. */
static struct rte_mempool *create_pool(const struct test_run *run)
{
    return largest_mtu(run) > 2000
               ? simulated_pool_create("model", 8191, 9216 + RTE_PKTMBUF_HEADROOM)
               : simulated_pool_create("model", 32767, 2048 + RTE_PKTMBUF_HEADROOM);
}

static void create_server(struct test_run *run, const struct instant *now)
{
    simulated_server_init(&run->server);
    run->server.config->proto_max_bulk_len = 64 << 20;
    struct core_link link = simulated_server_link(SERVER_NUMBER, run);
    link.interface.mtu = largest_mtu(run);
    link.receive = link_receive;
    link.transmit = link_transmit;
    struct core_options options = {
        .links = &link, .link_count = 1, .pool = run->pool, .seed = run->seed, .now = now};
    simulated_server_start(&run->server, &options);
}

/* ---- a run -------------------------------------------------------------------------------------
 */

static struct simulated_link draw_link(struct test_run *run)
{
    return (struct simulated_link){.loss = 1000 + pick(run, 99000),
                                   .reorder = 1000 + pick(run, 199000),
                                   .duplication = 1000 + pick(run, 49000),
                                   .corruption = 1000 + pick(run, 9000),
                                   .delay_us = 200,
                                   .jitter_us = 50,
                                   .reorder_delay_us = 1000};
}

static void create_run(struct test_run *run, uint64_t seed, uint64_t requests)
{
    *run = (struct test_run){.seed = seed, .random = seed, .requests_wanted = requests};
    run->now_us = run->progress_us = 1000000;
    struct instant now = simulated_instant(run->now_us);
    run->pool = create_pool(run);
    run->network = simulated_network_create(seed);
    struct simulated_link lossy = draw_link(run);
    struct rte_ether_addr server = simulated_host_mac(SERVER_NUMBER);
    struct rte_ether_addr client = simulated_host_mac(CLIENT_NUMBER);
    CHECK(simulated_network_add_station(run->network, &server, &lossy) == 0);
    CHECK(simulated_network_add_station(run->network, &client, &lossy) == 1);
    create_server(run, &now);

    struct tcp_options options;
    tcp_default_options(&options);
    options.time_wait_ms = 1000;
    options.seed = seed;
    uint16_t mtu = (uint16_t)(576 + pick(run, (uint32_t)largest_mtu(run) - 576 + 1));
    simulated_host_init(&run->clients, CLIENT_NUMBER, mtu, run->pool, &options, &now);
    run->clients.on_events = on_events;
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        run->connections[i].run = run;
        run->connections[i].number = i;
        run->connections[i].memcache = i % 4 == 0;
    }
}

static bool all_over(const struct test_run *run)
{
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        if (run->connections[i].stream != NULL) {
            return false;
        }
    }
    return run->requests_made >= run->requests_wanted;
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void advance_clock(struct test_run *run, bool busy)
{
    uint64_t due = simulated_network_next_due(run->network);
    due = earliest(due, core_next_timer(run->server.core));
    due = earliest(due, run->clients.next_due_us);
    /* Clients make new requests at least this often. */
    due = earliest(due, run->now_us + 1000);
    if (busy) {
        due = earliest(due, run->now_us + 20);
    }
    run->now_us = due > run->now_us ? due : run->now_us + 1;
}

static void run_to_the_end(struct test_run *run)
{
    struct rte_mbuf *frames[SIMULATED_BURST];
    while (!all_over(run)) {
        struct instant now = simulated_instant(run->now_us);
        bool busy = core_pass(run->server.core, &now);
        for (uint32_t i = 0; i < CONNECTIONS; i++) {
            drive_connection(&run->connections[i], &now);
        }
        uint32_t count =
            simulated_network_receive(run->network, 1, frames, SIMULATED_BURST, run->now_us);
        simulated_host_pass(&run->clients, frames, count, &now);
        simulated_network_collect(run->network, 1, run->clients.interface, run->now_us);
        if (run->now_us - run->progress_us > STALL_US_MAX) {
            fail_msg("seed %llu: nothing moved for %d simulated seconds",
                     (unsigned long long)run->seed, STALL_US_MAX / 1000000);
        }
        advance_clock(run, busy);
    }
}

static void destroy_run(struct test_run *run)
{
    struct instant now = simulated_instant(run->now_us);
    core_close_all(run->server.core, &now);
    assert_int_equal(metric_read(&run->server.metrics, METRIC_NET_DROP_PORT_FULL),
                     run->refused_packets);
    simulated_server_deinit(&run->server, &now);
    simulated_host_deinit(&run->clients);
    simulated_network_destroy(run->network);
    assert_int_equal(rte_mempool_avail_count(run->pool), run->pool->size);
    rte_mempool_free(run->pool);
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        free(run->connections[i].requests.bytes);
        free(run->connections[i].replies.bytes);
        for (uint32_t k = 0; k < KEYS; k++) {
            free(run->connections[i].keys[k].text.bytes);
        }
    }
}

static void run_once(uint64_t seed, uint64_t requests)
{
    static struct test_run run;
    create_run(&run, seed, requests);
    run_to_the_end(&run);
    const struct simulated_counters *counters = simulated_network_counters(run.network);
    assert_true(counters->lost > 0 && counters->duplicated > 0 && counters->reordered > 0 &&
                counters->corrupted > 0);
    print_message("# seed %llu: %llu requests, %llu reply bytes, %llu frames (%llu lost), "
                  "%.1f simulated seconds\n",
                  (unsigned long long)seed, (unsigned long long)run.requests_made,
                  (unsigned long long)run.replies_checked_bytes, (unsigned long long)counters->sent,
                  (unsigned long long)counters->lost, (double)run.now_us / 1e6);
    destroy_run(&run);
}

static void every_reply_is_right_and_in_order(void **state)
{
    const char *seed = getenv("SEED"), *requests = getenv("REQUESTS");
    uint64_t count = requests != NULL ? strtoull(requests, NULL, 10) : 10000;
    if (seed != NULL) {
        run_once(strtoull(seed, NULL, 10), count);
        return;
    }
    for (uint64_t i = 1; i <= 10; i++) {
        run_once(i, count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_reply_is_right_and_in_order)};
    simulated_server_setup_process();
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    rcu_thread_unregister();
    return result;
}
