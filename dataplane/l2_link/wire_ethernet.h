/* Ethernet II header with at most one 802.1Q tag, between bytes and a struct.
 *
 *   destination(6) source(6) [0x8100 tci(2)] type(2) payload
 */
#ifndef NICACHED_L2_LINK_WIRE_ETHERNET_H
#define NICACHED_L2_LINK_WIRE_ETHERNET_H

#include <assert.h>

#include <rte_ether.h>

#include "dataplane/base/bytes.h"

#define ETHERNET_HEADER_BYTES 14U
#define ETHERNET_TAG_BYTES    4U
#define ETHERNET_VLAN_MASK    0x0fffU

struct ethernet_header {
    struct rte_ether_addr destination, source;
    uint16_t vlan;  /* 0: untagged or priority-tagged, which mean the same */
    uint16_t type;  /* behind the tag */
    uint32_t bytes; /* of the header, tag included */
};

/* False when the frame is too short for its own header. */
static inline bool wire_ethernet_parse(struct slice frame, struct ethernet_header *header)
{
    if (frame.size < ETHERNET_HEADER_BYTES) {
        return false;
    }
    memcpy(header->destination.addr_bytes, frame.data, RTE_ETHER_ADDR_LEN);
    memcpy(header->source.addr_bytes, frame.data + 6, RTE_ETHER_ADDR_LEN);
    header->type = bytes_read_be16(frame.data + 12);
    header->vlan = 0;
    header->bytes = ETHERNET_HEADER_BYTES;
    if (header->type != RTE_ETHER_TYPE_VLAN) {
        return true;
    }
    if (frame.size < ETHERNET_HEADER_BYTES + ETHERNET_TAG_BYTES) {
        return false;
    }
    header->vlan = bytes_read_be16(frame.data + 14) & ETHERNET_VLAN_MASK;
    header->type = bytes_read_be16(frame.data + 16);
    header->bytes = ETHERNET_HEADER_BYTES + ETHERNET_TAG_BYTES;
    return true;
}

/* A station's six bytes as a number, to be compared. */
static inline uint64_t wire_ethernet_station(const uint8_t *bytes)
{
    uint32_t front;
    uint16_t back;
    memcpy(&front, bytes, sizeof(front));
    memcpy(&back, bytes + 4, sizeof(back));
    return (uint64_t)back << 32 | front;
}

/* The same of the six bytes in front of two more. */
static inline uint64_t wire_ethernet_front_station(const uint8_t *bytes)
{
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first byte is the lowest");
    uint64_t word;
    memcpy(&word, bytes, sizeof(word));
    return word & 0xFFFFFFFFFFFFU;
}

/* How many bytes wire_ethernet_compose will write. */
static inline uint16_t wire_ethernet_bytes(uint16_t vlan)
{
    return vlan == 0 ? ETHERNET_HEADER_BYTES : ETHERNET_HEADER_BYTES + ETHERNET_TAG_BYTES;
}

static inline void wire_ethernet_compose(uint8_t *to, const struct rte_ether_addr *destination,
                                         const struct rte_ether_addr *source, uint16_t vlan,
                                         uint16_t type)
{
    memcpy(to, destination->addr_bytes, RTE_ETHER_ADDR_LEN);
    memcpy(to + 6, source->addr_bytes, RTE_ETHER_ADDR_LEN);
    if (vlan == 0) {
        bytes_write_be16(to + 12, type);
        return;
    }
    bytes_write_be16(to + 12, RTE_ETHER_TYPE_VLAN);
    bytes_write_be16(to + 14, vlan & ETHERNET_VLAN_MASK);
    bytes_write_be16(to + 16, type);
}

#endif
