/* The index over rte_hash. What its files share: the directory, the walk from a hash to its
 * segment.
 *
 *   hash (64 bits):  | directory: top bits | left for the worker | rte_hash: low 32 bits |
 *
 *   directory --> segment --> (while it moves out) its children --> ...
 *
 * The list beside (index_overflow.h) holds the second and further keys of one fingerprint, and
 * inserts that came when a segment was full and no memory for another was to be had. */
#ifndef NICACHED_STORE_INDEX_RTE_H
#define NICACHED_STORE_INDEX_RTE_H

#include "dataplane/store/index_overflow.h"
#include "dataplane/store/memory.h"
#include "dataplane/store/retire.h"
#include "dataplane/store/segment.h"

/* 2^10 segments of 2^20 entries: far beyond the memory of one core. */
#define DIRECTORY_DEPTH_MAX 10

struct directory {
    uint32_t depth; /* how many top bits of a hash choose the entry */
    struct segment *entries[];
};

static inline uint32_t directory_bytes(uint32_t depth)
{
    return (uint32_t)(sizeof(struct directory) + (sizeof(struct segment *) << depth));
}

struct rte_index {
    struct index common;
    struct directory *directory; /* published */
    uint32_t next_segment_id;
    uint32_t moves_due;                         /* that writes have not paid for yet */
    struct segment *segments;                   /* all of them */
    struct segment *inspected;                  /* the next to be looked at: too large by now? */
    struct segment *hungry;                     /* those that want children */
    struct segment *moving_first, *moving_last; /* those moving out, in the order they began */
};

/* What an operation is handed. */
static inline struct rte_index *rte_index_of(struct index *common)
{
    return (struct rte_index *)common;
}

static inline const struct rte_index *rte_index_of_const(const struct index *common)
{
    return (const struct rte_index *)common;
}

/* The directory's segment for a hash; NULL before the first one. */
static inline struct segment *index_rte_root(const struct rte_index *index, uint64_t hash)
{
    const struct directory *directory = RCU_READ(&index->directory);
    /* In two shifts: depth 0 must yield entry 0. */
    return RCU_READ(&directory->entries[(hash >> 1) >> (63 - directory->depth)]);
}

/* Where entries of this hash go from here; NULL when it is not moving out. Looked at after the
 * position's word: whoever saw that word emptied sees the child. */
static inline struct segment *segment_child(const struct segment *segment, uint64_t hash)
{
    return RCU_READ(&segment->children[(hash << segment->depth) >> 63]);
}

/* index_rte_supply.c: how many of that size are ready; one of them; make or ask for one more
 * (false: no memory, or no room in the channel). */
uint32_t segments_count_ready(const struct index_services *services, uint32_t entries);
struct segment *segments_take(struct index_services *services, uint32_t entries);
bool segments_make(struct index_services *services, uint32_t entries);
bool segments_request(struct index_services *services, uint32_t entries);
bool segments_are_made_inline(const struct index_services *services, uint32_t entries);

/* index_rte_growth.c: after an insert; and when a segment had no room at all (true: try again). */
void index_rte_note_growth(struct rte_index *index, struct segment *segment);
bool index_rte_force_growth(struct rte_index *index, struct segment *segment);
bool index_rte_create_first_segment(struct rte_index *index);
void index_rte_unlink_segment(struct rte_index *index, struct segment *segment);

/* index_rte_move.c: puts segments with children into the queue (the upper neighbour first); moves
 * so many entries; a write pays its share. */
void index_rte_queue_move(struct rte_index *index, struct segment *segment);
void index_rte_move_entries(struct rte_index *index, uint32_t count);
void index_rte_pay_for_insert(struct rte_index *index);
/* Puts an item that is in no segment yet into the one where it belongs; false: no room. */
bool index_rte_add_to_segment(struct rte_index *index, uint64_t hash, struct item *item);

/* The operations: see index.h. */
struct index *index_rte_create(struct index_services *services);
bool index_rte_dismantle(struct index *common, uint32_t work, index_visitor *free_item,
                         void *argument);
struct item *index_rte_find(const struct index *common, const struct key *key);
struct item *index_rte_read(const struct index *common, const struct key *key);
struct item *index_rte_read_hash(const struct index *common, uint64_t hash);
bool index_rte_holds(const struct index *common, uint64_t hash, const struct item *item);
void index_rte_prefetch_bulk(const struct shard_lookup *lookups, uint32_t count);
void index_rte_prefetch_step(const struct shard_prefetch *prefetch,
                             const struct index_services *services);
struct item *index_rte_store(struct index *common, const struct key *key, struct item *item);
struct item *index_rte_remove(struct index *common, const struct key *key);
bool index_rte_maintain(struct index *common);
uint64_t index_rte_scan(const struct index *common, uint64_t cursor, uint32_t count,
                        index_visitor *visit, void *argument);
struct item *index_rte_random(const struct index *common, uint64_t *random_state,
                              bool (*accept)(void *argument, const struct item *item),
                              void *argument);

#endif
