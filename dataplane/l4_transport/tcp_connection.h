/* One connection. The names of RFC 9293 3.3.1 are used as they stand there.
 *
 *   stream    what the session sees: a line with the four-tuple, a line with what is to be sent
 *   hot       two lines: with those of the stream all that a segment in order, the reply to it and
 *             that one's ACK read or write, as long as nothing special happens (tcp_is_plain)
 *   cold      the timer, loss recovery, congestion control, handshake, closing
 *
 *   1         2          3          4              1          2          3
 *   ----------|----------|----------|---           ----------|----------|-----
 *          SND.UNA    SND.NXT    SND.UNA                  RCV.NXT    RCV.ADV
 *                                +SND.WND                 (the right edge we advertised: never
 * back)
 */
#ifndef NICACHED_L4_TRANSPORT_TCP_CONNECTION_H
#define NICACHED_L4_TRANSPORT_TCP_CONNECTION_H

#include <assert.h>
#include <sys/queue.h>

#include <rte_prefetch.h>

#include "dataplane/base/stream.h"
#include "dataplane/base/timer_wheel.h"
#include "dataplane/l3_ip/net.h"
#include "dataplane/l4_transport/tcp_congestion.h"
#include "dataplane/l4_transport/tcp_sequence.h"
#include "dataplane/l4_transport/tcp_state.h"

#define TCP_LINE_BYTES 64
#define TCP_NEVER      UINT64_MAX

struct tcp_reassembly;
struct tcp_flight;

/* Loss recovery: tcp_recovery.c. */
enum tcp_recovery {
    TCP_RECOVERY_NONE,
    TCP_RECOVERY_FAST,    /* by RACK or duplicate ACKs, until recovery_point is acknowledged */
    TCP_RECOVERY_TIMEOUT, /* by the retransmission timer, until the same; slow start */
};

/* What retransmit_due is for, when something is under way. */
enum tcp_due {
    TCP_DUE_TIMEOUT, /* RTO */
    TCP_DUE_PROBE,   /* of the tail (RFC 8985 7) */
    TCP_DUE_REORDER, /* text that was late then is lost (RFC 8985 6.3) */
};

/* The tail loss probe that is out. */
enum tcp_probe {
    TCP_PROBE_NONE,
    TCP_PROBE_NEW,   /* new text */
    TCP_PROBE_AGAIN, /* the last segment again */
};

/* F-RTO (RFC 5682) after a timeout: which ACK it waits for. */
enum tcp_frto {
    TCP_FRTO_NONE,
    TCP_FRTO_FIRST,  /* the first segment was sent again */
    TCP_FRTO_SECOND, /* new text goes out instead of the lost */
};

struct tcp_connection {
    struct stream stream; /* the four-tuple; what is to be sent */
    union {
        struct tcp_connection *table_next;
        struct tcp_connection *dead_next; /* out of the table */
    };

    /* hot line 1: sequence variables, round trips (RFC 6298) */
    _Alignas(TCP_LINE_BYTES) uint32_t snd_una;
    uint32_t snd_nxt; /* one past the highest sent: never goes back */
    uint32_t snd_wnd; /* scaled */
    uint32_t snd_wl1; /* (SND.WL2 is at most SND.UNA: an older ACK is not taken) */
    uint32_t rcv_nxt;
    uint32_t rcv_adv;       /* right edge of the window as the peer knows it */
    uint32_t last_ack_sent; /* RFC 7323 */
    uint32_t ts_recent, ts_offset;
    uint32_t rcv_unacknowledged; /* text received since the last ACK left */
    uint32_t srtt_us, rttvar_us, rto_us;
    uint32_t rtt_min_us;     /* the smallest round trip */
    uint32_t flight_sent_us; /* lower half of the time */
    uint32_t last_send;      /* as tcp_send_tick counts */

    /* hot line 2: course, time, the way */
    _Alignas(TCP_LINE_BYTES) union {
        struct {
            uint8_t state;      /* enum tcp_state */
            uint8_t recovery;   /* enum tcp_recovery */
            uint8_t probe;      /* enum tcp_probe */
            bool detached;      /* the session is through with it: no events but the last one; FIN
                                   follows      the last byte */
            bool peer_fin_seen; /* FIN received at rcv_fin, possibly ahead of rcv_nxt */
            bool has_flight : 1, has_reassembly : 1; /* each says whether its pointer is set */
            uint16_t dupacks;                        /* with SACK: ACKs that told of more text */
        };
        uint64_t course; /* all of them in one look: tcp_is_plain */
    };
    uint64_t retransmit_due; /* enum tcp_due; persist, SYN */
    uint64_t ack_due;
    uint64_t awaiting_place; /* in tcp->awaiting; 0: it is not there */
    struct net_interface *interface;
    struct rte_ether_addr station;
    uint16_t snd_mss;         /* text per segment, options of a plain segment already off */
    uint32_t last_receive;    /* as tcp_receive_tick counts */
    uint16_t rcv_segment_max; /* largest text of one segment seen: what "full-sized" means */
    uint16_t offered_mss;
    uint16_t rtt_min_second; /* when rtt_min_us was seen: the lowest 16 bits */
    uint8_t snd_shift, rcv_shift;
    bool ts_enabled : 1, sack_enabled : 1;
    bool ipv4 : 1, station_known : 1;
    bool ack_now : 1, ack_pending : 1;
    bool cwnd_limited : 1; /* the window was what stopped the sender: only then does it grow */
    bool has_cursor : 1;   /* send_chunk is set */
    uint8_t due : 2;       /* enum tcp_due */
    bool flight_timed : 1; /* the timer is armed for what is under way */
    bool cwnd_stale : 1;   /* tcp_settle_window has to be called before cwnd is looked at */
    uint8_t backoff, retries;

