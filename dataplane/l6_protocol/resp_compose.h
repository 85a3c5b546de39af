/* RESP replies, written straight into a byte queue in the protocol version of the client.
 *
 * Where RESP3 has a type that RESP2 lacks, the RESP2 form is the one Redis sends: null is "$-1" (or
 * "*-1" for null arrays), a map of n pairs is an array of 2n, a set an array, a double a bulk
 * string, true ":1", verbatim text a bulk string, a push an array.
 */
#ifndef NICACHED_L6_PROTOCOL_RESP_COMPOSE_H
#define NICACHED_L6_PROTOCOL_RESP_COMPOSE_H

#include "dataplane/base/byte_queue.h"
#include "dataplane/base/bytes.h"
#include "dataplane/base/number.h"

struct reply {
    struct byte_queue *out;
    struct byte_pool *pool;
    uint8_t protocol;     /* 2 or 3 */
    bool suppressed;      /* CLIENT REPLY OFF / SKIP: nothing is written */
    uint32_t error_count; /* error replies composed, suppressed ones too */
};

void reply_status(struct reply *reply, const char *text); /* "+OK" */
/* What most writes are answered with. */
static inline void reply_ok(struct reply *reply)
{
    static const char ok[] = {'+', 'O', 'K', '\r', '\n'};
    if (!reply->suppressed) {
        memcpy(byte_queue_reserve(reply->out, reply->pool, sizeof(ok)), ok, sizeof(ok));
        byte_queue_commit(reply->out, sizeof(ok));
    }
}

/* `text` starts with its prefix: "ERR ...". CR and LF in it become spaces. */
void reply_error(struct reply *reply, const char *text);
void reply_error_format(struct reply *reply, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void reply_integer(struct reply *reply, int64_t value);
void reply_large_bulk(struct reply *reply, struct slice bytes);
/* In one reservation; beyond, the end of a page would be wasted. */
#define REPLY_SMALL_BYTES_MAX 1024U
static inline void reply_bulk(struct reply *reply, struct slice bytes)
{
    if (UNLIKELY(reply->suppressed || bytes.size > REPLY_SMALL_BYTES_MAX)) {
        reply_large_bulk(reply, bytes);
        return;
    }
    uint8_t *start =
        byte_queue_reserve(reply->out, reply->pool, 1 + NUMBER_TEXT_BYTES_MAX + 2 + bytes.size + 2);
    *start = '$';
    uint8_t *at = number_put_uint64(start + 1, bytes.size);
    memcpy(at, "\r\n", 2);
    if (LIKELY(bytes.size > 0)) {
        memcpy(at + 2, bytes.data, bytes.size);
    }
    at += 2 + bytes.size;
    memcpy(at, "\r\n", 2);
    byte_queue_commit(reply->out, (size_t)(at + 2 - start));
}
void reply_bulk_string(struct reply *reply, const char *text);
/* A bulk string whose bytes are not copied: takes over one count on the owner. */
void reply_bulk_reference(struct reply *reply, struct slice bytes, struct byte_owner *owner);
void reply_null(struct reply *reply);
void reply_null_array(struct reply *reply);
void reply_array(struct reply *reply, uint64_t count); /* header; `count` elements follow */
void reply_map(struct reply *reply, uint64_t pairs);
void reply_set(struct reply *reply, uint64_t count);
void reply_push(struct reply *reply, uint64_t count);
void reply_attribute(struct reply *reply, uint64_t pairs); /* RESP3 only: the caller checks */
void reply_double(struct reply *reply, double value);
/* As Redis' "human" long double (INCRBYFLOAT): %.17Lf without trailing zeros, as a bulk string. */
void reply_human_long_double(struct reply *reply, long double value);
void reply_boolean(struct reply *reply, bool value);
void reply_verbatim(struct reply *reply, struct slice text, const char *format3); /* "txt" */

/* "%.17Lf", trailing zeros removed; returns the size. `text` has room for 5 * 1024 bytes. */
size_t resp_format_long_double(long double value, char *text, size_t text_bytes);

#endif
