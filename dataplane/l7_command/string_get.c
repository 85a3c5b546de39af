/* Commands that read values: GET GETEX GETDEL MGET STRLEN GETRANGE SUBSTR. GETEX and GETDEL also
 * touch the key, after its value has been written to the reply. */
#include "dataplane/base/check.h"
#include "dataplane/l7_command/handlers_string.h"
#include "dataplane/l7_command/string_options.h"
#include "dataplane/l7_command/string_value.h"

/* The string at argument 1; NULL with the reply written: null, or WRONGTYPE. */
static const struct item *find_or_reply_null(struct call *call, struct key *key)
{
    *key = call_key(call, 1);
    const struct item *item = call_find_for_read(call, key);
    if (item == NULL) {
        reply_null(call->reply);
        return NULL;
    }
    return string_check_type(call, item) ? item : NULL;
}

/* By far the most frequent. */
enum command_verdict string_get(struct call *call)
{
    struct key hashed;
    const struct key *key = string_key(call, &hashed);
    const struct item *item = call_find_for_read(call, key);
    if (item == NULL) {
        reply_null(call->reply);
    } else if (string_check_type(call, item)) {
        reply_item(call->reply, item);
    }
    return COMMAND_DONE;
}

/* Publishes the item with its new time to live. False when an error was written. */
static bool change_expiry(struct call *call, const struct key *key, const struct item *item,
                          uint64_t expire_at_ms)
{
    struct item_draft_options options = string_options_same_value(item);
    if (options.expire_at_ms == expire_at_ms) {
        return true;
    }
    options.expire_at_ms = expire_at_ms;
    return string_publish_again(call, key, item, &options);
}

/* Redis looks at the time only when the key is there: the order of the errors is part of it. */
enum command_verdict string_getex(struct call *call)
{
    struct string_options options;
    if (!string_parse_options(call, 2, STRING_OPTIONS_OF_GETEX, &options)) {
        return COMMAND_DONE;
    }
    struct key key;
    const struct item *item = find_or_reply_null(call, &key);
    uint64_t expire_at_ms = 0;
    if (item == NULL ||
        (options.time_index != 0 &&
         !string_parse_time(call, options.time_index, options.flags, &expire_at_ms))) {
        return COMMAND_DONE;
    }
    bool is_past = options.time_index != 0 && expire_at_ms <= call->now->wall_ms;
    if (is_past) {
        reply_item(call->reply, item);
        shard_delete(call_shard(call, &key), call->client->database, &key, call->now);
    } else if (options.flags == 0 || change_expiry(call, &key, item, expire_at_ms)) {
        reply_item(call->reply, item);
    }
    return COMMAND_DONE;
}

enum command_verdict string_getdel(struct call *call)
{
    struct key key;
    const struct item *item = find_or_reply_null(call, &key);
    if (item != NULL) {
        reply_item(call->reply, item);
        shard_delete(call_shard(call, &key), call->client->database, &key, call->now);
    }
    return COMMAND_DONE;
}

enum command_verdict string_mget(struct call *call)
{
    struct key_burst burst;
    reply_array(call->reply, call->argument_count - 1);
    for (string_load_keys(call, 1, 1, &burst); burst.count != 0;
         string_load_keys(call, burst.next_index, 1, &burst)) {
        for (uint32_t i = 0; i < burst.count; i++) {
            const struct item *item = call_find_for_read(call, string_next_key(&burst, i));
            if (item == NULL || item_type(item) != ITEM_STRING) {
                reply_null(call->reply);
            } else {
                reply_item(call->reply, item);
            }
        }
    }
    return COMMAND_DONE;
}

enum command_verdict string_strlen(struct call *call)
{
    struct key key = call_key(call, 1);
    const struct item *item = call_find_for_read(call, &key);
    if (string_check_type(call, item)) {
        reply_integer(call->reply, item == NULL ? 0 : (int64_t)item_value_size(item));
    }
    return COMMAND_DONE;
}

/* A position counted from the end when negative; never before the first byte. */
static int64_t absolute_position(int64_t position, int64_t size)
{
    if (position < 0) {
        position += size;
    }
    return position < 0 ? 0 : position;
}

enum command_verdict string_getrange(struct call *call)
{
    int64_t start, end;
    if (!call_int64(call, 2, &start) || !call_int64(call, 3, &end)) {
        return COMMAND_DONE;
    }
    struct key key = call_key(call, 1);
    const struct item *item = call_find_for_read(call, &key);
    if (!string_check_type(call, item)) {
        return COMMAND_DONE;
    }
    int64_t size = item == NULL ? 0 : (int64_t)item_value_size(item);
    bool crossed = start < 0 && end < 0 && start > end;
    start = absolute_position(start, size);
    end = absolute_position(end, size);
    if (end >= size) {
        end = size - 1;
    }
    if (item == NULL || crossed || start > end) {
        reply_bulk(call->reply, slice_of(NULL, 0));
    } else {
        string_reply_part(call->reply, item, (size_t)start, (size_t)(end - start) + 1);
    }
    return COMMAND_DONE;
}
