/* What the files of memcached's meta commands share. */
#ifndef NICACHED_L7_COMMAND_MEMCACHE_META_H
#define NICACHED_L7_COMMAND_MEMCACHE_META_H

#include "dataplane/l6_protocol/memcache_meta_compose.h"
#include "dataplane/l7_command/memcache_internal.h"

static inline bool meta_has(const struct memcache_call *call, char flag)
{
    return memcache_meta_has(&call->request->meta, flag);
}

/* Whole seconds from now on, rounded up; UINT64_MAX: for ever. */
uint64_t meta_seconds_left(uint64_t expire_at_ms, const struct instant *now);
/* t: the time to live, -1 for ever. */
void meta_add_ttl(struct memcache_meta_line *line, uint64_t expire_at_ms,
                  const struct instant *now);
/* "l" and "la": seconds since the last use, as far as the eviction policy knows; else 0. */
uint64_t meta_idle_seconds(const struct memcache_call *call, const struct item *item);
/* A fresh CAS value, or that of E; 0 when the request neither gives one nor asks for it. */
uint64_t meta_new_cas(struct memcache_call *call);
/* The state of an item that the request makes. */
uint8_t meta_new_state(const struct memcache_call *call);

/* Only O and k are shown: of a miss, and of a refusal. */
void meta_reply_code(struct memcache_call *call, const char *code);
/* The draft takes the place of `old`, which is used once more. False: no memory. */
bool meta_publish(struct memcache_call *call, struct item *draft);

#endif
