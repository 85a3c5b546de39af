/* Commands on keys, whatever they hold: DEL UNLINK EXISTS TOUCH TYPE RANDOMKEY. Of these only TOUCH
 * is a use of the key, also when CLIENT NO-TOUCH is on. */
#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/l7_command/generic_type.h"
#include "dataplane/l7_command/handlers_generic.h"
#include "dataplane/l7_command/string_value.h"

const char *generic_type_name(const struct item *item)
{
    static const char *const names[] = {
        [ITEM_STRING] = "string", [ITEM_LIST] = "list", [ITEM_SET] = "set",
        [ITEM_ZSET] = "zset",     [ITEM_HASH] = "hash", [ITEM_STREAM] = "stream",
    };
    enum item_type type = item_type(item);
    CHECK((size_t)type < sizeof(names) / sizeof(names[0]));
    return names[type];
}

static bool delete_key(struct call *call, const struct key *key)
{
    return shard_delete(call_shard(call, key), call->client->database, key, call->now);
}

static bool peek_at_key(struct call *call, const struct key *key)
{
    return call_peek(call, key) != NULL;
}

static bool touch_key(struct call *call, const struct key *key)
{
    const struct item *item = call_peek(call, key);
    if (item != NULL) {
        call_note_use(call, item);
    }
    return item != NULL;
}

/* Answers for how many of the keys `act` said yes; a key named twice counts twice. */
static enum command_verdict count_keys(struct call *call,
                                       bool (*act)(struct call *call, const struct key *key))
{
    struct key_burst burst;
    int64_t count = 0;
    for (string_load_keys(call, 1, 1, &burst); burst.count != 0;
         string_load_keys(call, burst.next_index, 1, &burst)) {
        for (uint32_t i = 0; i < burst.count; i++) {
            count += act(call, string_next_key(&burst, i)) ? 1 : 0;
        }
    }
    reply_integer(call->reply, count);
    return COMMAND_DONE;
}

/* Also UNLINK: memory is freed a grace period later anyway, so both are equally quick. */
enum command_verdict generic_del(struct call *call)
{
    return count_keys(call, delete_key);
}

enum command_verdict generic_exists(struct call *call)
{
    return count_keys(call, peek_at_key);
}

enum command_verdict generic_touch(struct call *call)
{
    return count_keys(call, touch_key);
}

enum command_verdict generic_type(struct call *call)
{
    struct key key = call_key(call, 1);
    const struct item *item = call_peek(call, &key);
    reply_status(call->reply, item == NULL ? "none" : generic_type_name(item));
    return COMMAND_DONE;
}

/* From a shard chosen by its share of the keys; where that has only expired ones, from the next. */
static const struct item *random_item(struct call *call)
{
    struct command_context *context = call->context;
    uint32_t database = call->client->database, count = context->worker_count, chosen = 0;
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        total += shard_key_count(context_shard(context, i), database);
    }
    uint64_t place = total > 0 ? random_next(&context->random_state) % total : 0;
    while (total > 0 && place >= shard_key_count(context_shard(context, chosen), database)) {
        place -= shard_key_count(context_shard(context, chosen++), database);
    }
    const struct item *item = NULL;
    for (uint32_t i = 0; item == NULL && i < count; i++) {
        item = shard_random(context_shard(context, (chosen + i) % count), database, call->now);
    }
    return item;
}

enum command_verdict generic_randomkey(struct call *call)
{
    const struct item *item = random_item(call);
    if (item == NULL) {
        reply_null(call->reply);
    } else {
        reply_bulk(call->reply, item_key(item));
    }
    return COMMAND_DONE;
}
