/* Loss recovery and congestion control: the flight against a model of one fate for each byte, CUBIC
 * against the formulas of RFC 9438, and what a connection does when its peer says what was lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/support/tcp_bench.h"

#define SYN_SACK "\x02\x04\x05\xb4\x01\x01\x04\x02"
#define SYN_ALL  "\x02\x04\x05\xb4\x04\x02\x08\x0a\x00\x00\x10\x00\x00\x00\x00\x00\x01\x03\x03\x07"
#define MS       1000U
#define RTT      (40U * MS)
#define MSS      1460U

static uint8_t pattern[400000];
static uint64_t random_state = 0x9E3779B97F4A7C15ULL;

static uint32_t draw(uint32_t below)
{
    return (uint32_t)((random_next(&random_state) >> 20) % below);
}

static uint64_t counter(const struct tcp_bench *b, enum metric metric)
{
    return metric_read(&b->host.metrics, metric);
}

/* ---- the flight --------------------------------------------------------------------------------
 */

#define SPACE 20000U

struct byte_model {
    uint32_t una, nxt; /* offsets */
    uint8_t fate[SPACE];
    uint32_t sent_us[SPACE];
};

static void check_flight(const struct tcp_flight *flight, const struct byte_model *model,
                         uint32_t base, bool exact_times)
{
    uint32_t at = model->una, sacked = 0, lost = 0;
    for (uint32_t i = 0; i < flight->count; i++) {
        const struct tcp_flight_range *range = &flight->ranges[flight->first + i];
        assert_true(seq_before(base + at, range->end));
        for (; base + at != range->end; at++) {
            assert_int_equal(model->fate[at], range->fate);
            assert_true(!exact_times || range->fate != 0 || model->sent_us[at] == range->sent_us);
            sacked += (range->fate & TCP_FLIGHT_SACKED) != 0;
            lost += (range->fate & TCP_FLIGHT_LOST) != 0;
        }
    }
    assert_int_equal(at, model->nxt);
    assert_int_equal(flight->start, base + model->una);
    assert_int_equal(flight->sacked_bytes, sacked);
    assert_int_equal(flight->lost_bytes, lost);
}

static void draw_piece(const struct byte_model *model, uint32_t *start, uint32_t *end)
{
    *start = model->una + draw(model->nxt - model->una);
    *end = *start + 1 + draw(300);
    *end = *end < model->nxt ? *end : model->nxt;
}

static void sack_both(struct tcp_flight *flight, struct byte_model *model, uint32_t base)
{
    struct tcp_flight_news news = {.original_before = base + model->nxt};
    uint32_t start, end, delivered = 0;
    draw_piece(model, &start, &end);
    tcp_flight_sack(flight, base + start, base + end, &news);
    for (uint32_t i = start; i < end; i++) {
        delivered += !(model->fate[i] & TCP_FLIGHT_SACKED);
        model->fate[i] = TCP_FLIGHT_SACKED;
    }
    assert_int_equal(news.delivered, delivered);
    assert_int_equal(news.sacked, delivered > 0);
}

static void acknowledge_both(struct tcp_flight *flight, struct byte_model *model, uint32_t base)
{
    struct tcp_flight_news news = {.original_before = base + model->nxt};
    uint32_t una = model->una + draw(400), delivered = 0;
    una = una < model->nxt ? una : model->nxt - 1;
    for (; model->una < una; model->una++) {
        delivered += !(model->fate[model->una] & TCP_FLIGHT_SACKED);
    }
    tcp_flight_acknowledge(flight, base + una, &news);
    assert_int_equal(news.delivered, delivered);
}

static void lose_both(struct tcp_flight *flight, struct byte_model *model, uint32_t base)
{
    uint32_t start, end;
    draw_piece(model, &start, &end);
    tcp_flight_lose(flight, base + start, base + end);
    for (uint32_t i = start; i < end; i++) {
        model->fate[i] |= model->fate[i] & TCP_FLIGHT_SACKED ? 0 : TCP_FLIGHT_LOST;
    }
}

/* The first lost piece, as tcp_output.c would. */
static void resend_both(struct tcp_flight *flight, struct byte_model *model, uint32_t base,
                        uint32_t now_us)
{
    uint32_t start, end, first = model->una;
    while (first < model->nxt && !(model->fate[first] & TCP_FLIGHT_LOST)) {
        first++;
    }
    bool found = tcp_flight_next_lost(flight, base + model->una, &start, &end);
    assert_int_equal(found, first < model->nxt);
    if (!found) {
        return;
    }
    assert_int_equal(start, base + first);
    end = seq_min(end, start + 100);
    tcp_flight_resend(flight, start, end, now_us);
    for (uint32_t i = start - base; i < end - base; i++) {
        model->fate[i] = TCP_FLIGHT_AGAIN;
        model->sent_us[i] = now_us;
    }
}

static void flight_matches_a_model(void **state)
{
    struct tcp_flight_pools pools;
    static struct byte_model model;
    tcp_flight_pools_init(&pools);
    for (uint32_t round = 0; round < 200; round++) {
        uint32_t base = round % 2 == 0 ? 0xFFFFFFFFU - draw(SPACE) : draw(1U << 31), now_us = 1;
        memset(&model, 0, sizeof(model));
        model.nxt = 500;
        struct tcp_flight *flight = tcp_flight_create(&pools, base, base + 500, 0);
        for (uint32_t step = 0; step < 300; step++, now_us += draw(50)) {
            assert_true(tcp_flight_reserve(&pools, &flight, 3));
            uint32_t what = draw(10), more = 1 + draw(100);
            if (what < 3 && model.nxt + more < SPACE) {
                tcp_flight_append(flight, base + model.nxt + more, now_us, 0);
                for (; more > 0; more--) {
                    model.sent_us[model.nxt++] = now_us;
                }
            } else if (what < 6) {
                sack_both(flight, &model, base);
            } else if (what == 6) {
                acknowledge_both(flight, &model, base);
            } else if (what == 7) {
                lose_both(flight, &model, base);
            } else {
                resend_both(flight, &model, base, now_us);
            }
            check_flight(flight, &model, base, true);
        }
        tcp_flight_find_all(flight);
        assert_int_equal(flight->lost_bytes, 0);
        tcp_flight_destroy(&pools, flight);
    }
    tcp_flight_pools_deinit(&pools);
}

