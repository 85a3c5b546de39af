/* RESP request parser: tables of what redis-server answers, every cut, mutants against a naive
 * reader. */
#include "tests/unit/l6_protocol/parse_cases.h"

static struct resp_limits limits;

static void run(const struct feed *feed, struct buffer *text)
{
    resp_transcript(feed, &limits, text);
}

static void reference(struct slice stream, struct buffer *text)
{
    resp_reference(stream, &limits, text);
}

static int setup(void **state)
{
    limits = (struct resp_limits){1000000, true};
    return 0;
}

struct sample {
    const char *input;
    size_t size;
    const char *expected;
};

#define ERR "fatal ERR Protocol error: "

static const struct sample samples[] = {
    /* Requests. */
    {SAMPLE("*1\r\n$4\r\nPING\r\n"), "PING|\nleft 0\n"},
    {SAMPLE("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n"), "GET|k|\nPING|\nleft 0\n"},
    {SAMPLE("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$12\r\nhello\r\nworld\r\n*3"),
     "SET|key|hello\\x0d\\x0aworld|\nleft 2\n"},
    {SAMPLE("*1\r\n$0\r\n\r\n"), "|\nleft 0\n"},
    {SAMPLE("*2\r\n$1\r\na\r\n$0\r\n\r\n*1\r\n$4\r\n\0\xff\r\n\r\n"),
     "a||\n\\x00\\xff\\x0d\\x0a|\nleft 0\n"},
    {SAMPLE("*1\r\n$10\r\n0123456789\r\n"), "0123456789|\nleft 0\n"},
    {SAMPLE(
         "*20\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n$1"
         "\r\nh\r\n$1\r\ni\r\n$1\r\nj\r\n$1\r\nk\r\n$1\r\nl\r\n$1\r\nm\r\n$1\r\nn\r\n$1\r\no\r\n$1"
         "\r\np\r\n$1\r\nq\r\n$1\r\nr\r\n$1\r\ns\r\n$1\r\nt\r\n*1\r\n$1\r\nz\r\n"),
     "a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q|r|s|t|\nz|\nleft 0\n"},
    /* Nothing to do. */
    {SAMPLE("*0\r\n*-1\r\n*-10\r\nPING\r\n"), "PING|\nleft 0\n"},
    {SAMPLE("\r\n\n  \r\n\t\v\f\nPING\r\n"), "PING|\nleft 0\n"},
    /* The bytes behind CR and behind a payload are not looked at. */
    {SAMPLE("*1\rx$4\rzPINGabPING\r\n"), "PING|\nPING|\nleft 0\n"},
    /* Not complete. */
    {SAMPLE("*"), "left 1\n"},
    {SAMPLE("*12"), "left 3\n"},
    {SAMPLE("*1\r"), "left 3\n"},
    {SAMPLE("*1\r\nx"), "left 5\n"},
    {SAMPLE("*2147483647\r\n"), "left 13\n"},
    {SAMPLE("*2\r\n$4\r\nECHO\r\n$1000000\r\nab"), "left 26\n"},
    {SAMPLE("*1\0\r\n$4\r\nPING\r\n"), "left 15\n"},
    {SAMPLE("PI\0NG\r\nPING\r\n"), "left 13\n"},
    {SAMPLE("*1\r\n$1\0\r\na\r\n"), "left 12\n"},
    /* Count line. */
    {SAMPLE("*\r\n"), ERR "invalid multibulk length\n"},
    {SAMPLE("*+1\r\n"), ERR "invalid multibulk length\n"},
    {SAMPLE("*01\r\n"), ERR "invalid multibulk length\n"},
    {SAMPLE("*1x\r\n"), ERR "invalid multibulk length\n"},
    {SAMPLE("* 1\r\n"), ERR "invalid multibulk length\n"},
    {SAMPLE("*--1\r\n"), ERR "invalid multibulk length\n"},
    {SAMPLE("*2147483648\r\n"), ERR "invalid multibulk length\n"},
    {SAMPLE("*999999999999999999999999999999\r\n"), ERR "invalid multibulk length\n"},
    {SAMPLE("*1\r\n$4\r\nPING\r\n*x\r\nPING\r\n"), "PING|\n" ERR "invalid multibulk length\n"},
    /* Length lines. */
    {SAMPLE("*1\r\nx\r\n"), ERR "expected '$', got 'x'\n"},
    {SAMPLE("*1\r\n\r\n"), ERR "expected '$', got ' '\n"},
    {SAMPLE("*1\r\n\n\r\n"), ERR "expected '$', got ' '\n"},
    {SAMPLE("*1\r\n:4\r\nPING\r\n"), ERR "expected '$', got ':'\n"},
    {SAMPLE("*1\r\n\1abc\r\n"), ERR "expected '$', got '\1'\n"},
    {SAMPLE("*1\r\n$-1\r\n"), ERR "invalid bulk length\n"},
    {SAMPLE("*1\r\n$\r\n"), ERR "invalid bulk length\n"},
    {SAMPLE("*1\r\n$04\r\nPING\r\n"), ERR "invalid bulk length\n"},
    {SAMPLE("*1\r\n$4x\r\nPING\r\n"), ERR "invalid bulk length\n"},
    {SAMPLE("*1\r\n$1000001\r\n"), ERR "invalid bulk length\n"},
    {SAMPLE("*1\r\n$9223372036854775807\r\n"), ERR "invalid bulk length\n"},
    {SAMPLE("*1\r\n$9223372036854775808\r\n"), ERR "invalid bulk length\n"},
    {SAMPLE("*1\r\n$18446744073709551615\r\n"), ERR "invalid bulk length\n"},
    /* Inline. */
    {SAMPLE("PING\n"), "PING|\nleft 0\n"},
    {SAMPLE("  set\tk \v v\r\n"), "set|k|v|\nleft 0\n"},
    {SAMPLE("ECHO a\vb\r\n"), "ECHO|a\\x0bb|\nleft 0\n"},
    {SAMPLE("PING \r\r\n"), "PING|\nleft 0\n"},
    {SAMPLE("a\\n b\r\n"), "a\\x5cn|b|\nleft 0\n"},
    {SAMPLE("PING \"a\\x41\\n\" x\r\n"), "PING|aA\\x0a|x|\nleft 0\n"},
    {SAMPLE("ECHO \"\\xzz\\q\\b\\a\\t\\r\\\"\\\\\\x4\"\r\n"),
     "ECHO|xzzq\\x08\\x07\\x09\\x0d\"\\x5cx4|\nleft 0\n"},
    {SAMPLE("PING 'a\\'b\\n'\r\n"), "PING|a'b\\x5cn|\nleft 0\n"},
    {SAMPLE("PING a\"b\" c'd'\r\n"), "PING|ab|cd|\nleft 0\n"},
    {SAMPLE("ECHO \"\"\r\n\"\"\r\n''\r\n"), "ECHO||\n|\n|\nleft 0\n"},
    {SAMPLE("ECHO 'a' \"b\"\v\"c\"\r\n"), "ECHO|a|b|c|\nleft 0\n"},
    {SAMPLE("PING 'a'b\r\n"), ERR "unbalanced quotes in request\n"},
    {SAMPLE("PING \"a\"b\r\n"), ERR "unbalanced quotes in request\n"},
    {SAMPLE("PING \"a\r\n"), ERR "unbalanced quotes in request\n"},
    {SAMPLE("PING 'a\r\n"), ERR "unbalanced quotes in request\n"},
    {SAMPLE("ECHO \"a\\\r\n"), ERR "unbalanced quotes in request\n"},
    {SAMPLE("ECHO 'a\\'\r\n"), ERR "unbalanced quotes in request\n"},
    {SAMPLE("a b c d e f g h i j k l m n o p q r s t u v w x y z\nz\n"),
     "a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q|r|s|t|u|v|w|x|y|z|\nz|\nleft 0\n"},
    /* Cross-protocol requests close without a word. */
    {SAMPLE("POST / HTTP/1.1\r\nPING\r\n"), "fatal \n"},
    {SAMPLE("host: x\r\n"), "fatal \n"},
    {SAMPLE("*1\r\n$4\r\nPoSt\r\n"), "fatal \n"},
    {SAMPLE("*2\r\n$5\r\nHOST:\r\n$1\r\na\r\n"), "fatal \n"},
    {SAMPLE("PING\r\nPOST /\r\n"), "PING|\nfatal \n"},
    {SAMPLE("hosts x\r\nhost y\r\nposts\r\n"), "hosts|x|\nhost|y|\nposts|\nleft 0\n"},
};

