/* Conversations: from stream events to requests in the batch.
 *
 * Path: the transports' events come in by core_take_events; bytes go through the session to the
 * protocol's parser; complete requests go into the batch, errors too, so that every reply keeps its
 * place. Before anything that would move bytes which the batch still points at, the batch is run.
 *
 * Failure: what a peer gets wrong is answered as the reference answers it. A value that does not
 * fit into maxmemory is discarded as it arrives, and its request gets the OOM error.
 */
#include "dataplane/core/core_errand.h"

#include <stdio.h>
#include <stdlib.h>

#include <rte_prefetch.h>

#include "dataplane/base/check.h"

#define EVENTS_AHEAD 4U /* whose conversations are on their way from memory */

/* ---- life ------------------------------------------------------------------------------------ */

static struct conversation *acquire_conversation(struct core *core)
{
    struct conversation *conversation = object_pool_acquire(&core->conversations);
    CHECK(conversation != NULL);
    memset(conversation, 0, sizeof(*conversation));
    return conversation;
}

static bool is_memcache(const struct conversation *conversation)
{
    return conversation->client.kind == CLIENT_MEMCACHE;
}

bool core_is_protected_from(const struct core *core, const struct endpoint *peer,
                            enum client_kind kind)
{
    bool has_password = core->config->requirepass[0] != '\0';
    if (has_password) {
        return kind == CLIENT_MEMCACHE_UDP;
    }
    return core->config->protected_mode && peer->port != 0 && !address_is_loopback(&peer->address);
}

/* Of all workers. Each counts a new one before it looks, in one order for all (an exchange, not a
 * fence: ThreadSanitizer knows none): when two come at once and there is room for one, both may be
 * refused, but never both served. */
static uint64_t served_count(const struct core *core)
{
    const struct core_options *options = &core->options;
    uint64_t count = 0;
    (void)__atomic_fetch_add(&core->metrics->values[METRIC_CONNECTIONS_CURRENT], 0,
                             __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < options->worker_count; i++) {
        const struct metrics *metrics =
            options->all_metrics != NULL ? options->all_metrics[i] : core->metrics;
        count += __atomic_load_n(&metrics->values[METRIC_CONNECTIONS_CURRENT], __ATOMIC_SEQ_CST);
    }
    return count;
}

static const char *refusal(const struct core *core, const struct conversation *conversation)
{
    bool memcache = is_memcache(conversation);
    if (served_count(core) > (uint64_t)core->config->maxclients) {
        return memcache ? "ERROR Too many open connections" : "ERR max number of clients reached";
    }
    if (core_is_protected_from(core, &conversation->session.stream->peer,
                               conversation->client.kind)) {
        return memcache ? "SERVER_ERROR protected mode: only local clients are served"
                        : "DENIED nicached is running in protected mode because protected mode is "
                          "enabled and no password is set for the default user. In this mode "
                          "connections are only accepted from the loopback interface. To serve "
                          "other hosts, set 'requirepass', or 'protected-mode no' where the "
                          "network itself keeps strangers out.";
    }
    return NULL;
}

/* Until it is closed it is still there, but takes nobody's place. */
static void leave_count(struct core *core, struct conversation *conversation)
{
    conversation->refused = true;
    metric_subtract(core->metrics, METRIC_CONNECTIONS_CURRENT, 1);
}

static void refuse(struct core *core, struct conversation *conversation, const char *text)
{
    struct stream *stream = conversation->session.stream;
    if (is_memcache(conversation)) {
        struct memcache_reply reply = {.out = &stream->out, .pool = &core->bytes};
        memcache_reply_line(&reply, text);
    } else {
        struct reply reply = {.out = &stream->out, .pool = &core->bytes, .protocol = 2};
        reply_error(&reply, text);
    }
    metric_add(core->metrics, METRIC_CONNECTIONS_REJECTED, 1);
    leave_count(core, conversation);
    conversation->session.closing = true;
    stream->close_requested = true;
    stream_mark_dirty(stream);
}

