/* memcached binary parser.
 *
 *                         get, delete, ...: complete
 *   BINARY_HEADER ----------------------------------------> BINARY_HEADER
 *        |  set and its family: the value is not all there
 *        +--------> BINARY_VALUE ----> complete
 *        |               | refused
 *        |  too large,   v
 *        |  unknown +--> BINARY_SWALLOW --> all of it gone, BINARY_HEADER
 *        |  refused with `closes`
 *        +--------> BINARY_ENDED: swallows whatever comes
 *
 * A header is read again when more has come of its request; it is 24 bytes. Only the position in
 * the value is state.
 *
 * Memory: none.
 */
#include "dataplane/l6_protocol/memcache_binary_parse.h"

#include "dataplane/base/check.h"

enum binary_state { BINARY_HEADER, BINARY_VALUE, BINARY_SWALLOW, BINARY_ENDED };
_Static_assert(BINARY_HEADER == 0, "zeroed is initialised, and what ..._is_at_rest asks for");

#define COLD __attribute__((cold, noinline))

/* ---- opcodes --------------------------------------------------------------------------------- */

enum key_rule { KEY_NONE, KEY_ONE, KEY_MAY };
enum extras_rule { EXTRAS_NONE, EXTRAS_FLAGS, EXTRAS_EXPIRY, EXTRAS_COUNT, EXTRAS_DELAY };

struct opcode_row {
    bool known, quiet, returns_key, has_value, before_login;
    uint8_t key, extras; /* enum key_rule, enum extras_rule */
    enum memcache_verb verb;
};

#define ROW(verb_name, key_of, extras_of, ...)                                                     \
    {                                                                                              \
        .known = true, .verb = MEMCACHE_##verb_name, .key = KEY_##key_of,                          \
        .extras = EXTRAS_##extras_of, __VA_ARGS__                                                  \
    }
#define QUIET .quiet = true
#define KEYED .returns_key = true
#define VALUE .has_value = true

static const struct opcode_row opcode_rows[] = {
    [0x00] = ROW(GET, ONE, NONE, .quiet = false),
    [0x01] = ROW(SET, ONE, FLAGS, VALUE),
    [0x02] = ROW(ADD, ONE, FLAGS, VALUE),
    [0x03] = ROW(REPLACE, ONE, FLAGS, VALUE),
    [0x04] = ROW(DELETE, ONE, NONE, .quiet = false),
    [0x05] = ROW(INCR, ONE, COUNT, .quiet = false),
    [0x06] = ROW(DECR, ONE, COUNT, .quiet = false),
    [0x07] = ROW(QUIT, NONE, NONE, .quiet = false),
    [0x08] = ROW(FLUSH_ALL, NONE, DELAY, .quiet = false),
    [0x09] = ROW(GET, ONE, NONE, QUIET),
    [0x0a] = ROW(NOOP, NONE, NONE, .quiet = false),
    [0x0b] = ROW(VERSION, NONE, NONE, .before_login = true),
    [0x0c] = ROW(GET, ONE, NONE, KEYED),
    [0x0d] = ROW(GET, ONE, NONE, KEYED, QUIET),
    [0x0e] = ROW(APPEND, ONE, NONE, VALUE),
    [0x0f] = ROW(PREPEND, ONE, NONE, VALUE),
    [0x10] = ROW(STATS, MAY, NONE, .quiet = false),
    [0x11] = ROW(SET, ONE, FLAGS, VALUE, QUIET),
    [0x12] = ROW(ADD, ONE, FLAGS, VALUE, QUIET),
    [0x13] = ROW(REPLACE, ONE, FLAGS, VALUE, QUIET),
    [0x14] = ROW(DELETE, ONE, NONE, QUIET),
    [0x15] = ROW(INCR, ONE, COUNT, QUIET),
    [0x16] = ROW(DECR, ONE, COUNT, QUIET),
    [0x17] = ROW(QUIT, NONE, NONE, QUIET),
    [0x18] = ROW(FLUSH_ALL, NONE, DELAY, QUIET),
    [0x19] = ROW(APPEND, ONE, NONE, VALUE, QUIET),
    [0x1a] = ROW(PREPEND, ONE, NONE, VALUE, QUIET),
    [0x1c] = ROW(TOUCH, ONE, EXPIRY, .quiet = false),
    [0x1d] = ROW(GAT, ONE, EXPIRY, .quiet = false),
    [0x1e] = ROW(GAT, ONE, EXPIRY, QUIET),
    [0x20] = ROW(SASL_LIST, NONE, NONE, .before_login = true),
    [0x21] = ROW(SASL_AUTH, ONE, NONE, VALUE, .before_login = true),
    [0x22] = ROW(SASL_STEP, ONE, NONE, VALUE, .before_login = true),
    [0x23] = ROW(GAT, ONE, EXPIRY, KEYED),
    [0x24] = ROW(GAT, ONE, EXPIRY, KEYED, QUIET),
};

