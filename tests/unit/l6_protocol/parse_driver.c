#include "tests/unit/l6_protocol/parse_driver.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"

#define BLOBS_MAX  256
#define PLAIN_KEYS 20

void buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    if (buffer->capacity - buffer->size < size) {
        buffer->capacity = (buffer->size + size) * 2 + 64;
        buffer->data = realloc(buffer->data, buffer->capacity);
        CHECK(buffer->data != NULL);
    }
    if (size > 0) {
        memcpy(buffer->data + buffer->size, data, size);
        buffer->size += size;
    }
}

void buffer_print(struct buffer *buffer, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    CHECK(size >= 0 && (size_t)size < sizeof(text));
    buffer_append(buffer, text, (size_t)size);
}

void buffer_print_bytes(struct buffer *buffer, struct slice bytes, char end)
{
    for (size_t i = 0; i < bytes.size; i++) {
        uint8_t byte = bytes.data[i];
        if (byte > ' ' && byte < 127 && byte != '|' && byte != '\\') {
            buffer_append(buffer, &byte, 1);
        } else {
            buffer_print(buffer, "\\x%02x", byte);
        }
    }
    buffer_append(buffer, &end, 1);
}

const char *buffer_text(struct buffer *buffer)
{
    buffer_append(buffer, "", 1);
    buffer->size--;
    return (const char *)buffer->data;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

/* ---- the session of the driver ------------------------------------------------------------- */

struct outcome {
    enum parse_verdict verdict;
    size_t consumed;
    uint64_t wanted_bytes, bulk_offset, bulk_bytes;
    const char *error;
};

/* One parser under the driver. */
struct subject {
    void *parser;
    const void *limits;
    struct buffer *text;
    size_t trailer; /* bytes that follow a bulk and belong to its request */
    /* Calls the parser; prints a complete request. */
    struct outcome (*parse)(struct subject *subject, struct slice input);
    void (*supply)(struct subject *subject, struct slice bulk);
};

struct session {
    struct subject *subject;
    uint64_t supply_min;
    struct buffer window;      /* unconsumed bytes, without supplied payloads */
    uint8_t *blobs[BLOBS_MAX]; /* of the current request */
    size_t blob_count;
    size_t blob_bytes; /* in `blobs`, for the last line */
    uint8_t *filling;
    size_t filling_size, filled;
    bool fatal;
};

static void drop_blobs(struct session *session)
{
    for (size_t i = 0; i < session->blob_count; i++) {
        free(session->blobs[i]);
    }
    session->blob_count = 0;
    session->blob_bytes = 0;
}

static void window_remove(struct session *session, size_t offset, size_t size)
{
    struct buffer *window = &session->window;
    memmove(window->data + offset, window->data + offset + size, window->size - offset - size);
    window->size -= size;
}

static void check_outcome(const struct session *session, const struct outcome *o)
{
    size_t size = session->window.size;
    CHECK(o->consumed <= size);
    if (o->verdict == PARSE_PARTIAL) {
        CHECK(o->consumed == 0 && o->error[0] == '\0');
        CHECK(o->wanted_bytes == 0 || o->wanted_bytes > size);
        CHECK(o->bulk_bytes == 0 ||
              o->bulk_offset + o->bulk_bytes + session->subject->trailer == o->wanted_bytes);
        CHECK(o->bulk_offset <= size);
    } else {
        CHECK(o->consumed > 0 || o->verdict == PARSE_FATAL);
        CHECK(o->verdict == PARSE_FATAL || (o->error[0] != '\0') == (o->verdict == PARSE_ERROR));
    }
}

/* Moves what is there of a payload out of the window. */
static void begin_supply(struct session *session, const struct outcome *o)
{
    size_t there = session->window.size - (size_t)o->bulk_offset;
    size_t part = there < o->bulk_bytes ? there : (size_t)o->bulk_bytes;
    CHECK(session->blob_count < BLOBS_MAX);
    session->filling = malloc((size_t)o->bulk_bytes);
    CHECK(session->filling != NULL);
    session->filling_size = (size_t)o->bulk_bytes;
    session->filled = part;
    memcpy(session->filling, session->window.data + o->bulk_offset, part);
    window_remove(session, (size_t)o->bulk_offset, part);
    session->blobs[session->blob_count++] = session->filling;
    session->blob_bytes += part;
}

static bool finish_supply(struct session *session)
{
    if (session->filled < session->filling_size) {
        return false;
    }
    session->subject->supply(session->subject, slice_of(session->filling, session->filling_size));
    session->filling = NULL;
    return true;
}

/* One call on a copy of exactly the right size. True: call again. */
static bool step(struct session *session)
{
    uint8_t *input = malloc(session->window.size + (session->window.size == 0));
    CHECK(input != NULL);
    if (session->window.size > 0) {
        memcpy(input, session->window.data, session->window.size);
    }
    struct outcome o =
        session->subject->parse(session->subject, slice_of(input, session->window.size));
    free(input);
    check_outcome(session, &o);
    if (o.verdict == PARSE_PARTIAL) {
        if (session->supply_min > 0 && o.bulk_bytes >= session->supply_min &&
            session->blob_count < BLOBS_MAX) {
            begin_supply(session, &o);
            return finish_supply(session);
        }
        return false;
    }
    if (o.verdict == PARSE_ERROR) {
        buffer_print(session->subject->text, "error %s\n", o.error);
    } else if (o.verdict == PARSE_FATAL) {
        buffer_print(session->subject->text, "fatal %s\n", o.error);
        session->fatal = true;
    }
    drop_blobs(session);
    window_remove(session, 0, o.consumed);
    return !session->fatal && session->window.size > 0;
}

static void take_piece(struct session *session, struct slice piece)
{
    if (session->filling != NULL) {
        size_t room = session->filling_size - session->filled;
        size_t part = piece.size < room ? piece.size : room;
        memcpy(session->filling + session->filled, piece.data, part);
        session->filled += part;
        session->blob_bytes += part;
        piece = slice_from(piece, part);
        if (!finish_supply(session)) {
            return;
        }
    }
    buffer_append(&session->window, piece.data, piece.size);
    while (step(session)) {
    }
}

static void run_session(const struct feed *feed, struct subject *subject)
{
    struct session session = {.subject = subject, .supply_min = feed->supply_min};
    size_t from = 0;
    for (size_t i = 0; i <= feed->cut_count && !session.fatal; i++) {
        size_t to = i < feed->cut_count ? feed->cuts[i] : feed->stream.size;
        CHECK(from <= to && to <= feed->stream.size);
        if (to > from) {
            take_piece(&session, slice_of(feed->stream.data + from, to - from));
        }
        from = to;
    }
    if (!session.fatal) {
        buffer_print(subject->text, "left %zu\n", session.window.size + session.blob_bytes);
    }
    drop_blobs(&session);
    buffer_free(&session.window);
}

/* ---- RESP -------------------------------------------------------------------------------------
 */

/* What resp_parse_next takes is what resp_parse takes. */
static void check_short(const struct slice *arguments, uint32_t count, size_t consumed,
                        const struct resp_request *request, const struct resp_parse_result *result)
{
    CHECK(result->verdict == PARSE_COMPLETE && result->consumed == consumed);
    CHECK(request->argument_count == count);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(request->arguments[i].data == arguments[i].data);
        CHECK(request->arguments[i].size == arguments[i].size);
    }
}

