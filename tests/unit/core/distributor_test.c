/* A port shared by three workers: who gets a frame, in which order, what is copied, what is
 * dropped, who is woken. The port is two arrays per queue; the stacks of the last tests are real.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <stdlib.h>

#include <rte_mempool.h>
#include <rte_thash.h>

#include "dataplane/core/core_distributor.h"
#include "dataplane/l2_link/packet.h"
#include "tests/support/packet_builder.h"
#include "tests/support/simulated_host.h"

#define WORKERS     3U
#define POOL        16383U
#define QUEUE_MAX   4096U
#define BURST       64U
#define SERVER_PORT 6379

struct queue {
    struct rte_mbuf *in[QUEUE_MAX], *out[QUEUE_MAX];
    uint32_t in_first, in_end, out_count;
};

struct bench {
    struct queue queues[WORKERS];
    struct port_rss rss;
    struct metrics metrics[WORKERS];
    struct distributor *distributor;
    struct core_link links[WORKERS];
    struct rte_mempool *pool;
    unsigned pool_free;
    uint32_t wakes[WORKERS];
    bool armed[WORKERS];
};

static struct rte_mempool *shared_pool;
static const uint8_t key[PORT_RSS_KEY_BYTES] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
static const struct station server = {{2, 0, 0, 0, 0, 1}, IPV4(198, 18, 0, 1), SERVER_PORT};

static struct station client(uint16_t port)
{
    return (struct station){{2, 0, 0, 0, 0, 9}, IPV4(198, 18, 0, 9), port};
}

/* ---- the port -------------------------------------------------------------------------------- */

static uint16_t queue_receive(void *context, uint16_t number, struct rte_mbuf **packets,
                              uint16_t count_max)
{
    struct queue *queue = &((struct bench *)context)->queues[number];
    uint16_t count = 0;
    while (count < count_max && queue->in_first < queue->in_end) {
        packets[count++] = queue->in[queue->in_first++];
    }
    return count;
}

static uint16_t queue_transmit(void *context, uint16_t number, struct rte_mbuf **packets,
                               uint16_t count)
{
    struct queue *queue = &((struct bench *)context)->queues[number];
    for (uint16_t i = 0; i < count; i++) {
        assert_true(queue->out_count < QUEUE_MAX);
        queue->out[queue->out_count++] = packets[i];
    }
    return 0;
}

static void queue_arm(void *context, uint16_t number)
{
    ((struct bench *)context)->armed[number] = true;
}

static bool queue_disarm(void *context, uint16_t number)
{
    ((struct bench *)context)->armed[number] = false;
    return number == 1;
}

static void note_wake(void *argument, uint32_t worker)
{
    ((struct bench *)argument)->wakes[worker]++;
}

static struct bench *create_bench(uint32_t queue_count, bool port_spreads)
{
    static struct core_link queues[WORKERS];
    struct bench *b = calloc(1, sizeof(*b));
    assert_non_null(b);
    port_rss_init(&b->rss, key);
    b->pool = shared_pool;
    b->pool_free = rte_mempool_avail_count(b->pool);
    for (uint32_t i = 0; i < queue_count; i++) {
        queues[i] = (struct core_link){.context = b,
                                       .queue = (uint16_t)i,
                                       .receive = queue_receive,
                                       .transmit = queue_transmit,
                                       .arm = queue_arm,
                                       .disarm = queue_disarm,
                                       .wait_fd = 100 + (int)i,
                                       .interface = {.mac = {{2, 0, 0, 0, 0, 1}},
                                                     .addresses = simulated_host_addresses(1),
                                                     .mtu = 1500}};
    }
    struct distributor_options options = {.queues = queues,
                                          .queue_count = queue_count,
                                          .worker_count = WORKERS,
                                          .port_spreads = port_spreads,
                                          .rss = &b->rss,
                                          .pool = b->pool,
                                          .metrics = b->metrics,
                                          .wake = note_wake,
                                          .argument = b};
    b->distributor = distributor_create(&options);
    assert_non_null(b->distributor);
    for (uint32_t i = 0; i < WORKERS; i++) {
        distributor_link(b->distributor, i, &b->links[i]);
    }
    return b;
}

