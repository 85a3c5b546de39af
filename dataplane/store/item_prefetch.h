/* An item on its way into the cache, in two steps: where it begins, and, when that has arrived and
 * says how long it is, the rest. */
#ifndef NICACHED_STORE_ITEM_PREFETCH_H
#define NICACHED_STORE_ITEM_PREFETCH_H

#include <rte_prefetch.h>

#include "dataplane/store/item.h"

#define ITEM_PREFETCH_LINE 64U
/* What is longer is read in a row, and the processor's own prefetching has caught up by then. */
#define ITEM_PREFETCH_BYTES_MAX 1024U

/* Hardly any item lies in one line: the second comes along. */
static inline void item_prefetch_begin(const struct item *item)
{
    rte_prefetch0(item);
    rte_prefetch0((const uint8_t *)item + ITEM_PREFETCH_LINE);
}

/* Where it ends is asked for in any case: whether that is one of the first two lines is no branch
 * that the processor could foresee. */
static inline void item_prefetch_rest(const struct item *item)
{
    size_t bytes = item_bytes(item);
    const uint8_t *last =
        (const uint8_t *)item +
        (bytes < ITEM_PREFETCH_BYTES_MAX ? bytes : (size_t)ITEM_PREFETCH_BYTES_MAX) - 1;
    rte_prefetch0(last);
    const uint8_t *line = (const uint8_t *)item + 2 * (size_t)ITEM_PREFETCH_LINE;
    for (; UNLIKELY(line < last); line += ITEM_PREFETCH_LINE) {
        rte_prefetch0(line);
    }
}

#endif