static void open_conversation(struct core *core, struct stream *stream)
{
    struct conversation *conversation = acquire_conversation(core);
    session_attach(&conversation->session, stream);
    stream->session = &conversation->session;

    struct client *client = &conversation->client;
    client_open(&core->clients, client,
                stream->listener == LISTENER_MEMCACHE ? CLIENT_MEMCACHE : CLIENT_RESP);
    client->local = stream->local;
    client->peer = stream->peer;
    client->socket_fd = stream->socket_fd;
    client->protocol = 2;
    client->authenticated = core->config->requirepass[0] == '\0';
    client->created_mono_us = client->active_mono_us = core->now.mono_us;

    metric_add(core->metrics, METRIC_CONNECTIONS_RECEIVED, 1);
    metric_add(core->metrics, METRIC_CONNECTIONS_CURRENT, 1);
    if (UNLIKELY(core->context->observed != 0) && is_memcache(conversation)) {
        memcache_note_opened(core->context, client);
    }
    metric_add(core->metrics, METRIC_CONNECTION_BYTES, sizeof(*conversation));
    const char *text = refusal(core, conversation);
    if (text != NULL) {
        refuse(core, conversation, text);
    }
    core_note_owing(core, conversation);
}

static enum memcache_close_reason reason_of(const struct conversation *conversation)
{
    if (conversation->timed_out) {
        return CLOSED_IDLE;
    }
    bool in_order = conversation->session.finished || conversation->client.close_after_reply;
    return in_order ? CLOSED_NORMALLY : CLOSED_BY_ERROR;
}

static void release_blobs(struct conversation *conversation)
{
    while (conversation->blob_count > 0) {
        blob_release(conversation->blobs[--conversation->blob_count]);
    }
    conversation->client.argument_bytes = 0;
    conversation->blob_refused = false;
    conversation->blob_answer = BLOB_UNASKED;
}

static void untouch(struct core *core, struct session *session)
{
    struct session **link = &core->touched;
    while (*link != NULL && *link != session) {
        link = &(*link)->touched_next;
    }
    if (*link != NULL) {
        *link = session->touched_next;
    }
}

static void close_conversation(struct core *core, struct conversation *conversation)
{
    CHECK(conversation->session.pending == 0);
    if (conversation->session.touched) {
        untouch(core, &conversation->session);
    }
    core_forget_deferred(core, conversation);
    if (UNLIKELY(core->context->observed != 0) && is_memcache(conversation)) {
        memcache_note_closed(core->context, &conversation->client, reason_of(conversation));
    }
    if (UNLIKELY(conversation->watched != 0)) {
        core_end_watch(core, conversation);
    }
    core_forget_limits(core, conversation);
    if (conversation->errand != NULL) {
        conversation->errand->conversation = NULL;
    }
    release_blobs(conversation);
    free(conversation->blobs);
    core_forget_parser(core, conversation);
    session_detach(&conversation->session);
    client_close(&core->clients, &conversation->client);
    if (!conversation->refused) {
        metric_subtract(core->metrics, METRIC_CONNECTIONS_CURRENT, 1);
    }
    metric_subtract(core->metrics, METRIC_CONNECTION_BYTES, sizeof(*conversation));
    object_pool_release(&core->conversations, conversation);
}

/* ---- large arguments ------------------------------------------------------------------------- */

void core_add_blob(struct conversation *conversation, struct blob *blob)
{
    if (conversation->blob_count == conversation->blob_capacity) {
        uint32_t capacity = conversation->blob_capacity != 0 ? conversation->blob_capacity * 2 : 4;
        conversation->blobs = realloc(conversation->blobs, capacity * sizeof(*conversation->blobs));
        CHECK(conversation->blobs != NULL);
        conversation->blob_capacity = capacity;
    }
    conversation->blobs[conversation->blob_count++] = blob;
    conversation->client.argument_bytes += blob->capacity_bytes;
}

/* What both parsers say, in one shape. */
struct parsed {
    enum parse_verdict verdict;
    uint64_t bulk_offset, bulk_bytes;
    const char *error; /* in `result` */
    union {
        struct resp_parse_result resp;
        struct memcache_parse_result memcache;
    } result;
};

static struct blob *create_blob(struct core *core, struct conversation *conversation,
                                uint64_t bytes)
{
    struct blob *blob = shard_create_blob(core->shard, (uint32_t)bytes);
    if (blob != NULL) {
        core_add_blob(conversation, blob);
    }
    return blob;
}

