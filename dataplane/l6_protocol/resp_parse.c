/* RESP request parser.
 *
 *                 '*'                     all arguments there
 *   RESP_START --------> RESP_COUNT --> RESP_BULKS ----------> complete, RESP_START
 *       |  other                          each bulk: length line, payload, CRLF
 *       +--------> RESP_INLINE --> complete, RESP_START
 *
 * The common request arrives whole and takes one pass: read_bulks is the loop, fast_length its
 * length lines, and only what is unusual (a cut, an error, a length of many digits) leaves for a
 * function marked cold. Facts that hold between two calls:
 *
 *  1. `position` is where the next element starts: the count line, a length line, a payload, or,
 *     with terminator_due, the CRLF after a supplied bulk.
 *  2. `arguments` holds argument_count entries. Input may move between calls, so an entry keeps the
 *     offset of its first byte in place of the pointer, unless SUPPLIED is set in its size: then it
 *     is the session's own memory. Entries become pointers again once, when the request is
 * complete: work is linear in the request however it is cut.
 *  3. No byte is searched twice: `scanned` remembers how far an unfinished line was (but for the
 * few bytes of a length line that fast_length looks at).
 *
 * As Redis does, a line ends at CR, the byte after it is not looked at, nor are the two bytes after
 * a payload. And as there a NUL hides the rest of the input from the search for the end of a line:
 * the request waits until it is too big.
 *
 * Memory: the argument table and the buffer for unquoted bytes, grown with realloc, given back when
 * the next request starts if they are large. Failure: the peer's mistakes are PARSE_FATAL.
 */
#include "dataplane/l6_protocol/resp_parse.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/base/number.h"

enum resp_state { RESP_START, RESP_COUNT, RESP_BULKS, RESP_INLINE };
_Static_assert(RESP_START == 0, "zeroed is initialised, and what resp_parser_is_at_rest asks for");

#define COLD __attribute__((cold, noinline))

#define SUPPLIED                ((size_t)1 << (sizeof(size_t) * 8 - 1))
#define ARGUMENTS_KEPT_MAX      1024U
#define UNQUOTED_KEPT_BYTES_MAX 4096U
#define FAST_DIGITS_MAX         9

/* The state of one call, in registers while read_bulks runs. */
struct cursor {
    const uint8_t *base, *at, *end;
};

enum line_verdict { LINE_READ, LINE_PARTIAL, LINE_TOO_BIG, LINE_NOT_A_NUMBER };

/* ---- the argument table -------------------------------------------------------------------- */

static struct slice *argument_table(struct resp_parser *parser)
{
    return parser->argument_capacity == 0 ? parser->inline_arguments : parser->arguments;
}

static uint32_t argument_room(const struct resp_parser *parser)
{
    return parser->argument_capacity == 0 ? RESP_ARGUMENTS_INLINE : parser->argument_capacity;
}

/* Room for one argument more than `count`; false when memory is out. */
static COLD bool grow_arguments(struct resp_parser *parser, uint32_t count)
{
    uint32_t capacity;
    size_t bytes;
    if (__builtin_mul_overflow(argument_room(parser), 2U, &capacity) ||
        __builtin_mul_overflow((size_t)capacity, sizeof(struct slice), &bytes)) {
        return false;
    }
    struct slice *table = realloc(parser->arguments, bytes);
    if (table == NULL) {
        return false;
    }
    if (parser->argument_capacity == 0) {
        memcpy(table, parser->inline_arguments, count * sizeof(*table));
    }
    parser->arguments = table;
    parser->argument_capacity = capacity;
    return true;
}

COLD void resp_parser_release_large(struct resp_parser *parser)
{
    if (parser->argument_capacity > ARGUMENTS_KEPT_MAX) {
        free(parser->arguments);
        parser->arguments = NULL;
        parser->argument_capacity = 0;
    }
    if (parser->unquoted_capacity > UNQUOTED_KEPT_BYTES_MAX) {
        free(parser->unquoted);
        parser->unquoted = NULL;
        parser->unquoted_capacity = 0;
    }
}

/* Entries [from, to) point into the input: make them offsets. */
static COLD void pointers_to_offsets(struct slice *table, uint32_t from, uint32_t to,
                                     const uint8_t *base)
{
    for (uint32_t i = from; i < to; i++) {
        table[i].data = (const uint8_t *)(uintptr_t)(table[i].data - base);
    }
}

