/* stat of the binary protocol: the lines of the text protocol's stats, each as a packet of its own;
 * then one without a key (those of detail dump in one). What has no such lines is "Not found", as
 * the reference says of a group that it does not know.
 *
 * Memory: the text on the heap, for the length of the call. Rare, and as large as the text.
 */
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/l6_protocol/memcache_binary_compose.h"
#include "dataplane/l7_command/memcache_internal.h"

#define STAT_WORD "STAT "

static bool starts_with(struct slice line, const char *word)
{
    size_t size = strlen(word);
    return line.size >= size && memcmp(line.data, word, size) == 0;
}

/* "STAT name value": the name has no blank, the value may. */
static void reply_stat(struct memcache_call *call, struct slice line)
{
    struct slice rest = slice_from(line, sizeof(STAT_WORD) - 1);
    const uint8_t *blank = rest.size == 0 ? NULL : memchr(rest.data, ' ', rest.size);
    size_t name_bytes = blank == NULL ? rest.size : (size_t)(blank - rest.data);
    const struct memcache_binary_reply what = {.key = slice_of(rest.data, name_bytes),
                                               .value = slice_from(rest, name_bytes + 1)};
    memcache_binary_reply(call->reply, &call->request->binary, &what);
}

static void reply_end(struct memcache_call *call)
{
    const struct memcache_binary_reply what = {.status = MEMCACHE_BINARY_OK};
    memcache_binary_reply(call->reply, &call->request->binary, &what);
}

static bool is_error(struct slice line)
{
    return starts_with(line, "ERROR") || starts_with(line, "CLIENT_ERROR") ||
           starts_with(line, "SERVER_ERROR");
}

static struct slice next_line(struct slice *text)
{
    const uint8_t *end = memchr(text->data, '\n', text->size);
    CHECK(end != NULL && end > text->data);
    struct slice line = slice_of(text->data, (size_t)(end - text->data) - 1);
    *text = slice_from(*text, line.size + 2);
    return line;
}

static void reply_lines(struct memcache_call *call, struct slice text)
{
    bool failed = false;
    while (text.size > 0) {
        struct slice line = next_line(&text);
        failed |= is_error(line);
        if (starts_with(line, STAT_WORD)) {
            reply_stat(call, line);
        }
    }
    if (failed) {
        memcache_binary_reply_error(call->reply, &call->request->binary, MEMCACHE_BINARY_NOT_FOUND,
                                    NULL);
    } else {
        reply_end(call);
    }
}

/* The text that the text protocol would send. */
static void write_text(struct memcache_call *call, struct byte_queue *out)
{
    struct memcache_reply reply = {.out = out, .pool = call->reply->pool};
    struct memcache_request request = *call->request;
    request.binary = (struct memcache_binary){0};
    struct memcache_call text_call = *call;
    text_call.request = &request;
    text_call.reply = &reply;
    memcache_execute_stats(&text_call);
}

/* The figures of prefixes are no list of values: one packet has all of their text. */
static bool asks_for_prefixes(const struct memcache_request *request)
{
    struct slice rest = request->arguments;
    return slice_equal(memcache_take_word(&rest), SLICE_LITERAL("detail")) &&
           slice_equal(memcache_take_word(&rest), SLICE_LITERAL("dump"));
}

static void reply_prefixes(struct memcache_call *call, struct slice text)
{
    const struct memcache_binary_reply what = {.key = SLICE_LITERAL("detailed"), .value = text};
    memcache_binary_reply(call->reply, &call->request->binary, &what);
    reply_end(call);
}

void memcache_execute_binary_stats(struct memcache_call *call)
{
    struct byte_queue out;
    byte_queue_init(&out);
    write_text(call, &out);
    uint8_t *text = malloc(out.size + 1);
    CHECK(text != NULL);
    size_t size = byte_queue_copy_out(&out, 0, text, out.size);
    byte_queue_clear(&out, call->reply->pool);
    if (asks_for_prefixes(call->request)) {
        reply_prefixes(call, slice_of(text, size));
    } else {
        reply_lines(call, slice_of(text, size));
    }
    free(text);
}
