/* Eviction for all shards: keeps the headroom of each free, so that no write has to wait.
 *
 *   every shard:  used memory --headroom.c--> bytes too many --evictor.c--> victims, in batches
 *                 batch --channel--> owner: verifies, removes, retires --channel--> batch again
 *
 * Thread: control, a registered RCU reader that is offline but for the short calls of the evictors.
 * Memory: 16 batches for each worker (50 KiB), and the evictors'. Failure: when all batches are
 * under way, or the channel is full, it waits for the next call; a write that finds no room waits
 * meanwhile, and in the end the owner evicts by itself (core_memory.c).
 */
#ifndef NICACHED_CONTROL_EVICTION_EVICTION_H
#define NICACHED_CONTROL_EVICTION_EVICTION_H

#include "config/config.h"
#include "dataplane/base/clock.h"
#include "dataplane/store/eviction.h"

struct channel;
struct eviction;
struct shard;

/* By worker; borrowed until eviction_destroy. */
struct eviction_links {
    uint32_t count;
    struct shard *const *shards;
    struct channel *const *to;
    void (*wake)(void *argument, uint32_t worker); /* may be NULL */
    void *argument;
};

/* NULL when out of memory. */
struct eviction *eviction_create(const struct eviction_links *links);
/* The workers have stopped: no batch is looked at any more, wherever it is. */
void eviction_destroy(struct eviction *eviction);

/* A batch has come back from its worker. */
void eviction_take_back(struct eviction *eviction, uint32_t worker, struct eviction_batch *batch);

/* Looks at every shard and sends what has to go. Returns in how many milliseconds it wants to be
 * called again; EVICTION_REST_MS: nothing is near. */
#define EVICTION_REST_MS 100U
uint32_t eviction_run(struct eviction *eviction, const struct config *config,
                      const struct instant *now);

#endif
