/* Numbers as Redis and memcached read and write them, and addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "dataplane/base/address.h"
#include "dataplane/base/number.h"

static void int64_is_strict(void **state)
{
    static const struct {
        const char *text;
        bool valid;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-1", true, -1},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"-0", false, 0},
        {"+1", false, 0},
        {"01", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1x", false, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t value = 42;
        bool valid = number_parse_int64(slice_of_string(cases[i].text), &value);
        if (valid != cases[i].valid || (valid && value != cases[i].value)) {
            fail_msg("'%s': %d %lld", cases[i].text, valid, (long long)value);
        }
    }
}

static void uint64_takes_digits_only(void **state)
{
    uint64_t value;
    assert_true(number_parse_uint64(slice_of_string("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    assert_true(number_parse_uint64(slice_of_string("007"), &value));
    assert_int_equal(value, 7);
    assert_false(number_parse_uint64(slice_of_string("18446744073709551616"), &value));
    assert_false(number_parse_uint64(slice_of_string("-1"), &value));
    assert_false(number_parse_uint64(slice_of_string(""), &value));
}

static void long_double_refuses_what_redis_refuses(void **state)
{
    long double value;
    assert_true(number_parse_long_double(slice_of_string("3.5"), &value));
    assert_true(value == 3.5L);
    assert_true(number_parse_long_double(slice_of_string("-1e3"), &value));
    assert_true(value == -1000.0L);
    assert_true(number_parse_long_double(slice_of_string("inf"), &value));
    assert_true(isinf(value));
    static const char *const bad[] = {"", " 1", "1 ", "nan", "x", "1x", "1e999999", "\t1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (number_parse_long_double(slice_of_string(bad[i]), &value)) {
            fail_msg("'%s' was taken", bad[i]);
        }
    }
}

static void format_is_the_inverse_of_parse(void **state)
{
    static const int64_t values[] = {0, 1, -1, 10, -10, INT64_MAX, INT64_MIN, 1234567890123};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        uint8_t text[NUMBER_TEXT_BYTES_MAX];
        size_t size = number_format_int64(values[i], text);
        int64_t back;
        assert_true(number_parse_int64(slice_of(text, size), &back));
        assert_true(back == values[i]);
    }
}

static void every_length_is_formatted(void **state)
{
    uint64_t power = 1;
    for (int digits = 1; digits <= 20; digits++, power *= 10) {
        uint64_t values[] = {power - 1, power, power + 1, power + power / 7};
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
            uint8_t text[NUMBER_TEXT_BYTES_MAX];
            char expected[32];
            snprintf(expected, sizeof(expected), "%llu", (unsigned long long)values[i]);
            assert_int_equal(number_format_uint64(values[i], text), strlen(expected));
            assert_memory_equal(text, expected, strlen(expected));
        }
    }
}

static void addresses_round_trip(void **state)
{
    static const char *const texts[] = {"198.18.0.2", "0.0.0.0", "255.255.255.255", "2001:db8::1",
                                        "::1"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct address address;
        char text[ADDRESS_TEXT_BYTES_MAX];
        assert_true(address_parse(slice_of_string(texts[i]), &address));
        address_format(&address, text);
        assert_string_equal(text, texts[i]);
    }
    struct address address;
    assert_false(address_parse(slice_of_string("1.2.3"), &address));
    assert_false(address_parse(slice_of_string(""), &address));
    assert_true(address_parse(slice_of_string("198.18.0.2"), &address));
    assert_true(address_is_ipv4(&address));
    assert_int_equal(address_to_ipv4(&address), 0xC6120002);
    assert_false(address_is_loopback(&address));
    static const char *const loopback[] = {"127.0.0.1", "127.255.255.254", "::1"};
    for (size_t i = 0; i < sizeof(loopback) / sizeof(loopback[0]); i++) {
        assert_true(address_parse(slice_of_string(loopback[i]), &address));
        assert_true(address_is_loopback(&address));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(int64_is_strict),
        cmocka_unit_test(uint64_takes_digits_only),
        cmocka_unit_test(long_double_refuses_what_redis_refuses),
        cmocka_unit_test(format_is_the_inverse_of_parse),
        cmocka_unit_test(every_length_is_formatted),
        cmocka_unit_test(addresses_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
