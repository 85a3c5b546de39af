/* UDP of one worker (RFC 768): datagrams validated and given to their listener, replies written
 * into the packet that the request came in.
 *
 * Path: net_input_batch --> udp_input_batch --> sessions --> udp_reply --> ip_output_to_station.
 * Thread: the owning worker. Memory: the port table; packets come from the worker's pools.
 * Failure: counted drops; a port without a listener is answered with ICMP port unreachable.
 * Over IPv6 a checksum is no choice (RFC 8200 8.1).
 */
#include "dataplane/l4_transport/udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/base/checksum.h"
#include "dataplane/l2_link/packet.h"
#include "dataplane/l2_link/wire_ipv6.h"
#include "dataplane/l3_ip/ip_push.h"
#include "dataplane/l4_transport/wire_udp.h"

#define UDP_LISTENERS_MAX 255U

/* Of an answer over IPv6: what passes every path, for nothing is remembered about paths. */
#define UDP_IPV6_PAYLOAD_BYTES_MAX (IPV6_MTU_MIN - IPV6_HEADER_BYTES - UDP_HEADER_BYTES)

struct udp {
    struct net *net;
    struct metrics *metrics;
    const struct access *access;
    uint32_t listener_count;
    uint32_t listeners[UDP_LISTENERS_MAX];
    uint8_t ports[65536]; /* 0: nobody; else 1 + position in listeners */
};

struct udp *udp_create(struct net *net, struct metrics *metrics)
{
    struct udp *udp = calloc(1, sizeof(*udp));
    if (udp != NULL) {
        udp->net = net;
        udp->metrics = metrics;
    }
    return udp;
}

void udp_destroy(struct udp *udp)
{
    free(udp);
}

void udp_set_access(struct udp *udp, const struct access *access)
{
    udp->access = access;
}

int udp_listen(struct udp *udp, uint16_t port, uint32_t listener)
{
    if (udp->ports[port] != 0) {
        return -EADDRINUSE;
    }
    if (udp->listener_count == UDP_LISTENERS_MAX) {
        return -ENOSPC;
    }
    udp->listeners[udp->listener_count++] = listener;
    udp->ports[port] = (uint8_t)udp->listener_count;
    return 0;
}

static void udp_drop(struct udp *udp, struct rte_mbuf *mbuf, enum metric reason)
{
    rte_pktmbuf_free(mbuf);
    metric_add(udp->metrics, reason, 1);
}

/* ---- input -------------------------------------------------------------------------------------
 */

/* checksum_pseudo, in a few instructions where both are IPv4. */
static inline uint64_t udp_sum_pseudo(const struct address *source,
                                      const struct address *destination, uint32_t total)
{
    if (UNLIKELY(!address_is_ipv4(source))) {
        return checksum_pseudo(source, destination, IPPROTO_UDP, total);
    }
    uint32_t words[2];
    memcpy(&words[0], source->bytes + 12, sizeof(words[0]));
    memcpy(&words[1], destination->bytes + 12, sizeof(words[1]));
    return (uint64_t)words[0] + words[1] + htobe32(IPPROTO_UDP + total);
}

static bool udp_checksum_is_right(const struct ip_datagram *ip, const struct udp_header *header)
{
    uint64_t told = ip->mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
    if (!header->has_checksum) {
        return address_is_ipv4(&ip->source);
    }
    if (told == RTE_MBUF_F_RX_L4_CKSUM_GOOD) {
        return true;
    }
    if (told == RTE_MBUF_F_RX_L4_CKSUM_BAD) {
        return false;
    }
    uint64_t sum = udp_sum_pseudo(&ip->source, &ip->destination, header->total_bytes);
    const uint8_t *data = rte_pktmbuf_mtod(ip->mbuf, const uint8_t *);
    return checksum_is_right(checksum_add(sum, data, header->total_bytes));
}

/* METRIC_COUNT when somebody listens and the datagram is sound, else the reason to drop it. */
static enum metric udp_check(const struct udp *udp, const struct ip_datagram *ip,
                             struct udp_header *header)
{
    const struct rte_mbuf *mbuf = ip->mbuf;
    switch (wire_udp_parse(slice_of(rte_pktmbuf_mtod(mbuf, uint8_t *), mbuf->data_len), header)) {
    case WIRE_UDP_TRUNCATED: return METRIC_NET_DROP_UDP_TRUNCATED;
    case WIRE_UDP_LENGTH: return METRIC_NET_DROP_UDP_LENGTH;
    case WIRE_UDP_RIGHT: break;
    }
    if (UNLIKELY(!udp_checksum_is_right(ip, header))) {
        return METRIC_NET_DROP_UDP_CHECKSUM;
    }
    if (UNLIKELY(header->source_port == 0)) {
        return METRIC_NET_DROP_UDP_SOURCE_PORT;
    }
    enum metric reason =
        access_check_rules(udp->access, &ip->source, header->destination_port, IPPROTO_UDP);
    if (UNLIKELY(reason != METRIC_COUNT)) {
        return reason;
    }
    return LIKELY(udp->ports[header->destination_port] != 0) ? METRIC_COUNT
                                                             : METRIC_NET_DROP_UDP_NO_LISTENER;
}

