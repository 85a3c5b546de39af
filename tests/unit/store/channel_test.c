/* The channel: in order, nothing lost, refuses when full; also between two threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "dataplane/channel/channel.h"

static void a_full_channel_refuses_and_keeps_order(void **state)
{
    struct channel *channel = channel_create(8);
    struct message message = {.type = MESSAGE_CONTROL_REPLY, .from = CHANNEL_FROM_CONTROL};
    assert_true(channel_is_empty(channel));
    for (uint64_t i = 0; i < 7; i++) {
        message.words[0] = i;
        assert_true(channel_send(channel, &message));
    }
    assert_false(channel_send(channel, &message));
    assert_false(channel_is_empty(channel));
    struct message got[16];
    assert_int_equal(channel_receive_burst(channel, got, 3), 3);
    assert_true(channel_send(channel, &message));
    assert_int_equal(channel_receive_burst(channel, got + 3, 13), 5);
    for (uint64_t i = 0; i < 7; i++) {
        assert_int_equal(got[i].words[0], i);
        assert_int_equal(got[i].type, MESSAGE_CONTROL_REPLY);
        assert_int_equal(got[i].from, CHANNEL_FROM_CONTROL);
    }
    assert_true(channel_is_empty(channel));
    channel_destroy(channel);
}

static void a_burst_goes_as_far_as_there_is_room(void **state)
{
    struct channel *channel = channel_create(4);
    struct message messages[5], got[4];
    for (uint32_t i = 0; i < 5; i++) {
        messages[i] = (struct message){.type = MESSAGE_ERRAND, .words = {i}};
    }
    assert_int_equal(channel_send_burst(channel, messages, 5), 3);
    assert_int_equal(channel_send_burst(channel, messages + 3, 2), 0);
    assert_int_equal(channel_receive_burst(channel, got, 2), 2);
    assert_int_equal(channel_send_burst(channel, messages + 3, 2), 2);
    assert_int_equal(channel_receive_burst(channel, got, 4), 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(got[i].words[0], i + 2);
    }
    channel_destroy(channel);
}

static void a_bad_capacity_is_refused(void **state)
{
    assert_null(channel_create(7));
    channel_destroy(NULL);
}

#define THREAD_MESSAGES 200000

static void *send_many(void *argument)
{
    for (uint64_t i = 0; i < THREAD_MESSAGES; i++) {
        struct message message = {.type = MESSAGE_CONTROL_REPLY, .words = {i, ~i}};
        while (!channel_send(argument, &message)) {
            sched_yield();
        }
    }
    return NULL;
}

static void two_threads_pass_everything_in_order(void **state)
{
    struct channel *channel = channel_create(64);
    pthread_t sender;
    assert_int_equal(pthread_create(&sender, NULL, send_many, channel), 0);
    uint64_t expected = 0;
    while (expected < THREAD_MESSAGES) {
        struct message got[16];
        uint32_t count = channel_receive_burst(channel, got, 16);
        for (uint32_t i = 0; i < count; i++, expected++) {
            assert_true(got[i].words[0] == expected && got[i].words[1] == ~expected);
        }
        if (count == 0) {
            sched_yield();
        }
    }
    pthread_join(sender, NULL);
    channel_destroy(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_channel_refuses_and_keeps_order),
        cmocka_unit_test(a_bad_capacity_is_refused),
        cmocka_unit_test(a_burst_goes_as_far_as_there_is_room),
        cmocka_unit_test(two_threads_pass_everything_in_order),
    };
    return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
