/* Commands that set whole values: SET SETNX SETEX PSETEX GETSET MSET MSETNX.
 *
 * Order in every handler: check everything, make the draft, write the reply, publish. So a reply is
 * never taken back, and a request that finds no memory changes nothing. The old item stays readable
 * until the end of the pass, also behind the publish. What is overwritten in place needs no memory,
 * and nobody has asked for the old value.
 */
#include <stdlib.h>

#include "dataplane/l7_command/handlers_string.h"
#include "dataplane/l7_command/string_options.h"
#include "dataplane/l7_command/string_value.h"

/* Pairs of one MSET whose drafts fit on the stack; beyond it the list comes from the heap, as the
 * argument table of such a request does. */
#define MSET_PAIRS_INLINE 64

static void reply_old_value(struct call *call, const struct item *old)
{
    if (old == NULL) {
        reply_null(call->reply);
    } else {
        reply_item(call->reply, old);
    }
}

static bool condition_holds(uint32_t flags, const struct item *old)
{
    return !((flags & STRING_OPTION_NX) != 0 && old != NULL) &&
           !((flags & STRING_OPTION_XX) != 0 && old == NULL);
}

/* The old item where an option asks about it. Only GET counts as a read. */
static const struct item *find_old(struct call *call, const struct key *key, uint32_t flags)
{
    if ((flags & STRING_OPTION_GET) != 0) {
        return call_find_for_read(call, key);
    }
    if ((flags & (STRING_OPTION_NX | STRING_OPTION_XX | STRING_OPTION_KEEPTTL)) != 0) {
        return call_find_for_write(call, key);
    }
    return NULL;
}

/* The argument at `value_index` is the key's value from now on. `gets`: the reply is `old`. */
static inline enum command_verdict store_value(struct call *call, const struct key *key,
                                               uint32_t value_index, uint64_t expire_at_ms,
                                               bool gets, const struct item *old)
{
    bool may_stay = !gets && expire_at_ms == 0 && context_is_alone(call->context);
    if (may_stay && string_overwrite(call, key, value_index)) {
        reply_ok(call->reply);
        return COMMAND_DONE;
    }
    struct item_draft_options options = {.expire_at_ms = expire_at_ms};
    struct item *draft = string_draft_argument(call, key, value_index, &options);
    if (draft == NULL) {
        return COMMAND_DONE;
    }
    if (gets) {
        reply_old_value(call, old);
    } else {
        reply_ok(call->reply);
    }
    string_publish(call, key, draft);
    return COMMAND_DONE;
}

static enum command_verdict set_value(struct call *call, uint32_t value_index, uint32_t flags,
                                      uint64_t expire_at_ms)
{
    struct key hashed;
    const struct key *key = string_key(call, &hashed);
    bool get = (flags & STRING_OPTION_GET) != 0;
    const struct item *old = find_old(call, key, flags);
    if (get && !string_check_type(call, old)) {
        return COMMAND_DONE;
    }
    if (!condition_holds(flags, old)) {
        reply_old_value(call, get ? old : NULL);
        return COMMAND_DONE;
    }
    if ((flags & STRING_OPTION_KEEPTTL) != 0 && old != NULL) {
        expire_at_ms = item_expire_at_ms(old);
    }
    return store_value(call, key, value_index, expire_at_ms, get, old);
}

static enum command_verdict set_with_options(struct call *call)
{
    struct string_options options = {0};
    uint64_t expire_at_ms = 0;
    if (!string_parse_options(call, 3, STRING_OPTIONS_OF_SET, &options)) {
        return COMMAND_DONE;
    }
    if (options.time_index != 0 &&
        !string_parse_time(call, options.time_index, options.flags, &expire_at_ms)) {
        return COMMAND_DONE;
    }
    return set_value(call, 2, options.flags, expire_at_ms);
}

enum command_verdict string_set(struct call *call)
{
    if (UNLIKELY(call->argument_count > 3)) {
        return set_with_options(call);
    }
    struct key hashed;
    return store_value(call, string_key(call, &hashed), 2, 0, false, NULL);
}

static enum command_verdict set_for_time(struct call *call, uint32_t unit)
{
    uint64_t expire_at_ms;
    if (!string_parse_time(call, 2, unit, &expire_at_ms)) {
        return COMMAND_DONE;
    }
    return set_value(call, 3, 0, expire_at_ms);
}

