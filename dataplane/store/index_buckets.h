/* The index of buckets of one cache line. What its files share: the layout, the way to an entry.
 *
 *   position of a key: its hash, rotated by 32 bits, so that the bits by which a worker was chosen
 *   (key_owner) come last and are never used
 *
 *      63                    0
 *     | root | table | ...               chooses the leaf: `depth` bits
 *     |     leaf's depth     | tag: 16 | chooses two buckets of the leaf
 *
 *   root --> table --> leaf: 2 to 32 buckets --> entry: | tag 16 | item 48 | --> item
 *   (2^n)    (256)           of 8 entries
 *
 * A key is in the first bucket that its tag names or, when that was full, in the second; a bucket
 * from which a key was turned away, or moved on, says so (ENTRY_SPILLED), so most look-ups read one
 * line of the leaf. The whole key is compared in the item; keys of one hash are entries like
 * others.
 *
 * Growth. A leaf that has no place for a key gives way to a larger one, the largest to two that
 * divide its range (index_buckets_growth.c); it is made anew and published by one store. So growing
 * is a few microseconds of work for one leaf at a time, whatever the size of the index, and no
 * thread waits for another. Within a doubling leaves are at all sizes: 80 to 97 % full.
 *
 * Readers, on any thread under RCU:
 *  A. A leaf that has been replaced does not change any more: who still reads it sees the index as
 *     it was at the moment of the replacement, which is within the look-up.
 *  B. In a leaf an entry moves from its first bucket to its second, never back: SPILLED is set in
 *     the first, the entry is published in the second, then the first place is overwritten. All are
 *     release stores. Who reads the first bucket, then whether it is SPILLED, then the second, each
 *     an acquire load, sees the entry in one of them.
 *  C. An emptied entry may be used again at once: who found the other item there compares its key.
 *
 * Thread: the owner, and readers where index.h says so. Memory: the shard's pages
 * (memory_allocate_index), the root the heap's. Failure: index_buckets_memory.c. */
#ifndef NICACHED_STORE_INDEX_BUCKETS_H
#define NICACHED_STORE_INDEX_BUCKETS_H

#include "dataplane/store/index_overflow.h"
#include "dataplane/store/memory.h"

#define BUCKET_ENTRIES   8U
#define LEAF_BUCKETS_MIN 2U
#define LEAF_BUCKETS_MAX 32U /* and always an even number: MEMORY_INDEX_STEP */
#define LEAF_ENTRIES_MAX (LEAF_BUCKETS_MAX * BUCKET_ENTRIES)

#define TABLE_BITS 8
/* What comes after it, the tag included, are bits that key_owner does not use. */
#define LEAF_DEPTH_MAX  26U
#define TABLE_DEPTH_MAX (LEAF_DEPTH_MAX - TABLE_BITS)

#define TAG_SHIFT 48
#define TAG_MASK  (UINT64_MAX << TAG_SHIFT)
/* ENTRY_ITEM, and: */
#define ENTRY_SPILLED UINT64_C(1) /* in the first entry of a bucket, be that empty or not */

struct leaf_bucket {
    uint64_t entries[BUCKET_ENTRIES];
};
_Static_assert(sizeof(struct leaf_bucket) == 64, "one cache line");

/* As a word in a table: | buckets 8 | depth 8 | address 48 |. */
struct leaf {
    struct leaf_bucket *buckets;
    uint32_t bucket_count;
    uint32_t depth; /* how many top bits of a position are fixed in its range */
};

struct table {
    uint64_t leaves[1U << TABLE_BITS]; /* published; a leaf stands in all words of its range */
};
#define LEAF_BYTES_MAX (LEAF_BUCKETS_MAX * sizeof(struct leaf_bucket))
_Static_assert(sizeof(struct table) == LEAF_BYTES_MAX, "a spare block will do for either");

/* Tables as words: | depth 16 | address 48 |. */
struct root {
    uint32_t depth;
    uint32_t deepest_count; /* owner: tables of that depth */
    uint64_t tables[];      /* published; a table stands in all words of its range */
};

