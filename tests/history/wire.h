/* The two protocols as the recorder speaks them.
 *
 * Failure: bytes that are no reply are WIRE_BROKEN; what a server sends is foreign data. */
#ifndef NICACHED_TESTS_HISTORY_WIRE_H
#define NICACHED_TESTS_HISTORY_WIRE_H

#include "tests/history/history.h"

struct wire_buffer {
    uint8_t *data;
    size_t size, room;
};

/* Room for `count` more bytes: where they begin. */
uint8_t *wire_reserve(struct wire_buffer *buffer, size_t count);
void wire_put(struct wire_buffer *buffer, struct slice bytes);
void wire_put_text(struct wire_buffer *buffer, const char *text);
/* The start of a RESP command of `word_count` words, and one word of it. */
void wire_put_words(struct wire_buffer *buffer, uint32_t word_count);
void wire_put_word(struct wire_buffer *buffer, struct slice word);
void wire_drop_front(struct wire_buffer *buffer, size_t count);

enum wire_kind { WIRE_STATUS, WIRE_ERROR, WIRE_NUMBER, WIRE_VALUES };

struct wire_reply {
    enum wire_kind kind;
    struct slice text; /* of a status or an error; borrowed from the input */
    int64_t number;
    uint64_t cas; /* memcached, with a value */
    uint32_t value_count;
    struct value values[GROUP_KEYS];
};

enum wire_result { WIRE_MORE, WIRE_DONE, WIRE_BROKEN };

/* One reply at the front of `input`; `taken`: its size. */
enum wire_result wire_parse_resp(struct slice input, struct wire_reply *reply, size_t *taken);
enum wire_result wire_parse_memcache(struct slice input, struct wire_reply *reply, size_t *taken);

#endif
