/* memcached binary parser: every opcode and every length that one may not have, every cut, mutants
 * against a naive reader; values that are refused. */
#include "tests/unit/l6_protocol/parse_cases.h"

#define ITEM_BYTES_MAX 310U

static struct memcache_binary_limits limits = {.item_bytes_max = ITEM_BYTES_MAX};

static void run(const struct feed *feed, struct buffer *text)
{
    memcache_binary_transcript(feed, &limits, text);
}

static void reference(struct slice stream, struct buffer *text)
{
    memcache_binary_reference(stream, &limits, text);
}

/* A request with lengths of its own, and a body of as many bytes as they say, up to a bound. */
struct shape {
    uint8_t opcode;
    uint16_t key;
    uint8_t extras;
    uint32_t body;
    uint64_t cas;
};

static void append_request(struct buffer *stream, const struct shape *shape, uint8_t fill)
{
    uint8_t header[MEMCACHE_BINARY_HEADER_BYTES] = {0x80, shape->opcode};
    bytes_write_be16(header + 2, shape->key);
    header[4] = shape->extras;
    bytes_write_be32(header + 8, shape->body);
    bytes_write_be32(header + 12, 0x0a0d0000U | shape->opcode);
    bytes_write_be64(header + 16, shape->cas);
    buffer_append(stream, header, sizeof(header));
    for (uint32_t i = 0; i < shape->body && i < 2000; i++) {
        uint8_t byte = (uint8_t)(fill + i);
        buffer_append(stream, &byte, 1);
    }
}

static void expect_as_reference(const struct buffer *stream)
{
    struct buffer expected = {0};
    struct slice bytes = slice_of(stream->data, stream->size);
    reference(bytes, &expected);
    expect_under_every_cut(run, bytes, 1, buffer_text(&expected));
    buffer_free(&expected);
}

static const struct shape valid[] = {
    {0x00, 3, 0, 3, 0},     {0x01, 3, 8, 16, 0},  {0x01, 3, 8, 11, 7},    {0x02, 3, 8, 16, 7},
    {0x03, 250, 8, 258, 0}, {0x04, 3, 0, 3, 9},   {0x05, 3, 20, 23, 0},   {0x06, 1, 20, 21, 3},
    {0x08, 0, 0, 0, 0},     {0x08, 0, 4, 4, 0},   {0x09, 250, 0, 250, 0}, {0x0a, 0, 0, 0, 0},
    {0x0b, 0, 0, 0, 0},     {0x0c, 3, 0, 3, 0},   {0x0d, 3, 0, 3, 0},     {0x0e, 3, 0, 9, 0},
    {0x0f, 3, 0, 3, 5},     {0x10, 0, 0, 0, 0},   {0x10, 8, 0, 8, 0},     {0x11, 3, 8, 40, 1},
    {0x12, 3, 8, 16, 0},    {0x13, 3, 8, 16, 0},  {0x14, 3, 0, 3, 0},     {0x15, 3, 20, 23, 0},
    {0x16, 3, 20, 23, 0},   {0x18, 0, 4, 4, 0},   {0x19, 3, 0, 9, 0},     {0x1a, 3, 0, 9, 0},
    {0x1c, 3, 4, 7, 0},     {0x1d, 3, 4, 7, 0},   {0x1e, 3, 4, 7, 0},     {0x20, 0, 0, 0, 0},
    {0x21, 5, 0, 25, 0},    {0x22, 5, 0, 5, 0},   {0x23, 3, 4, 7, 0},     {0x24, 3, 4, 7, 0},
    {0x07, 0, 0, 0, 0},     {0x17, 0, 0, 0, 0},   {0x01, 3, 8, 253, 0},   {0x01, 3, 8, 300, 0},
    {0x11, 3, 8, 1500, 0},  {0x0e, 3, 0, 254, 0}, {0x0e, 3, 0, 255, 0},   {0xf0, 0, 0, 0, 0},
    {0xf0, 3, 2, 20, 0},    {0x1b, 0, 4, 4, 0},   {0x25, 0, 0, 700, 0},
};

/* Each between two others, so that it is seen where it ends. */
static void test_valid_requests_under_every_cut(void **state)
{
    static const struct shape noop = {0x0a, 0, 0, 0, 0};
    for (size_t i = 0; i < CASE_COUNT(valid); i++) {
        struct buffer stream = {0};
        append_request(&stream, &noop, 0);
        append_request(&stream, &valid[i], 'a');
        append_request(&stream, &noop, 0);
        expect_as_reference(&stream);
        buffer_free(&stream);
    }
}

