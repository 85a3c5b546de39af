/* A recorded history: what clients asked, when, and what they were told; and whether one order of
 * the operations explains all of it.
 *
 * The key space is cut into groups of few keys. No operation crosses groups (FLUSHDB stands in each
 * one), so each group is a history of its own. Within a group the order sought must
 *   - respect real time: what was answered before another was asked comes before it,
 *   - respect each thread: the operations of one connection take effect as they were sent, also
 *     those that were pipelined; a client's next connection continues the thread,
 *   - give each reply by the sequential model (model.c): so MSET, MGET, RENAME... are atomic.
 *
 * Every value that is written is unique, so each reply tells from which write it came.
 *
 * Thread: one owner.
 */
#ifndef NICACHED_TESTS_HISTORY_HISTORY_H
#define NICACHED_TESTS_HISTORY_HISTORY_H

#include <stdio.h>

#include "dataplane/base/bytes.h"

#define GROUP_KEYS      8U
#define HISTORY_THREADS 64U /* of one group: clients, and connections that were cut off */

#define TIME_NEVER UINT64_MAX

/* OPERATION(name, command as a reader of the report knows it)
 * REFUSED: any one that was refused for want of memory. REFUSED SET: memcached's set, which
 * deletes. */
#define OPERATIONS(OPERATION)                                                                      \
    OPERATION(OPERATION_GET, "GET")                                                                \
    OPERATION(OPERATION_MGET, "MGET")                                                              \
    OPERATION(OPERATION_EXISTS, "EXISTS")                                                          \
    OPERATION(OPERATION_SET, "SET")                                                                \
    OPERATION(OPERATION_SET_NX, "SET NX")                                                          \
    OPERATION(OPERATION_SET_XX, "SET XX")                                                          \
    OPERATION(OPERATION_SET_GET, "SET GET")                                                        \
    OPERATION(OPERATION_GETDEL, "GETDEL")                                                          \
    OPERATION(OPERATION_INCR, "INCR")                                                              \
    OPERATION(OPERATION_APPEND, "APPEND")                                                          \
    OPERATION(OPERATION_DEL, "DEL")                                                                \
    OPERATION(OPERATION_MSET, "MSET")                                                              \
    OPERATION(OPERATION_MSETNX, "MSETNX")                                                          \
    OPERATION(OPERATION_RENAME, "RENAME")                                                          \
    OPERATION(OPERATION_COPY, "COPY")                                                              \
    OPERATION(OPERATION_COPY_REPLACE, "COPY REPLACE")                                              \
    OPERATION(OPERATION_CAS, "cas")                                                                \
    OPERATION(OPERATION_FLUSH, "FLUSHDB")                                                          \
    OPERATION(OPERATION_REFUSED, "REFUSED")                                                        \
    OPERATION(OPERATION_REFUSED_SET, "REFUSED SET")

enum operation_type {
#define OPERATION(name, command) name,
    OPERATIONS(OPERATION)
#undef OPERATION
        OPERATION_TYPE_COUNT,
};

const char *operation_name(enum operation_type type);
/* Whether Redis' command may be refused for want of memory. */
bool operation_needs_memory(enum operation_type type);

/* What a key holds, without its bytes:
 *   0                                   nothing
 *   bit 62, the number                  a whole number; what SET writes is a multiple of 2^16
 *   bit 63, length (15 bits), hash (48) any other string
 * `origin` is the token of the SET (or of the APPEND to nothing) that it grew from; 0 where INCR
 * grew it from nothing. */
struct value {
    uint64_t bits;
    uint32_t origin;
};

#define ORIGIN_NONE    0U
#define ORIGIN_UNKNOWN UINT32_MAX /* bytes that no client ever sends */

static inline bool value_is_absent(struct value value)
{
    return value.bits == 0;
}

struct value value_of_number(uint64_t number);
struct value value_of_bytes(struct slice bytes);
bool value_is_number(struct value value);
uint64_t value_number(struct value value);
/* The length of its text, of which VALUE_LENGTH_MASK is kept. */
#define VALUE_LENGTH_MASK 0x7fffU
uint32_t value_length(struct value value);
struct value value_append(struct value value, struct slice bytes);
/* Grows with each APPEND and INCR, among the values of one origin. */
uint32_t value_rank(struct value value);

/* The texts that clients write. They need VALUE_TEXT_BYTES_MAX and the padding. */
#define VALUE_TEXT_BYTES_MAX 32U
size_t value_write_string(uint8_t *text, uint32_t token, uint32_t padding);
size_t value_write_number(uint8_t *text, uint32_t token);
size_t value_write_suffix(uint8_t *text, uint32_t token);

/* A key that an operation names. `written`: what it stores there, APPEND: only the token counts.
 * `observed`: what the reply says was there before (GET, MGET, SET GET, GETDEL, INCR; a cas that
 * was STORED or EXISTS: the value whose number it named). */
struct access {
    struct value written, observed;
    uint8_t key;
};

struct operation {
    uint64_t asked_ns, answered_ns; /* TIME_NEVER: not answered (yet) */
    int64_t number;                 /* the reply, as model.c lists them */
    uint32_t access_first, px_ms;   /* px_ms: SET with a time to live */
    uint8_t access_count, type, thread;
    bool unanswered; /* the connection was cut: it may have taken effect until answered_ns */
};

struct history {
    struct operation *operations; /* each thread's in the order sent */
    struct access *accesses;
    uint32_t operation_count, operation_room;
    uint32_t access_count, access_room;
};

void history_deinit(struct history *history);
/* Adds an operation with these accesses; its index. */
uint32_t history_add(struct history *history, const struct operation *operation,
                     const struct access *accesses, uint32_t access_count);

static inline const struct access *operation_accesses(const struct history *history,
                                                      const struct operation *operation)
{
    return history->accesses + operation->access_first;
}

struct check_options {
    bool eviction;      /* any key may vanish at any moment */
    bool refusals;      /* a write that nobody heard the answer of may have been refused */
    uint64_t slack_ns;  /* how late or early the server's clock may see an expiry */
    uint64_t steps_max; /* of one search, then it gives up; 0: the default */
};

enum check_verdict {
    CHECK_PASSED,
    CHECK_VIOLATED,
    CHECK_UNDECIDED, /* steps_max were not enough */
};

struct check_result {
    enum check_verdict verdict;
    uint64_t steps, branches;
};

/* Searches the order. What it could not explain is printed to `report` if that is not NULL. */
struct check_result history_check(const struct history *history,
                                  const struct check_options *options, FILE *report);

#endif
