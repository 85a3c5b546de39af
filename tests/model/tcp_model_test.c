/* TCP against itself across a simulated bad network: bytes right, progress always, no packet storm,
 * everything given back. Each seed draws the network, the stacks' options and the sessions'
 * behaviour; its lowest three bits say which TCP options something on the way takes out of the
 * SYNs, so that every combination has its turn. With every third seed the ports sum and cut
 * packets.
 *
 *   tcp_model_test             200 seeds
 *   SEED=7 tcp_model_test      one seed, with its story
 *   COUNT=5000 [SEED=1] ...    that many from SEED on
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rte_ip.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/bytes.h"
#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/l2_link/wire_ipv6.h"
#include "tests/support/simulated_host.h"
#include "tests/support/simulated_network.h"

#define PORT            7000
#define CONNECTIONS_MAX 24U
#define POOL_MBUFS      16383U
#define APP_TICK_US     2000U
#define SEEDS_SHORT     200U
#define FRAME_BYTES_MAX 9216U
#define IP_BYTES        20U
#define CHUNK_MAX       30000U

/* One end of one connection, as a session would drive it. */
struct end {
    struct stream *stream;
    uint64_t send_key, receive_key;
    uint64_t send_total, sent, receive_total, received;
    size_t held; /* received, and not yet read by the pretended application */
    bool slow, finished, closed, close_sent;
    uint32_t events_after_close;
};

struct side {
    struct simulated_host host;
    uint32_t station;
    struct end ends[CONNECTIONS_MAX];
    uint32_t end_count, closed_count;
    struct world *world;
};

struct world {
    uint64_t seed, random_state, now_us;
    struct simulated_network *network;
    struct side client, server;
    uint64_t totals[CONNECTIONS_MAX][2];
    uint32_t connection_count;
    uint64_t bytes_expected, deadline_us;
    bool ipv6; /* every other seed */
    bool wrong;
    char story[256];
};

static struct rte_mempool *pool;

static uint64_t draw(struct world *world, uint64_t below)
{
    return (random_next(&world->random_state) >> 11) % below;
}

/* What a middlebox may take out of a SYN, one bit each. */
enum stripped { STRIP_SACK = 1, STRIP_TIMESTAMPS = 2, STRIP_WINDOW_SCALE = 4 };

static uint8_t byte_at(uint64_t key, uint64_t position)
{
    return (uint8_t)((position * 0x9E3779B97F4A7C15ULL + key) >> 23 ^ position >> 5);
}

static void complain(struct world *world, const char *what)
{
    if (!world->wrong) {
        fprintf(stderr, "# seed %llu at %llu us: %s (%s)\n", (unsigned long long)world->seed,
                (unsigned long long)world->now_us, what, world->story);
    }
    world->wrong = true;
}

static void take_data(struct world *world, struct end *end, struct slice data)
{
    for (size_t i = 0; i < data.size; i++) {
        if (data.data[i] != byte_at(end->receive_key, end->received + i)) {
            complain(world, "wrong byte");
            return;
        }
    }
    end->received += data.size;
    if (end->received > end->receive_total) {
        complain(world, "more bytes than were sent");
    }
    if (end->slow) {
        end->held += data.size;
        end->stream->unread_bytes = end->held;
    }
}

static struct end *attach(struct side *side, struct stream *stream, uint16_t client_port,
                          bool client)
{
    struct end *end = &side->ends[side->end_count++];
    *end = (struct end){.stream = stream};
    stream->session = end;
    end->send_key = client_port * 2U + client;
    end->receive_key = client_port * 2U + !client;
    end->slow = draw(side->world, 3) == 0;
    return end;
}

/* The totals of a connection are a function of the client's port: both ends find them. */
static void find_totals(struct world *world, struct end *end, uint16_t client_port, bool client)
{
    uint32_t index = client_port % CONNECTIONS_MAX;
    end->send_total = world->totals[index][client ? 0 : 1];
    end->receive_total = world->totals[index][client ? 1 : 0];
}

