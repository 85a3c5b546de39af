/* A request in an errand: its memory, the copy of it, and running it.
 *
 * Thread: whoever has the errand. What is copied points at nothing of the connection that sent it,
 * but for large arguments, which are counted blobs.
 */
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/core/core_errand.h"

#define ERRAND_BYTES_KEPT 65536U /* a larger buffer is not kept for the next request */
#define ERRAND_PAGES_KEPT 1U

/* ---- life ------------------------------------------------------------------------------------ */

struct errand *errand_acquire(struct core *core)
{
    struct errand *errand = core->free_errands;
    if (errand != NULL) {
        core->free_errands = errand->next;
        return errand;
    }
    errand = calloc(1, sizeof(*errand));
    CHECK(errand != NULL);
    errand->home = core->options.number;
    byte_pool_init(&errand->pool, ERRAND_PAGES_KEPT);
    errand->made_next = core->errands;
    core->errands = errand;
    return errand;
}

static void empty_errand(struct errand *errand)
{
    while (errand->blob_count > 0) {
        blob_release(errand->blobs[--errand->blob_count]);
    }
    byte_queue_clear(&errand->reply, &errand->pool);
    byte_queue_clear(&errand->collected.text, &errand->pool);
    if (errand->for_datagram && errand->datagram.packet != NULL) {
        udp_release(&errand->packet);
    }
    errand->for_datagram = false;
    errand->conversation = NULL;
    errand->behind = NULL;
    if (errand->byte_capacity > ERRAND_BYTES_KEPT) {
        free(errand->bytes);
        errand->bytes = NULL;
        errand->byte_capacity = 0;
    }
}

void errand_release(struct core *core, struct errand *errand)
{
    while (errand != NULL) {
        struct errand *behind = errand->behind;
        core->datagrams_away -= errand->for_datagram;
        empty_errand(errand);
        errand->next = core->free_errands;
        core->free_errands = errand;
        errand = behind;
    }
}

void core_destroy_errands(struct core *core)
{
    while (core->errands != NULL) {
        struct errand *errand = core->errands;
        core->errands = errand->made_next;
        empty_errand(errand);
        byte_pool_deinit(&errand->pool);
        free(errand->arguments);
        free(errand->keys);
        free(errand->bytes);
        free(errand->blobs);
        free(errand);
    }
}

/* ---- copying a request ----------------------------------------------------------------------- */

static void *grown(void *array, uint32_t *capacity, uint32_t count, size_t size)
{
    if (count <= *capacity) {
        return array;
    }
    *capacity = count;
    array = realloc(array, count * size);
    CHECK(array != NULL);
    return array;
}

/* The session keeps large arguments in blobs of their own: they are shared, not copied. */
bool errand_holds_in_blob(const struct errand *errand, struct slice bytes)
{
    for (uint32_t i = 0; i < errand->blob_count; i++) {
        if (bytes.data == errand->blobs[i]->bytes) {
            return true;
        }
    }
    return false;
}

void errand_reserve_blobs(struct errand *errand, uint32_t count)
{
    errand->blobs = grown(errand->blobs, &errand->blob_capacity, count, sizeof(struct blob *));
}

static void share_blobs(struct errand *errand, const struct conversation *conversation)
{
    uint32_t count = conversation != NULL ? conversation->blob_count : 0;
    errand_reserve_blobs(errand, count);
    for (uint32_t i = 0; i < count; i++) {
        errand->blobs[i] = conversation->blobs[i];
        blob_acquire(errand->blobs[i]);
    }
    errand->blob_count = count;
}

static size_t copied_bytes(const struct errand *errand, const struct slice *slices, uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += errand_holds_in_blob(errand, slices[i]) ? 0 : slices[i].size;
    }
    return bytes;
}

void errand_reserve_bytes(struct errand *errand, size_t bytes)
{
    if (bytes > errand->byte_capacity) {
        free(errand->bytes);
        errand->bytes = malloc(bytes);
        CHECK(errand->bytes != NULL);
        errand->byte_capacity = bytes;
    }
}

static struct slice copy_slice(const struct errand *errand, struct slice from, size_t *used)
{
    if (from.size == 0 || errand_holds_in_blob(errand, from)) {
        return from;
    }
    uint8_t *to = errand->bytes + *used;
    memcpy(to, from.data, from.size);
    *used += from.size;
    return slice_of(to, from.size);
}

static void copy_arguments(struct errand *errand, const struct slice *from, uint32_t count,
                           size_t *used)
{
    errand->arguments =
        grown(errand->arguments, &errand->argument_capacity, count, sizeof(struct slice));
    for (uint32_t i = 0; i < count; i++) {
        errand->arguments[i] = copy_slice(errand, from[i], used);
    }
    errand->argument_count = count;
}