static void udp_refuse(struct udp *udp, const struct ip_datagram *ip, enum metric reason,
                       const struct instant *now)
{
    if (reason == METRIC_NET_DROP_UDP_NO_LISTENER) {
        icmp_send_port_unreachable(udp->net, ip, now);
    }
    udp_drop(udp, ip->mbuf, reason);
}

static void udp_describe(const struct udp *udp, const struct ip_datagram *ip,
                         const struct udp_header *header, struct udp_datagram *datagram)
{
    datagram->payload = slice_of(rte_pktmbuf_mtod(ip->mbuf, uint8_t *) + UDP_HEADER_BYTES,
                                 header->total_bytes - UDP_HEADER_BYTES);
    datagram->source = (struct endpoint){ip->source, header->source_port};
    datagram->local = (struct endpoint){ip->destination, header->destination_port};
    datagram->listener = udp->listeners[udp->ports[header->destination_port] - 1];
    datagram->ip = *ip;
}

uint32_t udp_input_batch(struct udp *udp, struct ip_datagram *datagrams, uint32_t count,
                         const struct instant *now, struct udp_datagram *out)
{
    uint32_t out_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct ip_datagram *ip = &datagrams[i];
        if (ip->protocol != IPPROTO_UDP || ip->mbuf == NULL) {
            continue;
        }
        struct udp_header header;
        enum metric reason = udp_check(udp, ip, &header);
        if (LIKELY(reason == METRIC_COUNT)) {
            udp_describe(udp, ip, &header, &out[out_count++]);
        } else {
            udp_refuse(udp, ip, reason, now);
        }
        ip->mbuf = NULL;
    }
    metric_add(udp->metrics, METRIC_NET_UDP_DATAGRAMS_RECEIVED, out_count);
    return out_count;
}

/* ---- output ------------------------------------------------------------------------------------
 */

static inline uint32_t ip_header_bytes(const struct address *address)
{
    return LIKELY(address_is_ipv4(address)) ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
}

uint32_t udp_payload_bytes_max(const struct udp_datagram *datagram)
{
    uint32_t headers = ip_header_bytes(&datagram->source.address) + UDP_HEADER_BYTES;
    uint32_t mtu = datagram->ip.interface->mtu;
    uint32_t room = mtu > headers ? mtu - headers : 0;
    return address_is_ipv4(&datagram->source.address) || room < UDP_IPV6_PAYLOAD_BYTES_MAX
               ? room
               : UDP_IPV6_PAYLOAD_BYTES_MAX;
}

void udp_lend_packet(struct udp_datagram *datagram, struct byte_queue *reply, uint32_t header_bytes,
                     uint32_t size_max)
{
    struct rte_mbuf *mbuf = datagram->ip.mbuf;
    uint8_t *buffer = mbuf->buf_addr;
    const uint8_t *end = datagram->payload.data + datagram->payload.size;
    uint32_t at = (uint32_t)(end - buffer);
    uint32_t at_min = PACKET_HEADROOM_BYTES + UDP_HEADER_BYTES + header_bytes;
    at = LIKELY(at >= at_min) ? at : at_min;
    if (LIKELY(packet_is_exclusive(mbuf) && at < mbuf->buf_len)) {
        uint32_t room = (uint32_t)mbuf->buf_len - at;
        byte_queue_lend(reply, &datagram->room, buffer + at, room < size_max ? room : size_max);
    }
}

/* The request's packet, with the reply's first bytes, as one of `total` bytes from the UDP header
 * on; NULL: they are not there, or there is no room for the others. */
static struct rte_mbuf *udp_take_lent(struct udp_datagram *datagram, const struct byte_queue *body,
                                      uint32_t total, size_t size)
{
    struct byte_chunk *room = &datagram->room;
    struct rte_mbuf *mbuf = datagram->ip.mbuf;
    if (UNLIKELY(body->head != room || mbuf == NULL || size > room->size_max)) {
        return NULL;
    }
    size_t at = (size_t)(room->data - (const uint8_t *)mbuf->buf_addr);
    if (UNLIKELY(size > room->size)) {
        byte_queue_copy_out(body, room->size, (uint8_t *)mbuf->buf_addr + at + room->size,
                            size - room->size);
    }
    datagram->ip.mbuf = NULL;
    packet_clear_offloads(mbuf);
    mbuf->data_off = (uint16_t)(at + size - total);
    return mbuf;
}

static struct rte_mbuf *udp_allocate(struct udp *udp, uint32_t total)
{
    struct rte_mbuf *mbuf = net_allocate(udp->net);
    if (mbuf != NULL && (uint32_t)mbuf->buf_len - mbuf->data_off < total) {
        rte_pktmbuf_free(mbuf);
        mbuf = net_allocate_large(udp->net);
    }
    return mbuf;
}

