/* UDP from frame to frame: validation, the reply in the packet of the request, large replies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "tests/support/net_bench.h"

enum { AT_UDP_LENGTH = AT_L4 + 4, AT_UDP_CHECKSUM = AT_L4 + 6, AT_PAYLOAD = AT_L4 + 8 };

static uint32_t receive(struct bench *bench, const struct frame *frame, struct udp_datagram *out)
{
    bench_feed(bench, frame);
    uint32_t count =
        udp_input_batch(bench->udp, bench->datagrams, bench->datagram_count, &bench->now, out);
    for (uint32_t i = 0; i < bench->datagram_count; i++) {
        assert_null(bench->datagrams[i].mbuf);
    }
    return count;
}

static void expect_drop(struct bench *bench, const struct frame *frame, enum metric reason)
{
    struct udp_datagram out[1];
    uint64_t before = bench_count(bench, reason), total = bench_drop_count(bench);
    assert_int_equal(receive(bench, frame, out), 0);
    assert_int_equal(bench_count(bench, reason), before + 1);
    assert_int_equal(bench_drop_count(bench), total + 1);
}

static struct frame good_frame(void)
{
    struct frame frame;
    frame_udp(&frame, &bench_client, &bench_us, SLICE_LITERAL("request"));
    return frame;
}

/* Puts other L4 bytes into a frame and keeps IP right. */
static struct frame with_ip_payload(const uint8_t *l4, size_t size)
{
    struct frame frame;
    struct ipv4_fields fields = {.protocol = 17};
    frame_ipv4(&frame, &bench_client, &bench_us, &fields, slice_of(l4, size));
    return frame;
}

static void test_datagram_is_described(void **state)
{
    struct bench *bench = *state;
    struct frame frame = good_frame();
    struct udp_datagram out[1];
    assert_int_equal(receive(bench, &frame, out), 1);
    assert_true(slice_equal(out[0].payload, SLICE_LITERAL("request")));
    assert_int_equal(out[0].source.port, bench_client.port);
    assert_int_equal(address_to_ipv4(&out[0].source.address), bench_client.ipv4);
    assert_int_equal(out[0].local.port, bench_us.port);
    assert_int_equal(address_to_ipv4(&out[0].local.address), bench_us.ipv4);
    assert_int_equal(out[0].listener, 7);
    assert_int_equal(udp_payload_bytes_max(&out[0]), 1472);
    assert_int_equal(bench_count(bench, METRIC_NET_UDP_DATAGRAMS_RECEIVED), 1);
    udp_release(&out[0]);
    udp_release(&out[0]);
}

static void test_listening_twice(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(udp_listen(bench->udp, BENCH_UDP_PORT, 1), -EADDRINUSE);
    for (uint16_t port = 1; port < 255; port++) {
        assert_int_equal(udp_listen(bench->udp, port, port), 0);
    }
    assert_int_equal(udp_listen(bench->udp, 300, 1), -ENOSPC);
    struct station to = bench_us;
    struct frame frame;
    struct udp_datagram out[1];
    to.port = 254;
    frame_udp(&frame, &bench_client, &to, SLICE_LITERAL("x"));
    assert_int_equal(receive(bench, &frame, out), 1);
    assert_int_equal(out[0].listener, 254);
    udp_release(&out[0]);
}

static void test_lengths(void **state)
{
    struct bench *bench = *state;
    struct frame good = good_frame(), frame;
    uint8_t l4[64];
    size_t size = good.size - AT_L4;
    struct udp_datagram out[1];
    for (size_t cut = 0; cut < 8; cut++) {
        frame = with_ip_payload(good.bytes + AT_L4, cut);
        expect_drop(bench, &frame, METRIC_NET_DROP_UDP_TRUNCATED);
    }
    for (uint16_t length = 0; length < 100; length++) {
        memcpy(l4, good.bytes + AT_L4, size);
        bytes_write_be16(l4 + 4, length);
        frame = with_ip_payload(l4, size);
        if (length < 8 || length > size) {
            expect_drop(bench, &frame, METRIC_NET_DROP_UDP_LENGTH);
        }
    }
    /* IP may carry more than UDP says; the rest is nobody's. */
    memset(l4, 0xee, sizeof(l4));
    size = udp_datagram_compose(l4, &bench_client, &bench_us, SLICE_LITERAL("abc"));
    frame = with_ip_payload(l4, size + 5);
    assert_int_equal(receive(bench, &frame, out), 1);
    assert_true(slice_equal(out[0].payload, SLICE_LITERAL("abc")));
    udp_release(&out[0]);
    /* Nothing at all is a datagram too. */
    frame_udp(&frame, &bench_client, &bench_us, SLICE_LITERAL(""));
    assert_int_equal(receive(bench, &frame, out), 1);
    assert_int_equal(out[0].payload.size, 0);
    udp_release(&out[0]);
}

