/* Keys of errands that will be looked up, on their way into the cache: rounds of cache misses that
 * many of them share. The batch's, which lie side by side, go in steps instead (shard.h). */
#ifndef NICACHED_CORE_CORE_PREFETCH_H
#define NICACHED_CORE_CORE_PREFETCH_H

#include "dataplane/core/core_internal.h"

/* So many keys at a time are on their way into the cache, while as many that are there already are
 * looked up: few enough that nothing of them is gone again by then. */
#define PREFETCH_GROUP_KEYS SHARD_LOOKUP_BURST

struct prefetch_burst {
    struct shard_lookup lookups[SHARD_LOOKUP_BURST];
    uint32_t count;
    /* Of our own shard: the index of the database that was asked for last. */
    uint32_t database;
    const struct index *own;
};

static inline void prefetch_begin(struct prefetch_burst *burst)
{
    burst->count = 0;
    burst->database = SHARD_DATABASE_COUNT; /* none */
}

/* One key alone gains nothing: its look-up would only be done twice. */
static inline void prefetch_end(struct prefetch_burst *burst)
{
    if (burst->count > 1) {
        shard_prefetch_bulk(burst->lookups, burst->count);
    }
}

static inline void prefetch_key(struct prefetch_burst *burst, const struct index *index,
                                struct key *key, bool is_own)
{
    if (burst->count == SHARD_LOOKUP_BURST) {
        shard_prefetch_bulk(burst->lookups, burst->count);
        burst->count = 0;
    }
    if (LIKELY(index != NULL)) {
        burst->lookups[burst->count++] = (struct shard_lookup){index, key, is_own};
    }
}

static inline void prefetch_own(const struct core *core, struct prefetch_burst *burst,
                                uint32_t database, struct key *keys, uint32_t count)
{
    if (UNLIKELY(burst->database != database)) {
        burst->database = database;
        burst->own = shard_index(core->shard, database);
    }
    for (uint32_t i = 0; i < count; i++) {
        prefetch_key(burst, burst->own, &keys[i], true);
    }
}

/* They may be anybody's, whose shards the request will read under RCU. */
static inline void prefetch_shared(const struct core *core, struct prefetch_burst *burst,
                                   uint32_t database, struct key *keys, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        prefetch_key(burst, shard_index(core_shard_of_key(core, &keys[i]), database), &keys[i],
                     false);
    }
}

#endif
