/* The index of one database: fingerprint of a key -> item.
 *
 * Two implementations, chosen at the start (`store-index`), behind one table of operations:
 *
 *   rte_hash   segments of rte_hash                 index_rte.h      (the default)
 *   buckets    buckets of one cache line of our own  index_buckets.h
 *
 * This header is all that the shard knows of either: they can be measured against each other.
 * Beside both is a short list of items that found no place (index_overflow.h), empty in practice.
 *
 * Thread: the shard's owner, but for index_read, index_read_hash, index_holds and index_scan.
 * Failure: storing never fails; when memory for the index can not be had, `starved` in the services
 * says so and the shard refuses new drafts.
 */
#ifndef NICACHED_STORE_INDEX_H
#define NICACHED_STORE_INDEX_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/base/rcu.h"
#include "dataplane/store/item_key.h"
#include "dataplane/store/item_prefetch.h"
#include "dataplane/store/shard.h"

struct index;
struct memory;
struct overflow;
struct retire_queue;
struct segment;

/* Memory for buckets, kept back so that storing succeeds at the limit, too: index_buckets_memory.c.
 * What one insert may need at most: two leaves and two tables. */
#define INDEX_SPARES 4

/* What an index needs from its shard; shared by the indexes of all its databases. */
struct index_services {
    enum index_kind kind; /* of the indexes to be made */
    struct memory *memory;
    struct retire_queue *retire;
    struct metrics *metrics;
    uint64_t (*hash_item)(const struct item *item); /* the fingerprint of its key */
    uint64_t now_us;                                /* of this pass */
    uint64_t epoch;                                 /* the last one that was given to an index */
    uint64_t growth_budget; /* cycles of a pass after which writes pay less for growth */
    uint64_t growth_cycles; /* spent in this pass on growing and moving */
    bool starved;           /* it is nearly full and no memory for more is left */

    /* rte_hash */
    struct channel *to_reclaimer; /* NULL: segments are made on the spot */
    uint32_t number;              /* of the worker */
    struct segment *ready;        /* made beforehand, not yet used */
    struct segment *doomed;       /* to be destroyed by the reclaimer, whose channel was full */
    uint32_t outstanding;         /* asked for, not yet here */
    uint32_t hungry_count;        /* segments that wait for children */
    bool refused;                 /* no memory for the segment that was wanted last */
    uint64_t retry_at_us;         /* not before: EAL had no memory */

    /* buckets */
    uint32_t index_count; /* that keep the spares */
    uint32_t spare_count;
    void *spares[INDEX_SPARES];
    uint32_t evacuations; /* how often pages with parts of an index were to become empty */
};

typedef void index_visitor(void *argument, struct item *item, uint64_t hash);

struct index_operations {
    struct index *(*create)(struct index_services *services);
    bool (*dismantle)(struct index *index, uint32_t work, index_visitor *free_item, void *argument);
    struct item *(*find)(const struct index *index, const struct key *key);
    struct item *(*read)(const struct index *index, const struct key *key);
    struct item *(*read_hash)(const struct index *index, uint64_t hash);
    bool (*holds)(const struct index *index, uint64_t hash, const struct item *item);
    void (*prefetch_bulk)(const struct shard_lookup *lookups, uint32_t count);
    void (*prefetch_step)(const struct shard_prefetch *prefetch,
                          const struct index_services *services);
    struct item *(*store)(struct index *index, const struct key *key, struct item *item);
    struct item *(*remove)(struct index *index, const struct key *key);
    bool (*maintain)(struct index *index);
    uint64_t (*scan)(const struct index *index, uint64_t cursor, uint32_t count,
                     index_visitor *visit, void *argument);
    struct item *(*random)(const struct index *index, uint64_t *random_state,
                           bool (*accept)(void *argument, const struct item *item), void *argument);
};

/* What both begin with. */
struct index {
    const struct index_operations *operations;
    struct index_services *services;
    struct overflow *overflow; /* published */
    uint64_t epoch;            /* published */
};

/* ---- what a prefetch leaves in a key ----------------------------------------------------------
 *
 * Where it found the key, so that the operation that follows need not search again. Never trusted:
 * the item that is there now must have the full key. And void once a part of the index has been
 * replaced, for what is there may be out of date, and its memory goes back: the index begins
 * another epoch then. No two indexes of a process have the same. */

