#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/reply.h"

static struct reply_parser parser;
static uint8_t line[REPLY_LINE_BYTES_MAX];
static char script[65536];
static size_t script_size;

static void note(const char *what, struct slice bytes)
{
    script_size += (size_t)snprintf(script + script_size, sizeof(script) - script_size, "%s%.*s",
                                    what, (int)bytes.size, (const char *)bytes.data);
}

/* The events of one piece of input, as text; false when the parser broke. The pieces of a value run
 * together, so that the text does not depend on the cuts. */
static bool feed(struct slice input)
{
    struct reply_event event;
    char number[32];
    /* A heap copy of just these bytes: ASan sees whoever reads beyond. */
    uint8_t *copy = malloc(input.size + 1);
    if (input.size > 0) {
        memcpy(copy, input.data, input.size);
    }
    struct slice rest = slice_of(copy, input.size);
    for (;;) {
        enum reply_event_type type = reply_next(&parser, &rest, &event);
        switch (type) {
        case REPLY_VALUE_START:
            snprintf(number, sizeof(number), "%u[", (unsigned)event.size);
            note(" ", event.key);
            note(number, slice_of("", 0));
            break;
        case REPLY_VALUE_BYTES: note("", event.bytes); break;
        case REPLY_VALUE_END: note("]", slice_of("", 0)); break;
        case REPLY_VALUE_MISSING: note(" -", slice_of("", 0)); break;
        case REPLY_DONE:
            note(event.status == REPLY_STATUS_OK      ? " OK:"
                 : event.status == REPLY_STATUS_ERROR ? " ERROR:"
                                                      : " NOT:",
                 event.bytes);
            break;
        case REPLY_BROKEN:
            note(" BROKEN", slice_of("", 0));
            free(copy);
            return false;
        case REPLY_NEED_MORE:
            assert_int_equal(rest.size, 0);
            free(copy);
            return true;
        case REPLY_NOTHING: fail();
        }
    }
}

static void start(enum reply_protocol protocol)
{
    reply_parser_init(&parser, protocol, line);
    script_size = 0;
    script[0] = '\0';
}

static void check(enum reply_protocol protocol, const char *text, const char *expected)
{
    struct slice input = slice_of_string(text);
    start(protocol);
    feed(input);
    assert_string_equal(script, expected);
    for (size_t cut = 0; cut <= input.size; cut++) {
        start(protocol);
        if (feed(slice_of(input.data, cut))) {
            feed(slice_from(input, cut));
        }
        assert_string_equal(script, expected);
    }
    start(protocol);
    for (size_t i = 0; i < input.size && feed(slice_of(input.data + i, 1)); i++) {
    }
    assert_string_equal(script, expected);
}

static void test_resp(void **state)
{
    (void)state;
    check(REPLY_RESP, "+OK\r\n+PONG\r\n", " OK:OK OK:PONG");
    check(REPLY_RESP, "-ERR no\r\n:12\r\n", " ERROR:ERR no OK:12");
    check(REPLY_RESP, "$5\r\nhe\r\no\r\n$0\r\n\r\n$-1\r\n", " 5[he\r\no] OK: 0[] OK: - OK:");
    check(REPLY_RESP, "*3\r\n$1\r\na\r\n$-1\r\n$2\r\nbc\r\n+x\r\n", " 1[a] - 2[bc] OK: OK:x");
    check(REPLY_RESP, "*0\r\n*-1\r\n_\r\n", " OK: - OK: - OK:");
    check(REPLY_RESP, "*2\r\n*1\r\n:1\r\n*2\r\n$1\r\na\r\n-E\r\n,1.5\r\n", " 1[a] ERROR:E OK:1.5");
    check(REPLY_RESP, "%1\r\n+a\r\n#t\r\n~1\r\n(12\r\n=5\r\ntxt:a\r\n", " OK:t OK:12 5[txt:a] OK:");
}

static void test_memcache(void **state)
{
    (void)state;
    check(REPLY_MEMCACHE, "STORED\r\nNOT_STORED\r\nEND\r\n", " OK:STORED NOT:NOT_STORED OK:END");
    check(REPLY_MEMCACHE, "VALUE k1 0 3\r\na\r\n\r\nVALUE k2 7 0 99\r\n\r\nEND\r\nOK\r\n",
          " k13[a\r\n] k20[] OK:END OK:OK");
    check(REPLY_MEMCACHE, "VERSION 1.6.18\r\n17\r\nERROR\r\nSERVER_ERROR out of memory\r\n",
          " OK:VERSION 1.6.18 OK:17 ERROR:ERROR ERROR:SERVER_ERROR out of memory");
}

static void test_meta(void **state)
{
    (void)state;
    check(REPLY_META, "HD\r\nEN\r\nNS\r\nMN\r\n", " OK:HD OK:EN NOT:NS OK:MN");
    check(REPLY_META, "VA 3 f0\r\na\r\n\r\nVA 0\r\n\r\nEN\r\n", " 3[a\r\n] OK: 0[] OK: OK:EN");
    check(REPLY_META, "VA x\r\n", " BROKEN");
    check(REPLY_MEMCACHE, "VA 1\r\n", " BROKEN");
}

static void test_broken(void **state)
{
    (void)state;
    static const char *const resp[] = {"x\r\n",
                                       "\r\n",
                                       "$x\r\n",
                                       "$-2\r\n",
                                       "$999999999999\r\n",
                                       "$1\r\nabc",
                                       "$1\r\na\rb",
                                       "+OK\n",
                                       "*-2\r\n",
                                       "*99999999\r\n",
                                       "$ 1\r\n",
                                       "$01\r\na\r\n",
                                       "*9999999999999999999\r\n",
                                       "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"};
    static const char *const memcache[] = {"NONSENSE\r\n",
                                           "VALUE\r\n",
                                           "VALUE k\r\n",
                                           "VALUE k 0\r\n",
                                           "VALUE k 0 x\r\n",
                                           "VALUE k 0 -1\r\n",
                                           "VALUE k 0 1\r\nab\r\n",
                                           "VALUE k 0 99999999999\r\n",
                                           "\r\n"};
    for (size_t i = 0; i < sizeof(resp) / sizeof(resp[0]); i++) {
        check(REPLY_RESP, resp[i], i == 5 || i == 6 ? " 1[a] BROKEN" : " BROKEN");
    }
    for (size_t i = 0; i < sizeof(memcache) / sizeof(memcache[0]); i++) {
        check(REPLY_MEMCACHE, memcache[i], i == 6 ? " k1[a] BROKEN" : " BROKEN");
    }
}

/* A line without end is refused, however it comes. */
static void test_endless_line(void **state)
{
    (void)state;
    static char text[2 * REPLY_LINE_BYTES_MAX];
    memset(text, 'a', sizeof(text));
    text[0] = '+';
    for (size_t piece = 1; piece <= sizeof(text); piece *= 2) {
        start(REPLY_RESP);
        size_t offset = 0;
        while (offset < sizeof(text) && feed(slice_of(text + offset, piece))) {
            offset += piece;
        }
        assert_true(offset < sizeof(text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resp),         cmocka_unit_test(test_memcache),
        cmocka_unit_test(test_meta),         cmocka_unit_test(test_broken),
        cmocka_unit_test(test_endless_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