/* New text that left after a retransmission is not counted to that which left before it. */
static void order_of_sending_is_kept(void **state)
{
    struct tcp_flight_pools pools;
    uint32_t wait_us;
    bool again;
    tcp_flight_pools_init(&pools);
    struct tcp_flight *flight = tcp_flight_create(&pools, 0, 100, 1000);
    struct tcp_flight_news news = {0};
    assert_true(tcp_flight_reserve(&pools, &flight, 8));
    tcp_flight_append(flight, 200, 1010, 0);
    tcp_flight_lose(flight, 0, 100);
    tcp_flight_append(flight, 300, 2000, 50);
    tcp_flight_resend(flight, 0, 100, 2010);
    tcp_flight_append(flight, 400, 2010, 50);
    assert_int_equal(flight->count, 4);
    tcp_flight_append(flight, 500, 2020, 50); /* nothing in between: joined */
    assert_int_equal(flight->count, 4);
    tcp_flight_acknowledge(flight, 200, &news);
    flight->rack_known = true;
    flight->rack_sent_us = news.newest_sent_us;
    flight->rack_end = news.newest_end;
    flight->rack_rtt_us = 500;
    assert_int_equal(flight->rack_sent_us, 2010);
    assert_int_equal(tcp_flight_detect(flight, 0, 2510, &wait_us, &again), 100); /* 200 to 300 */
    assert_int_equal(flight->lost_bytes, 100);
    tcp_flight_destroy(&pools, flight);
    tcp_flight_pools_deinit(&pools);
}

/* Every other byte SACKed: a full flight refuses what needs more ranges, and goes on. */
static void full_flight_goes_on(void **state)
{
    struct tcp_flight_pools pools;
    tcp_flight_pools_init(&pools);
    struct tcp_flight *flight = tcp_flight_create(&pools, 0, 10000, 5);
    uint32_t blocks = 0;
    struct tcp_flight_news news = {0};
    while (tcp_flight_reserve(&pools, &flight, 2)) {
        tcp_flight_sack(flight, 1 + 2 * blocks, 2 + 2 * blocks, &news);
        blocks++;
    }
    assert_in_range(flight->count, TCP_FLIGHT_RANGES_MAX - 2, TCP_FLIGHT_RANGES_MAX);
    assert_true(tcp_flight_ends_plain(flight));
    uint32_t count = flight->count;
    tcp_flight_append(flight, 10001, 9, 0);
    tcp_flight_append(flight, 10002, 19, 0);
    tcp_flight_append(flight, 10003, 29, 0);
    assert_in_range(flight->count, count, TCP_FLIGHT_RANGES_MAX);
    assert_int_equal(flight->ranges[flight->first + flight->count - 1].end, 10003);
    tcp_flight_lose(flight, 5000, 5100); /* in the middle of the last piece: all of it */
    assert_true(flight->lost_bytes >= 100);
    uint32_t start, end;
    assert_true(tcp_flight_next_lost(flight, 0, &start, &end));
    tcp_flight_resend(flight, start, start + 10, 40);
    assert_int_equal(flight->lost_bytes, 0);
    tcp_flight_acknowledge(flight, 10003, &news);
    assert_int_equal(flight->count + flight->sacked_bytes, 0);
    tcp_flight_destroy(&pools, flight);
    tcp_flight_pools_deinit(&pools);
}

/* Beyond the bytes of all connections a flight stays small, and works. */
static void flights_are_bounded_together(void **state)
{
    struct tcp_flight_pools pools;
    struct tcp_flight *flights[3];
    struct tcp_flight_news news = {0};
    tcp_flight_pools_init(&pools);
    pools.bytes_max = 2048;
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t blocks = 0;
        flights[i] = tcp_flight_create(&pools, 0, 10000, 5);
        while (tcp_flight_reserve(&pools, &flights[i], 2) && blocks < 200) {
            tcp_flight_sack(flights[i], 1 + 2 * blocks, 2 + 2 * blocks, &news);
            blocks++;
        }
        assert_in_range(flights[i]->count, i < 2 ? 70 : 10, i < 2 ? 81 : 17);
    }
    assert_int_equal(pools.bytes, 2048);
    for (uint32_t i = 0; i < 3; i++) {
        tcp_flight_acknowledge(flights[i], 10000, &news);
        assert_int_equal(flights[i]->count + flights[i]->sacked_bytes, 0);
        tcp_flight_destroy(&pools, flights[i]);
    }
    assert_int_equal(pools.bytes, 0);
    tcp_flight_pools_deinit(&pools);
}

/* ---- CUBIC -------------------------------------------------------------------------------------
 */

static void cubic_follows_its_formula(void **state) /* RFC 9438 4.2 */
{
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t mss = 100 + draw(8900), window_max = mss * (2 + draw(100000));
        window_max = window_max < TCP_WINDOW_BYTES_MAX / 2 ? window_max : TCP_WINDOW_BYTES_MAX / 2;
        uint32_t window = (uint32_t)(window_max * 0.7);
        double k = cbrt((double)(window_max - window) / mss / 0.4);
        uint32_t k_ms = tcp_cubic_k_ms(window, window_max, mss);
        assert_true(fabs(k * 1000 - k_ms) <= 1.001);
        uint32_t t_ms = draw(2 * k_ms + 1000);
        double t = t_ms / 1000.0 - k_ms / 1000.0;
        double expected = window_max + 0.4 * t * t * t * mss;
        double got = tcp_cubic_window(window_max, k_ms, t_ms, mss);
        expected = expected < TCP_WINDOW_BYTES_MAX ? expected : TCP_WINDOW_BYTES_MAX;
        assert_true(fabs(got - expected) <= 2 + expected * 1e-6);
    }
}

