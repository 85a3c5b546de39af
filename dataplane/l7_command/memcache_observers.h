/* What memcached's operators may look on at while it happens: `watch`, and the figures of
 * `stats detail`.
 *
 *   memcache_execute --observed--> memcache_observe.c --lines--> memcache_event_log -->
 * core_watch.c
 *                                                    --counts-> memcache_prefix_book
 *
 * Who observes is one word, shared by all workers; each reads it once in a pass. While it is 0,
 * nothing of this is done.
 *
 * Thread: the shared part is atomic; log and book are their worker's. Memory: the system heap, when
 * first needed: MEMCACHE_EVENT_LOG_BYTES and a book for each worker. Failure: what finds no room is
 * dropped and counted.
 */
#ifndef NICACHED_L7_COMMAND_MEMCACHE_OBSERVERS_H
#define NICACHED_L7_COMMAND_MEMCACHE_OBSERVERS_H

#include "config/config.h"
#include "dataplane/l7_command/command.h"

/* What `watch` names. A kind that memcached has and nothing here brings about is watched like the
 * others, and stays silent. */
enum memcache_event_kind {
    EVENT_FETCH,
    EVENT_MUTATION,
    EVENT_EVICTION,
    EVENT_CONNECTION,
    EVENT_OTHER,
    EVENT_KIND_COUNT,
};
#define EVENT_BIT(kind) (1U << (kind))

#define MEMCACHE_WATCHERS_MAX 20U /* of all workers, as in the reference */

/* `state`: a byte for each kind, how many watch it; then whether figures per prefix are kept. */
#define OBSERVED_KIND(kind) (0xFFULL << 8 * (kind))
#define OBSERVED_DETAIL     (1ULL << 56)

struct memcache_observers {
    uint64_t state;        /* atomic, as all of it but user_count */
    uint64_t last_event;   /* gid of the last one */
    uint64_t detail_epoch; /* raised when the figures start anew */
    uint32_t watcher_count;
    uint8_t watchers_of[CONFIG_WORKERS_MAX]; /* how many each worker serves */
    uint32_t user_count;                     /* contexts that share it */
};

/* Zeroed, with one user; NULL when out of memory. */
struct memcache_observers *memcache_observers_create(void);
void memcache_observers_release(struct memcache_observers *observers);

static inline uint64_t memcache_observed(const struct memcache_observers *observers)
{
    return __atomic_load_n(&observers->state, __ATOMIC_RELAXED);
}

/* A watcher of these kinds (EVENT_BIT), served by `worker`. False: there are too many. */
bool memcache_observers_add(struct memcache_observers *observers, uint32_t worker, uint32_t kinds);
void memcache_observers_remove(struct memcache_observers *observers, uint32_t worker,
                               uint32_t kinds);
/* Whether figures per prefix are kept from now on. */
void memcache_observers_keep_detail(struct memcache_observers *observers, bool keep);
/* Whether the worker serves any. */
static inline bool memcache_observers_has(const struct memcache_observers *observers,
                                          uint32_t worker)
{
    return __atomic_load_n(&observers->watchers_of[worker], __ATOMIC_RELAXED) != 0;
}

/* ---- the log of a worker --------------------------------------------------------------------- */

#define MEMCACHE_EVENT_LOG_BYTES 65536U
/* Of unread lines that a watcher may have; what comes then is skipped. Both as in the reference. */
#define MEMCACHE_WATCHER_BYTES_MAX (256U * 1024U)

/* Lines that nobody has been sent yet, each behind its head. */
struct memcache_event_log {
    uint32_t used;
    uint8_t bytes[MEMCACHE_EVENT_LOG_BYTES];
};

/* The next line of such bytes, with its end; *rest is what follows it. False: that was all. */
bool memcache_event_next(struct slice *rest, enum memcache_event_kind *kind, struct slice *line);

enum memcache_close_reason { CLOSED_NORMALLY, CLOSED_IDLE, CLOSED_BY_ERROR };
void memcache_note_opened(struct command_context *context, const struct client *client);
void memcache_note_closed(struct command_context *context, const struct client *client,
                          enum memcache_close_reason reason);
/* An item that was evicted, and whose bytes are still there. */
void memcache_note_eviction(struct command_context *context, uint32_t database,
                            const struct item *item);

/* ---- figures per prefix ---------------------------------------------------------------------- */

/* How many prefixes a worker keeps figures of; others are counted together, as a metric. */
#define MEMCACHE_PREFIXES_MAX     8192U
#define MEMCACHE_PREFIX_BYTES_MAX 250U

struct memcache_prefix_counts {
    uint64_t gets, hits, sets, deletes;
};

struct memcache_prefix {
    struct memcache_prefix_counts counts;
    uint8_t size;
    uint8_t bytes[MEMCACHE_PREFIX_BYTES_MAX];
};

/* In the order in which the prefixes were first seen; found by a table of their hashes. */
struct memcache_prefix_book {
    uint64_t epoch;
    uint32_t count, capacity;
    uint32_t *table; /* of 2 * capacity: number of the prefix, and one more; 0: free */
    struct memcache_prefix prefixes[];
};

/* NULL when out of memory. */
struct memcache_prefix_book *memcache_prefix_book_create(uint32_t capacity);
void memcache_prefix_book_destroy(struct memcache_prefix_book *book); /* NULL: nothing */
void memcache_prefix_book_clear(struct memcache_prefix_book *book);
/* False: no room for another prefix. */
bool memcache_prefix_book_add(struct memcache_prefix_book *book, struct slice prefix,
                              const struct memcache_prefix_counts *counts);

#endif
