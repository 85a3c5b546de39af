/* One connection while that which has 32 bits wraps: the sequence numbers and the timestamps of
 * either end, the clock's milliseconds and microseconds (R40). The simulated clock may start at any
 * time, so a start is chosen at which the wrap lies within the transfer; and as all such starts are
 * whole multiples of every step in which TCP counts time, the transfer must be, frame by frame, the
 * one of a start at which nothing wraps.
 *
 *   tcp_wrap_test                  the cases
 *   MEGABYTES=5000 tcp_wrap_test   as many each way over the long connection
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/l4_transport/tcp_internal.h"
#include "tests/support/simulated_host.h"
#include "tests/support/simulated_network.h"

#define PORT             7000
#define POOL_MBUFS       8191U
#define MTU              9000U
#define FRAME_BYTES_MAX  9216U
#define TEXT_BYTES       6000000U /* each way */
#define QUEUED_BYTES_MAX (1U << 20)
#define CHUNK_BYTES      16384U
#define PATTERN_BYTES    1000003U /* a prime: no shift by whole chunks or windows goes unnoticed */
#define STEP_US          2048000U /* of 1 ms, 1.024 ms and 16.384 ms whole multiples */
#define START_US         STEP_US
#define MEGABYTES        64U
#define SECOND_US        1000000ULL
#define DAY_US           (24 * 3600 * SECOND_US)

struct end {
    struct simulated_host host;
    struct stream *stream;
    uint64_t sent, received;
};

struct transfer {
    struct simulated_network *network;
    struct end ends[2]; /* the client, the server */
    uint64_t total, now_us, start_us, passes;
    bool closed;
};

static struct rte_mempool *pool;
static uint8_t pattern[PATTERN_BYTES + UINT16_MAX];
static struct transfer t;

static void make_pattern(void)
{
    uint64_t state = 7;
    for (size_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] =
            i < PATTERN_BYTES ? (uint8_t)(random_next(&state) >> 32) : pattern[i - PATTERN_BYTES];
    }
}

static void take_text(struct end *end, struct slice data)
{
    assert_true(data.size <= UINT16_MAX);
    assert_memory_equal(data.data, pattern + end->received % PATTERN_BYTES, data.size);
    end->received += data.size;
}

static void on_events(struct simulated_host *host, const struct stream_event *events,
                      uint32_t count, const struct instant *now)
{
    struct end *end = host->context;
    for (uint32_t i = 0; i < count; i++) {
        if (events[i].type == STREAM_OPENED) {
            end->stream = events[i].stream;
        } else if (events[i].type == STREAM_DATA) {
            take_text(end, events[i].data);
        } else {
            t.closed |= events[i].type == STREAM_CLOSED;
        }
    }
}

static void write_text(struct end *end)
{
    while (end->stream != NULL && end->sent < t.total && end->stream->out.size < QUEUED_BYTES_MAX) {
        uint64_t left = t.total - end->sent, size = left < CHUNK_BYTES ? left : CHUNK_BYTES;
        byte_queue_append(&end->stream->out, &end->host.bytes, pattern + end->sent % PATTERN_BYTES,
                          size);
        end->sent += size;
        stream_mark_dirty(end->stream);
    }
}

static void pass(uint32_t station)
{
    struct rte_mbuf *frames[SIMULATED_BURST];
    struct instant now = simulated_instant(t.now_us);
    struct simulated_host *host = &t.ends[station].host;
    uint32_t count =
        simulated_network_receive(t.network, station, frames, SIMULATED_BURST, t.now_us);
    write_text(&t.ends[station]);
    simulated_host_pass(host, frames, count, &now);
    simulated_network_collect(t.network, station, host->interface, t.now_us);
    t.passes++;
}

/* To the next time at which anything is due, or to `end_us` if that is earlier. */
static void step(uint64_t end_us)
{
    pass(0);
    pass(1);
    uint64_t due = simulated_network_next_due(t.network);
    for (uint32_t i = 0; i < 2; i++) {
        due = t.ends[i].host.next_due_us < due ? t.ends[i].host.next_due_us : due;
    }
    assert_true(due != UINT64_MAX || end_us != UINT64_MAX); /* else nothing will come any more */
    due = due > t.now_us ? due : t.now_us + 1;
    t.now_us = due < end_us ? due : end_us;
}

