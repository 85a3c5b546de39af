/* Files and command lines: places in refusals, includes and their bounds, broken bytes, the whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config_internal.h"

static struct config *config;
static struct config_error error;
static char directory[64];

static int setup(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/nicached-test-XXXXXX");
    config = config_create_default();
    return config == NULL || mkdtemp(directory) == NULL || chdir(directory) != 0;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"a.conf", "b.conf", "c.conf"};
    config_destroy(config);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        unlink(names[i]);
    }
    return chdir("/") != 0 || rmdir(directory) != 0;
}

static void write_file(const char *name, const char *text, size_t size)
{
    FILE *file = fopen(name, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static int parse(const char *text)
{
    error.text[0] = '\0';
    return config_parse_text(config, "f.conf", slice_of_string(text), true, &error);
}

static void test_lines(void **state)
{
    (void)state;
    assert_int_equal(parse("# a comment\n\n   # and another \"\n\t\r\nPort 7000\r\n"
                           "  timeout\t 5  \nrequirepass \"a b\"\nport 7001"),
                     0);
    assert_int_equal(config->port, 7001);
    assert_int_equal(config->timeout, 5);
    assert_string_equal(config->requirepass, "a b");
}

static void test_refusal_names_place(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"\n\nport 70000\n",
         "f.conf:3: 'port': argument must be between 0 and 65535 inclusive; "
         "allowed: 0 to 65535 (TCP port of the Redis protocol; 0 turns it off)"},
        {"nosuch 1", "f.conf:1: unknown directive 'nosuch' (docs/configuration.md has all)"},
        {"port 1\nmaxmemory 1xb",
         "f.conf:2: 'maxmemory': argument must be a memory value; allowed: "
         "0 or more bytes, or with k kb m mb g gb (memory for data; beyond "
         "it keys are evicted as maxmemory-policy says, or writes are refused; 0 for no limit)"},
        {"timeout 1 2",
         "f.conf:1: 'timeout': wrong number of arguments; allowed: 0 to 2147483647 "
         "seconds (seconds after which an idle client is disconnected; 0 for never)"},
        {"port",
         "f.conf:1: 'port': wrong number of arguments; allowed: 0 to 65535 (TCP port of the "
         "Redis protocol; 0 turns it off)"},
        {"port \"73", "f.conf:1: unbalanced quotes"},
        {"save 900 1 300 10", "f.conf:1: 'save': this version has no persistence: no snapshots; "
                              "only '' is accepted"},
        {"daemonize yes", "f.conf:1: 'daemonize': this version stays in the foreground; run it "
                          "under a supervisor; only 'no' is accepted"},
        {"server-name 'a b'", "f.conf:1: 'server-name': argument must be one word of printable "
                              "characters"},
        {"server-name ''", "f.conf:1: 'server-name': argument must have 1 to 63 characters"},
        {"unixsocketperm 8", "f.conf:1: 'unixsocketperm': argument couldn't be parsed as an octal "
                             "number; allowed: 0 to 777, octal (permissions of the Unix socket, in "
                             "octal; 0 leaves them to the umask)"},
        {"unixsocketperm 1000", "f.conf:1: 'unixsocketperm': argument must be between 0 and 777 "
                                "inclusive; allowed: 0 to 777, octal (permissions of the Unix "
                                "socket, in octal; 0 leaves them to the umask)"},
        {"\"\\x1b[2Jx\" 1", "f.conf:1: unknown directive '?[2Jx' (docs/configuration.md has all)"},
        {"\"\" 1", "f.conf:1: unknown directive '' (docs/configuration.md has all)"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(parse(cases[i][0]), -EINVAL);
        assert_string_equal(error.text, cases[i][1]);
        assert_null(strchr(error.text, '\n'));
    }
}

/* Any byte anywhere, any cut: refused or taken, in one line, and nothing is read beyond the end. */
static void test_broken_bytes(void **state)
{
    (void)state;
    static const char good[] = "port 7000\nrequirepass \"a\\x41 b\"\ninterface a tap 10.0.0.5/24\n";
    for (size_t at = 0; at < sizeof(good) - 1; at++) {
        for (int byte = 0; byte < 256; byte += 5) {
            char *copy = test_malloc(at + 1);
            struct config *fresh = config_create_default();
            memcpy(copy, good, at);
            copy[at] = (char)byte;
            error.text[0] = '\0';
            int result = config_parse_text(fresh, "f", slice_of(copy, at + 1), false, &error);
            assert_true(result == 0 || (error.text[0] != '\0' && strchr(error.text, '\n') == NULL));
            config_destroy(fresh);
            test_free(copy);
        }
    }
    assert_int_equal(config_parse_text(config, "f", SLICE_LITERAL("port 1\0\n"), false, &error),
                     -EINVAL);
    assert_string_equal(error.text, "f:1: a value cannot hold a zero byte");
}

