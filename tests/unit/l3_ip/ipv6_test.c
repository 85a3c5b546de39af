/* IPv6: what is let in, every reason to drop, extension headers, fragments, ICMPv6, and what goes
 * out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/base/hash.h"
#include "tests/support/net_bench.h"

static const struct ipv6_fields plain;

static void expect_drop(struct bench *bench, const struct frame *frame, enum metric reason)
{
    uint64_t before = bench_count(bench, reason), total = bench_drop_count(bench);
    bench_feed(bench, frame);
    assert_int_equal(bench->datagram_count, 0);
    assert_int_equal(bench_count(bench, reason), before + 1);
    assert_int_equal(bench_drop_count(bench), total + 1);
}

static void expect_up(struct bench *bench, const struct frame *frame, const char *payload)
{
    uint64_t total = bench_drop_count(bench);
    bench_feed(bench, frame);
    assert_int_equal(bench->datagram_count, 1);
    assert_int_equal(bench_drop_count(bench), total);
    const struct rte_mbuf *mbuf = bench->datagrams[0].mbuf;
    assert_int_equal(mbuf->data_len, strlen(payload) + 8);
    assert_int_equal(mbuf->pkt_len, mbuf->data_len);
    assert_memory_equal(rte_pktmbuf_mtod_offset(mbuf, uint8_t *, 8), payload, strlen(payload));
}

static void expect_quiet(struct bench *bench)
{
    assert_int_equal(bench->interface->tx_count, 0);
}

static struct frame good_frame(void)
{
    struct frame frame;
    frame_udp_ipv6(&frame, &bench_client6, &bench_us6, &plain, SLICE_LITERAL("payload"));
    return frame;
}

static struct frame frame_with(uint8_t first, struct slice extensions)
{
    struct frame frame;
    struct ipv6_fields fields = {.first = first, .extensions = extensions};
    frame_udp_ipv6(&frame, &bench_client6, &bench_us6, &fields, SLICE_LITERAL("payload"));
    return frame;
}

static struct address address_of(const struct station_ipv6 *station)
{
    struct address address;
    memcpy(address.bytes, station->ipv6, sizeof(address.bytes));
    return address;
}

/* ---- the header --------------------------------------------------------------------------------
 */

static void test_datagram_is_described(void **state)
{
    struct bench *bench = *state;
    struct frame frame = good_frame();
    expect_up(bench, &frame, "payload");
    const struct ip_datagram *datagram = &bench->datagrams[0];
    assert_ptr_equal(datagram->interface, bench->interface);
    assert_int_equal(datagram->protocol, 17);
    assert_memory_equal(datagram->source.bytes, bench_client6.ipv6, 16);
    assert_memory_equal(datagram->destination.bytes, bench_us6.ipv6, 16);
    assert_memory_equal(datagram->source_mac.addr_bytes, bench_client6.mac, 6);
    assert_int_equal(datagram->mbuf->l3_len, 40);
    assert_false(datagram->reassembled);
    /* Link padding is cut off. */
    memset(frame.bytes + frame.size, 0xee, 30);
    frame.size += 30;
    expect_up(bench, &frame, "payload");
}

static void test_header_rules(void **state)
{
    struct bench *bench = *state;
    struct frame bad = good_frame();
    bytes_write_be16(bad.bytes + AT_IPV6_LENGTH, (uint16_t)(bad.size - 54 + 1));
    expect_drop(bench, &bad, METRIC_NET_DROP_IPV6_TRUNCATED);
    bad = good_frame();
    bad.size = AT_IPV6_L4 - 1;
    expect_drop(bench, &bad, METRIC_NET_DROP_IPV6_TRUNCATED);
    bad = good_frame();
    bad.bytes[AT_IP] = 0x50;
    expect_drop(bench, &bad, METRIC_NET_DROP_IPV6_VERSION);
    bad = good_frame();
    bad.bytes[AT_IPV6_DESTINATION + 15] ^= 1;
    expect_drop(bench, &bad, METRIC_NET_DROP_IPV6_NOT_OURS);
    bad = good_frame();
    memcpy(bad.bytes + AT_IPV6_SOURCE, bench_us6.ipv6, 16);
    expect_drop(bench, &bad, METRIC_NET_DROP_IPV6_LAND);
    expect_quiet(bench);
}

static void test_impossible_sources(void **state)
{
    struct bench *bench = *state;
    static const char *const sources[] = {"::", "::1", "ff02::1", "ff0e::5", "::ffff:198.18.0.9"};
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        struct frame bad = good_frame();
        struct address source;
        assert_true(address_parse(slice_of_string(sources[i]), &source));
        memcpy(bad.bytes + AT_IPV6_SOURCE, source.bytes, 16);
        expect_drop(bench, &bad, METRIC_NET_DROP_IPV6_SOURCE);
    }
}

