/* Neighbour discovery (RFC 4861, 4862): what ARP is to IPv4, in ICMPv6.
 *
 * Path: l3_ip/icmpv6.c hands messages in; what goes out is composed here, IPv6 header included, and
 * goes to the interface's tx array. What a message says about its sender goes to the neighbour
 * table, which decides what to believe. Failure: a message that is malformed or lies about its
 * sender is dropped and counted.
 *
 * Addresses are ours by configuration. At start each is asked for (RFC 4862 5.4) and announced at
 * once; it serves meanwhile. If another station has it too, we count that and keep it, as we do
 * with ARP: a server that takes itself off the network because of one forged message would be the
 * worse choice (RFC 5227 2.4 (c)).
 */
#include "dataplane/l2_link/nd.h"

#include "dataplane/base/checksum.h"
#include "dataplane/l2_link/link_internal.h"
#include "dataplane/l2_link/wire_ipv6.h"
#include "dataplane/l2_link/wire_nd.h"

static const struct address nobody;
static const struct address all_nodes = {{0xff, 0x02, [15] = 1}};

/* ---- groups ------------------------------------------------------------------------------------
 */

/* ff02::1:ffXX:XXXX, with the last three bytes of the address (RFC 4291 2.7.1). */
struct address nd_group_of(const struct address *address)
{
    struct address group = {{0xff, 0x02, [11] = 1, [12] = 0xff}};
    memcpy(group.bytes + 13, address->bytes + 13, 3);
    return group;
}

/* 33:33 and the last four bytes (RFC 2464 7). */
static struct rte_ether_addr nd_station_of_group(const struct address *group)
{
    struct rte_ether_addr station = {{0x33, 0x33}};
    memcpy(station.addr_bytes + 2, group->bytes + 12, 4);
    return station;
}

bool nd_listens_to(const struct net_interface *interface, const struct address *group)
{
    if (address_equal(group, &all_nodes)) {
        return true;
    }
    for (uint32_t i = 0; i < interface->addresses.count; i++) {
        const struct address *ours = &interface->addresses.at[i].address;
        struct address own = nd_group_of(ours);
        if (!address_is_ipv4(ours) && address_equal(group, &own)) {
            return true;
        }
    }
    return false;
}

/* Every group that we are in is ff02:: but for its last five bytes: so the MAC says which. */
bool nd_listens_to_station(const struct net_interface *interface,
                           const struct rte_ether_addr *group)
{
    const uint8_t *bytes = group->addr_bytes;
    struct address address = all_nodes;
    if (bytes[0] != 0x33 || bytes[1] != 0x33) {
        return false;
    }
    address.bytes[11] = bytes[2] == 0xff ? 1 : 0;
    memcpy(address.bytes + 12, bytes + 2, 4);
    return nd_listens_to(interface, &address);
}

/* ---- output ------------------------------------------------------------------------------------
 */

static void nd_send(struct net_interface *interface, const struct address *source,
                    const struct address *destination, const struct rte_ether_addr *station,
                    const struct nd_message *message)
{
    uint32_t bytes = wire_nd_bytes(message);
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(interface->link->options.pool);
    if (mbuf == NULL) {
        link_count(interface, METRIC_NET_DROP_NO_BUFFER);
        return;
    }
    uint8_t *to = (uint8_t *)rte_pktmbuf_append(mbuf, (uint16_t)(IPV6_HEADER_BYTES + bytes));
    CHECK(to != NULL);
    struct ipv6_header header = {.source = *source,
                                 .destination = *destination,
                                 .payload_bytes = (uint16_t)bytes,
                                 .next = IPV6_ICMP,
                                 .hop_limit = ND_HOP_LIMIT};
    wire_ipv6_compose(to, &header);
    uint8_t *icmp = to + IPV6_HEADER_BYTES;
    wire_nd_compose(icmp, message);
    uint64_t sum = checksum_pseudo(source, destination, IPV6_ICMP, bytes);
    checksum_store(icmp + 2, checksum_finish(checksum_add(sum, icmp, bytes)));
    mbuf->l3_len = IPV6_HEADER_BYTES;
    link_transmit(interface, station, RTE_ETHER_TYPE_IPV6, mbuf);
}

void nd_send_solicitation(struct net_interface *interface, const struct address *target,
                          const struct rte_ether_addr *station)
{
    const struct address *ours = link_source_for(interface, target);
    if (ours == NULL) {
        return;
    }
    struct nd_message message = {
        .type = ND_SOLICITATION, .target = *target, .has_station = true, .station = interface->mac};
    struct address group = nd_group_of(target);
    struct rte_ether_addr group_station = nd_station_of_group(&group);
    bool known = station != NULL;
    nd_send(interface, ours, known ? target : &group, known ? station : &group_station, &message);
    link_count(interface, METRIC_NET_ND_SOLICITATIONS_SENT);
}

void nd_probe(struct net_interface *interface, const struct address *ours)
{
    struct nd_message message = {.type = ND_SOLICITATION, .target = *ours};
    struct address group = nd_group_of(ours);
    struct rte_ether_addr station = nd_station_of_group(&group);
    nd_send(interface, &nobody, &group, &station, &message);
    link_count(interface, METRIC_NET_ND_SOLICITATIONS_SENT);
}