struct reference {
    double cwnd, window_max, prior, estimate, k, epoch; /* segments, seconds */
};

static void reference_on_ack(struct reference *r, double segments, double now, double rtt)
{
    double t = now - r->epoch, alpha = r->estimate < r->prior ? 9.0 / 17 : 1;
    r->estimate += alpha * segments / r->cwnd;
    double here = 0.4 * pow(t - r->k, 3) + r->window_max;
    double target = 0.4 * pow(t + rtt - r->k, 3) + r->window_max;
    if (here < r->estimate) {
        r->cwnd = fmax(r->cwnd, r->estimate);
        return;
    }
    target = fmin(fmax(target, r->cwnd), 1.5 * r->cwnd);
    r->cwnd += (target - r->cwnd) / r->cwnd * segments;
}

/* A loss, then a minute of ACKs: the window stays with that of the formulas in real numbers, where
 * the curve rules (long round trips) and where NewReno's estimate does (short ones). */
static void cubic_grows_as_the_rfc_says(void **state)
{
    static const uint32_t rtts_ms[] = {2, 10, 40, 200};
    for (uint32_t i = 0; i < 4; i++) {
        static struct tcp_connection c;
        memset(&c, 0, sizeof(c));
        c.snd_mss = MSS;
        c.cwnd = 200 * MSS;
        c.srtt_us = rtts_ms[i] * MS;
        c.ssthresh = tcp_cubic.on_loss(&c);
        assert_in_range(c.ssthresh, 140 * MSS - 1, 140 * MSS);
        c.cwnd = c.ssthresh;
        struct instant now = {.mono_us = 77000000};
        struct reference r = {.cwnd = 140, .window_max = 200, .prior = 200, .estimate = 140};
        r.k = cbrt(60 / 0.4);
        r.epoch = 77;
        while (now.mono_us < 77000000 + 15000000ULL && c.cwnd < 2000 * MSS) {
            uint32_t acks = c.cwnd / (2 * MSS);
            for (uint32_t ack = 0; ack < acks; ack++) {
                tcp_cubic.on_acknowledged(&c, 2 * MSS, &now);
                reference_on_ack(&r, 2, (double)now.mono_us * 1e-6, rtts_ms[i] * 1e-3);
                now.mono_us += rtts_ms[i] * MS / acks;
            }
            assert_true(fabs(c.cwnd / (r.cwnd * MSS) - 1) < 0.03);
        }
        assert_true(c.cwnd > 200 * MSS);
    }
}

static void cubic_converges_and_undoes(void **state) /* RFC 9438 4.7, 4.8, 4.9 */
{
    static struct tcp_connection c;
    memset(&c, 0, sizeof(c));
    c.snd_mss = MSS;
    c.cwnd = 100 * MSS;
    tcp_cubic.on_loss(&c);
    assert_int_equal(c.congestion.cubic.window_max, 100 * MSS);
    c.cwnd = 80 * MSS;
    tcp_cubic.on_loss(&c);
    assert_int_equal(c.congestion.cubic.window_max, 68 * MSS); /* 80 (1 + 0.7) / 2 */
    tcp_cubic.on_undo(&c);
    assert_int_equal(c.congestion.cubic.window_max, 80 * MSS);
    c.cwnd = 2 * MSS;
    assert_int_equal(tcp_cubic.on_loss(&c), 2 * MSS); /* the least */
    tcp_cubic.on_timeout(&c);
    struct instant now = {.mono_us = 5000000};
    c.cwnd = 10 * MSS;
    tcp_cubic.on_acknowledged(&c, MSS, &now);
    assert_int_equal(c.congestion.cubic.k_ms, 0);
    assert_int_equal(c.congestion.cubic.window_max, 10 * MSS);
}

static void newreno_halves_and_adds_one(void **state)
{
    static struct tcp_connection c;
    struct instant now = {0};
    memset(&c, 0, sizeof(c));
    c.snd_mss = MSS;
    c.snd_nxt = 20 * MSS;
    assert_int_equal(tcp_newreno.on_loss(&c), 10 * MSS);
    c.cwnd = 10 * MSS;
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(c.cwnd, 10 * MSS);
        tcp_newreno.on_acknowledged(&c, MSS, &now);
    }
    assert_int_equal(c.cwnd, 11 * MSS);
}

/* One round of slow start: every ACK of two segments measures `rtt_us`. */
static void slow_start_round(struct tcp_connection *c, uint32_t rtt_us)
{
    static const struct tcp tcp = {.congestion = &tcp_cubic};
    struct instant now = {0};
    uint32_t end = c->snd_una + c->cwnd;
    c->snd_nxt = end;
    while (seq_before(c->snd_una, end)) {
        c->snd_una += 2 * MSS;
        c->snd_nxt = c->snd_una + c->cwnd;
        tcp_congestion_note_rtt(c, rtt_us);
        tcp_congestion_grow(&tcp, c, 2 * MSS, &now);
    }
}

