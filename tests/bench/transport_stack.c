/* The load over a port of its own: DPDK, and the server's own network stack used from the other
 * end.
 *
 *   port --> net_input_batch --> udp_input_batch, tcp_input_batch --> events and datagrams
 *   requests --> tcp_output, udp_send --> the interface's transmit array --> port
 *
 * Polled: it never sleeps. EAL starts once per process, so there is one of these at most.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_ethdev.h>
#include <rte_mempool.h>

#include "dataplane/base/hash.h"
#include "dataplane/l4_transport/tcp.h"
#include "dataplane/l4_transport/udp.h"
#include "drivers/port.h"
#include "tests/bench/transport.h"

#define BURST          64U
#define PAGES_KEPT     16384U
#define UDP_PORT_FIRST 20000U
#define ABORT_PAUSE_US 20000U
#define LINK_WAIT_US   10000000U /* for the other side of a memif to appear */

_Static_assert(TRANSPORT_EVENTS_MAX >= 4 * BURST + 4, "an input batch of TCP fits");
_Static_assert(TRANSPORT_DATAGRAMS_MAX >= BURST, "an input batch of UDP fits");

struct stack_side {
    struct transport transport; /* first */
    struct rte_mempool *packets;
    struct port port;
    bool port_is_up;
    struct net *net;
    struct net_interface *interface;
    struct tcp *tcp;
    struct udp *udp;
    struct endpoint peers[TRANSPORT_CHANNELS_MAX];
    struct rte_mbuf *frames[BURST];
    struct ip_datagram ip_datagrams[BURST];
    struct udp_datagram datagrams[BURST];
    uint32_t datagram_count; /* held until the next pass */
    bool acknowledges_first; /* what has come, before anybody answers it */
};

static struct stack_side *side_of(struct transport *transport)
{
    return (struct stack_side *)(void *)transport;
}

static struct stream *connect_stream(struct transport *transport, const struct endpoint *peer,
                                     const struct instant *now)
{
    struct stream *stream = tcp_connect(side_of(transport)->tcp, peer, now);
    if (stream == NULL) {
        errno = EHOSTUNREACH;
    }
    return stream;
}

static int open_channel(struct transport *transport, uint32_t channel, const struct endpoint *peer)
{
    struct stack_side *side = side_of(transport);
    if (channel >= TRANSPORT_CHANNELS_MAX) {
        return -ENOSPC;
    }
    side->peers[channel] = *peer;
    return udp_listen(side->udp, (uint16_t)(UDP_PORT_FIRST + channel), channel);
}

static bool send_datagram(struct transport *transport, uint32_t channel, struct slice payload,
                          const struct instant *now)
{
    struct stack_side *side = side_of(transport);
    return udp_send(side->udp, (uint16_t)(UDP_PORT_FIRST + channel), &side->peers[channel], payload,
                    now);
}

/* ---- passes ---------------------------------------------------------------------------------- */

static void release_last_pass(struct stack_side *side)
{
    for (uint32_t i = 0; i < side->datagram_count; i++) {
        udp_release(&side->datagrams[i]);
    }
    side->datagram_count = 0;
    tcp_release(side->tcp);
}

static void take_frames(struct stack_side *side, uint32_t count, const struct instant *now,
                        struct transport_input *input, struct tcp_events *events)
{
    uint32_t datagrams =
        net_input_batch(side->net, side->interface, side->frames, count, now, side->ip_datagrams);
    side->datagram_count =
        udp_input_batch(side->udp, side->ip_datagrams, datagrams, now, side->datagrams);
    tcp_input_batch(side->tcp, side->ip_datagrams, datagrams, now, events);
    for (uint32_t i = 0; i < side->datagram_count; i++) {
        input->datagrams[i] =
            (struct transport_datagram){side->datagrams[i].listener, side->datagrams[i].payload};
    }
    input->datagram_count = side->datagram_count;
}

static void transmit(struct stack_side *side)
{
    struct net_interface *interface = side->interface;
    for (uint32_t sent = 0; sent < interface->tx_count; sent += NET_TX_BURST) {
        uint32_t count = interface->tx_count - sent;
        (void)port_transmit_burst(&side->port, 0, interface->tx + sent,
                                  (uint16_t)(count < NET_TX_BURST ? count : NET_TX_BURST));
    }
    interface->tx_count = 0;
}

static void flush_output(struct transport *transport, const struct instant *now)
{
    struct stack_side *side = side_of(transport);
    while (tcp_output(side->tcp, now)) {
        transmit(side);
    }
    transmit(side);
}

static void take_input(struct transport *transport, const struct instant *now,
                       struct transport_input *input)
{
    struct stack_side *side = side_of(transport);
    struct tcp_events events = {.events = input->events, .count_max = TRANSPORT_EVENTS_MAX};
    release_last_pass(side);
    input->datagram_count = 0;
    uint16_t count = port_receive_burst(&side->port, 0, side->frames, BURST);
    if (count > 0) {
        take_frames(side, count, now, input, &events);
    }
    (void)net_run_timers(side->net, now);
    tcp_run_timers(side->tcp, now, &events);
    if (side->acknowledges_first && events.count > 0) {
        flush_output(transport, now);
    }
    input->event_count = events.count;
}

static uint32_t count_connections(const struct transport *transport)
{
    const struct stack_side *side = (const struct stack_side *)(const void *)transport;
    return tcp_connection_count(side->tcp);
}

/* ---- setup ----------------------------------------------------------------------------------- */

