/* `security-group` lines: what is taken, what is refused and why, replaced, and back to text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/config/fresh_config.h"

static int set(const char *value)
{
    return set_value("security-group", value);
}

static void assert_rules(const char *expected)
{
    char text[CONFIG_VALUE_BYTES_MAX];
    config_format_security_rules(config, text, sizeof(text));
    assert_string_equal(text, expected);
}

static void test_lines_add_rules_in_their_order(void **state)
{
    (void)state;
    assert_int_equal(parse("security-group deny 10.0.9.0/24\n"
                           "security-group allow 10.0.0.0/8 port 6379\n"
                           "security-group allow 2001:db8::/32 port 11211 protocol tcp; deny all\n"
                           "security-group allow 192.0.2.7 protocol udp port 1-100\n"),
                     0);
    assert_rules("deny 10.0.9.0/24; allow 10.0.0.0/8 port 6379; "
                 "allow 2001:db8::/32 port 11211 protocol tcp; deny all; "
                 "allow 192.0.2.7/32 port 1-100 protocol udp");
    assert_int_equal(config->security_rules[0].family, SECURITY_FAMILY_IPV4);
    assert_int_equal(config->security_rules[2].prefix_length, 32);
    assert_int_equal(config->security_rules[3].family, SECURITY_FAMILY_ANY);
}

static void test_a_quoted_value_replaces(void **state)
{
    (void)state;
    assert_int_equal(set("allow 10.0.0.0/8; deny all"), 0);
    assert_rules("allow 10.0.0.0/8; deny all");
    assert_int_equal(set(" deny 10.1.0.0/16 ;; "), 0);
    assert_rules("deny 10.1.0.0/16");
    assert_int_equal(set("allow 10.0.0.0/8; nonsense"), -EINVAL);
    assert_rules("deny 10.1.0.0/16");
    assert_int_equal(set(""), 0);
    assert_rules("");
}

static void test_what_is_shown_can_be_set(void **state)
{
    (void)state;
    char text[CONFIG_VALUE_BYTES_MAX] = "";
    for (uint32_t i = 0; i < CONFIG_SECURITY_RULES_MAX; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used,
                 "%sallow 2001:db8:1234:5678:9abc:def0:1234:%x/128 port 60000-65535 protocol tcp",
                 i == 0 ? "" : "; ", 0x1000 + i);
    }
    assert_int_equal(set(text), 0);
    assert_rules(text);
    char more[CONFIG_VALUE_BYTES_MAX];
    snprintf(more, sizeof(more), "%.8000s; deny all", text);
    assert_int_equal(set(more), -EINVAL);
    assert_non_null(strstr(error.text, "more than 64 rules"));
}

static void test_refusals_say_why(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"permit all", "allow or deny, not with 'permit'"},
        {"allow", "a rule is allow or deny and a prefix"},
        {"allow nobody", "'nobody' is no address or prefix"},
        {"allow 10.0.0.0/33", "from 0 to 32"},
        {"allow 10.0.0.0/", "from 0 to 32"},
        {"allow ::/129", "from 0 to 128"},
        {"allow 10.0.0.1/8", "the network is 10.0.0.0/8"},
        {"allow 2001:db8::1/64", "the network is 2001:db8::/64"},
        {"allow all port", "'port' needs a value"},
        {"allow all port 0", "no number from 1 to 65535"},
        {"allow all port 65536", "no number from 1 to 65535"},
        {"allow all port 9-8", "no number from 1 to 65535"},
        {"allow all port 1 port 2", "port given twice"},
        {"allow all protocol icmp", "neither tcp nor udp"},
        {"allow all protocol tcp protocol udp", "protocol given twice"},
        {"allow all from here", "unknown word 'from'"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char line[256];
        snprintf(line, sizeof(line), "security-group %s", cases[i][0]);
        assert_int_equal(parse(line), -EINVAL);
        if (strstr(error.text, cases[i][1]) == NULL) {
            fail_msg("'%s' gave: %s", cases[i][0], error.text);
        }
        assert_int_equal(config->security_rule_count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines_add_rules_in_their_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_quoted_value_replaces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_shown_can_be_set, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals_say_why, setup, teardown),
    };
    return cmocka_run_group_tests_name("security", tests, NULL, NULL);
}
