/* Behaviour of TCP towards a peer, segment by segment (T-numbers: docs of reliability). Every case
 * says what the peer sends and what must come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "tests/support/tcp_bench.h"

#define SYN_ALL  "\x02\x04\x05\xb4\x04\x02\x08\x0a\x00\x00\x10\x00\x00\x00\x00\x00\x01\x03\x03\x07"
#define SYN_SACK "\x02\x04\x05\xb4\x01\x01\x04\x02"
#define MS       1000U

static uint8_t pattern[200000];

static void assert_text(const struct tcp_bench *b, const char *text)
{
    assert_int_equal(b->text_bytes, strlen(text));
    assert_memory_equal(b->text, text, strlen(text));
}

static uint64_t counter(const struct tcp_bench *b, enum metric metric)
{
    return metric_read(&b->host.metrics, metric);
}

/* ---- opening -----------------------------------------------------------------------------------
 */

static void handshake_offers_what_was_offered(void **state)
{
    struct tcp_bench *b = bench_create(NULL);
    bench_inject(b,
                 &(struct probe){.flags = TCP_SYN, .seq = 1000, .options = SLICE_LITERAL(SYN_ALL)});
    assert_int_equal(b->sent_count, 1);
    const struct sent_segment *s = &b->sent[0];
    assert_int_equal(s->flags, TCP_SYN | TCP_ACK);
    assert_int_equal(s->ack, 1001);
    assert_true(s->checksum_right);
    assert_true(s->options.has_mss && s->options.has_sack_permitted);
    assert_true(s->options.has_timestamps && s->options.has_window_scale);
    assert_int_equal(s->options.mss, 1460);
    assert_int_equal(s->options.ts_echo, 0x1000);
    assert_int_equal(s->options.window_scale, 3); /* 256 KiB */
    assert_int_equal(b->opened, 0);
    bench_destroy(b);

    b = bench_create(NULL); /* a bare SYN gets a bare answer, but for the MSS */
    bench_inject(b, &(struct probe){.flags = TCP_SYN, .seq = 1000});
    s = &b->sent[0];
    assert_false(s->options.has_sack_permitted || s->options.has_timestamps ||
                 s->options.has_window_scale);
    bench_destroy(b);
}

static void handshake_opens_once_and_tells_the_listener(void **state)
{
    struct tcp_bench *b = bench_syn_received(NULL);
    bench_acknowledge(b);
    assert_int_equal(b->opened, 1);
    assert_int_equal(b->stream->listener, 3);
    assert_int_equal(b->stream->peer.port, BENCH_PEER_PORT);
    bench_acknowledge(b);
    assert_int_equal(b->opened, 0);
    assert_int_equal(tcp_connection_count(b->host.tcp), 1);
    bench_destroy(b);
}

static void syn_answer_is_repeated_then_given_up(void **state)
{
    struct tcp_bench *b = bench_syn_received(NULL);
    bench_inject(b, &(struct probe){.flags = TCP_SYN, .seq = BENCH_PEER_ISS});
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].flags, TCP_SYN | TCP_ACK);
    bench_advance(b, 100000 * MS);
    assert_int_equal(b->sent_count, TCP_SYN_ACK_RETRIES_MAX);
    assert_int_equal(b->closed + b->opened, 0); /* the session never knew of it */
    assert_int_equal(tcp_connection_count(b->host.tcp), 0);
    assert_int_equal(b->host.tcp->half_open_count, 0);
    bench_destroy(b);
}

static void wrong_ack_in_syn_received_is_reset(void **state)
{
    struct tcp_bench *b = bench_syn_received(NULL);
    bench_inject(b, &(struct probe){.flags = TCP_ACK, .seq = b->peer_nxt, .ack = b->own_nxt + 5});
    assert_int_equal(b->sent[0].flags, TCP_RST);
    assert_int_equal(b->sent[0].seq, b->own_nxt + 5);
    assert_int_equal(bench_state(b), TCP_SYN_RECEIVED);
    bench_destroy(b);
}

static void text_on_a_syn_is_not_taken(void **state) /* T36 */
{
    struct tcp_bench *b = bench_create(NULL);
    bench_inject(b, &(struct probe){.flags = TCP_SYN, .seq = 50, .text = "GET", .text_bytes = 3});
    assert_int_equal(b->sent[0].ack, 51);
    bench_destroy(b);
}

static void text_with_the_last_handshake_ack_is_taken(void **state)
{
    struct tcp_bench *b = bench_syn_received(NULL);
    bench_say(b, "PING");
    assert_int_equal(b->opened, 1);
    assert_text(b, "PING");
    bench_destroy(b);
}

static void half_open_connections_are_bounded(void **state) /* T06 */
{
    struct tcp_options options = bench_options();
    options.half_open_max = 5;
    struct tcp_bench *b = bench_create(&options);
    for (uint16_t i = 0; i < 20; i++) {
        bench_inject(
            b, &(struct probe){.flags = TCP_SYN, .seq = 1, .peer_port = (uint16_t)(1000 + i)});
        assert_int_equal(b->sent_count, 1);
        assert_int_equal(b->sent[0].flags, TCP_SYN | TCP_ACK);
    }
    assert_int_equal(tcp_connection_count(b->host.tcp), 5);
    assert_int_equal(counter(b, METRIC_TCP_COOKIES_SENT), 15);
    bench_destroy(b);
}

/* Every SYN is answered with a cookie. */
static struct tcp_bench *bench_cookies(void)
{
    struct tcp_options options = bench_options();
    options.half_open_max = 0;
    return bench_create(&options);
}

static void send_cookie_syn(struct tcp_bench *b, struct slice options)
{
    bench_inject(b, &(struct probe){.flags = TCP_SYN, .seq = b->peer_nxt++, .options = options});
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].flags, TCP_SYN | TCP_ACK);
    assert_int_equal(b->sent[0].ack, b->peer_nxt);
    assert_true(b->sent[0].checksum_right);
    assert_int_equal(tcp_connection_count(b->host.tcp), 0);
}

static void cookie_remembers_the_offer(void **state) /* T06 */
{
    struct tcp_bench *b = bench_cookies();
    uint8_t stamps[12];
    send_cookie_syn(b, SLICE_LITERAL(SYN_ALL));
    const struct tcp_header_options *answer = &b->sent[0].options;
    uint32_t stamp = answer->ts_value;
    assert_true(answer->has_mss && answer->has_sack_permitted && answer->has_window_scale);
    assert_int_equal(answer->ts_echo, 0x1000);
    bytes_write_be32(stamps, TCP_TIMESTAMPS_PREDICTED_WORD);
    bytes_write_be32(stamps + 4, 0x1001);
    bytes_write_be32(stamps + 8, stamp);
    bench_inject(b, &(struct probe){.flags = TCP_ACK | TCP_PSH,
                                    .seq = b->peer_nxt,
                                    .ack = b->own_nxt,
                                    .window = 100,
                                    .text = "PING",
                                    .text_bytes = 4,
                                    .options = slice_of(stamps, 12)});
    b->peer_nxt += 4;
    assert_int_equal(b->opened, 1);
    assert_int_equal(b->stream->listener, 3);
    assert_text(b, "PING");
    const struct tcp_connection *c = bench_connection(b);
    assert_int_equal(c->state, TCP_ESTABLISHED);
    assert_int_equal(c->peer_mss, 1460);
    assert_int_equal(c->snd_wnd, 100 << 7);
    assert_true(c->sack_enabled && c->ts_enabled);
    assert_int_equal(c->srtt_us, 0); /* the stamp is no measure of time */
    assert_int_equal(counter(b, METRIC_TCP_COOKIES_ACCEPTED), 1);
    assert_int_equal(b->host.tcp->half_open_count, 0);
    bench_write(b, "PONG", 4);
    assert_int_equal(b->sent[0].text_bytes, 4);
    assert_false(seq_before(b->sent[0].options.ts_value, stamp));
    bench_destroy(b);
}

static void cookie_without_timestamps_is_plain(void **state)
{
    struct tcp_bench *b = bench_cookies();
    send_cookie_syn(b, SLICE_LITERAL("\x02\x04\x05\x00\x04\x02\x01\x01\x01\x03\x03\x07"));
    const struct tcp_header_options *answer = &b->sent[0].options;
    assert_true(answer->has_mss);
    assert_false(answer->has_sack_permitted || answer->has_window_scale || answer->has_timestamps);
    bench_acknowledge(b);
    assert_int_equal(b->opened, 1);
    const struct tcp_connection *c = bench_connection(b);
    assert_int_equal(c->peer_mss, 1200); /* of the table, not above 1280 */
    assert_int_equal(c->snd_wnd, 65535);
    assert_false(c->sack_enabled || c->ts_enabled);
    bench_destroy(b);
}

static void wrong_cookies_are_reset(void **state)
{
    struct tcp_bench *b = bench_cookies();
    struct probe ack = {.flags = TCP_ACK, .seq = b->peer_nxt + 1, .ack = 77};
    bench_inject(b, &ack); /* none was sent: a stray ACK */
    assert_int_equal(counter(b, METRIC_TCP_DROP_UNCONNECTED), 1);
    send_cookie_syn(b, SLICE_LITERAL(SYN_SACK));
    ack.seq = b->peer_nxt;
    for (uint32_t bit = 0; bit < 32; bit++) {
        ack.ack = ((b->own_nxt - 1) ^ 1U << bit) + 1;
        bench_inject(b, &ack);
        assert_int_equal(b->sent_count, 1);
        assert_int_equal(b->sent[0].flags, TCP_RST);
    }
    ack.ack = b->own_nxt;
    ack.seq++;
    bench_inject(b, &ack);
    ack.seq--;
    ack.peer_port = BENCH_PEER_PORT + 1;
    bench_inject(b, &ack);
    assert_int_equal(counter(b, METRIC_TCP_DROP_COOKIE), 34);
    ack.peer_port = 0;
    ack.flags = TCP_ACK | TCP_RST;
    bench_inject(b, &ack);
    assert_int_equal(b->sent_count, 0);
    assert_int_equal(tcp_connection_count(b->host.tcp), 0);
    bench_acknowledge(b); /* the true one still counts */
    assert_int_equal(b->opened, 1);
    bench_destroy(b);
}

static void cookies_grow_old(void **state)
{
    const uint64_t epoch_us = 1ULL << TCP_COOKIE_EPOCH_SHIFT;
    for (uint32_t epochs = 0; epochs < 4; epochs++) {
        struct tcp_bench *b = bench_cookies();
        send_cookie_syn(b, SLICE_LITERAL(SYN_SACK));
        uint32_t ack = b->own_nxt;
        b->now_us =
            (b->now_us >> TCP_COOKIE_EPOCH_SHIFT) * epoch_us + epochs * epoch_us + epoch_us / 2;
        bench_inject(b, &(struct probe){.flags = TCP_SYN, .seq = 9, .peer_port = 9999});
        bench_inject(b, &(struct probe){.flags = TCP_ACK, .seq = b->peer_nxt, .ack = ack});
        assert_int_equal(b->opened, epochs < 2);
        assert_int_equal(counter(b, METRIC_TCP_DROP_COOKIE), epochs < 2 ? 0 : 1);
        bench_destroy(b);
    }
}

