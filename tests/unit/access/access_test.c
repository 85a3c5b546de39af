/* Rules against a plain walk over them, and the limits by source. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>

#include "dataplane/access/access.h"
#include "dataplane/base/hash.h"
#include "tests/support/simulated_host.h"

#define SECOND 1000000ULL

static struct config *config;
static struct config_error error;
static struct access *access;
static uint64_t random_state = 42;

static uint32_t draw(uint32_t below)
{
    return (uint32_t)(random_next(&random_state) >> 33) % below;
}

static int setup(void **state)
{
    (void)state;
    simulated_memory_setup();
    config = config_create_default();
    access = access_create();
    return config == NULL || access == NULL;
}

static int teardown(void **state)
{
    (void)state;
    access_destroy(access);
    config_destroy(config);
    return 0;
}

static void set(const char *name, const char *value)
{
    char name_text[64], value_text[4096];
    snprintf(name_text, sizeof(name_text), "%s", name);
    snprintf(value_text, sizeof(value_text), "%s", value);
    char *const pair[] = {name_text, value_text};
    if (config_set(config, 2, pair, &error) != 0) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(access_set(access, config, &error), 0);
}

static struct address address_of(const char *text)
{
    struct address address;
    assert_true(address_parse(slice_of_string(text), &address));
    return address;
}

static bool served(const char *source, uint16_t port, uint8_t protocol)
{
    struct address address = address_of(source);
    return access_check_rules(access, &address, port, protocol) == METRIC_COUNT;
}

static void test_first_match_decides(void **state)
{
    (void)state;
    assert_true(served("10.0.0.1", 6379, IPPROTO_TCP));
    set("security-group", "deny 10.0.9.0/24; allow 10.0.0.0/8 port 6379; allow ::1 protocol udp");
    assert_true(served("10.0.0.1", 6379, IPPROTO_TCP));
    assert_true(served("10.0.0.1", 6379, IPPROTO_UDP));
    assert_false(served("10.0.0.1", 6380, IPPROTO_TCP));
    assert_false(served("10.0.9.1", 6379, IPPROTO_TCP));
    assert_false(served("11.0.0.1", 6379, IPPROTO_TCP)); /* matches none, and there is an allow */
    assert_true(served("::1", 9, IPPROTO_UDP));
    assert_false(served("::1", 9, IPPROTO_TCP));
    set("security-group", "deny 10.0.9.0/24");
    assert_false(served("10.0.9.1", 6379, IPPROTO_TCP));
    assert_true(served("11.0.0.1", 6379, IPPROTO_TCP)); /* nothing but deny */
    set("security-group", "deny ::/0");
    assert_true(served("10.0.9.1", 6379, IPPROTO_TCP));
    assert_false(served("fd00::1", 6379, IPPROTO_TCP));
    set("security-group", "deny all");
    assert_false(served("10.0.9.1", 6379, IPPROTO_TCP));
    assert_false(served("fd00::1", 6379, IPPROTO_TCP));
    set("security-group", "");
    assert_true(served("10.0.9.1", 6379, IPPROTO_TCP));
}

static bool prefix_matches(const struct security_rule *rule, const struct address *address)
{
    bool ipv4 = address_is_ipv4(address);
    if (rule->family == SECURITY_FAMILY_ANY) {
        return true;
    }
    if (ipv4 != (rule->family == SECURITY_FAMILY_IPV4)) {
        return false;
    }
    uint32_t bits = rule->prefix_length + (ipv4 ? 96U : 0U);
    for (uint32_t i = 0; i < bits; i++) {
        uint8_t mask = (uint8_t)(0x80 >> i % 8);
        if ((rule->address.bytes[i / 8] & mask) != (address->bytes[i / 8] & mask)) {
            return false;
        }
    }
    return true;
}

static bool walk(const struct address *address, uint16_t port, uint8_t protocol)
{
    bool others = true;
    for (uint32_t i = 0; i < config->security_rule_count; i++) {
        const struct security_rule *rule = &config->security_rules[i];
        bool right_protocol =
            rule->protocol == SECURITY_PROTOCOL_ANY ||
            (rule->protocol == SECURITY_PROTOCOL_UDP) == (protocol == IPPROTO_UDP);
        if (right_protocol && port >= rule->port_low && port <= rule->port_high &&
            prefix_matches(rule, address)) {
            return rule->allow;
        }
        others = others && !rule->allow;
    }
    return others;
}

/* Few bits of each, so that rules meet. */
static struct address draw_address(void)
{
    struct address address = address_from_ipv4(0x0A000000U | draw(4) << 16 | draw(4));
    if (draw(2) == 0) {
        memset(&address, 0, sizeof(address));
        address.bytes[0] = 0xFD;
        address.bytes[7] = (uint8_t)draw(4);
        address.bytes[15] = (uint8_t)draw(4);
    }
    return address;
}

