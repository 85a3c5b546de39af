/* A shard: one worker's part of the key space, its index, its memory and what it has retired.
 *
 * Thread: everything here is for the owning worker, but for what says otherwise.
 *
 * Writing a value, always in this order:
 *   draft = shard_draft(...)     memory for a new item, key filled in; NULL when over maxmemory
 *   fill draft_value(draft)      the value bytes; nobody else sees them
 *   shard_publish(..., draft)    becomes the value of the key; the old item is retired
 *   (or shard_discard_draft)
 *   or, in place, shard_overwrite
 *
 * An item pointer from a look-up is valid until the end of the pass (RCU), also when the same pass
 * overwrites or deletes the key.
 */
#ifndef NICACHED_STORE_SHARD_H
#define NICACHED_STORE_SHARD_H

#include "dataplane/base/clock.h"
#include "dataplane/base/hash.h"
#include "dataplane/base/metrics.h"
#include "dataplane/store/eviction.h"
#include "dataplane/store/item.h"

#define SHARD_DATABASE_COUNT 16
#define SHARD_LOOKUP_BURST   32
#define SHARD_NUMBER_MAX     127

struct shard;
struct channel;

/* What finds the items of a database: see index.h. */
enum index_kind { INDEX_RTE_HASH, INDEX_BUCKETS };

struct shard_options {
    uint32_t number; /* of the worker; part of names and of the CAS values */
    enum index_kind index;
    uint64_t maxmemory_bytes;             /* 0: no limit */
    struct metrics *metrics;              /* of the owning worker */
    struct channel *to_reclaimer;         /* NULL: no concurrent reader; retired items are freed by
                                             shard_maintain at once (tests) */
    bool use_hugepages;                   /* reserved ones, as long as there are some */
    const struct region_devices *devices; /* that may read values where they lie; NULL: none */
    int numa_node;                        /* -1: any */
};

/* EAL must be up (--no-huge will do). With a limit, memory is put behind most of it here, which
 * takes a quarter of a second per GiB. NULL when out of memory. Any thread may create it; from then
 * on one at a time holds it, and a hand-over is a message. */
struct shard *shard_create(const struct shard_options *options);
/* The worker has stopped, no reader is left, replies that hold blobs are gone, and the reclaimer is
 * destroyed (it may still hold batches: their content is freed here). */
void shard_destroy(struct shard *shard);
/* The first half of it. Where items of one shard may show values of another, it comes for all
 * shards before the first is destroyed. */
void shard_clear(struct shard *shard);
void shard_set_maxmemory(struct shard *shard, uint64_t bytes);
enum index_kind shard_index_kind(const struct shard *shard); /* any thread */

/* ---- look-up ------------------------------------------------------------------------------- */

/* A key with its hash: computed once per request, used for everything. */
struct key {
    struct slice bytes;
    uint64_t hash;
    /* Where the prefetch found it, for what comes next: index.h. */
    void *entry;
    union {
        const struct index *index; /* until then: where shard_prefetch is to look; NULL: nowhere */
        uint64_t epoch;            /* of the index, which no address is */
    };
};
static inline struct key key_of(struct slice bytes, uint64_t hash)
{
    return (struct key){.bytes = bytes, .hash = hash};
}
/* Where it is to stay: a key that is returned is written twice. */
static inline void key_init(struct key *key, struct slice bytes)
{
    key->bytes = bytes;
    key->hash = hash_bytes(bytes);
    key->index = NULL;
}
static inline struct key key_hashed(struct slice bytes)
{
    return key_of(bytes, hash_bytes(bytes));
}

/* The bits of the hash that no index uses: see index_rte.h and index_buckets.h. */
#define KEY_OWNER_SHIFT 32
#define KEY_OWNER_BITS  22

/* Of the part in braces, where the key has one, else its own. */
uint64_t key_tag_hash(const struct key *key);

/* Which of `shard_count` shards owns a key: by its hash, or that of the part in braces where the
 * key has a hash tag as in Redis Cluster, so that keys of one tag live together. */
static inline uint32_t key_owner(const struct key *key, uint32_t shard_count)
{
    uint64_t hash = UNLIKELY(slice_has_byte(key->bytes, '{')) ? key_tag_hash(key) : key->hash;
    uint64_t part = hash >> KEY_OWNER_SHIFT & ((1U << KEY_OWNER_BITS) - 1);
    return (uint32_t)(part * shard_count >> KEY_OWNER_BITS);
}

