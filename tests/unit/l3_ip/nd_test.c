/* Neighbour discovery: what is answered, believed, refused and announced, and the way of a packet
 * to a neighbour. What IPv6 shares with ARP in the neighbour table, link_test.c has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/l2_link/link_internal.h"
#include "tests/support/net_bench.h"

#define SOLICITED 0x40000000U
#define OVERRIDE  0x20000000U

static const struct station_ipv6 all_nodes = {{0x33, 0x33, 0, 0, 0, 1}, {0xff, 2, [15] = 1}, 0};
static const struct station_ipv6 nobody = {{2, 0, 0, 0, 0, 9}, {0}, 0};

/* The solicited-node group of an address. */
static struct station_ipv6 group_of(const struct station_ipv6 *station)
{
    struct station_ipv6 group = {{0x33, 0x33, 0xff}, {0xff, 2, [11] = 1, [12] = 0xff}, 0};
    memcpy(group.mac + 3, station->ipv6 + 13, 3);
    memcpy(group.ipv6 + 13, station->ipv6 + 13, 3);
    return group;
}

static void expect_drop(struct bench *bench, const struct frame *frame, enum metric reason)
{
    uint64_t before = bench_count(bench, reason), total = bench_drop_count(bench);
    bench_feed(bench, frame);
    assert_int_equal(bench_count(bench, reason), before + 1);
    assert_int_equal(bench_drop_count(bench), total + 1);
    assert_int_equal(bench->interface->tx_count, 0);
}

/* A message of ours, whole. `option`: it names our MAC. */
static void expect_nd(struct bench *bench, uint8_t type, const uint8_t *source,
                      const struct station_ipv6 *to, const uint8_t *target, uint32_t flags,
                      bool option)
{
    struct frame sent;
    assert_true(bench_take(bench, &sent));
    assert_memory_equal(sent.bytes, to->mac, 6);
    assert_memory_equal(sent.bytes + 6, bench_us6.mac, 6);
    assert_int_equal(sent.size, AT_IPV6_L4 + (option ? 32 : 24));
    assert_int_equal(sent.bytes[AT_IPV6_HOP_LIMIT], 255);
    assert_memory_equal(sent.bytes + AT_IPV6_SOURCE, source, 16);
    assert_memory_equal(sent.bytes + AT_IPV6_DESTINATION, to->ipv6, 16);
    const uint8_t *message = sent.bytes + AT_IPV6_L4;
    assert_int_equal(message[0], type);
    assert_int_equal(message[1], 0);
    assert_int_equal(bytes_read_be32(message + 4), flags);
    assert_memory_equal(message + 8, target, 16);
    if (option) {
        assert_int_equal(message[24], type == 135 ? 1 : 2);
        assert_int_equal(message[25], 1);
        assert_memory_equal(message + 26, bench_us6.mac, 6);
    }
}

static void expect_quiet(struct bench *bench)
{
    assert_int_equal(bench->interface->tx_count, 0);
}

static struct address address_of(const struct station_ipv6 *station)
{
    struct address address;
    memcpy(address.bytes, station->ipv6, sizeof(address.bytes));
    return address;
}

static void send_to(struct bench *bench, const struct station_ipv6 *peer, const char *four)
{
    struct address source = address_of(&bench_us6), to = address_of(peer);
    uint8_t datagram[64];
    size_t size = udp_ipv6_compose(datagram, &bench_us6, peer, slice_of(four, 4));
    struct rte_mbuf *mbuf = net_allocate(bench->net);
    assert_non_null(mbuf);
    memcpy(rte_pktmbuf_append(mbuf, (uint16_t)size), datagram, size);
    ip_output(bench->net, bench->interface, &source, &to, 17, mbuf, &bench->now);
}

static void expect_packet(struct bench *bench, const uint8_t *mac, const char *four)
{
    struct frame sent;
    assert_true(bench_take(bench, &sent));
    assert_memory_equal(sent.bytes, mac, 6);
    assert_int_equal(bytes_read_be16(sent.bytes + AT_TYPE), 0x86dd);
    assert_memory_equal(sent.bytes + AT_IPV6_L4 + 8, four, 4);
}

static void solicit(struct bench *bench, const struct station_ipv6 *from)
{
    struct station_ipv6 group = group_of(&bench_us6);
    struct frame frame;
    frame_nd(&frame, 135, from, &group, bench_us6.ipv6, 0, from->mac);
    bench_feed(bench, &frame);
}