static void test_checksums(void **state)
{
    struct bench *bench = *state;
    struct frame good = good_frame(), bad;
    struct udp_datagram out[1];
    for (size_t bit = 0; bit < (good.size - AT_L4) * 8; bit++) {
        bad = good;
        bad.bytes[AT_L4 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        uint64_t total = bench_drop_count(bench);
        assert_int_equal(receive(bench, &bad, out), 0);
        assert_int_equal(bench_drop_count(bench), total + 1);
    }
    bad = good;
    bytes_write_be16(bad.bytes + AT_UDP_CHECKSUM, 0); /* none was computed */
    assert_int_equal(receive(bench, &bad, out), 1);
    udp_release(&out[0]);
    bench->interface->rx_checksum = true;
    bad = good;
    bad.bytes[AT_UDP_CHECKSUM] ^= 1;
    struct rte_mbuf *mbuf = frame_to_mbuf(&bad, bench->pool, 0);
    mbuf->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    bench_feed_mbufs(bench, &mbuf, 1);
    assert_int_equal(udp_input_batch(bench->udp, bench->datagrams, 1, &bench->now, out), 1);
    udp_release(&out[0]);
    mbuf = frame_to_mbuf(&good, bench->pool, 0);
    mbuf->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_BAD;
    bench_feed_mbufs(bench, &mbuf, 1);
    assert_int_equal(udp_input_batch(bench->udp, bench->datagrams, 1, &bench->now, out), 0);
    expect_drop(bench, &bad, METRIC_NET_DROP_UDP_CHECKSUM); /* unknown is verified */
}

static void test_source_port_zero(void **state)
{
    struct bench *bench = *state;
    struct station from = bench_client;
    struct frame frame;
    from.port = 0;
    frame_udp(&frame, &from, &bench_us, SLICE_LITERAL("request"));
    expect_drop(bench, &frame, METRIC_NET_DROP_UDP_SOURCE_PORT);
}

static void test_other_protocols_stay_in_the_array(void **state)
{
    struct bench *bench = *state;
    struct frame udp = good_frame(), tcp;
    struct udp_datagram out[3];
    frame_tcp(&tcp, &bench_client, &bench_us, &(struct tcp_fields){.flags = 2}, SLICE_LITERAL(""));
    struct rte_mbuf *mbufs[] = {frame_to_mbuf(&udp, bench->pool, 0),
                                frame_to_mbuf(&tcp, bench->pool, 0),
                                frame_to_mbuf(&udp, bench->pool, 0)};
    bench_feed_mbufs(bench, mbufs, 3);
    assert_int_equal(bench->datagram_count, 3);
    assert_int_equal(udp_input_batch(bench->udp, bench->datagrams, 3, &bench->now, out), 2);
    assert_null(bench->datagrams[0].mbuf);
    assert_non_null(bench->datagrams[1].mbuf);
    assert_int_equal(bench->datagrams[1].protocol, 6);
    assert_null(bench->datagrams[2].mbuf);
    udp_release(&out[0]);
    udp_release(&out[1]);
}

/* ---- replies
 * ------------------------------------------------------------------------------------- */

static void expect_reply(struct bench *bench, struct slice payload)
{
    struct frame sent, expected;
    assert_true(bench_take(bench, &sent));
    frame_udp(&expected, &bench_us, &bench_client, payload);
    bytes_write_be16(expected.bytes + AT_IP_FRAGMENT, 0x4000);
    frame_seal_ipv4(&expected);
    assert_int_equal(sent.size, expected.size);
    assert_memory_equal(sent.bytes, expected.bytes, expected.size);
}

static void test_echo_in_place_for_every_size(void **state)
{
    struct bench *bench = *state;
    struct byte_pool pool;
    byte_pool_init(&pool, 4);
    uint8_t payload[1472];
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t)(i * 11);
    }
    for (size_t size = 0; size <= sizeof(payload); size += size < 70 ? 1 : 61) {
        struct frame frame;
        struct udp_datagram out[1];
        struct byte_queue body;
        frame_udp(&frame, &bench_client, &bench_us, slice_of(payload, size));
        assert_int_equal(receive(bench, &frame, out), 1);
        byte_queue_init(&body);
        struct rte_mbuf *request = out[0].ip.mbuf;
        size_t header = size < 3 ? size : 3;
        udp_lend_packet(&out[0], &body, (uint32_t)header, 1472);
        byte_queue_append(&body, &pool, payload + header, size - header);
        assert_true(slice_equal(out[0].payload, slice_of(payload, size))); /* is there still */
        bool fits = body.head == body.tail;
        udp_reply(bench->udp, &out[0], slice_of(payload, header), &body, 0, size - header);
        assert_true(fits == (out[0].ip.mbuf == NULL));
        assert_true(fits == (bench->interface->tx[0] == request)); /* in the packet it came in */
        expect_reply(bench, slice_of(payload, size));
        byte_queue_clear(&body, &pool);
        udp_release(&out[0]);
    }
    byte_pool_deinit(&pool);
}