static COLD void offsets_to_pointers(struct slice *table, uint32_t count, const uint8_t *base)
{
    for (uint32_t i = 0; i < count; i++) {
        if ((table[i].size & SUPPLIED) != 0) {
            table[i].size &= ~SUPPLIED;
        } else {
            table[i].data = base + (uintptr_t)table[i].data;
        }
    }
}

/* ---- verdicts ------------------------------------------------------------------------------ */

static inline void parser_restart(struct resp_parser *parser)
{
    parser->state = RESP_START;
    parser->terminator_due = false;
    parser->argument_count = 0;
    parser->position = 0;
    parser->scanned = 0;
    parser->bulk_expected = -1;
}

static COLD void fail(struct resp_parser *parser, struct slice input,
                      struct resp_parse_result *result, const char *what)
{
    parser_restart(parser);
    result->verdict = PARSE_FATAL;
    result->consumed = input.size;
    (void)snprintf(result->error, sizeof(result->error), "ERR Protocol error: %s", what);
}

static void finish_nothing(struct resp_parser *parser, size_t consumed,
                           struct resp_parse_result *result)
{
    parser_restart(parser);
    result->verdict = PARSE_NOTHING;
    result->consumed = consumed;
}

/* HTTP's POST and Host: cannot be commands; strcasecmp in Redis, here without a call. */
static inline bool is_cross_protocol(struct slice name)
{
    if (LIKELY(name.size != 4 && name.size != 5)) {
        return false;
    }
    return slice_equal_ignoring_case(name, name.size == 4 ? SLICE_LITERAL("post")
                                                          : SLICE_LITERAL("host:"));
}

