/* The list beside an index: items that found no place in it.
 *
 * Second and further keys of one fingerprint (rte_hash), and inserts that came when memory for more
 * was not to be had. It is empty in practice, and so it is a list: whoever looks for a key walks
 * all of it. An item that is in it stays in it until its key is deleted; readers look into the
 * index first, and would miss one that moved from here to there.
 *
 * Thread: the owner; what says so, any thread inside an RCU read section. Memory: the heap's,
 * counted as the index's, over the limit if need be. */
#ifndef NICACHED_STORE_INDEX_OVERFLOW_H
#define NICACHED_STORE_INDEX_OVERFLOW_H

#include "dataplane/base/rcu.h"
#include "dataplane/store/index.h"

struct overflow {
    struct overflow *next; /* published */
    struct item *item;     /* published */
    uint64_t hash;
};

/* NULL: not there. Any thread. */
struct overflow *overflow_find(const struct index *index, const struct key *key);
static inline bool overflow_is_empty(const struct index *index)
{
    return RCU_READ(&index->overflow) == NULL;
}
/* Whether this very item is in it. Any thread. */
bool overflow_holds(const struct index *index, uint64_t hash, const struct item *item);
/* Any thread. */
void overflow_visit(const struct index *index, index_visitor *visit, void *argument);
/* The first that is accepted; NULL: none. */
struct item *overflow_random(const struct index *index,
                             bool (*accept)(void *argument, const struct item *item),
                             void *argument);

void overflow_add(struct index *index, uint64_t hash, struct item *item);
/* Returns the item before. */
struct item *overflow_replace(struct overflow *node, struct item *item);
/* Returns the item. */
struct item *overflow_remove(struct index *index, struct overflow *node);
/* No reader is left. */
/* As index_dismantle: false when `work` was not enough. */
bool overflow_dismantle(struct index *index, uint32_t *work, index_visitor *free_item,
                        void *argument);

#endif
