/* IPv6 header and extension headers (RFC 8200), between bytes and structs. Below L3 because
 * neighbour discovery, which the link layer speaks, travels in it.
 *
 *   version, class, flow label(4) payload length(2) next header(1) hop limit(1)
 *   source(16) destination(16) [extension headers] upper layer
 *
 * The walk over extension headers has two bounds: their number and their bytes. What it lets pass
 * asks nothing of us; what asks for anything is a fault with a name.
 */
#ifndef NICACHED_L2_LINK_WIRE_IPV6_H
#define NICACHED_L2_LINK_WIRE_IPV6_H

#include "dataplane/base/address.h"

#define IPV6_HEADER_BYTES      40U
#define IPV6_MTU_MIN           1280U
#define IPV6_FRAGMENT_BYTES    8U
#define IPV6_CHAIN_HEADERS_MAX 8U
#define IPV6_CHAIN_BYTES_MAX   224U

enum ipv6_next {
    IPV6_HOP_BY_HOP = 0,
    IPV6_ROUTING = 43,
    IPV6_FRAGMENT = 44,
    IPV6_ICMP = 58,
    IPV6_NOTHING = 59,
    IPV6_DESTINATION_OPTIONS = 60,
};

struct ipv6_header {
    struct address source, destination;
    uint16_t payload_bytes;
    uint8_t next, hop_limit;
};

enum wire_ipv6_fault { WIRE_IPV6_RIGHT, WIRE_IPV6_TRUNCATED, WIRE_IPV6_VERSION };

/* Checks the version, and the payload length against the bytes that are there. */
static inline enum wire_ipv6_fault wire_ipv6_parse(struct slice packet, struct ipv6_header *header)
{
    const uint8_t *p = packet.data;
    if (packet.size < IPV6_HEADER_BYTES) {
        return WIRE_IPV6_TRUNCATED;
    }
    if (p[0] >> 4 != 6) {
        return WIRE_IPV6_VERSION;
    }
    header->payload_bytes = bytes_read_be16(p + 4);
    header->next = p[6];
    header->hop_limit = p[7];
    memcpy(header->source.bytes, p + 8, 16);
    memcpy(header->destination.bytes, p + 24, 16);
    return header->payload_bytes <= packet.size - IPV6_HEADER_BYTES ? WIRE_IPV6_RIGHT
                                                                    : WIRE_IPV6_TRUNCATED;
}

/* Writes IPV6_HEADER_BYTES; class and flow label are 0. */
static inline void wire_ipv6_compose(uint8_t *to, const struct ipv6_header *header)
{
    bytes_write_be32(to, 0x60000000U);
    bytes_write_be32(to + 4, (uint32_t)header->payload_bytes << 16 | (uint32_t)header->next << 8 |
                                 header->hop_limit);
    memcpy(to + 8, header->source.bytes, 16);
    memcpy(to + 24, header->destination.bytes, 16);
}

/* Writes IPV6_FRAGMENT_BYTES. */
static inline void wire_ipv6_compose_fragment(uint8_t *to, uint8_t next, uint32_t offset, bool last,
                                              uint32_t identification)
{
    to[0] = next;
    to[1] = 0;
    bytes_write_be16(to + 2, (uint16_t)(offset | (last ? 0 : 1)));
    bytes_write_be32(to + 4, identification);
}

/* ---- extension headers ----------------------------------------------------------------------- */

enum wire_ipv6_chain_fault {
    WIRE_IPV6_CHAIN_RIGHT,
    WIRE_IPV6_CHAIN_TRUNCATED,    /* a header or an option ends behind the packet */
    WIRE_IPV6_CHAIN_TOO_LONG,     /* beyond IPV6_CHAIN_HEADERS_MAX or IPV6_CHAIN_BYTES_MAX */
    WIRE_IPV6_CHAIN_ORDER,        /* a header that may not stand where it stands */
    WIRE_IPV6_CHAIN_ROUTING,      /* a route that is not at its end, or of type 0 (RFC 5095) */
    WIRE_IPV6_CHAIN_OPTION,       /* an unknown option that asks for the packet to be dropped */
    WIRE_IPV6_CHAIN_OPTION_TELL,  /* ... and for an error message */
    WIRE_IPV6_CHAIN_OPTION_TELL1, /* ... unless the packet was sent to a group */
};

/* Before the walk: `next` is the first header's number and `may_begin` whether the packet begins
 * here. Behind it: where the walk ended, and what it found. */
struct ipv6_chain {
    bool may_begin;    /* hop-by-hop options may come first, and a fragment header may come */
    uint8_t next;      /* behind what was walked: an upper layer, or what we do not know */
    uint32_t bytes;    /* of the headers walked, a fragment header included */
    uint32_t next_at;  /* where `next` stands, from the walk's start; UINT32_MAX: before it */
    uint32_t fault_at; /* what a message about the fault points at */
    bool fragmented;   /* the walk ended at a fragment header, whose fields follow */
    bool last;         /* no more fragments behind it */
    uint32_t offset;   /* bytes */
    uint32_t identification;
};