static void advertise(struct bench *bench, const struct station_ipv6 *from, uint32_t flags)
{
    struct frame frame;
    frame_nd(&frame, 136, from, flags & SOLICITED ? &bench_us6 : &all_nodes, from->ipv6, flags,
             from->mac);
    bench_feed(bench, &frame);
}

static void pass(struct bench *bench, uint64_t us)
{
    bench->now.mono_us += us;
    net_run_timers(bench->net, &bench->now);
}

/* A report of the groups of both our addresses, for switches. */
static void expect_report(struct bench *bench, uint8_t kind)
{
    static const uint8_t routers[16] = {0xff, 2, [15] = 0x16};
    struct frame sent;
    assert_true(bench_take(bench, &sent));
    assert_memory_equal(sent.bytes, "\x33\x33\0\0\0\x16", 6);
    assert_int_equal(sent.bytes[AT_IPV6_HOP_LIMIT], 1);
    assert_int_equal(sent.bytes[AT_IPV6_SOURCE], 0xfe);
    assert_memory_equal(sent.bytes + AT_IPV6_DESTINATION, routers, 16);
    assert_memory_equal(sent.bytes + AT_IPV6_L4 + 2, "\5\2\0\0", 4); /* router alert */
    const uint8_t *message = sent.bytes + AT_IPV6_L4 + 8;
    struct station_ipv6 group = group_of(&bench_us6);
    assert_int_equal(message[0], 143);
    assert_int_equal(bytes_read_be32(message + 4), 2);
    assert_int_equal(bytes_read_be32(message + 8), (uint32_t)kind << 24);
    assert_memory_equal(message + 12, group.ipv6, 16);
    assert_int_equal(bytes_read_be32(message + 28), (uint32_t)kind << 24);
    assert_int_equal(sent.size, AT_IPV6_L4 + 8 + 48);
}

/* ---- our own addresses -------------------------------------------------------------------------
 */

static void test_probes_and_announces(void **state)
{
    (void)state;
    struct net_interface *description = bench_description_ipv6();
    struct bench *bench = bench_create(description);
    struct station_ipv6 link_local = {
        {0}, {0xfe, 0x80, [8] = 2, [11] = 0xff, [12] = 0xfe, [15] = 2}, 0};
    struct station_ipv6 group = group_of(&bench_us6), router = group_of(&bench_gateway6);
    struct frame arp;
    assert_true(bench_take(bench, &arp));
    assert_int_equal(bytes_read_be16(arp.bytes + AT_TYPE), 0x0806);
    expect_nd(bench, 135, nobody.ipv6, &group, bench_us6.ipv6, 0, false);
    expect_nd(bench, 136, bench_us6.ipv6, &all_nodes, bench_us6.ipv6, OVERRIDE, true);
    group = group_of(&link_local);
    expect_nd(bench, 135, nobody.ipv6, &group, link_local.ipv6, 0, false);
    expect_nd(bench, 136, link_local.ipv6, &all_nodes, link_local.ipv6, OVERRIDE, true);
    expect_report(bench, 4);
    assert_true(bench_take(bench, &arp)); /* for IPv4's gateway */
    expect_nd(bench, 135, link_local.ipv6, &router, bench_gateway6.ipv6, 0, true);
    expect_quiet(bench);
    assert_int_equal(bench_count(bench, METRIC_NET_ND_SOLICITATIONS_SENT), 3);
    bench_destroy(bench);
    description->quiet = true;
    bench = bench_create(description);
    assert_int_equal(bench->interface->tx_count, 2); /* the gateways are asked for all the same */
    bench_destroy(bench);
}

static void test_solicitation_is_answered(void **state)
{
    struct bench *bench = *state;
    solicit(bench, &bench_client6);
    expect_nd(bench, 136, bench_us6.ipv6, &bench_client6, bench_us6.ipv6, SOLICITED | OVERRIDE,
              true);
    /* And teaches: no question is needed now. */
    send_to(bench, &bench_client6, "here");
    expect_packet(bench, bench_client6.mac, "here");
    /* To our MAC and address, whether we still live: needs no option. */
    struct frame frame;
    frame_nd(&frame, 135, &bench_client6, &bench_us6, bench_us6.ipv6, 0, NULL);
    bench_feed(bench, &frame);
    expect_nd(bench, 136, bench_us6.ipv6, &bench_client6, bench_us6.ipv6, SOLICITED | OVERRIDE,
              true);
    assert_int_equal(bench_drop_count(bench), 0);
}

/* Somebody probes for an address that is ours: everybody hears that it is taken (RFC 4862 5.4.3).
 */
