/* The memcached text protocol (doc/protocol.txt, proto_text.c of memcached 1.6).
 *
 * A line is at most MEMCACHE_LINE_BYTES_MAX bytes ("get"/"gets" lines excepted, which may be longer:
 * they are bounded by MEMCACHE_GET_LINE_BYTES_MAX). LF alone ends a line too.
 */
#ifndef NICACHED_L6_PROTOCOL_MEMCACHE_PARSE_H
#define NICACHED_L6_PROTOCOL_MEMCACHE_PARSE_H

#include "dataplane/l6_protocol/request.h"

#define MEMCACHE_KEY_BYTES_MAX      250U
#define MEMCACHE_LINE_BYTES_MAX     2048U
#define MEMCACHE_GET_LINE_BYTES_MAX (64U * 1024U)

enum memcache_verb {
    MEMCACHE_GET, MEMCACHE_GETS, MEMCACHE_GAT, MEMCACHE_GATS,
    MEMCACHE_SET, MEMCACHE_ADD, MEMCACHE_REPLACE, MEMCACHE_APPEND, MEMCACHE_PREPEND, MEMCACHE_CAS,
    MEMCACHE_DELETE, MEMCACHE_INCR, MEMCACHE_DECR, MEMCACHE_TOUCH,
    MEMCACHE_FLUSH_ALL, MEMCACHE_VERSION, MEMCACHE_VERBOSITY, MEMCACHE_STATS, MEMCACHE_QUIT,
    MEMCACHE_VERB_COUNT,
};

struct memcache_request {
    enum memcache_verb verb;
    bool no_reply;
    bool value_too_large;    /* storage: the value exceeds item_bytes_max; it was swallowed */
    uint32_t client_flags;   /* storage */
    int64_t exptime;         /* storage, gat, touch, flush_all (delay); as on the wire */
    uint64_t cas;            /* cas */
    uint64_t delta;          /* incr, decr */
    uint32_t key_count;      /* get family: 1..n; storage, delete, incr, decr, touch: 1 */
    struct slice *keys;      /* owned by the parser; valid until the next call */
    struct slice value;      /* storage: without its CRLF */
    struct slice arguments;  /* stats, verbosity: the rest of the line */
    bool has_argument;       /* flush_all, verbosity: a number was given */
};

struct memcache_limits {
    uint64_t item_bytes_max; /* memcache-item-size-max */
};

/* State between calls; documented in memcache_parse.c. Zeroed is initialised. */
struct memcache_parser {
    uint8_t state;
    uint64_t position;       /* bytes of the current request already scanned */
    uint64_t value_offset, value_bytes;
    uint64_t swallow_bytes;  /* of a refused value still to come */
    bool swallow_no_reply;
    struct memcache_request pending;      /* the command line, while its value arrives */
    struct memcache_key { uint32_t offset, size; } *key_offsets;
    struct slice *keys;
    uint32_t key_capacity;
    struct memcache_key pending_key;
};

struct memcache_parse_result {
    enum parse_verdict verdict;
    size_t consumed;
    uint64_t wanted_bytes;            /* PARSE_PARTIAL: total if known, else 0 */
    uint64_t bulk_offset, bulk_bytes; /* PARSE_PARTIAL inside a value, as in resp_parse.h */
    char error[128];                  /* without CRLF: "ERROR", "CLIENT_ERROR bad command line format" */
};

void memcache_parser_init(struct memcache_parser *parser);
void memcache_parser_deinit(struct memcache_parser *parser);
void memcache_parse(struct memcache_parser *parser, const struct memcache_limits *limits,
                    struct slice input, struct memcache_request *request,
                    struct memcache_parse_result *result);

/* ---- UDP frame header: eight bytes before the text ------------------------------------------ */

#define MEMCACHE_FRAME_BYTES 8U

struct memcache_frame {
    uint16_t request_id, sequence, datagram_count, reserved;
};

/* False when there are fewer than eight bytes. */
bool memcache_frame_parse(struct slice datagram, struct memcache_frame *frame);
void memcache_frame_compose(const struct memcache_frame *frame, uint8_t bytes[MEMCACHE_FRAME_BYTES]);

#endif
