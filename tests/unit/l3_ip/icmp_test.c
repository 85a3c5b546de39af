/* ICMP: echo in place and in fragments, errors in as bounded notices, errors out at a limited rate.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/net_bench.h"

static void expect_drop(struct bench *bench, const struct frame *frame, enum metric reason)
{
    uint64_t before = bench_count(bench, reason), total = bench_drop_count(bench);
    bench_feed(bench, frame);
    assert_int_equal(bench->datagram_count, 0);
    assert_int_equal(bench_count(bench, reason), before + 1);
    assert_int_equal(bench_drop_count(bench), total + 1);
    assert_int_equal(bench->interface->tx_count, 0);
}

static void test_echo_byte_by_byte_for_every_size(void **state)
{
    struct bench *bench = *state;
    uint8_t payload[1472];
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t)(i * 3);
    }
    for (size_t size = 0; size <= sizeof(payload); size += size < 70 ? 1 : 67) {
        struct frame request, sent, expected;
        frame_icmp(&request, &bench_client, &bench_us, 8, 0, 0x12340001, slice_of(payload, size));
        bench_feed(bench, &request);
        assert_int_equal(bench->datagram_count, 0);
        assert_true(bench_take(bench, &sent));
        frame_icmp(&expected, &bench_us, &bench_client, 0, 0, 0x12340001, slice_of(payload, size));
        bytes_write_be16(expected.bytes + AT_IP_FRAGMENT, 0x4000);
        frame_seal_ipv4(&expected);
        assert_int_equal(sent.size, expected.size);
        assert_memory_equal(sent.bytes, expected.bytes, expected.size);
    }
    assert_int_equal(bench_drop_count(bench), 0);
}

static void test_echo_checksum_at_its_edges(void **state)
{
    struct bench *bench = *state;
    for (uint32_t rest = 0; rest < 0x10000; rest += 0x100) {
        struct frame request, sent;
        frame_icmp(&request, &bench_client, &bench_us, 8, 0, rest ^ 0xf7ff0000, SLICE_LITERAL(""));
        bench_feed(bench, &request);
        assert_true(bench_take(bench, &sent)); /* which checks the checksum */
    }
}

/* Found by fuzz_frame: the incremental checksum of a message of zeros came out as the wrong zero.
 */
static void test_echo_of_nothing_but_zeros(void **state)
{
    struct bench *bench = *state;
    struct frame request, sent;
    frame_icmp(&request, &bench_client, &bench_us, 8, 0, 0, SLICE_LITERAL("\0\0\0\0"));
    bench_feed(bench, &request);
    assert_true(bench_take(bench, &sent));
    assert_int_equal(bytes_read_be32(sent.bytes + AT_L4), 0x0000ffff);
}

static void feed_large_echo(struct bench *bench, const uint8_t *message, size_t size)
{
    for (size_t at = 0; at < size; at += 1480) {
        size_t part = size - at < 1480 ? size - at : 1480;
        struct ipv4_fields fields = {.protocol = 1,
                                     .identification = 77,
                                     .fragment =
                                         (uint16_t)(at / 8 | (at + part < size ? 0x2000 : 0))};
        struct frame frame;
        frame_ipv4(&frame, &bench_client, &bench_us, &fields, slice_of(message + at, part));
        bench_feed(bench, &frame);
    }
}

static void test_large_echo_comes_back_in_fragments(void **state)
{
    struct bench *bench = *state;
    static const size_t sizes[] = {1481, 1900, 2100, 8008, 65515};
    static uint8_t message[65535], got[65535];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t size = sizes[i], at = 0;
        for (size_t j = 0; j < size; j++) {
            message[j] = (uint8_t)(j * 5);
        }
        memcpy(message, "\x08\0\0\0\1\2\3\4", 8);
        bytes_write_be16(message + 2, naive_checksum(message, size, 0));
        feed_large_echo(bench, message, size);
        struct frame sent;
        while (bench_take(bench, &sent)) {
            assert_int_equal((bytes_read_be16(sent.bytes + AT_IP_FRAGMENT) & 0x1fff) * 8, at);
            memcpy(got + at, sent.bytes + AT_L4, sent.size - AT_L4);
            at += sent.size - AT_L4;
        }
        assert_int_equal(at, size);
        assert_int_equal(got[0], 0);
        assert_memory_equal(got + 4, message + 4, size - 4);
        assert_int_equal(naive_checksum(got, size, 0), 0);
    }
    assert_int_equal(bench_drop_count(bench), 0);
}