struct buckets_index {
    struct index common;
    struct root *root; /* published */
    uint64_t entry_count;
    /* index_buckets_upkeep.c */
    uint64_t removals;            /* since the last round began */
    uint64_t round_position;      /* where to look next */
    uint64_t relocation_position; /* likewise, for parts whose pages are to become empty */
    bool is_in_round, is_relocating;
    uint32_t evacuations; /* as in the services when the last relocation began */
    /* index_dismantle has come to here, or through. */
    uint64_t dismantled_position;
    bool leaves_are_gone;
};

static inline struct buckets_index *buckets_index_of(struct index *common)
{
    return (struct buckets_index *)common;
}

static inline const struct buckets_index *buckets_index_of_const(const struct index *common)
{
    return (const struct buckets_index *)common;
}

/* ---- the way to a leaf ------------------------------------------------------------------------
 */

static inline uint64_t position_of_hash(uint64_t hash)
{
    return hash << 32 | hash >> 32;
}

static inline uint64_t leaf_pack(const struct leaf *leaf)
{
    return (uint64_t)leaf->bucket_count << 56 | (uint64_t)leaf->depth << 48 |
           (uint64_t)(uintptr_t)leaf->buckets;
}

static inline struct leaf leaf_unpack(uint64_t word)
{
    return (struct leaf){.buckets = (struct leaf_bucket *)(uintptr_t)(word & ~TAG_MASK),
                         .bucket_count = (uint32_t)(word >> 56),
                         .depth = (uint32_t)(word >> 48) & 0xFF};
}

static inline uint64_t table_pack(const struct table *table, uint32_t depth)
{
    return (uint64_t)depth << 48 | (uint64_t)(uintptr_t)table;
}

static inline struct table *table_unpack(uint64_t word)
{
    return (struct table *)(uintptr_t)(word & ~TAG_MASK);
}

static inline uint32_t table_depth(uint64_t word)
{
    return (uint32_t)(word >> 48);
}

/* The word of the root's table for a position. In two shifts: depth 0 must yield entry 0. */
static inline uint64_t *root_slot(struct root *root, uint64_t position)
{
    return &root->tables[(position >> 1) >> (63 - root->depth)];
}

/* The word of a table's leaf; `word` is the table's. */
static inline uint64_t *table_slot(uint64_t word, uint64_t position)
{
    return &table_unpack(word)->leaves[position << table_depth(word) >> (64 - TABLE_BITS)];
}

static inline uint64_t *leaf_slot(const struct buckets_index *index, uint64_t position)
{
    return table_slot(RCU_READ(root_slot(RCU_READ(&index->root), position)), position);
}

static inline struct leaf leaf_at(const struct buckets_index *index, uint64_t position)
{
    return leaf_unpack(RCU_READ(leaf_slot(index, position)));
}

/* Positions of a range of `depth` bits; 0: all 2^64. */
static inline uint64_t range_size(uint32_t depth)
{
    return depth == 0 ? 0 : UINT64_C(1) << (64 - depth);
}

static inline uint64_t range_start(uint64_t position, uint32_t depth)
{
    return depth == 0 ? 0 : position & (UINT64_MAX << (64 - depth));
}

/* ---- entries ----------------------------------------------------------------------------------
 */

/* The 16 bits behind a leaf's depth, where an entry has them. */
static inline uint64_t tag_at(uint64_t position, uint32_t depth)
{
    return position << depth & TAG_MASK;
}

static inline bool entry_is_empty(uint64_t entry)
{
    return (entry & ENTRY_ITEM) == 0;
}

/* Buckets are in the order of the tags that have them as their first: walks go in that order. */
static inline uint32_t first_bucket(uint64_t entry, uint32_t bucket_count)
{
    return (uint32_t)((entry >> TAG_SHIFT) * bucket_count >> 16);
}

static inline uint32_t second_bucket(uint64_t entry, uint32_t bucket_count)
{
    uint32_t mixed = (uint32_t)(entry >> TAG_SHIFT) * 0x9E37U & 0xFFFFU;
    uint32_t second = mixed * bucket_count >> 16;
    if (second == first_bucket(entry, bucket_count)) {
        second = second + 1 == bucket_count ? 0 : second + 1;
    }
    return second;
}

