/* One long transfer across a simulated link of 50 Mbit/s, 10 ms each way, with a queue of 20 ms:
 * how much of the link it fills, and what it sends again. The clock is simulated, so the figures
 * are the protocol's alone; tests/bench/tcp_goodput.py measures the same beside Linux.
 *
 *   tcp_goodput_test              the cases
 *   MEGABYTES=100 [SEED=2] ...    longer transfers
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "tests/support/simulated_host.h"
#include "tests/support/simulated_network.h"

#define PORT             7000
#define POOL_MBUFS       8191U
#define RATE_BYTES       6250000U /* a second */
#define DELAY_US         10000U
#define QUEUE_US         20000U
#define QUEUED_BYTES_MAX (1U << 20)
#define MEGABYTES        20U

struct transfer {
    struct simulated_network *network;
    struct simulated_host client, server;
    struct stream *reader, *writer;
    uint64_t total, written, received, now_us, start_us;
};

static struct rte_mempool *pool;

static void on_client_events(struct simulated_host *host, const struct stream_event *events,
                             uint32_t count, const struct instant *now)
{
    struct transfer *t = host->context;
    for (uint32_t i = 0; i < count; i++) {
        t->received += events[i].type == STREAM_DATA ? events[i].data.size : 0;
    }
}

static void on_server_events(struct simulated_host *host, const struct stream_event *events,
                             uint32_t count, const struct instant *now)
{
    struct transfer *t = host->context;
    for (uint32_t i = 0; i < count; i++) {
        if (events[i].type == STREAM_OPENED) {
            t->writer = events[i].stream;
            t->start_us = now->mono_us;
        }
    }
}

static void write_more(struct transfer *t)
{
    static const uint8_t block[16384];
    while (t->writer != NULL && t->written < t->total && t->writer->out.size < QUEUED_BYTES_MAX) {
        byte_queue_append(&t->writer->out, &t->server.bytes, block, sizeof(block));
        t->written += sizeof(block);
        stream_mark_dirty(t->writer);
    }
}

static void pass(struct transfer *t, struct simulated_host *host, uint32_t station)
{
    struct rte_mbuf *frames[SIMULATED_BURST];
    struct instant now = simulated_instant(t->now_us);
    uint32_t count =
        simulated_network_receive(t->network, station, frames, SIMULATED_BURST, t->now_us);
    simulated_host_pass(host, frames, count, &now);
    simulated_network_collect(t->network, station, host->interface, t->now_us);
}

static void setup(struct transfer *t, uint32_t loss_ppm, enum tcp_congestion_algorithm algorithm,
                  uint64_t seed)
{
    struct simulated_link link = {.loss = loss_ppm,
                                  .delay_us = DELAY_US,
                                  .bytes_per_second = RATE_BYTES,
                                  .queue_us = QUEUE_US};
    struct tcp_options options;
    tcp_default_options(&options);
    options.receive_buffer_bytes_max = 4U << 20;
    options.congestion = algorithm;
    *t = (struct transfer){.now_us = 1000000};
    t->network = simulated_network_create(seed);
    struct instant now = simulated_instant(t->now_us);
    simulated_host_init(&t->client, 1, 1500, pool, &options, &now);
    simulated_host_init(&t->server, 2, 1500, pool, &options, &now);
    t->client.context = t->server.context = t;
    t->client.on_events = on_client_events;
    t->server.on_events = on_server_events;
    for (uint8_t number = 1; number <= 2; number++) {
        struct rte_ether_addr mac = simulated_host_mac(number);
        simulated_network_add_station(t->network, &mac, &link);
    }
    assert_int_equal(tcp_listen(t->server.tcp, PORT, 0), 0);
    struct endpoint peer = {simulated_host_address(2), PORT};
    t->reader = tcp_connect(t->client.tcp, &peer, &now);
    assert_non_null(t->reader);
    const char *megabytes = getenv("MEGABYTES");
    t->total = (megabytes != NULL ? strtoull(megabytes, NULL, 10) : MEGABYTES) << 20;
}