static void destroy_bench(struct bench *b)
{
    distributor_destroy(b->distributor);
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct queue *queue = &b->queues[i];
        rte_pktmbuf_free_bulk(queue->out, queue->out_count);
        rte_pktmbuf_free_bulk(queue->in + queue->in_first, queue->in_end - queue->in_first);
    }
    assert_int_equal(rte_mempool_avail_count(b->pool), b->pool_free);
    free(b);
}

static void arrive(struct bench *b, uint32_t queue, const struct frame *frame)
{
    struct rte_mbuf *mbuf = frame_to_mbuf(frame, b->pool, 0);
    assert_non_null(mbuf);
    assert_true(b->queues[queue].in_end < QUEUE_MAX);
    b->queues[queue].in[b->queues[queue].in_end++] = mbuf;
}

static bool exchange(struct bench *b, uint32_t worker)
{
    return b->links[worker].exchange(b->links[worker].context, b->links[worker].queue);
}

static uint32_t receive(struct bench *b, uint32_t worker, struct rte_mbuf **frames)
{
    return b->links[worker].receive(b->links[worker].context, b->links[worker].queue, frames,
                                    BURST);
}

static bool has_frames(struct bench *b, uint32_t worker)
{
    return b->links[worker].has_frames(b->links[worker].context, b->links[worker].queue);
}

static uint64_t counted(const struct bench *b, uint32_t worker, enum metric metric)
{
    return metric_read(&b->metrics[worker], metric);
}

static uint32_t owner_of(const struct bench *b, uint16_t port)
{
    return port_rss_worker(
        port_rss_hash_flow(&b->rss, client(port).ipv4, server.ipv4, port, SERVER_PORT), WORKERS);
}

/* The next client port from `port` on whose flow is this worker's. */
static uint16_t port_of(const struct bench *b, uint32_t worker, uint16_t port)
{
    while (owner_of(b, port) != worker) {
        port++;
    }
    return port;
}

static void make_segment(struct frame *frame, uint16_t port, const char *text)
{
    struct station from = client(port);
    struct tcp_fields fields = {.sequence = 1, .flags = 0x10, .window = 1000};
    frame_tcp(frame, &from, &server, &fields, slice_of_string(text));
}

/* ---- the hash -------------------------------------------------------------------------------- */

/* The examples that NIC vendors verify with. */
static void hash_is_that_of_nics(void **state)
{
    struct port_rss rss;
    port_rss_init(&rss, key);
    uint32_t source = IPV4(66, 9, 149, 187), destination = IPV4(161, 142, 100, 80);
    assert_int_equal(port_rss_hash_flow(&rss, source, destination, 2794, 1766), 0x51ccc178);
    assert_int_equal(port_rss_hash_addresses(&rss, source, destination), 0x323e8fc2);
    source = IPV4(199, 92, 111, 2);
    destination = IPV4(65, 69, 140, 83);
    assert_int_equal(port_rss_hash_flow(&rss, source, destination, 14230, 4739), 0xc626b0ea);
    port_rss_init_random(&rss);
    uint32_t tuple[3] = {source, destination, 14230U << 16 | 4739};
    assert_int_equal(port_rss_hash_flow(&rss, source, destination, 14230, 4739),
                     rte_softrss(tuple, 3, rss.key));
}

/* How many of these flows each worker gets. */
static void count_flows(const struct port_rss *rss, bool ipv6, uint32_t first_port, uint32_t stride,
                        uint32_t flows, uint32_t workers, uint32_t *counts)
{
    const struct address from = address_from_ipv4(IPV4(198, 18, 0, 9));
    memset(counts, 0, workers * sizeof(*counts));
    for (uint32_t i = 0; i < flows; i++) {
        uint16_t port = (uint16_t)(first_port + i * stride);
        uint32_t hash =
            ipv6 ? port_rss_hash_flow_ipv6(rss, &from, &from, port, SERVER_PORT)
                 : port_rss_hash_flow(rss, IPV4(198, 18, 0, 9), server.ipv4, port, SERVER_PORT);
        counts[port_rss_worker(hash, workers)]++;
    }
}

