/* The load against a server of known delay, in virtual time: no socket and no clock but the test's,
 * so that every latency is known beforehand and nothing else on the machine can change it.
 *
 *   load --output--> requests, each with a time at which its reply is due --input--> load
 *
 * The clock stands still but for TICK_NS with each look at it, and jumps when the load waits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "tests/bench/load.h"

#define TICK_NS         500U
#define CONNECTIONS_MAX 1000U
#define REQUEST_BYTES   14U /* "*1\r\n$4\r\nPING\r\n" */
#define MILLISECOND     UINT64_C(1000000)

struct link {
    struct stream stream;
    bool opened;
    uint32_t waiting; /* requests; all are answered at once */
    uint64_t due_ns;
    bool closing; /* the load asked for it */
    bool gone;
};

static struct {
    struct transport transport;
    struct stream_list dirty;
    struct link links[CONNECTIONS_MAX];
    uint32_t link_count;
    uint64_t now_ns, first_ns;
    uint64_t (*delay_of)(uint64_t request);
    uint64_t stall_at_ns, stall_ns; /* nothing is answered for so long, so long after the first */
    uint64_t requests;
    uint64_t end_delay_ns;                /* from a request to close to the end of it */
    uint32_t closing_count, closing_most; /* at the same time */
    uint64_t waiting_most;                /* requests, the same */
    uint32_t in_flight_max;
    struct link *closes_itself; /* while others are being closed, or NULL */
} server;

static uint64_t virtual_clock(void)
{
    return server.now_ns += TICK_NS;
}

/* ---- the server, as a transport -------------------------------------------------------------- */

static struct stream *connect_link(struct transport *transport, const struct endpoint *peer,
                                   const struct instant *now)
{
    (void)transport;
    (void)peer;
    (void)now;
    assert_true(server.link_count < CONNECTIONS_MAX);
    struct link *link = &server.links[server.link_count++];
    link->stream.dirty_list = &server.dirty;
    return &link->stream;
}

static uint64_t end_of_stall(uint64_t due_ns)
{
    uint64_t begin_ns = server.first_ns + server.stall_at_ns, end_ns = begin_ns + server.stall_ns;
    return due_ns >= begin_ns && due_ns < end_ns ? end_ns : due_ns;
}

static void note_waiting(void)
{
    uint64_t waiting = 0;
    for (uint32_t i = 0; i < server.link_count; i++) {
        waiting += server.links[i].waiting;
    }
    server.waiting_most = waiting > server.waiting_most ? waiting : server.waiting_most;
}

static void take_close(struct link *link)
{
    assert_false(link->closing);
    link->closing = true;
    link->due_ns = server.now_ns + server.end_delay_ns;
    server.closing_count++;
    if (server.closing_count > server.closing_most) {
        server.closing_most = server.closing_count;
    }
}

static uint32_t count_links(const struct transport *transport)
{
    (void)transport;
    uint32_t count = 0;
    for (uint32_t i = 0; i < server.link_count; i++) {
        struct link *link = &server.links[i];
        if (link->closing && !link->gone && link->due_ns <= server.now_ns) {
            link->gone = true;
            server.closing_count--;
        }
        count += !link->gone;
    }
    return count;
}

static void close_itself(struct transport_input *input)
{
    struct link *link = server.closes_itself;
    if (link != NULL && server.closing_count > 0 && !link->closing && !link->gone) {
        link->gone = true;
        input->events[input->event_count++] =
            (struct stream_event){.stream = &link->stream, .type = STREAM_CLOSED};
    }
}

static void take_requests(struct transport *transport, const struct instant *now)
{
    (void)now;
    while (server.dirty.first != NULL) {
        struct stream *stream = server.dirty.first;
        struct link *link = (struct link *)(void *)stream;
        server.dirty.first = stream->dirty_next;
        stream->dirty = false;
        assert_false(link->gone);
        if (stream->close_requested) {
            take_close(link);
            continue;
        }
        assert_int_equal(stream->out.size % REQUEST_BYTES, 0);
        link->waiting += (uint32_t)(stream->out.size / REQUEST_BYTES);
        byte_queue_consume(&stream->out, &transport->pool, stream->out.size);
        note_waiting();
        server.first_ns = server.first_ns == 0 ? server.now_ns : server.first_ns;
        link->due_ns = end_of_stall(server.now_ns + server.delay_of(server.requests++));
    }
}