static void teardown(struct transfer *t)
{
    struct instant now = simulated_instant(t->now_us);
    tcp_abort_all(t->client.tcp, &now);
    tcp_abort_all(t->server.tcp, &now);
    simulated_network_destroy(t->network);
    simulated_host_deinit(&t->client);
    simulated_host_deinit(&t->server);
    assert_int_equal(rte_mempool_avail_count(pool), POOL_MBUFS);
}

struct outcome {
    double megabits; /* a second */
    uint64_t again, segments, timeouts, vanished;
};

static struct outcome run(uint32_t loss_ppm, enum tcp_congestion_algorithm algorithm)
{
    static struct transfer t;
    const char *seed = getenv("SEED");
    setup(&t, loss_ppm, algorithm, seed != NULL ? strtoull(seed, NULL, 10) : 1);
    while (t.received < t.total) {
        write_more(&t);
        pass(&t, &t.client, 0);
        pass(&t, &t.server, 1);
        uint64_t due = simulated_network_next_due(t.network);
        due = t.client.next_due_us < due ? t.client.next_due_us : due;
        due = t.server.next_due_us < due ? t.server.next_due_us : due;
        t.now_us = due > t.now_us ? due : t.now_us + 1;
    }
    const struct metrics *m = &t.server.metrics;
    const struct simulated_counters *counters = simulated_network_counters(t.network);
    struct outcome o = {.megabits = (double)t.received * 8 / (double)(t.now_us - t.start_us),
                        .again = metric_read(m, METRIC_TCP_RETRANSMITS),
                        .segments = metric_read(m, METRIC_TCP_SEGMENTS_OUT),
                        .timeouts = metric_read(m, METRIC_TCP_TIMEOUTS),
                        .vanished = counters->lost + counters->queue_drops};
    printf("# %s, loss %.1f %%: %.1f Mbit/s, %llu of %llu segments sent again, %llu recoveries, "
           "%llu timeouts, %llu dropped by the queue\n",
           algorithm == TCP_CONGESTION_CUBIC ? "cubic" : "newreno", loss_ppm * 1e-4, o.megabits,
           (unsigned long long)o.again, (unsigned long long)o.segments,
           (unsigned long long)metric_read(m, METRIC_TCP_FAST_RECOVERIES),
           (unsigned long long)o.timeouts, (unsigned long long)counters->queue_drops);
    teardown(&t);
    return o;
}

static void clean_link_is_filled(void **state)
{
    for (enum tcp_congestion_algorithm a = TCP_CONGESTION_CUBIC; a <= TCP_CONGESTION_NEWRENO; a++) {
        struct outcome o = run(0, a);
        assert_true(o.megabits > 43);           /* 47.4 of the 50 are text */
        assert_true(o.again <= o.vanished + 5); /* nothing needlessly */
        assert_int_equal(o.timeouts, 0);
    }
}

/* Random loss holds the window at about sqrt(1.5 / p) segments a round trip, NewReno's and that of
 * CUBIC's estimate alike. */
static void lossy_link_gives_what_the_window_allows(void **state)
{
    /* 7 and 4 Mbit/s in the long run; 20 MB whose first loss comes late ride on their slow start
     * for a while. */
    static const struct {
        uint32_t loss_ppm;
        double least, most;
    } cases[] = {{1000, 15, 40}, {10000, 4.5, 14}, {30000, 2, 6}};
    for (uint32_t i = 0; i < 3; i++) {
        for (enum tcp_congestion_algorithm a = TCP_CONGESTION_CUBIC; a <= TCP_CONGESTION_NEWRENO;
             a++) {
            struct outcome o = run(cases[i].loss_ppm, a);
            assert_true(o.megabits > cases[i].least && o.megabits < cases[i].most);
            assert_true(o.again <= o.vanished + 5);
        }
    }
}

int main(void)
{
    simulated_memory_setup();
    pool = simulated_pool_create("goodput", POOL_MBUFS, 2048);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_link_is_filled),
        cmocka_unit_test(lossy_link_gives_what_the_window_allows),
    };
    return cmocka_run_group_tests_name("tcp_goodput", tests, NULL, NULL);
}
