/* The server group as a conversation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/l7_command/dialogue.h"

static int setup(void **state)
{
    *state = dialogue_create();
    return 0;
}

static int teardown(void **state)
{
    dialogue_destroy(*state);
    return 0;
}

static void set_option(struct dialogue *dialogue, const char *name, const char *value)
{
    char *arguments[] = {strdup(name), strdup(value)};
    struct config_error error;
    assert_int_equal(config_set(dialogue->config, 2, arguments, &error), 0);
    free(arguments[0]);
    free(arguments[1]);
}

static void test_databases(void **state)
{
    struct dialogue *d = *state;
    dialogue_expect(d, "DBSIZE", ":0\r\n");
    dialogue_expect(d, "MSET a 1 b 2", "+OK\r\n");
    dialogue_expect(d, "DBSIZE", ":2\r\n");
    dialogue_expect(d, "SWAPDB 0 1", "+OK\r\n");
    dialogue_expect(d, "DBSIZE", ":0\r\n");
    dialogue_expect(d, "SWAPDB 0 0", "+OK\r\n");
    dialogue_expect(d, "SWAPDB 0 16", "-ERR DB index is out of range\r\n");
    dialogue_expect(d, "SWAPDB x 1", "-ERR invalid first DB index\r\n");
    dialogue_expect(d, "SWAPDB 0 99999999999", "-ERR invalid second DB index\r\n");
    dialogue_expect(d, "FLUSHDB ASYNC", "+OK\r\n");
    dialogue_expect(d, "SELECT 1", "+OK\r\n");
    dialogue_expect(d, "DBSIZE", ":2\r\n");
    dialogue_expect(d, "FLUSHDB SYNC", "+OK\r\n");
    dialogue_expect(d, "DBSIZE", ":0\r\n");
    dialogue_expect(d, "SET a 1", "+OK\r\n");
    dialogue_expect(d, "SELECT 0", "+OK\r\n");
    dialogue_expect(d, "FLUSHALL NOW", "-ERR syntax error\r\n");
    dialogue_expect(d, "FLUSHALL SYNC ASYNC", "-ERR syntax error\r\n");
    dialogue_expect(d, "FLUSHALL", "+OK\r\n");
    dialogue_expect_part(d, "INFO keyspace", "# Keyspace\r\n\r\n");
}

static void test_time_and_role(void **state)
{
    struct dialogue *d = *state;
    dialogue_expect(d, "TIME", "*2\r\n$10\r\n1700000000\r\n$3\r\n123\r\n");
    dialogue_expect(d, "TIME x", "-ERR wrong number of arguments for 'time' command\r\n");
    dialogue_expect(d, "ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
}

static void test_debug(void **state)
{
    struct dialogue *d = *state;
    dialogue_expect_part(d, "DEBUG SLEEP 1", "-ERR DEBUG command not allowed. If the enable-debug");
    d->config->enable_debug_command = DEBUG_COMMAND_LOCAL;
    dialogue_expect(d, "DEBUG SLEEP 1.5", "");
    assert_int_equal(d->verdict, COMMAND_DEFERRED);
    assert_int_equal(d->deferral.until_mono_us, d->now.mono_us + 1500000);
    dialogue_resume(d);
    assert_string_equal(d->reply, "+OK\r\n");
    static const char *const at_once[] = {"DEBUG SLEEP x", "DEBUG SLEEP -1", "DEBUG SLEEP nan"};
    for (size_t i = 0; i < 3; i++) {
        dialogue_expect(d, at_once[i], "");
        assert_int_equal(d->deferral.until_mono_us, d->now.mono_us);
    }
    dialogue_expect(d, "DEBUG SLEEP inf", "");
    assert_true(d->deferral.until_mono_us > d->now.mono_us);
    dialogue_expect(d, "DEBUG SLEEP",
                    "-ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG "
                    "HELP.\r\n");
    dialogue_expect_part(d, "DEBUG HELP", "*5\r\n+DEBUG <subcommand>");
    assert_true(address_parse(SLICE_LITERAL("10.0.0.1"), &d->client->peer.address));
    dialogue_expect_part(d, "DEBUG SLEEP 1", "-ERR DEBUG command not allowed.");
    assert_true(address_parse(SLICE_LITERAL("::1"), &d->client->peer.address));
    dialogue_expect(d, "DEBUG SLEEP 1", "");
}

static void test_shutdown(void **state)
{
    struct dialogue *d = *state;
    dialogue_expect(d, "SHUTDOWN foo", "-ERR syntax error\r\n");
    dialogue_expect(d, "SHUTDOWN SAVE NOSAVE", "-ERR syntax error\r\n");
    dialogue_expect(d, "SHUTDOWN ABORT NOW", "-ERR syntax error\r\n");
    dialogue_expect(d, "SHUTDOWN ABORT", "-ERR No shutdown in progress.\r\n");
    dialogue_expect(d, "SHUTDOWN SAVE", "-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
    dialogue_expect(d, "SHUTDOWN nosave NOW force", "");
    assert_int_equal(d->verdict, COMMAND_DEFERRED);
    assert_int_equal(d->deferral.request->type, CONTROL_SHUTDOWN);
    assert_int_equal(d->deferral.request->argument_count, 3);
    assert_string_equal(d->deferral.request->arguments[0], "nosave");
    assert_int_equal(d->deferral.request->client_id, 1);
}

static void test_config(void **state)
{
    struct dialogue *d = *state;
    dialogue_expect(d, "CONFIG GET maxmemory databases nope",
                    "*4\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n$9\r\ndatabases\r\n$2\r\n16\r\n");
    dialogue_expect(d, "CONFIG GET nope", "*0\r\n");
    dialogue_expect(d, "CONFIG SET a",
                    "-ERR wrong number of arguments for 'config|set' command\r\n");
    dialogue_expect(d, "CONFIG SET a b c", "-ERR syntax error\r\n");
    dialogue_expect_part(d, "CONFIG SET maxmemory \"1\\x002\"", "-ERR CONFIG SET failed");
    dialogue_expect(d, "CONFIG SET maxmemory 100mb timeout 1", "");
    assert_int_equal(d->deferral.request->type, CONTROL_CONFIG_SET);
    assert_int_equal(d->deferral.request->argument_count, 4);
    assert_string_equal(d->deferral.request->arguments[3], "1");
    dialogue_resume(d);
    assert_string_equal(d->reply, "+OK\r\n");
    dialogue_expect(d, "CONFIG REWRITE", "");
    strcpy(d->deferral.request->error, "ERR The server is running without a config file");
    dialogue_resume(d);
    assert_string_equal(d->reply, "-ERR The server is running without a config file\r\n");
    /* Its answer comes in RESP3, and not at all when nobody wants it. */
    dialogue_expect_part(d, "HELLO 3", "%7");
    dialogue_expect(d, "CONFIG GET save", "%1\r\n$4\r\nsave\r\n$0\r\n\r\n");
    dialogue_expect(d, "CLIENT REPLY SKIP", "");
    dialogue_expect(d, "CONFIG SET maxmemory 1", "");
    dialogue_resume(d);
    assert_string_equal(d->reply, "");
    dialogue_expect_part(d, "CONFIG HELP", "+CONFIG <subcommand> [<arg> [value] [opt] ...]. Sub");
}

