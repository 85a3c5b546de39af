/* The arithmetic of the eviction policies: Redis' logarithmic counter, and scores. */
#include "dataplane/store/eviction.h"

#include "config/config.h"
#include "dataplane/base/check.h"

#define MINUTES_MASK 0xFFFFU
#define COUNTER_MAX  255U

/* By maxmemory-policy. */
static const struct {
    enum eviction_kind kind;
    bool volatile_only;
    enum access_kind access;
} rows[] = {
    [MAXMEMORY_VOLATILE_LRU] = {EVICT_LRU, true, ACCESS_RECENCY},
    [MAXMEMORY_VOLATILE_LFU] = {EVICT_LFU, true, ACCESS_FREQUENCY},
    [MAXMEMORY_VOLATILE_RANDOM] = {EVICT_RANDOM, true, ACCESS_RECENCY},
    [MAXMEMORY_VOLATILE_TTL] = {EVICT_TTL, true, ACCESS_RECENCY},
    [MAXMEMORY_ALLKEYS_LRU] = {EVICT_LRU, false, ACCESS_RECENCY},
    [MAXMEMORY_ALLKEYS_LFU] = {EVICT_LFU, false, ACCESS_FREQUENCY},
    [MAXMEMORY_ALLKEYS_RANDOM] = {EVICT_RANDOM, false, ACCESS_RECENCY},
    [MAXMEMORY_NOEVICTION] = {EVICT_NOTHING, false, ACCESS_RECENCY},
    [MAXMEMORY_ALLKEYS_S3FIFO] = {EVICT_S3FIFO, false, ACCESS_QUEUE},
};

void eviction_policy_set(struct eviction_policy *policy, const struct config *config,
                         const struct instant *now)
{
    DEBUG_CHECK((size_t)config->maxmemory_policy < sizeof(rows) / sizeof(rows[0]));
    enum access_kind access = rows[config->maxmemory_policy].access;
    *policy = (struct eviction_policy){
        .kind = rows[config->maxmemory_policy].kind,
        .volatile_only = rows[config->maxmemory_policy].volatile_only,
        .access = access,
        .samples = (uint32_t)config->maxmemory_samples,
        .log_factor = (uint32_t)config->lfu_log_factor,
        .decay_minutes = (uint32_t)config->lfu_decay_time,
        .now = access == ACCESS_FREQUENCY
                   ? (uint32_t)(now->mono_us / 60000000U) & MINUTES_MASK
                   : (uint32_t)(now->mono_us >> ACCESS_TICK_SHIFT) & ITEM_ACCESS_MAX,
        .wall_ms = now->wall_ms,
    };
}

/* ---- the counter ----------------------------------------------------------------------------- */

uint32_t eviction_lfu_counter(const struct eviction_policy *policy, uint32_t access)
{
    uint32_t counter = access & COUNTER_MAX;
    if (policy->decay_minutes == 0) {
        return counter;
    }
    uint32_t periods = ((policy->now - (access >> 8)) & MINUTES_MASK) / policy->decay_minutes;
    return periods < counter ? counter - periods : 0;
}

/* One more with the chance 1 / ((counter - initial) * factor + 1): 255 stands for a million uses
 * with the default factor. */
uint32_t eviction_lfu_use(const struct eviction_policy *policy, uint32_t access,
                          uint64_t *random_state)
{
    uint32_t counter = eviction_lfu_counter(policy, access);
    if (counter < COUNTER_MAX) {
        uint64_t above = counter > ACCESS_COUNTER_INITIAL ? counter - ACCESS_COUNTER_INITIAL : 0;
        uint64_t odds = above * policy->log_factor + 1;
        counter += odds == 1 || (random_next(random_state) >> 32) % odds == 0;
    }
    return policy->now << 8 | counter;
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* Logarithmic, eight classes to the power of two: differences count in proportion. */
static uint32_t log_class(uint64_t value)
{
    if (value < 8) {
        return (uint32_t)value;
    }
    uint32_t power = 63U - (uint32_t)__builtin_clzll(value);
    uint32_t class = (power - 2) * 8 + (uint32_t)(value >> (power - 3) & 7);
    return class < EVICTION_SCORES ? class : EVICTION_SCORES - 1;
}

static uint32_t score_of_ttl(const struct eviction_policy *policy, const struct item *item)
{
    /* Up to 2^33 ms, a hundred days, are told apart. */
    return EVICTION_SCORES - 1 - log_class(item_expire_at_ms(item) - policy->wall_ms);
}

uint32_t eviction_score(const struct eviction_policy *policy, const struct item *item,
                        uint64_t *random_state)
{
    uint32_t access = item_access(item);
    if (item_is_expired(item, policy->wall_ms)) {
        return EVICTION_SCORES - 1;
    }
    switch (policy->kind) {
    case EVICT_LRU: return log_class((policy->now - access) & ITEM_ACCESS_MAX);
    case EVICT_LFU: return EVICTION_SCORES - 1 - eviction_lfu_counter(policy, access);
    case EVICT_TTL: return score_of_ttl(policy, item);
    case EVICT_S3FIFO: return EVICTION_SCORES - 1 - (access & ACCESS_USES_MAX);
    case EVICT_RANDOM: return (uint32_t)(random_next(random_state) >> 56);
    case EVICT_NOTHING: break;
    }
    return 0;
}