/* What a key holds, or NULL when it is not there or its time has come; an expired item met here is
 * deleted and counted. */
const struct item *shard_find(struct shard *shard, uint32_t database, const struct key *key,
                              const struct instant *now);

/* The same for any thread that is a registered RCU reader: changes nothing, an expired item is
 * simply not there. The item stays valid until that thread's next quiescent state. */
const struct item *shard_find_shared(const struct shard *shard, uint32_t database,
                                     const struct key *key, const struct instant *now);

/* What the keys of a database are looked up in; NULL: it is empty. Of the caller's own shard, or of
 * one that he may read under RCU. */
const struct index *shard_index(const struct shard *shard, uint32_t database);

/* A key that will be looked up, and whether by the owner of that index. */
struct shard_lookup {
    const struct index *index;
    struct key *key;
    bool is_own;
};

/* Prefetch of a burst of keys: touches buckets, slots and items of `count` (<= SHARD_LOOKUP_BURST)
 * keys with interleaved misses, so that the calls that follow with these keys hit the cache, and
 * notes in the keys where they are, so that those calls search nothing. The shards may be several.
 * Never changes a result. */
void shard_prefetch_bulk(const struct shard_lookup *lookups, uint32_t count);

/* The same in steps, for keys side by side that are looked up in their order: while one is worked
 * on, the misses of those behind it go on. A step visits SHARD_PREFETCH_STRIDE keys for the first
 * time, as many before them for the second time, and so on; a miss is asked for at each visit, and
 * what a rare key needs beyond that is left to its look-up. Several at a time, for the processor
 * goes on before a line arrives, but hardly before it knows where that is: walks through page
 * tables are shared, too.
 *
 *   begin    without keys; `is_own`: who looks them up holds `shard`, and writes to it perhaps.
 *            Otherwise any shard will do
 *   add      they have become known, behind the others: a step, if it can be complete
 *   reach    one is looked up next: the steps that are still missing
 *
 * Between two steps anything may be looked up and written, but by nobody else: who hands the shard
 * over ends it before. It ends with the pass at the latest. */
#define SHARD_PREFETCH_VISITS 4
#define SHARD_PREFETCH_STRIDE 4
/* So many keys ahead of the look-up is the first visit at least, and so many at most of those that
 * wait to be looked up: more would be gone again by then. */
#define SHARD_PREFETCH_AHEAD     (SHARD_PREFETCH_VISITS * SHARD_PREFETCH_STRIDE)
#define SHARD_PREFETCH_AHEAD_MAX 64

struct shard_prefetch {
    const struct shard *shard;
    bool is_own;
    uint64_t epoch;   /* of its own one, when it began */
    struct key *keys; /* the caller's, until the end */
    uint32_t count;
    uint32_t visited; /* of them, at least once: whole strides, and beyond the last */
};

/* Nothing is visited any more. */
#define SHARD_PREFETCH_ENDED UINT32_MAX
static inline void shard_prefetch_end(struct shard_prefetch *prefetch)
{
    prefetch->visited = SHARD_PREFETCH_ENDED;
}

void shard_prefetch_begin(struct shard_prefetch *prefetch, const struct shard *shard, bool is_own,
                          struct key *keys);
void shard_prefetch_step(struct shard_prefetch *prefetch);

/* `count` keys more, of which nothing is known but what they will be looked up in. Once the visits
 * have gone beyond the last one, none: they would begin in the middle. */
static inline void shard_prefetch_add(struct shard_prefetch *prefetch, uint32_t count)
{
    if (UNLIKELY(prefetch->visited > prefetch->count)) {
        return;
    }
    prefetch->count += count;
    if (prefetch->visited < SHARD_PREFETCH_AHEAD_MAX &&
        prefetch->visited + SHARD_PREFETCH_STRIDE <= prefetch->count) {
        shard_prefetch_step(prefetch);
    }
}