/* Groups that we are in carry ICMPv6 alone; what is for us alone comes to us alone. */
static void test_groups(void **state)
{
    struct bench *bench = *state;
    struct station_ipv6 all = {{0x33, 0x33, 0, 0, 0, 1}, {0xff, 2, [15] = 1}, BENCH_UDP_PORT};
    struct station_ipv6 others = {{0x33, 0x33, 0, 0, 0, 2}, {0xff, 2, [15] = 2}, BENCH_UDP_PORT};
    struct frame bad;
    frame_udp_ipv6(&bad, &bench_client6, &all, &plain, SLICE_LITERAL("payload"));
    expect_drop(bench, &bad, METRIC_NET_DROP_IPV6_NOT_OURS);
    frame_udp_ipv6(&bad, &bench_client6, &others, &plain, SLICE_LITERAL("payload"));
    expect_drop(bench, &bad, METRIC_NET_DROP_LINK_DESTINATION);
    memcpy(bad.bytes, bench_us6.mac, 6);
    expect_drop(bench, &bad, METRIC_NET_DROP_IPV6_NOT_OURS);
    bad = good_frame();
    memcpy(bad.bytes, all.mac, 6);
    expect_drop(bench, &bad, METRIC_NET_DROP_IPV6_LINK_GROUP);
    frame_icmpv6(&bad, &bench_client6, &all, 64, 128, 0, 1, SLICE_LITERAL("ping"));
    expect_drop(bench, &bad, METRIC_NET_DROP_ICMP_TYPE);
    frame_udp(&bad, &bench_client, &bench_us, SLICE_LITERAL("payload"));
    memcpy(bad.bytes, all.mac, 6);
    expect_drop(bench, &bad, METRIC_NET_DROP_IP_LINK_BROADCAST);
    expect_quiet(bench);
}

static void test_link_local_address_is_made(void **state)
{
    struct bench *bench = *state;
    struct station_ipv6 ours = bench_us6;
    static const uint8_t expected[16] = {0xfe, 0x80, [8] = 2, [11] = 0xff, [12] = 0xfe, [15] = 2};
    struct frame frame;
    memcpy(ours.ipv6, expected, 16);
    frame_udp_ipv6(&frame, &bench_gateway6, &ours, &plain, SLICE_LITERAL("payload"));
    expect_up(bench, &frame, "payload");
    assert_int_equal(bench->interface->addresses.count, 3);
}

/* One family alone: the other's frames are dropped, and nothing of it is 0.0.0.0 or :: by accident.
 */
static void test_one_family_alone(void **state)
{
    (void)state;
    struct net_interface *description = bench_description_ipv6();
    struct interface_addresses *addresses = &description->addresses;
    addresses->at[0] = addresses->at[1];
    addresses->count = 1;
    addresses->gateways[0] = addresses->gateways[1];
    addresses->gateway_count = 1;
    struct bench *bench = bench_create(description);
    bench_discard_tx(bench);
    struct frame frame = good_frame();
    expect_up(bench, &frame, "payload");
    frame_udp(&frame, &bench_client, &bench_us, SLICE_LITERAL("payload"));
    expect_drop(bench, &frame, METRIC_NET_DROP_LINK_FAMILY);
    struct station nobody = bench_us;
    nobody.ipv4 = 0;
    frame_udp(&frame, &bench_client, &nobody, SLICE_LITERAL("payload"));
    expect_drop(bench, &frame, METRIC_NET_DROP_LINK_FAMILY);
    frame_arp(&frame, 1, &bench_client, &nobody);
    expect_drop(bench, &frame, METRIC_NET_DROP_LINK_FAMILY);
    struct address source, near = address_from_ipv4(bench_client.ipv4);
    assert_null(net_route(bench->net, &near, &source));
    near = address_of(&bench_client6);
    assert_ptr_equal(net_route(bench->net, &near, &source), bench->interface);
    bench_destroy(bench);
}

/* ---- extension headers -------------------------------------------------------------------------
 */

