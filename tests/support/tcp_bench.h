/* A bench for TCP: one stack, a peer made of explicit segments, explicit time, and constructors
 * that bring a connection into each state.
 *
 *   struct tcp_bench *b = bench_established(NULL);
 *   bench_inject(b, &(struct probe){.flags = TCP_RST, .seq = b->peer_nxt + 10});
 *   assert_int_equal(b->sent_count, 1);          (a challenge ACK)
 *   bench_destroy(b);
 *
 * Each inject and each advance forgets what was sent and which events there were before it.
 */
#ifndef NICACHED_TESTS_SUPPORT_TCP_BENCH_H
#define NICACHED_TESTS_SUPPORT_TCP_BENCH_H

#include "dataplane/l4_transport/tcp_internal.h"
#include "tests/support/simulated_host.h"

#define BENCH_SEGMENTS_MAX 512U
#define BENCH_TEXT_MAX     (1U << 20)
#define BENCH_FRAME_MAX    2048U
#define BENCH_PORT         7000
#define BENCH_PEER_PORT    40000
#define BENCH_PEER_ISS     0xFFFFFF00U /* wraps within the first bytes of every test */

struct probe {
    uint8_t flags;
    uint32_t seq, ack;
    uint16_t window; /* 0: 65535, unless zero_window */
    bool zero_window, bad_checksum;
    const void *text;
    uint32_t text_bytes;
    struct slice options;     /* raw; a multiple of 4 */
    uint8_t header_words;     /* 0: the right one */
    uint16_t port, peer_port; /* 0: BENCH_PORT, BENCH_PEER_PORT */
    uint16_t urgent;
    bool ipv6;
    const struct address *peer; /* NULL: the peer's address on the link */
};

struct sent_segment {
    uint8_t flags;
    uint32_t seq, ack;
    uint16_t window, port, peer_port;
    struct tcp_header_options options;
    const uint8_t *text;               /* in sent_text */
    uint32_t text_bytes, packet_bytes; /* packet: from the IP header on */
    uint64_t at_us;
    bool checksum_right;
};

struct tcp_bench {
    struct simulated_host host;
    uint64_t now_us;
    struct stream *stream; /* the connection, once STREAM_OPENED or by active open */
    uint32_t own_iss;      /* of the last SYN seen from the stack */
    uint32_t own_nxt;      /* one past the highest sent by the stack */
    uint32_t peer_nxt;     /* next sequence number of the peer; constructors keep it */
    /* Since the last inject or advance: */
    struct sent_segment sent[BENCH_SEGMENTS_MAX];
    uint32_t sent_count;
    uint8_t *sent_text;
    uint32_t sent_text_bytes;
    uint32_t opened, finished, drained, closed;
    /* All text received since the connection opened. */
    uint8_t *text;
    uint32_t text_bytes;
    struct rte_mbuf *queued[SIMULATED_BURST]; /* frames that arrive in the next pass */
    uint32_t queued_count;
    bool hold;           /* the session keeps what it gets: unread_bytes grows */
    uint32_t part_bytes; /* not 0: queued frames are chains of buffers with so much each */
    bool exact;          /* and each buffer is of just its size: ASan sees what is read beyond */
    bool overheard;      /* and another worker answers them */
    bool mute;           /* the peer answers no requests of neighbours */
    /* Sees every frame that the stack sends; may be NULL. */
    void (*on_frame)(struct tcp_bench *b, const struct rte_mbuf *frame);
    uint64_t pass_count;
};

/* `options` NULL: the defaults with keepalive off. All of them listen on BENCH_PORT. */
struct tcp_bench *bench_create(const struct tcp_options *options);
void bench_destroy(struct tcp_bench *b);
struct tcp_options bench_options(void);

void bench_inject(struct tcp_bench *b, const struct probe *probe);
/* Arrives together with what is injected next, before it. At most SIMULATED_BURST - 1. */
void bench_queue(struct tcp_bench *b, const struct probe *probe);
/* Text at peer_nxt, acknowledging everything; moves peer_nxt. */
void bench_say(struct tcp_bench *b, const char *text);
/* ACK of everything sent so far. */
void bench_acknowledge(struct tcp_bench *b);
/* The session writes, or asked for something: one pass. */
void bench_write(struct tcp_bench *b, const void *data, size_t size);
void bench_touch(struct tcp_bench *b);
/* Moves the clock, stopping wherever a timer is due. */
void bench_advance(struct tcp_bench *b, uint64_t us);
void bench_forget(struct tcp_bench *b);
/* The frame of a segment; `frame` has room for BENCH_FRAME_MAX, zeroed. Returns its bytes. */
uint32_t bench_compose(const struct probe *probe, uint8_t *frame);
void bench_queue_frame(struct tcp_bench *b, const uint8_t *frame, uint32_t bytes);
/* A frame as it is, L2 on. */
void bench_inject_frame(struct tcp_bench *b, const uint8_t *frame, uint32_t bytes);

enum tcp_state bench_state(const struct tcp_bench *b);
struct tcp_connection *bench_connection(struct tcp_bench *b);

/* The handshake's options: MSS 1460 alone, unless said otherwise. */
struct tcp_bench *bench_established_with(const struct tcp_options *options,
                                         struct slice syn_options);
struct tcp_bench *bench_established(const struct tcp_options *options);
struct tcp_bench *bench_syn_received(const struct tcp_options *options);
struct tcp_bench *bench_syn_sent(const struct tcp_options *options);
struct tcp_bench *bench_close_wait(const struct tcp_options *options);
struct tcp_bench *bench_fin_wait_1(const struct tcp_options *options);
struct tcp_bench *bench_fin_wait_2(const struct tcp_options *options);
struct tcp_bench *bench_closing(const struct tcp_options *options);
struct tcp_bench *bench_last_ack(const struct tcp_options *options);
struct tcp_bench *bench_time_wait(const struct tcp_options *options);

#endif