static struct blob *take_answer(struct conversation *conversation)
{
    bool granted = conversation->blob_answer == BLOB_GRANTED;
    conversation->blob_answer = BLOB_UNASKED;
    CHECK(!granted || conversation->blob_count > 0);
    return granted ? conversation->blobs[conversation->blob_count - 1] : NULL;
}

/* The payload of `bytes` bytes behind the first `head` bytes of the request goes into the blob.
 * Without memory it is discarded; the request then gets the OOM error, or, in memcached's protocol,
 * runs without its value: a set still deletes what the key held. True: the parser can go on with
 * the bytes there are. */
static bool begin_bulk(struct conversation *conversation, const struct parsed *parsed,
                       struct blob *blob)
{
    if (blob == NULL && conversation->speaks_binary) {
        memcache_binary_refuse_value(&conversation->parser->memcache_binary);
        return true;
    }
    if (blob == NULL && is_memcache(conversation)) {
        memcache_parser_refuse_value(&conversation->parser->memcache);
        return true;
    }
    conversation->blob_refused |= blob == NULL;
    session_receive_bulk(&conversation->session, (size_t)parsed->bulk_offset,
                         blob != NULL ? blob->bytes : NULL, (size_t)parsed->bulk_bytes);
    return false;
}

static void end_bulk(struct conversation *conversation)
{
    struct session *session = &conversation->session;
    /* A discarded payload has no bytes; its request is never run, so nobody looks for them. */
    struct slice payload = slice_of(
        conversation->blob_refused ? (const uint8_t *)"" : session->bulk, session->bulk_bytes);
    if (conversation->speaks_binary) {
        memcache_binary_supply_value(&conversation->parser->memcache_binary, payload);
    } else if (is_memcache(conversation)) {
        memcache_parser_supply_value(&conversation->parser->memcache, payload);
    } else {
        resp_parser_supply_bulk(&conversation->parser->resp, payload);
    }
    session_finish_bulk(session);
}

/* ---- parsing --------------------------------------------------------------------------------- */

static void add_error(struct core *core, struct conversation *conversation, const char *text,
                      bool fatal)
{
    if (!core_batch_has_room(core, 0, 0)) {
        core_run_batch(core);
    }
    struct batch_entry *entry = core_batch_add(core, ENTRY_ERROR, conversation);
    snprintf(entry->error.text, sizeof(entry->error.text), "%s", text);
    entry->error.fatal = fatal;
    entry->error.memcache = is_memcache(conversation);
}

static bool may_add(const struct session *session)
{
    return session->blocked == SESSION_RUNNING && !session->closing;
}

/* Inline requests with quotes: the parser owns their bytes, and only until its next call. */
static bool uses_parser_memory(const struct resp_parser *parser, const struct resp_request *request)
{
    for (uint32_t i = 0; parser->unquoted != NULL && i < request->argument_count; i++) {
        const uint8_t *at = request->arguments[i].data;
        if (at >= parser->unquoted && at < parser->unquoted + parser->unquoted_capacity) {
            return true;
        }
    }
    return false;
}

static void add_resp(struct core *core, struct conversation *conversation,
                     const struct resp_request *request)
{
    bool fits = request->argument_count <= CORE_BATCH_SLICES;
    if (!core_batch_has_room(core, fits ? request->argument_count : 0, 1)) {
        core_run_batch(core);
    }
    struct batch_entry *entry = core_batch_add(core, ENTRY_RESP, conversation);
    entry->resp.argument_count = request->argument_count;
    entry->resp.arguments =
        fits ? core_batch_slices(core, request->arguments, request->argument_count)
             : request->arguments;
    entry->resp.is_short = false;
    core_batch_finish_resp(core, entry);
    if (!fits || uses_parser_memory(&conversation->parser->resp, request)) {
        core_run_batch(core);
    }
}

/* How the next bytes are read depends on what becomes of it. */
static bool changes_parsing(enum memcache_verb verb)
{
    return verb == MEMCACHE_WATCH || verb == MEMCACHE_SASL_LIST || verb == MEMCACHE_SASL_AUTH ||
           verb == MEMCACHE_SASL_STEP;
}

