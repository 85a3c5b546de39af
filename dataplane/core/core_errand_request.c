/* A request in an errand: its memory, the copy of it, and running it.
 *
 * Thread: whoever has the errand. What is copied points at nothing of the connection that sent it,
 * but for large arguments, which are counted blobs. Memory: chunks, which its home takes from the
 * heap and keeps for the requests that come later.
 */
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/core/core_errand.h"

#define CHUNK_BYTES       2048U  /* at least, with its header */
#define ERRAND_BYTES_KEPT 65536U /* chunks beyond it are not kept for the next request */
#define ERRAND_PAGES_KEPT 1U

/* ---- memory ---------------------------------------------------------------------------------- */

static struct errand_chunk *create_chunk(size_t bytes)
{
    size_t size = CHUNK_BYTES - sizeof(struct errand_chunk);
    size = bytes > size ? bytes : size;
    struct errand_chunk *chunk = malloc(sizeof(*chunk) + size);
    CHECK(chunk != NULL);
    *chunk = (struct errand_chunk){.size = size};
    return chunk;
}

/* The next chunk that has the room; at the end a new one. */
static void use_chunk_for(struct errand *errand, size_t bytes)
{
    struct errand_chunk **link = errand->chunk != NULL ? &errand->chunk->next : &errand->chunks;
    while (*link != NULL && (*link)->size < bytes) {
        link = &(*link)->next;
    }
    if (*link == NULL) {
        *link = create_chunk(bytes);
    }
    errand->chunk = *link;
    errand->chunk->used = 0;
}

void *errand_allocate(struct errand *errand, size_t bytes)
{
    bytes = RTE_ALIGN_CEIL(bytes, sizeof(max_align_t));
    if (errand->chunk == NULL || bytes > errand->chunk->size - errand->chunk->used) {
        use_chunk_for(errand, bytes);
    }
    uint8_t *room = (uint8_t *)errand->chunk->bytes + errand->chunk->used;
    errand->chunk->used += bytes;
    return room;
}

static void free_chunks_beyond(struct errand *errand, size_t bytes_kept)
{
    size_t bytes = 0;
    for (struct errand_chunk **link = &errand->chunks; *link != NULL;) {
        struct errand_chunk *chunk = *link;
        if (bytes + chunk->size > bytes_kept) {
            *link = chunk->next;
            free(chunk);
        } else {
            bytes += chunk->size;
            link = &chunk->next;
        }
    }
    errand->chunk = NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct errand *errand_acquire(struct core *core)
{
    struct errand *errand = core->free_errands;
    if (errand != NULL) {
        core->free_errands = errand->next;
        return errand;
    }
    size_t size = RTE_ALIGN_CEIL(sizeof(*errand), RTE_CACHE_LINE_SIZE);
    errand = aligned_alloc(RTE_CACHE_LINE_SIZE, size);
    CHECK(errand != NULL);
    memset(errand, 0, size);
    errand->home = core->options.number;
    byte_pool_init(&errand->pool, ERRAND_PAGES_KEPT);
    errand->made_next = core->errands;
    core->errands = errand;
    return errand;
}

static void release_blobs(struct errand_request *request)
{
    while (request->blob_count > 0) {
        blob_release(request->blobs[--request->blob_count]);
    }
}

static void empty_errand(struct errand *errand)
{
    for (struct errand_request *request = errand->has_blobs ? errand->first : NULL; request != NULL;
         request = request->behind) {
        release_blobs(request);
    }
    errand->has_blobs = false;
    errand->first = errand->last = NULL;
    byte_queue_clear(&errand->reply, &errand->pool);
    byte_queue_clear(&errand->collected.text, &errand->pool);
    if (errand->for_datagram && errand->datagram.packet != NULL) {
        udp_release(&errand->packet);
    }
    errand->for_datagram = false;
    errand->conversation = NULL;
    free_chunks_beyond(errand, ERRAND_BYTES_KEPT);
}

void errand_release(struct core *core, struct errand *errand)
{
    core->datagrams_away -= errand->for_datagram;
    empty_errand(errand);
    errand->next = core->free_errands;
    core->free_errands = errand;
}

void core_destroy_errands(struct core *core)
{
    while (core->errands != NULL) {
        struct errand *errand = core->errands;
        core->errands = errand->made_next;
        empty_errand(errand);
        free_chunks_beyond(errand, 0);
        byte_pool_deinit(&errand->pool);
        free(errand);
    }
}

/* ---- copying a request ----------------------------------------------------------------------- */

/* The session keeps large arguments in blobs of their own: they are shared, not copied. */
static bool lie_in_one_of(struct blob *const *blobs, uint32_t count, struct slice bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        if (bytes.data == blobs[i]->bytes) {
            return true;
        }
    }
    return false;
}

