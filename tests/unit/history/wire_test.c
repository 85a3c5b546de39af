/* Replies of both protocols, cut anywhere; what clients write comes back as the same value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "tests/history/workload.h"

typedef enum wire_result parse_function(struct slice input, struct wire_reply *reply,
                                        size_t *taken);

/* Any shorter front of it is not yet a reply; what follows it is left. */
static struct wire_reply parse_whole(parse_function *parse, const char *text)
{
    char longer[512];
    struct wire_reply reply;
    size_t size = strlen(text), taken;
    snprintf(longer, sizeof(longer), "%s+OK\r\n", text);
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(parse(slice_of(longer, cut), &reply, &taken), WIRE_MORE);
    }
    assert_int_equal(parse(slice_of(longer, strlen(longer)), &reply, &taken), WIRE_DONE);
    assert_int_equal(taken, size);
    return reply;
}

static void assert_broken(parse_function *parse, const char *text)
{
    struct wire_reply reply;
    size_t taken;
    assert_int_equal(parse(slice_of_string(text), &reply, &taken), WIRE_BROKEN);
}

static void test_resp(void **state)
{
    (void)state;
    assert_int_equal(parse_whole(wire_parse_resp, "+OK\r\n").kind, WIRE_STATUS);
    assert_int_equal(parse_whole(wire_parse_resp, "-ERR no\r\n").kind, WIRE_ERROR);
    assert_int_equal(parse_whole(wire_parse_resp, ":-12\r\n").number, -12);
    struct wire_reply one = parse_whole(wire_parse_resp, "$3\r\nv7.\r\n");
    assert_int_equal(one.kind, WIRE_VALUES);
    assert_int_equal(one.values[0].origin, 7);
    struct wire_reply several =
        parse_whole(wire_parse_resp, "*3\r\n$3\r\nv7.\r\n$-1\r\n$6\r\n131075\r\n");
    assert_int_equal(several.value_count, 3);
    assert_true(value_is_absent(several.values[1]));
    assert_int_equal(several.values[2].origin, 2);
    assert_int_equal(value_rank(several.values[2]), 3);
    assert_broken(wire_parse_resp, "?\r\n");
    assert_broken(wire_parse_resp, "+OK\n");
    assert_broken(wire_parse_resp, "$2\r\nabc\r\n");
    assert_broken(wire_parse_resp, "$9999999\r\n");
    assert_broken(wire_parse_resp, "*9\r\n");
    assert_broken(wire_parse_resp, "*1\r\n:1\r\n");
}

static void test_memcache(void **state)
{
    (void)state;
    struct wire_reply hit = parse_whole(wire_parse_memcache, "VALUE key 0 3 77\r\nv7.\r\nEND\r\n");
    assert_int_equal(hit.kind, WIRE_VALUES);
    assert_int_equal(hit.cas, 77);
    assert_int_equal(hit.values[0].origin, 7);
    struct wire_reply miss = parse_whole(wire_parse_memcache, "END\r\n");
    assert_int_equal(miss.value_count, 1);
    assert_true(value_is_absent(miss.values[0]));
    assert_int_equal(parse_whole(wire_parse_memcache, "NOT_STORED\r\n").kind, WIRE_STATUS);
    assert_int_equal(parse_whole(wire_parse_memcache, "SERVER_ERROR out of memory\r\n").kind,
                     WIRE_ERROR);
    assert_broken(wire_parse_memcache, "VALUE key\r\n");
    assert_broken(wire_parse_memcache, "VALUE key 0 3\r\nv7.\r\nMORE\r\n");
}

static void test_values(void **state)
{
    (void)state;
    uint8_t text[VALUE_TEXT_BYTES_MAX + 100], suffix[VALUE_TEXT_BYTES_MAX];
    size_t size = value_write_string(text, 12, 50);
    struct value value = value_of_bytes(slice_of(text, size));
    assert_int_equal(value.origin, 12);
    assert_int_equal(value_length(value), size);
    /* Appended in the model as on the server. */
    size_t more = value_write_suffix(suffix, 34);
    memcpy(text + size, suffix, more);
    struct value grown = value_append(value, slice_of(suffix, more));
    assert_int_equal(grown.bits, value_of_bytes(slice_of(text, size + more)).bits);
    assert_true(value_rank(grown) > value_rank(value));
    /* A number, and a number that was appended to. */
    size = value_write_number(text, 9);
    memcpy(text + size, suffix, more);
    value = value_of_bytes(slice_of(text, size));
    assert_true(value_is_number(value));
    assert_int_equal(value_number(value), 9 << 16);
    assert_int_equal(value_append(value, slice_of(suffix, more)).bits,
                     value_of_bytes(slice_of(text, size + more)).bits);
    /* One byte changed is another value. */
    text[size] ^= 1;
    assert_int_not_equal(value_append(value, slice_of(suffix, more)).bits,
                         value_of_bytes(slice_of(text, size + more)).bits);
    assert_int_equal(value_of_bytes(SLICE_LITERAL("garbage")).origin, ORIGIN_UNKNOWN);
}

/* A request is what its command says, and its reply is read back into it. */
static void test_requests(void **state)
{
    (void)state;
    struct workload workload = {.seed = 3, .random = 3, .group_count = 2};
    struct wire_buffer out = {0};
    struct request request;
    workload_read_group(1, &request);
    workload_compose(&workload, &request, &out);
    assert_memory_equal(out.data, "*9\r\n$4\r\nMGET\r\n$13\r\nhistory:3:1:0\r\n", 34);
    struct operation operation = {.type = OPERATION_INCR, .access_count = 1};
    struct access access = {0};
    struct wire_reply reply = {.kind = WIRE_NUMBER, .number = (5 << 16) + 1};
    assert_true(workload_take_reply(&operation, &access, false, &reply));
    assert_int_equal(access.observed.bits, value_of_number(5 << 16).bits);
    reply.kind = WIRE_STATUS;
    reply.text = SLICE_LITERAL("OK");
    assert_false(workload_take_reply(&operation, &access, false, &reply));
    reply.kind = WIRE_ERROR;
    reply.text = SLICE_LITERAL("OOM command not allowed");
    assert_true(workload_take_reply(&operation, &access, false, &reply));
    assert_int_equal(operation.type, OPERATION_REFUSED);
    free(out.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resp),
        cmocka_unit_test(test_memcache),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
