/* Counters: INCR INCRBY DECR DECRBY INCRBYFLOAT.
 *
 * Whole numbers are exact or refused. The floating kind computes in long double and stores the
 * decimal text that it answers, as Redis does, so that clients see the same digits.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "dataplane/l7_command/handlers_string.h"
#include "dataplane/l7_command/string_value.h"

/* The longest text of a long double, "%.17Lf" of the greatest included. */
#define FLOAT_TEXT_BYTES_MAX (5 * 1024)

static enum command_verdict add(struct call *call, int64_t amount)
{
    struct key key = call_key(call, 1);
    const struct item *old = call_find_for_write(call, &key);
    int64_t value = 0;
    if (!string_check_type(call, old)) {
        return COMMAND_DONE;
    }
    if (old != NULL && !item_value_int64(old, &value)) {
        reply_error(call->reply, ERROR_NOT_INTEGER);
        return COMMAND_DONE;
    }
    if (__builtin_add_overflow(value, amount, &value)) {
        reply_error(call->reply, "ERR increment or decrement would overflow");
        return COMMAND_DONE;
    }
    struct item_draft_options options = string_options_like(old);
    options.encoding = ENCODING_INT;
    options.value_bytes = sizeof(value);
    struct item *draft = shard_draft(call_shard(call, &key), key.bytes, &options);
    if (draft == NULL) {
        reply_error(call->reply, ERROR_OOM);
        return COMMAND_DONE;
    }
    memcpy(draft_value(draft), &value, sizeof(value));
    string_publish(call, &key, draft);
    reply_integer(call->reply, value);
    return COMMAND_DONE;
}

enum command_verdict string_incr(struct call *call)
{
    return add(call, 1);
}

enum command_verdict string_decr(struct call *call)
{
    return add(call, -1);
}

enum command_verdict string_incrby(struct call *call)
{
    int64_t amount;
    return call_int64(call, 2, &amount) ? add(call, amount) : COMMAND_DONE;
}

enum command_verdict string_decrby(struct call *call)
{
    int64_t amount;
    if (!call_int64(call, 2, &amount)) {
        return COMMAND_DONE;
    }
    if (amount == INT64_MIN) { /* has no opposite */
        reply_error(call->reply, "ERR decrement would overflow");
        return COMMAND_DONE;
    }
    return add(call, -amount);
}

/* number_parse_long_double takes 255 bytes; INCRBYFLOAT itself writes up to 5 KiB, and must be able
 * to read what it wrote. */
static bool parse_float(struct slice text, long double *value)
{
    char copy[FLOAT_TEXT_BYTES_MAX];
    if (number_parse_long_double(text, value)) {
        return true;
    }
    if (text.size == 0 || text.size >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    char *end;
    errno = 0;
    *value = strtold(copy, &end);
    return end == copy + text.size && errno == 0 && !isnan(*value) && copy[0] > ' ';
}

static bool item_float(const struct item *item, long double *value)
{
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    *value = 0;
    return item == NULL || parse_float(item_value(item, scratch), value);
}

enum command_verdict string_incrbyfloat(struct call *call)
{
    struct key key = call_key(call, 1);
    const struct item *old = call_find_for_write(call, &key);
    long double value, amount;
    if (!string_check_type(call, old)) {
        return COMMAND_DONE;
    }
    if (!item_float(old, &value) || !parse_float(call->arguments[2], &amount)) {
        reply_error(call->reply, ERROR_NOT_FLOAT);
        return COMMAND_DONE;
    }
    value += amount;
    if (isnan(value) || isinf(value)) {
        reply_error(call->reply, "ERR increment would produce NaN or Infinity");
        return COMMAND_DONE;
    }
    char text[FLOAT_TEXT_BYTES_MAX];
    size_t size = resp_format_long_double(value, text, sizeof(text));
    struct item *draft = string_draft_raw(call, &key, size, string_options_like(old));
    if (draft != NULL) {
        memcpy(draft_value(draft), text, size);
        string_publish(call, &key, draft);
        reply_bulk(call->reply, slice_of(text, size));
    }
    return COMMAND_DONE;
}