static void copy_resp(struct errand *errand, const struct batch_entry *entry)
{
    size_t used = 0;
    uint32_t count = entry->resp.argument_count;
    errand_reserve_bytes(errand, copied_bytes(errand, entry->resp.arguments, count));
    copy_arguments(errand, entry->resp.arguments, count, &used);
    errand->command = entry->resp.command;
    errand->writes = (errand->command->flags & COMMAND_WRITE) != 0;
    errand->has_key = entry->resp.has_key;
    if (errand->has_key) {
        errand->first_key =
            key_of(errand->arguments[errand->command->first_key], entry->resp.key.hash);
    }
}

static void copy_memcache(struct errand *errand, const struct batch_entry *entry)
{
    const struct memcache_request *request = &entry->memcache.request;
    size_t used = 0;
    uint32_t count = request->key_count;
    errand_reserve_bytes(errand, copied_bytes(errand, request->keys, count) +
                                     copied_bytes(errand, &request->value, 1) +
                                     request->arguments.size);
    copy_arguments(errand, request->keys, count, &used);
    errand->keys = grown(errand->keys, &errand->key_capacity, count, sizeof(struct key));
    for (uint32_t i = 0; i < count; i++) {
        errand->keys[i] = key_of(errand->arguments[i], entry->memcache.keys[i].hash);
    }
    errand->command = NULL;
    errand->writes = true;
    errand->memcache = *request;
    errand->memcache.keys = errand->arguments;
    errand->memcache.value = copy_slice(errand, request->value, &used);
    errand->memcache.arguments = copy_slice(errand, request->arguments, &used);
}

/* The large value is the last blob; which argument shows it. */
static void note_large_value(struct errand *errand)
{
    errand->large_value = errand->blob_count > 0 ? errand->blobs[errand->blob_count - 1] : NULL;
    errand->large_value_index = 0;
    for (uint32_t i = errand->argument_count; errand->large_value != NULL && i > 0; i--) {
        if (errand->arguments[i - 1].data == errand->large_value->bytes) {
            errand->large_value_index = i - 1;
            return;
        }
    }
}

void errand_copy_request(struct core *core, struct errand *errand, const struct batch_entry *entry)
{
    share_blobs(errand, entry->conversation);
    if (entry->kind == ENTRY_RESP) {
        copy_resp(errand, entry);
    } else {
        copy_memcache(errand, entry);
    }
    note_large_value(errand);
    errand->one_shard = entry->route.has_shard && !entry->route.several;
    errand->only_reads = entry->route.only_reads;
    errand->owner = entry->route.owner;
    errand->wanted = core_wanted_memory(core, entry);
    errand->memory_wait_began_us = 0;
    errand->collected.count = 0;
    errand->collected.pool = &errand->pool;
}

/* ---- running --------------------------------------------------------------------------------- */

static struct collected *collected_of(struct errand *train)
{
    return train->kind == ERRAND_ROUND ? &train->collected : NULL;
}

static enum command_verdict run_memcache(struct core *core, struct errand *train,
                                         const struct errand *request, struct shard *shard,
                                         bool shared)
{
    struct memcache_reply reply = {
        .out = &train->reply, .pool = &train->pool, .suppressed = request->memcache.no_reply};
    struct memcache_call call = {.context = core->context,
                                 .shard = shard,
                                 .shared = shared,
                                 .now = &core->now,
                                 .client = &train->client,
                                 .request = &request->memcache,
                                 .keys = request->keys,
                                 .large_value = request->large_value,
                                 .collected = collected_of(train),
                                 .reply = &reply};
    if (shared && shard_observe(shard).version % 2 != 0) {
        return COMMAND_TORN;
    }
    return memcache_execute(&call);
}

static enum command_verdict run_resp(struct core *core, struct errand *train,
                                     const struct errand *request, struct shard *shard, bool shared)
{
    struct reply reply = {
        .out = &train->reply, .pool = &train->pool, .protocol = train->client.protocol};
    struct call call = {.context = core->context,
                        .shard = shard,
                        .shared = shared,
                        .now = &core->now,
                        .client = &train->client,
                        .command = request->command,
                        .argument_count = request->argument_count,
                        .arguments = request->arguments,
                        .first_key = request->has_key ? &request->first_key : NULL,
                        .large_value = request->large_value,
                        .large_value_index = request->large_value_index,
                        .collected = collected_of(train),
                        .reply = &reply};
    return command_run_admitted(&call);
}

enum command_verdict errand_run(struct core *core, struct errand *train,
                                const struct errand *request, struct shard *shard, bool shared)
{
    core_share_time(core);
    core_note_observers(core);
    enum command_verdict verdict = request->command == NULL
                                       ? run_memcache(core, train, request, shard, shared)
                                       : run_resp(core, train, request, shard, shared);
    CHECK(verdict == COMMAND_DONE || (verdict == COMMAND_TORN && shared));
    return verdict;
}
