/* The timer wheel against a sorted list: never early, at most a tick late, whatever the times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/base/hash.h"
#include "dataplane/base/timer_wheel.h"

#define NODES 200

static uint64_t random_state = 12345;

static uint64_t draw(uint64_t below)
{
    return (random_next(&random_state) >> 8) % below;
}

static uint64_t draw_delay(void)
{
    static const uint64_t spans[] = {1, 5000, 300000, 60000000, 90000000000ULL, 1ULL << 50};
    return draw(spans[draw(6)] + 1);
}

static void fire_due(struct timer_wheel *wheel, struct timer_node *nodes, uint64_t now)
{
    struct timer_node *node;
    while ((node = timer_wheel_take_due(wheel, now)) != NULL) {
        assert_true(node->due_us <= now);
        assert_false(timer_is_armed(node));
    }
    for (int i = 0; i < NODES; i++) {
        if (timer_is_armed(&nodes[i])) {
            assert_true(nodes[i].due_us + TIMER_WHEEL_TICK_US > now);
        }
    }
}

static void nodes_fire_in_time(void **state)
{
    static struct timer_node nodes[NODES];
    struct timer_wheel wheel;
    uint64_t now = 77777;
    timer_wheel_init(&wheel, now);
    for (int step = 0; step < 20000; step++) {
        struct timer_node *node = &nodes[draw(NODES)];
        if (draw(4) == 0) {
            timer_wheel_cancel(&wheel, node);
        } else {
            timer_wheel_arm(&wheel, node, now + draw_delay());
        }
        now += draw(3) == 0 ? draw_delay() : draw(2000);
        fire_due(&wheel, nodes, now);
    }
}

static void next_due_leads_to_the_node(void **state)
{
    for (int round = 0; round < 500; round++) {
        struct timer_wheel wheel;
        struct timer_node node = {0};
        uint64_t now = draw(1ULL << 45), due;
        timer_wheel_init(&wheel, now);
        assert_true(timer_wheel_next_due(&wheel) == UINT64_MAX);
        timer_wheel_arm(&wheel, &node, now + draw_delay());
        int steps = 0;
        while ((due = timer_wheel_next_due(&wheel)) != UINT64_MAX) {
            assert_true(due < node.due_us + TIMER_WHEEL_TICK_US);
            now = due > now ? due : now;
            timer_wheel_take_due(&wheel, now);
            assert_true(++steps < 20);
        }
        assert_true(now >= node.due_us);
        assert_int_equal(wheel.count, 0);
    }
}

static void past_times_are_due_at_once(void **state)
{
    struct timer_wheel wheel;
    struct timer_node node = {0}, far = {0};
    timer_wheel_init(&wheel, 1ULL << 40);
    timer_wheel_arm(&wheel, &node, 5);
    timer_wheel_arm(&wheel, &far, UINT64_MAX);
    assert_ptr_equal(timer_wheel_take_due(&wheel, 1ULL << 40), &node);
    assert_null(timer_wheel_take_due(&wheel, (1ULL << 40) + 1000000));
    timer_wheel_cancel(&wheel, &far);
    timer_wheel_cancel(&wheel, &far);
    assert_int_equal(wheel.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_fire_in_time),
        cmocka_unit_test(next_due_leads_to_the_node),
        cmocka_unit_test(past_times_are_due_at_once),
    };
    return cmocka_run_group_tests_name("timer_wheel", tests, NULL, NULL);
}