static void test_headers_that_are_passed_over(void **state)
{
    struct bench *bench = *state;
    struct frame frame;
    /* hop-by-hop: router alert; destination options: padding; a route at its end (type 4) */
    frame = frame_with(0, SLICE_LITERAL("\x11\0\x05\x02\0\0\x01\0"));
    expect_up(bench, &frame, "payload");
    frame = frame_with(60, SLICE_LITERAL("\x11\0\x01\x04\0\0\0\0"));
    expect_up(bench, &frame, "payload");
    frame = frame_with(60, SLICE_LITERAL("\x11\0\0\0\0\0\0\0"));
    expect_up(bench, &frame, "payload");
    frame = frame_with(43, SLICE_LITERAL("\x11\0\x04\0\0\0\0\0"));
    expect_up(bench, &frame, "payload");
    /* all in a row, and an atomic fragment among them (RFC 6946) */
    frame = frame_with(0, SLICE_LITERAL("\x3c\0\x05\x02\0\0\x01\0"
                                        "\x2b\0\x01\x04\0\0\0\0"
                                        "\x2c\0\x04\0\0\0\0\0"
                                        "\x3c\0\0\0\x12\x34\x56\x78"
                                        "\x11\0\x01\x04\0\0\0\0"));
    expect_up(bench, &frame, "payload");
    assert_int_equal(bench->datagrams[0].mbuf->l3_len, 80);
    assert_true(bench->datagrams[0].reassembled);
    assert_int_equal(bench_count(bench, METRIC_NET_FRAGMENTS_RECEIVED), 0);
    expect_quiet(bench);
}

static void test_headers_that_are_refused(void **state)
{
    struct bench *bench = *state;
    const struct {
        uint8_t first;
        enum metric reason;
        struct slice extensions;
    } cases[] = {
        /* hop-by-hop behind another, twice, behind an atomic fragment; two fragment headers */
        {60, METRIC_NET_DROP_IPV6_EXTENSION,
         SLICE_LITERAL("\0\0\x01\x04\0\0\0\0\x11\0\x01\x04\0\0\0\0")},
        {0, METRIC_NET_DROP_IPV6_EXTENSION,
         SLICE_LITERAL("\0\0\x01\x04\0\0\0\0\x11\0\x01\x04\0\0\0\0")},
        {44, METRIC_NET_DROP_IPV6_EXTENSION,
         SLICE_LITERAL("\0\0\0\0\0\0\0\1\x11\0\x01\x04\0\0\0\0")},
        {44, METRIC_NET_DROP_IPV6_EXTENSION, SLICE_LITERAL("\x2c\0\0\0\0\0\0\1\x11\0\0\0\0\0\0\2")},
        /* routes: type 0 even at its end, any other with segments left */
        {43, METRIC_NET_DROP_IPV6_ROUTING, SLICE_LITERAL("\x11\0\0\0\0\0\0\0")},
        {43, METRIC_NET_DROP_IPV6_ROUTING, SLICE_LITERAL("\x11\0\x04\x01\0\0\0\0")},
        /* options: to drop; cut off; longer than their header; the header longer than the packet */
        {60, METRIC_NET_DROP_IPV6_OPTION, SLICE_LITERAL("\x11\0\x5e\x04\0\0\0\0")},
        {60, METRIC_NET_DROP_IPV6_EXTENSION, SLICE_LITERAL("\x11\0\0\0\0\0\0\x05")},
        {60, METRIC_NET_DROP_IPV6_EXTENSION, SLICE_LITERAL("\x11\0\x01\x05\0\0\0\0")},
        {60, METRIC_NET_DROP_IPV6_EXTENSION, SLICE_LITERAL("\x11\x09\x01\x04\0\0\0\0")},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct frame bad = frame_with(cases[i].first, cases[i].extensions);
        expect_drop(bench, &bad, cases[i].reason);
        expect_quiet(bench);
    }
}

static void test_chain_is_bounded(void **state)
{
    struct bench *bench = *state;
    uint8_t chain[400] = {0};
    for (size_t i = 0; i < 9; i++) {
        chain[i * 8] = 60;
        chain[i * 8 + 2] = 1;
        chain[i * 8 + 3] = 4;
    }
    chain[7 * 8] = 17;
    struct frame frame = frame_with(60, slice_of(chain, 64));
    expect_up(bench, &frame, "payload"); /* eight */
    chain[7 * 8] = 60;
    chain[8 * 8] = 17;
    frame = frame_with(60, slice_of(chain, 72));
    expect_drop(bench, &frame, METRIC_NET_DROP_IPV6_EXTENSION);
    /* One header of 224 bytes, one of 232. */
    memset(chain, 0, sizeof(chain));
    chain[0] = 17;
    chain[1] = 27;
    frame = frame_with(60, slice_of(chain, 224));
    expect_up(bench, &frame, "payload");
    chain[1] = 28;
    frame = frame_with(60, slice_of(chain, 232));
    expect_drop(bench, &frame, METRIC_NET_DROP_IPV6_EXTENSION);
}