static inline void finish_request(struct resp_parser *parser, uint32_t count, size_t consumed,
                                  struct slice input, struct resp_request *request,
                                  struct resp_parse_result *result)
{
    parser_restart(parser);
    request->argument_count = count;
    request->arguments = argument_table(parser);
    result->verdict = PARSE_COMPLETE;
    result->consumed = consumed;
    if (UNLIKELY(is_cross_protocol(request->arguments[0]))) {
        result->verdict = PARSE_FATAL;
        result->consumed = input.size;
    }
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* Looks for `stop` in the line that starts at c->at, going on where the last call ended. Found: its
 * distance from c->at. */
static COLD enum line_verdict find_line_end(struct resp_parser *parser, const struct cursor *c,
                                            uint8_t stop, size_t *distance)
{
    size_t available = (size_t)(c->end - c->at);
    size_t searched = available > RESP_INLINE_BYTES_MAX + 1 ? RESP_INLINE_BYTES_MAX + 1 : available;
    uint64_t start = (uint64_t)(c->at - c->base);
    size_t from = parser->scanned > start ? (size_t)(parser->scanned - start) : 0;
    if (from < searched) {
        const uint8_t *found = memchr(c->at + from, stop, searched - from);
        size_t before = found == NULL ? searched - from : (size_t)(found - (c->at + from));
        const uint8_t *nul = memchr(c->at + from, '\0', before);
        if (found != NULL && nul == NULL) {
            *distance = from + before;
            parser->scanned = start + *distance; /* if the byte after it is missing */
            return LINE_READ;
        }
        parser->scanned = start + (nul != NULL ? (size_t)(nul - c->at) : searched);
    }
    return available > RESP_INLINE_BYTES_MAX ? LINE_TOO_BIG : LINE_PARTIAL;
}

/* Any length line: marker at c->at, number, CR and one more byte. The marker is the caller's. */
static COLD enum line_verdict slow_length(struct resp_parser *parser, struct cursor *c,
                                          int64_t *value)
{
    size_t distance;
    enum line_verdict verdict = find_line_end(parser, c, '\r', &distance);
    if (verdict != LINE_READ) {
        return verdict;
    }
    if ((size_t)(c->end - c->at) < distance + 2) {
        return LINE_PARTIAL;
    }
    if (distance == 0 || !number_parse_int64(slice_of(c->at + 1, distance - 1), value)) {
        return LINE_NOT_A_NUMBER;
    }
    c->at += distance + 2;
    return LINE_READ;
}

/* Behind a marker at `at`: up to nine digits, CR and one more byte. Where that ends, or NULL: ask
 * slow_length. */
static inline const uint8_t *fast_digits(const uint8_t *at, const uint8_t *end, int64_t *value)
{
    const uint8_t *first = ++at;
    uint32_t number = 0;
    while (at < end && at - first < FAST_DIGITS_MAX) {
        uint32_t digit = (uint32_t)*at - '0';
        if (digit > 9) {
            break;
        }
        number = number * 10 + digit;
        at++;
    }
    if (UNLIKELY(at == first || end - at < 2 || *at != '\r' || (*first == '0' && at - first > 1))) {
        return NULL;
    }
    *value = number;
    return at + 2;
}

/* The same; most lines have one digit, or two, and more bytes behind them. */
static inline const uint8_t *fast_length(const uint8_t *at, const uint8_t *end, int64_t *value)
{
    if (UNLIKELY(end - at < 5)) {
        return fast_digits(at, end, value);
    }
    uint32_t first = (uint32_t)at[1] - '0', second = (uint32_t)at[2] - '0';
    if (first <= 9 && at[2] == '\r') {
        *value = first;
        return at + 4;
    }
    if (first - 1 <= 8 && second <= 9 && at[3] == '\r') {
        *value = first * 10 + second;
        return at + 5;
    }
    return fast_digits(at, end, value);
}

/* ---- multibulk ---------------------------------------------------------------------------------
 */

static COLD void suspend(struct resp_parser *parser, const struct cursor *c, uint32_t count,
                         int64_t bulk, struct resp_parse_result *result)
{
    pointers_to_offsets(argument_table(parser), parser->argument_count, count, c->base);
    parser->state = RESP_BULKS;
    parser->argument_count = count;
    parser->position = (uint64_t)(c->at - c->base);
    parser->bulk_expected = bulk;
    result->verdict = PARSE_PARTIAL;
    if (bulk >= 0) {
        result->bulk_offset = parser->position;
        result->bulk_bytes = (uint64_t)bulk;
        result->wanted_bytes = parser->position + (uint64_t)bulk + 2;
    } else if (parser->terminator_due) {
        result->wanted_bytes = parser->position + 2;
    }
}

static COLD void fail_marker(struct resp_parser *parser, struct slice input, uint8_t got,
                             struct resp_parse_result *result)
{
    char text[32];
    /* An error reply is one line. */
    char shown = got == '\r' || got == '\n' ? ' ' : (char)got;
    (void)snprintf(text, sizeof(text), "expected '$', got '%c'", shown);
    fail(parser, input, result, text);
}

/* A length line that fast_length did not take, or that is not there yet. True: *bulk is the
 * payload's size. */
static COLD bool slow_bulk_length(struct resp_parser *parser, struct slice input, struct cursor *c,
                                  uint32_t count, int64_t *bulk, struct resp_parse_result *result)
{
    const uint8_t *marker = c->at;
    enum line_verdict verdict = slow_length(parser, c, bulk);
    if (verdict == LINE_PARTIAL) {
        suspend(parser, c, count, -1, result);
    } else if (verdict == LINE_TOO_BIG) {
        fail(parser, input, result, "too big bulk count string");
    } else if (*marker != '$') {
        fail_marker(parser, input, *marker, result);
    } else if (verdict == LINE_NOT_A_NUMBER || *bulk < 0) {
        fail(parser, input, result, "invalid bulk length");
    } else {
        return true;
    }
    return false;
}

static COLD void fail_bulk_limit(struct resp_parser *parser, const struct resp_limits *limits,
                                 struct slice input, int64_t bulk, struct resp_parse_result *result)
{
    fail(parser, input, result,
         (uint64_t)bulk > limits->bulk_bytes_max ? "invalid bulk length"
                                                 : "unauthenticated bulk length");
}

static uint64_t bulk_limit(const struct resp_limits *limits)
{
    uint64_t limit = limits->bulk_bytes_max;
    if (UNLIKELY(!limits->authenticated) && limit > RESP_UNAUTHENTICATED_BULK_BYTES_MAX) {
        limit = RESP_UNAUTHENTICATED_BULK_BYTES_MAX;
    }
    return limit;
}

/* From `at` in the input on. Only the cold functions are given a cursor: `at` stays in a register.
 */
static inline void read_bulks(struct resp_parser *parser, const struct resp_limits *limits,
                              struct slice input, const uint8_t *at, struct resp_request *request,
                              struct resp_parse_result *result)
{
    const uint64_t limit = bulk_limit(limits);
    const uint32_t expected = parser->arguments_expected;
    const uint8_t *const base = input.data, *const end = input.data + input.size;
    uint32_t count = parser->argument_count, room = argument_room(parser);
    struct slice *table = argument_table(parser);
    int64_t bulk = parser->bulk_expected;