static void slow_start_heeds_the_queue(void **state) /* RFC 9406 */
{
    static struct tcp_connection c;
    memset(&c, 0, sizeof(c));
    c.snd_mss = MSS;
    c.snd_una = c.snd_nxt = 0xFFFFF000U;
    tcp_congestion_init(&c);
    c.cwnd = 32 * MSS;
    c.cwnd_limited = true;
    slow_start_round(&c, RTT);
    slow_start_round(&c, RTT + 4 * MS); /* an eighth would be 5 ms */
    assert_int_equal(c.slow_start.baseline_us, 0);
    assert_in_range(c.cwnd, 127 * MSS, 130 * MSS);
    slow_start_round(&c, RTT + 12 * MS);
    assert_int_equal(c.slow_start.baseline_us, RTT + 12 * MS);
    slow_start_round(&c, RTT + 2 * MS); /* no queue after all */
    assert_int_equal(c.slow_start.baseline_us, 0);
    slow_start_round(&c, RTT + 20 * MS);
    uint32_t before = c.cwnd;
    assert_true(c.slow_start.baseline_us != 0);
    slow_start_round(&c, RTT + 20 * MS);
    assert_in_range(c.cwnd, before + before / 4 - 4 * MSS, before + before / 4 + 4 * MSS);
    for (uint32_t i = 0; i < 5; i++) {
        slow_start_round(&c, RTT + 20 * MS);
    }
    assert_true(c.ssthresh < TCP_WINDOW_BYTES_MAX);
}

static void slow_start_ignores_an_idle_application(void **state)
{
    static struct tcp_connection c;
    memset(&c, 0, sizeof(c));
    c.snd_mss = MSS;
    tcp_congestion_init(&c);
    for (uint32_t i = 0; i < 20; i++) {
        slow_start_round(&c, RTT + i * 20 * MS);
    }
    assert_int_equal(c.ssthresh, TCP_WINDOW_BYTES_MAX);
    assert_int_equal(c.cwnd, 10 * MSS);
}

/* ---- conversations -----------------------------------------------------------------------------
 */

struct blocks {
    uint32_t count;
    struct tcp_sack_block at[3]; /* in segments beyond `una` of the conversation */
};

/* An ACK with blocks and, when `echo` is not 0, a timestamp. Numbers are relative to `from`. */
static void acknowledge(struct tcp_bench *b, uint32_t from, uint32_t acked, struct blocks blocks,
                        uint32_t echo)
{
    struct tcp_header_options options = {.sack_count = blocks.count, .ts_echo = echo};
    options.has_timestamps = echo != 0;
    options.ts_value = 0x1001;
    for (uint32_t i = 0; i < blocks.count; i++) {
        options.sack[i].start = from + blocks.at[i].start;
        options.sack[i].end = from + blocks.at[i].end;
    }
    uint8_t bytes[TCP_OPTION_BYTES_MAX];
    uint32_t size = tcp_options_compose(&options, bytes, sizeof(bytes));
    bench_inject(b, &(struct probe){.flags = TCP_ACK,
                                    .seq = b->peer_nxt,
                                    .ack = from + acked,
                                    .options = slice_of(bytes, size)});
}

#define NO_BLOCKS          ((struct blocks){0})
#define BLOCK(first, past) ((struct blocks){.count = 1, .at = {{(first)*MSS, (past)*MSS}}})

static void send_and_answer(struct tcp_bench *b, uint32_t bytes)
{
    bench_write(b, pattern, bytes);
    b->now_us += RTT;
    bench_acknowledge(b);
}

/* Established, and the round trip has been measured often enough. */
static struct tcp_bench *warm(const struct tcp_options *options, struct slice syn)
{
    struct tcp_bench *b = bench_established_with(options, syn);
    for (uint32_t i = 0; i < 60; i++) {
        send_and_answer(b, 100);
    }
    return b;
}

static void late_segment_is_waited_for_then_lost(void **state) /* RFC 8985 6.2 */
{
    struct tcp_bench *b = warm(NULL, SLICE_LITERAL(SYN_SACK));
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 2 * MSS);
    b->now_us += RTT;
    acknowledge(b, una, 0, BLOCK(1, 2), 0); /* one SACKed: the first may be late */
    assert_int_equal(b->sent_count, 0);
    assert_int_equal(bench_connection(b)->rtt_min_us, RTT);
    bench_advance(b, RTT / 4 - 2 * MS);
    assert_int_equal(b->sent_count, 0);
    bench_advance(b, 4 * MS);
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].seq, una);
    assert_int_equal(counter(b, METRIC_TCP_REORDER_TIMEOUTS), 1);
    assert_int_equal(counter(b, METRIC_TCP_FAST_RECOVERIES), 1);
    bench_destroy(b);
}

static void many_reports_need_no_waiting(void **state)
{
    struct tcp_bench *b = warm(NULL, SLICE_LITERAL(SYN_SACK));
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 5 * MSS);
    b->now_us += RTT;
    acknowledge(b, una, 0, BLOCK(1, 2), 0);
    acknowledge(b, una, 0, BLOCK(1, 3), 0);
    assert_int_equal(b->sent_count, 0);
    acknowledge(b, una, 0, BLOCK(1, 4), 0);
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].seq, una);
    bench_destroy(b);
}

/* Reordering was seen: then more reports do not hurry, and duplicates widen the window. */
static void reordering_is_learned(void **state)
{
    struct tcp_bench *b = warm(NULL, SLICE_LITERAL(SYN_SACK));
    struct tcp_connection *c = bench_connection(b);
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 9 * MSS);
    b->now_us += RTT;
    acknowledge(b, una, 0, BLOCK(1, 2), 0);
    b->now_us += MS;
    acknowledge(b, una, 2 * MSS, NO_BLOCKS, 0); /* the first came after the second */
    assert_true(c->reordering_seen);
    assert_int_equal(counter(b, METRIC_TCP_REORDERINGS), 1);
    assert_int_equal(b->sent_count, 0);
    acknowledge(b, una, 2 * MSS, BLOCK(3, 8), 0);
    assert_int_equal(b->sent_count, 0);
    uint32_t window_us = tcp_reorder_window_us(c);
    assert_int_equal(window_us, RTT / 4);
    bench_advance(b, RTT / 4 + 2 * MS);
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].seq, una + 2 * MSS);
    acknowledge(b, una, 8 * MSS, BLOCK(2, 3), 0); /* both copies arrived */
    assert_int_equal(tcp_reorder_window_us(c), 2 * window_us);
    assert_int_equal(counter(b, METRIC_TCP_DUPLICATES_REPORTED), 1);
    assert_int_equal(counter(b, METRIC_TCP_UNDONE_RECOVERIES), 1);
    acknowledge(b, una, 8 * MSS, BLOCK(2, 3), 0); /* one step for each round trip */
    assert_int_equal(tcp_reorder_window_us(c), 2 * window_us);
    bench_destroy(b);
}