/* ICMPv6 parameter problem: which code, and what it points at. */
static void expect_parameter_problem(struct bench *bench, uint8_t code, uint32_t at)
{
    struct frame sent;
    assert_true(bench_take(bench, &sent));
    assert_memory_equal(sent.bytes, bench_client6.mac, 6);
    assert_memory_equal(sent.bytes + AT_IPV6_SOURCE, bench_us6.ipv6, 16);
    assert_memory_equal(sent.bytes + AT_IPV6_DESTINATION, bench_client6.ipv6, 16);
    assert_int_equal(sent.bytes[AT_IPV6_L4], 4);
    assert_int_equal(sent.bytes[AT_IPV6_L4 + 1], code);
    assert_int_equal(bytes_read_be32(sent.bytes + AT_IPV6_L4 + 4), at);
    assert_int_equal(sent.bytes[AT_IPV6_L4 + 8], 0x60); /* quotes from the IPv6 header on */
}

static void test_what_is_told(void **state)
{
    struct bench *bench = *state;
    bench->now.mono_us += 1000000;
    struct frame bad = frame_with(60, SLICE_LITERAL("\x11\0\x01\0\x80\x02\0\0"));
    expect_drop(bench, &bad, METRIC_NET_DROP_IPV6_OPTION);
    expect_parameter_problem(bench, 2, 44);
    bad = frame_with(0, SLICE_LITERAL("\x11\0\xc2\x04\0\1\0\0")); /* a jumbo payload */
    expect_drop(bench, &bad, METRIC_NET_DROP_IPV6_OPTION);
    expect_parameter_problem(bench, 2, 42);
    bad = good_frame();
    bad.bytes[AT_IPV6_NEXT] = 132;
    expect_drop(bench, &bad, METRIC_NET_DROP_IPV6_PROTOCOL);
    expect_parameter_problem(bench, 1, 6);
    bad = frame_with(60, SLICE_LITERAL("\x33\0\x01\x04\0\0\0\0")); /* AH behind options */
    expect_drop(bench, &bad, METRIC_NET_DROP_IPV6_PROTOCOL);
    expect_parameter_problem(bench, 1, 40);
    bad = good_frame();
    bad.bytes[AT_IPV6_NEXT] = 59;
    expect_drop(bench, &bad, METRIC_NET_DROP_IPV6_PROTOCOL);
    expect_quiet(bench);
}

/* ---- fragments ---------------------------------------------------------------------------------
 */

static uint8_t datagram[66000];

/* A fragment of `datagram`, as frame; `next` is what the fragment header names. */
static struct frame fragment_of(uint32_t identification, size_t at, size_t size, bool more,
                                uint8_t next)
{
    struct frame frame;
    uint8_t header[8] = {next};
    bytes_write_be16(header + 2, (uint16_t)(at | (more ? 1 : 0)));
    bytes_write_be32(header + 4, identification);
    struct ipv6_fields fields = {.first = 44, .extensions = slice_of(header, sizeof(header))};
    frame_ipv6(&frame, &bench_client6, &bench_us6, &fields, 0, slice_of(datagram + at, size));
    return frame;
}

static void feed_fragment(struct bench *bench, uint32_t identification, size_t at, size_t size,
                          bool more)
{
    struct frame frame = fragment_of(identification, at, size, more, 17);
    bench_feed(bench, &frame);
}

static size_t compose_datagram(size_t payload_bytes)
{
    static uint8_t payload[65536];
    for (size_t i = 0; i < payload_bytes; i++) {
        payload[i] = (uint8_t)(i * 7 + i / 256);
    }
    return udp_ipv6_compose(datagram, &bench_client6, &bench_us6, slice_of(payload, payload_bytes));
}

static void expect_whole(struct bench *bench, size_t size)
{
    assert_int_equal(bench->datagram_count, 1);
    const struct rte_mbuf *mbuf = bench->datagrams[0].mbuf;
    assert_int_equal(mbuf->data_len, size);
    assert_memory_equal(rte_pktmbuf_mtod(mbuf, uint8_t *), datagram, size);
    assert_int_equal(bench->datagrams[0].protocol, 17);
    assert_true(bench->datagrams[0].reassembled);
    /* The header that an error about it would quote. */
    const uint8_t *header = rte_pktmbuf_mtod(mbuf, const uint8_t *) - 40;
    assert_int_equal(mbuf->l3_len, 40);
    assert_int_equal(bytes_read_be16(header + 4), size);
    assert_int_equal(header[6], 17);
    assert_memory_equal(header + 8, bench_client6.ipv6, 16);
}

static void test_fragments_of_every_size(void **state)
{
    struct bench *bench = *state;
    static const size_t sizes[] = {1241, 1964, 4000, 9000, 32768, 65487};
    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t size = compose_datagram(sizes[i]);
        for (size_t at = 0; at < size; at += 1232) {
            assert_int_equal(bench->datagram_count, 0);
            bool last = size - at <= 1232;
            feed_fragment(bench, i, at, last ? size - at : 1232, !last);
        }
        expect_whole(bench, size);
        bench_release(bench);
    }
    assert_int_equal(bench_drop_count(bench), 0);
}

