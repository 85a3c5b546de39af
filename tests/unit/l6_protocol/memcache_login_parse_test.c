/* What a text connection says before it has logged in, as memcached 1.6.18 -Y takes it. */
#include "tests/unit/l6_protocol/parse_cases.h"

#define UNKNOWN    "error CLIENT_ERROR unauthenticated\n"
#define TERMINATED "error CLIENT_ERROR bad command line termination\n"
#define LOGIN      "login f0 e0 c0 d0 "

static void run(const struct feed *feed, struct buffer *text)
{
    memcache_login_transcript(feed, text);
}

static void test_samples(void **state)
{
    static const struct {
        const char *input;
        size_t size;
        const char *expected;
    } samples[] = {
        {SAMPLE("set x 0 0 9\r\nuser pass\r\n"), LOGIN "user\\x20pass|\nleft 0\n"},
        {SAMPLE("  set x a b 9 noreply\nuser pass\r\nget"), LOGIN "user\\x20pass|\nleft 3\n"},
        {SAMPLE("set x 0 0 0\r\n\r\n"), LOGIN "|\nleft 0\n"},
        {SAMPLE("get a\r\n\r\nquit\r\nadd x 0 0 1\r\n"),
         UNKNOWN UNKNOWN UNKNOWN UNKNOWN "left 0\n"},
        {SAMPLE("set x 0 0\r\nset x 0 0 -1\r\nset x 0 0 y\r\nset x 0 0 4097\r\n"),
         UNKNOWN UNKNOWN UNKNOWN UNKNOWN "left 0\n"},
        {SAMPLE("set x 0 0 3\r\nabcde\r\nset x 0 0 1\r\na\nb"),
         TERMINATED UNKNOWN TERMINATED "left 0\n"},
        {SAMPLE("set x 0 0 4096\r\nabc"), "left 19\n"},
        {SAMPLE("se"), "left 2\n"},
    };
    for (size_t i = 0; i < CASE_COUNT(samples); i++) {
        expect_under_every_cut(run, slice_of(samples[i].input, samples[i].size), 1,
                               samples[i].expected);
    }
}

static void test_a_line_has_a_bound(void **state)
{
    struct buffer stream = {0};
    while (stream.size < 2047) {
        buffer_append(&stream, "x", 1);
    }
    expect_under_every_cut(run, slice_of(stream.data, stream.size), 300, "left 2047\n");
    buffer_append(&stream, "\n", 1);
    expect_under_every_cut(run, slice_of(stream.data, stream.size), 300, UNKNOWN "left 0\n");
    stream.data[2047] = 'x';
    expect_under_every_cut(run, slice_of(stream.data, stream.size), 300, "fatal \n");
    buffer_free(&stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_a_line_has_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
