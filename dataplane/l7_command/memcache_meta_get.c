/* mg: what the flags ask for, in their order; and what makes it more than a get.
 *
 *   N  on a miss: an empty item, and the client has won the right to fill it (W)
 *   R  the item has less time left than the token says: the first who asks has won
 *   md I has made the item stale: the first who asks has won; all see X
 *   others meanwhile see Z
 *
 * Who wins changes the item, so it is decided where the item's shard is: one winner, whatever
 * worker the clients speak to. On the shard of another worker the item is read as get reads it; if
 * it turns out that it must change, nothing is replied and the request goes to the owner.
 */
#include "dataplane/l7_command/memcache_meta.h"
#include "dataplane/l7_command/string_value.h"

struct meta_get {
    struct memcache_call *call;
    const struct item *item; /* NULL: N makes one */
    uint64_t expire_at_ms;   /* by the flags read so far */
    uint64_t cas;
    bool won, changes;
    struct memcache_meta_line line;
};

static uint8_t state_of(const struct meta_get *get)
{
    return get->item != NULL ? item_state(get->item) : meta_new_state(get->call);
}

static struct slice value_of(const struct meta_get *get, uint8_t scratch[NUMBER_TEXT_BYTES_MAX])
{
    return get->item != NULL ? item_value(get->item, scratch) : slice_of(NULL, 0);
}

/* R: whether the item has less time left than that. 0 and what is past: never. */
static bool is_due(const struct meta_get *get)
{
    const struct instant *now = get->call->now;
    uint64_t until_ms = memcache_expire_at_ms(get->call->request->meta.recache_exptime, now);
    bool possible = get->item != NULL && get->expire_at_ms != 0 && until_ms != 0;
    return possible && (state_of(get) & ITEM_WON) == 0 &&
           meta_seconds_left(get->expire_at_ms, now) < meta_seconds_left(until_ms, now);
}

static void add_figure(struct meta_get *get, struct slice flag)
{
    struct memcache_call *call = get->call;
    const struct item *item = get->item;
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    switch (flag.data[0]) {
    case 's': memcache_meta_add_number(&get->line, 's', value_of(get, scratch).size); break;
    case 't': meta_add_ttl(&get->line, get->expire_at_ms, call->now); break;
    case 'c': memcache_meta_add_number(&get->line, 'c', get->cas); break;
    case 'f':
        memcache_meta_add_number(&get->line, 'f', item != NULL ? item_client_flags(item) : 0);
        break;
    case 'l':
        memcache_meta_add_number(&get->line, 'l', item != NULL ? meta_idle_seconds(call, item) : 0);
        break;
    case 'h':
        memcache_meta_add_number(&get->line, 'h', item != NULL && item_is_fetched(item));
        break;
    case 'O': memcache_meta_add_word(&get->line, flag, false); break;
    case 'k':
        memcache_meta_add_key(&get->line, call->keys[0].bytes,
                              (state_of(get) & ITEM_BASE64_KEY) != 0);
        break;
    default: break;
    }
}

static void take_flag(struct meta_get *get, struct slice flag)
{
    const struct memcache_request *request = get->call->request;
    switch (flag.data[0]) {
    case 'T':
        get->expire_at_ms = memcache_expire_at_ms(request->exptime, get->call->now);
        get->changes = true;
        break;
    case 'N':
        if (get->item == NULL) {
            get->expire_at_ms = memcache_expire_at_ms(request->meta.vivify_exptime, get->call->now);
            get->won = true;
        }
        break;
    case 'R': get->won |= is_due(get); break;
    default: add_figure(get, flag); break;
    }
}

static void add_lease(struct meta_get *get)
{
    uint8_t state = state_of(get);
    if ((state & ITEM_WON) != 0) {
        memcache_meta_add(&get->line, 'Z');
    }
    if ((state & ITEM_STALE) != 0) {
        memcache_meta_add(&get->line, 'X');
        get->won |= (state & ITEM_WON) == 0;
    }
    if (get->won) {
        memcache_meta_add(&get->line, 'W');
        get->changes = true;
    }
}

static void compose(struct meta_get *get)
{
    struct slice flags = get->call->request->arguments, flag;
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    if (meta_has(get->call, 'v')) {
        memcache_meta_begin_value(&get->line, value_of(get, scratch).size);
    } else {
        memcache_meta_begin(&get->line, "HD");
    }
    while (memcache_meta_next(&flags, &flag)) {
        take_flag(get, flag);
    }
    add_lease(get);
}