/* What is written into other chunks is put behind what lies in the packet, up to one datagram; the
 * next one takes what follows. */
static void test_reply_of_several_chunks(void **state)
{
    struct bench *bench = *state;
    struct byte_pool pool;
    byte_pool_init(&pool, 4);
    static uint8_t payload[5000];
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t)(i * 13);
    }
    struct frame frame = good_frame();
    for (size_t room = 0; room <= 1400; room += 100) {
        struct udp_datagram out[1];
        struct byte_queue body;
        byte_queue_init(&body);
        assert_int_equal(receive(bench, &frame, out), 1);
        struct rte_mbuf *request = out[0].ip.mbuf;
        udp_lend_packet(&out[0], &body, 4, 1400);
        byte_queue_append(&body, &pool, payload, room);
        memcpy(byte_queue_reserve(&body, &pool, 1401), payload + room, 1401); /* a page */
        byte_queue_commit(&body, 1401);
        byte_queue_append(&body, &pool, payload + room + 1401, sizeof(payload) - room - 1401);
        for (size_t at = 0; at < sizeof(payload); at += 1400) {
            size_t size = sizeof(payload) - at < 1400 ? sizeof(payload) - at : 1400;
            udp_reply(bench->udp, &out[0], SLICE_LITERAL("head"), &body, at, size);
            uint8_t expected[1404] = "head";
            memcpy(expected + 4, payload + at, size);
            assert_true(at != 0 || bench->interface->tx[0] == request);
            expect_reply(bench, slice_of(expected, 4 + size));
        }
        byte_queue_clear(&body, &pool);
        assert_null(out[0].ip.mbuf);
    }
    byte_pool_deinit(&pool);
}

static void test_second_reply_and_shared_request_take_new_packets(void **state)
{
    struct bench *bench = *state;
    struct byte_queue body;
    struct udp_datagram out[1];
    struct frame frame = good_frame();
    byte_queue_init(&body);
    assert_int_equal(receive(bench, &frame, out), 1);
    udp_lend_packet(&out[0], &body, 0, 100);
    struct rte_mbuf *request = out[0].ip.mbuf;
    udp_reply(bench->udp, &out[0], SLICE_LITERAL(""), &body, 0, 0);
    udp_reply(bench->udp, &out[0], SLICE_LITERAL("second"), &body, 0, 0);
    assert_ptr_equal(bench->interface->tx[0], request);
    expect_reply(bench, SLICE_LITERAL(""));
    expect_reply(bench, SLICE_LITERAL("second"));
    byte_queue_init(&body);
    assert_int_equal(receive(bench, &frame, out), 1);
    struct rte_mbuf *shared = out[0].ip.mbuf;
    rte_pktmbuf_refcnt_update(shared, 1);
    udp_lend_packet(&out[0], &body, 0, 100);
    assert_null(body.head);
    udp_reply(bench->udp, &out[0], SLICE_LITERAL("third"), &body, 0, 0);
    assert_true(bench->interface->tx[0] != shared);
    expect_reply(bench, SLICE_LITERAL("third"));
    assert_memory_equal(rte_pktmbuf_mtod_offset(shared, uint8_t *, 8), "request", 7);
    udp_release(&out[0]);
    rte_pktmbuf_free(shared);
}