/* What is behind a watch that has run is not looked at. */
static void drop_input_of_watcher(struct conversation *conversation)
{
    if (conversation->watched != 0) {
        conversation->session.parsed = conversation->session.view.size;
    }
}

/* More keys than a batch has room for: it is empty. */
static __attribute__((noinline)) void run_with_many_keys(struct core *core,
                                                         struct batch_entry *entry,
                                                         const struct slice *from, uint32_t count)
{
    struct key *keys = calloc(count, sizeof(*keys));
    CHECK(keys != NULL);
    entry->keys = keys;
    core_begin_batch(core, keys);
    core_batch_finish_memcache(core, entry, from);
    core_run_batch(core);
    free(keys);
}

/* `request` is the next entry's, when nothing has run since. */
static void add_memcache(struct core *core, struct conversation *conversation,
                         const struct memcache_request *request)
{
    uint32_t count = request->key_count;
    bool fits = count <= CORE_BATCH_KEYS;
    if (UNLIKELY(!fits || !core_batch_has_room(core, 0, count))) {
        core_run_batch(core);
    }
    struct batch_entry *entry = core_batch_add(core, ENTRY_MEMCACHE, conversation);
    if (UNLIKELY(&entry->memcache.request != request)) {
        entry->memcache.request = *request;
    }
    if (LIKELY(fits)) {
        core_batch_finish_memcache(core, entry, request->keys);
        if (UNLIKELY(!conversation->speaks_binary &&
                     memcache_uses_parser(&conversation->parser->memcache, request))) {
            core_run_batch(core);
        }
        if (UNLIKELY(count == 0 && changes_parsing(request->verb))) {
            core_run_batch(core);
            drop_input_of_watcher(conversation);
        }
    } else {
        run_with_many_keys(core, entry, request->keys, count);
    }
}

/* Without authentication the limits are tight: an AUTH that waits in the batch has its say first.
 */
static bool is_authenticated(struct core *core, struct conversation *conversation)
{
    bool authenticated = command_client_authenticated(core->context, &conversation->client);
    if (authenticated || conversation->session.pending == 0) {
        return authenticated;
    }
    core_run_batch(core);
    return command_client_authenticated(core->context, &conversation->client);
}

static void parse_resp(struct core *core, struct conversation *conversation, struct slice input,
                       struct parsed *parsed)
{
    struct resp_limits limits = {
        .bulk_bytes_max = (uint64_t)core->config->proto_max_bulk_len,
        .authenticated = is_authenticated(core, conversation),
    };
    struct resp_parse_result *result = &parsed->result.resp;
    struct resp_request request;
    resp_parse(&conversation->parser->resp, &limits, input, &request, result);
    parsed->verdict = result->verdict;
    parsed->bulk_offset = result->bulk_offset;
    parsed->bulk_bytes = result->bulk_bytes;
    parsed->error = result->error;
    conversation->session.parsed += result->consumed;
    if (result->verdict == PARSE_COMPLETE && !conversation->blob_refused) {
        add_resp(core, conversation, &request);
    }
}

/* As memcached's auto-negotiation: the first byte decides for the connection. */
static void note_first_byte(struct core *core, struct conversation *conversation,
                            struct slice input)
{
    conversation->has_spoken = true;
    if (input.data[0] == MEMCACHE_BINARY_REQUEST_MAGIC) {
        core_forget_parser(core, conversation);
        conversation->speaks_binary = true;
        core_take_parser(core, conversation);
    }
}

/* Into the place of the batch's next entry, which it returns. */
static struct memcache_request *parse_memcache_bytes(struct core *core,
                                                     struct conversation *conversation,
                                                     struct slice input,
                                                     struct memcache_parse_result *result)
{
    uint64_t item_bytes_max = (uint64_t)core->config->memcache_item_size_max;
    bool login_needed = !is_authenticated(core, conversation);
    struct memcache_request *request = core_batch_next_request(core);
    if (UNLIKELY(conversation->speaks_binary)) {
        struct memcache_binary_limits limits = {item_bytes_max, login_needed};
        memcache_binary_parse(&conversation->parser->memcache_binary, &limits, input, request,
                              result);
    } else if (UNLIKELY(login_needed)) {
        memcache_login_parse(input, request, result);
    } else {
        struct memcache_limits limits = {item_bytes_max};
        conversation->parser->memcache.has_spoken = true; /* note_first_byte has looked at it */
        memcache_parse(&conversation->parser->memcache, &limits, input, request, result);
    }
    return request;
}

