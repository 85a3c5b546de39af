/* memcached text replies, written straight into a byte queue. */
#ifndef NICACHED_L6_PROTOCOL_MEMCACHE_COMPOSE_H
#define NICACHED_L6_PROTOCOL_MEMCACHE_COMPOSE_H

#include "dataplane/base/byte_queue.h"
#include "dataplane/base/bytes.h"
#include "dataplane/base/number.h"
#include "dataplane/l6_protocol/memcache_parse.h"

struct memcache_reply {
    struct byte_queue *out;
    struct byte_pool *pool;
    bool suppressed; /* noreply */
};

/* `text` and CRLF: "STORED", "NOT_FOUND", "SERVER_ERROR out of memory storing object". */
void memcache_reply_line(struct memcache_reply *reply, const char *text);
void memcache_reply_number(struct memcache_reply *reply, uint64_t value);
/* "VALUE key flags size [cas]" and the value, and END where it `is_last`. */
struct memcache_value {
    struct slice key, bytes;
    uint32_t client_flags;
    bool shows_cas, is_last;
    uint64_t cas;
    struct byte_owner *owner; /* NULL: the bytes are copied; otherwise they are referenced and one
                                 count is taken over */
};
void memcache_reply_large_value(struct memcache_reply *reply, const struct memcache_value *value);

#define MEMCACHE_SMALL_VALUE_BYTES_MAX 1024U /* with its header in one reservation */
/* "VALUE " key " " flags " " size " " cas CRLF */
#define MEMCACHE_VALUE_HEADER_BYTES_MAX                                                            \
    (6 + MEMCACHE_KEY_BYTES_MAX + 3 * (1 + NUMBER_TEXT_BYTES_MAX) + 2)
/* Behind a value; the last one has all of it. */
#define MEMCACHE_VALUE_END "\r\nEND\r\n"

static inline uint8_t *memcache_put_blank_number(uint8_t *to, uint64_t value)
{
    *to = ' ';
    return number_put_uint64(to + 1, value);
}

/* Of 16 to 32 bytes by two stores, without a call. */
static inline uint8_t *memcache_put_key(uint8_t *to, struct slice key)
{
    CHECK(key.size <= MEMCACHE_KEY_BYTES_MAX);
    if (LIKELY(key.size - 16 <= 16)) {
        memcpy(to, key.data, 16);
        memcpy(to + key.size - 16, key.data + key.size - 16, 16);
    } else {
        memcpy(to, key.data, key.size);
    }
    return to + key.size;
}

static inline uint8_t *memcache_put_value_header(uint8_t *to, const struct memcache_value *value)
{
    memcpy(to, "VALUE ", 6);
    to = memcache_put_key(to + 6, value->key);
    to = memcache_put_blank_number(to, value->client_flags);
    to = memcache_put_blank_number(to, value->bytes.size);
    if (UNLIKELY(value->shows_cas)) {
        to = memcache_put_blank_number(to, value->cas);
    }
    memcpy(to, "\r\n", 2);
    return to + 2;
}

static inline size_t memcache_value_end_bytes(const struct memcache_value *value)
{
    return value->is_last ? sizeof(MEMCACHE_VALUE_END) - 1 : 2;
}

static inline void memcache_reply_value(struct memcache_reply *reply,
                                        const struct memcache_value *value)
{
    size_t size = value->bytes.size;
    if (UNLIKELY(reply->suppressed || value->owner != NULL ||
                 size > MEMCACHE_SMALL_VALUE_BYTES_MAX)) {
        memcache_reply_large_value(reply, value);
        return;
    }
    uint8_t *start =
        byte_queue_reserve(reply->out, reply->pool,
                           MEMCACHE_VALUE_HEADER_BYTES_MAX + size + sizeof(MEMCACHE_VALUE_END));
    uint8_t *at = memcache_put_value_header(start, value);
    if (LIKELY(size > 0)) {
        memcpy(at, value->bytes.data, size);
        at += size;
    }
    memcpy(at, MEMCACHE_VALUE_END, sizeof(MEMCACHE_VALUE_END) - 1);
    at += memcache_value_end_bytes(value);
    byte_queue_commit(reply->out, (size_t)(at - start));
}
/* All but letters, digits and -._~ as %XX, as memcached shows keys where they are part of a line.
 * `to` has room for three bytes of each; returns how many were written. */
size_t memcache_encode_uri(struct slice key, uint8_t *to);

void memcache_reply_end(struct memcache_reply *reply); /* "END" */
void memcache_reply_stat(struct memcache_reply *reply, const char *name, const char *value);

#endif
