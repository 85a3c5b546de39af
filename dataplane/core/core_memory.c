/* Requests that wait for memory.
 *
 * What was overwritten, deleted, evicted or flushed is freed only after a grace period. Redis frees
 * at once, so a client that writes near maxmemory expects no OOM error in between. Here such a
 * request waits, with its connection, as long as the shard has something to free or to evict, and
 * for MEMORY_WAIT_US_MAX at most; then it runs and gets the error if it must. So maxmemory is never
 * exceeded, and the error means what it means in Redis. Everybody else is served meanwhile.
 *
 * Eviction is the control thread's: it keeps enough free for nobody to wait, and is woken when
 * somebody does. When it has not helped in EMERGENCY_US, the worker evicts by itself, a few keys in
 * a pass. What would not fit into an empty shard, beside the value that it is made from, waits for
 * nothing and evicts nothing. Datagrams wait as errands do, DATAGRAMS_WAITING_MAX of a worker at
 * most: they hold packet buffers.
 */
#include "dataplane/core/core_errand.h"

#define MEMORY_WAIT_US_MAX    500000U
#define MEMORY_RETRY_US       200U
#define EMERGENCY_US          5000U
#define WAKE_EVERY_US         1000U
#define DATAGRAMS_WAITING_MAX 256U
#define ITEM_OVERHEAD_BYTES   128U /* header, allocator rounding */
#define ITEM_HEADER_BYTES     32U  /* with an expiry, flags and a CAS value */

/* Both false: there is room enough, or none will come. */
struct room {
    bool will_come;  /* it is worth waiting for */
    bool must_evict; /* what is about to be freed is not enough */
};

static uint64_t limit_of(const struct core *core)
{
    return (uint64_t)core->config->maxmemory / core->options.worker_count;
}

