/* What nearly every handler needs: its keys, its options, its numbers, and a value as a reply.
 *
 * Thread: the owning worker. Nothing here allocates.
 */
#include "dataplane/base/check.h"
#include "dataplane/l7_command/l7_command_internal.h"

struct key call_key(const struct call *call, uint32_t index)
{
    CHECK(index < call->argument_count);
    if (call->first_key != NULL && index == (uint32_t)call->command->first_key) {
        return *call->first_key;
    }
    return key_hashed(call->arguments[index]);
}

static inline const struct item *find(struct call *call, const struct key *key)
{
    struct shard *shard = call_shard(call, key);
    uint32_t database = call->client->database;
    return UNLIKELY(call->shared) ? shard_find_shared(shard, database, key, call->now)
                                  : shard_find(shard, database, key, call->now);
}

static inline void note_use(struct call *call, const struct item *item)
{
    eviction_note_use(shard_policy(call->context->shard), item, &call->context->random_state);
}

static inline const struct item *peek(struct call *call, const struct key *key)
{
    const struct item *item = find(call, key);
    metric_add(call->context->metrics, item != NULL ? METRIC_KEYSPACE_HITS : METRIC_KEYSPACE_MISSES,
               1);
    return item;
}

const struct item *call_find_for_write(struct call *call, const struct key *key)
{
    return find(call, key);
}

void call_note_use(struct call *call, const struct item *item)
{
    note_use(call, item);
}

const struct item *call_peek(struct call *call, const struct key *key)
{
    return peek(call, key);
}

const struct item *call_find_for_read(struct call *call, const struct key *key)
{
    const struct item *item = peek(call, key);
    if (item != NULL && !call->client->no_touch) {
        note_use(call, item);
    }
    return item;
}

void reply_item(struct reply *reply, const struct item *item)
{
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    struct slice value = item_value(item, scratch);
    struct blob *blob = item_is_plain(item) ? NULL : item_blob(item);
    if (LIKELY(blob == NULL)) {
        reply_bulk(reply, value);
        return;
    }
    blob_acquire(blob);
    reply_bulk_reference(reply, value, &blob->owner);
}

bool call_option(const struct call *call, uint32_t index, const char *name)
{
    return index < call->argument_count &&
           slice_equal_ignoring_case(call->arguments[index], slice_of_string(name));
}

bool call_int64(struct call *call, uint32_t index, int64_t *value)
{
    CHECK(index < call->argument_count);
    if (number_parse_int64(call->arguments[index], value)) {
        return true;
    }
    reply_error(call->reply, ERROR_NOT_INTEGER);
    return false;
}

int call_shown_size(const struct call *call, uint32_t index, size_t size_max)
{
    struct slice text = call->arguments[index];
    size_t size = text.size < size_max ? text.size : size_max;
    const uint8_t *terminator = size == 0 ? NULL : memchr(text.data, 0, size);
    return (int)(terminator == NULL ? size : (size_t)(terminator - text.data));
}

void reply_wrong_arity(struct call *call)
{
    reply_error_format(call->reply, "ERR wrong number of arguments for '%s' command",
                       call->command->name);
}
