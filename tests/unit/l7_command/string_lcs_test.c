/* LCS: text, length, positions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/l7_command/string_dialogue.h"

static void test_text_and_length(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "MSET a ohmytext b mynewtext", "+OK\r\n");
    SAY(d, "LCS a b", "$6\r\nmytext\r\n");
    SAY(d, "LCS a b len", ":6\r\n");
    SAY(d, "LCS a nokey", "$0\r\n\r\n");
    SAY(d, "LCS nokey nokey LEN", ":0\r\n");
    SAY(d, "LCS a a", "$8\r\nohmytext\r\n");
    SAY(d, "MSET a 12345 b 1345", "+OK\r\n");
    SAY(d, "LCS a b", "$4\r\n1345\r\n");
}

static void test_positions(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "MSET a ohmytext b mynewtext", "+OK\r\n");
    SAY(d, "LCS a b IDX",
        "*4\r\n$7\r\nmatches\r\n*2\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n"
        "*2\r\n*2\r\n:2\r\n:3\r\n*2\r\n:0\r\n:1\r\n$3\r\nlen\r\n:6\r\n");
    SAY(d, "LCS a b IDX MINMATCHLEN 4",
        "*4\r\n$7\r\nmatches\r\n*1\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n"
        "$3\r\nlen\r\n:6\r\n");
    SAY(d, "LCS a nokey IDX", "*4\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n");
    d->client->protocol = 3;
    SAY(d, "LCS a b IDX WITHMATCHLEN MINMATCHLEN 4",
        "%2\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n"
        "$3\r\nlen\r\n:6\r\n");
    SAY(d, "LCS a b IDX MINMATCHLEN -5 MINMATCHLEN 9",
        "%2\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:6\r\n");
}

static void test_errors(void **state)
{
    struct dialogue *d = *state;
    SAY(d, "LCS a b LEN IDX",
        "-ERR If you want both the length and indexes, please just use IDX.\r\n");
    SAY(d, "LCS a b bogus", "-ERR syntax error\r\n");
    SAY(d, "LCS a b MINMATCHLEN", "-ERR syntax error\r\n");
    SAY(d, "LCS a b MINMATCHLEN x", "-ERR value is not an integer or out of range\r\n");
    put_list_item(d, "list");
    SAY(d, "LCS a list bogus", "-ERR The specified keys must contain string values\r\n");
    SAY(d, "SETRANGE big 20000 x", ":20001\r\n");
    SAY(d, "LCS big big",
        "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_text_and_length),
        TEST(test_positions),
        TEST(test_errors),
    };
    dialogue_setup("string_lcs_test");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
