/* IPv4: what is let in, every reason to drop, routes, offloads, and what goes out byte by byte. */
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

static struct frame good_frame(void)
{
    struct frame frame;
    frame_udp(&frame, &bench_client, &bench_us, SLICE_LITERAL("payload"));
    return frame;
}

/* ---- input
 * --------------------------------------------------------------------------------------- */

static void test_datagram_is_described(void **state)
{
    struct bench *bench = *state;
    struct frame frame = good_frame();
    expect_up(bench, &frame, "payload");
    const struct ip_datagram *datagram = &bench->datagrams[0];
    assert_ptr_equal(datagram->interface, bench->interface);
    assert_int_equal(datagram->protocol, 17);
    assert_true(address_is_ipv4(&datagram->source) && address_is_ipv4(&datagram->destination));
    assert_int_equal(address_to_ipv4(&datagram->source), bench_client.ipv4);
    assert_int_equal(address_to_ipv4(&datagram->destination), bench_us.ipv4);
    assert_memory_equal(datagram->source_mac.addr_bytes, bench_client.mac, 6);
    assert_int_equal(datagram->mbuf->l3_len, 20);
}

static void test_link_padding_is_cut_off(void **state)
{
    struct bench *bench = *state;
    struct frame frame = good_frame();
    memset(frame.bytes + frame.size, 0xee, 60 - frame.size);
    frame.size = 60;
    expect_up(bench, &frame, "payload");
}

static void test_header_lengths(void **state)
{
    struct bench *bench = *state;
    struct frame good = good_frame(), bad = good;
    bad.size = AT_IP + 19;
    expect_drop(bench, &bad, METRIC_NET_DROP_IP_TRUNCATED);
    bad = good;
    bad.size--;
    expect_drop(bench, &bad, METRIC_NET_DROP_IP_TRUNCATED);
    bad = good;
    bad.bytes[AT_IP] = 0x65;
    expect_drop(bench, &bad, METRIC_NET_DROP_IP_VERSION);
    for (uint8_t words = 0; words < 5; words++) {
        bad.bytes[AT_IP] = 0x40 | words;
        expect_drop(bench, &bad, METRIC_NET_DROP_IP_HEADER_LENGTH);
    }
    for (uint16_t total = 0; total < 20; total++) {
        bad = good;
        bytes_write_be16(bad.bytes + AT_IP_TOTAL, total);
        frame_seal_ipv4(&bad);
        expect_drop(bench, &bad, METRIC_NET_DROP_IP_TOTAL_LENGTH);
    }
    bad = good;
    bad.bytes[AT_IP] = 0x4f; /* 60 bytes of header in 35 of packet */
    expect_drop(bench, &bad, METRIC_NET_DROP_IP_TOTAL_LENGTH);
    bad = good;
    bytes_write_be16(bad.bytes + AT_IP_TOTAL, 0xffff);
    frame_seal_ipv4(&bad);
    expect_drop(bench, &bad, METRIC_NET_DROP_IP_TRUNCATED);
}

static void test_every_flipped_header_bit_is_noticed(void **state)
{
    struct bench *bench = *state;
    struct frame good = good_frame();
    for (size_t bit = 0; bit < 20 * 8; bit++) {
        struct frame bad = good;
        bad.bytes[AT_IP + bit / 8] ^= (uint8_t)(1 << bit % 8);
        uint64_t total = bench_drop_count(bench);
        bench_feed(bench, &bad);
        assert_int_equal(bench->datagram_count, 0);
        assert_int_equal(bench_drop_count(bench), total + 1);
    }
}

static void feed_with_flags(struct bench *bench, const struct frame *frame, uint64_t flags)
{
    struct rte_mbuf *mbuf = frame_to_mbuf(frame, bench->pool, 0);
    mbuf->ol_flags |= flags;
    bench_feed_mbufs(bench, &mbuf, 1);
}

