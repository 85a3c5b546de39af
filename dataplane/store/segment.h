/* A segment: one rte_hash of a fixed size, whose key slots we read and write by address.
 *
 *   fingerprint --> rte_hash --> position --> slots[position] = | item | fingerprint | --> item
 *   (64-bit keyed hash; its low 32 bits choose the bucket)
 *
 * rte_hash says where a fingerprint lives; the data word of its slot says what is there.
 * Overwriting a key is one atomic exchange of that word and never enters rte_hash (which would lose
 * the old item). An empty word means "not here", also while rte_hash still knows the fingerprint.
 *
 * A segment that is replaced gets one child of another size, or two children that divide its range
 * by the next bit of the hash, or shares a child with its neighbour. Its entries move over one by
 * one: first published in the child, then emptied here. So a reader that looks here first and then
 * follows the child never misses a key.
 *
 * Positions are given out in ascending order until every one has been used once; so what moves over
 * keeps its order, and a walk that goes down from the end can go on in the child (`trail`,
 * `ancestors`: index_rte_scan.c).
 *
 * Thread: created and destroyed by any one thread; written by the shard's owner; read by any
 * registered RCU reader (rte_hash in lock-free mode). Memory: EAL's. Failure: NULL, -ENOSPC.
 */
#ifndef NICACHED_STORE_SEGMENT_H
#define NICACHED_STORE_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_hash.h>

#include "dataplane/base/check.h"
#include "dataplane/base/rcu.h"

struct item;

#define SEGMENT_ENTRIES_MIN 900U
#define SEGMENT_ENTRIES_MAX (1U << 20)

/* As rte_hash lays out a slot with a key of 8 bytes; checked when a segment is made. */
struct slot {
    struct item *item; /* rte_hash's data word */
    uint64_t hash;     /* its key: the fingerprint */
};
_Static_assert(sizeof(struct slot) == 16, "never across two cache lines");

/* As rte_hash 22.11 lays out a bucket: looked into where the process has seen that rte_hash keeps
 * its entries there and nowhere else (segment.c), by the owner only. Readers, who may meet an entry
 * on its way to another bucket, prefetch it and ask rte_hash. */
struct bucket {
    uint16_t signatures[8];
    uint32_t slot_numbers[8]; /* position + 1; 0: empty */
    uint8_t flags[8];
    void *next;
};
_Static_assert(sizeof(struct bucket) == 64, "one cache line");

/* Where the positions of a segment went that has been replaced: what was below the n-th part of its
 * capacity is below bounds[n] here. */
#define TRAIL_PARTS   32
#define ANCESTORS_MAX 6
struct trail {
    uint32_t bounds[TRAIL_PARTS + 1];
};
struct ancestor {
    uint32_t id, capacity;
    struct trail trail;
};

/* What is to take the place of a segment. */
struct succession {
    uint32_t capacities[2];  /* of the children */
    uint32_t count;          /* children; 0: no plan */
    struct segment *partner; /* the upper neighbour, that shares the child; or NULL */
};

struct segment {
    /* Read by every look-up. */
    struct rte_hash *hash;
    struct slot *slots;           /* the one of position 0, inside rte_hash */
    const struct bucket *buckets; /* NULL: not recognised, rte_hash is asked */
    struct segment *children[2];  /* set while it moves out; the same one twice if there is one */
    struct segment *walk_next;    /* the upper neighbour, while both move into one child */
    uint64_t start;               /* the first hash of its range */
    uint32_t bucket_mask;
    uint32_t capacity;
    uint32_t id;   /* unique in the index; part of SCAN's cursors */
    uint8_t depth; /* how many top bits of the hash are fixed in its range */

    /* Written by the owner, read by any thread. */
    uint32_t given_out;     /* positions ever taken */
    uint32_t move_position; /* the next one to move out: below, all have */

    /* Owner only. */
    bool hungry;       /* on the index's list of those that want children */
    bool emptied;      /* moved out, and waits for its neighbour */
    bool torn;         /* began to move before all had come in: its trail leads nowhere */
    uint8_t requested; /* segments asked for on its behalf */
    uint32_t grow_at;  /* so many positions used: time for children */
    uint32_t sources;  /* segments that still move in */
    uint32_t used;     /* positions taken, those waiting for a grace period included */
    struct succession plan;
    struct segment *queue_next;      /* hungry list, or queue of those moving out, or ready list */
    struct segment *previous, *next; /* all segments of the index */
    struct trail trails[2];          /* into each child, while it moves out */

    /* Written by the owner, appended only; any thread reads `ancestor_count` first. */
    uint32_t ancestor_count;
    struct ancestor ancestors[ANCESTORS_MAX];
};

