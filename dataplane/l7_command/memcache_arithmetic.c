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

void memcache_count_number_miss(struct memcache_call *call)
{
    count_outcome(call, false);
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
                           uint64_t value, uint64_t cas)
{
    uint8_t text[NUMBER_TEXT_BYTES_MAX];
    size_t size = number_format_uint64(value, text);
    size_t padded = size < old_bytes ? old_bytes : size;
    struct item_draft_options options = string_options_like(old);
    options.value_bytes = (uint32_t)padded;
    options.cas = cas;
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

enum memcache_outcome memcache_change_number(struct memcache_call *call, uint64_t *value,
                                             uint64_t *cas)
{
    const struct item *old = memcache_find(call, 0);
    *cas = 0;
    if (!memcache_is_string(old)) {
        return OUTCOME_WRONG_TYPE;
    }
    if (old == NULL) {
        return OUTCOME_NOT_FOUND;
    }
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    struct slice text = item_value(old, scratch);
    if (text.size == 0 || text.size > NUMBER_VALUE_BYTES_MAX) {
        return OUTCOME_NOT_A_NUMBER;
    }
    if (!memcache_cas_matches(call, old)) {
        return OUTCOME_EXISTS;
    }
    if (!memcache_parse_uint64(text, value)) {
        return OUTCOME_NOT_A_NUMBER;
    }
    count_outcome(call, true);
    *value = changed(call->request, *value);
    *cas = memcache_cas_to_show(call);
    return publish_number(call, old, text.size, *value, *cas) ? OUTCOME_STORED : OUTCOME_NO_MEMORY;
}

void memcache_execute_arithmetic(struct memcache_call *call)
{
    uint64_t value, cas;
    switch (memcache_change_number(call, &value, &cas)) {
    case OUTCOME_STORED: memcache_reply_number(call->reply, value); break;
    case OUTCOME_NOT_FOUND:
        memcache_count_number_miss(call);
        memcache_reply_line(call->reply, "NOT_FOUND");
        break;
    case OUTCOME_NO_MEMORY: memcache_reply_line(call->reply, "SERVER_ERROR out of memory"); break;
    case OUTCOME_WRONG_TYPE: memcache_reply_line(call->reply, MEMCACHE_WRONG_TYPE); break;
    case OUTCOME_NOT_A_NUMBER:
        memcache_reply_line(call->reply,
                            "CLIENT_ERROR cannot increment or decrement non-numeric value");
        break;
    case OUTCOME_NOT_STORED:
    case OUTCOME_EXISTS:
    case OUTCOME_TOO_LARGE: CHECK(false);
    }
}
