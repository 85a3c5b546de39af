/* Bytes to send, and replies as they come; both protocols. */
#include "tests/history/wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"

#define LINE_BYTES_MAX  512U
#define VALUE_BYTES_MAX (1U << 20)

uint8_t *wire_reserve(struct wire_buffer *buffer, size_t count)
{
    if (buffer->size + count > buffer->room) {
        buffer->room = (buffer->size + count) * 2;
        buffer->data = (uint8_t *)realloc(buffer->data, buffer->room);
        CHECK(buffer->data != NULL);
    }
    return buffer->data + buffer->size;
}

void wire_put(struct wire_buffer *buffer, struct slice bytes)
{
    memcpy(wire_reserve(buffer, bytes.size + 1), bytes.data, bytes.size);
    buffer->size += bytes.size;
}

void wire_put_text(struct wire_buffer *buffer, const char *text)
{
    wire_put(buffer, slice_of_string(text));
}

static void put_length(struct wire_buffer *buffer, char mark, size_t length)
{
    char text[32];
    snprintf(text, sizeof(text), "%c%zu\r\n", mark, length);
    wire_put_text(buffer, text);
}

void wire_put_words(struct wire_buffer *buffer, uint32_t word_count)
{
    put_length(buffer, '*', word_count);
}

void wire_put_word(struct wire_buffer *buffer, struct slice word)
{
    put_length(buffer, '$', word.size);
    wire_put(buffer, word);
    wire_put_text(buffer, "\r\n");
}

void wire_drop_front(struct wire_buffer *buffer, size_t count)
{
    memmove(buffer->data, buffer->data + count, buffer->size - count);
    buffer->size -= count;
}

/* ---- replies --------------------------------------------------------------------------------- */

/* A line without its end; `offset` moves behind it. */
static enum wire_result take_line(struct slice input, size_t *offset, struct slice *line)
{
    struct slice rest = slice_from(input, *offset);
    const uint8_t *end = rest.size == 0 ? NULL : memchr(rest.data, '\n', rest.size);
    if (end == NULL) {
        return rest.size > LINE_BYTES_MAX ? WIRE_BROKEN : WIRE_MORE;
    }
    size_t size = (size_t)(end - rest.data);
    if (size == 0 || rest.data[size - 1] != '\r') {
        return WIRE_BROKEN;
    }
    *line = slice_of(rest.data, size - 1);
    *offset += size + 1;
    return WIRE_DONE;
}

/* `size` bytes and their line end. */
static enum wire_result take_value(struct slice input, size_t *offset, uint64_t size,
                                   struct wire_reply *reply)
{
    if (size > VALUE_BYTES_MAX || reply->value_count >= GROUP_KEYS) {
        return WIRE_BROKEN;
    }
    struct slice rest = slice_from(input, *offset);
    if (rest.size < size + 2) {
        return WIRE_MORE;
    }
    if (memcmp(rest.data + size, "\r\n", 2) != 0) {
        return WIRE_BROKEN;
    }
    reply->values[reply->value_count++] = value_of_bytes(slice_of(rest.data, size));
    *offset += size + 2;
    return WIRE_DONE;
}

static int64_t number_of_line(struct slice line)
{
    char text[32];
    size_t size = line.size < sizeof(text) ? line.size : sizeof(text) - 1;
    if (size > 0) {
        memcpy(text, line.data, size);
    }
    text[size] = '\0';
    return strtoll(text, NULL, 10);
}

static enum wire_result parse_element(struct slice input, size_t *offset, struct wire_reply *reply,
                                      bool inside)
{
    struct slice line;
    enum wire_result result = take_line(input, offset, &line);
    if (result != WIRE_DONE) {
        return result;
    }
    if (line.size == 0 || (inside && line.data[0] != '$')) {
        return WIRE_BROKEN;
    }
    struct slice rest = slice_from(line, 1);
    reply->text = rest;
    reply->number = number_of_line(rest);
    switch (line.data[0]) {
    case '+': reply->kind = WIRE_STATUS; return WIRE_DONE;
    case '-': reply->kind = WIRE_ERROR; return WIRE_DONE;
    case ':': reply->kind = WIRE_NUMBER; return WIRE_DONE;
    case '$': break;
    default: return WIRE_BROKEN;
    }
    reply->kind = WIRE_VALUES;
    if (reply->number >= 0) {
        return take_value(input, offset, (uint64_t)reply->number, reply);
    }
    if (reply->value_count >= GROUP_KEYS) {
        return WIRE_BROKEN;
    }
    reply->values[reply->value_count++] = (struct value){0};
    return WIRE_DONE;
}

static enum wire_result parse_array(struct slice input, size_t *offset, struct wire_reply *reply)
{
    struct slice line;
    enum wire_result result = take_line(input, offset, &line);
    if (result != WIRE_DONE) {
        return result;
    }
    int64_t count = number_of_line(slice_from(line, 1));
    if (count < 0 || count > (int64_t)GROUP_KEYS) {
        return WIRE_BROKEN;
    }
    for (int64_t i = 0; i < count && result == WIRE_DONE; i++) {
        result = parse_element(input, offset, reply, true);
    }
    return result;
}

enum wire_result wire_parse_resp(struct slice input, struct wire_reply *reply, size_t *taken)
{
    *reply = (struct wire_reply){.kind = WIRE_VALUES};
    *taken = 0;
    if (input.size == 0) {
        return WIRE_MORE;
    }
    return input.data[0] == '*' ? parse_array(input, taken, reply)
                                : parse_element(input, taken, reply, false);
}

/* "VALUE key flags bytes [cas]", its bytes, and "END". */
static enum wire_result parse_memcache_value(struct slice input, size_t *taken, struct slice line,
                                             struct wire_reply *reply)
{
    char text[LINE_BYTES_MAX + 1];
    uint64_t size = 0;
    size_t kept = line.size < LINE_BYTES_MAX ? line.size : LINE_BYTES_MAX;
    memcpy(text, line.data, kept);
    text[kept] = '\0';
    if (sscanf(text, "VALUE %*s %*u %" SCNu64 " %" SCNu64, &size, &reply->cas) < 1) {
        return WIRE_BROKEN;
    }
    enum wire_result result = take_value(input, taken, size, reply);
    struct slice end;
    if (result == WIRE_DONE) {
        result = take_line(input, taken, &end);
    }
    return result == WIRE_DONE && !slice_equal(end, SLICE_LITERAL("END")) ? WIRE_BROKEN : result;
}

enum wire_result wire_parse_memcache(struct slice input, struct wire_reply *reply, size_t *taken)
{
    struct slice line;
    *reply = (struct wire_reply){.kind = WIRE_STATUS};
    *taken = 0;
    enum wire_result result = take_line(input, taken, &line);
    if (result != WIRE_DONE) {
        return result;
    }
    reply->text = line;
    if (slice_equal(line, SLICE_LITERAL("END"))) {
        reply->kind = WIRE_VALUES;
        reply->value_count = 1;
    } else if (line.size > 6 && memcmp(line.data, "VALUE ", 6) == 0) {
        reply->kind = WIRE_VALUES;
        return parse_memcache_value(input, taken, line, reply);
    } else if (line.size > 12 && memcmp(line.data, "SERVER_ERROR", 12) == 0) {
        reply->kind = WIRE_ERROR;
    }
    return WIRE_DONE;
}