/* What RACK calls lost again: the copy was sent before text that has arrived. */
static void lost_retransmission_is_sent_again(void **state)
{
    struct tcp_bench *b = warm(NULL, SLICE_LITERAL(SYN_SACK));
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 30 * MSS);
    assert_int_equal(b->sent_count, 10);
    b->now_us += RTT;
    acknowledge(b, una, 0, BLOCK(1, 6), 0); /* the first again, and new text with it */
    assert_int_equal(b->sent[0].seq, una);
    uint32_t past = (b->own_nxt - una) / MSS;
    acknowledge(b, una, 0, BLOCK(1, 10), 0);
    past = (b->own_nxt - una) / MSS;
    assert_true(past > 10);
    b->now_us += RTT + 5 * MS;
    acknowledge(b, una, 0, BLOCK(1, past), 0);
    assert_true(b->sent_count >= 1);
    assert_int_equal(b->sent[0].seq, una);
    assert_int_equal(counter(b, METRIC_TCP_LOST_RETRANSMITS), 1);
    assert_int_equal(counter(b, METRIC_TCP_TIMEOUTS), 0);
    bench_destroy(b);
}

/* RFC 9937: over one round trip of recovery about ssthresh is sent, spread over the ACKs. */
static void reduction_is_proportional(void **state)
{
    struct tcp_bench *b = warm(NULL, SLICE_LITERAL(SYN_SACK));
    struct tcp_connection *c = bench_connection(b);
    uint32_t una = b->own_nxt, sent = 0, most = 0;
    c->cwnd = 100 * MSS;
    c->cwnd_limited = true;
    bench_write(b, pattern, 200 * MSS);
    assert_int_equal(b->sent_count, 44); /* the peer's window: no scaling was agreed */
    c->cwnd = 44 * MSS;
    uint32_t flight = tcp_flight_bytes(c);
    b->now_us += RTT;
    for (uint32_t i = 2; i <= 44; i++) { /* the first is lost */
        b->now_us += 100;
        acknowledge(b, una, 0, BLOCK(1, i), 0);
        sent += i > 3 ? b->sent_count : 0;
        most = b->sent_count > most ? b->sent_count : most;
    }
    assert_int_equal(c->recovery, TCP_RECOVERY_FAST);
    assert_in_range(c->ssthresh, flight * 7 / 10 - MSS, flight * 7 / 10 + MSS);
    /* The peer's window leaves no room for new text until the first is acknowledged. */
    assert_int_equal(sent, 1);
    assert_int_equal(most, 1);
    acknowledge(b, una, 44 * MSS, NO_BLOCKS, 0);
    assert_int_equal(c->recovery, TCP_RECOVERY_NONE);
    assert_int_equal(c->cwnd, c->ssthresh);
    bench_destroy(b);
}

/* The same function against the text of RFC 9937 section 6, as written there. */
static uint32_t rfc_9937(uint32_t pipe, uint32_t ssthresh, uint32_t recover_fs, uint32_t delivered,
                         uint32_t *prr_delivered, uint32_t prr_out, bool safe)
{
    int64_t sndcnt, cwnd;
    *prr_delivered += delivered;
    if (pipe > ssthresh) {
        double exact = ceil((double)*prr_delivered * ssthresh / recover_fs);
        sndcnt = (int64_t)exact - prr_out;
    } else {
        sndcnt = (int64_t)*prr_delivered - prr_out;
        if (safe) {
            sndcnt = (sndcnt > delivered ? sndcnt : delivered) + MSS;
        }
        int64_t room = (int64_t)ssthresh - pipe;
        sndcnt = sndcnt < room ? sndcnt : room;
    }
    sndcnt = sndcnt > 0 ? sndcnt : 0;
    if (prr_out == 0 && sndcnt < MSS) {
        sndcnt = MSS;
    }
    cwnd = pipe + sndcnt;
    return (uint32_t)cwnd;
}

static void reduction_is_that_of_the_rfc(void **state)
{
    struct tcp_flight_pools pools;
    tcp_flight_pools_init(&pools);
    for (uint32_t round = 0; round < 1000; round++) {
        static struct tcp_connection c;
        memset(&c, 0, sizeof(c));
        uint32_t flight = (2 + draw(1000)) * MSS, prr_delivered = 0;
        c.snd_mss = MSS;
        c.sack_enabled = true;
        c.snd_nxt = flight;
        c.ssthresh = (uint32_t)(flight * 0.7) > 2 * MSS ? (uint32_t)(flight * 0.7) : 2 * MSS;
        c.flight = tcp_flight_create(&pools, 0, flight, 0);
        c.flight->prr_flight = flight;
        for (uint32_t ack = 0; ack < 50; ack++) {
            uint32_t delivered = draw(3) * MSS;
            bool safe = draw(2) == 0;
            c.flight->sacked_bytes += c.flight->sacked_bytes + delivered < flight ? delivered : 0;
            uint32_t pipe = tcp_pipe_bytes(&c), before = c.cwnd;
            tcp_recovery_reduce(&c, delivered, safe);
            uint32_t expected = delivered == 0 ? before
                                               : rfc_9937(pipe, c.ssthresh, flight, delivered,
                                                          &prr_delivered, c.flight->prr_sent, safe);
            assert_int_equal(c.cwnd, expected);
            uint32_t sent = c.cwnd > pipe ? (c.cwnd - pipe) / MSS * MSS : 0;
            c.flight->prr_sent += sent;
            c.snd_nxt += sent;
        }
        tcp_flight_destroy(&pools, c.flight);
    }
    tcp_flight_pools_deinit(&pools);
}