static void expect_even(const struct port_rss *rss, bool ipv6, uint32_t stride, uint32_t workers)
{
    uint32_t counts[PORT_RSS_TABLE_ENTRIES];
    for (uint32_t first_port = 32768; first_port < 33768; first_port += 77) {
        count_flows(rss, ipv6, first_port, stride, 8 * workers, workers, counts);
        for (uint32_t worker = 0; worker < workers; worker++) {
            assert_in_range(counts[worker], 4, 12);
        }
    }
}

/* Also every second port, as Linux gives them out. */
static void ports_in_sequence_are_spread_evenly(void **state)
{
    for (uint32_t i = 0; i < 20; i++) {
        struct port_rss rss;
        port_rss_init_random(&rss);
        for (uint32_t stride = 1; stride <= 8; stride *= 2) {
            for (uint32_t workers = 2; workers <= PORT_RSS_TABLE_ENTRIES; workers *= 2) {
                expect_even(&rss, false, stride, workers);
                expect_even(&rss, true, stride, workers);
            }
        }
    }
}

static struct address address_of(const char *text)
{
    struct address address;
    assert_true(address_parse(slice_of_string(text), &address));
    return address;
}

static void hash_of_ipv6_is_that_of_nics(void **state)
{
    struct port_rss rss;
    port_rss_init(&rss, key);
    struct address source = address_of("3ffe:2501:200:1fff::7");
    struct address destination = address_of("3ffe:2501:200:3::1");
    assert_int_equal(port_rss_hash_flow_ipv6(&rss, &source, &destination, 2794, 1766), 0x40207d3d);
    assert_int_equal(port_rss_hash_addresses_ipv6(&rss, &source, &destination), 0x2cc18cd5);
    source = address_of("3ffe:501:8::260:97ff:fe40:efab");
    destination = address_of("ff02::1");
    assert_int_equal(port_rss_hash_flow_ipv6(&rss, &source, &destination, 14230, 4739), 0xdde51bbf);
}

/* ---- flows ----------------------------------------------------------------------------------- */

static void every_flow_has_one_worker_and_keeps_its_order(void **state)
{
    enum { FLOWS = 30, EACH = 20 };
    for (uint32_t queue_count = 1; queue_count <= WORKERS; queue_count++) {
        struct bench *b = create_bench(queue_count, false);
        struct frame frame;
        for (uint32_t i = 0; i < FLOWS * EACH; i++) {
            char text[8];
            snprintf(text, sizeof(text), "%07u", i);
            make_segment(&frame, (uint16_t)(1000 + i % FLOWS), text);
            arrive(b, i % FLOWS % queue_count, &frame);
        }
        uint32_t next[FLOWS] = {0}, got = 0;
        for (uint32_t round = 0; round < 100; round++) {
            uint32_t worker = round % WORKERS;
            struct rte_mbuf *frames[BURST];
            exchange(b, worker);
            uint32_t count = receive(b, worker, frames);
            for (uint32_t i = 0; i < count; i++) {
                frame_from_mbuf(&frame, frames[i]);
                uint32_t flow = bytes_read_be16(frame.bytes + AT_L4) - 1000U;
                assert_int_equal(owner_of(b, (uint16_t)(1000 + flow)), worker);
                assert_int_equal(atoi((const char *)frame.bytes + AT_L4 + 20),
                                 (int)(next[flow]++ * FLOWS + flow));
                rte_pktmbuf_free(frames[i]);
                got++;
            }
        }
        assert_int_equal(got, FLOWS * EACH);
        destroy_bench(b);
    }
}

static void a_port_that_spreads_is_believed(void **state)
{
    struct bench *b = create_bench(WORKERS, true);
    struct frame frame;
    struct rte_mbuf *frames[BURST];
    make_segment(&frame, port_of(b, 2, 1000), "x");
    arrive(b, 0, &frame);
    exchange(b, 0);
    assert_int_equal(receive(b, 0, frames), 1);
    rte_pktmbuf_free(frames[0]);
    destroy_bench(b);
}

/* ---- what has no ports ----------------------------------------------------------------------- */

