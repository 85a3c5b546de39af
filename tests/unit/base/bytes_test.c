/* What is done with several bytes of a slice at a time: exact, and within its bytes (ASan). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "dataplane/base/bytes.h"

enum { BYTES_MAX = 70 };

/* Neighbours of the byte that is looked for, and the same with another top bit. */
static const uint8_t others[] = {'{' - 1, '{' + 1, '{' ^ 0x80, 0, 0xFF};

static void a_byte_is_found_where_it_is(void **state)
{
    for (size_t size = 0; size <= BYTES_MAX; size++) {
        uint8_t *bytes = malloc(size);
        assert_true(size == 0 || bytes != NULL);
        for (size_t i = 0; i < sizeof(others); i++) {
            for (size_t at = 0; at < size; at++) {
                bytes[at] = others[i];
            }
            assert_false(slice_has_byte(slice_of(bytes, size), '{'));
            for (size_t at = 0; at < size; at++) {
                bytes[at] = '{';
                assert_true(slice_has_byte(slice_of(bytes, size), '{'));
                bytes[at] = others[i];
            }
        }
        free(bytes);
    }
    assert_false(slice_has_byte(slice_of(NULL, 0), '{'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_byte_is_found_where_it_is)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
