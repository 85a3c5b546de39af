/* What the files of TCP share among themselves.
 *
 *   tcp.c              create, destroy, listen, connect, the calls of a pass
 *   tcp_connection.c   life of a connection: acquire, state changes, end, events
 *   tcp_input.c        validation, look-up, fast path
 *   tcp_input_slow.c   RFC 9293 3.10.7, step by step
 *   tcp_handshake.c    SYN in, SYN and SYN,ACK out
 *   tcp_cookie.c       SYN cookies as numbers
 *   tcp_receive.c      text and FIN of the peer: delivery, reassembly, what to acknowledge
 *   tcp_acknowledge.c  what the peer's ACK says: consumption, round-trip time, windows
 *   tcp_recovery.c     loss: found, sent again, undone; tcp_flight.c: what is under way
 *   tcp_congestion.c   the window's growth; tcp_cubic.c, tcp_newreno.c: the algorithms
 *   tcp_output.c       what to send and when
 *   tcp_compose.c      a segment as bytes
 *   tcp_timer.c        everything that time brings
 *   tcp_icmp.c         ICMP errors about segments of ours
 */
#ifndef NICACHED_L4_TRANSPORT_TCP_INTERNAL_H
#define NICACHED_L4_TRANSPORT_TCP_INTERNAL_H

#include <netinet/in.h>

#include "dataplane/base/check.h"
#include "dataplane/base/checksum.h"
#include "dataplane/base/due_queue.h"
#include "dataplane/base/hash.h"
#include "dataplane/base/object_pool.h"
#include "dataplane/l4_transport/tcp.h"
#include "dataplane/l4_transport/tcp_connection.h"
#include "dataplane/l4_transport/tcp_cookie.h"
#include "dataplane/l4_transport/tcp_flight.h"
#include "dataplane/l4_transport/tcp_options.h"
#include "dataplane/l4_transport/tcp_reassembly.h"
#include "dataplane/l4_transport/tcp_secret.h"
#include "dataplane/l4_transport/tcp_table.h"

#define TCP_LISTENERS_MAX       16U
#define TCP_HEADER_BYTES        20U
#define TCP_MSS_DEFAULT         536U
#define TCP_IPV4_HEADERS_BYTES  40U
#define TCP_IPV6_HEADERS_BYTES  60U
#define TCP_PATH_MTU_MIN        552U
#define TCP_PATH_MTU_MIN_IPV6   1280U
#define TCP_DUPLICATE_THRESHOLD 3U
#define TCP_WINDOW_BYTES_MAX    (1U << 30)
#define TCP_RTO_INITIAL_US      1000000U
#define TCP_RTO_MAX_US          60000000U
#define TCP_RETRIES_MAX         15U
#define TCP_SYN_RETRIES_MAX                                                                        \
    6U /* active: 1 + 2 + ... + 64 s; R2 is at least 3 min with the last                           \
        */
#define TCP_SYN_ACK_RETRIES_MAX   5U
#define TCP_KEEPALIVE_PROBES_MAX  3U
#define TCP_CHALLENGES_PER_SECOND 10U
#define TCP_INPUT_STAGE           32U /* segments taken through each stage together */

enum tcp_flag {
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
    TCP_URG = 0x20,
};

/* A received segment. Text that lies in one piece is at `text`; otherwise `text` is NULL and the
 * bytes are in the mbuf chain from `header_bytes` on. seq, text_bytes, skip and flags shrink when
 * the segment is trimmed to the window. */
struct tcp_segment {
    struct ip_datagram *datagram;
    const uint8_t *header;
    uint64_t hash;
    const struct tcp_bucket *bucket; /* of the hash; a split may have moved it on since */
    uint32_t seq, ack;
    uint32_t text_bytes;
    uint32_t skip;       /* text bytes cut from the front */
    const uint8_t *text; /* before `skip` */
    uint16_t window;     /* as in the header */
    uint16_t local_port, peer_port;
    uint8_t flags;
    uint8_t header_bytes;
    struct tcp_header_options options; /* parsed on the slow path only */
};

TAILQ_HEAD(tcp_time_wait_list, tcp_connection);

struct tcp_listener {
    uint16_t port;
    uint32_t listener;
};