static void give_replies(struct transport *transport, const struct instant *now,
                         struct transport_input *input)
{
    static const uint8_t replies[] = "+PONG\r\n+PONG\r\n+PONG\r\n+PONG\r\n";
    (void)transport;
    (void)now;
    input->event_count = input->datagram_count = 0;
    for (uint32_t i = 0; i < server.link_count && input->event_count < TRANSPORT_EVENTS_MAX - 1;
         i++) {
        struct link *link = &server.links[i];
        if (!link->opened) {
            link->opened = true;
            input->events[input->event_count++] =
                (struct stream_event){.stream = &link->stream, .type = STREAM_OPENED};
        } else if (link->waiting > 0 && link->due_ns <= server.now_ns) {
            assert_in_range(link->waiting, 1, 4);
            input->events[input->event_count++] =
                (struct stream_event){.stream = &link->stream,
                                      .type = STREAM_DATA,
                                      .data = slice_of(replies, link->waiting * 7U)};
            link->waiting = 0;
        }
    }
    close_itself(input);
}

static void wait_for_reply(struct transport *transport, uint64_t timeout_ns)
{
    (void)transport;
    uint64_t until_ns = server.now_ns + timeout_ns;
    for (uint32_t i = 0; i < server.link_count; i++) {
        const struct link *link = &server.links[i];
        if (link->waiting > 0 && link->due_ns < until_ns) {
            until_ns = link->due_ns;
        }
    }
    server.now_ns = until_ns > server.now_ns ? until_ns : server.now_ns;
}

static const struct transport_operations operations = {
    .connect = connect_link,
    .input = give_replies,
    .output = take_requests,
    .connection_count = count_links,
    .wait = wait_for_reply,
};

/* ---- a run ----------------------------------------------------------------------------------- */

static struct load_result result;

static void run(uint64_t (*delay_of)(uint64_t), uint32_t connections, uint32_t pipeline,
                const struct load_phase *phase)
{
    memset(&server.links, 0, sizeof(server.links));
    server.link_count = 0;
    server.first_ns = server.requests = 0;
    server.closing_count = server.closing_most = 0;
    server.waiting_most = 0;
    server.now_ns = 1000 * MILLISECOND;
    server.delay_of = delay_of;
    server.transport.operations = &operations;
    byte_pool_init(&server.transport.pool, 16);
    struct workload workload = {.protocol = REPLY_RESP, .key_count = 1, .keys_a_get = 1};
    workload.weights[REQUEST_PING] = 1;
    assert_true(sizes_parse(&workload.key_sizes, "16", 1, 16));
    assert_true(sizes_parse(&workload.value_sizes, "1", 1, 1));
    assert_true(workload_init(&workload, 1));
    const struct load_options options = {
        .transport = &server.transport,
        .workload = &workload,
        .connections = connections,
        .pipeline = pipeline,
        .in_flight_max = server.in_flight_max,
        .timeout_ns = 10000 * MILLISECOND,
        .clock_ns = virtual_clock,
    };
    struct config_error error;
    struct load *load = load_create(&options);
    assert_non_null(load);
    assert_int_equal(load_connect(load, &error), 0);
    assert_int_equal(load_run(load, phase, &result, &error), 0);
    load_disconnect(load);
    load_result_deinit(&result);
    load_destroy(load);
    workload_deinit(&workload);
    byte_pool_deinit(&server.transport.pool);
    assert_int_equal(result.all.count, phase->request_count);
    assert_int_equal(result.replies, phase->request_count);
}

static void expect_quantile(double quantile, double milliseconds)
{
    double got = (double)histogram_quantile(&result.all, quantile) / 1e6;
    if (fabs(got / milliseconds - 1) > 0.02) {
        fail_msg("quantile %g is %.3f ms, not %.3f", quantile, got, milliseconds);
    }
}

/* ---- delays ---------------------------------------------------------------------------------- */

static uint64_t delay_5_ms(uint64_t request)
{
    (void)request;
    return 5 * MILLISECOND;
}

static uint64_t delay_100_us(uint64_t request)
{
    (void)request;
    return MILLISECOND / 10;
}

/* 10 us to 10 ms, each hundredth of a ms once in a thousand requests, in no order. */
static uint64_t delay_spread(uint64_t request)
{
    return (request * 7919 % 1000 + 1) * MILLISECOND / 100;
}

/* Nine of ten fast, one slow, and one of a thousand very slow. */
static uint64_t delay_with_tail(uint64_t request)
{
    uint64_t place = request * 7919 % 1000;
    return place == 0 ? 80 * MILLISECOND : place <= 100 ? 4 * MILLISECOND : MILLISECOND / 5;
}

static const struct load_phase closed = {.request_count = 5000};
static const struct load_phase opened = {
    .request_count = 5000, .rate = 500, .poisson = true, .seed = 3};

static void expect_spread(void)
{
    static const double quantiles[] = {0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999};
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        expect_quantile(quantiles[i], quantiles[i] * 10);
    }
    expect_quantile(1, 10);
}

