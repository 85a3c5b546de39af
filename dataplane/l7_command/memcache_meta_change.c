/* md: deletes, or with I makes stale, or with x empties; ma: incr and decr, which may also make the
 * number, compare a CAS value and set a time to live. */
#include "dataplane/base/number.h"
#include "dataplane/l7_command/memcache_meta.h"
#include "dataplane/l7_command/string_value.h"

static bool has_other_cas(const struct memcache_call *call, const struct item *item)
{
    return meta_has(call, 'C') && (item_cas(item) == 0 || item_cas(item) != call->request->cas);
}

static void reply_success(struct memcache_call *call)
{
    if (!meta_has(call, 'q')) {
        meta_reply_code(call, "HD");
    }
}

/* ---- md ------------------------------------------------------------------------------------ */

static struct item *draft_invalid(struct memcache_call *call, const struct item *item)
{
    struct shard *shard = memcache_shard(call, 0);
    struct slice key = call->keys[0].bytes;
    struct item_draft_options options = string_options_same_value(item);
    options.cas = call->request->meta.new_cas;
    if (meta_has(call, 'I')) {
        options.state = (uint8_t)((options.state & ~ITEM_WON) | ITEM_STALE);
        if (meta_has(call, 'T')) {
            options.expire_at_ms = memcache_expire_at_ms(call->request->exptime, call->now);
        }
    }
    if (meta_has(call, 'x')) {
        options.encoding = ENCODING_RAW;
        options.value_bytes = options.client_flags = 0;
        return shard_draft(shard, key, &options);
    }
    return shard_draft_like(shard, key, item, &options);
}

static bool expires_at_once(const struct memcache_call *call)
{
    return meta_has(call, 'I') && meta_has(call, 'T') &&
           memcache_expire_at_ms(call->request->exptime, call->now) == MEMCACHE_EXPIRED;
}

static void delete_item(struct memcache_call *call, const struct item *item)
{
    bool stays = meta_has(call, 'I') || meta_has(call, 'x');
    memcache_count(call, METRIC_MEMCACHE_DELETE_HITS);
    if (!stays || expires_at_once(call)) {
        (void)shard_delete(memcache_shard(call, 0), MEMCACHE_DATABASE, &call->keys[0], call->now);
    } else if (!meta_publish(call, draft_invalid(call, item))) {
        memcache_reply_line(call->reply, "SERVER_ERROR out of memory");
        return;
    }
    reply_success(call);
}

void memcache_execute_meta_delete(struct memcache_call *call)
{
    const struct item *item = memcache_find(call, 0);
    bool reads = meta_has(call, 'I') || meta_has(call, 'x') || meta_has(call, 'C');
    if (reads && !memcache_check_type(call, item)) {
        return;
    }
    if (item == NULL) {
        memcache_count(call, METRIC_MEMCACHE_DELETE_MISSES);
        meta_reply_code(call, "NF");
    } else if (has_other_cas(call, item)) {
        meta_reply_code(call, "EX");
    } else {
        delete_item(call, item);
    }
}

/* ---- ma ------------------------------------------------------------------------------------ */

struct meta_arithmetic {
    struct memcache_call *call;
    const struct item *old; /* NULL: N makes one */
    struct memcache_counter counter;
    uint64_t expire_at_ms; /* by the flags read so far */
    uint64_t cas;
    struct memcache_meta_line line;
};

static void take_flag(struct meta_arithmetic *ma, struct slice flag)
{
    struct memcache_call *call = ma->call;
    switch (flag.data[0]) {
    case 'T': ma->expire_at_ms = memcache_expire_at_ms(call->request->exptime, call->now); break;
    case 'N':
        if (ma->old == NULL) {
            ma->expire_at_ms = memcache_expire_at_ms(call->request->meta.vivify_exptime, call->now);
        }
        break;
    case 't': meta_add_ttl(&ma->line, ma->expire_at_ms, call->now); break;
    case 'c': memcache_meta_add_number(&ma->line, 'c', ma->cas); break;
    case 'O': memcache_meta_add_word(&ma->line, flag, false); break;
    case 'k': memcache_meta_add_key(&ma->line, call->keys[0].bytes, meta_has(call, 'b')); break;
    default: break;
    }
}

