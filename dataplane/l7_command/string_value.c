/* Values for the string and generic handlers: drafts in the right encoding, and how a changed item
 * inherits from the one it replaces.
 *
 * What stays when a value changes: the client flags of memcached and the state bits belong to the
 * key's value as a client knows it, so APPEND, INCR, EXPIRE, PERSIST, RENAME and COPY keep them;
 * SET makes a value of its own and clears them. A CAS value names one version of the value, so only
 * changes that leave the value alone keep it.
 *
 * Thread: the owning worker. Memory: the shard's, by draft and publish. Fails with the standard
 * OOM error; nothing has been changed then.
 */
#include "dataplane/l7_command/string_value.h"

#include "config/config.h"
#include "dataplane/base/check.h"

/* Below this a copy is cheaper than the bookkeeping of a reference. */
#define REFERENCE_BYTES_MIN 4096U

uint64_t string_size_max(const struct call *call)
{
    uint64_t limit = (uint64_t)call->context->config->proto_max_bulk_len;
    return limit < ITEM_VALUE_BYTES_MAX ? limit : ITEM_VALUE_BYTES_MAX;
}

bool string_check_size(struct call *call, uint64_t size, uint64_t growth)
{
    uint64_t total;
    if (!__builtin_add_overflow(size, growth, &total) && total <= string_size_max(call)) {
        return true;
    }
    reply_error(call->reply, ERROR_STRING_TOO_LONG);
    return false;
}

struct item_draft_options string_options_like(const struct item *old)
{
    struct item_draft_options options = {.encoding = ENCODING_RAW};
    if (old != NULL) {
        options.expire_at_ms = item_expire_at_ms(old);
        options.client_flags = item_client_flags(old);
        options.state = item_state(old);
    }
    return options;
}

struct item_draft_options string_options_same_value(const struct item *old)
{
    struct item_draft_options options = string_options_like(old);
    options.encoding = item_encoding(old);
    options.value_bytes = item_stored_bytes(old);
    options.cas = item_cas(old);
    options.ignore_maxmemory = true;
    return options;
}

static struct item *answer_without_memory(struct call *call, struct item *draft)
{
    if (UNLIKELY(draft == NULL)) {
        reply_error(call->reply, ERROR_OOM);
    }
    return draft;
}

static struct item *draft_integer(struct call *call, const struct key *key, int64_t value,
                                  struct item_draft_options *options)
{
    options->encoding = ENCODING_INT;
    options->value_bytes = sizeof(value);
    struct item *draft = shard_draft(call_shard(call, key), key->bytes, options);
    if (draft != NULL) {
        memcpy(draft_value(draft), &value, sizeof(value));
    }
    return answer_without_memory(call, draft);
}

static inline struct item *draft_raw(struct call *call, const struct key *key, uint64_t size,
                                     struct item_draft_options *options)
{
    if (!string_check_size(call, size, 0)) {
        return NULL;
    }
    options->encoding = ENCODING_RAW;
    options->value_bytes = (uint32_t)size;
    return answer_without_memory(call, shard_draft(call_shard(call, key), key->bytes, options));
}

struct item *string_draft_raw(struct call *call, const struct key *key, uint64_t size,
                              struct item_draft_options options)
{
    return draft_raw(call, key, size, &options);
}

/* The session has put the argument into a blob already, and it is large enough to stay there. */
static bool is_large_value(const struct call *call, uint32_t index)
{
    return call->large_value != NULL && index == call->large_value_index &&
           call->arguments[index].size > ITEM_INLINE_BYTES_MAX;
}

struct item *string_draft_argument(struct call *call, const struct key *key, uint32_t index,
                                   struct item_draft_options *options)
{
    CHECK(index < call->argument_count);
    struct slice value = call->arguments[index];
    int64_t integer;
    if (number_parse_int64(value, &integer)) {
        return draft_integer(call, key, integer, options);
    }
    if (is_large_value(call, index) && value.size <= ITEM_VALUE_BYTES_MAX) {
        options->encoding = ENCODING_RAW;
        options->value_bytes = (uint32_t)value.size;
        return answer_without_memory(call, shard_draft_over_blob(call_shard(call, key), key->bytes,
                                                                 call->large_value, options));
    }
    struct item *draft = draft_raw(call, key, value.size, options);
    if (draft != NULL && value.size != 0) {
        memcpy(draft_value(draft), value.data, value.size);
    }
    return draft;
}

bool string_publish_again(struct call *call, const struct key *key, const struct item *item,
                          const struct item_draft_options *options)
{
    struct item *draft = answer_without_memory(
        call, shard_draft_like(call_shard(call, key), key->bytes, item, options));
    if (draft == NULL) {
        return false;
    }
    string_publish(call, key, draft);
    return true;
}

void string_publish(struct call *call, const struct key *key, struct item *draft)
{
    shard_publish(call_shard(call, key), call->client->database, key, draft);
}

void string_reply_part(struct reply *reply, const struct item *item, size_t offset, size_t size)
{
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    struct slice value = item_value(item, scratch);
    CHECK(offset <= value.size && size <= value.size - offset);
    struct slice part = slice_of(size == 0 ? NULL : value.data + offset, size);
    struct blob *blob = item_blob(item);
    if (blob == NULL || size < REFERENCE_BYTES_MIN) {
        reply_bulk(reply, part);
        return;
    }
    blob_acquire(blob);
    reply_bulk_reference(reply, part, &blob->owner);
}

/* A request's first key was fetched with its batch, and alone it needs nothing more. */
static void begin_prefetch(const struct call *call, struct key_burst *burst, bool is_lone)
{
    bool is_own = call->shard != NULL && !call->shared;
    if (is_lone) {
        shard_prefetch_end(&burst->ahead);
    } else {
        shard_prefetch_begin(&burst->ahead, is_own ? call->shard : call->context->shard, is_own,
                             burst->keys);
    }
}

void string_load_keys(struct call *call, uint32_t index, uint32_t step, struct key_burst *burst)
{
    uint32_t database = call->client->database, argument_count = call->argument_count;
    bool is_lone = index + step >= argument_count;
    begin_prefetch(call, burst, is_lone);
    burst->count = 0;
    for (; burst->count < KEY_BURST_KEYS && index < argument_count; index += step) {
        struct key *key = &burst->keys[burst->count++];
        if (is_lone) {
            *key = call_key(call, index);
        } else {
            key_init(key, call->arguments[index]);
            key->index = shard_index(call_shard(call, key), database);
            shard_prefetch_add(&burst->ahead, 1);
        }
    }
    burst->next_index = index;
}
