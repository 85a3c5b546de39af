/* memcached text replies: one reservation and one commit for what is small, as in resp_compose.c.
 * Thread: the owning core. Failure: none but the byte queue's own. */
#include "dataplane/l6_protocol/memcache_compose.h"

#include "dataplane/base/check.h"
#include "dataplane/base/number.h"
#include "dataplane/l6_protocol/memcache_parse.h"

#define LINE_BYTES_MAX  1024U
#define VALUE_BYTES_MAX 1024U /* with its header in one reservation */
/* "VALUE " key " " flags " " size " " cas CRLF */
#define VALUE_HEADER_BYTES_MAX (6 + MEMCACHE_KEY_BYTES_MAX + 3 * (1 + NUMBER_TEXT_BYTES_MAX) + 2)

/* Behind a value; the last one has all of it. */
static const char value_end[] = "\r\nEND\r\n";

static inline uint8_t *put_bytes(uint8_t *to, const void *from, size_t size)
{
    memcpy(to, from, size);
    return to + size;
}

static inline uint8_t *put_line_end(uint8_t *to)
{
    to[0] = '\r';
    to[1] = '\n';
    return to + 2;
}

static inline uint8_t *put_blank_number(uint8_t *to, uint64_t value)
{
    *to = ' ';
    return number_put_uint64(to + 1, value);
}

static uint8_t *reserve(struct memcache_reply *reply, size_t size)
{
    return byte_queue_reserve(reply->out, reply->pool, size);
}

static void commit(struct memcache_reply *reply, const uint8_t *from, const uint8_t *to)
{
    byte_queue_commit(reply->out, (size_t)(to - from));
}

void memcache_reply_line(struct memcache_reply *reply, const char *text)
{
    if (reply->suppressed) {
        return;
    }
    size_t size = strlen(text);
    size = size < LINE_BYTES_MAX ? size : LINE_BYTES_MAX;
    uint8_t *start = reserve(reply, size + 2);
    commit(reply, start, put_line_end(put_bytes(start, text, size)));
}

void memcache_reply_number(struct memcache_reply *reply, uint64_t value)
{
    if (!reply->suppressed) {
        uint8_t *start = reserve(reply, NUMBER_TEXT_BYTES_MAX + 2);
        commit(reply, start, put_line_end(number_put_uint64(start, value)));
    }
}

static inline uint8_t *put_value_header(uint8_t *to, const struct memcache_value *value)
{
    to = put_bytes(to, "VALUE ", 6);
    to = put_bytes(to, value->key.data, value->key.size);
    to = put_blank_number(to, value->client_flags);
    to = put_blank_number(to, value->bytes.size);
    if (UNLIKELY(value->shows_cas)) {
        to = put_blank_number(to, value->cas);
    }
    return put_line_end(to);
}

static inline size_t end_size(const struct memcache_value *value)
{
    return value->is_last ? sizeof(value_end) - 1 : 2;
}

static __attribute__((noinline)) void reply_large_value(struct memcache_reply *reply,
                                                        const struct memcache_value *value)
{
    uint8_t *start = reserve(reply, VALUE_HEADER_BYTES_MAX);
    commit(reply, start, put_value_header(start, value));
    if (value->owner != NULL) {
        byte_queue_append_reference(reply->out, reply->pool, value->bytes, value->owner);
    } else {
        byte_queue_append(reply->out, reply->pool, value->bytes.data, value->bytes.size);
    }
    byte_queue_append(reply->out, reply->pool, value_end, end_size(value));
}

void memcache_reply_value(struct memcache_reply *reply, const struct memcache_value *value)
{
    if (UNLIKELY(reply->suppressed)) {
        if (value->owner != NULL) {
            value->owner->release(value->owner);
        }
        return;
    }
    CHECK(value->key.size <= MEMCACHE_KEY_BYTES_MAX);
    size_t size = value->bytes.size;
    if (UNLIKELY(value->owner != NULL || size > VALUE_BYTES_MAX)) {
        reply_large_value(reply, value);
        return;
    }
    uint8_t *start = reserve(reply, VALUE_HEADER_BYTES_MAX + size + sizeof(value_end));
    uint8_t *at = put_value_header(start, value);
    if (LIKELY(size > 0)) {
        at = put_bytes(at, value->bytes.data, size);
    }
    memcpy(at, value_end, sizeof(value_end) - 1);
    commit(reply, start, at + end_size(value));
}

void memcache_reply_end(struct memcache_reply *reply)
{
    if (!reply->suppressed) {
        uint8_t *start = reserve(reply, 5);
        commit(reply, start, put_bytes(start, "END\r\n", 5));
    }
}

void memcache_reply_stat(struct memcache_reply *reply, const char *name, const char *value)
{
    if (!reply->suppressed) {
        byte_queue_append(reply->out, reply->pool, "STAT ", 5);
        byte_queue_append(reply->out, reply->pool, name, strlen(name));
        byte_queue_append(reply->out, reply->pool, " ", 1);
        byte_queue_append(reply->out, reply->pool, value, strlen(value));
        byte_queue_append(reply->out, reply->pool, "\r\n", 2);
    }
}

static bool is_plain(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z') || byte == '-' || byte == '.' || byte == '_' || byte == '~';
}

size_t memcache_encode_uri(struct slice key, uint8_t *to)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t size = 0;
    for (size_t i = 0; i < key.size; i++) {
        uint8_t byte = key.data[i];
        if (is_plain(byte)) {
            to[size++] = byte;
        } else {
            to[size++] = '%';
            to[size++] = (uint8_t)hex[byte >> 4];
            to[size++] = (uint8_t)hex[byte & 15];
        }
    }
    return size;
}
