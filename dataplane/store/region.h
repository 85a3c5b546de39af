/* The pages of one shard: a range of addresses, and who has which part of it.
 *
 *   region   [ chunk 0 | chunk 1 | chunk 2 | ...                    as many as the machine has ]
 *   chunk    2 MiB, one hugepage: 512 units of 4 KiB, a bit for each
 *   run      units in a row that were taken together: a span of small blocks, or one large block.
 *            A run of more than 512 units begins with a chunk and takes whole chunks but the last.
 *
 *            take                    all units given back
 *   BARE ---------------> USED -----------------------------> FREE ---+
 *    |  prepared by the    ^             take                  | ^    |
 *    +--> PREPARING --> FREE <---------------------------------+ |    |
 *    |   (reclaimer)                                             |    |
 *    +<---------------------------- RELEASING <------------------+----+
 *          nothing of it is resident   (reclaimer)
 *
 * Reserving addresses costs nothing; only chunks that are not BARE have memory behind them. It is
 * put there and taken away by the reclaimer thread, for that takes system calls. When none is FREE
 * a BARE chunk is taken all the same: the kernel gives its pages when they are touched.
 *
 * Devices may read a chunk where it lies once it has been mapped for them, which is done when it is
 * prepared and undone before it is released. A run keeps its chunks USED: as long as somebody holds
 * it, a frame in a device's queue for instance, they stay mapped. What was not prepared, or could
 * not be mapped, is not for devices.
 *
 * Invariants:
 *  1. A run is at least REGION_RUN_UNITS_MIN long, so no two begin in the same span slot.
 *  2. A chunk is in the list of the bin of its longest free run, but for full ones, draining ones
 *     and those that are BARE or on their way. Bin 9 holds exactly the FREE ones.
 *  3. The reclaimer touches a chunk only while it is PREPARING or RELEASING.
 *
 * Thread: whoever holds the shard, one at a time; region_populate and region_release_pages may run
 * on the reclaimer (3). Time: bounded; a run of more than one chunk costs a look at the state of
 * each chunk ever used. Failure: REGION_NONE.
 */
#ifndef NICACHED_STORE_REGION_H
#define NICACHED_STORE_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REGION_UNIT_BYTES    4096U
#define REGION_CHUNK_UNITS   512U
#define REGION_CHUNK_BYTES   ((uint64_t)REGION_CHUNK_UNITS * REGION_UNIT_BYTES)
#define REGION_RUN_UNITS_MIN 4U
#define REGION_SPANS         (REGION_CHUNK_UNITS / REGION_RUN_UNITS_MIN)
#define REGION_BINS          10
#define REGION_NONE          UINT32_MAX

enum chunk_state { CHUNK_BARE, CHUNK_PREPARING, CHUNK_FREE, CHUNK_USED, CHUNK_RELEASING };

/* What memory.c keeps about a run. */
struct span {
    uint32_t next, previous; /* span numbers; in the list of its class and bin */
    uint32_t units;
    uint16_t start;      /* first unit, in its chunk */
    uint16_t used;       /* blocks */
    uint16_t capacity;   /* blocks */
    uint16_t free_first; /* offset in the span / 8 of the first free block; SPAN_NO_BLOCK: none */
    uint16_t fresh;      /* blocks from here on were never handed out */
    uint16_t bin_floor;  /* with fewer used blocks it belongs into a lower bin */
    uint16_t bin_ceiling;
    uint8_t class;
    uint8_t bin;
};
_Static_assert(sizeof(struct span) == 28, "a quarter per cent of the smallest span");

struct chunk {
    uint64_t taken[REGION_CHUNK_UNITS / 64]; /* a bit per unit */
    uint32_t next, previous;                 /* in the list of its bin */
    uint16_t used_units;
    uint16_t longest_run; /* of free units */
    bool draining;        /* to become empty: nothing is taken from it */
    bool is_huge;         /* a reserved hugepage */
    bool is_mapped;       /* devices can read it */
    uint8_t bin;
    uint8_t distance[REGION_CHUNK_UNITS]; /* from a unit back to the start of its run */
    struct span spans[REGION_SPANS];
};

/* Makes memory readable for devices at the addresses that it has; false: it stays unreadable. By
 * whoever serves. */