static void test_reply_beyond_the_mtu_is_fragmented(void **state)
{
    struct bench *bench = *state;
    static uint8_t payload[65507], got[65515];
    static const size_t sizes[] = {1473, 1900, 2100, 9000, 65507};
    struct byte_queue body;
    struct udp_datagram out[1];
    byte_queue_init(&body);
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t)(i * 17);
    }
    bench->interface->tx_udp_checksum = true; /* does not help a fragmented datagram */
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct frame frame = good_frame(), sent;
        assert_int_equal(receive(bench, &frame, out), 1);
        udp_reply(bench->udp, &out[0], slice_of(payload, sizes[i]), &body, 0, 0);
        udp_release(&out[0]);
        size_t at = 0;
        while (bench_take(bench, &sent)) {
            assert_int_equal((bytes_read_be16(sent.bytes + AT_IP_FRAGMENT) & 0x1fff) * 8, at);
            memcpy(got + at, sent.bytes + AT_L4, sent.size - AT_L4);
            at += sent.size - AT_L4;
        }
        static uint8_t expected[65515];
        udp_datagram_compose(expected, &bench_us, &bench_client, slice_of(payload, sizes[i]));
        assert_int_equal(at, sizes[i] + 8);
        assert_memory_equal(got, expected, at);
    }
    struct frame frame = good_frame();
    static uint8_t too_large[65508];
    assert_int_equal(receive(bench, &frame, out), 1);
    udp_reply(bench->udp, &out[0], slice_of(too_large, sizeof(too_large)), &body, 0, 0);
    assert_int_equal(bench->interface->tx_count, 0);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_UDP_TOO_BIG), 1);
    udp_release(&out[0]);
}

/* The first one waits for the neighbour's address; one that fits in no packet is refused. */
static void test_send_unasked(void **state)
{
    struct bench *bench = *state;
    struct endpoint peer = {address_from_ipv4(bench_client.ipv4), bench_client.port};
    static uint8_t large[3000];
    struct frame frame;
    bench_discard_tx(bench);
    assert_true(udp_send(bench->udp, bench_us.port, &peer, SLICE_LITERAL("request"), &bench->now));
    assert_true(bench_take(bench, &frame));
    assert_int_equal(bytes_read_be16(frame.bytes + 12), 0x0806); /* who has it? */
    assert_false(bench_take(bench, &frame));
    frame_arp(&frame, 2, &bench_client, &bench_us);
    bench_feed(bench, &frame);
    expect_reply(bench, SLICE_LITERAL("request"));
    assert_true(udp_send(bench->udp, bench_us.port, &peer, SLICE_LITERAL(""), &bench->now));
    expect_reply(bench, SLICE_LITERAL(""));
    assert_int_equal(bench_count(bench, METRIC_NET_UDP_DATAGRAMS_SENT), 2);
    assert_false(
        udp_send(bench->udp, bench_us.port, &peer, slice_of(large, sizeof(large)), &bench->now));
    assert_false(bench_take(bench, &frame));
}

