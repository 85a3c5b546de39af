/* IP packets out: route and next hop of both families; IPv4's header, checksum offload, fragments
 * where a reply is too large. IPv6's part is in ipv6_output.c.
 *
 * Path: L4 and icmp.c hand in L4 packets; frames appear in the interface's tx array, or one packet
 * waits for its neighbour. Thread: the owning worker. Failure: a counted drop.
 *
 * A datagram that fits the MTU is atomic (DF, RFC 6864): its identification means nothing and is 0,
 * so it tells nobody how much we send. Fragments carry a random one.
 */
#include <rte_ip_frag.h>

#include "dataplane/base/hash.h"
#include "dataplane/l3_ip/ip_internal.h"

#define IP_FRAGMENTS_MAX 128U

void ip_send(struct net_interface *interface, const struct ip_next_hop *hop, uint16_t type,
             struct rte_mbuf *mbuf)
{
    if (hop->station != NULL) {
        link_output_to_station(interface, hop->station, type, mbuf);
    } else {
        link_output_to_neighbour(interface, hop->neighbour, mbuf, hop->now);
    }
}

/* Hands the fragments of `mbuf`, which starts with its IP header, to the link; frees the mbuf. */
static void ip_send_fragments(struct net *net, struct net_interface *interface,
                              const struct ip_next_hop *hop, struct rte_mbuf *mbuf)
{
    struct rte_mbuf *fragments[IP_FRAGMENTS_MAX];
    uint32_t room = rte_pktmbuf_data_room_size(net->options.pool) - RTE_PKTMBUF_HEADROOM;
    uint16_t size_max = interface->mtu < room ? interface->mtu : (uint16_t)room;
    int32_t count = rte_ipv4_fragment_copy_nonseg_packet(mbuf, fragments, IP_FRAGMENTS_MAX,
                                                         size_max, net->options.pool);
    if (count < 0) {
        net_drop(net, mbuf,
                 count == -ENOMEM ? METRIC_NET_DROP_NO_BUFFER : METRIC_NET_DROP_IP_TOO_BIG);
        return;
    }
    for (int32_t i = 0; i < count; i++) {
        uint8_t *header = rte_pktmbuf_mtod(fragments[i], uint8_t *);
        checksum_store(header + 10, 0);
        checksum_store(header + 10, checksum_finish(checksum_add(0, header, IPV4_HEADER_BYTES)));
        fragments[i]->ol_flags = 0;
        ip_send(interface, hop, RTE_ETHER_TYPE_IPV4, fragments[i]);
    }
    metric_add(net->options.metrics, METRIC_NET_FRAGMENTS_SENT, (uint64_t)count);
    rte_pktmbuf_free(mbuf);
}

static bool ip_may_fragment(const struct rte_mbuf *mbuf, uint8_t protocol)
{
    return protocol != IPPROTO_TCP && mbuf->nb_segs == 1 && mbuf->pkt_len <= IPV4_PAYLOAD_BYTES_MAX;
}

/* A packet that is larger than the MTU, or whose buffer has no room for the header. */
static void ip_send_unfit(struct net *net, struct net_interface *interface,
                          const struct ip_next_hop *hop, const struct address *source,
                          const struct address *destination, uint8_t protocol,
                          struct rte_mbuf *mbuf)
{
    uint32_t total = mbuf->pkt_len + IPV4_HEADER_BYTES;
    bool large = total > interface->mtu && !ip_is_cut(mbuf);
    if (large && !ip_may_fragment(mbuf, protocol)) {
        net_drop(net, mbuf, METRIC_NET_DROP_IP_TOO_BIG);
        return;
    }
    uint8_t *to = (uint8_t *)rte_pktmbuf_prepend(mbuf, IPV4_HEADER_BYTES);
    if (to == NULL) {
        net_drop(net, mbuf, METRIC_NET_DROP_TX_HEADROOM);
        return;
    }
    CHECK(large);
    struct ipv4_header header = {.source = ip_address_get(source),
                                 .destination = ip_address_get(destination),
                                 .total_bytes = (uint16_t)total,
                                 .identification = (uint16_t)(random_next(&net->random) >> 48),
                                 .ttl = IP_SEND_TTL,
                                 .protocol = protocol};
    wire_ipv4_compose(to, &header, !interface->tx_ipv4_checksum);
    ip_send_fragments(net, interface, hop, mbuf);
}

/* Puts the IP header in front and sends. The addresses are IPv4. */
static void ip_send_datagram(struct net *net, struct net_interface *interface,
                             const struct ip_next_hop *hop, const struct address *source,
                             const struct address *destination, uint8_t protocol,
                             struct rte_mbuf *mbuf)
{
    if (UNLIKELY(!ip_is_whole(interface, mbuf, IPV4_HEADER_BYTES))) {
        ip_send_unfit(net, interface, hop, source, destination, protocol, mbuf);
        return;
    }
    uint8_t *to = (uint8_t *)rte_pktmbuf_prepend(mbuf, IPV4_HEADER_BYTES);
    ip_put_header(interface, to, source, destination, protocol, mbuf->pkt_len, mbuf);
    ip_send(interface, hop, RTE_ETHER_TYPE_IPV4, mbuf);
}

