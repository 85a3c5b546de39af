/* Requests that wait for memory.
 *
 * What was overwritten, deleted or flushed is freed only after a grace period. Redis frees at once,
 * so a client that deletes and writes near maxmemory expects no OOM error in between. Here such a
 * request waits, with its connection, as long as the shard has something to free, and for
 * MEMORY_WAIT_US_MAX at most; then it runs and gets the error if it must. So maxmemory is never
 * exceeded, and the error means what it means in Redis. Everybody else is served meanwhile.
 */
#include "dataplane/core/core_errand.h"

#define MEMORY_WAIT_US_MAX  500000U
#define MEMORY_RETRY_US     200U
#define ITEM_OVERHEAD_BYTES 128U /* header, allocator rounding */

/* The allocator rounds up, by less than a quarter. */
static bool is_short_of(const struct core *core, uint64_t bytes)
{
    uint64_t limit = (uint64_t)core->config->maxmemory / core->options.worker_count;
    struct shard_memory memory;
    shard_read_memory(core->shard, &memory);
    return memory.used_bytes + bytes + bytes / 4 > limit;
}

uint64_t core_bytes_wanted(const struct batch_entry *entry)
{
    uint64_t bytes = ITEM_OVERHEAD_BYTES;
    switch (entry->kind) {
    case ENTRY_RESP:
        if (entry->resp.command == NULL || (entry->resp.command->flags & COMMAND_DENYOOM) == 0) {
            return 0;
        }
        for (uint32_t i = 1; i < entry->resp.argument_count; i++) {
            bytes += entry->resp.arguments[i].size;
        }
        return bytes;
    case ENTRY_MEMCACHE:
        return entry->memcache.request.value.size > 0 ? bytes + entry->memcache.request.value.size
                                                      : 0;
    case ENTRY_ERROR: break;
    }
    return 0;
}

/* True while who needs `bytes` should wait; *ends_us is 0 at first. */
static bool must_wait(struct core *core, uint64_t bytes, uint64_t *ends_us)
{
    if (!is_short_of(core, bytes) || !shard_will_free(core->shard)) {
        return false;
    }
    uint64_t now_us = core->now.mono_us;
    if (*ends_us == 0) {
        *ends_us = now_us + MEMORY_WAIT_US_MAX;
        metric_add(core->metrics, METRIC_MEMORY_WAITS, 1);
    }
    return now_us < *ends_us;
}

static bool wait_for(struct core *core, struct conversation *conversation, uint64_t bytes)
{
    if (!must_wait(core, bytes, &conversation->memory_wait_ends_us)) {
        return false;
    }
    core_retry_later(core, conversation, core->now.mono_us + MEMORY_RETRY_US);
    return true;
}

bool core_errand_waits_for_memory(struct core *core, struct errand *errand)
{
    return core->config->maxmemory != 0 && errand->bytes_wanted > 0 &&
           must_wait(core, errand->bytes_wanted, &errand->memory_wait_ends_us);
}

void core_wait_for_memory(struct core *core, const struct batch_entry *entry)
{
    uint64_t bytes = core->config->maxmemory != 0 ? core_bytes_wanted(entry) : 0;
    if (bytes > 0) {
        (void)wait_for(core, entry->conversation, bytes);
    }
}

bool core_bulk_waits_for_memory(struct core *core, struct conversation *conversation,
                                uint64_t bytes)
{
    return core->config->maxmemory != 0 && wait_for(core, conversation, bytes);
}
