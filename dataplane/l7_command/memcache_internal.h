/* What the files of the memcached commands share. */
#ifndef NICACHED_L7_COMMAND_MEMCACHE_INTERNAL_H
#define NICACHED_L7_COMMAND_MEMCACHE_INTERNAL_H

#include "dataplane/l7_command/command.h"
#include "dataplane/store/shard.h"

/* memcached has one name space: the first database. */
#define MEMCACHE_DATABASE 0U

/* An item's expire_at_ms that means "expired already": nothing is kept. */
#define MEMCACHE_EXPIRED UINT64_MAX

#define MEMCACHE_NO_MEMORY  "SERVER_ERROR out of memory storing object"
#define MEMCACHE_WRONG_TYPE "SERVER_ERROR the key holds a value that is not a string"

/* exptime on the wire to Unix milliseconds: 0 is never; up to 30 days counts from now; more is a
 * Unix time in seconds; negative or past is MEMCACHE_EXPIRED. */
uint64_t memcache_expire_at_ms(int64_t exptime, const struct instant *now);

/* The shard of key `index`. */
static inline struct shard *memcache_shard(const struct memcache_call *call, uint32_t index)
{
    return LIKELY(call->shard != NULL)
               ? call->shard
               : context_shard(call->context,
                               key_owner(&call->keys[index], call->context->worker_count));
}
/* The item of key `index`, or NULL. */
const struct item *memcache_find(struct memcache_call *call, uint32_t index);
/* False, with the error written, when the item is no string; true for NULL. */
bool memcache_check_type(struct memcache_call *call, const struct item *item);
void memcache_count(struct memcache_call *call, enum metric metric);

/* Gives `item`, the value of key `index`, the expiry of the request. False: no memory. */
bool memcache_touch(struct memcache_call *call, uint32_t index, const struct item *item);

void memcache_execute_get(struct memcache_call *call);
void memcache_execute_storage(struct memcache_call *call);
void memcache_execute_arithmetic(struct memcache_call *call);
void memcache_execute_stats(struct memcache_call *call);

#endif
