/* Link layer: Ethernet and VLAN rules, ARP, and the life of neighbours with time as an argument. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/l2_link/link_internal.h"
#include "tests/support/net_bench.h"

static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void expect_drop(struct bench *bench, const struct frame *frame, enum metric reason)
{
    uint64_t before = bench_count(bench, reason), total = bench_drop_count(bench);
    bench_feed(bench, frame);
    assert_int_equal(bench->datagram_count, 0);
    assert_int_equal(bench_count(bench, reason), before + 1);
    assert_int_equal(bench_drop_count(bench), total + 1);
}

static void expect_arp(struct bench *bench, const uint8_t *destination, uint16_t operation,
                       uint32_t target)
{
    struct frame sent;
    assert_true(bench_take(bench, &sent));
    assert_int_equal(sent.size, 42);
    assert_memory_equal(sent.bytes, destination, 6);
    assert_memory_equal(sent.bytes + 6, bench_us.mac, 6);
    assert_int_equal(bytes_read_be16(sent.bytes + AT_TYPE), 0x0806);
    assert_int_equal(bytes_read_be16(sent.bytes + AT_ARP + 6), operation);
    assert_memory_equal(sent.bytes + AT_ARP + 8, bench_us.mac, 6);
    assert_int_equal(bytes_read_be32(sent.bytes + AT_ARP + 14), bench_us.ipv4);
    assert_int_equal(bytes_read_be32(sent.bytes + AT_ARP + 24), target);
}

static void expect_quiet(struct bench *bench)
{
    assert_int_equal(bench->interface->tx_count, 0);
}

/* Sends four bytes to a host; its MAC is looked up. */
static void send_to(struct bench *bench, uint32_t ipv4, const char *four)
{
    struct address source = address_from_ipv4(bench_us.ipv4), to = address_from_ipv4(ipv4);
    struct station peer = {.ipv4 = ipv4, .port = 2};
    uint8_t datagram[64];
    size_t size = udp_datagram_compose(datagram, &bench_us, &peer, slice_of(four, 4));
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
    assert_int_equal(bytes_read_be16(sent.bytes + AT_TYPE), 0x0800);
    assert_memory_equal(sent.bytes + AT_L4 + 8, four, 4);
}

static void feed_arp(struct bench *bench, uint16_t operation, const struct station *from,
                     const struct station *to)
{
    struct frame frame;
    frame_arp(&frame, operation, from, to);
    bench_feed(bench, &frame);
}

static void feed_tcp(struct bench *bench, const struct station *from)
{
    struct frame frame;
    frame_tcp(&frame, from, &bench_us, &(struct tcp_fields){.flags = 2}, SLICE_LITERAL(""));
    bench_feed(bench, &frame);
    assert_int_equal(bench->datagram_count, 1);
}

static void run_until(struct bench *bench, uint64_t mono_us)
{
    for (uint32_t i = 0; i < 100; i++) {
        uint64_t due = net_run_timers(bench->net, &bench->now);
        if (due > mono_us) {
            break;
        }
        bench->now.mono_us = due;
    }
    bench->now.mono_us = mono_us;
    net_run_timers(bench->net, &bench->now);
}

static void pass(struct bench *bench, uint64_t us)
{
    run_until(bench, bench->now.mono_us + us);
}

/* ---- Ethernet -----------------------------------------------------------------------------------
 */

static void test_announces_itself_and_asks_for_gateway(void **state)
{
    (void)state;
    struct bench *bench = bench_create(bench_description());
    struct frame frame;
    expect_arp(bench, everybody, 1, bench_us.ipv4);
    expect_arp(bench, everybody, 1, bench_gateway.ipv4);
    assert_false(bench_take(bench, &frame));
    assert_int_equal(bench_count(bench, METRIC_NET_ARP_REQUESTS_SENT), 2);
    bench_destroy(bench);
}

static void test_frame_rules(void **state)
{
    struct bench *bench = *state;
    struct frame good, bad;
    frame_udp(&good, &bench_client, &bench_us, SLICE_LITERAL("x"));
    bench_feed(bench, &good);
    assert_int_equal(bench->datagram_count, 1);

    bad = good;
    bad.size = 13;
    expect_drop(bench, &bad, METRIC_NET_DROP_LINK_RUNT);
    bad = good;
    bad.bytes[5] ^= 1;
    expect_drop(bench, &bad, METRIC_NET_DROP_LINK_DESTINATION);
    bad = good;
    memcpy(bad.bytes, "\x01\x00\x5e\x00\x00\x01", 6);
    expect_drop(bench, &bad, METRIC_NET_DROP_LINK_DESTINATION);
    bad = good;
    bad.bytes[6] |= 1;
    expect_drop(bench, &bad, METRIC_NET_DROP_LINK_SOURCE);
    bad = good;
    memset(bad.bytes + 6, 0, 6);
    expect_drop(bench, &bad, METRIC_NET_DROP_LINK_SOURCE);
    bad = good;
    memcpy(bad.bytes + 6, bench_us.mac, 6);
    expect_drop(bench, &bad, METRIC_NET_DROP_LINK_SOURCE);
    bad = good;
    bytes_write_be16(bad.bytes + AT_TYPE, 0x88cc);
    expect_drop(bench, &bad, METRIC_NET_DROP_LINK_ETHERTYPE);
    bytes_write_be16(bad.bytes + AT_TYPE, 0x05dc);
    expect_drop(bench, &bad, METRIC_NET_DROP_LINK_ETHERTYPE);
    bytes_write_be16(bad.bytes + AT_TYPE, 0x86dd);
    expect_drop(bench, &bad, METRIC_NET_DROP_LINK_FAMILY);
}

