#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/bench/template_session.h"
#include "tests/support/packet_builder.h"

static const struct template_end client = {{{2, 0, 0, 0, 0, 1}}, IPV4(198, 18, 0, 1), 40000};
static const struct template_end server = {{{2, 0, 0, 0, 0, 2}}, IPV4(198, 18, 0, 2), 6379};

static uint8_t payload[TEMPLATE_PAYLOAD_BYTES_MAX];

static void fill_payload(void)
{
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t)(i * 7 + 3);
    }
}

/* Cuts the padding off, which the checker knows nothing of. */
static const char *fault_without_padding(struct frame *frame)
{
    frame->size = AT_IP + bytes_read_be16(frame->bytes + AT_IP_TOTAL);
    return frame_fault(frame);
}

static void test_udp_of_every_size(void **state)
{
    (void)state;
    fill_payload();
    for (size_t size = 0; size <= TEMPLATE_PAYLOAD_BYTES_MAX; size++) {
        struct frame frame;
        frame.size =
            template_compose_udp(frame.bytes, &client, &server, slice_of(payload, size), true);
        assert_int_equal(frame.size, size + 42 < 60 ? 60 : size + 42);
        assert_memory_equal(frame.bytes, server.mac.addr_bytes, 6);
        assert_memory_equal(frame.bytes + 6, client.mac.addr_bytes, 6);
        assert_memory_equal(frame.bytes + TEMPLATE_AT_PAYLOAD, payload, size);
        for (size_t i = 42 + size; i < frame.size; i++) {
            assert_int_equal(frame.bytes[i], 0);
        }
        assert_null(fault_without_padding(&frame));
    }
}

/* A sum of zero is sent as all ones, because zero means that there is none. */
static void test_udp_checksum_of_zero(void **state)
{
    (void)state;
    struct frame frame;
    uint8_t word[2] = {0, 0};
    (void)template_compose_udp(frame.bytes, &client, &server, slice_of(word, 2), true);
    bytes_write_be16(word, bytes_read_be16(frame.bytes + AT_L4 + 6)); /* what completes it to 0 */
    frame.size = template_compose_udp(frame.bytes, &client, &server, slice_of(word, 2), true);
    assert_int_equal(bytes_read_be16(frame.bytes + AT_L4 + 6), 0xffff);
    assert_null(fault_without_padding(&frame));
    (void)template_compose_udp(frame.bytes, &client, &server, slice_of(word, 2), false);
    assert_int_equal(bytes_read_be16(frame.bytes + AT_L4 + 6), 0);
}

/* ---- captures -------------------------------------------------------------------------------- */

static char path[] = "/tmp/template_test_XXXXXX";

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

/* The next frame of the file and its time; false at the end. */
static bool read_frame(FILE *file, struct frame *frame, uint64_t *time_us)
{
    uint32_t header[4];
    if (fread(header, sizeof(header), 1, file) != 1) {
        assert_true(feof(file));
        return false;
    }
    assert_int_equal(header[2], header[3]);
    assert_in_range(header[2], 60, TEMPLATE_FRAME_BYTES_MAX);
    frame->size = header[2];
    *time_us = header[0] * UINT64_C(1000000) + header[1];
    assert_int_equal(fread(frame->bytes, frame->size, 1, file), 1);
    return true;
}

static FILE *open_for_reading(void)
{
    static const uint8_t little[24] = {0xd4, 0xc3, 0xb2, 0xa1, 2,    0,    4, 0, 0, 0, 0, 0,
                                       0,    0,    0,    0,    0xff, 0xff, 0, 0, 1, 0, 0, 0};
    uint8_t header[24];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(header, sizeof(header), 1, file), 1);
    assert_memory_equal(header, little, sizeof(header));
    return file;
}

static void test_capture(void **state)
{
    (void)state;
    struct capture capture;
    struct frame frame;
    uint64_t time_us;
    fill_payload();
    assert_int_equal(capture_open(&capture, path), 0);
    capture_add(&capture, 1999, slice_of(payload, 60));
    capture_add(&capture, UINT64_C(7000000005) * 1000, slice_of(payload, 1472));
    assert_int_equal(capture.frame_count, 2);
    assert_int_equal(capture.smallest, 60);
    assert_int_equal(capture.largest, 1472);
    assert_int_equal(capture_close(&capture), 0);
    FILE *file = open_for_reading();
    assert_true(read_frame(file, &frame, &time_us));
    assert_int_equal(time_us, 1);
    assert_int_equal(frame.size, 60);
    assert_true(read_frame(file, &frame, &time_us));
    assert_int_equal(time_us, UINT64_C(7000000005));
    assert_memory_equal(frame.bytes, payload, 1472);
    assert_false(read_frame(file, &frame, &time_us));
    fclose(file);
}

static void test_capture_that_cannot_be_written(void **state)
{
    (void)state;
    struct capture capture;
    assert_int_equal(capture_open(&capture, "/nonexistent/file.pcap"), -ENOENT);
    assert_int_equal(capture_open(&capture, "/dev/full"), 0);
    capture_add(&capture, 0, slice_of(payload, 60));
    assert_int_equal(capture_close(&capture), -ENOSPC);
}

