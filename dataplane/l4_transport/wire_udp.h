/* UDP header (RFC 768), between bytes and a struct. */
#ifndef NICACHED_L4_TRANSPORT_WIRE_UDP_H
#define NICACHED_L4_TRANSPORT_WIRE_UDP_H

#include "dataplane/l3_ip/checksum.h"

#define UDP_HEADER_BYTES 8U

struct udp_header {
    uint16_t source_port, destination_port; /* host order */
    uint16_t total_bytes;                   /* header and payload */
    bool has_checksum;                      /* false: the sender did not compute one */
};

enum wire_udp_fault { WIRE_UDP_RIGHT, WIRE_UDP_TRUNCATED, WIRE_UDP_LENGTH };

/* The length field must hold the header and fit in what IP delivered; bytes behind it are ignored.
 */
static inline enum wire_udp_fault wire_udp_parse(struct slice datagram, struct udp_header *header)
{
    if (datagram.size < UDP_HEADER_BYTES) {
        return WIRE_UDP_TRUNCATED;
    }
    header->source_port = bytes_read_be16(datagram.data);
    header->destination_port = bytes_read_be16(datagram.data + 2);
    header->total_bytes = bytes_read_be16(datagram.data + 4);
    header->has_checksum = bytes_read_be16(datagram.data + 6) != 0;
    bool fits = header->total_bytes >= UDP_HEADER_BYTES && header->total_bytes <= datagram.size;
    return fits ? WIRE_UDP_RIGHT : WIRE_UDP_LENGTH;
}

/* Writes UDP_HEADER_BYTES, the checksum field zero; returns what they sum up to. */
static inline uint64_t wire_udp_compose(uint8_t *to, uint16_t source_port,
                                        uint16_t destination_port, uint16_t total_bytes)
{
    uint32_t words[2] = {htobe32((uint32_t)source_port << 16 | destination_port),
                         htobe32((uint32_t)total_bytes << 16)};
    memcpy(to, words, sizeof(words));
    return (uint64_t)words[0] + words[1];
}

/* A computed zero is sent as all ones: zero means "none". `sum` covers pseudo-header and datagram.
 */
static inline void wire_udp_set_checksum(uint8_t *header, uint64_t sum)
{
    uint16_t checksum = checksum_finish(sum);
    checksum_store(header + 6, checksum == 0 ? 0xffff : checksum);
}

#endif
