/* See memcache_meta_compose.h. Thread: the owning core. Failure: none but the byte queue's own. */
#include "dataplane/l6_protocol/memcache_meta_compose.h"

#include "dataplane/base/check.h"
#include "dataplane/base/number.h"
#include "dataplane/l6_protocol/base64.h"

#define VALUE_BYTES_MAX 1024U /* with its line in one reservation */

static void put(struct memcache_meta_line *line, const void *bytes, size_t size)
{
    CHECK(size <= sizeof(line->bytes) - line->size);
    if (size > 0) {
        memcpy(line->bytes + line->size, bytes, size);
        line->size += size;
    }
}

static void put_number(struct memcache_meta_line *line, uint64_t value)
{
    CHECK(NUMBER_TEXT_BYTES_MAX <= sizeof(line->bytes) - line->size);
    line->size += number_format_uint64(value, line->bytes + line->size);
}

void memcache_meta_begin(struct memcache_meta_line *line, const char *code)
{
    line->size = 0;
    put(line, code, 2);
}

void memcache_meta_begin_value(struct memcache_meta_line *line, size_t value_bytes)
{
    memcache_meta_begin(line, "VA");
    put(line, " ", 1);
    put_number(line, value_bytes);
}

void memcache_meta_add(struct memcache_meta_line *line, char flag)
{
    const char text[2] = {' ', flag};
    put(line, text, sizeof(text));
}

void memcache_meta_add_number(struct memcache_meta_line *line, char flag, uint64_t value)
{
    memcache_meta_add(line, flag);
    put_number(line, value);
}

static void put_word(struct memcache_meta_line *line, struct slice word, bool base64)
{
    if (!base64) {
        put(line, word.data, word.size);
        return;
    }
    CHECK(BASE64_ENCODED_BYTES(word.size) <= sizeof(line->bytes) - line->size);
    line->size += base64_encode(word, line->bytes + line->size);
}

void memcache_meta_add_word(struct memcache_meta_line *line, struct slice word, bool base64)
{
    put(line, " ", 1);
    put_word(line, word, base64);
}

void memcache_meta_add_key(struct memcache_meta_line *line, struct slice key, bool base64)
{
    memcache_meta_add(line, 'k');
    put_word(line, key, base64);
    if (base64) {
        memcache_meta_add(line, 'b');
    }
}

void memcache_reply_meta(struct memcache_reply *reply, const struct memcache_meta_line *line)
{
    uint8_t *to = byte_queue_reserve(reply->out, reply->pool, line->size + 2);
    memcpy(to, line->bytes, line->size);
    memcpy(to + line->size, "\r\n", 2);
    byte_queue_commit(reply->out, line->size + 2);
}

void memcache_reply_meta_value(struct memcache_reply *reply, const struct memcache_meta_line *line,
                               struct slice value, struct byte_owner *owner)
{
    if (owner != NULL || value.size > VALUE_BYTES_MAX) {
        memcache_reply_meta(reply, line);
        if (owner != NULL) {
            byte_queue_append_reference(reply->out, reply->pool, value, owner);
        } else {
            byte_queue_append(reply->out, reply->pool, value.data, value.size);
        }
        byte_queue_append(reply->out, reply->pool, "\r\n", 2);
        return;
    }
    size_t size = line->size + 2 + value.size + 2;
    uint8_t *to = byte_queue_reserve(reply->out, reply->pool, size);
    memcpy(to, line->bytes, line->size);
    memcpy(to + line->size, "\r\n", 2);
    if (value.size > 0) {
        memcpy(to + line->size + 2, value.data, value.size);
    }
    memcpy(to + size - 2, "\r\n", 2);
    byte_queue_commit(reply->out, size);
}