static void cookies_obey_the_limit_of_connections(void **state)
{
    struct tcp_options options = bench_options();
    options.half_open_max = 0;
    options.connections_max = 1;
    struct tcp_bench *b = bench_create(&options);
    uint32_t ack[2];
    for (uint16_t i = 0; i < 2; i++) {
        bench_inject(
            b, &(struct probe){.flags = TCP_SYN, .seq = 1, .peer_port = (uint16_t)(1000 + i)});
        ack[i] = b->own_nxt;
    }
    for (uint16_t i = 0; i < 2; i++) {
        bench_inject(
            b, &(struct probe){
                   .flags = TCP_ACK, .seq = 2, .ack = ack[i], .peer_port = (uint16_t)(1000 + i)});
    }
    assert_int_equal(tcp_connection_count(b->host.tcp), 1);
    assert_int_equal(counter(b, METRIC_TCP_DROP_CONNECTION_LIMIT), 1);
    bench_destroy(b);
}

static void syn_flood_takes_no_memory(void **state) /* R03 */
{
    struct tcp_options options = bench_options();
    options.half_open_max = 64;
    struct tcp_bench *b = bench_create(&options);
    for (uint32_t i = 0; i < 51200; i++) {
        struct probe syn = {.flags = TCP_SYN, .seq = i, .peer_port = (uint16_t)(1 + i)};
        bench_queue(b, &syn);
        if (i % 32 == 31) {
            bench_advance(b, 533); /* 60,000 a second */
        }
    }
    assert_int_equal(b->host.tcp->connections.used_count, 64);
    assert_int_equal(counter(b, METRIC_TCP_COOKIES_SENT) + 64, 51200);
    bench_destroy(b);
}

static void connections_are_bounded(void **state)
{
    struct tcp_options options = bench_options();
    options.connections_max = 3;
    struct tcp_bench *b = bench_create(&options);
    for (uint16_t i = 0; i < 5; i++) {
        bench_inject(
            b, &(struct probe){.flags = TCP_SYN, .seq = 1, .peer_port = (uint16_t)(1000 + i)});
    }
    assert_int_equal(tcp_connection_count(b->host.tcp), 3);
    assert_int_equal(counter(b, METRIC_TCP_DROP_CONNECTION_LIMIT), 2);
    bench_destroy(b);
}

static void sequence_numbers_differ_by_tuple_and_seed(void **state) /* T04 */
{
    struct tcp_bench *b = bench_create(NULL);
    uint32_t iss[3];
    for (uint16_t i = 0; i < 2; i++) {
        bench_inject(
            b, &(struct probe){.flags = TCP_SYN, .seq = 1, .peer_port = (uint16_t)(1000 + i)});
        iss[i] = b->sent[0].seq;
    }
    bench_destroy(b);
    struct tcp_options options = bench_options();
    options.seed = 43;
    b = bench_create(&options);
    bench_inject(b, &(struct probe){.flags = TCP_SYN, .seq = 1, .peer_port = 1000});
    iss[2] = b->sent[0].seq;
    assert_true(abs((int32_t)(iss[0] - iss[1])) > 100);
    assert_true(abs((int32_t)(iss[0] - iss[2])) > 100);
    bench_destroy(b);
}

static void active_open_completes(void **state)
{
    struct tcp_bench *b = bench_syn_sent(NULL);
    assert_int_equal(b->sent[0].flags, TCP_SYN);
    uint16_t port = b->stream->local.port;
    bench_inject(b, &(struct probe){.flags = TCP_SYN | TCP_ACK,
                                    .seq = 500,
                                    .ack = b->own_nxt,
                                    .port = port,
                                    .peer_port = BENCH_PORT,
                                    .options = SLICE_LITERAL(SYN_ALL)});
    assert_int_equal(b->opened, 1);
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].flags, TCP_ACK);
    assert_int_equal(b->sent[0].ack, 501);
    assert_true(b->sent[0].options.has_timestamps);
    bench_destroy(b);
}

static void active_open_refused_closes(void **state)
{
    struct tcp_bench *b = bench_syn_sent(NULL);
    bench_inject(b, &(struct probe){.flags = TCP_RST | TCP_ACK,
                                    .ack = b->own_nxt,
                                    .port = b->stream->local.port,
                                    .peer_port = BENCH_PORT});
    assert_int_equal(b->closed, 1);
    assert_int_equal(tcp_connection_count(b->host.tcp), 0);
    bench_destroy(b);
}

static void active_open_without_answer_closes_after_three_minutes(void **state) /* T19 */
{
    struct tcp_bench *b = bench_syn_sent(NULL);
    bench_advance(b, 120000 * MS);
    assert_int_equal(b->closed, 0);
    bench_advance(b, 120000 * MS);
    assert_int_equal(b->closed, 1);
    bench_destroy(b);
}

static void simultaneous_open(void **state) /* T28 */
{
    struct tcp_bench *b = bench_syn_sent(NULL);
    uint16_t port = b->stream->local.port;
    uint32_t iss = b->own_iss;
    bench_inject(
        b, &(struct probe){.flags = TCP_SYN, .seq = 500, .port = port, .peer_port = BENCH_PORT});
    assert_int_equal(b->sent[0].flags, TCP_SYN | TCP_ACK);
    assert_int_equal(b->sent[0].seq, iss);
    assert_int_equal(b->sent[0].ack, 501);
    bench_inject(b, &(struct probe){.flags = TCP_SYN | TCP_ACK,
                                    .seq = 500,
                                    .ack = iss + 1,
                                    .port = port,
                                    .peer_port = BENCH_PORT});
    assert_int_equal(b->opened, 1);
    assert_int_equal(bench_state(b), TCP_ESTABLISHED);
    bench_destroy(b);
}

/* ---- what belongs to no connection
 * --------------------------------------------------------------- */

static void text_on_a_crossing_syn_is_not_taken(void **state)
{
    struct tcp_bench *b = bench_syn_sent(NULL);
    uint16_t port = b->stream->local.port;
    bench_inject(b,
                 &(struct probe){
                     .flags = TCP_SYN, .seq = b->peer_nxt, .port = port, .peer_port = BENCH_PORT});
    struct probe answer = {.flags = TCP_SYN | TCP_ACK | TCP_FIN,
                           .seq = b->peer_nxt,
                           .ack = b->own_iss + 1,
                           .text = "abc",
                           .text_bytes = 3,
                           .port = port,
                           .peer_port = BENCH_PORT};
    bench_inject(b, &answer);
    assert_int_equal(b->opened, 1);
    assert_int_equal(b->finished, 0);
    assert_text(b, "");
    answer.flags = TCP_ACK;
    answer.seq++;
    bench_inject(b, &answer);
    assert_text(b, "abc");
    bench_destroy(b);
}

static void closed_port_and_stray_ack_are_reset(void **state) /* T05 */
{
    struct tcp_bench *b = bench_create(NULL);
    bench_inject(b, &(struct probe){.flags = TCP_SYN, .seq = 9, .port = 81});
    assert_int_equal(b->sent[0].flags, TCP_RST | TCP_ACK);
    assert_int_equal(b->sent[0].ack, 10);
    assert_int_equal(b->sent[0].seq, 0);
    assert_true(b->sent[0].checksum_right);
    bench_inject(b, &(struct probe){.flags = TCP_ACK, .seq = 9, .ack = 777});
    assert_int_equal(b->sent[0].flags, TCP_RST);
    assert_int_equal(b->sent[0].seq, 777);
    bench_inject(b, &(struct probe){.flags = TCP_RST | TCP_ACK, .seq = 9, .port = 81});
    assert_int_equal(b->sent_count, 0);
    bench_destroy(b);
}

static void odd_flags_to_a_listener_get_nothing(void **state) /* T29 */
{
    static const uint8_t kinds[] = {TCP_SYN | TCP_FIN, 0, TCP_FIN | TCP_PSH | TCP_URG,
                                    TCP_SYN | TCP_RST, TCP_FIN};
    struct tcp_bench *b = bench_create(NULL);
    for (size_t i = 0; i < sizeof(kinds); i++) {
        bench_inject(b, &(struct probe){.flags = kinds[i], .seq = 9});
        assert_int_equal(b->sent_count, 0);
    }
    assert_int_equal(tcp_connection_count(b->host.tcp), 0);
    bench_destroy(b);
}

static void malformed_headers_get_nothing(void **state) /* T01, T02 */
{
    struct tcp_bench *b = bench_established(NULL);
    struct probe p = {
        .flags = TCP_ACK, .seq = b->peer_nxt, .ack = b->own_nxt, .text = "x", .text_bytes = 1};
    p.bad_checksum = true;
    bench_inject(b, &p);
    assert_int_equal(counter(b, METRIC_TCP_DROP_CHECKSUM), 1);
    p.bad_checksum = false;
    p.header_words = 4;
    bench_inject(b, &p);
    p.header_words = 15;
    bench_inject(b, &p);
    assert_int_equal(counter(b, METRIC_TCP_DROP_MALFORMED), 2);
    assert_int_equal(b->text_bytes + b->sent_count, 0);
    p.header_words = 0;
    p.options = SLICE_LITERAL("\x05\x00\x01\xff"); /* option length 0 */
    bench_inject(b, &p);
    assert_text(b, "x");
    bench_destroy(b);
}

/* ---- text in
 * ------------------------------------------------------------------------------------- */

static void text_is_delivered_across_the_wrap(void **state) /* T03 */
{
    struct tcp_bench *b = bench_established(NULL);
    char text[301];
    memset(text, 'a', 300);
    text[300] = 0;
    bench_say(b, text);
    bench_say(b, text);
    assert_int_equal(b->text_bytes, 600);
    assert_int_equal(counter(b, METRIC_TCP_SEGMENTS_IN_FAST), 2);
    bench_destroy(b);
}

static void lone_text_is_acknowledged_late_pairs_at_once(void **state) /* T23 */
{
    struct tcp_bench *b = bench_established(NULL);
    bench_say(b, "one");
    assert_int_equal(b->sent_count, 0);
    bench_advance(b, 39 * MS);
    assert_int_equal(b->sent_count, 0);
    bench_advance(b, 3 * MS);
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].ack, b->peer_nxt);
    bench_say(b, "two");
    bench_say(b, "six");
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].ack, b->peer_nxt);
    bench_advance(b, 100 * MS);
    assert_int_equal(b->sent_count, 0);
    bench_destroy(b);
}

static void reply_carries_the_ack(void **state)
{
    struct tcp_bench *b = bench_established(NULL);
    bench_say(b, "PING");
    bench_write(b, "PONG", 4);
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].text_bytes, 4);
    assert_int_equal(b->sent[0].ack, b->peer_nxt);
    assert_int_equal(b->sent[0].flags, TCP_ACK | TCP_PSH);
    bench_acknowledge(b);
    assert_int_equal(b->stream->out.size, 0);
    bench_advance(b, 1000 * MS);
    assert_int_equal(b->sent_count, 0);
    bench_destroy(b);
}

static void inject_at(struct tcp_bench *b, uint32_t offset, const char *text)
{
    bench_inject(b, &(struct probe){.flags = TCP_ACK,
                                    .seq = b->peer_nxt + offset,
                                    .ack = b->own_nxt,
                                    .text = text,
                                    .text_bytes = (uint32_t)strlen(text)});
}