static void test_fragments_in_any_order(void **state)
{
    struct bench *bench = *state;
    size_t size = compose_datagram(500);
    feed_fragment(bench, 0xffffffff, 400, size - 400, false);
    feed_fragment(bench, 0xffff, 0, 200, true); /* another's, whose number ends alike */
    feed_fragment(bench, 0xffffffff, 200, 200, true);
    feed_fragment(bench, 0xffffffff, 0, 200, true);
    expect_whole(bench, size);
    bench_release(bench);
    /* What it is, the first fragment says (RFC 8200 4.5). */
    struct frame frame = fragment_of(7, 200, size - 200, false, 99);
    bench_feed(bench, &frame);
    feed_fragment(bench, 7, 0, 200, true);
    expect_whole(bench, size);
}

static void test_fragments_that_are_refused(void **state)
{
    struct bench *bench = *state;
    struct frame bad;
    size_t size = compose_datagram(500);
    bad = fragment_of(1, 0, 201, true, 17);
    expect_drop(bench, &bad, METRIC_NET_DROP_FRAGMENT_LENGTH);
    bad = fragment_of(1, 0, 8, true, 6);
    expect_drop(bench, &bad, METRIC_NET_DROP_FRAGMENT_TINY);
    bad = fragment_of(1, 65528, 200, false, 17);
    expect_drop(bench, &bad, METRIC_NET_DROP_FRAGMENT_OVERSIZE);
    /* The chain of headers is not whole in the first one (RFC 7112): options that end behind it,
     * options that leave no room for the ports. */
    memset(datagram, 0, 64);
    datagram[0] = 17;
    datagram[1] = 3;
    bad = fragment_of(1, 0, 16, true, 60);
    expect_drop(bench, &bad, METRIC_NET_DROP_FRAGMENT_TINY);
    bad = fragment_of(1, 0, 32, true, 60);
    expect_drop(bench, &bad, METRIC_NET_DROP_FRAGMENT_TINY);
    /* An overlap, were it of one byte, ends the datagram (RFC 5722). */
    size = compose_datagram(500);
    feed_fragment(bench, 2, 0, 208, true);
    bad = fragment_of(2, 200, 200, true, 17);
    expect_drop(bench, &bad, METRIC_NET_DROP_FRAGMENT_OVERLAP);
    bad = fragment_of(2, 208, size - 208, false, 17);
    expect_drop(bench, &bad, METRIC_NET_DROP_FRAGMENT_OVERLAP);
    assert_int_equal(bench->datagram_count, 0);
}

/* Options behind the fragment header belong to the datagram, and are walked when it is whole. */
static void test_headers_inside_fragments(void **state)
{
    struct bench *bench = *state;
    uint8_t inner[600];
    size_t size = compose_datagram(500);
    memcpy(inner, "\x11\0\x01\x04\0\0\0\0", 8);
    memcpy(inner + 8, datagram, size);
    memcpy(datagram, inner, size + 8);
    struct frame frame = fragment_of(9, 0, 104, true, 60);
    bench_feed(bench, &frame);
    frame = fragment_of(9, 104, size + 8 - 104, false, 60);
    bench_feed(bench, &frame);
    assert_int_equal(bench->datagram_count, 1);
    assert_int_equal(bench->datagrams[0].protocol, 17);
    assert_int_equal(bench->datagrams[0].mbuf->l3_len, 48);
    assert_int_equal(bench->datagrams[0].mbuf->data_len, size);
}

/* Both families share the slots. */
static void test_fragments_time_out(void **state)
{
    struct bench *bench = *state;
    compose_datagram(500);
    for (uint32_t i = 0; i < 8; i++) {
        feed_fragment(bench, i, 0, 200, true);
    }
    struct frame bad = fragment_of(8, 0, 200, true, 17);
    expect_drop(bench, &bad, METRIC_NET_DROP_FRAGMENT_SOURCE_LIMIT);
    bench->now.mono_us += 30000001;
    net_run_timers(bench->net, &bench->now);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_FRAGMENT_TIMEOUT), 8);
}

/* ---- ICMPv6 ------------------------------------------------------------------------------------
 */

