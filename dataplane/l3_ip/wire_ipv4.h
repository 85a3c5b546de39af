/* IPv4 header (RFC 791), between bytes and a struct. What is parsed has consistent lengths; what is
 * composed has no options and a right checksum.
 */
#ifndef NICACHED_L3_IP_WIRE_IPV4_H
#define NICACHED_L3_IP_WIRE_IPV4_H

#include <rte_common.h>

#include "dataplane/l3_ip/checksum.h"

#define IPV4_HEADER_BYTES      20U
#define IPV4_HEADER_BYTES_MAX  60U
#define IPV4_PACKET_BYTES_MAX  65535U
#define IPV4_PAYLOAD_BYTES_MAX (IPV4_PACKET_BYTES_MAX - IPV4_HEADER_BYTES)

#define IPV4_DONT_FRAGMENT  0x4000U
#define IPV4_MORE_FRAGMENTS 0x2000U
#define IPV4_OFFSET_MASK    0x1fffU /* in units of 8 bytes */

struct ipv4_header {
    uint32_t source, destination; /* host order */
    uint16_t header_bytes;        /* with options */
    uint16_t total_bytes;
    uint16_t identification;
    uint16_t fragment; /* flags and offset, as on the wire */
    uint8_t ttl, protocol;
};

enum wire_ipv4_fault {
    WIRE_IPV4_RIGHT,
    WIRE_IPV4_TRUNCATED,
    WIRE_IPV4_VERSION,
    WIRE_IPV4_HEADER_LENGTH,
    WIRE_IPV4_TOTAL_LENGTH,
};

/* Checks every length against every other and against the bytes that are there. The header checksum
 * is left to wire_ipv4_checksum_is_right: the NIC may have verified it. */
static inline enum wire_ipv4_fault wire_ipv4_parse(struct slice packet, struct ipv4_header *header)
{
    const uint8_t *p = packet.data;
    if (packet.size < IPV4_HEADER_BYTES) {
        return WIRE_IPV4_TRUNCATED;
    }
    if (p[0] >> 4 != 4) {
        return WIRE_IPV4_VERSION;
    }
    header->header_bytes = (uint16_t)((p[0] & 0x0f) * 4);
    header->total_bytes = bytes_read_be16(p + 2);
    if (header->header_bytes < IPV4_HEADER_BYTES) {
        return WIRE_IPV4_HEADER_LENGTH;
    }
    if (header->total_bytes < header->header_bytes) {
        return WIRE_IPV4_TOTAL_LENGTH;
    }
    if (header->total_bytes > packet.size) {
        return WIRE_IPV4_TRUNCATED;
    }
    header->identification = bytes_read_be16(p + 4);
    header->fragment = bytes_read_be16(p + 6);
    header->ttl = p[8];
    header->protocol = p[9];
    header->source = bytes_read_be32(p + 12);
    header->destination = bytes_read_be32(p + 16);
    return WIRE_IPV4_RIGHT;
}

/* The sum of a header without options. */
static inline uint64_t wire_ipv4_sum(const uint8_t *header)
{
    uint32_t words[IPV4_HEADER_BYTES / 4];
    memcpy(words, header, sizeof(words));
    return (uint64_t)words[0] + words[1] + words[2] + words[3] + words[4];
}

static __rte_always_inline bool wire_ipv4_checksum_is_right(const uint8_t *header,
                                                            uint32_t header_bytes)
{
    uint64_t sum = wire_ipv4_sum(header);
    if (header_bytes != IPV4_HEADER_BYTES) {
        sum = checksum_add(sum, header + IPV4_HEADER_BYTES, header_bytes - IPV4_HEADER_BYTES);
    }
    return checksum_is_right(sum);
}

/* Writes IPV4_HEADER_BYTES. Of `header`, header_bytes is not read. Without `with_checksum` the
 * field is zero, for a NIC to fill. It is summed from the numbers, in host order, not from bytes
 * that were just written. */
static inline void wire_ipv4_compose(uint8_t *to, const struct ipv4_header *header,
                                     bool with_checksum)
{
    uint32_t first = 0x45000000U | header->total_bytes;
    uint32_t second = (uint32_t)header->identification << 16 | header->fragment;
    uint32_t third = (uint32_t)header->ttl << 24 | (uint32_t)header->protocol << 16;
    if (with_checksum) {
        third |= checksum_finish((uint64_t)first + second + third + header->source +
                                 header->destination);
    }
    bytes_write_be32(to, first);
    bytes_write_be32(to + 4, second);
    bytes_write_be32(to + 8, third);
    bytes_write_be32(to + 12, header->source);
    bytes_write_be32(to + 16, header->destination);
}

enum wire_ipv4_options {
    WIRE_IPV4_OPTIONS_RIGHT,
    WIRE_IPV4_OPTIONS_MALFORMED,
    WIRE_IPV4_OPTIONS_SOURCE_ROUTE,
};

/* Walks the options; each step moves at least one byte on, at most 40 in all. */
static inline enum wire_ipv4_options wire_ipv4_check_options(struct slice options)
{
    enum { END = 0, NO_OPERATION = 1, LOOSE_SOURCE_ROUTE = 131, STRICT_SOURCE_ROUTE = 137 };
    size_t at = 0;
    while (at < options.size && options.data[at] != END) {
        uint8_t type = options.data[at];
        if (type == LOOSE_SOURCE_ROUTE || type == STRICT_SOURCE_ROUTE) {
            return WIRE_IPV4_OPTIONS_SOURCE_ROUTE;
        }
        if (type == NO_OPERATION) {
            at++;
            continue;
        }
        if (options.size - at < 2 || options.data[at + 1] < 2 ||
            options.data[at + 1] > options.size - at) {
            return WIRE_IPV4_OPTIONS_MALFORMED;
        }
        at += options.data[at + 1];
    }
    return WIRE_IPV4_OPTIONS_RIGHT;
}

#endif