/* ---- timeouts ----------------------------------------------------------------------------------
 */

/* No timestamps, no SACK: the first ACK after the timeout brings new text, the second tells. */
static void frto_finds_a_needless_timeout(void **state) /* RFC 5682 */
{
    for (uint32_t needless = 0; needless < 2; needless++) {
        struct tcp_bench *b = warm(NULL, SLICE_LITERAL("\x02\x04\x05\xb4"));
        struct tcp_connection *c = bench_connection(b);
        uint32_t una = b->own_nxt;
        bench_write(b, pattern, 20 * MSS);
        uint32_t before = c->cwnd, sent = b->sent_count;
        bench_advance(b, 300 * MS);
        assert_int_equal(b->sent_count, 1);
        assert_int_equal(b->sent[0].seq, una);
        acknowledge(b, una, 2 * MSS, NO_BLOCKS, 0);
        assert_int_equal(b->sent_count, 2); /* new text */
        assert_int_equal(b->sent[0].seq, una + sent * MSS);
        if (needless) {
            acknowledge(b, una, 4 * MSS, NO_BLOCKS, 0); /* text that was sent once */
            assert_int_equal(c->recovery, TCP_RECOVERY_NONE);
            assert_true(c->cwnd >= before);
            assert_int_equal(tcp_lost_bytes(c), 0);
        } else {
            acknowledge(b, una, 2 * MSS, NO_BLOCKS, 0); /* a duplicate: the loss was true */
            assert_int_equal(c->recovery, TCP_RECOVERY_TIMEOUT);
            assert_true(b->sent_count > 0);
            assert_int_equal(b->sent[0].seq, una + 2 * MSS);
            assert_true(c->cwnd < before);
        }
        assert_int_equal(counter(b, METRIC_TCP_UNDONE_TIMEOUTS), needless);
        bench_destroy(b);
    }
}

/* Without new text there is nothing to look at: the lost goes again. */
static void frto_without_new_text_is_a_timeout(void **state)
{
    struct tcp_bench *b = warm(NULL, SLICE_LITERAL("\x02\x04\x05\xb4"));
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 5 * MSS);
    bench_advance(b, 300 * MS);
    assert_int_equal(b->sent_count, 1);
    acknowledge(b, una, MSS, NO_BLOCKS, 0);
    assert_int_equal(b->sent_count, 2);
    assert_int_equal(b->sent[0].seq, una + MSS);
    bench_destroy(b);
}

/* All that was sent again is reported as a duplicate: nothing had been lost. */
static void duplicate_reports_undo(void **state) /* RFC 2883, 3708 */
{
    struct tcp_bench *b = warm(NULL, SLICE_LITERAL(SYN_SACK));
    struct tcp_connection *c = bench_connection(b);
    uint32_t una = b->own_nxt, before = c->cwnd;
    bench_write(b, pattern, 8 * MSS);
    b->now_us += RTT;
    acknowledge(b, una, 0, BLOCK(2, 7), 0);
    assert_int_equal(b->sent_count, 2);
    acknowledge(b, una, 8 * MSS, NO_BLOCKS, 0);
    assert_true(c->cwnd < before);
    acknowledge(b, una, 8 * MSS, BLOCK(0, 1), 0);
    assert_true(c->cwnd < before);
    acknowledge(b, una, 8 * MSS, BLOCK(1, 2), 0);
    assert_true(c->cwnd >= before);
    assert_int_equal(counter(b, METRIC_TCP_UNDONE_RECOVERIES), 1);
    bench_destroy(b);
}

/* A peer that SACKs and then drops: the timeout believes nothing of it any more. */
static void reneged_text_is_sent_again(void **state) /* T15, RFC 2018 section 8 */
{
    struct tcp_bench *b = warm(NULL, SLICE_LITERAL(SYN_SACK));
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 6 * MSS);
    b->now_us += RTT;
    acknowledge(b, una, 0, BLOCK(1, 6), 0);
    assert_int_equal(b->sent_count, 1);
    acknowledge(b, una, MSS, NO_BLOCKS, 0); /* and no more than that */
    bench_advance(b, 1000 * MS);
    assert_true(b->sent_count > 0);
    assert_int_equal(b->sent[0].seq, una + MSS);
    assert_int_equal(counter(b, METRIC_TCP_SACK_RENEGES), 1);
    for (uint32_t acked = 2; acked <= 6; acked++) {
        acknowledge(b, una, acked * MSS, NO_BLOCKS, 0);
    }
    assert_int_equal(b->stream->out.size, 0);
    bench_destroy(b);
}

static void timeout_keeps_what_was_sacked(void **state)
{
    struct tcp_bench *b = warm(NULL, SLICE_LITERAL(SYN_SACK));
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 8 * MSS);
    b->now_us += RTT;
    acknowledge(b, una, 0, BLOCK(4, 8), 0);
    bench_advance(b, 2000 * MS);
    assert_true(counter(b, METRIC_TCP_TIMEOUTS) > 0);
    for (uint32_t acked = 1; acked < 4; acked++) {
        assert_true(b->sent_count > 0 || acked > 1);
        for (uint32_t i = 0; i < b->sent_count; i++) {
            assert_true(seq_before(b->sent[i].seq, una + 4 * MSS));
        }
        acknowledge(b, una, acked * MSS, BLOCK(4, 8), 0);
    }
    acknowledge(b, una, 8 * MSS, NO_BLOCKS, 0);
    assert_int_equal(b->stream->out.size, 0);
    bench_destroy(b);
}

static uint64_t first_gap(uint32_t rto_min_ms, bool sack)
{
    struct tcp_options options = bench_options();
    options.rto_min_ms = rto_min_ms;
    struct tcp_bench *b =
        warm(&options, sack ? SLICE_LITERAL(SYN_SACK) : SLICE_LITERAL("\x02\x04\x05\xb4"));
    uint64_t start = b->now_us;
    bench_write(b, "reply", 5);
    bench_advance(b, 3000 * MS);
    uint64_t gap = b->sent[0].at_us - start;
    bench_destroy(b);
    return gap;
}

