/* The exception path: which frames of a shared port are the host's, and which way they go. The port
 * and its TAP are two arrays each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <stdlib.h>

#include <rte_mempool.h>

#include "dataplane/core/core_exception.h"
#include "tests/support/packet_builder.h"
#include "tests/support/simulated_host.h"

#define POOL      1023U
#define QUEUE_MAX 128U
#define BURST     64U
#define VLAN      12

enum { OURS = 1, HOST = 2, BOTH = OURS | HOST };

static struct rte_mempool *pool;
static const struct station ours = {{2, 0, 0, 0, 0, 1}, IPV4(198, 18, 0, 1), 6379};
static const struct station peer = {{2, 0, 0, 0, 0, 9}, IPV4(198, 18, 0, 9), 40000};
static const struct station_ipv6 ours6 = {{2, 0, 0, 0, 0, 1}, {0xfd, [15] = 1}, 6379};
static const struct station_ipv6 peer6 = {{2, 0, 0, 0, 0, 9}, {0xfd, [15] = 9}, 40000};

static struct net_interface make_interface(uint16_t vlan)
{
    struct net_interface interface = {.mac = {{2, 0, 0, 0, 0, 1}},
                                      .addresses = simulated_host_addresses(1),
                                      .vlan = vlan,
                                      .mtu = 1500};
    struct interface_addresses *addresses = &interface.addresses;
    addresses->at[addresses->count].prefix_length = 64;
    memcpy(addresses->at[addresses->count++].address.bytes, ours6.ipv6, 16);
    return interface;
}

static int judge_by(uint16_t vlan, uint16_t udp_port, struct slice frame, enum metric *reason)
{
    struct net_interface interface = make_interface(vlan);
    net_complete_interface(&interface);
    struct exception_rules rules = {
        .interface = &interface, .tcp_ports = {6379, 11211}, .udp_port = udp_port};
    struct exception_verdict verdict = exception_judge(&rules, frame);
    *reason = verdict.reason;
    return (verdict.ours ? OURS : 0) | (verdict.kernels ? HOST : 0);
}

static void assert_judged(const struct frame *frame, int whose, enum metric reason)
{
    enum metric told;
    assert_int_equal(judge_by(0, 0, slice_of(frame->bytes, frame->size), &told), whose);
    assert_int_equal(told, reason);
}

static struct station port_of(const struct station *station, uint16_t port)
{
    struct station other = *station;
    other.port = port;
    return other;
}

/* ---- rules ----------------------------------------------------------------------------------- */

static void tcp_is_judged_by_its_port(void **state)
{
    (void)state;
    static const uint16_t served[] = {6379, 11211}, others[] = {22, 40000, 6378, 0};
    const struct tcp_fields fields = {.flags = 2};
    struct frame frame;
    for (size_t i = 0; i < RTE_DIM(served); i++) {
        struct station to = port_of(&ours, served[i]);
        frame_tcp(&frame, &peer, &to, &fields, slice_of_string(""));
        assert_judged(&frame, OURS, METRIC_COUNT);
    }
    for (size_t i = 0; i < RTE_DIM(others); i++) {
        struct station to = port_of(&ours, others[i]);
        frame_tcp(&frame, &peer, &to, &fields, slice_of_string(""));
        assert_judged(&frame, HOST, METRIC_NET_EXCEPTION_PORT);
    }
    frame_tcp_ipv6(&frame, &peer6, &ours6, &fields, slice_of_string(""));
    assert_judged(&frame, OURS, METRIC_COUNT);
    struct station_ipv6 ssh = ours6;
    ssh.port = 22;
    frame_tcp_ipv6(&frame, &peer6, &ssh, &fields, slice_of_string(""));
    assert_judged(&frame, HOST, METRIC_NET_EXCEPTION_PORT);
}