static void test_vlan_on_untagged_interface(void **state)
{
    struct bench *bench = *state;
    struct frame frame;
    frame_udp(&frame, &bench_client, &bench_us, SLICE_LITERAL("x"));
    frame_add_tag(&frame, 0xe000); /* priority 7, no VLAN */
    bench_feed(bench, &frame);
    assert_int_equal(bench->datagram_count, 1);
    frame_udp(&frame, &bench_client, &bench_us, SLICE_LITERAL("x"));
    frame_add_tag(&frame, 12);
    expect_drop(bench, &frame, METRIC_NET_DROP_LINK_VLAN);
    frame_udp(&frame, &bench_client, &bench_us, SLICE_LITERAL("x"));
    frame_add_tag(&frame, 0);
    frame.size = 16; /* ends within the tag */
    expect_drop(bench, &frame, METRIC_NET_DROP_LINK_RUNT);
    frame_udp(&frame, &bench_client, &bench_us, SLICE_LITERAL("x"));
    frame_add_tag(&frame, 0);
    frame_add_tag(&frame, 0); /* two tags */
    expect_drop(bench, &frame, METRIC_NET_DROP_LINK_ETHERTYPE);
}

static void test_vlan_on_tagged_interface(void **state)
{
    (void)state;
    struct net_interface *description = bench_description();
    description->vlan = 12;
    struct bench *bench = bench_create(description);
    bench_discard_tx(bench);
    struct frame frame;
    frame_udp(&frame, &bench_client, &bench_us, SLICE_LITERAL("x"));
    expect_drop(bench, &frame, METRIC_NET_DROP_LINK_VLAN);
    frame_add_tag(&frame, 0);
    expect_drop(bench, &frame, METRIC_NET_DROP_LINK_VLAN);
    frame_udp(&frame, &bench_client, &bench_us, SLICE_LITERAL("x"));
    frame_add_tag(&frame, 0x6000 | 12);
    bench_feed(bench, &frame);
    assert_int_equal(bench->datagram_count, 1);
    /* The NIC took the tag off. */
    frame_udp(&frame, &bench_client, &bench_us, SLICE_LITERAL("x"));
    struct rte_mbuf *mbuf = frame_to_mbuf(&frame, bench->pool, 0);
    mbuf->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
    mbuf->vlan_tci = 12;
    bench_feed_mbufs(bench, &mbuf, 1);
    assert_int_equal(bench->datagram_count, 1);
    /* What is sent carries the tag. */
    frame_arp(&frame, 1, &bench_client, &bench_us);
    frame_add_tag(&frame, 12);
    bench_feed(bench, &frame);
    assert_true(bench_take(bench, &frame));
    assert_int_equal(bytes_read_be32(frame.bytes + 12), 0x8100000c);
    assert_int_equal(bytes_read_be16(frame.bytes + 16), 0x0806);
    bench_destroy(bench);
}

/* Each VLAN of a port has its own addresses, and what it sends carries its own tag. */
static void test_further_vlans(void **state)
{
    struct bench *bench = *state;
    struct net_interface *second = bench_description();
    struct station us = bench_us, client = bench_client;
    struct frame frame;
    us.ipv4 = IPV4(198, 19, 0, 2);
    client.ipv4 = IPV4(198, 19, 0, 9);
    second->vlan = 12;
    second->addresses.at[0].address = address_from_ipv4(us.ipv4);
    second->addresses.gateway_count = 0;
    struct net_interface *vlan = net_add_vlan(bench->net, bench->interface, second, &bench->now);
    assert_non_null(vlan);
    assert_int_equal(vlan->tx_count, 1); /* announces itself there */
    const uint8_t *sent = rte_pktmbuf_mtod(vlan->tx[0], const uint8_t *);
    assert_int_equal(bytes_read_be32(sent + 12), 0x8100000c);
    frame_udp(&frame, &client, &us, SLICE_LITERAL("x"));
    expect_drop(bench, &frame, METRIC_NET_DROP_IP_NOT_OURS); /* that address is not in this VLAN */
    frame_add_tag(&frame, 12);
    bench_feed(bench, &frame);
    assert_int_equal(bench->datagram_count, 1);
    assert_ptr_equal(bench->datagrams[0].interface, vlan);
    frame_udp(&frame, &bench_client, &bench_us, SLICE_LITERAL("x"));
    bench_feed(bench, &frame);
    assert_int_equal(bench->datagram_count, 1);
    assert_ptr_equal(bench->datagrams[0].interface, bench->interface);
    frame_add_tag(&frame, 12);
    expect_drop(bench, &frame, METRIC_NET_DROP_IP_NOT_OURS);
    frame_udp(&frame, &client, &us, SLICE_LITERAL("x"));
    frame_add_tag(&frame, 13);
    expect_drop(bench, &frame, METRIC_NET_DROP_LINK_VLAN);
    frame_icmp(&frame, &client, &us, 8, 0, 1, SLICE_LITERAL("ping"));
    frame_add_tag(&frame, 12);
    bench_feed(bench, &frame);
    assert_int_equal(vlan->tx_count, 2);
    assert_int_equal(bench->interface->tx_count, 0);
    sent = rte_pktmbuf_mtod(vlan->tx[1], const uint8_t *);
    assert_int_equal(bytes_read_be32(sent + 12), 0x8100000c);
}

