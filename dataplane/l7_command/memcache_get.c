/* get, gets, gat, gats: one VALUE per key found, in the order of the request, then END.
 *
 * gets needs a CAS value, which an item has only since somebody asked (item.h, invariant 4): the
 * first gets publishes the same value again with one. gat publishes it again with another expiry,
 * and the CAS value stays: the value is the same. Neither copies a large value; small ones are
 * copied into the reply, large ones referenced.
 */
#include "dataplane/base/check.h"
#include "dataplane/l7_command/memcache_internal.h"
#include "dataplane/l7_command/string_value.h"

struct get_form {
    bool shows_cas, touches;
    uint32_t last_index; /* of the key whose value END may follow at once */
    const struct eviction_policy *policy;
    uint32_t hits; /* so far */
};

/* The value of key `index` again, under other options. NULL: no memory. */
static const struct item *publish_again(struct memcache_call *call, uint32_t index,
                                        const struct item *item,
                                        const struct item_draft_options *options)
{
    const struct key *key = &call->keys[index];
    struct item *draft = shard_draft_like(memcache_shard(call, index), key->bytes, item, options);
    if (draft != NULL) {
        shard_publish(memcache_shard(call, index), MEMCACHE_DATABASE, key, draft);
    }
    return draft;
}

bool memcache_touch(struct memcache_call *call, uint32_t index, const struct item *item)
{
    uint64_t at_ms = memcache_expire_at_ms(call->request->exptime, call->now);
    if (at_ms == MEMCACHE_EXPIRED) {
        (void)shard_delete(memcache_shard(call, index), MEMCACHE_DATABASE, &call->keys[index],
                           call->now);
        return true;
    }
    struct item_draft_options options = string_options_same_value(item);
    options.expire_at_ms = at_ms;
    return publish_again(call, index, item, &options) != NULL;
}

const struct item *memcache_with_cas(struct memcache_call *call, uint32_t index,
                                     const struct item *item)
{
    if (LIKELY(item_cas(item) != 0)) {
        return item;
    }
    struct item_draft_options options = string_options_same_value(item);
    options.cas = shard_next_cas(memcache_shard(call, index));
    return publish_again(call, index, item, &options);
}

static void reply_value(struct memcache_call *call, uint32_t index, const struct item *item,
                        const struct get_form *form)
{
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    struct memcache_value value = {.key = call->keys[index].bytes,
                                   .bytes = item_value(item, scratch),
                                   .is_last = index == form->last_index};
    if (LIKELY(item_is_plain(item) && !form->shows_cas)) {
        memcache_reply_value(call->reply, &value);
        return;
    }
    struct blob *blob = item_blob(item);
    if (blob != NULL) {
        blob_acquire(blob);
        value.owner = &blob->owner;
    }
    value.client_flags = item_client_flags(item);
    value.shows_cas = form->shows_cas;
    value.cas = item_cas(item);
    memcache_reply_value(call->reply, &value);
}

/* False: the reply is over, by an error or with the last value. */
static inline bool get_key(struct memcache_call *call, uint32_t index, struct get_form *form)
{
    const bool touches = form->touches;
    const struct item *item = memcache_find(call, index);
    if (item == NULL) {
        if (!touches && memcache_get_cluster(call, index)) {
            return true;
        }
        memcache_count(call, METRIC_KEYSPACE_MISSES);
        memcache_count(call, touches ? METRIC_MEMCACHE_TOUCH_MISSES : METRIC_MEMCACHE_GET_MISSES);
        return true;
    }
    if (!memcache_check_type(call, item)) {
        return false;
    }
    eviction_note_use(form->policy, item, &call->context->random_state);
    form->hits++;
    if (form->shows_cas) {
        item = memcache_with_cas(call, index, item);
        if (item == NULL) {
            memcache_reply_line(call->reply, "SERVER_ERROR out of memory writing get response");
            return false;
        }
    }
    reply_value(call, index, item, form);
    if (touches && !memcache_touch(call, index, item)) {
        memcache_reply_line(call->reply, "SERVER_ERROR out of memory writing get response");
        return false;
    }
    return index != form->last_index;
}

void memcache_execute_get(struct memcache_call *call)
{
    enum memcache_verb verb = call->request->verb;
    uint32_t count = call->request->key_count;
    bool touches = verb == MEMCACHE_GAT || verb == MEMCACHE_GATS;
    /* What touches may still fail behind its value. */
    struct get_form form = {.shows_cas = verb == MEMCACHE_GETS || verb == MEMCACHE_GATS,
                            .touches = touches,
                            .last_index = touches ? UINT32_MAX : count - 1,
                            .policy = shard_policy(call->context->shard)};
    struct metrics *metrics = call->context->metrics;
    uint32_t done = 0;
    while (done < count && get_key(call, done, &form)) {
        if (++done < count) {
            shard_prefetch_reach(&call->context->ahead, &call->keys[done]);
        }
    }
    metric_add(metrics, touches ? METRIC_MEMCACHE_CMD_TOUCH : METRIC_MEMCACHE_CMD_GET, count);
    metric_add(metrics, METRIC_KEYSPACE_HITS, form.hits);
    metric_add(metrics, touches ? METRIC_MEMCACHE_TOUCH_HITS : METRIC_MEMCACHE_GET_HITS, form.hits);
    if (done == count) {
        memcache_reply_end(call->reply);
    }
}
