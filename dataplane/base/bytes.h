/* Slices of bytes, and reads and writes of big-endian integers at any alignment. */
#ifndef NICACHED_BASE_BYTES_H
#define NICACHED_BASE_BYTES_H

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
    return (uint16_t)((uint16_t)p[0] << 8 | p[1]);
}

static inline uint32_t bytes_read_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t bytes_read_be64(const uint8_t *p)
{
    return (uint64_t)bytes_read_be32(p) << 32 | bytes_read_be32(p + 4);
}

static inline void bytes_write_be16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static inline void bytes_write_be32(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 24);
    p[1] = (uint8_t)(value >> 16);
    p[2] = (uint8_t)(value >> 8);
    p[3] = (uint8_t)value;
}

static inline void bytes_write_be64(uint8_t *p, uint64_t value)
{
    bytes_write_be32(p, (uint32_t)(value >> 32));
    bytes_write_be32(p + 4, (uint32_t)value);
}

#endif
