/* A bench for the network stack. Thread: the test's. Failure: CHECK. */
#include "tests/support/net_bench.h"

#include <stdlib.h>

#include <rte_eal.h>
#include <rte_mempool.h>

#include "dataplane/base/check.h"

const struct station bench_us = {{0x02, 0, 0, 0, 0, 2}, IPV4(198, 18, 0, 2), BENCH_UDP_PORT};
const struct station bench_client = {{0x02, 0, 0, 0, 0, 9}, IPV4(198, 18, 0, 9), 40000};
const struct station bench_other = {{0x02, 0, 0, 0, 0, 7}, IPV4(198, 18, 0, 7), 40001};
const struct station bench_gateway = {{0x02, 0, 0, 0, 0, 1}, IPV4(198, 18, 0, 1), 0};
/* Reached through the gateway, so with its MAC. */
const struct station bench_far = {{0x02, 0, 0, 0, 0, 1}, IPV4(198, 19, 5, 5), 40002};

const struct station_ipv6 bench_us6 = {{0x02, 0, 0, 0, 0, 2}, {0xfd, [15] = 2}, BENCH_UDP_PORT};
const struct station_ipv6 bench_client6 = {{0x02, 0, 0, 0, 0, 9}, {0xfd, [15] = 9}, 40000};
const struct station_ipv6 bench_other6 = {{0x02, 0, 0, 0, 0, 7}, {0xfd, [15] = 7}, 40001};
const struct station_ipv6 bench_gateway6 = {{0x02, 0, 0, 0, 0, 1}, {0xfe, 0x80, [15] = 1}, 0};
const struct station_ipv6 bench_far6 = {{0x02, 0, 0, 0, 0, 1}, {0xfd, 1, [15] = 5}, 40002};

static struct rte_mempool *bench_pool;

void bench_start_eal(void)
{
    char *arguments[] = {(char[]){"test"},
                         (char[]){"--no-huge"},
                         (char[]){"--no-pci"},
                         (char[]){"--no-shconf"},
                         (char[]){"-m"},
                         (char[]){"256"},
                         (char[]){"--no-telemetry"},
                         (char[]){"--log-level=error"},
                         (char[]){"-l"},
                         (char[]){"0"}};
    if (bench_pool != NULL) {
        return;
    }
    CHECK(rte_eal_init(sizeof(arguments) / sizeof(arguments[0]), arguments) >= 0);
    bench_pool = rte_pktmbuf_pool_create("bench", BENCH_POOL_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
                                         SOCKET_ID_ANY);
    CHECK(bench_pool != NULL);
}

struct net_interface *bench_description(void)
{
    static struct net_interface description;
    memset(&description, 0, sizeof(description));
    memcpy(description.mac.addr_bytes, bench_us.mac, 6);
    description.addresses.at[0] = (struct address_prefix){address_from_ipv4(bench_us.ipv4), 24};
    description.addresses.count = 1;
    description.addresses.gateways[0] = address_from_ipv4(bench_gateway.ipv4);
    description.addresses.gateway_count = 1;
    description.mtu = 1500;
    return &description;
}

static struct address address_of(const struct station_ipv6 *station)
{
    struct address address;
    memcpy(address.bytes, station->ipv6, sizeof(address.bytes));
    return address;
}

struct net_interface *bench_description_ipv6(void)
{
    struct net_interface *description = bench_description();
    description->addresses.at[1] = (struct address_prefix){address_of(&bench_us6), 64};
    description->addresses.count = 2;
    description->addresses.gateways[1] = address_of(&bench_gateway6);
    description->addresses.gateway_count = 2;
    return description;
}

struct bench *bench_create(const struct net_interface *description)
{
    bench_start_eal();
    struct bench *bench = calloc(1, sizeof(*bench));
    CHECK(bench != NULL);
    bench->pool = bench_pool;
    bench->now = (struct instant){.mono_us = 1000000000ULL, .wall_ms = 1, .wall_us = 1000};
    struct net_options options = {.pool = bench->pool, .metrics = &bench->metrics, .seed = 42};
    bench->net = net_create(&options);
    CHECK(bench->net != NULL);
    bench->udp = udp_create(bench->net, &bench->metrics);
    CHECK(bench->udp != NULL && udp_listen(bench->udp, BENCH_UDP_PORT, 7) == 0);
    bench->interface = net_add_interface(bench->net, description, &bench->now);
    CHECK(bench->interface != NULL);
    return bench;
}

void bench_destroy(struct bench *bench)
{
    bench_release(bench);
    udp_destroy(bench->udp);
    net_destroy(bench->net);
    CHECK(rte_mempool_avail_count(bench->pool) == BENCH_POOL_MBUFS);
    free(bench);
}

int bench_setup(void **state)
{
    struct bench *bench = bench_create(bench_description());
    bench_discard_tx(bench);
    *state = bench;
    return 0;
}

int bench_setup_ipv6(void **state)
{
    struct bench *bench = bench_create(bench_description_ipv6());
    bench_discard_tx(bench);
    *state = bench;
    return 0;
}

int bench_teardown(void **state)
{
    bench_destroy(*state);
    return 0;
}

void bench_release(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->datagram_count; i++) {
        rte_pktmbuf_free(bench->datagrams[i].mbuf);
    }
    bench->datagram_count = 0;
}

void bench_feed_mbufs(struct bench *bench, struct rte_mbuf **mbufs, uint32_t count)
{
    bench_release(bench);
    CHECK(count <= 64);
    bench->datagram_count =
        net_input_batch(bench->net, bench->interface, mbufs, count, &bench->now, bench->datagrams);
    CHECK(bench->datagram_count <= count);
}

void bench_feed(struct bench *bench, const struct frame *frame)
{
    struct rte_mbuf *mbuf = frame_to_mbuf(frame, bench->pool, 0);
    CHECK(mbuf != NULL);
    bench_feed_mbufs(bench, &mbuf, 1);
}

bool bench_take(struct bench *bench, struct frame *frame)
{
    struct net_interface *interface = bench->interface;
    if (interface->tx_count == 0) {
        return false;
    }
    struct rte_mbuf *mbuf = interface->tx[0];
    interface->tx_count--;
    memmove(interface->tx, interface->tx + 1, interface->tx_count * sizeof(interface->tx[0]));
    frame_from_mbuf(frame, mbuf);
    rte_pktmbuf_free(mbuf);
    const char *fault = frame_fault(frame);
    if (fault != NULL) {
        fprintf(stderr, "frame sent with a fault: %s\n", fault);
    }
    CHECK(fault == NULL);
    return true;
}

void bench_discard_tx(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->interface->tx_count; i++) {
        rte_pktmbuf_free(bench->interface->tx[i]);
    }
    bench->interface->tx_count = 0;
}

uint64_t bench_count(const struct bench *bench, enum metric metric)
{
    return metric_read(&bench->metrics, metric);
}

uint64_t bench_drop_count(const struct bench *bench)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < METRIC_COUNT; i++) {
        if (strncmp(metric_descriptions[i].name, "net_drop_", 9) == 0) {
            sum += bench_count(bench, (enum metric)i);
        }
    }
    return sum;
}