static void test_probe_for_our_address_is_answered(void **state)
{
    struct bench *bench = *state;
    struct station_ipv6 group = group_of(&bench_us6);
    struct frame frame;
    frame_nd(&frame, 135, &nobody, &group, bench_us6.ipv6, 0, NULL);
    bench_feed(bench, &frame);
    expect_nd(bench, 136, bench_us6.ipv6, &all_nodes, bench_us6.ipv6, OVERRIDE, true);
    assert_int_equal(bench_drop_count(bench), 0);
    frame_nd(&frame, 135, &nobody, &group, bench_us6.ipv6, 0, nobody.mac);
    expect_drop(bench, &frame, METRIC_NET_DROP_ND_SENDER); /* who has no address names no MAC */
    frame_nd(&frame, 135, &nobody, &all_nodes, bench_us6.ipv6, 0, NULL);
    expect_drop(bench, &frame, METRIC_NET_DROP_ND_SENDER);
}

static void test_our_address_is_defended(void **state)
{
    struct bench *bench = *state;
    struct station_ipv6 thief = bench_us6;
    thief.mac[5] = 0x66;
    advertise(bench, &thief, OVERRIDE);
    expect_nd(bench, 136, bench_us6.ipv6, &all_nodes, bench_us6.ipv6, OVERRIDE, true);
    for (uint32_t i = 0; i < 20; i++) {
        advertise(bench, &thief, OVERRIDE);
        solicit(bench, &thief);
    }
    expect_quiet(bench); /* not more often than every ten seconds */
    assert_int_equal(bench_count(bench, METRIC_NET_ND_CONFLICTS), 41);
    pass(bench, 10000000);
    bench_discard_tx(bench);
    advertise(bench, &thief, OVERRIDE);
    expect_nd(bench, 136, bench_us6.ipv6, &all_nodes, bench_us6.ipv6, OVERRIDE, true);
    /* It stays ours. */
    solicit(bench, &bench_client6);
    expect_nd(bench, 136, bench_us6.ipv6, &bench_client6, bench_us6.ipv6, SOLICITED | OVERRIDE,
              true);
}

/* ---- what is refused ---------------------------------------------------------------------------
 */

static void test_messages_that_are_refused(void **state)
{
    struct bench *bench = *state;
    struct station_ipv6 group = group_of(&bench_us6), stranger = bench_far6;
    struct frame good, bad;
    frame_nd(&good, 135, &bench_client6, &group, bench_us6.ipv6, 0, bench_client6.mac);
    bad = good;
    bad.bytes[AT_IPV6_HOP_LIMIT] = 254;
    expect_drop(bench, &bad, METRIC_NET_DROP_ND_HOP_LIMIT);
    bad = good;
    bad.bytes[AT_IPV6_L4 + 2] ^= 1;
    expect_drop(bench, &bad, METRIC_NET_DROP_ICMP_CHECKSUM);
    frame_nd(&bad, 135, &bench_client6, &group, bench_us6.ipv6, 0, bench_other6.mac);
    expect_drop(bench, &bad, METRIC_NET_DROP_ND_SENDER);
    frame_nd(&bad, 135, &stranger, &group, bench_us6.ipv6, 0, stranger.mac);
    expect_drop(bench, &bad, METRIC_NET_DROP_ND_SENDER);
    frame_nd(&bad, 135, &bench_client6, &group, bench_us6.ipv6, 0, NULL);
    expect_drop(bench, &bad, METRIC_NET_DROP_ND_SENDER);
    frame_nd(&bad, 135, &bench_client6, &bench_us6, bench_other6.ipv6, 0, bench_client6.mac);
    expect_drop(bench, &bad, METRIC_NET_DROP_ND_NOT_OURS);
    frame_nd(&bad, 135, &bench_client6, &group, group.ipv6, 0, bench_client6.mac);
    expect_drop(bench, &bad, METRIC_NET_DROP_ND_MALFORMED);
    frame_nd(&bad, 136, &bench_client6, &all_nodes, bench_client6.ipv6, SOLICITED,
             bench_client6.mac);
    expect_drop(bench, &bad, METRIC_NET_DROP_ND_SENDER); /* asked for, and sent to all */
    frame_icmpv6(&bad, &bench_client6, &bench_us6, 255, 135, 1, 0,
                 slice_of(bench_us6.ipv6, 16)); /* a code */
    expect_drop(bench, &bad, METRIC_NET_DROP_ND_MALFORMED);
    frame_icmpv6(&bad, &bench_client6, &bench_us6, 255, 135, 0, 0, slice_of(bench_us6.ipv6, 15));
    expect_drop(bench, &bad, METRIC_NET_DROP_ND_MALFORMED);
}