bool errand_holds_in_blob(const struct errand_request *request, struct slice bytes)
{
    return lie_in_one_of(request->blobs, request->blob_count, bytes);
}

/* `more` bytes stand behind it, and are the caller's to fill. */
static struct errand_request *add_request(struct errand *train, size_t more)
{
    struct errand_request *request = errand_allocate(train, sizeof(*request) + more);
    *request = (struct errand_request){0};
    if (train->last == NULL) {
        train->first = train->due = request;
    } else {
        train->last->behind = request;
    }
    train->last = request;
    train->request_count++;
    return request;
}

struct errand_request *errand_add_request(struct errand *train, uint32_t blob_count_max)
{
    struct errand_request *request = add_request(train, blob_count_max * sizeof(struct blob *));
    request->blobs = (struct blob **)(request + 1);
    train->has_blobs |= blob_count_max > 0;
    return request;
}

static uint32_t blob_count_of(const struct batch_entry *entry)
{
    return entry->conversation != NULL ? entry->conversation->blob_count : 0;
}

static bool is_blob(const struct batch_entry *entry, struct slice bytes)
{
    uint32_t count = blob_count_of(entry);
    return UNLIKELY(count > 0) && lie_in_one_of(entry->conversation->blobs, count, bytes);
}

static size_t copied_bytes(const struct batch_entry *entry, const struct slice *slices,
                           uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += is_blob(entry, slices[i]) ? 0 : slices[i].size;
    }
    return bytes;
}

static size_t key_bytes(const struct key *keys, uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += keys[i].bytes.size;
    }
    return bytes;
}

/* Whatever the entry points at. */
static size_t bytes_of(const struct batch_entry *entry)
{
    size_t blobs = blob_count_of(entry) * sizeof(struct blob *);
    if (entry->kind == ENTRY_RESP) {
        uint32_t count = entry->resp.argument_count;
        return blobs + count * sizeof(struct slice) + entry->resp.has_key * sizeof(struct key) +
               copied_bytes(entry, entry->resp.arguments, count);
    }
    const struct memcache_request *request = &entry->memcache.request;
    return blobs + sizeof(*request) + request->key_count * sizeof(struct key) +
           key_bytes(entry->keys, request->key_count) + copied_bytes(entry, &request->value, 1) +
           request->arguments.size;
}

/* The next `bytes` of the memory behind a request. */
static void *take(uint8_t **room, size_t bytes)
{
    void *at = *room;
    *room += bytes;
    return at;
}

static struct slice copy_slice(const struct batch_entry *entry, struct slice from, uint8_t **room)
{
    if (from.size == 0 || is_blob(entry, from)) {
        return from;
    }
    uint8_t *to = take(room, from.size);
    memcpy(to, from.data, from.size);
    return slice_of(to, from.size);
}

static void share_blobs(struct errand_request *request, const struct batch_entry *entry,
                        uint8_t **room)
{
    request->blob_count = blob_count_of(entry);
    request->blobs = take(room, request->blob_count * sizeof(struct blob *));
    for (uint32_t i = 0; i < request->blob_count; i++) {
        request->blobs[i] = entry->conversation->blobs[i];
        blob_acquire(request->blobs[i]);
    }
}

static void set_command(struct errand_request *request, const struct batch_entry *entry)
{
    request->command = entry->resp.command;
    request->writes = (request->command->flags & COMMAND_WRITE) != 0;
    request->argument_count = entry->resp.argument_count;
    request->key_count = entry->resp.has_key;
}