static void test_shared_request_is_copied(void **state)
{
    struct bench *bench = *state;
    struct frame request, sent;
    frame_icmp(&request, &bench_client, &bench_us, 8, 0, 1, SLICE_LITERAL("data"));
    struct rte_mbuf *mbuf = frame_to_mbuf(&request, bench->pool, 0), *shared = mbuf;
    rte_pktmbuf_refcnt_update(shared, 1);
    bench_feed_mbufs(bench, &mbuf, 1);
    assert_true(bench_take(bench, &sent));
    assert_int_equal(sent.bytes[AT_L4], 0);
    assert_int_equal(*rte_pktmbuf_mtod(shared, uint8_t *), 8);
    rte_pktmbuf_free(shared);
}

static void test_dropped_messages(void **state)
{
    struct bench *bench = *state;
    struct frame frame, good;
    frame_icmp(&good, &bench_client, &bench_us, 8, 0, 1, SLICE_LITERAL("data"));
    for (size_t bit = 0; bit < 12 * 8; bit++) {
        frame = good;
        frame.bytes[AT_L4 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        expect_drop(bench, &frame, METRIC_NET_DROP_ICMP_CHECKSUM);
    }
    for (size_t size = 0; size < 8; size++) {
        struct ipv4_fields fields = {.protocol = 1};
        frame_ipv4(&frame, &bench_client, &bench_us, &fields, slice_of(good.bytes + AT_L4, size));
        expect_drop(bench, &frame, METRIC_NET_DROP_ICMP_TRUNCATED);
    }
    static const uint8_t others[] = {0, 1, 4, 5, 9, 10, 13, 15, 17, 30, 255};
    for (size_t i = 0; i < sizeof(others); i++) {
        frame_icmp(&frame, &bench_client, &bench_us, others[i], 0, 1, SLICE_LITERAL("data"));
        expect_drop(bench, &frame, METRIC_NET_DROP_ICMP_TYPE);
    }
    frame = good;
    memset(frame.bytes, 0xff, 6); /* smurf */
    expect_drop(bench, &frame, METRIC_NET_DROP_IP_LINK_BROADCAST);
}

/* ---- errors in
 * ----------------------------------------------------------------------------------- */

/* What a router says about a TCP segment of ours. */
static void compose_error(struct frame *error, uint8_t type, uint8_t code, uint32_t rest,
                          const struct frame *about, size_t quoted)
{
    frame_icmp(error, &bench_far, &bench_us, type, code, rest,
               slice_of(about->bytes + AT_IP, quoted));
}

static struct frame our_segment(void)
{
    struct frame segment;
    struct tcp_fields fields = {.sequence = 0xdeadbeef, .flags = 0x10};
    frame_tcp(&segment, &bench_us, &bench_client, &fields, SLICE_LITERAL("some reply"));
    return segment;
}

static void test_error_becomes_a_notice(void **state)
{
    struct bench *bench = *state;
    struct frame segment = our_segment(), error;
    struct icmp_notice notices[4];
    compose_error(&error, 3, 4, 1400, &segment, 28);
    bench_feed(bench, &error);
    compose_error(&error, 11, 0, 0, &segment, segment.size - AT_IP);
    bench_feed(bench, &error);
    assert_int_equal(net_take_icmp_notices(bench->net, notices, 1), 1);
    assert_int_equal(notices[0].kind, ICMP_NOTICE_PACKET_TOO_BIG);
    assert_int_equal(notices[0].mtu, 1400);
    assert_int_equal(notices[0].protocol, 6);
    assert_int_equal(notices[0].sequence, 0xdeadbeef);
    assert_int_equal(notices[0].local.port, bench_us.port);
    assert_int_equal(notices[0].peer.port, bench_client.port);
    assert_int_equal(address_to_ipv4(&notices[0].local.address), bench_us.ipv4);
    assert_int_equal(address_to_ipv4(&notices[0].peer.address), bench_client.ipv4);
    assert_int_equal(net_take_icmp_notices(bench->net, notices, 4), 1);
    assert_int_equal(notices[0].kind, ICMP_NOTICE_OTHER);
    assert_int_equal(notices[0].mtu, 0);
    assert_int_equal(net_take_icmp_notices(bench->net, notices, 4), 0);
    assert_int_equal(bench_count(bench, METRIC_NET_ICMP_ERRORS_RECEIVED), 2);
}

static void test_errors_that_quote_nothing_of_ours(void **state)
{
    struct bench *bench = *state;
    struct frame good = our_segment(), bad, error;
    struct icmp_notice notice;
    for (size_t quoted = 0; quoted < 28; quoted++) {
        compose_error(&error, 3, 1, 0, &good, quoted);
        expect_drop(bench, &error, METRIC_NET_DROP_ICMP_QUOTE);
    }
    bad = good;
    bad.bytes[AT_IP] = 0x46; /* options that are not quoted */
    compose_error(&error, 3, 1, 0, &bad, 28);
    expect_drop(bench, &error, METRIC_NET_DROP_ICMP_QUOTE);
    bad.bytes[AT_IP] = 0x44;
    compose_error(&error, 3, 1, 0, &bad, 28);
    expect_drop(bench, &error, METRIC_NET_DROP_ICMP_QUOTE);
    bad.bytes[AT_IP] = 0x65;
    compose_error(&error, 3, 1, 0, &bad, 28);
    expect_drop(bench, &error, METRIC_NET_DROP_ICMP_QUOTE);
    bad = good;
    bad.bytes[AT_IP_SOURCE + 3] ^= 1; /* somebody else's packet */
    compose_error(&error, 3, 1, 0, &bad, 28);
    expect_drop(bench, &error, METRIC_NET_DROP_ICMP_QUOTE);
    bad = good;
    bad.bytes[AT_IP_FRAGMENT + 1] = 1; /* no ports in there */
    compose_error(&error, 3, 1, 0, &bad, 28);
    expect_drop(bench, &error, METRIC_NET_DROP_ICMP_QUOTE);
    bad = good;
    bad.bytes[AT_IP_PROTOCOL] = 1;
    compose_error(&error, 3, 1, 0, &bad, 28);
    expect_drop(bench, &error, METRIC_NET_DROP_ICMP_QUOTE);
    assert_int_equal(net_take_icmp_notices(bench->net, &notice, 1), 0);
}

static void test_notices_are_bounded(void **state)
{
    struct bench *bench = *state;
    struct frame segment = our_segment(), error;
    static struct icmp_notice notices[1000];
    compose_error(&error, 3, 1, 0, &segment, 28);
    for (uint32_t i = 0; i < 200; i++) {
        bench_feed(bench, &error);
    }
    uint32_t kept = net_take_icmp_notices(bench->net, notices, 1000);
    assert_int_equal(kept, 64);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_ICMP_NOTICES_FULL), 200 - kept);
}