static void test_chain_is_made_contiguous(void **state)
{
    struct bench *bench = *state;
    static uint8_t payload[9000];
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t)(i * 7);
    }
    struct frame frame;
    frame_udp(&frame, &bench_client, &bench_us, slice_of(payload, sizeof(payload)));
    struct rte_mbuf *mbuf = frame_to_mbuf(&frame, bench->pool, 1000);
    assert_int_equal(mbuf->nb_segs, 10);
    bench_feed_mbufs(bench, &mbuf, 1);
    assert_int_equal(bench->datagram_count, 1);
    assert_int_equal(bench->datagrams[0].mbuf->nb_segs, 1);
    assert_int_equal(bench->datagrams[0].mbuf->data_len, sizeof(payload) + 8);
    assert_memory_equal(rte_pktmbuf_mtod_offset(bench->datagrams[0].mbuf, uint8_t *, 8), payload,
                        sizeof(payload));
}

static void count_release(void *memory, void *count)
{
    (void)memory;
    ++*(uint32_t *)count;
}

/* As ports deliver them that receive many frames into one buffer. */
static void test_chain_in_memory_of_the_port_is_made_contiguous(void **state)
{
    struct bench *bench = *state;
    static uint8_t memory[64];
    uint32_t released = 0;
    struct rte_mbuf_ext_shared_info shared = {.free_cb = count_release, .fcb_opaque = &released};
    struct frame frame;
    frame_udp(&frame, &bench_client, &bench_us, SLICE_LITERAL("0123456789"));
    struct rte_mbuf *mbuf = frame_to_mbuf(&frame, bench->pool, 20);
    memcpy(memory, rte_pktmbuf_mtod(mbuf, void *), 20);
    rte_mbuf_ext_refcnt_set(&shared, 1);
    rte_pktmbuf_attach_extbuf(mbuf, memory, RTE_BAD_IOVA, sizeof(memory), &shared);
    mbuf->data_len = 20;
    bench_feed_mbufs(bench, &mbuf, 1);
    assert_int_equal(bench->datagram_count, 1);
    assert_int_equal(released, 1);
    assert_int_equal(bench->datagrams[0].mbuf->data_len, 18);
    assert_true(packet_is_exclusive(bench->datagrams[0].mbuf));
}

/* Of two pools, chains, held by somebody else, in memory of the port: each goes where it belongs.
 */
static void test_any_packets_are_given_back_together(void **state)
{
    struct bench *bench = *state;
    static uint8_t memory[64];
    uint32_t released = 0;
    struct rte_mbuf_ext_shared_info shared = {.free_cb = count_release, .fcb_opaque = &released};
    rte_mbuf_ext_refcnt_set(&shared, 1);
    struct rte_mempool *other = packet_create_large_pool(&released, 4);
    assert_non_null(other);
    struct rte_mbuf *packets[8];
    for (uint32_t i = 0; i < 8; i++) {
        packets[i] = rte_pktmbuf_alloc(i / 2 % 2 == 0 ? bench->pool : other);
        assert_non_null(packets[i]);
    }
    struct rte_mbuf *held = packets[4];
    rte_mbuf_refcnt_update(held, 1);
    struct rte_mbuf *tail = rte_pktmbuf_alloc(bench->pool);
    CHECK(tail != NULL);
    assert_int_equal(rte_pktmbuf_chain(packets[1], tail), 0);
    rte_pktmbuf_attach_extbuf(packets[7], memory, RTE_BAD_IOVA, sizeof(memory), &shared);
    packet_free_bulk(packets, 8);
    packet_free_bulk(packets, 0);
    assert_int_equal(released, 1);
    assert_int_equal(rte_mempool_in_use_count(bench->pool), 1);
    assert_int_equal(rte_mempool_in_use_count(other), 0);
    assert_int_equal(rte_mbuf_refcnt_read(held), 1);
    packet_free_bulk(&held, 1);
    assert_int_equal(rte_mempool_in_use_count(bench->pool), 0);
    rte_mempool_free(other);
}

