/* `client-output-buffer-limit`: what is taken, what is refused in redis-server's words, and back to
 * text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/config/fresh_config.h"

#define DEFAULTS                                                                                   \
    "normal 268435456 67108864 60 slave 268435456 67108864 60 pubsub 33554432 8388608 60"

static int set(const char *value)
{
    return set_value("client-output-buffer-limit", value);
}

static void assert_limits(bool for_file, const char *expected)
{
    char text[CONFIG_VALUE_BYTES_MAX];
    config_format_output_limits(config, for_file, text, sizeof(text));
    assert_string_equal(text, expected);
}

static void test_classes_are_set_apart(void **state)
{
    (void)state;
    assert_limits(false, DEFAULTS);
    assert_int_equal(set("normal 0 1k 3"), 0);
    assert_int_equal(parse("client-output-buffer-limit pubsub 1mb 0 0\n"
                           "client-output-buffer-limit \"Slave 5gb 4MB 7\"\n"),
                     0);
    assert_limits(false, "normal 0 1000 3 slave 5368709120 4194304 7 pubsub 1048576 0 0");
    assert_limits(true, "normal 0 1000 3 replica 5gb 4mb 7 pubsub 1mb 0 0");
    assert_int_equal(set("NORMAL 1 2 3 replica 4 5 6 normal 7 8 9"), 0);
    assert_limits(false, "normal 7 8 9 slave 4 5 6 pubsub 1048576 0 0");
    assert_int_equal(config->client_output_buffer_limit[OUTPUT_CLASS_NORMAL].soft_seconds, 9);
    assert_int_equal(set(""), 0); /* of no class */
    assert_limits(false, "normal 7 8 9 slave 4 5 6 pubsub 1048576 0 0");
}

static void assert_refused(const char *value, const char *reason)
{
    char expected[512];
    snprintf(expected, sizeof(expected),
             "ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - "
             "%s in buffer limit configuration.",
             reason);
    assert_int_equal(set(value), -EINVAL);
    assert_string_equal(error.text, expected);
    assert_limits(false, DEFAULTS); /* nothing of it */
}

static void test_refusals_are_those_of_redis(void **state)
{
    (void)state;
    assert_refused("normal 1 2", "Wrong number of arguments");
    assert_refused("normal 1 2 3 pubsub", "Wrong number of arguments");
    assert_refused("normal 1 2 3 nobody 1 2 3", "Invalid client class specified");
    assert_refused("master 1 2 3", "Invalid client class specified");
    static const char *const bad[] = {"normal 1x 2 3",
                                      "normal 1 -2 3",
                                      "normal 1 2 -3",
                                      "normal 1 2 3.5",
                                      "normal 1.5 2 3",
                                      "normal 1 2 x",
                                      "pubsub 1 2 3 normal 99999999999gb 2 3"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_refused(bad[i], "Error in hard, soft or soft_seconds setting");
    }
    assert_int_equal(parse("client-output-buffer-limit\n"), -EINVAL);
    assert_string_equal(error.text, "f:1: 'client-output-buffer-limit': wrong number of arguments");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_classes_are_set_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals_are_those_of_redis, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