static void test_options_are_bounded(void **state)
{
    struct bench *bench = *state;
    uint8_t rest[16 + 17 * 8] = {0};
    struct frame frame;
    memcpy(rest, bench_us6.ipv6, 16);
    for (size_t i = 0; i < 17; i++) {
        rest[16 + i * 8] = 200; /* unknown: passed over */
        rest[17 + i * 8] = 1;
    }
    rest[16] = 1;
    memcpy(rest + 18, bench_client6.mac, 6);
    frame_icmpv6(&frame, &bench_client6, &bench_us6, 255, 135, 0, 0,
                 slice_of(rest, sizeof(rest) - 8));
    bench_feed(bench, &frame);
    assert_int_equal(bench_drop_count(bench), 0);
    bench_discard_tx(bench);
    frame_icmpv6(&frame, &bench_client6, &bench_us6, 255, 135, 0, 0, slice_of(rest, sizeof(rest)));
    expect_drop(bench, &frame, METRIC_NET_DROP_ND_MALFORMED);
    static const uint8_t lengths[] = {0, 2, 255}; /* none; of another size; beyond the end */
    for (size_t i = 0; i < sizeof(lengths); i++) {
        rest[17] = lengths[i];
        frame_icmpv6(&frame, &bench_client6, &bench_us6, 255, 135, 0, 0, slice_of(rest, 32));
        expect_drop(bench, &frame, METRIC_NET_DROP_ND_MALFORMED);
    }
    frame_icmpv6(&frame, &bench_client6, &bench_us6, 255, 135, 0, 0, slice_of(rest, 17));
    expect_drop(bench, &frame, METRIC_NET_DROP_ND_MALFORMED);
}

/* Routes come from the configuration: routers say nothing that we believe. */
static void test_routers_are_not_believed(void **state)
{
    struct bench *bench = *state;
    static const uint8_t types[] = {133, 134, 137};
    uint8_t rest[40] = {0};
    for (size_t i = 0; i < sizeof(types); i++) {
        struct frame frame;
        frame_icmpv6(&frame, &bench_gateway6, &all_nodes, 255, types[i], 0, 0,
                     slice_of(rest, sizeof(rest)));
        expect_drop(bench, &frame, METRIC_NET_DROP_ND_ROUTER);
    }
}

static void test_listener_queries(void **state)
{
    struct bench *bench = *state;
    uint8_t rest[20] = {0};
    struct frame query;
    for (uint32_t i = 0; i < 5; i++) {
        frame_icmpv6(&query, &bench_gateway6, &all_nodes, 1, 130, 0, 0x03e80000,
                     slice_of(rest, sizeof(rest)));
        bench_feed(bench, &query);
    }
    expect_report(bench, 2);
    expect_quiet(bench); /* once a second */
    bench->now.mono_us += 1000000;
    bench_feed(bench, &query);
    expect_report(bench, 2);
    assert_int_equal(bench_drop_count(bench), 0);
    frame_icmpv6(&query, &bench_gateway6, &all_nodes, 2, 130, 0, 0, slice_of(rest, 20));
    expect_drop(bench, &query, METRIC_NET_DROP_ND_HOP_LIMIT);
    frame_icmpv6(&query, &bench_client6, &all_nodes, 1, 130, 0, 0, slice_of(rest, 20));
    expect_drop(bench, &query, METRIC_NET_DROP_ND_HOP_LIMIT);
}

/* ---- the neighbour table -----------------------------------------------------------------------
 */

static void test_packet_waits_for_the_answer(void **state)
{
    struct bench *bench = *state;
    struct station_ipv6 group = group_of(&bench_client6);
    struct frame arp;
    frame_arp(&arp, 2, &bench_gateway, &bench_us); /* the questions of the start */
    bench_feed(bench, &arp);
    advertise(bench, &bench_gateway6, SOLICITED);
    send_to(bench, &bench_client6, "one.");
    expect_nd(bench, 135, bench_us6.ipv6, &group, bench_client6.ipv6, 0, true);
    send_to(bench, &bench_client6, "two."); /* the newest stays */
    expect_quiet(bench);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_NEIGHBOUR_PENDING), 1);
    advertise(bench, &bench_client6, SOLICITED | OVERRIDE);
    expect_packet(bench, bench_client6.mac, "two.");
    send_to(bench, &bench_client6, "tri.");
    expect_packet(bench, bench_client6.mac, "tri.");
    /* Old: asked by itself, and used meanwhile. */
    pass(bench, NEIGHBOUR_REACHABLE_US + 1);
    send_to(bench, &bench_client6, "old.");
    expect_nd(bench, 135, bench_us6.ipv6, &bench_client6, bench_client6.ipv6, 0, true);
    expect_packet(bench, bench_client6.mac, "old.");
    advertise(bench, &bench_client6, SOLICITED);
    pass(bench, 2000000);
    expect_quiet(bench);
    /* Nobody there. */
    send_to(bench, &bench_other6, "lost");
    bench_discard_tx(bench);
    for (uint32_t i = 0; i < 4; i++) {
        pass(bench, NEIGHBOUR_ASK_ANY_US);
        bench_discard_tx(bench);
    }
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_NEIGHBOUR_UNRESOLVED), 1);
}