struct region_devices {
    bool (*map)(void *address, uint64_t bytes);
    void (*unmap)(void *address, uint64_t bytes);
};

struct region {
    uint8_t *base;
    struct chunk *chunks;
    uint8_t *states; /* enum chunk_state of each chunk */
    uint32_t chunk_count;
    uint32_t frontier;   /* no chunk from here on was ever anything but BARE */
    uint32_t bare_first; /* none below it is BARE */
    uint32_t bins[REGION_BINS];
    uint32_t used_units;     /* in runs */
    uint32_t backed_chunks;  /* not BARE */
    uint32_t free_chunks;    /* FREE */
    uint32_t pending_chunks; /* PREPARING or RELEASING */
    uint32_t wanted_chunks;  /* a large run found no room: so many should be BARE and allowed */
    uint32_t faulting_takes; /* BARE chunks that were taken before anybody prepared them */
    uint32_t huge_chunks;    /* made of reserved hugepages; written by who prepares */
    uint32_t mapped_chunks;  /* for devices; the same */
    const struct region_devices *devices; /* NULL: none read here */
    bool use_hugepages;
    int numa_node;
};

struct region_options {
    uint64_t bytes_min;                   /* addresses that are wanted in any case */
    uint64_t bytes_max;                   /* and at best */
    bool use_hugepages;                   /* reserved ones, while there are any */
    int numa_node;                        /* -1: wherever */
    const struct region_devices *devices; /* that are to read here; NULL: none */
};

bool region_init(struct region *region, const struct region_options *options);
void region_deinit(struct region *region);

/* A run of units; at most `backed_max` chunks may have memory behind them. The first unit, or
 * REGION_NONE. */
uint32_t region_take(struct region *region, uint32_t units, uint32_t backed_max);
void region_give(struct region *region, uint32_t unit, uint32_t units);

/* A chunk to prepare (BARE -> PREPARING), or to release (FREE -> RELEASING); REGION_NONE: none. */
uint32_t region_begin_prepare(struct region *region);
uint32_t region_begin_release(struct region *region);
/* What was begun is done: PREPARING -> FREE, RELEASING -> BARE. */
void region_finish(struct region *region, uint32_t chunk);
/* The work in between; any one thread. */
void region_serve(struct region *region, uint32_t chunk);

/* Nothing is taken from the chunk any more until it has become empty, or this is taken back. */
void region_set_draining(struct region *region, uint32_t chunk, bool draining);

static inline uint8_t *region_address(const struct region *region, uint32_t unit)
{
    return region->base + (uint64_t)unit * REGION_UNIT_BYTES;
}

static inline uint32_t region_unit(const struct region *region, const void *address)
{
    return (uint32_t)((uint64_t)((const uint8_t *)address - region->base) / REGION_UNIT_BYTES);
}

static inline uint32_t region_used_chunks(const struct region *region)
{
    return region->backed_chunks - region->free_chunks - region->pending_chunks;
}

/* Devices can read all of a run. */
bool region_is_mapped(const struct region *region, uint32_t unit, uint32_t units);

/* A run of so many units, a power of two, can be had without more chunks than there are. */
static inline bool region_has_run(const struct region *region, uint32_t units)
{
    for (uint32_t bin = (uint32_t)__builtin_ctz(units); bin < REGION_BINS; bin++) {
        if (region->bins[bin] != REGION_NONE) {
            return true;
        }
    }
    return false;
}

/* The number of the span slot in which a run begins. */
static inline uint32_t region_span_number(uint32_t unit)
{
    return unit / REGION_RUN_UNITS_MIN;
}

static inline struct span *region_span(const struct region *region, uint32_t number)
{
    return &region->chunks[number / REGION_SPANS].spans[number % REGION_SPANS];
}

/* The first unit of the run that a unit belongs to. */
static inline uint32_t region_run_start(const struct region *region, uint32_t unit)
{
    return unit - region->chunks[unit / REGION_CHUNK_UNITS].distance[unit % REGION_CHUNK_UNITS];
}

/* Bookkeeping per chunk: what a chunk costs beside its pages. */
#define REGION_CHUNK_OVERHEAD (sizeof(struct chunk) + 1)

#endif