static void test_overheard_chain_is_not_answered(void **state)
{
    struct bench *bench = *state;
    struct frame frame;
    frame_arp(&frame, 1, &bench_client, &bench_us);
    struct rte_mbuf *mbuf = frame_to_mbuf(&frame, bench->pool, 20);
    packet_mark_overheard(mbuf);
    bench_feed_mbufs(bench, &mbuf, 1);
    assert_int_equal(bench->interface->tx_count, 0);
    mbuf = frame_to_mbuf(&frame, bench->pool, 20);
    bench_feed_mbufs(bench, &mbuf, 1);
    assert_int_equal(bench->interface->tx_count, 1);
    bench_discard_tx(bench);
}

static void test_chain_without_large_buffer_is_dropped(void **state)
{
    struct bench *bench = *state;
    struct frame frame;
    frame_udp(&frame, &bench_client, &bench_us, SLICE_LITERAL("0123456789"));
    uint32_t held = 0;
    struct rte_mbuf *large[128];
    while ((large[held] = net_allocate_large(bench->net)) != NULL) {
        held++;
    }
    assert_true(held >= 32);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_NO_BUFFER), 1);
    struct rte_mbuf *mbuf = frame_to_mbuf(&frame, bench->pool, 20);
    bench_feed_mbufs(bench, &mbuf, 1);
    assert_int_equal(bench->datagram_count, 0);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_LINK_OVERSIZE), 1);
    rte_pktmbuf_free_bulk(large, held);
}

static void test_full_transmit_array_drops(void **state)
{
    struct bench *bench = *state;
    for (uint32_t i = 0; i < NET_TX_QUEUE + 3; i++) {
        feed_arp(bench, 1, &bench_client, &bench_us);
    }
    assert_int_equal(bench->interface->tx_count, NET_TX_QUEUE);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_TX_QUEUE_FULL), 3);
    bench_discard_tx(bench);
}

static void test_packet_without_headroom_is_dropped(void **state)
{
    struct bench *bench = *state;
    struct address source = address_from_ipv4(bench_us.ipv4);
    struct address to = address_from_ipv4(bench_client.ipv4);
    struct rte_ether_addr station = {{2, 0, 0, 0, 0, 9}};
    for (uint16_t room = 0; room < 34; room++) {
        struct rte_mbuf *mbuf = net_allocate(bench->net);
        mbuf->data_off = room;
        assert_non_null(rte_pktmbuf_append(mbuf, 20));
        ip_output_to_station(bench->net, bench->interface, &source, &to, 6, &station, mbuf);
        assert_int_equal(bench_count(bench, METRIC_NET_DROP_TX_HEADROOM), room + 1U);
    }
    expect_quiet(bench);
}

static void test_empty_pool_is_survived(void **state)
{
    struct bench *bench = *state;
    struct frame frame;
    frame_arp(&frame, 1, &bench_client, &bench_us);
    static struct rte_mbuf *all[BENCH_POOL_MBUFS];
    uint32_t count = BENCH_POOL_MBUFS - 1;
    assert_int_equal(rte_pktmbuf_alloc_bulk(bench->pool, all, count), 0);
    struct rte_mbuf *mbuf = frame_to_mbuf(&frame, bench->pool, 0);
    struct rte_mbuf *clone_holder = mbuf;
    rte_pktmbuf_refcnt_update(clone_holder, 1); /* so that its buffer is not free for the reply */
    bench_feed_mbufs(bench, &mbuf, 1);
    expect_quiet(bench);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_NO_BUFFER), 1);
    rte_pktmbuf_free(clone_holder);
    rte_pktmbuf_free_bulk(all, count);
}

/* ---- ARP ----------------------------------------------------------------------------------------
 */

static void test_request_is_answered_byte_by_byte(void **state)
{
    struct bench *bench = *state;
    struct frame frame, expected;
    frame_arp(&frame, 1, &bench_client, &bench_us);
    frame.size = 60; /* as padded by a switch */
    bench_feed(bench, &frame);
    assert_true(bench_take(bench, &frame));
    frame_arp(&expected, 2, &bench_us, &bench_client);
    assert_int_equal(frame.size, expected.size);
    assert_memory_equal(frame.bytes, expected.bytes, expected.size);
    assert_int_equal(bench_count(bench, METRIC_NET_RX_PACKETS), 1);
    assert_int_equal(bench_count(bench, METRIC_NET_RX_BYTES), 60);
    assert_int_equal(bench_count(bench, METRIC_NET_TX_PACKETS), 3); /* with the two of the start */
    assert_int_equal(bench_count(bench, METRIC_NET_TX_BYTES), 3 * 42);
    /* It told us its MAC: no question is needed to send to it. */
    send_to(bench, bench_client.ipv4, "abcd");
    expect_packet(bench, bench_client.mac, "abcd");
    expect_quiet(bench);
}