static void test_checksum_flags_count_only_if_the_port_promises(void **state)
{
    struct bench *bench = *state;
    struct frame good = good_frame(), bad = good;
    bad.bytes[AT_IP_CHECKSUM] ^= 1;
    expect_drop(bench, &bad, METRIC_NET_DROP_IP_CHECKSUM);
    feed_with_flags(bench, &bad, RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_IP_CHECKSUM), 2);
    feed_with_flags(bench, &good, RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_GOOD);
    assert_int_equal(bench->datagram_count, 1);
    assert_true((bench->datagrams[0].mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == 0);

    bench->interface->rx_checksum = true;
    feed_with_flags(bench, &bad, RTE_MBUF_F_RX_IP_CKSUM_GOOD);
    assert_int_equal(bench->datagram_count, 1);
    feed_with_flags(bench, &good, RTE_MBUF_F_RX_IP_CKSUM_BAD);
    assert_int_equal(bench->datagram_count, 0);
    feed_with_flags(bench, &bad, RTE_MBUF_F_RX_IP_CKSUM_UNKNOWN);
    assert_int_equal(bench->datagram_count, 0);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_IP_CHECKSUM), 4);
}

static void test_time_to_live(void **state)
{
    struct bench *bench = *state;
    struct frame frame = good_frame();
    frame.bytes[AT_IP_TTL] = 1;
    frame_seal_ipv4(&frame);
    expect_up(bench, &frame, "payload");
    frame.bytes[AT_IP_TTL] = 0;
    frame_seal_ipv4(&frame);
    expect_drop(bench, &frame, METRIC_NET_DROP_IP_TTL);
}

static void test_impossible_sources(void **state)
{
    struct bench *bench = *state;
    static const uint32_t sources[] = {
        IPV4(0, 0, 0, 0),         IPV4(0, 1, 2, 3),         IPV4(127, 0, 0, 1),
        IPV4(127, 255, 255, 255), IPV4(224, 0, 0, 1),       IPV4(239, 255, 255, 255),
        IPV4(240, 0, 0, 1),       IPV4(255, 255, 255, 255), IPV4(198, 18, 0, 255),
    };
    struct frame frame = good_frame();
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        bytes_write_be32(frame.bytes + AT_IP_SOURCE, sources[i]);
        frame_seal_ipv4(&frame);
        expect_drop(bench, &frame, METRIC_NET_DROP_IP_SOURCE);
    }
    bytes_write_be32(frame.bytes + AT_IP_SOURCE, bench_us.ipv4);
    frame_seal_ipv4(&frame);
    expect_drop(bench, &frame, METRIC_NET_DROP_IP_LAND);
}

static void test_destinations(void **state)
{
    struct bench *bench = *state;
    static const uint32_t destinations[] = {IPV4(198, 18, 0, 3),      IPV4(198, 18, 0, 255),
                                            IPV4(255, 255, 255, 255), IPV4(224, 0, 0, 1),
                                            IPV4(127, 0, 0, 1),       0};
    struct frame frame = good_frame();
    for (size_t i = 0; i < sizeof(destinations) / sizeof(destinations[0]); i++) {
        bytes_write_be32(frame.bytes + AT_IP_DESTINATION, destinations[i]);
        frame_seal_ipv4(&frame);
        expect_drop(bench, &frame, METRIC_NET_DROP_IP_NOT_OURS);
    }
    frame = good_frame();
    memset(frame.bytes, 0xff, 6); /* unicast in a broadcast frame (RFC 1122 3.3.6) */
    expect_drop(bench, &frame, METRIC_NET_DROP_IP_LINK_BROADCAST);
    assert_int_equal(bench->interface->tx_count, 0);
}