/* ---- errors out
 * ---------------------------------------------------------------------------------- */

static void feed_to_closed_port(struct bench *bench, struct frame *frame, struct slice payload)
{
    struct station closed = bench_us;
    struct udp_datagram out[1];
    closed.port = 9;
    frame_udp(frame, &bench_client, &closed, payload);
    bench_feed(bench, frame);
    assert_int_equal(
        udp_input_batch(bench->udp, bench->datagrams, bench->datagram_count, &bench->now, out), 0);
}

static void test_port_unreachable_quotes_the_datagram(void **state)
{
    struct bench *bench = *state;
    struct frame frame, sent;
    uint8_t payload[1400];
    memset(payload, 'q', sizeof(payload));
    bench->now.mono_us += 1000000;
    feed_to_closed_port(bench, &frame, SLICE_LITERAL("hello"));
    assert_true(bench_take(bench, &sent));
    assert_memory_equal(sent.bytes, bench_client.mac, 6);
    assert_int_equal(bytes_read_be32(sent.bytes + AT_IP_DESTINATION), bench_client.ipv4);
    assert_int_equal(bytes_read_be16(sent.bytes + AT_L4), 0x0303);
    assert_int_equal(bytes_read_be32(sent.bytes + AT_L4 + 4), 0);
    assert_int_equal(sent.size - AT_L4 - 8, frame.size - AT_IP);
    assert_memory_equal(sent.bytes + AT_L4 + 8, frame.bytes + AT_IP, frame.size - AT_IP);
    feed_to_closed_port(bench, &frame, slice_of(payload, sizeof(payload)));
    assert_true(bench_take(bench, &sent));
    assert_int_equal(sent.size, 14 + 576);
    assert_memory_equal(sent.bytes + AT_L4 + 8, frame.bytes + AT_IP, 548);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_UDP_NO_LISTENER), 2);
}

