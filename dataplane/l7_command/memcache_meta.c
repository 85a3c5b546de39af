/* What the meta commands have in common; mn and me.
 *
 *   memcache_meta_get.c         mg
 *   memcache_meta_store.c       ms
 *   memcache_meta_change.c      md ma
 *
 * Codes, flags, their order and the texts are memcached 1.6.18's. What later versions added is
 * taken from them: E everywhere, N and s of ms, x of md.
 */
#include "dataplane/l7_command/memcache_meta.h"

#include <inttypes.h>
#include <stdio.h>

#include "dataplane/l7_command/string_value.h"

uint64_t meta_seconds_left(uint64_t expire_at_ms, const struct instant *now)
{
    if (expire_at_ms == 0) {
        return UINT64_MAX;
    }
    if (expire_at_ms == MEMCACHE_EXPIRED || expire_at_ms <= now->wall_ms) {
        return 0;
    }
    return (expire_at_ms - now->wall_ms + 999) / 1000;
}

void meta_add_ttl(struct memcache_meta_line *line, uint64_t expire_at_ms, const struct instant *now)
{
    if (expire_at_ms == 0) {
        memcache_meta_add_word(line, SLICE_LITERAL("t-1"), false);
    } else {
        memcache_meta_add_number(line, 't', meta_seconds_left(expire_at_ms, now));
    }
}

uint64_t meta_idle_seconds(const struct memcache_call *call, const struct item *item)
{
    const struct eviction_policy *policy = shard_policy(call->context->shard);
    return policy->access == ACCESS_RECENCY ? eviction_idle_seconds(policy, item_access(item)) : 0;
}

uint64_t meta_new_cas(struct memcache_call *call)
{
    uint64_t given = call->request->meta.new_cas;
    if (given != 0) {
        return given;
    }
    return meta_has(call, 'c') ? shard_next_cas(memcache_shard(call, 0)) : 0;
}

uint8_t meta_new_state(const struct memcache_call *call)
{
    return meta_has(call, 'b') ? ITEM_BASE64_KEY : 0;
}

void meta_reply_code(struct memcache_call *call, const char *code)
{
    struct slice flags = call->request->arguments, flag;
    struct memcache_meta_line line;
    memcache_meta_begin(&line, code);
    while (memcache_meta_next(&flags, &flag)) {
        if (flag.data[0] == 'O') {
            memcache_meta_add_word(&line, flag, false);
        } else if (flag.data[0] == 'k') {
            memcache_meta_add_key(&line, call->keys[0].bytes, meta_has(call, 'b'));
        }
    }
    memcache_reply_meta(call->reply, &line);
}

bool meta_publish(struct memcache_call *call, struct item *draft)
{
    if (draft != NULL) {
        shard_publish(memcache_shard(call, 0), MEMCACHE_DATABASE, &call->keys[0], draft);
    }
    return draft != NULL;
}

/* The class is always 1: there are no slabs. */
void memcache_execute_meta_debug(struct memcache_call *call)
{
    const struct item *item = memcache_find(call, 0);
    if (item == NULL) {
        memcache_reply_line(call->reply, "EN");
        return;
    }
    struct memcache_meta_line line;
    char text[256];
    bool base64 = (item_state(item) & ITEM_BASE64_KEY) != 0;
    uint64_t seconds = meta_seconds_left(item_expire_at_ms(item), call->now);
    (void)snprintf(text, sizeof(text),
                   "exp=%" PRId64 " la=%" PRIu64 " cas=%" PRIu64 " fetch=%s cls=1 size=%" PRIu64,
                   seconds == UINT64_MAX ? -1 : (int64_t)seconds, meta_idle_seconds(call, item),
                   item_cas(item), item_is_fetched(item) ? "yes" : "no",
                   item_bytes_with_blob(item));
    memcache_meta_begin(&line, "ME");
    memcache_meta_add_word(&line, call->keys[0].bytes, base64);
    memcache_meta_add_word(&line, slice_of_string(text), false);
    memcache_reply_meta(call->reply, &line);
}
