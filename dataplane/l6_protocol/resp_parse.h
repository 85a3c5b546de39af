/* RESP requests: multibulk ("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n") and inline ("GET k\r\n"). Limits and
 * error texts are those of Redis 7.2 (networking.c: processMultibulkBuffer, processInlineBuffer):
 * "Protocol error: invalid multibulk length", "... expected '$', got 'x'", "... invalid bulk
 * length", "... too big inline request", "... unbalanced quotes in request", "... too big mbulk
 * count string", "... too big bulk count string"; the unauthenticated limits are
 * "Protocol error: unauthenticated multibulk length" and "... unauthenticated bulk length". All
 * protocol errors are PARSE_FATAL. A request named POST or "Host:" comes from a web browser that
 * was tricked into talking to us: PARSE_FATAL with an empty error, that is, close without a reply.
 */
#ifndef NICACHED_L6_PROTOCOL_RESP_PARSE_H
#define NICACHED_L6_PROTOCOL_RESP_PARSE_H

#include "dataplane/base/check.h"
#include "dataplane/l6_protocol/request.h"

#define RESP_INLINE_BYTES_MAX               (64U * 1024U)
#define RESP_ARGUMENTS_INLINE               16
#define RESP_UNAUTHENTICATED_ARGUMENTS_MAX  10
#define RESP_UNAUTHENTICATED_BULK_BYTES_MAX 16384U

struct resp_limits {
    uint64_t bulk_bytes_max; /* proto-max-bulk-len */
    bool authenticated;      /* false: 10 arguments of 16384 bytes */
};

struct resp_request {
    uint32_t argument_count;
    struct slice *arguments; /* owned by the parser; valid until the next call */
};

/* State between calls; resp_parse.c documents it. Zeroed is initialised, resp_parser_deinit frees
 * the tables; between the two it may be moved (no pointer into itself). */
struct resp_parser {
    uint8_t state;
    bool terminator_due; /* a bulk was supplied: its CRLF comes next */
    uint32_t arguments_expected;
    uint32_t argument_count;
    uint32_t argument_capacity; /* of `arguments`; 0 while inline_arguments is in use */
    uint64_t position;          /* first byte not parsed yet, from the request's first byte */
    uint64_t scanned;           /* no end of line was found between `position` and here */
    int64_t bulk_expected;      /* state RESP_BULKS: size of the payload at `position`, -1 when its
                                   length line is still to come */
    struct slice *arguments;    /* between calls: offsets, see resp_parse.c */
    struct slice inline_arguments[RESP_ARGUMENTS_INLINE];
    uint8_t *unquoted; /* inline requests with quotes: the unescaped bytes */
    size_t unquoted_capacity;
};

struct resp_parse_result {
    enum parse_verdict verdict;
    size_t consumed;
    uint64_t wanted_bytes; /* PARSE_PARTIAL: no progress before the input has so many bytes (the
                              end of the bulk that is arriving), or 0 when that is not known */
    /* PARSE_PARTIAL inside a bulk argument of any size: where its payload starts in the input and
     * its size, so that a session can receive it into its final place; both 0 otherwise. */
    uint64_t bulk_offset, bulk_bytes;
    char error[128]; /* with its prefix, without '-' and CRLF: "ERR Protocol error: ..." */
};

/* Between two requests: what it knows is what it knew at first. */
static inline bool resp_parser_is_at_rest(const struct resp_parser *parser)
{
    return parser->state == 0;
}

void resp_parser_init(struct resp_parser *parser);
void resp_parser_deinit(struct resp_parser *parser);
/* At rest: gives back what is only worth having for a large request. */
void resp_parser_release_large(struct resp_parser *parser);
void resp_parse(struct resp_parser *parser, const struct resp_limits *limits, struct slice input,
                struct resp_request *request, struct resp_parse_result *result);

/* ---- the common request ---------------------------------------------------------------------- */