static void hole_is_reported_and_filled(void **state)
{
    struct tcp_bench *b = bench_established_with(NULL, SLICE_LITERAL(SYN_SACK));
    inject_at(b, 4, "5678");
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].ack, b->peer_nxt);
    assert_int_equal(b->sent[0].options.sack_count, 1);
    assert_int_equal(b->sent[0].options.sack[0].start, b->peer_nxt + 4);
    assert_int_equal(b->sent[0].options.sack[0].end, b->peer_nxt + 8);
    inject_at(b, 12, "defg");
    assert_int_equal(b->sent[0].options.sack_count, 2); /* the newest first */
    assert_int_equal(b->sent[0].options.sack[0].start, b->peer_nxt + 12);
    inject_at(b, 0, "1234");
    assert_text(b, "12345678");
    assert_int_equal(b->sent_count, 1); /* at once: a hole was filled */
    assert_int_equal(b->sent[0].ack, b->peer_nxt + 8);
    inject_at(b, 8, "9abc");
    assert_text(b, "123456789abcdefg");
    assert_int_equal(b->sent[0].options.sack_count, 0);
    assert_null(bench_connection(b)->reassembly);
    bench_destroy(b);
}

static void first_copy_wins(void **state) /* T12 */
{
    struct tcp_bench *b = bench_established(NULL);
    inject_at(b, 4, "BBBB");
    inject_at(b, 4, "XXXXX");
    inject_at(b, 0, "aaaaYYYYYYY"); /* reaches over the stored text */
    assert_text(b, "aaaaBBBBXYY");
    bench_destroy(b);

    b = bench_established(NULL);
    bench_say(b, "abcd");
    b->peer_nxt -= 2;
    inject_at(b, 0, "XXef"); /* repeats two delivered bytes differently */
    assert_text(b, "abcdef");
    bench_destroy(b);
}

static void text_outside_the_window_is_answered_not_taken(void **state) /* T11 */
{
    struct tcp_bench *b = bench_established(NULL);
    inject_at(b, 1000000, "far");
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].ack, b->peer_nxt);
    bench_say(b, "1234");
    bench_advance(b, 100 * MS);
    b->peer_nxt -= 4;
    inject_at(b, 0, "1234"); /* repeated: our ACK was lost */
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].ack, b->peer_nxt + 4);
    assert_text(b, "1234");
    bench_destroy(b);
}

static void keepalive_of_the_peer_is_answered(void **state) /* T37 */
{
    struct tcp_bench *b = bench_established(NULL);
    bench_inject(b, &(struct probe){.flags = TCP_ACK, .seq = b->peer_nxt - 1, .ack = b->own_nxt});
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].ack, b->peer_nxt);
    bench_destroy(b);
}

static void urgent_pointer_moves_nothing(void **state) /* T30 */
{
    struct tcp_bench *b = bench_established(NULL);
    bench_inject(b, &(struct probe){.flags = TCP_ACK | TCP_URG,
                                    .seq = b->peer_nxt,
                                    .ack = b->own_nxt,
                                    .urgent = 2,
                                    .text = "abc",
                                    .text_bytes = 3});
    assert_text(b, "abc");
    bench_destroy(b);
}

static void segment_without_ack_is_dropped(void **state)
{
    struct tcp_bench *b = bench_established(NULL);
    bench_inject(b, &(struct probe){.seq = b->peer_nxt, .text = "abc", .text_bytes = 3});
    assert_int_equal(b->text_bytes + b->sent_count, 0);
    bench_destroy(b);
}

static void window_closes_and_reopens(void **state)
{
    struct tcp_options options = bench_options();
    options.receive_buffer_bytes_max = 3000;
    struct tcp_bench *b = bench_established(&options);
    b->hold = true;
    char text[1001];
    memset(text, 'w', 1000);
    text[1000] = 0;
    bench_say(b, text);
    bench_say(b, text);
    bench_say(b, text);
    bench_advance(b, 50 * MS);
    struct tcp_connection *c = bench_connection(b);
    assert_int_equal(c->rcv_adv, c->rcv_nxt);
    bench_say(b, "beyond");
    assert_int_equal(b->text_bytes, 3000);
    assert_int_equal(b->sent[b->sent_count - 1].window, 0);
    b->peer_nxt -= 6;
    b->stream->unread_bytes = 2900; /* too little to be worth telling (T23) */
    bench_touch(b);
    assert_int_equal(b->sent_count, 0);
    b->stream->unread_bytes = 0;
    bench_touch(b);
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].window, 3000);
    bench_destroy(b);
}

static void more_stored_text_than_events_fit_comes_later(void **state)
{
    struct tcp_options options = bench_options();
    options.receive_buffer_bytes_max = 60000;
    struct tcp_bench *b = bench_established(&options);
    char text[1401];
    memset(text, 's', 1400);
    text[1400] = 0;
    for (uint32_t i = 1; i < 40; i++) {
        inject_at(b, i * 1400, text);
    }
    inject_at(b, 0, text);
    assert_int_equal(b->text_bytes, 40 * 1400); /* the timers of the same pass delivered the rest */
    assert_int_equal(b->host.bytes.used_count, 0);
    bench_destroy(b);
}

/* A peer that filled the window, a part of it lost, acknowledges from the window's very edge. */
static void ack_from_the_edge_of_the_window_counts(void **state)
{
    struct tcp_options options = bench_options();
    options.receive_buffer_bytes_max = 2000;
    struct tcp_bench *b = bench_established(&options);
    bench_write(b, "reply", 5);
    bench_inject(b,
                 &(struct probe){.flags = TCP_ACK, .seq = b->peer_nxt + 2000, .ack = b->own_nxt});
    assert_int_equal(b->stream->out.size, 0);
    bench_destroy(b);
}

static void abort_all_with_events_under_way(void **state)
{
    struct tcp_bench *b = bench_established(NULL);
    struct instant now = {.mono_us = b->now_us};
    b->stream->close_requested = true;
    bench_touch(b);
    tcp_abort_all(b->host.tcp, &now);
    bench_advance(b, 10);
    assert_int_equal(b->closed, 0);
    bench_destroy(b);
}

/* The hole is filled and the connection reset in one burst: stored text still waits to be handed up
 * when the connection ends. */
static void reset_behind_a_filled_hole_ends_once(void **state)
{
    struct tcp_bench *b = bench_established(NULL);
    char text[1401];
    memset(text, 's', 1400);
    text[1400] = 0;
    for (uint32_t i = 1; i < 10; i++) {
        inject_at(b, i * 1400, text);
    }
    bench_queue(b, &(struct probe){.flags = TCP_ACK,
                                   .seq = b->peer_nxt,
                                   .ack = b->own_nxt,
                                   .text = text,
                                   .text_bytes = 1400});
    bench_inject(b, &(struct probe){.flags = TCP_RST, .seq = b->peer_nxt + 10 * 1400});
    assert_int_equal(b->closed, 1);
    bench_advance(b, 1000000);
    assert_int_equal(b->closed, 0);
    assert_int_equal(b->host.tcp->connections.used_count, 0);
    assert_int_equal(b->host.bytes.used_count, 0);
    bench_destroy(b);
}

/* ---- RFC 5961, 7323
 * ------------------------------------------------------------------------------ */

static void reset_must_be_exact(void **state) /* T07 */
{
    struct tcp_bench *b = bench_established(NULL);
    bench_inject(b, &(struct probe){.flags = TCP_RST, .seq = b->peer_nxt + 10});
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].flags, TCP_ACK);
    bench_inject(b, &(struct probe){.flags = TCP_RST, .seq = b->peer_nxt - 1});
    assert_int_equal(b->sent_count, 0);
    bench_inject(b, &(struct probe){.flags = TCP_RST, .seq = b->peer_nxt + 1000000});
    assert_int_equal(b->sent_count, 0);
    assert_int_equal(bench_state(b), TCP_ESTABLISHED);
    bench_inject(b, &(struct probe){.flags = TCP_RST, .seq = b->peer_nxt});
    assert_int_equal(b->closed, 1);
    assert_int_equal(b->sent_count, 0);
    bench_inject(b, &(struct probe){.flags = TCP_ACK, .seq = b->peer_nxt, .ack = b->own_nxt});
    assert_int_equal(b->sent[0].flags, TCP_RST);
    bench_destroy(b);
}

static void syn_on_established_is_challenged(void **state) /* T08 */
{
    static const int32_t offsets[] = {-100000, -1, 0, 10, 1000000};
    struct tcp_bench *b = bench_established(NULL);
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        bench_inject(b,
                     &(struct probe){.flags = TCP_SYN, .seq = b->peer_nxt + (uint32_t)offsets[i]});
        assert_int_equal(b->sent_count, 1);
        assert_int_equal(b->sent[0].flags, TCP_ACK);
        assert_int_equal(b->sent[0].ack, b->peer_nxt);
    }
    bench_say(b, "alive");
    assert_text(b, "alive");
    bench_destroy(b);
}

static void unacceptable_ack_is_challenged(void **state) /* T09 */
{
    static const int32_t offsets[] = {100000, -200000};
    struct tcp_bench *b = bench_established(NULL);
    for (size_t i = 0; i < 2; i++) {
        bench_inject(b, &(struct probe){.flags = TCP_ACK,
                                        .seq = b->peer_nxt,
                                        .ack = b->own_nxt + (uint32_t)offsets[i],
                                        .text = "bad",
                                        .text_bytes = 3});
        assert_int_equal(b->sent_count, 1);
        assert_int_equal(b->text_bytes, 0);
    }
    bench_destroy(b);
}

static void challenges_are_limited(void **state) /* T10 */
{
    struct tcp_bench *b = bench_established(NULL);
    uint32_t answers = 0;
    for (int i = 0; i < 100; i++) {
        bench_inject(b, &(struct probe){.flags = TCP_SYN, .seq = 1});
        answers += b->sent_count;
    }
    assert_in_range(answers, 5, 10);
    bench_advance(b, 1001 * MS);
    bench_inject(b, &(struct probe){.flags = TCP_SYN, .seq = 1});
    assert_int_equal(b->sent_count, 1);
    bench_destroy(b);
}

static void inject_stamped(struct tcp_bench *b, uint32_t stamp, const char *text)
{
    uint8_t options[12];
    bytes_write_be32(options, TCP_TIMESTAMPS_PREDICTED_WORD);
    bytes_write_be32(options + 4, stamp);
    bytes_write_be32(options + 8, 0);
    bench_inject(b, &(struct probe){.flags = TCP_ACK,
                                    .seq = b->peer_nxt,
                                    .ack = b->own_nxt,
                                    .options = slice_of(options, 12),
                                    .text = text,
                                    .text_bytes = (uint32_t)strlen(text)});
}

/* Nobody can find out on his own connection what another's limit has seen (CVE-2016-5696). */
static void challenges_are_limited_apart(void **state) /* T10, R04 */
{
    struct tcp_bench *b = bench_create(NULL);
    uint32_t own[2];
    for (uint16_t i = 0; i < 2; i++) {
        struct probe p = {.flags = TCP_SYN, .seq = 1, .peer_port = (uint16_t)(1000 + i)};
        bench_inject(b, &p);
        own[i] = b->own_nxt;
        p = (struct probe){.flags = TCP_ACK, .seq = 2, .ack = own[i], .peer_port = p.peer_port};
        bench_inject(b, &p);
    }
    struct probe reset = {.flags = TCP_RST, .seq = 20, .peer_port = 1000};
    for (uint32_t i = 0; i < 100; i++) {
        bench_inject(b, &reset);
    }
    assert_int_equal(b->sent_count, 0);
    assert_in_range(counter(b, METRIC_TCP_CHALLENGES_SUPPRESSED), 90, 99);
    reset.peer_port = 1001;
    bench_inject(b, &reset);
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].flags, TCP_ACK);
    assert_int_equal(tcp_connection_count(b->host.tcp), 2);
    bench_destroy(b);
}

