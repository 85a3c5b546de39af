/* Slices of bytes, and reads and writes of big-endian integers at any alignment. */
#ifndef NICACHED_BASE_BYTES_H
#define NICACHED_BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed bytes: whoever made the slice says how long they stay. `data` may be NULL if size is 0.
 */
struct slice {
    const uint8_t *data;
    size_t size;
};

#define SLICE_LITERAL(text) ((struct slice){(const uint8_t *)("" text), sizeof(text) - 1})

static inline struct slice slice_of(const void *data, size_t size)
{
    return (struct slice){(const uint8_t *)data, size};
}

static inline struct slice slice_of_string(const char *text)
{
    return slice_of(text, strlen(text));
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* The same in a few instructions for two to eight bytes; false for any other size. */
static inline bool slice_equal_short(struct slice a, struct slice b)
{
    if (a.size != b.size || a.size - 2 > 6) {
        return false;
    }
    const uint8_t *a_end = a.data + a.size, *b_end = b.data + b.size;
    return a.size < 4 ? memcmp(a.data, b.data, 2) == 0 && memcmp(a_end - 2, b_end - 2, 2) == 0
                      : memcmp(a.data, b.data, 4) == 0 && memcmp(a_end - 4, b_end - 4, 4) == 0;
}

/* In either of two words of eight bytes. */
static inline bool bytes_pair_has(const uint8_t *a, const uint8_t *b, uint8_t byte)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    uint64_t x, y;
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    x ^= ones * byte; /* it is 0 now: only then one is borrowed from a byte without its top bit */
    y ^= ones * byte;
    return ((((x - ones) & ~x) | ((y - ones) & ~y)) & tops) != 0;
}

/* 16 at a time, the last ones once more. */
static inline bool slice_has_byte(struct slice bytes, uint8_t byte)
{
    if (bytes.size < 8) {
        return bytes.size > 0 && memchr(bytes.data, byte, bytes.size) != NULL;
    }
    const uint8_t *at = bytes.data, *end = at + bytes.size;
    for (; end - at > 16; at += 16) {
        if (bytes_pair_has(at, at + 8, byte)) {
            return true;
        }
    }
    return bytes_pair_has(end - at < 8 ? end - 8 : at, end - 8, byte);
}

/* ASCII letters only, as Redis and memcached compare command names and options. */
static inline bool slice_equal_ignoring_case(struct slice a, struct slice b)
{
    if (a.size != b.size) {
        return false;
    }
    for (size_t i = 0; i < a.size; i++) {
        uint8_t x = a.data[i], y = b.data[i];
        if (x >= 'A' && x <= 'Z') {
            x = (uint8_t)(x | 0x20);
        }
        if (y >= 'A' && y <= 'Z') {
            y = (uint8_t)(y | 0x20);
        }
        if (x != y) {
            return false;
        }
    }
    return true;
}

/* The bytes from `offset` on; empty when offset is at or beyond the end. */
static inline struct slice slice_from(struct slice s, size_t offset)
{
    return offset >= s.size ? slice_of(NULL, 0) : slice_of(s.data + offset, s.size - offset);
}

static inline uint16_t bytes_read_be16(const uint8_t *p)
{
    uint16_t value;
    memcpy(&value, p, sizeof(value));
    return be16toh(value);
}

static inline uint32_t bytes_read_be32(const uint8_t *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof(value));
    return be32toh(value);
}

static inline uint64_t bytes_read_be64(const uint8_t *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof(value));
    return be64toh(value);
}

static inline void bytes_write_be16(uint8_t *p, uint16_t value)
{
    value = htobe16(value);
    memcpy(p, &value, sizeof(value));
}

static inline void bytes_write_be32(uint8_t *p, uint32_t value)
{
    value = htobe32(value);
    memcpy(p, &value, sizeof(value));
}

static inline void bytes_write_be64(uint8_t *p, uint64_t value)
{
    value = htobe64(value);
    memcpy(p, &value, sizeof(value));
}

#endif