/* A lone reply: the probe comes when the timeout would, 0.2 s and a round trip by default, as from
 * Linux; with a smaller floor sooner. */
static void floor_of_the_timeout_is_configured(void **state) /* T19 */
{
    for (uint32_t sack = 0; sack < 2; sack++) {
        assert_in_range(first_gap(200, sack), 200 * MS, 300 * MS);
        assert_in_range(first_gap(1000, sack), 1000 * MS, 1100 * MS);
        assert_in_range(first_gap(5, sack), 20 * MS, 120 * MS);
    }
}

/* ---- the tail loss probe -----------------------------------------------------------------------
 */

static struct tcp_bench *with_a_probe_out(uint32_t *una)
{
    struct tcp_bench *b = warm(NULL, SLICE_LITERAL(SYN_SACK));
    *una = b->own_nxt;
    bench_write(b, pattern, 4 * MSS);
    b->now_us += RTT;
    acknowledge(b, *una, 3 * MSS, NO_BLOCKS, 0);
    bench_advance(b, 400 * MS);
    assert_int_equal(counter(b, METRIC_TCP_TAIL_PROBES), 1);
    assert_int_equal(b->sent[0].seq, *una + 3 * MSS);
    assert_int_equal(counter(b, METRIC_TCP_TIMEOUTS), 0);
    return b;
}

static void probe_that_repairs_a_loss_counts_as_one(void **state) /* RFC 8985 7.4 */
{
    uint32_t una;
    struct tcp_bench *b = with_a_probe_out(&una);
    struct tcp_connection *c = bench_connection(b);
    uint32_t before = c->cwnd;
    acknowledge(b, una, 4 * MSS, NO_BLOCKS, 0);
    assert_int_equal(c->cwnd, before); /* the other copy may still be reported */
    bench_write(b, pattern, MSS);
    acknowledge(b, una, 5 * MSS, NO_BLOCKS, 0);
    assert_true(c->cwnd < before);
    assert_int_equal(counter(b, METRIC_TCP_TAIL_PROBE_RECOVERIES), 1);
    assert_int_equal(c->probe, TCP_PROBE_NONE);
    bench_destroy(b);
}

static void needless_probe_costs_nothing(void **state)
{
    for (uint32_t reported = 0; reported < 2; reported++) {
        uint32_t una;
        struct tcp_bench *b = with_a_probe_out(&una);
        struct tcp_connection *c = bench_connection(b);
        uint32_t before = c->cwnd;
        acknowledge(b, una, 4 * MSS, NO_BLOCKS, 0);
        acknowledge(b, una, 4 * MSS, reported ? BLOCK(3, 4) : NO_BLOCKS, 0);
        bench_write(b, pattern, MSS);
        acknowledge(b, una, 5 * MSS, NO_BLOCKS, 0);
        assert_true(c->cwnd >= before);
        assert_int_equal(counter(b, METRIC_TCP_TAIL_PROBE_RECOVERIES), 0);
        bench_destroy(b);
    }
}

/* The probe's SACK tells RACK of everything before it; its echo is that of text long before. */
static void probe_finds_a_lost_tail(void **state)
{
    struct tcp_bench *b = bench_established_with(NULL, SLICE_LITERAL(SYN_ALL));
    uint32_t una = b->own_nxt, stamp = 0;
    for (uint32_t i = 0; i < 60; i++) {
        bench_write(b, pattern, 100);
        stamp = b->sent[0].options.ts_value;
        b->now_us += RTT;
        acknowledge(b, una, 100 * (i + 1), NO_BLOCKS, stamp);
    }
    una = b->own_nxt;
    uint32_t mss = bench_connection(b)->snd_mss;
    bench_write(b, pattern, 6 * mss);
    bench_advance(b, 3 * RTT);
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].seq, una + 5 * mss);
    b->now_us += RTT;
    struct blocks tail = {1, {{5 * mss, 6 * mss}}};
    acknowledge(b, una, 0, tail, stamp);
    bench_advance(b, RTT);
    assert_int_equal(counter(b, METRIC_TCP_FAST_RECOVERIES), 1);
    for (uint32_t acked = 1; acked <= 6; acked++) {
        acknowledge(b, una, acked * mss, acked < 5 ? tail : NO_BLOCKS, stamp + 500);
    }
    assert_int_equal(b->stream->out.size, 0);
    assert_int_equal(counter(b, METRIC_TCP_TIMEOUTS), 0);
    bench_destroy(b);
}

/* ---- the window --------------------------------------------------------------------------------
 */

static void idle_connection_starts_anew(void **state) /* T21, RFC 5681 4.1 */
{
    struct tcp_bench *b = warm(NULL, SLICE_LITERAL(SYN_SACK));
    struct tcp_connection *c = bench_connection(b);
    c->cwnd = 40 * MSS;
    bench_advance(b, 5000 * MS);
    bench_write(b, pattern, 60 * MSS);
    assert_int_equal(b->sent_count, 10);
    bench_destroy(b);
}

/* The reply that ends the silence looks at no window; what follows it does, and so does a loss. */
static void idle_connection_starts_anew_behind_a_reply(void **state) /* T21, RFC 5681 4.1 */
{
    for (int is_acknowledged = 0; is_acknowledged < 2; is_acknowledged++) {
        struct tcp_bench *b = warm(NULL, SLICE_LITERAL(SYN_SACK));
        struct tcp_connection *c = bench_connection(b);
        c->cwnd = 40 * MSS;
        bench_advance(b, 5000 * MS);
        uint32_t una = b->own_nxt;
        bench_write(b, pattern, 100);
        assert_int_equal(b->sent_count, 1);
        if (is_acknowledged) {
            b->now_us += RTT;
            acknowledge(b, una, 100, NO_BLOCKS, 0);
        }
        bench_write(b, pattern, 60 * MSS);
        assert_int_equal(b->sent_count, is_acknowledged ? 10 : 9);
        assert_int_equal(c->cwnd, 10 * MSS);
        bench_destroy(b);
    }
}

