/* Snapshots: defaults, CONFIG SET and its error texts (those of redis-server 7.0.15), CONFIG GET,
 * and that the committed documents are what the table gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/log.h"
#include "tests/unit/config/fresh_config.h"

static const char *get(const char *name)
{
    static char text[CONFIG_VALUE_BYTES_MAX];
    option_format(config, option_find(name), text);
    return text;
}

/* The words of `line`, as CONFIG SET's arguments. */
static int set(const char *line)
{
    struct config_words words;
    struct config_reason reason;
    assert_int_equal(config_split_words(slice_of_string(line), &words, &reason), 0);
    error.text[0] = '\0';
    return config_set(config, words.count, words.words, &error);
}

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(config->port, 6379);
    assert_int_equal(config->memcache_port, 11211);
    assert_int_equal(config->memcache_udp_port, 0);
    assert_true(config->protected_mode);
    assert_int_equal(config->maxclients, 10000);
    assert_int_equal(config->tcp_keepalive, 300);
    assert_int_equal(config->tcp_backlog, 511);
    assert_int_equal(config->databases, 16);
    assert_string_equal(config->requirepass, "");
    assert_int_equal(config->maxmemory, 0);
    assert_int_equal(config->maxmemory_policy, MAXMEMORY_NOEVICTION);
    assert_int_equal(config->proto_max_bulk_len, 512 << 20);
    assert_int_equal(config->client_query_buffer_limit, 1 << 30);
    assert_int_equal(config->memcache_item_size_max, 1 << 20);
    assert_int_equal(config->loglevel, LOG_NOTICE);
    assert_int_equal(config->workers, 1);
    assert_int_equal(config->poll_mode, POLL_ADAPTIVE);
    assert_int_equal(config_check(config, &error), 0);
}

/* Every default must pass its own check: set from the text that the file would have. */
static void test_defaults_are_allowed(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < option_count; i++) {
        char text[CONFIG_VALUE_BYTES_MAX];
        struct config_words words;
        struct config_reason reason;
        if (options[i].kind == OPTION_KIND_SECTION || options[i].kind == OPTION_KIND_INTERFACE) {
            continue;
        }
        option_format_for_file(config, &options[i], text);
        assert_int_equal(config_split_words(slice_of_string(text), &words, &reason), 0);
        if (option_set(config, &options[i], words.count, words.words, &reason) != 0) {
            fail_msg("%s %s: %s", options[i].name, text, reason.text);
        }
    }
}

static void test_set(void **state)
{
    (void)state;
    assert_int_equal(set("maxmemory 1gb TIMEOUT 7 requirepass \"a b\" protected-mode NO"), 0);
    assert_int_equal(config->maxmemory, 1 << 30);
    assert_int_equal(config->timeout, 7);
    assert_string_equal(config->requirepass, "a b");
    assert_false(config->protected_mode);
    assert_int_equal(set("loglevel Warning"), 0);
    assert_int_equal(config->loglevel, LOG_WARNING);
    /* What cannot change takes the value that it has. */
    assert_int_equal(set("save '' appendonly no replica-read-only yes"), 0);
    assert_int_equal(set("maxmemory-policy noeviction"), 0);
    assert_int_equal(set("maxmemory-policy Volatile-TTL lfu-decay-time 0"), 0);
    assert_int_equal(config->maxmemory_policy, MAXMEMORY_VOLATILE_TTL);
    assert_int_equal(set("maxmemory-policy allkeys-s3fifo maxmemory-samples 64"), 0);
    assert_int_equal(config->maxmemory_policy, MAXMEMORY_ALLKEYS_S3FIFO);
}

static void test_set_memory_units(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int64_t bytes;
    } cases[] = {
        {"maxmemory 0", 0},
        {"maxmemory 1", 1},
        {"maxmemory 2b", 2},
        {"maxmemory 3k", 3000},
        {"maxmemory 3kb", 3072},
        {"maxmemory 3M", 3000000},
        {"maxmemory 3Mb", 3 << 20},
        {"maxmemory 3g", 3000000000},
        {"maxmemory 1GB", 1 << 30},
        {"maxmemory 007", 7},
        {"maxmemory 9223372036854775807", INT64_MAX},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(set(cases[i].line), 0);
        assert_int_equal(config->maxmemory, cases[i].bytes);
    }
}

