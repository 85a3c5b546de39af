/* Requests and replies across a network that loses 5 %, reorders 5 % and duplicates 2 %: every
 * reply right and in order, and neither simulated time nor retransmissions out of proportion.
 *
 *   tcp_request_test                20000 requests over 100 connections
 *   COUNT=1000000 tcp_request_test  that many
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "dataplane/base/bytes.h"
#include "dataplane/base/check.h"
#include "tests/support/simulated_host.h"
#include "tests/support/simulated_network.h"

#define PORT          6379
#define CONNECTIONS   100U
#define REQUEST_BYTES 64U
#define POOL_MBUFS    16383U

struct client {
    struct stream *stream;
    uint64_t asked, answered, total;
    uint32_t partial; /* bytes of the reply under way */
    uint8_t reply[REQUEST_BYTES];
};

struct request_world {
    struct simulated_network *network;
    struct simulated_host hosts[2];
    struct client clients[CONNECTIONS];
    uint64_t now_us, answered;
    bool wrong;
};

static struct rte_mempool *pool;

static void ask(struct request_world *world, struct client *client)
{
    uint8_t request[REQUEST_BYTES] = {0};
    if (client->asked == client->total) {
        return;
    }
    bytes_write_be32(request, (uint32_t)client->asked++);
    byte_queue_append(&client->stream->out, &world->hosts[0].bytes, request, sizeof(request));
    stream_mark_dirty(client->stream);
}

static void take_reply(struct request_world *world, struct client *client, struct slice data)
{
    for (size_t i = 0; i < data.size; i++) {
        client->reply[client->partial++] = data.data[i];
        if (client->partial == REQUEST_BYTES) {
            client->partial = 0;
            world->wrong |= bytes_read_be32(client->reply) != (uint32_t)client->answered;
            client->answered++;
            world->answered++;
            ask(world, client);
        }
    }
}

static void on_client_events(struct simulated_host *host, const struct stream_event *events,
                             uint32_t count, const struct instant *now)
{
    struct request_world *world = host->context;
    for (uint32_t i = 0; i < count; i++) {
        struct client *client = events[i].stream->session;
        if (events[i].type == STREAM_OPENED) {
            ask(world, client);
        } else if (events[i].type == STREAM_DATA) {
            take_reply(world, client, events[i].data);
        } else {
            world->wrong = true;
        }
    }
}

static void on_server_events(struct simulated_host *host, const struct stream_event *events,
                             uint32_t count, const struct instant *now)
{
    for (uint32_t i = 0; i < count; i++) {
        if (events[i].type == STREAM_DATA) {
            byte_queue_append(&events[i].stream->out, &host->bytes, events[i].data.data,
                              events[i].data.size);
            stream_mark_dirty(events[i].stream);
        }
    }
}

static void setup(struct request_world *world, const struct simulated_link *link, uint64_t total)
{
    memset(world, 0, sizeof(*world));
    world->now_us = 1000000;
    world->network = simulated_network_create(7);
    struct instant now = simulated_instant(world->now_us);
    for (uint8_t i = 0; i < 2; i++) {
        struct rte_ether_addr mac = simulated_host_mac((uint8_t)(i + 1));
        simulated_host_init(&world->hosts[i], (uint8_t)(i + 1), 1500, pool, NULL, &now);
        world->hosts[i].context = world;
        world->hosts[i].on_events = i == 0 ? on_client_events : on_server_events;
        simulated_network_add_station(world->network, &mac, link);
    }
    assert_int_equal(tcp_listen(world->hosts[1].tcp, PORT, 0), 0);
    struct endpoint peer = {simulated_host_address(2), PORT};
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        struct client *client = &world->clients[i];
        client->total = total / CONNECTIONS;
        client->stream = tcp_connect(world->hosts[0].tcp, &peer, &now);
        assert_non_null(client->stream);
        client->stream->session = client;
    }
}

