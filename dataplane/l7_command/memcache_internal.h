/* What the files of the memcached commands share. */
#ifndef NICACHED_L7_COMMAND_MEMCACHE_INTERNAL_H
#define NICACHED_L7_COMMAND_MEMCACHE_INTERNAL_H

#include "dataplane/l7_command/command.h"
#include "dataplane/store/shard.h"

/* memcached has one name space: the first database. */
#define MEMCACHE_DATABASE 0U

/* An item's expire_at_ms that means "expired already": nothing is kept. */
#define MEMCACHE_EXPIRED UINT64_MAX

#define MEMCACHE_NO_MEMORY   "SERVER_ERROR out of memory storing object"
#define MEMCACHE_NOT_NUMERIC "CLIENT_ERROR cannot increment or decrement non-numeric value"
#define MEMCACHE_WRONG_TYPE  "SERVER_ERROR the key holds a value that is not a string"

/* What became of a request that changes a value: each protocol has its words for it. */
enum memcache_outcome {
    OUTCOME_STORED,
    OUTCOME_NOT_STORED,
    OUTCOME_EXISTS, /* its CAS value is another one */
    OUTCOME_NOT_FOUND,
    OUTCOME_TOO_LARGE,
    OUTCOME_NO_MEMORY,
    OUTCOME_NOT_A_NUMBER,
    OUTCOME_WRONG_TYPE,
};

/* exptime on the wire to Unix milliseconds: 0 is never; up to 30 days counts from now; more is a
 * Unix time in seconds; negative or past is MEMCACHE_EXPIRED. */
uint64_t memcache_expire_at_ms(int64_t exptime, const struct instant *now);

/* The shard of key `index`. */
static inline struct shard *memcache_shard(const struct memcache_call *call, uint32_t index)
{
    return LIKELY(call->shard != NULL)
               ? call->shard
               : context_shard(call->context,
                               key_owner(&call->keys[index], call->context->worker_count));
}
/* The item of key `index`, or NULL. */
static inline const struct item *memcache_find(struct memcache_call *call, uint32_t index)
{
    struct shard *shard = memcache_shard(call, index);
    const struct key *key = &call->keys[index];
    return UNLIKELY(call->shared) ? shard_find_shared(shard, MEMCACHE_DATABASE, key, call->now)
                                  : shard_find(shard, MEMCACHE_DATABASE, key, call->now);
}
static inline bool memcache_is_string(const struct item *item) /* true for NULL */
{
    return LIKELY(item == NULL || item_type(item) == ITEM_STRING);
}
/* False, with the error written, when it is not. */
static inline bool memcache_check_type(struct memcache_call *call, const struct item *item)
{
    if (LIKELY(memcache_is_string(item))) {
        return true;
    }
    memcache_reply_line(call->reply, MEMCACHE_WRONG_TYPE);
    return false;
}
static inline void memcache_count(struct memcache_call *call, enum metric metric)
{
    metric_add(call->context->metrics, metric, 1);
}

/* Gives `item`, the value of key `index`, the expiry of the request. False: no memory. */
bool memcache_touch(struct memcache_call *call, uint32_t index, const struct item *item);
/* `item` as it is now, with a CAS value: it gets one if nobody has asked for it yet. NULL: no
 * memory. */
const struct item *memcache_with_cas(struct memcache_call *call, uint32_t index,
                                     const struct item *item);
/* The CAS value that the reply will show of what is stored now; 0: it shows none, so none is given.
 */
uint64_t memcache_cas_to_show(struct memcache_call *call);
/* Whether the request names no CAS value, or that of `item`. */
static inline bool memcache_cas_matches(const struct memcache_call *call, const struct item *item)
{
    return LIKELY(call->request->cas == 0) || item_cas(item) == call->request->cas;
}

/* set, add, replace, append, prepend, cas. *cas is what the reply shows of the new item, or 0. */
enum memcache_outcome memcache_store(struct memcache_call *call, uint64_t *cas);
/* incr, decr of a key that is there: *value is the new number. */
enum memcache_outcome memcache_change_number(struct memcache_call *call, uint64_t *value,
                                             uint64_t *cas);
