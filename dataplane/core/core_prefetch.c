/* Errands that have arrived were written by other workers: all of what they need is in their
 * caches, or in memory. A burst of messages fetches it in rounds:
 *
 *   errands, first request due  -->  replies, keys of all that will run here  -->  run
 *
 * The last two by groups of some tens of keys: one group is fetched, then the group before it runs.
 * Thread: the worker that has received the messages, and so has the errands.
 */
#include "dataplane/core/core_prefetch.h"

#include <rte_prefetch.h>

#include "dataplane/core/core_errand.h"

#define REQUEST_BYTES 320U /* of an ordinary one, with what stands behind it */
#define REPLY_BYTES   128U /* a chunk's header, and short replies */

static inline void fetch(const void *from, size_t bytes)
{
    for (size_t at = 0; from != NULL && at < bytes; at += RTE_CACHE_LINE_SIZE) {
        rte_prefetch0((const uint8_t *)from + at);
    }
}

static inline bool is_errand(const struct message *message)
{
    return message->type == MESSAGE_ERRAND || message->type == MESSAGE_ERRAND_DONE;
}

void core_prefetch_errands(const struct message *messages, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (is_errand(&messages[i])) {
            fetch(messages[i].pointer, offsetof(struct errand, first));
        }
        if (messages[i].type == MESSAGE_ERRAND) {
            fetch(errand_due_of(&messages[i]), REQUEST_BYTES);
        }
    }
}

/* As far as it will run here. */
static uint32_t prefetch_train(const struct core *core, struct prefetch_burst *burst,
                               const struct errand *train)
{
    uint32_t keys = 0;
    for (const struct errand_request *request = train->due; request != NULL;
         request = request->behind) {
        bool own = request->owner == core->options.number;
        if (!own && !request->only_reads) {
            break;
        }
        fetch(request->behind, REQUEST_BYTES);
        (own ? prefetch_own : prefetch_shared)(core, burst, train->client.database, request->keys,
                                               request->key_count);
        keys += request->key_count;
    }
    return keys;
}

static uint32_t prefetch_message(const struct core *core, struct prefetch_burst *burst,
                                 const struct message *message)
{
    const struct errand *errand = message->pointer;
    if (message->type == MESSAGE_ERRAND_DONE) {
        fetch(errand->reply.head, REPLY_BYTES);
        if (errand->conversation != NULL) {
            core_prefetch_conversation(errand->conversation);
        }
        return 0;
    }
    if (message->type != MESSAGE_ERRAND || errand->kind != ERRAND_RUN) {
        return 0;
    }
    const struct byte_chunk *tail = errand->reply.tail;
    fetch(tail != NULL ? tail : byte_pool_next_page(&errand->pool), REPLY_BYTES);
    return prefetch_train(core, burst, errand);
}

uint32_t core_prefetch_errand_keys(struct core *core, const struct message *messages,
                                   uint32_t first, uint32_t count)
{
    /* The index is another's while the shard is lent. */
    if (core_shard_is_lent(core)) {
        return count;
    }
    struct prefetch_burst burst;
    prefetch_begin(&burst);
    uint32_t end = first;
    for (uint32_t keys = 0; end < count && keys < PREFETCH_GROUP_KEYS; end++) {
        keys += prefetch_message(core, &burst, &messages[end]);
    }
    prefetch_end(&burst);
    return end;
}

void core_prefetch_leased(const struct core *core, const struct errand *train)
{
    struct prefetch_burst burst;
    prefetch_begin(&burst);
    for (const struct errand_request *request = train->first; request != NULL;
         request = request->behind) {
        const struct shard *shard = core->options.all_shards[request->owner];
        for (uint32_t i = 0; i < request->key_count; i++) {
            prefetch_key(&burst, shard_index(shard, train->client.database), &request->keys[i],
                         true);
        }
    }
    prefetch_end(&burst);
}