/* Back to the station that asked. */
static void udp_answer(struct udp *udp, const struct udp_datagram *datagram, struct rte_mbuf *mbuf)
{
    const struct address *from = &datagram->local.address, *to = &datagram->source.address;
    struct net_interface *interface = datagram->ip.interface;
    metric_add(udp->metrics, METRIC_NET_UDP_DATAGRAMS_SENT, 1);
    if (LIKELY(address_is_ipv4(to))) {
        ip_push_to_station(udp->net, udp->metrics, interface, from, to, IPPROTO_UDP,
                           &datagram->ip.source_mac, mbuf);
    } else {
        ip_output_to_station(udp->net, interface, from, to, IPPROTO_UDP, &datagram->ip.source_mac,
                             mbuf);
    }
}

/* The first word was written just now, by itself: a load of more than that would wait for it. */
static inline uint64_t udp_sum_payload(const uint8_t *payload, size_t size)
{
    if (UNLIKELY(size < sizeof(uint64_t))) {
        return checksum_add(0, payload, size);
    }
    return checksum_add(checksum_word(NULL, payload, sizeof(uint64_t)), payload + sizeof(uint64_t),
                        size - sizeof(uint64_t));
}

/* Header in front of the payload, with the checksum or what the NIC needs to compute it. */
static __rte_always_inline void udp_seal(const struct udp_datagram *datagram, struct rte_mbuf *mbuf)
{
    const struct net_interface *interface = datagram->ip.interface;
    uint8_t *header = rte_pktmbuf_mtod(mbuf, uint8_t *);
    uint32_t total = mbuf->data_len;
    uint64_t own =
        wire_udp_compose(header, datagram->local.port, datagram->source.port, (uint16_t)total);
    uint64_t sum = udp_sum_pseudo(&datagram->local.address, &datagram->source.address, total);
    if (UNLIKELY(interface->tx_udp_checksum) &&
        total + ip_header_bytes(&datagram->source.address) <= interface->mtu) {
        checksum_store(header + 6, checksum_fold(sum));
    } else {
        sum += own + udp_sum_payload(header + UDP_HEADER_BYTES, total - UDP_HEADER_BYTES);
        wire_udp_set_checksum(header, sum);
    }
}

void udp_reply(struct udp *udp, struct udp_datagram *datagram, struct slice header,
               const struct byte_queue *body, size_t offset, size_t size)
{
    /* As much as an IP packet of 64 KiB holds, whose length counts its header. */
    size_t size_max =
        IPV4_PACKET_BYTES_MAX - UDP_HEADER_BYTES - ip_header_bytes(&datagram->source.address);
    if (size > size_max || header.size > size_max - size) {
        metric_add(udp->metrics, METRIC_NET_DROP_UDP_TOO_BIG, 1);
        return;
    }
    uint32_t total = (uint32_t)(UDP_HEADER_BYTES + header.size + size);
    struct rte_mbuf *mbuf = LIKELY(offset == 0) ? udp_take_lent(datagram, body, total, size) : NULL;
    bool there = LIKELY(mbuf != NULL);
    if (!there && (mbuf = udp_allocate(udp, total)) == NULL) {
        return;
    }
    mbuf->data_len = (uint16_t)total;
    mbuf->pkt_len = total;
    uint8_t *payload = rte_pktmbuf_mtod(mbuf, uint8_t *) + UDP_HEADER_BYTES;
    if (LIKELY(header.size == sizeof(uint64_t))) { /* memcached's: no call for that */
        memcpy(payload, header.data, sizeof(uint64_t));
    } else if (header.size != 0) {
        memcpy(payload, header.data, header.size);
    }
    if (!there && size != 0) {
        CHECK(byte_queue_copy_out(body, offset, payload + header.size, size) == size);
    }
    udp_seal(datagram, mbuf);
    udp_answer(udp, datagram, mbuf);
}

bool udp_send(struct udp *udp, uint16_t local_port, const struct endpoint *peer,
              struct slice payload, const struct instant *now)
{
    struct address source;
    struct net_interface *interface = net_route(udp->net, &peer->address, &source);
    struct rte_mbuf *mbuf = interface != NULL ? net_allocate(udp->net) : NULL;
    if (mbuf == NULL || payload.size + UDP_HEADER_BYTES > rte_pktmbuf_tailroom(mbuf)) {
        rte_pktmbuf_free(mbuf);
        return false;
    }
    mbuf->data_len = (uint16_t)(payload.size + UDP_HEADER_BYTES);
    mbuf->pkt_len = mbuf->data_len;
    memcpy(rte_pktmbuf_mtod(mbuf, uint8_t *) + UDP_HEADER_BYTES, payload.data, payload.size);
    struct udp_datagram datagram = {
        .source = *peer, .local = {source, local_port}, .ip.interface = interface};
    udp_seal(&datagram, mbuf);
    metric_add(udp->metrics, METRIC_NET_UDP_DATAGRAMS_SENT, 1);
    ip_output(udp->net, interface, &datagram.local.address, &datagram.source.address, IPPROTO_UDP,
              mbuf, now);
    return true;
}

void udp_release(struct udp_datagram *datagram)
{
    if (datagram->ip.mbuf != NULL) { /* most have gone out again, as the reply */
        rte_pktmbuf_free(datagram->ip.mbuf);
        datagram->ip.mbuf = NULL;
    }
}