static void setup(uint64_t start_us, const struct simulated_link *link, uint32_t keepalive_s)
{
    struct tcp_options options;
    tcp_default_options(&options);
    options.keepalive_s = keepalive_s;
    t = (struct transfer){.now_us = start_us, .start_us = start_us};
    t.network = simulated_network_create(1);
    struct instant now = simulated_instant(start_us);
    for (uint8_t i = 0; i < 2; i++) {
        uint8_t number = (uint8_t)(i + 1);
        struct rte_ether_addr mac = simulated_host_mac(number);
        simulated_host_init(&t.ends[i].host, number, MTU, pool, &options, &now);
        t.ends[i].host.context = &t.ends[i];
        t.ends[i].host.on_events = on_events;
        simulated_network_add_station(t.network, &mac, link);
    }
    assert_int_equal(tcp_listen(t.ends[1].host.tcp, PORT, 0), 0);
    struct endpoint peer = {simulated_host_address(2), PORT};
    t.ends[0].stream = tcp_connect(t.ends[0].host.tcp, &peer, &now);
    assert_non_null(t.ends[0].stream);
    while (t.ends[1].stream == NULL) {
        step(UINT64_MAX);
    }
}

static void teardown(void)
{
    struct instant now = simulated_instant(t.now_us);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(metric_read(&t.ends[i].host.metrics, METRIC_TCP_GIVE_UPS), 0);
        tcp_abort_all(t.ends[i].host.tcp, &now);
    }
    assert_false(t.closed);
    simulated_network_destroy(t.network);
    for (uint32_t i = 0; i < 2; i++) {
        simulated_host_deinit(&t.ends[i].host);
    }
    assert_int_equal(rte_mempool_avail_count(pool), POOL_MBUFS);
}

static void run(uint64_t total)
{
    t.total = total;
    while (t.ends[0].received < total || t.ends[1].received < total) {
        step(UINT64_MAX);
    }
}

static const struct tcp_connection *connection(uint32_t number)
{
    return container_of(t.ends[number].stream, struct tcp_connection, stream);
}

static uint32_t timestamp(uint32_t number, uint64_t mono_us)
{
    struct instant at = simulated_instant(mono_us);
    return tcp_timestamp(connection(number), &at);
}

/* ---- the same at every time --------------------------------------------------------------------
 */

/* Four seconds of losses, repetitions and disorder. */
static const struct simulated_link lossy = {.loss = 10000,
                                            .reorder = 20000,
                                            .reorder_delay_us = 3000,
                                            .duplication = 5000,
                                            .delay_us = 10000,
                                            .bytes_per_second = 1500000,
                                            .queue_us = 100000};

struct story {
    uint64_t took_us, frames, lost, again, timeouts, recoveries;
};

static struct story transfer_from(uint64_t start_us)
{
    setup(start_us, &lossy, 0);
    run(TEXT_BYTES);
    const struct simulated_counters *counters = simulated_network_counters(t.network);
    struct story story = {
        .took_us = t.now_us - start_us, .frames = counters->sent, .lost = counters->lost};
    for (uint32_t i = 0; i < 2; i++) {
        const struct metrics *m = &t.ends[i].host.metrics;
        story.again += metric_read(m, METRIC_TCP_RETRANSMITS);
        story.timeouts += metric_read(m, METRIC_TCP_TIMEOUTS);
        story.recoveries += metric_read(m, METRIC_TCP_FAST_RECOVERIES);
    }
    return story;
}

/* What a start at which nothing wraps gives, and where the numbers begin then. */
struct plain {
    struct story story;
    uint64_t passes;
    uint32_t iss[2], stamp[2];
};

static struct plain plain_transfer(void)
{
    struct plain plain = {.story = transfer_from(START_US)};
    plain.passes = t.passes;
    for (uint32_t i = 0; i < 2; i++) {
        plain.iss[i] = connection(i)->iss;
        plain.stamp[i] = timestamp(i, START_US);
        assert_true(plain.iss[i] < connection(i)->snd_una);
        assert_true(plain.stamp[i] < timestamp(i, t.now_us));
    }
    assert_true(plain.story.again > 5 && plain.story.recoveries > 2);
    assert_true(plain.passes < 10 * plain.story.frames);
    teardown();
    return plain;
}

/* The whole steps after which something that grows by one each `unit_us` is about to wrap. */
static uint64_t steps_before_wrap(uint32_t value, uint64_t unit_us)
{
    return (uint32_t)-value * unit_us / STEP_US * STEP_US;
}

static void assert_same_story(const struct plain *plain, uint64_t start_us)
{
    struct story story = transfer_from(start_us);
    assert_memory_equal(&story, &plain->story, sizeof(story));
    /* The levels of the timer wheel end elsewhere: some passes find nothing to do. No storm. */
    assert_true(t.passes < plain->passes + plain->passes / 100);
}

static void sequence_numbers_wrap(void **state)
{
    struct plain plain = plain_transfer();
    for (uint32_t i = 0; i < 2; i++) {
        assert_same_story(&plain, START_US + steps_before_wrap(plain.iss[i], 4));
        assert_true(connection(i)->snd_una < connection(i)->iss);
        teardown();
    }
}