static void old_timestamps_are_dropped(void **state) /* T18 */
{
    struct tcp_bench *b = bench_established_with(NULL, SLICE_LITERAL(SYN_ALL));
    inject_stamped(b, 0x1001, "new");
    assert_text(b, "new");
    b->peer_nxt += 3;
    bench_advance(b, 100 * MS);
    assert_true(b->sent[0].options.has_timestamps);
    assert_int_equal(b->sent[0].options.ts_echo, 0x1001);
    inject_stamped(b, 0x0fff, "old");
    assert_int_equal(b->sent_count, 1);
    assert_text(b, "new");
    inject_stamped(b, 0x1002, "ok");
    assert_text(b, "newok");
    b->peer_nxt += 2;
    bench_say(b, "none"); /* without the option: accepted */
    assert_text(b, "newoknone");
    bench_destroy(b);
}

static void timestamps_go_on_after_a_long_silence(void **state) /* RFC 7323 5.5 */
{
    struct tcp_bench *b = bench_established_with(NULL, SLICE_LITERAL(SYN_ALL));
    inject_stamped(b, 0x1001, "one");
    b->peer_nxt += 3;
    bench_advance(b, 25ULL * 24 * 3600 * 1000 * MS);
    uint32_t stamp = 0x1001 + 25U * 24 * 3600 * 1000; /* more than half of 2^32 later */
    inject_stamped(b, stamp, "two");
    b->peer_nxt += 3;
    inject_stamped(b, stamp + 1, "three");
    assert_text(b, "onetwothree");
    b->peer_nxt += 5;
    inject_stamped(b, stamp - 1, "old");
    assert_text(b, "onetwothree");
    bench_destroy(b);
}

static void window_scale_above_14_is_14(void **state) /* T17 */
{
    struct tcp_bench *b = bench_established_with(NULL, SLICE_LITERAL("\x01\x03\x03\x1f"));
    assert_int_equal(bench_connection(b)->snd_shift, 14);
    bench_destroy(b);
}

/* ---- text out
 * ------------------------------------------------------------------------------------ */

static void segments_obey_the_peers_mss(void **state) /* T16 */
{
    static const struct {
        const char *options;
        size_t size;
        uint32_t largest;
    } cases[] = {{"", 0, 536},
                 {"\x02\x04\x00\x00", 4, 536},
                 {"\x02\x04\x00\x01", 4, 48},
                 {"\x02\x04\x00\x30", 4, 48},
                 {"\x02\x04\x02\x58", 4, 600},
                 {"\x02\x04\xff\xff", 4, 1460}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tcp_bench *b =
            bench_established_with(NULL, slice_of(cases[i].options, cases[i].size));
        bench_write(b, pattern, 3000);
        assert_int_equal(b->sent[0].text_bytes, cases[i].largest);
        bench_destroy(b);
    }
}

static void initial_window_is_ten_segments(void **state) /* T21 */
{
    struct tcp_bench *b = bench_established(NULL);
    bench_write(b, pattern, 100000);
    assert_int_equal(b->sent_count, 10);
    assert_memory_equal(b->sent_text, pattern, b->sent_text_bytes);
    bench_acknowledge(b); /* slow start: what was acknowledged more, eight segments of an ACK */
    assert_int_equal(b->sent_count, 18);
    bench_destroy(b);
}

static void lost_reply_is_sent_again_with_backoff(void **state) /* T19 */
{
    struct tcp_bench *b = bench_established(NULL);
    uint64_t start = b->now_us;
    bench_write(b, "reply", 5);
    bench_advance(b, 4000 * MS);
    assert_in_range(b->sent_count, 4, 5);
    uint64_t gap = b->sent[0].at_us - start;
    assert_in_range(gap, 190 * MS, 260 * MS);
    for (uint32_t i = 0; i + 1 < b->sent_count; i++) {
        uint64_t next = b->sent[i + 1].at_us - b->sent[i].at_us;
        assert_in_range(next, 2 * gap - 3 * MS, 2 * gap + 3 * MS);
        assert_memory_equal(b->sent[i].text, "reply", 5);
        gap = next;
    }
    bench_acknowledge(b);
    bench_advance(b, 100000 * MS);
    assert_int_equal(b->sent_count, 0);
    bench_destroy(b);
}

static void silent_peer_is_given_up(void **state)
{
    struct tcp_bench *b = bench_established(NULL);
    bench_write(b, "reply", 5);
    bench_advance(b, 100000 * MS);
    assert_int_equal(b->closed, 0); /* R2 is more than 100 s */
    bench_advance(b, 900000 * MS);
    assert_int_equal(b->closed, 1);
    assert_int_equal(tcp_connection_count(b->host.tcp), 0);
    bench_destroy(b);
}

static void duplicate_ack(struct tcp_bench *b, uint32_t una)
{
    bench_inject(b, &(struct probe){.flags = TCP_ACK, .seq = b->peer_nxt, .ack = una});
}

static void three_duplicates_resend_the_first_segment(void **state) /* T20 */
{
    struct tcp_bench *b = bench_established(NULL);
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 14600);
    assert_int_equal(b->sent_count, 10);
    duplicate_ack(b, una);
    duplicate_ack(b, una);
    assert_int_equal(b->sent_count, 0);
    duplicate_ack(b, una);
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].seq, una);
    assert_int_equal(b->sent[0].text_bytes, 1460);
    /* A partial ACK names the next hole (RFC 6582). */
    bench_inject(b, &(struct probe){.flags = TCP_ACK, .seq = b->peer_nxt, .ack = una + 2920});
    assert_int_equal(b->sent[0].seq, una + 2920);
    bench_acknowledge(b);
    assert_int_equal(bench_connection(b)->recovery, TCP_RECOVERY_NONE);
    bench_destroy(b);
}

static void limited_transmit_sends_new_text(void **state)
{
    struct tcp_bench *b = bench_established(NULL);
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 30000);
    duplicate_ack(b, una);
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].seq, una + 14600);
    duplicate_ack(b, una);
    assert_int_equal(b->sent[0].seq, una + 16060);
    bench_destroy(b);
}

static void sacked_text_is_not_sent_again(void **state)
{
    struct tcp_bench *b = bench_established_with(NULL, SLICE_LITERAL(SYN_SACK));
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 14600);
    uint8_t options[12] = {1, 1, 5, 10};
    bytes_write_be32(options + 4, una + 1460); /* the first and the sixth to tenth are missing */
    bytes_write_be32(options + 8, una + 5 * 1460);
    bench_inject(
        b, &(struct probe){
               .flags = TCP_ACK, .seq = b->peer_nxt, .ack = una, .options = slice_of(options, 12)});
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].seq, una);
    bench_acknowledge(b);
    assert_null(bench_connection(b)->flight);
    bench_destroy(b);
}

static void absurd_sack_blocks_are_ignored(void **state) /* T14 */
{
    struct tcp_bench *b = bench_established_with(NULL, SLICE_LITERAL(SYN_SACK));
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 14600);
    static const uint32_t pairs[][2] = {
        {0, 100000}, {50, 40}, {0, 100}, {0x80000000U, 0x80000100U}};
    for (size_t i = 0; i < 4; i++) {
        uint8_t options[12] = {1, 1, 5, 10};
        bytes_write_be32(options + 4, una + pairs[i][0]);
        bytes_write_be32(options + 8, una + pairs[i][1]);
        bench_inject(b, &(struct probe){.flags = TCP_ACK,
                                        .seq = b->peer_nxt,
                                        .ack = una,
                                        .options = slice_of(options, 12)});
        assert_int_equal(bench_connection(b)->flight->sacked_bytes, 0);
        assert_int_equal(b->sent_count, 0);
    }
    bench_destroy(b);
}

static void timeout_resends_everything_in_order(void **state)
{
    struct tcp_bench *b = bench_established(NULL);
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 14600);
    bench_advance(b, 250 * MS);
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].seq, una);
    uint32_t expected = una + 1460;
    for (uint32_t acked = una + 1460; acked != una + 7300; acked += 1460) {
        bench_inject(b, &(struct probe){.flags = TCP_ACK, .seq = b->peer_nxt, .ack = acked});
        for (uint32_t i = 0; i < b->sent_count; i++) {
            assert_int_equal(b->sent[i].seq, expected);
            assert_memory_equal(b->sent[i].text, pattern + (expected - una), 1460);
            expected += b->sent[i].text_bytes;
        }
    }
    assert_true(seq_before(una + 7300, expected));
    bench_destroy(b);
}

/* Slow start again after a true timeout; all as before when the echo shows that the first copy had
 * arrived. */
static void needless_timeout_is_undone(void **state) /* RFC 4015 */
{
    for (uint32_t needless = 0; needless < 2; needless++) {
        struct tcp_bench *b = bench_established_with(
            NULL, SLICE_LITERAL("\x01\x01\x08\x0a\x00\x00\x10\x00\x00\x00\x00\x00"));
        bench_write(b, pattern, 5360);
        uint32_t first_stamp = b->sent[0].options.ts_value;
        uint32_t before = bench_connection(b)->cwnd;
        bench_advance(b, 260 * MS);
        uint32_t second_stamp = b->sent[0].options.ts_value;
        assert_true(seq_before(first_stamp, second_stamp));
        assert_true(bench_connection(b)->cwnd < before);
        uint8_t options[12];
        bytes_write_be32(options, TCP_TIMESTAMPS_PREDICTED_WORD);
        bytes_write_be32(options + 4, 0x1001);
        bytes_write_be32(options + 8, needless ? first_stamp : second_stamp);
        bench_inject(b, &(struct probe){.flags = TCP_ACK,
                                        .seq = b->peer_nxt,
                                        .ack = b->own_iss + 1 + 524,
                                        .options = slice_of(options, 12)});
        assert_int_equal(bench_connection(b)->cwnd >= before, needless);
        assert_int_equal(bench_connection(b)->recovery == TCP_RECOVERY_NONE, needless);
        bench_destroy(b);
    }
}

static void acknowledge_with_echo(struct tcp_bench *b, uint32_t echo)
{
    uint8_t options[12];
    bytes_write_be32(options, TCP_TIMESTAMPS_PREDICTED_WORD);
    bytes_write_be32(options + 4, 0x1001);
    bytes_write_be32(options + 8, echo);
    bench_inject(b, &(struct probe){.flags = TCP_ACK,
                                    .seq = b->peer_nxt,
                                    .ack = b->own_nxt,
                                    .options = slice_of(options, 12)});
}

