/* The pseudo-header of IPv4, for those who have its addresses as numbers. base/checksum.h sums. */
#ifndef NICACHED_L3_IP_CHECKSUM_H
#define NICACHED_L3_IP_CHECKSUM_H

#include "dataplane/base/checksum.h"

/* The IPv4 pseudo-header of TCP and UDP; addresses in host order. */
static inline uint64_t checksum_pseudo_ipv4(uint32_t source, uint32_t destination, uint8_t protocol,
                                            uint32_t l4_bytes)
{
    uint8_t header[12];
    bytes_write_be32(header, source);
    bytes_write_be32(header + 4, destination);
    bytes_write_be32(header + 8, (uint32_t)protocol << 16 | (l4_bytes & 0xffff));
    return checksum_add(0, header, sizeof(header));
}

#endif
