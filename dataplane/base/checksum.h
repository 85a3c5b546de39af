/* The Internet checksum (RFC 1071): a ones' complement sum over 16-bit words.
 *
 * The sum is kept as a 64-bit number of which only the value modulo 65535 matters, so parts can be
 * summed separately and added, and words of any width can be taken in memory order: the result is
 * in memory order too. A part at an odd offset has its bytes swapped before it is added.
 */
#ifndef NICACHED_BASE_CHECKSUM_H
#define NICACHED_BASE_CHECKSUM_H

#include "dataplane/base/address.h"

/* The sum of [from, from + size), which is copied to `to` on the way unless that is NULL. All
 * 64-bit words are added up modulo 2^64, and their upper halves beside that: what the lower halves
 * come to, which is less than 2^64, is the difference. */
#ifdef __SSSE3__
#include <immintrin.h>
struct checksum_lanes {
    __m128i words, high;
};

static inline void checksum_add_block(struct checksum_lanes *lanes, __m128i block)
{
    lanes->words = _mm_add_epi64(lanes->words, block);
    lanes->high = _mm_add_epi64(lanes->high, _mm_srli_epi64(block, 32));
}

static inline __m128i checksum_read_block(uint8_t *to, const uint8_t *from)
{
    __m128i block = _mm_loadu_si128((const __m128i_u *)(const void *)from);
    if (to != NULL) {
        _mm_storeu_si128((__m128i_u *)(void *)to, block);
    }
    return block;
}

/* The last `size` bytes of a block, at most 15: in front, with zeros behind. */
static inline __m128i checksum_block_end(__m128i block, size_t size)
{
    static const uint8_t positions[32] = {0,    1,    2,    3,    4,    5,    6,    7,
                                          8,    9,    10,   11,   12,   13,   14,   15,
                                          0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                          0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80};
    const uint8_t *from = positions + 16 - size;
    return _mm_shuffle_epi8(block, _mm_loadu_si128((const __m128i_u *)(const void *)from));
}

/* Two blocks for each turn: [at, size), a multiple of 32 bytes. */
static inline void checksum_add_pairs(struct checksum_lanes *lanes, uint8_t *to,
                                      const uint8_t *from, size_t at, size_t size)
{
#ifdef __AVX2__
    __m256i words = _mm256_zextsi128_si256(lanes->words);
    __m256i high = _mm256_zextsi128_si256(lanes->high);
    for (; at < size; at += 32) {
        __m256i pair = _mm256_loadu_si256((const __m256i_u *)(const void *)(from + at));
        if (to != NULL) {
            _mm256_storeu_si256((__m256i_u *)(void *)(to + at), pair);
        }
        words = _mm256_add_epi64(words, pair);
        high = _mm256_add_epi64(high, _mm256_srli_epi64(pair, 32));
    }
    lanes->words = _mm_add_epi64(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    lanes->high = _mm_add_epi64(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
#else
    for (; at < size; at += 32) {
        uint8_t *first = to != NULL ? to + at : NULL, *second = to != NULL ? to + at + 16 : NULL;
        checksum_add_block(lanes, checksum_read_block(first, from + at));
        checksum_add_block(lanes, checksum_read_block(second, from + at + 16));
    }
#endif
}

static inline uint64_t checksum_lanes_sum(const struct checksum_lanes *lanes)
{
    __m128i low = _mm_sub_epi64(lanes->words, _mm_slli_epi64(lanes->high, 32));
    __m128i sum = _mm_add_epi64(low, lanes->high);
    return (uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(sum, _mm_unpackhi_epi64(sum, sum)));
}

/* At least 16 bytes. What is left behind the blocks is the end of one more, which begins in the
 * last of them. */
static inline uint64_t checksum_large(uint8_t *to, const uint8_t *from, size_t size)
{
    struct checksum_lanes lanes = {_mm_setzero_si128(), _mm_setzero_si128()};
    size_t rest = size & 15, odd = size & 16, last = size - 16;
    __m128i end = checksum_read_block(to != NULL ? to + last : NULL, from + last);
    checksum_add_block(&lanes, checksum_block_end(end, rest));
    if (odd != 0) {
        checksum_add_block(&lanes, checksum_read_block(to, from));
    }
    checksum_add_pairs(&lanes, to, from, odd, size - rest);
    return checksum_lanes_sum(&lanes);
}

/* Of 16 bytes in each of two places. */
static inline uint64_t checksum_two_blocks(const uint8_t *one, const uint8_t *other)
{
    struct checksum_lanes lanes = {_mm_setzero_si128(), _mm_setzero_si128()};
    checksum_add_block(&lanes, checksum_read_block(NULL, one));
    checksum_add_block(&lanes, checksum_read_block(NULL, other));
    return checksum_lanes_sum(&lanes);
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

/* At most 15 bytes. */
static inline uint64_t checksum_small(uint8_t *to, const uint8_t *from, size_t size)
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

#ifndef __SSSE3__
static inline uint64_t checksum_large(uint8_t *to, const uint8_t *from, size_t size)
{
    uint64_t sum = 0;
    size_t whole = size & ~(size_t)7;
    for (size_t at = 0; at < whole; at += 8) {
        sum += checksum_word(to != NULL ? to + at : NULL, from + at, 8);
    }
    return sum + checksum_small(to != NULL ? to + whole : NULL, from + whole, size - whole);
}

static inline uint64_t checksum_two_blocks(const uint8_t *one, const uint8_t *other)
{
    return checksum_large(NULL, one, 16) + checksum_large(NULL, other, 16);
}
#endif

/* Adds `size` bytes that start at an even offset of what is summed. The sum must be below 2^63;
 * every call keeps it there as long as less than 2^31 bytes are summed. */
static inline uint64_t checksum_add(uint64_t sum, const void *data, size_t size)
{
    return sum + (size < 16 ? checksum_small(NULL, data, size) : checksum_large(NULL, data, size));
}

/* The same of bytes that are copied: read once. */
static inline uint64_t checksum_copy(uint64_t sum, uint8_t *to, const uint8_t *from, size_t size)
{
    return sum + (size < 16 ? checksum_small(to, from, size) : checksum_large(to, from, size));
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