#define RESP_SHORT_ARGUMENTS_MAX    8U
#define RESP_SHORT_LENGTH_BYTES_MIN 8U /* that can be looked at where a length line begins */
#define RESP_SHORT_PARTIAL          UINT32_MAX

/* "$", one to four digits without a leading zero, CR and one more byte. Behind it; NULL: no such
 * line. */
static inline const uint8_t *resp_short_length(const uint8_t *at, size_t *length)
{
    uint32_t number = (uint32_t)at[1] - '0';
    if (at[0] != '$' || number > 9) {
        return NULL;
    }
    for (uint32_t i = 2; i < 6; i++) {
        if (at[i] == '\r') {
            *length = number;
            return at + i + 2;
        }
        uint32_t digit = (uint32_t)at[i] - '0';
        if (digit > 9 || number == 0) {
            return NULL;
        }
        number = number * 10 + digit;
    }
    return NULL;
}

/* "POST" and "Host:" are refused: the parser looks closer. */
static inline bool resp_short_name_is_safe(struct slice name)
{
    if (name.size != 4 && name.size != 5) {
        return true;
    }
    uint8_t first = name.data[0] | 0x20;
    return first != 'p' && first != 'h';
}

/* A request of a few short arguments that is all there: read in one pass and without a parser, into
 * `arguments`, which has room for RESP_SHORT_ARGUMENTS_MAX. Returns their number, and how many
 * bytes they took; RESP_SHORT_PARTIAL: it is one as far as it goes, and ends inside an argument;
 * 0: resp_parse is to read it, which takes what this takes for the same request, under any limits
 * that the configuration may set. Only where a request begins. */
static inline uint32_t resp_parse_short(struct slice input, struct slice *arguments,
                                        size_t *consumed)
{
    const uint8_t *at = input.data, *const end = input.data + input.size;
    if (input.size < 4 || at[0] != '*' || at[2] != '\r') {
        return 0;
    }
    uint32_t count = (uint32_t)at[1] - '0';
    if (count - 1 >= RESP_SHORT_ARGUMENTS_MAX) {
        return 0;
    }
    at += 4;
    for (uint32_t i = 0; i < count; i++) {
        size_t size;
        if ((size_t)(end - at) < RESP_SHORT_LENGTH_BYTES_MIN) {
            return 0;
        }
        at = resp_short_length(at, &size);
        if (UNLIKELY(at == NULL)) {
            return 0;
        }
        if (UNLIKELY((size_t)(end - at) < size + 2)) {
            return RESP_SHORT_PARTIAL;
        }
        arguments[i] = slice_of(at, size);
        at += size + 2;
    }
    *consumed = (size_t)(at - input.data);
    return resp_short_name_is_safe(arguments[0]) ? count : 0;
}

/* Where the arguments of a short request are. The next one most often has the same lengths: then
 * its length lines are the same bytes at the same places, which are compared with these instead of
 * being read. Zeroed: of no request yet. */
struct resp_shape {
    uint32_t argument_count; /* 0: of no request */
    uint32_t pause;          /* so many requests are not noted: the last two differed */
    uint32_t request_bytes;
    uint32_t input_bytes_min; /* a word at the last length line may reach beyond the request */
    uint32_t count_line;      /* its four bytes */
    struct resp_shape_argument {
        uint32_t line_offset, offset, size; /* offsets from where the request begins */
        uint64_t line, line_mask;           /* the bytes of a word at line_offset */
    } arguments[RESP_SHORT_ARGUMENTS_MAX];
};

/* Where lengths vary, one request of so many is compared in vain. */
#define RESP_SHAPE_PAUSE 16U

static inline uint64_t resp_shape_word(const uint8_t *at)
{
    uint64_t word;
    _Static_assert(sizeof(word) <= RESP_SHORT_LENGTH_BYTES_MIN, "so many are there");
    memcpy(&word, at, sizeof(word));
    return word;
}

static inline uint32_t resp_count_line(const uint8_t *begin)
{
    uint32_t line;
    memcpy(&line, begin, sizeof(line));
    return line;
}

