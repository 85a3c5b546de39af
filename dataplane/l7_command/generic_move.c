/* A value under another name or in another database: RENAME RENAMENX COPY MOVE.
 *
 * The value is shown again by a new item under the new key, with its expiry and client flags; a
 * large value is shared, not copied. The target is published before the source is deleted. The CAS
 * value does not travel: it belongs to the key that it was asked for.
 */
#include "config/config.h"
#include "dataplane/l7_command/handlers_generic.h"
#include "dataplane/l7_command/string_value.h"

#define ERROR_SAME_OBJECT    "ERR source and destination objects are the same"
#define ERROR_DATABASE_RANGE "ERR DB index is out of range"

/* One end of the way of a value. */
struct place {
    uint32_t database;
    struct key key;
};

static bool exists_at(struct call *call, const struct place *place)
{
    struct shard *shard = call_shard(call, &place->key);
    return shard_find(shard, place->database, &place->key, call->now) != NULL;
}

/* Publishes the value of `item` at `to`. False with the OOM error written. */
static bool put(struct call *call, const struct item *item, const struct place *to,
                bool ignore_maxmemory)
{
    struct item_draft_options options = string_options_same_value(item);
    options.cas = 0;
    options.ignore_maxmemory = ignore_maxmemory;
    struct shard *shard = call_shard(call, &to->key);
    struct item *draft = shard_draft_like(shard, to->key.bytes, item, &options);
    if (draft == NULL) {
        reply_error(call->reply, ERROR_OOM);
        return false;
    }
    shard_publish(shard, to->database, &to->key, draft);
    return true;
}

static bool transfer(struct call *call, const struct item *item, const struct place *from,
                     const struct place *to)
{
    return put(call, item, to, true) &&
           (shard_delete(call_shard(call, &from->key), from->database, &from->key, call->now),
            true);
}

enum command_verdict generic_rename(struct call *call)
{
    uint32_t database = call->client->database;
    struct place from = {database, call_key(call, 1)}, to = {database, call_key(call, 2)};
    const struct item *item = call_find_for_write(call, &from.key);
    if (item == NULL) {
        reply_error(call->reply, ERROR_NO_KEY);
    } else if (slice_equal(from.key.bytes, to.key.bytes) || transfer(call, item, &from, &to)) {
        reply_ok(call->reply);
    }
    return COMMAND_DONE;
}

enum command_verdict generic_renamenx(struct call *call)
{
    uint32_t database = call->client->database;
    struct place from = {database, call_key(call, 1)}, to = {database, call_key(call, 2)};
    const struct item *item = call_find_for_write(call, &from.key);
    if (item == NULL) {
        reply_error(call->reply, ERROR_NO_KEY);
    } else if (exists_at(call, &to)) { /* also when it is the same key */
        reply_integer(call->reply, 0);
    } else if (transfer(call, item, &from, &to)) {
        reply_integer(call->reply, 1);
    }
    return COMMAND_DONE;
}

/* A database number as Redis reads it: an int first, then an existing one. */
static bool parse_database(struct call *call, uint32_t index, uint32_t *database)
{
    int64_t number;
    if (!call_int64(call, index, &number)) {
        return false;
    }
    if (number < INT32_MIN || number > INT32_MAX) {
        reply_error_format(call->reply, "ERR value is out of range, value must between %d and %d",
                           INT32_MIN, INT32_MAX);
        return false;
    }
    if (number < 0 || number >= call->context->config->databases ||
        number >= SHARD_DATABASE_COUNT) {
        reply_error(call->reply, ERROR_DATABASE_RANGE);
        return false;
    }
    *database = (uint32_t)number;
    return true;
}

static bool parse_copy_options(struct call *call, uint32_t *database, bool *replace)
{
    for (uint32_t i = 3; i < call->argument_count; i++) {
        if (call_option(call, i, "REPLACE")) {
            *replace = true;
        } else if (call_option(call, i, "DB") && i + 1 < call->argument_count) {
            if (!parse_database(call, ++i, database)) {
                return false;
            }
        } else {
            reply_error(call->reply, ERROR_SYNTAX);
            return false;
        }
    }
    return true;
}

enum command_verdict generic_copy(struct call *call)
{
    struct place from = {call->client->database, call_key(call, 1)}, to = from;
    bool replace = false;
    if (!parse_copy_options(call, &to.database, &replace)) {
        return COMMAND_DONE;
    }
    if (from.database == to.database && slice_equal(call->arguments[1], call->arguments[2])) {
        reply_error(call->reply, ERROR_SAME_OBJECT);
        return COMMAND_DONE;
    }
    to.key = call_key(call, 2);
    const struct item *item = call_find_for_read(call, &from.key);
    if (item == NULL || (!replace && exists_at(call, &to))) {
        reply_integer(call->reply, 0);
    } else if (put(call, item, &to, false)) {
        reply_integer(call->reply, 1);
    }
    return COMMAND_DONE;
}

enum command_verdict generic_move(struct call *call)
{
    struct place from = {call->client->database, call_key(call, 1)}, to = from;
    if (!parse_database(call, 2, &to.database)) {
        return COMMAND_DONE;
    }
    if (from.database == to.database) {
        reply_error(call->reply, ERROR_SAME_OBJECT);
        return COMMAND_DONE;
    }
    const struct item *item = call_find_for_write(call, &from.key);
    if (item == NULL || exists_at(call, &to)) {
        reply_integer(call->reply, 0);
    } else if (transfer(call, item, &from, &to)) {
        reply_integer(call->reply, 1);
    }
    return COMMAND_DONE;
}
