/* What the files of the shard share. */
#ifndef NICACHED_STORE_STORE_INTERNAL_H
#define NICACHED_STORE_STORE_INTERNAL_H

#include "dataplane/base/check.h"
#include "dataplane/store/eviction.h"
#include "dataplane/store/index.h"
#include "dataplane/store/memory.h"
#include "dataplane/store/retire.h"
#include "dataplane/store/shard.h"

struct database {
    struct index *index; /* published; NULL until the first write */
    uint64_t key_count;  /* owner writes, anybody reads, relaxed */
    uint64_t expiry_count;
    uint64_t flush_at_ms;  /* 0: none is due */
    uint64_t sweep_cursor; /* where the search for expired items goes on */
};

struct expiry_sweep {
    uint64_t last_us;
    uint64_t due_millionths; /* of keys that the walk should have passed by now */
    uint32_t database;       /* whose turn it is */
    bool found_many;         /* the last slice was worth its cost: go on at once */
    int64_t credit;          /* cycles that may be spent; below 0 after a slice that took longer */
};

/* Spans that are being emptied: see shard_defrag.c. */
#define DEFRAG_SPANS_MAX 64
struct defrag_entry {
    uint32_t span;
    uint64_t since_us;
};
struct defrag {
    struct span_visit look; /* through the newest entry */
    bool is_moving;         /* it still has blocks to look at */
    uint32_t first, count;  /* a ring */
    struct defrag_entry entries[DEFRAG_SPANS_MAX];
};

/* A flushed index on its way out. */
struct dismantling {
    struct dismantling *next;
    struct index *index;
};

/* What readers on other workers look at, on a line of its own. Written by the shard's writer. */
struct shared_state {
    _Alignas(64) uint64_t version;
    uint64_t removals;
    uint8_t rest_of_line[48];
};
#define UPKEEP_LONG_US         200
#define UPKEEP_GROWTH_US       60
#define UPKEEP_EXPIRY_US       30
#define UPKEEP_RECLAIM_US      10
#define UPKEEP_DEFRAG_US       20
#define UPKEEP_DEFRAG_SHORT_US 100
/* New keys on their way to the control thread. One writer of each cursor. */
#define INSERTION_RING_ENTRIES 16384U
struct insertion_ring {
    _Alignas(64) uint64_t head; /* the owner's */
    uint64_t sequence;          /* new keys, those that found no room included */
    _Alignas(64) uint64_t tail; /* the control thread's */
    _Alignas(64) struct insertion entries[INSERTION_RING_ENTRIES];
};

struct shard_eviction {
    struct eviction_batch *waiting, *finished;
    uint64_t wanted_bytes; /* atomic */
    uint64_t wanted_until_us;
    bool was_starved;  /* atomic: in the pass before this one */
    uint32_t database; /* where an emergency goes on */
    uint64_t cursor;
    uint64_t fruitless_until_us;
    struct insertion_ring *insertions; /* published; NULL until a policy wants it */
    bool keeps_evicted;
    struct evicted_items *evicted; /* NULL until they are first kept */
};

struct shard {
    struct shared_state shared;
    struct memory memory;
    struct retire_queue retire;
    struct index_services services;
    struct metrics *metrics;
    uint32_t number;
    uint64_t cas_count;
    uint64_t random_state;
    struct dismantling *dismantling_first, *dismantling_last;
    struct expiry_sweep sweep;
    struct defrag defrag;
    uint64_t figures_us;                     /* when they were last brought up to date */
    struct memory_task unsent_task;          /* memory NULL: none */
    struct type_book types[ITEM_TYPE_COUNT]; /* owner writes, anybody reads, relaxed */
    struct blob *returned_blobs; /* see item.h: pushed by anybody, taken by the holder */
    uint64_t kept_bytes;         /* anybody, relaxed */
    uint64_t cycles_per_us;
    uint64_t long_cycles;                   /* of a pass that is counted */
    uint64_t expiry_budget, reclaim_budget; /* cycles of a pass */
    uint64_t reclaimed_up_to; /* of the entries that were ever retired: their places in the queue */
    uint64_t longest_cycles[UPKEEP_CAUSE_COUNT]; /* owner writes, anybody reads, relaxed */
    struct eviction_policy policy;
    struct shard_eviction eviction;
    struct database databases[SHARD_DATABASE_COUNT];
};

static inline void counter_add(uint64_t *counter, uint64_t amount)
{
    __atomic_store_n(counter, *counter + amount, __ATOMIC_RELAXED);
}

/* shard.c */
void shard_free_item(struct shard *shard, struct item *item);
void shard_retire_item(struct shard *shard, struct item *item);
/* item.c: memory for an item of so many bytes, where ITEM_ROOMY goes into *kinds if it is true. */
struct item *shard_allocate_item(struct shard *shard, size_t bytes, enum memory_limit limit,
                                 unsigned *kinds);
/* What the block of an item takes, in nearly all cases without a look at the allocator's books,
 * which are not in the cache. */
static inline size_t shard_block_bytes(const struct shard *shard, const struct item *item)
{
    return LIKELY((item->kinds & ITEM_ROOMY) == 0) ? memory_rounded_bytes(item_bytes(item))
                                                   : memory_block_bytes(&shard->memory, item);
}
/* The books by type; `bytes` is what the item's block takes. */
void shard_note_published(struct shard *shard, const struct item *item);
void shard_note_unpublished(struct shard *shard, const struct item *item, size_t bytes);
void shard_expire(struct shard *shard, uint32_t database, const struct key *key);
/* item.c: for the holder of the shard, which may free at once */
void shard_release_blob(struct shard *shard, struct blob *blob);
/* Those whose last count somebody else gave back; true: there were some. */
bool shard_free_returned_blobs(struct shard *shard);
/* NULL: nothing there. The item is retired, but valid until the end of the pass. */
const struct item *shard_remove(struct shard *shard, uint32_t database, const struct key *key);
/* shard_eviction.c */
bool shard_run_evictions(struct shard *shard, const struct instant *now); /* more is waiting */
void shard_note_insertion(struct shard *shard, uint32_t database, uint64_t hash,
                          const struct item *item);
/* shard_expiry.c: true when the next pass should go on */
bool shard_sweep_expired(struct shard *shard, const struct instant *now);
/* shard_defrag.c: true when the next pass should go on */
bool shard_defragment(struct shard *shard, const struct instant *now);
/* shard_upkeep.c */
void shard_free_everything(struct shard *shard);

#endif
