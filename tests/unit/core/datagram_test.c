/* Rules of memcached over UDP: who is trusted, how often the others are answered, and how requests
 * of several datagrams become whole or are given up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "dataplane/base/hash.h"
#include "dataplane/core/datagram_guard.h"
#include "dataplane/core/datagram_parts.h"

static struct address address_of(const char *text)
{
    struct address address;
    assert_true(address_parse(slice_of_string(text), &address));
    return address;
}

/* ---- networks -------------------------------------------------------------------------------- */

static void networks_are_read(void **state)
{
    static const char *const wrong[] = {",",          "10.0.0.0/8,", "10.0.0.0/33",
                                        "fd00::/129", "10.0.0.0/",   "10.0.0.0/x",
                                        "10.0.0/8",   " 10.0.0.0/8", "/8"};
    static const struct {
        const char *list, *address;
        bool inside;
    } cases[] = {
        {"", "10.0.0.1", false},
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"198.18.0.0/15", "198.19.255.255", true},
        {"198.18.0.0/15", "198.20.0.0", false},
        {"192.0.2.7", "192.0.2.7", true},
        {"192.0.2.7", "192.0.2.6", false},
        {"10.0.0.0/8,fd00::/8", "fdff::1", true},
        {"10.0.0.0/8,fd00::/8", "fe00::1", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "fd00::1", false},
        {"::/0", "203.0.113.9", true},
        {"10.0.0.0/31", "10.0.0.1", true},
        {"10.0.0.0/31", "10.0.0.2", false},
    };
    struct prefix_list list;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(prefix_list_parse(wrong[i], &list));
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct address address = address_of(cases[i].address);
        assert_true(prefix_list_parse(cases[i].list, &list));
        assert_int_equal(prefix_list_has(&list, &address), cases[i].inside);
    }
    char many[65 * 9 + 1] = "";
    for (int i = 0; i < 65; i++) {
        strcat(many, i == 0 ? "10.0.0.1" : ",10.0.0.1");
    }
    assert_false(prefix_list_parse(many, &list));
    many[strlen(many) - 9] = '\0';
    assert_true(prefix_list_parse(many, &list) && list.count == PREFIX_LIST_MAX);
}

/* ---- rates ----------------------------------------------------------------------------------- */

static uint32_t take_all(struct datagram_guard *guard, const struct address *source, uint64_t rate,
                         uint64_t us)
{
    struct instant now = {.mono_us = us};
    uint32_t count = 0;
    while (count < 100000 && datagram_guard_take(guard, source, rate, &now)) {
        count++;
    }
    return count;
}

static void rates_are_kept(void **state)
{
    struct datagram_guard *guard = calloc(1, sizeof(*guard));
    assert_non_null(guard);
    struct address a = address_of("198.18.0.1"), b = address_of("198.18.0.2");
    struct address here = address_of("127.0.0.1");
    datagram_guard_set(guard, "198.18.0.2");
    assert_false(datagram_guard_trusts(guard, &a));
    assert_true(datagram_guard_trusts(guard, &b) && datagram_guard_trusts(guard, &here));
    datagram_guard_set(guard, "");
    assert_false(datagram_guard_trusts(guard, &b));

    assert_int_equal(take_all(guard, &a, 1000, 1000000), 251);
    assert_int_equal(take_all(guard, &b, 1000, 1000000), 251);
    assert_int_equal(take_all(guard, &a, 1000, 1010000), 10);
    assert_int_equal(take_all(guard, &a, 1000, 1010999), 0);
    assert_int_equal(take_all(guard, &a, 1000, 1011000), 1);
    assert_int_equal(take_all(guard, &a, 1000, 900000000), 251);
    assert_int_equal(take_all(guard, &a, 1, 990000000), 1);
    assert_int_equal(take_all(guard, &a, 0, 990000000), 100000);

    /* More addresses than there is room for: each gets its share, none more at one moment. */
    uint64_t random = 3;
    for (int i = 0; i < 20000; i++) {
        struct address address = address_from_ipv4((uint32_t)random_next(&random));
        assert_in_range(take_all(guard, &address, 3, 991000000 + (uint64_t)i), 1, 1);
    }
    datagram_guard_deinit(guard);
    free(guard);
}

/* ---- several datagrams ----------------------------------------------------------------------- */

