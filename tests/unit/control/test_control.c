/* The control loop with real channels and RCU: requests of a worker thread, answers that find no
 * room, status, stop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/control.h"
#include "dataplane/base/log.h"
#include "dataplane/base/rcu.h"
#include "dataplane/channel/channel.h"
#include "dataplane/l7_command/command.h"
#include "tests/unit/control/fake_parts.h"

static struct control *control;
static struct config_error error;
static struct channel *from, *to;
static struct metrics metrics;
static const struct metrics *all_metrics[] = {&metrics};
static uint32_t wake_count;

static void count_wake(void *argument, uint32_t worker)
{
    assert_ptr_equal(argument, &wake_count);
    assert_int_equal(worker, 0);
    wake_count++;
}

static int setup_with_capacity(uint32_t answer_capacity)
{
    struct config *config = config_create_default();
    wake_count = 0;
    fake_request_count = 0;
    metrics = (struct metrics){0};
    from = channel_create(256);
    to = channel_create(answer_capacity);
    control = control_create(config, &error);
    struct control_workers workers = {
        .count = 1,
        .metrics = all_metrics,
        .from = &from,
        .to = &to,
        .wake = count_wake,
        .argument = &wake_count,
    };
    return control_attach_workers(control, &workers);
}

static int setup(void **state)
{
    (void)state;
    return setup_with_capacity(256);
}

static int setup_small(void **state)
{
    (void)state;
    return setup_with_capacity(2); /* room for one */
}

static int teardown(void **state)
{
    (void)state;
    control_detach_workers(control);
    control_destroy(control);
    channel_destroy(from);
    channel_destroy(to);
    return fake_request_count;
}

static void send_request(enum control_request_type type, uint32_t count,
                         const char *const *arguments)
{
    struct message message = {.type = MESSAGE_CONTROL_REQUEST,
                              .pointer = fake_request(type, count, arguments)};
    assert_true(channel_send(from, &message));
}

static struct control_request *receive_answer(void)
{
    struct message message;
    assert_int_equal(channel_receive_burst(to, &message, 1), 1);
    assert_int_equal(message.type, MESSAGE_CONTROL_REPLY);
    assert_int_equal(message.from, CHANNEL_FROM_CONTROL);
    return message.pointer;
}

static void assert_answer(const char *expected)
{
    struct control_request *request = receive_answer();
    assert_string_equal(request->error, expected);
    control_request_destroy(request);
}

static void test_requests(void **state)
{
    (void)state;
    const struct config *const *slot = control_config_slot(control);
    assert_int_equal((*slot)->maxmemory, 0);
    send_request(CONTROL_CONFIG_SET, 2, (const char *const[]){"maxmemory", "1mb"});
    send_request(CONTROL_CONFIG_SET, 2, (const char *const[]){"nosuch", "1"});
    send_request(CONTROL_CONFIG_SET, 2, (const char *const[]){"loglevel", "warning"});
    send_request(CONTROL_CONFIG_REWRITE, 0, NULL);
    send_request(CONTROL_LOG, 1, (const char *const[]){"a line: 100%s"});
    send_request(CONTROL_SHUTDOWN, 0, NULL);
    control_run(control);
    assert_int_equal((*slot)->maxmemory, 1 << 20);
    assert_int_equal((*slot)->loglevel, LOG_WARNING);
    assert_answer("");
    assert_answer("ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'");
    assert_answer("");
    assert_answer("ERR The server is running without a config file");
    assert_answer("");
    assert_answer("");
    assert_int_equal(wake_count, 6);
}

/* A slow worker: fetches the answers one by one, with pauses, and asks for the end when it has all.
 */
struct slow_worker {
    struct control_request *answers[6];
    int64_t timeouts[6]; /* in force when the answer was fetched */
    uint32_t count;
};

static void *fetch_slowly(void *argument)
{
    struct slow_worker *worker = argument;
    while (worker->count < 6) {
        struct message message;
        usleep(20 * 1000);
        if (channel_receive_burst(to, &message, 1) == 1) {
            worker->answers[worker->count] = message.pointer;
            rcu_thread_register();
            worker->timeouts[worker->count++] = RCU_READ(control_config_slot(control))->timeout;
            rcu_thread_unregister();
        }
    }
    control_request_stop(control, "test");
    return NULL;
}

/* Answers wait when the way back is full; none is lost, none is doubled, order is kept. */
static void test_no_room_for_answers(void **state)
{
    (void)state;
    struct slow_worker worker = {0};
    pthread_t thread;
    for (int i = 0; i < 5; i++) {
        send_request(CONTROL_CONFIG_SET, 2, (const char *const[]){"nosuch", "1"});
    }
    send_request(CONTROL_CONFIG_SET, 2, (const char *const[]){"timeout", "9"});
    assert_int_equal(pthread_create(&thread, NULL, fetch_slowly, &worker), 0);
    control_run(control);
    pthread_join(thread, NULL);
    for (int i = 0; i < 6; i++) {
        assert_string_equal(
            worker.answers[i]->error,
            i < 5 ? "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'" : "");
        control_request_destroy(worker.answers[i]);
    }
    /* With room for one answer and one that waits, the last request was not taken early. */
    assert_int_equal(worker.timeouts[0], 0);
    assert_int_equal(worker.timeouts[5], 9);
    assert_int_equal(wake_count, 6);
}