static void feed_options(struct bench *bench, struct slice options, enum metric reason)
{
    uint8_t datagram[64];
    size_t size =
        udp_datagram_compose(datagram, &bench_client, &bench_us, SLICE_LITERAL("payload"));
    struct frame frame;
    struct ipv4_fields fields = {.protocol = 17, .options = options};
    frame_ipv4(&frame, &bench_client, &bench_us, &fields, slice_of(datagram, size));
    if (reason == METRIC_COUNT) {
        expect_up(bench, &frame, "payload");
    } else {
        expect_drop(bench, &frame, reason);
    }
}

static void test_options(void **state)
{
    struct bench *bench = *state;
    feed_options(bench, SLICE_LITERAL("\x01\x01\x01\x00"), METRIC_COUNT);
    feed_options(bench, SLICE_LITERAL("\x94\x04\x00\x00"), METRIC_COUNT); /* router alert */
    feed_options(bench, SLICE_LITERAL("\x00\x83\xff\xff"), METRIC_COUNT); /* behind the end */
    feed_options(bench, SLICE_LITERAL("\x07\x07\x04\0\0\0\0\x01"), METRIC_COUNT); /* record route */
    uint8_t most[40];
    memset(most, 1, sizeof(most));
    feed_options(bench, slice_of(most, sizeof(most)), METRIC_COUNT);
    feed_options(bench, SLICE_LITERAL("\x83\x07\x04\0\0\0\0\0"), METRIC_NET_DROP_IP_SOURCE_ROUTE);
    feed_options(bench, SLICE_LITERAL("\x89\x07\x04\0\0\0\0\0"), METRIC_NET_DROP_IP_SOURCE_ROUTE);
    feed_options(bench, SLICE_LITERAL("\x01\x01\x01\x83"), METRIC_NET_DROP_IP_SOURCE_ROUTE);
    feed_options(bench, SLICE_LITERAL("\x07\x00\x00\x00"), METRIC_NET_DROP_IP_OPTIONS);
    feed_options(bench, SLICE_LITERAL("\x07\x01\x00\x00"), METRIC_NET_DROP_IP_OPTIONS);
    feed_options(bench, SLICE_LITERAL("\x07\x05\x00\x00"), METRIC_NET_DROP_IP_OPTIONS);
    feed_options(bench, SLICE_LITERAL("\x01\x01\x01\x07"), METRIC_NET_DROP_IP_OPTIONS);
}

static void test_unknown_protocol_is_refused(void **state)
{
    struct bench *bench = *state;
    struct frame frame, sent;
    struct ipv4_fields fields = {.protocol = 132, .identification = 0x1234};
    bench->now.mono_us += 1000000;
    frame_ipv4(&frame, &bench_client, &bench_us, &fields, SLICE_LITERAL("some data"));
    expect_drop(bench, &frame, METRIC_NET_DROP_IP_PROTOCOL);
    assert_true(bench_take(bench, &sent));
    assert_int_equal(sent.bytes[AT_IP_PROTOCOL], 1);
    assert_int_equal(sent.bytes[AT_L4], 3);
    assert_int_equal(sent.bytes[AT_L4 + 1], 2);
    assert_memory_equal(sent.bytes + AT_L4 + 8, frame.bytes + AT_IP, frame.size - AT_IP);
}

