/* memcached binary replies: one reservation and one commit for what is small, as in
 * memcache_compose.c. Thread: the owning core. Failure: none but the byte queue's own. */
#include "dataplane/l6_protocol/memcache_binary_compose.h"

#include "dataplane/base/check.h"
#include "dataplane/l6_protocol/memcache_parse.h"

#define VALUE_BYTES_MAX 1024U /* with its header in one reservation */
#define HEAD_BYTES_MAX                                                                             \
    (MEMCACHE_BINARY_HEADER_BYTES + MEMCACHE_BINARY_EXTRAS_MAX + MEMCACHE_KEY_BYTES_MAX)

static uint8_t *put_slice(uint8_t *to, struct slice from)
{
    if (from.size > 0) {
        memcpy(to, from.data, from.size);
    }
    return to + from.size;
}

/* Header, extras and key. */
static uint8_t *put_head(uint8_t *to, const struct memcache_binary *request,
                         const struct memcache_binary_reply *what)
{
    size_t body = what->extras.size + what->key.size + what->value.size;
    CHECK(body <= UINT32_MAX);
    to[0] = MEMCACHE_BINARY_REPLY_MAGIC;
    to[1] = request->opcode;
    bytes_write_be16(to + 2, (uint16_t)what->key.size);
    to[4] = (uint8_t)what->extras.size;
    to[5] = 0;
    bytes_write_be16(to + 6, (uint16_t)what->status);
    bytes_write_be32(to + 8, (uint32_t)body);
    bytes_write_be32(to + 12, request->opaque);
    bytes_write_be64(to + 16, what->cas);
    return put_slice(put_slice(to + MEMCACHE_BINARY_HEADER_BYTES, what->extras), what->key);
}

void memcache_binary_reply(struct memcache_reply *reply, const struct memcache_binary *request,
                           const struct memcache_binary_reply *what)
{
    CHECK(what->extras.size <= MEMCACHE_BINARY_EXTRAS_MAX);
    CHECK(what->key.size <= MEMCACHE_KEY_BYTES_MAX);
    bool small = what->owner == NULL && what->value.size <= VALUE_BYTES_MAX;
    uint8_t *start = byte_queue_reserve(reply->out, reply->pool,
                                        HEAD_BYTES_MAX + (small ? what->value.size : 0));
    uint8_t *at = put_head(start, request, what);
    if (LIKELY(small)) {
        at = put_slice(at, what->value);
    }
    byte_queue_commit(reply->out, (size_t)(at - start));
    if (what->owner != NULL) {
        byte_queue_append_reference(reply->out, reply->pool, what->value, what->owner);
    } else if (!small) {
        byte_queue_append(reply->out, reply->pool, what->value.data, what->value.size);
    }
}

static const char *text_of(enum memcache_binary_status status)
{
    switch (status) {
    case MEMCACHE_BINARY_NOT_FOUND: return "Not found";
    case MEMCACHE_BINARY_EXISTS: return "Data exists for key.";
    case MEMCACHE_BINARY_TOO_LARGE: return "Too large.";
    case MEMCACHE_BINARY_INVALID: return "Invalid arguments";
    case MEMCACHE_BINARY_NOT_STORED: return "Not stored.";
    case MEMCACHE_BINARY_NOT_A_NUMBER: return "Non-numeric server-side value for incr or decr";
    case MEMCACHE_BINARY_AUTH_ERROR: return "Auth failure.";
    case MEMCACHE_BINARY_UNKNOWN: return "Unknown command";
    case MEMCACHE_BINARY_NO_MEMORY: return "Out of memory";
    case MEMCACHE_BINARY_OK:
    case MEMCACHE_BINARY_AUTH_CONTINUE: break;
    }
    return "";
}

void memcache_binary_reply_error(struct memcache_reply *reply,
                                 const struct memcache_binary *request,
                                 enum memcache_binary_status status, const char *text)
{
    const struct memcache_binary_reply what = {
        .status = status,
        .value = slice_of_string(text != NULL ? text : text_of(status)),
    };
    memcache_binary_reply(reply, request, &what);
}