/* Nothing where it is none of the keys. */
static inline void shard_prefetch_reach(struct shard_prefetch *prefetch, const struct key *key)
{
    uint64_t number = ((uintptr_t)key - (uintptr_t)prefetch->keys) / sizeof(*key);
    uint64_t ahead = number + SHARD_PREFETCH_AHEAD;
    uint64_t last = (uint64_t)prefetch->count + SHARD_PREFETCH_AHEAD - SHARD_PREFETCH_STRIDE;
    while (UNLIKELY(prefetch->visited < ahead && prefetch->visited < last) &&
           number < prefetch->count) {
        shard_prefetch_step(prefetch);
    }
}

/* ---- writing ------------------------------------------------------------------------------- */

struct item_draft_options {
    enum item_type type;
    enum item_encoding encoding; /* ENCODING_INT: value_bytes is ignored */
    uint64_t expire_at_ms;       /* 0: never */
    uint64_t cas;                /* 0: none (see item.h invariant 4) */
    uint32_t client_flags;
    uint8_t state;
    uint32_t value_bytes;
    bool ignore_maxmemory; /* for writes that Redis allows over the limit (EXPIRE, RENAME, ...) */
};

/* NULL when the memory is not there: the standard OOM error is due. Never kills. */
struct item *shard_draft(struct shard *shard, struct slice key,
                         const struct item_draft_options *options);
static inline uint8_t *draft_value(struct item *draft) /* value_bytes, or the int64's 8 bytes */
{
    return (uint8_t *)(uintptr_t)item_value_bytes(draft);
}

/* For callers that know that no other thread reads values: `value`, which is no integer, becomes
 * the key's, if that has a string of as many bytes and nothing beside it. False: it takes a draft.
 */
bool shard_overwrite(struct shard *shard, uint32_t database, const struct key *key,
                     struct slice value);

/* A draft over existing blob bytes: takes one more count on the blob. `value_bytes` bytes of it are
 * shown. */
struct item *shard_draft_over_blob(struct shard *shard, struct slice key, struct blob *blob,
                                   const struct item_draft_options *options);

/* A copy of `item` under `key` with other expiry / flags / CAS; shares the blob if there is one. */
struct item *shard_draft_like(struct shard *shard, struct slice key, const struct item *item,
                              const struct item_draft_options *options);

/* Room for `growth` more bytes behind the value of `item`, for APPEND: if its blob has the capacity
 * and nobody else uses it, the draft shares it; otherwise the value is copied into a blob with
 * room to grow. draft_value is then the whole value; only the last `growth` bytes may be written.
 */
struct item *shard_draft_grown(struct shard *shard, const struct item *item, uint32_t growth,
                               const struct item_draft_options *options);

/* Whether that would share the blob. Any thread that may read the item. */
bool shard_grows_in_place(const struct shard *shard, const struct item *item, uint64_t growth);

void shard_discard_draft(struct shard *shard, struct item *draft);

/* The draft becomes the value of its key. The previous item, if any, is retired: one atomic
 * exchange, the index is not touched. */
void shard_publish(struct shard *shard, uint32_t database, const struct key *key,
                   struct item *draft);

/* False when there was nothing (or only an expired item). */
bool shard_delete(struct shard *shard, uint32_t database, const struct key *key,
                  const struct instant *now);

/* A fresh CAS value: increasing per shard, unique over shards. */
uint64_t shard_next_cas(struct shard *shard);

/* A blob that a session fills while a large value arrives ("copied once: from the packets into the
 * item"). NULL over maxmemory. The caller holds the one count. */
struct blob *shard_create_blob(struct shard *shard, uint32_t capacity_bytes);

/* ---- writes that span shards --------------------------------------------------------------- */

/* Who holds the leases of several shards (core/core_errand.c) and writes them together calls the
 * first for each of them before it writes, and the second for each of them afterwards. In between
 * the version is odd: readers on other workers keep away, so they see all of it or nothing. */
void shard_begin_joint_write(struct shard *shard);
void shard_end_joint_write(struct shard *shard);

/* For readers on other workers, before they look something up, and again afterwards: what they saw
 * in between was there all at one moment if nothing here has changed and every look-up gives the
 * same item as before. (Present keys: an item that was replaced never comes back. Absent ones: who
 * came and went in between has raised `removals`.) */