static void on_closed(struct side *side, struct end *end)
{
    if (end->closed) {
        complain(side->world, "closed twice");
    }
    end->closed = true;
    side->closed_count++;
    if (end->received != end->receive_total || end->sent != end->send_total) {
        complain(side->world, "closed before everything was transferred");
    }
}

static void on_events(struct simulated_host *host, const struct stream_event *events,
                      uint32_t count, const struct instant *now)
{
    struct side *side = host->context;
    struct world *world = side->world;
    for (uint32_t i = 0; i < count; i++) {
        struct stream *stream = events[i].stream;
        struct end *end = stream->session;
        if (events[i].type == STREAM_OPENED && end == NULL) {
            end = attach(side, stream, stream->peer.port, false);
            find_totals(world, end, stream->peer.port, false);
        } else if (end == NULL || end->closed) {
            complain(world, "event for a stream that is not open");
        } else if (events[i].type == STREAM_DATA) {
            take_data(world, end, events[i].data);
        } else if (events[i].type == STREAM_FINISHED) {
            end->finished = true;
            if (end->received != end->receive_total) {
                complain(world, "finished before the last byte");
            }
        } else if (events[i].type == STREAM_CLOSED) {
            on_closed(side, end);
        }
    }
}

static void write_some(struct world *world, struct side *side, struct end *end)
{
    uint8_t bytes[CHUNK_MAX];
    uint64_t left = end->send_total - end->sent;
    if (left == 0 || end->stream->out.size > 200000 || draw(world, 4) == 0) {
        return;
    }
    uint64_t size = 1 + draw(world, draw(world, 2) == 0 ? 100 : CHUNK_MAX - 1);
    size = size < left ? size : left;
    for (uint64_t i = 0; i < size; i++) {
        bytes[i] = byte_at(end->send_key, end->sent + i);
    }
    byte_queue_append(&end->stream->out, &side->host.bytes, bytes, size);
    end->sent += size;
    stream_mark_dirty(end->stream);
}

static void read_some(struct world *world, struct end *end)
{
    if (end->held > 0 && draw(world, 3) == 0) {
        size_t size = draw(world, 5) == 0 ? end->held : draw(world, end->held + 1);
        end->held -= size;
        end->stream->unread_bytes = end->held;
        stream_mark_dirty(end->stream);
    }
}

static void drive(struct world *world, struct side *side)
{
    for (uint32_t i = 0; i < side->end_count; i++) {
        struct end *end = &side->ends[i];
        if (end->closed || end->close_sent) {
            continue;
        }
        write_some(world, side, end);
        read_some(world, end);
        bool done = end->sent == end->send_total && end->received == end->receive_total;
        if (done && (end->finished || draw(world, 3) == 0)) {
            end->close_sent = true;
            end->stream->close_requested = true;
            stream_mark_dirty(end->stream);
        }
    }
}

static bool is_stripped(uint8_t kind, uint64_t seed)
{
    return (kind == 4 && (seed & STRIP_SACK)) || (kind == 8 && (seed & STRIP_TIMESTAMPS)) ||
           (kind == 3 && (seed & STRIP_WINDOW_SCALE));
}

static void strip_syn(struct rte_mbuf *mbuf, uint64_t seed)
{
    uint8_t *frame = rte_pktmbuf_mtod(mbuf, uint8_t *), *ip = frame + RTE_ETHER_HDR_LEN;
    uint8_t *l4 = ip + IP_BYTES;
    if (bytes_read_be16(frame + 12) != RTE_ETHER_TYPE_IPV4 || ip[9] != IPPROTO_TCP ||
        !(l4[13] & 0x02)) {
        return;
    }
    uint8_t *end = l4 + (l4[12] >> 4) * 4;
    for (uint8_t *option = l4 + 20; option < end;) {
        uint32_t size = option[0] <= 1 ? 1 : option[1];
        if (is_stripped(option[0], seed)) {
            memset(option, 1, size);
        }
        option += size;
    }
    mbuf->ol_flags &= ~RTE_MBUF_F_TX_TCP_CKSUM;
    memset(l4 + 16, 0, 2);
    uint16_t sum = rte_ipv4_udptcp_cksum((const struct rte_ipv4_hdr *)(const void *)ip, l4);
    memcpy(l4 + 16, &sum, 2);
}

