/* The loop over the shards. eviction.h has the contract. */
#include "control/eviction/eviction.h"

#include <stdlib.h>

#include "control/eviction/evictor.h"
#include "control/eviction/headroom.h"
#include "dataplane/base/check.h"
#include "dataplane/base/rcu.h"
#include "dataplane/channel/channel.h"

#define BATCHES_PER_WORKER 16U
#define CALLS_PER_RUN      32U /* of the evictor, about 30 us each */
#define NEAR_MS            1U
#define QUIET_MS           16U
#define HALF_FULL_MS       10U
#define STARVED_PART       256U /* of the limit that goes when the index has no room */

struct keeper { /* of one shard */
    const struct shard *shard;
    struct evictor *evictor;
    struct headroom headroom;
    struct eviction_batch *free; /* batches that are here */
    uint64_t chosen_bytes;       /* in batches under way */
    struct eviction_batch batches[BATCHES_PER_WORKER];
};

struct eviction {
    struct eviction_links links;
    struct keeper *keepers;
};

/* ---- life --------------------------------------------------------------------------------------
 */

static void give_batch(struct keeper *keeper, struct eviction_batch *batch)
{
    batch->count = 0;
    batch->bytes = 0;
    batch->next = keeper->free;
    keeper->free = batch;
}

static bool keeper_init(struct keeper *keeper, const struct shard *shard)
{
    keeper->shard = shard;
    keeper->evictor = evictor_create(shard, random_seed());
    for (uint32_t i = 0; i < BATCHES_PER_WORKER; i++) {
        give_batch(keeper, &keeper->batches[i]);
    }
    return keeper->evictor != NULL;
}

struct eviction *eviction_create(const struct eviction_links *links)
{
    struct eviction *eviction = calloc(1, sizeof(*eviction));
    struct keeper *keepers = calloc(links->count, sizeof(*keepers));
    if (eviction == NULL || keepers == NULL) {
        free(eviction);
        free(keepers);
        return NULL;
    }
    eviction->links = *links;
    eviction->keepers = keepers;
    for (uint32_t i = 0; i < links->count; i++) {
        if (!keeper_init(&keepers[i], links->shards[i])) {
            eviction_destroy(eviction);
            return NULL;
        }
    }
    return eviction;
}

void eviction_destroy(struct eviction *eviction)
{
    if (eviction == NULL) {
        return;
    }
    for (uint32_t i = 0; i < eviction->links.count; i++) {
        evictor_destroy(eviction->keepers[i].evictor);
    }
    free(eviction->keepers);
    free(eviction);
}

/* ---- batches -----------------------------------------------------------------------------------
 */

void eviction_take_back(struct eviction *eviction, uint32_t worker, struct eviction_batch *batch)
{
    CHECK(worker < eviction->links.count);
    struct keeper *keeper = &eviction->keepers[worker];
    CHECK(keeper->chosen_bytes >= batch->bytes);
    keeper->chosen_bytes -= batch->bytes;
    give_batch(keeper, batch);
}

/* False: the channel is full. The victims are then chosen anew another time. */
static bool send_batch(struct eviction *eviction, uint32_t worker, struct eviction_batch *batch)
{
    struct keeper *keeper = &eviction->keepers[worker];
    struct message message = {
        .type = MESSAGE_EVICT_BATCH, .from = CHANNEL_FROM_CONTROL, .pointer = batch};
    uint64_t bytes = batch->bytes; /* the worker may have the batch at once */
    keeper->free = batch->next;
    if (!channel_send(eviction->links.to[worker], &message)) {
        give_batch(keeper, batch);
        return false;
    }
    keeper->chosen_bytes += bytes;
    headroom_note_chosen(&keeper->headroom, bytes);
    return true;
}

/* ---- one shard ---------------------------------------------------------------------------------
 */

/* Bytes in use that nothing is about to free. What lies in holes that nobody can be sure to use
 * counts as used, too: else writes of another size would find no room below the limit. */
