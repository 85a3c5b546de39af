/* The byte queue against a flat array, and every reference released exactly once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "dataplane/base/byte_queue.h"
#include "dataplane/base/hash.h"

enum { MODEL_BYTES = 1 << 20 };

struct counted_owner {
    struct byte_owner owner;
    int holders;
};

static void release_counted(struct byte_owner *owner)
{
    struct counted_owner *counted = (struct counted_owner *)(void *)owner;
    counted->holders--;
}

struct model {
    uint8_t bytes[MODEL_BYTES];
    size_t begin, end;
};

static void append_both(struct byte_queue *queue, struct byte_pool *pool, struct model *model,
                        struct counted_owner *owner, uint64_t *random)
{
    static uint8_t data[20000];
    static uint8_t lasting[20000];
    size_t size = random_next(random) % sizeof(data);
    if (size > MODEL_BYTES - model->end) {
        return;
    }
    bool by_reference = random_next(random) % 4 == 0;
    uint8_t *from = by_reference ? lasting : data;
    for (size_t i = 0; i < size && !by_reference; i++) {
        from[i] = (uint8_t)random_next(random);
    }
    if (by_reference) {
        owner->holders++;
        byte_queue_append_reference(queue, pool, slice_of(from, size), &owner->owner);
    } else {
        byte_queue_append(queue, pool, from, size);
    }
    memcpy(model->bytes + model->end, from, size);
    model->end += size;
}

static void compare_both(const struct byte_queue *queue, const struct model *model,
                         uint64_t *random)
{
    static uint8_t got[30000];
    size_t queued = model->end - model->begin;
    assert_int_equal(queue->size, queued);
    size_t offset = queued == 0 ? 0 : random_next(random) % queued;
    size_t wanted = random_next(random) % sizeof(got);
    size_t expected = queued - offset < wanted ? queued - offset : wanted;
    assert_int_equal(byte_queue_copy_out(queue, offset, got, wanted), expected);
    assert_memory_equal(got, model->bytes + model->begin + offset, expected);
}

static void behaves_like_an_array(void **state)
{
    static struct model model;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        uint64_t random = seed;
        struct counted_owner owner = {{.release = release_counted}, 0};
        struct byte_pool pool;
        struct byte_queue queue;
        byte_pool_init(&pool, 8);
        byte_queue_init(&queue);
        model.begin = model.end = 0;
        for (int step = 0; step < 100; step++) {
            append_both(&queue, &pool, &model, &owner, &random);
            compare_both(&queue, &model, &random);
            size_t drop = random_next(&random) % (queue.size + 1);
            byte_queue_consume(&queue, &pool, drop);
            model.begin += drop;
            compare_both(&queue, &model, &random);
            byte_queue_shrink(&queue, &pool);
            compare_both(&queue, &model, &random);
        }
        byte_queue_clear(&queue, &pool);
        assert_int_equal(owner.holders, 0);
        assert_int_equal(byte_pool_held_bytes(&pool), 0);
        byte_pool_deinit(&pool);
    }
}

/* What is left of a page's bytes fits a slip, or one more does not; a slip stays one. */
static void few_bytes_give_their_page_back(void **state)
{
    static uint8_t data[BYTE_PAGE_ROOM], got[BYTE_PAGE_ROOM];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 7);
    }
    struct byte_pool pool;
    struct byte_queue queue;
    byte_pool_init(&pool, 8);
    byte_queue_init(&queue);
    byte_queue_shrink(&queue, &pool);
    byte_queue_append(&queue, &pool, data, sizeof(data));
    byte_queue_consume(&queue, &pool, BYTE_PAGE_ROOM - BYTE_SLIP_ROOM - 1);
    byte_queue_shrink(&queue, &pool);
    assert_int_equal(byte_pool_held_bytes(&pool), BYTE_PAGE_BYTES);
    byte_queue_consume(&queue, &pool, 1);
    for (int i = 0; i < 2; i++) {
        byte_queue_shrink(&queue, &pool);
        assert_int_equal(byte_pool_held_bytes(&pool), BYTE_SLIP_BYTES);
    }
    byte_queue_consume(&queue, &pool, 10);
    byte_queue_append(&queue, &pool, "more", 4);
    assert_int_equal(byte_pool_held_bytes(&pool), BYTE_SLIP_BYTES + BYTE_PAGE_BYTES);
    assert_int_equal(byte_queue_copy_out(&queue, 0, got, sizeof(got)), BYTE_SLIP_ROOM - 10 + 4);
    assert_memory_equal(got, data + BYTE_PAGE_ROOM - BYTE_SLIP_ROOM + 10, BYTE_SLIP_ROOM - 10);
    assert_memory_equal(got + BYTE_SLIP_ROOM - 10, "more", 4);
    byte_queue_consume(&queue, &pool, BYTE_SLIP_ROOM - 10);
    assert_int_equal(byte_pool_held_bytes(&pool), BYTE_PAGE_BYTES);
    byte_queue_clear(&queue, &pool);
    byte_pool_deinit(&pool);
}