static struct outcome parse_resp(struct subject *subject, struct slice input)
{
    struct resp_request request;
    static struct resp_parse_result result;
    static struct resp_shape shape; /* of the request before, of any test */
    struct slice arguments[RESP_SHORT_ARGUMENTS_MAX];
    size_t consumed;
    uint32_t count = 0;
    if (resp_parser_is_at_rest(subject->parser)) {
        shape.pause = 0;
        count = resp_parse_next(&shape, input, arguments, &consumed);
    }
    memset(&result, 0x55, sizeof(result));
    resp_parse(subject->parser, subject->limits, input, &request, &result);
    if (count == RESP_SHORT_PARTIAL) {
        CHECK(result.verdict == PARSE_PARTIAL);
    } else if (count > 0) {
        check_short(arguments, count, consumed, &request, &result);
    }
    if (result.verdict == PARSE_COMPLETE) {
        for (uint32_t i = 0; i < request.argument_count; i++) {
            buffer_print_bytes(subject->text, request.arguments[i], '|');
        }
        buffer_print(subject->text, "\n");
    }
    return (struct outcome){result.verdict,     result.consumed,   result.wanted_bytes,
                            result.bulk_offset, result.bulk_bytes, result.error};
}

static void supply_resp(struct subject *subject, struct slice bulk)
{
    resp_parser_supply_bulk(subject->parser, bulk);
}