    while (count < expected) {
        if (LIKELY(bulk < 0)) {
            const uint8_t *payload =
                LIKELY(at < end && *at == '$') ? fast_length(at, end, &bulk) : NULL;
            if (UNLIKELY(payload == NULL)) {
                int64_t value;
                struct cursor slow = {base, at, end};
                if (!slow_bulk_length(parser, input, &slow, count, &value, result)) {
                    return;
                }
                bulk = value;
                payload = slow.at;
            }
            at = payload;
            if (UNLIKELY((uint64_t)bulk > limit)) {
                fail_bulk_limit(parser, limits, input, bulk, result);
                return;
            }
            if (UNLIKELY(count == room)) {
                if (!grow_arguments(parser, count)) {
                    fail(parser, input, result, "out of memory");
                    return;
                }
                table = argument_table(parser);
                room = argument_room(parser);
            }
        }
        /* No overflow: bulk is at most the limit, which is a signed configuration value. */
        if (UNLIKELY((uint64_t)(end - at) < (uint64_t)bulk + 2)) {
            struct cursor here = {base, at, end};
            suspend(parser, &here, count, bulk, result);
            return;
        }
        table[count++] = slice_of(at, (size_t)bulk);
        at += (size_t)bulk + 2;
        bulk = -1;
    }
    if (UNLIKELY(parser->argument_count > 0)) {
        offsets_to_pointers(table, parser->argument_count, base);
    }
    finish_request(parser, count, (size_t)(at - base), input, request, result);
}

static COLD bool slow_count(struct resp_parser *parser, struct slice input, struct cursor *c,
                            int64_t *count, struct resp_parse_result *result)
{
    enum line_verdict verdict = slow_length(parser, c, count);
    if (verdict == LINE_PARTIAL) {
        parser->state = RESP_COUNT;
        result->verdict = PARSE_PARTIAL;
    } else if (verdict != LINE_READ) {
        fail(parser, input, result,
             verdict == LINE_TOO_BIG ? "too big mbulk count string" : "invalid multibulk length");
    }
    return verdict == LINE_READ;
}

/* What a count means that is no usual one. True: arguments are to come. */
static COLD bool check_count(struct resp_parser *parser, const struct resp_limits *limits,
                             struct slice input, size_t consumed, int64_t count,
                             struct resp_parse_result *result)
{
    if (count > INT_MAX) {
        fail(parser, input, result, "invalid multibulk length");
        return false;
    }
    if (count > RESP_UNAUTHENTICATED_ARGUMENTS_MAX && !limits->authenticated) {
        fail(parser, input, result, "unauthenticated multibulk length");
        return false;
    }
    if (count <= 0) {
        finish_nothing(parser, consumed, result);
        return false;
    }
    return true;
}

/* The count line at `at`. Behind it, where parser->arguments_expected arguments are to come; NULL:
 * the verdict is set. */
static inline const uint8_t *read_count(struct resp_parser *parser,
                                        const struct resp_limits *limits, struct slice input,
                                        const uint8_t *at, struct resp_parse_result *result)
{
    int64_t count;
    const uint8_t *behind = fast_length(at, input.data + input.size, &count);
    if (UNLIKELY(behind == NULL)) {
        int64_t value;
        struct cursor c = {input.data, at, input.data + input.size};
        if (!slow_count(parser, input, &c, &value, result)) {
            return NULL;
        }
        behind = c.at;
        count = value;
    }
    if (UNLIKELY(count <= 0 || count > RESP_UNAUTHENTICATED_ARGUMENTS_MAX) &&
        !check_count(parser, limits, input, (size_t)(behind - input.data), count, result)) {
        return NULL;
    }
    parser->arguments_expected = (uint32_t)count;
    parser->bulk_expected = -1;
    return behind;
}

/* ---- inline
 * -------------------------------------------------------------------------------------- */

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static uint8_t escaped_byte(uint8_t byte)
{
    switch (byte) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'b': return '\b';
    case 'a': return '\a';
    default: return byte;
    }
}

