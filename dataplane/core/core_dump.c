/* lru_crawler metadump: a line for every key, as the connection takes them.
 *
 * The connection waits, the worker does not: in each pass it writes the lines of a slice of the
 * index, also of other workers' shards, which it reads under RCU as SCAN does. So a key that is
 * there all the time is seen, once or more; nobody waits for the dump; and a client that does not
 * read holds DUMP_PAUSE_BYTES of lines, no more.
 */
#include <inttypes.h>
#include <stdio.h>

#include "dataplane/base/check.h"
#include "dataplane/core/core_internal.h"

#define DUMP_SLICE_ITEMS 200U
#define DUMP_PAUSE_BYTES (256U * 1024U)
#define DUMP_RETRY_US    1000U

struct dump_call {
    struct core *core;
    struct stream *stream;
};

static void append_encoded(const struct dump_call *call, struct slice key)
{
    uint8_t text[3 * 64];
    while (key.size > 0) {
        size_t taken = key.size < 64 ? key.size : 64;
        size_t size = memcache_encode_uri(slice_of(key.data, taken), text);
        byte_queue_append(&call->stream->out, &call->core->bytes, text, size);
        key = slice_from(key, taken);
    }
}

static void append_item(void *argument, const struct item *item, uint64_t hash)
{
    const struct dump_call *call = argument;
    const struct core *core = call->core;
    const struct eviction_policy *policy = shard_policy(core->shard);
    char text[256];
    uint64_t idle_s =
        policy->access == ACCESS_RECENCY ? eviction_idle_seconds(policy, item_access(item)) : 0;
    int64_t expires_s = item_has_expiry(item) ? (int64_t)(item_expire_at_ms(item) / 1000) : -1;
    byte_queue_append(&call->stream->out, &call->core->bytes, "key=", 4);
    append_encoded(call, item_key(item));
    int size = snprintf(text, sizeof(text),
                        " exp=%" PRId64 " la=%" PRIu64 " cas=%" PRIu64
                        " fetch=%s cls=1 size=%" PRIu64 "\n",
                        expires_s, core->now.wall_ms / 1000 - idle_s, item_cas(item),
                        item_is_fetched(item) ? "yes" : "no", item_bytes_with_blob(item));
    byte_queue_append(&call->stream->out, &call->core->bytes, text, (size_t)size);
}

void core_begin_dump(struct core *core, struct conversation *conversation)
{
    conversation->dump = (struct dump){.is_active = true};
    session_block(&conversation->session, SESSION_AWAITS_REPLY);
    core_pause(core, conversation, core->now.mono_us + 1);
}

static void write_slice(struct core *core, struct conversation *conversation)
{
    struct dump *dump = &conversation->dump;
    struct dump_call call = {core, conversation->session.stream};
    const struct shard *shard = context_shard(core->context, dump->shard);
    dump->cursor =
        shard_scan_shared(shard, 0, dump->cursor, DUMP_SLICE_ITEMS, &core->now, append_item, &call);
    if (dump->cursor == 0 && ++dump->shard == core->options.worker_count) {
        byte_queue_append(&call.stream->out, &core->bytes, "END\r\n", 5);
        dump->is_active = false;
    }
    stream_mark_dirty(call.stream);
}

bool core_continue_dump(struct core *core, struct conversation *conversation)
{
    const struct stream *stream = conversation->session.stream;
    bool pauses = stream->out.size > DUMP_PAUSE_BYTES;
    if (!pauses) {
        size_t before = stream->out.size;
        write_slice(core, conversation);
        core_count_output(core, conversation, before);
    }
    if (conversation->dump.is_active) {
        core_pause(core, conversation, core->now.mono_us + (pauses ? DUMP_RETRY_US : 1));
    }
    return conversation->dump.is_active;
}
