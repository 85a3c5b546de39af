/* The conversation that fuzz_tcp_segments holds with the stack: what its parts share.
 *
 *   fuzz_tcp_segments.c   reads the input, step by step; the session
 *   peer_segments.c       TCP segments, whole and in fragments, in odd wrappings
 *   peer_messages.c       ARP, neighbour discovery, ICMP of both families, listener queries
 *   conversation_checks.c what must hold after every step
 */
#ifndef NICACHED_TESTS_FUZZ_CONVERSATION_H
#define NICACHED_TESTS_FUZZ_CONVERSATION_H

#include "tests/support/packet_builder.h"
#include "tests/support/tcp_bench.h"

#define UNSENT_MAX           12000U
#define BATCH_MAX            8U
#define SEGMENT_BYTES_MIN    48U
#define BARE_FRAMES_A_STEP   3U  /* without text: an answer, a reset, a window update */
#define BARE_FRAMES_A_PAUSE  40U /* probes and retransmitted SYNs of 100 s */
#define OTHER_FRAMES_A_STEP  6U  /* no TCP, for each frame that came: an answer, requests */
#define OTHER_FRAMES_A_PAUSE 80U
#define TEXT_FRAMES_MAX      (2U * UNSENT_MAX / (SEGMENT_BYTES_MIN - TCP_TIMESTAMPS_BYTES))
#define VLAN                 7U
#define OWN                  2
#define PEER                 1

struct input {
    const uint8_t *at, *end;
};

/* What is odd below TCP about the next frames. */
struct wrapping {
    uint32_t frames; /* so many */
    uint8_t headers; /* which options or extension headers; see peer_segments.c */
    uint8_t tag, station;
    bool overheard;             /* another worker answers them */
    uint8_t changed_at, change; /* one byte of the last frame; 0: so many are missing at its end */
};

struct conversation {
    struct tcp_bench *b;
    bool ipv6, tagged;
    bool routed;           /* the peer is beyond the gateway, whose station talks for it */
    struct address peer;   /* the other end */
    struct stream *stream; /* the one that the session has */
    /* One that it had, whose end it hears of in this pass: with a cookie the next one may be there
     * already. */
    struct stream *ending;
    uint16_t port, peer_port;
    bool active, opened, finished, close_asked;
    bool opened_now; /* in the last step */
    bool hold;
    uint32_t receive_seq; /* of the next byte to be delivered */
    uint32_t iss, written;
    uint32_t peer_stamp, syn_stamp;
    uint16_t next_id;
    struct wrapping wrapping;
    bool edge_known;
    /* Of which connection the edge is. The next one of the same moment has the same ISS, but was
     * perhaps offered other options; with a cookie it may even begin in the step that ends this. */
    uint32_t edge_iss;
    uint8_t edge_shift;
    uint32_t edge;                   /* right edge that the stack has advertised */
    uint32_t arrived;                /* frames of the last pass */
    uint32_t batch_window;           /* the largest that one of the queued segments may have set */
    uint32_t reached;                /* right edge that the peer has advertised, relative to iss */
    bool was_mute;                   /* the peer did not answer for itself at some time */
    struct rte_ether_addr known_mac; /* the peer's (the gateway's), as the stack had it */
    bool mac_known;
    uint32_t path_iss; /* of the connection that path_mtu is of */
    uint16_t path_mtu;
    uint16_t told_mtu; /* the smallest that one who may be believed spoke of since the last step */
    uint32_t other_count; /* frames sent since then that are no TCP */
};

static inline uint8_t take(struct input *input)
{
    return input->at < input->end ? *input->at++ : 0;
}

/* The text of both sides, by its sequence number. */
static inline uint8_t byte_at(uint32_t seq)
{
    return (uint8_t)((seq * 0x9E3779B1U) >> 24);
}

static inline uint32_t near(uint32_t base, int8_t offset, bool far)
{
    return base + (uint32_t)((int32_t)offset * (far ? 128 : 1));
}

struct address own_address(const struct conversation *v);
/* NULL when there is none. */
struct tcp_connection *connection_of(const struct conversation *v);

/* ---- peer_segments.c ---------------------------------------------------------------------------
 */

/* Takes options, extension headers, tag and sender of the next frames. */
void choose_wrapping(struct conversation *v, struct input *input);
/* An untagged frame, wrapped, into the next pass. */
void queue_wrapped(struct conversation *v, const uint8_t *frame, uint32_t bytes);
/* The same, and the pass. */
void inject_wrapped(struct conversation *v, const uint8_t *frame, uint32_t bytes);
/* Into pieces of `size` bytes. One of them (`which`) may be missing, repeated, contradict the
 * others or lie about itself. */
enum {
    CUT_BACKWARDS = 1,
    CUT_MISSING = 2,
    CUT_SHIFTED = 4, /* has other bytes than belong there */
    CUT_REPEATED = 8,
    CUT_REPEATED_SHIFTED = 16,
};
enum {
    FRAGMENT_LIES_LAST = 1, /* it is the last, or is not */
    FRAGMENT_LIES_FAR = 2,  /* it lies at the end of what can be */
};
struct cut {
    uint32_t size;
    uint8_t how, which, lies;
};
/* The part of `whole` behind the IP header; `whole` may be larger than a frame. */
void queue_fragments(struct conversation *v, const uint8_t *whole, uint32_t payload_bytes,
                     const struct cut *cut);
/* What is queued arrives. */
void arrive(struct conversation *v);
uint32_t choose_ack(const struct conversation *v, const struct tcp_connection *c, uint8_t how,
                    int8_t offset);
/* The options that a handshake of the kind offers; `to` has room for 44 bytes. Returns the size. */
uint32_t write_options(struct conversation *v, struct input *input, uint8_t kind, uint8_t *to);
/* `later`: together with the segment that comes next. */
void inject(struct conversation *v, struct probe *p, uint32_t text_bytes, bool later);
void odd_segment(struct conversation *v, struct input *input, bool later);
void proper_segment(struct conversation *v, struct input *input);
void fragmented_segment(struct conversation *v, struct input *input);

/* ---- peer_messages.c: each is one frame and one pass -------------------------------------------
 */

void arp_message(struct conversation *v, struct input *input);
void neighbour_message(struct conversation *v, struct input *input);
void icmp_message(struct conversation *v, struct input *input);
void listener_message(struct conversation *v, struct input *input);

/* ---- conversation_checks.c ---------------------------------------------------------------------
 */

/* What the stack sent is right and not more than `bare_max` segments without text and `other_max`
 * frames that are no TCP; its state is sound. */
void check_step(struct conversation *v, uint32_t bare_max, uint32_t other_max);
/* Every entry of the neighbour table is sound: more work than check_step's, for once. */
void check_table(const struct conversation *v);
/* All has come to its end. */
void check_end(const struct conversation *v);
/* Every frame that leaves: tcp_bench's on_frame. */
void check_frame(struct tcp_bench *b, const struct rte_mbuf *mbuf);

#endif