static void test_long_line(void **state)
{
    (void)state;
    static char text[CONFIG_LINE_BYTES_MAX + 64];
    memset(text, 'x', sizeof(text) - 1);
    assert_int_equal(parse(text), -EINVAL);
    assert_string_equal(error.text, "f.conf:1: line longer than 8191 bytes");
    text[0] = '#'; /* a comment may be as long as it likes */
    assert_int_equal(parse(text), 0);
    memset(text, ' ', sizeof(text) - 1);
    assert_int_equal(parse(text), 0);
}

static void test_include(void **state)
{
    (void)state;
    write_file("a.conf", "port 1\ninclude b.conf\ntimeout 3\n", 32);
    write_file("b.conf", "port 2\ntimeout 2\n", 17);
    assert_int_equal(config_load_file(config, "a.conf", &error), 0);
    assert_int_equal(config->port, 2);
    assert_int_equal(config->timeout, 3);
    assert_string_equal(config->file_path + strlen(directory), "/a.conf");
    write_file("b.conf", "\nport x\n", 8);
    assert_int_equal(config_load_file(config, "a.conf", &error), -EINVAL);
    assert_memory_equal(error.text, "b.conf:2: 'port'", 16);
    unlink("b.conf");
    assert_int_equal(config_load_file(config, "a.conf", &error), -EINVAL);
    assert_string_equal(error.text, "a.conf:2: cannot read configuration file 'b.conf': No such "
                                    "file or directory");
    assert_int_equal(parse("include"), -EINVAL);
    assert_int_equal(parse("include a b"), -EINVAL);
    assert_int_equal(parse("include /"), -EINVAL);
}

/* A file that includes itself ends, and one that does it twice does not take 2^depth turns. */
static void test_include_cycle(void **state)
{
    (void)state;
    write_file("a.conf", "include a.conf\n", 15);
    assert_int_equal(config_load_file(config, "a.conf", &error), -EINVAL);
    assert_string_equal(error.text, "a.conf:1: 'include': nested deeper than 8 files");
    char text[300 * 16];
    size_t size = 0;
    write_file("b.conf", "\n", 1);
    for (int i = 0; i < 300; i++) {
        memcpy(text + size, "include b.conf\n", 15);
        size += 15;
    }
    write_file("c.conf", text, size);
    assert_int_equal(config_load_file(config, "c.conf", &error), -EINVAL);
    assert_string_equal(error.text, "c.conf:65: 'include': more than 64 files");
}

static void test_big_file(void **state)
{
    (void)state;
    char *text = test_malloc(CONFIG_FILE_BYTES_MAX + 1);
    memset(text, '\n', CONFIG_FILE_BYTES_MAX + 1);
    write_file("a.conf", text, CONFIG_FILE_BYTES_MAX);
    assert_int_equal(config_load_file(config, "a.conf", &error), 0);
    write_file("a.conf", text, CONFIG_FILE_BYTES_MAX + 1);
    assert_int_equal(config_load_file(config, "a.conf", &error), -EINVAL);
    assert_non_null(strstr(error.text, "File too large"));
    test_free(text);
}

/* ---- command line ---------------------------------------------------------------------------- */

static int load(int count, const char *const *arguments)
{
    error.text[0] = '\0';
    config_destroy(config);
    config = config_create_default();
    return config_load(config, count, (char *const *)(uintptr_t)arguments, &error);
}
#define LOAD(...)                                                                                  \
    load(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *),                              \
         (const char *const[]){__VA_ARGS__})

static void test_command_line(void **state)
{
    (void)state;
    assert_int_equal(load(0, NULL), 0);
    assert_int_equal(LOAD("--port", "7000", "--timeout", "5", "--port", "7001"), 0);
    assert_int_equal(config->port, 7001);
    assert_int_equal(config->timeout, 5);
    assert_string_equal(config->file_path, "");
    assert_int_equal(LOAD("--requirepass", "a b", "--save", "", "--appendonly", "no"), 0);
    assert_string_equal(config->requirepass, "a b");
    assert_int_equal(LOAD("--save", "--port", "7002"), 0);
    assert_int_equal(LOAD("--port 7003", "--unixsocket", ""), 0);
    assert_int_equal(config->port, 7003);
    assert_int_equal(LOAD("--requirepass", ""), 0);
}