/* RFC 6298 5.7 takes three seconds for want of a sample; the echo of the newest SYN,ACK is one. */
static void repeated_handshake_is_measured_by_its_echo(void **state)
{
    for (uint32_t newest = 0; newest < 2; newest++) {
        struct tcp_bench *b = bench_create(NULL);
        bench_inject(b, &(struct probe){.flags = TCP_SYN,
                                        .seq = b->peer_nxt++,
                                        .options = SLICE_LITERAL(SYN_ALL)});
        uint32_t stamp = b->sent[0].options.ts_value;
        bench_advance(b, 1010 * MS);
        assert_int_equal(b->sent_count, 1);
        uint32_t later = 20 * MS - (uint32_t)(b->now_us - b->sent[0].at_us);
        stamp = newest ? b->sent[0].options.ts_value : stamp;
        bench_advance(b, later);
        acknowledge_with_echo(b, stamp);
        assert_int_equal(bench_state(b), TCP_ESTABLISHED);
        assert_int_equal(bench_connection(b)->srtt_us / MS, newest ? 20 : 0);
        assert_int_equal(bench_connection(b)->rto_us / MS, newest ? 220 : 3000);
        bench_destroy(b);
    }
}

/* The peer had the first copy; its ACKs and our copies were lost for a while. The wait is no round
 * trip: as one it would make the next loss wait for a minute. */
static void echo_from_before_a_timeout_is_no_sample(void **state)
{
    for (uint32_t newest = 0; newest < 2; newest++) {
        struct tcp_bench *b = bench_established_with(NULL, SLICE_LITERAL(SYN_ALL));
        bench_write(b, "reply", 5);
        uint32_t stamp = b->sent[0].options.ts_value;
        bench_advance(b, 13000 * MS);
        assert_true(b->sent_count >= 5);
        uint64_t last_at = b->sent[b->sent_count - 1].at_us;
        stamp = newest ? b->sent[b->sent_count - 1].options.ts_value : stamp;
        acknowledge_with_echo(b, stamp);
        assert_int_equal(b->stream->out.size, 0);
        if (newest) {
            assert_in_range(bench_connection(b)->srtt_us, 1, b->now_us - last_at);
            assert_int_equal(bench_connection(b)->backoff, 0);
        } else {
            assert_in_range(bench_connection(b)->srtt_us, 1, 10 * MS);
        }
        bench_destroy(b);
    }
}

static void tail_is_probed(void **state) /* T20 */
{
    struct tcp_bench *b = bench_established_with(NULL, SLICE_LITERAL(SYN_SACK));
    b->now_us += 10 * MS;
    bench_write(b, "warm", 4);
    b->now_us += 10 * MS;
    bench_acknowledge(b);
    uint32_t una = b->own_nxt;
    uint64_t start = b->now_us;
    bench_write(b, pattern, 4380);
    bench_advance(b, 60 * MS);
    assert_int_equal(b->sent_count, 1);
    assert_in_range(b->sent[0].at_us - start, 3 * MS, 60 * MS);
    assert_int_equal(b->sent[0].seq, una + 2920);
    assert_int_equal(counter(b, METRIC_TCP_TIMEOUTS), 0);
    bench_destroy(b);
}

static void zero_window_is_probed_for_ever_if_answered(void **state) /* T22 */
{
    struct tcp_bench *b = bench_established(NULL);
    bench_inject(b,
                 &(struct probe){
                     .flags = TCP_ACK, .seq = b->peer_nxt, .ack = b->own_nxt, .zero_window = true});
    bench_write(b, "waiting", 7);
    assert_int_equal(b->sent_count, 0);
    for (int i = 0; i < 40; i++) {
        bench_advance(b, 61000 * MS);
        assert_true(b->sent_count > 0);
        assert_int_equal(b->sent[0].text_bytes, 0);
        bench_inject(
            b, &(struct probe){
                   .flags = TCP_ACK, .seq = b->peer_nxt, .ack = b->own_nxt, .zero_window = true});
    }
    assert_int_equal(bench_state(b), TCP_ESTABLISHED);
    bench_acknowledge(b); /* opens */
    assert_int_equal(b->sent_count, 1);
    assert_memory_equal(b->sent[0].text, "waiting", 7);
    bench_destroy(b);
}

static void zero_window_without_answers_is_given_up(void **state)
{
    struct tcp_bench *b = bench_established(NULL);
    bench_inject(b,
                 &(struct probe){
                     .flags = TCP_ACK, .seq = b->peer_nxt, .ack = b->own_nxt, .zero_window = true});
    bench_write(b, "waiting", 7);
    bench_advance(b, 2000000 * MS);
    assert_int_equal(b->closed, 1);
    bench_destroy(b);
}

static void small_window_is_not_filled_with_crumbs(void **state) /* T23 */
{
    struct tcp_bench *b = bench_established(NULL);
    bench_inject(
        b, &(struct probe){.flags = TCP_ACK, .seq = b->peer_nxt, .ack = b->own_nxt, .window = 100});
    bench_write(b, pattern, 5000);
    assert_int_equal(b->sent_count, 0);
    bench_advance(b, 1500 * MS); /* overridden at last */
    assert_true(b->sent_count > 0);
    assert_int_equal(b->sent[0].text_bytes, 100);
    bench_destroy(b);
}

static void shrunken_window_loses_nothing(void **state) /* T24 */
{
    struct tcp_bench *b = bench_established(NULL);
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 14600);
    bench_inject(b, &(struct probe){
                        .flags = TCP_ACK, .seq = b->peer_nxt, .ack = una + 1460, .window = 1460});
    bench_advance(b, 300 * MS);
    assert_int_equal(b->sent[0].seq, una + 1460);
    bench_acknowledge(b);
    assert_int_equal(b->stream->out.size, 0);
    bench_destroy(b);
}

/* The peer took back the window in which text was under way, and tells so each time. */
static void window_taken_back_is_waited_for(void **state) /* T24 */
{
    struct tcp_bench *b = bench_established(NULL);
    uint32_t una = b->own_nxt;
    struct probe closed = {.flags = TCP_ACK, .seq = b->peer_nxt, .ack = una, .zero_window = true};
    bench_write(b, pattern, 1460);
    for (int i = 0; i < 40; i++) {
        bench_inject(b, &closed);
        bench_advance(b, 61000 * MS);
        assert_true(b->sent_count > 0);
    }
    assert_int_equal(bench_state(b), TCP_ESTABLISHED);
    b->stream->close_requested = true; /* with the session gone the tries count */
    bench_touch(b);
    for (int i = 0; i < 10; i++) {
        bench_inject(b, &closed);
        bench_advance(b, 61000 * MS);
    }
    assert_int_equal(bench_state(b), TCP_CLOSED);
    bench_destroy(b);
}

static void drained_is_told_once(void **state)
{
    struct tcp_bench *b = bench_established(NULL);
    uint32_t una = b->own_nxt;
    b->stream->drain_below = 1000;
    bench_write(b, pattern, 4000);
    assert_int_equal(b->drained, 0);
    duplicate_ack(b, una + 1460);
    assert_int_equal(b->drained, 0);
    bench_acknowledge(b);
    assert_int_equal(b->drained, 1);
    assert_int_equal(b->stream->drain_below, 0);
    bench_touch(b);
    assert_int_equal(b->drained, 0);
    b->stream->drain_below = 10; /* already there */
    bench_touch(b);
    bench_advance(b, 1);
    assert_int_equal(b->stream->drain_below, 0);
    bench_destroy(b);
}

static void keepalive_finds_a_dead_peer(void **state)
{
    struct tcp_options options = bench_options();
    options.keepalive_s = 100;
    struct tcp_bench *b = bench_established(&options);
    bench_advance(b, 99000 * MS);
    assert_int_equal(b->sent_count, 0);
    bench_advance(b, 2000 * MS);
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].seq, b->own_nxt - 1);
    bench_acknowledge(b); /* alive */
    bench_advance(b, 99000 * MS);
    assert_int_equal(b->sent_count, 0);
    bench_advance(b, 200000 * MS);
    assert_int_equal(b->closed, 1);
    bench_destroy(b);
}

/* ---- closing
 * ------------------------------------------------------------------------------------- */

static void request_with_fin_is_answered_then_closed(void **state) /* T25 */
{
    struct tcp_bench *b = bench_established(NULL);
    bench_inject(b, &(struct probe){.flags = TCP_FIN | TCP_ACK,
                                    .seq = b->peer_nxt,
                                    .ack = b->own_nxt,
                                    .text = "GET",
                                    .text_bytes = 3});
    b->peer_nxt += 4;
    assert_text(b, "GET");
    assert_int_equal(b->finished, 1);
    assert_int_equal(b->sent[0].ack, b->peer_nxt);
    b->stream->close_requested = true;
    bench_write(b, "value", 5);
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].flags, TCP_FIN | TCP_PSH | TCP_ACK);
    assert_int_equal(bench_state(b), TCP_LAST_ACK);
    bench_advance(b, 500 * MS); /* sent again, text and FIN */
    assert_true(b->sent_count > 0);
    assert_int_equal(b->sent[0].flags, TCP_FIN | TCP_PSH | TCP_ACK);
    bench_acknowledge(b);
    assert_int_equal(tcp_connection_count(b->host.tcp), 0);
    bench_destroy(b);
}

static void fin_ahead_of_a_hole_waits(void **state)
{
    struct tcp_bench *b = bench_established(NULL);
    bench_inject(b, &(struct probe){.flags = TCP_FIN | TCP_ACK,
                                    .seq = b->peer_nxt + 3,
                                    .ack = b->own_nxt,
                                    .text = "def",
                                    .text_bytes = 3});
    assert_int_equal(b->finished, 0);
    inject_at(b, 0, "abc");
    assert_text(b, "abcdef");
    assert_int_equal(b->finished, 1);
    assert_int_equal(b->sent[b->sent_count - 1].ack, b->peer_nxt + 7);
    bench_destroy(b);
}

static void closed_is_told_exactly_once_in_a_later_pass(void **state)
{
    struct tcp_bench *b = bench_established(NULL);
    b->stream->close_requested = true;
    bench_touch(b);
    assert_int_equal(b->closed, 0);
    bench_advance(b, 1);
    assert_int_equal(b->closed, 1);
    bench_acknowledge(b);
    bench_inject(
        b, &(struct probe){.flags = TCP_FIN | TCP_ACK, .seq = b->peer_nxt, .ack = b->own_nxt});
    assert_int_equal(bench_state(b), TCP_TIME_WAIT);
    bench_advance(b, 61000 * MS);
    assert_int_equal(b->closed, 0);
    assert_int_equal(bench_state(b), TCP_CLOSED);
    bench_destroy(b);
}

/* Two connections; what happens with the first, the second's session does something about. */
static struct {
    struct stream *first, *second;
    bool told;
} couple;

/* An event earlier in the array may make a session mark a stream whose STREAM_CLOSED comes later
 * in it. Here the first stream is marked so, before its end is told, and then the second. */
static void mark_on_close(struct simulated_host *host, const struct stream_event *events,
                          uint32_t count, const struct instant *now)
{
    for (uint32_t i = 0; i < count; i++) {
        if (events[i].type == STREAM_OPENED) {
            couple.second = couple.first != NULL ? events[i].stream : NULL;
            couple.first = couple.first == NULL ? events[i].stream : couple.first;
        } else if (events[i].type == STREAM_CLOSED) {
            assert_ptr_equal(events[i].stream, couple.first);
            byte_queue_append(&couple.second->out, &host->bytes, "second", 6);
            stream_mark_dirty(couple.second);
            stream_mark_dirty(couple.first);
            couple.told = true;
        }
    }
}