/* What is alone in its queue, page or slip, and consumed as a whole, is given back unseen. */
static void lone_chunk_is_given_back_unseen(void **state)
{
    struct byte_pool pool;
    struct byte_queue queue;
    byte_pool_init(&pool, 8);
    byte_queue_init(&queue);
    for (int i = 0; i < 4; i++) {
        byte_queue_append(&queue, &pool, "reply", 5);
        if (i % 2 == 1) {
            byte_queue_shrink(&queue, &pool);
        }
        byte_queue_append(&queue, &pool, "more", 4);
        memset(queue.head, 0xA5, sizeof(*queue.head));
        byte_queue_consume(&queue, &pool, 9);
        assert_null(queue.head);
        assert_int_equal(byte_pool_held_bytes(&pool), 0);
        assert_int_equal(pool.free_count, 1);
    }
    byte_pool_deinit(&pool);
}

/* A reference to as many bytes as a page or a slip has room for is neither. */
static void reference_of_any_size_is_released(void **state)
{
    static const uint8_t bytes[BYTE_PAGE_ROOM];
    for (int i = 0; i < 2; i++) {
        struct counted_owner owner = {{.release = release_counted}, 1};
        struct byte_pool pool;
        struct byte_queue queue;
        byte_pool_init(&pool, 8);
        byte_queue_init(&queue);
        byte_queue_append_reference(
            &queue, &pool, slice_of(bytes, i == 0 ? BYTE_SLIP_ROOM : BYTE_PAGE_ROOM), &owner.owner);
        byte_queue_consume(&queue, &pool, 1);
        byte_queue_shrink(&queue, &pool);
        assert_int_equal(owner.holders, 1);
        byte_queue_clear(&queue, &pool);
        assert_int_equal(owner.holders, 0);
        assert_int_equal(byte_pool_held_bytes(&pool), 0);
        byte_pool_deinit(&pool);
    }
}

static void vectors_describe_the_front(void **state)
{
    struct byte_pool pool;
    struct byte_queue queue;
    byte_pool_init(&pool, 8);
    byte_queue_init(&queue);
    uint8_t data[3 * BYTE_PAGE_BYTES];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 7);
    }
    byte_queue_append(&queue, &pool, data, sizeof(data));
    byte_queue_consume(&queue, &pool, 5000);
    struct iovec vectors[8];
    size_t count = byte_queue_vectors(&queue, vectors, 8), at = 5000;
    assert_true(count >= 2);
    for (size_t i = 0; i < count; i++) {
        assert_memory_equal(vectors[i].iov_base, data + at, vectors[i].iov_len);
        at += vectors[i].iov_len;
    }
    assert_int_equal(at, sizeof(data));
    assert_int_equal(byte_queue_vectors(&queue, vectors, 1), 1);
    byte_queue_clear(&queue, &pool);
    byte_pool_deinit(&pool);
}

static void reserve_commits_a_prefix(void **state)
{
    struct byte_pool pool;
    struct byte_queue queue;
    byte_pool_init(&pool, 8);
    byte_queue_init(&queue);
    for (int i = 0; i < 1000; i++) {
        uint8_t *room = byte_queue_reserve(&queue, &pool, 64);
        memcpy(room, "0123456789", 10);
        byte_queue_commit(&queue, 10);
    }
    assert_int_equal(queue.size, 10000);
    char got[10];
    byte_queue_copy_out(&queue, 9990, got, 10);
    assert_memory_equal(got, "0123456789", 10);
    byte_queue_clear(&queue, &pool);
    assert_int_equal(pool.used_count, 0);
    byte_pool_deinit(&pool);
}

/* What fits goes to the room that was lent, what does not into pages behind it; the room stays the
 * lender's. */
static void lent_room_comes_first(void **state)
{
    enum { ROOM = 100 };
    uint8_t data[300], room[ROOM + 1], got[300];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 5);
    }
    for (size_t first = 0; first <= ROOM; first++) {
        struct byte_pool pool;
        struct byte_queue queue;
        struct byte_chunk chunk;
        byte_pool_init(&pool, 8);
        byte_queue_init(&queue);
        memset(room, 0xee, sizeof(room));
        byte_queue_lend(&queue, &chunk, room, ROOM);
        memcpy(byte_queue_reserve(&queue, &pool, first), data, first);
        byte_queue_commit(&queue, first);
        assert_int_equal(pool.used_count, 0);
        assert_memory_equal(room, data, first);
        size_t second = 200 - first;
        memcpy(byte_queue_reserve(&queue, &pool, second), data + first, second);
        byte_queue_commit(&queue, second);
        assert_int_equal(pool.used_count, 1);
        byte_queue_append(&queue, &pool, data + 200, 100);
        assert_int_equal(byte_queue_copy_out(&queue, 0, got, sizeof(got)), 300);
        assert_memory_equal(got, data, 300);
        assert_int_equal(room[ROOM], 0xee);
        if (first % 2 == 0) {
            byte_queue_consume(&queue, &pool, 250);
        }
        byte_queue_clear(&queue, &pool);
        assert_int_equal(pool.used_count, 0);
        assert_null(queue.head);
        byte_pool_deinit(&pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_like_an_array),
        cmocka_unit_test(few_bytes_give_their_page_back),
        cmocka_unit_test(lone_chunk_is_given_back_unseen),
        cmocka_unit_test(reference_of_any_size_is_released),
        cmocka_unit_test(vectors_describe_the_front),
        cmocka_unit_test(reserve_commits_a_prefix),
        cmocka_unit_test(lent_room_comes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