/* Of a request that resp_parse_short has found at `begin`. */
static inline void resp_note_shape(struct resp_shape *shape, const uint8_t *begin,
                                   const struct slice *arguments, uint32_t argument_count)
{
    uint32_t at = sizeof(shape->count_line), last_line = at;
    shape->argument_count = argument_count;
    shape->count_line = resp_count_line(begin);
    for (uint32_t i = 0; i < argument_count; i++) {
        struct resp_shape_argument *argument = &shape->arguments[i];
        argument->line_offset = last_line = at;
        argument->offset = (uint32_t)(arguments[i].data - begin);
        argument->size = (uint32_t)arguments[i].size;
        argument->line_mask = UINT64_MAX >> (64 - 8 * (argument->offset - at));
        argument->line = resp_shape_word(begin + at) & argument->line_mask;
        at = argument->offset + argument->size + 2;
    }
    shape->request_bytes = at;
    shape->input_bytes_min = last_line + RESP_SHORT_LENGTH_BYTES_MIN;
    if (shape->input_bytes_min < at) {
        shape->input_bytes_min = at;
    }
}

/* True: the input begins with a request of that shape, whose arguments are filled in; it is what
 * resp_parse_short finds. */
static inline bool resp_has_shape(const struct resp_shape *shape, struct slice input,
                                  struct slice *arguments)
{
    if (input.size < shape->input_bytes_min) {
        return false;
    }
    uint64_t different = resp_count_line(input.data) ^ shape->count_line;
    for (uint32_t i = 0; i < shape->argument_count; i++) {
        const struct resp_shape_argument *argument = &shape->arguments[i];
        uint64_t word = resp_shape_word(input.data + argument->line_offset);
        different |= (word ^ argument->line) & argument->line_mask;
        arguments[i] = slice_of(input.data + argument->offset, argument->size);
    }
    return different == 0 && resp_short_name_is_safe(arguments[0]);
}

/* As resp_parse_short, for requests one after the other, whosever they are; `shape` is what the
 * ones before have left. */
static inline uint32_t resp_parse_next(struct resp_shape *shape, struct slice input,
                                       struct slice *arguments, size_t *consumed)
{
    if (LIKELY(shape->argument_count > 0 && resp_has_shape(shape, input, arguments))) {
        *consumed = shape->request_bytes;
        return shape->argument_count;
    }
    uint32_t count = resp_parse_short(input, arguments, consumed);
    if (count - 1 >= RESP_SHORT_ARGUMENTS_MAX) {
        return count;
    }
    if (shape->argument_count > 0) {
        shape->argument_count = 0;
        shape->pause = RESP_SHAPE_PAUSE;
    } else if (shape->pause > 0) {
        shape->pause--;
    } else {
        resp_note_shape(shape, input.data, arguments, count);
    }
    return count;
}

/* A large bulk that arrived elsewhere. To be called after a PARSE_PARTIAL with bulk_bytes > 0, when
 * the session holds all bulk_bytes payload bytes in memory of its own: `bulk`, which must stay
 * until the request was executed. From then on the request's input is what it was WITHOUT the
 * payload:
 *
 *   before   *3 $3 SET $1 k $50000 | <payload 50000> | CRLF  next request ...
 *                                  ^ bulk_offset
 *   after    *3 $3 SET $1 k $50000 | CRLF  next request ...
 *
 * so `consumed`, `wanted_bytes` and a later `bulk_offset` of this request count without it too.
 * More than one bulk of a request may be supplied so. bulk.size must be bulk_bytes (CHECK). */
void resp_parser_supply_bulk(struct resp_parser *parser, struct slice bulk);

/* Also after a PARSE_PARTIAL with bulk_bytes > 0, `input` as it was then: an argument in front of
 * the bulk, which is number parser->argument_count. */
struct slice resp_parser_argument(const struct resp_parser *parser, struct slice input,
                                  uint32_t index);

#endif
