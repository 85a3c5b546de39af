/* The network stack instance of one worker: its parts put together.
 *
 * Thread: created and destroyed on any, used by the owning worker. Memory: one allocation per
 * interface and a pool of large packet buffers (about 3 MB). Failure: NULL when memory is short.
 */
#include "dataplane/l3_ip/net.h"

#include <stdlib.h>

#include <rte_mempool.h>

#include "dataplane/base/hash.h"
#include "dataplane/l3_ip/ip_internal.h"

/* One for each reassembly under way, and some for what was handed up or out and is not free again.
 */
#define NET_LARGE_BUFFERS (FRAGMENT_SLOTS + 16U)

struct net *net_create(const struct net_options *options)
{
    struct net *net = calloc(1, sizeof(*net));
    if (net == NULL) {
        return NULL;
    }
    net->options = *options;
    net->random = options->seed != 0 ? options->seed : 1;
    net->icmp_limit.tokens = 0;
    fragment_table_init(&net->fragments);
    net->large_pool = packet_create_large_pool(net, NET_LARGE_BUFFERS);
    if (net->large_pool == NULL) {
        free(net);
        return NULL;
    }
    return net;
}

void net_destroy(struct net *net)
{
    for (uint32_t i = 0; i < net->interface_count; i++) {
        link_destroy(net->interfaces[i]);
        free(net->interfaces[i]);
    }
    fragment_table_deinit(&net->fragments);
    rte_mempool_free(net->large_pool);
    free(net);
}

/* Host-order forms of what the description says. A /31 or /32 has no broadcast (RFC 3021). */
static void net_derive_ipv4(struct net_interface *interface)
{
    uint8_t prefix = interface->prefix_length;
    interface->ipv4 = address_to_ipv4(&interface->address);
    interface->ipv4_mask = prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
    interface->ipv4_broadcast = prefix < 31 ? interface->ipv4 | ~interface->ipv4_mask : UINT32_MAX;
    interface->ipv4_gateway = interface->has_gateway ? address_to_ipv4(&interface->gateway) : 0;
}

struct net_interface *net_add_interface(struct net *net, const struct net_interface *description,
                                        const struct instant *now)
{
    CHECK(net->interface_count < NET_INTERFACES_MAX);
    CHECK(address_is_ipv4(&description->address) && description->prefix_length <= 32);
    CHECK(!description->has_gateway || address_is_ipv4(&description->gateway));
    struct net_interface *interface = calloc(1, sizeof(*interface));
    if (interface == NULL) {
        return NULL;
    }
    *interface = *description;
    interface->index = net->interface_count;
    interface->tx_count = 0;
    net_derive_ipv4(interface);
    struct link_options options = {.pool = net->options.pool,
                                   .large_pool = net->large_pool,
                                   .metrics = net->options.metrics,
                                   .seed = random_next(&net->random)};
    interface->link = link_create(interface, &options);
    if (interface->link == NULL) {
        free(interface);
        return NULL;
    }
    net->interfaces[net->interface_count++] = interface;
    link_announce(interface, now);
    return interface;
}

struct net_interface *net_interface_at(struct net *net, uint32_t index)
{
    return index < net->interface_count ? net->interfaces[index] : NULL;
}

static void net_count_received(struct net *net, struct rte_mbuf **frames, uint32_t count)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += frames[i]->pkt_len;
    }
    metric_add(net->options.metrics, METRIC_NET_RX_PACKETS, count);
    metric_add(net->options.metrics, METRIC_NET_RX_BYTES, bytes);
}

uint32_t net_input_batch(struct net *net, struct net_interface *interface, struct rte_mbuf **frames,
                         uint32_t count, const struct instant *now, struct ip_datagram *datagrams)
{
    struct link_packet packets[NET_TX_BURST];
    uint32_t datagram_count = 0;
    net_count_received(net, frames, count);
    for (uint32_t done = 0; done < count; done += NET_TX_BURST) {
        uint32_t burst = count - done < NET_TX_BURST ? count - done : NET_TX_BURST;
        uint32_t packet_count = link_input_batch(interface, frames + done, burst, now, packets);
        datagram_count +=
            ip_input_batch(net, interface, packets, packet_count, now, datagrams + datagram_count);
    }
    return datagram_count;
}

uint64_t net_run_timers(struct net *net, const struct instant *now)
{
    uint64_t due_us = fragment_run_timers(net, now);
    for (uint32_t i = 0; i < net->interface_count; i++) {
        uint64_t interface_due_us = link_run_timers(net->interfaces[i], now);
        due_us = interface_due_us < due_us ? interface_due_us : due_us;
    }
    return due_us;
}

struct rte_mbuf *net_allocate(struct net *net)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(net->options.pool);
    if (UNLIKELY(mbuf == NULL)) {
        net_count(net, METRIC_NET_DROP_NO_BUFFER);
    }
    return mbuf;
}

struct rte_mbuf *net_allocate_large(struct net *net)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(net->large_pool);
    if (mbuf == NULL) {
        net_count(net, METRIC_NET_DROP_NO_BUFFER);
        return NULL;
    }
    mbuf->data_off = PACKET_HEADROOM_BYTES;
    return mbuf;
}
