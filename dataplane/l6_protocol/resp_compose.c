/* RESP replies.
 *
 * A reply of known small size reserves its room once, is written there and committed once; what may
 * be large goes through byte_queue_append, which splits over pages. Thread: the owning core.
 * Failure: none but the byte queue's own.
 */
#include "dataplane/l6_protocol/resp_compose.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/base/number.h"

#define HEADER_BYTES_MAX      (1 + NUMBER_TEXT_BYTES_MAX + 2) /* marker, number, CRLF */
#define ERROR_BYTES_MAX       2048U
#define LONG_DOUBLE_BYTES_MAX (5U * 1024U)
#define DOUBLE_BYTES_MAX      40U

/* ---- pieces -------------------------------------------------------------------------------- */

static inline uint8_t *put_line_end(uint8_t *to)
{
    to[0] = '\r';
    to[1] = '\n';
    return to + 2;
}

static inline uint8_t *put_header(uint8_t *to, char marker, uint64_t value)
{
    *to = (uint8_t)marker;
    return put_line_end(number_put_uint64(to + 1, value));
}

static inline uint8_t *put_bytes(uint8_t *to, const void *from, size_t size)
{
    memcpy(to, from, size);
    return to + size;
}

static inline uint8_t *reserve(struct reply *reply, size_t size)
{
    return byte_queue_reserve(reply->out, reply->pool, size);
}

static inline void commit(struct reply *reply, const uint8_t *from, const uint8_t *to)
{
    byte_queue_commit(reply->out, (size_t)(to - from));
}

static void append(struct reply *reply, const void *data, size_t size)
{
    byte_queue_append(reply->out, reply->pool, data, size);
}

static void write_header(struct reply *reply, char marker, uint64_t value)
{
    uint8_t *start = reserve(reply, HEADER_BYTES_MAX);
    commit(reply, start, put_header(start, marker, value));
}

/* ---- simple types -------------------------------------------------------------------------- */

void reply_status(struct reply *reply, const char *text)
{
    if (reply->suppressed) {
        return;
    }
    size_t size = strlen(text);
    CHECK(size <= REPLY_SMALL_BYTES_MAX);
    uint8_t *start = reserve(reply, size + 3), *at = start;
    *at++ = '+';
    commit(reply, start, put_line_end(put_bytes(at, text, size)));
}

void reply_error(struct reply *reply, const char *text)
{
    reply->error_count++;
    if (reply->suppressed) {
        return;
    }
    size_t size = strlen(text);
    while (size > 0 && (text[size - 1] == '\r' || text[size - 1] == '\n')) {
        size--;
    }
    size = size < ERROR_BYTES_MAX ? size : ERROR_BYTES_MAX;
    uint8_t *start = reserve(reply, size + 3), *at = start;
    *at++ = '-';
    for (size_t i = 0; i < size; i++) {
        *at++ = text[i] == '\r' || text[i] == '\n' ? ' ' : (uint8_t)text[i];
    }
    commit(reply, start, put_line_end(at));
}

void reply_error_format(struct reply *reply, const char *format, ...)
{
    char text[ERROR_BYTES_MAX + 1];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    CHECK(size >= 0);
    reply_error(reply, text);
}

void reply_integer(struct reply *reply, int64_t value)
{
    if (reply->suppressed) {
        return;
    }
    uint8_t *start = reserve(reply, HEADER_BYTES_MAX), *at = start;
    *at++ = ':';
    if (value < 0) {
        *at++ = '-';
        at = number_put_uint64(at, 0U - (uint64_t)value);
    } else {
        at = number_put_uint64(at, (uint64_t)value);
    }
    commit(reply, start, put_line_end(at));
}

void reply_null(struct reply *reply)
{
    if (!reply->suppressed) {
        uint8_t *start = reserve(reply, 5);
        commit(reply, start,
               reply->protocol > 2 ? put_bytes(start, "_\r\n", 3) : put_bytes(start, "$-1\r\n", 5));
    }
}

