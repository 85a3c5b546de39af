/* The due queue against an array: what is taken, when, and what never is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "dataplane/base/due_queue.h"
#include "dataplane/base/hash.h"

enum { THINGS = 5000, ROOM = 1024, DELAY_US = 200 };

struct thing {
    uint64_t place, due_us;
    bool waits;
};

static uint32_t waiting_count(const struct thing *things)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < THINGS; i++) {
        count += things[i].waits;
    }
    return count;
}

/* Takes all that is due; each is, and waits. */
static void take_due(struct due_queue *queue, struct thing *things, uint64_t now_us)
{
    struct thing *thing;
    while ((thing = due_queue_take(queue, now_us)) != NULL) {
        assert_true(thing->waits && thing->due_us <= now_us);
        thing->waits = false;
    }
    uint64_t first_us = UINT64_MAX;
    for (uint32_t i = 0; i < THINGS; i++) {
        assert_true(!things[i].waits || things[i].due_us > now_us);
        first_us = things[i].waits && things[i].due_us < first_us ? things[i].due_us : first_us;
    }
    assert_true(due_queue_next_due(queue) == first_us);
}

static void things_are_taken_in_time_unless_dropped(void **state)
{
    (void)state;
    static struct thing things[THINGS];
    struct due_queue queue;
    uint64_t random = 1, now_us = 1000;
    uint32_t refused = 0;
    due_queue_init(&queue, ROOM);
    for (uint32_t step = 0; step < 30000; step++) {
        struct thing *thing = &things[(random_next(&random) >> 33) % THINGS];
        if (thing->waits) {
            due_queue_drop(&queue, thing->place);
            thing->waits = false;
        } else {
            uint64_t place = due_queue_push(&queue, thing, now_us + DELAY_US);
            refused += place == 0;
            *thing = (struct thing){place, now_us + DELAY_US, place != 0};
        }
        if (step % 10 == 0) { /* slowly at first: the queue fills up */
            now_us += (random_next(&random) >> 33) % (step < 15000 ? 3 : 30);
            take_due(&queue, things, now_us);
        }
    }
    assert_true(refused > 0);
    assert_true(waiting_count(things) > 0);
    take_due(&queue, things, now_us + DELAY_US);
    assert_int_equal(waiting_count(things), 0);
    due_queue_deinit(&queue);
}

static void dropped_places_are_used_again(void **state)
{
    (void)state;
    struct due_queue queue;
    int thing;
    due_queue_init(&queue, 64);
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t place = due_queue_push(&queue, &thing, i);
        assert_true(place != 0);
        due_queue_drop(&queue, place);
    }
    assert_null(due_queue_take(&queue, UINT64_MAX));
    assert_true(due_queue_next_due(&queue) == UINT64_MAX);
    due_queue_deinit(&queue);
}

/* Behind one that waits all others were dropped: none of the calls looks at all of them. */
static void long_queue_is_skipped_in_parts(void **state)
{
    (void)state;
    enum { DROPPED = 10000 };
    struct due_queue queue;
    int first, last;
    due_queue_init(&queue, 1U << 14);
    due_queue_push(&queue, &first, 1);
    for (uint64_t i = 0; i < DROPPED; i++) {
        due_queue_drop(&queue, due_queue_push(&queue, &last, 2));
    }
    due_queue_push(&queue, &last, 3);
    assert_ptr_equal(due_queue_take(&queue, 3), &first);
    uint32_t calls = 1;
    while (due_queue_take(&queue, 3) == NULL) {
        assert_true(due_queue_next_due(&queue) <= 3);
        calls++;
    }
    assert_int_equal(calls, (DROPPED + DUE_QUEUE_SKIPPED_MAX - 1) / DUE_QUEUE_SKIPPED_MAX);
    assert_true(due_queue_next_due(&queue) == UINT64_MAX);
    due_queue_deinit(&queue);
}

static void full_queue_refuses(void **state)
{
    (void)state;
    struct due_queue queue;
    int thing;
    due_queue_init(&queue, 64);
    for (uint64_t i = 0; i < 64; i++) {
        assert_true(due_queue_push(&queue, &thing, i) == i + 1);
    }
    assert_true(due_queue_push(&queue, &thing, 64) == 0);
    due_queue_drop(&queue, 2); /* not the first: no room yet */
    assert_true(due_queue_push(&queue, &thing, 64) == 0);
    assert_ptr_equal(due_queue_take(&queue, 0), &thing);
    assert_true(due_queue_push(&queue, &thing, 64) != 0);
    assert_null(due_queue_take(&queue, 1));
    assert_ptr_equal(due_queue_take(&queue, 2), &thing);
    due_queue_deinit(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(things_are_taken_in_time_unless_dropped),
        cmocka_unit_test(dropped_places_are_used_again),
        cmocka_unit_test(long_queue_is_skipped_in_parts),
        cmocka_unit_test(full_queue_refuses),
    };
    return cmocka_run_group_tests_name("due_queue", tests, NULL, NULL);
}