/* A position in a line while it is split; `out` is where unescaped bytes go. */
struct splitter {
    const uint8_t *at, *end;
    uint8_t *out;
};

static bool quote_closes_word(const struct splitter *s)
{
    return s->at + 1 == s->end || is_blank(s->at[1]);
}

/* Behind an opening double quote: copies up to the closing one, which must end the word. */
static bool copy_double_quoted(struct splitter *s)
{
    for (; s->at < s->end; s->at++) {
        size_t left = (size_t)(s->end - s->at);
        if (*s->at == '"') {
            bool closes = quote_closes_word(s);
            s->at++;
            return closes;
        }
        if (*s->at == '\\' && left >= 4 && s->at[1] == 'x' && hex_digit(s->at[2]) >= 0 &&
            hex_digit(s->at[3]) >= 0) {
            *s->out++ = (uint8_t)(hex_digit(s->at[2]) << 4 | hex_digit(s->at[3]));
            s->at += 3;
        } else if (*s->at == '\\' && left >= 2) {
            *s->out++ = escaped_byte(s->at[1]);
            s->at++;
        } else {
            *s->out++ = *s->at;
        }
    }
    return false;
}

static bool copy_single_quoted(struct splitter *s)
{
    for (; s->at < s->end; s->at++) {
        if (*s->at == '\\' && s->end - s->at >= 2 && s->at[1] == '\'') {
            *s->out++ = '\'';
            s->at++;
        } else if (*s->at == '\'') {
            bool closes = quote_closes_word(s);
            s->at++;
            return closes;
        } else {
            *s->out++ = *s->at;
        }
    }
    return false;
}

/* One word from its first byte, unescaped; false when its quotes do not balance. As in Redis only
 * these four bytes end a word, while any blank may stand before one. */
static bool copy_word(struct splitter *s)
{
    while (s->at < s->end) {
        switch (*s->at) {
        case ' ':
        case '\n':
        case '\r':
        case '\t': return true;
        case '"': s->at++; return copy_double_quoted(s);
        case '\'': s->at++; return copy_single_quoted(s);
        default: *s->out++ = *s->at++; break;
        }
    }
    return true;
}

static void skip_word(struct splitter *s)
{
    while (s->at < s->end && *s->at != ' ' && *s->at != '\t' && *s->at != '\r' && *s->at != '\n') {
        s->at++;
    }
}

static bool reserve_unquoted(struct resp_parser *parser, size_t size)
{
    if (parser->unquoted_capacity < size) {
        uint8_t *bytes = realloc(parser->unquoted, size);
        if (bytes == NULL) {
            return false;
        }
        parser->unquoted = bytes;
        parser->unquoted_capacity = size;
    }
    return true;
}

/* Words of a line into the argument table; NULL or what is wrong with it. */
static const char *split_line(struct resp_parser *parser, struct slice line, uint32_t *count)
{
    bool quoted =
        memchr(line.data, '"', line.size) != NULL || memchr(line.data, '\'', line.size) != NULL;
    if (quoted && !reserve_unquoted(parser, line.size)) {
        return "out of memory";
    }
    struct splitter s = {line.data, line.data + line.size, parser->unquoted};
    *count = 0;
    for (;;) {
        while (s.at < s.end && is_blank(*s.at)) {
            s.at++;
        }
        if (s.at == s.end) {
            return NULL;
        }
        const uint8_t *word = quoted ? s.out : s.at;
        if (!quoted) {
            skip_word(&s);
        } else if (!copy_word(&s)) {
            return "unbalanced quotes in request";
        }
        if (*count == argument_room(parser) && !grow_arguments(parser, *count)) {
            return "out of memory";
        }
        argument_table(parser)[(*count)++] =
            slice_of(word, (size_t)((quoted ? s.out : s.at) - word));
    }
}

