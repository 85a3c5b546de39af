/* The batch: requests of many connections, run together.
 *
 * Path: core_conversation.c and core_datagram.c add parsed requests. Each is looked up at once: its
 * command, where it will run, the hashes of its keys; and what the index and the items will be
 * asked for begins to be fetched, while the next ones are parsed, then while those before it run
 * (shard_prefetch in shard.h). core_run_batch runs them all, in the order of arrival. Replies go
 * straight into each stream's output.
 *
 * A request of a connection whose errand has not left yet joins it (core_errand.h). One that must
 * not run after all is skipped: its connection was closed by an earlier one in the same batch, or
 * it waits for a reply or for room. In the latter case the session is rewound to the first request
 * that was skipped, and everything from there on is parsed again later.
 */
#include "dataplane/core/core_errand.h"

#include "dataplane/base/check.h"

/* ---- added: looked up, on its way ------------------------------------------------------------ */

static inline uint32_t entry_database(const struct core *core, const struct batch_entry *entry)
{
    return entry->conversation != NULL ? entry->conversation->client.database
                                       : core->datagram_client.database;
}

static inline void note_index(const struct index *index, const struct batch_entry *entry,
                              uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        entry->keys[i].index = index;
    }
}

/* Anybody's, whose shards the request will read under RCU. */
static void note_shared_indexes(const struct core *core, const struct batch_entry *entry,
                                uint32_t count)
{
    uint32_t database = entry_database(core, entry);
    if (!entry->route.several) {
        const struct shard *shard = core->options.all_shards[entry->route.owner];
        note_index(shard_index(shard, database), entry, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct key *key = &entry->keys[i];
        key->index = shard_index(core_shard_of_key(core, key), database);
    }
}

/* Where it will run, and what its keys will be looked up in there. */
static __attribute__((noinline)) void route_among_workers(struct core *core,
                                                          struct batch_entry *entry, uint32_t count)
{
    core_route_entry(core, entry);
    switch (entry->route.kind) {
    case ROUTE_HERE:
    case ROUTE_OWN:
        note_index(shard_index(core->shard, entry_database(core, entry)), entry, count);
        break;
    case ROUTE_SHARED: note_shared_indexes(core, entry, count); break;
    case ROUTE_OWNER:
    case ROUTE_LEASE:
    case ROUTE_ROUND: note_index(NULL, entry, count); break; /* they travel */
    }
}

static inline void finish_entry(struct core *core, struct batch_entry *entry, uint32_t count)
{
    if (LIKELY(core->options.worker_count == 1)) {
        note_index(shard_index(core->shard, entry_database(core, entry)), entry, count);
    } else {
        route_among_workers(core, entry, count);
    }
    shard_prefetch_add(&core->context->ahead, count);
}

static inline const struct command *find_command(struct batch *batch,
                                                 const struct batch_entry *entry)
{
    const struct slice *arguments = entry->resp.arguments;
    if (LIKELY(batch->named != NULL && slice_equal_short(arguments[0], batch->name))) {
        return batch->named;
    }
    const struct command *command = command_find(arguments, entry->resp.argument_count);
    if (command != NULL && command->parent == NULL && !command->is_container) {
        batch->named = command;
        batch->name = arguments[0];
    }
    return command;
}

void core_batch_finish_resp(struct core *core, struct batch_entry *entry)
{
    struct batch *batch = &core->batch;
    const struct command *command = find_command(batch, entry);
    entry->resp.command = command;
    entry->resp.has_key =
        command != NULL &&
        command_first_key(command, entry->resp.arguments, entry->resp.argument_count, entry->keys);
    batch->key_count += entry->resp.has_key;
    finish_entry(core, entry, entry->resp.has_key);
}

void core_batch_finish_memcache(struct core *core, struct batch_entry *entry,
                                const struct slice *keys)
{
    struct batch *batch = &core->batch;
    uint32_t count = entry->memcache.request.key_count;
    if (LIKELY(entry->keys == &batch->keys[batch->key_count])) {
        CHECK(count <= CORE_BATCH_KEYS - batch->key_count);
        batch->key_count += count;
    } /* else they have a place of their own */
    for (uint32_t i = 0; i < count; i++) {
        key_init(&entry->keys[i], keys[i]);
    }
    finish_entry(core, entry, count);
}

/* ---- run ------------------------------------------------------------------------------------- */

void core_after_command(struct conversation *conversation)
{
    struct session *session = &conversation->session;
    if (conversation->client.close_after_reply || conversation->client.close_now) {
        session->closing = true;
        session->stream->close_requested = true;
    }
    stream_mark_dirty(session->stream);
}

void core_count_output(struct core *core, struct conversation *conversation, size_t before)
{
    size_t bytes = conversation->session.stream->out.size - before;
    metric_add(core->metrics, METRIC_SESSION_OUTPUT_BYTES, bytes);
    conversation->client.output_bytes += bytes;
}

static uint32_t index_of_blob_argument(const struct batch_entry *entry, const struct blob *blob)
{
    for (uint32_t i = entry->resp.argument_count; blob != NULL && i > 0; i--) {
        if (entry->resp.arguments[i - 1].data == blob->bytes) {
            return i - 1;
        }
    }
    return 0;
}

/* The shard that all keys of the request are on; NULL: they are on several. */
static struct shard *shard_of(const struct core *core, const struct route *route)
{
    if (route->kind == ROUTE_HERE || route->kind == ROUTE_OWN) {
        return core->shard;
    }
    return route->has_shard && !route->several ? core->options.all_shards[route->owner] : NULL;
}

static inline __attribute__((always_inline)) void init_resp_call(struct core *core,
                                                                 const struct batch_entry *entry,
                                                                 struct reply *reply,
                                                                 struct call *call)
{
    struct conversation *conversation = entry->conversation;
    struct blob *blob = conversation_last_blob(conversation);
    *reply = (struct reply){.out = &conversation->session.stream->out,
                            .pool = &core->bytes,
                            .protocol = conversation->client.protocol};
    *call = (struct call){
        .context = core->context,
        .shard = shard_of(core, &entry->route),
        .shared = entry->route.kind == ROUTE_SHARED,
        .now = &core->now,
        .client = &conversation->client,
        .command = entry->resp.command,
        .argument_count = entry->resp.argument_count,
        .arguments = entry->resp.arguments,
        .first_key = entry->resp.has_key ? entry->keys : NULL,
        .large_value = blob,
        .large_value_index = index_of_blob_argument(entry, blob),
        .reply = reply,
    };
}

/* False: what it saw did not hold together, and nothing was replied. */
static bool run_resp(struct core *core, struct batch_entry *entry)
{
    struct conversation *conversation = entry->conversation;
    struct reply reply;
    struct call call;
    init_resp_call(core, entry, &reply, &call);
    bool sees_others = call.command != NULL && (call.command->flags & COMMAND_ADMIN) != 0;
    if (UNLIKELY(sees_others)) {
        core_note_sizes(core);
    }
    enum command_verdict verdict = command_run(&call);
    if (verdict == COMMAND_DEFERRED) {
        core_defer(core, conversation, &call.deferral);
    }
    if (UNLIKELY(sees_others)) {
        core_close_killed(core);
    }
    return verdict != COMMAND_TORN;
}

/* memcached does not promise that several keys of one get are read at one moment, so only a joint
 * write that is under way keeps it from reading. */
static bool memcache_may_share(const struct core *core, const struct batch_entry *entry)
{
    if (!entry->route.several) {
        return shard_is_steady(core->options.all_shards[entry->route.owner]);
    }
    for (uint32_t i = 0; i < core->options.worker_count; i++) {
        if (shard_set_has(&entry->route.shards, i) &&
            !shard_is_steady(core->options.all_shards[i])) {
            return false;
        }
    }
    return true;
}

static inline __attribute__((always_inline)) void init_memcache_call(struct core *core,
                                                                     struct batch_entry *entry,
                                                                     struct memcache_reply *reply,
                                                                     struct memcache_call *call)
{
    struct conversation *conversation = entry->conversation;
    *reply = (struct memcache_reply){
        .out = conversation != NULL ? &conversation->session.stream->out : &core->datagram_reply,
        .pool = &core->bytes,
        .suppressed = entry->memcache.request.no_reply,
    };
    *call = (struct memcache_call){
        .context = core->context,
        .shard = shard_of(core, &entry->route),
        .shared = entry->route.kind == ROUTE_SHARED,
        .now = &core->now,
        .client = conversation != NULL ? &conversation->client : &core->datagram_client,
        .request = &entry->memcache.request,
        .keys = entry->keys,
        .large_value = conversation != NULL ? conversation_last_blob(conversation) : NULL,
        .reply = reply,
    };
}

/* False: an item that can only be read here must be changed, and nothing was replied. */
static bool run_memcache(struct core *core, struct batch_entry *entry)
{
    struct conversation *conversation = entry->conversation;
    struct memcache_reply reply;
    struct memcache_call call;
    init_memcache_call(core, entry, &reply, &call);
    enum command_verdict verdict = memcache_execute(&call);
    if (UNLIKELY(call.deferral.request != NULL)) {
        core_defer(core, conversation, &call.deferral);
    } else if (UNLIKELY(call.starts_dump)) {
        core_begin_dump(core, conversation);
    } else if (UNLIKELY(call.watches != 0)) {
        core_begin_watch(core, conversation, call.watches);
    }
    return verdict != COMMAND_TORN;
}

static void refuse_resp(struct core *core, struct conversation *conversation, const char *text)
{
    struct reply reply = {.out = &conversation->session.stream->out,
                          .pool = &core->bytes,
                          .protocol = conversation->client.protocol};
    struct call call = {.context = core->context,
                        .shard = core->shard,
                        .now = &core->now,
                        .client = &conversation->client,
                        .reply = &reply};
    command_refuse(&call, text);
}

static void refuse_memcache(struct core *core, struct conversation *conversation, const char *text)
{
    struct memcache_reply reply = {.out = conversation != NULL ? &conversation->session.stream->out
                                                               : &core->datagram_reply,
                                   .pool = &core->bytes};
    memcache_reply_line(&reply, text);
    metric_add(core->metrics, METRIC_ERROR_REPLIES, 1);
}

static void reply_parse_error(struct core *core, struct batch_entry *entry)
{
    struct conversation *conversation = entry->conversation;
    if (entry->error.text[0] != '\0') {
        (entry->error.memcache ? refuse_memcache : refuse_resp)(core, conversation,
                                                                entry->error.text);
    }
    if (entry->error.fatal && conversation != NULL) {
        conversation->client.close_after_reply = true;
    }
}

static bool run_entry(struct core *core, struct batch_entry *entry)
{
    switch (entry->kind) {
    case ENTRY_RESP: return run_resp(core, entry);
    case ENTRY_MEMCACHE:
        if (entry->route.kind == ROUTE_SHARED && !memcache_may_share(core, entry)) {
            return false;
        }
        return run_memcache(core, entry);
    case ENTRY_ERROR: reply_parse_error(core, entry); break;
    }
    return true;
}

/* ---- requests that need other shards --------------------------------------------------------- */

/* Off to the owners, unless the first half of its checks refuses it. */
static void send_errand(struct core *core, struct batch_entry *entry, bool admitted)
{
    if (entry->kind == ENTRY_RESP && !admitted) {
        struct reply reply;
        struct call call;
        init_resp_call(core, entry, &reply, &call);
        if (!command_admit(&call)) {
            return;
        }
    }
    core_send_errand(core, entry);
}

/* Runs it, or sends it on its way. */
static void run_routed(struct core *core, struct batch_entry *entry)
{
    struct route *route = &entry->route;
    if (LIKELY(route->kind == ROUTE_HERE)) {
        (void)run_entry(core, entry);
        return;
    }
    switch (route->kind) {
    case ROUTE_OWN:
        if (core_shard_is_lent(core) && route->only_reads) {
            route->kind = ROUTE_SHARED; /* as anybody else may read it */
        } else if (core_shard_is_lent(core)) {
            send_errand(core, entry, false); /* to ourselves */
            return;
        }
        break;
    case ROUTE_OWNER:
    case ROUTE_LEASE:
    case ROUTE_ROUND: send_errand(core, entry, false); return;
    case ROUTE_HERE:
    case ROUTE_SHARED: break;
    }
    if (route->kind == ROUTE_SHARED) {
        metric_add(core->metrics, METRIC_READS_SHARED, 1);
    }
    if (!run_entry(core, entry)) {
        metric_add(core->metrics, METRIC_READS_TORN, 1);
        send_errand(core, entry, true);
    }
}

/* It is counted when it comes again. */
static void skip_entry(struct core *core, const struct batch_entry *entry)
{
    struct conversation *conversation = entry->conversation;
    core->stages.requests--;
    if (!conversation->rewind) {
        conversation->rewind = true;
        conversation->session.executed = entry->begin;
    }
}

/* How much it may become before it is no longer served. */
static size_t output_limit(const struct conversation *conversation)
{
    return LIKELY(conversation->client.authenticated) ? CORE_OUTPUT_PAUSE_BYTES
                                                      : CORE_OUTPUT_PAUSE_LOGIN_BYTES;
}

static bool output_is_full(const struct batch_entry *entry)
{
    return entry->conversation->session.stream->out.size > output_limit(entry->conversation) &&
           !entry->must_run;
}

/* Blocks the conversation when its request must wait for our shard, or for memory of it. */
static void wait_for_shard(struct core *core, struct batch_entry *entry)
{
    if (entry->route.kind != ROUTE_HERE && entry->route.kind != ROUTE_OWN) {
        return;
    }
    if (!core_shard_is_lent(core)) {
        core_wait_for_memory(core, entry);
    } else if (entry->route.kind == ROUTE_OWN && !entry->route.only_reads) {
        core_await_shard(core, entry->conversation);
    }
}

/* The next requests of a connection whose errand has not left yet go with it. */
static bool join_errand(struct core *core, const struct batch_entry *entry)
{
    if (!core_errand_takes(core, entry)) {
        return false;
    }
    if (entry->kind == ENTRY_RESP && !core_errand_ends_alike(core, entry)) {
        struct reply reply;
        struct call call;
        init_resp_call(core, entry, &reply, &call);
        if (!command_admit_silently(&call)) {
            return false;
        }
    }
    core_join_errand(core, entry);
    return true;
}

static void run_conversation_entry(struct core *core, struct batch_entry *entry)
{
    struct conversation *conversation = entry->conversation;
    struct session *session = &conversation->session;
    shard_prefetch_reach(&core->context->ahead, entry->keys);
    session->pending--;
    if (session->closing) {
        return;
    }
    if (session->blocked == SESSION_RUNNING && output_is_full(entry)) {
        session->stream->drain_below = output_limit(conversation) / 4;
        session_block(session, SESSION_AWAITS_OUTPUT);
    }
    if (session->blocked == SESSION_RUNNING && !entry->must_run) {
        wait_for_shard(core, entry);
    }
    if (session->blocked != SESSION_RUNNING) {
        if (!join_errand(core, entry)) {
            skip_entry(core, entry);
        }
        return;
    }
    conversation->memory_wait_began_us = 0;
    size_t before = session->stream->out.size;
    if (UNLIKELY(entry->must_run && core_should_wait_as_errand(core, entry))) {
        core_route_entry(core, entry);
        send_errand(core, entry, false);
    } else {
        run_routed(core, entry);
    }
    core_count_output(core, conversation, before);
    core_after_command(conversation);
}

/* A datagram holds one request. One that travels takes its datagram along; so does one that waits
 * for memory of our own shard. */
static void run_datagram_entry(struct core *core, struct batch_entry *entry)
{
    uint64_t before = core->errand_count;
    core_begin_datagram_reply(core, entry->datagram);
    if (UNLIKELY(core_should_wait_as_errand(core, entry))) {
        core_route_entry(core, entry);
        core_send_errand(core, entry);
    } else {
        run_routed(core, entry);
    }
    if (core->errand_count == before) {
        core_send_datagram_reply(core, entry->datagram);
    }
}

/* ---- rows of requests ------------------------------------------------------------------------ */

/* On a shard that nobody else has at the moment. */
static inline bool runs_here(const struct core *core, const struct batch_entry *entry)
{
    return entry->route.kind == ROUTE_HERE ||
           (entry->route.kind == ROUTE_OWN && !core_shard_is_lent(core));
}

/* Reads one key, and of several workers: any of them may, wherever it is, unless its shard is in
 * the middle of a joint write. */
static inline bool reads_anywhere(const struct batch_entry *entry)
{
    const struct route *route = &entry->route;
    return (route->kind == ROUTE_SHARED || route->kind == ROUTE_OWN) && route->only_reads &&
           command_has_one_key(entry->resp.command);
}

/* Nothing but the command itself can keep it from running, here and now. */
static inline bool runs_freely(const struct core *core, const struct batch_entry *entry)
{
    if (entry->kind != ENTRY_RESP || entry->must_run || !entry->resp.has_key) {
        return false;
    }
    const struct session *session = &entry->conversation->session;
    return session->blocked == SESSION_RUNNING && !session->closing && !output_is_full(entry) &&
           (runs_here(core, entry) || reads_anywhere(entry));
}

static inline bool continues_row(const struct batch_entry *entry, const struct batch_entry *first)
{
    return entry->kind == ENTRY_RESP && entry->conversation == first->conversation &&
           entry->resp.command == first->resp.command &&
           entry->resp.argument_count == first->resp.argument_count && !entry->must_run &&
           (entry->route.kind == first->route.kind ||
            (reads_anywhere(entry) && reads_anywhere(first)));
}

static inline uint32_t row_length(const struct batch_entry *entries, uint32_t count_max)
{
    uint32_t count = 1;
    while (count < count_max && continues_row(&entries[count], entries)) {
        count++;
    }
    return count;
}

/* The shard that it reads. False: not now. */
static inline bool point_at_shard(const struct core *core, const struct batch_entry *entry,
                                  struct call *call)
{
    call->shared = !runs_here(core, entry);
    call->shard = core->options.all_shards[entry->route.owner];
    return !call->shared || shard_is_steady(call->shard);
}

/* Until all have run, the output is full, or one is to be read elsewhere, where it is not possible
 * now. */
static uint32_t run_row_entries(struct core *core, const struct batch_entry *entries,
                                uint32_t count, struct call *call)
{
    struct conversation *conversation = entries->conversation;
    const struct byte_queue *out = &conversation->session.stream->out;
    size_t before = out->size, limit = output_limit(conversation);
    bool anywhere = reads_anywhere(entries);
    uint32_t done = 0, shared = 0;
    while (done < count && out->size <= limit) {
        const struct batch_entry *entry = &entries[done];
        if (UNLIKELY(anywhere)) {
            if (!point_at_shard(core, entry, call)) {
                break;
            }
            shared += call->shared;
        }
        call->arguments = entry->resp.arguments;
        call->first_key = entry->keys;
        shard_prefetch_reach(&core->context->ahead, entry->keys);
        command_run_in_row(call);
        done++;
    }
    if (UNLIKELY(done == 0)) {
        return 0;
    }
    metric_add(core->metrics, METRIC_READS_SHARED, shared);
    command_end_row(call, done);
    conversation->memory_wait_began_us = 0;
    conversation->session.pending = (uint16_t)(conversation->session.pending - done);
    core_count_output(core, conversation, before);
    core_after_command(conversation);
    return done;
}

/* How many requests from the first on have run as a row (command.h), one perhaps; 0: it has to run
 * by itself. */
static uint32_t run_row(struct core *core, const struct batch_entry *entries, uint32_t count_max)
{
    if (!runs_freely(core, entries)) {
        return 0;
    }
    struct reply reply;
    struct call call;
    init_resp_call(core, entries, &reply, &call);
    uint32_t row_max = command_row_max(&call);
    if (row_max == 0) {
        return 0;
    }
    uint32_t count = row_length(entries, row_max < count_max ? row_max : count_max);
    if (UNLIKELY(!core_row_has_room(core, entries, count))) {
        return 0;
    }
    return run_row_entries(core, entries, count, &call);
}

/* A plain get asks nothing of the owners but to be no joint write's (COMMAND_TORN). */
static bool datagram_reads_elsewhere(const struct core *core, const struct batch_entry *entry)
{
    const struct memcache_request *request = &entry->memcache.request;
    return entry->route.kind == ROUTE_SHARED && request->verb == MEMCACHE_GET &&
           !request->binary.present && memcache_may_share(core, entry);
}

/* The same of a datagram. What has keys waits for nothing but memory (struct memcache_call). */
static inline bool datagram_runs_freely(const struct core *core, const struct batch_entry *entry)
{
    return entry->kind == ENTRY_MEMCACHE && entry->conversation == NULL &&
           entry->memcache.request.key_count > 0 &&
           (runs_here(core, entry) || datagram_reads_elsewhere(core, entry)) &&
           !core_should_wait_as_errand(core, entry);
}

/* Requests of datagrams from the first on, as far as they are a row. How many: one at least, which
 * may have to run by itself. */
static uint32_t run_datagrams(struct core *core, struct batch_entry *entries, uint32_t count_max)
{
    if (UNLIKELY(!datagram_runs_freely(core, entries))) {
        run_datagram_entry(core, entries);
        return 1;
    }
    struct memcache_reply reply;
    struct memcache_call call;
    init_memcache_call(core, entries, &reply, &call);
    uint32_t done = 0, shared = 0;
    do {
        const struct batch_entry *entry = &entries[done];
        call.shard = shard_of(core, &entry->route);
        call.shared = entry->route.kind == ROUTE_SHARED;
        call.request = &entry->memcache.request;
        call.keys = entry->keys;
        shard_prefetch_reach(&core->context->ahead, entry->keys);
        core_begin_datagram_reply(core, entry->datagram);
        (void)memcache_execute(&call);
        core_send_datagram_reply(core, entry->datagram);
        shared += call.shared;
    } while (++done < count_max && datagram_runs_freely(core, &entries[done]));
    metric_add(core->metrics, METRIC_READS_SHARED, shared);
    return done;
}

static void run_entries(struct core *core)
{
    struct batch *batch = &core->batch;
    for (uint32_t first = 0, count; first < batch->count; first += count) {
        struct batch_entry *entry = &batch->entries[first];
        if (UNLIKELY(entry->conversation == NULL)) {
            count = run_datagrams(core, entry, batch->count - first);
        } else if ((count = run_row(core, entry, batch->count - first)) == 0) {
            run_conversation_entry(core, entry);
            count = 1;
        }
    }
}

void core_run_batch(struct core *core)
{
    struct batch *batch = &core->batch;
    if (batch->count == 0) {
        return;
    }
    enum stage before = core_enter_stage(core, STAGE_RUN);
    core_share_time(core);
    core_note_observers(core);
    core->stages.requests += batch->count;
    if (core->context->ahead.count <= 1) { /* alone it gains nothing: it would be looked up twice */
        shard_prefetch_end(&core->context->ahead);
    }
    run_entries(core);
    shard_prefetch_end(&core->context->ahead);
    batch->count = batch->slice_count = batch->key_count = 0;
    core_send_gathered(core);
    (void)core_flush_outboxes(core);
    core_enter_stage(core, before);
}
