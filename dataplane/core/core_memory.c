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
 * a pass. What would not fit into an empty shard waits for nothing and evicts nothing.
 */
#include "dataplane/core/core_internal.h"

#define MEMORY_WAIT_US_MAX  500000U
#define MEMORY_RETRY_US     200U
#define EMERGENCY_US        5000U
#define WAKE_EVERY_US       1000U
#define ITEM_OVERHEAD_BYTES 128U /* header, allocator rounding */

/* Both false: there is room enough, or none will come. */
struct room {
    bool will_come;  /* it is worth waiting for */
    bool must_evict; /* what is about to be freed is not enough */
};

/* `bytes` as the allocator rounds them up, by less than a quarter. */
static struct room look_for_room(const struct core *core, uint64_t bytes)
{
    uint64_t limit = (uint64_t)core->config->maxmemory / core->options.worker_count;
    struct shard_memory memory;
    shard_read_memory(core->shard, &memory);
    bool starved = shard_is_starved(core->shard);
    if (memory.used_bytes + bytes <= limit && !starved) {
        return (struct room){0};
    }
    uint64_t lasting_bytes = memory.used_bytes - memory.retired_bytes;
    bool can_evict = memory.index_bytes + bytes <= limit && shard_can_evict(core->shard);
    return (struct room){
        .will_come = can_evict || shard_will_free(core->shard),
        .must_evict = can_evict && (lasting_bytes + bytes > limit || starved),
    };
}

/* What the request may add to the shard, at most; 0 when it adds nothing. */
static uint64_t bytes_wanted(const struct batch_entry *entry)
{
    uint64_t bytes = ITEM_OVERHEAD_BYTES;
    switch (entry->kind) {
    case ENTRY_RESP:
        if (entry->resp.command == NULL || (entry->resp.command->flags & COMMAND_DENYOOM) == 0) {
            return 0;
        }
        for (uint32_t i = 1; i < entry->resp.argument_count; i++) {
            bytes += entry->resp.arguments[i].size + ITEM_OVERHEAD_BYTES;
        }
        return bytes;
    case ENTRY_MEMCACHE:
        return entry->memcache.request.value.size > 0 ? bytes + entry->memcache.request.value.size
                                                      : 0;
    case ENTRY_ERROR: break;
    }
    return 0;
}

/* Once in a pass at most, and not while victims of the control thread wait to be removed. */
static void evict_in_emergency(struct core *core)
{
    if (core->emergency_us != core->now.mono_us && !shard_is_evicting(core->shard)) {
        core->emergency_us = core->now.mono_us;
        shard_evict_now(core->shard);
    }
}

static void ask_for_room(struct core *core, uint64_t bytes, uint64_t waited_us)
{
    uint64_t now_us = core->now.mono_us;
    shard_want_bytes(core->shard, bytes, &core->now);
    if (now_us - core->control_woken_us >= WAKE_EVERY_US) {
        core->control_woken_us = now_us;
        core_wake_control(core);
    }
    if (waited_us >= EMERGENCY_US) {
        evict_in_emergency(core);
    }
}

/* What was wanted is there, or given up: no more keys must go for it. Others who wait say so again.
 */
static bool ends_wait(struct core *core, const struct conversation *conversation)
{
    if (conversation->memory_wait_ends_us != 0) {
        shard_want_nothing(core->shard);
    }
    return false;
}

static bool wait_for(struct core *core, struct conversation *conversation, uint64_t bytes)
{
    bytes += bytes / 4;
    struct room room = look_for_room(core, bytes);
    if (!room.will_come) {
        return ends_wait(core, conversation);
    }
    uint64_t now_us = core->now.mono_us;
    if (conversation->memory_wait_ends_us == 0) {
        conversation->memory_wait_ends_us = now_us + MEMORY_WAIT_US_MAX;
        metric_add(core->metrics, METRIC_MEMORY_WAITS, 1);
    }
    if (now_us >= conversation->memory_wait_ends_us) {
        return ends_wait(core, conversation);
    }
    if (room.must_evict) {
        uint64_t began_us = conversation->memory_wait_ends_us - MEMORY_WAIT_US_MAX;
        ask_for_room(core, bytes, now_us - began_us);
    }
    core_retry_later(core, conversation, now_us + MEMORY_RETRY_US);
    return true;
}

void core_wait_for_memory(struct core *core, const struct batch_entry *entry)
{
    uint64_t bytes = core->config->maxmemory != 0 ? bytes_wanted(entry) : 0;
    if (bytes > 0) {
        (void)wait_for(core, entry->conversation, bytes);
    }
}

bool core_bulk_waits_for_memory(struct core *core, struct conversation *conversation,
                                uint64_t bytes)
{
    return core->config->maxmemory != 0 && wait_for(core, conversation, bytes);
}
