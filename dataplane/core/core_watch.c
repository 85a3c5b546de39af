/* memcached's `watch`: connections that get a line for what happens, and ask nothing any more.
 *
 *   memcache_observe.c --> the worker's log --core_flush_events--> errand --> each worker with
 *   watchers: core_write_events --> their streams --> home
 *
 * Nobody waits for a watcher. A worker has one errand of lines under way; meanwhile its log fills
 * up, and what finds no room is counted (log_worker_dropped). A watcher with
 * MEMCACHE_WATCHER_BYTES_MAX unread bytes skips lines (log_watcher_skipped), and is told how many
 * when it goes on. What a watcher sends is thrown away; it ends when its connection does.
 *
 * Thread: the owning worker. Memory: the log; its copy in the errand.
 */
#include <inttypes.h>
#include <stdio.h>

#include "dataplane/core/core_errand.h"

#define SKIP_LINE_BYTES_MAX 64U

void core_begin_watch(struct core *core, struct conversation *conversation, uint32_t kinds)
{
    struct memcache_reply reply = {.out = &conversation->session.stream->out, .pool = &core->bytes};
    if (!memcache_observers_add(core->context->observers, core->options.number, kinds)) {
        memcache_reply_line(&reply, "WATCHER_TOO_MANY log watcher limit reached");
        return;
    }
    conversation->watched = kinds;
    conversation->lines_skipped = 0;
    conversation->watch_next = core->watchers;
    core->watchers = conversation;
    memcache_reply_line(&reply, "OK");
}

void core_end_watch(struct core *core, struct conversation *conversation)
{
    struct conversation **link = &core->watchers;
    while (*link != conversation) {
        link = &(*link)->watch_next;
    }
    *link = conversation->watch_next;
    memcache_observers_remove(core->context->observers, core->options.number,
                              conversation->watched);
    conversation->watched = 0;
}

/* ---- lines to watchers ----------------------------------------------------------------------- */

static void append(struct core *core, struct stream *stream, const void *bytes, size_t size)
{
    byte_queue_append(&stream->out, &core->bytes, bytes, size);
}

static void tell_skipped(struct core *core, struct conversation *conversation)
{
    char text[SKIP_LINE_BYTES_MAX];
    int size = snprintf(text, sizeof(text), "skipped=%" PRIu32 "\n", conversation->lines_skipped);
    append(core, conversation->session.stream, text, (size_t)size);
    conversation->lines_skipped = 0;
}

static void write_line(struct core *core, struct conversation *conversation, struct slice line)
{
    struct stream *stream = conversation->session.stream;
    if (stream->out.size + line.size + SKIP_LINE_BYTES_MAX > MEMCACHE_WATCHER_BYTES_MAX) {
        conversation->lines_skipped++;
        metric_add(core->metrics, METRIC_MEMCACHE_LOG_WATCHER_SKIPPED, 1);
        return;
    }
    if (conversation->lines_skipped > 0) {
        tell_skipped(core, conversation);
    }
    append(core, stream, line.data, line.size);
    metric_add(core->metrics, METRIC_MEMCACHE_LOG_WATCHER_SENT, 1);
}

static void write_to(struct core *core, struct conversation *conversation, struct slice lines)
{
    struct stream *stream = conversation->session.stream;
    size_t before = stream->out.size;
    enum memcache_event_kind kind;
    for (struct slice line; memcache_event_next(&lines, &kind, &line);) {
        if ((conversation->watched & EVENT_BIT(kind)) != 0) {
            write_line(core, conversation, line);
        }
    }
    if (stream->out.size > before) {
        core_count_output(core, conversation, before);
        stream_mark_dirty(stream);
    }
}

void core_write_events(struct core *core, struct slice lines)
{
    for (struct conversation *conversation = core->watchers; conversation != NULL;
         conversation = conversation->watch_next) {
        if (!conversation->session.closing) {
            write_to(core, conversation, lines);
        }
    }
}

/* ---- evictions ------------------------------------------------------------------------------- */

void core_keep_evicted(struct core *core)
{
    bool keep = (core->context->observed & OBSERVED_KIND(EVENT_EVICTION)) != 0;
    if (UNLIKELY(keep != core->keeps_evicted)) {
        core->keeps_evicted = keep;
        shard_keep_evicted(core->shard, keep);
    }
}

/* ---- what happened here ---------------------------------------------------------------------- */

/* Their bytes are there until the quiescent state that ends the pass. */
static void note_evictions(struct core *core)
{
    const struct eviction_victim *evicted;
    uint32_t count = shard_take_evicted(core->shard, &evicted);
    for (uint32_t i = 0; i < count; i++) {
        memcache_note_eviction(core->context, evicted[i].database, evicted[i].item);
    }
}

static bool find_watching_workers(const struct core *core, struct shard_set *workers)
{
    bool found = false;
    *workers = (struct shard_set){{0}};
    for (uint32_t i = 0; i < core->options.worker_count; i++) {
        if (memcache_observers_has(core->context->observers, i)) {
            shard_set_add(workers, i);
            found = true;
        }
    }
    return found;
}

bool core_flush_events(struct core *core)
{
    if (UNLIKELY(core->keeps_evicted)) {
        note_evictions(core);
    }
    struct memcache_event_log *log = core->context->events;
    if (LIKELY(log == NULL || log->used == 0) || core->events_away) {
        return false;
    }
    struct shard_set workers;
    if (find_watching_workers(core, &workers)) {
        core_send_events(core, &workers, slice_of(log->bytes, log->used));
    }
    log->used = 0;
    return true;
}
