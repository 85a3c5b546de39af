/* Active expiry: finds items whose time has come though nobody asks for them.
 *
 * A slice looks at the next few items of one database. With nothing to find that is one slice per
 * SWEEP_PERIOD_US; a slice in which many had expired is followed by another in the next pass, so a
 * cache full of expired items gives its memory back at once. Thread: the owner. Bounded: see the
 * constants. */
#include "dataplane/store/store_internal.h"

#define SWEEP_ITEMS      32
#define SWEEP_PERIOD_US  250
#define SWEEP_SLICES_MAX 16 /* a worker that slept catches up by so many */
#define MANY             (SWEEP_ITEMS / 4)

struct sweep_slice {
    uint64_t wall_ms;
    uint32_t count;
    struct key expired[SWEEP_ITEMS];
};

static void collect_expired(void *argument, struct item *item, uint64_t hash)
{
    struct sweep_slice *slice = argument;
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

static uint32_t slices_due(struct expiry_sweep *sweep, uint64_t now_us)
{
    uint64_t due = (now_us - sweep->last_us) / SWEEP_PERIOD_US;
    if (due == 0) {
        return sweep->found_many ? 1 : 0;
    }
    sweep->last_us = now_us;
    return due < SWEEP_SLICES_MAX ? (uint32_t)due : SWEEP_SLICES_MAX;
}

bool shard_sweep_expired(struct shard *shard, const struct instant *now)
{
    for (uint32_t slices = slices_due(&shard->sweep, now->mono_us); slices > 0; slices--) {
        uint32_t number = next_database(shard);
        if (number == SHARD_DATABASE_COUNT) {
            shard->sweep.found_many = false;
            return false;
        }
        shard->sweep.found_many = sweep_database(shard, number, now->wall_ms) >= MANY;
    }
    return shard->sweep.found_many;
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
