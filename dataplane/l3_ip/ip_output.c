/* IPv4 packets out: header, route, checksum offload, fragments where a reply is too large.
 *
 * Path: L4 and icmp.c hand in L4 packets; frames appear in the interface's tx array, or one packet
 * waits for ARP. Thread: the owning worker. Failure: a counted drop.
 *
 * A datagram that fits the MTU is atomic (DF, RFC 6864): its identification means nothing and is 0,
 * so it tells nobody how much we send. Fragments carry a random one.
 */
#include <netinet/in.h>
#include <rte_ip_frag.h>

#include "dataplane/base/hash.h"
#include "dataplane/l3_ip/ip_internal.h"

#define IP_FRAGMENTS_MAX 128U

/* Where a packet goes: to a station, or to an address on the link. */
struct ip_next_hop {
    const struct rte_ether_addr *station; /* NULL: neighbour is looked up */
    uint32_t neighbour;
    const struct instant *now;
};

static void ip_send(struct net_interface *interface, const struct ip_next_hop *hop,
                    struct rte_mbuf *mbuf)
{
    if (hop->station != NULL) {
        link_output_to_station(interface, hop->station, mbuf);
    } else {
        link_output_to_neighbour(interface, hop->neighbour, mbuf, hop->now);
    }
}

/* What the hardware is to do; the fields must hold what it expects. */
static uint64_t ip_offload_flags(const struct net_interface *interface, uint8_t protocol)
{
    uint64_t flags = 0;
    if (interface->tx_ipv4_checksum) {
        flags |= RTE_MBUF_F_TX_IP_CKSUM;
    }
    if (protocol == IPPROTO_TCP && interface->tx_tcp_checksum) {
        flags |= RTE_MBUF_F_TX_TCP_CKSUM;
    }
    if (protocol == IPPROTO_UDP && interface->tx_udp_checksum) {
        flags |= RTE_MBUF_F_TX_UDP_CKSUM;
    }
    return flags == 0 ? 0 : flags | RTE_MBUF_F_TX_IPV4;
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
        ip_send(interface, hop, fragments[i]);
    }
    metric_add(net->options.metrics, METRIC_NET_FRAGMENTS_SENT, (uint64_t)count);
    rte_pktmbuf_free(mbuf);
}

static bool ip_may_fragment(const struct rte_mbuf *mbuf, uint8_t protocol)
{
    return protocol != IPPROTO_TCP && mbuf->nb_segs == 1 && mbuf->pkt_len <= IPV4_PAYLOAD_BYTES_MAX;
}

/* Puts the IP header in front and sends. The addresses are IPv4. */
static void ip_send_datagram(struct net *net, struct net_interface *interface,
                             const struct ip_next_hop *hop, const struct ipv4_header *template,
                             struct rte_mbuf *mbuf)
{
    uint32_t total = mbuf->pkt_len + IPV4_HEADER_BYTES;
    bool whole = LIKELY(total <= interface->mtu);
    if (UNLIKELY(!whole) && !ip_may_fragment(mbuf, template->protocol)) {
        net_drop(net, mbuf, METRIC_NET_DROP_IP_TOO_BIG);
        return;
    }
    uint8_t *to = (uint8_t *)rte_pktmbuf_prepend(mbuf, IPV4_HEADER_BYTES);
    if (UNLIKELY(to == NULL)) {
        net_drop(net, mbuf, METRIC_NET_DROP_TX_HEADROOM);
        return;
    }
    struct ipv4_header header = *template;
    header.total_bytes = (uint16_t)total;
    header.ttl = IP_SEND_TTL;
    header.fragment = whole ? IPV4_DONT_FRAGMENT : 0;
    header.identification = whole ? 0 : (uint16_t)(random_next(&net->random) >> 48);
    wire_ipv4_compose(to, &header, !interface->tx_ipv4_checksum);
    if (UNLIKELY(!whole)) {
        ip_send_fragments(net, interface, hop, mbuf);
        return;
    }
    mbuf->l3_len = IPV4_HEADER_BYTES;
    mbuf->ol_flags |= ip_offload_flags(interface, header.protocol);
    ip_send(interface, hop, mbuf);
}

static bool ip_are_ipv4(const struct address *source, const struct address *destination)
{
    return LIKELY(address_is_ipv4(source) && address_is_ipv4(destination));
}

/* The next hop's address; 0 when there is none. Groups, broadcasts and ourselves have none. */
static uint32_t ip_next_hop_of(const struct net_interface *interface, uint32_t destination)
{
    uint32_t first = destination >> 24;
    if (first == 0 || first == 127 || first >= 224 || destination == interface->ipv4 ||
        destination == interface->ipv4_broadcast) {
        return 0;
    }
    if (link_is_on_link(interface, destination)) {
        return destination;
    }
    return interface->has_gateway ? interface->ipv4_gateway : 0;
}

void ip_output(struct net *net, struct net_interface *interface, const struct address *source,
               const struct address *destination, uint8_t protocol, struct rte_mbuf *mbuf,
               const struct instant *now)
{
    uint32_t next_hop = ip_are_ipv4(source, destination)
                            ? ip_next_hop_of(interface, ip_address_get(destination))
                            : 0;
    if (UNLIKELY(next_hop == 0)) {
        net_drop(net, mbuf, METRIC_NET_DROP_NO_ROUTE);
        return;
    }
    struct ip_next_hop hop = {.neighbour = next_hop, .now = now};
    struct ipv4_header template = {.source = ip_address_get(source),
                                   .destination = ip_address_get(destination),
                                   .protocol = protocol};
    ip_send_datagram(net, interface, &hop, &template, mbuf);
}

void ip_output_to_station(struct net *net, struct net_interface *interface,
                          const struct address *source, const struct address *destination,
                          uint8_t protocol, const struct rte_ether_addr *station,
                          struct rte_mbuf *mbuf)
{
    if (UNLIKELY(!ip_are_ipv4(source, destination))) {
        net_drop(net, mbuf, METRIC_NET_DROP_NO_ROUTE);
        return;
    }
    struct ip_next_hop hop = {.station = station};
    struct ipv4_header template = {.source = ip_address_get(source),
                                   .destination = ip_address_get(destination),
                                   .protocol = protocol};
    ip_send_datagram(net, interface, &hop, &template, mbuf);
}

struct net_interface *net_interface_of(struct net *net, const struct address *address)
{
    for (uint32_t i = 0; i < net->interface_count; i++) {
        if (address_equal(&net->interfaces[i]->address, address)) {
            return net->interfaces[i];
        }
    }
    return NULL;
}

/* The longest prefix that holds the destination; else the first interface with a gateway. */
struct net_interface *net_route(struct net *net, const struct address *destination)
{
    if (!address_is_ipv4(destination) || net_interface_of(net, destination) != NULL) {
        return NULL;
    }
    uint32_t ipv4 = ip_address_get(destination);
    struct net_interface *best = NULL;
    for (uint32_t i = 0; i < net->interface_count; i++) {
        struct net_interface *interface = net->interfaces[i];
        if (ip_next_hop_of(interface, ipv4) == 0) {
            continue;
        }
        bool on_link = link_is_on_link(interface, ipv4);
        bool best_on_link = best != NULL && link_is_on_link(best, ipv4);
        if (best == NULL ||
            (on_link && (!best_on_link || interface->ipv4_mask > best->ipv4_mask))) {
            best = interface;
        }
    }
    return best;
}
