/* Reassembly: any order, overlap, repetition, limits and timeouts (T32). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/base/hash.h"
#include "dataplane/l3_ip/ip_fragment.h"
#include "tests/support/net_bench.h"

#define MORE 0x2000

static uint8_t payload[66000]; /* more than a datagram may hold */

static void fill_payload(void)
{
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t)(i ^ i >> 8);
    }
}

/* A fragment of an UDP datagram's bytes: content beyond the header is not checked by IP. */
static void feed(struct bench *bench, const struct station *from, uint16_t identification,
                 uint32_t offset, uint32_t size, bool more)
{
    struct frame frame;
    struct ipv4_fields fields = {.protocol = 17,
                                 .identification = identification,
                                 .fragment = (uint16_t)(offset / 8 | (more ? MORE : 0))};
    frame_ipv4(&frame, from, &bench_us, &fields, slice_of(payload + offset, size));
    bench_feed(bench, &frame);
}

static void expect_whole(struct bench *bench, uint32_t size)
{
    assert_int_equal(bench->datagram_count, 1);
    const struct rte_mbuf *mbuf = bench->datagrams[0].mbuf;
    assert_int_equal(mbuf->nb_segs, 1);
    assert_int_equal(mbuf->data_len, size);
    assert_int_equal(mbuf->pkt_len, size);
    assert_memory_equal(rte_pktmbuf_mtod(mbuf, uint8_t *), payload, size);
    assert_true(mbuf->ol_flags == 0);
}

static void test_in_order_reversed_and_shuffled(void **state)
{
    struct bench *bench = *state;
    static const uint32_t orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 3, 0, 2}};
    for (uint16_t order = 0; order < 4; order++) {
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t at = orders[order][i] * 400;
            assert_int_equal(bench->datagram_count, 0);
            feed(bench, &bench_client, order, at, at == 1200 ? 33 : 400, at != 1200);
        }
        expect_whole(bench, 1233);
        bench_release(bench);
    }
    assert_int_equal(bench_count(bench, METRIC_NET_FRAGMENTS_RECEIVED), 16);
    assert_int_equal(bench_count(bench, METRIC_NET_DATAGRAMS_REASSEMBLED), 4);
    assert_int_equal(bench_drop_count(bench), 0);
}

static void test_every_size(void **state)
{
    struct bench *bench = *state;
    static const uint32_t sizes[] = {9,    16,   1400,  1900,  1964,  1965,  2048, 2049,
                                     4096, 9000, 32768, 65400, 65471, 65514, 65515};
    for (uint16_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (uint32_t at = 0; at < sizes[i]; at += 1480) {
            bool last = sizes[i] - at <= 1480;
            feed(bench, &bench_client, i, at, last ? sizes[i] - at : 1480, !last);
            if (sizes[i] <= 1480 && bench->datagram_count == 1) {
                break; /* not a fragment at all */
            }
        }
        expect_whole(bench, sizes[i]);
        /* A reply in place finds room for all headers, unless it must be fragmented anyway. */
        assert_true(sizes[i] > 65000 || bench->datagrams[0].mbuf->data_off >= 64);
        bench_release(bench);
    }
}

static void test_tiny_fragments_in_any_order(void **state)
{
    struct bench *bench = *state;
    uint64_t random = 5;
    for (uint16_t round = 0; round < 50; round++) {
        uint32_t order[64];
        for (uint32_t i = 0; i < 64; i++) {
            uint32_t j = (uint32_t)(random_next(&random) >> 32) % (i + 1);
            order[i] = order[j];
            order[j] = i;
        }
        for (uint32_t i = 0; i < 64; i++) {
            assert_int_equal(bench->datagram_count, 0);
            feed(bench, &bench_client, round, order[i] * 16, 16, order[i] != 63);
        }
        expect_whole(bench, 1024);
        bench_release(bench);
    }
    assert_int_equal(bench_drop_count(bench), 0);
}

static void test_datagrams_do_not_mix(void **state)
{
    struct bench *bench = *state;
    feed(bench, &bench_client, 1, 0, 800, true);
    feed(bench, &bench_client, 2, 0, 400, true);
    feed(bench, &bench_other, 1, 0, 160, true);
    feed(bench, &bench_other, 1, 160, 8, false);
    expect_whole(bench, 168);
    assert_int_equal(address_to_ipv4(&bench->datagrams[0].source), bench_other.ipv4);
    feed(bench, &bench_client, 1, 800, 8, false);
    expect_whole(bench, 808);
    feed(bench, &bench_client, 2, 400, 8, false);
    expect_whole(bench, 408);
}

