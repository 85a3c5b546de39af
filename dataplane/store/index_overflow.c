/* See index_overflow.h. Failure: a heap without room for a node is a CHECK. */
#include "dataplane/store/index_overflow.h"

#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/store/memory.h"
#include "dataplane/store/retire.h"

struct overflow *overflow_find(const struct index *index, const struct key *key)
{
    for (struct overflow *node = RCU_READ(&index->overflow); node != NULL;
         node = RCU_READ(&node->next)) {
        if (node->hash == key->hash && slice_equal(item_key(RCU_READ(&node->item)), key->bytes)) {
            return node;
        }
    }
    return NULL;
}

bool overflow_holds(const struct index *index, uint64_t hash, const struct item *item)
{
    for (const struct overflow *node = RCU_READ(&index->overflow); node != NULL;
         node = RCU_READ(&node->next)) {
        if (node->hash == hash && RCU_READ(&node->item) == item) {
            return true;
        }
    }
    return false;
}

void overflow_visit(const struct index *index, index_visitor *visit, void *argument)
{
    for (const struct overflow *node = RCU_READ(&index->overflow); node != NULL;
         node = RCU_READ(&node->next)) {
        visit(argument, RCU_READ(&node->item), node->hash);
    }
}

struct item *overflow_random(const struct index *index,
                             bool (*accept)(void *argument, const struct item *item),
                             void *argument)
{
    for (struct overflow *node = index->overflow; node != NULL; node = node->next) {
        if (accept(argument, node->item)) {
            return node->item;
        }
    }
    return NULL;
}

void overflow_add(struct index *index, uint64_t hash, struct item *item)
{
    struct overflow *node = malloc(sizeof(*node));
    CHECK(node != NULL);
    (void)memory_reserve_index(index->services->memory, sizeof(*node), MEMORY_UNLIMITED);
    *node = (struct overflow){index->overflow, item, hash};
    RCU_PUBLISH(&index->overflow, node);
    metric_add(index->services->metrics, METRIC_STORE_OVERFLOW_ITEMS, 1);
}

struct item *overflow_replace(struct overflow *node, struct item *item)
{
    return RCU_EXCHANGE(&node->item, item);
}

struct item *overflow_remove(struct index *index, struct overflow *node)
{
    struct overflow **link = &index->overflow;
    while (*link != node) {
        link = &(*link)->next;
    }
    RCU_PUBLISH(link, node->next);
    retire_add(index->services->retire, RETIRED_BLOCK, node, sizeof(*node));
    metric_subtract(index->services->metrics, METRIC_STORE_OVERFLOW_ITEMS, 1);
    return node->item;
}

bool overflow_dismantle(struct index *index, uint32_t *work, index_visitor *free_item,
                        void *argument)
{
    bool goes_on = *work > 0;
    while (goes_on && index->overflow != NULL) {
        struct overflow *node = index->overflow;
        index->overflow = node->next;
        free_item(argument, node->item, node->hash);
        memory_release_index(index->services->memory, sizeof(*node));
        metric_subtract(index->services->metrics, METRIC_STORE_OVERFLOW_ITEMS, 1);
        free(node);
        goes_on = index_work_is_left(work, INDEX_WORK_ITEM);
    }
    return index->overflow == NULL;
}