static void parse_memcache(struct core *core, struct conversation *conversation, struct slice input,
                           struct parsed *parsed)
{
    struct memcache_parse_result *result = &parsed->result.memcache;
    if (UNLIKELY(!conversation->has_spoken)) {
        note_first_byte(core, conversation, input);
    }
    struct memcache_request *request = parse_memcache_bytes(core, conversation, input, result);
    parsed->verdict = result->verdict;
    parsed->bulk_offset = result->bulk_offset;
    parsed->bulk_bytes = result->bulk_bytes;
    parsed->error = result->error;
    conversation->session.parsed += result->consumed;
    if (result->verdict == PARSE_COMPLETE) {
        add_memcache(core, conversation, request);
    }
}

/* The request whose large arguments were received is over: its entry points at them, so it runs
 * now. Or all of it arrived before the answer was looked at: then that is of no use any more.
 */
static void finish_large_request(struct core *core, struct conversation *conversation)
{
    if (conversation->blob_count > 0 || conversation->blob_refused ||
        conversation->blob_answer != BLOB_UNASKED) {
        core_run_batch(core);
        release_blobs(conversation);
    }
}

static bool receive_own_bulk(struct core *core, struct conversation *conversation,
                             const struct parsed *parsed)
{
    if (core_shard_is_lent(core)) {
        core_await_shard(core, conversation);
        return false;
    }
    if (core_bulk_waits_for_memory(core, conversation, parsed->bulk_bytes)) {
        return false;
    }
    return begin_bulk(conversation, parsed, create_blob(core, conversation, parsed->bulk_bytes));
}

/* The value will be another shard's: its owner allocates. */
static bool receive_foreign_bulk(struct core *core, struct conversation *conversation,
                                 const struct parsed *parsed, uint32_t owner)
{
    if (conversation->blob_answer == BLOB_UNASKED) {
        core_ask_for_blob(core, conversation, owner, parsed->bulk_bytes);
        return false;
    }
    return begin_bulk(conversation, parsed, take_answer(conversation));
}

/* The request needs a large argument: requests before it run first, they may still point at the
 * bytes that move now. */
static bool receive_bulk(struct core *core, struct conversation *conversation,
                         const struct parsed *parsed)
{
    if (parsed->bulk_bytes <= ITEM_INLINE_BYTES_MAX) {
        return false;
    }
    if (conversation->session.pending > 0) {
        core_run_batch(core);
    }
    if (!may_add(&conversation->session)) {
        return false;
    }
    if (conversation->blob_refused || parsed->bulk_bytes > ITEM_VALUE_BYTES_MAX) {
        return begin_bulk(conversation, parsed, NULL);
    }
    uint32_t owner = core_owner_of_bulk(core, conversation);
    return owner == core->options.number ? receive_own_bulk(core, conversation, parsed)
                                         : receive_foreign_bulk(core, conversation, parsed, owner);
}

static void parse_request(struct core *core, struct conversation *conversation,
                          struct parsed *parsed)
{
    struct session *session = &conversation->session;
    struct slice input = slice_from(session->view, session->parsed);
    conversation->request_begin = session->parsed;
    if (is_memcache(conversation)) {
        parse_memcache(core, conversation, input, parsed);
    } else {
        parse_resp(core, conversation, input, parsed);
    }
}

/* One step of the parser. False when it can do nothing more with the bytes there are. */
static bool parse_step(struct core *core, struct conversation *conversation)
{
    struct parsed parsed;
    parse_request(core, conversation, &parsed);
    switch (parsed.verdict) {
    case PARSE_COMPLETE:
        if (conversation->blob_refused) {
            add_error(core, conversation, ERROR_OOM, false);
        }
        break;
    case PARSE_NOTHING: break;
    case PARSE_ERROR: add_error(core, conversation, parsed.error, false); break;
    case PARSE_FATAL: add_error(core, conversation, parsed.error, true); break;
    case PARSE_PARTIAL: return receive_bulk(core, conversation, &parsed);
    }
    finish_large_request(core, conversation);
    return parsed.verdict != PARSE_FATAL;
}