/* What is under way at the end is freed: teardown counts. One answer is in the channel, one waits
 * for room, the other requests were never taken. */
static void test_left_over_requests(void **state)
{
    (void)state;
    send_request(CONTROL_CONFIG_SET, 2, (const char *const[]){"timeout", "9"});
    send_request(CONTROL_SHUTDOWN, 0, NULL);
    for (int i = 0; i < 5; i++) {
        send_request(CONTROL_CONFIG_SET, 2, (const char *const[]){"timeout", "10"});
    }
    control_run(control);
    assert_int_equal(fake_request_count, 7);
    assert_int_equal((*control_config_slot(control))->timeout, 9);
}

/* Traffic after a while, and the end when the status shows it. */
static void *stop_later(void *argument)
{
    const struct control_status *status = control_status_slot(argument);
    usleep(350 * 1000);
    metric_add(&metrics, METRIC_SESSION_INPUT_BYTES, 32000);
    metric_add(&metrics, METRIC_COMMANDS_PROCESSED, 1600);
    for (int i = 0;
         i < 20000 && __atomic_load_n(&status->operations_per_second, __ATOMIC_RELAXED) == 0; i++) {
        usleep(1000);
    }
    usleep(1000);
    control_request_stop(argument, "test");
    return NULL;
}

static void test_status(void **state)
{
    (void)state;
    const struct control_status *status = control_status_slot(control);
    pthread_t thread;
    assert_int_equal(strlen(status->run_id), 40);
    assert_int_equal(strspn(status->run_id, "0123456789abcdef"), 40);
    assert_non_null(strstr(status->executable, "test_control"));
    assert_true(status->start_wall_ms > UINT64_C(1600000000000));
    assert_true(status->resident_bytes > 100000);
    assert_int_equal(status->operations_per_second, 0);
    assert_int_equal(pthread_create(&thread, NULL, stop_later, control), 0);
    control_run(control);
    pthread_join(thread, NULL);
    assert_true(status->cpu_user_us + status->cpu_system_us > 0);
    /* 1,600 in one of sixteen samples of a tenth of a second, or of more on a host that is busy. */
    assert_in_range(status->operations_per_second, 1, 1100);
    assert_in_range(status->input_bytes_per_second / status->operations_per_second, 5, 80);
    assert_int_equal(status->output_bytes_per_second, 0);
}

static void test_signals(void **state)
{
    (void)state;
    /* Before the loop runs: kept until then. */
    raise(SIGTERM);
    control_run(control);
}

static void test_interrupt(void **state)
{
    (void)state;
    raise(SIGINT);
    control_run(control);
}

/* A worker that reads the slot all the time while it is swapped under it: ASan and TSan watch. */
static uint32_t reader_stop;

static void *read_slot(void *argument)
{
    const struct config *const *slot = argument;
    uint64_t sum = 0;
    rcu_thread_register();
    while (__atomic_load_n(&reader_stop, __ATOMIC_ACQUIRE) == 0) {
        for (int i = 0; i < 100; i++) {
            const struct config *config = RCU_READ(slot);
            sum += (uint64_t)config->timeout + strlen(config->requirepass);
        }
        rcu_quiescent();
    }
    rcu_thread_unregister();
    return (void *)(uintptr_t)sum;
}

static void test_swaps_under_a_reader(void **state)
{
    (void)state;
    pthread_t thread;
    reader_stop = 0;
    assert_int_equal(
        pthread_create(&thread, NULL, read_slot, (void *)(uintptr_t)control_config_slot(control)),
        0);
    for (int i = 0; i < 200; i++) {
        char value[16];
        snprintf(value, sizeof(value), "%d", i);
        send_request(CONTROL_CONFIG_SET, 4,
                     (const char *const[]){"timeout", value, "requirepass", value});
    }
    send_request(CONTROL_SHUTDOWN, 0, NULL);
    control_run(control);
    __atomic_store_n(&reader_stop, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    for (int i = 0; i < 201; i++) {
        assert_answer("");
    }
    assert_int_equal((*control_config_slot(control))->timeout, 199);
}

int main(void)
{
#define TEST(name, how) cmocka_unit_test_setup_teardown(name, how, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_requests, setup),
        TEST(test_no_room_for_answers, setup_small),
        TEST(test_left_over_requests, setup_small),
        TEST(test_status, setup),
        TEST(test_signals, setup),
        TEST(test_interrupt, setup),
        TEST(test_swaps_under_a_reader, setup),
    };
    log_set_level(LOG_WARNING);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
