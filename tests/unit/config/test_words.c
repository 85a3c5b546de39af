/* A line into words: quoting as redis-server has it, bounds, and back again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/config_internal.h"

static struct config_words words;
static struct config_reason reason;

static int split(const char *line)
{
    return config_split_words(slice_of_string(line), &words, &reason);
}

static void assert_words(const char *line, uint32_t count, const char *const *expected)
{
    assert_int_equal(split(line), 0);
    assert_int_equal(words.count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_string_equal(words.words[i], expected[i]);
    }
}

static void test_plain(void **state)
{
    (void)state;
    assert_words("", 0, NULL);
    assert_words(" \t\r\v\f ", 0, NULL);
    assert_words("port 6379", 2, (const char *const[]){"port", "6379"});
    assert_words("  a\tb \r", 2, (const char *const[]){"a", "b"});
}

static void test_quotes(void **state)
{
    (void)state;
    assert_words("a \"b c\" d", 3, (const char *const[]){"a", "b c", "d"});
    assert_words("a ''", 2, (const char *const[]){"a", ""});
    assert_words("\"\\n\\r\\t\\b\\a\\q\\\\\\\"\"", 1, (const char *const[]){"\n\r\t\b\aq\\\""});
    assert_words("\"\\x41\\x6a\\xfF\"", 1, (const char *const[]){"Aj\xff"});
    assert_words("\"\\xzz\\x4\"", 1, (const char *const[]){"xzzx4"});
    assert_words("'a\\'b\\n'", 1, (const char *const[]){"a'b\\n"});
    assert_words("ab\"cd ef\"", 1, (const char *const[]){"abcd ef"});
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {"\"",   "'",     "a \"b",   "a 'b",  "\"a\"b",
                                        "'a'b", "\"a\\", "\"a\\\"", "'a\\'", "\"\\x00\""};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        reason.text[0] = '\0';
        if (split(lines[i]) != -EINVAL || reason.text[0] == '\0') {
            fail_msg("accepted: %s", lines[i]);
        }
    }
    assert_int_equal(config_split_words(SLICE_LITERAL("a\0b"), &words, &reason), -EINVAL);
}

static void test_bounds(void **state)
{
    (void)state;
    char line[2 * CONFIG_WORDS_MAX + 3];
    for (uint32_t i = 0; i <= CONFIG_WORDS_MAX; i++) {
        line[2 * i] = 'w';
        line[2 * i + 1] = ' ';
    }
    line[2 * CONFIG_WORDS_MAX] = '\0';
    assert_int_equal(split(line), 0);
    assert_int_equal(words.count, CONFIG_WORDS_MAX);
    line[2 * CONFIG_WORDS_MAX] = 'w';
    line[2 * CONFIG_WORDS_MAX + 1] = '\0';
    assert_int_equal(split(line), -EINVAL);

    /* The storage is the last bound, whoever calls. */
    static char longest[2 * CONFIG_LINE_BYTES_MAX];
    memset(longest, 'x', sizeof(longest) - 1);
    assert_int_equal(split(longest), -EINVAL);
    longest[CONFIG_LINE_BYTES_MAX - 1] = '\0';
    assert_int_equal(split(longest), 0);
    assert_int_equal(strlen(words.words[0]), CONFIG_LINE_BYTES_MAX - 1);
}

/* Every prefix of a line with all kinds of quoting is accepted or refused, and never read beyond
 * (the sanitizer watches: each copy has its own exact size). */
static void test_truncated(void **state)
{
    (void)state;
    static const char line[] = "name \"a\\x41\\\"b\" 'c\\'d' plain \"\\n\" ''";
    for (size_t size = 0; size < sizeof(line); size++) {
        char *copy = test_malloc(size + 1);
        memcpy(copy, line, size);
        (void)config_split_words(slice_of(copy, size), &words, &reason);
        test_free(copy);
    }
}

static void test_quote_round_trip(void **state)
{
    (void)state;
    char word[258], text[2048], one[4] = {0};
    for (int byte = 1; byte < 256; byte++) {
        word[byte - 1] = (char)byte;
        one[0] = 'a';
        one[1] = (char)byte;
        assert_true(config_quote_word(one, text, sizeof(text)));
        assert_words(text, 1, (const char *const[]){one});
    }
    word[255] = '\0';
    assert_true(config_quote_word(word, text, sizeof(text)));
    assert_words(text, 1, (const char *const[]){word});
    assert_true(config_quote_word("", text, sizeof(text)));
    assert_string_equal(text, "\"\"");
    assert_true(config_quote_word("#a", text, sizeof(text)));
    assert_string_equal(text, "\"#a\"");
    for (size_t size = 0; size < 12; size++) {
        char *small = test_malloc(size + 1);
        bool fits = config_quote_word("a b\n", small, size);
        assert_int_equal(fits, size >= 10);
        test_free(small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),     cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_truncated), cmocka_unit_test(test_quote_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