/* `bytes` as the allocator rounds them up, by less than a quarter. */
static struct room look_for_room(const struct core *core, const struct wanted_memory *wanted)
{
    uint64_t bytes = wanted->bytes + wanted->bytes / 4;
    uint64_t limit = limit_of(core);
    struct shard_memory memory;
    shard_read_memory(core->shard, &memory);
    bool starved = shard_is_starved(core->shard);
    bool has_place = shard_has_room(core->shard, wanted->largest_bytes);
    if (memory.used_bytes + bytes <= limit && !starved && has_place) {
        return (struct room){0};
    }
    uint64_t lasting_bytes = memory.used_bytes - memory.retired_bytes;
    uint64_t whole_bytes = memory.index_bytes + bytes + wanted->beside_bytes;
    bool can_evict = whole_bytes <= limit && shard_can_evict(core->shard);
    return (struct room){
        .will_come = can_evict || shard_will_free(core->shard),
        .must_evict = can_evict && (lasting_bytes + bytes > limit || starved || !has_place),
    };
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What was received into the blob that becomes the value is there already. */
static uint64_t missing_bytes(const struct batch_entry *entry, struct slice argument)
{
    const struct blob *blob =
        entry->conversation != NULL ? conversation_last_blob(entry->conversation) : NULL;
    return blob != NULL && argument.data == blob->bytes ? 0 : argument.size;
}

static const struct shard *shard_of(const struct core *core, const struct key *key)
{
    uint32_t count = core->options.worker_count;
    return count == 1 ? core->shard : core->options.all_shards[key_owner(key, count)];
}

/* The bytes as they are asked of the allocator: its tables are the holder's. */
static uint64_t bytes_of(const struct item *item)
{
    const struct blob *blob = item_blob(item);
    return item_bytes(item) + (blob != NULL ? blob->capacity_bytes : 0);
}

/* A value of which `bytes` are new, made of `old`, or of nothing. */
static struct wanted_memory wanted_by_value(const struct item *old, const struct key *key,
                                            uint64_t bytes)
{
    return (struct wanted_memory){.bytes = bytes + key->bytes.size + ITEM_OVERHEAD_BYTES,
                                  .largest_bytes = bytes + key->bytes.size + ITEM_HEADER_BYTES,
                                  .beside_bytes = old != NULL ? bytes_of(old) : 0};
}

static struct wanted_memory wanted_by_change(const struct core *core,
                                             const struct batch_entry *entry)
{
    const struct key *key = &entry->resp.key;
    const struct shard *shard = shard_of(core, key);
    uint32_t database = entry->conversation->client.database;
    const struct item *old = shard_find_shared(shard, database, key, &core->now);
    return wanted_by_value(old, key,
                           entry->resp.command->value_bytes(shard, old, entry->resp.arguments));
}

/* A key and its value stand next to each other. */
static struct wanted_memory wanted_by_resp(const struct core *core, const struct batch_entry *entry)
{
    struct wanted_memory wanted = {.bytes = ITEM_OVERHEAD_BYTES};
    const struct slice *arguments = entry->resp.arguments;
    const struct command *command = entry->resp.command;
    if (command == NULL || (command->flags & COMMAND_DENYOOM) == 0) {
        return (struct wanted_memory){0};
    }
    if (command->value_bytes != NULL && command_arity_fits(command, entry->resp.argument_count)) {
        return wanted_by_change(core, entry);
    }
    for (uint32_t i = 1; i < entry->resp.argument_count; i++) {
        uint64_t before = i > 1 ? missing_bytes(entry, arguments[i - 1]) : 0;
        uint64_t bytes = missing_bytes(entry, arguments[i]);
        wanted.bytes += bytes + ITEM_OVERHEAD_BYTES;
        wanted.largest_bytes = larger(wanted.largest_bytes, before + bytes);
    }
    wanted.largest_bytes += ITEM_HEADER_BYTES;
    return wanted;
}

static struct wanted_memory wanted_by_memcache(const struct core *core,
                                               const struct batch_entry *entry)
{
    const struct memcache_request *request = &entry->memcache.request;
    if (request->key_count == 0 ||
        (request->value.size == 0 && !memcache_meta_has(&request->meta, 'N'))) {
        return (struct wanted_memory){0};
    }
    bool appends;
    if (memcache_joins(request, &appends)) {
        const struct key *key = &entry->memcache.keys[0];
        const struct shard *shard = shard_of(core, key);
        const struct item *old = shard_find_shared(shard, 0, key, &core->now);
        return wanted_by_value(old, key, memcache_value_bytes(shard, old, request));
    }
    uint64_t bytes = missing_bytes(entry, request->value);
    return (struct wanted_memory){.bytes = bytes + ITEM_OVERHEAD_BYTES,
                                  .largest_bytes =
                                      bytes + request->keys[0].size + ITEM_HEADER_BYTES};
}

struct wanted_memory core_wanted_memory(const struct core *core, const struct batch_entry *entry)
{
    switch (entry->kind) {
    case ENTRY_RESP: return wanted_by_resp(core, entry);
    case ENTRY_MEMCACHE: return wanted_by_memcache(core, entry);
    case ENTRY_ERROR: break;
    }
    return (struct wanted_memory){0};
}

bool core_wants_by_old_value(const struct batch_entry *entry)
{
    bool appends;
    switch (entry->kind) {
    case ENTRY_RESP: return entry->resp.command != NULL && entry->resp.command->value_bytes != NULL;
    case ENTRY_MEMCACHE: return memcache_joins(&entry->memcache.request, &appends);
    case ENTRY_ERROR: break;
    }
    return false;
}

struct wanted_memory core_wanted_by_bulk(uint64_t bytes)
{
    return (struct wanted_memory){.bytes = bytes, .largest_bytes = bytes + ITEM_OVERHEAD_BYTES};
}

/* Once in a pass at most, and not while victims of the control thread wait to be removed. */
static void evict_in_emergency(struct core *core)
{
    if (core->emergency_us != core->now.mono_us && !shard_is_evicting(core->shard)) {
        core->emergency_us = core->now.mono_us;
        shard_evict_now(core->shard);
    }
}

static void wake_control(struct core *core)
{
    if (core->now.mono_us - core->control_woken_us >= WAKE_EVERY_US) {
        core->control_woken_us = core->now.mono_us;
        core_wake_control(core);
    }
}

static void ask_for_room(struct core *core, uint64_t bytes, uint64_t waited_us)
{
    shard_want_bytes(core->shard, bytes, &core->now);
    wake_control(core);
    if (waited_us >= EMERGENCY_US) {
        evict_in_emergency(core);
    }
}

/* What was wanted is there, or given up: no more keys must go for it. Others who wait say so again.
 */
static bool ends_wait(struct core *core, uint64_t ends_us)
{
    if (ends_us != 0) {
        shard_want_nothing(core->shard);
    }
    return false;
}

/* False: the time is up. */
static bool goes_on_waiting(struct core *core, uint64_t *ends_us)
{
    if (*ends_us == 0) {
        *ends_us = core->now.mono_us + MEMORY_WAIT_US_MAX;
        metric_add(core->metrics, METRIC_MEMORY_WAITS, 1);
    }
    return core->now.mono_us < *ends_us;
}

/* True while who wants that of our shard should wait; *ends_us is 0 at first. */
static bool must_wait(struct core *core, const struct wanted_memory *wanted, uint64_t *ends_us)
{
    struct room room = look_for_room(core, wanted);
    if (!room.will_come || !goes_on_waiting(core, ends_us)) {
        return ends_wait(core, *ends_us);
    }
    if (room.must_evict) {
        uint64_t began_us = *ends_us - MEMORY_WAIT_US_MAX;
        ask_for_room(core, wanted->bytes + wanted->bytes / 4, core->now.mono_us - began_us);
    }
    return true;
}

static bool wait_for(struct core *core, struct conversation *conversation,
                     const struct wanted_memory *wanted)
{
    if (!must_wait(core, wanted, &conversation->memory_wait_ends_us)) {
        return false;
    }
    core_retry_later(core, conversation, core->now.mono_us + MEMORY_RETRY_US);
    return true;
}

/* Any of the shards. What their owners have to free we cannot see, but whether any is short. */
static bool are_short_of(const struct core *core, const struct shard_set *shards, uint64_t bytes)
{
    for (uint32_t i = 0; i < core->options.worker_count; i++) {
        struct shard_memory memory;
        if (shard_set_has(shards, i)) {
            shard_read_memory(core->options.all_shards[i], &memory);
            if (memory.headroom_bytes < bytes && memory.index_bytes + bytes <= limit_of(core)) {
                return true;
            }
        }
    }
    return false;
}

void core_wait_for_memory_of(struct core *core, const struct batch_entry *entry)
{
    struct conversation *conversation = entry->conversation;
    uint64_t bytes = core->config->maxmemory != 0 ? core_wanted_memory(core, entry).bytes : 0;
    bool evicting = core->config->maxmemory_policy != MAXMEMORY_NOEVICTION;
    if (bytes > 0 && evicting && are_short_of(core, &entry->route.shards, bytes + bytes / 4) &&
        goes_on_waiting(core, &conversation->memory_wait_ends_us)) {
        wake_control(core);
        core_retry_later(core, conversation, core->now.mono_us + MEMORY_RETRY_US);
    }
}

bool core_train_is_short_of_memory(const struct core *core, const struct errand *train)
{
    uint64_t bytes = 0;
    for (const struct errand *request = train; request != NULL; request = request->behind) {
        bytes += request->wanted.bytes + request->wanted.bytes / 4;
    }
    return core->config->maxmemory != 0 && bytes > 0 && are_short_of(core, &train->shards, bytes);
}

bool core_errand_waits_for_memory(struct core *core, struct errand *errand)
{
    return core->config->maxmemory != 0 && errand->wanted.bytes > 0 &&
           must_wait(core, &errand->wanted, &errand->memory_wait_ends_us);
}

void core_wait_for_memory(struct core *core, const struct batch_entry *entry)
{
    if (core->config->maxmemory != 0) {
        struct wanted_memory wanted = core_wanted_memory(core, entry);
        if (wanted.bytes > 0) {
            (void)wait_for(core, entry->conversation, &wanted);
        }
    }
}

bool core_datagram_should_wait(const struct core *core, const struct batch_entry *entry)
{
    bool here = entry->route.kind == ROUTE_HERE || entry->route.kind == ROUTE_OWN;
    if (core->config->maxmemory == 0 || !here || core_shard_is_lent(core) ||
        core->datagrams_away >= DATAGRAMS_WAITING_MAX) {
        return false;
    }
    struct wanted_memory wanted = core_wanted_memory(core, entry);
    return wanted.bytes > 0 && look_for_room(core, &wanted).will_come;
}

bool core_bulk_waits_for_memory(struct core *core, struct conversation *conversation,
                                uint64_t bytes)
{
    struct wanted_memory wanted = core_wanted_by_bulk(bytes);
    return core->config->maxmemory != 0 && wait_for(core, conversation, &wanted);
}
