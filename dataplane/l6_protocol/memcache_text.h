/* How memcached reads the words and numbers of a line: C strings and strtol. Words are parted by
 * blanks alone (a tab belongs to a word), a NUL ends the line; a number may have white space before
 * it, a sign, and white space with anything after it, and is cut to 32 bits where the field has 32.
 */
#ifndef NICACHED_L6_PROTOCOL_MEMCACHE_TEXT_H
#define NICACHED_L6_PROTOCOL_MEMCACHE_TEXT_H

#include "dataplane/base/bytes.h"

#define MEMCACHE_BAD_FORMAT "CLIENT_ERROR bad command line format"

/* The next word of [*at, end), empty when there is none; *at moves behind it. */
static inline struct slice memcache_next_word(const uint8_t **at, const uint8_t *end)
{
    const uint8_t *first = *at;
    while (first < end && *first == ' ') {
        first++;
    }
    const uint8_t *last = first;
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