/* Whatever the lengths say, no opcode reads beyond them. */
static void test_lengths_of_every_opcode(void **state)
{
    static const struct shape shapes[] = {
        {0, 0, 0, 0, 0},
        {0, 3, 0, 3, 0},
        {0, 3, 0, 4, 0},
        {0, 0, 4, 4, 0},
        {0, 3, 4, 7, 0},
        {0, 3, 4, 8, 0},
        {0, 3, 8, 11, 0},
        {0, 0, 8, 9, 0},
        {0, 3, 20, 23, 0},
        {0, 3, 20, 24, 0},
        {0, 3, 0, 2, 0},
        {0, 3, 8, 10, 0},
        {0, 251, 0, 251, 0},
        {0, 251, 8, 300, 0},
        {0, 9, 0, 5000, 0},
        {0, 0, 0, UINT32_MAX, 0},
        {0, 65535, 255, UINT32_MAX, 0},
    };
    for (unsigned opcode = 0; opcode < 0x30; opcode++) {
        for (size_t i = 0; i < CASE_COUNT(shapes); i++) {
            struct buffer stream = {0}, expected = {0};
            struct shape shape = shapes[i];
            shape.opcode = (uint8_t)opcode;
            append_request(&stream, &shape, 1);
            append_request(&stream, &valid[0], 'k');
            struct slice bytes = slice_of(stream.data, stream.size);
            reference(bytes, &expected);
            expect_under_every_cut(run, bytes, stream.size > 200 ? 97 : 1, buffer_text(&expected));
            buffer_free(&stream);
            buffer_free(&expected);
        }
    }
}

static void test_before_the_login(void **state)
{
    limits.login_needed = true;
    test_lengths_of_every_opcode(state);
    test_valid_requests_under_every_cut(state);
    limits.login_needed = false;
}

static void test_samples(void **state)
{
    static const struct {
        const char *input;
        size_t size;
        const char *expected;
    } samples[] = {
        {SAMPLE("\x80"), "left 1\n"},
        {SAMPLE("\x81"), "fatal \n"},
        {SAMPLE("get a\r\n"), "fatal \n"},
        {SAMPLE("\x80\x0d\0\x01\0\0\0\0\0\0\0\x01opaq\0\0\0\0\0\0\0\x05kget"),
         "#0d 6f706171 quiet key get f0 e0 c5 d0 k||\nfatal \n"},
        {SAMPLE("\x80\x11\0\x01\x08\0\0\0\0\0\0\x0bopaq\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\x09kvw"),
         "#11 6f706171 quiet is-set set f7 e9 c0 d0 k|vw|\nleft 0\n"},
        {SAMPLE("\x80\x02\0\x01\x08\0\0\0\0\0\0\x0bopaq\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0kvw"),
         "#02 6f706171 cas f0 e0 c1 d0 k|vw|\nleft 0\n"},
        {SAMPLE("\x80\x15\0\x01\x14\0\0\0\0\0\0\x15opaq\0\0\0\0\0\0\0\0"
                "\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04\0\0\0\x05k"),
         "#15 6f706171 quiet from 4 incr f0 e5 c0 d3 k||\nleft 0\n"},
        {SAMPLE("\x80\x15\0\x01\x14\0\0\0\0\0\0\x15opaq\0\0\0\0\0\0\0\0"
                "\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04\xff\xff\xff\xffk"),
         "#15 6f706171 quiet incr f0 e4294967295 c0 d3 k||\nleft 0\n"},
        {SAMPLE("\x80\0\0\0\0\0\0\0\xff\xff\xff\xffopaq\0\0\0\0\0\0\0\0more"),
         "#00 6f706171 closes status 04 refused f0 e0 c0 d0 |\nleft 0\n"},
        {SAMPLE("\x80\x21\0\x05\0\0\0\0\0\0\0\x08opaq\0\0\0\0\0\0\0\0PLAIN\0u\0"),
         "#21 6f706171 sasl_auth f0 e0 c0 d0 \\x00u\\x00|PLAIN\nleft 0\n"},
    };
    for (size_t i = 0; i < CASE_COUNT(samples); i++) {
        expect_under_every_cut(run, slice_of(samples[i].input, samples[i].size), 1,
                               samples[i].expected);
    }
}