static void test_malformed_and_lying_arp(void **state)
{
    struct bench *bench = *state;
    struct frame good, bad;
    frame_arp(&good, 1, &bench_client, &bench_us);
    for (size_t size = AT_ARP; size < good.size; size++) {
        bad = good;
        bad.size = size;
        expect_drop(bench, &bad, METRIC_NET_DROP_ARP_MALFORMED);
    }
    for (size_t at = AT_ARP; at < AT_ARP + 6; at++) {
        bad = good;
        bad.bytes[at] ^= 0x10;
        expect_drop(bench, &bad, METRIC_NET_DROP_ARP_MALFORMED);
    }
    bad = good;
    bad.bytes[AT_ARP + 7] = 3;
    expect_drop(bench, &bad, METRIC_NET_DROP_ARP_MALFORMED);
    bad = good;
    bad.bytes[AT_ARP + 13] ^= 1; /* speaks for another MAC than the frame's */
    expect_drop(bench, &bad, METRIC_NET_DROP_ARP_SENDER);
    bad = good;
    bytes_write_be32(bad.bytes + AT_ARP + 14, bench_far.ipv4); /* not on this link */
    expect_drop(bench, &bad, METRIC_NET_DROP_ARP_SENDER);
    bytes_write_be32(bad.bytes + AT_ARP + 14, IPV4(198, 18, 0, 255));
    expect_drop(bench, &bad, METRIC_NET_DROP_ARP_SENDER);
    bad = good;
    bytes_write_be32(bad.bytes + AT_ARP + 24, bench_other.ipv4);
    expect_drop(bench, &bad, METRIC_NET_DROP_ARP_NOT_OURS);
    frame_arp(&bad, 2, &(struct station){.mac = {2, 0, 0, 0, 0, 3}}, &bench_us); /* from 0.0.0.0 */
    expect_drop(bench, &bad, METRIC_NET_DROP_ARP_SENDER);
    expect_quiet(bench);
}

static void test_probe_is_answered_and_teaches_nothing(void **state)
{
    struct bench *bench = *state;
    struct station nobody = {{2, 0, 0, 0, 0, 3}, 0, 0};
    feed_arp(bench, 1, &nobody, &bench_us); /* RFC 5227: is 198.18.0.2 taken? */
    expect_arp(bench, nobody.mac, 2, 0);
    struct address zero = address_from_ipv4(0);
    assert_null(neighbour_find(&bench->interface->link->neighbours, &zero));
}

static void test_conflict_is_defended_at_intervals(void **state)
{
    struct bench *bench = *state;
    struct station thief = {{2, 0, 0, 0, 0, 0x66}, bench_us.ipv4, 0};
    feed_arp(bench, 1, &thief, &thief);
    expect_arp(bench, everybody, 1, bench_us.ipv4);
    feed_arp(bench, 2, &thief, &bench_us);
    expect_quiet(bench);
    bench->now.mono_us += 10000000;
    feed_arp(bench, 1, &thief, &bench_client);
    expect_arp(bench, everybody, 1, bench_us.ipv4);
    assert_int_equal(bench_count(bench, METRIC_NET_ARP_CONFLICTS), 3);
}

static void test_unknown_neighbour_is_asked_and_one_packet_waits(void **state)
{
    struct bench *bench = *state;
    send_to(bench, bench_client.ipv4, "one.");
    expect_arp(bench, everybody, 1, bench_client.ipv4);
    send_to(bench, bench_client.ipv4, "two.");
    expect_quiet(bench);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_NEIGHBOUR_PENDING), 1);
    feed_arp(bench, 2, &bench_client, &bench_us);
    expect_packet(bench, bench_client.mac, "two.");
    send_to(bench, bench_client.ipv4, "tri.");
    expect_packet(bench, bench_client.mac, "tri.");
    expect_quiet(bench);
}

static void test_silent_neighbour_is_given_up(void **state)
{
    struct bench *bench = *state;
    feed_arp(bench, 2, &bench_gateway, &bench_us); /* the question of the start */
    send_to(bench, bench_client.ipv4, "lost");
    for (uint32_t i = 0; i < 3; i++) {
        expect_arp(bench, everybody, 1, bench_client.ipv4);
        expect_quiet(bench);
        pass(bench, 999999);
        expect_quiet(bench);
        pass(bench, 1);
    }
    expect_quiet(bench);
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_NEIGHBOUR_UNRESOLVED), 1);
    assert_int_equal(net_run_timers(bench->net, &bench->now) >= bench->now.mono_us, 1);
    pass(bench, 20000);
    assert_true(net_run_timers(bench->net, &bench->now) == UINT64_MAX);
    feed_arp(bench, 2, &bench_client, &bench_us); /* too late: nobody asks any more */
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_ARP_UNSOLICITED), 1);
    send_to(bench, bench_client.ipv4, "next");
    expect_arp(bench, everybody, 1, bench_client.ipv4);
}

static void test_traffic_teaches_an_unknown_neighbour(void **state)
{
    struct bench *bench = *state;
    feed_tcp(bench, &bench_client);
    send_to(bench, bench_client.ipv4, "syna");
    expect_packet(bench, bench_client.mac, "syna");
    expect_quiet(bench);
    /* Also one that we are asking for. */
    send_to(bench, bench_other.ipv4, "wait");
    expect_arp(bench, everybody, 1, bench_other.ipv4);
    feed_tcp(bench, &bench_other);
    expect_packet(bench, bench_other.mac, "wait");
}