/* Whose frame the one before was makes no difference to what is let in. */
static void test_senders_of_a_burst(void **state)
{
    struct bench *bench = *state;
    struct station nobody = {.port = 1}, loopback = bench_client, us = bench_client;
    struct station group = bench_client, moved = bench_client;
    loopback.ipv4 = 0x7f000001;
    us.ipv4 = bench_us.ipv4;
    group.mac[0] |= 1;
    memcpy(moved.mac, bench_us.mac, sizeof(moved.mac));
    const struct {
        const struct station *from;
        bool let_in;
    } steps[] = {{&nobody, false},       {&bench_client, true}, {&bench_client, true},
                 {&group, false},        {&bench_client, true}, {&loopback, false},
                 {&loopback, false},     {&moved, false},       {&bench_other, true},
                 {&bench_client, true},  {&us, false},          {&nobody, false},
                 {&bench_gateway, true}, {&nobody, false}};
    enum { STEPS = sizeof(steps) / sizeof(steps[0]) };
    struct rte_mbuf *mbufs[STEPS];
    for (size_t i = 0; i < STEPS; i++) {
        struct frame frame;
        struct tcp_fields fields = {.flags = 0x10};
        frame_tcp(&frame, steps[i].from, &bench_us, &fields, slice_of(NULL, 0));
        mbufs[i] = frame_to_mbuf(&frame, bench->pool, 0);
    }
    bench_feed_mbufs(bench, mbufs, STEPS);
    uint32_t let_in = 0;
    for (size_t i = 0; i < STEPS; i++) {
        if (steps[i].let_in) {
            const struct ip_datagram *datagram = &bench->datagrams[let_in++];
            struct address source = address_from_ipv4(steps[i].from->ipv4);
            assert_true(address_equal(&datagram->source, &source));
            assert_memory_equal(&datagram->source_mac, steps[i].from->mac, 6);
        }
    }
    assert_int_equal(bench->datagram_count, let_in);
}

static void test_batches_of_any_size(void **state)
{
    struct bench *bench = *state;
    struct frame good = good_frame(), bad = good;
    bad.bytes[AT_IP_CHECKSUM] ^= 1;
    static struct rte_mbuf *mbufs[200];
    static struct ip_datagram datagrams[200];
    for (uint32_t count = 0; count <= 200; count += 50) {
        for (uint32_t i = 0; i < count; i++) {
            mbufs[i] = frame_to_mbuf(i % 3 == 0 ? &bad : &good, bench->pool, 0);
        }
        uint32_t up =
            net_input_batch(bench->net, bench->interface, mbufs, count, &bench->now, datagrams);
        assert_int_equal(up, count - (count + 2) / 3);
        for (uint32_t i = 0; i < up; i++) {
            rte_pktmbuf_free(datagrams[i].mbuf);
        }
    }
}

/* ---- output
 * -------------------------------------------------------------------------------------- */

static struct rte_mbuf *l4_packet(struct bench *bench, uint16_t size)
{
    uint8_t datagram[10000];
    static uint8_t payload[9900];
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t)(i * 13);
    }
    udp_datagram_compose(datagram, &bench_us, &bench_client, slice_of(payload, size - 8U));
    struct rte_mbuf *mbuf =
        size <= 2000 ? net_allocate(bench->net) : net_allocate_large(bench->net);
    assert_non_null(mbuf);
    memcpy(rte_pktmbuf_append(mbuf, size), datagram, size);
    return mbuf;
}

static void send_to_station(struct bench *bench, uint8_t protocol, struct rte_mbuf *mbuf)
{
    struct address from = address_from_ipv4(bench_us.ipv4);
    struct address to = address_from_ipv4(bench_client.ipv4);
    struct rte_ether_addr station;
    memcpy(station.addr_bytes, bench_client.mac, 6);
    ip_output_to_station(bench->net, bench->interface, &from, &to, protocol, &station, mbuf);
}

static void test_header_byte_by_byte(void **state)
{
    struct bench *bench = *state;
    struct frame sent;
    send_to_station(bench, 17, l4_packet(bench, 12));
    assert_true(bench_take(bench, &sent));
    static const uint8_t expected[] = {0x45, 0, 0, 32, 0, 0, 0x40, 0, 64, 17};
    assert_int_equal(sent.size, 14 + 32);
    assert_memory_equal(sent.bytes, bench_client.mac, 6);
    assert_memory_equal(sent.bytes + 6, bench_us.mac, 6);
    assert_memory_equal(sent.bytes + AT_IP, expected, sizeof(expected));
    assert_int_equal(bytes_read_be32(sent.bytes + AT_IP_SOURCE), bench_us.ipv4);
    assert_int_equal(bytes_read_be32(sent.bytes + AT_IP_DESTINATION), bench_client.ipv4);
}