static void fragments_go_by_addresses(void **state)
{
    struct bench *b = create_bench(1, false);
    struct station from = client(port_of(b, 0, 1000));
    uint32_t owner =
        port_rss_worker(port_rss_hash_addresses(&b->rss, from.ipv4, server.ipv4), WORKERS);
    uint8_t payload[64] = {0};
    struct frame frame;
    for (uint16_t part = 0; part < 2; part++) {
        struct ipv4_fields fields = {.protocol = IPPROTO_UDP,
                                     .fragment = part == 0 ? 0x2000 : 64 / 8};
        frame_ipv4(&frame, &from, &server, &fields, slice_of(payload, sizeof(payload)));
        arrive(b, 0, &frame);
    }
    struct rte_mbuf *frames[BURST];
    exchange(b, 0);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        uint32_t count = receive(b, worker, frames);
        assert_int_equal(count, worker == owner ? 2 : 0);
        rte_pktmbuf_free_bulk(frames, count);
    }
    destroy_bench(b);
}

static void icmp_errors_go_to_the_flow_they_quote(void **state)
{
    struct bench *b = create_bench(1, false);
    struct rte_mbuf *frames[BURST];
    for (uint32_t owner = 0; owner < WORKERS; owner++) {
        struct station peer = client(port_of(b, owner, 1000)), router = {{2, 0, 0, 0, 0, 8}, 0, 0};
        struct frame ours, error;
        struct tcp_fields fields = {.sequence = 7, .flags = 0x10, .window = 1000};
        frame_tcp(&ours, &server, &peer, &fields, slice_of_string("x"));
        router.ipv4 = IPV4(198, 18, 0, 8);
        frame_icmp(&error, &router, &server, 3, 4, 1400, slice_of(ours.bytes + AT_IP, 28));
        arrive(b, 0, &error);
        frame_icmp(&error, &router, &server, 3, 4, 1400, slice_of(ours.bytes + AT_IP, 22));
        arrive(b, 0, &error); /* quotes too little: stays, and is dropped there */
        exchange(b, 0);
        for (uint32_t worker = 0; worker < WORKERS; worker++) {
            uint32_t count = receive(b, worker, frames);
            assert_int_equal(count, (worker == owner ? 1 : 0) + (worker == 0 ? 1 : 0));
            rte_pktmbuf_free_bulk(frames, count);
        }
    }
    destroy_bench(b);
}

static void arp_reaches_all_and_one_may_answer(void **state)
{
    struct bench *b = create_bench(2, false);
    struct station from = client(0);
    struct frame frame;
    struct rte_mbuf *frames[BURST];
    frame_arp(&frame, 1, &from, &server);
    arrive(b, 1, &frame);
    exchange(b, 1);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        assert_int_equal(receive(b, worker, frames), 1);
        assert_int_equal(packet_is_overheard(frames[0]), worker != 1);
        assert_int_equal(b->wakes[worker], worker == 1 ? 0 : 1);
        rte_pktmbuf_free(frames[0]);
    }
    frame_ethernet(&frame, &from, &server, 0x88cc, slice_of_string("lldp"));
    arrive(b, 1, &frame);
    exchange(b, 1);
    assert_int_equal(receive(b, 1, frames), 1);
    rte_pktmbuf_free(frames[0]);
    destroy_bench(b);
}

/* ---- IPv6 ------------------------------------------------------------------------------------ */

static const struct station_ipv6 server6 = {{2, 0, 0, 0, 0, 1}, {0xfd, [15] = 1}, SERVER_PORT};

static struct station_ipv6 client6(uint16_t port)
{
    return (struct station_ipv6){{2, 0, 0, 0, 0, 9}, {0xfd, [15] = 9}, port};
}

static uint32_t owner_of_ipv6(const struct bench *b, uint16_t port)
{
    struct address source = address_of("fd00::9"), destination = address_of("fd00::1");
    return port_rss_worker(
        port_rss_hash_flow_ipv6(&b->rss, &source, &destination, port, SERVER_PORT), WORKERS);
}

/* Takes what one exchange spread, and expects one frame, at `owner`. */
static void expect_at(struct bench *b, uint32_t owner)
{
    struct rte_mbuf *frames[BURST];
    exchange(b, 0);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        uint32_t count = receive(b, worker, frames);
        assert_int_equal(count, worker == owner ? 1 : 0);
        rte_pktmbuf_free_bulk(frames, count);
    }
}