static void test_exact_repetition_is_ignored(void **state)
{
    struct bench *bench = *state;
    feed(bench, &bench_client, 1, 0, 400, true);
    feed(bench, &bench_client, 1, 0, 400, true);
    feed(bench, &bench_client, 1, 800, 33, false);
    feed(bench, &bench_client, 1, 800, 33, false);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_FRAGMENT_DUPLICATE), 2);
    feed(bench, &bench_client, 1, 400, 400, true);
    expect_whole(bench, 833);
}

/* Two fragments that do not fit together; then the rest, which must not bring the datagram up. */
static void expect_contradiction(struct bench *bench, uint16_t identification)
{
    uint64_t before = bench_count(bench, METRIC_NET_DROP_FRAGMENT_OVERLAP);
    assert_true(before > 0);
    for (uint32_t at = 0; at < 1600; at += 400) {
        feed(bench, &bench_client, identification, at, 400, at != 1200);
        assert_int_equal(bench->datagram_count, 0);
    }
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_FRAGMENT_OVERLAP), before + 4);
}

static void test_overlap_drops_the_whole_datagram(void **state)
{
    struct bench *bench = *state;
    feed(bench, &bench_client, 1, 0, 400, true);
    feed(bench, &bench_client, 1, 392, 400, true);
    expect_contradiction(bench, 1);
    feed(bench, &bench_client, 2, 400, 400, true);
    feed(bench, &bench_client, 2, 0, 408, true);
    expect_contradiction(bench, 2);
    feed(bench, &bench_client, 3, 400, 400, true);
    feed(bench, &bench_client, 3, 480, 80, true); /* inside, same bytes but another cut: equal */
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_FRAGMENT_DUPLICATE), 1);
    payload[500] ^= 1;
    feed(bench, &bench_client, 3, 480, 80, true); /* inside, other bytes */
    payload[500] ^= 1;
    expect_contradiction(bench, 3);
}

static void test_contradicting_ends(void **state)
{
    struct bench *bench = *state;
    feed(bench, &bench_client, 1, 400, 33, false);
    feed(bench, &bench_client, 1, 800, 33, false); /* two ends */
    expect_contradiction(bench, 1);
    feed(bench, &bench_client, 2, 400, 33, false);
    feed(bench, &bench_client, 2, 800, 400, true); /* beyond the end */
    expect_contradiction(bench, 2);
    feed(bench, &bench_client, 3, 800, 400, true);
    feed(bench, &bench_client, 3, 400, 33, false); /* end before what is there */
    expect_contradiction(bench, 3);
    feed(bench, &bench_client, 4, 400, 40, true);
    feed(bench, &bench_client, 4, 400, 40, false); /* same bytes, but now the last */
    expect_contradiction(bench, 4);
    feed(bench, &bench_client, 5, 400, 37, false);
    feed(bench, &bench_client, 5, 400, 40, true); /* fills the last block differently */
    expect_contradiction(bench, 5);
}

static void test_senseless_fragments(void **state)
{
    struct bench *bench = *state;
    feed(bench, &bench_client, 1, 0, 399, true);
    feed(bench, &bench_client, 1, 400, 0, false);
    feed(bench, &bench_client, 1, 400, 0, true);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_FRAGMENT_LENGTH), 3);
    feed(bench, &bench_client, 1, 65528, 8, false);
    feed(bench, &bench_client, 1, 65512, 4, false);
    feed(bench, &bench_client, 1, 64800, 720, true);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_FRAGMENT_OVERSIZE), 3);
    assert_int_equal(rte_mempool_in_use_count(bench->pool), 0);
}

static void feed_tcp(struct bench *bench, uint16_t identification, uint32_t offset, uint32_t size,
                     bool more)
{
    struct frame frame;
    struct ipv4_fields fields = {.protocol = 6,
                                 .identification = identification,
                                 .fragment = (uint16_t)(offset / 8 | (more ? MORE : 0))};
    frame_ipv4(&frame, &bench_client, &bench_us, &fields, slice_of(payload + offset, size));
    bench_feed(bench, &frame);
}

static void test_tiny_first_fragment(void **state)
{
    struct bench *bench = *state;
    feed_tcp(bench, 1, 0, 8, true);
    feed_tcp(bench, 1, 8, 8, true); /* would overwrite the flags (RFC 1858) */
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_FRAGMENT_TINY), 2);
    feed_tcp(bench, 2, 0, 16, true); /* ports, SEQ, ACK, flags: as much as Linux wants */
    feed_tcp(bench, 2, 16, 16, false);
    expect_whole(bench, 32);
}