/* T34: what nobody asked for changes nothing that is known, of the gateway least of all. */
static void test_forged_advertisements(void **state)
{
    struct bench *bench = *state;
    struct station_ipv6 thief = bench_gateway6;
    thief.mac[5] = 0x66;
    advertise(bench, &bench_gateway6, SOLICITED);
    send_to(bench, &bench_far6, "far.");
    expect_packet(bench, bench_gateway6.mac, "far.");
    uint64_t drops = bench_count(bench, METRIC_NET_DROP_ND_UNSOLICITED);
    for (uint32_t i = 0; i < 100; i++) {
        advertise(bench, &thief, i % 2 == 0 ? OVERRIDE : SOLICITED | OVERRIDE);
    }
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_ND_UNSOLICITED), drops + 100);
    /* The known one is asked once whether it lives; it is used meanwhile. */
    struct station_ipv6 router = bench_gateway6;
    struct station_ipv6 link_local = {
        {0}, {0xfe, 0x80, [8] = 2, [11] = 0xff, [12] = 0xfe, [15] = 2}, 0};
    expect_nd(bench, 135, link_local.ipv6, &router, bench_gateway6.ipv6, 0, true);
    expect_quiet(bench);
    send_to(bench, &bench_far6, "safe");
    expect_packet(bench, bench_gateway6.mac, "safe");
}

/* Hosts that nobody asked for make no entries: a flood of them costs nothing. */
static void test_unknown_advertisements_are_forgotten(void **state)
{
    struct bench *bench = *state;
    for (uint32_t i = 0; i < 2000; i++) {
        struct station_ipv6 host = bench_other6;
        bytes_write_be32(host.ipv6 + 12, 0x10000 + i);
        advertise(bench, &host, i % 2 == 0 ? OVERRIDE : SOLICITED);
        struct address address = address_of(&host);
        assert_null(neighbour_find(&bench->interface->link->neighbours, &address));
    }
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_ND_UNSOLICITED), 2000);
    expect_quiet(bench);
}

/* Solicitations fill the table, and no more than that. */
static void test_table_is_bounded(void **state)
{
    struct bench *bench = *state;
    uint32_t known = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        struct station_ipv6 host = bench_other6;
        bytes_write_be32(host.ipv6 + 12, 0x10000 + i);
        bench->now.mono_us += 10;
        solicit(bench, &host);
        bench_discard_tx(bench);
    }
    for (uint32_t i = 0; i < 5000; i++) {
        struct station_ipv6 host = bench_other6;
        bytes_write_be32(host.ipv6 + 12, 0x10000 + i);
        struct address address = address_of(&host);
        known += neighbour_find(&bench->interface->link->neighbours, &address) != NULL;
    }
    assert_true(known > NEIGHBOUR_SETS * NEIGHBOUR_WAYS * 9 / 10);
    assert_true(known <= NEIGHBOUR_SETS * NEIGHBOUR_WAYS);
}

int main(void)
{
    bench_start_eal();
#define BENCH_TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup_ipv6, bench_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probes_and_announces),
        BENCH_TEST(test_solicitation_is_answered),
        BENCH_TEST(test_probe_for_our_address_is_answered),
        BENCH_TEST(test_our_address_is_defended),
        BENCH_TEST(test_messages_that_are_refused),
        BENCH_TEST(test_options_are_bounded),
        BENCH_TEST(test_routers_are_not_believed),
        BENCH_TEST(test_listener_queries),
        BENCH_TEST(test_packet_waits_for_the_answer),
        BENCH_TEST(test_forged_advertisements),
        BENCH_TEST(test_unknown_advertisements_are_forgotten),
        BENCH_TEST(test_table_is_bounded),
    };
    return cmocka_run_group_tests_name("nd", tests, NULL, NULL);
}