static void test_offloads_are_asked_for(void **state)
{
    struct bench *bench = *state;
    bench->interface->tx_ipv4_checksum = true;
    bench->interface->tx_tcp_checksum = true;
    send_to_station(bench, 6, l4_packet(bench, 40));
    struct rte_mbuf *mbuf = bench->interface->tx[0];
    assert_true(mbuf->ol_flags ==
                (RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_CKSUM));
    assert_int_equal(mbuf->l2_len, 14);
    assert_int_equal(mbuf->l3_len, 20);
    assert_int_equal(bytes_read_be16(rte_pktmbuf_mtod(mbuf, uint8_t *) + AT_IP_CHECKSUM), 0);
    bench_discard_tx(bench);
    bench->interface->tx_ipv4_checksum = false;
    send_to_station(bench, 17, l4_packet(bench, 40));
    assert_true(bench->interface->tx[0]->ol_flags == 0);
    bench_discard_tx(bench);
    bench->interface->tx_udp_checksum = true;
    send_to_station(bench, 17, l4_packet(bench, 40));
    assert_true(bench->interface->tx[0]->ol_flags ==
                (RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM));
    bench_discard_tx(bench);
}

static void test_too_large_datagram_leaves_in_fragments(void **state)
{
    struct bench *bench = *state;
    struct rte_mbuf *mbuf = l4_packet(bench, 5000);
    uint8_t whole[5000], got[5000];
    memcpy(whole, rte_pktmbuf_mtod(mbuf, uint8_t *), sizeof(whole));
    send_to_station(bench, 17, mbuf);
    assert_int_equal(bench->interface->tx_count, 4);
    assert_int_equal(bench_count(bench, METRIC_NET_FRAGMENTS_SENT), 4);
    struct frame sent;
    size_t at = 0;
    uint16_t identification = 0;
    while (bench_take(bench, &sent)) {
        uint16_t fragment = bytes_read_be16(sent.bytes + AT_IP_FRAGMENT);
        size_t size = sent.size - AT_L4;
        assert_true(sent.size <= 1514);
        assert_int_equal((fragment & 0x1fff) * 8, at);
        assert_int_equal(fragment & 0xe000, at + size == 5000 ? 0 : 0x2000);
        assert_true(at == 0 || identification == bytes_read_be16(sent.bytes + AT_IP + 4));
        identification = bytes_read_be16(sent.bytes + AT_IP + 4);
        memcpy(got + at, sent.bytes + AT_L4, size);
        at += size;
    }
    assert_int_equal(at, 5000);
    assert_memory_equal(got, whole, 5000);
    /* Another datagram has another identification, or a receiver would mix them. */
    send_to_station(bench, 17, l4_packet(bench, 5000));
    assert_true(bench_take(bench, &sent));
    assert_int_not_equal(identification, bytes_read_be16(sent.bytes + AT_IP + 4));
    bench_discard_tx(bench);
    /* TCP never exceeds the MTU: a packet that does is not fragmented. */
    send_to_station(bench, 6, l4_packet(bench, 1481));
    assert_int_equal(bench->interface->tx_count, 0);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_IP_TOO_BIG), 1);
    send_to_station(bench, 6, l4_packet(bench, 1480));
    assert_int_equal(bench->interface->tx_count, 1);
    bench_discard_tx(bench);
}

static void output_to(struct bench *bench, uint32_t ipv4)
{
    struct address from = address_from_ipv4(bench_us.ipv4), to = address_from_ipv4(ipv4);
    ip_output(bench->net, bench->interface, &from, &to, 17, l4_packet(bench, 20), &bench->now);
}