#define FAILED(name, why) "ERR CONFIG SET failed (possibly related to argument '" name "') - " why
#define UNKNOWN(name)     "ERR Unknown option or number of arguments for CONFIG SET - '" name "'"

static void test_set_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"nosuch 1", UNKNOWN("nosuch")},
        {"\"a\\nb\" 1", UNKNOWN("a b")},
        {"timeout", "ERR syntax error"},
        {"timeout 1 timeout", "ERR syntax error"},
        {"", "ERR syntax error"},
        {"timeout 1 nosuch 2", UNKNOWN("nosuch")},
        {"PORT 1", FAILED("PORT", "can't set immutable config")},
        {"databases 4", FAILED("databases", "can't set immutable config")},
        {"store-index buckets", FAILED("store-index", "can't set immutable config")},
        {"daemonize no", FAILED("daemonize", "can't set immutable config")},
        {"cluster-enabled no", FAILED("cluster-enabled", "can't set immutable config")},
        {"cluster-enabled no nosuch 2", FAILED("cluster-enabled", "can't set immutable config")},
        {"interface 'a tap 10.0.0.5/24'", FAILED("interface", "can't set immutable config")},
        {"bind ::1", FAILED("bind", "can't set immutable config")},
        {"timeout 1 timeout 2", FAILED("timeout", "duplicate parameter")},
        {"timeout 1 TIMEOUT 2", FAILED("TIMEOUT", "duplicate parameter")},
        {"TIMEOUT abc", FAILED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout abc", FAILED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout ''", FAILED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout +5", FAILED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout 05", FAILED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout ' 1'", FAILED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout 99999999999999999999",
         FAILED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout -1", FAILED("timeout", "argument must be between 0 and 2147483647 inclusive")},
        {"maxclients 0",
         FAILED("maxclients", "argument must be between 1 and 4294967295 inclusive")},
        {"maxmemory abc", FAILED("maxmemory", "argument must be a memory value")},
        {"maxmemory 1xb", FAILED("maxmemory", "argument must be a memory value")},
        {"maxmemory -1", FAILED("maxmemory", "argument must be a memory value")},
        {"maxmemory 1.5gb", FAILED("maxmemory", "argument must be a memory value")},
        {"maxmemory '1 gb'", FAILED("maxmemory", "argument must be a memory value")},
        {"maxmemory ''", FAILED("maxmemory", "argument must be a memory value")},
        {"maxmemory gb", FAILED("maxmemory", "argument must be a memory value")},
        {"maxmemory 9223372036854775808", FAILED("maxmemory", "argument must be a memory value")},
        {"maxmemory 99999999999gb", FAILED("maxmemory", "argument must be a memory value")},
        {"timeout 1 maxmemory abc", FAILED("maxmemory", "argument must be a memory value")},
        {"protected-mode maybe", FAILED("protected-mode", "argument must be 'yes' or 'no'")},
        {"loglevel foo", FAILED("loglevel", "argument(s) must be one of the following: debug, "
                                            "verbose, notice, warning")},
        {"maxmemory-policy foo",
         FAILED("maxmemory-policy",
                "argument(s) must be one of the following: volatile-lru, volatile-lfu, "
                "volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, "
                "noeviction, allkeys-s3fifo")},
        {"maxmemory-samples 0",
         FAILED("maxmemory-samples", "argument must be between 1 and 64 inclusive")},
        {"lfu-log-factor -1",
         FAILED("lfu-log-factor", "argument must be between 0 and 2147483647 inclusive")},
        {"proto-max-bulk-len 10",
         FAILED("proto-max-bulk-len", "argument must be between 1048576 and 536870912 inclusive")},
        {"save '900 1'", FAILED("save", "this version has no persistence: no snapshots; only '' is "
                                        "accepted")},
        {"appendonly yes", FAILED("appendonly", "this version has no persistence: no append-only "
                                                "file; only 'no' is accepted")},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int result = set(cases[i][0]);
        if (result != -EINVAL || strcmp(error.text, cases[i][1]) != 0) {
            fail_msg("%s gives %d: %s", cases[i][0], result, error.text);
        }
    }
    /* All or nothing: the good half of those lines was not kept. */
    assert_int_equal(config->timeout, 0);
}

