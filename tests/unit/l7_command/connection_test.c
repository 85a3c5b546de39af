/* The connection group as a conversation: what is asked, and the bytes of the answer. The texts
 * were read from redis-server. */
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

static void require_password(struct dialogue *dialogue, const char *password)
{
    char *arguments[] = {(char[]){"requirepass"}, strdup(password)};
    struct config_error error;
    assert_int_equal(config_set(dialogue->config, 2, arguments, &error), 0);
    free(arguments[1]);
}

static void test_ping_and_echo(void **state)
{
    struct dialogue *d = *state;
    dialogue_expect(d, "PING", "+PONG\r\n");
    dialogue_expect(d, "ping \"a b\"", "$3\r\na b\r\n");
    dialogue_expect(d, "PING a b", "-ERR wrong number of arguments for 'ping' command\r\n");
    dialogue_expect(d, "ECHO hi", "$2\r\nhi\r\n");
    dialogue_expect(d, "ECHO", "-ERR wrong number of arguments for 'echo' command\r\n");
    dialogue_expect(d, "QUIT", "+OK\r\n");
    assert_true(d->client->close_after_reply);
}

static void test_unknown_commands(void **state)
{
    struct dialogue *d = *state;
    dialogue_expect(d, "FOO a b",
                    "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' \r\n");
    dialogue_expect(d, "foo", "-ERR unknown command 'foo', with args beginning with: \r\n");
    dialogue_expect(d, "CLIENT maint_notifications ON",
                    "-ERR unknown subcommand 'maint_notifications'. Try CLIENT HELP.\r\n");
    dialogue_expect(d, "CLIENT", "-ERR wrong number of arguments for 'client' command\r\n");
    dialogue_expect(d, "client getname x",
                    "-ERR wrong number of arguments for 'client|getname' command\r\n");
    /* CR and LF in a name do not split the reply; a NUL ends what is shown. */
    dialogue_expect(d, "\"fo\\r\\no\"",
                    "-ERR unknown command 'fo  o', with args beginning with: \r\n");
    dialogue_expect(d, "\"fo\\x00o\" \"a\\x00b\"",
                    "-ERR unknown command 'fo', with args beginning with: 'a' \r\n");
}

/* 128 bytes of a name, and of arguments about as many: the last one shown may go over. */
static void test_unknown_command_is_cut(void **state)
{
    struct dialogue *d = *state;
    char request[1024], expected[1024], long_name[201];
    memset(long_name, 'x', 200);
    long_name[200] = '\0';
    snprintf(request, sizeof(request), "%s %s %s", long_name, long_name, long_name);
    snprintf(expected, sizeof(expected),
             "-ERR unknown command '%.128s', with args beginning with: '%.128s' \r\n", long_name,
             long_name);
    dialogue_expect(d, request, expected);
    snprintf(request, sizeof(request), "f %.100s %.100s b", long_name, long_name);
    snprintf(expected, sizeof(expected),
             "-ERR unknown command 'f', with args beginning with: '%.100s' '%.25s' \r\n", long_name,
             long_name);
    dialogue_expect(d, request, expected);
}

static void test_select(void **state)
{
    struct dialogue *d = *state;
    dialogue_expect(d, "SET k zero", "+OK\r\n");
    dialogue_expect(d, "SELECT 15", "+OK\r\n");
    assert_int_equal(d->client->database, 15);
    dialogue_expect(d, "GET k", "$-1\r\n");
    dialogue_expect(d, "SELECT 16", "-ERR DB index is out of range\r\n");
    dialogue_expect(d, "SELECT -1", "-ERR DB index is out of range\r\n");
    dialogue_expect(d, "SELECT x", "-ERR value is not an integer or out of range\r\n");
    dialogue_expect(
        d, "SELECT 99999999999",
        "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n");
    assert_int_equal(d->client->database, 15);
    dialogue_expect(d, "SELECT 0", "+OK\r\n");
    dialogue_expect(d, "GET k", "$4\r\nzero\r\n");
}