/* ---- sessions -------------------------------------------------------------------------------- */

struct side {
    uint32_t next; /* the sequence number that has to come */
    uint8_t bytes[20000];
    size_t size;
    bool finished;
};

/* Follows one connection, as TRex does: nothing missing, nothing twice, all acknowledged. */
static void follow(struct side *from, const struct side *to, const struct frame *frame)
{
    const uint8_t *tcp = frame->bytes + AT_L4;
    size_t header = (size_t)(tcp[12] >> 4) * 4;
    size_t size = bytes_read_be16(frame->bytes + AT_IP_TOTAL) - 20U - header;
    uint8_t flags = tcp[13];
    assert_false(from->finished && size > 0);
    if ((flags & TEMPLATE_SYN) != 0) {
        from->next = bytes_read_be32(tcp + 4);
        assert_int_equal(size, 0);
        assert_int_equal(bytes_read_be32(tcp + 20), 0x02040000 | 1460);
    }
    assert_int_equal(bytes_read_be32(tcp + 4), from->next);
    if ((flags & TEMPLATE_ACK) != 0) {
        assert_int_equal(bytes_read_be32(tcp + 8), to->next);
    }
    memcpy(from->bytes + from->size, tcp + header, size);
    from->size += size;
    from->next += (uint32_t)size + ((flags & (TEMPLATE_SYN | TEMPLATE_FIN)) != 0);
    from->finished |= (flags & TEMPLATE_FIN) != 0;
}

static struct side sides[2];

static uint32_t follow_file(void)
{
    struct frame frame;
    uint64_t time_us;
    uint32_t count = 0;
    memset(sides, 0, sizeof(sides));
    FILE *file = open_for_reading();
    while (read_frame(file, &frame, &time_us)) {
        assert_int_equal(time_us, count * UINT64_C(1000)); /* 1000 a second */
        assert_null(fault_without_padding(&frame));
        bool by_server = bytes_read_be16(frame.bytes + AT_L4) == server.port;
        follow(&sides[by_server], &sides[!by_server], &frame);
        count++;
    }
    fclose(file);
    assert_true(sides[0].finished && sides[1].finished);
    return count;
}

static struct template_session session;
static struct capture capture;
static struct schedule schedule;

static void open_session(void)
{
    assert_int_equal(capture_open(&capture, path), 0);
    schedule_init(&schedule, 0, 1000, false, 1);
    session = (struct template_session){
        .capture = &capture, .clock = &schedule, .ends = {client, server}};
    template_session_open(&session);
}

static void close_session(void)
{
    template_session_close(&session);
    assert_int_equal(capture_close(&capture), 0);
}

static void test_session_of_any_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 13, 1459, 1460, 1461, 2920, 4000};
    fill_payload();
    open_session();
    static uint8_t expected[sizeof(sides[0].bytes)];
    size_t expected_bytes = 0, answered_bytes = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t left = sizes[i], piece; left > 0; left -= piece) {
            piece = left < 100 ? left : 100;
            memcpy(expected + expected_bytes, payload + expected_bytes % 1000, piece);
            template_session_send(&session, TEMPLATE_CLIENT,
                                  slice_of(expected + expected_bytes, piece));
            expected_bytes += piece;
        }
        template_session_send(&session, TEMPLATE_SERVER, slice_of(payload, i % 3));
        answered_bytes += i % 3;
    }
    close_session();
    follow_file();
    assert_int_equal(sides[0].size, expected_bytes);
    assert_memory_equal(sides[0].bytes, expected, expected_bytes);
    assert_int_equal(sides[1].size, answered_bytes);
    assert_int_equal(session.sent_bytes[TEMPLATE_CLIENT], expected_bytes);
    assert_int_equal(session.sent_bytes[TEMPLATE_SERVER], answered_bytes);
}

static void test_session_of_nothing(void **state)
{
    (void)state;
    open_session();
    close_session();
    assert_int_equal(follow_file(), 6);
    assert_int_equal(sides[0].size + sides[1].size, 0);
}

/* What would wrap the sequence numbers is left out, and said. */
static void test_session_that_is_full(void **state)
{
    (void)state;
    open_session();
    session.sent_bytes[TEMPLATE_SERVER] = TEMPLATE_SESSION_BYTES_MAX - 5;
    template_session_send(&session, TEMPLATE_SERVER, SLICE_LITERAL("12345"));
    assert_false(session.full);
    template_session_send(&session, TEMPLATE_SERVER, SLICE_LITERAL("6"));
    assert_true(session.full);
    template_session_send(&session, TEMPLATE_CLIENT, SLICE_LITERAL("7"));
    close_session();
    follow_file();
    assert_int_equal(sides[0].size, 0);
    assert_int_equal(sides[1].size, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_udp_of_every_size),
        cmocka_unit_test(test_udp_checksum_of_zero),
        cmocka_unit_test(test_capture),
        cmocka_unit_test(test_capture_that_cannot_be_written),
        cmocka_unit_test(test_session_of_any_sizes),
        cmocka_unit_test(test_session_of_nothing),
        cmocka_unit_test(test_session_that_is_full),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
