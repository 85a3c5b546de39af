/* Whatever is asked, exactly one well-formed reply comes back: random command lines over the whole
 * table, in RESP2 and RESP3, with arguments from the edges. Runs from a fixed seed; under the
 * sanitizers it is also a search for memory errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dataplane/base/hash.h"
#include "tests/unit/l7_command/dialogue.h"

#define ROUNDS 20000

/* Skips one reply; NULL when it is malformed or cut. */
static const char *skip_reply(const char *at, const char *end)
{
    const char *line_end = at == NULL ? NULL : memchr(at, '\n', (size_t)(end - at));
    if (line_end == NULL || line_end == at || line_end[-1] != '\r') {
        return NULL;
    }
    long long number = strtoll(at + 1, NULL, 10);
    const char *next = line_end + 1;
    switch (*at) {
    case '+':
    case '-':
    case ':':
    case '_':
    case ',':
    case '#': return next;
    case '$':
    case '=':
        if (number < 0) {
            return next;
        }
        return end - next < number + 2 || memcmp(next + number, "\r\n", 2) != 0 ? NULL
                                                                                : next + number + 2;
    case '*':
    case '~':
    case '%':
        for (long long i = 0; i < (*at == '%' ? 2 * number : number) && next != NULL; i++) {
            next = skip_reply(next, end);
        }
        return next;
    default: return NULL;
    }
}

static uint32_t draw(uint64_t *state, uint32_t below)
{
    return (uint32_t)(random_next(state) >> 33) % below;
}

static struct slice draw_argument(uint64_t *state)
{
    static const char *const words[] = {"k1",
                                        "k2",
                                        "k3",
                                        "",
                                        "0",
                                        "-1",
                                        "1",
                                        "10",
                                        "9223372036854775807",
                                        "-9223372036854775808",
                                        "9223372036854775808",
                                        "1.5",
                                        "nan",
                                        "inf",
                                        "abc",
                                        "EX",
                                        "PX",
                                        "NX",
                                        "XX",
                                        "GET",
                                        "KEEPTTL",
                                        "ID",
                                        "TYPE",
                                        "normal",
                                        "ADDR",
                                        "SKIPME",
                                        "yes",
                                        "ON",
                                        "OFF",
                                        "FILTERBY",
                                        "ACLCAT",
                                        "PATTERN",
                                        "*",
                                        "[",
                                        "\\",
                                        "get",
                                        "client|list",
                                        "MATCH",
                                        "COUNT",
                                        "string",
                                        "all",
                                        "everything",
                                        "lib-name",
                                        "AUTH",
                                        "SETNAME",
                                        "default",
                                        "3",
                                        "2",
                                        "LEN",
                                        "IDX",
                                        "MINMATCHLEN",
                                        "REPLACE",
                                        "DB",
                                        "maxmemory",
                                        "SAMPLES",
                                        "\r\n",
                                        "a\0b"};
    uint32_t i = draw(state, sizeof(words) / sizeof(words[0]));
    return i + 1 == sizeof(words) / sizeof(words[0]) ? slice_of("a\0b", 3)
                                                     : slice_of_string(words[i]);
}

static size_t append(char *to, size_t at, struct slice argument)
{
    at += (size_t)sprintf(to + at, "$%zu\r\n", argument.size);
    memcpy(to + at, argument.data, argument.size);
    memcpy(to + at + argument.size, "\r\n", 2);
    return at + argument.size + 2;
}

/* Names and subcommands mostly from the table, so that handlers are reached. */
static size_t draw_request(uint64_t *state, char *bytes)
{
    const struct command *command = &commands[draw(state, command_count)];
    uint32_t extra = draw(state, 6), named = command->parent == NULL ? 1 : 2;
    size_t at = (size_t)sprintf(bytes, "*%u\r\n", named + extra);
    if (command->parent != NULL) {
        at = append(bytes, at, slice_of_string(command->parent));
        at = append(bytes, at, slice_of_string(command->name + strlen(command->parent) + 1));
    } else {
        at = append(bytes, at, slice_of_string(command->name));
    }
    for (uint32_t i = 0; i < extra; i++) {
        at = append(bytes, at, draw_argument(state));
    }
    return at;
}

static void test_one_reply_for_each_request(void **unused)
{
    (void)unused;
    struct dialogue *d = dialogue_create();
    d->config->enable_debug_command = DEBUG_COMMAND_YES;
    uint64_t state = 4711;
    uint32_t deferred = 0, errors = 0;
    for (int round = 0; round < ROUNDS; round++) {
        char request[2048];
        size_t size = draw_request(&state, request);
        request[size] = '\0';
        d->now.mono_us += 1000;
        d->now.wall_ms += 1;
        dialogue_send_bytes(d, slice_of(request, size));
        if (d->verdict == COMMAND_DEFERRED) {
            assert_int_equal(d->reply_bytes, 0);
            deferred++;
            dialogue_resume(d);
        }
        errors += d->reply[0] == '-';
        if (d->client->reply_mode == CLIENT_REPLY_ON && d->reply_bytes > 0) {
            const char *end = d->reply + d->reply_bytes;
            if (skip_reply(d->reply, end) != end) {
                fail_msg("round %d: %s answered %s", round, request, d->reply);
            }
        }
        if (d->client->reply_mode == CLIENT_REPLY_OFF) {
            assert_int_equal(d->reply_bytes, 0);
            dialogue_expect(d, "CLIENT REPLY ON", "+OK\r\n");
        }
        d->client->close_after_reply = false;
    }
    /* Both ways were taken often enough to mean something. */
    assert_true(deferred > 10 && errors > ROUNDS / 10 && errors < ROUNDS * 9 / 10);
    dialogue_destroy(d);
}

int main(void)
{
    dialogue_setup("random_commands_test");
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_reply_for_each_request)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
