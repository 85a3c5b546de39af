/* The evictor of one shard: chooses victims by the policy in force. It walks the shard's indexes in
 * SCAN's order, round after round, and looks at the access bits.
 *
 *   lru, lfu, random, ttl   evictor.c: every item seen has a score; a histogram of the scores seen
 *                           lately says where the highest 1/maxmemory-samples of them begin. What
 *                           is above goes. So each victim costs so many looks, as in Redis, but no
 *                           item is looked at twice before all the others.
 *   s3fifo                  s3fifo.c: a small queue of new keys, the walk as the clock of the main
 *                           queue, a ghost of what was evicted lately.
 *
 * Thread: the control thread, inside an RCU read section; every call is short. The owner checks
 * every victim again. Memory: 1.1 KiB; with s3fifo see there.
 */
#ifndef NICACHED_CONTROL_EVICTION_EVICTOR_H
#define NICACHED_CONTROL_EVICTION_EVICTOR_H

#include "dataplane/store/shard.h"

struct evictor;

/* NULL when out of memory. */
struct evictor *evictor_create(const struct shard *shard, uint64_t seed);
void evictor_destroy(struct evictor *evictor);

/* To be called regularly also while nothing has to go: takes note of new keys. */
void evictor_follow(struct evictor *evictor, const struct eviction_policy *policy);

/* Adds victims to the batch until it is full, their bytes reach `bytes_wanted`, or so many items
 * have been looked at that the read section should end. False: there is nothing that the policy may
 * take. */
bool evictor_choose(struct evictor *evictor, const struct eviction_policy *policy,
                    const struct instant *now, uint64_t bytes_wanted, struct eviction_batch *batch);

#endif
