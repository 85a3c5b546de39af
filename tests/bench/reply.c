#include "tests/bench/reply.h"

#include "dataplane/base/number.h"

void reply_parser_init(struct reply_parser *parser, enum reply_protocol protocol, uint8_t *line)
{
    parser->protocol = protocol;
    parser->line = line;
    reply_parser_reset(parser);
}

void reply_parser_reset(struct reply_parser *parser)
{
    parser->state = REPLY_STATE_LINE;
    parser->status = REPLY_STATUS_OK;
    parser->depth = 0;
    parser->line_size = 0;
}

/* ---- lines ----------------------------------------------------------------------------------- */

enum line_result { LINE_COMPLETE, LINE_PARTIAL, LINE_BROKEN };

/* Keeps what is there of a line that has not ended yet. */
static enum line_result keep_partial_line(struct reply_parser *parser, struct slice *input)
{
    if (input->size > REPLY_LINE_BYTES_MAX - parser->line_size) {
        return LINE_BROKEN;
    }
    if (input->size > 0) {
        memcpy(parser->line + parser->line_size, input->data, input->size);
    }
    parser->line_size += (uint32_t)input->size;
    *input = slice_from(*input, input->size);
    return LINE_PARTIAL;
}

/* The next line without its CRLF: in place where it is whole, else pieced together. */
static enum line_result take_line(struct reply_parser *parser, struct slice *input,
                                  struct slice *line)
{
    const uint8_t *end = input->size > 0 ? memchr(input->data, '\n', input->size) : NULL;
    if (end == NULL) {
        return keep_partial_line(parser, input);
    }
    size_t size = (size_t)(end - input->data) + 1;
    *line = slice_of(input->data, size);
    if (parser->line_size > 0) {
        if (size > REPLY_LINE_BYTES_MAX - parser->line_size) {
            return LINE_BROKEN;
        }
        memcpy(parser->line + parser->line_size, input->data, size);
        *line = slice_of(parser->line, parser->line_size + size);
        parser->line_size = 0;
    }
    *input = slice_from(*input, size);
    if (line->size < 2 || line->size > REPLY_LINE_BYTES_MAX || line->data[line->size - 2] != '\r') {
        return LINE_BROKEN;
    }
    line->size -= 2;
    return LINE_COMPLETE;
}

/* ---- RESP ------------------------------------------------------------------------------------ */

static enum reply_event_type finish_reply(struct reply_parser *parser, struct reply_event *event)
{
    event->status = parser->status;
    parser->status = REPLY_STATUS_OK;
    parser->state = REPLY_STATE_LINE;
    return REPLY_DONE;
}

/* One element is complete, and with it perhaps the arrays that it was the last one of. */
static enum reply_event_type finish_element(struct reply_parser *parser, struct reply_event *event)
{
    parser->state = REPLY_STATE_LINE;
    while (parser->depth > 0) {
        if (--parser->elements_left[parser->depth - 1] > 0) {
            return REPLY_NOTHING;
        }
        parser->depth--;
    }
    return finish_reply(parser, event);
}

static enum reply_event_type start_value(struct reply_parser *parser, uint64_t size,
                                         struct reply_event *event)
{
    if (size > REPLY_VALUE_BYTES_MAX) {
        return REPLY_BROKEN;
    }
    parser->state = REPLY_STATE_VALUE;
    parser->value_left = size;
    event->size = size;
    return REPLY_VALUE_START;
}

static enum reply_event_type missing_value(struct reply_parser *parser)
{
    parser->state = REPLY_STATE_ELEMENT_END;
    return REPLY_VALUE_MISSING;
}

static enum reply_event_type open_array(struct reply_parser *parser, uint64_t count,
                                        struct reply_event *event)
{
    if (count > REPLY_ELEMENTS_MAX || parser->depth == REPLY_DEPTH_MAX) {
        return REPLY_BROKEN;
    }
    if (count == 0) {
        return finish_element(parser, event);
    }
    parser->elements_left[parser->depth++] = count;
    return REPLY_NOTHING;
}

/* '$', '*' and their kin: a length, or -1 in the place of what is not there. */
static enum reply_event_type take_resp_length(struct reply_parser *parser, uint8_t type,
                                              struct slice rest, struct reply_event *event)
{
    int64_t length;
    if (!number_parse_int64(rest, &length) || length < -1) {
        return REPLY_BROKEN;
    }
    if (length < 0) {
        return missing_value(parser);
    }
    switch (type) {
    case '$':
    case '=': return start_value(parser, (uint64_t)length, event);
    case '%': return open_array(parser, 2 * ((uint64_t)length & INT32_MAX), event);
    default: return open_array(parser, (uint64_t)length, event);
    }
}

static enum reply_event_type take_resp_line(struct reply_parser *parser, struct slice line,
                                            struct reply_event *event)
{
    if (line.size == 0) {
        return REPLY_BROKEN;
    }
    struct slice rest = slice_from(line, 1);
    switch (line.data[0]) {
    case '-':
        parser->status = REPLY_STATUS_ERROR;
        event->bytes = rest;
        return finish_element(parser, event);
    case '+':
    case ':':
    case ',':
    case '#':
    case '(': event->bytes = rest; return finish_element(parser, event);
    case '_': return missing_value(parser);
    case '$':
    case '=':
    case '*':
    case '~':
    case '%': return take_resp_length(parser, line.data[0], rest, event);
    default: return REPLY_BROKEN;
    }
}

/* ---- memcached ------------------------------------------------------------------------------- */