/* Three requests with a few bytes changed, cut at random. */
static void test_mutants_as_the_reference(void **state)
{
    uint64_t random = 0x9E3779B97F4A7C15U;
    for (unsigned round = 0; round < 30000; round++) {
        struct buffer stream = {0}, expected = {0}, text = {0};
        for (unsigned i = 0; i < 3; i++) {
            append_request(&stream, &valid[random_next(&random) % CASE_COUNT(valid)], 'a');
        }
        mutate(&stream, &random, "\1\2\3\4\5\7\10\24\40\200\201\377abck");
        struct slice bytes = slice_of(stream.data, stream.size);
        reference(bytes, &expected);
        size_t cuts[8];
        struct feed feed = {bytes, cuts, random_cuts(bytes.size, cuts, 8, &random),
                            random_next(&random) % 4};
        run(&feed, &text);
        assert_string_equal(buffer_text(&text), buffer_text(&expected));
        buffer_free(&text);
        buffer_free(&expected);
        buffer_free(&stream);
    }
}

static struct memcache_parse_result parse(struct memcache_binary_parser *parser, struct slice input,
                                          struct memcache_request *request)
{
    static const struct memcache_binary_limits large = {.item_bytes_max = 1 << 20};
    struct memcache_parse_result result;
    memcache_binary_parse(parser, &large, input, request, &result);
    return result;
}

static void test_refused_value(void **state)
{
    struct memcache_binary_parser parser = {0};
    struct memcache_request request;
    struct buffer stream = {0};
    append_request(&stream, &(struct shape){0x01, 3, 8, 20011, 0}, 'a');
    struct slice head = slice_of(stream.data, 24 + 11 + 5);
    struct memcache_parse_result result = parse(&parser, head, &request);
    assert_int_equal(result.verdict, PARSE_PARTIAL);
    assert_int_equal(result.bulk_offset, 35);
    assert_int_equal(result.bulk_bytes, 20000);
    assert_int_equal(result.wanted_bytes, 20035);
    /* The input may have moved since. */
    uint8_t *moved = malloc(head.size);
    memcpy(moved, head.data, head.size);
    struct slice key = memcache_binary_awaited_key(&parser, slice_of(moved, head.size));
    assert_ptr_equal(key.data, moved + 24 + 8);
    assert_int_equal(key.size, 3);
    free(moved);
    memcache_binary_refuse_value(&parser);
    result = parse(&parser, head, &request);
    assert_int_equal(result.verdict, PARSE_COMPLETE);
    assert_int_equal(result.consumed, 35);
    assert_true(request.value_refused && request.binary.is_set);
    assert_int_equal(request.verb, MEMCACHE_SET);

    static uint8_t rest[20024];
    memset(rest, 0x81, sizeof(rest));
    result = parse(&parser, slice_of(rest, 19000), &request);
    assert_int_equal(result.verdict, PARSE_NOTHING);
    assert_int_equal(result.consumed, 19000);
    memcpy(rest + 1000, "\x80\x0a\0\0\0\0\0\0\0\0\0\0opaq\0\0\0\0\0\0\0\0", 24);
    result = parse(&parser, slice_of(rest, 1024), &request);
    assert_int_equal(result.verdict, PARSE_NOTHING);
    assert_int_equal(result.consumed, 1000);
    result = parse(&parser, slice_of(rest + 1000, 24), &request);
    assert_int_equal(result.verdict, PARSE_COMPLETE);
    assert_int_equal(request.verb, MEMCACHE_NOOP);
    buffer_free(&stream);
}

/* The limit that counts is that of the moment when the value begins. */
static void test_limit_that_falls_meanwhile(void **state)
{
    static const struct memcache_binary_limits small = {.item_bytes_max = 100};
    static uint8_t value[20000];
    struct memcache_binary_parser parser = {0};
    struct memcache_request request;
    struct memcache_parse_result result;
    struct buffer stream = {0};
    append_request(&stream, &(struct shape){0x01, 3, 8, 20011, 0}, 'a');
    result = parse(&parser, slice_of(stream.data, 100), &request);
    assert_int_equal(result.verdict, PARSE_PARTIAL);
    memcache_binary_supply_value(&parser, slice_of(value, sizeof(value)));
    memcache_binary_parse(&parser, &small, slice_of(stream.data, 35), &request, &result);
    assert_int_equal(result.verdict, PARSE_COMPLETE);
    assert_false(request.value_too_large);
    assert_ptr_equal(request.value.data, value);
    buffer_free(&stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_valid_requests_under_every_cut),
        cmocka_unit_test(test_lengths_of_every_opcode),
        cmocka_unit_test(test_before_the_login),
        cmocka_unit_test(test_mutants_as_the_reference),
        cmocka_unit_test(test_refused_value),
        cmocka_unit_test(test_limit_that_falls_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
