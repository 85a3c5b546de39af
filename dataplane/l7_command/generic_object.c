/* OBJECT: what tools ask about the inside of a value.
 *
 * Our encodings are not those of Redis; the answers are the names a tool expects for such a value:
 * "int", "embstr" up to 44 bytes, "raw" beyond. (Redis says "raw" also for a short value that
 * APPEND or SETRANGE made.) REFCOUNT tells its shared small integers apart. FREQ and IDLETIME read
 * the item's access bits, which mean one or the other, or neither, as the policy in force has it.
 */
#include "dataplane/l7_command/handlers_generic.h"

#define EMBEDDED_BYTES_MAX     44
#define SHARED_INTEGER_END     10000
#define SHARED_REFERENCE_COUNT INT32_MAX

/* The item at argument 2; NULL with null written when it is not there. */
static const struct item *find_or_reply_null(struct call *call)
{
    struct key key = call_key(call, 2);
    const struct item *item = call_peek(call, &key);
    if (item == NULL) {
        reply_null(call->reply);
    }
    return item;
}

static const char *encoding_name(const struct item *item)
{
    if (item_encoding(item) == ENCODING_INT) {
        return "int";
    }
    return item_value_size(item) <= EMBEDDED_BYTES_MAX ? "embstr" : "raw";
}

enum command_verdict generic_object_encoding(struct call *call)
{
    const struct item *item = find_or_reply_null(call);
    if (item != NULL) {
        reply_bulk_string(call->reply, encoding_name(item));
    }
    return COMMAND_DONE;
}

enum command_verdict generic_object_refcount(struct call *call)
{
    const struct item *item = find_or_reply_null(call);
    if (item != NULL) {
        int64_t value;
        bool is_shared = item_encoding(item) == ENCODING_INT && item_value_int64(item, &value) &&
                         value >= 0 && value < SHARED_INTEGER_END;
        reply_integer(call->reply, is_shared ? SHARED_REFERENCE_COUNT : 1);
    }
    return COMMAND_DONE;
}

#define SWITCHING                                                                                  \
    "Please note that when switching between policies at runtime LRU and LFU data will take some " \
    "time to adjust."

enum command_verdict generic_object_idletime(struct call *call)
{
    const struct eviction_policy *policy = shard_policy(call->context->shard);
    const struct item *item = find_or_reply_null(call);
    if (item == NULL) {
        return COMMAND_DONE;
    }
    switch (policy->access) {
    case ACCESS_RECENCY:
        reply_integer(call->reply, (int64_t)eviction_idle_seconds(policy, item_access(item)));
        break;
    case ACCESS_FREQUENCY:
        reply_error(call->reply,
                    "ERR An LFU maxmemory policy is selected, idle time not tracked. " SWITCHING);
        break;
    case ACCESS_QUEUE:
        reply_error(call->reply, "ERR An S3-FIFO maxmemory policy is selected, idle time not "
                                 "tracked. " SWITCHING);
        break;
    }
    return COMMAND_DONE;
}

enum command_verdict generic_object_freq(struct call *call)
{
    const struct eviction_policy *policy = shard_policy(call->context->shard);
    const struct item *item = find_or_reply_null(call);
    if (item != NULL && policy->access == ACCESS_FREQUENCY) {
        reply_integer(call->reply, eviction_lfu_counter(policy, item_access(item)));
    } else if (item != NULL) {
        reply_error(call->reply, "ERR An LFU maxmemory policy is not selected, access frequency "
                                 "not tracked. " SWITCHING);
    }
    return COMMAND_DONE;
}

enum command_verdict generic_object_help(struct call *call)
{
    static const char *const lines[] = {
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    How the value is kept: int, embstr or raw for strings.",
        "FREQ <key>",
        "    How often the key is used, on a logarithmic scale, under an LFU policy.",
        "IDLETIME <key>",
        "    Seconds since the key was last used, roughly.",
        "REFCOUNT <key>",
        "    How many share the value.",
        "HELP",
        "    This text.",
    };
    reply_array(call->reply, sizeof(lines) / sizeof(lines[0]));
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        reply_status(call->reply, lines[i]);
    }
    return COMMAND_DONE;
}