enum command_verdict string_setex(struct call *call)
{
    return set_for_time(call, STRING_OPTION_EX);
}

enum command_verdict string_psetex(struct call *call)
{
    return set_for_time(call, STRING_OPTION_PX);
}

enum command_verdict string_setnx(struct call *call)
{
    struct key key = call_key(call, 1);
    if (call_find_for_write(call, &key) != NULL) {
        reply_integer(call->reply, 0);
        return COMMAND_DONE;
    }
    struct item_draft_options options = {0};
    struct item *draft = string_draft_argument(call, &key, 2, &options);
    if (draft != NULL) {
        reply_integer(call->reply, 1);
        string_publish(call, &key, draft);
    }
    return COMMAND_DONE;
}

enum command_verdict string_getset(struct call *call)
{
    return set_value(call, 2, STRING_OPTION_GET, 0);
}

/* ---- several keys at once ------------------------------------------------------------------- */

struct drafts {
    struct item *on_stack[MSET_PAIRS_INLINE];
    struct item **items;
    uint32_t count;
};

static void discard_drafts(struct call *call, struct drafts *drafts)
{
    for (uint32_t i = 0; i < drafts->count; i++) {
        struct key key = key_hashed(item_key(drafts->items[i]));
        shard_discard_draft(call_shard(call, &key), drafts->items[i]);
    }
}

/* All pairs or none: half an MSET is never seen, and never left behind when memory ends. */
static bool draft_pairs(struct call *call, struct drafts *drafts)
{
    for (uint32_t i = 1; i < call->argument_count; i += 2) {
        /* Of a draft the hash only says which shard's it is. */
        struct key key = call->shard != NULL ? key_of(call->arguments[i], 0) : call_key(call, i);
        struct item_draft_options options = {0};
        struct item *draft = string_draft_argument(call, &key, i + 1, &options);
        if (draft == NULL) {
            discard_drafts(call, drafts);
            return false;
        }
        drafts->items[drafts->count++] = draft;
    }
    return true;
}

static void publish_pairs(struct call *call, const struct drafts *drafts)
{
    struct key_burst burst;
    uint32_t published = 0;
    for (string_load_keys(call, 1, 2, &burst); burst.count != 0;
         string_load_keys(call, burst.next_index, 2, &burst)) {
        for (uint32_t i = 0; i < burst.count; i++) {
            string_publish(call, string_next_key(&burst, i), drafts->items[published++]);
        }
    }
}

static bool set_pairs(struct call *call)
{
    uint32_t pair_count = (call->argument_count - 1) / 2;
    struct drafts drafts = {.count = 0};
    drafts.items = drafts.on_stack;
    if (pair_count > MSET_PAIRS_INLINE) {
        drafts.items = calloc(pair_count, sizeof(*drafts.items));
        if (drafts.items == NULL) {
            reply_error(call->reply, ERROR_OOM);
            return false;
        }
    }
    bool drafted = draft_pairs(call, &drafts);
    if (drafted) {
        publish_pairs(call, &drafts);
    }
    if (drafts.items != drafts.on_stack) {
        free(drafts.items);
    }
    return drafted;
}

static bool check_pairs(struct call *call)
{
    if (call->argument_count % 2 == 1) {
        return true;
    }
    reply_error_format(call->reply, "ERR wrong number of arguments for '%s' command",
                       call->command->name);
    return false;
}

enum command_verdict string_mset(struct call *call)
{
    if (check_pairs(call) && set_pairs(call)) {
        reply_ok(call->reply);
    }
    return COMMAND_DONE;
}

static bool any_key_exists(struct call *call)
{
    struct key_burst burst;
    for (string_load_keys(call, 1, 2, &burst); burst.count != 0;
         string_load_keys(call, burst.next_index, 2, &burst)) {
        for (uint32_t i = 0; i < burst.count; i++) {
            if (call_find_for_write(call, string_next_key(&burst, i)) != NULL) {
                return true;
            }
        }
    }
    return false;
}

enum command_verdict string_msetnx(struct call *call)
{
    if (!check_pairs(call)) {
        return COMMAND_DONE;
    }
    if (any_key_exists(call)) {
        reply_integer(call->reply, 0);
    } else if (set_pairs(call)) {
        reply_integer(call->reply, 1);
    }
    return COMMAND_DONE;
}