static void test_set_too_long(void **state)
{
    (void)state;
    char value[CONFIG_TEXT_BYTES_MAX + 1], name[] = "requirepass";
    memset(value, 'x', sizeof(value));
    value[CONFIG_TEXT_BYTES_MAX] = '\0';
    char *const pair[] = {name, value};
    assert_int_equal(config_set(config, 2, pair, &error), -EINVAL);
    assert_non_null(strstr(error.text, "longer than 4095 bytes"));
    assert_string_equal(config->requirepass, "");
    value[CONFIG_TEXT_BYTES_MAX - 1] = '\0';
    assert_int_equal(config_set(config, 2, pair, &error), 0);
    char *const unknown[] = {value, value};
    assert_int_equal(config_set(config, 2, unknown, &error), -EINVAL);
    assert_int_equal(strlen(error.text), strlen(UNKNOWN("")) + 128);
}

static void test_copy(void **state)
{
    (void)state;
    assert_int_equal(set("requirepass one"), 0);
    struct config *copy = config_copy(config);
    assert_non_null(copy);
    assert_ptr_not_equal(copy->requirepass, config->requirepass);
    assert_int_equal(set("requirepass two timeout 3"), 0);
    assert_string_equal(copy->requirepass, "one");
    assert_int_equal(copy->timeout, 0);
    assert_string_equal(config->requirepass, "two");
    config_destroy(copy);
    config_destroy(NULL);
}

/* ---- CONFIG GET ---------------------------------------------------------------------------- */

enum { VISITED_MAX = 256 };

struct visited {
    uint32_t count;
    char names[VISITED_MAX][64], values[VISITED_MAX][256];
};

static void visit(void *argument, const char *name, const char *value)
{
    struct visited *visited = argument;
    assert_true(visited->count < VISITED_MAX);
    snprintf(visited->names[visited->count], 64, "%s", name);
    snprintf(visited->values[visited->count++], 256, "%s", value);
}

static void visit_pattern(struct visited *visited, const char *a, const char *b)
{
    struct slice patterns[2] = {slice_of_string(a), slice_of_string(b)};
    visited->count = 0;
    config_visit(config, 2, patterns, visit, visited);
}

static void test_get(void **state)
{
    (void)state;
    struct visited visited;
    visit_pattern(&visited, "nosuch", "");
    assert_int_equal(visited.count, 0);
    /* Once, and as it was written. */
    visit_pattern(&visited, "po*", "PORT");
    assert_int_equal(visited.count, 2);
    assert_string_equal(visited.names[0], "PORT");
    assert_string_equal(visited.values[0], "6379");
    assert_string_equal(visited.names[1], "poll-mode");
    visit_pattern(&visited, "MAXM*y", "save");
    assert_int_equal(visited.count, 3);
    assert_string_equal(visited.names[0], "maxmemory");
    assert_string_equal(visited.values[1], "noeviction");
    assert_string_equal(visited.values[2], "");
    visit_pattern(&visited, "*", "*");
    assert_true(visited.count > 30);
    for (uint32_t i = 0; i < visited.count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            assert_string_not_equal(visited.names[i], visited.names[j]);
        }
    }
}

/* What clients ask for by themselves (FEATURES.md 2.5). */
static void test_get_by_clients(void **state)
{
    (void)state;
    static const char *const expected[][2] = {
        {"save", ""},
        {"appendonly", "no"},
        {"databases", "16"},
        {"timeout", "0"},
        {"maxmemory", "0"},
        {"maxmemory-policy", "noeviction"},
        {"replica-read-only", "yes"},
        {"slave-read-only", "yes"},
        {"cluster-enabled", "no"},
        {"notify-keyspace-events", ""},
        {"unixsocketperm", "0"},
        {"bind", "* -::*"},
        {"proto-max-bulk-len", "536870912"},
        {"enable-debug-command", "no"},
    };
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_string_equal(get(expected[i][0]), expected[i][1]);
    }
}

