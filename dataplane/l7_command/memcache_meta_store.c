/* ms: set, add, replace, append, prepend and cas in one.
 *
 *   M   S set (default), E add, R replace, A append, P prepend
 *   C   set and replace become cas: EX when the item has another CAS value, NF without an item;
 *       append and prepend compare it, too
 *   I   with C: a CAS value older than the item's may store all the same. What it stores is stale
 *       at once and keeps the time to live; so who was slow does not hide a newer invalidation
 */
#include "dataplane/l7_command/memcache_meta.h"
#include "dataplane/l7_command/string_value.h"

#define STORED     "HD"
#define NOT_STORED "NS"
#define EXISTS     "EX"
#define NOT_FOUND  "NF"

struct meta_set {
    struct memcache_call *call;
    const struct item *old;
    uint64_t cas;       /* of the item that was stored, where it has one; else 0 */
    size_t value_bytes; /* what s shows */
};

/* NULL: no memory; answered. */
static const char *publish(struct meta_set *set, struct item *draft)
{
    struct memcache_call *call = set->call;
    if (draft == NULL) {
        memcache_count(call, METRIC_MEMCACHE_STORE_NO_MEMORY);
        memcache_reply_line(call->reply, MEMCACHE_NO_MEMORY);
        return NULL;
    }
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    set->value_bytes = item_value(draft, scratch).size;
    set->cas = item_cas(draft);
    memcache_count(call, METRIC_MEMCACHE_TOTAL_ITEMS);
    (void)meta_publish(call, draft);
    return STORED;
}

static const char *store_with(struct meta_set *set, struct item_draft_options options)
{
    struct memcache_call *call = set->call;
    options.cas = meta_new_cas(call);
    options.state |= meta_new_state(call);
    if (options.expire_at_ms == MEMCACHE_EXPIRED) {
        /* Stored and expired at once. */
        (void)shard_delete(memcache_shard(call, 0), MEMCACHE_DATABASE, &call->keys[0], call->now);
        memcache_count(call, METRIC_MEMCACHE_TOTAL_ITEMS);
        set->cas = options.cas;
        return STORED;
    }
    struct item *draft = memcache_draft_value(call, options);
    if (draft == NULL) {
        (void)shard_delete(memcache_shard(call, 0), MEMCACHE_DATABASE, &call->keys[0], call->now);
    }
    return publish(set, draft);
}

static const char *store(struct meta_set *set, int64_t exptime)
{
    uint64_t expire_at_ms = memcache_expire_at_ms(exptime, set->call->now);
    return store_with(set, (struct item_draft_options){.expire_at_ms = expire_at_ms});
}

/* An item that was never asked for its CAS value has a newer one than any that was given away. */
static bool is_older(const struct meta_set *set)
{
    uint64_t current = item_cas(set->old);
    if (current == 0) {
        current = shard_next_cas(memcache_shard(set->call, 0));
    }
    return set->call->request->cas != 0 && set->call->request->cas < current;
}

static const char *compare_and_store(struct meta_set *set)
{
    struct memcache_call *call = set->call;
    const struct item *old = set->old;
    if (old == NULL) {
        memcache_count(call, METRIC_MEMCACHE_CAS_MISSES);
        return NOT_FOUND;
    }
    if (item_cas(old) != 0 && item_cas(old) == call->request->cas) {
        memcache_count(call, METRIC_MEMCACHE_CAS_HITS);
        return store(set, call->request->exptime);
    }
    if (meta_has(call, 'I') && is_older(set)) {
        memcache_count(call, METRIC_MEMCACHE_CAS_HITS);
        struct item_draft_options options = {
            .expire_at_ms = item_expire_at_ms(old),
            .state = (uint8_t)(ITEM_STALE | (item_state(old) & ITEM_WON)),
        };
        return store_with(set, options);
    }
    memcache_count(call, METRIC_MEMCACHE_CAS_BADVAL);
    return EXISTS;
}

static const char *join(struct meta_set *set, bool appends)
{
    struct memcache_call *call = set->call;
    const struct item *old = set->old;
    uint64_t cas = call->request->cas;
    if (old == NULL) {
        return meta_has(call, 'N') ? store(set, call->request->meta.vivify_exptime) : NOT_STORED;
    }
    if (cas != 0 && item_cas(old) != cas) {
        return EXISTS;
    }
    if (memcache_exceeds_item_size(call, old)) {
        return NOT_STORED;
    }
    struct item_draft_options options = string_options_like(old);
    options.state = (uint8_t)((options.state & ITEM_BASE64_KEY) | meta_new_state(call));
    options.cas = meta_new_cas(call);
    return publish(set, memcache_draft_joined(call, old, appends, options));
}

static const char *run(struct meta_set *set)
{
    struct memcache_call *call = set->call;
    int64_t exptime = call->request->exptime;
    switch (call->request->meta.mode) {
    case 'E': return set->old == NULL ? store(set, exptime) : NOT_STORED;
    case 'A': return join(set, true);
    case 'P': return join(set, false);
    case 'R':
        if (!meta_has(call, 'C')) {
            return set->old != NULL ? store(set, exptime) : NOT_STORED;
        }
        break;
    default:
        if (!meta_has(call, 'C')) {
            return store(set, exptime);
        }
        break;
    }
    return compare_and_store(set);
}

static enum memcache_outcome outcome_of(const char *code)
{
    static const struct {
        const char *code;
        enum memcache_outcome outcome;
    } rows[] = {{STORED, OUTCOME_STORED},
                {NOT_STORED, OUTCOME_NOT_STORED},
                {EXISTS, OUTCOME_EXISTS},
                {NOT_FOUND, OUTCOME_NOT_FOUND}};
    for (size_t i = 0; code != NULL && i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].code, code) == 0) {
            return rows[i].outcome;
        }
    }
    return OUTCOME_NO_MEMORY;
}

static void reply(const struct meta_set *set, const char *code)
{
    struct memcache_call *call = set->call;
    struct slice flags = call->request->arguments, flag;
    struct memcache_meta_line line;
    memcache_meta_begin(&line, code);
    while (memcache_meta_next(&flags, &flag)) {
        switch (flag.data[0]) {
        case 'O': memcache_meta_add_word(&line, flag, false); break;
        case 'k': memcache_meta_add_key(&line, call->keys[0].bytes, meta_has(call, 'b')); break;
        case 'c': memcache_meta_add_number(&line, 'c', set->cas); break;
        case 's': memcache_meta_add_number(&line, 's', set->value_bytes); break;
        default: break;
        }
    }
    memcache_reply_meta(call->reply, &line);
}

void memcache_execute_meta_set(struct memcache_call *call)
{
    struct meta_set set = {.call = call, .value_bytes = call->request->value.size};
    enum memcache_outcome outcome = memcache_check_value(call, true);
    if (UNLIKELY(outcome != OUTCOME_STORED)) {
        memcache_reply_outcome(call, outcome);
        return;
    }
    memcache_count(call, METRIC_MEMCACHE_CMD_SET);
    set.old = memcache_find(call, 0);
    char mode = call->request->meta.mode;
    bool needs_string = mode == 'A' || mode == 'P' || meta_has(call, 'C');
    if (needs_string && !memcache_check_type(call, set.old)) {
        return;
    }
    const char *code = run(&set);
    if (memcache_is_observed(call)) {
        memcache_note_store(call, outcome_of(code));
    }
    if (code != NULL && !(meta_has(call, 'q') && strcmp(code, STORED) == 0)) {
        reply(&set, code);
    }
}