static void test_echo(void **state)
{
    struct bench *bench = *state;
    static const size_t sizes[] = {0, 1, 56, 1231, 1452};
    static uint8_t data[1452];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct frame frame, sent;
        memset(data, (int)i, sizeof(data));
        frame_icmpv6(&frame, &bench_client6, &bench_us6, 64, 128, 0, 0x12345678,
                     slice_of(data, sizes[i]));
        bench_feed(bench, &frame);
        assert_true(bench_take(bench, &sent));
        assert_int_equal(sent.size, frame.size);
        assert_memory_equal(sent.bytes, bench_client6.mac, 6);
        assert_memory_equal(sent.bytes + AT_IPV6_SOURCE, bench_us6.ipv6, 16);
        assert_memory_equal(sent.bytes + AT_IPV6_DESTINATION, bench_client6.ipv6, 16);
        assert_int_equal(sent.bytes[AT_IPV6_HOP_LIMIT], 64);
        assert_int_equal(sent.bytes[AT_IPV6_L4], 129);
        assert_memory_equal(sent.bytes + AT_IPV6_L4 + 4, frame.bytes + AT_IPV6_L4 + 4,
                            4 + sizes[i]);
    }
    struct frame bad;
    frame_icmpv6(&bad, &bench_client6, &bench_us6, 64, 128, 0, 1, SLICE_LITERAL("ping"));
    bad.bytes[AT_IPV6_L4 + 9] ^= 1;
    expect_drop(bench, &bad, METRIC_NET_DROP_ICMP_CHECKSUM);
    frame_icmpv6(&bad, &bench_client6, &bench_us6, 64, 128, 0, 1, SLICE_LITERAL("ping"));
    bytes_write_be16(bad.bytes + AT_IPV6_LENGTH, 7);
    expect_drop(bench, &bad, METRIC_NET_DROP_ICMP_TRUNCATED);
    frame_icmpv6(&bad, &bench_client6, &bench_us6, 64, 129, 0, 1, SLICE_LITERAL("ping"));
    expect_drop(bench, &bad, METRIC_NET_DROP_ICMP_TYPE);
    frame_icmpv6(&bad, &bench_us6, &bench_us6, 64, 128, 0, 1, SLICE_LITERAL("ping"));
    memcpy(bad.bytes + 6, bench_client6.mac, 6);
    expect_drop(bench, &bad, METRIC_NET_DROP_IPV6_LAND);
    expect_quiet(bench);
}

/* A reply beyond the MTU leaves in fragments that pass every path. */
static void test_large_echo_leaves_in_fragments(void **state)
{
    struct bench *bench = *state;
    static uint8_t message[4008];
    struct frame echo, sent;
    memset(message, 'e', sizeof(message));
    frame_icmpv6(&echo, &bench_client6, &bench_us6, 64, 128, 0, 1, slice_of(message, 4000));
    memcpy(datagram, echo.bytes + AT_IPV6_L4, 4008);
    for (size_t at = 0; at < 4008; at += 1336) {
        struct frame frame = fragment_of(3, at, 1336, at + 1336 < 4008, 58);
        bench_feed(bench, &frame);
    }
    size_t got = 0;
    uint32_t identification = 0;
    while (bench_take(bench, &sent)) {
        assert_true(sent.size <= 14 + 1280);
        assert_int_equal(sent.bytes[AT_IPV6_NEXT], 44);
        const uint8_t *header = sent.bytes + AT_IPV6_L4;
        assert_int_equal(header[0], 58);
        assert_int_equal(bytes_read_be16(header + 2) & 0xfff8, got);
        identification = got == 0 ? bytes_read_be32(header + 4) : identification;
        assert_int_equal(bytes_read_be32(header + 4), identification);
        size_t part = sent.size - AT_IPV6_L4 - 8;
        memcpy(message + got, header + 8, part);
        got += part;
        assert_int_equal(bytes_read_be16(header + 2) & 1, got < 4008);
    }
    assert_int_equal(got, 4008);
    assert_int_equal(message[0], 129);
    assert_memory_equal(message + 8, datagram + 8, 4000);
    assert_int_equal(bench_count(bench, METRIC_NET_FRAGMENTS_SENT), 4);
}

/* An error that quotes a segment of ours. */
static struct frame error_about(uint8_t type, uint8_t code, uint32_t rest,
                                const struct station_ipv6 *quoted_from, size_t quoted_bytes)
{
    struct frame inner, error;
    struct tcp_fields tcp = {.sequence = 0xabcdef01, .flags = 0x10};
    frame_tcp_ipv6(&inner, quoted_from, &bench_far6, &tcp, SLICE_LITERAL("data"));
    frame_icmpv6(&error, &bench_gateway6, &bench_us6, 64, type, code, rest,
                 slice_of(inner.bytes + AT_IP, quoted_bytes));
    return error;
}