static void pass(struct world *world, struct side *side)
{
    struct rte_mbuf *frames[SIMULATED_BURST];
    struct instant now = simulated_instant(world->now_us);
    uint32_t count = simulated_network_receive(world->network, side->station, frames,
                                               SIMULATED_BURST, world->now_us);
    drive(world, side);
    simulated_host_pass(&side->host, frames, count, &now);
    for (uint32_t i = 0; i < side->host.interface->tx_count; i++) {
        strip_syn(side->host.interface->tx[i], world->seed);
    }
    simulated_network_collect(world->network, side->station, side->host.interface, world->now_us);
}

static struct simulated_link draw_link(struct world *world)
{
    static const uint32_t losses[] = {0, 0, 1000, 10000, 50000, 100000};
    struct simulated_link link = {
        .loss = losses[draw(world, 6)],
        .reorder = draw(world, 2) == 0 ? 0 : (uint32_t)draw(world, 200000),
        .duplication = draw(world, 2) == 0 ? 0 : (uint32_t)draw(world, 50000),
        .corruption = draw(world, 2) == 0 ? 0 : (uint32_t)draw(world, 10000),
        .delay_us = draw(world, 2) == 0 ? 50 : draw(world, 30000),
        .jitter_us = draw(world, 2) == 0 ? 0 : draw(world, 1000),
        .reorder_delay_us = 1 + draw(world, 3000),
    };
    if (draw(world, 3) == 0) {
        link.bytes_per_second = 500000 + draw(world, 50000000);
        link.queue_us = 2000 + draw(world, 100000);
    }
    return link;
}

static struct tcp_options draw_options(struct world *world)
{
    struct tcp_options options;
    tcp_default_options(&options);
    options.receive_buffer_bytes_max = 4000U << draw(world, 8);
    options.time_wait_ms = 2000;
    options.rto_min_ms = draw(world, 2) == 0 ? 200 : 5 + (uint32_t)draw(world, 30);
    options.congestion = draw(world, 2) == 0 ? TCP_CONGESTION_CUBIC : TCP_CONGESTION_NEWRENO;
    options.seed = random_next(&world->random_state);
    return options;
}

static uint16_t draw_mtu(struct world *world)
{
    switch (draw(world, 3)) {
    case 0: return 1500;
    case 1: return (uint16_t)(576 + draw(world, 925));
    default: return (uint16_t)(576 + draw(world, 8425));
    }
}

static void let_port_cut(struct world *world, struct net_interface *interface)
{
    interface->tx_ipv4_checksum = interface->tx_tcp_checksum = interface->tx_udp_checksum = true;
    interface->tx_tso_bytes = draw(world, 2) == 0 ? 65535 : 3000 + (uint32_t)draw(world, 30000);
    interface->tx_tso_bytes_ipv6 = interface->tx_tso_bytes;
}

static void setup_side(struct world *world, struct side *side, uint8_t number)
{
    struct instant now = simulated_instant(world->now_us);
    struct tcp_options options = draw_options(world);
    struct simulated_link link = draw_link(world);
    struct rte_ether_addr mac = simulated_host_mac(number);
    uint16_t mtu = draw_mtu(world);
    mtu = world->ipv6 && mtu < IPV6_MTU_MIN ? IPV6_MTU_MIN : mtu;
    simulated_host_init(&side->host, number, mtu, pool, &options, &now);
    if (world->seed % 3 == 0) {
        let_port_cut(world, side->host.interface);
    }
    side->world = world;
    side->host.context = side;
    side->host.on_events = on_events;
    side->station = simulated_network_add_station(world->network, &mac, &link);
    size_t at = strlen(world->story);
    snprintf(world->story + at, sizeof(world->story) - at,
             "[%u: mtu %u rcv %u loss %u reorder %u dup %u corrupt %u delay %u rate %u] ", number,
             mtu, options.receive_buffer_bytes_max, link.loss, link.reorder, link.duplication,
             link.corruption, (unsigned)link.delay_us, (unsigned)link.bytes_per_second);
}