static void lost_reply_after_a_silence_remembers_the_window_of_a_start(void **state)
{
    struct tcp_bench *b = warm(NULL, SLICE_LITERAL(SYN_SACK));
    struct tcp_connection *c = bench_connection(b);
    c->cwnd = 40 * MSS;
    bench_advance(b, 5000 * MS);
    bench_write(b, pattern, 100);
    bench_advance(b, 2000 * MS); /* the probe, and the timeout */
    assert_int_equal(c->recovery, TCP_RECOVERY_TIMEOUT);
    assert_int_equal(c->undo_cwnd, 10 * MSS);
    bench_destroy(b);
}

/* The echo tells which copy was acknowledged; reordering that looked like loss costs nothing. */
static void needless_recovery_is_undone_by_its_echo(void **state) /* RFC 4015 */
{
    struct tcp_bench *b = bench_established_with(NULL, SLICE_LITERAL(SYN_ALL));
    struct tcp_connection *c = bench_connection(b);
    uint32_t una = b->own_nxt, before = c->cwnd;
    bench_write(b, pattern, 8 * (MSS - 12));
    uint32_t stamp = b->sent[0].options.ts_value;
    b->now_us += RTT;
    acknowledge(b, una, 0, (struct blocks){1, {{1448, 6 * 1448}}}, stamp);
    assert_int_equal(b->sent_count, 1);
    b->now_us += MS;
    acknowledge(b, una, 6 * 1448, NO_BLOCKS, stamp);
    assert_int_equal(c->recovery, TCP_RECOVERY_NONE);
    assert_true(c->cwnd >= before);
    assert_int_equal(counter(b, METRIC_TCP_UNDONE_RECOVERIES), 1);
    bench_destroy(b);
}

/* ---- a peer that means ill ---------------------------------------------------------------------
 */

/* R11: a tiny MSS, and SACK lists that split every segment. The pieces stay bounded, each ACK costs
 * the same, and everything arrives when the peer behaves again. */
static void split_lists_stay_bounded(void **state) /* T14 */
{
    struct tcp_bench *b =
        bench_established_with(NULL, SLICE_LITERAL("\x02\x04\x00\x01\x01\x01\x04\x02"));
    struct tcp_connection *c = bench_connection(b);
    assert_int_equal(c->snd_mss, 48);
    c->cwnd = 20000;
    uint32_t una = b->own_nxt, most = 0;
    bench_write(b, pattern, 60000);
    assert_in_range(c->snd_nxt - una, 19000, 20000);
    clock_t start = clock();
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t reach = c->snd_nxt - una - 200, at = 1 + draw(reach);
        struct blocks blocks = {3, {{at, at + 1}, {at + 48, at + 49}, {at + 96, at + 97}}};
        acknowledge(b, una, 0, blocks, 0);
        most = c->flight->count > most ? c->flight->count : most;
        b->now_us += 10;
    }
    double each_ns = (double)(clock() - start) * 1e9 / CLOCKS_PER_SEC / 20000;
    printf("# %u pieces at most, %.0f ns for each ACK\n", most, each_ns);
    assert_in_range(most, 100, TCP_FLIGHT_RANGES_MAX);
    assert_true(counter(b, METRIC_TCP_SACK_NO_ROOM) > 0);
    assert_true(each_ns < 100000);
    for (uint32_t i = 0; i < 5000 && b->stream->out.size > 0; i++) {
        uint32_t reached = b->own_nxt;
        b->now_us += MS;
        acknowledge(b, reached, 0, NO_BLOCKS, 0);
        bench_touch(b);
    }
    assert_int_equal(b->stream->out.size, 0);
    assert_null(c->flight);
    bench_destroy(b);
}

#define CASE(name) cmocka_unit_test(name)

int main(void)
{
    for (size_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (uint8_t)(i * 7 ^ i >> 8);
    }
    const struct CMUnitTest tests[] = {
        CASE(flight_matches_a_model),
        CASE(order_of_sending_is_kept),
        CASE(full_flight_goes_on),
        CASE(flights_are_bounded_together),
        CASE(cubic_follows_its_formula),
        CASE(cubic_grows_as_the_rfc_says),
        CASE(cubic_converges_and_undoes),
        CASE(newreno_halves_and_adds_one),
        CASE(slow_start_heeds_the_queue),
        CASE(slow_start_ignores_an_idle_application),
        CASE(late_segment_is_waited_for_then_lost),
        CASE(many_reports_need_no_waiting),
        CASE(reordering_is_learned),
        CASE(lost_retransmission_is_sent_again),
        CASE(reduction_is_proportional),
        CASE(reduction_is_that_of_the_rfc),
        CASE(frto_finds_a_needless_timeout),
        CASE(frto_without_new_text_is_a_timeout),
        CASE(duplicate_reports_undo),
        CASE(reneged_text_is_sent_again),
        CASE(timeout_keeps_what_was_sacked),
        CASE(floor_of_the_timeout_is_configured),
        CASE(probe_that_repairs_a_loss_counts_as_one),
        CASE(needless_probe_costs_nothing),
        CASE(probe_finds_a_lost_tail),
        CASE(idle_connection_starts_anew),
        CASE(idle_connection_starts_anew_behind_a_reply),
        CASE(lost_reply_after_a_silence_remembers_the_window_of_a_start),
        CASE(needless_recovery_is_undone_by_its_echo),
        CASE(split_lists_stay_bounded),
    };
    return cmocka_run_group_tests_name("tcp_recovery", tests, NULL, NULL);
}
