/* Times to live: EXPIRE PEXPIRE EXPIREAT PEXPIREAT, EXPIRETIME PEXPIRETIME TTL PTTL, PERSIST.
 *
 * A key has its expiry inside its immutable item, so a new time means a new item: a copy of at most
 * ITEM_INLINE_BYTES_MAX, as a large value is shared. A time that has come already deletes the key
 * at once and still answers 1, as Redis does.
 */
#include "dataplane/l7_command/handlers_generic.h"
#include "dataplane/l7_command/string_options.h"
#include "dataplane/l7_command/string_value.h"

enum expire_condition {
    EXPIRE_IF_NONE = 1 << 0,    /* NX */
    EXPIRE_IF_ANY = 1 << 1,     /* XX */
    EXPIRE_IF_LATER = 1 << 2,   /* GT */
    EXPIRE_IF_EARLIER = 1 << 3, /* LT */
};

static bool parse_condition(struct call *call, uint32_t index, uint32_t *conditions)
{
    static const struct {
        const char *name;
        uint32_t condition;
    } rows[] = {
        {"NX", EXPIRE_IF_NONE},
        {"XX", EXPIRE_IF_ANY},
        {"GT", EXPIRE_IF_LATER},
        {"LT", EXPIRE_IF_EARLIER},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (call_option(call, index, rows[i].name)) {
            *conditions |= rows[i].condition;
            return true;
        }
    }
    struct slice word = call->arguments[index];
    /* Redis prints it as a C string: up to a NUL. */
    reply_error_format(call->reply, "ERR Unsupported option %.*s",
                       (int)(word.size < 1024 ? word.size : 1024), (const char *)word.data);
    return false;
}

static bool parse_conditions(struct call *call, uint32_t *conditions)
{
    *conditions = 0;
    for (uint32_t i = 3; i < call->argument_count; i++) {
        if (!parse_condition(call, i, conditions)) {
            return false;
        }
    }
    bool on_absence = (*conditions & EXPIRE_IF_NONE) != 0;
    bool later = (*conditions & EXPIRE_IF_LATER) != 0;
    bool earlier = (*conditions & EXPIRE_IF_EARLIER) != 0;
    if (on_absence && *conditions != EXPIRE_IF_NONE) {
        reply_error(call->reply,
                    "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if (later && earlier) {
        reply_error(call->reply, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* A key without expiry lives for ever: later than any GT, so GT never applies and LT always. */
static bool conditions_hold(uint32_t conditions, int64_t time_ms, uint64_t current_ms)
{
    bool has_expiry = current_ms != 0;
    if ((conditions & EXPIRE_IF_NONE) != 0 && has_expiry) {
        return false;
    }
    if ((conditions & EXPIRE_IF_ANY) != 0 && !has_expiry) {
        return false;
    }
    if ((conditions & EXPIRE_IF_LATER) != 0 && (!has_expiry || time_ms <= (int64_t)current_ms)) {
        return false;
    }
    return (conditions & EXPIRE_IF_EARLIER) == 0 || !has_expiry || time_ms < (int64_t)current_ms;
}

/* Argument 2 as Unix milliseconds; may be in the past, or negative. */
static bool parse_time(struct call *call, bool seconds, int64_t base_ms, int64_t *time_ms)
{
    if (!call_int64(call, 2, time_ms)) {
        return false;
    }
    if ((seconds && __builtin_mul_overflow(*time_ms, 1000, time_ms)) ||
        __builtin_add_overflow(*time_ms, base_ms, time_ms)) {
        string_reply_invalid_time(call);
        return false;
    }
    return true;
}

static bool apply_expiry(struct call *call, const struct key *key, const struct item *item,
                         int64_t time_ms)
{
    if (time_ms <= (int64_t)call->now->wall_ms) {
        shard_delete(call_shard(call, key), call->client->database, key, call->now);
        return true;
    }
    struct item_draft_options options = string_options_same_value(item);
    options.expire_at_ms = (uint64_t)time_ms;
    return string_publish_again(call, key, item, &options);
}

static enum command_verdict expire(struct call *call, bool seconds, bool relative)
{
    uint32_t conditions;
    int64_t time_ms;
    int64_t base_ms = relative ? (int64_t)call->now->wall_ms : 0;
    if (!parse_conditions(call, &conditions) || !parse_time(call, seconds, base_ms, &time_ms)) {
        return COMMAND_DONE;
    }
    struct key key = call_key(call, 1);
    const struct item *item = call_find_for_write(call, &key);
    if (item == NULL || !conditions_hold(conditions, time_ms, item_expire_at_ms(item))) {
        reply_integer(call->reply, 0);
    } else if (apply_expiry(call, &key, item, time_ms)) {
        reply_integer(call->reply, 1);
    }
    return COMMAND_DONE;
}

enum command_verdict generic_expire(struct call *call)
{
    return expire(call, true, true);
}

enum command_verdict generic_pexpire(struct call *call)
{
    return expire(call, false, true);
}

enum command_verdict generic_expireat(struct call *call)
{
    return expire(call, true, false);
}

enum command_verdict generic_pexpireat(struct call *call)
{
    return expire(call, false, false);
}

/* -2: no such key; -1: no expiry; else the time, less `base_ms`, never below 0. */
static enum command_verdict reply_time(struct call *call, uint64_t base_ms, bool seconds)
{
    struct key key = call_key(call, 1);
    const struct item *item = call_peek(call, &key);
    if (item == NULL) {
        reply_integer(call->reply, -2);
        return COMMAND_DONE;
    }
    uint64_t expire_at_ms = item_expire_at_ms(item);
    if (expire_at_ms == 0) {
        reply_integer(call->reply, -1);
        return COMMAND_DONE;
    }
    uint64_t time_ms = expire_at_ms > base_ms ? expire_at_ms - base_ms : 0;
    reply_integer(call->reply, (int64_t)(seconds ? (time_ms + 500) / 1000 : time_ms));
    return COMMAND_DONE;
}

enum command_verdict generic_ttl(struct call *call)
{
    return reply_time(call, call->now->wall_ms, true);
}

enum command_verdict generic_pttl(struct call *call)
{
    return reply_time(call, call->now->wall_ms, false);
}

enum command_verdict generic_expiretime(struct call *call)
{
    return reply_time(call, 0, true);
}

enum command_verdict generic_pexpiretime(struct call *call)
{
    return reply_time(call, 0, false);
}

enum command_verdict generic_persist(struct call *call)
{
    struct key key = call_key(call, 1);
    const struct item *item = call_find_for_write(call, &key);
    if (item == NULL || item_expire_at_ms(item) == 0) {
        reply_integer(call->reply, 0);
        return COMMAND_DONE;
    }
    struct item_draft_options options = string_options_same_value(item);
    options.expire_at_ms = 0;
    if (string_publish_again(call, &key, item, &options)) {
        reply_integer(call->reply, 1);
    }
    return COMMAND_DONE;
}