static void udp_is_ours_only_while_it_is_served(void **state)
{
    (void)state;
    struct frame frame;
    enum metric reason;
    struct station to = port_of(&ours, 11211);
    frame_udp(&frame, &peer, &to, slice_of_string("text"));
    assert_int_equal(judge_by(0, 0, slice_of(frame.bytes, frame.size), &reason), HOST);
    assert_int_equal(reason, METRIC_NET_EXCEPTION_PORT);
    assert_int_equal(judge_by(0, 11211, slice_of(frame.bytes, frame.size), &reason), OURS);
    frame.bytes[AT_IP_FRAGMENT] = 0x20; /* more fragments */
    assert_int_equal(judge_by(0, 0, slice_of(frame.bytes, frame.size), &reason), HOST);
    assert_int_equal(judge_by(0, 11211, slice_of(frame.bytes, frame.size), &reason), OURS);
}

static void other_addresses_protocols_and_types_are_the_hosts(void **state)
{
    (void)state;
    struct frame frame;
    struct station other = ours;
    other.ipv4 = IPV4(198, 18, 0, 200);
    frame_udp(&frame, &peer, &other, slice_of_string("text"));
    assert_judged(&frame, HOST, METRIC_NET_EXCEPTION_ADDRESS);
    other.ipv4 = IPV4(198, 18, 0, 255);
    memset(other.mac, 0xff, 6);
    frame_udp(&frame, &peer, &other, slice_of_string("text"));
    assert_judged(&frame, HOST, METRIC_NET_EXCEPTION_ADDRESS);
    frame_ipv4(&frame, &peer, &ours, &(struct ipv4_fields){.protocol = 47}, slice_of_string("gre"));
    assert_judged(&frame, HOST, METRIC_NET_EXCEPTION_PROTOCOL);
    frame_ethernet(&frame, &peer, &ours, 0x88cc, slice_of_string("lldp"));
    assert_judged(&frame, HOST, METRIC_NET_EXCEPTION_ETHERTYPE);
    frame_ipv6(&frame, &peer6, &ours6, &(struct ipv6_fields){0}, 47, slice_of_string("gre"));
    assert_judged(&frame, HOST, METRIC_NET_EXCEPTION_PROTOCOL);
}

static void another_vlan_is_the_hosts(void **state)
{
    (void)state;
    struct frame frame;
    enum metric reason;
    frame_tcp(&frame, &peer, &ours, &(struct tcp_fields){.flags = 2}, slice_of_string(""));
    assert_int_equal(judge_by(VLAN, 0, slice_of(frame.bytes, frame.size), &reason), HOST);
    assert_int_equal(reason, METRIC_NET_EXCEPTION_VLAN);
    frame_add_tag(&frame, VLAN);
    assert_int_equal(judge_by(VLAN, 0, slice_of(frame.bytes, frame.size), &reason), OURS);
    assert_judged(&frame, HOST, METRIC_NET_EXCEPTION_VLAN);
}

static void what_nobody_could_use_is_dropped_by_us(void **state)
{
    (void)state;
    struct frame frame;
    struct station other = port_of(&ours, 22);
    frame_tcp(&frame, &peer, &other, &(struct tcp_fields){.flags = 2}, slice_of_string(""));
    frame.bytes[5] ^= 4; /* another station's MAC */
    assert_judged(&frame, OURS, METRIC_COUNT);
    frame.bytes[5] ^= 4;
    frame.bytes[AT_IP] = 0x54;
    assert_judged(&frame, OURS, METRIC_COUNT);
    frame.size = 10;
    assert_judged(&frame, OURS, METRIC_COUNT);
}

/* Every cut of a frame gives an answer, and reads nothing behind the cut (ASan). */
static void every_cut_is_judged(void **state)
{
    (void)state;
    struct frame frames[4];
    frame_tcp(&frames[0], &peer, &ours, &(struct tcp_fields){.flags = 2}, slice_of_string("text"));
    frame_icmp(&frames[1], &peer, &ours, 3, 4, 0,
               slice_of(frames[0].bytes + AT_IP, frames[0].size - AT_IP));
    frame_tcp_ipv6(&frames[2], &peer6, &ours6, &(struct tcp_fields){.flags = 2},
                   slice_of_string("text"));
    frame_icmpv6(&frames[3], &peer6, &ours6, 64, 2, 0, 1280,
                 slice_of(frames[2].bytes + AT_IP, frames[2].size - AT_IP));
    for (size_t i = 0; i < RTE_DIM(frames); i++) {
        for (size_t size = 0; size <= frames[i].size; size++) {
            uint8_t *exact = malloc(size + 1);
            assert_non_null(exact);
            memcpy(exact, frames[i].bytes, size);
            enum metric reason;
            assert_true(judge_by(0, 0, slice_of(exact, size), &reason) != 0);
            free(exact);
        }
    }
}