static void test_traffic_that_goes_on_confirms_and_contradicts(void **state)
{
    struct bench *bench = *state;
    feed_arp(bench, 2, &bench_gateway, &bench_us);
    for (uint32_t i = 0; i < 3; i++) {
        feed_tcp(bench, &bench_client);
        pass(bench, NEIGHBOUR_REACHABLE_US - 1);
    }
    send_to(bench, bench_client.ipv4, "old.");
    expect_packet(bench, bench_client.mac, "old.");
    expect_quiet(bench); /* each time was proof */

    struct station thief = {{2, 0, 0, 0, 0, 0x66}, bench_client.ipv4, 0};
    feed_tcp(bench, &thief);
    expect_arp(bench, bench_client.mac, 1, bench_client.ipv4);
    feed_tcp(bench, &bench_client); /* it does live */
    pass(bench, 5000000);
    expect_quiet(bench);
}

/* Its place has become another's since it was last heard of. */
static void test_replaced_neighbour_is_learnt_anew(void **state)
{
    (void)state;
    struct net_interface *description = bench_description();
    description->addresses.at[0].prefix_length = 15;
    struct bench *bench = bench_create(description);
    struct address client = address_from_ipv4(bench_client.ipv4);
    feed_arp(bench, 2, &bench_gateway, &bench_us);
    feed_tcp(bench, &bench_client);
    feed_tcp(bench, &bench_client);
    for (uint32_t host = 0; host < 5000; host++) {
        struct station other = {{2, 1, 0, 0, 0, 1}, IPV4(198, 18, 16, 0) + host, 40000};
        bench->now.mono_us += 10;
        feed_tcp(bench, &other);
        feed_tcp(bench, &other);
    }
    assert_null(neighbour_find(&bench->interface->link->neighbours, &client));
    feed_tcp(bench, &bench_client);
    bench_discard_tx(bench);
    send_to(bench, bench_client.ipv4, "here");
    expect_packet(bench, bench_client.mac, "here");
    bench_destroy(bench);
}

static void test_unsolicited_messages_change_nothing(void **state)
{
    struct bench *bench = *state;
    struct station thief = {{2, 0, 0, 0, 0, 0x66}, bench_client.ipv4, 0};
    feed_arp(bench, 2, &thief, &bench_us); /* nobody asked */
    assert_int_equal(bench_count(bench, METRIC_NET_DROP_ARP_UNSOLICITED), 1);
    send_to(bench, bench_client.ipv4, "ask.");
    expect_arp(bench, everybody, 1, bench_client.ipv4);
    feed_arp(bench, 2, &bench_client, &bench_us);
    expect_packet(bench, bench_client.mac, "ask.");

    feed_arp(bench, 2, &thief, &bench_us);
    expect_arp(bench, bench_client.mac, 1, bench_client.ipv4); /* do you still live? */
    feed_arp(bench, 2, &thief, &bench_us);                     /* insists */
    send_to(bench, bench_client.ipv4, "safe");
    expect_packet(bench, bench_client.mac, "safe");
    feed_arp(bench, 2, &bench_client, &bench_us);
    feed_arp(bench, 1, &thief,
             &bench_us); /* as a request: answered, not believed, not asked again */
    expect_arp(bench, thief.mac, 2, bench_client.ipv4);
    feed_tcp(bench, &thief);
    send_to(bench, bench_client.ipv4, "safe");
    expect_packet(bench, bench_client.mac, "safe");
    expect_quiet(bench);
}

static void test_moved_station_is_found_again(void **state)
{
    struct bench *bench = *state;
    feed_arp(bench, 2, &bench_gateway, &bench_us);
    feed_tcp(bench, &bench_client);
    struct station moved = bench_client;
    moved.mac[5] = 0x77;
    feed_arp(bench, 1, &moved, &moved); /* gratuitous */
    for (uint32_t i = 0; i < 3; i++) {
        expect_arp(bench, bench_client.mac, 1, bench_client.ipv4);
        pass(bench, 250000);
    }
    expect_arp(bench, everybody, 1, bench_client.ipv4);
    feed_arp(bench, 2, &moved, &bench_us);
    send_to(bench, bench_client.ipv4, "here");
    expect_packet(bench, moved.mac, "here");
}

static void test_old_entry_is_probed_when_used(void **state)
{
    struct bench *bench = *state;
    feed_arp(bench, 2, &bench_gateway, &bench_us);
    feed_tcp(bench, &bench_client);
    pass(bench, NEIGHBOUR_REACHABLE_US + 1);
    expect_quiet(bench);
    send_to(bench, bench_client.ipv4, "old.");
    expect_arp(bench, bench_client.mac, 1, bench_client.ipv4);
    expect_packet(bench, bench_client.mac, "old.");
    feed_tcp(bench, &bench_client); /* its traffic is proof enough */
    pass(bench, 5000000);
    expect_quiet(bench);
    send_to(bench, bench_client.ipv4, "new.");
    expect_packet(bench, bench_client.mac, "new.");
    expect_quiet(bench);
}