static void expect_tail(void)
{
    expect_quantile(0.5, 0.2);
    expect_quantile(0.89, 0.2);
    expect_quantile(0.9, 4);
    expect_quantile(0.99, 4);
    expect_quantile(0.9995, 80);
}

static void test_closed_loop(void **state)
{
    (void)state;
    run(delay_5_ms, 4, 1, &closed);
    expect_quantile(0, 5);
    expect_quantile(0.5, 5);
    expect_quantile(1, 5);
    run(delay_spread, 7, 1, &closed);
    expect_spread();
    run(delay_with_tail, 7, 1, &closed);
    expect_tail();
}

static void test_pipelined_rounds(void **state)
{
    (void)state;
    run(delay_5_ms, 3, 4, &closed);
    expect_quantile(0, 5);
    expect_quantile(1, 5);
    run(delay_spread, 5, 4, &closed);
    expect_spread(); /* each round of 4 counts four times */
}

static void test_open_loop(void **state)
{
    (void)state;
    run(delay_5_ms, 50, 1, &opened);
    expect_quantile(0, 5);
    expect_quantile(0.5, 5);
    expect_quantile(0.999, 5);
    run(delay_spread, 50, 1, &opened);
    expect_spread();
    run(delay_with_tail, 90, 1, &opened);
    expect_tail();
}

/* 1000 requests in a second, of which 200 are meant to leave within the stall: they wait 0 to 200
 * ms, also those that no connection was free for. */
static void test_stall_in_open_loop(void **state)
{
    (void)state;
    static const struct load_phase phase = {.request_count = 1000, .rate = 1000};
    server.stall_at_ns = 300 * MILLISECOND;
    server.stall_ns = 200 * MILLISECOND;
    run(delay_100_us, 20, 1, &phase);
    server.stall_ns = 0;
    expect_quantile(0.5, 0.1);
    expect_quantile(0.85, 50);
    expect_quantile(0.9, 100);
    expect_quantile(0.95, 150);
    expect_quantile(1, 200);
}

/* The contrast: one connection that waits for each reply sees the stall once. */
static void test_stall_in_closed_loop(void **state)
{
    (void)state;
    static const struct load_phase phase = {.request_count = 5000};
    server.stall_at_ns = 300 * MILLISECOND;
    server.stall_ns = 200 * MILLISECOND;
    run(delay_100_us, 1, 1, &phase);
    server.stall_ns = 0;
    expect_quantile(0.999, 0.1);
    expect_quantile(1, 200);
}

static uint32_t links_left(void)
{
    return count_links(&server.transport);
}

/* Far more connections than may be closing at the same time; one is closed by the server. */
static void test_connections_are_closed_in_turn(void **state)
{
    (void)state;
    static const struct load_phase phase = {.request_count = 2000};
    server.end_delay_ns = 7 * MILLISECOND;
    server.closes_itself = &server.links[999];
    run(delay_100_us, 1000, 1, &phase);
    server.closes_itself = NULL;
    assert_int_equal(links_left(), 0);
    assert_in_range(server.closing_most, 100, 256);
}

/* Five of a hundred connections ask at a time, in turn: all get their part. */
static void test_connections_take_turns(void **state)
{
    (void)state;
    server.in_flight_max = 5;
    run(delay_5_ms, 100, 1, &closed);
    assert_int_equal(server.waiting_most, 5);
    expect_quantile(1, 5);
    server.waiting_most = 0;
    run(delay_5_ms, 100, 1, &opened);
    server.in_flight_max = 0;
    assert_int_equal(server.waiting_most, 5);
    run(delay_5_ms, 100, 1, &closed);
    assert_int_equal(server.waiting_most, 100);
}

/* A server that is gone: the load does not wait for ever. */
static void test_closing_is_given_up(void **state)
{
    (void)state;
    static const struct load_phase phase = {.request_count = 100};
    server.end_delay_ns = 1000000 * MILLISECOND;
    uint64_t before_ns = 1000 * MILLISECOND;
    run(delay_100_us, 2, 1, &phase);
    server.end_delay_ns = 0;
    assert_int_equal(links_left(), 2);
    assert_in_range(server.now_ns - before_ns, 3000 * MILLISECOND, 3500 * MILLISECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closed_loop),
        cmocka_unit_test(test_pipelined_rounds),
        cmocka_unit_test(test_open_loop),
        cmocka_unit_test(test_stall_in_open_loop),
        cmocka_unit_test(test_stall_in_closed_loop),
        cmocka_unit_test(test_connections_are_closed_in_turn),
        cmocka_unit_test(test_connections_take_turns),
        cmocka_unit_test(test_closing_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