/* The item as it is from now on; NULL: no memory. */
static struct item *draft_changed(struct meta_get *get)
{
    struct memcache_call *call = get->call;
    struct shard *shard = memcache_shard(call, 0);
    struct slice key = call->keys[0].bytes;
    struct item_draft_options options = {.encoding = ENCODING_RAW};
    if (get->item != NULL) {
        options = string_options_same_value(get->item);
    }
    options.expire_at_ms = get->expire_at_ms;
    options.cas = get->cas;
    options.state = (uint8_t)(state_of(get) | (get->won ? ITEM_WON : 0U));
    if (get->item == NULL) {
        memcache_count(call, METRIC_MEMCACHE_TOTAL_ITEMS);
        return shard_draft(shard, key, &options);
    }
    struct item *draft = shard_draft_like(shard, key, get->item, &options);
    if (draft != NULL) {
        item_set_access(draft, item_access(get->item));
    }
    return draft;
}

/* False: no memory, nothing has changed. */
static bool change(struct meta_get *get)
{
    struct memcache_call *call = get->call;
    if (get->expire_at_ms == MEMCACHE_EXPIRED) {
        (void)shard_delete(memcache_shard(call, 0), MEMCACHE_DATABASE, &call->keys[0], call->now);
        return true;
    }
    struct item *draft = draft_changed(get);
    get->item = draft != NULL && get->item == NULL ? draft : get->item;
    if (draft != NULL && !meta_has(call, 'u')) {
        eviction_note_use(shard_policy(call->context->shard), draft, &call->context->random_state);
    }
    return meta_publish(call, draft);
}

static void reply(struct meta_get *get)
{
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    if (!meta_has(get->call, 'v')) {
        memcache_reply_meta(get->call->reply, &get->line);
        return;
    }
    struct slice value = value_of(get, scratch);
    struct blob *blob = get->item != NULL ? item_blob(get->item) : NULL;
    if (blob != NULL) {
        blob_acquire(blob);
    }
    memcache_reply_meta_value(get->call->reply, &get->line, value,
                              blob != NULL ? &blob->owner : NULL);
}

static void count_outcome(struct memcache_call *call, bool hit)
{
    bool touches = meta_has(call, 'T');
    memcache_count(call, METRIC_MEMCACHE_CMD_GET);
    memcache_count(call, hit ? METRIC_KEYSPACE_HITS : METRIC_KEYSPACE_MISSES);
    if (touches) {
        memcache_count(call, METRIC_MEMCACHE_CMD_TOUCH);
        memcache_count(call, hit ? METRIC_MEMCACHE_TOUCH_HITS : METRIC_MEMCACHE_TOUCH_MISSES);
    } else {
        memcache_count(call, hit ? METRIC_MEMCACHE_GET_HITS : METRIC_MEMCACHE_GET_MISSES);
    }
}

static void miss(struct memcache_call *call)
{
    count_outcome(call, false);
    if (!meta_has(call, 'q')) {
        meta_reply_code(call, "EN");
    }
}

static enum command_verdict hit(struct meta_get *get)
{
    struct memcache_call *call = get->call;
    const struct item *item = get->item;
    compose(get);
    if (get->changes && call->shared) {
        return COMMAND_TORN;
    }
    if (get->changes && !change(get)) {
        if (item == NULL) {
            miss(call);
        } else {
            memcache_reply_line(call->reply, "SERVER_ERROR out of memory writing get response");
        }
        return COMMAND_DONE;
    }
    if (!get->changes && !meta_has(call, 'u')) {
        eviction_note_use(shard_policy(call->context->shard), item, &call->context->random_state);
    }
    count_outcome(call, item != NULL);
    reply(get);
    return COMMAND_DONE;
}

enum command_verdict memcache_execute_meta_get(struct memcache_call *call)
{
    struct meta_get get = {.call = call, .item = memcache_find(call, 0)};
    if (!memcache_check_type(call, get.item)) {
        return COMMAND_DONE;
    }
    if (get.item == NULL && !meta_has(call, 'N')) {
        miss(call);
        return COMMAND_DONE;
    }
    if (get.item != NULL) {
        get.expire_at_ms = item_expire_at_ms(get.item);
        get.cas = item_cas(get.item);
    } else if (!call->shared) {
        get.cas = meta_new_cas(call);
    }
    get.changes = get.item == NULL || (meta_has(call, 'c') && get.cas == 0);
    if (get.changes && call->shared) {
        return COMMAND_TORN;
    }
    if (get.changes && get.cas == 0 && meta_has(call, 'c')) {
        get.cas = shard_next_cas(memcache_shard(call, 0));
    }
    return hit(&get);
}