static void test_destinations_without_route(void **state)
{
    struct bench *bench = *state;
    static const uint32_t nowhere[] = {0,
                                       IPV4(127, 0, 0, 1),
                                       IPV4(224, 0, 0, 5),
                                       IPV4(255, 255, 255, 255),
                                       IPV4(198, 18, 0, 255),
                                       IPV4(198, 18, 0, 2)};
    for (uint64_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
        output_to(bench, nowhere[i]);
        assert_int_equal(bench_count(bench, METRIC_NET_DROP_NO_ROUTE), i + 1);
    }
    struct address from = address_from_ipv4(bench_us.ipv4), ipv6;
    assert_true(address_parse(SLICE_LITERAL("2001:db8::1"), &ipv6));
    ip_output(bench->net, bench->interface, &from, &ipv6, 17, l4_packet(bench, 20), &bench->now);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_NO_ROUTE), 7);
    send_to_station(bench, 17, l4_packet(bench, 20));
    bench_discard_tx(bench);
}

static void test_routes(void **state)
{
    (void)state;
    struct net_interface *description = bench_description();
    description->addresses.gateway_count = 0;
    struct bench *bench = bench_create(description);
    struct net_interface *first = bench->interface, *second;
    struct address far = address_from_ipv4(bench_far.ipv4);
    struct address source, near = address_from_ipv4(bench_client.ipv4);
    assert_ptr_equal(net_route(bench->net, &near, &source), first);
    assert_int_equal(address_to_ipv4(&source), bench_us.ipv4);
    assert_null(net_route(bench->net, &far, &source));
    output_to(bench, bench_far.ipv4);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_NO_ROUTE), 1);

    description = bench_description();
    description->addresses.at[0].address = address_from_ipv4(IPV4(198, 18, 0, 130));
    description->addresses.at[0].prefix_length = 25;
    description->addresses.gateways[0] = address_from_ipv4(IPV4(198, 18, 0, 129));
    second = net_add_interface(bench->net, description, &bench->now);
    assert_ptr_equal(net_interface_at(bench->net, 0), first);
    assert_ptr_equal(net_interface_at(bench->net, 1), second);
    assert_null(net_interface_at(bench->net, 2));
    assert_int_equal(second->index, 1);
    assert_ptr_equal(net_route(bench->net, &far, &source), second);
    assert_ptr_equal(net_route(bench->net, &near, &source), first);
    struct address upper = address_from_ipv4(IPV4(198, 18, 0, 200));
    assert_ptr_equal(net_route(bench->net, &upper, &source), second); /* the longer prefix */
    assert_ptr_equal(net_interface_of(bench->net, &second->addresses.at[0].address), second);
    assert_null(net_interface_of(bench->net, &near));
    assert_null(net_route(bench->net, &second->addresses.at[0].address, &source));
    struct address ipv6;
    assert_true(address_parse(SLICE_LITERAL("2001:db8::1"), &ipv6));
    assert_null(net_route(bench->net, &ipv6, &source));
    bench_destroy(bench);
}