struct fixture {
    struct metrics metrics;
    struct datagram_parts *parts;
    struct endpoint source;
    struct instant now;
    struct slice request;
    size_t request_bytes;
};

static int setup(void **state)
{
    struct fixture *f = aligned_alloc(64, (sizeof(*f) + 63) & ~(size_t)63);
    assert_non_null(f);
    memset(f, 0, sizeof(*f));
    f->parts = datagram_parts_create(&f->metrics);
    f->source = (struct endpoint){address_of("198.18.0.1"), 4000};
    f->now.mono_us = 5000000;
    assert_non_null(f->parts);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    datagram_parts_destroy(f->parts);
    free(f);
    return 0;
}

static bool add(struct fixture *f, uint16_t id, uint16_t sequence, uint16_t count, const char *text)
{
    struct memcache_frame frame = {id, sequence, count, 0};
    return datagram_parts_add(f->parts, &f->source, &frame, slice_of_string(text), &f->now,
                              &f->request, &f->request_bytes);
}

static void parts_come_in_any_order(void **state)
{
    struct fixture *f = *state;
    assert_false(add(f, 1, 1, 3, "bb"));
    assert_false(add(f, 2, 1, 2, "yy"));
    assert_false(add(f, 1, 2, 3, ""));
    assert_true(add(f, 1, 0, 3, "a"));
    assert_true(slice_equal(f->request, SLICE_LITERAL("abb")));
    assert_int_equal(f->request_bytes, 3 + 24);
    assert_true(add(f, 2, 0, 2, "x"));
    assert_true(slice_equal(f->request, SLICE_LITERAL("xyy")));
    assert_int_equal(metric_read(&f->metrics, METRIC_MEMCACHE_UDP_REASSEMBLED), 2);
    assert_int_equal(metric_read(&f->metrics, METRIC_MEMCACHE_UDP_DROP_PART), 0);
}

static void contradictions_end_a_request(void **state)
{
    struct fixture *f = *state;
    assert_false(add(f, 1, 0, 2, "a"));
    assert_false(add(f, 1, 0, 2, "a")); /* twice */
    assert_false(add(f, 1, 1, 2, "b")); /* begins anew */
    assert_false(add(f, 1, 0, 3, "a")); /* another count */
    assert_false(add(f, 1, 3, 3, "a"));
    assert_false(add(f, 1, 0, 65, "a"));
    assert_int_equal(metric_read(&f->metrics, METRIC_MEMCACHE_UDP_DROP_PART), 4);
    assert_false(add(f, 1, 1, 2, "b"));
    assert_true(add(f, 1, 0, 2, "a"));
}

static void time_and_room_are_bounded(void **state)
{
    struct fixture *f = *state;
    assert_false(add(f, 1, 0, 2, "a"));
    f->now.mono_us += DATAGRAM_WAIT_US + 1;
    assert_false(add(f, 1, 1, 2, "b"));
    assert_int_equal(metric_read(&f->metrics, METRIC_MEMCACHE_UDP_DROP_INCOMPLETE), 1);
    assert_true(add(f, 1, 0, 2, "a"));

    for (uint16_t id = 0; id <= DATAGRAM_REQUESTS_MAX; id++) {
        f->now.mono_us++;
        assert_false(add(f, id, 0, 2, "a")); /* the last takes the place of the first */
    }
    assert_int_equal(metric_read(&f->metrics, METRIC_MEMCACHE_UDP_DROP_INCOMPLETE), 2);
    assert_true(add(f, 1, 1, 2, "b"));
    assert_false(add(f, 0, 1, 2, "b"));

    f->now.mono_us += DATAGRAM_WAIT_US + 1;
    char *large = calloc(1, 40001);
    assert_non_null(large);
    memset(large, 'x', 40000);
    assert_false(add(f, 9, 0, 2, large));
    assert_false(add(f, 9, 1, 2, large));
    assert_int_equal(metric_read(&f->metrics, METRIC_MEMCACHE_UDP_DROP_PART), 1);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_are_read),
        cmocka_unit_test(rates_are_kept),
        cmocka_unit_test_setup_teardown(parts_come_in_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(contradictions_end_a_request, setup, teardown),
        cmocka_unit_test_setup_teardown(time_and_room_are_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