static void test_samples_under_every_cut(void **state)
{
    for (size_t i = 0; i < CASE_COUNT(samples); i++) {
        expect_under_every_cut(run, slice_of(samples[i].input, samples[i].size), 1,
                               samples[i].expected);
    }
}

static void test_samples_as_the_reference(void **state)
{
    for (size_t i = 0; i < CASE_COUNT(samples); i++) {
        struct buffer text = {0};
        reference(slice_of(samples[i].input, samples[i].size), &text);
        assert_string_equal(buffer_text(&text), samples[i].expected);
        buffer_free(&text);
    }
}

static void test_mutants_as_the_reference(void **state)
{
    static const char *const seeds[] = {
        "*1\r\n$4\r\nPING\r\n",
        "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$12\r\nhello\r\nworld\r\n",
        "*2\r\n$3\r\nGET\r\n$10\r\nabcdefghij\r\n",
        "SET key \"va\\x41lue\\n\" 'single \\' quoted' plain\r\n",
        "*0\r\n",
        "PING\n",
        "*4\r\n$4\r\nMSET\r\n$0\r\n\r\n$1\r\n*\r\n$1\r\n$\r\n",
    };
    expect_mutants_as_reference(run, reference, seeds, CASE_COUNT(seeds),
                                "*$0123456789\r\n\"'\\ x-", 30000);
}