static void test_timeout(void **state)
{
    struct bench *bench = *state;
    feed(bench, &bench_client, 1, 0, 400, true);
    bench->now.mono_us += 20000000;
    feed(bench, &bench_client, 2, 0, 400, true);
    feed(bench, &bench_client, 1, 800, 400, true); /* does not prolong it */
    bench->now.mono_us += 9999999;
    net_run_timers(bench->net, &bench->now);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_FRAGMENT_TIMEOUT), 0);
    bench->now.mono_us += 1;
    net_run_timers(bench->net, &bench->now);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_FRAGMENT_TIMEOUT), 1);
    feed(bench, &bench_client, 2, 400, 8, false);
    expect_whole(bench, 408);
    feed(bench, &bench_client, 1, 1200, 8, false); /* starts anew, incomplete */
    assert_int_equal(bench->datagram_count, 0);
    bench->now.mono_us += FRAGMENT_TIMEOUT_US;
    net_run_timers(bench->net, &bench->now);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_FRAGMENT_TIMEOUT), 2);
}

static void test_one_source_is_limited(void **state)
{
    struct bench *bench = *state;
    for (uint16_t i = 0; i < 100; i++) {
        feed(bench, &bench_client, i, 0, 400, true);
    }
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_FRAGMENT_SOURCE_LIMIT),
                     100 - FRAGMENT_SLOTS_PER_SOURCE);
    assert_int_equal(rte_mempool_in_use_count(bench->pool), 0); /* floods hold no packets */
    feed(bench, &bench_other, 1, 0, 400, true);
    feed(bench, &bench_other, 1, 400, 8, false);
    expect_whole(bench, 408);
}

static void test_flood_from_many_sources(void **state)
{
    struct bench *bench = *state;
    struct station source = bench_far;
    for (uint32_t i = 0; i < 5000; i++) {
        bench->now.mono_us++;
        source.ipv4 = IPV4(198, 19, 0, 0) + 1 + i;
        feed(bench, &source, 1, 0, 400, true);
    }
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_FRAGMENT_EVICTED), 5000 - FRAGMENT_SLOTS);
    assert_int_equal(rte_mempool_in_use_count(bench->pool), 0);
    feed(bench, &bench_other, 1, 0, 400, true);
    feed(bench, &bench_other, 1, 400, 8, false);
    expect_whole(bench, 408);
}

static void test_without_large_buffers(void **state)
{
    struct bench *bench = *state;
    struct rte_mbuf *held[128];
    uint32_t count = 0;
    while ((held[count] = net_allocate_large(bench->net)) != NULL) {
        count++;
    }
    feed(bench, &bench_client, 1, 0, 400, true);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_FRAGMENT_MEMORY), 1);
    rte_pktmbuf_free_bulk(held, count);
    feed(bench, &bench_client, 1, 0, 400, true);
    feed(bench, &bench_client, 1, 400, 8, false);
    expect_whole(bench, 408);
}

static void test_random_fragments_never_bring_up_wrong_bytes(void **state)
{
    struct bench *bench = *state;
    uint64_t random = 11;
    uint32_t whole = 0;
    for (uint32_t i = 0; i < 50000; i++) {
        uint64_t r = random_next(&random);
        uint32_t offset = (uint32_t)(r >> 8) % 16 * 8, size = ((uint32_t)(r >> 16) % 6 + 1) * 8;
        bool more = r % 4 != 0;
        bench->now.mono_us += 100000;
        net_run_timers(bench->net, &bench->now);
        feed(bench, &bench_client, (uint16_t)(r >> 40) % 4, offset, size, more);
        if (bench->datagram_count == 1) {
            expect_whole(bench, bench->datagrams[0].mbuf->data_len);
            whole++;
        }
    }
    assert_true(whole > 0);
}

int main(void)
{
    bench_start_eal();
    fill_payload();
#define BENCH_TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_in_order_reversed_and_shuffled),
        BENCH_TEST(test_every_size),
        BENCH_TEST(test_tiny_fragments_in_any_order),
        BENCH_TEST(test_datagrams_do_not_mix),
        BENCH_TEST(test_exact_repetition_is_ignored),
        BENCH_TEST(test_overlap_drops_the_whole_datagram),
        BENCH_TEST(test_contradicting_ends),
        BENCH_TEST(test_senseless_fragments),
        BENCH_TEST(test_tiny_first_fragment),
        BENCH_TEST(test_timeout),
        BENCH_TEST(test_one_source_is_limited),
        BENCH_TEST(test_flood_from_many_sources),
        BENCH_TEST(test_without_large_buffers),
        BENCH_TEST(test_random_fragments_never_bring_up_wrong_bytes),
    };
    return cmocka_run_group_tests_name("fragment", tests, NULL, NULL);
}