struct shard_state {
    uint64_t version; /* odd: a joint write is under way */
    uint64_t removals;
};
struct shard_state shard_observe(const struct shard *shard);
/* No joint write is under way; enough for whoever reads one key. */
bool shard_is_steady(const struct shard *shard);
/* True when nothing changed; orders the look-ups before it. */
bool shard_is_unchanged(const struct shard *shard, const struct shard_state *since);

/* ---- whole databases ----------------------------------------------------------------------- */

/* Constant time: the old content is detached and freed in slices by shard_maintain. */
void shard_flush(struct shard *shard, uint32_t database);
/* The same at a time to come (Unix ms), by shard_maintain; 0: not any more. A later call takes the
 * place of an earlier one. */
void shard_flush_at(struct shard *shard, uint32_t database, uint64_t wall_ms);
void shard_swap_databases(struct shard *shard, uint32_t a, uint32_t b);

uint64_t shard_key_count(const struct shard *shard, uint32_t database);    /* expired ones count */
uint64_t shard_expiry_count(const struct shard *shard, uint32_t database); /* with an expiry set */
uint64_t shard_expiry_average_ms(const struct shard *shard, uint32_t database,
                                 const struct instant *now); /* estimate, INFO's avg_ttl */

/* Walks the database like SCAN: every key present from the first call to the last is visited at
 * least once, whatever happens in between. Starts at cursor 0, ends when 0 comes back; visits about
 * `count` items. Expired items are skipped. `visit` must not write to the shard. */
uint64_t shard_scan(struct shard *shard, uint32_t database, uint64_t cursor, uint32_t count,
                    const struct instant *now,
                    void (*visit)(void *argument, const struct item *item), void *argument);

/* The same walk for any thread that is a registered RCU reader, with the hash of each key: what
 * eviction and snapshots ask. Changes nothing. An item is valid until that thread's next quiescent
 * state. */
typedef void shard_item_visitor(void *argument, const struct item *item, uint64_t hash);
uint64_t shard_scan_shared(const struct shard *shard, uint32_t database, uint64_t cursor,
                           uint32_t count, const struct instant *now, shard_item_visitor *visit,
                           void *argument);

/* Some key, uniformly enough; NULL when the database is empty. */
const struct item *shard_random(struct shard *shard, uint32_t database, const struct instant *now);

/* ---- eviction ------------------------------------------------------------------------------ */

/* Once per pass: the policy in force and its time. */
void shard_set_policy(struct shard *shard, const struct eviction_policy *policy);
const struct eviction_policy *shard_policy(const struct shard *shard);

/* A batch of victims from the control thread: shard_maintain works it off. */
void shard_queue_evictions(struct shard *shard, struct eviction_batch *batch);
/* One that is done and must go back to whoever made it; NULL: none. Or it is kept for later. */
struct eviction_batch *shard_take_finished_eviction(struct shard *shard);
void shard_keep_finished_eviction(struct shard *shard, struct eviction_batch *batch);

/* While they are kept, the victims that were removed: those since the last call, readable until the
 * owner's next quiescent state. To be taken in every pass, by the owner. */
void shard_keep_evicted(struct shard *shard, bool keep);
uint32_t shard_take_evicted(struct shard *shard, const struct eviction_victim **evicted);

/* Whether the policy has anything to evict. */
bool shard_can_evict(const struct shard *shard);
/* When the control thread is late: evicts a few keys at once, the best of a bounded sample, and
 * returns how many. Their memory comes back after a grace period. */
uint32_t shard_evict_now(struct shard *shard);
/* A write waits for so much room: the control thread makes it, for the next few milliseconds. */
void shard_want_bytes(struct shard *shard, uint64_t bytes, const struct instant *now);
void shard_want_nothing(struct shard *shard);
uint64_t shard_wanted_bytes(const struct shard *shard); /* any thread */
/* Whether victims that were chosen wait to be removed. */
bool shard_is_evicting(const struct shard *shard);
/* The index has no room for another key, and no memory to grow. */
bool shard_is_starved(const struct shard *shard);
bool shard_was_starved(const struct shard *shard); /* in the last pass; any thread */

/* For the control thread, inside an RCU read section: the item of a fingerprint. */
const struct item *shard_read_hash(const struct shard *shard, uint32_t database, uint64_t hash);