static uint64_t lasting_bytes(const struct keeper *keeper, uint64_t limit_bytes)
{
    struct shard_memory memory;
    shard_read_memory(keeper->shard, &memory);
    uint64_t leaving = memory.retired_bytes + keeper->chosen_bytes, used = memory.used_bytes;
    if (memory.headroom_bytes < limit_bytes && limit_bytes - memory.headroom_bytes > used) {
        used = limit_bytes - memory.headroom_bytes;
    }
    return used > leaving ? used - leaving : 0;
}

/* Fills one batch as far as it goes in one call; false: the policy has nothing to take. */
static bool choose(struct keeper *keeper, const struct eviction_policy *policy,
                   const struct instant *now, uint64_t bytes)
{
    rcu_thread_online();
    bool possible = evictor_choose(keeper->evictor, policy, now, bytes, keeper->free);
    rcu_thread_offline();
    return possible;
}

static void follow(struct keeper *keeper, const struct eviction_policy *policy)
{
    rcu_thread_online();
    evictor_follow(keeper->evictor, policy);
    rcu_thread_offline();
}

static void evict(struct eviction *eviction, uint32_t worker, const struct eviction_policy *policy,
                  const struct instant *now, uint64_t excess)
{
    struct keeper *keeper = &eviction->keepers[worker];
    bool sent = false, possible = true;
    for (uint32_t i = 0; i < CALLS_PER_RUN && excess > 0 && possible && keeper->free != NULL; i++) {
        struct eviction_batch *batch = keeper->free;
        possible = choose(keeper, policy, now, excess);
        bool full = batch->count == EVICTION_BATCH_VICTIMS || batch->bytes >= excess;
        bool last = i + 1 == CALLS_PER_RUN || !possible;
        if (full || (last && batch->count > 0)) {
            excess -= batch->bytes < excess ? batch->bytes : excess;
            if (!send_batch(eviction, worker, batch)) {
                break;
            }
            sent = true;
        }
    }
    if (sent && eviction->links.wake != NULL) {
        eviction->links.wake(eviction->links.argument, worker);
    }
}

static uint32_t next_look_ms(const struct keeper *keeper, uint64_t limit, uint64_t lasting,
                             uint64_t excess)
{
    uint64_t near = 2 * headroom_bytes(&keeper->headroom, limit);
    if (excess > 0) {
        return NEAR_MS;
    }
    if (lasting + near > limit) {
        return keeper->headroom.bytes_per_ms > 0 ? NEAR_MS : QUIET_MS;
    }
    return lasting > limit / 2 ? HALF_FULL_MS : EVICTION_REST_MS;
}

static uint32_t look_after(struct eviction *eviction, uint32_t worker, uint64_t limit,
                           const struct eviction_policy *policy, const struct instant *now)
{
    struct keeper *keeper = &eviction->keepers[worker];
    follow(keeper, policy);
    uint64_t lasting = lasting_bytes(keeper, limit);
    headroom_note(&keeper->headroom, lasting, now->mono_us);
    uint64_t wanted = shard_wanted_bytes(keeper->shard);
    if (wanted > 0) {
        headroom_note_waiting(&keeper->headroom, now->mono_us);
    }
    uint64_t excess = headroom_excess(&keeper->headroom, limit, lasting, wanted);
    if (shard_was_starved(keeper->shard) && excess < limit / STARVED_PART) {
        excess = limit / STARVED_PART;
    }
    if (excess > 0) {
        evict(eviction, worker, policy, now, excess);
    }
    return next_look_ms(keeper, limit, lasting, excess);
}

uint32_t eviction_run(struct eviction *eviction, const struct config *config,
                      const struct instant *now)
{
    struct eviction_policy policy;
    uint32_t soonest_ms = EVICTION_REST_MS;
    eviction_policy_set(&policy, config, now);
    if (config->maxmemory == 0 || policy.kind == EVICT_NOTHING) {
        return EVICTION_REST_MS;
    }
    uint64_t limit = (uint64_t)config->maxmemory / eviction->links.count;
    for (uint32_t i = 0; i < eviction->links.count; i++) {
        uint32_t ms = look_after(eviction, i, limit, &policy, now);
        soonest_ms = ms < soonest_ms ? ms : soonest_ms;
    }
    return soonest_ms;
}