static void test_checksum_offload_leaves_the_pseudo_header_sum(void **state)
{
    struct bench *bench = *state;
    struct byte_queue body;
    struct udp_datagram out[1];
    struct frame frame = good_frame();
    byte_queue_init(&body);
    bench->interface->tx_udp_checksum = true;
    assert_int_equal(receive(bench, &frame, out), 1);
    udp_lend_packet(&out[0], &body, 6, 0);
    udp_reply(bench->udp, &out[0], SLICE_LITERAL("answer"), &body, 0, 0);
    assert_null(out[0].ip.mbuf);
    struct rte_mbuf *mbuf = bench->interface->tx[0];
    assert_true((mbuf->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_UDP_CKSUM);
    uint8_t pseudo[12] = {0};
    bytes_write_be32(pseudo, bench_us.ipv4);
    bytes_write_be32(pseudo + 4, bench_client.ipv4);
    pseudo[9] = 17;
    pseudo[11] = 8 + 6;
    uint16_t sum = (uint16_t)~naive_checksum(pseudo, sizeof(pseudo), 0);
    assert_int_equal(bytes_read_be16(rte_pktmbuf_mtod(mbuf, uint8_t *) + AT_UDP_CHECKSUM), sum);
    bench_discard_tx(bench);
}

static void test_computed_zero_checksum_is_sent_as_ones(void **state)
{
    struct bench *bench = *state;
    struct byte_queue body;
    struct udp_datagram out[1];
    struct frame frame = good_frame(), sent;
    byte_queue_init(&body);
    uint32_t seen = 0;
    for (uint32_t word = 0; word < 0x10000; word++) {
        uint8_t answer[2];
        bytes_write_be16(answer, (uint16_t)word);
        assert_int_equal(receive(bench, &frame, out), 1);
        byte_queue_init(&body);
        udp_lend_packet(&out[0], &body, 2, 0);
        udp_reply(bench->udp, &out[0], slice_of(answer, 2), &body, 0, 0);
        assert_true(bench_take(bench, &sent)); /* refuses a missing checksum */
        seen += bytes_read_be16(sent.bytes + AT_UDP_CHECKSUM) == 0xffff;
    }
    assert_true(seen >= 1);
}

static void test_reassembled_request_is_answered(void **state)
{
    struct bench *bench = *state;
    static uint8_t datagram[8200], payload[8192];
    struct byte_queue body;
    struct udp_datagram out[1];
    uint32_t got = 0;
    memset(payload, 'p', sizeof(payload));
    size_t size = udp_datagram_compose(datagram, &bench_client, &bench_us,
                                       slice_of(payload, sizeof(payload)));
    byte_queue_init(&body);
    for (size_t at = 0; at < size; at += 1480) {
        size_t part = size - at < 1480 ? size - at : 1480;
        struct ipv4_fields fields = {
            .protocol = 17, .fragment = (uint16_t)(at / 8 | (at + part < size ? 0x2000 : 0))};
        struct frame frame;
        frame_ipv4(&frame, &bench_client, &bench_us, &fields, slice_of(datagram + at, part));
        got += receive(bench, &frame, out);
    }
    assert_int_equal(got, 1);
    assert_true(slice_equal(out[0].payload, slice_of(payload, sizeof(payload))));
    udp_lend_packet(&out[0], &body, 2, 0);
    udp_reply(bench->udp, &out[0], SLICE_LITERAL("ok"), &body, 0, 0);
    assert_null(out[0].ip.mbuf);
    expect_reply(bench, SLICE_LITERAL("ok"));
}

int main(void)
{
    bench_start_eal();
#define BENCH_TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_datagram_is_described),
        BENCH_TEST(test_listening_twice),
        BENCH_TEST(test_lengths),
        BENCH_TEST(test_checksums),
        BENCH_TEST(test_source_port_zero),
        BENCH_TEST(test_other_protocols_stay_in_the_array),
        BENCH_TEST(test_echo_in_place_for_every_size),
        BENCH_TEST(test_reply_of_several_chunks),
        BENCH_TEST(test_second_reply_and_shared_request_take_new_packets),
        BENCH_TEST(test_reply_beyond_the_mtu_is_fragmented),
        BENCH_TEST(test_checksum_offload_leaves_the_pseudo_header_sum),
        BENCH_TEST(test_computed_zero_checksum_is_sent_as_ones),
        BENCH_TEST(test_reassembled_request_is_answered),
        BENCH_TEST(test_send_unasked),
    };
    return cmocka_run_group_tests_name("udp", tests, NULL, NULL);
}
