/* The rules of exception_rules.h, in the order of the headers. */
#include "dataplane/core/exception_rules.h"

#include <netinet/in.h>

#include "dataplane/l2_link/nd.h"
#include "dataplane/l2_link/wire_arp.h"
#include "dataplane/l2_link/wire_ethernet.h"
#include "dataplane/l2_link/wire_ipv6.h"
#include "dataplane/l2_link/wire_nd.h"
#include "dataplane/l3_ip/wire_icmp.h"
#include "dataplane/l3_ip/wire_icmpv6.h"
#include "dataplane/l3_ip/wire_ipv4.h"

#define PORTS_BYTES 4U

static const struct exception_verdict ours = {.ours = true, .reason = METRIC_COUNT};

static struct exception_verdict kernels(enum metric reason)
{
    return (struct exception_verdict){.kernels = true, .reason = reason};
}

static struct exception_verdict both(void)
{
    return (struct exception_verdict){
        .ours = true, .kernels = true, .reason = METRIC_NET_EXCEPTION_NEIGHBOUR};
}

static bool is_served(const struct exception_rules *rules, uint8_t protocol, uint16_t port)
{
    if (protocol == IPPROTO_UDP) {
        return port != 0 && port == rules->udp_port;
    }
    bool served = false;
    for (uint32_t i = 0; i < EXCEPTION_TCP_PORTS_MAX; i++) {
        served = served || (port != 0 && port == rules->tcp_ports[i]);
    }
    return served;
}

/* Without its ports nobody can say: we drop what is cut off before them. */
static struct exception_verdict judge_ports(const struct exception_rules *rules, uint8_t protocol,
                                            struct slice payload)
{
    bool is_ours =
        payload.size < PORTS_BYTES || is_served(rules, protocol, bytes_read_be16(payload.data + 2));
    return is_ours ? ours : kernels(METRIC_NET_EXCEPTION_PORT);
}

/* Only the first has the ports. */
static struct exception_verdict judge_fragment(const struct exception_rules *rules,
                                               uint8_t protocol)
{
    switch (protocol) {
    case IPPROTO_TCP:
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6: return ours;
    case IPPROTO_UDP: return rules->udp_port != 0 ? ours : kernels(METRIC_NET_EXCEPTION_PORT);
    default: return kernels(METRIC_NET_EXCEPTION_PROTOCOL);
    }
}

/* An error is about a packet of ours when a port that we serve sent it. */
static struct exception_verdict judge_quoted(const struct exception_rules *rules, uint8_t protocol,
                                             struct slice payload)
{
    bool has_ports =
        (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) && payload.size >= PORTS_BYTES;
    return has_ports && is_served(rules, protocol, bytes_read_be16(payload.data))
               ? ours
               : kernels(METRIC_NET_EXCEPTION_ICMP);
}

/* ---- IPv4 ------------------------------------------------------------------------------------ */

static struct exception_verdict judge_icmp(const struct exception_rules *rules,
                                           struct slice message)
{
    if (message.size < ICMP_HEADER_BYTES || message.data[0] == ICMP_TYPE_ECHO_REQUEST) {
        return ours;
    }
    if (message.data[0] != ICMP_TYPE_UNREACHABLE && message.data[0] != ICMP_TYPE_TIME_EXCEEDED &&
        message.data[0] != ICMP_TYPE_PARAMETER_PROBLEM) {
        return kernels(METRIC_NET_EXCEPTION_ICMP);
    }
    struct slice quote = slice_from(message, ICMP_HEADER_BYTES);
    size_t header_bytes = quote.size < IPV4_HEADER_BYTES ? 0 : (size_t)(quote.data[0] & 0x0f) * 4;
    if (header_bytes < IPV4_HEADER_BYTES || quote.size < header_bytes) {
        return kernels(METRIC_NET_EXCEPTION_ICMP);
    }
    return judge_quoted(rules, quote.data[9], slice_from(quote, header_bytes));
}

static struct exception_verdict judge_ipv4(const struct exception_rules *rules, struct slice packet)
{
    struct ipv4_header header;
    if (wire_ipv4_parse(packet, &header) != WIRE_IPV4_RIGHT) {
        return ours;
    }
    if (!link_has_ipv4(rules->interface, header.destination)) {
        return kernels(METRIC_NET_EXCEPTION_ADDRESS);
    }
    if ((header.fragment & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK)) != 0) {
        return judge_fragment(rules, header.protocol);
    }
    struct slice payload = slice_of(packet.data + header.header_bytes,
                                    (size_t)(header.total_bytes - header.header_bytes));
    switch (header.protocol) {
    case IPPROTO_TCP:
    case IPPROTO_UDP: return judge_ports(rules, header.protocol, payload);
    case IPPROTO_ICMP: return judge_icmp(rules, payload);
    default: return kernels(METRIC_NET_EXCEPTION_PROTOCOL);
    }
}

static struct exception_verdict judge_arp(const struct exception_rules *rules, struct slice packet)
{
    struct arp_message message;
    bool for_us =
        !wire_arp_parse(packet, &message) ||
        (message.operation == ARP_REQUEST && link_has_ipv4(rules->interface, message.target));
    return for_us ? ours : both();
}

/* ---- IPv6 ------------------------------------------------------------------------------------ */