static const struct opcode_row *find_opcode(uint8_t opcode)
{
    bool listed = opcode < sizeof(opcode_rows) / sizeof(opcode_rows[0]);
    return listed && opcode_rows[opcode].known ? &opcode_rows[opcode] : NULL;
}

/* ---- headers --------------------------------------------------------------------------------- */

struct header {
    uint8_t opcode;
    uint32_t key_bytes, extras_bytes, body_bytes, opaque;
    uint64_t cas;
    const struct opcode_row *row; /* NULL: unknown */
};

static void read_header(const uint8_t *bytes, struct header *header)
{
    header->opcode = bytes[1];
    header->key_bytes = bytes_read_be16(bytes + 2);
    header->extras_bytes = bytes[4];
    header->body_bytes = bytes_read_be32(bytes + 8);
    header->opaque = bytes_read_be32(bytes + 12);
    header->cas = bytes_read_be64(bytes + 16);
    header->row = find_opcode(header->opcode);
}

static uint32_t value_bytes_of(const struct header *header)
{
    return header->body_bytes - header->key_bytes - header->extras_bytes;
}

static bool extras_fit(const struct header *header)
{
    switch ((enum extras_rule)header->row->extras) {
    case EXTRAS_NONE: return header->extras_bytes == 0;
    case EXTRAS_FLAGS: return header->extras_bytes == 8;
    case EXTRAS_EXPIRY: return header->extras_bytes == 4;
    case EXTRAS_COUNT: return header->extras_bytes == 20;
    case EXTRAS_DELAY: return header->extras_bytes == 0 || header->extras_bytes == 4;
    }
    return false;
}

static bool lengths_fit(const struct header *header)
{
    const struct opcode_row *row = header->row;
    bool has_key = header->key_bytes > 0;
    return extras_fit(header) && (row->key == KEY_MAY || has_key == (row->key == KEY_ONE)) &&
           (row->has_value || value_bytes_of(header) == 0);
}

static bool is_login(enum memcache_verb verb)
{
    return verb == MEMCACHE_SASL_AUTH || verb == MEMCACHE_SASL_STEP;
}

/* Why the connection must end, or MEMCACHE_BINARY_OK. */
static enum memcache_binary_status judge(const struct header *header,
                                         const struct memcache_binary_limits *limits)
{
    const struct opcode_row *row = header->row;
    if (header->key_bytes + header->extras_bytes > header->body_bytes) {
        return MEMCACHE_BINARY_UNKNOWN;
    }
    if (limits->login_needed && (row == NULL || !row->before_login)) {
        return MEMCACHE_BINARY_AUTH_ERROR;
    }
    if (header->key_bytes > MEMCACHE_KEY_BYTES_MAX) {
        return MEMCACHE_BINARY_INVALID;
    }
    if (row == NULL) {
        return MEMCACHE_BINARY_OK; /* answered, and its body swallowed */
    }
    bool login_fits = !is_login(row->verb) || value_bytes_of(header) <= MEMCACHE_LOGIN_BYTES_MAX;
    return lengths_fit(header) && login_fits ? MEMCACHE_BINARY_OK : MEMCACHE_BINARY_INVALID;
}