static void open_from(struct tcp_bench *b, uint16_t peer_port)
{
    struct probe p = {.flags = TCP_SYN, .seq = 99, .peer_port = peer_port};
    bench_inject(b, &p);
    p = (struct probe){.flags = TCP_ACK, .seq = 100, .ack = b->own_iss + 1, .peer_port = peer_port};
    bench_inject(b, &p);
}

/* Of segments that arrive together, the text is told before the end, and nothing after it. */
static void text_and_reset_in_one_batch(void **state)
{
    struct tcp_bench *b = bench_established(NULL);
    struct probe text = {
        .flags = TCP_ACK, .seq = b->peer_nxt, .ack = b->own_nxt, .text = "abc", .text_bytes = 3};
    bench_queue(b, &text);
    text.seq += 6; /* behind a hole: never told */
    bench_queue(b, &text);
    bench_queue(b, &(struct probe){.flags = TCP_RST, .seq = b->peer_nxt + 3});
    text.seq -= 3; /* belongs to nothing any more */
    bench_inject(b, &text);
    assert_text(b, "abc");
    assert_int_equal(b->closed, 1);
    assert_int_equal(b->sent[b->sent_count - 1].flags, TCP_RST);
    assert_int_equal(b->host.bytes.used_count, 0);
    bench_destroy(b);
}

static void dead_stream_on_the_dirty_list_is_kept(void **state)
{
    struct tcp_bench *b = bench_create(NULL);
    memset(&couple, 0, sizeof(couple));
    b->host.on_events = mark_on_close;
    open_from(b, 41001);
    open_from(b, 41002);
    assert_non_null(couple.second);
    couple.first->abort_requested = true;
    b->stream = couple.first;
    bench_touch(b);
    for (int i = 0; i < 3 && !couple.told; i++) {
        bench_inject(b, &(struct probe){.flags = TCP_RST, .seq = 1, .peer_port = 41009});
    }
    assert_true(couple.told);
    /* The pool hands out what was freed last: the new connection must not lie where the first did,
     * which leads the dirty list, and the second behind it gets its turn. */
    bench_inject(b, &(struct probe){.flags = TCP_SYN, .seq = 99, .peer_port = 41003});
    assert_int_equal(b->sent_count, 2);
    assert_int_equal(b->sent[0].flags, TCP_SYN | TCP_ACK);
    assert_int_equal(b->sent[1].peer_port, 41002);
    assert_int_equal(b->sent[1].text_bytes, 6);
    assert_null(b->host.tcp->dead);
    bench_destroy(b);
}

static void abort_resets_and_drops(void **state)
{
    struct tcp_bench *b = bench_established(NULL);
    byte_queue_append(&b->stream->out, &b->host.bytes, "lost", 4);
    b->stream->abort_requested = true;
    bench_touch(b);
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].flags, TCP_RST | TCP_ACK);
    assert_int_equal(b->sent[0].seq, b->own_nxt);
    bench_advance(b, 1);
    assert_int_equal(b->closed, 1);
    assert_int_equal(b->host.bytes.used_count, 0);
    bench_destroy(b);
}

static uint32_t advance_and_count(struct tcp_bench *b, uint64_t us)
{
    bench_advance(b, us);
    return b->sent_count;
}

/* Neither a slow retransmission timer nor a quick one shortens what a reply gets before the close
 * is given up: 8 tries and the time to linger, both. */
static void closed_stream_keeps_trying(void **state)
{
    struct tcp_options options = bench_options();
    struct tcp_bench *b = bench_syn_received(&options);
    bench_advance(b, 1100 * MS); /* a lost SYN,ACK: RTO 3 s */
    bench_acknowledge(b);
    b->stream->close_requested = true;
    bench_write(b, "reply", 5);
    assert_int_equal(bench_state(b), TCP_FIN_WAIT_1);
    uint32_t tries = advance_and_count(b, 61000 * MS);
    assert_int_equal(bench_state(b), TCP_FIN_WAIT_1);
    tries += advance_and_count(b, 340000 * MS);
    assert_int_equal(tries, 8 + 1); /* and the reset */
    assert_int_equal(bench_state(b), TCP_CLOSED);
    bench_destroy(b);

    options.rto_min_ms = 10;
    b = bench_established(&options);
    b->stream->close_requested = true;
    bench_write(b, "reply", 5);
    bench_advance(b, 59000 * MS);
    assert_int_equal(bench_state(b), TCP_FIN_WAIT_1);
    assert_true(b->sent_count > 8);
    bench_advance(b, 2000 * MS);
    assert_int_equal(bench_state(b), TCP_CLOSED);
    bench_destroy(b);
}

static void simultaneous_close(void **state) /* T28 */
{
    struct tcp_bench *b = bench_closing(NULL);
    bench_acknowledge(b);
    assert_int_equal(bench_state(b), TCP_TIME_WAIT);
    bench_destroy(b);
}

static void last_ack_ends(void **state)
{
    struct tcp_bench *b = bench_last_ack(NULL);
    bench_acknowledge(b);
    assert_int_equal(bench_state(b), TCP_CLOSED);
    bench_destroy(b);
}

static void fin_wait_2_times_out(void **state) /* T26 */
{
    struct tcp_bench *b = bench_fin_wait_2(NULL);
    bench_advance(b, 59000 * MS);
    assert_int_equal(bench_state(b), TCP_FIN_WAIT_2);
    bench_advance(b, 2000 * MS);
    assert_int_equal(bench_state(b), TCP_CLOSED);
    bench_destroy(b);
}

static void text_after_close_is_swallowed_then_reset(void **state) /* T26 */
{
    struct tcp_bench *b = bench_fin_wait_1(NULL);
    uint32_t fin_end = b->own_nxt;
    b->own_nxt--;
    bench_say(b, "more"); /* our FIN is not acknowledged yet: let it get through */
    assert_int_equal(b->sent[0].flags, TCP_ACK);
    assert_int_equal(b->sent[0].ack, b->peer_nxt);
    b->own_nxt = fin_end;
    bench_acknowledge(b);
    bench_say(b, "still more");
    assert_int_equal(b->sent[0].flags & TCP_RST, TCP_RST);
    assert_int_equal(bench_state(b), TCP_CLOSED);
    bench_destroy(b);
}

static void time_wait_answers_fin_and_ignores_reset(void **state) /* T27 */
{
    struct tcp_bench *b = bench_time_wait(NULL);
    bench_inject(b, &(struct probe){.flags = TCP_RST, .seq = b->peer_nxt});
    assert_int_equal(bench_state(b), TCP_TIME_WAIT);
    bench_inject(
        b, &(struct probe){.flags = TCP_FIN | TCP_ACK, .seq = b->peer_nxt - 1, .ack = b->own_nxt});
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].ack, b->peer_nxt);
    bench_destroy(b);
}

static void time_wait_yields_to_a_newer_syn(void **state) /* RFC 6191 */
{
    struct tcp_bench *b = bench_time_wait(NULL);
    uint32_t old_nxt = b->own_nxt;
    bench_inject(b, &(struct probe){.flags = TCP_SYN, .seq = b->peer_nxt - 1});
    assert_int_equal(bench_state(b), TCP_TIME_WAIT);
    bench_inject(b, &(struct probe){.flags = TCP_SYN, .seq = b->peer_nxt + 1});
    assert_int_equal(bench_state(b), TCP_SYN_RECEIVED);
    assert_int_equal(b->sent[0].flags, TCP_SYN | TCP_ACK);
    assert_true(seq_before(old_nxt, b->sent[0].seq));
    bench_destroy(b);
}

static void time_waits_are_bounded(void **state) /* T27 */
{
    struct tcp_options options = bench_options();
    options.time_wait_max = 0;
    struct tcp_bench *b = bench_fin_wait_2(&options);
    bench_inject(
        b, &(struct probe){.flags = TCP_FIN | TCP_ACK, .seq = b->peer_nxt, .ack = b->own_nxt});
    assert_int_equal(b->host.tcp->time_wait_count, 0);
    assert_int_equal(counter(b, METRIC_TCP_TIME_WAIT_EVICTED), 1);
    bench_destroy(b);
}

static void orphans_are_bounded(void **state) /* T26 */
{
    struct tcp_options options = bench_options();
    options.orphans_max = 2;
    struct tcp_bench *b = bench_create(&options);
    for (uint16_t i = 0; i < 4; i++) {
        struct probe p = {.flags = TCP_SYN, .seq = 1, .peer_port = (uint16_t)(1000 + i)};
        bench_inject(b, &p);
        p = (struct probe){.flags = TCP_ACK, .seq = 2, .ack = b->own_nxt, .peer_port = p.peer_port};
        bench_inject(b, &p);
        b->stream->close_requested = true;
        bench_touch(b);
        assert_int_equal(b->sent[0].flags, i < 2 ? TCP_FIN | TCP_ACK : TCP_RST | TCP_ACK);
        bench_advance(b, 1);
        assert_int_equal(counter(b, METRIC_TCP_ORPHANS), i < 2 ? i + 1 : 2);
    }
    assert_int_equal(counter(b, METRIC_TCP_ORPHANS_RESET), 2);
    assert_int_equal(tcp_connection_count(b->host.tcp), 2);
    bench_advance(b, 300000 * MS);
    assert_int_equal(tcp_connection_count(b->host.tcp), 0);
    assert_int_equal(counter(b, METRIC_TCP_ORPHANS), 0);
    bench_destroy(b);
}

static void every_state_ends_on_the_exact_reset(void **state)
{
    struct tcp_bench *(*const constructors[])(const struct tcp_options *) = {
        bench_syn_received, bench_established, bench_close_wait, bench_fin_wait_1,
        bench_fin_wait_2,   bench_closing,     bench_last_ack};
    for (size_t i = 0; i < sizeof(constructors) / sizeof(constructors[0]); i++) {
        struct tcp_bench *b = constructors[i](NULL);
        bench_inject(b, &(struct probe){.flags = TCP_RST, .seq = b->peer_nxt});
        assert_int_equal(bench_state(b), TCP_CLOSED);
        assert_int_equal(tcp_connection_count(b->host.tcp), 0);
        assert_int_equal(b->host.tcp->half_open_count, 0);
        bench_destroy(b);
    }
}

static void abort_all_resets_without_events(void **state)
{
    struct tcp_bench *b = bench_established(NULL);
    struct instant now = {.mono_us = b->now_us};
    tcp_abort_all(b->host.tcp, &now);
    assert_int_equal(tcp_connection_count(b->host.tcp), 0);
    bench_advance(b, 10);
    assert_int_equal(b->closed, 0);
    assert_int_equal(b->sent[0].flags & TCP_RST, TCP_RST);
    bench_destroy(b);
}

/* ---- ICMP
 * ---------------------------------------------------------------------------------------- */