/* Reads the flags in their order; `text` is the number where v asks for it. */
static void compose(struct meta_arithmetic *ma, struct slice text)
{
    struct slice flags = ma->call->request->arguments, flag;
    if (meta_has(ma->call, 'v')) {
        memcache_meta_begin_value(&ma->line, text.size);
    } else {
        memcache_meta_begin(&ma->line, "HD");
    }
    while (memcache_meta_next(&flags, &flag)) {
        take_flag(ma, flag);
    }
}

/* False: no memory. A number that is expired at once is not kept. */
static bool publish(struct meta_arithmetic *ma)
{
    struct memcache_call *call = ma->call;
    if (ma->expire_at_ms == MEMCACHE_EXPIRED) {
        (void)shard_delete(memcache_shard(call, 0), MEMCACHE_DATABASE, &call->keys[0], call->now);
        return true;
    }
    struct item_draft_options options = string_options_like(ma->old);
    options.expire_at_ms = ma->expire_at_ms;
    options.cas = ma->cas;
    if (ma->old == NULL) {
        options.state = meta_new_state(call);
    }
    return meta_publish(call, memcache_draft_counter(call, ma->old, &ma->counter, options));
}

/* False: no memory; answered. */
static bool finish(struct meta_arithmetic *ma, bool quiet)
{
    uint8_t digits[NUMBER_TEXT_BYTES_MAX];
    struct slice text = slice_of(digits, number_format_uint64(ma->counter.value, digits));
    ma->cas = meta_new_cas(ma->call);
    compose(ma, text);
    if (!publish(ma)) {
        memcache_reply_line(ma->call->reply, "SERVER_ERROR out of memory");
        return false;
    }
    if (meta_has(ma->call, 'v') && !quiet) {
        memcache_reply_meta_value(ma->call->reply, &ma->line, text, NULL);
    } else if (!quiet) {
        memcache_reply_meta(ma->call->reply, &ma->line);
    }
    return true;
}

/* The reference shows a number that it has made, whatever q says. */
static void create(struct meta_arithmetic *ma)
{
    struct memcache_call *call = ma->call;
    ma->counter.value = call->request->meta.initial;
    memcache_count(call, METRIC_MEMCACHE_TOTAL_ITEMS);
    bool stored = finish(ma, false);
    if (memcache_is_observed(call)) {
        memcache_note_fetch(call, 0, NULL); /* the reference looks once more */
        memcache_note_store(call, stored ? OUTCOME_STORED : OUTCOME_NO_MEMORY);
    }
}

static void change(struct meta_arithmetic *ma)
{
    struct memcache_call *call = ma->call;
    char mode = call->request->meta.mode;
    bool decrements = mode == 'D' || mode == '-';
    bool has_number = memcache_read_counter(ma->old, &ma->counter);
    bool compares = memcache_may_count(&ma->counter) && call->request->cas != 0;
    if (compares && has_other_cas(call, ma->old)) {
        meta_reply_code(call, "EX");
        return;
    }
    if (!has_number) {
        memcache_reply_line(call->reply, MEMCACHE_NOT_NUMERIC);
        return;
    }
    memcache_count_arithmetic(call, decrements, true);
    memcache_change_counter(&ma->counter, call->request->delta, decrements);
    ma->expire_at_ms = item_expire_at_ms(ma->old);
    (void)finish(ma, meta_has(call, 'q'));
}

void memcache_execute_meta_arithmetic(struct memcache_call *call)
{
    struct meta_arithmetic ma = {.call = call, .old = memcache_find(call, 0)};
    char mode = call->request->meta.mode;
    if (!memcache_check_type(call, ma.old)) {
        return;
    }
    if (ma.old != NULL) {
        change(&ma);
    } else if (meta_has(call, 'N')) {
        create(&ma);
    } else {
        memcache_count_arithmetic(call, mode == 'D' || mode == '-', false);
        meta_reply_code(call, "NF");
    }
}
