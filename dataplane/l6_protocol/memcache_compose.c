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

static inline uint8_t *put_number(uint8_t *to, uint64_t value)
{
    if (LIKELY(value < 10)) {
        *to = (uint8_t)('0' + value);
        return to + 1;
    }
    return to + number_format_uint64(value, to);
}

static inline uint8_t *put_blank_number(uint8_t *to, uint64_t value)
{
    *to = ' ';
    return put_number(to + 1, value);
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
        commit(reply, start, put_line_end(put_number(start, value)));
    }
}

static uint8_t *put_value_header(uint8_t *to, struct slice key, uint32_t client_flags,
                                 bool with_cas, uint64_t cas, size_t size)
{
    to = put_bytes(to, "VALUE ", 6);
    to = put_bytes(to, key.data, key.size);
    to = put_blank_number(to, client_flags);
    to = put_blank_number(to, size);
    if (with_cas) {
        to = put_blank_number(to, cas);
    }
    return put_line_end(to);
}

void memcache_reply_value(struct memcache_reply *reply, struct slice key, uint32_t client_flags,
                          bool with_cas, uint64_t cas, struct slice value, struct byte_owner *owner)
{
    if (reply->suppressed) {
        if (owner != NULL) {
            owner->release(owner);
        }
        return;
    }
    CHECK(key.size <= MEMCACHE_KEY_BYTES_MAX);
    bool small = owner == NULL && value.size <= VALUE_BYTES_MAX;
    uint8_t *start = reserve(reply, VALUE_HEADER_BYTES_MAX + (small ? value.size + 2 : 0));
    uint8_t *at = put_value_header(start, key, client_flags, with_cas, cas, value.size);
    if (LIKELY(small)) {
        if (value.size > 0) {
            at = put_bytes(at, value.data, value.size);
        }
        commit(reply, start, put_line_end(at));
        return;
    }
    commit(reply, start, at);
    if (owner != NULL) {
        byte_queue_append_reference(reply->out, reply->pool, value, owner);
    } else {
        byte_queue_append(reply->out, reply->pool, value.data, value.size);
    }
    byte_queue_append(reply->out, reply->pool, "\r\n", 2);
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