static struct exception_verdict judge_quoted_ipv6(const struct exception_rules *rules,
                                                  struct slice quote)
{
    if (quote.size < IPV6_HEADER_BYTES) {
        return kernels(METRIC_NET_EXCEPTION_ICMP);
    }
    struct ipv6_chain chain = {.may_begin = true, .next = quote.data[6]};
    struct slice behind = slice_from(quote, IPV6_HEADER_BYTES);
    if (wire_ipv6_walk(behind, &chain) != WIRE_IPV6_CHAIN_RIGHT) {
        return kernels(METRIC_NET_EXCEPTION_ICMP);
    }
    return judge_quoted(rules, chain.next, slice_from(behind, chain.bytes));
}

static struct exception_verdict judge_solicitation(const struct exception_rules *rules,
                                                   struct slice message)
{
    struct nd_message nd;
    bool for_us =
        !wire_nd_parse(message, &nd) || link_find_address(rules->interface, &nd.target) >= 0;
    return for_us ? ours : kernels(METRIC_NET_EXCEPTION_NEIGHBOUR);
}

static struct exception_verdict judge_icmpv6(const struct exception_rules *rules,
                                             struct slice message, bool addressed)
{
    if (message.size < ICMPV6_HEADER_BYTES) {
        return ours;
    }
    switch (message.data[0]) {
    case ND_SOLICITATION: return judge_solicitation(rules, message);
    case ND_ADVERTISEMENT:
    case ICMPV6_TYPE_LISTENER_QUERY: return both();
    case ND_ROUTER_SOLICITATION:
    case ND_ROUTER_ADVERTISEMENT:
    case ND_REDIRECT: return kernels(METRIC_NET_EXCEPTION_NEIGHBOUR);
    default: break;
    }
    if (!addressed) {
        return kernels(METRIC_NET_EXCEPTION_ADDRESS);
    }
    switch (message.data[0]) {
    case ICMPV6_TYPE_ECHO_REQUEST: return ours;
    case ICMPV6_TYPE_UNREACHABLE:
    case ICMPV6_TYPE_PACKET_TOO_BIG:
    case ICMPV6_TYPE_TIME_EXCEEDED:
    case ICMPV6_TYPE_PARAMETER_PROBLEM:
        return judge_quoted_ipv6(rules, slice_from(message, ICMPV6_HEADER_BYTES));
    default: return kernels(METRIC_NET_EXCEPTION_ICMP);
    }
}

static struct exception_verdict judge_ipv6(const struct exception_rules *rules, struct slice packet)
{
    struct ipv6_header header;
    if (wire_ipv6_parse(packet, &header) != WIRE_IPV6_RIGHT) {
        return ours;
    }
    bool addressed = link_find_address(rules->interface, &header.destination) >= 0;
    struct slice behind = slice_of(packet.data + IPV6_HEADER_BYTES, header.payload_bytes);
    struct ipv6_chain chain = {.may_begin = true, .next = header.next};
    if (wire_ipv6_walk(behind, &chain) != WIRE_IPV6_CHAIN_RIGHT) {
        return addressed ? ours : kernels(METRIC_NET_EXCEPTION_ADDRESS);
    }
    struct slice payload = slice_from(behind, chain.bytes);
    if (chain.next == IPV6_ICMP && !chain.fragmented) {
        bool for_all = header.destination.bytes[0] == 0xff;
        return addressed || for_all ? judge_icmpv6(rules, payload, addressed)
                                    : kernels(METRIC_NET_EXCEPTION_ADDRESS);
    }
    if (!addressed) {
        return kernels(METRIC_NET_EXCEPTION_ADDRESS);
    }
    if (chain.fragmented) {
        return judge_fragment(rules, chain.next);
    }
    return chain.next == IPPROTO_TCP || chain.next == IPPROTO_UDP
               ? judge_ports(rules, chain.next, payload)
               : kernels(METRIC_NET_EXCEPTION_PROTOCOL);
}

/* ---- link ------------------------------------------------------------------------------------ */

static struct exception_verdict judge_packet(const struct exception_rules *rules, uint16_t type,
                                             struct slice packet)
{
    switch (type) {
    case RTE_ETHER_TYPE_IPV4: return judge_ipv4(rules, packet);
    case RTE_ETHER_TYPE_IPV6: return judge_ipv6(rules, packet);
    case RTE_ETHER_TYPE_ARP:
        return rules->interface->ipv4_count != 0 ? judge_arp(rules, packet)
                                                 : kernels(METRIC_NET_EXCEPTION_NEIGHBOUR);
    default: return kernels(METRIC_NET_EXCEPTION_ETHERTYPE);
    }
}

struct exception_verdict exception_judge(const struct exception_rules *rules, struct slice frame)
{
    struct exception_rules of_vlan = *rules;
    struct ethernet_header ethernet;
    if (!wire_ethernet_parse(frame, &ethernet) ||
        (!rte_is_multicast_ether_addr(&ethernet.destination) &&
         !rte_is_same_ether_addr(&ethernet.destination, &rules->interface->mac))) {
        return ours;
    }
    while (of_vlan.interface != NULL && of_vlan.interface->vlan != ethernet.vlan) {
        of_vlan.interface = of_vlan.interface->next_vlan;
    }
    return of_vlan.interface != NULL
               ? judge_packet(&of_vlan, ethernet.type, slice_from(frame, ethernet.bytes))
               : kernels(METRIC_NET_EXCEPTION_VLAN);
}
