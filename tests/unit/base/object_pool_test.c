/* The pool of objects: each is its user's alone, on lines of its own, and many lie in large pages.
 */
#include "dataplane/base/object_pool.h"
#include "tests/support/smaps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { OBJECT_BYTES = 448, OBJECTS = 20000, FIRST = 8 };

static uint64_t *objects[OBJECTS];

static void acquire_all(struct object_pool *pool)
{
    for (uint64_t i = 0; i < OBJECTS; i++) {
        objects[i] = object_pool_acquire(pool);
        assert_non_null(objects[i]);
        assert_int_equal((uintptr_t)objects[i] % 64, 0);
        for (size_t word = 0; word < OBJECT_BYTES / sizeof(uint64_t); word++) {
            objects[i][word] = i;
        }
    }
    assert_int_equal(pool->used_count, OBJECTS);
}

static void release_all(struct object_pool *pool)
{
    for (uint64_t i = 0; i < OBJECTS; i++) {
        assert_int_equal(objects[i][0], i);
        assert_int_equal(objects[i][OBJECT_BYTES / sizeof(uint64_t) - 1], i);
        object_pool_release(pool, objects[i]);
    }
    assert_int_equal(pool->used_count, 0);
}

static void test_objects_do_not_overlap(void **state)
{
    struct object_pool pool;
    object_pool_init(&pool, OBJECT_BYTES, FIRST);
    acquire_all(&pool);
    release_all(&pool);
    const struct object_pool_slab *slabs = pool.slabs;
    acquire_all(&pool); /* all of them from those that came back */
    assert_ptr_equal(pool.slabs, slabs);
    release_all(&pool);
    object_pool_deinit(&pool);
}

static void test_last_released_is_next(void **state)
{
    struct object_pool pool;
    object_pool_init(&pool, OBJECT_BYTES, FIRST);
    void *one = object_pool_acquire(&pool), *other = object_pool_acquire(&pool);
    object_pool_release(&pool, one);
    object_pool_release(&pool, other);
    assert_ptr_equal(object_pool_acquire(&pool), other);
    assert_ptr_equal(object_pool_acquire(&pool), one);
    object_pool_release(&pool, one);
    object_pool_release(&pool, other);
    object_pool_deinit(&pool);
}

/* Whose turn comes is known ahead; nobody looks at an object that was released. */
static void test_released_objects_wait_untouched(void **state)
{
    struct object_pool pool;
    object_pool_init(&pool, OBJECT_BYTES, FIRST);
    assert_null(object_pool_after(&pool, 0));
    uint8_t before[OBJECT_BYTES];
    void *one = object_pool_acquire(&pool), *other = object_pool_acquire(&pool);
    memset(one, 0xA5, OBJECT_BYTES);
    memset(before, 0xA5, OBJECT_BYTES);
    object_pool_release(&pool, one);
    object_pool_release(&pool, other);
    assert_ptr_equal(object_pool_after(&pool, 0), other);
    assert_ptr_equal(object_pool_after(&pool, 1), one);
    assert_null(object_pool_after(&pool, 2));
    assert_memory_equal(one, before, OBJECT_BYTES);
    object_pool_deinit(&pool);
}

/* Few objects take little memory, many lie in large pages. */
static void test_slabs_grow(void **state)
{
    struct object_pool pool;
    object_pool_init(&pool, OBJECT_BYTES, FIRST);
    assert_true(pool.slab_bytes <= 2 * FIRST * OBJECT_BYTES);
    acquire_all(&pool);
    assert_int_equal(pool.slab_bytes, 2U << 20);
    assert_int_equal((uintptr_t)pool.slabs % (2U << 20), 0);
    if (access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0) {
        assert_true(wants_large_pages(objects[OBJECTS - 1]));
        assert_false(wants_large_pages(objects[0]));
    }
    release_all(&pool);
    object_pool_deinit(&pool);
}

/* One that is larger than a large page gets slabs that hold it. */
static void test_large_object(void **state)
{
    struct object_pool pool;
    size_t bytes = 3U << 20;
    object_pool_init(&pool, bytes, 1);
    uint8_t *one = object_pool_acquire(&pool), *other = object_pool_acquire(&pool);
    memset(one, 1, bytes);
    memset(other, 2, bytes);
    assert_int_equal(one[bytes - 1], 1);
    object_pool_release(&pool, one);
    object_pool_release(&pool, other);
    object_pool_deinit(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects_do_not_overlap),
        cmocka_unit_test(test_last_released_is_next),
        cmocka_unit_test(test_released_objects_wait_untouched),
        cmocka_unit_test(test_slabs_grow),
        cmocka_unit_test(test_large_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