static void setup(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    world->seed = seed;
    world->ipv6 = seed % 2 == 0;
    world->random_state = seed * 0xD1342543DE82EF95ULL | 1;
    world->now_us = draw(world, 2) == 0 ? 1000000 : (1ULL << 32) * 1000 - 500000;
    world->network = simulated_network_create(seed);
    setup_side(world, &world->client, 1);
    setup_side(world, &world->server, 2);
    assert_int_equal(tcp_listen(world->server.host.tcp, PORT, 0), 0);
    world->connection_count = 1 + (uint32_t)draw(world, CONNECTIONS_MAX);
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        world->totals[i][0] = draw(world, draw(world, 4) == 0 ? 300000 : 5000);
        world->totals[i][1] = draw(world, draw(world, 4) == 0 ? 300000 : 5000);
    }
}

static void connect_all(struct world *world)
{
    struct instant now = simulated_instant(world->now_us);
    struct endpoint peer = {
        world->ipv6 ? simulated_host_address_ipv6(2) : simulated_host_address(2), PORT};
    for (uint32_t i = 0; i < world->connection_count; i++) {
        struct stream *stream = tcp_connect(world->client.host.tcp, &peer, &now);
        assert_non_null(stream);
        struct end *end = attach(&world->client, stream, stream->local.port, true);
        find_totals(world, end, stream->local.port, true);
        world->bytes_expected += end->send_total + end->receive_total;
    }
    world->deadline_us = world->now_us + 900ULL * 1000000;
}

static bool all_closed(const struct world *world)
{
    return world->client.closed_count == world->connection_count &&
           world->server.closed_count == world->server.end_count;
}

static void step_clock(struct world *world, bool apps_active)
{
    uint64_t due = simulated_network_next_due(world->network);
    due = world->client.host.next_due_us < due ? world->client.host.next_due_us : due;
    due = world->server.host.next_due_us < due ? world->server.host.next_due_us : due;
    if (apps_active && world->now_us + APP_TICK_US < due) {
        due = world->now_us + APP_TICK_US;
    }
    world->now_us = due > world->now_us ? due : world->now_us + 1;
}

static void run_until_closed(struct world *world)
{
    while (!all_closed(world) && !world->wrong) {
        pass(world, &world->client);
        pass(world, &world->server);
        step_clock(world, true);
        if (world->now_us > world->deadline_us) {
            complain(world, "no progress");
        }
    }
}

/* TIME-WAIT and whatever else lingers. */
static void run_until_quiet(struct world *world)
{
    uint64_t end_us = world->now_us + 120ULL * 1000000;
    while (world->now_us < end_us && !world->wrong) {
        pass(world, &world->client);
        pass(world, &world->server);
        step_clock(world, false);
        if (world->now_us > end_us + 3600ULL * 1000000) {
            break;
        }
    }
}

static uint64_t metric_of(const struct world *world, enum metric metric)
{
    return metric_read(&world->client.host.metrics, metric) +
           metric_read(&world->server.host.metrics, metric);
}

/* Of 2,000 seeds the worst sends a frame for each 280 bytes (small writes, an MTU near 576, a tenth
 * lost) beside 60 for each connection, and 15 % of its frames again. */