static void expect_limit(const char *input, const char *expected)
{
    expect_under_every_cut(run, slice_of_string(input), 1, expected);
}

static void test_unauthenticated_limits(void **state)
{
    limits.authenticated = false;
    expect_limit("*10\r\n", "left 5\n");
    expect_limit("*11\r\n", ERR "unauthenticated multibulk length\n");
    expect_limit("*1\r\n$16384\r\n", "left 12\n");
    expect_limit("*1\r\n$16385\r\n", ERR "unauthenticated bulk length\n");
    expect_limit("*1\r\n$1000001\r\n", ERR "invalid bulk length\n");
    expect_limit("a b c d e f g h i j k l\r\n", "a|b|c|d|e|f|g|h|i|j|k|l|\nleft 0\n");
}

static void expect_long_line(const char *start, size_t filler, const char *end,
                             const char *expected)
{
    struct buffer stream = {0};
    buffer_append(&stream, start, strlen(start));
    for (size_t i = 0; i < filler; i++) {
        buffer_append(&stream, "7", 1);
    }
    buffer_append(&stream, end, strlen(end));
    expect_under_every_cut(run, slice_of(stream.data, stream.size), 16411, expected);
    buffer_free(&stream);
}

static void test_lines_of_64_kib(void **state)
{
    char expected[32];
    expect_long_line("*", 65535, "", "left 65536\n");
    expect_long_line("*", 65535, "\r\n", ERR "invalid multibulk length\n");
    expect_long_line("*", 65536, "\r\n", ERR "too big mbulk count string\n");
    expect_long_line("*", 65536, "", ERR "too big mbulk count string\n");
    expect_long_line("*1\r\n$", 65535, "\r\n", ERR "invalid bulk length\n");
    expect_long_line("*1\r\n$", 65536, "\r\n", ERR "too big bulk count string\n");
    expect_long_line("'", 65536, "\n", ERR "too big inline request\n");
    expect_long_line("\"", 65534, "\"", "left 65536\n");
    expect_long_line("\"", 65534, "\"x\n", ERR "too big inline request\n");
    (void)snprintf(expected, sizeof(expected), "left %d\n", 65536);
    expect_long_line("", 65536, "", expected);
}

/* Ten thousand arguments, cut into small pieces: the table grows, offsets stay right. */
static void test_many_arguments(void **state)
{
    struct buffer stream = {0}, expected = {0};
    buffer_print(&stream, "*10000\r\n");
    for (int i = 0; i < 10000; i++) {
        buffer_print(&stream, "$%d\r\n%d\r\n", i < 10 ? 1 : i < 100 ? 2 : i < 1000 ? 3 : 4, i);
        buffer_print(&expected, "%d|", i);
    }
    buffer_print(&expected, "\nPING|\nleft 0\n");
    buffer_print(&stream, "PING\r\n");
    expect_under_every_cut(run, slice_of(stream.data, stream.size), 13007, buffer_text(&expected));
    buffer_free(&stream);
    buffer_free(&expected);
}

