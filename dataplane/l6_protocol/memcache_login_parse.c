#include "dataplane/l6_protocol/memcache_login_parse.h"

#include <stdio.h>

#include "dataplane/l6_protocol/memcache_text.h"

static void finish(enum parse_verdict verdict, const char *error, size_t consumed,
                   struct memcache_parse_result *result)
{
    result->verdict = verdict;
    result->consumed = consumed;
    (void)snprintf(result->error, sizeof(result->error), "%s", error);
}

/* False: the line is no such set. */
static bool read_line(struct slice line, uint32_t *value_bytes)
{
    const uint8_t *at = line.data, *end = line.data + line.size;
    struct slice word = memcache_next_word(&at, end);
    bool is_set = slice_equal(word, SLICE_LITERAL("set"));
    for (uint32_t i = 0; i < 4; i++) {
        word = memcache_next_word(&at, end);
    }
    return is_set && word.size > 0 && memcache_read_uint32(word, value_bytes) &&
           *value_bytes <= MEMCACHE_LOGIN_BYTES_MAX;
}

static void take_value(struct slice input, size_t offset, uint32_t value_bytes,
                       struct memcache_request *request, struct memcache_parse_result *result)
{
    size_t end = offset + value_bytes;
    if (input.size < end + 2) {
        result->verdict = PARSE_PARTIAL;
        result->wanted_bytes = end + 2;
    } else if (input.data[end] != '\r' || input.data[end + 1] != '\n') {
        finish(PARSE_ERROR, "CLIENT_ERROR bad command line termination", end + 2, result);
    } else {
        *request = (struct memcache_request){.verb = MEMCACHE_LOGIN,
                                             .value = slice_of(input.data + offset, value_bytes)};
        finish(PARSE_COMPLETE, "", end + 2, result);
    }
}

void memcache_login_parse(struct slice input, struct memcache_request *request,
                          struct memcache_parse_result *result)
{
    result->consumed = 0;
    result->wanted_bytes = result->bulk_offset = result->bulk_bytes = 0;
    result->error[0] = '\0';
    size_t searched =
        input.size < MEMCACHE_LOGIN_LINE_BYTES_MAX ? input.size : MEMCACHE_LOGIN_LINE_BYTES_MAX;
    const uint8_t *line_feed = searched == 0 ? NULL : memchr(input.data, '\n', searched);
    if (line_feed == NULL && searched < MEMCACHE_LOGIN_LINE_BYTES_MAX) {
        result->verdict = PARSE_PARTIAL;
        return;
    }
    if (line_feed == NULL) {
        finish(PARSE_FATAL, "", input.size, result);
        return;
    }
    size_t line_bytes = (size_t)(line_feed - input.data);
    uint32_t value_bytes;
    if (read_line(slice_of(input.data, line_bytes), &value_bytes)) {
        take_value(input, line_bytes + 1, value_bytes, request, result);
    } else {
        finish(PARSE_ERROR, "CLIENT_ERROR unauthenticated", line_bytes + 1, result);
    }
}
