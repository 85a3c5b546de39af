/* The memcached text protocol (doc/protocol.txt; what memcached 1.6.18 answers is the reference).
 *
 * A line ends at LF; one CR before it is dropped. A line that does not end within
 * MEMCACHE_LINE_BYTES_MAX bytes closes the connection without a reply; the get family may name many
 * keys and has MEMCACHE_GET_LINE_BYTES_MAX. (The reference decides by what one read happens to
 * bring, between 2 KiB and 16 KiB, and knows no bound for get and gets.) A NUL ends the line for
 * the parser, what follows it up to LF is ignored, as there.
 *
 * A key in base64 (the meta commands' b) is decoded into the parser's memory: memcache_uses_parser.
 *
 * Not spoken here: the binary protocol (memcache_binary_parse.h; who hands its magic byte to this
 * parser first is closed).
 */
#ifndef NICACHED_L6_PROTOCOL_MEMCACHE_PARSE_H
#define NICACHED_L6_PROTOCOL_MEMCACHE_PARSE_H

#include "dataplane/l6_protocol/base64.h"
#include "dataplane/l6_protocol/memcache_binary.h"
#include "dataplane/l6_protocol/memcache_meta.h"
#include "dataplane/l6_protocol/memcache_text.h"
#include "dataplane/l6_protocol/request.h"

#define MEMCACHE_KEY_BYTES_MAX      250U
#define MEMCACHE_LINE_BYTES_MAX     16384U
#define MEMCACHE_GET_LINE_BYTES_MAX (1024U * 1024U)
#define MEMCACHE_KEYS_INLINE        16U

enum memcache_verb {
    MEMCACHE_GET,
    MEMCACHE_GETS,
    MEMCACHE_GAT,
    MEMCACHE_GATS,
    MEMCACHE_SET,
    MEMCACHE_ADD,
    MEMCACHE_REPLACE,
    MEMCACHE_APPEND,
    MEMCACHE_PREPEND,
    MEMCACHE_CAS,
    MEMCACHE_DELETE,
    MEMCACHE_INCR,
    MEMCACHE_DECR,
    MEMCACHE_TOUCH,
    MEMCACHE_FLUSH_ALL,
    MEMCACHE_VERSION,
    MEMCACHE_VERBOSITY,
    MEMCACHE_STATS,
    MEMCACHE_QUIT,
    MEMCACHE_MEMLIMIT,
    MEMCACHE_SHUTDOWN,
    MEMCACHE_CRAWLER,
    MEMCACHE_CONFIG,
    MEMCACHE_WATCH,
    MEMCACHE_META_GET,
    MEMCACHE_META_SET,
    MEMCACHE_META_DELETE,
    MEMCACHE_META_ARITHMETIC,
    MEMCACHE_META_NOOP,
    MEMCACHE_META_DEBUG,
    /* Of the binary protocol alone. */
    MEMCACHE_NOOP,
    MEMCACHE_SASL_LIST,
    MEMCACHE_SASL_AUTH,
    MEMCACHE_SASL_STEP,
    MEMCACHE_REFUSED,
    /* Text, before anything else: a set whose value is "user password". */
    MEMCACHE_LOGIN,
    MEMCACHE_VERB_COUNT,
};

struct memcache_request {
    enum memcache_verb verb;
    bool no_reply;
    bool value_too_large;  /* storage: the value exceeds item_bytes_max. The request comes before
                              the value, which the next calls swallow (PARSE_NOTHING) */
    bool value_refused;    /* the same after memcache_parser_refuse_value */
    bool has_argument;     /* flush_all, verbosity: a number was given */
    uint32_t client_flags; /* storage */
    int64_t exptime;       /* storage, gat, touch, flush_all (delay): as the reference reads it, cut
                              to 32 bits; may be negative */
    uint64_t cas;   /* cas; and, 0 for none, the requests of the binary protocol that name one */
    uint64_t delta; /* incr, decr, ma; verbosity: the level; cache_memlimit: megabytes */
    uint32_t key_count; /* get family: 1..n, gat 0..n; storage, delete, incr, decr, touch: 1 */
    struct slice *keys; /* owned by the parser; valid until the next call */
    struct slice value; /* storage: without its CRLF; login, SASL: what proves who it is */
    /* stats, config and others: the rest of the line; meta commands: their flags; SASL: the
     * mechanism */
    struct slice arguments;
    struct memcache_meta meta;
    struct memcache_binary binary;
};

/* What the reference compares with its item size limit: beside key and value its header, the key's
 * NUL, CRLF, CAS; and the client flags only when they are not zero. */
