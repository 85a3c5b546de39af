/* Frames for tests. Memory: the caller's. Failure: a frame beyond FRAME_BYTES_MAX is a CHECK. */
#include "tests/support/packet_builder.h"

#include <netinet/in.h>

#include "dataplane/base/check.h"

static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

uint16_t naive_checksum(const uint8_t *data, size_t size, uint32_t sum)
{
    for (size_t i = 0; i < size; i++) {
        sum += i % 2 == 0 ? (uint32_t)data[i] << 8 : data[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

/* Two addresses of 4 or 16 bytes each, one behind the other. */
static uint32_t pseudo_header_sum(const uint8_t *addresses, size_t addresses_bytes,
                                  uint8_t protocol, size_t size)
{
    uint32_t sum = (uint16_t)~naive_checksum(addresses, addresses_bytes, 0);
    return sum + protocol + (uint32_t)size;
}

static void frame_append(struct frame *frame, const void *data, size_t size)
{
    CHECK(size <= FRAME_BYTES_MAX - frame->size);
    if (size != 0) {
        memcpy(frame->bytes + frame->size, data, size);
    }
    frame->size += size;
}

void frame_ethernet(struct frame *frame, const struct station *from, const struct station *to,
                    uint16_t type, struct slice payload)
{
    uint8_t type_bytes[2];
    bytes_write_be16(type_bytes, type);
    frame->size = 0;
    frame_append(frame, to->mac, 6);
    frame_append(frame, from->mac, 6);
    frame_append(frame, type_bytes, 2);
    frame_append(frame, payload.data, payload.size);
}

void frame_arp(struct frame *frame, uint16_t operation, const struct station *from,
               const struct station *to)
{
    uint8_t message[28] = {0x00, 0x01, 0x08, 0x00, 6, 4, 0, (uint8_t)operation};
    memcpy(message + 8, from->mac, 6);
    bytes_write_be32(message + 14, from->ipv4);
    if (operation != 1) {
        memcpy(message + 18, to->mac, 6);
    }
    bytes_write_be32(message + 24, to->ipv4);
    frame_ethernet(frame, from, to, 0x0806, slice_of(message, sizeof(message)));
    if (operation == 1) {
        memcpy(frame->bytes, everybody, 6);
    }
}

void frame_seal_ipv4(struct frame *frame)
{
    uint8_t *header = frame->bytes + AT_IP;
    bytes_write_be16(header + 10, 0);
    bytes_write_be16(header + 10, naive_checksum(header, (size_t)(header[0] & 15) * 4, 0));
}

void frame_ipv4(struct frame *frame, const struct station *from, const struct station *to,
                const struct ipv4_fields *fields, struct slice payload)
{
    uint8_t header[20] = {0};
    header[0] = (uint8_t)(0x45 + fields->options.size / 4);
    bytes_write_be16(header + 2, (uint16_t)(20 + fields->options.size + payload.size));
    bytes_write_be16(header + 4, fields->identification);
    bytes_write_be16(header + 6, fields->fragment);
    header[8] = fields->ttl != 0 ? fields->ttl : 64;
    header[9] = fields->protocol;
    bytes_write_be32(header + 12, from->ipv4);
    bytes_write_be32(header + 16, to->ipv4);
    frame_ethernet(frame, from, to, 0x0800, slice_of(header, sizeof(header)));
    frame_append(frame, fields->options.data, fields->options.size);
    frame_append(frame, payload.data, payload.size);
    frame_seal_ipv4(frame);
}

static void l4_seal_addresses(uint8_t *datagram, size_t size, size_t checksum_at,
                              const uint8_t *addresses, size_t addresses_bytes, uint8_t protocol)
{
    uint16_t checksum = naive_checksum(
        datagram, size, pseudo_header_sum(addresses, addresses_bytes, protocol, size));
    bytes_write_be16(datagram + checksum_at,
                     checksum == 0 && protocol == IPPROTO_UDP ? 0xffff : checksum);
}

static void l4_seal(uint8_t *datagram, size_t size, size_t checksum_at, const struct station *from,
                    const struct station *to, uint8_t protocol)
{
    uint8_t addresses[8];
    bytes_write_be32(addresses, from->ipv4);
    bytes_write_be32(addresses + 4, to->ipv4);
    l4_seal_addresses(datagram, size, checksum_at, addresses, sizeof(addresses), protocol);
}

static void l4_seal_ipv6(uint8_t *datagram, size_t size, size_t checksum_at,
                         const struct station_ipv6 *from, const struct station_ipv6 *to,
                         uint8_t protocol)
{
    uint8_t addresses[32];
    memcpy(addresses, from->ipv6, 16);
    memcpy(addresses + 16, to->ipv6, 16);
    l4_seal_addresses(datagram, size, checksum_at, addresses, sizeof(addresses), protocol);
}

static size_t udp_write(uint8_t *to, uint16_t from_port, uint16_t to_port, struct slice payload)
{
    size_t size = 8 + payload.size;
    bytes_write_be16(to, from_port);
    bytes_write_be16(to + 2, to_port);
    bytes_write_be16(to + 4, (uint16_t)size);
    bytes_write_be16(to + 6, 0);
    if (payload.size != 0) {
        memcpy(to + 8, payload.data, payload.size);
    }
    return size;
}

size_t udp_datagram_compose(uint8_t *to, const struct station *from,
                            const struct station *destination, struct slice payload)
{
    size_t size = udp_write(to, from->port, destination->port, payload);
    l4_seal(to, size, 6, from, destination, IPPROTO_UDP);
    return size;
}

size_t udp_ipv6_compose(uint8_t *to, const struct station_ipv6 *from,
                        const struct station_ipv6 *destination, struct slice payload)
{
    size_t size = udp_write(to, from->port, destination->port, payload);
    l4_seal_ipv6(to, size, 6, from, destination, IPPROTO_UDP);
    return size;
}

void frame_udp(struct frame *frame, const struct station *from, const struct station *to,
               struct slice payload)
{
    uint8_t datagram[FRAME_BYTES_MAX];
    CHECK(payload.size + 8 <= sizeof(datagram));
    size_t size = udp_datagram_compose(datagram, from, to, payload);
    struct ipv4_fields fields = {.protocol = IPPROTO_UDP};
    frame_ipv4(frame, from, to, &fields, slice_of(datagram, size));
}

/* Into a zeroed segment; the checksum is left to be put in. */
static size_t tcp_write(uint8_t *segment, uint16_t from_port, uint16_t to_port,
                        const struct tcp_fields *tcp, struct slice payload)
{
    size_t header_bytes = 20 + tcp->options.size, size = header_bytes + payload.size;
    CHECK(tcp->options.size <= 40 && size <= FRAME_BYTES_MAX);
    bytes_write_be16(segment, from_port);
    bytes_write_be16(segment + 2, to_port);
    bytes_write_be32(segment + 4, tcp->sequence);
    bytes_write_be32(segment + 8, tcp->acknowledgment);
    segment[12] = (uint8_t)(header_bytes / 4 << 4);
    segment[13] = tcp->flags;
    bytes_write_be16(segment + 14, tcp->window);
    if (tcp->options.size != 0) {
        memcpy(segment + 20, tcp->options.data, tcp->options.size);
    }
    if (payload.size != 0) {
        memcpy(segment + header_bytes, payload.data, payload.size);
    }
    return size;
}

void frame_tcp(struct frame *frame, const struct station *from, const struct station *to,
               const struct tcp_fields *tcp, struct slice payload)
{
    uint8_t segment[FRAME_BYTES_MAX] = {0};
    size_t size = tcp_write(segment, from->port, to->port, tcp, payload);
    l4_seal(segment, size, 16, from, to, IPPROTO_TCP);
    struct ipv4_fields fields = {.protocol = IPPROTO_TCP};
    frame_ipv4(frame, from, to, &fields, slice_of(segment, size));
}

void frame_icmp(struct frame *frame, const struct station *from, const struct station *to,
                uint8_t type, uint8_t code, uint32_t rest, struct slice payload)
{
    uint8_t message[FRAME_BYTES_MAX] = {type, code};
    CHECK(payload.size + 8 <= sizeof(message));
    bytes_write_be32(message + 4, rest);
    if (payload.size != 0) {
        memcpy(message + 8, payload.data, payload.size);
    }
    bytes_write_be16(message + 2, naive_checksum(message, 8 + payload.size, 0));
    struct ipv4_fields fields = {.protocol = IPPROTO_ICMP};
    frame_ipv4(frame, from, to, &fields, slice_of(message, 8 + payload.size));
}

/* ---- IPv6 --------------------------------------------------------------------------------------
 */

void frame_ipv6(struct frame *frame, const struct station_ipv6 *from, const struct station_ipv6 *to,
                const struct ipv6_fields *fields, uint8_t next, struct slice payload)
{
    uint8_t header[40] = {0x60};
    bool extended = fields->extensions.size != 0;
    bytes_write_be16(header + 4, (uint16_t)(fields->extensions.size + payload.size));
    header[6] = extended ? fields->first : next;
    header[7] = fields->hop_limit != 0 ? fields->hop_limit : 64;
    memcpy(header + 8, from->ipv6, 16);
    memcpy(header + 24, to->ipv6, 16);
    struct station source = {0}, destination = {0};
    memcpy(source.mac, from->mac, 6);
    memcpy(destination.mac, to->mac, 6);
    frame_ethernet(frame, &source, &destination, 0x86dd, slice_of(header, sizeof(header)));
    if (extended) {
        frame_append(frame, fields->extensions.data, fields->extensions.size);
    }
    if (payload.size != 0) {
        frame_append(frame, payload.data, payload.size);
    }
}

void frame_udp_ipv6(struct frame *frame, const struct station_ipv6 *from,
                    const struct station_ipv6 *to, const struct ipv6_fields *fields,
                    struct slice payload)
{
    uint8_t datagram[FRAME_BYTES_MAX];
    CHECK(payload.size + 8 <= sizeof(datagram));
    size_t size = udp_ipv6_compose(datagram, from, to, payload);
    frame_ipv6(frame, from, to, fields, IPPROTO_UDP, slice_of(datagram, size));
}

void frame_tcp_ipv6(struct frame *frame, const struct station_ipv6 *from,
                    const struct station_ipv6 *to, const struct tcp_fields *tcp,
                    struct slice payload)
{
    uint8_t segment[FRAME_BYTES_MAX] = {0};
    struct ipv6_fields fields = {0};
    size_t size = tcp_write(segment, from->port, to->port, tcp, payload);
    l4_seal_ipv6(segment, size, 16, from, to, IPPROTO_TCP);
    frame_ipv6(frame, from, to, &fields, IPPROTO_TCP, slice_of(segment, size));
}

void frame_icmpv6(struct frame *frame, const struct station_ipv6 *from,
                  const struct station_ipv6 *to, uint8_t hop_limit, uint8_t type, uint8_t code,
                  uint32_t rest, struct slice payload)
{
    uint8_t message[FRAME_BYTES_MAX] = {type, code};
    struct ipv6_fields fields = {.hop_limit = hop_limit};
    CHECK(payload.size + 8 <= sizeof(message));
    bytes_write_be32(message + 4, rest);
    if (payload.size != 0) {
        memcpy(message + 8, payload.data, payload.size);
    }
    l4_seal_ipv6(message, 8 + payload.size, 2, from, to, IPPROTO_ICMPV6);
    frame_ipv6(frame, from, to, &fields, IPPROTO_ICMPV6, slice_of(message, 8 + payload.size));
}

void frame_nd(struct frame *frame, uint8_t type, const struct station_ipv6 *from,
              const struct station_ipv6 *to, const uint8_t target[16], uint32_t flags,
              const uint8_t *station)
{
    uint8_t rest[24] = {0};
    memcpy(rest, target, 16);
    if (station != NULL) {
        rest[16] = type == 135 ? 1 : 2;
        rest[17] = 1;
        memcpy(rest + 18, station, 6);
    }
    frame_icmpv6(frame, from, to, 255, type, 0, flags,
                 slice_of(rest, station != NULL ? sizeof(rest) : 16));
}

void frame_add_tag(struct frame *frame, uint16_t tag_control)
{
    CHECK(frame->size >= 12 && frame->size + 4 <= FRAME_BYTES_MAX);
    memmove(frame->bytes + 16, frame->bytes + 12, frame->size - 12);
    bytes_write_be16(frame->bytes + 12, 0x8100);
    bytes_write_be16(frame->bytes + 14, tag_control);
    frame->size += 4;
}

/* ---- buffers ------------------------------------------------------------------------------------
 */

static struct rte_mbuf *segment_of(const uint8_t *data, size_t size, struct rte_mempool *pool)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
    if (mbuf == NULL) {
        return NULL;
    }
    void *to = rte_pktmbuf_append(mbuf, (uint16_t)size);
    CHECK(to != NULL);
    memcpy(to, data, size);
    return mbuf;
}

struct rte_mbuf *frame_to_mbuf(const struct frame *frame, struct rte_mempool *pool,
                               size_t segment_bytes)
{
    size_t step = segment_bytes != 0 && segment_bytes < frame->size ? segment_bytes : frame->size;
    struct rte_mbuf *first = segment_of(frame->bytes, step, pool);
    for (size_t at = step; first != NULL && at < frame->size; at += step) {
        size_t size = frame->size - at < step ? frame->size - at : step;
        struct rte_mbuf *next = segment_of(frame->bytes + at, size, pool);
        CHECK(next != NULL && rte_pktmbuf_chain(first, next) == 0);
    }
    return first;
}

void frame_from_mbuf(struct frame *frame, const struct rte_mbuf *mbuf)
{
    frame->size = 0;
    for (const struct rte_mbuf *segment = mbuf; segment != NULL; segment = segment->next) {
        frame_append(frame, rte_pktmbuf_mtod(segment, const uint8_t *), segment->data_len);
    }
    CHECK(frame->size == mbuf->pkt_len);
}

/* ---- checker ------------------------------------------------------------------------------------
 */

/* `sum`: of the pseudo-header. */
static const char *udp_fault(uint32_t sum, const uint8_t *l4, size_t size)
{
    if (size < 8 || bytes_read_be16(l4 + 4) != size) {
        return "UDP length";
    }
    if (bytes_read_be16(l4 + 6) == 0) {
        return "UDP checksum missing";
    }
    return naive_checksum(l4, size, sum) == 0 ? NULL : "UDP checksum";
}

static const char *tcp_fault(uint32_t sum, const uint8_t *l4, size_t size)
{
    if (size < 20 || (size_t)(l4[12] >> 4) * 4 < 20 || (size_t)(l4[12] >> 4) * 4 > size) {
        return "TCP length";
    }
    return naive_checksum(l4, size, sum) == 0 ? NULL : "TCP checksum";
}

static const char *ipv4_fault(const uint8_t *header, size_t size)
{
    size_t header_bytes = (size_t)(header[0] & 15) * 4;
    if (size < 20 || header[0] >> 4 != 4 || header_bytes < 20 || header_bytes > size) {
        return "IP header";
    }
    if (bytes_read_be16(header + 2) != size) {
        return "IP total length";
    }
    if (naive_checksum(header, header_bytes, 0) != 0) {
        return "IP checksum";
    }
    if ((bytes_read_be16(header + 6) & 0x3fff) != 0) {
        return NULL;
    }
    const uint8_t *l4 = header + header_bytes;
    uint32_t sum = pseudo_header_sum(header + 12, 8, header[9], size - header_bytes);
    switch (header[9]) {
    case IPPROTO_UDP: return udp_fault(sum, l4, size - header_bytes);
    case IPPROTO_TCP: return tcp_fault(sum, l4, size - header_bytes);
    case IPPROTO_ICMP:
        return naive_checksum(l4, size - header_bytes, 0) == 0 ? NULL : "ICMP checksum";
    default: return "IP protocol";
    }
}

static const char *ipv6_fault(const uint8_t *header, size_t size)
{
    if (size < 40 || header[0] >> 4 != 6) {
        return "IPv6 header";
    }
    if (bytes_read_be16(header + 4) != size - 40) {
        return "IPv6 payload length";
    }
    const uint8_t *l4 = header + 40;
    uint32_t sum = pseudo_header_sum(header + 8, 32, header[6], size - 40);
    switch (header[6]) {
    case 44: return size - 40 > 8 ? NULL : "IPv6 fragment";
    case 0: /* a listener report: its options are 8 bytes */
        sum = pseudo_header_sum(header + 8, 32, IPPROTO_ICMPV6, size - 48);
        return size >= 56 && l4[0] == IPPROTO_ICMPV6 && l4[1] == 0 &&
                       naive_checksum(l4 + 8, size - 48, sum) == 0
                   ? NULL
                   : "listener report";
    case IPPROTO_UDP: return udp_fault(sum, l4, size - 40);
    case IPPROTO_TCP: return tcp_fault(sum, l4, size - 40);
    case IPPROTO_ICMPV6:
        return size - 40 >= 8 && naive_checksum(l4, size - 40, sum) == 0 ? NULL : "ICMPv6 checksum";
    default: return "IPv6 next header";
    }
}

const char *frame_fault(const struct frame *frame)
{
    size_t at = 12;
    if (frame->size < 14) {
        return "Ethernet header";
    }
    if (bytes_read_be16(frame->bytes + at) == 0x8100) {
        at += 4;
    }
    if (frame->size < at + 2 + 20) {
        return "frame too short";
    }
    const uint8_t *payload = frame->bytes + at + 2;
    size_t size = frame->size - at - 2;
    switch (bytes_read_be16(frame->bytes + at)) {
    case 0x0806: return size == 28 ? NULL : "ARP length";
    case 0x0800: return ipv4_fault(payload, size);
    case 0x86dd: return ipv6_fault(payload, size);
    default: return "Ethernet type";
    }
}
