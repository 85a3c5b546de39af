/* Replies as a client reads them: RESP2 / RESP3, memcached's text protocol and its meta commands.
 *
 *   bytes of the stream --reply_next--> START | BYTES | END | MISSING ... DONE --> the next reply
 *
 * One event for each call; values are handed on in pieces as they arrive, so nothing is copied but
 * lines that a cut went through. Any cut of the input gives the same events, but for how the bytes
 * of a value are divided.
 *
 * What the server sends is foreign data: every length is bounded, nesting is bounded, and a reply
 * that is no reply ends in REPLY_BROKEN, after which the parser must not be used.
 */
#ifndef NICACHED_TESTS_BENCH_REPLY_H
#define NICACHED_TESTS_BENCH_REPLY_H

#include "dataplane/base/bytes.h"

#define REPLY_LINE_BYTES_MAX  2048U
#define REPLY_VALUE_BYTES_MAX (UINT64_C(512) << 20)
#define REPLY_ELEMENTS_MAX    (UINT64_C(1) << 24)
#define REPLY_DEPTH_MAX       8U

enum reply_protocol { REPLY_RESP, REPLY_MEMCACHE, REPLY_META };

enum reply_event_type {
    REPLY_NOTHING,     /* never handed out: a step inside the parser without an event */
    REPLY_NEED_MORE,   /* the input is used up */
    REPLY_VALUE_START, /* `size` bytes follow; memcached: of `key` */
    REPLY_VALUE_BYTES, /* a piece of the value, in `bytes` */
    REPLY_VALUE_END,
    REPLY_VALUE_MISSING, /* RESP: nil in the place of a value */
    REPLY_DONE, /* the reply is complete: `status`, and its line in `bytes` if it has one */
    REPLY_BROKEN,
};

/* What a whole reply says. */
enum reply_status {
    REPLY_STATUS_OK,    /* stored, counted, or values as they were handed out */
    REPLY_STATUS_ERROR, /* an error line */
    REPLY_STATUS_NOT,   /* memcached: NOT_STORED, NOT_FOUND, EXISTS */
};

struct reply_event {
    enum reply_status status;
    struct slice bytes, key; /* until the next call, or the input goes away */
    uint64_t size;
};

enum reply_state {
    REPLY_STATE_LINE,
    REPLY_STATE_VALUE,
    REPLY_STATE_VALUE_CRLF,
    REPLY_STATE_ELEMENT_END, /* RESP: one element is through; maybe the reply is */
};

struct reply_parser {
    enum reply_protocol protocol;
    enum reply_state state;
    enum reply_status status; /* of the reply so far */
    uint32_t crlf_left;
    uint64_t value_left;
    uint32_t depth;
    uint32_t line_size; /* of a line that is not whole yet */
    /* From here on nothing that a single value in one piece needs. */
    uint64_t elements_left[REPLY_DEPTH_MAX]; /* of the arrays that are open */
    uint8_t *line;                           /* the owner's, for such a line */
};

/* `line`: REPLY_LINE_BYTES_MAX bytes that nobody else uses. */
void reply_parser_init(struct reply_parser *parser, enum reply_protocol protocol, uint8_t *line);
/* Forgets what has arrived of a reply. */
void reply_parser_reset(struct reply_parser *parser);

/* Takes bytes off the front of `input`. Call until it says REPLY_NEED_MORE (or REPLY_BROKEN). */
enum reply_event_type reply_next(struct reply_parser *parser, struct slice *input,
                                 struct reply_event *event);

#endif