void reply_null_array(struct reply *reply)
{
    if (!reply->suppressed) {
        uint8_t *start = reserve(reply, 5);
        commit(reply, start,
               reply->protocol > 2 ? put_bytes(start, "_\r\n", 3) : put_bytes(start, "*-1\r\n", 5));
    }
}

void reply_boolean(struct reply *reply, bool value)
{
    if (!reply->suppressed) {
        const char *text =
            reply->protocol > 2 ? (value ? "#t\r\n" : "#f\r\n") : (value ? ":1\r\n" : ":0\r\n");
        uint8_t *start = reserve(reply, 4);
        commit(reply, start, put_bytes(start, text, 4));
    }
}

/* ---- bulk strings -------------------------------------------------------------------------- */

void reply_large_bulk(struct reply *reply, struct slice bytes)
{
    if (reply->suppressed) {
        return;
    }
    write_header(reply, '$', bytes.size);
    append(reply, bytes.data, bytes.size);
    append(reply, "\r\n", 2);
}

void reply_bulk_string(struct reply *reply, const char *text)
{
    reply_bulk(reply, slice_of_string(text));
}

void reply_bulk_reference(struct reply *reply, struct slice bytes, struct byte_owner *owner)
{
    if (reply->suppressed) {
        owner->release(owner);
        return;
    }
    write_header(reply, '$', bytes.size);
    byte_queue_append_reference(reply->out, reply->pool, bytes, owner);
    append(reply, "\r\n", 2);
}

void reply_verbatim(struct reply *reply, struct slice text, const char *format3)
{
    if (reply->suppressed) {
        return;
    }
    if (reply->protocol < 3) {
        reply_bulk(reply, text);
        return;
    }
    CHECK(strlen(format3) == 3);
    write_header(reply, '=', text.size + 4);
    append(reply, format3, 3);
    append(reply, ":", 1);
    append(reply, text.data, text.size);
    append(reply, "\r\n", 2);
}

/* ---- aggregates ---------------------------------------------------------------------------- */

static void reply_aggregate(struct reply *reply, char marker3, uint64_t count, uint64_t count2)
{
    if (!reply->suppressed) {
        bool three = reply->protocol > 2;
        write_header(reply, three ? marker3 : '*', three ? count : count2);
    }
}

void reply_array(struct reply *reply, uint64_t count)
{
    reply_aggregate(reply, '*', count, count);
}

void reply_map(struct reply *reply, uint64_t pairs)
{
    reply_aggregate(reply, '%', pairs, pairs * 2);
}

void reply_set(struct reply *reply, uint64_t count)
{
    reply_aggregate(reply, '~', count, count);
}

void reply_push(struct reply *reply, uint64_t count)
{
    reply_aggregate(reply, '>', count, count);
}

void reply_attribute(struct reply *reply, uint64_t pairs)
{
    CHECK(reply->protocol > 2);
    reply_aggregate(reply, '|', pairs, pairs * 2);
}

/* ---- floating point ------------------------------------------------------------------------ */

/* The shortest decimal digits that read back as `magnitude` (positive, finite): digits without a
 * point, no trailing zeros, and the power of ten of the last one. */
static int shortest_digits(double magnitude, char digits[20], int *exponent)
{
    char text[DOUBLE_BYTES_MAX];
    int precision = 0; /* digits behind the first */
    for (; precision <= 16; precision++) {
        (void)snprintf(text, sizeof(text), "%.*e", precision, magnitude);
        if (precision == 16 || strtod(text, NULL) == magnitude) {
            break;
        }
        if (precision == 0) {
            precision = 13; /* most are short or need 15 to 17 */
        }
    }
    int count = 0;
    const char *at = text;
    for (; *at != 'e'; at++) {
        if (*at != '.') {
            digits[count++] = *at;
        }
    }
    *exponent = (int)strtol(at + 1, NULL, 10) - (count - 1);
    while (count > 1 && digits[count - 1] == '0') {
        count--;
        (*exponent)++;
    }
    return count;
}

static size_t put_text(char *to, const char *from, size_t size)
{
    memcpy(to, from, size);
    return size;
}

