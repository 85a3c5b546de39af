/* A port's gate: nothing is taken away while a burst uses it. Concurrent: also under
 * ThreadSanitizer. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "drivers/port_gate.h"

enum { ROUNDS = 2000 };

struct scene {
    struct port_gate gate;
    int *memory; /* NULL while it is away */
    bool stop;   /* atomic */
    uint64_t bursts, refused;
};

static void *poll_port(void *argument)
{
    struct scene *scene = argument;
    while (!__atomic_load_n(&scene->stop, __ATOMIC_RELAXED)) {
        if (port_gate_enter(&scene->gate)) {
            (*scene->memory)++; /* crashes, or is a race, if it is away or going */
            scene->bursts++;
            port_gate_leave(&scene->gate);
        } else {
            scene->refused++;
            sched_yield(); /* with one CPU for both the gate opens no sooner */
        }
    }
    return NULL;
}

static void memory_goes_between_bursts(void **state)
{
    (void)state;
    struct scene *scene = aligned_alloc(RTE_CACHE_LINE_SIZE, sizeof(*scene));
    assert_non_null(scene);
    *scene = (struct scene){.gate = {.closed = true}};
    pthread_t worker;
    assert_int_equal(pthread_create(&worker, NULL, poll_port, scene), 0);
    for (int i = 0; i < ROUNDS; i++) {
        scene->memory = calloc(1, sizeof(*scene->memory));
        assert_non_null(scene->memory);
        port_gate_open(&scene->gate);
        usleep(20);
        port_gate_close(&scene->gate);
        free(scene->memory);
        scene->memory = NULL;
    }
    __atomic_store_n(&scene->stop, true, __ATOMIC_RELAXED);
    pthread_join(worker, NULL);
    assert_true(scene->bursts > 0);
    free(scene);
}

static void a_closed_gate_lets_nobody_in(void **state)
{
    (void)state;
    struct port_gate gate = {.closed = true};
    assert_false(port_gate_enter(&gate));
    assert_false(gate.busy);
    port_gate_open(&gate);
    assert_true(port_gate_enter(&gate));
    assert_true(gate.busy);
    port_gate_leave(&gate);
    port_gate_close(&gate);
    assert_false(port_gate_enter(&gate));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_gate_lets_nobody_in),
        cmocka_unit_test(memory_goes_between_bursts),
    };
    return cmocka_run_group_tests_name("port_gate", tests, NULL, NULL);
}