/* Options of one header, from its third byte on. */
static inline enum wire_ipv6_chain_fault wire_ipv6_check_options(struct slice options, size_t *at)
{
    enum { PAD1 = 0, PADN = 1 };
    *at = 0;
    while (*at < options.size) {
        uint8_t type = options.data[*at];
        if (type == PAD1) {
            (*at)++;
            continue;
        }
        size_t left = options.size - *at;
        if (left < 2 || options.data[*at + 1] > left - 2) {
            return WIRE_IPV6_CHAIN_TRUNCATED;
        }
        if (type != PADN && type >> 6 != 0) {
            return type >> 6 == 1   ? WIRE_IPV6_CHAIN_OPTION
                   : type >> 6 == 2 ? WIRE_IPV6_CHAIN_OPTION_TELL
                                    : WIRE_IPV6_CHAIN_OPTION_TELL1;
        }
        *at += 2U + options.data[*at + 1];
    }
    return WIRE_IPV6_CHAIN_RIGHT;
}

/* One header of `bytes` bytes at `at`, which is not a fragment header. */
static inline enum wire_ipv6_chain_fault wire_ipv6_check_header(uint8_t number, struct slice header,
                                                                uint32_t *fault_at)
{
    if (number == IPV6_ROUTING) {
        uint8_t type = header.data[2], segments_left = header.data[3];
        *fault_at += 3;
        return type == 0 || segments_left != 0 ? WIRE_IPV6_CHAIN_ROUTING : WIRE_IPV6_CHAIN_RIGHT;
    }
    size_t at;
    enum wire_ipv6_chain_fault fault = wire_ipv6_check_options(slice_from(header, 2), &at);
    *fault_at += 2 + (uint32_t)at;
    return fault;
}

static inline bool wire_ipv6_is_extension(uint8_t number)
{
    return number == IPV6_HOP_BY_HOP || number == IPV6_ROUTING || number == IPV6_FRAGMENT ||
           number == IPV6_DESTINATION_OPTIONS;
}

/* Reads the fragment header at the chain's end and ends the walk behind it. */
static inline enum wire_ipv6_chain_fault wire_ipv6_take_fragment(struct slice packet,
                                                                 struct ipv6_chain *chain)
{
    if (!chain->may_begin) {
        return WIRE_IPV6_CHAIN_ORDER;
    }
    const uint8_t *header = packet.data + chain->bytes;
    uint16_t field = bytes_read_be16(header + 2);
    chain->fragmented = true;
    chain->offset = field & 0xfff8U;
    chain->last = (field & 1) == 0;
    chain->identification = bytes_read_be32(header + 4);
    chain->next_at = chain->bytes;
    chain->next = header[0];
    chain->bytes += IPV6_FRAGMENT_BYTES;
    return WIRE_IPV6_CHAIN_RIGHT;
}

/* Walks from the start of `packet`, which lies behind the IPv6 header or behind what an earlier
 * walk left. Every step moves at least 8 bytes on. */
static inline enum wire_ipv6_chain_fault wire_ipv6_walk(struct slice packet,
                                                        struct ipv6_chain *chain)
{
    chain->bytes = 0;
    chain->next_at = UINT32_MAX;
    chain->fragmented = false;
    for (uint32_t count = 0; wire_ipv6_is_extension(chain->next); count++) {
        chain->fault_at = chain->bytes;
        if (count == IPV6_CHAIN_HEADERS_MAX || chain->bytes >= IPV6_CHAIN_BYTES_MAX) {
            return WIRE_IPV6_CHAIN_TOO_LONG;
        }
        if (packet.size - chain->bytes < 8) {
            return WIRE_IPV6_CHAIN_TRUNCATED;
        }
        if (chain->next == IPV6_FRAGMENT) {
            return wire_ipv6_take_fragment(packet, chain);
        }
        uint32_t bytes = (packet.data[chain->bytes + 1] + 1U) * 8;
        if (chain->next == IPV6_HOP_BY_HOP && (count != 0 || !chain->may_begin)) {
            return WIRE_IPV6_CHAIN_ORDER;
        }
        if (bytes > packet.size - chain->bytes) {
            return WIRE_IPV6_CHAIN_TRUNCATED;
        }
        if (chain->bytes + bytes > IPV6_CHAIN_BYTES_MAX) {
            return WIRE_IPV6_CHAIN_TOO_LONG;
        }
        enum wire_ipv6_chain_fault fault = wire_ipv6_check_header(
            chain->next, slice_of(packet.data + chain->bytes, bytes), &chain->fault_at);
        if (fault != WIRE_IPV6_CHAIN_RIGHT) {
            return fault;
        }
        chain->next_at = chain->bytes;
        chain->next = packet.data[chain->bytes];
        chain->bytes += bytes;
    }
    return WIRE_IPV6_CHAIN_RIGHT;
}

#endif