static void pass(struct request_world *world, uint32_t index)
{
    struct rte_mbuf *frames[SIMULATED_BURST];
    struct simulated_host *host = &world->hosts[index];
    uint32_t count =
        simulated_network_receive(world->network, index, frames, SIMULATED_BURST, world->now_us);
    if (count == 0 && host->next_due_us > world->now_us) {
        return;
    }
    struct instant now = simulated_instant(world->now_us);
    simulated_host_pass(host, frames, count, &now);
    simulated_network_collect(world->network, index, host->interface, world->now_us);
}

static void step_clock(struct request_world *world)
{
    uint64_t due = simulated_network_next_due(world->network);
    for (uint32_t i = 0; i < 2; i++) {
        due = world->hosts[i].next_due_us < due ? world->hosts[i].next_due_us : due;
    }
    world->now_us = due > world->now_us ? due : world->now_us;
}

static uint64_t both(const struct request_world *world, enum metric metric)
{
    return metric_read(&world->hosts[0].metrics, metric) +
           metric_read(&world->hosts[1].metrics, metric);
}

static void tell(const struct request_world *world, uint64_t total, uint64_t took_us, clock_t cpu)
{
    printf("# %llu requests: %llu ms simulated, %.0f ns CPU each; %llu frames, %llu timeouts, %llu "
           "probes, %llu recoveries, %llu undone, fast %llu of %llu\n",
           (unsigned long long)total, (unsigned long long)took_us / 1000,
           (double)cpu * 1e9 / CLOCKS_PER_SEC / (double)total,
           (unsigned long long)simulated_network_counters(world->network)->sent,
           (unsigned long long)both(world, METRIC_TCP_TIMEOUTS),
           (unsigned long long)both(world, METRIC_TCP_TAIL_PROBES),
           (unsigned long long)both(world, METRIC_TCP_FAST_RECOVERIES),
           (unsigned long long)both(world, METRIC_TCP_UNDONE_RECOVERIES),
           (unsigned long long)both(world, METRIC_TCP_SEGMENTS_IN_FAST),
           (unsigned long long)both(world, METRIC_TCP_SEGMENTS_IN));
}

static void teardown(struct request_world *world)
{
    struct instant now = simulated_instant(world->now_us);
    for (uint32_t i = 0; i < 2; i++) {
        tcp_abort_all(world->hosts[i].tcp, &now);
    }
    simulated_network_destroy(world->network);
    simulated_host_deinit(&world->hosts[0]);
    simulated_host_deinit(&world->hosts[1]);
    assert_int_equal(rte_mempool_avail_count(pool), POOL_MBUFS);
}

static uint64_t requests(void)
{
    const char *text = getenv("COUNT");
    return text != NULL ? strtoull(text, NULL, 10) : 20000;
}

/* `us_max_each`: simulated microseconds that one request of one connection may take on average. */
static void run(const struct simulated_link *link, uint64_t us_max_each)
{
    static struct request_world world;
    uint64_t total = requests() / CONNECTIONS * CONNECTIONS;
    setup(&world, link, total);
    uint64_t start = world.now_us, limit = start + us_max_each * (total / CONNECTIONS) + 30000000;
    clock_t cpu = clock();
    while (world.answered < total && !world.wrong && world.now_us < limit) {
        pass(&world, 0);
        pass(&world, 1);
        step_clock(&world);
    }
    tell(&world, total, world.now_us - start, clock() - cpu);
    assert_false(world.wrong);
    assert_int_equal(world.answered, total);
    teardown(&world);
}

static void a_clean_network(void **state)
{
    struct simulated_link link = {.delay_us = 50};
    run(&link, 200);
}

/* One request in ten loses a segment, and a lone segment is missed only by its timer (200 ms). */
static void a_bad_network(void **state)
{
    struct simulated_link link = {.delay_us = 50,
                                  .loss = 50000,
                                  .reorder = 50000,
                                  .duplication = 20000,
                                  .reorder_delay_us = 200};
    run(&link, 60000);
}

int main(void)
{
    simulated_memory_setup();
    pool = simulated_pool_create("requests", POOL_MBUFS, 2048);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clean_network),
        cmocka_unit_test(a_bad_network),
    };
    return cmocka_run_group_tests_name("tcp_request", tests, NULL, NULL);
}
