/* RESP requests: multibulk ("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n") and inline ("GET k\r\n"). Limits and
 * error texts are those of Redis 7.2 (networking.c: processMultibulkBuffer, processInlineBuffer):
 * "Protocol error: invalid multibulk length", "... expected '$', got 'x'", "... invalid bulk
 * length", "... too big inline request", "... unbalanced quotes in request", "... too big mbulk
 * count string", "... too big bulk count string"; the unauthenticated limits are
 * "Protocol error: unauthenticated multibulk length" and "... unauthenticated bulk length". All
 * protocol errors are PARSE_FATAL.
 */
#ifndef NICACHED_L6_PROTOCOL_RESP_PARSE_H
#define NICACHED_L6_PROTOCOL_RESP_PARSE_H

#include "dataplane/l6_protocol/request.h"

#define RESP_INLINE_BYTES_MAX   (64U * 1024U)
#define RESP_ARGUMENTS_INLINE   16

struct resp_limits {
    uint64_t bulk_bytes_max;  /* proto-max-bulk-len */
    bool authenticated;       /* false: 10 arguments of 16384 bytes */
};

struct resp_request {
    uint32_t argument_count;
    struct slice *arguments;  /* owned by the parser; valid until the next call */
};

/* State between calls. Zeroed is initialised; resp_parser_deinit frees the argument table. */
struct resp_parser {
    /* implementation: resp_parse.c documents the states */
    uint8_t state;
    uint64_t position;          /* bytes of the current request already scanned */
    int64_t arguments_expected;
    int64_t bulk_expected;      /* -1: length line not read yet */
    uint32_t argument_count;
    uint32_t argument_capacity;
    struct resp_argument { uint64_t offset, size; } *offsets; /* from the request's first byte */
    struct slice *arguments;
    struct resp_argument inline_offsets[RESP_ARGUMENTS_INLINE];
    struct slice inline_arguments[RESP_ARGUMENTS_INLINE];
    uint8_t *unquoted;          /* inline requests with quotes: the unescaped bytes */
    size_t unquoted_capacity;
};

struct resp_parse_result {
    enum parse_verdict verdict;
    size_t consumed;
    uint64_t wanted_bytes;      /* PARSE_PARTIAL: total size needed if known, else 0 */
    /* PARSE_PARTIAL inside a large bulk argument: where its payload starts and its size, both from
     * the request's first byte, so that a session can receive it into its final place; size 0
     * otherwise. */
    uint64_t bulk_offset, bulk_bytes;
    char error[128];            /* with its prefix, without '-' and CRLF: "ERR Protocol error: ..." */
};

void resp_parser_init(struct resp_parser *parser);
void resp_parser_deinit(struct resp_parser *parser);
void resp_parse(struct resp_parser *parser, const struct resp_limits *limits, struct slice input,
                struct resp_request *request, struct resp_parse_result *result);

#endif