/* An error about a packet from our port 6379, or from the host's port 22. */
static void errors_go_to_whom_they_are_about(void **state)
{
    (void)state;
    struct station ssh = port_of(&ours, 22);
    struct frame quoted, frame;
    frame_tcp(&quoted, &ours, &peer, &(struct tcp_fields){.flags = 16}, slice_of_string("text"));
    frame_icmp(&frame, &peer, &ours, 3, 4, 1400, slice_of(quoted.bytes + AT_IP, 28));
    assert_judged(&frame, OURS, METRIC_COUNT);
    frame_tcp(&quoted, &ssh, &peer, &(struct tcp_fields){.flags = 16}, slice_of_string("text"));
    frame_icmp(&frame, &peer, &ours, 3, 4, 1400, slice_of(quoted.bytes + AT_IP, 28));
    assert_judged(&frame, HOST, METRIC_NET_EXCEPTION_ICMP);
    frame_icmp(&frame, &peer, &ours, 8, 0, 1, slice_of_string("ping"));
    assert_judged(&frame, OURS, METRIC_COUNT);
    frame_icmp(&frame, &peer, &ours, 0, 0, 1, slice_of_string("answer to the host's ping"));
    assert_judged(&frame, HOST, METRIC_NET_EXCEPTION_ICMP);
    frame_tcp_ipv6(&quoted, &ours6, &peer6, &(struct tcp_fields){.flags = 16}, slice_of_string(""));
    frame_icmpv6(&frame, &peer6, &ours6, 64, 2, 0, 1280, slice_of(quoted.bytes + AT_IP, 60));
    assert_judged(&frame, OURS, METRIC_COUNT);
    frame_icmpv6(&frame, &peer6, &ours6, 64, 129, 0, 1, slice_of_string("answer"));
    assert_judged(&frame, HOST, METRIC_NET_EXCEPTION_ICMP);
}

static void neighbours_are_heard_by_both(void **state)
{
    (void)state;
    struct frame frame;
    struct station other = ours;
    frame_arp(&frame, 1, &peer, &ours);
    assert_judged(&frame, OURS, METRIC_COUNT);
    frame_arp(&frame, 2, &peer, &ours);
    assert_judged(&frame, BOTH, METRIC_NET_EXCEPTION_NEIGHBOUR);
    other.ipv4++;
    frame_arp(&frame, 1, &peer, &other);
    assert_judged(&frame, BOTH, METRIC_NET_EXCEPTION_NEIGHBOUR);
    frame_nd(&frame, 135, &peer6, &ours6, ours6.ipv6, 0, peer6.mac);
    assert_judged(&frame, OURS, METRIC_COUNT);
    frame_nd(&frame, 135, &peer6, &ours6, peer6.ipv6, 0, peer6.mac);
    assert_judged(&frame, HOST, METRIC_NET_EXCEPTION_NEIGHBOUR);
    frame_nd(&frame, 136, &peer6, &ours6, peer6.ipv6, 0, peer6.mac);
    assert_judged(&frame, BOTH, METRIC_NET_EXCEPTION_NEIGHBOUR);
    frame_icmpv6(&frame, &peer6, &ours6, 255, 134, 0, 0, slice_of_string("router's text"));
    assert_judged(&frame, HOST, METRIC_NET_EXCEPTION_NEIGHBOUR);
}

/* ---- the way --------------------------------------------------------------------------------- */

struct queue {
    struct rte_mbuf *in[QUEUE_MAX], *out[QUEUE_MAX];
    uint16_t in_first, in_end, out_count;
    uint16_t room; /* of out */
};

struct bench {
    struct queue port, tap;
    struct metrics metrics;
    struct exception *exception;
    struct core_link link;
};

static uint16_t queue_receive(void *context, uint16_t number, struct rte_mbuf **packets,
                              uint16_t count_max)
{
    struct queue *queue = context;
    uint16_t count = 0;
    assert_int_equal(number, 0);
    while (count < count_max && queue->in_first < queue->in_end) {
        packets[count++] = queue->in[queue->in_first++];
    }
    return count;
}

