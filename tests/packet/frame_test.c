/* Whole frames against the whole input side: every frame cut at every byte, every frame with every
 * byte changed, and noise. Nothing crashes, every frame is accounted for, every buffer comes back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/base/hash.h"
#include "tests/support/net_bench.h"

#define KINDS 9

static void compose(struct frame *frame, uint32_t kind)
{
    struct frame inner;
    struct ipv4_fields fragment = {.protocol = 17, .identification = 1, .fragment = 0x2000};
    struct ipv4_fields options = {.protocol = 6, .options = SLICE_LITERAL("\x94\x04\0\0\1\1\1\0")};
    struct tcp_fields tcp = {.flags = 2, .options = SLICE_LITERAL("\x02\x04\x05\xb4")};
    uint8_t data[64] = {0};
    switch (kind) {
    case 0: frame_arp(frame, 1, &bench_client, &bench_us); break;
    case 1: frame_arp(frame, 2, &bench_client, &bench_us); break;
    case 2: frame_udp(frame, &bench_client, &bench_us, SLICE_LITERAL("request")); break;
    case 3: frame_tcp(frame, &bench_client, &bench_us, &tcp, SLICE_LITERAL("data")); break;
    case 4: frame_icmp(frame, &bench_client, &bench_us, 8, 0, 1, SLICE_LITERAL("ping")); break;
    case 5:
        frame_tcp(&inner, &bench_us, &bench_client, &tcp, SLICE_LITERAL("data"));
        frame_icmp(frame, &bench_far, &bench_us, 3, 4, 1400, slice_of(inner.bytes + AT_IP, 40));
        break;
    case 6:
        frame_ipv4(frame, &bench_client, &bench_us, &fragment, slice_of(data, sizeof(data)));
        break;
    case 7:
        frame_ipv4(frame, &bench_client, &bench_us, &options, slice_of(data, sizeof(data)));
        break;
    default:
        frame_udp(frame, &bench_client, &bench_us, SLICE_LITERAL("tagged"));
        frame_add_tag(frame, 0x2000);
        break;
    }
}

/* What became of the frames: handed up, answered, learnt from, kept as a fragment, or dropped. */
static uint64_t accounted(const struct bench *bench)
{
    return bench_drop_count(bench) + bench_count(bench, METRIC_NET_UDP_DATAGRAMS_RECEIVED) +
           bench_count(bench, METRIC_NET_ARP_REPLIES_SENT) +
           bench_count(bench, METRIC_NET_ARP_CONFLICTS) +
           bench_count(bench, METRIC_NET_ICMP_ECHO_REPLIES) +
           bench_count(bench, METRIC_NET_ICMP_ERRORS_RECEIVED);
}

/* Feeds the frame and everything that L4 would do with it; returns how many went up as TCP. */
static uint32_t feed(struct bench *bench, const struct frame *frame, size_t segment_bytes)
{
    struct udp_datagram out[1];
    struct icmp_notice notices[8];
    uint32_t tcp = 0;
    struct rte_mbuf *mbuf = frame_to_mbuf(frame, bench->pool, segment_bytes);
    bench_feed_mbufs(bench, &mbuf, 1);
    for (uint32_t i = 0; i < bench->datagram_count; i++) {
        tcp += bench->datagrams[i].protocol == 6;
        assert_int_equal(bench->datagrams[i].mbuf->nb_segs, 1);
    }
    if (udp_input_batch(bench->udp, bench->datagrams, bench->datagram_count, &bench->now, out) ==
        1) {
        udp_release(&out[0]);
    }
    net_take_icmp_notices(bench->net, notices, 8);
    bench_release(bench);
    bench_discard_tx(bench);
    return tcp;
}

static void test_truncation_at_every_byte(void **state)
{
    struct bench *bench = *state;
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        struct frame whole;
        compose(&whole, kind);
        for (size_t size = 1; size < whole.size; size++) {
            struct frame cut = whole;
            cut.size = size;
            uint64_t before = bench_drop_count(bench);
            assert_int_equal(feed(bench, &cut, 0), 0);
            assert_int_equal(bench_drop_count(bench), before + 1);
        }
    }
}

static void test_any_cut_into_two_segments_is_the_same(void **state)
{
    struct bench *bench = *state;
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        struct frame whole;
        compose(&whole, kind);
        uint32_t tcp = feed(bench, &whole, 0);
        for (size_t cut = 1; cut < whole.size; cut++) {
            uint64_t before = accounted(bench), drops = bench_drop_count(bench);
            uint32_t tcp_cut = feed(bench, &whole, cut);
            assert_int_equal(tcp_cut, tcp);
            bool confirms = kind == 1, repeats = kind == 6; /* the ARP reply, the fragment */
            assert_int_equal(bench_drop_count(bench) - drops, repeats);
            assert_int_equal(accounted(bench) - before, 1 - tcp_cut - confirms);
        }
    }
}

static void test_every_byte_changed(void **state)
{
    struct bench *bench = *state;
    static const uint8_t changes[] = {0x01, 0x80, 0xff, 0x10};
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        struct frame whole;
        compose(&whole, kind);
        for (size_t at = 0; at < whole.size; at++) {
            for (size_t i = 0; i < sizeof(changes); i++) {
                struct frame changed = whole;
                changed.bytes[at] ^= changes[i];
                feed(bench, &changed, 0);
                if (kind >= 2 && kind < 8 && at >= AT_IP) {
                    frame_seal_ipv4(&changed); /* so that it comes past the IP checksum */
                    feed(bench, &changed, 0);
                }
            }
        }
    }
}

static void test_noise(void **state)
{
    struct bench *bench = *state;
    uint64_t random = 3;
    for (uint32_t round = 0; round < 20000; round++) {
        struct frame frame;
        compose(&frame, (uint32_t)(random_next(&random) >> 40) % KINDS);
        uint32_t changes = (uint32_t)(random_next(&random) >> 40) % 6;
        for (uint32_t i = 0; i < changes; i++) {
            uint64_t r = random_next(&random);
            frame.bytes[(r >> 20) % frame.size] = (uint8_t)r;
        }
        if (frame.bytes[AT_IP] == 0x45) {
            frame_seal_ipv4(&frame);
        }
        bench->now.mono_us += (random_next(&random) >> 40) % 100000;
        net_run_timers(bench->net, &bench->now);
        feed(bench, &frame, 0);
    }
}

int main(void)
{
    bench_start_eal();
#define BENCH_TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_truncation_at_every_byte),
        BENCH_TEST(test_any_cut_into_two_segments_is_the_same),
        BENCH_TEST(test_every_byte_changed),
        BENCH_TEST(test_noise),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