static void test_get_many_interfaces(void **state)
{
    (void)state;
    /* The longest lines there can be: the value must fit. */
    struct interface_config longest = {
        .driver = INTERFACE_MEMIF, .vlan = 4094, .mtu = 9216, .optional = true, .client = true};
    memset(longest.name, 'n', sizeof(longest.name) - 1);
    memset(longest.exception_tap, 't', sizeof(longest.exception_tap) - 1);
    memset(longest.argument, 'a', sizeof(longest.argument) - 1);
    memset(&longest.addresses, 0xfe, sizeof(longest.addresses));
    longest.addresses.count = CONFIG_ADDRESSES_MAX;
    longest.addresses.gateway_count = GATEWAYS_MAX;
    for (uint32_t i = 0; i < CONFIG_INTERFACES_MAX; i++) {
        config->interfaces[i] = longest;
    }
    config->interface_count = CONFIG_INTERFACES_MAX;
    const char *text = get("interface");
    assert_true(strlen(text) < CONFIG_VALUE_BYTES_MAX - 1);
    assert_string_equal(text + strlen(text) - 9, " optional");
}

/* ---- CPUs --------------------------------------------------------------------------------------
 */

static void assert_cpus(const char *text, int32_t count, const uint32_t *expected)
{
    char copy[64];
    snprintf(copy, sizeof(copy), "%s", text);
    char *const value[] = {copy};
    struct config_reason reason;
    int result = option_set(config, option_find("worker-cpus"), 1, value, &reason);
    if ((result == 0) != (count >= 0)) {
        fail_msg("worker-cpus '%s'", text);
    }
    if (count >= 0) {
        uint32_t cpus[8];
        assert_int_equal(config_worker_cpus(config, cpus, 8), count);
        assert_memory_equal(cpus, expected, (size_t)count * sizeof(cpus[0]));
    }
}

static void test_worker_cpus(void **state)
{
    (void)state;
    assert_cpus("", 0, (const uint32_t[]){0});
    assert_cpus("3", 1, (const uint32_t[]){3});
    assert_cpus("5,2-3", 3, (const uint32_t[]){5, 2, 3});
    assert_cpus("0-1023", 8, (const uint32_t[]){0, 1, 2, 3, 4, 5, 6, 7});
    static const char *const bad[] = {
        ",",   "1,",    ",1",   "1,,2",   "1-", "-1",  "3-1", "1-2-3",
        "1,1", "0-4,2", "1024", "0-1024", "a",  "1 2", "0x1", "18446744073709551616"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_cpus(bad[i], -1, NULL);
    }
}

/* ---- documents ------------------------------------------------------------------------------- */

/* The sample with its '#' taken off is a configuration with all defaults. */
static void test_sample_is_valid(void **state)
{
    (void)state;
    char *printed = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&printed, &size);
    assert_non_null(to);
    config_print_sample(to);
    fclose(to);
    struct slice text = slice_of(printed, size), line;
    uint32_t count = 0;
    while (config_next_line(&text, &line)) {
        struct config_words words;
        struct config_reason reason;
        if (line.size < 3 || line.data[0] != '#' || line.data[1] != ' ' ||
            config_split_words(slice_from(line, 2), &words, &reason) != 0 || words.count == 0) {
            continue;
        }
        const struct option *option = option_find(words.words[0]);
        /* Those stand there as examples. */
        bool is_example = option == NULL || option->kind == OPTION_KIND_INTERFACE ||
                          option->kind == OPTION_KIND_SECURITY;
        if (!is_example) {
            assert_int_equal(config_parse_text(config, "s", slice_from(line, 2), false, &error), 0);
            count++;
        }
    }
    assert_true(count >= 30);
    struct config *defaults = config_create_default();
    for (uint32_t i = 0; i < option_count; i++) {
        if (options[i].kind != OPTION_KIND_SECTION) {
            char a[CONFIG_VALUE_BYTES_MAX], b[CONFIG_VALUE_BYTES_MAX];
            option_format(config, &options[i], a);
            option_format(defaults, &options[i], b);
            assert_string_equal(a, b);
        }
    }
    config_destroy(defaults);
    free(printed);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_defaults_are_allowed),
        TEST(test_set),
        TEST(test_set_memory_units),
        TEST(test_set_refused),
        TEST(test_set_too_long),
        TEST(test_copy),
        TEST(test_get),
        TEST(test_get_by_clients),
        TEST(test_get_many_interfaces),
        TEST(test_worker_cpus),
        TEST(test_sample_is_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
