/* What the handlers of the string and generic groups share when they read or write a value. */
#ifndef NICACHED_L7_COMMAND_STRING_VALUE_H
#define NICACHED_L7_COMMAND_STRING_VALUE_H

#include "dataplane/l7_command/command.h"

#define ERROR_STRING_TOO_LONG "ERR string exceeds maximum allowed size (proto-max-bulk-len)"

/* False, with WRONGTYPE written, when the key holds something else. NULL passes: no key, no type.
 */
static inline bool string_check_type(struct call *call, const struct item *item)
{
    if (LIKELY(item == NULL || item_type(item) == ITEM_STRING)) {
        return true;
    }
    reply_error(call->reply, ERROR_WRONG_TYPE);
    return false;
}

/* The key at argument 1, where the batch has it: nobody needs a copy. */
static inline const struct key *string_key(const struct call *call, struct key *hashed)
{
    if (LIKELY(call->first_key != NULL)) {
        return call->first_key;
    }
    *hashed = call_key(call, 1);
    return hashed;
}

/* The largest string, and the bound on LCS' working memory: proto-max-bulk-len. */
uint64_t string_size_max(const struct call *call);

/* False, with the error written, when `size` + `growth` is more than a string may have. */
bool string_check_size(struct call *call, uint64_t size, uint64_t growth);

/* Options of an item that takes the place of `old` with a changed value: expiry, memcached's flags
 * and state bits stay, the CAS value goes. With `old` NULL: those of a new item. */
struct item_draft_options string_options_like(const struct item *old);

/* The same for a change of metadata only: the CAS value stays, and the write is allowed over
 * maxmemory, as it is no growth. */
struct item_draft_options string_options_same_value(const struct item *old);

/* A draft whose value is argument `index`, in the encoding SET chooses: an integer when the text is
 * one; over the blob when the session received it into one. Fills in encoding and size of
 * `options`. NULL with the error written when it is too long or the memory is not there. */
struct item *string_draft_argument(struct call *call, const struct key *key, uint32_t index,
                                   struct item_draft_options *options);

/* A draft of `size` raw bytes, to be filled in. NULL with the error written. */
struct item *string_draft_raw(struct call *call, const struct key *key, uint64_t size,
                              struct item_draft_options options);

/* The value of `item` shown again under `options` (another expiry). False with the error written.
 */
bool string_publish_again(struct call *call, const struct key *key, const struct item *item,
                          const struct item_draft_options *options);

/* For the only worker: the argument is the value of `key` from now on, where that has one as long
 * of which nothing but its bytes changes. False: it takes a draft. */
static inline bool string_overwrite(struct call *call, const struct key *key, uint32_t index)
{
    struct slice value = call->arguments[index];
    int64_t integer;
    if (value.size <= NUMBER_INT64_BYTES_MAX && number_parse_int64(value, &integer)) {
        return false;
    }
    return shard_overwrite(call_shard(call, key), call->client->database, key, value);
}

/* `draft` becomes the value of `key` in the client's database. */
void string_publish(struct call *call, const struct key *key, struct item *draft);

/* A part of a string value as a bulk reply: referenced when that saves a large copy. */
void string_reply_part(struct reply *reply, const struct item *item, size_t offset, size_t size);

/* The keys of a command that takes many, in bursts: fetched while the next ones are hashed, and
 * then while those before them are looked up. */
#define KEY_BURST_KEYS SHARD_PREFETCH_AHEAD_MAX
struct key_burst {
    struct key keys[KEY_BURST_KEYS];
    uint32_t count;
    uint32_t next_index; /* argument behind the burst */
    struct shard_prefetch ahead;
};
/* Starts at argument `index`, goes on in steps of `step`. Count 0: no argument left. */
void string_load_keys(struct call *call, uint32_t index, uint32_t step, struct key_burst *burst);
/* One of them, when it is looked up next; in their order. */
static inline const struct key *string_next_key(struct key_burst *burst, uint32_t i)
{
    shard_prefetch_reach(&burst->ahead, &burst->keys[i]);
    return &burst->keys[i];
}

#endif