    /* cold: the timer; what is under way */
    _Alignas(TCP_LINE_BYTES) struct timer_node timer;
    uint64_t timer_due; /* for when it is armed; TCP_NEVER: it is not */
    uint64_t idle_due;
    struct tcp_reassembly *reassembly;   /* NULL: nothing out of order */
    struct tcp_flight *flight;           /* NULL: all that is under way left at flight_sent_us */
    const struct byte_chunk *send_chunk; /* cursor into stream.out: chunk ... */
    uint32_t send_chunk_seq;             /* ... and the sequence number of its first byte */
    uint32_t snd_wnd_max;
    uint32_t cwnd, ssthresh; /* bytes */
    uint64_t resent_us;      /* when a timer last sent something again; 0: never */
    uint64_t hash;
    struct tcp_connection *pending_next;

    union {
        struct { /* before TIME-WAIT */
            union tcp_congestion_state congestion;
            struct tcp_slow_start slow_start;
        };
        struct { /* in it */
            TAILQ_ENTRY(tcp_connection) time_wait_link;
            uint64_t time_wait_due;
        };
    };
    uint32_t iss, irs;
    uint32_t rcv_fin;
    uint32_t closed_pass; /* lower half of the pass in which the closing was queued */
    uint16_t peer_mss, path_mtu;
    uint8_t frto; /* enum tcp_frto; not during TCP_RECOVERY_NONE */
    bool linked;  /* in the table */
    bool pending; /* on the pending list */
    bool passive; /* came through a listener */
    bool entered; /* counted for its source */
    bool opened;  /* STREAM_OPENED was emitted */
    bool drained_pending, closed_pending;
    bool closed_emitted;
    bool buried;           /* on the dead list */
    bool finished_pending; /* STREAM_FINISHED still to be emitted */
    bool syn_had_scale;    /* the peer's SYN offered window scaling */
    uint8_t keepalive_probes;
    /* loss recovery */
    uint32_t recovery_point, probe_end;
    /* RACK's reordering window: a quarter of rtt_min_us and as much again for each step */
    uint8_t reorder_steps, reorder_recoveries;
    bool reordering_seen, dsack_round_open;
    /* what a needless recovery gives back */
    bool undo_armed, undo_by_echo, undo_timeout;
    uint16_t undo_resent; /* segments sent again that were not reported as duplicates */
    uint32_t undo_start, undo_cwnd, undo_ssthresh, undo_ts;
    uint32_t dsack_round; /* snd_nxt when a duplicate was last reported */
    /* RFC 5961: challenge ACKs of this second */
    uint32_t challenge_window_ms;
    uint8_t challenge_count, challenge_max;
};

#define TCP_LINES_FROM(from, to)                                                                   \
    (offsetof(struct tcp_connection, to) - offsetof(struct tcp_connection, from))

static_assert(TCP_LINES_FROM(stream, snd_una) == 2 * TCP_LINE_BYTES,
              "the stream is two cache lines");
static_assert(TCP_LINES_FROM(snd_una, course) == TCP_LINE_BYTES &&
                  TCP_LINES_FROM(snd_una, last_send) < TCP_LINE_BYTES,
              "sequence variables and round trips are one cache line");
static_assert(TCP_LINES_FROM(course, timer) == TCP_LINE_BYTES &&
                  TCP_LINES_FROM(course, retries) < TCP_LINE_BYTES,
              "course, time and the way are one cache line");
static_assert(TCP_LINES_FROM(timer, idle_due) < TCP_LINE_BYTES,
              "the timer moves within one cache line");
static_assert(sizeof(struct tcp_connection) <= 8 * TCP_LINE_BYTES,
              "docs/tcp.md says what a connection takes");

/* Established, and nothing special: no loss, no probe, nothing out of order, nobody closes. */
static inline bool tcp_is_plain(const struct tcp_connection *c)
{
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "state is the lowest byte");
    return c->course == TCP_ESTABLISHED;
}

static inline struct tcp_connection *tcp_connection_of_stream(struct stream *stream)
{
    return (struct tcp_connection *)(void *)((uint8_t *)stream -
                                             offsetof(struct tcp_connection, stream));
}

/* The stream and the hot lines: all that a plain request, its reply and the ACK of that read or
 * write. With many connections they are not in the cache. */
static inline void tcp_prefetch_connection(const struct tcp_connection *c)
{
    const uint8_t *at = (const uint8_t *)c;
    rte_prefetch0(at);
    rte_prefetch0(at + TCP_LINE_BYTES);
    rte_prefetch0(at + 2 * TCP_LINE_BYTES);
    rte_prefetch0(at + 3 * TCP_LINE_BYTES);
}

static inline uint32_t tcp_flight_bytes(const struct tcp_connection *c)
{
    return c->snd_nxt - c->snd_una;
}

/* Sequence number of our FIN, once nothing more can be queued: one past the last byte. */
static inline uint32_t tcp_send_end(const struct tcp_connection *c)
{
    return c->snd_una + (uint32_t)c->stream.out.size;
}

#endif
