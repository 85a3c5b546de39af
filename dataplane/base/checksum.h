/* The Internet checksum (RFC 1071): a ones' complement sum over 16-bit words.
 *
 * The sum is kept as a 64-bit number of which only the value modulo 65535 matters, so parts can be
 * summed separately and added, and words of any width can be taken in memory order: the result is
 * in memory order too. A part at an odd offset has its bytes swapped before it is added.
 */
#ifndef NICACHED_BASE_CHECKSUM_H
#define NICACHED_BASE_CHECKSUM_H

#include "dataplane/base/address.h"

/* Adds `size` bytes that start at an even offset of what is summed. The sum must be below 2^63;
 * every call keeps it there as long as less than 2^31 bytes are summed. */
static inline uint64_t checksum_add(uint64_t sum, const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t low = 0, high = 0;
    for (; size >= 32; size -= 32, p += 32) {
        uint64_t a, b, c, d;
        memcpy(&a, p, 8);
        memcpy(&b, p + 8, 8);
        memcpy(&c, p + 16, 8);
        memcpy(&d, p + 24, 8);
        low += (a & UINT32_MAX) + (b & UINT32_MAX) + (c & UINT32_MAX) + (d & UINT32_MAX);
        high += (a >> 32) + (b >> 32) + (c >> 32) + (d >> 32);
    }
    for (; size >= 4; size -= 4, p += 4) {
        uint32_t word;
        memcpy(&word, p, 4);
        low += word;
    }
    if ((size & 2) != 0) {
        uint16_t word;
        memcpy(&word, p, 2);
        low += word;
        p += 2;
    }
    if ((size & 1) != 0) {
        uint16_t padded = 0; /* the last byte, and a zero behind it */
        memcpy(&padded, p, 1);
        low += padded;
    }
    return sum + low + high;
}

/* The sum in 16 bits, memory order, not complemented. */
static inline uint16_t checksum_fold(uint64_t sum)
{
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* The value of a checksum field over `sum`, in memory order: store it with checksum_store. */
static inline uint16_t checksum_finish(uint64_t sum)
{
    return (uint16_t)~checksum_fold(sum);
}

/* A sum that includes a right checksum field folds to all ones. */
static inline bool checksum_is_right(uint64_t sum)
{
    return checksum_fold(sum) == 0xffff;
}

static inline void checksum_store(uint8_t *field, uint16_t value)
{
    memcpy(field, &value, sizeof(value));
}

/* The pseudo-header of TCP, UDP and ICMPv6, of either family: the v4-mapped prefix adds 0xffff,
 * which is zero in ones' complement. */
static inline uint64_t checksum_pseudo(const struct address *source,
                                       const struct address *destination, uint8_t protocol,
                                       uint32_t l4_bytes)
{
    uint8_t rest[8];
    bytes_write_be32(rest, l4_bytes);
    bytes_write_be32(rest + 4, protocol);
    uint64_t sum = checksum_add(0, source->bytes, sizeof(source->bytes));
    sum = checksum_add(sum, destination->bytes, sizeof(destination->bytes));
    return checksum_add(sum, rest, sizeof(rest));
}

#endif