static uint16_t internet_sum(const uint8_t *bytes, uint32_t size)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i + 1 < size; i += 2) {
        sum += bytes_read_be16(bytes + i);
    }
    while (sum >> 16) {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

static void inject_icmp(struct tcp_bench *b, uint8_t code, uint16_t mtu, uint32_t quoted_seq)
{
    uint8_t f[14 + 20 + 8 + 28] = {0};
    struct rte_ether_addr own = simulated_host_mac(2), peer = simulated_host_mac(1);
    struct address own_address = simulated_host_address(2), address = simulated_host_address(1);
    memcpy(f, &own, 6);
    memcpy(f + 6, &peer, 6);
    bytes_write_be16(f + 12, 0x0800);
    uint8_t *ip = f + 14, *icmp = ip + 20, *quoted = icmp + 8;
    ip[0] = quoted[0] = 0x45;
    bytes_write_be16(ip + 2, 56);
    ip[8] = quoted[8] = 64;
    ip[9] = 1;
    memcpy(ip + 12, address.bytes + 12, 4);
    memcpy(ip + 16, own_address.bytes + 12, 4);
    bytes_write_be16(ip + 10, internet_sum(ip, 20));
    icmp[0] = 3;
    icmp[1] = code;
    bytes_write_be16(icmp + 6, mtu);
    bytes_write_be16(quoted + 2, 1500);
    quoted[9] = 6;
    memcpy(quoted + 12, own_address.bytes + 12, 4);
    memcpy(quoted + 16, address.bytes + 12, 4);
    bytes_write_be16(quoted + 20, BENCH_PORT);
    bytes_write_be16(quoted + 22, BENCH_PEER_PORT);
    bytes_write_be32(quoted + 24, quoted_seq);
    bytes_write_be16(icmp + 2, internet_sum(icmp, 36));
    bench_inject_frame(b, f, sizeof(f));
}

static void path_mtu_is_believed_within_reason(void **state) /* T31 */
{
    struct tcp_bench *b = bench_established(NULL);
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 14600);
    inject_icmp(b, 4, 1000, una - 1000); /* not in flight */
    assert_int_equal(bench_connection(b)->snd_mss, 1460);
    inject_icmp(b, 4, 1000, una);
    assert_int_equal(bench_connection(b)->snd_mss, 960);
    assert_true(b->sent_count > 0);
    assert_int_equal(b->sent[0].seq, una);
    assert_int_equal(b->sent[0].text_bytes, 960);
    inject_icmp(b, 4, 68, una);
    assert_int_equal(bench_connection(b)->snd_mss, 512);
    inject_icmp(b, 1, 0, una); /* host unreachable: soft */
    inject_icmp(b, 3, 0, una);
    assert_int_equal(bench_state(b), TCP_ESTABLISHED);
    bench_destroy(b);
}

/* As the sessions do it: in the pass that brings the request. */
static void reply_at_once(struct simulated_host *host, const struct stream_event *events,
                          uint32_t count, const struct instant *now)
{
    (void)now;
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(events[i].type, STREAM_DATA);
        byte_queue_append(&events[i].stream->out, &host->bytes, pattern, 1460);
        stream_mark_dirty(events[i].stream);
    }
}

/* What a request in order, the reply to it and its ACK read or write, with the next request or by
 * itself, and a silence in between: the lines of the stream and the two hot ones. All behind that
 * is nonsense meanwhile. */
static void plain_cycle_stays_in_its_lines(void **state)
{
    static const uint8_t offer[] = {2, 4, 5, 180, 1, 1, 4, 2}; /* MSS 1460, SACK */
    static const size_t begin = offsetof(struct tcp_connection, timer);
    static const size_t size = sizeof(struct tcp_connection) - begin;
    uint8_t before[sizeof(struct tcp_connection)], poison[sizeof(struct tcp_connection)];
    struct tcp_options options = bench_options();
    options.keepalive_s = 0;
    struct tcp_bench *b = bench_established_with(&options, slice_of(offer, sizeof(offer)));
    bench_say(b, "PING");
    bench_write(b, "PONG", 4);
    bench_acknowledge(b);
    bench_advance(b, 2000 * MS); /* the handshake's timer has fired */
    struct tcp_connection *c = bench_connection(b);
    assert_false(timer_is_armed(&c->timer));
    memcpy(before, &c->timer, size);
    memset(&c->timer, 0x5a, size);
    memcpy(poison, &c->timer, size);
    b->host.on_events = reply_at_once;
    for (int i = 0; i < 20; i++) {
        bench_say(b, "GET key");
        assert_int_equal(b->sent_count, 1);
        assert_int_equal(b->sent[0].flags, TCP_PSH | TCP_ACK);
        assert_int_equal(b->sent[0].ack, b->peer_nxt);
        assert_memory_equal(b->sent[0].text, pattern, 1460);
        assert_true(b->sent[0].checksum_right);
        if (i % 2 == 1) {
            b->now_us += 40 * MS;
            bench_acknowledge(b);
            bench_advance(b, 500 * MS);
            assert_int_equal(b->sent_count, 0);
        }
        assert_memory_equal(&c->timer, poison, size);
    }
    assert_int_equal(counter(b, METRIC_TCP_SEGMENTS_IN_FAST), 21 + 11);
    memcpy(&c->timer, before, size);
    bench_destroy(b);
}

/* Whether there is room for it among those that wait for their ACK or not. */
static void lost_reply_goes_again_at_its_time(void **state)
{
    static const uint8_t offer[] = {2, 4, 5, 180, 1, 1, 4, 2}; /* MSS 1460, SACK */
    for (int full = 0; full < 2; full++) {
        struct tcp_bench *b = bench_established_with(NULL, slice_of(offer, sizeof(offer)));
        struct tcp_connection *c = bench_connection(b);
        b->host.tcp->awaiting.room_max = full ? 0 : b->host.tcp->awaiting.room_max;
        for (int i = 0; i < 3; i++) { /* each request acknowledges the reply before */
            bench_say(b, "GET key");
            bench_write(b, pattern, 100);
            assert_int_equal(c->awaiting_place, full ? 0 : 1);
            b->now_us += 50 * MS;
        }
        uint64_t due_us = c->retransmit_due;
        assert_true(due_us > b->now_us + 150 * MS);
        bench_advance(b, due_us - b->now_us - 1);
        assert_int_equal(b->sent_count, 0);
        bench_advance(b, 1 + TIMER_WHEEL_TICK_US);
        assert_int_equal(b->sent_count, 1);
        assert_memory_equal(b->sent[0].text, pattern, 100);
        bench_destroy(b);
    }
}

static void connection_ends_while_its_reply_waits_for_the_acknowledgment(void **state)
{
    struct tcp_bench *b = bench_established(NULL);
    bench_say(b, "GET key");
    bench_write(b, pattern, 100);
    struct probe reset = {.flags = TCP_RST, .seq = b->peer_nxt};
    bench_inject(b, &reset);
    assert_int_equal(tcp_connection_count(b->host.tcp), 0);
    bench_advance(b, 2000 * MS);
    assert_int_equal(b->sent_count, 0);
    assert_true(due_queue_next_due(&b->host.tcp->awaiting) == UINT64_MAX);
    bench_destroy(b);
}

/* All was acknowledged before: of this ACK only the window is news. */
static void request_behind_an_acknowledgment_brings_a_window(void **state)
{
    static const uint8_t offer[] = {2, 4, 5, 180, 1, 1, 4, 2}; /* MSS 1460, SACK */
    struct tcp_bench *b = bench_established_with(NULL, slice_of(offer, sizeof(offer)));
    bench_say(b, "GET key");
    bench_write(b, pattern, 100);
    bench_acknowledge(b);
    struct probe request = {
        .flags = TCP_ACK, .seq = b->peer_nxt, .ack = b->own_nxt, .text = "GET", .text_bytes = 3};
    request.window = 500;
    b->peer_nxt += request.text_bytes;
    bench_inject(b, &request);
    assert_int_equal(counter(b, METRIC_TCP_SEGMENTS_IN_FAST), 3);
    assert_int_equal(bench_connection(b)->snd_wnd, 500);
    bench_write(b, pattern, 400);
    assert_int_equal(b->sent_count, 1);
    bench_write(b, pattern, 400);
    assert_int_equal(b->sent_count, 0);
    bench_destroy(b);
}

/* It takes no page while it waits for its ACK, and is sent again from where it is. */
static void reply_of_a_seldom_asked_connection_waits_in_a_slip(void **state)
{
    static const uint8_t offer[] = {2, 4, 5, 180, 1, 1, 4, 2}; /* MSS 1460, SACK */
    struct tcp_bench *b = bench_established_with(NULL, slice_of(offer, sizeof(offer)));
    const struct byte_pool *pool = &b->host.bytes;
    bench_say(b, "GET key");
    bench_write(b, pattern, 100);
    bench_acknowledge(b);
    bench_advance(b, 10 * MS);
    bench_write(b, pattern, 100);
    assert_int_equal(byte_pool_held_bytes(pool), BYTE_PAGE_BYTES); /* often */
    bench_acknowledge(b);
    bench_advance(b, 30 * MS);
    bench_write(b, pattern + 1, 100);
    assert_int_equal(byte_pool_held_bytes(pool), BYTE_SLIP_BYTES);
    bench_advance(b, 1000 * MS);
    assert_true(b->sent_count > 0);
    assert_int_equal(b->sent[0].text_bytes, 100);
    assert_memory_equal(b->sent[0].text, pattern + 1, 100);
    bench_write(b, pattern + 101, 1300);
    bench_acknowledge(b);
    assert_int_equal(byte_pool_held_bytes(pool), 0);
    bench_destroy(b);
}

/* The ACK of all that is under way, when nothing comes with it, is the last that happens for a
 * while: nobody is woken for a retransmission that is not due any more. */
static void timer_rests_with_the_last_acknowledgment(void **state)
{
    const struct slice offers[] = {SLICE_LITERAL("\4\2\1\1"),            /* three segments */
                                   SLICE_LITERAL("\2\4\5\xb4\4\2\1\1")}; /* one */
    struct tcp_options options;
    tcp_default_options(&options);
    for (int i = 0; i < 4; i++) {
        options.keepalive_s = i % 2 == 0 ? 0 : 100;
        struct tcp_bench *b = bench_established_with(&options, offers[i / 2]);
        uint64_t began_us = b->now_us;
        bench_advance(b, 2000 * MS); /* the handshake's timer has fired */
        b->host.on_events = reply_at_once;
        bench_say(b, "GET key");
        assert_int_equal(b->sent_count, i / 2 == 0 ? 3 : 1);
        assert_true(b->host.next_due_us <= b->now_us + 1000 * MS);
        bench_acknowledge(b);
        assert_true(b->host.next_due_us > began_us + 90000 * MS);
        bench_write(b, pattern, 100);
        bench_advance(b, 1000 * MS);
        assert_true(b->sent_count > 0); /* again */
        bench_destroy(b);
    }
}

/* A connection whose port sums and cuts packets of up to so many bytes. */
static struct tcp_bench *bench_cutting(uint32_t tso_bytes)
{
    static const uint8_t offer[] = {2, 4, 5, 180, 1, 1, 4, 2}; /* MSS 1460, SACK */
    struct tcp_bench *b = bench_established_with(NULL, slice_of(offer, sizeof(offer)));
    struct net_interface *interface = b->host.interface;
    interface->tx_ipv4_checksum = interface->tx_tcp_checksum = true;
    interface->tx_tso_bytes = interface->tx_tso_bytes_ipv6 = tso_bytes;
    return b;
}

static uint64_t packets_out(const struct tcp_bench *b)
{
    return counter(b, METRIC_NET_TX_PACKETS);
}

