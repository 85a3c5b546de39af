/* IPv6 packets out: header, checksum offload, fragments where a reply is too large (RFC 8200).
 *
 * Path: ip_output.c hands in L4 packets; frames appear in the interface's tx array, or one packet
 * waits for its neighbour. Thread: the owning worker. Failure: a counted drop.
 *
 * Fragments are never longer than the smallest MTU that IPv6 allows, 1280 bytes: they pass every
 * path, so nothing needs to be remembered about paths but by TCP, which does not fragment.
 */
#include <netinet/in.h>

#include "dataplane/base/hash.h"
#include "dataplane/l3_ip/ip_internal.h"

/* Of a datagram, in one fragment; a multiple of 8. */
#define FRAGMENT_PART_BYTES (IPV6_MTU_MIN - IPV6_HEADER_BYTES - IPV6_FRAGMENT_BYTES)
_Static_assert(FRAGMENT_PART_BYTES % 8 == 0, "parts begin at multiples of 8");

/* The fragment of `whole` that begins at `offset`; NULL without a buffer. */
static struct rte_mbuf *ipv6_compose_fragment(struct net *net, const struct ipv6_header *template,
                                              const struct rte_mbuf *whole, uint32_t offset,
                                              uint32_t identification)
{
    uint32_t left = whole->pkt_len - offset;
    bool last = left <= FRAGMENT_PART_BYTES;
    uint32_t size = last ? left : FRAGMENT_PART_BYTES;
    struct rte_mbuf *mbuf = net_allocate(net);
    if (mbuf == NULL) {
        return NULL;
    }
    uint8_t *to = (uint8_t *)rte_pktmbuf_append(
        mbuf, (uint16_t)(IPV6_HEADER_BYTES + IPV6_FRAGMENT_BYTES + size));
    CHECK(to != NULL);
    struct ipv6_header header = *template;
    header.next = IPV6_FRAGMENT;
    header.payload_bytes = (uint16_t)(IPV6_FRAGMENT_BYTES + size);
    wire_ipv6_compose(to, &header);
    to += IPV6_HEADER_BYTES;
    wire_ipv6_compose_fragment(to, template->next, offset, last, identification);
    memcpy(to + IPV6_FRAGMENT_BYTES, rte_pktmbuf_mtod_offset(whole, const uint8_t *, offset), size);
    return mbuf;
}

/* Hands the fragments of `mbuf`, an L4 datagram, to the link; frees the mbuf. */
static void ipv6_send_fragments(struct net *net, struct net_interface *interface,
                                const struct ip_next_hop *hop, const struct ipv6_header *template,
                                struct rte_mbuf *mbuf)
{
    uint32_t identification = (uint32_t)(random_next(&net->random) >> 32);
    uint64_t count = 0;
    for (uint32_t offset = 0; offset < mbuf->pkt_len; offset += FRAGMENT_PART_BYTES) {
        struct rte_mbuf *fragment =
            ipv6_compose_fragment(net, template, mbuf, offset, identification);
        if (fragment == NULL) {
            break;
        }
        ip_send(interface, hop, RTE_ETHER_TYPE_IPV6, fragment);
        count++;
    }
    metric_add(net->options.metrics, METRIC_NET_FRAGMENTS_SENT, count);
    rte_pktmbuf_free(mbuf);
}

static bool ipv6_may_fragment(const struct rte_mbuf *mbuf, uint8_t protocol)
{
    return protocol != IPPROTO_TCP && mbuf->nb_segs == 1;
}

void ipv6_send_datagram(struct net *net, struct net_interface *interface,
                        const struct ip_next_hop *hop, const struct ipv6_header *template,
                        struct rte_mbuf *mbuf)
{
    struct ipv6_header header = *template;
    header.hop_limit = IP_SEND_TTL;
    if (UNLIKELY(mbuf->pkt_len + IPV6_HEADER_BYTES > interface->mtu && !ip_is_cut(mbuf))) {
        if (ipv6_may_fragment(mbuf, header.next)) {
            ipv6_send_fragments(net, interface, hop, &header, mbuf);
        } else {
            net_drop(net, mbuf, METRIC_NET_DROP_IP_TOO_BIG);
        }
        return;
    }
    header.payload_bytes = (uint16_t)mbuf->pkt_len;
    uint8_t *to = (uint8_t *)rte_pktmbuf_prepend(mbuf, IPV6_HEADER_BYTES);
    if (UNLIKELY(to == NULL)) {
        net_drop(net, mbuf, METRIC_NET_DROP_TX_HEADROOM);
        return;
    }
    wire_ipv6_compose(to, &header);
    uint64_t flags = ip_l4_offload_flags(interface, header.next);
    mbuf->l3_len = IPV6_HEADER_BYTES;
    mbuf->ol_flags |= flags == 0 ? 0 : flags | RTE_MBUF_F_TX_IPV6;
    ip_send(interface, hop, RTE_ETHER_TYPE_IPV6, mbuf);
}