static void test_dead_neighbour_is_forgotten(void **state)
{
    struct bench *bench = *state;
    feed_arp(bench, 2, &bench_gateway, &bench_us);
    feed_tcp(bench, &bench_client);
    pass(bench, NEIGHBOUR_REACHABLE_US + 1);
    send_to(bench, bench_client.ipv4, "old.");
    pass(bench, 3 * NEIGHBOUR_ASK_KNOWN_US + 3 * NEIGHBOUR_ASK_ANY_US + 100000);
    assert_int_equal(bench->interface->tx_count, 1 + 3 + 3);
    bench_discard_tx(bench);
    struct address client = address_from_ipv4(bench_client.ipv4);
    assert_null(neighbour_find(&bench->interface->link->neighbours, &client));
    send_to(bench, bench_client.ipv4, "gone");
    expect_arp(bench, everybody, 1, bench_client.ipv4);
}

static void test_gateway_is_never_evicted_or_overwritten(void **state)
{
    struct bench *bench = *state;
    struct neighbour_table *table = &bench->interface->link->neighbours;
    feed_arp(bench, 2, &bench_gateway, &bench_us);
    struct station many = {{2, 1, 0, 0, 0, 1}, 0, 40000};
    for (uint32_t host = 3; host < 250; host++) {
        many.ipv4 = IPV4(198, 18, 0, host);
        feed_arp(bench, 1, &many, &bench_us);
    }
    bench_discard_tx(bench);
    struct station thief = bench_gateway;
    thief.mac[5] = 0x66;
    feed_arp(bench, 2, &thief, &bench_us);
    feed_arp(bench, 1, &thief, &bench_us);
    feed_tcp(bench, &thief);
    feed_arp(bench, 2, &bench_gateway, &bench_us);
    bench_discard_tx(bench);
    send_to(bench, bench_far.ipv4, "far.");
    expect_packet(bench, bench_gateway.mac, "far.");
    assert_memory_equal(table->gateways[0].mac.addr_bytes, bench_gateway.mac, 6);
}

static void test_gateway_learnt_from_traffic_until_it_answers(void **state)
{
    struct bench *bench = *state;
    struct station router = bench_far; /* another router's traffic comes first */
    router.mac[5] = 0x55;
    feed_tcp(bench, &router);
    expect_arp(bench, everybody, 1, bench_gateway.ipv4);
    send_to(bench, bench_far.ipv4, "one.");
    expect_packet(bench, router.mac, "one.");
    feed_arp(bench, 2, &bench_gateway, &bench_us);
    send_to(bench, bench_far.ipv4, "two.");
    expect_packet(bench, bench_gateway.mac, "two.");
    feed_tcp(bench, &router); /* contradicts nobody */
    send_to(bench, bench_far.ipv4, "tri.");
    expect_packet(bench, bench_gateway.mac, "tri.");
    expect_quiet(bench);
}

static void test_gateway_that_never_answers_arp_is_kept_while_it_sends(void **state)
{
    struct bench *bench = *state;
    for (uint32_t i = 0; i < 10; i++) {
        feed_tcp(bench, &bench_far);
        pass(bench, 900000);
    }
    bench_discard_tx(bench);
    send_to(bench, bench_far.ipv4, "far.");
    expect_packet(bench, bench_gateway.mac, "far.");
    expect_quiet(bench);
}

static void test_silent_gateway_is_asked_again_at_next_use(void **state)
{
    struct bench *bench = *state;
    pass(bench, 5000000);
    assert_int_equal(bench->interface->tx_count, 2); /* with the one of the start: three */
    bench_discard_tx(bench);
    send_to(bench, bench_far.ipv4, "far.");
    expect_arp(bench, everybody, 1, bench_gateway.ipv4);
    feed_arp(bench, 2, &bench_gateway, &bench_us);
    expect_packet(bench, bench_gateway.mac, "far.");
}

static void test_table_is_bounded_and_replaces_the_oldest(void **state)
{
    (void)state;
    struct net_interface *description = bench_description();
    description->addresses.at[0].prefix_length = 15;
    struct bench *bench = bench_create(description);
    feed_arp(bench, 2, &bench_gateway, &bench_us);
    bench_discard_tx(bench);
    for (uint32_t host = 0; host < 5000; host++) {
        bench->now.mono_us += 10;
        send_to(bench, IPV4(198, 18, 16, 0) + host, "wait");
        bench_discard_tx(bench);
    }
    uint64_t evicted = bench_count(bench, METRIC_NET_DROP_NEIGHBOUR_EVICTED);
    assert_true(evicted >= 5000 - NEIGHBOUR_SETS * NEIGHBOUR_WAYS);
    assert_true(rte_mempool_in_use_count(bench->pool) == 5000 - evicted);
    struct address youngest = address_from_ipv4(IPV4(198, 18, 16, 0) + 4999);
    struct address oldest = address_from_ipv4(IPV4(198, 18, 16, 0));
    assert_non_null(neighbour_find(&bench->interface->link->neighbours, &youngest));
    assert_null(neighbour_find(&bench->interface->link->neighbours, &oldest));
    bench_destroy(bench); /* and what waits is freed */
}