static COLD void read_inline(struct resp_parser *parser, struct slice input, struct cursor *c,
                             struct resp_request *request, struct resp_parse_result *result)
{
    size_t distance;
    parser->state = RESP_INLINE;
    enum line_verdict verdict = find_line_end(parser, c, '\n', &distance);
    if (verdict == LINE_PARTIAL) {
        result->verdict = PARSE_PARTIAL;
        return;
    }
    if (verdict != LINE_READ) {
        fail(parser, input, result, "too big inline request");
        return;
    }
    size_t line_bytes = distance > 0 && c->at[distance - 1] == '\r' ? distance - 1 : distance;
    uint32_t count;
    const char *problem = split_line(parser, slice_of(c->at, line_bytes), &count);
    if (problem != NULL) {
        fail(parser, input, result, problem);
    } else if (count == 0) {
        finish_nothing(parser, distance + 1, result);
    } else {
        finish_request(parser, count, distance + 1, input, request, result);
    }
}

/* ---- entry points
 * -------------------------------------------------------------------------------- */

void resp_parser_init(struct resp_parser *parser)
{
    memset(parser, 0, sizeof(*parser));
}

void resp_parser_deinit(struct resp_parser *parser)
{
    free(parser->arguments);
    free(parser->unquoted);
    resp_parser_init(parser);
}

static COLD void resume(struct resp_parser *parser, const struct resp_limits *limits,
                        struct slice input, struct resp_request *request,
                        struct resp_parse_result *result)
{
    CHECK(parser->position <= input.size);
    struct cursor c = {input.data, input.data + parser->position, input.data + input.size};
    if (parser->state == RESP_INLINE) {
        read_inline(parser, input, &c, request, result);
        return;
    }
    if (parser->state == RESP_COUNT) {
        const uint8_t *behind = read_count(parser, limits, input, c.at, result);
        if (behind != NULL) {
            read_bulks(parser, limits, input, behind, request, result);
        }
        return;
    }
    if (parser->terminator_due) {
        if (c.end - c.at < 2) {
            suspend(parser, &c, parser->argument_count, -1, result);
            return;
        }
        c.at += 2;
        parser->terminator_due = false;
    }
    read_bulks(parser, limits, input, c.at, request, result);
}

void resp_parse(struct resp_parser *parser, const struct resp_limits *limits, struct slice input,
                struct resp_request *request, struct resp_parse_result *result)
{
    result->consumed = 0;
    result->wanted_bytes = result->bulk_offset = result->bulk_bytes = 0;
    result->error[0] = '\0';

    if (UNLIKELY(input.size == 0)) {
        result->verdict = PARSE_PARTIAL;
        return;
    }
    if (UNLIKELY(parser->state != RESP_START)) {
        resume(parser, limits, input, request, result);
        return;
    }
    if (UNLIKELY(parser->argument_capacity > ARGUMENTS_KEPT_MAX ||
                 parser->unquoted_capacity > UNQUOTED_KEPT_BYTES_MAX)) {
        resp_parser_release_large(parser);
    }
    if (UNLIKELY(*input.data != '*')) {
        struct cursor c = {input.data, input.data, input.data + input.size};
        read_inline(parser, input, &c, request, result);
        return;
    }
    const uint8_t *behind = read_count(parser, limits, input, input.data, result);
    if (LIKELY(behind != NULL)) {
        read_bulks(parser, limits, input, behind, request, result);
    }
}

struct slice resp_parser_argument(const struct resp_parser *parser, struct slice input,
                                  uint32_t index)
{
    CHECK(parser->state == RESP_BULKS && index < parser->argument_count);
    struct slice argument =
        parser->argument_capacity == 0 ? parser->inline_arguments[index] : parser->arguments[index];
    if ((argument.size & SUPPLIED) != 0) {
        return slice_of(argument.data, argument.size & ~SUPPLIED);
    }
    return slice_of(input.data + (uintptr_t)argument.data, argument.size);
}

void resp_parser_supply_bulk(struct resp_parser *parser, struct slice bulk)
{
    CHECK(parser->state == RESP_BULKS && parser->bulk_expected >= 0);
    CHECK(bulk.size == (uint64_t)parser->bulk_expected);
    /* read_bulks made room for the argument before it suspended in its payload. */
    argument_table(parser)[parser->argument_count++] = slice_of(bulk.data, bulk.size | SUPPLIED);
    parser->bulk_expected = -1;
    parser->terminator_due = true;
}
