/* The network stack instance of one worker: its parts put together.
 *
 * Thread: created and destroyed on any, used by the owning worker. Memory: one allocation per
 * interface and a pool of large packet buffers (about 3 MB). Failure: NULL when memory is short.
 */
#include "dataplane/l3_ip/net.h"

#include <netinet/in.h>
#include <stdlib.h>

#include <rte_mempool.h>
#include <rte_prefetch.h>

#include "dataplane/base/hash.h"
#include "dataplane/l2_link/wire_ethernet.h"
#include "dataplane/l3_ip/ip_internal.h"

#define PREFETCH_DISTANCE 4U /* frames */

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

static void net_check_addresses(const struct interface_addresses *addresses)
{
    CHECK(addresses->count > 0 && addresses->count <= ADDRESSES_MAX);
    CHECK(addresses->gateway_count <= GATEWAYS_MAX);
    for (uint32_t i = 0; i < addresses->count; i++) {
        bool ipv4 = address_is_ipv4(&addresses->at[i].address);
        CHECK(addresses->at[i].prefix_length <= (ipv4 ? 32 : 128));
    }
}

/* For the packet path: the first IPv4 address, in host order, and how many there are of each
 * family. A /31 or /32 has no broadcast (RFC 3021). */
static void net_derive(struct net_interface *interface)
{
    interface->ipv4_count = interface->ipv6_count = 0;
    for (uint32_t i = 0; i < interface->addresses.count; i++) {
        const struct address_prefix *at = &interface->addresses.at[i];
        if (!address_is_ipv4(&at->address)) {
            interface->ipv6_count++;
            continue;
        }
        if (interface->ipv4_count++ == 0) {
            uint8_t prefix = at->prefix_length;
            uint32_t mask = prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
            interface->ipv4 = address_to_ipv4(&at->address);
            interface->ipv4_mask = mask;
            interface->ipv4_broadcast = prefix < 31 ? interface->ipv4 | ~mask : UINT32_MAX;
        }
    }
}

/* fe80::/64 with the MAC as 64 bits (RFC 4291 appendix A), but for the bit that is turned there: so
 * it is not the one that a kernel makes of the same MAC, which would answer beside us where the
 * interface is the kernel's, too (AF_PACKET). */
static struct address net_link_local_of(const struct rte_ether_addr *mac)
{
    struct address address = {{0xfe, 0x80, [11] = 0xff, [12] = 0xfe}};
    memcpy(address.bytes + 8, mac->addr_bytes, 3);
    memcpy(address.bytes + 13, mac->addr_bytes + 3, 3);
    return address;
}

static void net_add_link_local(struct net_interface *interface)
{
    struct interface_addresses *addresses = &interface->addresses;
    bool has_link_local = false;
    for (uint32_t i = 0; i < addresses->count; i++) {
        has_link_local = has_link_local || address_is_link_local(&addresses->at[i].address);
    }
    if (interface->ipv6_count != 0 && !has_link_local) {
        CHECK(addresses->count < ADDRESSES_MAX);
        addresses->at[addresses->count++] =
            (struct address_prefix){net_link_local_of(&interface->mac), 64};
        interface->ipv6_count++;
    }
}

void net_complete_interface(struct net_interface *interface)
{
    net_check_addresses(&interface->addresses);
    net_derive(interface);
    net_add_link_local(interface);
}

