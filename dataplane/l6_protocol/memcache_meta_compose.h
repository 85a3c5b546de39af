/* Replies of memcached's meta commands: a line of a code and flags, and with VA a value behind it.
 */
#ifndef NICACHED_L6_PROTOCOL_MEMCACHE_META_COMPOSE_H
#define NICACHED_L6_PROTOCOL_MEMCACHE_META_COMPOSE_H

#include "dataplane/l6_protocol/memcache_compose.h"

/* No flag comes twice: a key in base64, an opaque token and a few numbers. */
#define MEMCACHE_META_LINE_BYTES_MAX 1024U

/* A line while it is put together. */
struct memcache_meta_line {
    size_t size;
    uint8_t bytes[MEMCACHE_META_LINE_BYTES_MAX];
};

/* `code`: two letters. */
void memcache_meta_begin(struct memcache_meta_line *line, const char *code);
/* "VA" and the size of the value. */
void memcache_meta_begin_value(struct memcache_meta_line *line, size_t value_bytes);
void memcache_meta_add(struct memcache_meta_line *line, char flag);
void memcache_meta_add_number(struct memcache_meta_line *line, char flag, uint64_t value);
/* A word as it is (O and its token), or in base64. */
void memcache_meta_add_word(struct memcache_meta_line *line, struct slice word, bool base64);
/* The key; in base64 a flag b says so. */
void memcache_meta_add_key(struct memcache_meta_line *line, struct slice key, bool base64);

/* The line, and behind it the value where there is one. `owner` as in memcache_reply_value. */
void memcache_reply_meta(struct memcache_reply *reply, const struct memcache_meta_line *line);
void memcache_reply_meta_value(struct memcache_reply *reply, const struct memcache_meta_line *line,
                               struct slice value, struct byte_owner *owner);

#endif