/* What the load did not close in order (load_disconnect): it was interrupted, or the peer does not
 * answer. A transmit array of resets at a time, and time for the peer to take it, which may be
 * asleep: what finds the ring full, or is in it when the port goes, is lost and not repeated.
 */
static void abort_all(struct transport *transport, const struct instant *now)
{
    bool all;
    do {
        all = tcp_abort_all(side_of(transport)->tcp, now);
        flush_output(transport, now);
        rte_delay_us_sleep(ABORT_PAUSE_US);
    } while (!all);
}

static void destroy(struct transport *transport, const struct instant *now)
{
    struct stack_side *side = side_of(transport);
    if (side->tcp != NULL) {
        abort_all(transport, now);
        release_last_pass(side);
        tcp_destroy(side->tcp);
    }
    if (side->udp != NULL) {
        udp_destroy(side->udp);
    }
    if (side->net != NULL) {
        net_destroy(side->net);
    }
    if (side->port_is_up) {
        port_teardown(&side->port);
    }
    rte_mempool_free(side->packets);
    byte_pool_deinit(&side->transport.pool);
    eal_teardown();
    free(side);
}

static const struct transport_operations operations = {
    .connect = connect_stream,
    .open_channel = open_channel,
    .send = send_datagram,
    .input = take_input,
    .output = flush_output,
    .prefetch = tcp_prefetch,
    .connection_count = count_connections,
    .destroy = destroy,
};

static int setup_port(struct stack_side *side, const struct interface_config *interface,
                      enum hugepages_mode hugepages, struct config_error *error)
{
    struct eal_options options = {
        .hugepages = hugepages,
        .with_pci = interface->driver == INTERFACE_PCI,
        .memory_bytes = port_packet_pool_bytes(1, 1, interface->mtu) + (UINT64_C(32) << 20),
    };
    int code = eal_setup(&options, error);
    if (code < 0) {
        return code;
    }
    side->packets = port_create_packet_pool(1, 1, interface->mtu);
    if (side->packets == NULL) {
        snprintf(error->text, sizeof(error->text), "no memory for packets");
        return -ENOMEM;
    }
    code = port_setup(&side->port, interface, 1, NULL, side->packets, error);
    side->port_is_up = code == 0;
    return code;
}

static struct net_interface describe(const struct port *port)
{
    const struct interface_config *config = &port->config;
    const struct port_capabilities *capabilities = &port->capabilities;
    return (struct net_interface){
        .mac = port->mac,
        .addresses = config->addresses,
        .vlan = config->vlan,
        .mtu = config->mtu,
        .tx_ipv4_checksum = capabilities->tx_ipv4_checksum,
        .tx_tcp_checksum = capabilities->tx_tcp_checksum,
        .tx_udp_checksum = capabilities->tx_udp_checksum,
        .tx_tso_bytes = capabilities->tx_tso_bytes,
        .tx_tso_bytes_ipv6 = capabilities->tx_tso_bytes_ipv6,
        .rx_checksum = capabilities->rx_checksum,
    };
}

static int setup_stack(struct stack_side *side, uint32_t ack_delay_ms, struct config_error *error)
{
    struct instant now;
    clock_read(&now);
    struct net_options net_options = {
        .pool = side->packets, .metrics = &side->transport.metrics, .seed = random_seed()};
    side->net = net_create(&net_options);
    if (side->net != NULL) {
        struct net_interface description = describe(&side->port);
        side->interface = net_add_interface(side->net, &description, &now);
        struct tcp_options tcp_options;
        tcp_default_options(&tcp_options);
        tcp_options.net = side->net;
        tcp_options.pool = &side->transport.pool;
        tcp_options.metrics = &side->transport.metrics;
        tcp_options.seed = random_seed();
        if (ack_delay_ms != TRANSPORT_ACK_DELAY_STACK) {
            tcp_options.delayed_ack_ms = ack_delay_ms;
        }
        side->tcp = tcp_create(&tcp_options);
        side->udp = udp_create(side->net, &side->transport.metrics);
    }
    if (side->interface == NULL || side->tcp == NULL || side->udp == NULL) {
        snprintf(error->text, sizeof(error->text), "no memory for the network stack");
        return -ENOMEM;
    }
    return 0;
}

/* A memif is up once its other side has answered. Elsewhere the state may be unknown: then go on.
 */
static void wait_for_link(struct stack_side *side)
{
    struct rte_eth_link link = {0};
    struct instant start, now;
    clock_read(&start);
    now = start;
    while (rte_eth_link_get_nowait(side->port.dpdk_port, &link) == 0 &&
           link.link_status == RTE_ETH_LINK_DOWN && now.mono_us - start.mono_us < LINK_WAIT_US) {
        rte_delay_us_sleep(1000);
        clock_read(&now);
    }
}

struct transport *transport_open_stack(const struct interface_config *interface,
                                       enum hugepages_mode hugepages, uint32_t ack_delay_ms,
                                       struct config_error *error)
{
    struct stack_side *side = calloc(1, sizeof(*side));
    if (side == NULL) {
        snprintf(error->text, sizeof(error->text), "out of memory");
        return NULL;
    }
    side->acknowledges_first = ack_delay_ms == 0;
    byte_pool_init(&side->transport.pool, PAGES_KEPT);
    side->transport.operations = &operations;
    if (setup_port(side, interface, hugepages, error) < 0 ||
        setup_stack(side, ack_delay_ms, error) < 0) {
        struct instant now;
        clock_read(&now);
        destroy(&side->transport, &now);
        return NULL;
    }
    wait_for_link(side);
    return &side->transport;
}
