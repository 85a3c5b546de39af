/* Requests that wait for memory.
 *
 * What was overwritten, deleted, evicted or flushed is freed only after a grace period. Redis frees
 * at once, so a client that writes near maxmemory expects no OOM error in between. Here such a
 * request waits, with its connection, as long as the shard has something to free or to evict; then
 * it runs and gets the error if it must. So maxmemory is never exceeded, and the error means what
 * it means in Redis. Everybody else is served meanwhile.
 *
 * How long at most: where the policy has something to evict, or what it has evicted is enough,
 * WAIT_US_EVICTING: it takes so long only on a host that gives neither the control thread nor the
 * reclaimer any time. Where it is not known that what is being freed will be enough, WAIT_US_MAX.
 *
 * Eviction is the control thread's: it keeps enough free for nobody to wait, and is woken when
 * somebody does. When it has not helped in EMERGENCY_US, the worker evicts by itself, a few keys in
 * a pass. What would not fit into an empty shard, beside the value that it is made from and the
 * large arguments that its request has received already, waits for nothing and evicts nothing.
 *
 * Who waits: a connection tries its request again; one whose request has left the input already
 * (large arguments), and a datagram, wait as errands to their own worker, DATAGRAMS_WAITING_MAX of
 * them at most: they hold packet buffers. A request over several shards waits at each of them,
 * before it takes their leases, and looks once more when it has them.
 */
#include "dataplane/core/core_errand.h"

#define WAIT_US_MAX           500000U
#define WAIT_US_EVICTING      10000000U
#define EMERGENCY_US          5000U
#define WAKE_EVERY_US         1000U
#define DATAGRAMS_WAITING_MAX 256U
#define ITEM_OVERHEAD_BYTES   128U /* header, allocator rounding */
#define ITEM_HEADER_BYTES     32U  /* with an expiry, flags and a CAS value */

struct room {
    bool is_there;
    bool will_come;  /* it is worth waiting for */
    bool is_enough;  /* what will come */
    bool must_evict; /* what is about to be freed is not enough */
};

static uint64_t limit_of(const struct core *core)
{
    return (uint64_t)core->config->maxmemory / core->options.worker_count;
}

