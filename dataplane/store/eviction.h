/* Eviction: what the access bits of an item mean, which items should go first, and how a victim
 * travels from whoever chose it to the shard's owner.
 *
 *   kind               access (24 bits)               who
 *   ACCESS_RECENCY     last use, in ticks of 2^18 us   lru, and every policy that needs no bits
 *   ACCESS_FREQUENCY   minutes:16 counter:8            lfu: Redis' logarithmic counter with decay
 *   ACCESS_QUEUE       stamp:21 main:1 uses:2          s3fifo
 *
 * Whoever uses an item updates its bits (eviction_note_use); the control thread reads them. A
 * policy that is changed finds the bits of the one before and takes them for its own: as in Redis
 * it takes a while until they are right again.
 *
 * Thread: pure functions, any. Time is an argument.
 */
#ifndef NICACHED_STORE_EVICTION_H
#define NICACHED_STORE_EVICTION_H

#include "dataplane/base/clock.h"
#include "dataplane/base/hash.h"
#include "dataplane/store/item.h"

struct config;

enum eviction_kind { EVICT_NOTHING, EVICT_LRU, EVICT_LFU, EVICT_RANDOM, EVICT_TTL, EVICT_S3FIFO };
enum access_kind { ACCESS_RECENCY, ACCESS_FREQUENCY, ACCESS_QUEUE };

struct eviction_policy {
    enum eviction_kind kind;
    bool volatile_only; /* only items with an expiry may go */
    enum access_kind access;
    uint32_t samples;    /* items looked at for each victim */
    uint32_t log_factor; /* lfu-log-factor */
    uint32_t decay_minutes;
    uint32_t now; /* ticks or minutes, as `access` counts */
    uint64_t wall_ms;
};
/* What the configuration says, at this time. */
void eviction_policy_set(struct eviction_policy *policy, const struct config *config,
                         const struct instant *now);

/* ---- access bits --------------------------------------------------------------------------- */

#define ACCESS_TICK_SHIFT       18 /* of microseconds: 262 ms; 24 bits of it are 50 days */
#define ACCESS_COUNTER_INITIAL  5  /* a new key is not the first to go */
#define ACCESS_USES_MAX         3U
#define ACCESS_MAIN             4U
#define ACCESS_STAMP_SHIFT      3
#define ACCESS_STAMP_MASK       0x1FFFFFU
#define ACCESS_STAMP_UNIT_SHIFT 6 /* insertions that share a stamp */

/* The counter under the lfu policies, less what has decayed since. */
uint32_t eviction_lfu_counter(const struct eviction_policy *policy, uint32_t access);
uint32_t eviction_lfu_use(const struct eviction_policy *policy, uint32_t access,
                          uint64_t *random_state);

/* Seconds since the last use, under ACCESS_RECENCY. */
static inline uint64_t eviction_idle_seconds(const struct eviction_policy *policy, uint32_t access)
{
    uint64_t ticks = (policy->now - access) & ITEM_ACCESS_MAX;
    return (ticks << ACCESS_TICK_SHIFT) / 1000000U;
}

/* Of an item that is new. */
static inline uint32_t eviction_initial_access(const struct eviction_policy *policy)
{
    switch (policy->access) {
    case ACCESS_RECENCY: return policy->now;
    case ACCESS_FREQUENCY: return policy->now << 8 | ACCESS_COUNTER_INITIAL;
    case ACCESS_QUEUE: break;
    }
    return 0;
}

/* The bits of an item once it has been used one more time. */
static inline uint32_t eviction_access_after_use(const struct eviction_policy *policy,
                                                 uint32_t access, uint64_t *random_state)
{
    switch (policy->access) {
    case ACCESS_RECENCY: return policy->now;
    case ACCESS_FREQUENCY: return eviction_lfu_use(policy, access, random_state);
    case ACCESS_QUEUE: break;
    }
    return (access & ACCESS_USES_MAX) < ACCESS_USES_MAX ? access + 1 : access;
}

/* Any thread that may read the item. */
static inline void eviction_note_use(const struct eviction_policy *policy, const struct item *item,
                                     uint64_t *random_state)
{
    item_set_access(item, eviction_access_after_use(policy, item_access(item), random_state));
    item_set_fetched(item);
}

/* ---- which first ---------------------------------------------------------------------------- */

#define EVICTION_SCORES 256U

static inline bool eviction_may_take(const struct eviction_policy *policy, const struct item *item)
{
    return !policy->volatile_only || item_has_expiry(item);
}

/* 0 to EVICTION_SCORES - 1; the highest goes first. An item whose time has come always does. */
uint32_t eviction_score(const struct eviction_policy *policy, const struct item *item,
                        uint64_t *random_state);

/* ---- victims -------------------------------------------------------------------------------- */

struct eviction_victim {
    const struct item *item; /* never followed before the owner has found it in its index */
    uint64_t hash;
    uint32_t database;
};

/* Filled by the control thread, worked off by the owner in slices, and sent back. */
#define EVICTION_BATCH_VICTIMS 128U
struct eviction_batch {
    struct eviction_batch *next;
    uint32_t count, done;
    uint64_t bytes; /* of all victims, as the chooser saw them */
    struct eviction_victim victims[EVICTION_BATCH_VICTIMS];
};

#endif
