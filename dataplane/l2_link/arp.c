/* ARP (RFC 826, 5227): answers requests for our addresses, asks for others', announces our own.
 *
 * Path: link_input hands messages in; replies and requests go to the interface's tx array. What a
 * message says about its sender goes to the neighbour table, which decides what to believe.
 * Failure: a message that is malformed or lies about its sender is dropped and counted.
 */
#include "dataplane/l2_link/link_internal.h"
#include "dataplane/l2_link/wire_arp.h"

static const struct rte_ether_addr broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
static const struct rte_ether_addr nobody = {{0, 0, 0, 0, 0, 0}};

static void arp_send(struct net_interface *interface, const struct arp_message *message,
                     const struct rte_ether_addr *station)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(interface->link->options.pool);
    if (mbuf == NULL) {
        link_count(interface, METRIC_NET_DROP_NO_BUFFER);
        return;
    }
    uint8_t *data = (uint8_t *)rte_pktmbuf_append(mbuf, ARP_BYTES);
    CHECK(data != NULL);
    wire_arp_compose(data, message);
    link_transmit(interface, station, RTE_ETHER_TYPE_ARP, mbuf);
}

static void arp_ask(struct net_interface *interface, uint32_t sender, uint32_t target,
                    const struct rte_ether_addr *station)
{
    struct arp_message request = {.operation = ARP_REQUEST,
                                  .sender_mac = interface->mac,
                                  .sender = sender,
                                  .target_mac = nobody,
                                  .target = target};
    arp_send(interface, &request, station);
    link_count(interface, METRIC_NET_ARP_REQUESTS_SENT);
}

void arp_send_request(struct net_interface *interface, const struct address *target,
                      const struct rte_ether_addr *station)
{
    const struct address *ours = link_source_for(interface, target);
    if (ours != NULL) {
        arp_ask(interface, address_to_ipv4(ours), address_to_ipv4(target),
                station != NULL ? station : &broadcast);
    }
}

void arp_announce(struct net_interface *interface, uint32_t ours)
{
    arp_ask(interface, ours, ours, &broadcast);
}

static void arp_send_reply(struct net_interface *interface, const struct arp_message *request)
{
    struct arp_message reply = {.operation = ARP_REPLY,
                                .sender_mac = interface->mac,
                                .sender = request->target,
                                .target_mac = request->sender_mac,
                                .target = request->sender};
    arp_send(interface, &reply, &request->sender_mac);
    link_count(interface, METRIC_NET_ARP_REPLIES_SENT);
}

/* The sender must speak for itself: its own frame, a station's MAC, an address on this link.
 * 0.0.0.0 is the sender of an RFC 5227 probe. */
static bool arp_sender_is_possible(const struct net_interface *interface,
                                   const struct arp_message *message,
                                   const struct rte_ether_addr *frame_source)
{
    if (!rte_is_same_ether_addr(&message->sender_mac, frame_source)) {
        return false;
    }
    if (message->sender == 0) {
        return message->operation == ARP_REQUEST;
    }
    struct address sender = address_from_ipv4(message->sender);
    return link_is_on_link(interface, &sender) && !link_is_broadcast(interface, message->sender);
}

/* Another station uses our address. We keep it and say so, not more often than RFC 5227 allows. */
static void arp_defend(struct net_interface *interface, uint32_t ours, const struct instant *now)
{
    struct address address = address_from_ipv4(ours);
    int32_t number = link_find_address(interface, &address);
    link_count(interface, METRIC_NET_ARP_CONFLICTS);
    if (number >= 0 && link_may_defend(interface, (uint32_t)number, now)) {
        arp_announce(interface, ours);
    }
}

static bool arp_note(struct net_interface *interface, const struct arp_message *message,
                     enum neighbour_evidence evidence, const struct instant *now)
{
    struct address sender = address_from_ipv4(message->sender);
    return neighbour_note(interface, &sender, &message->sender_mac, evidence, now);
}

static void arp_accept_request(struct net_interface *interface, const struct arp_message *message,
                               const struct instant *now)
{
    bool for_us = link_has_ipv4(interface, message->target);
    if (message->sender != 0) {
        arp_note(interface, message, for_us ? NEIGHBOUR_CLAIM : NEIGHBOUR_HEARSAY, now);
    }
    if (for_us) {
        arp_send_reply(interface, message);
    } else {
        link_count(interface, METRIC_NET_DROP_ARP_NOT_OURS);
    }
}

static void arp_accept_reply(struct net_interface *interface, const struct arp_message *message,
                             const struct instant *now)
{
    if (!arp_note(interface, message, NEIGHBOUR_ANSWER, now)) {
        link_count(interface, METRIC_NET_DROP_ARP_UNSOLICITED);
    }
}

/* The worker that took it in answers it, defends our address and counts it. */
static void arp_overhear(struct net_interface *interface, const struct arp_message *message,
                         const struct instant *now)
{
    enum neighbour_evidence evidence = NEIGHBOUR_ANSWER;
    if (message->operation == ARP_REQUEST) {
        evidence = link_has_ipv4(interface, message->target) ? NEIGHBOUR_CLAIM : NEIGHBOUR_HEARSAY;
    }
    if (message->sender != 0 && !link_has_ipv4(interface, message->sender)) {
        arp_note(interface, message, evidence, now);
    }
}

void arp_input(struct net_interface *interface, struct rte_mbuf *mbuf,
               const struct rte_ether_addr *frame_source, const struct instant *now)
{
    struct arp_message message;
    bool overheard = packet_is_overheard(mbuf);
    bool valid =
        wire_arp_parse(slice_of(rte_pktmbuf_mtod(mbuf, uint8_t *), mbuf->data_len), &message);
    rte_pktmbuf_free(mbuf);
    if (overheard) {
        if (valid && arp_sender_is_possible(interface, &message, frame_source)) {
            arp_overhear(interface, &message, now);
        }
    } else if (!valid) {
        link_count(interface, METRIC_NET_DROP_ARP_MALFORMED);
    } else if (!arp_sender_is_possible(interface, &message, frame_source)) {
        link_count(interface, METRIC_NET_DROP_ARP_SENDER);
    } else if (message.sender != 0 && link_has_ipv4(interface, message.sender)) {
        arp_defend(interface, message.sender, now);
    } else if (message.operation == ARP_REQUEST) {
        arp_accept_request(interface, &message, now);
    } else {
        arp_accept_reply(interface, &message, now);
    }
}