/* A word that holds the address of an item, and in its other bits what the index wants. Items are
 * in user space, which ends at 2^47, and aligned by 8. */
typedef uint64_t index_entry __attribute__((may_alias));
#define ENTRY_ITEM UINT64_C(0x0000FFFFFFFFFFF8)

static inline struct item *entry_item(uint64_t entry)
{
    return (struct item *)(uintptr_t)(entry & ENTRY_ITEM);
}

/* No address has so high bits. */
static inline uint64_t index_first_epoch(uint32_t worker)
{
    return (uint64_t)(worker + 1) << 48;
}

/* The part that is replaced can no longer be reached, and what takes its place has not been changed
 * yet. */
static inline void index_begin_epoch(struct index *index)
{
    RCU_PUBLISH(&index->epoch, ++index->services->epoch);
}

static inline uint64_t index_epoch(const struct index *index)
{
    return RCU_READ(&index->epoch);
}

/* `epoch`: since before the entry was reached, for a reader's may end while he looks. */
static inline void index_note_found(struct key *key, void *entry, uint64_t epoch)
{
    key->entry = entry;
    key->epoch = epoch;
}

static inline bool index_has_noted(const struct key *key)
{
    return key->epoch >= index_first_epoch(0);
}

/* What is there now, another key's perhaps. NULL: nothing, or that is not, or no longer, known. */
static inline __attribute__((always_inline)) struct item *
index_noted_item(const struct index *index, const struct key *key)
{
    if (UNLIKELY(key->epoch != index_epoch(index))) {
        return NULL;
    }
    return entry_item(RCU_READ((index_entry *)key->entry));
}

/* NULL: it is not, or no longer, known where the key is. */
static inline __attribute__((always_inline)) struct item *
index_found_item(const struct index *index, const struct key *key)
{
    struct item *item = index_noted_item(index, key);
    return LIKELY(item != NULL && item_has_key(item, key)) ? item : NULL;
}

/* ---- a prefetch in steps ----------------------------------------------------------------------
 *
 * A key that is not found yet has in its entry what the index left there at the visit before. That
 * is in the index still, or retired, since no epoch has begun (shard.c). */

typedef void index_visit(const struct shard_lookup *lookup, uint32_t visit);

static inline __attribute__((always_inline)) void
index_visit_key(struct key *key, const struct index_services *services, index_visit *act,
                uint32_t visit)
{
    if (visit == SHARD_PREFETCH_VISITS - 1 && LIKELY(index_has_noted(key))) {
        const struct item *item = entry_item(RCU_READ((index_entry *)key->entry));
        if (LIKELY(item != NULL)) {
            item_prefetch_rest(item);
        }
    } else if (LIKELY(key->index != NULL)) {
        const struct shard_lookup lookup = {key->index, key,
                                            .is_own = key->index->services == services};
        act(&lookup, visit);
    }
}

/* Those whose turn it is for this visit, from 0 on. */
static inline __attribute__((always_inline)) void
index_visit_keys(const struct shard_prefetch *prefetch, const struct index_services *services,
                 index_visit *act, uint32_t visit)
{
    uint32_t first = prefetch->visited - visit * SHARD_PREFETCH_STRIDE; /* beyond all before 0 */
    if (UNLIKELY(first >= prefetch->count)) {
        return;
    }
    struct key *key = &prefetch->keys[first];
    uint32_t left = prefetch->count - first;
    if (LIKELY(left >= SHARD_PREFETCH_STRIDE)) {
#pragma GCC unroll 4
        for (uint32_t i = 0; i < SHARD_PREFETCH_STRIDE; i++) {
            index_visit_key(&key[i], services, act, visit);
        }
    } else {
        for (uint32_t i = 0; i < left; i++) {
            index_visit_key(&key[i], services, act, visit);
        }
    }
}

static inline __attribute__((always_inline)) void
index_visit_all(const struct shard_prefetch *prefetch, const struct index_services *services,
                index_visit *act)
{
    static_assert(SHARD_PREFETCH_VISITS == 4, "a line for each");
    index_visit_keys(prefetch, services, act, 0);
    index_visit_keys(prefetch, services, act, 1);
    index_visit_keys(prefetch, services, act, 2);
    index_visit_keys(prefetch, services, act, 3);
}

