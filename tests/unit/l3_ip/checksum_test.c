/* The Internet checksum against the slow way: every size up to two kilobytes, every alignment.
 * Built three times: for the processors that we ask for, with AVX2, and without vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "dataplane/base/hash.h"
#include "dataplane/l3_ip/checksum.h"
#include "tests/support/packet_builder.h"

static uint16_t fast(const uint8_t *data, size_t size)
{
    uint16_t value = checksum_finish(checksum_add(0, data, size));
    uint8_t bytes[2];
    checksum_store(bytes, value);
    return bytes_read_be16(bytes);
}

static void test_every_size_and_alignment(void **state)
{
    (void)state;
    static uint8_t data[2100];
    uint64_t random = 7;
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(random_next(&random) >> 56);
    }
    for (size_t size = 0; size <= 2048; size++) {
        for (size_t at = 0; at < 9; at++) {
            assert_int_equal(fast(data + at, size), naive_checksum(data + at, size, 0));
        }
    }
}

/* As many bytes as were asked for, and none beside them. */
static void test_copies_as_it_sums(void **state)
{
    (void)state;
    static uint8_t data[300], copy[sizeof(data) + 2];
    uint64_t random = 11;
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(random_next(&random) >> 56);
    }
    for (size_t size = 0; size <= sizeof(data); size++) {
        memset(copy, 0x5a, sizeof(copy));
        assert_true(checksum_copy(77, copy + 1, data, size) == checksum_add(77, data, size));
        assert_memory_equal(copy + 1, data, size);
        assert_true(copy[0] == 0x5a && copy[size + 1] == 0x5a);
    }
}

static void test_extreme_values(void **state)
{
    (void)state;
    static uint8_t ones[65535], zeros[65535];
    memset(ones, 0xff, sizeof(ones));
    for (size_t size = 0; size < sizeof(ones); size += 251) {
        assert_int_equal(fast(ones, size), naive_checksum(ones, size, 0));
        assert_int_equal(fast(zeros, size), 0xffff);
    }
}

static void test_parts_add_up(void **state)
{
    (void)state;
    uint8_t data[101];
    uint64_t random = 9;
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(random_next(&random) >> 56);
    }
    for (size_t cut = 0; cut <= sizeof(data); cut += 2) {
        uint64_t sum = checksum_add(0, data, cut);
        sum = checksum_add(sum, data + cut, sizeof(data) - cut);
        assert_int_equal(checksum_finish(sum), checksum_finish(checksum_add(0, data, 101)));
    }
}

static void test_fold_of_large_sums(void **state)
{
    (void)state;
    static const uint64_t sums[] = {0,
                                    1,
                                    0xffff,
                                    0x10000,
                                    0x1fffe,
                                    0xffffffff,
                                    0x100000000,
                                    0x7fffffffffffffff,
                                    0x123456789abcdef0};
    for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
        uint16_t folded = checksum_fold(sums[i]);
        assert_int_equal(folded % 65535, sums[i] % 65535);
        assert_true((folded == 0) == (sums[i] == 0));
    }
}

static void test_pseudo_header(void **state)
{
    (void)state;
    struct station from = {.ipv4 = IPV4(198, 18, 0, 9), .port = 40000};
    struct station to = {.ipv4 = IPV4(198, 18, 0, 2), .port = 53};
    uint8_t datagram[300];
    for (size_t size = 0; size < 200; size++) {
        uint8_t payload[200];
        memset(payload, (int)size, sizeof(payload));
        size_t total = udp_datagram_compose(datagram, &from, &to, slice_of(payload, size));
        uint64_t sum = checksum_pseudo_ipv4(from.ipv4, to.ipv4, 17, (uint32_t)total);
        assert_true(checksum_is_right(checksum_add(sum, datagram, total)));
        datagram[total - 1] ^= 4;
        assert_false(checksum_is_right(checksum_add(sum, datagram, total)));
    }
}

int main(void)
{
#ifdef __AVX2__
    if (!__builtin_cpu_supports("avx2")) {
        puts("1..0 # SKIP this processor has no AVX2");
        return 0;
    }
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size_and_alignment), cmocka_unit_test(test_copies_as_it_sums),
        cmocka_unit_test(test_extreme_values),           cmocka_unit_test(test_parts_add_up),
        cmocka_unit_test(test_fold_of_large_sums),       cmocka_unit_test(test_pseudo_header),
    };
    return cmocka_run_group_tests_name("checksum", tests, NULL, NULL);
}