/* What a session relies on when it receives a bulk into its own memory. */
static void test_partial_bulk_is_described(void **state)
{
    struct resp_parser parser;
    struct resp_request request;
    struct resp_parse_result result;
    resp_parser_init(&parser);
    const char head[] = "*4\r\n$4\r\nMSET\r\n$1\r\nk\r\n$50000\r\nabc";
    resp_parse(&parser, &limits, slice_of_string(head), &request, &result);
    assert_int_equal(result.verdict, PARSE_PARTIAL);
    assert_int_equal(result.bulk_offset, strlen(head) - 3);
    assert_int_equal(result.bulk_bytes, 50000);
    assert_int_equal(result.wanted_bytes, strlen(head) - 3 + 50002);

    static uint8_t payload[50000];
    memset(payload, 'v', sizeof(payload));
    resp_parser_supply_bulk(&parser, slice_of(payload, sizeof(payload)));
    const char rest[] = "*4\r\n$4\r\nMSET\r\n$1\r\nk\r\n$50000\r\n\r\n$1\r\nx\r\n*1\r\n";
    resp_parse(&parser, &limits, slice_of(rest, strlen(head) - 3), &request, &result);
    assert_int_equal(result.verdict, PARSE_PARTIAL);
    assert_int_equal(result.bulk_bytes, 0);
    assert_int_equal(result.wanted_bytes, strlen(head) - 3 + 2);
    resp_parse(&parser, &limits, slice_of_string(rest), &request, &result);
    assert_int_equal(result.verdict, PARSE_COMPLETE);
    assert_int_equal(result.consumed, strlen(rest) - 4);
    assert_int_equal(request.argument_count, 4);
    assert_ptr_equal(request.arguments[2].data, payload);
    assert_int_equal(request.arguments[2].size, sizeof(payload));
    assert_true(slice_equal(request.arguments[1], SLICE_LITERAL("k")));
    assert_true(slice_equal(request.arguments[3], SLICE_LITERAL("x")));
    resp_parser_deinit(&parser);
}

/* What is taken without a parser, as the last bytes of an input of exactly that size;
 * parse_driver.c compares with the parser in all the tests above. */
static void test_short_requests(void **state)
{
    static const struct {
        const char *input;
        size_t size;
        uint32_t count;
    } cases[] = {
        {SAMPLE("*2\r\n$3\r\nGET\r\n$2\r\nk1\r\n"), 2},
        {SAMPLE("*3\r\n$3\r\nSET\r\n$10\r\n0123456789\r\n$3\r\na\nb\r\n"), 3},
        {SAMPLE("*2\rx$3\rxGETxx$2\rxk1xx"), 2},
        {SAMPLE("*8\r\n$2\r\nab\r\n$2\r\nab\r\n$2\r\nab\r\n$2\r\nab\r\n$2\r\nab\r\n$2\r\nab\r\n"
                "$2\r\nab\r\n$2\r\nab\r\n"),
         8},
        {SAMPLE("*2\r\n$3\r\nGET\r\n$2\r\nk1\r"), 0}, /* too little to look at a length line */
        {SAMPLE("*2\r\n$3\r\nGET\r\n$12\r\nabc"), RESP_SHORT_PARTIAL},
        {SAMPLE("*2\r\n$3\r\nGET\r\n$3\r\nabc\r"), RESP_SHORT_PARTIAL},
        {SAMPLE("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9999\r\nabc"), RESP_SHORT_PARTIAL},
        {SAMPLE("*2\r\n$3\r\nGET\r\n$02\r\nk1\r\n"), 0},
        {SAMPLE("*2\r\n$3\r\nGET\r\n$-1\r\n"), 0},
        {SAMPLE("*2\r\n$3\r\nGET\r\n:12\r\nk1\r\n"), 0},
        {SAMPLE("*2\r\n$3\r\nGET\r\n$2\nk1\r\nabcdef"), 0},
        {SAMPLE("*2\r\n$3\r\nGET\r\n$00000\r\nk1\r\n"), 0},
        {SAMPLE("*2\r\n$3\r\nGET\r\n$10000\r\nk1\r\n"), 0},
        {SAMPLE("*9\r\n$3\r\nGET\r\n"), 0},
        {SAMPLE("*0\r\n$3\r\nGET\r\n"), 0},
        {SAMPLE("*1\r\n$4\r\npoST\r\n"), 0},
        {SAMPLE("*1\r\n$5\r\nHOST:\r\n"), 0},
        {SAMPLE("*1"), 0},
        {SAMPLE("GET k1\r\n"), 0},
    };
    for (size_t i = 0; i < CASE_COUNT(cases); i++) {
        uint8_t *input = malloc(cases[i].size);
        struct slice arguments[RESP_SHORT_ARGUMENTS_MAX];
        size_t consumed = 0;
        assert_non_null(input);
        memcpy(input, cases[i].input, cases[i].size);
        uint32_t count = resp_parse_short(slice_of(input, cases[i].size), arguments, &consumed);
        assert_int_equal(count, cases[i].count);
        assert_true(count - 1 >= RESP_SHORT_ARGUMENTS_MAX || consumed == cases[i].size);
        free(input);
    }
}

