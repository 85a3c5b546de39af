/* What the files of the allocator share. */
#ifndef NICACHED_STORE_MEMORY_INTERNAL_H
#define NICACHED_STORE_MEMORY_INTERNAL_H

#include "dataplane/store/memory.h"

#define CLASS_RUN      UINT8_MAX /* not of blocks: one large block */
#define BIN_FULL       MEMORY_BINS
#define BIN_EVACUATING (MEMORY_BINS + 1)
#define SPAN_UNITS_MAX 32U
#define NO_BLOCK       UINT16_MAX
#define BLOCK_STEP     8U /* free blocks are named by their offset in these */

/* Out of, and into, the list of its class and bin. */
void memory_unlink_span(struct memory *memory, uint32_t number);
void memory_link_span(struct memory *memory, uint32_t number);

/* More chunks have memory behind them than the limit allows: it was lowered, or the index grew. */
bool memory_is_oversized(const struct memory *memory);

static inline uint32_t memory_span_unit(const struct span *span, uint32_t number)
{
    return number / REGION_SPANS * REGION_CHUNK_UNITS + span->start;
}

#endif
