/* Neighbour solicitations and advertisements (RFC 4861 4.3, 4.4), between bytes and a struct.
 *
 *   type(1) code(1) checksum(2) flags and reserved(4) target(16) [options: type(1) units of 8(1)
 * ...]
 */
#ifndef NICACHED_L2_LINK_WIRE_ND_H
#define NICACHED_L2_LINK_WIRE_ND_H

#include <rte_ether.h>

#include "dataplane/base/address.h"

#define ND_MESSAGE_BYTES 24U /* without options */
#define ND_STATION_BYTES 8U  /* the option that names a MAC */
#define ND_OPTIONS_MAX   16U
#define ND_HOP_LIMIT     255U /* of every message: so it comes from this link */

enum nd_type {
    ND_ROUTER_SOLICITATION = 133,
    ND_ROUTER_ADVERTISEMENT = 134,
    ND_SOLICITATION = 135,
    ND_ADVERTISEMENT = 136,
    ND_REDIRECT = 137,
};

#define ND_FLAG_SOLICITED 0x40000000U
#define ND_FLAG_OVERRIDE  0x20000000U

struct nd_message {
    uint8_t type;   /* ND_SOLICITATION or ND_ADVERTISEMENT */
    uint32_t flags; /* of an advertisement */
    struct address target;
    bool has_station; /* the option that says which MAC the sender (the target) has */
    struct rte_ether_addr station;
};

static inline bool wire_nd_parse_options(struct slice options, struct nd_message *message)
{
    uint8_t wanted = message->type == ND_SOLICITATION ? 1 : 2;
    size_t at = 0;
    message->has_station = false;
    for (uint32_t i = 0; at < options.size; i++) {
        size_t left = options.size - at;
        size_t bytes = left < 2 ? 0 : (size_t)options.data[at + 1] * 8;
        if (bytes == 0 || bytes > left || i == ND_OPTIONS_MAX) {
            return false;
        }
        if (options.data[at] == wanted) {
            if (bytes != ND_STATION_BYTES) {
                return false;
            }
            message->has_station = true;
            memcpy(message->station.addr_bytes, options.data + at + 2, RTE_ETHER_ADDR_LEN);
        }
        at += bytes;
    }
    return true;
}

/* False unless it is a whole solicitation or advertisement about one station's address. */
static inline bool wire_nd_parse(struct slice packet, struct nd_message *message)
{
    if (packet.size < ND_MESSAGE_BYTES || packet.data[1] != 0) {
        return false;
    }
    message->type = packet.data[0];
    message->flags = bytes_read_be32(packet.data + 4);
    memcpy(message->target.bytes, packet.data + 8, sizeof(message->target.bytes));
    return message->target.bytes[0] != 0xff &&
           wire_nd_parse_options(slice_from(packet, ND_MESSAGE_BYTES), message);
}

static inline uint32_t wire_nd_bytes(const struct nd_message *message)
{
    return ND_MESSAGE_BYTES + (message->has_station ? ND_STATION_BYTES : 0);
}

/* Writes wire_nd_bytes; the checksum field is zero. */
static inline void wire_nd_compose(uint8_t *to, const struct nd_message *message)
{
    bytes_write_be32(to, (uint32_t)message->type << 24);
    bytes_write_be32(to + 4, message->flags);
    memcpy(to + 8, message->target.bytes, sizeof(message->target.bytes));
    if (message->has_station) {
        to[ND_MESSAGE_BYTES] = message->type == ND_SOLICITATION ? 1 : 2;
        to[ND_MESSAGE_BYTES + 1] = 1;
        memcpy(to + ND_MESSAGE_BYTES + 2, message->station.addr_bytes, RTE_ETHER_ADDR_LEN);
    }
}

#endif
