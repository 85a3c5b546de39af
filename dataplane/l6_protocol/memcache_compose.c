/* memcached text replies: one reservation and one commit for what is small, as in resp_compose.c.
 * Thread: the owning core. Failure: none but the byte queue's own. */
#include "dataplane/l6_protocol/memcache_compose.h"

#include "dataplane/base/check.h"
#include "dataplane/base/number.h"
#include "dataplane/l6_protocol/memcache_parse.h"

#define LINE_BYTES_MAX 1024U

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

void memcache_reply_large_value(struct memcache_reply *reply, const struct memcache_value *value)
{
    if (reply->suppressed) {
        if (value->owner != NULL) {
            value->owner->release(value->owner);
        }
        return;
    }
    uint8_t *start = reserve(reply, MEMCACHE_VALUE_HEADER_BYTES_MAX);
    commit(reply, start, memcache_put_value_header(start, value));
    if (value->owner != NULL) {
        byte_queue_append_reference(reply->out, reply->pool, value->bytes, value->owner);
    } else {
        byte_queue_append(reply->out, reply->pool, value->bytes.data, value->bytes.size);
    }
    byte_queue_append(reply->out, reply->pool, MEMCACHE_VALUE_END, memcache_value_end_bytes(value));
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