void resp_transcript(const struct feed *feed, const struct resp_limits *limits, struct buffer *text)
{
    struct resp_parser parser;
    resp_parser_init(&parser);
    struct subject subject = {&parser, limits, text, 2, parse_resp, supply_resp};
    run_session(feed, &subject);
    resp_parser_deinit(&parser);
}

/* ---- memcached ----------------------------------------------------------------------------------
 */

static const char *const verb_names[] = {
    "get",      "gets",        "gat",       "gats",      "set",
    "add",      "replace",     "append",    "prepend",   "cas",
    "delete",   "incr",        "decr",      "touch",     "flush_all",
    "version",  "verbosity",   "stats",     "quit",      "cache_memlimit",
    "shutdown", "lru_crawler", "config",    "watch",     "mg",
    "ms",       "md",          "ma",        "mn",        "me",
    "noop",     "sasl_list",   "sasl_auth", "sasl_step", "refused",
    "login",
};
_Static_assert(sizeof(verb_names) / sizeof(verb_names[0]) == MEMCACHE_VERB_COUNT, "one per verb");

static void print_binary(const struct memcache_binary *binary, struct buffer *text)
{
    buffer_print(text, "#%02x %08x ", binary->opcode, binary->opaque);
    buffer_print(text, binary->quiet ? "quiet " : "");
    buffer_print(text, binary->returns_key ? "key " : "");
    buffer_print(text, binary->is_set ? "is-set " : "");
    buffer_print(text, binary->closes ? "closes " : "");
    if (binary->status != 0) {
        buffer_print(text, "status %02x ", binary->status);
    }
    if (binary->creates) {
        buffer_print(text, "from %llu ", (unsigned long long)binary->initial);
    }
}

void memcache_print_request(const struct memcache_request *request, struct buffer *text)
{
    if (request->binary.present) {
        print_binary(&request->binary, text);
    }
    buffer_print(text, "%s", verb_names[request->verb]);
    buffer_print(text, request->no_reply ? " noreply" : "");
    buffer_print(text, request->value_too_large ? " too-large" : "");
    buffer_print(text, request->value_refused ? " refused" : "");
    buffer_print(text, request->has_argument ? " argument" : "");
    buffer_print(text, " f%u e%lld c%llu d%llu ", request->client_flags,
                 (long long)request->exptime, (unsigned long long)request->cas,
                 (unsigned long long)request->delta);
    for (uint32_t i = 0; i < request->key_count; i++) {
        buffer_print_bytes(text, request->keys[i], '|');
    }
    buffer_print_bytes(text, request->value, '|');
    if (request->meta.flags != 0) {
        const struct memcache_meta *meta = &request->meta;
        buffer_print(text, "%llx N%d R%d J%llu E%llu M%d ", (unsigned long long)meta->flags,
                     meta->vivify_exptime, meta->recache_exptime, (unsigned long long)meta->initial,
                     (unsigned long long)meta->new_cas, meta->mode);
    }
    buffer_print_bytes(text, request->arguments, '\n');
}