static void test_busy_neighbour_outlives_a_flood(void **state)
{
    (void)state;
    struct net_interface *description = bench_description();
    description->addresses.at[0].prefix_length = 15;
    struct bench *bench = bench_create(description);
    feed_arp(bench, 2, &bench_gateway, &bench_us);
    feed_tcp(bench, &bench_client);
    for (uint32_t host = 0; host < 5000; host++) {
        struct station other = {{2, 1, 0, 0, 0, 1}, IPV4(198, 18, 16, 0) + host, 40000};
        bench->now.mono_us += 10;
        feed_tcp(bench, &other);
        send_to(bench, bench_client.ipv4, "busy");
        bench_discard_tx(bench);
    }
    send_to(bench, bench_client.ipv4, "here");
    expect_packet(bench, bench_client.mac, "here");
    bench_destroy(bench);
}

/* The NIC took the tag off and left no room in front: replies need 4 bytes more than there are. */
static void test_request_without_headroom_is_answered(void **state)
{
    (void)state;
    struct net_interface *description = bench_description();
    description->vlan = 12;
    struct bench *bench = bench_create(description);
    bench_discard_tx(bench);
    struct frame frame, sent;
    struct udp_datagram out[1];
    struct byte_queue body;
    byte_queue_init(&body);
    for (uint32_t kind = 0; kind < 2; kind++) {
        if (kind == 0) {
            frame_icmp(&frame, &bench_client, &bench_us, 8, 0, 1, SLICE_LITERAL("ping"));
        } else {
            frame_udp(&frame, &bench_client, &bench_us, SLICE_LITERAL("ping"));
        }
        struct rte_mbuf *mbuf = rte_pktmbuf_alloc(bench->pool);
        assert_non_null(mbuf);
        mbuf->data_off = 0;
        memcpy(rte_pktmbuf_append(mbuf, (uint16_t)frame.size), frame.bytes, frame.size);
        mbuf->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
        mbuf->vlan_tci = 12;
        bench_feed_mbufs(bench, &mbuf, 1);
        if (udp_input_batch(bench->udp, bench->datagrams, bench->datagram_count, &bench->now,
                            out) == 1) {
            udp_lend_packet(&out[0], &body, 4, 0);
            udp_reply(bench->udp, &out[0], SLICE_LITERAL("pong"), &body, 0, 0);
        }
        assert_true(bench_take(bench, &sent));
        assert_int_equal(bytes_read_be32(sent.bytes + AT_TYPE), 0x8100000c);
    }
    assert_int_equal(bench_drop_count(bench), 0);
    bench_destroy(bench);
}

int main(void)
{
    bench_start_eal();
#define BENCH_TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_announces_itself_and_asks_for_gateway),
        BENCH_TEST(test_frame_rules),
        BENCH_TEST(test_vlan_on_untagged_interface),
        cmocka_unit_test_setup_teardown(test_further_vlans, bench_setup, bench_teardown),
        cmocka_unit_test(test_vlan_on_tagged_interface),
        BENCH_TEST(test_chain_is_made_contiguous),
        BENCH_TEST(test_chain_in_memory_of_the_port_is_made_contiguous),
        BENCH_TEST(test_any_packets_are_given_back_together),
        BENCH_TEST(test_overheard_chain_is_not_answered),
        BENCH_TEST(test_chain_without_large_buffer_is_dropped),
        BENCH_TEST(test_full_transmit_array_drops),
        BENCH_TEST(test_packet_without_headroom_is_dropped),
        BENCH_TEST(test_empty_pool_is_survived),
        BENCH_TEST(test_request_is_answered_byte_by_byte),
        BENCH_TEST(test_malformed_and_lying_arp),
        BENCH_TEST(test_probe_is_answered_and_teaches_nothing),
        BENCH_TEST(test_conflict_is_defended_at_intervals),
        BENCH_TEST(test_unknown_neighbour_is_asked_and_one_packet_waits),
        BENCH_TEST(test_silent_neighbour_is_given_up),
        BENCH_TEST(test_traffic_teaches_an_unknown_neighbour),
        BENCH_TEST(test_traffic_that_goes_on_confirms_and_contradicts),
        cmocka_unit_test(test_replaced_neighbour_is_learnt_anew),
        BENCH_TEST(test_unsolicited_messages_change_nothing),
        BENCH_TEST(test_moved_station_is_found_again),
        BENCH_TEST(test_old_entry_is_probed_when_used),
        BENCH_TEST(test_dead_neighbour_is_forgotten),
        BENCH_TEST(test_gateway_is_never_evicted_or_overwritten),
        BENCH_TEST(test_gateway_learnt_from_traffic_until_it_answers),
        BENCH_TEST(test_gateway_that_never_answers_arp_is_kept_while_it_sends),
        BENCH_TEST(test_silent_gateway_is_asked_again_at_next_use),
        cmocka_unit_test(test_busy_neighbour_outlives_a_flood),
        cmocka_unit_test(test_request_without_headroom_is_answered),
        cmocka_unit_test(test_table_is_bounded_and_replaces_the_oldest),
    };
    return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
