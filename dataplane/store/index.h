/* The index of one database: fingerprint of a key -> item.
 *
 *   hash (64 bits):  | directory: top bits | left for the worker | rte_hash: low 32 bits |
 *
 *   directory --> segment --> (while it moves out) its children --> ...
 *        beside them: a short list of items that found no place in a segment
 *
 * The list holds the second and further keys of one 64-bit fingerprint, and inserts that came when
 * a segment was full and no memory for another was to be had. It is empty in practice.
 *
 * This header is all that the shard knows of the index: it can be replaced, and measured.
 *
 * Thread: the shard's owner, but for index_read and index_scan. Failure: storing never fails; when
 * segments can not be had, `starved` in the services says so and the shard refuses new drafts.
 */
#ifndef NICACHED_STORE_INDEX_H
#define NICACHED_STORE_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/store/shard.h"

struct index;
struct memory;
struct retire_queue;
struct segment;

/* What an index needs from its shard; shared by the indexes of all its databases. */
struct index_services {
    struct memory *memory;
    struct retire_queue *retire;
    struct metrics *metrics;
    struct channel *to_reclaimer; /* NULL: segments are made on the spot */
    uint32_t number;              /* of the worker */
    struct segment *ready;        /* made beforehand, not yet used */
    struct segment *doomed;       /* to be destroyed by the reclaimer, whose channel was full */
    uint32_t outstanding;         /* asked for, not yet here */
    uint32_t hungry_count;        /* segments that wait for children */
    bool refused;                 /* no memory for the segment that was wanted last */
    bool starved;                 /* a segment is nearly full and no memory for another is left */
    uint64_t retry_at_us;         /* not before: EAL had no memory */
    uint64_t now_us;              /* of this pass */
    uint64_t pass;                /* from 1 on; hints of an earlier one are void */
    uint64_t growth_budget;       /* cycles of a pass after which writes pay less for growth */
    uint64_t growth_cycles;       /* spent in this pass on segments and moves */
};

typedef void index_visitor(void *argument, struct item *item, uint64_t hash);

struct index *index_create(struct index_services *services);
/* No reader is left. Frees `budget` items at most with `free_item`; true when all is gone, the
 * index itself included. */
bool index_dismantle(struct index *index, uint32_t budget, index_visitor *free_item,
                     void *argument);

struct item *index_find(struct index *index, const struct key *key);
/* The same for any thread that is inside an RCU read section. */
struct item *index_read(const struct index *index, const struct key *key);
/* The item in the segments that has this fingerprint, for any thread inside an RCU read section. */
struct item *index_read_hash(const struct index *index, uint64_t hash);
/* Whether this very item is what the index has for the fingerprint; `item` may be any pointer. */
bool index_holds(const struct index *index, uint64_t hash, const struct item *item);
void index_prefetch_bulk(struct index *index, const struct key *const *keys, uint32_t count);

/* `item` becomes what the key holds; returns what it held before, or NULL. */
struct item *index_store(struct index *index, const struct key *key, struct item *item);
struct item *index_remove(struct index *index, const struct key *key);

/* Upkeep: moves some entries, gets children for full segments. True while more is to be done. */
bool index_maintain(struct index *index);

/* Cursors as SCAN's: see index_rte_scan.c. For any thread that is inside an RCU read section: what
 * `visit` is shown stays valid as long as that lasts. */
uint64_t index_scan(const struct index *index, uint64_t cursor, uint32_t count,
                    index_visitor *visit, void *argument);
/* A random item for which `accept` says yes; NULL when there is none. */
struct item *index_random(const struct index *index, uint64_t *random_state,
                          bool (*accept)(void *argument, const struct item *item), void *argument);

/* Segments come and go: index_rte_supply.c. */
void segments_take_ready(struct index_services *services, struct segment *segment,
                         uint32_t entries);
void segments_dispose(struct index_services *services, struct segment *segment);
/* Once per pass: gives back segments that nobody wants any more. */
void segments_trim(struct index_services *services);
void segments_teardown(struct index_services *services);

#endif