static void ipv6_goes_to_its_owner(void **state)
{
    struct bench *b = create_bench(1, false);
    struct address source = address_of("fd00::9"), destination = address_of("fd00::1");
    uint32_t of_addresses =
        port_rss_worker(port_rss_hash_addresses_ipv6(&b->rss, &source, &destination), WORKERS);
    for (uint16_t port = 1000; port < 1030; port++) {
        struct station_ipv6 from = client6(port), router = {{2, 0, 0, 0, 0, 8}, {0xfe, 0x80}, 0};
        struct tcp_fields tcp = {.sequence = 1, .flags = 0x10, .window = 1000};
        struct ipv6_fields options = {.first = 60,
                                      .extensions = SLICE_LITERAL("\x11\0\x01\x04\0\0\0\0")};
        struct ipv6_fields part = {.first = 44, .extensions = SLICE_LITERAL("\x11\0\0\1\0\0\0\7")};
        struct frame frame, ours;
        uint32_t owner = owner_of_ipv6(b, port);
        frame_tcp_ipv6(&frame, &from, &server6, &tcp, slice_of_string("x"));
        arrive(b, 0, &frame);
        expect_at(b, owner);
        frame_udp_ipv6(&frame, &from, &server6, &options, slice_of_string("behind options"));
        arrive(b, 0, &frame);
        expect_at(b, owner);
        frame_tcp_ipv6(&ours, &server6, &from, &tcp, slice_of_string("x"));
        frame_icmpv6(&frame, &router, &server6, 64, 2, 0, 1300, slice_of(ours.bytes + AT_IP, 48));
        arrive(b, 0, &frame);
        expect_at(b, owner);
        frame_udp_ipv6(&frame, &from, &server6, &part, slice_of_string("fragment"));
        arrive(b, 0, &frame);
        expect_at(b, of_addresses);
        frame_icmpv6(&frame, &from, &server6, 64, 128, 0, 1, slice_of_string("ping"));
        arrive(b, 0, &frame);
        expect_at(b, of_addresses);
    }
    destroy_bench(b);
}

static void neighbour_discovery_reaches_all(void **state)
{
    struct bench *b = create_bench(2, false);
    struct station_ipv6 from = client6(0);
    for (uint8_t type = 135; type <= 136; type++) {
        struct frame frame;
        struct rte_mbuf *frames[BURST];
        frame_nd(&frame, type, &from, &server6, type == 135 ? server6.ipv6 : from.ipv6, 0,
                 from.mac);
        arrive(b, 1, &frame);
        exchange(b, 1);
        for (uint32_t worker = 0; worker < WORKERS; worker++) {
            assert_int_equal(receive(b, worker, frames), 1);
            assert_int_equal(packet_is_overheard(frames[0]), worker != 1);
            rte_pktmbuf_free(frames[0]);
        }
    }
    destroy_bench(b);
}

/* ---- rings ----------------------------------------------------------------------------------- */

static void full_rings_are_counted_drops(void **state)
{
    enum { SENT = 1500, ROOM = 1023 };
    struct bench *b = create_bench(1, false);
    struct frame frame;
    make_segment(&frame, port_of(b, 2, 1000), "x");
    for (uint32_t i = 0; i < SENT; i++) {
        arrive(b, 0, &frame);
    }
    while (exchange(b, 0)) {
    }
    assert_int_equal(counted(b, 0, METRIC_NET_FRAMES_HANDED_ON), ROOM);
    assert_int_equal(counted(b, 0, METRIC_NET_DROP_HAND_ON_FULL), SENT - ROOM);

    struct rte_mbuf *out[SENT];
    assert_int_equal(rte_pktmbuf_alloc_bulk(b->pool, out, SENT), 0);
    for (uint32_t i = 0; i < SENT; i += 50) {
        assert_int_equal(b->links[1].transmit(b->links[1].context, 1, out + i, 50), 0);
    }
    assert_int_equal(counted(b, 1, METRIC_NET_DROP_OUTPUT_RING_FULL), SENT - ROOM);
    destroy_bench(b); /* and everything is given back */
}