/* The segments sent are those of `text` from `una` on, full ones but the last. */
static void expect_segments(const struct tcp_bench *b, uint32_t una, uint32_t count, uint32_t bytes)
{
    assert_int_equal(b->sent_count, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct sent_segment *s = &b->sent[i];
        assert_int_equal(s->seq, una + i * 1460);
        assert_int_equal(s->text_bytes, bytes - i * 1460 < 1460 ? bytes - i * 1460 : 1460);
        assert_memory_equal(s->text, pattern + i * 1460, s->text_bytes);
        assert_true(s->checksum_right);
        assert_int_equal(s->ack, b->peer_nxt);
    }
}

static void port_cuts_what_the_windows_let_through(void **state)
{
    struct tcp_bench *b = bench_cutting(65535);
    uint32_t una = b->own_nxt;
    uint64_t before = packets_out(b);
    bench_write(b, pattern, 100);
    assert_int_equal(b->sent[0].flags, TCP_PSH | TCP_ACK);
    bench_acknowledge(b);
    bench_write(b, pattern, 40000);
    expect_segments(b, una + 100, 10, 40000); /* the initial window, and not a byte more */
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(b->sent[i].flags, TCP_ACK); /* more follows */
    }
    assert_int_equal(packets_out(b) - before, 2);
    assert_int_equal(counter(b, METRIC_TCP_SEGMENTS_CUT), 10);
    assert_int_equal(counter(b, METRIC_TCP_SEGMENTS_OUT), 12); /* with SYN,ACK */
    bench_destroy(b);
}

static void last_segment_of_a_cut_packet_pushes(void **state)
{
    struct tcp_bench *b = bench_cutting(65535);
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 5000);
    expect_segments(b, una, 4, 5000);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(b->sent[i].flags, i == 3 ? TCP_PSH | TCP_ACK : TCP_ACK);
    }
    bench_destroy(b);
}

static void fin_leaves_with_the_last_cut_segment(void **state)
{
    struct tcp_bench *b = bench_cutting(65535);
    uint32_t una = b->own_nxt;
    byte_queue_append(&b->stream->out, &b->host.bytes, pattern, 5000);
    b->stream->close_requested = true;
    bench_touch(b);
    expect_segments(b, una, 4, 5000);
    assert_int_equal(b->sent[2].flags, TCP_ACK);
    assert_int_equal(b->sent[3].flags, TCP_PSH | TCP_FIN | TCP_ACK);
    bench_destroy(b);
}

static void cut_packets_obey_the_ports_and_the_peers_limits(void **state)
{
    struct tcp_bench *b = bench_cutting(4000); /* two segments beside the headers */
    uint32_t una = b->own_nxt;
    uint64_t before = packets_out(b);
    bench_write(b, pattern, 14600);
    expect_segments(b, una, 10, 14600);
    assert_int_equal(packets_out(b) - before, 5);
    bench_destroy(b);

    b = bench_cutting(65535);
    una = b->own_nxt;
    bench_inject(b,
                 &(struct probe){
                     .flags = TCP_ACK, .seq = b->peer_nxt, .ack = una, .window = 4 * 1460 + 700});
    bench_write(b, pattern, 14600);
    expect_segments(b, una, 4, 14600); /* 700 are less than half of what was offered */
    bench_destroy(b);
}

/* A hole in the middle of a packet that was cut: that segment alone goes again. */
static void part_of_a_cut_packet_is_sent_again(void **state)
{
    struct tcp_bench *b = bench_cutting(65535);
    uint32_t una = b->own_nxt;
    bench_write(b, pattern, 14600);
    uint8_t sack[12] = {1, 1, 5, 10};
    bench_advance(b, MS); /* before the tail is probed */
    bytes_write_be32(sack + 4, una + 4 * 1460);
    bytes_write_be32(sack + 8, una + 10 * 1460);
    bench_inject(b, &(struct probe){.flags = TCP_ACK,
                                    .seq = b->peer_nxt,
                                    .ack = una + 3 * 1460,
                                    .options = slice_of(sack, sizeof(sack))});
    assert_int_equal(b->sent_count, 1);
    assert_int_equal(b->sent[0].seq, una + 3 * 1460);
    assert_int_equal(b->sent[0].text_bytes, 1460);
    assert_memory_equal(b->sent[0].text, pattern + 3 * 1460, 1460);
    assert_true(b->sent[0].checksum_right);
    assert_int_equal(counter(b, METRIC_TCP_RETRANSMITS), 1);
    bench_inject(b, &(struct probe){.flags = TCP_ACK, .seq = b->peer_nxt, .ack = una + 14600});
    assert_int_equal(tcp_flight_bytes(bench_connection(b)), 0);
    assert_int_equal(b->stream->out.size, 0);
    bench_destroy(b);
}

struct counted_owner {
    struct byte_owner owner;
    int count;
};

static void acquire_counted(struct byte_owner *owner)
{
    ((struct counted_owner *)owner)->count++;
}

static void release_counted(struct byte_owner *owner)
{
    ((struct counted_owner *)owner)->count--;
}

/* A device that reads by itself is shown what it reaches, in parts of its size; all else is copied.
 */
static void devices_are_shown_what_they_reach(void **state)
{
    for (int is_mapped = 0; is_mapped < 2; is_mapped++) {
        struct tcp_bench *b = bench_cutting(65535);
        struct counted_owner value = {{acquire_counted, release_counted, is_mapped != 0}, 1};
        uint32_t una = b->own_nxt;
        b->host.interface->tx_external_bytes = 3000;
        b->host.interface->tx_external_mapped = true;
        byte_queue_append_reference(&b->stream->out, &b->host.bytes, slice_of(pattern, 14600),
                                    &value.owner);
        bench_touch(b);
        expect_segments(b, una, 10, 14600);
        assert_int_equal(counter(b, METRIC_TCP_SEGMENTS_EXTERNAL), is_mapped ? 5 : 0);
        assert_int_equal(counter(b, METRIC_TCP_BYTES_EXTERNAL), is_mapped ? 14600 : 0);
        bench_acknowledge(b);
        assert_int_equal(value.count, 0);
        bench_destroy(b);
    }
}

#define CASE(name) cmocka_unit_test(name)

int main(void)
{
    for (size_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (uint8_t)(i * 7 ^ i >> 8);
    }
    const struct CMUnitTest tests[] = {
        CASE(handshake_offers_what_was_offered),
        CASE(handshake_opens_once_and_tells_the_listener),
        CASE(syn_answer_is_repeated_then_given_up),
        CASE(wrong_ack_in_syn_received_is_reset),
        CASE(text_on_a_syn_is_not_taken),
        CASE(text_with_the_last_handshake_ack_is_taken),
        CASE(half_open_connections_are_bounded),
        CASE(cookie_remembers_the_offer),
        CASE(cookie_without_timestamps_is_plain),
        CASE(wrong_cookies_are_reset),
        CASE(cookies_grow_old),
        CASE(cookies_obey_the_limit_of_connections),
        CASE(syn_flood_takes_no_memory),
        CASE(connections_are_bounded),
        CASE(sequence_numbers_differ_by_tuple_and_seed),
        CASE(active_open_completes),
        CASE(active_open_refused_closes),
        CASE(active_open_without_answer_closes_after_three_minutes),
        CASE(simultaneous_open),
        CASE(text_on_a_crossing_syn_is_not_taken),
        CASE(closed_port_and_stray_ack_are_reset),
        CASE(odd_flags_to_a_listener_get_nothing),
        CASE(malformed_headers_get_nothing),
        CASE(text_is_delivered_across_the_wrap),
        CASE(lone_text_is_acknowledged_late_pairs_at_once),
        CASE(reply_carries_the_ack),
        CASE(plain_cycle_stays_in_its_lines),
        CASE(lost_reply_goes_again_at_its_time),
        CASE(connection_ends_while_its_reply_waits_for_the_acknowledgment),
        CASE(request_behind_an_acknowledgment_brings_a_window),
        CASE(reply_of_a_seldom_asked_connection_waits_in_a_slip),
        CASE(timer_rests_with_the_last_acknowledgment),
        CASE(port_cuts_what_the_windows_let_through),
        CASE(last_segment_of_a_cut_packet_pushes),
        CASE(fin_leaves_with_the_last_cut_segment),
        CASE(cut_packets_obey_the_ports_and_the_peers_limits),
        CASE(devices_are_shown_what_they_reach),
        CASE(part_of_a_cut_packet_is_sent_again),
        CASE(hole_is_reported_and_filled),
        CASE(first_copy_wins),
        CASE(text_outside_the_window_is_answered_not_taken),
        CASE(keepalive_of_the_peer_is_answered),
        CASE(urgent_pointer_moves_nothing),
        CASE(segment_without_ack_is_dropped),
        CASE(window_closes_and_reopens),
        CASE(more_stored_text_than_events_fit_comes_later),
        CASE(reset_behind_a_filled_hole_ends_once),
        CASE(reset_must_be_exact),
        CASE(syn_on_established_is_challenged),
        CASE(unacceptable_ack_is_challenged),
        CASE(challenges_are_limited),
        CASE(challenges_are_limited_apart),
        CASE(old_timestamps_are_dropped),
        CASE(timestamps_go_on_after_a_long_silence),
        CASE(window_scale_above_14_is_14),
        CASE(segments_obey_the_peers_mss),
        CASE(initial_window_is_ten_segments),
        CASE(lost_reply_is_sent_again_with_backoff),
        CASE(silent_peer_is_given_up),
        CASE(three_duplicates_resend_the_first_segment),
        CASE(limited_transmit_sends_new_text),
        CASE(sacked_text_is_not_sent_again),
        CASE(absurd_sack_blocks_are_ignored),
        CASE(repeated_handshake_is_measured_by_its_echo),
        CASE(echo_from_before_a_timeout_is_no_sample),
        CASE(tail_is_probed),
        CASE(timeout_resends_everything_in_order),
        CASE(needless_timeout_is_undone),
        CASE(ack_from_the_edge_of_the_window_counts),
        CASE(abort_all_with_events_under_way),
        CASE(zero_window_is_probed_for_ever_if_answered),
        CASE(zero_window_without_answers_is_given_up),
        CASE(small_window_is_not_filled_with_crumbs),
        CASE(shrunken_window_loses_nothing),
        CASE(window_taken_back_is_waited_for),
        CASE(drained_is_told_once),
        CASE(keepalive_finds_a_dead_peer),
        CASE(request_with_fin_is_answered_then_closed),
        CASE(fin_ahead_of_a_hole_waits),
        CASE(closed_is_told_exactly_once_in_a_later_pass),
        CASE(text_and_reset_in_one_batch),
        CASE(dead_stream_on_the_dirty_list_is_kept),
        CASE(abort_resets_and_drops),
        CASE(closed_stream_keeps_trying),
        CASE(simultaneous_close),
        CASE(last_ack_ends),
        CASE(fin_wait_2_times_out),
        CASE(text_after_close_is_swallowed_then_reset),
        CASE(time_wait_answers_fin_and_ignores_reset),
        CASE(time_wait_yields_to_a_newer_syn),
        CASE(time_waits_are_bounded),
        CASE(orphans_are_bounded),
        CASE(every_state_ends_on_the_exact_reset),
        CASE(abort_all_resets_without_events),
        CASE(path_mtu_is_believed_within_reason),
    };
    return cmocka_run_group_tests_name("tcp", tests, NULL, NULL);
}