struct tcp {
    struct tcp_options options;
    struct net *net;
    struct metrics *metrics;
    struct stream_list dirty;
    struct stream *sending; /* those of the dirty ones that tcp_output has still to look at */
    struct tcp_table table;
    struct timer_wheel wheel;
    struct due_queue awaiting; /* connections with text under way: tcp_timer.c */
    struct object_pool connections;
    struct tcp_flight_pools flights;
    const struct tcp_congestion_control *congestion;
    struct tcp_reassembly_budget reassembly;
    struct tcp_secret secret;
    struct tcp_cookies cookies;
    uint64_t random_state;
    uint64_t pass;
    uint32_t cut_segments; /* of this pass, in packets that ports cut */
    uint32_t connection_count, half_open_count, time_wait_count;
    uint32_t orphan_count; /* detached, and not in TIME-WAIT */
    uint32_t listener_count;
    struct tcp_listener listeners[TCP_LISTENERS_MAX];
    uint8_t receive_shift;
    uint16_t port_next;
    struct tcp_time_wait_list time_wait;            /* oldest first */
    struct tcp_connection *pending, **pending_tail; /* events that found no room, or wait for the
                                                 next pass */
    struct tcp_connection *dead;                    /* freed by tcp_release */
    struct rte_mbuf **held;                         /* packets of this pass */
    uint32_t held_count, held_max;
};

/* ---- tcp_connection.c ------------------------------------------------------------------------ */

/* Everything but its place in the table: enough to answer with. */
void tcp_connection_init(struct tcp *tcp, struct tcp_connection *c, const struct endpoint *local,
                         const struct endpoint *peer, struct net_interface *interface,
                         const struct instant *now);
struct tcp_connection *tcp_connection_acquire(struct tcp *tcp, const struct endpoint *local,
                                              const struct endpoint *peer,
                                              struct net_interface *interface,
                                              const struct instant *now);
