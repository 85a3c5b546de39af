/* Sessions: whatever the cuts, a parser above sees the same bytes in the same order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/hash.h"
#include "dataplane/l5_session/session.h"

static struct stream_list dirty;

static void open_session(struct session *session, struct stream *stream)
{
    dirty.first = NULL;
    *stream = (struct stream){.dirty_list = &dirty, .socket_fd = -1};
    session_attach(session, stream);
}

/* Takes whole 10-byte requests from the view and checks their numbers. */
static uint32_t take_requests(struct session *session, uint32_t next)
{
    while (session->view.size - session->parsed >= 10) {
        char expected[11];
        snprintf(expected, sizeof(expected), "%010u", next++);
        assert_memory_equal(session->view.data + session->parsed, expected, 10);
        session->parsed += 10;
    }
    session->executed = session->parsed;
    session_settle(session);
    return next;
}

static void any_cut_gives_the_same_requests(void **state)
{
    enum { COUNT = 500 };
    char text[COUNT * 10 + 1];
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(text + i * 10, 11, "%010u", i);
    }
    uint64_t random = 7;
    for (uint32_t round = 0; round < 200; round++) {
        struct session session;
        struct stream stream;
        open_session(&session, &stream);
        uint32_t next = 0;
        for (size_t at = 0; at < COUNT * 10;) {
            size_t part = 1 + random_next(&random) % 40;
            if (part > COUNT * 10 - at) {
                part = COUNT * 10 - at;
            }
            /* A copy of its own: reading behind it is an ASan error, as is writing in front. */
            size_t front = random_next(&random) % 12;
            uint8_t *packet = malloc(front + part);
            memcpy(packet + front, text + at, part);
            session_offer(&session, slice_of(packet + front, part), front);
            next = take_requests(&session, next);
            free(packet);
            at += part;
        }
        assert_int_equal(next, COUNT);
        assert_int_equal(session.buffer_bytes, 0);
        session_detach(&session);
    }
}

static void a_blocked_session_keeps_its_bytes_and_closes_the_window(void **state)
{
    struct session session;
    struct stream stream;
    open_session(&session, &stream);
    session_offer(&session, slice_of("aabb", 4), 0);
    session.parsed = 4;
    session.executed = 2; /* "bb" was parsed, but must not run yet */
    session_block(&session, SESSION_AWAITS_REPLY);
    session_settle(&session);
    assert_int_equal(stream.unread_bytes, 2);
    assert_true(stream.input_paused);
    assert_true(stream.dirty);

    session_offer(&session, slice_of("cc", 2), 0);
    session_settle(&session);
    assert_int_equal(stream.unread_bytes, 4);

    session_resume(&session);
    assert_int_equal(stream.unread_bytes, 0);
    assert_false(stream.input_paused);
    assert_true(slice_equal(session.view, slice_of("bbcc", 4)));
    session.executed = session.parsed = 4;
    session_settle(&session);
    session_detach(&session);
}

/* What is left of one view goes in front of the next bytes: from the view, or from the buffer. */
static void what_is_left_goes_in_front_where_there_is_room(void **state)
{
    char first[] = "aabb", second[] = "....ccdd", third[] = ".ee";
    struct session session;
    struct stream stream;
    open_session(&session, &stream);
    session_offer(&session, slice_of(first, 4), 0);
    session.parsed = session.executed = 2;
    session_offer(&session, slice_of(second + 4, 4), 4);
    assert_true(slice_equal(session.view, slice_of("bbccdd", 6)));
    assert_ptr_equal(session.view.data, second + 2);
    assert_int_equal(session.buffer_capacity, 0);
    session.parsed = session.executed = 4;
    session_settle(&session);
    assert_int_equal(session.buffer_bytes, 2);

    session_offer(&session, slice_of(third + 1, 2), 1);
    assert_true(slice_equal(session.view, slice_of("ddee", 4)));
    assert_memory_equal(third, ".ee", 3);
    session_settle(&session);
    session_offer(&session, slice_of(second + 4, 4), 4);
    assert_ptr_equal(session.view.data, second);
    assert_true(slice_equal(session.view, slice_of("ddeeccdd", 8)));
    assert_int_equal(session.buffer_capacity, 0);
    session.executed = session.parsed = 8;
    session_settle(&session);
    session_detach(&session);
}

static void half_a_request_leaves_the_window_open(void **state)
{
    struct session session;
    struct stream stream;
    open_session(&session, &stream);
    session_offer(&session, slice_of("half", 4), 0);
    session_settle(&session);
    assert_int_equal(session.buffer_bytes, 4);
    assert_int_equal(stream.unread_bytes, 0);
    session_detach(&session);
}

/* head "HEAD", payload of 8 bytes, tail "TAIL": every cut into two. */
static void a_bulk_goes_to_its_memory_at_any_cut(void **state)
{
    static const char text[] = "HEADpayload!TAIL";
    for (size_t cut = 4; cut <= 16; cut++) {
        struct session session;
        struct stream stream;
        uint8_t memory[8] = {0};
        open_session(&session, &stream);
        session_offer(&session, slice_of(text, cut), 0);
        session_receive_bulk(&session, 4, memory, sizeof(memory));
        struct slice rest = slice_of(text + cut, 16 - cut);
        if (!session_bulk_complete(&session)) {
            rest = session_fill_bulk(&session, rest);
        }
        assert_true(session_bulk_complete(&session));
        assert_memory_equal(memory, "payload!", 8);
        session_finish_bulk(&session);
        session_settle(&session);
        session_offer(&session, rest, 0);
        assert_true(slice_equal(session.view, slice_of("HEADTAIL", 8)));
        session.executed = 8;
        session_settle(&session);
        session_detach(&session);
    }
}

static void a_discarded_bulk_is_only_counted(void **state)
{
    struct session session;
    struct stream stream;
    open_session(&session, &stream);
    session_offer(&session, slice_of("H1234", 5), 0);
    session_receive_bulk(&session, 1, NULL, 100);
    assert_int_equal(session.bulk_received, 4);
    uint8_t more[200];
    memset(more, 'x', sizeof(more));
    struct slice rest = session_fill_bulk(&session, slice_of(more, sizeof(more)));
    assert_int_equal(rest.size, 104);
    assert_true(session_bulk_complete(&session));
    session_finish_bulk(&session);
    assert_true(slice_equal(session.view, slice_of("H", 1)));
    session_settle(&session);
    session_detach(&session);
}

static void an_empty_buffer_goes_back(void **state)
{
    struct session session;
    struct stream stream;
    open_session(&session, &stream);
    uint8_t part[12345] = {0};
    for (size_t size = 1; size <= sizeof(part); size += sizeof(part) - 1) {
        session_offer(&session, slice_of(part, size), 0);
        session_settle(&session);
        assert_true(session.buffer_capacity >= size);
        session_offer(&session, slice_of("x", 1), 0);
        session.executed = session.parsed = size + 1;
        session_settle(&session);
        assert_int_equal(session.buffer_capacity, 0);
    }
    session_detach(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cut_gives_the_same_requests),
        cmocka_unit_test(a_blocked_session_keeps_its_bytes_and_closes_the_window),
        cmocka_unit_test(what_is_left_goes_in_front_where_there_is_room),
        cmocka_unit_test(half_a_request_leaves_the_window_open),
        cmocka_unit_test(a_bulk_goes_to_its_memory_at_any_cut),
        cmocka_unit_test(a_discarded_bulk_is_only_counted),
        cmocka_unit_test(an_empty_buffer_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