static size_t put_zeros(char *to, int count)
{
    memset(to, '0', (size_t)count);
    return (size_t)count;
}

/* Digits and exponent laid out as Redis 7.2 does (its d2string over fpconv): plain up to 21 digits
 * or so, else scientific with a signed exponent. */
static size_t layout_digits(const char *digits, int count, int exponent, char *text)
{
    size_t size = 0;
    int point = count + exponent; /* digits before the decimal point */
    int scientific = point - 1;
    int distance = scientific < 0 ? -scientific : scientific;
    if (exponent >= 0 && distance < count + 7) {
        size += put_text(text, digits, (size_t)count);
        size += put_zeros(text + size, exponent);
    } else if (exponent < 0 && (exponent > -7 || distance < 4)) {
        if (point <= 0) {
            size += put_text(text, "0.", 2);
            size += put_zeros(text + size, -point);
            size += put_text(text + size, digits, (size_t)count);
        } else {
            size += put_text(text, digits, (size_t)point);
            text[size++] = '.';
            size += put_text(text + size, digits + point, (size_t)(count - point));
        }
    } else {
        text[size++] = digits[0];
        if (count > 1) {
            text[size++] = '.';
            size += put_text(text + size, digits + 1, (size_t)count - 1);
        }
        text[size++] = 'e';
        text[size++] = scientific < 0 ? '-' : '+';
        uint8_t number[NUMBER_TEXT_BYTES_MAX];
        size_t number_bytes = number_format_uint64((uint64_t)distance, number);
        memcpy(text + size, number, number_bytes);
        size += number_bytes;
    }
    return size;
}

static size_t format_double(double value, char text[DOUBLE_BYTES_MAX + 24])
{
    if (isnan(value)) {
        return put_text(text, "nan", 3);
    }
    if (isinf(value)) {
        return value > 0 ? put_text(text, "inf", 3) : put_text(text, "-inf", 4);
    }
    if (fpclassify(value) == FP_ZERO) {
        return signbit(value) ? put_text(text, "-0", 2) : put_text(text, "0", 1);
    }
    size_t size = 0;
    if (value < 0) {
        text[size++] = '-';
    }
    /* Whole numbers that a double holds exactly are written as integers. */
    if (fabs(value) < 4503599627370496.0 && fpclassify(value - trunc(value)) == FP_ZERO) {
        return size + number_format_uint64((uint64_t)fabs(value), (uint8_t *)text + size);
    }
    char digits[20];
    int exponent;
    int count = shortest_digits(fabs(value), digits, &exponent);
    return size + layout_digits(digits, count, exponent, text + size);
}

void reply_double(struct reply *reply, double value)
{
    if (reply->suppressed) {
        return;
    }
    char text[DOUBLE_BYTES_MAX + 24];
    size_t size = format_double(value, text);
    if (reply->protocol < 3) {
        reply_bulk(reply, slice_of(text, size));
        return;
    }
    uint8_t *start = reserve(reply, size + 3), *at = start;
    *at++ = ',';
    commit(reply, start, put_line_end(put_bytes(at, text, size)));
}

size_t resp_format_long_double(long double value, char *text, size_t text_bytes)
{
    if (isinf(value)) {
        CHECK(text_bytes > 4);
        return value > 0 ? put_text(text, "inf", 3) : put_text(text, "-inf", 4);
    }
    int written = snprintf(text, text_bytes, "%.17Lf", value);
    CHECK(written > 0 && (size_t)written < text_bytes);
    size_t size = (size_t)written;
    if (memchr(text, '.', size) != NULL) {
        while (text[size - 1] == '0') {
            size--;
        }
        if (text[size - 1] == '.') {
            size--;
        }
    }
    if (size == 2 && text[0] == '-' && text[1] == '0') {
        text[0] = '0';
        size = 1;
    }
    return size;
}

void reply_human_long_double(struct reply *reply, long double value)
{
    if (!reply->suppressed) {
        char text[LONG_DOUBLE_BYTES_MAX];
        size_t size = resp_format_long_double(value, text, sizeof(text));
        reply_bulk(reply, slice_of(text, size));
    }
}