static struct slice take_word(struct slice *line)
{
    const uint8_t *space = line->size > 0 ? memchr(line->data, ' ', line->size) : NULL;
    struct slice word = slice_of(line->data, space ? (size_t)(space - line->data) : line->size);
    *line = slice_from(*line, word.size + 1);
    return word;
}

/* VALUE <key> <flags> <bytes> [<cas>] */
static enum reply_event_type take_memcache_value(struct reply_parser *parser, struct slice line,
                                                 struct reply_event *event)
{
    uint64_t flags, size;
    event->key = take_word(&line);
    if (event->key.size == 0 || !number_parse_uint64(take_word(&line), &flags) ||
        !number_parse_uint64(take_word(&line), &size)) {
        return REPLY_BROKEN;
    }
    return start_value(parser, size, event);
}

/* VA <size> <flags>*: the value, and nothing behind it. */
static enum reply_event_type take_meta_value(struct reply_parser *parser, struct slice line,
                                             struct reply_event *event)
{
    uint64_t size;
    return number_parse_uint64(take_word(&line), &size) ? start_value(parser, size, event)
                                                        : REPLY_BROKEN;
}

static const struct {
    const char *word;
    enum reply_status status;
} memcache_words[] = {
    {"HD", REPLY_STATUS_OK},
    {"EN", REPLY_STATUS_OK},
    {"MN", REPLY_STATUS_OK},
    {"NS", REPLY_STATUS_NOT},
    {"NF", REPLY_STATUS_NOT},
    {"EX", REPLY_STATUS_NOT},
    {"END", REPLY_STATUS_OK},
    {"STORED", REPLY_STATUS_OK},
    {"OK", REPLY_STATUS_OK},
    {"DELETED", REPLY_STATUS_OK},
    {"TOUCHED", REPLY_STATUS_OK},
    {"VERSION", REPLY_STATUS_OK},
    {"NOT_STORED", REPLY_STATUS_NOT},
    {"NOT_FOUND", REPLY_STATUS_NOT},
    {"EXISTS", REPLY_STATUS_NOT},
    {"ERROR", REPLY_STATUS_ERROR},
    {"CLIENT_ERROR", REPLY_STATUS_ERROR},
    {"SERVER_ERROR", REPLY_STATUS_ERROR},
};

static enum reply_event_type take_memcache_line(struct reply_parser *parser, struct slice line,
                                                struct reply_event *event)
{
    struct slice rest = line, word = take_word(&rest);
    uint64_t number;
    if (slice_equal(word, SLICE_LITERAL("VALUE"))) {
        return take_memcache_value(parser, rest, event);
    }
    if (parser->protocol == REPLY_META && slice_equal(word, SLICE_LITERAL("VA"))) {
        return take_meta_value(parser, rest, event);
    }
    event->bytes = line;
    for (size_t i = 0; i < sizeof(memcache_words) / sizeof(memcache_words[0]); i++) {
        if (slice_equal(word, slice_of_string(memcache_words[i].word))) {
            parser->status = memcache_words[i].status;
            return finish_reply(parser, event);
        }
    }
    return number_parse_uint64(word, &number) ? finish_reply(parser, event) : REPLY_BROKEN;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static enum reply_event_type step_line(struct reply_parser *parser, struct slice *input,
                                       struct reply_event *event)
{
    struct slice line;
    switch (take_line(parser, input, &line)) {
    case LINE_PARTIAL: return REPLY_NEED_MORE;
    case LINE_BROKEN: return REPLY_BROKEN;
    case LINE_COMPLETE: break;
    }
    return parser->protocol == REPLY_RESP ? take_resp_line(parser, line, event)
                                          : take_memcache_line(parser, line, event);
}

static enum reply_event_type step_value(struct reply_parser *parser, struct slice *input,
                                        struct reply_event *event)
{
    if (parser->value_left == 0) {
        parser->state = REPLY_STATE_VALUE_CRLF;
        parser->crlf_left = 2;
        return REPLY_VALUE_END;
    }
    if (input->size == 0) {
        return REPLY_NEED_MORE;
    }
    size_t size = input->size < parser->value_left ? input->size : (size_t)parser->value_left;
    event->bytes = slice_of(input->data, size);
    parser->value_left -= size;
    *input = slice_from(*input, size);
    return REPLY_VALUE_BYTES;
}

static enum reply_event_type step_value_crlf(struct reply_parser *parser, struct slice *input)
{
    for (; parser->crlf_left > 0; parser->crlf_left--) {
        if (input->size == 0) {
            return REPLY_NEED_MORE;
        }
        if (input->data[0] != "\n\r"[parser->crlf_left - 1]) {
            return REPLY_BROKEN;
        }
        *input = slice_from(*input, 1);
    }
    /* memcached's get: more values or END follow in lines of their own. */
    parser->state = parser->protocol == REPLY_MEMCACHE ? REPLY_STATE_LINE : REPLY_STATE_ELEMENT_END;
    return REPLY_NOTHING;
}

enum reply_event_type reply_next(struct reply_parser *parser, struct slice *input,
                                 struct reply_event *event)
{
    enum reply_event_type type = REPLY_NOTHING;
    *event = (struct reply_event){0};
    while (type == REPLY_NOTHING) {
        switch (parser->state) {
        case REPLY_STATE_LINE: type = step_line(parser, input, event); break;
        case REPLY_STATE_VALUE: type = step_value(parser, input, event); break;
        case REPLY_STATE_VALUE_CRLF: type = step_value_crlf(parser, input); break;
        case REPLY_STATE_ELEMENT_END: type = finish_element(parser, event); break;
        }
    }
    return type;
}