static uint16_t queue_transmit(void *context, uint16_t number, struct rte_mbuf **packets,
                               uint16_t count)
{
    struct queue *queue = context;
    uint16_t dropped = 0;
    assert_int_equal(number, 0);
    for (uint16_t i = 0; i < count; i++) {
        if (queue->out_count < queue->room) {
            queue->out[queue->out_count++] = packets[i];
        } else {
            rte_pktmbuf_free(packets[i]);
            dropped++;
        }
    }
    return dropped;
}

static struct core_link link_to(struct queue *queue)
{
    queue->room = QUEUE_MAX;
    return (struct core_link){
        .context = queue, .receive = queue_receive, .transmit = queue_transmit, .wait_fd = -1};
}

static struct bench *create_bench(void)
{
    static struct core_link port, tap;
    struct interface_config vlan = {.name = "v12",
                                    .driver = INTERFACE_VLAN,
                                    .argument = "port",
                                    .addresses = simulated_host_addresses(2),
                                    .vlan = VLAN};
    struct bench *b = calloc(1, sizeof(*b));
    assert_non_null(b);
    port = link_to(&b->port);
    port.name = "port";
    port.interface = make_interface(0);
    tap = link_to(&b->tap);
    struct exception_options options = {.queues = &port,
                                        .taps = &tap,
                                        .queue_count = 1,
                                        .rules = {.tcp_ports = {6379, 11211}},
                                        .interfaces = &vlan,
                                        .interface_count = 1,
                                        .pool = pool,
                                        .metrics = &b->metrics};
    b->exception = exception_create(&options);
    assert_non_null(b->exception);
    exception_link(b->exception, 0, &b->link);
    return b;
}

static void empty(struct queue *queue)
{
    rte_pktmbuf_free_bulk(queue->out, queue->out_count);
    rte_pktmbuf_free_bulk(queue->in + queue->in_first, (unsigned)(queue->in_end - queue->in_first));
    queue->out_count = queue->in_first = queue->in_end = 0;
}

