/* What the evictor's files share: the walk, and the choice that is being made. */
#ifndef NICACHED_CONTROL_EVICTION_EVICTOR_INTERNAL_H
#define NICACHED_CONTROL_EVICTION_EVICTOR_INTERNAL_H

#include "control/eviction/evictor.h"
#include "control/eviction/ghost.h"

/* Looked at in one call, and between two looks at what is still wanted. */
#define EVICTOR_ITEMS_PER_CALL  512U
#define EVICTOR_ITEMS_PER_SLICE 16U

/* New keys in the order in which they came: s3fifo's small queue. */
struct small_queue {
    uint64_t *hashes;
    uint32_t *stamps;
    uint8_t *databases;
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t head, count;
};

struct evictor {
    const struct shard *shard;
    enum eviction_kind kind; /* for which the rest was gathered */
    bool volatile_only;
    uint32_t database; /* where the walk is */
    uint64_t cursor;
    uint64_t random_state;
    uint32_t scores[EVICTION_SCORES]; /* how many had each score lately */
    uint32_t score_count;
    struct small_queue small;
    struct ghost ghost;
};

/* One call of evictor_choose. */
struct choice {
    struct evictor *evictor;
    const struct eviction_policy *policy;
    const struct instant *now;
    struct eviction_batch *batch;
    uint64_t bytes_wanted;
    uint32_t budget;    /* items that may still be looked at */
    uint32_t threshold; /* score from which on items go; those at it with a chance */
    uint64_t chance;    /* of 2^32 */
};

static inline bool choice_is_open(const struct choice *choice)
{
    return choice->batch->count < EVICTION_BATCH_VICTIMS &&
           choice->batch->bytes < choice->bytes_wanted && choice->budget > 0;
}

/* evictor.c */
void choice_take(struct choice *choice, uint32_t database, const struct item *item, uint64_t hash);
/* One slice of the walk. */
void choice_walk(struct choice *choice, shard_item_visitor *visit);
uint64_t evictor_key_count(const struct evictor *evictor, bool volatile_only);

/* s3fifo.c */
void s3fifo_deinit(struct evictor *evictor);
void s3fifo_follow(struct evictor *evictor);
void s3fifo_choose(struct choice *choice);

#endif