static void test_errors_are_noted(void **state)
{
    struct bench *bench = *state;
    static const struct {
        uint8_t type, code;
        enum icmp_notice_kind kind;
    } cases[] = {
        {1, 4, ICMP_NOTICE_NOBODY_THERE}, {1, 0, ICMP_NOTICE_OTHER},
        {3, 0, ICMP_NOTICE_OTHER},        {2, 0, ICMP_NOTICE_PACKET_TOO_BIG},
        {4, 0, ICMP_NOTICE_OTHER},        {4, 1, ICMP_NOTICE_NOBODY_THERE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct frame error = error_about(cases[i].type, cases[i].code, 1300, &bench_us6, 48);
        struct icmp_notice notice;
        bench_feed(bench, &error);
        assert_int_equal(net_take_icmp_notices(bench->net, &notice, 1), 1);
        assert_int_equal(notice.kind, cases[i].kind);
        assert_int_equal(notice.mtu, cases[i].type == 2 ? 1300 : 0);
        assert_int_equal(notice.protocol, 6);
        assert_memory_equal(notice.local.address.bytes, bench_us6.ipv6, 16);
        assert_memory_equal(notice.peer.address.bytes, bench_far6.ipv6, 16);
        assert_int_equal(notice.local.port, bench_us6.port);
        assert_int_equal(notice.peer.port, bench_far6.port);
        assert_int_equal(notice.sequence, 0xabcdef01);
    }
    assert_int_equal(bench_drop_count(bench), 0);
}

static void test_errors_that_are_dropped(void **state)
{
    struct bench *bench = *state;
    struct frame bad = error_about(2, 0, 1300, &bench_client6, 48);
    expect_drop(bench, &bad, METRIC_NET_DROP_ICMP_QUOTE); /* not from us */
    bad = error_about(2, 0, 1300, &bench_us6, 47);
    expect_drop(bench, &bad, METRIC_NET_DROP_ICMP_QUOTE); /* too short */
    bad = error_about(2, 0, 1300, &bench_us6, 0);
    expect_drop(bench, &bad, METRIC_NET_DROP_ICMP_QUOTE);
    expect_quiet(bench);
}

static void test_port_unreachable(void **state)
{
    struct bench *bench = *state;
    struct station_ipv6 closed = bench_us6;
    struct udp_datagram out[1];
    struct frame frame, sent;
    closed.port = 9;
    bench->now.mono_us += 1000000;
    static uint8_t large[1400];
    frame_udp_ipv6(&frame, &bench_client6, &closed, &plain, slice_of(large, sizeof(large)));
    bench_feed(bench, &frame);
    assert_int_equal(udp_input_batch(bench->udp, bench->datagrams, 1, &bench->now, out), 0);
    assert_true(bench_take(bench, &sent));
    assert_int_equal(sent.bytes[AT_IPV6_L4], 1);
    assert_int_equal(sent.bytes[AT_IPV6_L4 + 1], 4);
    assert_int_equal(sent.size, 14 + 1280); /* and not more */
    assert_memory_equal(sent.bytes + AT_IPV6_L4 + 8, frame.bytes + AT_IP, 1280 - 48);
    assert_int_equal(bench_count(bench, METRIC_NET_ICMP_ERRORS_SENT), 1);
    for (uint32_t i = 0; i < 1000; i++) {
        bench_feed(bench, &frame);
        udp_input_batch(bench->udp, bench->datagrams, 1, &bench->now, out);
        bench_discard_tx(bench);
    }
    assert_true(bench_count(bench, METRIC_NET_ICMP_ERRORS_SENT) <= 101);
}

/* ---- UDP and routes ----------------------------------------------------------------------------
 */

static void test_udp_needs_its_checksum(void **state)
{
    struct bench *bench = *state;
    struct udp_datagram out[1];
    struct frame frame = good_frame();
    bench_feed(bench, &frame);
    assert_int_equal(udp_input_batch(bench->udp, bench->datagrams, 1, &bench->now, out), 1);
    struct byte_queue none;
    byte_queue_init(&none);
    assert_int_equal(udp_payload_bytes_max(&out[0]), 1232);
    udp_lend_packet(&out[0], &none, 6, 0);
    udp_reply(bench->udp, &out[0], SLICE_LITERAL("answer"), &none, 0, 0);
    struct frame sent;
    assert_true(bench_take(bench, &sent));
    assert_memory_equal(sent.bytes, bench_client6.mac, 6);
    assert_memory_equal(sent.bytes + AT_IPV6_DESTINATION, bench_client6.ipv6, 16);
    assert_memory_equal(sent.bytes + AT_IPV6_L4 + 8, "answer", 6);
    bytes_write_be16(frame.bytes + AT_IPV6_L4 + 6, 0);
    bench_feed(bench, &frame);
    assert_int_equal(udp_input_batch(bench->udp, bench->datagrams, 1, &bench->now, out), 0);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_UDP_CHECKSUM), 1);
}