/* In a shard that we hold. `bytes` as the allocator rounds them up, by less than a quarter. */
static struct room look_for_room(const struct core *core, struct shard *shard,
                                 const struct wanted_memory *wanted)
{
    uint64_t bytes = wanted->bytes + wanted->bytes / 4;
    if (LIKELY(shard_has_plenty(shard, bytes, wanted->largest_bytes))) {
        return (struct room){.is_there = true};
    }
    uint64_t limit = limit_of(core);
    bool starved = shard_is_starved(shard);
    bool has_place = shard_has_room(shard, wanted->largest_bytes);
    if (LIKELY(shard_used_bytes(shard) + bytes <= limit && !starved && has_place)) {
        return (struct room){.is_there = true};
    }
    struct shard_memory memory;
    shard_read_memory(shard, &memory);
    uint64_t lasting_bytes = memory.used_bytes - memory.retired_bytes;
    uint64_t whole_bytes = memory.index_bytes + bytes + wanted->beside_bytes;
    bool can_evict = whole_bytes <= limit && shard_can_evict(shard);
    bool evicts = shard_policy(shard)->kind != EVICT_NOTHING;
    return (struct room){
        .will_come = can_evict || shard_will_free(shard),
        .is_enough = can_evict || (evicts && lasting_bytes + bytes <= limit),
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
    const struct key *key = entry->keys;
    const struct shard *shard = core_shard_of_key(core, key);
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
        const struct key *key = &entry->keys[0];
        const struct shard *shard = core_shard_of_key(core, key);
        const struct item *old = shard_find_shared(shard, 0, key, &core->now);
        return wanted_by_value(old, key, memcache_value_bytes(shard, old, request));
    }
    uint64_t bytes = missing_bytes(entry, request->value);
    return (struct wanted_memory){.bytes = bytes + ITEM_OVERHEAD_BYTES,
                                  .largest_bytes =
                                      bytes + entry->keys[0].bytes.size + ITEM_HEADER_BYTES};
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

/* What the request has received for the same shard must stay beside it. */
struct wanted_memory core_wanted_by_bulk(const struct conversation *conversation,
                                         const struct shard *shard, uint64_t bytes)
{
    struct wanted_memory wanted = {.bytes = bytes, .largest_bytes = bytes + ITEM_OVERHEAD_BYTES};
    for (uint32_t i = 0; i < conversation->blob_count; i++) {
        const struct blob *blob = conversation->blobs[i];
        wanted.beside_bytes += blob->shard == shard ? blob->capacity_bytes : 0;
    }
    return wanted;
}

/* The part of a request over several shards that one of them must take: a key's arguments follow
 * it. What has been received into blobs is there already. */
static struct wanted_memory wanted_by_part(const struct core *core,
                                           const struct errand_request *request, uint32_t number)
{
    struct wanted_memory wanted = {0};
    uint32_t key_index;
    for (uint32_t i = 1; request->command != NULL && i < request->argument_count; i++) {
        bool is_value =
            command_key_before(request->command, request->argument_count, i, &key_index);
        const struct slice *key = &request->arguments[is_value ? key_index : i];
        struct key hashed = key_hashed(*key);
        if (key_owner(&hashed, core->options.worker_count) == number) {
            uint64_t bytes = errand_holds_in_blob(request, request->arguments[i])
                                 ? 0
                                 : request->arguments[i].size;
            wanted.bytes += bytes + ITEM_OVERHEAD_BYTES;
            wanted.largest_bytes =
                larger(wanted.largest_bytes, bytes + key->size + ITEM_HEADER_BYTES);
        }
    }
    return wanted;
}

static void add_wanted(struct wanted_memory *sum, const struct wanted_memory *part)
{
    sum->bytes += part->bytes;
    sum->largest_bytes = larger(sum->largest_bytes, part->largest_bytes);
    sum->beside_bytes += part->beside_bytes;
}

static struct wanted_memory wanted_of_shard(const struct core *core, const struct errand *train,
                                            uint32_t number)
{
    struct wanted_memory wanted = {0};
    if (!train->first->one_shard) {
        return train->first->wanted.bytes > 0 ? wanted_by_part(core, train->first, number) : wanted;
    }
    for (const struct errand_request *request = train->first; request != NULL;
         request = request->behind) {
        if (request->owner == number) {
            add_wanted(&wanted, &request->wanted);
        }
    }
    return wanted;
}

/* Once in a pass at most, and not while victims of the control thread wait to be removed. */
static void evict_in_emergency(struct core *core)
{
    if (core->emergency_us != core->now.mono_us && !shard_is_evicting(core->shard)) {
        core->emergency_us = core->now.mono_us;
        (void)shard_evict_now(core->shard);
    }
}

static void wake_control(struct core *core)
{
    if (core->now.mono_us - core->control_woken_us >= WAKE_EVERY_US) {
        core->control_woken_us = core->now.mono_us;
        core_wake_control(core);
    }
}

static void ask_for_room(struct core *core, uint64_t bytes, uint64_t since_us)
{
    shard_want_bytes(core->shard, bytes, &core->now);
    wake_control(core);
    if (since_us >= EMERGENCY_US) {
        evict_in_emergency(core);
    }
}

/* What was wanted is there, or given up: no more keys must go for it. Others who wait say so again.
 */
static bool ends_wait(struct core *core, uint64_t began_us)
{
    if (began_us != 0) {
        shard_want_nothing(core->shard);
    }
    return false;
}

/* It may have begun on another worker, whose pass is a little later. */
static uint64_t waited_us(const struct core *core, uint64_t began_us)
{
    return core->now.mono_us > began_us ? core->now.mono_us - began_us : 0;
}

/* False: the time is up. */
static bool goes_on_waiting(struct core *core, uint64_t *began_us, bool is_enough)
{
    if (*began_us == 0) {
        *began_us = core->now.mono_us;
        metric_add(core->metrics, METRIC_MEMORY_WAITS, 1);
    }
    return waited_us(core, *began_us) < (is_enough ? WAIT_US_EVICTING : WAIT_US_MAX);
}

/* True while who wants that of our shard should wait; *began_us is 0 at first. */
static bool must_wait(struct core *core, const struct wanted_memory *wanted, uint64_t *began_us)
{
    struct room room = look_for_room(core, core->shard, wanted);
    if (!room.will_come || !goes_on_waiting(core, began_us, room.is_enough)) {
        return ends_wait(core, *began_us);
    }
    if (room.must_evict) {
        ask_for_room(core, wanted->bytes + wanted->bytes / 4, waited_us(core, *began_us));
    }
    return true;
}

static bool wait_for(struct core *core, struct conversation *conversation,
                     const struct wanted_memory *wanted)
{
    if (!must_wait(core, wanted, &conversation->memory_wait_began_us)) {
        return false;
    }
    core_retry_later(core, conversation);
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

bool core_train_is_short_of_memory(const struct core *core, const struct errand *train)
{
    uint64_t bytes = 0;
    for (const struct errand_request *request = train->first; request != NULL;
         request = request->behind) {
        bytes += request->wanted.bytes + request->wanted.bytes / 4;
    }
    return core->config->maxmemory != 0 && bytes > 0 && are_short_of(core, &train->shards, bytes);
}

bool core_errand_waits_for_memory(struct core *core, struct errand *train)
{
    if (core->config->maxmemory == 0 || train->due->wanted.bytes == 0) {
        return false;
    }
    struct wanted_memory wanted = train->kind == ERRAND_ROOM
                                      ? wanted_of_shard(core, train, core->options.number)
                                      : train->due->wanted;
    return must_wait(core, &wanted, &train->memory_wait_began_us);
}

/* Of one of its shards, which we hold; `all` is what it wants of all of them. */
static bool lacks_memory_of(struct core *core, struct errand *train, uint32_t number,
                            const struct wanted_memory *all)
{
    struct shard *shard = core->options.all_shards[number];
    if (LIKELY(look_for_room(core, shard, all).is_there)) {
        return false;
    }
    struct wanted_memory wanted = wanted_of_shard(core, train, number);
    if (wanted.bytes == 0) {
        return false;
    }
    struct room room = look_for_room(core, shard, &wanted);
    return room.will_come && goes_on_waiting(core, &train->memory_wait_began_us, room.is_enough);
}

bool core_leases_lack_memory(struct core *core, struct errand *train)
{
    struct wanted_memory all = {0};
    for (const struct errand_request *request = train->first; request != NULL;
         request = request->behind) {
        add_wanted(&all, &request->wanted);
    }
    for (uint32_t i = 0;
         all.bytes > 0 && core->config->maxmemory != 0 && i < core->options.worker_count; i++) {
        if (shard_set_has(&train->shards, i) && lacks_memory_of(core, train, i, &all)) {
            return true;
        }
    }
    return false;
}

bool core_row_has_room(const struct core *core, const struct batch_entry *entries, uint32_t count)
{
    const struct command *command = entries[0].resp.command;
    if (core->config->maxmemory == 0 || (command->flags & COMMAND_DENYOOM) == 0) {
        return true;
    }
    struct wanted_memory all = {0};
    for (uint32_t i = 0; i < count && command->value_bytes == NULL; i++) {
        struct wanted_memory wanted = wanted_by_resp(core, &entries[i]);
        add_wanted(&all, &wanted);
    }
    return command->value_bytes == NULL &&
           shard_has_plenty(core->shard, all.bytes + all.bytes / 4, all.largest_bytes);
}

bool core_errand_row_has_room(const struct core *core, const struct errand_request *request,
                              uint32_t count)
{
    struct wanted_memory all = {0};
    for (uint32_t i = 0; core->config->maxmemory != 0 && i < count; i++) {
        add_wanted(&all, &request->wanted);
        request = request->behind;
    }
    return all.bytes == 0 ||
           shard_has_plenty(core->shard, all.bytes + all.bytes / 4, all.largest_bytes);
}

void core_wait_for_wanted_memory(struct core *core, const struct batch_entry *entry)
{
    struct wanted_memory wanted = core_wanted_memory(core, entry);
    if (wanted.bytes > 0) {
        (void)wait_for(core, entry->conversation, &wanted);
    }
}

bool core_waits_better_as_errand(const struct core *core, const struct batch_entry *entry)
{
    bool here = entry->route.kind == ROUTE_HERE || entry->route.kind == ROUTE_OWN;
    bool too_many = entry->conversation == NULL && core->datagrams_away >= DATAGRAMS_WAITING_MAX;
    if (!here || core_shard_is_lent(core) || too_many) {
        return false;
    }
    struct wanted_memory wanted = core_wanted_memory(core, entry);
    return wanted.bytes > 0 && look_for_room(core, core->shard, &wanted).will_come;
}

bool core_bulk_waits_for_memory(struct core *core, struct conversation *conversation,
                                uint64_t bytes)
{
    struct wanted_memory wanted = core_wanted_by_bulk(conversation, core->shard, bytes);
    return core->config->maxmemory != 0 && wait_for(core, conversation, &wanted);
}

void core_note_memory_retry(struct core *core)
{
    uint64_t due_us = core->now.mono_us + CORE_MEMORY_RETRY_US;
    core->next_timer_us = due_us < core->next_timer_us ? due_us : core->next_timer_us;
}
