#include "tests/bench/template_frame.h"

#include <netinet/in.h>

#include "dataplane/base/check.h"
#include "dataplane/l2_link/wire_ethernet.h"
#include "dataplane/l3_ip/wire_ipv4.h"
#include "dataplane/l4_transport/wire_udp.h"

#define FRAME_BYTES_MIN       60U
#define TCP_HEADER_BYTES      20U
#define TCP_SIZE_OPTION_BYTES 4U
#define TCP_WINDOW            65535U
#define TTL                   64U

/* Ethernet and IPv4 in front of `l4_bytes`, zeros behind them; returns the frame's size. */
static size_t finish_frame(uint8_t *to, const struct template_end *from,
                           const struct template_end *destination, uint8_t protocol,
                           size_t l4_bytes)
{
    size_t size = TEMPLATE_AT_L4 + l4_bytes;
    CHECK(size <= TEMPLATE_FRAME_BYTES_MAX);
    wire_ethernet_compose(to, &destination->mac, &from->mac, 0, RTE_ETHER_TYPE_IPV4);
    const struct ipv4_header header = {
        .source = from->ipv4,
        .destination = destination->ipv4,
        .total_bytes = (uint16_t)(IPV4_HEADER_BYTES + l4_bytes),
        .fragment = IPV4_DONT_FRAGMENT,
        .ttl = TTL,
        .protocol = protocol,
    };
    wire_ipv4_compose(to + TEMPLATE_AT_IP, &header, true);
    if (size < FRAME_BYTES_MIN) {
        memset(to + size, 0, FRAME_BYTES_MIN - size);
        size = FRAME_BYTES_MIN;
    }
    return size;
}

static uint64_t l4_sum(const uint8_t *l4, const struct template_end *from,
                       const struct template_end *destination, uint8_t protocol, size_t l4_bytes)
{
    uint64_t sum =
        checksum_pseudo_ipv4(from->ipv4, destination->ipv4, protocol, (uint16_t)l4_bytes);
    return checksum_add(sum, l4, l4_bytes);
}

size_t template_compose_udp(uint8_t *to, const struct template_end *from,
                            const struct template_end *destination, struct slice payload,
                            bool with_checksum)
{
    uint8_t *l4 = to + TEMPLATE_AT_L4;
    size_t l4_bytes = UDP_HEADER_BYTES + payload.size;
    CHECK(payload.size <= TEMPLATE_PAYLOAD_BYTES_MAX);
    wire_udp_compose(l4, from->port, destination->port, (uint16_t)l4_bytes);
    memcpy(l4 + UDP_HEADER_BYTES, payload.data, payload.size);
    if (with_checksum) {
        wire_udp_set_checksum(l4, l4_sum(l4, from, destination, IPPROTO_UDP, l4_bytes));
    }
    return finish_frame(to, from, destination, IPPROTO_UDP, l4_bytes);
}

size_t template_compose_tcp(uint8_t *to, const struct template_end *from,
                            const struct template_end *destination,
                            const struct template_segment *segment)
{
    uint8_t *l4 = to + TEMPLATE_AT_L4;
    size_t option_bytes = (segment->flags & TEMPLATE_SYN) != 0 ? TCP_SIZE_OPTION_BYTES : 0;
    size_t header_bytes = TCP_HEADER_BYTES + option_bytes;
    CHECK(segment->payload.size <= TEMPLATE_SEGMENT_BYTES_MAX - option_bytes);
    bytes_write_be16(l4, from->port);
    bytes_write_be16(l4 + 2, destination->port);
    bytes_write_be32(l4 + 4, segment->sequence);
    bytes_write_be32(l4 + 8, segment->acknowledgment);
    l4[12] = (uint8_t)(header_bytes / 4 << 4);
    l4[13] = segment->flags;
    bytes_write_be16(l4 + 14, TCP_WINDOW);
    bytes_write_be32(l4 + 16, 0); /* checksum, urgent pointer */
    if (option_bytes > 0) {
        bytes_write_be32(l4 + TCP_HEADER_BYTES, 0x02040000U | TEMPLATE_SEGMENT_BYTES_MAX);
    }
    if (segment->payload.size > 0) {
        memcpy(l4 + header_bytes, segment->payload.data, segment->payload.size);
    }
    size_t l4_bytes = header_bytes + segment->payload.size;
    checksum_store(l4 + 16, checksum_finish(l4_sum(l4, from, destination, IPPROTO_TCP, l4_bytes)));
    return finish_frame(to, from, destination, IPPROTO_TCP, l4_bytes);
}