void tcp_set_state(struct tcp *tcp, struct tcp_connection *c, enum tcp_state state);
/* Counts the connection for its source. False: the source has too many. */
bool tcp_enter_source(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
/* To CLOSED, without sending anything. The session's last event goes into `events` if there is
 * room, else it follows later (NULL: later). */
void tcp_connection_end(struct tcp *tcp, struct tcp_connection *c, struct tcp_events *events);
void tcp_enter_time_wait(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
void tcp_restart_time_wait(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
/* The session is through with the stream: its STREAM_CLOSED comes in the next pass. False: there
 * are too many such connections, and this one was reset. */
bool tcp_detach_session(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
static inline struct stream_event *tcp_emit(struct tcp_events *events, struct tcp_connection *c,
                                            enum stream_event_type type, struct slice data)
{
    CHECK(events->count < events->count_max);
    struct stream_event *event = &events->events[events->count++];
    *event = (struct stream_event){.stream = &c->stream, .type = type, .data = data};
    return event;
}
void tcp_queue_pending(struct tcp *tcp, struct tcp_connection *c);
void tcp_emit_pending(struct tcp *tcp, struct tcp_events *events);
void tcp_free_dead(struct tcp *tcp);
void tcp_move_timer(struct tcp *tcp, struct tcp_connection *c, uint64_t due_us);

/* Arms the connection's timer for `due_us`, which one of its due times is, or TCP_NEVER, if it is
 * not armed for an earlier time. */
static inline void tcp_arm_timer(struct tcp *tcp, struct tcp_connection *c, uint64_t due_us)
{
    if (UNLIKELY(due_us < c->timer_due)) {
        tcp_move_timer(tcp, c, due_us);
    }
}

static inline bool tcp_events_have_room(const struct tcp_events *events)
{
    return events->count < events->count_max;
}

/* Nobody needs to look whether its text was acknowledged. */
static inline void tcp_stop_awaiting(struct tcp *tcp, struct tcp_connection *c)
{
    if (c->awaiting_place != 0) {
        due_queue_drop(&tcp->awaiting, c->awaiting_place);
        c->awaiting_place = 0;
    }
}

/* Nothing is under way any more, and the peer had nothing to say with it: it rests. A timer that
 * was armed for what was under way goes back to what else it is armed for now that the connection
 * is in the cache; left to fire, it would find it in memory. */
static inline void tcp_rest(struct tcp *tcp, struct tcp_connection *c)
{
    tcp_stop_awaiting(tcp, c);
    if (UNLIKELY(c->flight_timed)) {
        c->flight_timed = false;
        tcp_move_timer(tcp, c, c->idle_due < c->ack_due ? c->idle_due : c->ack_due);
    }
}

static inline uint32_t tcp_timestamp(const struct tcp_connection *c, const struct instant *now)
{
    return (uint32_t)(now->mono_us / 1000U) + c->ts_offset;
}

/* Times that an idle connection keeps in 32 bits: 49 days in steps of 1 ms, 2 years in steps of 16
 * ms. */
static inline uint32_t tcp_send_tick(const struct instant *now)
{
    return (uint32_t)(now->mono_us >> 10);
}

#define TCP_RECEIVE_TICK_BITS 14
static inline uint32_t tcp_receive_tick(const struct instant *now)
{
    return (uint32_t)(now->mono_us >> TCP_RECEIVE_TICK_BITS);
}

/* The pseudo-header without the length. What the prefix of two IPv4 addresses adds is nothing. */
static inline uint64_t tcp_pseudo_sum(bool ipv4, const struct address *one,
                                      const struct address *other)
{
    if (UNLIKELY(!ipv4)) {
        return checksum_pseudo(one, other, IPPROTO_TCP, 0);
    }
    uint32_t words[2];
    memcpy(&words[0], one->bytes + 12, 4);
    memcpy(&words[1], other->bytes + 12, 4);
    return (uint64_t)words[0] + words[1] + rte_cpu_to_be_32(IPPROTO_TCP);
}

/* Answers go to the station that the last good segment came from. */
static inline void tcp_follow_station(struct tcp_connection *c, const struct ip_datagram *datagram)
{
    if (UNLIKELY(!rte_is_same_ether_addr(&c->station, &datagram->source_mac))) {
        c->station = datagram->source_mac;
        c->station_known = true;
    }
}

/* ---- tcp_input.c, tcp_input_slow.c, tcp_handshake.c ------------------------------------------ */

void tcp_input_slow(struct tcp *tcp, struct tcp_connection *c, struct tcp_segment *segment,
                    const struct instant *now, struct tcp_events *events);
/* No connection: RFC 9293 3.10.7.1 and 3.10.7.2. */
void tcp_input_unconnected(struct tcp *tcp, struct tcp_segment *segment, const struct instant *now,
                           struct tcp_events *events);
void tcp_challenge(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);

/* `before`: the connection in TIME-WAIT that gave way, or NULL. */
void tcp_accept_syn(struct tcp *tcp, struct tcp_segment *segment, uint32_t listener,
                    const struct tcp_connection *before, const struct instant *now);
/* An ACK to a listener that bears a valid cookie: the connection, in SYN-RECEIVED, as if it had
 * been there since the SYN; the segment is still to be taken. NULL: it bears none. */
struct tcp_connection *tcp_accept_cookie(struct tcp *tcp, const struct tcp_segment *segment,
                                         uint32_t listener, const struct instant *now);
bool tcp_find_listener(const struct tcp *tcp, uint16_t port, uint32_t *listener);
void tcp_input_syn_sent(struct tcp *tcp, struct tcp_connection *c, struct tcp_segment *segment,
                        const struct instant *now, struct tcp_events *events);
/* RFC 6191: whether this SYN may end the TIME-WAIT. */
bool tcp_syn_may_reuse(const struct tcp_connection *c, const struct tcp_segment *segment);
void tcp_establish(struct tcp *tcp, struct tcp_connection *c, const struct tcp_segment *segment,
                   const struct instant *now, struct tcp_events *events);
bool tcp_send_syn(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
void tcp_start_active(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
void tcp_update_segment_size(struct tcp *tcp, struct tcp_connection *c);

/* ---- tcp_receive.c ----------------------------------------------------------------------------
 */

/* Text at RCV.NXT, in one piece, nothing out of order: straight to the session. */
void tcp_receive_in_order(struct tcp *tcp, struct tcp_connection *c, struct tcp_segment *segment,
                          struct tcp_events *events);
/* Any text inside the window. */
void tcp_receive_text(struct tcp *tcp, struct tcp_connection *c, struct tcp_segment *segment,
                      const struct instant *now, struct tcp_events *events);
void tcp_receive_fin(struct tcp *tcp, struct tcp_connection *c, const struct instant *now,
                     struct tcp_events *events);
/* Hands stored text and the end of the stream up while there is room. True: all of it. */
bool tcp_deliver_stored(struct tcp *tcp, struct tcp_connection *c, struct tcp_events *events,
                        uint32_t slices_max);
/* Right edge that may be advertised now. */
uint32_t tcp_find_receive_edge(const struct tcp *tcp, const struct tcp_connection *c);

/* Receiver's silly window avoidance (RFC 9293 3.8.6.2.2): smaller steps are kept back. */
static inline uint32_t tcp_receive_step(const struct tcp *tcp, const struct tcp_connection *c)
{
    uint32_t half = tcp->options.receive_buffer_bytes_max / 2;
    return half < c->offered_mss ? half : c->offered_mss;
}

/* As long as even an empty buffer is not worth a step, the edge is the old one. */
static inline uint32_t tcp_receive_edge(const struct tcp *tcp, const struct tcp_connection *c)
{
    uint32_t open = c->rcv_adv - c->rcv_nxt, most = tcp->options.receive_buffer_bytes_max;
    bool stays = open <= most && most - open < tcp_receive_step(tcp, c);
    return LIKELY(stays) ? c->rcv_adv : tcp_find_receive_edge(tcp, c);
}
/* Out-of-order text is forgotten, if there is any. */
void tcp_drop_reassembly(struct tcp *tcp, struct tcp_connection *c);

/* ---- tcp_acknowledge.c, tcp_congestion.c ------------------------------------------------------
 */

/* An acceptable ACK: una <= ack <= nxt. */
void tcp_process_ack(struct tcp *tcp, struct tcp_connection *c, const struct tcp_segment *segment,
                     const struct instant *now, struct tcp_events *events);
/* The same of a connection to which nothing special happens (tcp_is_plain), without SACK blocks:
 * what most are is told in a few lines. */
void tcp_process_plain_ack(struct tcp *tcp, struct tcp_connection *c,
                           const struct tcp_segment *segment, const struct instant *now,
                           struct tcp_events *events);
void tcp_rtt_sample(struct tcp_connection *c, uint32_t rtt_us, uint32_t rto_min_us);

/* For RACK; one that was seen long ago does not count (in steps of 1.05 s). */
#define TCP_RTT_MIN_SECONDS 300U
static inline void tcp_note_smallest_rtt(struct tcp_connection *c, uint32_t rtt_us,
                                         const struct instant *now)
{
    uint16_t second = (uint16_t)(now->mono_us >> 20);
    if (c->rtt_min_us == 0 || rtt_us <= c->rtt_min_us ||
        (uint16_t)(second - c->rtt_min_second) > TCP_RTT_MIN_SECONDS) {
        c->rtt_min_us = rtt_us > 0 ? rtt_us : 1;
        c->rtt_min_second = second;
    }
}
/* The ACK of our SYN. */
void tcp_measure_round_trip(struct tcp *tcp, struct tcp_connection *c,
                            const struct tcp_segment *segment, const struct instant *now);

void tcp_congestion_init(struct tcp_connection *c);
void tcp_congestion_restart_idle(const struct tcp *tcp, struct tcp_connection *c);
/* Before anything looks at the congestion window. A lone reply fits any window, so one that leaves
 * after a silence only notes what the silence means for cwnd (RFC 5681 4.1), which is not in the
 * cache then. */
static inline void tcp_settle_window(const struct tcp *tcp, struct tcp_connection *c)
{
    if (UNLIKELY(c->cwnd_stale)) {
        c->cwnd_stale = false;
        tcp_congestion_restart_idle(tcp, c);
    }
}
/* A round trip was measured. */
void tcp_congestion_note_rtt(struct tcp_connection *c, uint32_t rtt_us);
/* `acked` bytes were acknowledged, outside of fast recovery. */
void tcp_congestion_grow(const struct tcp *tcp, struct tcp_connection *c, uint32_t acked,
                         const struct instant *now);

/* ---- tcp_recovery.c ----------------------------------------------------------------------------
 */

/* An ACK, first: what it delivers, before SND.UNA moves. */
void tcp_recovery_take_ack(struct tcp *tcp, struct tcp_connection *c,
                           const struct tcp_segment *segment, struct tcp_flight_news *news);
/* Then, after SND.UNA has moved by `acked`: losses, windows, states. `duplicate`: RFC 5681 section
 * 2. Returns the time until text that is late counts as lost; 0: none is late. */
uint32_t tcp_recovery_on_ack(struct tcp *tcp, struct tcp_connection *c,
                             const struct tcp_segment *segment, const struct tcp_flight_news *news,
                             uint32_t acked, bool duplicate, const struct instant *now);
/* The same where the whole flight is plain: no loss, no report, no probe. `c->retries` is still
 * that of before. */
void tcp_recovery_on_plain_ack(struct tcp *tcp, struct tcp_connection *c, uint32_t acked,
                               const struct instant *now);
/* That time is over. Returns the same. */
uint32_t tcp_recovery_on_reorder_timer(struct tcp *tcp, struct tcp_connection *c,
                                       const struct instant *now);
/* The retransmission timer has run out: everything is lost, slow start. */
void tcp_recovery_on_timeout(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
/* Everything goes again, for another reason than congestion. */
void tcp_recovery_resend_all(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
/* New text left, from SND.NXT (which has not moved yet) to `end`; text was sent again. */
void tcp_recovery_on_sent(struct tcp *tcp, struct tcp_connection *c, uint32_t end,
                          const struct instant *now);
void tcp_recovery_on_resent(struct tcp *tcp, struct tcp_connection *c, uint32_t start, uint32_t end,
                            const struct instant *now);
/* Whether new text may be sent: its time has a place. */
bool tcp_recovery_has_room(struct tcp *tcp, struct tcp_connection *c);
/* PRR for `delivered` bytes. */
void tcp_recovery_reduce(struct tcp_connection *c, uint32_t delivered, bool safe);
uint32_t tcp_reorder_window_us(const struct tcp_connection *c);
void tcp_recovery_forget_flight(struct tcp *tcp, struct tcp_connection *c);
/* Bytes in the network, as far as one can know; bytes to be sent again. */
uint32_t tcp_pipe_bytes(const struct tcp_connection *c);
uint32_t tcp_lost_bytes(const struct tcp_connection *c);

/* ---- tcp_output.c, tcp_compose.c --------------------------------------------------------------
 */

/* Retransmissions, new text, FIN: what the windows allow. */
void tcp_transmit(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
/* The first lost segment, whatever the windows say. */
void tcp_resend_first(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
/* Tail loss probe: new text if there is some, else the last segment. */
void tcp_send_probe(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
/* Everything that is due for one connection. */
void tcp_output_connection(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);

/* One segment of the connection; text is copied from stream.out. False: no buffer. */
bool tcp_send_segment(struct tcp *tcp, struct tcp_connection *c, uint32_t seq, uint32_t text_bytes,
                      uint8_t flags, const struct instant *now);
void tcp_send_handshake(struct tcp *tcp, struct tcp_connection *c, uint8_t flags, uint16_t window,
                        const struct tcp_header_options *options, const struct instant *now);
bool tcp_send_ack(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
/* RST,ACK at SND.NXT. */
void tcp_send_reset(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
/* Answers a segment that belongs to no connection (RFC 9293 3.10.7.1), or bears a bad ACK. */
void tcp_send_reset_reply(struct tcp *tcp, const struct tcp_segment *segment);
void tcp_send_probe_segment(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);

/* ---- tcp_timer.c, tcp_icmp.c -------------------------------------------------------------------
 */

void tcp_arm_retransmit(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
void tcp_arm_reorder(struct tcp *tcp, struct tcp_connection *c, uint32_t wait_us,
                     const struct instant *now);
void tcp_arm_persist(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
void tcp_arm_delayed_ack(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
void tcp_arm_idle(struct tcp *tcp, struct tcp_connection *c, const struct instant *now);
static inline uint32_t tcp_rto_us(const struct tcp_connection *c)
{
    uint64_t rto = (uint64_t)c->rto_us << (c->backoff < 16 ? c->backoff : 16);
    return rto > TCP_RTO_MAX_US ? TCP_RTO_MAX_US : (uint32_t)rto;
}
void tcp_take_icmp_notices(struct tcp *tcp, const struct instant *now);

#endif
