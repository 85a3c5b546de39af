/* What the files of the shard share. */
#ifndef NICACHED_STORE_STORE_INTERNAL_H
#define NICACHED_STORE_STORE_INTERNAL_H

#include "dataplane/store/index.h"
#include "dataplane/store/memory.h"
#include "dataplane/store/retire.h"
#include "dataplane/store/shard.h"

struct database {
    struct index *index; /* published; NULL until the first write */
    uint64_t key_count;  /* owner writes, anybody reads, relaxed */
    uint64_t expiry_count;
    uint64_t sweep_cursor; /* where the search for expired items goes on */
};

struct expiry_sweep {
    uint64_t last_us;
    uint64_t due_millionths; /* of keys that the walk should have passed by now */
    uint32_t database;       /* whose turn it is */
    bool found_many;         /* the last slice was worth its cost: go on at once */
};

/* A flushed index on its way out. */
struct dismantling {
    struct dismantling *next;
    struct index *index;
};

#define UPKEEP_LONG_US   200
#define UPKEEP_GROWTH_US 60

struct shard {
    struct memory memory;
    struct retire_queue retire;
    struct index_services services;
    struct metrics *metrics;
    uint32_t number;
    uint64_t cas_count;
    uint64_t random_state;
    struct dismantling *dismantling_first, *dismantling_last;
    struct expiry_sweep sweep;
    uint64_t long_cycles;                        /* of a pass that is counted */
    uint64_t longest_cycles[UPKEEP_CAUSE_COUNT]; /* owner writes, anybody reads, relaxed */
    struct database databases[SHARD_DATABASE_COUNT];
};

static inline void counter_add(uint64_t *counter, uint64_t amount)
{
    __atomic_store_n(counter, *counter + amount, __ATOMIC_RELAXED);
}

static inline bool item_has_expiry(const struct item *item)
{
    return (item->layout & ITEM_HAS_EXPIRY) != 0;
}

/* shard.c */
void shard_free_item(struct shard *shard, struct item *item);
void shard_expire(struct shard *shard, uint32_t database, const struct key *key);
/* shard_expiry.c: true when the next pass should go on */
bool shard_sweep_expired(struct shard *shard, const struct instant *now);
/* shard_upkeep.c */
void shard_free_everything(struct shard *shard);

#endif