static void draw_rule(char *text, size_t size)
{
    struct address address = draw_address();
    char name[ADDRESS_TEXT_BYTES_MAX];
    bool ipv4 = address_is_ipv4(&address);
    address_format(&address, name);
    if (ipv4 && draw(2) == 0) {
        snprintf(name, sizeof(name), "10.%u.0.0/16", draw(4));
    } else if (!ipv4 && draw(2) == 0) {
        snprintf(name, sizeof(name), "fd00:0:0:%u::/64", draw(4));
    } else if (draw(16) == 0) {
        snprintf(name, sizeof(name), "all");
    }
    static const char *const protocols[] = {"", " protocol tcp", " protocol udp"};
    char ports[32] = "";
    if (draw(2) == 0) {
        uint32_t low = 1 + draw(6);
        snprintf(ports, sizeof(ports), " port %u-%u", low, low + draw(4));
    }
    snprintf(text, size, "%s %s%s%s", draw(2) == 0 ? "allow" : "deny", name, ports,
             protocols[draw(3)]);
}

static void test_compiled_rules_agree_with_a_walk(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 40; round++) {
        char text[4096] = "";
        uint32_t count = 1 + draw(CONFIG_SECURITY_RULES_MAX);
        for (uint32_t i = 0; i < count; i++) {
            char rule[128];
            draw_rule(rule, sizeof(rule));
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i == 0 ? "" : ";",
                     rule);
        }
        set("security-group", text);
        for (uint32_t i = 0; i < 2000; i++) {
            struct address address = draw_address();
            uint16_t port = (uint16_t)draw(10);
            uint8_t protocol = draw(2) == 0 ? IPPROTO_TCP : IPPROTO_UDP;
            bool got = access_check_rules(access, &address, port, protocol) == METRIC_COUNT;
            assert_int_equal(got, walk(&address, port, protocol));
        }
    }
}

static void test_connections_of_a_source_are_limited(void **state)
{
    (void)state;
    struct address one = address_of("10.0.0.1"), other = address_of("10.0.0.2");
    struct address six = address_of("fd00::1"), neighbour = address_of("fd00::2");
    assert_int_equal(access_enter(access, &one, 0),
                     METRIC_COUNT); /* counted without a limit, too */
    set("max-connections-per-source", "2");
    assert_int_equal(access_check(access, &one, 6379, 0), METRIC_COUNT);
    assert_int_equal(access_enter(access, &one, 0), METRIC_COUNT);
    assert_int_equal(access_check(access, &one, 6379, 0), METRIC_NET_DROP_SOURCE_CONNECTIONS);
    assert_int_equal(access_enter(access, &one, 0), METRIC_NET_DROP_SOURCE_CONNECTIONS);
    assert_int_equal(access_enter(access, &other, 0), METRIC_COUNT);
    access_leave(access, &one);
    assert_int_equal(access_enter(access, &one, 0), METRIC_COUNT);
    assert_int_equal(access_enter(access, &six, 0), METRIC_COUNT);
    assert_int_equal(access_enter(access, &neighbour, 0), METRIC_COUNT); /* of the same /64 */
    assert_int_equal(access_enter(access, &six, 0), METRIC_NET_DROP_SOURCE_CONNECTIONS);
    set("max-connections-per-source", "0");
    assert_int_equal(access_enter(access, &six, 0), METRIC_COUNT);
}

static void test_rate_of_a_source_is_limited(void **state)
{
    (void)state;
    struct address one = address_of("10.0.0.1"), other = address_of("10.0.0.2");
    uint64_t now_us = 5 * SECOND;
    set("connection-rate-per-source", "10");
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(access_enter(access, &one, now_us), METRIC_COUNT);
    }
    assert_int_equal(access_enter(access, &one, now_us), METRIC_NET_DROP_SOURCE_RATE);
    assert_int_equal(access_check(access, &one, 6379, now_us), METRIC_NET_DROP_SOURCE_RATE);
    assert_int_equal(access_enter(access, &other, now_us), METRIC_COUNT);
    now_us += SECOND / 10;
    assert_int_equal(access_enter(access, &one, now_us), METRIC_COUNT);
    assert_int_equal(access_enter(access, &one, now_us), METRIC_NET_DROP_SOURCE_RATE);
    uint32_t taken = 0;
    for (uint32_t ms = 0; ms < 10000; ms++) {
        now_us += SECOND / 1000;
        taken += access_enter(access, &one, now_us) == METRIC_COUNT;
    }
    assert_in_range(taken, 99, 101);
}

static void test_many_sources_do_not_stand_for_one(void **state)
{
    (void)state;
    set("max-connections-per-source", "3");
    for (uint32_t i = 0; i < 5000; i++) {
        struct address address = address_from_ipv4(0x0B000000U + i);
        assert_int_equal(access_enter(access, &address, 0), METRIC_COUNT);
    }
    for (uint32_t i = 0; i < 5000; i++) {
        struct address address = address_from_ipv4(0x0B000000U + i);
        access_leave(access, &address);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_match_decides, setup, teardown),
        cmocka_unit_test_setup_teardown(test_compiled_rules_agree_with_a_walk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connections_of_a_source_are_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rate_of_a_source_is_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_sources_do_not_stand_for_one, setup, teardown),
    };
    return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