/* What memcache_parse_plain takes is what memcache_parse takes. */
static void check_plain(struct slice input, const struct memcache_request *plain, size_t consumed,
                        const struct memcache_request *request,
                        const struct memcache_parse_result *result)
{
    struct buffer plain_text = {0}, text = {0};
    CHECK(result->verdict == PARSE_COMPLETE && result->consumed == consumed);
    CHECK(consumed <= input.size);
    for (uint32_t i = 0; i < request->key_count; i++) {
        CHECK(plain->keys[i].data == request->keys[i].data);
    }
    CHECK(plain->value.data == request->value.data);
    memcache_print_request(plain, &plain_text);
    memcache_print_request(request, &text);
    CHECK(plain->key_count == request->key_count && !plain->binary.present);
    CHECK(strcmp(buffer_text(&plain_text), buffer_text(&text)) == 0);
    buffer_free(&plain_text);
    buffer_free(&text);
}

static struct outcome parse_memcache(struct subject *subject, struct slice input)
{
    struct slice keys[PLAIN_KEYS];
    struct memcache_request plain, request;
    size_t consumed = memcache_parser_is_at_rest(subject->parser)
                          ? memcache_parse_plain(subject->limits, input, keys, PLAIN_KEYS, &plain)
                          : 0;
    static struct memcache_parse_result result;
    memset(&result, 0x55, sizeof(result));
    memcache_parse(subject->parser, subject->limits, input, &request, &result);
    if (consumed > 0) {
        check_plain(input, &plain, consumed, &request, &result);
    }
    if (result.verdict == PARSE_COMPLETE) {
        memcache_print_request(&request, subject->text);
    }
    return (struct outcome){result.verdict,     result.consumed,   result.wanted_bytes,
                            result.bulk_offset, result.bulk_bytes, result.error};
}

static void supply_memcache(struct subject *subject, struct slice bulk)
{
    memcache_parser_supply_value(subject->parser, bulk);
}

void memcache_transcript(const struct feed *feed, const struct memcache_limits *limits,
                         struct buffer *text)
{
    struct memcache_parser parser;
    memcache_parser_init(&parser);
    struct subject subject = {&parser, limits, text, 2, parse_memcache, supply_memcache};
    run_session(feed, &subject);
    memcache_parser_deinit(&parser);
}

static struct outcome parse_binary(struct subject *subject, struct slice input)
{
    struct memcache_request request;
    static struct memcache_parse_result result;
    memset(&result, 0x55, sizeof(result));
    memcache_binary_parse(subject->parser, subject->limits, input, &request, &result);
    if (result.verdict == PARSE_COMPLETE) {
        memcache_print_request(&request, subject->text);
    }
    return (struct outcome){result.verdict,     result.consumed,   result.wanted_bytes,
                            result.bulk_offset, result.bulk_bytes, result.error};
}

static void supply_binary(struct subject *subject, struct slice bulk)
{
    memcache_binary_supply_value(subject->parser, bulk);
}

void memcache_binary_transcript(const struct feed *feed,
                                const struct memcache_binary_limits *limits, struct buffer *text)
{
    struct memcache_binary_parser parser = {0};
    struct subject subject = {&parser, limits, text, 0, parse_binary, supply_binary};
    run_session(feed, &subject);
}

/* Until somebody has logged in. */
static struct outcome parse_login(struct subject *subject, struct slice input)
{
    struct memcache_request request;
    static struct memcache_parse_result result;
    memset(&result, 0x55, sizeof(result));
    memcache_login_parse(input, &request, &result);
    if (result.verdict == PARSE_COMPLETE) {
        memcache_print_request(&request, subject->text);
    }
    return (struct outcome){result.verdict,     result.consumed,   result.wanted_bytes,
                            result.bulk_offset, result.bulk_bytes, result.error};
}

void memcache_login_transcript(const struct feed *feed, struct buffer *text)
{
    struct subject subject = {NULL, NULL, text, 2, parse_login, supply_memcache};
    run_session(feed, &subject);
}