static void test_command_line_interfaces(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--interface", "lo0", "socket", "127.0.0.1", "--interface",
                          "tap0 tap 198.18.0.2/24 optional", "--bind", "::1", "-127.0.0.2"),
                     0);
    assert_int_equal(config->interface_count, 4);
    assert_string_equal(config->interfaces[1].name, "tap0");
    assert_true(config->interfaces[1].optional);
    assert_true(config->interfaces[3].from_bind);
    assert_int_equal(LOAD("--bind", "", "--unixsocket", "/tmp/x"), 0);
    assert_int_equal(config->interface_count, 0);
}

static void test_command_line_with_file(void **state)
{
    (void)state;
    write_file("a.conf", "port 7000\ntimeout 4\n", 20);
    assert_int_equal(LOAD("a.conf", "--port", "7001"), 0);
    assert_int_equal(config->port, 7001);
    assert_int_equal(config->timeout, 4);
    assert_int_equal(LOAD("--include", "a.conf"), 0);
    assert_int_equal(config->port, 7000);
}

static void test_command_line_refused(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--port"), -EINVAL);
    assert_memory_equal(error.text, "command line: 'port': wrong number", 34);
    assert_int_equal(LOAD("--port", "1", "2"), -EINVAL);
    assert_int_equal(LOAD("--nosuch", "1"), -EINVAL);
    assert_string_equal(error.text, "command line: unknown directive 'nosuch' "
                                    "(docs/configuration.md has all)");
    assert_int_equal(LOAD("--"), -EINVAL);
    assert_string_equal(error.text, "command line: '--' without a directive");
    assert_int_equal(LOAD("/nonexistent"), -EINVAL);
    write_file("a.conf", "\n", 1);
    assert_int_equal(LOAD("a.conf", "stray"), -EINVAL);
    assert_non_null(strstr(error.text, "'stray' stands behind no directive"));
    assert_int_equal(LOAD("--interface", "a \"tap"), -EINVAL);
    assert_int_equal(LOAD("--port", "6379", "--memcache-port", "6379"), -EINVAL);
    assert_string_equal(error.text, "configuration: 'port' and 'memcache-port' must differ");
    assert_int_equal(LOAD("--port", "0", "--memcache-port", "0"), -EINVAL);
    assert_int_equal(LOAD("--bind", ""), -EINVAL);
    assert_non_null(strstr(error.text, "nothing to listen on"));
}

static void test_command_line_bounds(void **state)
{
    (void)state;
    static char value[2 * CONFIG_LINE_BYTES_MAX];
    memset(value, 'x', sizeof(value) - 1);
    assert_int_equal(LOAD("--requirepass", value), -EINVAL);
    assert_int_equal(LOAD("--bind", value), -EINVAL);
    value[0] = value[1] = '-';
    assert_int_equal(LOAD(value), -EINVAL);
    const char *many[CONFIG_WORDS_MAX + 2];
    many[0] = "--bind";
    for (int i = 1; i < CONFIG_WORDS_MAX + 2; i++) {
        many[i] = "::1";
    }
    assert_int_equal(load(CONFIG_WORDS_MAX + 2, many), -EINVAL);
}

