/* The Internet checksum (RFC 1071): a ones' complement sum over 16-bit words.
 *
 * The sum is kept as a 64-bit number of which only the value modulo 65535 matters, so parts can be
 * summed separately and added, and words of any width can be taken in memory order: the result is
 * in memory order too. A part at an odd offset has its bytes swapped before it is added.
 */
#ifndef NICACHED_BASE_CHECKSUM_H
#define NICACHED_BASE_CHECKSUM_H

#include "dataplane/base/address.h"

/* The sum of [from, from + size), whole blocks of 16 bytes, which are copied to `to` on the way
 * unless it is NULL. All 64-bit words are added up modulo 2^64, and their upper halves beside that:
 * what the lower halves come to, which is less than 2^64, is the difference. */
#ifdef __SSE2__
#include <emmintrin.h>
struct checksum_lanes {
    __m128i words, high;
};

static inline void checksum_block(struct checksum_lanes *lanes, uint8_t *to, const uint8_t *from)
{
    __m128i block = _mm_loadu_si128((const __m128i_u *)(const void *)from);
    if (to != NULL) {
        _mm_storeu_si128((__m128i_u *)(void *)to, block);
    }
    lanes->words = _mm_add_epi64(lanes->words, block);
    lanes->high = _mm_add_epi64(lanes->high, _mm_srli_epi64(block, 32));
}

static inline uint64_t checksum_lanes_sum(const struct checksum_lanes *lanes)
{
    __m128i low = _mm_sub_epi64(lanes->words, _mm_slli_epi64(lanes->high, 32));
    __m128i sum = _mm_add_epi64(low, lanes->high);
    return (uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(sum, _mm_unpackhi_epi64(sum, sum)));
}

static inline uint64_t checksum_blocks(uint8_t *to, const uint8_t *from, size_t size)
{
    struct checksum_lanes lanes = {_mm_setzero_si128(), _mm_setzero_si128()};
    size_t at = size & 16;
    if (at != 0) {
        checksum_block(&lanes, to, from);
    }
    for (; at < size; at += 32) {
        checksum_block(&lanes, to != NULL ? to + at : NULL, from + at);
        checksum_block(&lanes, to != NULL ? to + at + 16 : NULL, from + at + 16);
    }
    return checksum_lanes_sum(&lanes);
}

/* Of 16 bytes in each of two places. */
static inline uint64_t checksum_two_blocks(const uint8_t *one, const uint8_t *other)
{
    struct checksum_lanes lanes = {_mm_setzero_si128(), _mm_setzero_si128()};
    checksum_block(&lanes, NULL, one);
    checksum_block(&lanes, NULL, other);
    return checksum_lanes_sum(&lanes);
}
#else
static inline uint64_t checksum_blocks(uint8_t *to, const uint8_t *from, size_t size)
{
    uint64_t words = 0, high = 0;
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word;
        memcpy(&word, from + at, sizeof(word));
        if (to != NULL) {
            memcpy(to + at, &word, sizeof(word));
        }
        words += word;
        high += word >> 32;
    }
    return words - (high << 32) + high;
}

static inline uint64_t checksum_two_blocks(const uint8_t *one, const uint8_t *other)
{
    return checksum_blocks(NULL, one, 16) + checksum_blocks(NULL, other, 16);
}
#endif

/* A word of `size` bytes, at most 8, with zeros behind it. */
static inline uint64_t checksum_word(uint8_t *to, const uint8_t *from, size_t size)
{
    uint64_t word = 0;
    memcpy(&word, from, size);
    if (to != NULL) {
        memcpy(to, &word, size);
    }
    return (word & UINT32_MAX) + (word >> 32);
}

/* What is left of `size` bytes behind the blocks: at most 15. */
static inline uint64_t checksum_rest(uint8_t *to, const uint8_t *from, size_t size)
{
    uint64_t sum = 0;
    size_t at = 0;
    if ((size & 8) != 0) {
        sum += checksum_word(to, from, 8);
        at += 8;
    }
    if ((size & 4) != 0) {
        sum += checksum_word(to != NULL ? to + at : NULL, from + at, 4);
        at += 4;
    }
    if ((size & 2) != 0) {
        sum += checksum_word(to != NULL ? to + at : NULL, from + at, 2);
        at += 2;
    }
    if ((size & 1) != 0) {
        sum += checksum_word(to != NULL ? to + at : NULL, from + at, 1);
    }
    return sum;
}

/* Adds `size` bytes that start at an even offset of what is summed. The sum must be below 2^63;
 * every call keeps it there as long as less than 2^31 bytes are summed. */
static inline uint64_t checksum_add(uint64_t sum, const void *data, size_t size)
{
    const uint8_t *p = data;
    size_t whole = size & ~(size_t)15;
    return sum + checksum_blocks(NULL, p, whole) + checksum_rest(NULL, p + whole, size - whole);
}

/* The same of bytes that are copied: read once. */
static inline uint64_t checksum_copy(uint64_t sum, uint8_t *to, const uint8_t *from, size_t size)
{
    size_t whole = size & ~(size_t)15;
    sum += checksum_blocks(to, from, whole);
    return sum + checksum_rest(to + whole, from + whole, size - whole);
}

/* The sum in 16 bits, memory order, not complemented. Each half is added to the other in the upper
 * half, which the carry of the lower one enters. */
static inline uint16_t checksum_fold(uint64_t sum)
{
    sum += sum << 32 | sum >> 32;
    uint32_t half = (uint32_t)(sum >> 32);
    half += half << 16 | half >> 16;
    return (uint16_t)(half >> 16);
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
    uint8_t bytes[4];
    uint32_t rest; /* the length and the protocol: their sum is as good */
    bytes_write_be32(bytes, l4_bytes + protocol);
    memcpy(&rest, bytes, sizeof(rest));
    return checksum_two_blocks(source->bytes, destination->bytes) + rest;
}

#endif