struct net_interface *net_add_interface(struct net *net, const struct net_interface *description,
                                        const struct instant *now)
{
    CHECK(net->interface_count < NET_INTERFACES_MAX);
    struct net_interface *interface = calloc(1, sizeof(*interface));
    if (interface == NULL) {
        return NULL;
    }
    *interface = *description;
    interface->index = net->interface_count;
    interface->tx_count = 0;
    interface->next_vlan = NULL;
    net_complete_interface(interface);
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

struct net_interface *net_add_vlan(struct net *net, struct net_interface *below,
                                   const struct net_interface *description,
                                   const struct instant *now)
{
    struct net_interface *interface = net_add_interface(net, description, now);
    if (interface != NULL) {
        interface->next_vlan = below->next_vlan;
        below->next_vlan = interface;
    }
    return interface;
}

struct net_interface *net_interface_at(struct net *net, uint32_t index)
{
    return index < net->interface_count ? net->interfaces[index] : NULL;
}

#define NET_NOBODY UINT64_MAX /* no station */

/* What the ordinary frames of a burst are compared with, apart from the interface: nothing that is
 * written for a frame can have changed it. */
struct net_ordinary {
    uint64_t station; /* ours */
    uint32_t ipv4, ipv4_broadcast;
    bool rx_checksum;
    struct address address; /* ours */
    /* The sender of the frame before: possible, and known to be there now; or NET_NOBODY. */
    uint64_t sender_station;
    uint32_t sender;
};

/* What such a frame's headers say. */
struct net_heading {
    uint64_t station; /* the sender's */
    uint32_t source;
    uint16_t size; /* of what is behind them; of less than a header, more than any frame has */
    uint8_t protocol;
};

static struct net_ordinary net_ordinary_of(const struct net_interface *interface)
{
    return (struct net_ordinary){
        .station = wire_ethernet_station(interface->mac.addr_bytes),
        .ipv4 = interface->ipv4,
        .ipv4_broadcast = interface->ipv4_broadcast,
        .rx_checksum = interface->rx_checksum,
        .address = address_from_ipv4(interface->ipv4),
        .sender_station = NET_NOBODY,
    };
}

static inline bool net_is_same_sender(const struct net_ordinary *ordinary,
                                      const struct net_heading *heading)
{
    return heading->source == ordinary->sender && heading->station == ordinary->sender_station;
}

/* Somebody else, who can be answered. */
static inline bool net_sender_is_possible(const struct net_ordinary *ordinary,
                                          const struct net_heading *heading)
{
    return heading->station != ordinary->station && heading->station != 0 &&
           (heading->station & RTE_ETHER_GROUP_ADDR) == 0 && heading->source != ordinary->ipv4 &&
           heading->source != ordinary->ipv4_broadcast && ip_source_is_host(heading->source);
}

/* The frame that most are: in one segment, untagged, from another station to ours; in it a whole
 * packet of IPv4 without options, UDP or TCP, from another address to the only one we have. What is
 * asked here is what link_input_frame and ip_input_packet ask, in one pass over the headers; false
 * says nothing about the frame. */
static inline bool net_is_ordinary(const struct net_ordinary *ordinary, const struct rte_mbuf *mbuf,
                                   struct net_heading *heading)
{
    const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
    const uint8_t *ip = frame + ETHERNET_HEADER_BYTES;
    const uint32_t headers = ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES;
    if (UNLIKELY(mbuf->data_len < headers || mbuf->nb_segs != 1 ||
                 (mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0)) {
        return false;
    }
    uint32_t first = bytes_read_be32(ip), second = bytes_read_be32(ip + 4);
    uint32_t third = bytes_read_be32(ip + 8), destination = bytes_read_be32(ip + 16);
    heading->station = wire_ethernet_front_station(frame + 6);
    heading->source = bytes_read_be32(ip + 12);
    heading->size = (uint16_t)(first - IPV4_HEADER_BYTES);
    heading->protocol = (uint8_t)(third >> 16);
    uint64_t differences = wire_ethernet_front_station(frame) ^ ordinary->station;
    differences |= bytes_read_be16(frame + 12) ^ (uint32_t)RTE_ETHER_TYPE_IPV4;
    differences |= first >> 24 ^ 0x45U; /* the version, the length of the header */
    differences |= second & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK);
    differences |= destination ^ ordinary->ipv4;
    if (UNLIKELY(differences != 0 || third >> 24 == 0 /* TTL */ ||
                 heading->size > mbuf->data_len - headers) ||
        UNLIKELY(heading->protocol != IPPROTO_TCP && heading->protocol != IPPROTO_UDP) ||
        UNLIKELY(!net_is_same_sender(ordinary, heading) &&
                 !net_sender_is_possible(ordinary, heading))) {
        return false;
    }
    uint64_t told = ordinary->rx_checksum ? mbuf->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK : 0;
    uint64_t sum = (uint64_t)first + second + third + heading->source + destination;
    return told == RTE_MBUF_F_RX_IP_CKSUM_GOOD ||
           (told != RTE_MBUF_F_RX_IP_CKSUM_BAD && checksum_is_right(sum));
}

/* Its headers off, and the padding behind it. */
static inline void net_take_ordinary(struct net_ordinary *ordinary, struct net_interface *interface,
                                     struct rte_mbuf *mbuf, const struct net_heading *heading,
                                     const struct instant *now, struct ip_datagram *datagram)
{
    const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
    mbuf->data_off = (uint16_t)(mbuf->data_off + ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES);
    mbuf->data_len = heading->size;
    mbuf->pkt_len = heading->size;
    mbuf->tx_offload = 0;
    mbuf->l3_len = IPV4_HEADER_BYTES;
    if (!ordinary->rx_checksum) {
        packet_forget_checksums(mbuf);
    }
    datagram->mbuf = mbuf;
    datagram->interface = interface;
    ip_address_set(&datagram->source, heading->source);
    datagram->destination = ordinary->address;
    memcpy(&datagram->source_mac, frame + 6, RTE_ETHER_ADDR_LEN);
    datagram->reassembled = false;
    datagram->protocol = heading->protocol;
    if (heading->protocol == IPPROTO_TCP && !net_is_same_sender(ordinary, heading)) {
        link_note_traffic(interface, &datagram->source, &datagram->source_mac, now);
        ordinary->sender = heading->source;
        ordinary->sender_station = heading->station;
    }
}

/* True when `datagram` goes up to L4. */
static bool net_input_frame(struct net *net, struct net_interface *interface, struct rte_mbuf *mbuf,
                            const struct instant *now, struct ip_datagram *datagram)
{
    struct link_packet packet;
    if (!link_input_frame(interface, mbuf, now, &packet)) {
        return false;
    }
    return packet.ipv6 ? ipv6_input_packet(net, &packet, now, datagram)
                       : ip_input_packet(net, &packet, now, datagram);
}

uint32_t net_input_batch(struct net *net, struct net_interface *interface, struct rte_mbuf **frames,
                         uint32_t count, const struct instant *now, struct ip_datagram *datagrams)
{
    const bool has_ordinary = interface->vlan == 0 && interface->ipv4_count == 1;
    struct net_ordinary ordinary = net_ordinary_of(interface);
    uint32_t datagram_count = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count && i < PREFETCH_DISTANCE; i++) {
        rte_prefetch0(rte_pktmbuf_mtod(frames[i], void *));
    }
    for (uint32_t i = 0; i < count; i++) {
        if (i + PREFETCH_DISTANCE < count) {
            rte_prefetch0(rte_pktmbuf_mtod(frames[i + PREFETCH_DISTANCE], void *));
        }
        struct ip_datagram *datagram = &datagrams[datagram_count];
        struct net_heading heading;
        bytes += frames[i]->pkt_len;
        if (LIKELY(has_ordinary && net_is_ordinary(&ordinary, frames[i], &heading))) {
            net_take_ordinary(&ordinary, interface, frames[i], &heading, now, datagram);
            datagram_count++;
        } else {
            ordinary.sender_station = NET_NOBODY; /* which it may be about */
            datagram_count += net_input_frame(net, interface, frames[i], now, datagram);
        }
    }
    metric_add(net->options.metrics, METRIC_NET_RX_PACKETS, count);
    metric_add(net->options.metrics, METRIC_NET_RX_BYTES, bytes);
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
