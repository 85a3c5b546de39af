/* Active expiry: finds items whose time has come though nobody asks for them.
 *
 * The walk goes round through a database at a pace that brings it everywhere within SWEEP_ROUND_S,
 * so a cache full of expired items gives its memory back by itself. Where only few keys can expire,
 * it is slower by as much: what they can hold is little. A slice in which many had expired is
 * followed by another at once. Thread: the owner. Bounded: a share of the time that passes, so that
 * neither short passes nor long ones show it; UPKEEP_EXPIRY_US per pass and one slice more at most.
 */
#include <rte_cycles.h>

#include "dataplane/store/store_internal.h"

#define SWEEP_ITEMS   16 /* of a slice */
#define TIME_SHARE    4
#define MANY          (SWEEP_ITEMS / 4)
#define SWEEP_ROUND_S 20
/* The pace counts for every key that can expire this many others. */
#define KEYS_PER_EXPIRY 10
/* A small database is walked four times per second, and none slower than so many keys per second.
 */
#define ROUNDS_PER_S_MAX 4
#define KEYS_PER_S_MIN   128000
#define CATCH_UP_US_MAX  250000 /* a worker that slept */
#define MILLIONTHS       1000000ULL

struct sweep_slice {
    uint64_t wall_ms;
    uint32_t count;
    uint32_t searched;
    struct key expired[SWEEP_ITEMS];
};

static void collect_expired(void *argument, struct item *item, uint64_t hash)
{
    struct sweep_slice *slice = argument;
    slice->searched++;
    if (slice->count < SWEEP_ITEMS && item_is_expired(item, slice->wall_ms)) {
        slice->expired[slice->count++] = key_of(item_key(item), hash);
    }
}

static uint32_t sweep_database(struct shard *shard, uint32_t number, uint64_t wall_ms)
{
    struct database *database = &shard->databases[number];
    struct sweep_slice slice = {.wall_ms = wall_ms};
    database->sweep_cursor =
        index_scan(database->index, database->sweep_cursor, SWEEP_ITEMS, collect_expired, &slice);
    metric_add(shard->metrics, METRIC_STORE_EXPIRY_SEARCHED, slice.searched);
    struct shard_lookup lookups[SWEEP_ITEMS];
    for (uint32_t i = 0; i < slice.count; i++) {
        lookups[i] = (struct shard_lookup){database->index, &slice.expired[i], .is_own = true};
    }
    shard_prefetch_bulk(lookups, slice.count);
    for (uint32_t i = 0; i < slice.count; i++) {
        shard_expire(shard, number, &slice.expired[i]);
    }
    return slice.count;
}

/* The next database with anything that can expire; SHARD_DATABASE_COUNT: none. */
static uint32_t next_database(struct shard *shard)
{
    for (uint32_t i = 0; i < SHARD_DATABASE_COUNT; i++) {
        uint32_t number = (shard->sweep.database + i) % SHARD_DATABASE_COUNT;
        if (shard->databases[number].expiry_count > 0) {
            /* One with many expired items is finished first. */
            shard->sweep.database = number + !shard->sweep.found_many;
            return number;
        }
    }
    return SHARD_DATABASE_COUNT;
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* In keys per second. */
static uint64_t pace(const struct shard *shard)
{
    uint64_t keys = 0, expiring = 0;
    for (uint32_t i = 0; i < SHARD_DATABASE_COUNT; i++) {
        if (shard->databases[i].expiry_count > 0) {
            keys += shard->databases[i].key_count;
            expiring += shard->databases[i].expiry_count;
        }
    }
    uint64_t wanted = lesser(keys, expiring * KEYS_PER_EXPIRY) / SWEEP_ROUND_S;
    uint64_t least = lesser(keys * ROUNDS_PER_S_MAX, KEYS_PER_S_MIN);
    return wanted > least ? wanted : least;
}

static void note_time(struct shard *shard, uint64_t now_us)
{
    struct expiry_sweep *sweep = &shard->sweep;
    uint64_t passed_us = lesser(now_us - sweep->last_us, CATCH_UP_US_MAX);
    int64_t most = (int64_t)shard->expiry_budget;
    sweep->last_us = now_us;
    sweep->due_millionths += passed_us * pace(shard);
    sweep->credit += (int64_t)(passed_us * shard->cycles_per_us / TIME_SHARE);
    sweep->credit = sweep->credit < most ? sweep->credit : most;
}

/* A slice during which the processor was taken away does not count as a whole. */
static void spend(struct shard *shard, uint64_t cycles)
{
    int64_t least = -(int64_t)shard->expiry_budget;
    shard->sweep.credit -= (int64_t)cycles;
    shard->sweep.credit = shard->sweep.credit > least ? shard->sweep.credit : least;
}

static bool is_due(const struct expiry_sweep *sweep)
{
    return sweep->found_many || sweep->due_millionths >= SWEEP_ITEMS * MILLIONTHS;
}

/* False: there is nothing that could expire. */
static bool sweep_slice(struct shard *shard, uint64_t wall_ms)
{
    struct expiry_sweep *sweep = &shard->sweep;
    uint32_t number = next_database(shard);
    if (number == SHARD_DATABASE_COUNT) {
        sweep->found_many = false;
        sweep->due_millionths = 0;
        return false;
    }
    sweep->found_many = sweep_database(shard, number, wall_ms) >= MANY;
    sweep->due_millionths -= lesser(sweep->due_millionths, SWEEP_ITEMS * MILLIONTHS);
    return true;
}

bool shard_sweep_expired(struct shard *shard, const struct instant *now)
{
    note_time(shard, now->mono_us);
    if (LIKELY(!is_due(&shard->sweep))) {
        return false;
    }
    uint64_t before = rte_rdtsc();
    while (is_due(&shard->sweep) && shard->sweep.credit > 0 && sweep_slice(shard, now->wall_ms)) {
        uint64_t after = rte_rdtsc();
        spend(shard, after - before);
        before = after;
    }
    return is_due(&shard->sweep);
}

/* ---- INFO's avg_ttl ---------------------------------------------------------------------------
 */

#define SAMPLE_ITEMS 64

struct ttl_sample {
    uint64_t wall_ms, sum_ms, count;
};

static void add_ttl(void *argument, struct item *item, uint64_t hash)
{
    struct ttl_sample *sample = argument;
    uint64_t expire_at_ms = item_expire_at_ms(item);
    if (expire_at_ms > sample->wall_ms && sample->count < SAMPLE_ITEMS) {
        /* Far futures are cut, so that the sum cannot overflow. */
        uint64_t ttl_ms = expire_at_ms - sample->wall_ms;
        sample->sum_ms += ttl_ms < UINT64_MAX / SAMPLE_ITEMS ? ttl_ms : UINT64_MAX / SAMPLE_ITEMS;
        sample->count++;
    }
}

uint64_t shard_expiry_average_ms(const struct shard *shard, uint32_t database,
                                 const struct instant *now)
{
    if (shard_expiry_count(shard, database) == 0) {
        return 0;
    }
    const struct database *of = &shard->databases[database];
    struct ttl_sample sample = {.wall_ms = now->wall_ms};
    uint64_t cursor = of->sweep_cursor;
    for (uint32_t call = 0; call < 16 && sample.count < SAMPLE_ITEMS; call++) {
        cursor = index_scan(of->index, cursor, SAMPLE_ITEMS, add_ttl, &sample);
    }
    return sample.count > 0 ? sample.sum_ms / sample.count : 0;
}