/* Entries: not above 0.9 of the next power of two, so that every position can be used. */
struct segment *segment_create(uint32_t entries);
void segment_destroy(struct segment *segment);
/* Writes to every page of it, so that the owner meets no page fault. Before it is published. */
void segment_touch(struct segment *segment);
uint64_t segment_bytes(uint32_t entries); /* what it costs: exact, tested against EAL's books */

/* The position of a fingerprint, or a negative number. Any thread. */
static inline int32_t segment_find(const struct segment *segment, const uint64_t *hash)
{
    return rte_hash_lookup_with_hash(segment->hash, hash, (uint32_t)*hash);
}

static inline struct item *segment_item(const struct segment *segment, uint32_t position)
{
    return RCU_READ(&segment->slots[position].item);
}

static inline bool segment_has_slot(const struct segment *segment, const void *slot)
{
    uintptr_t offset = (uintptr_t)slot - (uintptr_t)segment->slots;
    return offset < segment->capacity * sizeof(struct slot);
}

/* The fingerprint that was put there; meaningful while its item is there. */
static inline uint64_t slot_hash(const struct slot *slot)
{
    return __atomic_load_n(&slot->hash, __ATOMIC_RELAXED);
}

static inline uint64_t segment_hash_at(const struct segment *segment, uint32_t position)
{
    return slot_hash(&segment->slots[position]);
}

/* The two buckets in which rte_hash keeps a fingerprint; `buckets` is not NULL. */
static inline const struct bucket *segment_bucket(const struct segment *segment, uint64_t hash)
{
    return &segment->buckets[(uint32_t)hash & segment->bucket_mask];
}
static inline const struct bucket *segment_other_bucket(const struct segment *segment,
                                                        uint64_t hash)
{
    return &segment->buckets[((uint32_t)hash ^ ((uint32_t)hash >> 16)) & segment->bucket_mask];
}

static inline uint16_t segment_signature(uint64_t hash)
{
    return (uint16_t)((uint32_t)hash >> 16);
}

/* All signatures at once: of eight bytes the n-th is not 0 when entry n has the signature, whether
 * or not it is in use. */
static inline uint64_t bucket_match_signature(const struct bucket *bucket, uint16_t signature)
{
    typedef uint16_t lanes __attribute__((vector_size(16)));
    typedef int8_t narrow __attribute__((vector_size(8)));
    lanes signatures;
    memcpy(&signatures, bucket->signatures, sizeof(signatures));
    narrow equal = __builtin_convertvector(signatures == signature, narrow);
    uint64_t matches;
    memcpy(&matches, &equal, sizeof(matches));
    return matches;
}

static inline uint32_t bucket_first_match(uint64_t matches)
{
    return (uint32_t)__builtin_ctzll(matches) / 8;
}

/* The position in a bucket; negative: not there. */
static inline int32_t bucket_find(const struct segment *segment, const struct bucket *bucket,
                                  uint64_t hash)
{
    uint64_t matches = bucket_match_signature(bucket, segment_signature(hash));
    while (matches != 0) {
        uint32_t entry = bucket_first_match(matches);
        uint32_t position = bucket->slot_numbers[entry] - 1; /* -1: empty */
        if (LIKELY(position < segment->capacity) && segment_hash_at(segment, position) == hash) {
            return (int32_t)position;
        }
        matches &= ~(UINT64_C(0xFF) << 8 * entry);
    }
    return -1;
}

/* As segment_find. Owner only: an entry that moves is nowhere for a moment. */
static inline int32_t segment_find_own(const struct segment *segment, uint64_t hash)
{
    if (UNLIKELY(segment->buckets == NULL)) {
        return segment_find(segment, &hash);
    }
    int32_t position = bucket_find(segment, segment_bucket(segment, hash), hash);
    return position >= 0 ? position
                         : bucket_find(segment, segment_other_bucket(segment, hash), hash);
}

/* Below it are all positions that have an item, or had one. */
static inline uint32_t segment_end(const struct segment *segment)
{
    uint32_t end = __atomic_load_n(&segment->given_out, __ATOMIC_RELAXED) + 1;
    return end < segment->capacity ? end : segment->capacity;
}

/* A position for a fingerprint that is not in it; the item is in place before this returns.
 * Negative when rte_hash finds no room. */
int32_t segment_add(struct segment *segment, uint64_t hash, struct item *item);
/* Takes the fingerprint out of rte_hash. The position must be retired and then freed. */
void segment_remove(struct segment *segment, uint64_t hash, uint32_t position);
void segment_free_position(struct segment *segment, uint32_t position);

/* A position of an ancestor, as one of this segment: all that was below it is below. */
static inline uint32_t trail_follow(const struct trail *trail, uint32_t capacity, uint32_t position)
{
    uint64_t part = ((uint64_t)position * TRAIL_PARTS + capacity - 1) / capacity;
    return trail->bounds[part < TRAIL_PARTS ? part : TRAIL_PARTS];
}

#endif