/* Reads `text`, from memory of its size, and checks that it is what resp_parse_short reads. */
static void read_next(struct resp_shape *shape, const char *text)
{
    size_t size = strlen(text), consumed = 0, expected_consumed = 0;
    uint8_t *input = malloc(size);
    struct slice arguments[RESP_SHORT_ARGUMENTS_MAX], expected[RESP_SHORT_ARGUMENTS_MAX];
    assert_non_null(input);
    memcpy(input, text, size);
    uint32_t count = resp_parse_next(shape, slice_of(input, size), arguments, &consumed);
    uint32_t expected_count = resp_parse_short(slice_of(input, size), expected, &expected_consumed);
    assert_int_equal(count, expected_count);
    for (uint32_t i = 0; count <= RESP_SHORT_ARGUMENTS_MAX && i < count; i++) {
        assert_ptr_equal(arguments[i].data, expected[i].data);
        assert_int_equal(arguments[i].size, expected[i].size);
        assert_int_equal(consumed, expected_consumed);
    }
    free(input);
}

static void test_a_shape_finds_what_is_read(void **state)
{
    static const char *const first[] = {"*2\r\n$3\r\nGET\r\n$2\r\nk1\r\n",
                                        "*3\r\n$3\r\nSET\r\n$2\r\nk1\r\n$12\r\n0123456789ab\r\n",
                                        "*1\r\n$4\r\nINFO\r\n", "*2\r\n$3\r\nGET\r\n$0\r\n\r\nxx"};
    static const char *const next[] = {
        "*2\r\n$3\r\nGET\r\n$2\r\nk2\r\n",
        "*2\r\n$3\r\nGET\r\n$3\r\nk2x\r\n",
        "*2\r\n$3\r\nGET\r\n$2\nk2x\r\n",
        "*2\r\n$3\r\nGET\r\n$2\r\nk2",
        "*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
        "*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1",
        "*3\r\n$3\r\nSET\r\n$2\r\nk1\r\n$12\r\n$12345$67$9b\r\n*3",
        "*3\r\n$3\r\nSET\r\n$2\r\nk1\r\n$12\r\n0123456789ab\r",
        "*3\r\n$3\r\nSET\r\n$2\r\nk1\r\n$11\r\n0123456789a\r\nx",
        "*1\r\n$4\r\nECHO\r\n",
        "*1\r\n$4\r\nPOST\r\n",
        "*9\r\n$4\r\nINFO\r\n",
    };
    for (size_t i = 0; i < CASE_COUNT(first); i++) {
        for (size_t j = 0; j < CASE_COUNT(next); j++) {
            struct resp_shape shape = {0};
            read_next(&shape, first[i]);
            assert_int_not_equal(shape.argument_count, 0);
            read_next(&shape, next[j]);
        }
    }
}

static void test_a_shape_that_differs_pauses(void **state)
{
    struct resp_shape shape = {0};
    read_next(&shape, "*2\r\n$3\r\nGET\r\n$2\r\nk1\r\n");
    read_next(&shape, "*2\r\n$3\r\nGET\r\n$3\r\nk12\r\n");
    for (uint32_t i = 0; i < RESP_SHAPE_PAUSE; i++) {
        assert_int_equal(shape.argument_count, 0);
        read_next(&shape, "*1\r\n$4\r\nINFO\r\n");
    }
    assert_int_equal(shape.argument_count, 0);
    read_next(&shape, "*1\r\n$4\r\nINFO\r\n");
    assert_int_equal(shape.argument_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_samples_under_every_cut, setup),
        cmocka_unit_test_setup(test_samples_as_the_reference, setup),
        cmocka_unit_test_setup(test_mutants_as_the_reference, setup),
        cmocka_unit_test_setup(test_unauthenticated_limits, setup),
        cmocka_unit_test_setup(test_lines_of_64_kib, setup),
        cmocka_unit_test_setup(test_many_arguments, setup),
        cmocka_unit_test_setup(test_partial_bulk_is_described, setup),
        cmocka_unit_test(test_short_requests),
        cmocka_unit_test(test_a_shape_finds_what_is_read),
        cmocka_unit_test(test_a_shape_that_differs_pauses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