void memcache_count_number_miss(struct memcache_call *call); /* incr, decr */
void memcache_flush(struct memcache_call *call);
/* A request of the binary protocol, run and replied to in full. */
enum command_verdict memcache_execute_binary(struct memcache_call *call);
/* A request of either, observed by nobody; and one that is: memcache_observe.c. */
enum command_verdict memcache_run(struct memcache_call *call);
enum command_verdict memcache_execute_observed(struct memcache_call *call);
void memcache_execute_binary_stats(struct memcache_call *call);
void memcache_execute_sasl(struct memcache_call *call);
/* The first request of a text connection that must log in. */
void memcache_execute_login(struct memcache_call *call);

/* A draft of the request's value; expiry, CAS and state are the options'. NULL: no memory. */
struct item *memcache_draft_value(struct memcache_call *call, struct item_draft_options options);
/* The old value with the request's behind it, or in front of it. NULL: no memory. */
struct item *memcache_draft_joined(struct memcache_call *call, const struct item *old, bool appends,
                                   struct item_draft_options options);
/* Whether the result would be larger than memcache-item-size-max. */
bool memcache_exceeds_item_size(const struct memcache_call *call, const struct item *old);
/* OUTCOME_STORED: the request's value is there. Else it is too large, or there is no memory for it,
 * and what the key held is gone where the request `deletes`. */
enum memcache_outcome memcache_check_value(struct memcache_call *call, bool deletes);
void memcache_reply_outcome(struct memcache_call *call, enum memcache_outcome outcome);

/* A number as incr and decr see it. */
struct memcache_counter {
    uint64_t value;
    size_t text_bytes; /* of the item that holds it: a shorter number is padded to it */
};
/* False: no number, whatever it says, by its size alone. */
bool memcache_may_count(const struct memcache_counter *counter);
bool memcache_read_counter(const struct item *item, struct memcache_counter *counter);
void memcache_change_counter(struct memcache_counter *counter, uint64_t delta, bool decrements);
/* `old` NULL: a new one. NULL: no memory. */
struct item *memcache_draft_counter(struct memcache_call *call, const struct item *old,
                                    const struct memcache_counter *counter,
                                    struct item_draft_options options);
void memcache_count_arithmetic(struct memcache_call *call, bool decrements, bool hit);

static inline bool memcache_is_observed(const struct memcache_call *call)
{
    return UNLIKELY(call->context->observed != 0);
}
/* Only where memcache_is_observed: a line for those who watch, if any do. */
void memcache_note_fetch(struct memcache_call *call, uint32_t index, const struct item *item);
void memcache_note_store(struct memcache_call *call, enum memcache_outcome outcome);
struct memcache_prefix_counts;
/* Of the prefix of key `index`. */
void memcache_count_prefix(struct memcache_call *call, uint32_t index,
                           const struct memcache_prefix_counts *counts);
void memcache_forget_prefixes(struct command_context *context); /* of all workers */
void memcache_collect_prefixes(struct memcache_call *call);
void memcache_reply_prefixes(struct memcache_call *call);

/* The next word of the rest of a line; *text is what follows it. */
struct slice memcache_take_word(struct slice *text);

/* The key of auto discovery in place of a miss. */
bool memcache_get_cluster(struct memcache_call *call, uint32_t index);

void memcache_execute_memlimit(struct memcache_call *call);
void memcache_execute_shutdown(struct memcache_call *call);
void memcache_execute_crawler(struct memcache_call *call);
void memcache_execute_config(struct memcache_call *call);
void memcache_execute_watch(struct memcache_call *call);
void memcache_execute_get(struct memcache_call *call);
void memcache_execute_storage(struct memcache_call *call);
void memcache_execute_arithmetic(struct memcache_call *call);
void memcache_execute_stats(struct memcache_call *call);
/* COMMAND_TORN: on this worker the item can only be read, and it must be changed; nothing was
 * replied. */
enum command_verdict memcache_execute_meta_get(struct memcache_call *call);
void memcache_execute_meta_set(struct memcache_call *call);
void memcache_execute_meta_delete(struct memcache_call *call);
void memcache_execute_meta_arithmetic(struct memcache_call *call);
void memcache_execute_meta_debug(struct memcache_call *call);

#endif