static inline uint32_t match_entry(uint32_t matches, const struct leaf_bucket *bucket, uint32_t i,
                                   uint64_t tag)
{
    return 2 * matches + ((RCU_READ(&bucket->entries[i]) ^ tag) <= ~TAG_MASK);
}

/* Bit n: entry n has the tag. Empty ones have tag 0: who asks for that looks for an item, too. */
static inline uint32_t bucket_match(const struct leaf_bucket *bucket, uint64_t tag)
{
    uint32_t matches = match_entry(0, bucket, 7, tag);
    matches = match_entry(matches, bucket, 6, tag);
    matches = match_entry(matches, bucket, 5, tag);
    matches = match_entry(matches, bucket, 4, tag);
    matches = match_entry(matches, bucket, 3, tag);
    matches = match_entry(matches, bucket, 2, tag);
    matches = match_entry(matches, bucket, 1, tag);
    return match_entry(matches, bucket, 0, tag);
}

/* After its entries were read: see B. */
static inline bool bucket_is_spilled(const struct leaf_bucket *bucket)
{
    return (RCU_READ(&bucket->entries[0]) & ENTRY_SPILLED) != 0;
}

/* index_buckets_leaf.c: puts an entry into a published leaf, false: no place; fills a new one,
 * false: no place for all. */
bool leaf_place(const struct leaf *leaf, uint64_t entry);
bool leaf_fill(const struct leaf *leaf, const uint64_t *entries, uint32_t count);
/* All entries without their flags; returns how many. Owner. */
uint32_t leaf_collect(const struct leaf *leaf, uint64_t entries[LEAF_ENTRIES_MAX]);

/* index_buckets_growth.c: a larger leaf, or two, for one that has no place for the item; it is in
 * place then. False: no memory, or nothing that would help. */
bool index_buckets_grow(struct buckets_index *index, uint64_t position, const struct item *item);
/* A leaf of so many entries, published nowhere; at least so many buckets. False: no memory, or no
 * place. */
bool leaf_make(struct buckets_index *index, struct leaf *leaf, const uint64_t *entries,
               uint32_t count, uint32_t buckets_min);
/* The leaf takes the place of what is in its range. */
void leaf_publish(struct buckets_index *index, uint64_t position, const struct leaf *leaf);
void leaf_retire(struct buckets_index *index, const struct leaf *leaf);
/* The metrics: one or two leaves with so many entries have taken the place of others. */
void leaf_note_replaced(struct buckets_index *index, uint32_t entries_moved);
uint32_t leaf_wanted_buckets(uint32_t count);
/* A table in its range of the root; and roots. NULL: over the limit. */
void table_publish(struct root *root, uint64_t position, uint64_t word);
struct root *root_create(struct buckets_index *index, uint32_t depth, enum memory_limit limit);
void root_replace(struct buckets_index *index, struct root *root);
void root_destroy(struct buckets_index *index);

/* index_buckets_memory.c */
bool leaf_allocate(struct index_services *services, struct leaf *leaf);
struct table *table_allocate(struct index_services *services);
void index_buckets_keep_spares(struct index_services *services);
void index_buckets_free_spares(struct index_services *services);

/* The operations: see index.h. */
struct index *index_buckets_create(struct index_services *services);
bool index_buckets_dismantle(struct index *common, uint32_t work, index_visitor *free_item,
                             void *argument);
struct item *index_buckets_read(const struct index *common, const struct key *key);
struct item *index_buckets_read_hash(const struct index *common, uint64_t hash);
bool index_buckets_holds(const struct index *common, uint64_t hash, const struct item *item);
void index_buckets_prefetch_bulk(const struct shard_lookup *lookups, uint32_t count);
void index_buckets_prefetch_step(const struct shard_prefetch *prefetch,
                                 const struct index_services *services);
struct item *index_buckets_store(struct index *common, const struct key *key, struct item *item);
struct item *index_buckets_remove(struct index *common, const struct key *key);
bool index_buckets_maintain(struct index *common);
uint64_t index_buckets_scan(const struct index *common, uint64_t cursor, uint32_t count,
                            index_visitor *visit, void *argument);
struct item *index_buckets_random(const struct index *common, uint64_t *random_state,
                                  bool (*accept)(void *argument, const struct item *item),
                                  void *argument);

#endif
