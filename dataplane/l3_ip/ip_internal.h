/* What the files of the IP layer share. */
#ifndef NICACHED_L3_IP_IP_INTERNAL_H
#define NICACHED_L3_IP_IP_INTERNAL_H

#include "dataplane/base/check.h"
#include "dataplane/l2_link/packet.h"
#include "dataplane/l2_link/wire_ipv6.h"
#include "dataplane/l3_ip/ip_fragment.h"
#include "dataplane/l3_ip/ip_push.h"
#include "dataplane/l3_ip/net.h"
#include "dataplane/l3_ip/wire_ipv4.h"

#define ICMP_NOTICES_MAX 64U

/* Tokens come back with time; each ICMP error takes 1 to 3, so that counting our answers does not
 * tell a third party how many others got (CVE-2020-25705). */
struct icmp_limit {
    uint64_t refilled_us;
    uint32_t tokens;
};

struct net {
    struct net_options options;
    struct rte_mempool *large_pool;
    uint64_t random; /* state of random_next, never 0 */
    struct net_interface *interfaces[NET_INTERFACES_MAX];
    uint32_t interface_count;
    struct icmp_limit icmp_limit;
    struct icmp_notice notices[ICMP_NOTICES_MAX];
    uint32_t notice_count;
    struct fragment_table fragments;
};

static inline void net_count(struct net *net, enum metric metric)
{
    metric_add(net->options.metrics, metric, 1);
}

static inline void net_drop(struct net *net, struct rte_mbuf *mbuf, enum metric reason)
{
    rte_pktmbuf_free(mbuf);
    net_count(net, reason);
}

/* address_from_ipv4 and address_to_ipv4 in a few instructions, for the packet path. */
static inline void ip_address_set(struct address *address, uint32_t ipv4)
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    memcpy(address->bytes, prefix, sizeof(prefix));
    bytes_write_be32(address->bytes + 12, ipv4);
}

static inline uint32_t ip_address_get(const struct address *address)
{
    return bytes_read_be32(address->bytes + 12);
}

/* This network, loopback, multicast and above are no hosts'. */
static inline bool ip_source_is_host(uint32_t source)
{
    uint32_t first = source >> 24;
    return first != 0 && first != 127 && first < 224;
}

/* Neither those nor the link's broadcast can be answered. */
static inline bool ip_source_is_possible(const struct net_interface *interface, uint32_t source)
{
    return ip_source_is_host(source) && !link_is_broadcast(interface, source);
}

/* Take over the packet, of the family that they name; true when `datagram` goes up to L4. */
bool ip_input_packet(struct net *net, const struct link_packet *packet, const struct instant *now,
                     struct ip_datagram *datagram);
bool ipv6_input_packet(struct net *net, const struct link_packet *packet, const struct instant *now,
                       struct ip_datagram *datagram);

/* Take over the datagram's mbuf. */
void icmp_input(struct net *net, const struct ip_datagram *datagram);
/* `plain`: no extension headers. */
void icmpv6_input(struct net *net, const struct ip_datagram *datagram, uint8_t hop_limit,
                  bool plain, const struct instant *now);

void icmp_send_protocol_unreachable(struct net *net, const struct ip_datagram *about,
                                    const struct instant *now);

enum icmpv6_error {
    ICMPV6_ERROR_PORT,     /* nobody listens */
    ICMPV6_ERROR_PROTOCOL, /* an unknown next header; `at`: where it is named */
    ICMPV6_ERROR_OPTION,   /* an unknown option; `at`: where it stands */
};
/* About a datagram whose l3_len bytes of headers lie in front of it. */
void icmpv6_send_error(struct net *net, const struct ip_datagram *about, enum icmpv6_error error,
                       uint32_t at, const struct instant *now);

/* ---- what the families share (icmp.c, ip_output.c) ---------------------------------------------
 */

/* Sends an echo request back as a reply of its own protocol. */
void icmp_answer_echo(struct net *net, const struct ip_datagram *datagram, uint8_t reply_type);
void icmp_keep_notice(struct net *net, struct rte_mbuf *mbuf, const struct icmp_notice *notice);
/* Whether the rate allows an error now; takes its price. */
bool icmp_may_send_error(struct net *net, const struct instant *now);

/* Where a packet goes: to a station, or to an address on the link. */
struct ip_next_hop {
    const struct rte_ether_addr *station; /* NULL: neighbour is looked up */
    const struct address *neighbour;
    const struct instant *now;
};

/* `type`: the Ethernet type of the packet. */
void ip_send(struct net_interface *interface, const struct ip_next_hop *hop, uint16_t type,
             struct rte_mbuf *mbuf);

/* ipv6_output.c: puts the IPv6 header in front and sends. */
void ipv6_send_datagram(struct net *net, struct net_interface *interface,
                        const struct ip_next_hop *hop, const struct ipv6_header *template,
                        struct rte_mbuf *mbuf);

/* The IP header that came with a datagram lies right in front of its data: l3_len bytes. */
static inline const uint8_t *ip_header_of(const struct rte_mbuf *mbuf)
{
    return rte_pktmbuf_mtod(mbuf, const uint8_t *) - mbuf->l3_len;
}

#endif
