#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bench/ledger.h"
#include "tests/bench/value.h"

static enum value_fault check_pieces(uint64_t hash, uint64_t expected, const uint8_t *value,
                                     size_t size, size_t cut)
{
    struct value_check check;
    value_check_start(&check, hash, expected, size);
    value_check_bytes(&check, slice_of(value, cut));
    value_check_bytes(&check, slice_of(value + cut, size - cut));
    if (check.fault == VALUE_RIGHT && value_has_version(size)) {
        assert_int_equal(check.version, 0x01020304);
    }
    return check.fault;
}

/* What was composed is right at every size and every cut; one flipped bit never is. */
static void test_every_bit_counts(void **state)
{
    (void)state;
    uint8_t value[80];
    for (size_t size = 1; size <= sizeof(value); size += size < 30 ? 1 : 13) {
        value_compose(0x1122334455667788, 0x01020304, value, size);
        for (size_t cut = 0; cut <= size; cut++) {
            assert_int_equal(check_pieces(0x1122334455667788, size, value, size, cut), VALUE_RIGHT);
        }
        for (size_t i = 0; i < size; i++) {
            if (size < VALUE_HEAD_BYTES && i >= 8) {
                continue;
            }
            value[i] ^= 0x10;
            struct value_check check;
            value_check_start(&check, 0x1122334455667788, size, size);
            value_check_bytes(&check, slice_of(value, size));
            /* A wrong version alone is the ledger's to see, where there is no pattern behind it. */
            bool seen = check.fault != VALUE_RIGHT || check.version != 0x01020304;
            assert_true(seen);
            assert_int_equal(check.fault == VALUE_OF_OTHER_KEY, i < 8);
            value[i] ^= 0x10;
        }
    }
}

static void test_other_key_and_size(void **state)
{
    (void)state;
    uint8_t value[64];
    value_compose(1, 0x01020304, value, sizeof(value));
    assert_int_equal(check_pieces(2, 64, value, 64, 5), VALUE_OF_OTHER_KEY);
    assert_int_equal(check_pieces(2, 63, value, 64, 5), VALUE_OF_OTHER_KEY);
    assert_int_equal(check_pieces(1, 63, value, 64, 5), VALUE_WRONG_SIZE);
}

static void test_ledger(void **state)
{
    (void)state;
    struct ledger *ledger = ledger_create(2);
    assert_int_equal(ledger_send_write(ledger, 1), 1);
    assert_int_equal(ledger_floor(ledger, 1), 0);
    assert_int_equal(ledger_check(ledger, 1, 0, 1), VALUE_RIGHT);
    assert_int_equal(ledger_check(ledger, 1, 0, 2), VALUE_NEVER_SENT);
    ledger_acknowledge_write(ledger, 1);
    assert_int_equal(ledger_floor(ledger, 1), 1);

    /* 2 and 3 overlap: either may be the last, 1 may not. */
    assert_int_equal(ledger_send_write(ledger, 1), 2);
    assert_int_equal(ledger_send_write(ledger, 1), 3);
    ledger_acknowledge_write(ledger, 1);
    assert_int_equal(ledger_floor(ledger, 1), 1);
    ledger_acknowledge_write(ledger, 1);
    uint32_t floor = ledger_floor(ledger, 1);
    assert_int_equal(floor, 2);
    assert_int_equal(ledger_check(ledger, 1, floor, 1), VALUE_STALE);
    assert_int_equal(ledger_check(ledger, 1, floor, 2), VALUE_RIGHT);
    assert_int_equal(ledger_check(ledger, 1, floor, 3), VALUE_RIGHT);

    /* Never acknowledged: nothing is certain any more but what was. */
    assert_int_equal(ledger_send_write(ledger, 1), 4);
    assert_int_equal(ledger_send_write(ledger, 1), 5);
    ledger_acknowledge_write(ledger, 1);
    assert_int_equal(ledger_floor(ledger, 1), 2);
    assert_int_equal(ledger_floor(ledger, 0), 0);
    ledger_destroy(ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_bit_counts),
        cmocka_unit_test(test_other_key_and_size),
        cmocka_unit_test(test_ledger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