static void own_frames_do_not_starve_the_rings(void **state)
{
    struct bench *b = create_bench(2, false);
    struct frame own, other;
    struct rte_mbuf *frames[BURST];
    make_segment(&own, port_of(b, 0, 1000), "x");
    make_segment(&other, port_of(b, 0, 2000), "y");
    for (uint32_t i = 0; i < 1000; i++) {
        arrive(b, 0, &own);
        if (i < 200) {
            arrive(b, 1, &other);
        }
    }
    uint32_t from_ring = 0;
    for (uint32_t pass = 0; pass < 10; pass++) {
        exchange(b, 1);
        exchange(b, 0);
        uint32_t count = receive(b, 0, frames);
        for (uint32_t i = 0; i < count; i++) {
            from_ring += *rte_pktmbuf_mtod_offset(frames[i], char *, AT_L4 + 20) == 'y';
        }
        rte_pktmbuf_free_bulk(frames, count);
    }
    assert_int_equal(from_ring, 200);
    destroy_bench(b);
}

static void workers_without_a_queue_send_through_another(void **state)
{
    struct bench *b = create_bench(2, false);
    struct rte_mbuf *out[3];
    assert_int_equal(rte_pktmbuf_alloc_bulk(b->pool, out, 3), 0);
    assert_false(has_frames(b, 0));
    for (uint16_t worker = 0; worker < WORKERS; worker++) {
        b->links[worker].transmit(b->links[worker].context, worker, &out[worker], 1);
    }
    assert_ptr_equal(b->queues[0].out[0], out[0]);
    assert_ptr_equal(b->queues[1].out[0], out[1]);
    assert_int_equal(b->wakes[0], 1); /* number 2's frames go through queue 2 mod 2 */
    assert_true(has_frames(b, 0));
    assert_true(exchange(b, 0));
    assert_ptr_equal(b->queues[0].out[1], out[2]);
    assert_false(has_frames(b, 0));
    assert_false(exchange(b, 0));
    assert_false(exchange(b, 2));
    destroy_bench(b);
}

static void what_waits_is_sent_at_the_end(void **state)
{
    struct bench *b = create_bench(1, false);
    struct rte_mbuf *out[2];
    assert_int_equal(rte_pktmbuf_alloc_bulk(b->pool, out, 2), 0);
    b->links[1].transmit(b->links[1].context, 1, &out[0], 1);
    b->links[2].transmit(b->links[2].context, 2, &out[1], 1);
    distributor_flush(b->distributor);
    assert_int_equal(b->queues[0].out_count, 2);
    destroy_bench(b);
}

static void links_say_how_to_wait(void **state)
{
    struct bench *b = create_bench(2, false);
    assert_int_equal(b->links[0].wait_fd, 100);
    assert_int_equal(b->links[1].wait_fd, 101);
    assert_int_equal(b->links[2].wait_fd, -1);
    assert_false(b->links[0].wakes); /* as its queue says */
    assert_true(b->links[2].wakes);
    b->links[1].arm(b->links[1].context, 1);
    assert_true(b->armed[1] && !b->armed[0] && !b->armed[2]);
    assert_true(b->links[1].disarm(b->links[1].context, 1) && !b->armed[1]);
    assert_false(b->links[0].disarm(b->links[0].context, 0));
    assert_true(b->links[2].arm == NULL && b->links[2].disarm == NULL);
    assert_false(b->links[0].interface.quiet);
    assert_true(b->links[1].interface.quiet && b->links[2].interface.quiet);
    destroy_bench(b);
}

/* ---- with stacks ----------------------------------------------------------------------------- */

struct stacks {
    struct bench *b;
    struct net *nets[WORKERS];
    struct net_interface *interfaces[WORKERS];
    struct instant now;
};

static void create_stacks(struct stacks *s, uint32_t queue_count)
{
    *s = (struct stacks){.b = create_bench(queue_count, false), .now = {.mono_us = 1000000}};
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct net_options options = {
            .pool = s->b->pool, .metrics = &s->b->metrics[i], .seed = 5 + i};
        s->nets[i] = net_create(&options);
        assert_non_null(s->nets[i]);
        s->interfaces[i] = net_add_interface(s->nets[i], &s->b->links[i].interface, &s->now);
        assert_non_null(s->interfaces[i]);
    }
}