/* ---- both families -----------------------------------------------------------------------------
 */

uint32_t net_header_bytes(const struct address *address)
{
    return LIKELY(address_is_ipv4(address)) ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
}

/* From one family to the other leads no way. */
static inline void ip_send_between(struct net *net, struct net_interface *interface,
                                   const struct address *source, const struct address *destination,
                                   uint8_t protocol, const struct ip_next_hop *hop,
                                   struct rte_mbuf *mbuf)
{
    bool from_ipv4 = address_is_ipv4(source), to_ipv4 = address_is_ipv4(destination);
    if (LIKELY(from_ipv4 && to_ipv4)) {
        ip_send_datagram(net, interface, hop, source, destination, protocol, mbuf);
    } else if (!from_ipv4 && !to_ipv4) {
        struct ipv6_header template = {
            .source = *source, .destination = *destination, .next = protocol};
        ipv6_send_datagram(net, interface, hop, &template, mbuf);
    } else {
        net_drop(net, mbuf, METRIC_NET_DROP_NO_ROUTE);
    }
}

/* One station alone, not ourselves. */
static bool ip_is_reachable(const struct net_interface *interface, const struct address *address)
{
    static const struct address nobody;
    if (address_is_ipv4(address)) {
        uint32_t ipv4 = ip_address_get(address), first = ipv4 >> 24;
        return interface->ipv4_count != 0 && first != 0 && first != 127 && first < 224 &&
               !link_has_ipv4(interface, ipv4) && !link_is_broadcast(interface, ipv4);
    }
    return interface->ipv6_count != 0 && address->bytes[0] != 0xff &&
           !address_equal(address, &nobody) && !address_is_loopback(address) &&
           link_find_address(interface, address) < 0;
}

/* The next hop's address; NULL when there is none. */
static const struct address *ip_next_hop_of(const struct net_interface *interface,
                                            const struct address *destination)
{
    if (!ip_is_reachable(interface, destination)) {
        return NULL;
    }
    if (link_is_on_link(interface, destination)) {
        return destination;
    }
    return address_is_link_local(destination) ? NULL : link_gateway_for(interface, destination);
}

void ip_output(struct net *net, struct net_interface *interface, const struct address *source,
               const struct address *destination, uint8_t protocol, struct rte_mbuf *mbuf,
               const struct instant *now)
{
    struct ip_next_hop hop = {.neighbour = ip_next_hop_of(interface, destination), .now = now};
    if (UNLIKELY(hop.neighbour == NULL)) {
        net_drop(net, mbuf, METRIC_NET_DROP_NO_ROUTE);
        return;
    }
    ip_send_between(net, interface, source, destination, protocol, &hop, mbuf);
}

void ip_output_to_station(struct net *net, struct net_interface *interface,
                          const struct address *source, const struct address *destination,
                          uint8_t protocol, const struct rte_ether_addr *station,
                          struct rte_mbuf *mbuf)
{
    struct ip_next_hop hop = {.station = station};
    ip_send_between(net, interface, source, destination, protocol, &hop, mbuf);
}

struct net_interface *net_interface_of(struct net *net, const struct address *address)
{
    for (uint32_t i = 0; i < net->interface_count; i++) {
        if (link_find_address(net->interfaces[i], address) >= 0) {
            return net->interfaces[i];
        }
    }
    return NULL;
}

/* How good a way the interface is: the length of its network that holds the address, 0 by way of a
 * gateway, -1 none. */
static int32_t ip_rate_way(const struct net_interface *interface, const struct address *destination)
{
    const struct address_prefix *network = link_network_of(interface, destination);
    if (ip_next_hop_of(interface, destination) == NULL) {
        return -1;
    }
    return network != NULL ? network->prefix_length : 0;
}

/* The longest prefix that holds the destination; else the first interface with a gateway. */
struct net_interface *net_route(struct net *net, const struct address *destination,
                                struct address *source)
{
    struct net_interface *best = NULL;
    int32_t best_rate = -1;
    if (net_interface_of(net, destination) != NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < net->interface_count; i++) {
        int32_t rate = ip_rate_way(net->interfaces[i], destination);
        if (rate > best_rate) {
            best = net->interfaces[i];
            best_rate = rate;
        }
    }
    const struct address *ours = best != NULL ? link_source_for(best, destination) : NULL;
    if (ours == NULL) {
        return NULL;
    }
    *source = *ours;
    return best;
}