static void begin_request(const struct header *header, struct memcache_request *request)
{
    const struct opcode_row *row = header->row;
    *request = (struct memcache_request){
        .verb = row != NULL ? row->verb : MEMCACHE_REFUSED,
        .cas = header->cas,
        .binary =
            {
                .present = true,
                .quiet = row != NULL && row->quiet,
                .returns_key = row != NULL && row->returns_key,
                .opcode = header->opcode,
                .opaque = header->opaque,
            },
    };
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static void finish(struct memcache_binary_parser *parser, enum parse_verdict verdict,
                   size_t consumed, struct memcache_parse_result *result)
{
    parser->state = BINARY_HEADER;
    parser->value_supplied = parser->value_refused = false;
    result->verdict = verdict;
    result->consumed = consumed;
}

static COLD void finish_swallowing(struct memcache_binary_parser *parser, uint64_t bytes,
                                   size_t consumed, struct memcache_parse_result *result)
{
    finish(parser, PARSE_COMPLETE, consumed, result);
    parser->swallow_bytes = bytes;
    parser->state = bytes > 0 ? BINARY_SWALLOW : BINARY_HEADER;
}

static COLD void finish_ended(struct memcache_binary_parser *parser, struct slice input,
                              enum memcache_binary_status status, struct memcache_request *request,
                              struct memcache_parse_result *result)
{
    request->verb = MEMCACHE_REFUSED;
    request->binary.status = (uint8_t)status;
    request->binary.closes = true;
    finish(parser, PARSE_COMPLETE, input.size, result);
    parser->state = BINARY_ENDED;
}

static COLD void swallow(struct memcache_binary_parser *parser, struct slice input,
                         struct memcache_parse_result *result)
{
    uint64_t part = input.size < parser->swallow_bytes ? input.size : parser->swallow_bytes;
    result->verdict = PARSE_NOTHING;
    result->consumed = (size_t)part;
    parser->swallow_bytes -= part;
    if (parser->swallow_bytes == 0) {
        parser->state = BINARY_HEADER;
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static void read_extras(const struct header *header, const uint8_t *extras,
                        struct memcache_request *request)
{
    switch ((enum extras_rule)header->row->extras) {
    case EXTRAS_NONE: break;
    case EXTRAS_FLAGS:
        request->client_flags = bytes_read_be32(extras);
        request->exptime = bytes_read_be32(extras + 4);
        break;
    case EXTRAS_EXPIRY: request->exptime = bytes_read_be32(extras); break;
    case EXTRAS_COUNT:
        request->delta = bytes_read_be64(extras);
        request->binary.initial = bytes_read_be64(extras + 8);
        request->exptime = bytes_read_be32(extras + 16);
        request->binary.creates = request->exptime != MEMCACHE_BINARY_CREATE_NOTHING;
        break;
    case EXTRAS_DELAY: request->exptime = header->extras_bytes != 0 ? bytes_read_be32(extras) : 0;
    }
}

/* The name of a SASL mechanism or of a group of figures is no key: it has no shard. */
static void set_key(struct memcache_binary_parser *parser, const struct header *header,
                    struct slice key, struct memcache_request *request)
{
    if (is_login(request->verb) || request->verb == MEMCACHE_STATS) {
        request->arguments = key;
    } else if (header->key_bytes > 0) {
        parser->key = key;
        request->keys = &parser->key;
        request->key_count = 1;
    }
}

/* A set, add or replace that names a CAS value is a cas, as in the reference. */
static void note_cas(struct memcache_request *request)
{
    bool is_set = request->verb == MEMCACHE_SET;
    request->binary.is_set = is_set;
    if (request->cas != 0 &&
        (is_set || request->verb == MEMCACHE_ADD || request->verb == MEMCACHE_REPLACE)) {
        request->verb = MEMCACHE_CAS;
    }
}

static COLD void wait_for_value(struct memcache_binary_parser *parser, const struct slice *input,
                                uint64_t offset, uint64_t value_bytes,
                                struct memcache_parse_result *result)
{
    CHECK(input->size >= offset);
    parser->state = BINARY_VALUE;
    result->verdict = PARSE_PARTIAL;
    result->bulk_offset = offset;
    result->bulk_bytes = value_bytes;
    result->wanted_bytes = offset + value_bytes;
}

/* The value begins at `offset`; everything before it is there. */
static void take_value(struct memcache_binary_parser *parser, struct slice input, size_t offset,
                       uint64_t value_bytes, struct memcache_request *request,
                       struct memcache_parse_result *result)
{
    if (UNLIKELY(parser->value_refused || request->value_too_large)) {
        request->value_refused = parser->value_refused;
        finish_swallowing(parser, value_bytes, offset, result);
    } else if (UNLIKELY(parser->value_supplied)) {
        CHECK(parser->value.size == value_bytes);
        request->value = parser->value;
        finish(parser, PARSE_COMPLETE, offset, result);
    } else if (input.size - offset < value_bytes) {
        wait_for_value(parser, &input, offset, value_bytes, result);
    } else {
        request->value = slice_of(input.data + offset, (size_t)value_bytes);
        finish(parser, PARSE_COMPLETE, offset + (size_t)value_bytes, result);
    }
}

static void parse_request(struct memcache_binary_parser *parser,
                          const struct memcache_binary_limits *limits, struct slice input,
                          const struct header *header, struct memcache_request *request,
                          struct memcache_parse_result *result)
{
    const struct opcode_row *row = header->row;
    size_t offset = MEMCACHE_BINARY_HEADER_BYTES + header->extras_bytes + header->key_bytes;
    if (input.size < offset) {
        result->verdict = PARSE_PARTIAL;
        result->wanted_bytes = offset;
        return;
    }
    const uint8_t *extras = input.data + MEMCACHE_BINARY_HEADER_BYTES;
    read_extras(header, extras, request);
    set_key(parser, header, slice_of(extras + header->extras_bytes, header->key_bytes), request);
    note_cas(request);
    if (!row->has_value) {
        finish(parser, PARSE_COMPLETE, offset, result);
        return;
    }
    /* One that has begun to arrive was accepted, whatever the limit is now. */
    request->value_too_large = parser->state == BINARY_HEADER && !is_login(request->verb) &&
                               memcache_item_bytes(header->key_bytes, value_bytes_of(header),
                                                   request->client_flags) > limits->item_bytes_max;
    take_value(parser, input, offset, value_bytes_of(header), request, result);
}

/* ---- entry points ---------------------------------------------------------------------------- */

static COLD void parse_unusual(struct memcache_binary_parser *parser, struct slice input,
                               struct memcache_parse_result *result)
{
    if (parser->state == BINARY_SWALLOW) {
        swallow(parser, input, result);
    } else {
        result->verdict = PARSE_NOTHING;
        result->consumed = input.size;
    }
}

void memcache_binary_parse(struct memcache_binary_parser *parser,
                           const struct memcache_binary_limits *limits, struct slice input,
                           struct memcache_request *request, struct memcache_parse_result *result)
{
    result->consumed = 0;
    result->wanted_bytes = result->bulk_offset = result->bulk_bytes = 0;
    result->error[0] = '\0';
    result->verdict = PARSE_PARTIAL;
    if (UNLIKELY(input.size == 0)) {
        return;
    }
    if (UNLIKELY(parser->state == BINARY_SWALLOW || parser->state == BINARY_ENDED)) {
        parse_unusual(parser, input, result);
        return;
    }
    if (UNLIKELY(input.data[0] != MEMCACHE_BINARY_REQUEST_MAGIC)) {
        finish(parser, PARSE_FATAL, input.size, result);
        return;
    }
    if (input.size < MEMCACHE_BINARY_HEADER_BYTES) {
        result->wanted_bytes = MEMCACHE_BINARY_HEADER_BYTES;
        return;
    }
    struct header header;
    read_header(input.data, &header);
    begin_request(&header, request);
    enum memcache_binary_status status = judge(&header, limits);
    if (UNLIKELY(status != MEMCACHE_BINARY_OK)) {
        finish_ended(parser, input, status, request, result);
    } else if (UNLIKELY(header.row == NULL)) {
        request->binary.status = MEMCACHE_BINARY_UNKNOWN;
        finish_swallowing(parser, header.body_bytes, MEMCACHE_BINARY_HEADER_BYTES, result);
    } else {
        parse_request(parser, limits, input, &header, request, result);
    }
}

void memcache_binary_supply_value(struct memcache_binary_parser *parser, struct slice value)
{
    CHECK(parser->state == BINARY_VALUE && !parser->value_supplied && !parser->value_refused);
    parser->value = value;
    parser->value_supplied = true;
}

void memcache_binary_refuse_value(struct memcache_binary_parser *parser)
{
    CHECK(parser->state == BINARY_VALUE && !parser->value_supplied);
    parser->value_refused = true;
}

struct slice memcache_binary_awaited_key(const struct memcache_binary_parser *parser,
                                         struct slice input)
{
    struct header header;
    CHECK(parser->state == BINARY_VALUE && input.size >= MEMCACHE_BINARY_HEADER_BYTES);
    read_header(input.data, &header);
    size_t offset = MEMCACHE_BINARY_HEADER_BYTES + header.extras_bytes;
    CHECK(input.size >= offset + header.key_bytes);
    return slice_of(input.data + offset, header.key_bytes);
}
