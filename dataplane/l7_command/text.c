/* Long texts (INFO, CLIENT LIST) whose size is known only at the end: they grow in a queue of their
 * own, which then moves behind the reply's header.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "dataplane/base/check.h"
#include "dataplane/l7_command/l7_command_internal.h"

void text_init(struct text *text, const struct reply *reply)
{
    byte_queue_init(&text->queue);
    text->pool = reply->pool;
}

void text_print(struct text *text, const char *format, ...)
{
    _Static_assert(TEXT_PRINT_BYTES_MAX < BYTE_PAGE_ROOM, "one reservation takes it");
    uint8_t *room = byte_queue_reserve(&text->queue, text->pool, TEXT_PRINT_BYTES_MAX + 1);
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf((char *)room, TEXT_PRINT_BYTES_MAX + 1, format, arguments);
    va_end(arguments);
    CHECK(size >= 0);
    byte_queue_commit(&text->queue,
                      size > TEXT_PRINT_BYTES_MAX ? TEXT_PRINT_BYTES_MAX : (size_t)size);
}

void text_reply_verbatim(struct text *text, struct reply *reply)
{
    if (reply->suppressed) {
        text_discard(text);
        return;
    }
    char header[48];
    size_t size = text->queue.size;
    int header_size = reply->protocol == 3
                          ? snprintf(header, sizeof(header), "=%zu\r\ntxt:", size + 4)
                          : snprintf(header, sizeof(header), "$%zu\r\n", size);
    byte_queue_append(reply->out, reply->pool, header, (size_t)header_size);
    byte_queue_move(reply->out, &text->queue);
    byte_queue_append(reply->out, reply->pool, "\r\n", 2);
}

void text_discard(struct text *text)
{
    byte_queue_clear(&text->queue, text->pool);
}