static void destroy_stacks(struct stacks *s)
{
    distributor_flush(s->b->distributor);
    for (uint32_t i = 0; i < WORKERS; i++) {
        net_destroy(s->nets[i]);
    }
    destroy_bench(s->b);
}

/* One pass of a worker; its datagrams come back. */
static uint32_t pass(struct stacks *s, uint32_t worker, struct ip_datagram *datagrams)
{
    struct rte_mbuf *frames[BURST];
    struct core_link *link = &s->b->links[worker];
    struct net_interface *interface = s->interfaces[worker];
    exchange(s->b, worker);
    uint32_t count = receive(s->b, worker, frames);
    count = net_input_batch(s->nets[worker], interface, frames, count, &s->now, datagrams);
    link->transmit(link->context, link->queue, interface->tx, (uint16_t)interface->tx_count);
    interface->tx_count = 0;
    return count;
}

static void pass_all(struct stacks *s)
{
    struct ip_datagram datagrams[BURST];
    for (uint32_t i = 0; i < 2 * WORKERS; i++) {
        assert_int_equal(pass(s, i % WORKERS, datagrams), 0);
    }
}

static void sent_frame(const struct stacks *s, uint32_t index, struct frame *frame)
{
    assert_true(index < s->b->queues[0].out_count);
    frame_from_mbuf(frame, s->b->queues[0].out[index]);
}

static void our_address_is_announced_once_and_answered_once(void **state)
{
    struct stacks s;
    struct frame frame;
    struct station from = client(0);
    create_stacks(&s, 1);
    pass_all(&s);
    assert_int_equal(s.b->queues[0].out_count, 1);
    sent_frame(&s, 0, &frame);
    assert_null(frame_fault(&frame));
    assert_int_equal(bytes_read_be16(frame.bytes + AT_ARP + 6), 1); /* a request, for ourselves */
    assert_memory_equal(frame.bytes + AT_ARP + 14, frame.bytes + AT_ARP + 24, 4);

    frame_arp(&frame, 1, &from, &server);
    arrive(s.b, 0, &frame);
    pass_all(&s);
    assert_int_equal(s.b->queues[0].out_count, 2);
    sent_frame(&s, 1, &frame);
    assert_null(frame_fault(&frame));
    assert_int_equal(bytes_read_be16(frame.bytes + AT_ARP + 6), 2);
    destroy_stacks(&s);
}

/* The answer comes in at worker 0; worker 2 has asked. And the request taught all of them. */
static void what_arp_teaches_reaches_all(void **state)
{
    struct stacks s;
    struct frame frame;
    struct station from = client(0);
    struct address to;
    create_stacks(&s, 1);
    pass_all(&s);
    to = address_from_ipv4(from.ipv4);
    struct rte_mbuf *packet = net_allocate(s.nets[2]);
    assert_non_null(rte_pktmbuf_append(packet, 20));
    ip_output(s.nets[2], s.interfaces[2], &s.interfaces[2]->addresses.at[0].address, &to,
              IPPROTO_TCP, packet, &s.now);
    pass_all(&s);
    assert_int_equal(s.b->queues[0].out_count, 2); /* announcement, request */
    frame_arp(&frame, 2, &from, &server);
    arrive(s.b, 0, &frame);
    pass_all(&s);
    assert_int_equal(s.b->queues[0].out_count, 3);
    sent_frame(&s, 2, &frame);
    assert_int_equal(bytes_read_be16(frame.bytes + AT_TYPE), 0x0800);
    assert_memory_equal(frame.bytes, from.mac, 6);

    frame_arp(&frame, 1, &from, &server);
    arrive(s.b, 0, &frame);
    pass_all(&s); /* answered by one; now worker 1 knows, too */
    assert_int_equal(s.b->queues[0].out_count, 4);
    packet = net_allocate(s.nets[1]);
    assert_non_null(rte_pktmbuf_append(packet, 20));
    ip_output(s.nets[1], s.interfaces[1], &s.interfaces[1]->addresses.at[0].address, &to,
              IPPROTO_TCP, packet, &s.now);
    pass_all(&s);
    assert_int_equal(s.b->queues[0].out_count, 5);
    sent_frame(&s, 4, &frame);
    assert_int_equal(bytes_read_be16(frame.bytes + AT_TYPE), 0x0800);
    destroy_stacks(&s);
}

