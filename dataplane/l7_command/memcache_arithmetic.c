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

void memcache_count_arithmetic(struct memcache_call *call, bool decrements, bool hit)
{
    if (!decrements) {
        memcache_count(call, hit ? METRIC_MEMCACHE_INCR_HITS : METRIC_MEMCACHE_INCR_MISSES);
    } else {
        memcache_count(call, hit ? METRIC_MEMCACHE_DECR_HITS : METRIC_MEMCACHE_DECR_MISSES);
    }
}

static void count_outcome(struct memcache_call *call, bool hit)
{
    memcache_count_arithmetic(call, call->request->verb == MEMCACHE_DECR, hit);
}

void memcache_count_number_miss(struct memcache_call *call)
{
    count_outcome(call, false);
}

bool memcache_may_count(const struct memcache_counter *counter)
{
    return counter->text_bytes > 0 && counter->text_bytes <= NUMBER_VALUE_BYTES_MAX;
}

bool memcache_read_counter(const struct item *item, struct memcache_counter *counter)
{
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    struct slice text = item_value(item, scratch);
    counter->text_bytes = text.size;
    return memcache_may_count(counter) && memcache_parse_uint64(text, &counter->value);
}

void memcache_change_counter(struct memcache_counter *counter, uint64_t delta, bool decrements)
{
    if (!decrements) {
        counter->value += delta;
    } else {
        counter->value = counter->value > delta ? counter->value - delta : 0;
    }
}

/* What the reference writes in place keeps its state; a longer number is a new item there. How its
 * key is shown stays: bytes that came in base64 may be anything. */
struct item *memcache_draft_counter(struct memcache_call *call, const struct item *old,
                                    const struct memcache_counter *counter,
                                    struct item_draft_options options)
{
    uint8_t text[NUMBER_TEXT_BYTES_MAX];
    size_t size = number_format_uint64(counter->value, text);
    bool in_place = size <= counter->text_bytes;
    size_t padded = in_place ? counter->text_bytes : size;
    options.value_bytes = (uint32_t)padded;
    options.state = in_place ? options.state : options.state & ITEM_BASE64_KEY;
    struct item *draft = shard_draft(memcache_shard(call, 0), call->keys[0].bytes, &options);
    if (draft == NULL) {
        return NULL;
    }
    memcpy(draft_value(draft), text, size);
    memset(draft_value(draft) + size, ' ', padded - size);
    if (in_place && old != NULL && item_is_fetched(old)) {
        item_set_fetched(draft);
    }
    return draft;
}

/* False: no memory. */
static bool publish(struct memcache_call *call, const struct item *old,
                    const struct memcache_counter *counter, uint64_t cas)
{
    struct item_draft_options options = string_options_like(old);
    options.cas = cas;
    struct item *draft = memcache_draft_counter(call, old, counter, options);
    if (draft != NULL) {
        shard_publish(memcache_shard(call, 0), MEMCACHE_DATABASE, &call->keys[0], draft);
    }
    return draft != NULL;
}

enum memcache_outcome memcache_change_number(struct memcache_call *call, uint64_t *value,
                                             uint64_t *cas)
{
    const struct item *old = memcache_find(call, 0);
    struct memcache_counter counter;
    *cas = 0;
    if (!memcache_is_string(old)) {
        return OUTCOME_WRONG_TYPE;
    }
    if (old == NULL) {
        return OUTCOME_NOT_FOUND;
    }
    bool is_number = memcache_read_counter(old, &counter);
    if (!memcache_may_count(&counter)) {
        return OUTCOME_NOT_A_NUMBER;
    }
    if (!memcache_cas_matches(call, old)) {
        return OUTCOME_EXISTS;
    }
    if (!is_number) {
        return OUTCOME_NOT_A_NUMBER;
    }
    count_outcome(call, true);
    memcache_change_counter(&counter, call->request->delta, call->request->verb == MEMCACHE_DECR);
    *value = counter.value;
    *cas = memcache_cas_to_show(call);
    return publish(call, old, &counter, *cas) ? OUTCOME_STORED : OUTCOME_NO_MEMORY;
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
    case OUTCOME_NOT_A_NUMBER: memcache_reply_line(call->reply, MEMCACHE_NOT_NUMERIC); break;
    case OUTCOME_NOT_STORED:
    case OUTCOME_EXISTS:
    case OUTCOME_TOO_LARGE: CHECK(false);
    }
}