static void test_offloads_are_asked_for(void **state)
{
    (void)state;
    struct net_interface *description = bench_description_ipv6();
    description->tx_ipv4_checksum = description->tx_udp_checksum = true;
    struct bench *bench = bench_create(description);
    bench_discard_tx(bench);
    struct udp_datagram out[1];
    struct byte_queue none;
    struct frame frame = good_frame();
    byte_queue_init(&none);
    bench_feed(bench, &frame);
    assert_int_equal(udp_input_batch(bench->udp, bench->datagrams, 1, &bench->now, out), 1);
    udp_lend_packet(&out[0], &none, 6, 0);
    udp_reply(bench->udp, &out[0], SLICE_LITERAL("answer"), &none, 0, 0);
    assert_int_equal(bench->interface->tx_count, 1);
    const struct rte_mbuf *mbuf = bench->interface->tx[0];
    assert_int_equal(mbuf->ol_flags, RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_UDP_CKSUM);
    assert_int_equal(mbuf->l2_len, 14);
    assert_int_equal(mbuf->l3_len, 40);
    bench_discard_tx(bench);
    bench_destroy(bench);
}

static void test_routes(void **state)
{
    struct bench *bench = *state;
    struct address source, near = address_of(&bench_client6), far = address_of(&bench_far6);
    struct address ours = address_of(&bench_us6), gateway = address_of(&bench_gateway6);
    assert_ptr_equal(net_route(bench->net, &near, &source), bench->interface);
    assert_true(address_equal(&source, &ours));
    assert_ptr_equal(net_route(bench->net, &far, &source), bench->interface);
    assert_true(
        address_equal(&source, &ours)); /* good beyond the link, though the gateway is not */
    assert_ptr_equal(net_route(bench->net, &gateway, &source), bench->interface);
    assert_true(address_is_link_local(&source));
    static const char *const nowhere[] = {"::", "::1", "ff02::1", "fd00::2"};
    for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
        struct address to;
        assert_true(address_parse(slice_of_string(nowhere[i]), &to));
        assert_null(net_route(bench->net, &to, &source));
    }
}

/* ---- noise -------------------------------------------------------------------------------------
 */

/* Every frame cut at every byte and with every bit turned: nothing crashes, all buffers come back.
 */
static void test_damage(void **state)
{
    struct bench *bench = *state;
    struct frame frames[6];
    size_t size = compose_datagram(100);
    frames[0] = good_frame();
    frames[1] = frame_with(0, SLICE_LITERAL("\x3c\0\x05\x02\0\0\x01\0\x11\0\x01\x04\0\0\0\0"));
    frames[2] = fragment_of(5, 0, size - size % 8, true, 17);
    frames[3] = error_about(2, 0, 1300, &bench_us6, 60);
    frames[4] = frame_with(44, SLICE_LITERAL("\x11\0\0\0\0\0\0\1"));
    frame_nd(&frames[5], 135, &bench_client6, &bench_us6, bench_us6.ipv6, 0, bench_client6.mac);
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        for (size_t cut = 1; cut < frames[i].size; cut++) {
            struct frame frame = frames[i];
            frame.size = cut;
            bench_feed(bench, &frame);
        }
        for (size_t bit = 0; bit < frames[i].size * 8; bit++) {
            struct frame frame = frames[i];
            struct icmp_notice notices[8];
            frame.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
            bench->now.mono_us += 100000;
            net_run_timers(bench->net, &bench->now);
            bench_feed(bench, &frame);
            bench_discard_tx(bench);
            net_take_icmp_notices(bench->net, notices, 8);
        }
    }
}

int main(void)
{
    bench_start_eal();
#define BENCH_TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup_ipv6, bench_teardown)
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_datagram_is_described),
        BENCH_TEST(test_header_rules),
        BENCH_TEST(test_impossible_sources),
        BENCH_TEST(test_groups),
        BENCH_TEST(test_link_local_address_is_made),
        cmocka_unit_test(test_one_family_alone),
        BENCH_TEST(test_headers_that_are_passed_over),
        BENCH_TEST(test_headers_that_are_refused),
        BENCH_TEST(test_chain_is_bounded),
        BENCH_TEST(test_what_is_told),
        BENCH_TEST(test_fragments_of_every_size),
        BENCH_TEST(test_fragments_in_any_order),
        BENCH_TEST(test_fragments_that_are_refused),
        BENCH_TEST(test_headers_inside_fragments),
        BENCH_TEST(test_fragments_time_out),
        BENCH_TEST(test_echo),
        BENCH_TEST(test_large_echo_leaves_in_fragments),
        BENCH_TEST(test_errors_are_noted),
        BENCH_TEST(test_errors_that_are_dropped),
        BENCH_TEST(test_port_unreachable),
        BENCH_TEST(test_udp_needs_its_checksum),
        BENCH_TEST(test_offloads_are_asked_for),
        BENCH_TEST(test_routes),
        BENCH_TEST(test_damage),
    };
    return cmocka_run_group_tests_name("ipv6", tests, NULL, NULL);
}