static inline uint64_t memcache_item_bytes(uint64_t key_bytes, uint64_t value_bytes,
                                           uint32_t client_flags)
{
    return 59 + key_bytes + value_bytes + (client_flags != 0 ? 4 : 0);
}

struct memcache_limits {
    uint64_t item_bytes_max; /* memcache-item-size-max */
};

/* State between calls; documented in memcache_parse.c. Zeroed is initialised,
 * memcache_parser_deinit frees the table; between the two it may be moved. */
struct memcache_parser {
    uint8_t state;
    bool has_spoken; /* the first byte of the connection was seen */
    bool value_supplied, value_refused;
    bool pending_key_decoded;
    uint32_t key_capacity; /* of `keys`; 0 while inline_keys is in use */
    uint64_t scanned;      /* no end of line was found before this offset */
    uint64_t value_offset, value_bytes;
    uint64_t swallow_bytes;          /* of a refused value still to come */
    struct memcache_request pending; /* the command line, while its value arrives */
    uint64_t pending_key_offset, pending_arguments_offset;
    size_t pending_key_bytes;
    struct slice *keys;
    union {
        struct slice inline_keys[MEMCACHE_KEYS_INLINE];
        struct {
            struct slice key;
            uint8_t bytes[BASE64_DECODED_BYTES(MEMCACHE_KEY_BYTES_MAX)];
        } decoded;
    };
};

struct memcache_parse_result {
    enum parse_verdict verdict;
    size_t consumed;
    uint64_t wanted_bytes;            /* PARSE_PARTIAL: total if known, else 0 */
    uint64_t bulk_offset, bulk_bytes; /* PARSE_PARTIAL inside a value, as in resp_parse.h */
    char error[128]; /* without CRLF: "ERROR", "CLIENT_ERROR bad command line format" */
};

/* Between two requests: what it knows is what it knew at first, but that the first byte was seen.
 */
static inline bool memcache_parser_is_at_rest(const struct memcache_parser *parser)
{
    return parser->state == 0 && parser->scanned == 0;
}

void memcache_parser_init(struct memcache_parser *parser);
void memcache_parser_deinit(struct memcache_parser *parser);
/* At rest: gives back what is only worth having for a large request. */
void memcache_parser_release_large(struct memcache_parser *parser);
/* For input that does not go on where the last one ended: a datagram. Cheap when that was a whole
 * request. */
void memcache_parser_restart(struct memcache_parser *parser);
/* An error that noreply suppresses is PARSE_NOTHING. PARSE_FATAL has an empty error: close. */
void memcache_parse(struct memcache_parser *parser, const struct memcache_limits *limits,
                    struct slice input, struct memcache_request *request,
                    struct memcache_parse_result *result);

/* The request's key is in the parser, not in the input: it is valid until the next call only. */
bool memcache_uses_parser(const struct memcache_parser *parser,
                          const struct memcache_request *request);

/* ---- the common requests --------------------------------------------------------------------- */

#define MEMCACHE_PLAIN_KEYS_MAX 1024U
_Static_assert(MEMCACHE_PLAIN_KEYS_MAX *(MEMCACHE_KEY_BYTES_MAX + 2U) < MEMCACHE_GET_LINE_BYTES_MAX,
               "no line of so many keys is too long");

/* Where "get " stands: a blank in front of each key, CRLF behind the last. */
static inline size_t memcache_parse_plain_get(struct slice input, struct slice *keys, uint32_t room,
                                              struct memcache_request *request)
{
    const uint8_t *at = input.data + 3, *const end = input.data + input.size;
    uint32_t count = 0;
    do {
        const uint8_t *key = at + 1;
        at = memcache_skip_visible(key, end);
        size_t size = (size_t)(at - key);
        if (end - at < 2 || size - 1 >= MEMCACHE_KEY_BYTES_MAX || count == room) {
            return 0;
        }
        keys[count++] = slice_of(key, size);
    } while (*at == ' ');
    if (at[0] != '\r' || at[1] != '\n') {
        return 0;
    }
    *request = (struct memcache_request){.verb = MEMCACHE_GET, .key_count = count, .keys = keys};
    return (size_t)(at + 2 - input.data);
}

/* A blank and a number of one to nine digits. Behind it, which may be `end`; `end`, too, where
 * there is no such number. */
static inline const uint8_t *memcache_skip_plain_number(const uint8_t *at, const uint8_t *end,
                                                        uint32_t *number)
{
    uint32_t value = 0;
    if (at == end || *at != ' ') {
        *number = 0;
        return end;
    }
    const uint8_t *const first = ++at;
    for (uint32_t digit; at < end && (digit = (uint32_t)*at - '0') <= 9; at++) {
        value = value * 10 + digit;
    }
    *number = value;
    return (size_t)(at - first) - 1 < 9 ? at : end;
}