static void timestamps_wrap(void **state)
{
    struct plain plain = plain_transfer();
    for (uint32_t i = 0; i < 2; i++) {
        assert_same_story(&plain, START_US + steps_before_wrap(plain.stamp[i], 1000));
        assert_true(timestamp(i, t.now_us) < timestamp(i, t.start_us));
        teardown();
    }
}

/* 2^31 and 2^32 microseconds, milliseconds, and of the steps in which an idle connection counts. */
static void clock_wraps(void **state)
{
    static const uint64_t wraps_us[] = {1ULL << 31,          1ULL << 32, (1ULL << 31) * 1000,
                                        (1ULL << 32) * 1000, 1ULL << 41, 1ULL << 42,
                                        1ULL << 45,          1ULL << 46};
    struct plain plain = plain_transfer();
    for (uint32_t i = 0; i < RTE_DIM(wraps_us); i++) {
        assert_same_story(&plain, (wraps_us[i] - 1) / STEP_US * STEP_US);
        assert_true(t.start_us < wraps_us[i] && t.now_us > wraps_us[i]);
        teardown();
    }
}

/* ---- idle for long, and much text --------------------------------------------------------------
 */

static const struct simulated_link clean = {.delay_us = 10000};

/* Says something both ways and returns how long that took. */
static uint64_t exchange(void)
{
    uint64_t began_us = t.now_us;
    run(t.total + 100);
    return t.now_us - began_us;
}

static void wait(uint64_t us)
{
    for (uint64_t end_us = t.now_us + us; t.now_us < end_us;) {
        step(end_us);
    }
}

static void idle_connection_goes_on(void **state)
{
    static const uint64_t idle_us[] = {1ULL << 31, 1ULL << 32, (1ULL << 31) * 1000,
                                       (1ULL << 32) * 1000, 100 * DAY_US};
    for (uint32_t i = 0; i < 2 * RTE_DIM(idle_us); i++) {
        bool probed = i % 2 != 0;
        setup(START_US, &clean, probed ? 3600 : 0);
        exchange();
        for (uint32_t again = 0; again < 2; again++) {
            wait(idle_us[i / 2] + again);
            assert_true(exchange() < 100000);
        }
        uint64_t probes = 0;
        for (uint32_t e = 0; e < 2; e++) {
            assert_int_equal(metric_read(&t.ends[e].host.metrics, METRIC_TCP_RETRANSMITS), 0);
            probes += metric_read(&t.ends[e].host.metrics, METRIC_TCP_KEEPALIVE_PROBES);
        }
        uint64_t hours = 2 * idle_us[i / 2] / (3600 * SECOND_US);
        assert_true(probed ? probes >= hours / 2 && probes <= 2 * hours + 2 : probes == 0);
        assert_true(t.passes < 200 + 20 * probes); /* no timer runs without need */
        teardown();
    }
}

static void long_connection_stays_right(void **state)
{
    static const struct simulated_link link = {
        .loss = 20, .delay_us = 50, .bytes_per_second = 1250000000, .queue_us = 10000};
    const char *megabytes = getenv("MEGABYTES");
    uint64_t total = (megabytes != NULL ? strtoull(megabytes, NULL, 10) : MEGABYTES) << 20;
    setup(START_US, &link, 0);
    run(total);
    uint64_t again = 0, lost = simulated_network_counters(t.network)->lost;
    for (uint32_t i = 0; i < 2; i++) {
        again += metric_read(&t.ends[i].host.metrics, METRIC_TCP_RETRANSMITS);
        assert_int_equal(connection(i)->rcv_nxt - connection(i)->irs - 1, (uint32_t)total);
        assert_int_equal(metric_read(&t.ends[i].host.metrics, METRIC_TCP_TIMEOUTS), 0);
    }
    printf("# %llu bytes each way in %.1f s of the link: %llu frames lost, %llu sent again\n",
           (unsigned long long)total, (double)(t.now_us - t.start_us) * 1e-6,
           (unsigned long long)lost, (unsigned long long)again);
    assert_true(again <= lost);
    teardown();
}

int main(void)
{
    simulated_memory_setup();
    pool = simulated_pool_create("wrap", POOL_MBUFS, FRAME_BYTES_MAX);
    make_pattern();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequence_numbers_wrap),
        cmocka_unit_test(timestamps_wrap),
        cmocka_unit_test(clock_wraps),
        cmocka_unit_test(idle_connection_goes_on),
        cmocka_unit_test(long_connection_stays_right),
    };
    return cmocka_run_group_tests_name("tcp_wrap", tests, NULL, NULL);
}
