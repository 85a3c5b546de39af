/* Replies of memcached's binary protocol, written straight into a byte queue. */
#ifndef NICACHED_L6_PROTOCOL_MEMCACHE_BINARY_COMPOSE_H
#define NICACHED_L6_PROTOCOL_MEMCACHE_BINARY_COMPOSE_H

#include "dataplane/l6_protocol/memcache_binary.h"
#include "dataplane/l6_protocol/memcache_compose.h"

/* What a reply says; what is not set is empty. */
struct memcache_binary_reply {
    enum memcache_binary_status status;
    uint64_t cas;
    struct slice extras, key; /* at most MEMCACHE_BINARY_EXTRAS_MAX and MEMCACHE_KEY_BYTES_MAX */
    struct slice value;
    struct byte_owner *owner; /* NULL: the value is copied; else it is referenced, and one count is
                                 taken over */
};

void memcache_binary_reply(struct memcache_reply *reply, const struct memcache_binary *request,
                           const struct memcache_binary_reply *what);
/* With a text as value: the one that the reference has for `status` where `text` is NULL. */
void memcache_binary_reply_error(struct memcache_reply *reply,
                                 const struct memcache_binary *request,
                                 enum memcache_binary_status status, const char *text);

#endif
