/* `stats detail`: how often the keys of each prefix are asked for, found, stored and deleted.
 *
 * Every worker keeps a book of what ran on it; the dump visits all workers and adds their books up.
 * A book has MEMCACHE_PREFIXES_MAX prefixes at most: clients choose them, and memory must not be
 * theirs. Whatever starts the figures anew raises the epoch; a book of an older one is emptied when
 * it is next looked at.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/l7_command/memcache_internal.h"
#include "dataplane/l7_command/memcache_observers.h"

/* ---- books ----------------------------------------------------------------------------------- */

struct memcache_prefix_book *memcache_prefix_book_create(uint32_t capacity)
{
    struct memcache_prefix_book *book =
        calloc(1, sizeof(*book) + (size_t)capacity * sizeof(book->prefixes[0]));
    uint32_t *table = calloc(2U * (size_t)capacity, sizeof(*table));
    if (book == NULL || table == NULL) {
        free(book);
        free(table);
        return NULL;
    }
    book->capacity = capacity;
    book->table = table;
    return book;
}

void memcache_prefix_book_destroy(struct memcache_prefix_book *book)
{
    if (book != NULL) {
        free(book->table);
        free(book);
    }
}

void memcache_prefix_book_clear(struct memcache_prefix_book *book)
{
    book->count = 0;
    memset(book->table, 0, 2U * (size_t)book->capacity * sizeof(*book->table));
}

/* Where the prefix is in the table, or the free place where it would be: half of all are free. */
static uint32_t *place_of(const struct memcache_prefix_book *book, struct slice prefix)
{
    uint32_t places = 2U * book->capacity;
    uint32_t at = (uint32_t)(hash_bytes(prefix) % places);
    while (book->table[at] != 0) {
        const struct memcache_prefix *known = &book->prefixes[book->table[at] - 1];
        if (slice_equal(slice_of(known->bytes, known->size), prefix)) {
            break;
        }
        at = at + 1 == places ? 0 : at + 1;
    }
    return &book->table[at];
}

static struct memcache_prefix *make_prefix(struct memcache_prefix_book *book, uint32_t *place,
                                           struct slice bytes)
{
    if (book->count == book->capacity) {
        return NULL;
    }
    struct memcache_prefix *prefix = &book->prefixes[book->count++];
    *place = book->count;
    prefix->counts = (struct memcache_prefix_counts){0};
    prefix->size = (uint8_t)bytes.size;
    if (bytes.size > 0) {
        memcpy(prefix->bytes, bytes.data, bytes.size);
    }
    return prefix;
}

bool memcache_prefix_book_add(struct memcache_prefix_book *book, struct slice prefix,
                              const struct memcache_prefix_counts *counts)
{
    CHECK(prefix.size <= MEMCACHE_PREFIX_BYTES_MAX);
    uint32_t *place = place_of(book, prefix);
    struct memcache_prefix *known =
        *place != 0 ? &book->prefixes[*place - 1] : make_prefix(book, place, prefix);
    if (known == NULL) {
        return false;
    }
    known->counts.gets += counts->gets;
    known->counts.hits += counts->hits;
    known->counts.sets += counts->sets;
    known->counts.deletes += counts->deletes;
    return true;
}

/* The worker's own, of the epoch that is; NULL: none yet, or no memory for one. */
static struct memcache_prefix_book *book_of(struct command_context *context, bool creates)
{
    uint64_t epoch = __atomic_load_n(&context->observers->detail_epoch, __ATOMIC_RELAXED);
    if (context->prefixes == NULL && creates) {
        context->prefixes = memcache_prefix_book_create(MEMCACHE_PREFIXES_MAX);
    }
    struct memcache_prefix_book *book = context->prefixes;
    if (book != NULL && book->epoch != epoch) {
        memcache_prefix_book_clear(book);
        book->epoch = epoch;
    }
    return book;
}

/* ---- counting -------------------------------------------------------------------------------- */

void memcache_count_prefix(struct memcache_call *call, uint32_t index,
                           const struct memcache_prefix_counts *counts)
{
    struct slice key = call->keys[index].bytes;
    char delimiter = call->context->config->memcache_prefix_delimiter[0];
    const uint8_t *end = key.size == 0 ? NULL : memchr(key.data, delimiter, key.size);
    if (end == NULL) {
        return; /* as in the reference: it has no prefix */
    }
    struct memcache_prefix_book *book = book_of(call->context, true);
    struct slice prefix = slice_of(key.data, (size_t)(end - key.data));
    if (book == NULL || !memcache_prefix_book_add(book, prefix, counts)) {
        memcache_count(call, METRIC_MEMCACHE_PREFIXES_DROPPED);
    }
}

void memcache_forget_prefixes(struct command_context *context)
{
    __atomic_fetch_add(&context->observers->detail_epoch, 1, __ATOMIC_RELAXED);
}

/* ---- stats detail dump ----------------------------------------------------------------------- */

/* A worker's share of the dump, on its way: its prefixes as they are. */
void memcache_collect_prefixes(struct memcache_call *call)
{
    const struct memcache_prefix_book *book = book_of(call->context, false);
    for (uint32_t i = 0; book != NULL && i < book->count; i++) {
        byte_queue_append(&call->collected->text, call->collected->pool, &book->prefixes[i],
                          sizeof(book->prefixes[i]));
    }
}

static void reply_book(struct memcache_call *call, const struct memcache_prefix_book *book)
{
    for (uint32_t i = 0; i < book->count; i++) {
        const struct memcache_prefix *prefix = &book->prefixes[i];
        char text[4 * NUMBER_TEXT_BYTES_MAX + 64];
        int size = snprintf(text, sizeof(text),
                            " get %" PRIu64 " hit %" PRIu64 " set %" PRIu64 " del %" PRIu64 "\r\n",
                            prefix->counts.gets, prefix->counts.hits, prefix->counts.sets,
                            prefix->counts.deletes);
        byte_queue_append(call->reply->out, call->reply->pool, "PREFIX ", 7);
        byte_queue_append(call->reply->out, call->reply->pool, prefix->bytes, prefix->size);
        byte_queue_append(call->reply->out, call->reply->pool, text, (size_t)size);
    }
}

/* What all workers have contributed, each prefix once. */
static void reply_sum(struct memcache_call *call)
{
    struct byte_queue *text = &call->collected->text;
    uint32_t count = (uint32_t)(text->size / sizeof(struct memcache_prefix));
    struct memcache_prefix_book *sum = memcache_prefix_book_create(count > 0 ? count : 1);
    CHECK(sum != NULL);
    for (uint32_t i = 0; i < count; i++) {
        struct memcache_prefix prefix;
        (void)byte_queue_copy_out(text, 0, &prefix, sizeof(prefix));
        byte_queue_consume(text, call->collected->pool, sizeof(prefix));
        bool fits =
            memcache_prefix_book_add(sum, slice_of(prefix.bytes, prefix.size), &prefix.counts);
        CHECK(fits);
    }
    reply_book(call, sum);
    memcache_prefix_book_destroy(sum);
}

void memcache_reply_prefixes(struct memcache_call *call)
{
    if (call->collected != NULL) {
        reply_sum(call);
    } else {
        const struct memcache_prefix_book *book = book_of(call->context, false);
        if (book != NULL) {
            reply_book(call, book);
        }
    }
    memcache_reply_end(call->reply);
}