static void nd_advertise(struct net_interface *interface, const struct address *ours,
                         const struct address *destination, const struct rte_ether_addr *station,
                         uint32_t flags)
{
    struct nd_message message = {.type = ND_ADVERTISEMENT,
                                 .flags = flags,
                                 .target = *ours,
                                 .has_station = true,
                                 .station = interface->mac};
    nd_send(interface, ours, destination, station, &message);
    link_count(interface, METRIC_NET_ND_ADVERTISEMENTS_SENT);
}

void nd_announce(struct net_interface *interface, const struct address *ours)
{
    struct rte_ether_addr everybody = nd_station_of_group(&all_nodes);
    nd_advertise(interface, ours, &all_nodes, &everybody, ND_FLAG_OVERRIDE);
}

/* Who only probes for its own address has none to answer to: then everybody hears it. */
static void nd_answer(struct net_interface *interface, const struct nd_message *message,
                      const struct nd_envelope *envelope)
{
    if (address_equal(&envelope->source, &nobody)) {
        nd_announce(interface, &message->target);
    } else {
        nd_advertise(interface, &message->target, &envelope->source, &envelope->station,
                     ND_FLAG_SOLICITED | ND_FLAG_OVERRIDE);
    }
}

/* ---- input -------------------------------------------------------------------------------------
 */

/* The sender must speak for itself: its own frame, an address on this link. Without an address it
 * may only probe, by way of the group (RFC 4861 7.1.1, 7.1.2). */
static bool nd_sender_is_possible(const struct net_interface *interface,
                                  const struct nd_message *message,
                                  const struct nd_envelope *envelope)
{
    bool to_group = envelope->destination.bytes[0] == 0xff;
    if (message->has_station && !rte_is_same_ether_addr(&message->station, &envelope->station)) {
        return false;
    }
    if (message->type == ND_ADVERTISEMENT) {
        return link_is_on_link(interface, &message->target) &&
               link_is_on_link(interface, &envelope->source) &&
               (!to_group || (message->flags & ND_FLAG_SOLICITED) == 0);
    }
    if (address_equal(&envelope->source, &nobody)) {
        return !message->has_station && to_group &&
               !address_equal(&envelope->destination, &all_nodes);
    }
    return link_is_on_link(interface, &envelope->source) && (message->has_station || !to_group);
}

/* Another station uses our address: kept, and said so now and then. */
static void nd_defend(struct net_interface *interface, const struct address *ours,
                      const struct instant *now)
{
    int32_t number = link_find_address(interface, ours);
    link_count(interface, METRIC_NET_ND_CONFLICTS);
    if (number >= 0 && link_may_defend(interface, (uint32_t)number, now)) {
        nd_announce(interface, ours);
    }
}

static bool nd_is_ours(const struct net_interface *interface, const struct address *address)
{
    return link_find_address(interface, address) >= 0;
}

/* What the message says about its sender; false when it was ignored. */
static bool nd_note(struct net_interface *interface, const struct nd_message *message,
                    const struct nd_envelope *envelope, const struct instant *now)
{
    const struct address *about = &envelope->source;
    enum neighbour_evidence evidence = NEIGHBOUR_HEARSAY;
    if (message->type == ND_ADVERTISEMENT) {
        about = &message->target;
        evidence = message->flags & ND_FLAG_SOLICITED ? NEIGHBOUR_ANSWER : NEIGHBOUR_HEARSAY;
    } else if (nd_is_ours(interface, &message->target)) {
        evidence = NEIGHBOUR_CLAIM;
    }
    return address_equal(about, &nobody) || nd_is_ours(interface, about) ||
           neighbour_note(interface, about, &envelope->station, evidence, now);
}

static void nd_accept_solicitation(struct net_interface *interface,
                                   const struct nd_message *message,
                                   const struct nd_envelope *envelope, const struct instant *now)
{
    nd_note(interface, message, envelope, now);
    if (nd_is_ours(interface, &message->target)) {
        nd_answer(interface, message, envelope);
    } else {
        link_count(interface, METRIC_NET_DROP_ND_NOT_OURS);
    }
}

void nd_input(struct net_interface *interface, struct slice packet,
              const struct nd_envelope *envelope, const struct instant *now)
{
    struct nd_message message;
    bool valid = wire_nd_parse(packet, &message);
    if (envelope->overheard) {
        /* The worker that took it in answers it, defends our address and counts it. */
        if (valid && nd_sender_is_possible(interface, &message, envelope)) {
            nd_note(interface, &message, envelope, now);
        }
    } else if (!valid) {
        link_count(interface, METRIC_NET_DROP_ND_MALFORMED);
    } else if (!nd_sender_is_possible(interface, &message, envelope)) {
        link_count(interface, METRIC_NET_DROP_ND_SENDER);
    } else if (nd_is_ours(interface, &envelope->source)) {
        nd_defend(interface, &envelope->source, now);
    } else if (message.type == ND_ADVERTISEMENT && nd_is_ours(interface, &message.target)) {
        nd_defend(interface, &message.target, now);
    } else if (message.type == ND_SOLICITATION) {
        nd_accept_solicitation(interface, &message, envelope, now);
    } else if (!nd_note(interface, &message, envelope, now)) {
        link_count(interface, METRIC_NET_DROP_ND_UNSOLICITED);
    }
}
