/* Drives the parsers of l6_protocol as a session does, for tests and fuzzers: hands a stream over
 * in given pieces, each call's input in a heap block of exactly its size at a new address, and
 * writes down what came out as text. Two ways to cut the same stream must give the same text. */
#ifndef NICACHED_TESTS_PARSE_DRIVER_H
#define NICACHED_TESTS_PARSE_DRIVER_H

#include "dataplane/l6_protocol/memcache_binary_parse.h"
#include "dataplane/l6_protocol/resp_parse.h"

/* Growing bytes. Zeroed is empty. */
struct buffer {
    uint8_t *data;
    size_t size, capacity;
};
void buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_print(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Printable bytes as they are, others as \xHH, terminated by `end`. */
void buffer_print_bytes(struct buffer *buffer, struct slice bytes, char end);
const char *buffer_text(struct buffer *buffer); /* terminated */
void buffer_free(struct buffer *buffer);

struct feed {
    struct slice stream;
    const size_t
        *cuts; /* increasing offsets where one piece ends; the last piece ends at the end */
    size_t cut_count;
    uint64_t supply_min; /* bulks of so many bytes or more are supplied from own memory; 0: never */
};

/* Text: one line per request ("SET|k|v|"), "error TEXT", "fatal TEXT" (the end); unless fatal, a
 * last line "left N", N the stream bytes of the unfinished request. */
void resp_transcript(const struct feed *feed, const struct resp_limits *limits,
                     struct buffer *text);
void memcache_transcript(const struct feed *feed, const struct memcache_limits *limits,
                         struct buffer *text);
void memcache_binary_transcript(const struct feed *feed,
                                const struct memcache_binary_limits *limits, struct buffer *text);
void memcache_login_transcript(const struct feed *feed, struct buffer *text);
void memcache_print_request(const struct memcache_request *request, struct buffer *text);

/* The same text from a plain reading of the whole stream: no cuts, no state, C strings. */
void resp_reference(struct slice stream, const struct resp_limits *limits, struct buffer *text);
void memcache_reference(struct slice stream, const struct memcache_limits *limits,
                        struct buffer *text);
void memcache_binary_reference(struct slice stream, const struct memcache_binary_limits *limits,
                               struct buffer *text);

#endif