/* ---- the operations ---------------------------------------------------------------------------
 */

/* Of the kind that the services name. */
struct index *index_create(struct index_services *services);

/* What dismantling costs, beside looking at a few places that may be empty (1). */
#define INDEX_WORK_ITEM 8U  /* an item that is freed */
#define INDEX_WORK_PART 64U /* a leaf, a segment that is given back */

/* False when that was the last of it. */
static inline bool index_work_is_left(uint32_t *work, uint32_t done)
{
    *work -= done < *work ? done : *work;
    return *work > 0;
}

/* No reader is left. Frees items with `free_item`, and the parts that held them, until `work` is
 * done: 256 at least, or it might not get ahead. True when all is gone, the index itself included.
 */
static inline bool index_dismantle(struct index *index, uint32_t work, index_visitor *free_item,
                                   void *argument)
{
    return index->operations->dismantle(index, work, free_item, argument);
}

static inline struct item *index_find(const struct index *index, const struct key *key)
{
    struct item *item = index_found_item(index, key);
    return LIKELY(item != NULL) ? item : index->operations->find(index, key);
}

/* The same for any thread that is inside an RCU read section. */
static inline struct item *index_read(const struct index *index, const struct key *key)
{
    struct item *item = index_found_item(index, key);
    return LIKELY(item != NULL) ? item : index->operations->read(index, key);
}

/* An item of this fingerprint, if one is not in the list beside; for any thread inside an RCU read
 * section. */
static inline struct item *index_read_hash(const struct index *index, uint64_t hash)
{
    return index->operations->read_hash(index, hash);
}

/* Whether this very item is what the index has for the fingerprint; `item` may be any pointer. */
static inline bool index_holds(const struct index *index, uint64_t hash, const struct item *item)
{
    return index->operations->holds(index, hash, item);
}

/* Of one or several indexes, all of this one's kind. */
static inline void index_prefetch_bulk(const struct index *index,
                                       const struct shard_lookup *lookups, uint32_t count)
{
    index->operations->prefetch_bulk(lookups, count);
}

/* Of any indexes: all of a process are of one kind. `services`: the caller's own shard's, or NULL.
 */
void index_prefetch_step(enum index_kind kind, const struct shard_prefetch *prefetch,
                         const struct index_services *services);

/* `item` becomes what the key holds; returns what it held before, or NULL. */
static inline struct item *index_store(struct index *index, const struct key *key,
                                       struct item *item)
{
    struct item *before = index_found_item(index, key);
    if (UNLIKELY(before == NULL)) {
        return index->operations->store(index, key, item);
    }
    index_entry *entry = key->entry;
    RCU_PUBLISH(entry, (*entry & ~ENTRY_ITEM) | (uint64_t)(uintptr_t)item);
    return before;
}

static inline struct item *index_remove(struct index *index, const struct key *key)
{
    return index->operations->remove(index, key);
}

/* Upkeep, once per pass. True while more is to be done. */
static inline bool index_maintain(struct index *index)
{
    return index->operations->maintain(index);
}

/* Cursors as SCAN's, below 2^56. For any thread that is inside an RCU read section: what `visit` is
 * shown stays valid as long as that lasts. */
static inline uint64_t index_scan(const struct index *index, uint64_t cursor, uint32_t count,
                                  index_visitor *visit, void *argument)
{
    return index->operations->scan(index, cursor, count, visit, argument);
}

/* A random item for which `accept` says yes; NULL when there is none. */
static inline struct item *index_random(const struct index *index, uint64_t *random_state,
                                        bool (*accept)(void *argument, const struct item *item),
                                        void *argument)
{
    return index->operations->random(index, random_state, accept, argument);
}

/* Segments of rte_hash come and go: index_rte_supply.c. */
void segments_take_ready(struct index_services *services, struct segment *segment,
                         uint32_t entries);
void segments_dispose(struct index_services *services, struct segment *segment);
/* Once per pass: gives back segments that nobody wants any more. */
void segments_trim(struct index_services *services);
void segments_teardown(struct index_services *services);

#endif
