/* How memcached reads the words and numbers of a line: C strings and strtol. Words are parted by
 * blanks alone (a tab belongs to a word), a NUL ends the line; a number may have white space before
 * it, a sign, and white space with anything after it, and is cut to 32 bits where the field has 32.
 */
#ifndef NICACHED_L6_PROTOCOL_MEMCACHE_TEXT_H
#define NICACHED_L6_PROTOCOL_MEMCACHE_TEXT_H

#include "dataplane/base/bytes.h"

#define MEMCACHE_BAD_FORMAT "CLIENT_ERROR bad command line format"

/* From `at` on, 16 bytes at a time where there are so many: where a blank or a NUL is, or less than
 * 16 bytes in front of `end`. */
#ifdef __SSE2__
#include <emmintrin.h>
static inline const uint8_t *memcache_skip_blocks(const uint8_t *at, const uint8_t *end)
{
    const __m128i blank = _mm_set1_epi8(' '), nul = _mm_setzero_si128();
    for (; end - at >= 16; at += 16) {
        __m128i block = _mm_loadu_si128((const __m128i_u *)(const void *)at);
        __m128i stops = _mm_or_si128(_mm_cmpeq_epi8(block, blank), _mm_cmpeq_epi8(block, nul));
        int found = _mm_movemask_epi8(stops);
        if (found != 0) {
            return at + __builtin_ctz((unsigned)found);
        }
    }
    return at;
}
/* The same for a blank or any control character. */
static inline const uint8_t *memcache_skip_visible_blocks(const uint8_t *at, const uint8_t *end)
{
    const __m128i blank = _mm_set1_epi8(' ');
    for (; end - at >= 16; at += 16) {
        __m128i block = _mm_loadu_si128((const __m128i_u *)(const void *)at);
        int found = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(block, blank), block));
        if (found != 0) {
            return at + __builtin_ctz((unsigned)found);
        }
    }
    return at;
}
#else
static inline const uint8_t *memcache_skip_blocks(const uint8_t *at, const uint8_t *end)
{
    return at;
}
static inline const uint8_t *memcache_skip_visible_blocks(const uint8_t *at, const uint8_t *end)
{
    return at;
}
#endif

/* From `at` on: where the first blank or control character is, or `end`. */
static inline const uint8_t *memcache_skip_visible(const uint8_t *at, const uint8_t *end)
{
    at = memcache_skip_visible_blocks(at, end);
    while (at<end && * at> ' ') {
        at++;
    }
    return at;
}

/* The next word of [*at, end), empty when there is none; *at moves behind it. */
static inline struct slice memcache_next_word(const uint8_t **at, const uint8_t *end)
{
    const uint8_t *first = *at;
    while (first < end && *first == ' ') {
        first++;
    }
    const uint8_t *last = memcache_skip_blocks(first, end);
    while (last < end && *last != ' ' && *last != '\0') {
        last++;
    }
    *at = last;
    return slice_of(first, (size_t)(last - first));
}

/* Any 64-bit number, cut to 32 bits. False: no number. */
bool memcache_read_int32(struct slice word, int32_t *value);
/* As memcache_parse_uint64, cut to 32 bits. */
bool memcache_read_uint32(struct slice word, uint32_t *value);

#endif