/* Where "set " stands: a blank in front of the key and of each number, CRLF behind the line and the
 * value. */
static inline size_t memcache_parse_plain_set(const struct memcache_limits *limits,
                                              struct slice input, struct slice *keys, uint32_t room,
                                              struct memcache_request *request)
{
    const uint8_t *const key = input.data + 4, *const end = input.data + input.size;
    const uint8_t *at = memcache_skip_visible(key, end);
    size_t key_bytes = (size_t)(at - key);
    uint32_t client_flags, exptime, value_bytes;
    at = memcache_skip_plain_number(at, end, &client_flags);
    at = memcache_skip_plain_number(at, end, &exptime);
    at = memcache_skip_plain_number(at, end, &value_bytes);
    if (key_bytes - 1 >= MEMCACHE_KEY_BYTES_MAX || room == 0 ||
        (size_t)(end - at) < (size_t)value_bytes + 4 || memcmp(at, "\r\n", 2) != 0 ||
        memcmp(at + 2 + value_bytes, "\r\n", 2) != 0 ||
        memcache_item_bytes(key_bytes, value_bytes, client_flags) > limits->item_bytes_max) {
        return 0;
    }
    keys[0] = slice_of(key, key_bytes);
    *request = (struct memcache_request){
        .verb = MEMCACHE_SET,
        .client_flags = client_flags,
        .exptime = exptime,
        .key_count = 1,
        .keys = keys,
        .value = slice_of(at + 2, value_bytes),
    };
    return (size_t)value_bytes + (size_t)(at + 4 - input.data);
}

/* A get or a set as clients write them, that is all there: read in one pass and without a parser.
 * The request's keys are put into `keys`, which has room for `room` of them, at most
 * MEMCACHE_PLAIN_KEYS_MAX. Returns how many bytes it took; 0: memcache_parse is to read it, which
 * takes what this takes for the same request. Only where a request begins. */
static inline size_t memcache_parse_plain(const struct memcache_limits *limits, struct slice input,
                                          struct slice *keys, uint32_t room,
                                          struct memcache_request *request)
{
    if (input.size < 4) {
        return 0;
    }
    if (memcmp(input.data, "get ", 4) == 0) {
        return memcache_parse_plain_get(input, keys, room, request);
    }
    return memcmp(input.data, "set ", 4) == 0
               ? memcache_parse_plain_set(limits, input, keys, room, request)
               : 0;
}

/* A large value that arrived elsewhere: exactly as resp_parser_supply_bulk (resp_parse.h). After it
 * the input is the command line directly followed by the CRLF behind the value. */
void memcache_parser_supply_value(struct memcache_parser *parser, struct slice value);

/* Also after a PARSE_PARTIAL with bulk_bytes > 0, `input` as it was then: the value's key. */
struct slice memcache_parser_key(const struct memcache_parser *parser, struct slice input);

/* Also after a PARSE_PARTIAL with bulk_bytes > 0: there is no memory for the value. The next call
 * yields the request with value_refused, consuming its line; the calls after it swallow the value's
 * bytes as they come (give them the payload bytes from bulk_offset on). */
void memcache_parser_refuse_value(struct memcache_parser *parser);

/* A number as memcached reads one with strtoull: for incr and decr on a stored value. */
bool memcache_parse_uint64(struct slice text, uint64_t *value);

/* ---- UDP frame header: eight bytes before the text ------------------------------------------ */

#define MEMCACHE_FRAME_BYTES 8U

struct memcache_frame {
    uint16_t request_id, sequence, datagram_count, reserved;
};

/* False when there are fewer than eight bytes. */
static inline bool memcache_frame_parse(struct slice datagram, struct memcache_frame *frame)
{
    if (datagram.size < MEMCACHE_FRAME_BYTES) {
        return false;
    }
    frame->request_id = bytes_read_be16(datagram.data);
    frame->sequence = bytes_read_be16(datagram.data + 2);
    frame->datagram_count = bytes_read_be16(datagram.data + 4);
    frame->reserved = bytes_read_be16(datagram.data + 6);
    return true;
}

static inline void memcache_frame_compose(const struct memcache_frame *frame,
                                          uint8_t bytes[MEMCACHE_FRAME_BYTES])
{
    bytes_write_be64(bytes, (uint64_t)frame->request_id << 48 | (uint64_t)frame->sequence << 32 |
                                (uint64_t)frame->datagram_count << 16 | frame->reserved);
}

#endif