static void copy_resp(struct errand_request *request, const struct batch_entry *entry,
                      uint8_t **room)
{
    set_command(request, entry);
    request->arguments = take(room, request->argument_count * sizeof(struct slice));
    request->keys = take(room, request->key_count * sizeof(struct key));
    for (uint32_t i = 0; i < request->argument_count; i++) {
        request->arguments[i] = copy_slice(entry, entry->resp.arguments[i], room);
    }
    if (entry->resp.has_key) {
        *request->keys = key_of(request->arguments[request->command->first_key], entry->keys->hash);
    }
}

static void copy_memcache(struct errand_request *request, const struct batch_entry *entry,
                          uint8_t **room)
{
    const struct memcache_request *from = &entry->memcache.request;
    const struct key *keys = entry->keys;
    request->writes = true;
    request->key_count = from->key_count;
    request->memcache = take(room, sizeof(*from));
    request->keys = take(room, request->key_count * sizeof(struct key));
    for (uint32_t i = 0; i < request->key_count; i++) {
        request->keys[i] = key_of(copy_slice(entry, keys[i].bytes, room), keys[i].hash);
    }
    *request->memcache = *from;
    request->memcache->keys = NULL;
    request->memcache->value = copy_slice(entry, from->value, room);
    request->memcache->arguments = copy_slice(entry, from->arguments, room);
}

/* The large value is the last blob; which argument shows it. */
static void note_large_value(struct errand_request *request)
{
    if (request->blob_count == 0) {
        return;
    }
    request->large_value = request->blobs[request->blob_count - 1];
    for (uint32_t i = request->argument_count; i > 0; i--) {
        if (request->arguments[i - 1].data == request->large_value->bytes) {
            request->large_value_index = i - 1;
            return;
        }
    }
}

/* Most requests: the arguments stand one behind the other in what was received, and are copied with
 * what is between them. */
static struct errand_request *copy_short(struct errand *train, const struct batch_entry *entry)
{
    uint32_t count = entry->resp.argument_count, key_count = entry->resp.has_key;
    const struct slice *from = entry->resp.arguments;
    const uint8_t *text = from[0].data, *end = from[count - 1].data + from[count - 1].size;
    size_t bytes = (size_t)(end - text);
    struct errand_request *request =
        add_request(train, count * sizeof(struct slice) + key_count * sizeof(struct key) + bytes);
    struct slice *arguments = (struct slice *)(request + 1);
    struct key *key = (struct key *)(arguments + count);
    uint8_t *to = (uint8_t *)(key + key_count);
    memcpy(to, text, bytes);
    for (uint32_t i = 0; i < count; i++) {
        arguments[i] = slice_of(to + (from[i].data - text), from[i].size);
    }
    if (LIKELY(key_count > 0)) {
        *key = key_of(arguments[entry->resp.command->first_key], entry->keys->hash);
    }
    set_command(request, entry);
    request->arguments = arguments;
    request->keys = key;
    return request;
}

static struct errand_request *copy_any(struct errand *train, const struct batch_entry *entry)
{
    struct errand_request *request = add_request(train, bytes_of(entry));
    uint8_t *room = (uint8_t *)(request + 1);
    share_blobs(request, entry, &room);
    train->has_blobs |= request->blob_count > 0;
    (entry->kind == ENTRY_RESP ? copy_resp : copy_memcache)(request, entry, &room);
    note_large_value(request);
    return request;
}

struct errand_request *errand_copy_request(struct core *core, struct errand *train,
                                           const struct batch_entry *entry)
{
    bool is_short = entry->kind == ENTRY_RESP && entry->resp.is_short && !entry->must_run;
    struct errand_request *request = (is_short ? copy_short : copy_any)(train, entry);
    request->one_shard = entry->route.has_shard && !entry->route.several;
    request->only_reads = entry->route.only_reads;
    request->owner = entry->route.owner;
    if (core_may_want_memory(core, entry)) {
        request->wanted = core_wanted_memory(core, entry);
    }
    return request;
}

/* ---- running --------------------------------------------------------------------------------- */

