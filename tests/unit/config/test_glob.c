/* base/glob: Redis' patterns, and that hostile ones cost no recursion and bounded time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/base/glob.h"

static bool matches(const char *pattern, const char *text)
{
    return glob_matches(slice_of_string(pattern), slice_of_string(text), false);
}

static void test_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool expected;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "abc", true},
        {"**", "abc", true},
        {"a*c", "abbbc", true},
        {"a*c", "abbb", false},
        {"a*b*c", "aXbYbZc", true},
        {"?", "", false},
        {"?", "a", true},
        {"a?c", "abc", true},
        {"[abc]", "b", true},
        {"[abc]", "d", false},
        {"[^abc]", "d", true},
        {"[^abc]", "a", false},
        {"[a-c]x", "bx", true},
        {"[c-a]x", "bx", true},
        {"[a-c]x", "dx", false},
        {"[a\\-c]", "-", true},
        {"[a\\-c]", "b", false},
        {"[]", "a", false},
        {"[^]", "a", true},
        {"[ab", "a", true},
        {"[ab", "c", false},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"a\\", "a\\", true},
        {"h[e]llo*", "hello world", true},
        {"*a*a*", "bab", false},
        {"*ab", "aab", true},
        {"*aab", "aaab", true},
        {"a*", "b", false},
        {"max*y", "maxmemory", true},
        {"[a-", "a", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (matches(cases[i].pattern, cases[i].text) != cases[i].expected) {
            fail_msg("'%s' against '%s'", cases[i].pattern, cases[i].text);
        }
    }
}

static void test_case(void **state)
{
    (void)state;
    assert_true(glob_matches(SLICE_LITERAL("MAX*"), SLICE_LITERAL("maxmemory"), true));
    assert_true(glob_matches(SLICE_LITERAL("[A-C]"), SLICE_LITERAL("b"), true));
    assert_true(glob_matches(SLICE_LITERAL("[a-c]"), SLICE_LITERAL("B"), true));
    assert_false(glob_matches(SLICE_LITERAL("MAX*"), SLICE_LITERAL("maxmemory"), false));
}

/* A simple recursive oracle over small alphabets: every pattern of up to five elements. */
static bool oracle(const char *p, const char *t)
{
    if (*p == '\0') {
        return *t == '\0';
    }
    if (*p == '*') {
        return oracle(p + 1, t) || (*t != '\0' && oracle(p, t + 1));
    }
    return *t != '\0' && (*p == '?' || *p == *t) && oracle(p + 1, t + 1);
}

static void test_against_oracle(void **state)
{
    (void)state;
    static const char alphabet[] = "*?ab";
    for (uint32_t p = 0; p < 1024; p++) {
        char pattern[6] = {0};
        for (uint32_t i = 0; i < 5; i++) {
            pattern[i] = alphabet[p >> (2 * i) & 3];
        }
        for (uint32_t t = 0; t < 64; t++) {
            char text[7] = {0};
            for (uint32_t i = 0; i < t % 7; i++) {
                text[i] = t >> i & 1 ? 'b' : 'a';
            }
            assert_int_equal(matches(pattern, text), oracle(pattern, text));
        }
    }
}

/* What overflows a recursive matcher's stack and never ends in a naive one. */
static void test_hostile(void **state)
{
    (void)state;
    static uint8_t pattern[20001], text[20000];
    for (size_t i = 0; i < sizeof(pattern); i += 2) {
        pattern[i] = '*';
        pattern[i + (i + 1 < sizeof(pattern))] = 'a';
    }
    memset(text, 'a', sizeof(text));
    assert_true(
        glob_matches(slice_of(pattern, sizeof(pattern)), slice_of(text, sizeof(text)), false));
    text[sizeof(text) - 1] = 'b';
    assert_false(
        glob_matches(slice_of(pattern, sizeof(pattern) - 1), slice_of(text, sizeof(text)), false));
}

static void test_literal(void **state)
{
    (void)state;
    assert_true(glob_is_literal(SLICE_LITERAL("maxmemory")));
    assert_false(glob_is_literal(SLICE_LITERAL("max*")));
    assert_false(glob_is_literal(SLICE_LITERAL("ma[x]")));
    assert_false(glob_is_literal(SLICE_LITERAL("ma?")));
    assert_false(glob_is_literal(SLICE_LITERAL("ma\\x")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),       cmocka_unit_test(test_case),
        cmocka_unit_test(test_against_oracle), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_literal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
