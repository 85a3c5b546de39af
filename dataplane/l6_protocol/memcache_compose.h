/* memcached text replies, written straight into a byte queue. */
#ifndef NICACHED_L6_PROTOCOL_MEMCACHE_COMPOSE_H
#define NICACHED_L6_PROTOCOL_MEMCACHE_COMPOSE_H

#include "dataplane/base/byte_queue.h"
#include "dataplane/base/bytes.h"

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
void memcache_reply_value(struct memcache_reply *reply, const struct memcache_value *value);
/* All but letters, digits and -._~ as %XX, as memcached shows keys where they are part of a line.
 * `to` has room for three bytes of each; returns how many were written. */
size_t memcache_encode_uri(struct slice key, uint8_t *to);

void memcache_reply_end(struct memcache_reply *reply); /* "END" */
void memcache_reply_stat(struct memcache_reply *reply, const char *name, const char *value);

#endif
