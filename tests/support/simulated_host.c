#include "tests/support/simulated_host.h"

#include <rte_eal.h>

#include "dataplane/base/check.h"
#include "dataplane/l2_link/wire_ipv6.h"

#define PAGES_KEPT 1024U

void simulated_memory_setup(void)
{
    static bool done;
    if (done) {
        return;
    }
    static char arguments[][24] = {
        "test",        "--no-huge",      "--no-pci",         "-m", "512", "-l", "0",
        "--no-shconf", "--no-telemetry", "--log-level=error"};
    char *vector[sizeof(arguments) / sizeof(arguments[0])];
    for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
        vector[i] = arguments[i];
    }
    CHECK(rte_eal_init((int)(sizeof(arguments) / sizeof(arguments[0])), vector) >= 0);
    done = true;
}

struct rte_mempool *simulated_pool_create(const char *name, uint32_t count, uint32_t data_bytes)
{
    struct rte_mempool *pool = rte_pktmbuf_pool_create(
        name, count, 0, 0, (uint16_t)(data_bytes + RTE_PKTMBUF_HEADROOM), SOCKET_ID_ANY);
    CHECK(pool != NULL);
    return pool;
}

struct rte_ether_addr simulated_host_mac(uint8_t number)
{
    return (struct rte_ether_addr){{0x02, 0, 0, 0, 0, number}};
}

struct address simulated_host_address(uint8_t number)
{
    return address_from_ipv4(198U << 24 | 18U << 16 | number);
}

struct address simulated_host_address_ipv6(uint8_t number)
{
    return (struct address){{0xfd, [15] = number}};
}

struct interface_addresses simulated_host_addresses(uint8_t number)
{
    return (struct interface_addresses){.at = {{simulated_host_address(number), 24}}, .count = 1};
}

void simulated_host_init(struct simulated_host *host, uint8_t number, uint16_t mtu,
                         struct rte_mempool *pool, const struct tcp_options *options,
                         const struct instant *now)
{
    memset(host, 0, sizeof(*host));
    byte_pool_init(&host->bytes, PAGES_KEPT);
    struct net_options net_options = {
        .pool = pool, .metrics = &host->metrics, .seed = 0x1234567ULL + number};
    host->net = net_create(&net_options);
    CHECK(host->net != NULL);
    struct net_interface description = {.mac = simulated_host_mac(number),
                                        .addresses = simulated_host_addresses(number),
                                        .mtu = mtu};
    if (mtu >= IPV6_MTU_MIN) {
        struct interface_addresses *addresses = &description.addresses;
        addresses->at[addresses->count++] =
            (struct address_prefix){simulated_host_address_ipv6(number), 64};
    }
    host->interface = net_add_interface(host->net, &description, now);
    CHECK(host->interface != NULL);
    struct tcp_options tcp_options;
    tcp_default_options(&tcp_options);
    if (options != NULL) {
        tcp_options = *options;
    }
    tcp_options.net = host->net;
    tcp_options.pool = &host->bytes;
    tcp_options.metrics = &host->metrics;
    tcp_options.seed = tcp_options.seed != 0 ? tcp_options.seed : 0x7654321ULL + number;
    host->tcp = tcp_create(&tcp_options);
    CHECK(host->tcp != NULL);
}

void simulated_host_deinit(struct simulated_host *host)
{
    tcp_destroy(host->tcp);
    rte_pktmbuf_free_bulk(host->interface->tx, host->interface->tx_count);
    host->interface->tx_count = 0;
    net_destroy(host->net);
    byte_pool_deinit(&host->bytes);
}

static void hand_up(struct simulated_host *host, struct tcp_events *events,
                    const struct instant *now)
{
    if (events->count > 0 && host->on_events != NULL) {
        host->on_events(host, events->events, events->count, now);
    }
    events->count = 0;
}

void simulated_host_pass(struct simulated_host *host, struct rte_mbuf **frames, uint32_t count,
                         const struct instant *now)
{
    struct ip_datagram datagrams[SIMULATED_BURST];
    struct tcp_events events = {.events = host->event_array, .count_max = SIMULATED_EVENTS_MAX};
    CHECK(count <= SIMULATED_BURST);
    uint32_t datagram_count =
        net_input_batch(host->net, host->interface, frames, count, now, datagrams);
    tcp_input_batch(host->tcp, datagrams, datagram_count, now, &events);
    for (uint32_t i = 0; i < datagram_count; i++) {
        rte_pktmbuf_free(datagrams[i].mbuf);
    }
    hand_up(host, &events, now);
    while (tcp_output(host->tcp, now)) {
    }
    tcp_run_timers(host->tcp, now, &events);
    uint64_t due = tcp_next_timer(host->tcp, now);
    hand_up(host, &events, now);
    uint64_t net_due = net_run_timers(host->net, now);
    tcp_release(host->tcp);
    host->next_due_us = due < net_due ? due : net_due;
}