static void destroy_bench(struct bench *b)
{
    empty(&b->port);
    empty(&b->tap);
    exception_destroy(b->exception);
    free(b);
    assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

static void arrive(struct queue *queue, const struct frame *frame)
{
    assert_true(queue->in_end < QUEUE_MAX);
    queue->in[queue->in_end++] = frame_to_mbuf(frame, pool, 0);
}

static uint16_t receive(struct bench *b)
{
    struct rte_mbuf *packets[BURST];
    uint16_t count = b->link.receive(b->link.context, b->link.queue, packets, BURST);
    rte_pktmbuf_free_bulk(packets, count);
    return count;
}

static bool exchange(struct bench *b)
{
    return b->link.exchange(b->link.context, b->link.queue);
}

static void frames_part_and_keep_their_order(void **state)
{
    (void)state;
    struct bench *b = create_bench();
    struct frame frame;
    for (uint16_t i = 0; i < 20; i++) {
        struct station to = port_of(&ours, i % 2 == 0 ? 6379 : (uint16_t)(1000 + i));
        frame_tcp(&frame, &peer, &to, &(struct tcp_fields){.flags = 2}, slice_of_string(""));
        arrive(&b->port, &frame);
    }
    frame_arp(&frame, 2, &peer, &ours);
    arrive(&b->port, &frame);
    assert_int_equal(receive(b), 11);
    assert_int_equal(b->tap.out_count, 11);
    for (uint16_t i = 0; i < 10; i++) {
        const uint8_t *sent = rte_pktmbuf_mtod(b->tap.out[i], const uint8_t *);
        assert_int_equal(bytes_read_be16(sent + AT_L4 + 2), 1001 + 2 * i);
    }
    assert_int_equal(b->metrics.values[METRIC_NET_EXCEPTION_PORT], 10);
    assert_int_equal(b->metrics.values[METRIC_NET_EXCEPTION_NEIGHBOUR], 1);
    assert_int_equal(b->port.out_count, 0);
    destroy_bench(b);
}

/* Each has addresses of its own. */
static void further_vlans_are_ours_too(void **state)
{
    (void)state;
    struct bench *b = create_bench();
    struct station second = ours;
    struct frame frame;
    second.ipv4 = IPV4(198, 18, 0, 2);
    for (uint32_t tagged = 0; tagged < 2; tagged++) {
        frame_tcp(&frame, &peer, tagged ? &second : &ours, &(struct tcp_fields){.flags = 2},
                  slice_of_string(""));
        arrive(&b->port, &frame);
        if (tagged) {
            frame_add_tag(&frame, VLAN);
            arrive(&b->port, &frame);
        }
    }
    assert_int_equal(receive(b), 2);
    assert_int_equal(b->metrics.values[METRIC_NET_EXCEPTION_ADDRESS], 1);
    destroy_bench(b);
}

static void the_hosts_frames_leave_by_the_port(void **state)
{
    (void)state;
    struct bench *b = create_bench();
    struct frame frame;
    assert_false(exchange(b));
    frame_tcp(&frame, &ours, &peer, &(struct tcp_fields){.flags = 2}, slice_of_string(""));
    arrive(&b->tap, &frame);
    uint32_t passes = 1;
    while (!exchange(b)) {
        assert_true(passes++ < 32);
    }
    assert_int_equal(b->port.out_count, 1);
    assert_int_equal(b->tap.out_count, 0);
    assert_int_equal(b->metrics.values[METRIC_NET_EXCEPTION_FROM_KERNEL], 1);
    destroy_bench(b);
}

static void what_has_no_room_is_counted(void **state)
{
    (void)state;
    struct bench *b = create_bench();
    struct frame frame;
    struct station ssh = port_of(&ours, 22);
    b->tap.room = b->port.room = 2;
    for (uint16_t i = 0; i < 5; i++) {
        frame_tcp(&frame, &peer, &ssh, &(struct tcp_fields){.flags = 2}, slice_of_string(""));
        arrive(&b->port, &frame);
        arrive(&b->tap, &frame);
    }
    assert_int_equal(receive(b), 0);
    assert_true(exchange(b));
    assert_int_equal(b->metrics.values[METRIC_NET_DROP_EXCEPTION_TAP], 3);
    assert_int_equal(b->metrics.values[METRIC_NET_DROP_EXCEPTION_PORT], 3);
    destroy_bench(b);
}

/* A copy for the host costs a buffer; without one we still get ours. */
static void without_buffers_ours_are_served(void **state)
{
    (void)state;
    struct bench *b = create_bench();
    struct rte_mbuf *held[POOL];
    struct frame frame;
    uint32_t held_count = 0;
    frame_arp(&frame, 2, &peer, &ours);
    arrive(&b->port, &frame);
    while ((held[held_count] = rte_pktmbuf_alloc(pool)) != NULL) {
        held_count++;
    }
    assert_int_equal(receive(b), 1);
    assert_int_equal(b->tap.out_count, 0);
    assert_int_equal(b->metrics.values[METRIC_NET_DROP_NO_BUFFER], 1);
    rte_pktmbuf_free_bulk(held, held_count);
    destroy_bench(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_is_judged_by_its_port),
        cmocka_unit_test(udp_is_ours_only_while_it_is_served),
        cmocka_unit_test(other_addresses_protocols_and_types_are_the_hosts),
        cmocka_unit_test(another_vlan_is_the_hosts),
        cmocka_unit_test(what_nobody_could_use_is_dropped_by_us),
        cmocka_unit_test(every_cut_is_judged),
        cmocka_unit_test(errors_go_to_whom_they_are_about),
        cmocka_unit_test(neighbours_are_heard_by_both),
        cmocka_unit_test(frames_part_and_keep_their_order),
        cmocka_unit_test(further_vlans_are_ours_too),
        cmocka_unit_test(the_hosts_frames_leave_by_the_port),
        cmocka_unit_test(what_has_no_room_is_counted),
        cmocka_unit_test(without_buffers_ours_are_served),
    };
    simulated_memory_setup();
    pool = simulated_pool_create("exception", POOL, 2048);
    return cmocka_run_group_tests_name("exception", tests, NULL, NULL);
}