static bool input_exceeds_limit(const struct core *core, const struct session *session)
{
    return session->view.size - session->parsed > (uint64_t)core->config->client_query_buffer_limit;
}

/* Common requests of RESP, straight into the batch. True when one comes that parse_step must look
 * at; false: there is nothing more to take, or nothing more may be added. What is only a part of a
 * common request stays where it is, and needs no parser. */
static bool take_short_requests(struct core *core, struct conversation *conversation)
{
    struct session *session = &conversation->session;
    struct batch *batch = &core->batch;
    if (conversation->parser != NULL && !resp_parser_is_at_rest(&conversation->parser->resp)) {
        return true;
    }
    while (session->parsed < session->view.size) {
        if (UNLIKELY(!core_batch_has_room(core, RESP_SHORT_ARGUMENTS_MAX, 1))) {
            core_run_batch(core);
            if (!may_add(session)) {
                return false;
            }
        }
        struct slice *arguments = &batch->slices[batch->slice_count];
        size_t consumed;
        uint32_t count = resp_parse_next(&core->shape, slice_from(session->view, session->parsed),
                                         arguments, &consumed);
        if (UNLIKELY(count - 1 >= RESP_SHORT_ARGUMENTS_MAX)) {
            return count != RESP_SHORT_PARTIAL;
        }
        conversation->request_begin = session->parsed;
        struct batch_entry *entry = core_batch_add(core, ENTRY_RESP, conversation);
        entry->resp.argument_count = count;
        entry->resp.arguments = arguments;
        entry->resp.is_short = true;
        batch->slice_count += count;
        core_batch_finish_resp(core, entry);
        session->parsed += consumed;
    }
    return false;
}

/* The same of memcached's text protocol. */
static bool take_plain_requests(struct core *core, struct conversation *conversation)
{
    struct session *session = &conversation->session;
    const struct conversation_parser *parser = conversation->parser;
    if (conversation->speaks_binary || !conversation->client.authenticated ||
        (parser != NULL && !memcache_parser_is_at_rest(&parser->memcache))) {
        return true;
    }
    while (session->parsed < session->view.size) {
        if (UNLIKELY(!core_batch_has_room(core, 0, 0))) {
            core_run_batch(core);
            if (!may_add(session)) {
                return false;
            }
        }
        conversation->request_begin = session->parsed;
        size_t consumed = core_batch_add_plain(core, conversation, NULL,
                                               slice_from(session->view, session->parsed));
        if (consumed == 0) {
            return true;
        }
        conversation->has_spoken = true;
        session->parsed += consumed;
    }
    return false;
}