/* Keys that were new, in order, under a policy that asks for them. One thread may take them. */
struct insertion {
    uint64_t hash;
    uint32_t database;
    uint32_t stamp; /* that the item got: eviction.h */
};
uint32_t shard_take_insertions(const struct shard *shard, struct insertion *insertions,
                               uint32_t count_max);
/* How many there have been, those included that the ring had no room for. */
uint64_t shard_insertion_count(const struct shard *shard);

/* ---- upkeep -------------------------------------------------------------------------------- */

/* One bounded slice of background work, called once per pass: hands retired items over, frees what
 * came back, moves a few entries of a splitting segment, frees flushed databases, expires a few.
 * Returns true while more work is waiting (the worker should not sleep yet). */
bool shard_maintain(struct shard *shard, const struct instant *now);

/* True while retired items linger for others to travel with (RETIRE_LINGER_US): nothing to do now,
 * but too soon to sleep. */
bool shard_is_waiting(const struct shard *shard);

/* True while memory of deleted, overwritten or flushed items is still to be freed: who waits a
 * moment finds more room. */
bool shard_will_free(const struct shard *shard);

/* False: there is no room for an item or a blob of so many bytes, though maxmemory may leave some.
 * */
bool shard_has_room(struct shard *shard, uint64_t bytes);
/* True: there is room for items of so many bytes in all, the largest of which is small, and it
 * takes no longer look to know. */
bool shard_has_plenty(const struct shard *shard, uint64_t bytes, uint64_t largest_bytes);
uint64_t shard_used_bytes(const struct shard *shard); /* any thread: as in shard_memory */
/* Of the blobs that no item shows any more: only replies hold them. Any thread. */
uint64_t shard_kept_bytes(const struct shard *shard);

/* Messages of types MESSAGE_RECLAIMED_BATCH, MESSAGE_SEGMENT_READY and MESSAGE_MEMORY_READY for
 * this shard. */
struct message;
void shard_take_message(struct shard *shard, const struct message *message);

/* What items of one type take, blobs apart. */
struct type_book {
    uint64_t count, bytes;
};
/* What growing and shrinking (writes that pay for it included), expiring and freeing added to one
 * pass at most, in cycles of the TSC. Any thread. Passes of over 200 us are counted (INFO store).
 */
enum upkeep_cause { UPKEEP_GROWTH, UPKEEP_EXPIRY, UPKEEP_RECLAIM, UPKEEP_CAUSE_COUNT };
uint64_t shard_longest_upkeep(const struct shard *shard, enum upkeep_cause cause);
void shard_reset_longest_upkeep(struct shard *shard); /* owner */

struct shard_memory {
    uint64_t used_bytes; /* items, blobs and index: what maxmemory bounds */
    uint64_t item_bytes; /* items and blobs as allocated */
    uint64_t blob_bytes; /* part of item_bytes */
    uint64_t index_bytes;
    uint64_t retired_bytes; /* waiting for a grace period; part of item_bytes */
    uint64_t peak_bytes;
    uint64_t hole_bytes;      /* free, but in pages that are in use */
    uint64_t active_bytes;    /* pages in use: what is allocated in them, and holes */
    uint64_t allocated_bytes; /* in pages: items and blobs, and an index of buckets */
    uint64_t resident_bytes;  /* memory behind our addresses: pages in use, and free ones */
    uint64_t overhead_bytes;  /* the allocator's bookkeeping */
    uint64_t headroom_bytes; /* what can still be allocated without waiting: an estimate, below what
                                maxmemory leaves where free memory lies in holes; UINT64_MAX without
                                a limit */
    uint64_t reclaim_batches; /* of retired things, that wait for a grace period */
    uint64_t grace_periods, grace_us_sum, grace_us_max; /* that batches have waited for */
    struct type_book types[ITEM_TYPE_COUNT];
};
/* What an item of this shard takes, a blob included, also one that others show too. */
uint64_t shard_item_bytes(const struct shard *shard, const struct item *item);
/* Any thread may read; figures are as of some recent moment. */
void shard_read_memory(const struct shard *shard, struct shard_memory *memory);
/* Adds the figures of a shard to those of others; grace_us_max is the greatest. */
void shard_add_memory(struct shard_memory *sum, const struct shard_memory *part);

#endif