static void check_no_storm(struct world *world)
{
    uint64_t frames = simulated_network_counters(world->network)->sent;
    uint64_t again = metric_of(world, METRIC_TCP_RETRANSMITS);
    if (frames > 500 + 60 * world->connection_count + world->bytes_expected / 200) {
        complain(world, "packet storm");
    }
    if (again > 50 + 5 * world->connection_count + frames / 5) {
        complain(world, "too much sent again");
    }
}

static void check_quiet(struct world *world)
{
    const struct side *sides[2] = {&world->client, &world->server};
    for (int i = 0; i < 2; i++) {
        if (tcp_connection_count(sides[i]->host.tcp) != 0 ||
            metric_read(&sides[i]->host.metrics, METRIC_TCP_TIME_WAIT_NOW) != 0) {
            complain(world, "connections left");
        }
        if (sides[i]->host.bytes.used_count != 0) {
            complain(world, "byte pages left");
        }
    }
    check_no_storm(world);
}

static uint64_t segments_cut; /* of all seeds */

static bool run_seed(uint64_t seed, bool tell, uint64_t *digest)
{
    static struct world world;
    setup(&world, seed);
    uint64_t start_us = world.now_us;
    connect_all(&world);
    run_until_closed(&world);
    uint64_t took_us = world.now_us - start_us;
    run_until_quiet(&world);
    check_quiet(&world);
    const struct simulated_counters *counters = simulated_network_counters(world.network);
    segments_cut += metric_of(&world, METRIC_TCP_SEGMENTS_CUT);
    *digest = took_us * 31 + counters->sent * 17 + counters->lost * 13 + counters->delivered;
    if (tell) {
        printf("# seed %llu: %s %u connections %llu bytes in %llu ms, %llu frames, "
               "%llu cut, %llu retransmits %llu timeouts %llu probes %llu recoveries %llu undone\n",
               (unsigned long long)seed, world.story, world.connection_count,
               (unsigned long long)world.bytes_expected, (unsigned long long)took_us / 1000,
               (unsigned long long)counters->sent,
               (unsigned long long)metric_of(&world, METRIC_TCP_SEGMENTS_CUT),
               (unsigned long long)metric_of(&world, METRIC_TCP_RETRANSMITS),
               (unsigned long long)metric_of(&world, METRIC_TCP_TIMEOUTS),
               (unsigned long long)metric_of(&world, METRIC_TCP_TAIL_PROBES),
               (unsigned long long)metric_of(&world, METRIC_TCP_FAST_RECOVERIES),
               (unsigned long long)metric_of(&world, METRIC_TCP_UNDONE_RECOVERIES));
    }
    simulated_network_destroy(world.network);
    simulated_host_deinit(&world.client.host);
    simulated_host_deinit(&world.server.host);
    if (rte_mempool_avail_count(pool) != POOL_MBUFS) {
        complain(&world, "packet buffers left");
    }
    return !world.wrong;
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void transfers_survive_a_bad_network(void **state)
{
    bool single = getenv("SEED") != NULL && getenv("COUNT") == NULL;
    uint64_t first = number_from("SEED", 1), digest;
    uint64_t count = single ? 1 : number_from("COUNT", SEEDS_SHORT);
    uint64_t failures = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        failures += !run_seed(seed, single, &digest);
    }
    assert_int_equal(failures, 0);
    assert_true(count < 3 || segments_cut > 0);
}

static void the_same_seed_replays_identically(void **state)
{
    uint64_t first, second, other;
    assert_true(run_seed(3, false, &first));
    assert_true(run_seed(3, false, &second));
    assert_true(run_seed(4, false, &other));
    assert_int_equal(first, second);
    assert_int_not_equal(first, other);
}

int main(void)
{
    simulated_memory_setup();
    pool = simulated_pool_create("model", POOL_MBUFS, FRAME_BYTES_MAX);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transfers_survive_a_bad_network),
        cmocka_unit_test(the_same_seed_replays_identically),
    };
    return cmocka_run_group_tests_name("tcp_model", tests, NULL, NULL);
}
