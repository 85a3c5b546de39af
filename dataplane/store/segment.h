/* A segment: one rte_hash of a fixed size, whose key slots we read and write by address.
 *
 *   fingerprint --> rte_hash --> position --> slots[position] = | item | fingerprint | --> item
 *   (64-bit keyed hash; its low 32 bits choose the bucket)
 *
 * rte_hash says where a fingerprint lives; the data word of its slot says what is there.
 * Overwriting a key is one atomic exchange of that word and never enters rte_hash (which would lose
 * the old item). An empty word means "not here", also while rte_hash still knows the fingerprint.
 *
 * Growing: a full segment gets one child twice as large, or two children that divide its range by
 * the next bit of the hash. Its entries move over one by one: first published in the child, then
 * emptied here. So a reader that looks here first and then follows the child never misses a key.
 *
 * Thread: created and destroyed by any one thread; written by the shard's owner; read by any
 * registered RCU reader (rte_hash in lock-free mode). Memory: EAL's. Failure: NULL, -ENOSPC.
 */
#ifndef NICACHED_STORE_SEGMENT_H
#define NICACHED_STORE_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_hash.h>

#include "dataplane/base/rcu.h"

struct item;

#define SEGMENT_ORDER_MIN 10 /* log2 of the entries */
#define SEGMENT_ORDER_MAX 20

/* As rte_hash lays out a slot with a key of 8 bytes; checked when a segment is made. */
struct slot {
    struct item *item; /* rte_hash's data word */
    uint64_t hash;     /* its key: the fingerprint */
};
_Static_assert(sizeof(struct slot) == 16, "never across two cache lines");

struct segment {
    /* Read by every look-up. */
    struct rte_hash *hash;
    struct slot *slots;          /* the one of position 0, inside rte_hash */
    struct segment *children[2]; /* set while it moves out; the same one twice when it grows */
    uint64_t start;              /* the first hash of its range */
    uint32_t capacity;
    uint8_t order, depth; /* depth: how many top bits of the hash are fixed in its range */

    /* Owner only. */
    bool hungry;                /* on the index's list of those that want children */
    uint8_t requested;          /* segments asked for on its behalf */
    uint32_t id;                /* unique in the index; part of SCAN's cursors */
    uint32_t used;              /* positions taken, those waiting for a grace period included */
    uint32_t move_position;     /* the next one to move out */
    struct segment *queue_next; /* hungry list, or queue of those moving out, or ready list */
    struct segment *previous, *next; /* all segments of the index */
};

struct segment *segment_create(uint32_t order);
void segment_destroy(struct segment *segment);
uint64_t segment_bytes(uint32_t order); /* what it costs */

/* The position of a fingerprint, or a negative number. Any thread. */
static inline int32_t segment_find(const struct segment *segment, const uint64_t *hash)
{
    return rte_hash_lookup_with_hash(segment->hash, hash, (uint32_t)*hash);
}

static inline struct item *segment_item(const struct segment *segment, int32_t position)
{
    return RCU_READ(&segment->slots[position].item);
}

/* The fingerprint that was put at a position; meaningful while its item is there. */
static inline uint64_t segment_hash_at(const struct segment *segment, uint32_t position)
{
    return __atomic_load_n(&segment->slots[position].hash, __ATOMIC_RELAXED);
}

/* A position for a fingerprint that is not in it; the item is in place before this returns.
 * Negative when rte_hash finds no room. */
int32_t segment_add(struct segment *segment, uint64_t hash, struct item *item);
/* Takes the fingerprint out of rte_hash. The position must be retired and then freed. */
void segment_remove(struct segment *segment, uint64_t hash, int32_t position);
void segment_free_position(struct segment *segment, int32_t position);

#endif