static void parse_view(struct core *core, struct conversation *conversation)
{
    struct session *session = &conversation->session;
    core_touch(core, conversation);
    while (may_add(session) && session->parsed < session->view.size) {
        if (LIKELY(conversation->blob_answer == BLOB_UNASKED) &&
            !(is_memcache(conversation) ? take_plain_requests
                                        : take_short_requests)(core, conversation)) {
            break;
        }
        if (conversation->parser == NULL) {
            core_take_parser(core, conversation);
        }
        if (!parse_step(core, conversation)) {
            break;
        }
    }
    if (may_add(session) && input_exceeds_limit(core, session)) {
        metric_add(core->metrics, METRIC_QUERY_LIMIT_DISCONNECTIONS, 1);
        session->closing = true;
        session->stream->abort_requested = true;
        stream_mark_dirty(session->stream);
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

void core_touch(struct core *core, struct conversation *conversation)
{
    struct session *session = &conversation->session;
    if (!session->touched) {
        session->touched = true;
        session->touched_next = core->touched;
        core->touched = session;
    }
}

/* Ends the look at a view: where the session goes on from. */
static void end_view(struct core *core, struct conversation *conversation)
{
    struct session *session = &conversation->session;
    if (!conversation->rewind) {
        session->executed = session->parsed;
    } else {
        core_forget_parser(core, conversation); /* it is parsed again from its beginning */
        conversation->rewind = false;
    }
    if (session->closing) {
        session->executed = session->view.size;
    }
}

/* What did not run stays in the session's buffer. */
static void settle_view(struct core *core, struct conversation *conversation)
{
    end_view(core, conversation);
    session_settle(&conversation->session);
}

/* Parses the view, and behind every large argument that has arrived completely. */
static void parse_all(struct core *core, struct conversation *conversation)
{
    parse_view(core, conversation);
    while (session_bulk_complete(&conversation->session)) {
        end_bulk(conversation);
        parse_view(core, conversation);
    }
    core_return_parser(core, conversation);
}

static void take_data(struct core *core, struct conversation *conversation,
                      const struct stream_event *event)
{
    struct session *session = &conversation->session;
    struct slice data = event->data;
    metric_add(core->metrics, METRIC_SESSION_INPUT_BYTES, data.size);
    conversation->client.input_bytes += data.size;
    conversation->client.active_mono_us = core->now.mono_us;
    if (UNLIKELY(conversation->watched != 0)) {
        return; /* it is not asked any more */
    }
    while (data.size > 0 && !session->closing) {
        if (session->pending > 0) {
            core_run_batch(core);
        }
        if (session->view.size > 0) {
            end_view(core, conversation);
        }
        if (session->bulk_active) {
            data = session_fill_bulk(session, data);
            if (!session_bulk_complete(session)) {
                return;
            }
            end_bulk(conversation);
        } else {
            session_offer(session, data, event->front_bytes);
            data = slice_of(NULL, 0);
        }
        parse_all(core, conversation);
    }
}

/* The peer has finished and everything it asked is answered: so are we. */
static void close_if_finished(struct session *session)
{
    if (session->finished && session->blocked == SESSION_RUNNING && !session->closing) {
        session->closing = true;
        session->stream->close_requested = true;
        stream_mark_dirty(session->stream);
    }
}

static void take_event(struct core *core, const struct stream_event *event)
{
    if (event->type == STREAM_OPENED) {
        open_conversation(core, event->stream);
        return;
    }
    struct session *session = event->stream->session;
    CHECK(session != NULL);
    struct conversation *conversation = conversation_of_session(session);
    switch (event->type) {
    case STREAM_OPENED: break;
    case STREAM_DATA: take_data(core, conversation, event); break;
    case STREAM_FINISHED:
        session->finished = true;
        core_touch(core, conversation);
        break;
    case STREAM_DRAINED:
        conversation->client.active_mono_us = core->now.mono_us; /* it reads */
        if (session->blocked == SESSION_AWAITS_OUTPUT) {
            core_continue(core, conversation);
        }
        break;
    case STREAM_CLOSED:
        if (session->pending > 0) {
            core_run_batch(core);
        }
        event->stream->session = NULL;
        close_conversation(core, conversation);
        break;
    }
}

void core_continue(struct core *core, struct conversation *conversation)
{
    struct session *session = &conversation->session;
    if (session->pending > 0) {
        core_run_batch(core);
    }
    if (session->closing) {
        return;
    }
    /* It may have been blocked in this very pass: its view is not settled then. */
    if (session->view.size > 0) {
        settle_view(core, conversation);
    }
    session_resume(session);
    parse_all(core, conversation);
}

/* What of a conversation is read or written with a request; with many connections it is not in the
 * cache. */
void core_prefetch_conversation(const struct conversation *conversation)
{
    const uint8_t *first = (const uint8_t *)conversation;
#pragma GCC unroll 16
    for (size_t at = 0; at < CONVERSATION_HOT_BYTES; at += RTE_CACHE_LINE_SIZE) {
        rte_prefetch0(first + at);
    }
}

static void prefetch_conversation(const struct stream_event *event)
{
    struct session *session = event->stream->session;
    if (session != NULL) {
        core_prefetch_conversation(conversation_of_session(session));
    }
}

/* Requests of its conversation are in the batch, or an event before it waits already. */
static bool waits_for_batch(const struct stream_event *event)
{
    struct session *session = event->stream->session;
    if (session == NULL) {
        return false;
    }
    struct conversation *conversation = conversation_of_session(session);
    if (LIKELY(session->pending == 0 && !conversation->event_waits)) {
        return false;
    }
    conversation->event_waits = true;
    return true;
}

static void end_wait(const struct stream_event *event)
{
    conversation_of_session(event->stream->session)->event_waits = false;
}

/* In their order, but for those that must wait until the batch has run: how many they are. They are
 * the first then. */
static uint32_t take_free_events(struct core *core, struct stream_event *events, uint32_t count)
{
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < EVENTS_AHEAD && i < count; i++) {
        prefetch_conversation(&events[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (i + EVENTS_AHEAD < count) {
            prefetch_conversation(&events[i + EVENTS_AHEAD]);
        }
        if (waits_for_batch(&events[i])) {
            events[waiting++] = events[i];
        } else {
            take_event(core, &events[i]);
        }
    }
    return waiting;
}

/* A connection's second segment does not end the batch in front of the others' first ones: all of
 * these run together, then the second ones do, and so on. */
void core_take_events(struct core *core, struct stream_event *events, uint32_t count)
{
    if (count > 0) {
        core_enter_stage(core, STAGE_SESSIONS);
    }
    count = take_free_events(core, events, count);
    while (count > 0) {
        core_run_batch(core);
        for (uint32_t i = 0; i < count; i++) {
            end_wait(&events[i]);
        }
        count = take_free_events(core, events, count);
    }
}

static void settle_session(struct core *core, struct session *session)
{
    struct conversation *conversation = conversation_of_session(session);
    settle_view(core, conversation);
    close_if_finished(session);
    core_note_owing(core, conversation);
    core_note_request_memory(core, conversation,
                             session->buffer_capacity + conversation->client.argument_bytes);
    conversation->client.query_buffer_bytes = session->buffer_bytes;
    conversation->client.query_buffer_free_bytes = session->buffer_capacity - session->buffer_bytes;
    conversation->client.output_buffer_bytes = session->stream->out.size;
    core_limit_output(core, conversation);
}

/* What was acknowledged since its last request. */
void core_note_sizes(struct core *core)
{
    for (struct client *client = core->clients.first; client != NULL; client = client->next) {
        client->output_buffer_bytes = conversation_of_client(client)->session.stream->out.size;
    }
}

void core_settle(struct core *core)
{
    if (core->touched != NULL) {
        core_enter_stage(core, STAGE_SESSIONS);
    }
    while (core->touched != NULL) {
        struct session *session = core->touched;
        core->touched = session->touched_next;
        session->touched = false;
        settle_session(core, session);
    }
}

/* ---- closing others -------------------------------------------------------------------------- */

/* A client with nothing to receive sees an ordinary end; what is queued for others is dropped. */
void core_end_client(struct client *client)
{
    struct session *session = &conversation_of_client(client)->session;
    session->closing = true;
    if (session->stream->out.size == 0) {
        session->stream->close_requested = true;
    } else {
        session->stream->abort_requested = true;
    }
    stream_mark_dirty(session->stream);
}

void core_close_killed(struct core *core)
{
    for (struct client *client = core->clients.first; client != NULL; client = client->next) {
        if (client->close_now) {
            core_end_client(client);
        }
    }
}

void core_close_idle(struct core *core)
{
    uint64_t timeout_us = (uint64_t)core->config->timeout * 1000000U;
    if (timeout_us == 0 || core->now.mono_us - core->clients_checked_us < 1000000U) {
        return;
    }
    core->clients_checked_us = core->now.mono_us;
    for (struct client *client = core->clients.first; client != NULL; client = client->next) {
        struct conversation *conversation = conversation_of_client(client);
        if (conversation->session.blocked != SESSION_AWAITS_REPLY && conversation->watched == 0 &&
            core->now.mono_us - client->active_mono_us > timeout_us) {
            conversation->timed_out = true;
            core_end_client(client);
        }
    }
}

void core_forget_all(struct core *core)
{
    while (core->clients.first != NULL) {
        struct conversation *conversation = conversation_of_client(core->clients.first);
        conversation->session.stream->session = NULL;
        close_conversation(core, conversation);
    }
}
