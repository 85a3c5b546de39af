/* EAL's memory without hugepages: what was in it stays, what comes later works, and its pages may
 * become large. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <rte_eal.h>
#include <rte_malloc.h>

#include "drivers/eal_memory.h"
#include "tests/support/smaps.h"

#define EAL_BYTES   (64U << 20)
#define BLOCK_BYTES (4U << 20)

static void fill(uint8_t *block)
{
    for (size_t i = 0; i < BLOCK_BYTES; i++) {
        block[i] = (uint8_t)(i * 31 + i / 4096);
    }
}

static void assert_filled(const uint8_t *block)
{
    for (size_t i = 0; i < BLOCK_BYTES; i++) {
        assert_int_equal(block[i], (uint8_t)(i * 31 + i / 4096));
    }
}

static void test_content_stays(void **state)
{
    if (access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0) {
        skip(); /* the kernel knows no large pages */
    }
    uint8_t *before = rte_malloc(NULL, BLOCK_BYTES, 64);
    assert_non_null(before);
    fill(before);
    assert_false(wants_large_pages(before));

    assert_true(eal_memory_enlarge_pages() >= EAL_BYTES);

    assert_filled(before);
    assert_true(wants_large_pages(before));
    uint8_t *after = rte_zmalloc(NULL, BLOCK_BYTES, 64);
    assert_non_null(after);
    assert_int_equal(after[BLOCK_BYTES - 1], 0);
    fill(after);
    assert_filled(before);
    assert_int_equal(rte_malloc_validate(before, NULL), 0);
    rte_free(before);
    rte_free(after);
}

int main(void)
{
    enum { COUNT = 10 };
    static char words[COUNT][20] = {
        "test",           "--no-huge",   "--no-pci",          "-m", "64",
        "--no-telemetry", "--no-shconf", "--log-level=error", "-l", "0"};
    char *arguments[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        arguments[i] = words[i];
    }
    if (rte_eal_init(COUNT, arguments) < 0) {
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_content_stays)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
