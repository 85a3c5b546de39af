/* incr and decr: an unsigned 64-bit number written as text. incr wraps around, decr stops at 0. A
 * result that is shorter than the old text is padded with blanks to its length, as in memcached,
 * which overwrites in place; clients know to trim. Flags and expiry stay, the CAS value goes.
 */
#include "dataplane/base/check.h"
#include "dataplane/base/number.h"
#include "dataplane/l7_command/memcache_internal.h"
#include "dataplane/l7_command/string_value.h"

/* A value of this size is no number, whatever it starts with: where the reference begins to keep an
 * item in chunks. */
#define NUMBER_VALUE_BYTES_MAX (512U * 1024U)

static void count_outcome(struct memcache_call *call, bool hit)
{
    if (call->request->verb == MEMCACHE_INCR) {
        memcache_count(call, hit ? METRIC_MEMCACHE_INCR_HITS : METRIC_MEMCACHE_INCR_MISSES);
    } else {
        memcache_count(call, hit ? METRIC_MEMCACHE_DECR_HITS : METRIC_MEMCACHE_DECR_MISSES);
    }
}

static uint64_t changed(const struct memcache_request *request, uint64_t value)
{
    if (request->verb == MEMCACHE_INCR) {
        return value + request->delta;
    }
    return value > request->delta ? value - request->delta : 0;
}

/* False: no memory. */
static bool publish_number(struct memcache_call *call, const struct item *old, size_t old_bytes,
                           uint64_t value)
{
    uint8_t text[NUMBER_TEXT_BYTES_MAX];
    size_t size = number_format_uint64(value, text);
    size_t padded = size < old_bytes ? old_bytes : size;
    struct item_draft_options options = string_options_like(old);
    options.value_bytes = (uint32_t)padded;
    const struct key *key = &call->keys[0];
    struct item *draft = shard_draft(memcache_shard(call, 0), key->bytes, &options);
    if (draft == NULL) {
        return false;
    }
    memcpy(draft_value(draft), text, size);
    memset(draft_value(draft) + size, ' ', padded - size);
    shard_publish(memcache_shard(call, 0), MEMCACHE_DATABASE, key, draft);
    return true;
}

void memcache_execute_arithmetic(struct memcache_call *call)
{
    const struct item *old = memcache_find(call, 0);
    if (!memcache_check_type(call, old)) {
        return;
    }
    if (old == NULL) {
        count_outcome(call, false);
        memcache_reply_line(call->reply, "NOT_FOUND");
        return;
    }
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    struct slice text = item_value(old, scratch);
    uint64_t value;
    if (text.size > NUMBER_VALUE_BYTES_MAX || !memcache_parse_uint64(text, &value)) {
        memcache_reply_line(call->reply,
                            "CLIENT_ERROR cannot increment or decrement non-numeric value");
        return;
    }
    count_outcome(call, true);
    value = changed(call->request, value);
    if (publish_number(call, old, text.size, value)) {
        memcache_reply_number(call->reply, value);
    } else {
        memcache_reply_line(call->reply, "SERVER_ERROR out of memory");
    }
}
