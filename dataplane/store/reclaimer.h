/* The reclaimer: a helper thread that waits for grace periods, so that nobody on the packet path
 * does. For every batch of retired items that a worker hands over it waits for one grace period and
 * hands the batch back; the owner frees (memory is only ever freed by its own shard). It also makes
 * index segments and pages ready beforehand, which takes milliseconds. */
#ifndef NICACHED_STORE_RECLAIMER_H
#define NICACHED_STORE_RECLAIMER_H

#include <stdint.h>

struct reclaimer;
struct channel;

/* One pair of channels per worker: from[i] carries MESSAGE_RECLAIM_BATCH, MESSAGE_SEGMENT_WANTED
 * (with words[0] the entries of a segment to make, or with a retired segment to destroy as pointer)
 * and MESSAGE_MEMORY_WANTED, to[i] the answers; nothing else travels in them. The thread starts at
 * once. NULL when out of memory or threads. */
struct reclaimer *reclaimer_create(struct channel **from, struct channel **to, uint32_t count);
/* The workers have stopped. Segments that still wait in the channels are freed; batches are left to
 * shard_destroy, which comes later and frees what they hold. */
void reclaimer_destroy(struct reclaimer *reclaimer);

#endif
