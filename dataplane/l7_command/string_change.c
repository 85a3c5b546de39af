/* Commands that change a part of a value: APPEND SETRANGE.
 *
 * A published item never changes, so the result is a new item. Small values are copied whole (at
 * most ITEM_INLINE_BYTES_MAX); a large value that only grows at its end shares its blob through
 * shard_draft_grown, so APPEND stays O(1) amortised. SETRANGE inside a large value copies it:
 * O(size), where Redis has O(bytes written); that is the price of readers without locks.
 */
#include "dataplane/l7_command/handlers_string.h"
#include "dataplane/l7_command/string_value.h"

/* A draft that shows the value of `old` and has room for `growth` more bytes behind it. NULL with
 * the error written. */
static struct item *draft_grown(struct call *call, const struct key *key, const struct item *old,
                                uint64_t growth)
{
    struct item_draft_options options = string_options_like(old);
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    struct slice value = item_value(old, scratch);
    if (!string_check_size(call, value.size, growth)) {
        return NULL;
    }
    if (value.size + growth > ITEM_INLINE_BYTES_MAX) {
        options.value_bytes = (uint32_t)(value.size + growth);
        struct item *draft =
            shard_draft_grown(call_shard(call, key), old, (uint32_t)growth, &options);
        if (draft == NULL) {
            reply_error(call->reply, ERROR_OOM);
        }
        return draft;
    }
    struct item *draft = string_draft_raw(call, key, value.size + growth, options);
    if (draft != NULL && value.size != 0) {
        memcpy(draft_value(draft), value.data, value.size);
    }
    return draft;
}

/* Of a value that `growth` bytes are added to. */
static uint64_t grown_bytes(const struct shard *shard, const struct item *old, uint64_t growth)
{
    if (old == NULL) {
        return growth;
    }
    return shard_grows_in_place(shard, old, growth) ? 0 : item_value_size(old) + growth;
}

uint64_t string_append_bytes(const struct shard *shard, const struct item *old,
                             const struct slice *arguments)
{
    return grown_bytes(shard, old, arguments[2].size);
}

uint64_t string_setrange_bytes(const struct shard *shard, const struct item *old,
                               const struct slice *arguments)
{
    int64_t offset;
    uint64_t size = old != NULL ? item_value_size(old) : 0;
    if (arguments[3].size == 0 || !number_parse_int64(arguments[2], &offset) || offset < 0 ||
        offset > ITEM_VALUE_BYTES_MAX) {
        return 0;
    }
    uint64_t end = (uint64_t)offset + arguments[3].size;
    if ((uint64_t)offset >= size) {
        return grown_bytes(shard, old, end - size);
    }
    return end > size ? end : size;
}

static void finish(struct call *call, const struct key *key, struct item *draft, uint64_t size)
{
    string_publish(call, key, draft);
    reply_integer(call->reply, (int64_t)size);
}

enum command_verdict string_append(struct call *call)
{
    struct key key = call_key(call, 1);
    struct slice tail = call->arguments[2];
    const struct item *old = call_find_for_write(call, &key);
    if (!string_check_type(call, old)) {
        return COMMAND_DONE;
    }
    size_t old_size = old == NULL ? 0 : item_value_size(old);
    struct item_draft_options new = string_options_like(NULL);
    struct item *draft = old == NULL ? string_draft_argument(call, &key, 2, &new)
                                     : draft_grown(call, &key, old, tail.size);
    if (draft == NULL) {
        return COMMAND_DONE;
    }
    if (old != NULL && tail.size != 0) {
        memcpy(draft_value(draft) + old_size, tail.data, tail.size);
    }
    finish(call, &key, draft, old_size + tail.size);
    return COMMAND_DONE;
}

/* `piece` begins at or behind the end of `old`: the gap is filled with zeros. */
static struct item *draft_extended(struct call *call, const struct key *key, const struct item *old,
                                   size_t old_size, size_t offset, struct slice piece)
{
    size_t size = offset + piece.size;
    struct item *draft = old == NULL ? string_draft_raw(call, key, size, string_options_like(NULL))
                                     : draft_grown(call, key, old, size - old_size);
    if (draft != NULL) {
        memset(draft_value(draft) + old_size, 0, offset - old_size);
        memcpy(draft_value(draft) + offset, piece.data, piece.size);
    }
    return draft;
}

/* `piece` covers some of the bytes of `old`. */
static struct item *draft_overwritten(struct call *call, const struct key *key,
                                      const struct item *old, size_t offset, struct slice piece)
{
    uint8_t scratch[NUMBER_TEXT_BYTES_MAX];
    struct slice value = item_value(old, scratch);
    size_t size = offset + piece.size > value.size ? offset + piece.size : value.size;
    struct item *draft = string_draft_raw(call, key, size, string_options_like(old));
    if (draft != NULL) {
        memcpy(draft_value(draft), value.data, value.size);
        memcpy(draft_value(draft) + offset, piece.data, piece.size);
    }
    return draft;
}

enum command_verdict string_setrange(struct call *call)
{
    int64_t offset;
    if (!call_int64(call, 2, &offset)) {
        return COMMAND_DONE;
    }
    if (offset < 0) {
        reply_error(call->reply, "ERR offset is out of range");
        return COMMAND_DONE;
    }
    struct key key = call_key(call, 1);
    struct slice piece = call->arguments[3];
    const struct item *old = call_find_for_write(call, &key);
    if (!string_check_type(call, old)) {
        return COMMAND_DONE;
    }
    size_t old_size = old == NULL ? 0 : item_value_size(old);
    if (piece.size == 0) {
        reply_integer(call->reply, (int64_t)old_size);
        return COMMAND_DONE;
    }
    if (!string_check_size(call, (uint64_t)offset, piece.size)) {
        return COMMAND_DONE;
    }
    size_t at = (size_t)offset, end = at + piece.size;
    struct item *draft = at >= old_size ? draft_extended(call, &key, old, old_size, at, piece)
                                        : draft_overwritten(call, &key, old, at, piece);
    if (draft != NULL) {
        finish(call, &key, draft, end > old_size ? end : old_size);
    }
    return COMMAND_DONE;
}