/* In fragments to the owner of the addresses; whole to the owner of the connection. */
static void segments_made_whole_are_handed_on(void **state)
{
    enum { PAYLOAD = 4000, CUT = 1480 };
    static uint8_t text[PAYLOAD];
    struct stacks s;
    create_stacks(&s, 1);
    for (uint32_t i = 0; i < PAYLOAD; i++) {
        text[i] = (uint8_t)i;
    }
    for (uint32_t owner = 0; owner < WORKERS; owner++) {
        struct station from = client(port_of(s.b, owner, 1000));
        uint32_t maker =
            port_rss_worker(port_rss_hash_addresses(&s.b->rss, from.ipv4, server.ipv4), WORKERS);
        struct frame whole, part;
        struct tcp_fields fields = {.sequence = 1, .flags = 0x10, .window = 1000};
        frame_tcp(&whole, &from, &server, &fields, slice_of(text, PAYLOAD));
        for (uint32_t at = 0; at < PAYLOAD + 20; at += CUT) {
            uint32_t left = PAYLOAD + 20 - at;
            struct ipv4_fields ip = {.protocol = IPPROTO_TCP,
                                     .identification = (uint16_t)(77 + owner),
                                     .fragment = (uint16_t)(at / 8 | (left > CUT ? 0x2000U : 0U))};
            frame_ipv4(&part, &from, &server, &ip,
                       slice_of(whole.bytes + AT_L4 + at, left < CUT ? left : CUT));
            arrive(s.b, 0, &part);
        }
        struct ip_datagram datagrams[BURST];
        pass(&s, 0, datagrams);
        if (maker != 0) {
            assert_int_equal(pass(&s, maker, datagrams), 1);
        }
        assert_true(datagrams[0].reassembled);
        struct core_link *link = &s.b->links[maker];
        bool handed_on = link->hand_on(link->context, link->queue, &datagrams[0]);
        assert_int_equal(handed_on, maker != owner);
        if (handed_on) {
            assert_int_equal(pass(&s, owner, datagrams), 1);
            assert_false(datagrams[0].reassembled);
            assert_int_equal(datagrams[0].protocol, IPPROTO_TCP);
        }
        struct rte_mbuf *mbuf = datagrams[0].mbuf;
        assert_int_equal(mbuf->data_len, PAYLOAD + 20);
        assert_memory_equal(rte_pktmbuf_mtod(mbuf, uint8_t *), whole.bytes + AT_L4, PAYLOAD + 20);
        rte_pktmbuf_free(mbuf);
    }
    destroy_stacks(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_is_that_of_nics),
        cmocka_unit_test(ports_in_sequence_are_spread_evenly),
        cmocka_unit_test(hash_of_ipv6_is_that_of_nics),
        cmocka_unit_test(ipv6_goes_to_its_owner),
        cmocka_unit_test(neighbour_discovery_reaches_all),
        cmocka_unit_test(every_flow_has_one_worker_and_keeps_its_order),
        cmocka_unit_test(a_port_that_spreads_is_believed),
        cmocka_unit_test(fragments_go_by_addresses),
        cmocka_unit_test(icmp_errors_go_to_the_flow_they_quote),
        cmocka_unit_test(arp_reaches_all_and_one_may_answer),
        cmocka_unit_test(full_rings_are_counted_drops),
        cmocka_unit_test(own_frames_do_not_starve_the_rings),
        cmocka_unit_test(workers_without_a_queue_send_through_another),
        cmocka_unit_test(what_waits_is_sent_at_the_end),
        cmocka_unit_test(links_say_how_to_wait),
        cmocka_unit_test(our_address_is_announced_once_and_answered_once),
        cmocka_unit_test(what_arp_teaches_reaches_all),
        cmocka_unit_test(segments_made_whole_are_handed_on),
    };
    simulated_memory_setup();
    shared_pool = simulated_pool_create("distributor", POOL, 2048);
    return cmocka_run_group_tests_name("distributor", tests, NULL, NULL);
}