static void test_memory(void **state)
{
    struct dialogue *d = *state;
    dialogue_expect(d, "MEMORY USAGE k", "$-1\r\n");
    dialogue_expect(d, "SET k v", "+OK\r\n");
    dialogue_send(d, "MEMORY USAGE k SAMPLES 0");
    long small = strtol(d->reply + 1, NULL, 10);
    assert_true(small >= 10 && small < 128);
    dialogue_expect(d, "MEMORY USAGE k SAMPLES -1", "-ERR syntax error\r\n");
    dialogue_expect(d, "MEMORY USAGE k SAMPLES", "-ERR syntax error\r\n");
    dialogue_expect(d, "MEMORY USAGE k FOO 1", "-ERR syntax error\r\n");
    dialogue_expect(d, "SETRANGE k 100000 x", ":100001\r\n");
    dialogue_send(d, "MEMORY USAGE k");
    assert_true(strtol(d->reply + 1, NULL, 10) > 100000);
    /* Over the limit DENYOOM commands are refused, the others are not. */
    set_option(d, "maxmemory", "1");
    dialogue_expect(d, "SET x 1", "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    dialogue_expect(d, "STRLEN k", ":100001\r\n");
    dialogue_expect(d, "DEL k", ":1\r\n");
}

static void test_command_info(void **state)
{
    struct dialogue *d = *state;
    dialogue_expect(d, "COMMAND INFO get nope",
                    "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n"
                    "*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n"
                    "+RO\r\n+access\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n"
                    "$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype"
                    "\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
                    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n$-1\r\n");
    dialogue_expect_part(d, "COMMAND INFO client|list", "*1\r\n*10\r\n$11\r\nclient|list\r\n:-2");
    dialogue_expect_part(d, "COMMAND INFO CONFIG", "$10\r\nconfig|get\r\n");
    dialogue_expect(d, "COMMAND DOCS echo nope",
                    "*2\r\n$4\r\necho\r\n*10\r\n$7\r\nsummary\r\n$23\r\nSends the message back."
                    "\r\n$5\r\nsince\r\n$5\r\n1.0.0\r\n$5\r\ngroup\r\n$10\r\nconnection\r\n$10\r\n"
                    "complexity\r\n$4\r\nO(1)\r\n$9\r\narguments\r\n*1\r\n*6\r\n$4\r\nname\r\n$7"
                    "\r\nmessage\r\n$4\r\ntype\r\n$6\r\nstring\r\n$12\r\ndisplay_text\r\n$7\r\n"
                    "message\r\n");
    dialogue_expect_part(d, "HELLO 3", "%7");
    dialogue_expect_part(d, "COMMAND INFO get", "~2\r\n+readonly\r\n+fast\r\n:1");
    dialogue_expect_part(d, "COMMAND DOCS quit", "$9\r\ndoc_flags\r\n~1\r\n+deprecated\r\n");
    dialogue_expect_part(d, "COMMAND", "$3\r\nget\r\n");
    dialogue_expect_part(d, "COMMAND DOCS", "$11\r\nsubcommands\r\n");
}

static void test_command_lists(void **state)
{
    struct dialogue *d = *state;
    uint32_t top = 0;
    char expected[32];
    for (uint32_t i = 0; i < command_count; i++) {
        top += commands[i].parent == NULL;
    }
    snprintf(expected, sizeof(expected), ":%u\r\n", top);
    dialogue_expect(d, "COMMAND COUNT", expected);
    snprintf(expected, sizeof(expected), "*%u\r\n", command_count);
    dialogue_expect_part(d, "COMMAND LIST", expected);
    dialogue_expect(d, "COMMAND LIST FILTERBY PATTERN GET?X", "*1\r\n$5\r\ngetex\r\n");
    dialogue_expect_part(d, "COMMAND LIST FILTERBY ACLCAT dangerous", "$8\r\nflushall\r\n");
    assert_null(strstr(d->reply, "\r\nget\r\n"));
    dialogue_expect(d, "COMMAND LIST FILTERBY ACLCAT nope", "*0\r\n");
    dialogue_expect(d, "COMMAND LIST FILTERBY MODULE json", "*0\r\n");
    dialogue_expect(d, "COMMAND LIST FILTERBY foo x", "-ERR syntax error\r\n");
    dialogue_expect(d, "COMMAND LIST x", "-ERR syntax error\r\n");
    dialogue_expect(d, "COMMAND foo", "-ERR unknown subcommand 'foo'. Try COMMAND HELP.\r\n");
    dialogue_expect_part(d, "COMMAND HELP", "+LIST [FILTERBY <MODULE module-name | ");
}

static void test_command_keys(void **state)
{
    struct dialogue *d = *state;
    dialogue_expect(d, "COMMAND GETKEYS get a", "*1\r\n$1\r\na\r\n");
    dialogue_expect(d, "COMMAND GETKEYS mset a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    dialogue_expect(d, "COMMAND GETKEYS del x y z", "*3\r\n$1\r\nx\r\n$1\r\ny\r\n$1\r\nz\r\n");
    dialogue_expect(d, "COMMAND GETKEYS memory usage k", "*1\r\n$1\r\nk\r\n");
    dialogue_expect(d, "COMMAND GETKEYSANDFLAGS set a 1 EX 10",
                    "*1\r\n*2\r\n$1\r\na\r\n*2\r\n+OW\r\n+update\r\n");
    dialogue_expect(d, "COMMAND GETKEYSANDFLAGS set a 1 get",
                    "*1\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+update\r\n");
    dialogue_expect(d, "COMMAND GETKEYS foo a", "-ERR Invalid command specified\r\n");
    dialogue_expect(d, "COMMAND GETKEYS ping a", "-ERR The command has no key arguments\r\n");
    dialogue_expect(d, "COMMAND GETKEYS get a b",
                    "-ERR Invalid number of arguments specified for command\r\n");
}

int main(void)
{
    dialogue_setup("server_test");
#define DIALOGUE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        DIALOGUE(test_databases),    DIALOGUE(test_time_and_role), DIALOGUE(test_debug),
        DIALOGUE(test_shutdown),     DIALOGUE(test_config),        DIALOGUE(test_memory),
        DIALOGUE(test_command_info), DIALOGUE(test_command_lists), DIALOGUE(test_command_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