static void test_hello(void **state)
{
    struct dialogue *d = *state;
    dialogue_expect(d, "HELLO",
                    "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.6\r\n"
                    "$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"
                    "$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n");
    dialogue_expect(d, "HELLO 3 SETNAME me",
                    "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.6\r\n"
                    "$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"
                    "$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n");
    dialogue_expect(d, "CLIENT GETNAME", "$2\r\nme\r\n");
    dialogue_expect(d, "GET none", "_\r\n");
    dialogue_expect(d, "HELLO 4", "-NOPROTO unsupported protocol version\r\n");
    dialogue_expect(d, "HELLO 1", "-NOPROTO unsupported protocol version\r\n");
    dialogue_expect(d, "HELLO x", "-ERR Protocol version is not an integer or out of range\r\n");
    dialogue_expect(d, "HELLO 2 FOO", "-ERR Syntax error in HELLO option 'FOO'\r\n");
    dialogue_expect(d, "HELLO 2 AUTH a", "-ERR Syntax error in HELLO option 'AUTH'\r\n");
    dialogue_expect(d, "HELLO 2 SETNAME \"a b\"",
                    "-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
    dialogue_expect(d, "HELLO 2 AUTH a b",
                    "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    /* A refused HELLO changes nothing. */
    assert_int_equal(d->client->protocol, 3);
    dialogue_expect_part(d, "HELLO 2 AUTH default anything", "*14\r\n");
}

static void test_authentication(void **state)
{
    struct dialogue *d = *state;
    struct client *early, *late;
    dialogue_expect(d, "AUTH x",
                    "-ERR AUTH <password> called without any password configured for the default "
                    "user. Are you sure your configuration is correct?\r\n");
    early = dialogue_open_client(d);
    d->speaker = early;
    dialogue_expect(d, "PING", "+PONG\r\n");
    require_password(d, "secret");
    /* Who was in stays in. */
    dialogue_expect(d, "PING", "+PONG\r\n");

    late = dialogue_open_client(d);
    d->speaker = late;
    assert_false(command_client_authenticated(d->context, late));
    dialogue_expect(d, "GET k", "-NOAUTH Authentication required.\r\n");
    dialogue_expect(d, "GET", "-ERR wrong number of arguments for 'get' command\r\n");
    dialogue_expect(d, "FOO", "-ERR unknown command 'FOO', with args beginning with: \r\n");
    dialogue_expect_part(d, "HELLO 3", "-NOAUTH HELLO must be called with the client already");
    static const char *const wrong[] = {"AUTH secre",     "AUTH secretx",     "AUTH x",
                                        "AUTH \"\"",      "AUTH Secret",      "AUTH other secret",
                                        "AUTH default x", "AUTH secretsecret"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        dialogue_expect(d, wrong[i],
                        "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
        assert_false(late->authenticated);
    }
    dialogue_expect(d, "AUTH a b c", "-ERR syntax error\r\n");
    dialogue_expect(d, "AUTH secret", "+OK\r\n");
    dialogue_expect(d, "PING", "+PONG\r\n");
    dialogue_expect(d, "AUTH wrong",
                    "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    dialogue_expect(d, "PING", "+PONG\r\n");
    dialogue_expect(d, "RESET", "+RESET\r\n");
    dialogue_expect(d, "PING", "-NOAUTH Authentication required.\r\n");
    dialogue_expect_part(d, "HELLO 3 AUTH default secret SETNAME n", "%7\r\n");
    dialogue_expect(d, "CLIENT GETNAME", "$1\r\nn\r\n");
}

static void test_reset(void **state)
{
    struct dialogue *d = *state;
    dialogue_expect(d, "CLIENT SETINFO LIB-NAME lib", "+OK\r\n");
    dialogue_expect_part(d, "HELLO 3 SETNAME x", "%7");
    dialogue_expect(d, "SELECT 3", "+OK\r\n");
    dialogue_expect(d, "CLIENT NO-TOUCH ON", "+OK\r\n");
    dialogue_expect(d, "CLIENT REPLY OFF", "");
    dialogue_expect(d, "RESET", "+RESET\r\n");
    dialogue_expect(d, "CLIENT GETNAME", "$-1\r\n");
    dialogue_expect_part(d, "CLIENT INFO", " flags=N db=0 ");
    dialogue_expect_part(d, "CLIENT INFO", " resp=2 lib-name=lib ");
}

static void test_client_names(void **state)
{
    struct dialogue *d = *state;
    char request[400], name[300];
    dialogue_expect(d, "CLIENT ID", ":1\r\n");
    dialogue_expect(d, "CLIENT GETNAME", "$-1\r\n");
    dialogue_expect(d, "CLIENT SETNAME app", "+OK\r\n");
    dialogue_expect(d, "CLIENT GETNAME", "$3\r\napp\r\n");
    dialogue_expect(d, "CLIENT SETNAME \"a b\"",
                    "-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
    dialogue_expect(d, "CLIENT GETNAME", "$3\r\napp\r\n");
    dialogue_expect(d, "CLIENT SETNAME \"\"", "+OK\r\n");
    dialogue_expect(d, "CLIENT GETNAME", "$-1\r\n");
    memset(name, 'n', 257);
    name[257] = '\0';
    snprintf(request, sizeof(request), "CLIENT SETNAME %s", name);
    dialogue_expect(d, request, "-ERR Client names cannot be longer than 256 bytes.\r\n");
    dialogue_expect(d, "CLIENT SETINFO lib-name redis-py", "+OK\r\n");
    dialogue_expect(d, "CLIENT SETINFO LIB-VER 5.0", "+OK\r\n");
    dialogue_expect(d, "CLIENT SETINFO LIB-VER \"5 0\"",
                    "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n");
    dialogue_expect(d, "CLIENT SETINFO foo x", "-ERR Unrecognized option 'foo'\r\n");
    dialogue_expect_part(d, "CLIENT INFO", " lib-name=redis-py lib-ver=5.0\n");
}

static void test_client_list(void **state)
{
    struct dialogue *d = *state;
    dialogue_open_client(d);
    d->now.mono_us += 3500000;
    d->client->socket_fd = 9;
    d->client->query_buffer_bytes = 26;
    d->client->query_buffer_free_bytes = 100;
    d->client->output_buffer_bytes = 5;
    char line[512];
    snprintf(line, sizeof(line),
             "id=1 addr=127.0.0.1:50001 laddr=127.0.0.1:6379 fd=9 name= age=3 idle=0 flags=N db=0 "
             "sub=0 psub=0 ssub=0 multi=-1 qbuf=26 qbuf-free=100 argv-mem=0 multi-mem=0 rbs=0 "
             "rbp=0 obl=0 oll=1 omem=5 tot-mem=%zu events=rw cmd=client|list user=default "
             "redir=-1 resp=2 lib-name= lib-ver=\n",
             sizeof(struct client) + 131);
    dialogue_expect_part(d, "CLIENT LIST", line);
    dialogue_expect_part(d, "CLIENT LIST", "\nid=2 addr=127.0.0.1:50002 ");
    dialogue_expect_part(d, "CLIENT LIST", " cmd=NULL ");
    dialogue_expect_part(d, "CLIENT LIST ID 2 99 2", "\nid=2 ");
    assert_null(strstr(d->reply, "id=1 "));
    dialogue_expect(d, "CLIENT LIST ID 7 0 -3", "$0\r\n\r\n");
    dialogue_expect_part(d, "CLIENT LIST TYPE normal", "id=2 ");
    dialogue_expect(d, "CLIENT LIST TYPE pubsub", "$0\r\n\r\n");
    dialogue_expect(d, "CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'\r\n");
    dialogue_expect(d, "CLIENT LIST ID 1 x", "-ERR Invalid client ID\r\n");
    dialogue_expect(d, "CLIENT LIST ID", "-ERR syntax error\r\n");
    dialogue_expect(d, "CLIENT LIST foo", "-ERR syntax error\r\n");
    dialogue_expect(d, "CLIENT NO-EVICT ON", "+OK\r\n");
    dialogue_expect(d, "CLIENT NO-EVICT x", "-ERR syntax error\r\n");
    d->client->peer.port = 0;
    dialogue_expect_part(d, "CLIENT INFO", " flags=Ue ");
    dialogue_expect_part(d, "HELLO 3", "%7");
    dialogue_expect_part(d, "CLIENT INFO", "=");
    assert_memory_equal(d->reply, "=", 1);
    assert_non_null(strstr(d->reply, "\r\ntxt:id=1 "));
}

static void test_client_kill(void **state)
{
    struct dialogue *d = *state;
    const struct client *b = dialogue_open_client(d), *c = dialogue_open_client(d);
    dialogue_expect(d, "CLIENT KILL 127.0.0.1:1", "-ERR No such client\r\n");
    dialogue_expect(d, "CLIENT KILL 127.0.0.1:50002", "+OK\r\n");
    assert_true(b->close_now);
    dialogue_expect(d, "CLIENT KILL ID 2", ":0\r\n"); /* already killed */
    dialogue_expect(d, "CLIENT KILL ID 3 LADDR 127.0.0.1:1", ":0\r\n");
    dialogue_expect(d, "CLIENT KILL TYPE pubsub", ":0\r\n");
    dialogue_expect(d, "CLIENT KILL ID 1", ":0\r\n"); /* SKIPME is the default */
    assert_false(c->close_now || d->client->close_after_reply);
    dialogue_expect(d, "CLIENT KILL LADDR 127.0.0.1:6379 USER default TYPE normal", ":1\r\n");
    assert_true(c->close_now);
    dialogue_expect(d, "CLIENT KILL ID 0", "-ERR client-id should be greater than 0\r\n");
    dialogue_expect(d, "CLIENT KILL ID x", "-ERR client-id should be greater than 0\r\n");
    dialogue_expect(d, "CLIENT KILL ID 1 TYPE", "-ERR syntax error\r\n");
    dialogue_expect(d, "CLIENT KILL FOO x", "-ERR syntax error\r\n");
    dialogue_expect(d, "CLIENT KILL MAXAGE 1", "-ERR syntax error\r\n"); /* of 7.4 */
    dialogue_expect(d, "CLIENT KILL SKIPME x", "-ERR syntax error\r\n");
    dialogue_expect(d, "CLIENT KILL TYPE foo", "-ERR Unknown client type 'foo'\r\n");
    dialogue_expect(d, "CLIENT KILL USER bob", "-ERR No such user 'bob'\r\n");
    dialogue_expect(d, "CLIENT KILL ID 1 SKIPME no", ":1\r\n");
    assert_true(d->client->close_after_reply);
    assert_false(d->client->close_now);
}

static void test_client_reply(void **state)
{
    struct dialogue *d = *state;
    dialogue_expect(d, "CLIENT REPLY SKIP", "");
    dialogue_expect(d, "SET a 1", "");
    dialogue_expect(d, "GET a", "$1\r\n1\r\n");
    dialogue_expect(d, "CLIENT REPLY OFF", "");
    dialogue_expect(d, "INCR a", "");
    dialogue_expect(d, "FOO", "");
    dialogue_expect(d, "CLIENT REPLY SKIP", "");
    dialogue_expect(d, "PING", "");
    dialogue_expect(d, "GET", "");
    dialogue_expect(d, "CLIENT REPLY ON", "+OK\r\n");
    dialogue_expect(d, "GET a", "$1\r\n2\r\n");
    dialogue_expect(d, "CLIENT REPLY foo", "-ERR syntax error\r\n");
    dialogue_expect(d, "CLIENT REPLY SKIP", "");
    dialogue_expect(d, "CLIENT REPLY ON", "+OK\r\n");
    dialogue_expect(d, "PING", "+PONG\r\n");
    /* An unknown command uses the SKIP up, too. */
    dialogue_expect(d, "CLIENT REPLY SKIP", "");
    dialogue_expect(d, "FOO", "");
    dialogue_expect(d, "PING", "+PONG\r\n");
    /* What nobody saw is in the statistics all the same. */
    dialogue_expect(d, "INFO errorstats", "$37\r\n# Errorstats\r\nerrorstat_ERR:count=4\r\n\r\n");
}

static void test_registry(void **state)
{
    (void)state;
    struct client_registry registry;
    struct client a, b, c;
    client_registry_init(&registry, 2, 4);
    client_open(&registry, &a, CLIENT_RESP);
    client_open(&registry, &b, CLIENT_MEMCACHE);
    client_open(&registry, &c, CLIENT_RESP);
    assert_int_equal(a.id, 2);
    assert_int_equal(b.id, 6);
    client_close(&registry, &b);
    assert_ptr_equal(registry.first, &a);
    assert_ptr_equal(a.next, &c);
    client_close(&registry, &a);
    client_close(&registry, &c);
    assert_null(registry.first);
    assert_null(registry.last);
    client_registry_init(&registry, 0, 4);
    client_open(&registry, &a, CLIENT_RESP);
    assert_int_equal(a.id, 4); /* never 0 */
    client_close(&registry, &a);
}

int main(void)
{
    dialogue_setup("connection_test");
#define DIALOGUE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        DIALOGUE(test_ping_and_echo),
        DIALOGUE(test_unknown_commands),
        DIALOGUE(test_unknown_command_is_cut),
        DIALOGUE(test_select),
        DIALOGUE(test_hello),
        DIALOGUE(test_authentication),
        DIALOGUE(test_reset),
        DIALOGUE(test_client_names),
        DIALOGUE(test_client_list),
        DIALOGUE(test_client_kill),
        DIALOGUE(test_client_reply),
        cmocka_unit_test(test_registry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