static void test_options_of_memcached(void **state)
{
    (void)state;
    assert_int_equal(
        LOAD("-m", "64", "-p", "11311", "-U0", "-c", "500", "-t", "4", "-I", "2m", "-b", "9"), 0);
    assert_int_equal(config->maxmemory, 64 << 20);
    assert_int_equal(config->maxmemory_policy, MAXMEMORY_ALLKEYS_LRU);
    assert_int_equal(config->memcache_port, 11311);
    assert_int_equal(config->memcache_udp_port, 0);
    assert_int_equal(config->maxclients, 500);
    assert_int_equal(config->workers, 4);
    assert_int_equal(config->memcache_item_size_max, 2 << 20);
    assert_int_equal(config->tcp_backlog, 9);
    assert_int_equal(LOAD("-I512K", "-m64", "-M"), 0);
    assert_int_equal(config->memcache_item_size_max, 512 << 10);
    assert_int_equal(config->maxmemory_policy, MAXMEMORY_NOEVICTION);
    assert_int_equal(LOAD("-I", "2048"), 0);
    assert_int_equal(config->memcache_item_size_max, 2048);
    assert_int_equal(LOAD("-s", "/tmp/a b", "-a", "700", "--port", "0"), 0);
    assert_string_equal(config->memcache_unixsocket, "/tmp/a b");
    assert_int_equal(config->memcache_unixsocketperm, 0700);
    assert_int_equal(config->memcache_port, 0);
    assert_int_equal(LOAD("-l", "127.0.0.1,::1"), 0);
    assert_int_equal(config->interface_count, 2);
    assert_int_equal(LOAD("-v"), 0);
    assert_int_equal(LOAD("-vv", "-L", "-P", "/tmp/p"), 0);
    assert_string_equal(config->pidfile, "/tmp/p");
}

static void test_options_of_memcached_between_directives(void **state)
{
    (void)state;
    write_file("a.conf", "memcache-port 7000\ntimeout 4\n", 29);
    assert_int_equal(LOAD("a.conf", "-p", "7001", "--timeout", "5", "-m", "64", "--bind", "::1",
                          "-127.0.0.2", "-c", "7"),
                     0);
    assert_int_equal(config->memcache_port, 7001);
    assert_int_equal(config->timeout, 5);
    assert_int_equal(config->interface_count, 2);
    assert_int_equal(config->maxclients, 7);
    /* The first word behind a directive is its value, whatever it looks like. */
    assert_int_equal(LOAD("--requirepass", "-m"), 0);
    assert_string_equal(config->requirepass, "-m");
}

static void expect_refusal(int result, const char *text)
{
    assert_int_equal(result, -EINVAL);
    assert_string_equal(error.text, text);
}

static void test_options_of_memcached_refused(void **state)
{
    (void)state;
    expect_refusal(LOAD("-d"), "command line: '-d' of memcached: this version stays in the "
                               "foreground; run it under a supervisor");
    expect_refusal(LOAD("-S"),
                   "command line: '-S' of memcached: set --requirepass, and clients log "
                   "in by SASL or by text");
    assert_int_equal(LOAD("-W", "-D|", "-A"), 0);
    assert_true(config->memcache_shutdown);
    assert_false(config->memcache_watch);
    assert_true(config->memcache_detail);
    assert_string_equal(config->memcache_prefix_delimiter, "|");
    expect_refusal(LOAD("-D", "ab"), "command line: 'memcache-prefix-delimiter': "
                                     "argument must be one printable character");
    expect_refusal(LOAD("-m"), "command line: '-m' needs a value: MB");
    expect_refusal(LOAD("-Mx"), "command line: '-Mx': takes no value");
    expect_refusal(LOAD("-vx"), "command line: '-vx': takes no value");
    expect_refusal(LOAD("-f", "1.25"),
                   "command line: '-f' of memcached: there is nothing of the kind here");
    assert_int_equal(LOAD("-I", "12q"), -EINVAL);
    assert_non_null(
        strstr(error.text, "'memcache-item-size-max': argument must be a memory value"));
    assert_int_equal(LOAD("-m", "64", "stray"), -EINVAL);
    assert_non_null(strstr(error.text, "'stray' stands behind no directive"));
    assert_int_equal(LOAD("-q"), -EINVAL);
    static char value[2 * CONFIG_LINE_BYTES_MAX];
    memset(value, 'x', sizeof(value) - 1);
    assert_int_equal(LOAD("-s", value), -EINVAL);
    assert_int_equal(LOAD("-s", "/tmp/x", "--unixsocket", "/tmp/x"), -EINVAL);
    assert_string_equal(error.text,
                        "configuration: 'unixsocket' and 'memcache-unixsocket' must differ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_lines),
        TEST(test_refusal_names_place),
        TEST(test_broken_bytes),
        TEST(test_long_line),
        TEST(test_include),
        TEST(test_include_cycle),
        TEST(test_big_file),
        TEST(test_command_line),
        TEST(test_command_line_interfaces),
        TEST(test_command_line_with_file),
        TEST(test_command_line_refused),
        TEST(test_command_line_bounds),
        TEST(test_options_of_memcached),
        TEST(test_options_of_memcached_between_directives),
        TEST(test_options_of_memcached_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