static struct collected *collected_of(struct errand *train)
{
    return train->kind == ERRAND_ROUND ? &train->collected : NULL;
}

/* NULL: several. */
static struct shard *shard_of(const struct core *core, const struct errand_request *request)
{
    if (!request->one_shard) {
        return NULL;
    }
    bool own = request->owner == core->options.number;
    return own ? core->shard : core->options.all_shards[request->owner];
}

static enum command_verdict run_memcache(struct core *core, struct errand *train,
                                         const struct errand_request *request, bool shared)
{
    struct memcache_reply reply = {
        .out = &train->reply, .pool = &train->pool, .suppressed = request->memcache->no_reply};
    struct memcache_call call = {.context = core->context,
                                 .shard = shard_of(core, request),
                                 .shared = shared,
                                 .now = &core->now,
                                 .client = &train->client,
                                 .request = request->memcache,
                                 .keys = request->keys,
                                 .large_value = request->large_value,
                                 .collected = collected_of(train),
                                 .reply = &reply};
    if (shared && !shard_is_steady(call.shard)) {
        return COMMAND_TORN;
    }
    return memcache_execute(&call);
}

static void point_at(const struct core *core, struct call *call,
                     const struct errand_request *request)
{
    call->shard = shard_of(core, request);
    call->arguments = request->arguments;
    call->first_key = request->key_count > 0 ? request->keys : NULL;
}

static void init_resp_call(struct core *core, struct errand *train,
                           const struct errand_request *request, struct reply *reply,
                           struct call *call)
{
    *reply = (struct reply){
        .out = &train->reply, .pool = &train->pool, .protocol = train->client.protocol};
    *call = (struct call){.context = core->context,
                          .now = &core->now,
                          .client = &train->client,
                          .command = request->command,
                          .argument_count = request->argument_count,
                          .large_value = request->large_value,
                          .large_value_index = request->large_value_index,
                          .collected = collected_of(train),
                          .reply = reply};
    point_at(core, call, request);
}

static bool continues_row(const struct errand *train, const struct errand_request *request,
                          const struct errand_request *first)
{
    return request->command == first->command && request->argument_count == first->argument_count &&
           request->blob_count == 0 &&
           (request->owner == first->owner || train->kind == ERRAND_LEASE);
}

/* How many from the first on run as a row. Of a train that has its leases it is known that there is
 * room for all. */
static uint32_t row_length(const struct core *core, const struct errand *train,
                           const struct errand_request *first, const struct call *call)
{
    uint32_t count_max = first->key_count > 0 ? command_row_max(call) : 0, count = 0;
    for (const struct errand_request *request = first;
         request != NULL && count < count_max && continues_row(train, request, first);
         request = request->behind) {
        count++;
    }
    bool has_room = train->kind == ERRAND_LEASE || core_errand_row_has_room(core, first, count);
    return has_room ? count : 0;
}

static void run_row(struct core *core, const struct errand_request *request, uint32_t count,
                    struct call *call)
{
    for (uint32_t i = 0; i < count; i++, request = request->behind) {
        point_at(core, call, request);
        command_run_in_row(call);
    }
    command_end_row(call, count);
}

uint32_t errand_run(struct core *core, struct errand *train, const struct errand_request *request)
{
    if (request->command == NULL) {
        CHECK(run_memcache(core, train, request, false) == COMMAND_DONE);
        return 1;
    }
    struct reply reply;
    struct call call;
    init_resp_call(core, train, request, &reply, &call);
    uint32_t count = request->behind != NULL ? row_length(core, train, request, &call) : 1;
    if (count > 1) {
        run_row(core, request, count, &call);
        return count;
    }
    CHECK(command_run_admitted(&call) == COMMAND_DONE);
    return 1;
}

bool errand_read(struct core *core, struct errand *train, const struct errand_request *request)
{
    if (request->command == NULL) {
        return run_memcache(core, train, request, true) != COMMAND_TORN;
    }
    struct reply reply;
    struct call call;
    init_resp_call(core, train, request, &reply, &call);
    call.shared = true;
    return command_run_admitted(&call) != COMMAND_TORN;
}