/* Every address of an interface is as good as its first. */
static void test_several_addresses(void **state)
{
    (void)state;
    struct net_interface *description = bench_description();
    struct interface_addresses *addresses = &description->addresses;
    addresses->at[1] = (struct address_prefix){address_from_ipv4(IPV4(198, 20, 0, 5)), 16};
    addresses->at[2] = (struct address_prefix){address_from_ipv4(IPV4(198, 18, 0, 77)), 24};
    addresses->count = 3;
    struct bench *bench = bench_create(description);
    bench_discard_tx(bench);
    struct station second = bench_us, peer = {{2, 0, 0, 0, 0, 0x20}, IPV4(198, 20, 9, 9), 700};
    struct frame frame;
    second.ipv4 = IPV4(198, 20, 0, 5);
    frame_udp(&frame, &peer, &second, SLICE_LITERAL("payload"));
    expect_up(bench, &frame, "payload");
    second.ipv4 = IPV4(198, 18, 0, 77);
    frame_udp(&frame, &bench_client, &second, SLICE_LITERAL("payload"));
    expect_up(bench, &frame, "payload");
    /* Asked for by ARP; from ourselves, the network's last address, and another's: none is taken.
     */
    frame_arp(&frame, 1, &bench_client, &second);
    bench_feed(bench, &frame);
    assert_true(bench_take(bench, &frame));
    assert_int_equal(bytes_read_be32(frame.bytes + AT_ARP + 14), second.ipv4);
    struct station other = bench_us;
    other.ipv4 = IPV4(198, 20, 0, 6);
    frame_udp(&frame, &peer, &other, SLICE_LITERAL("payload"));
    expect_drop(bench, &frame, METRIC_NET_DROP_IP_NOT_OURS);
    frame_udp(&frame, &peer, &second, SLICE_LITERAL("payload"));
    bytes_write_be32(frame.bytes + AT_IP_SOURCE, IPV4(198, 20, 0, 5));
    frame_seal_ipv4(&frame);
    expect_drop(bench, &frame, METRIC_NET_DROP_IP_LAND);
    frame_udp(&frame, &peer, &second, SLICE_LITERAL("payload"));
    bytes_write_be32(frame.bytes + AT_IP_SOURCE, IPV4(198, 20, 255, 255));
    frame_seal_ipv4(&frame);
    expect_drop(bench, &frame, METRIC_NET_DROP_IP_SOURCE);
    /* Each network is spoken to from the address that lies in it. */
    struct address source, to = address_from_ipv4(IPV4(198, 20, 1, 1));
    assert_ptr_equal(net_route(bench->net, &to, &source), bench->interface);
    assert_int_equal(address_to_ipv4(&source), IPV4(198, 20, 0, 5));
    to = address_from_ipv4(bench_far.ipv4);
    assert_ptr_equal(net_route(bench->net, &to, &source), bench->interface);
    assert_int_equal(address_to_ipv4(&source), bench_us.ipv4);
    output_to(bench, IPV4(198, 20, 1, 1));
    assert_true(bench_take(bench, &frame));
    assert_int_equal(bytes_read_be32(frame.bytes + AT_ARP + 14), IPV4(198, 20, 0, 5));
    assert_int_equal(bytes_read_be32(frame.bytes + AT_ARP + 24), IPV4(198, 20, 1, 1));
    bench_destroy(bench);
}

static void test_narrow_prefixes(void **state)
{
    (void)state;
    for (uint8_t prefix = 31; prefix <= 32; prefix++) {
        struct net_interface *description = bench_description();
        description->addresses.at[0].prefix_length = prefix;
        struct bench *bench = bench_create(description);
        struct frame frame;
        struct station peer = {{2, 0, 0, 0, 0, 3}, IPV4(198, 18, 0, 3), 5};
        frame_udp(&frame, &peer, &bench_us, SLICE_LITERAL("payload"));
        expect_up(bench, &frame, "payload"); /* .3 is no broadcast here */
        bench_destroy(bench);
    }
}

int main(void)
{
    bench_start_eal();
#define BENCH_TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_datagram_is_described),
        BENCH_TEST(test_link_padding_is_cut_off),
        BENCH_TEST(test_header_lengths),
        BENCH_TEST(test_every_flipped_header_bit_is_noticed),
        BENCH_TEST(test_checksum_flags_count_only_if_the_port_promises),
        BENCH_TEST(test_time_to_live),
        BENCH_TEST(test_impossible_sources),
        BENCH_TEST(test_destinations),
        BENCH_TEST(test_options),
        BENCH_TEST(test_unknown_protocol_is_refused),
        BENCH_TEST(test_senders_of_a_burst),
        BENCH_TEST(test_batches_of_any_size),
        BENCH_TEST(test_header_byte_by_byte),
        BENCH_TEST(test_offloads_are_asked_for),
        BENCH_TEST(test_too_large_datagram_leaves_in_fragments),
        BENCH_TEST(test_destinations_without_route),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_several_addresses),
        cmocka_unit_test(test_narrow_prefixes),
    };
    return cmocka_run_group_tests_name("ip", tests, NULL, NULL);
}