static void test_quote_of_a_reassembled_datagram_is_whole(void **state)
{
    struct bench *bench = *state;
    struct frame frame, sent;
    struct station closed = bench_us;
    struct udp_datagram out[1];
    uint8_t datagram[64];
    closed.port = 9;
    bench->now.mono_us += 1000000;
    size_t size =
        udp_datagram_compose(datagram, &bench_client, &closed, SLICE_LITERAL("0123456789"));
    struct ipv4_fields fields = {.protocol = 17, .identification = 5, .fragment = 0x2000};
    frame_ipv4(&frame, &bench_client, &bench_us, &fields, slice_of(datagram, 8));
    bench_feed(bench, &frame);
    fields.fragment = 1;
    frame_ipv4(&frame, &bench_client, &bench_us, &fields, slice_of(datagram + 8, size - 8));
    bench_feed(bench, &frame);
    assert_int_equal(bench->datagram_count, 1);
    udp_input_batch(bench->udp, bench->datagrams, 1, &bench->now, out);
    assert_true(bench_take(bench, &sent));
    fields.fragment = 0;
    frame_ipv4(&frame, &bench_client, &bench_us, &fields, slice_of(datagram, size));
    assert_int_equal(sent.size - AT_L4 - 8, 20 + size);
    assert_memory_equal(sent.bytes + AT_L4 + 8, frame.bytes + AT_IP, 20 + size);
}

static uint64_t flood_errors(struct bench *bench, uint32_t count)
{
    struct frame frame;
    uint64_t before = bench_count(bench, METRIC_NET_ICMP_ERRORS_SENT);
    for (uint32_t i = 0; i < count; i++) {
        feed_to_closed_port(bench, &frame, SLICE_LITERAL("x"));
    }
    bench_discard_tx(bench);
    return bench_count(bench, METRIC_NET_ICMP_ERRORS_SENT) - before;
}

static void test_errors_are_rate_limited(void **state)
{
    struct bench *bench = *state;
    bench->now.mono_us += 1000000;
    uint64_t burst = flood_errors(bench, 500);
    assert_in_range(burst, 33, 100);
    assert_int_equal(flood_errors(bench, 100), 0);
    assert_int_equal(bench_count(bench, METRIC_NET_ICMP_ERRORS_SUPPRESSED), 600 - burst);
    uint64_t in_a_second = 0;
    for (uint32_t i = 0; i < 100; i++) {
        bench->now.mono_us += 10000;
        in_a_second += flood_errors(bench, 10);
    }
    assert_in_range(in_a_second, 130, 410);
    bench->now.mono_us += 3600000000ULL; /* credit does not pile up */
    assert_in_range(flood_errors(bench, 500), 33, 100);
}

int main(void)
{
    bench_start_eal();
#define BENCH_TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_echo_byte_by_byte_for_every_size),
        BENCH_TEST(test_echo_checksum_at_its_edges),
        BENCH_TEST(test_echo_of_nothing_but_zeros),
        BENCH_TEST(test_large_echo_comes_back_in_fragments),
        BENCH_TEST(test_shared_request_is_copied),
        BENCH_TEST(test_dropped_messages),
        BENCH_TEST(test_error_becomes_a_notice),
        BENCH_TEST(test_errors_that_quote_nothing_of_ours),
        BENCH_TEST(test_notices_are_bounded),
        BENCH_TEST(test_port_unreachable_quotes_the_datagram),
        BENCH_TEST(test_quote_of_a_reassembled_datagram_is_whole),
        BENCH_TEST(test_errors_are_rate_limited),
    };
    return cmocka_run_group_tests_name("icmp", tests, NULL, NULL);
}
