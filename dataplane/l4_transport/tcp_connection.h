/* One connection. The names of RFC 9293 3.3.1 are used as they stand there.
 *
 *   stream    what the session sees; its first line has the four-tuple
 *   hot       two cache lines: everything that the fast path reads or writes for one segment
 *   cold      handshake, loss recovery, closing, links
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

#include "dataplane/base/stream.h"
#include "dataplane/base/timer_wheel.h"
#include "dataplane/l3_ip/net.h"
#include "dataplane/l4_transport/tcp_sequence.h"
#include "dataplane/l4_transport/tcp_state.h"

#define TCP_LINE_BYTES 64
#define TCP_NEVER      UINT64_MAX

struct tcp_reassembly;
struct tcp_ranges;

/* Loss recovery. In the two latter, bytes of [high_rxt, lost_to) that the scoreboard lacks wait for
 * retransmission. */
enum tcp_recovery {
    TCP_RECOVERY_NONE,
    TCP_RECOVERY_FAST,    /* by duplicate ACKs or SACK, until recovery_point is acknowledged */
    TCP_RECOVERY_TIMEOUT, /* by the retransmission timer; slow start */
};

struct tcp_connection {
    struct stream stream;

    /* hot line 1: sequence variables */
    _Alignas(TCP_LINE_BYTES) uint32_t snd_una;
    uint32_t snd_nxt; /* one past the highest sent: never goes back */
    uint32_t snd_wnd; /* scaled */
    uint32_t snd_wl1, snd_wl2;
    uint32_t rcv_nxt;
    uint32_t rcv_adv;       /* right edge of the window as the peer knows it */
    uint32_t last_ack_sent; /* RFC 7323 */
    uint32_t ts_recent, ts_offset;
    uint32_t cwnd, ssthresh;     /* bytes */
    uint32_t rcv_unacknowledged; /* text received since the last ACK left */
    uint16_t snd_mss;            /* text per segment, options of a plain segment already off */
    uint8_t state;               /* enum tcp_state */
    uint8_t snd_shift, rcv_shift;
    bool ts_enabled, sack_enabled;
    bool ack_now, ack_pending;
    bool detached;    /* the session is through with it: no events but the last one */
    bool linked;      /* in the table */
    uint8_t recovery; /* enum tcp_recovery */

    /* hot line 2: time, sending */
    _Alignas(TCP_LINE_BYTES) uint64_t retransmit_due; /* RTO, probe of the tail, persist, SYN */
    uint64_t last_receive_us;
    struct tcp_reassembly *reassembly;   /* NULL: nothing out of order */
    struct tcp_ranges *scoreboard;       /* NULL: nothing SACKed */
    const struct byte_chunk *send_chunk; /* cursor into stream.out: chunk ... */
    uint32_t send_chunk_seq;             /* ... and the sequence number of its first byte */
    uint32_t rtt_seq;                    /* end of the segment being timed */
    uint64_t rtt_sent_us;                /* 0: none is timed */
    uint32_t dupacks;
    uint16_t rcv_segment_max; /* largest text of one segment seen: what "full-sized" means */
    bool cwnd_limited;        /* the window was what stopped the sender: only then does it grow */
    bool probe_sent;          /* a tail loss probe is out */
    bool fin_queued;          /* close requested: FIN follows the last byte */
    bool pending;             /* on the pending list */

    /* cold */
    _Alignas(
        TCP_LINE_BYTES) struct timer_node timer; /* armed for the earliest due time, or before */
    uint64_t ack_due, idle_due;
    uint64_t hash;
    struct tcp_connection *table_next, *pending_next, *dead_next;
    TAILQ_ENTRY(tcp_connection) time_wait_link;
    uint64_t time_wait_due;
    struct net_interface *interface;
    struct rte_ether_addr station;
    bool station_known;
    bool passive; /* came through a listener */
    bool entered; /* counted for its source */
    bool opened;  /* STREAM_OPENED was emitted */
    bool drained_pending, closed_pending;
    bool closed_emitted;
    bool buried;           /* on the dead list */
    bool peer_fin_seen;    /* FIN received at rcv_fin, possibly ahead of rcv_nxt */
    bool finished_pending; /* STREAM_FINISHED still to be emitted */
    bool syn_had_scale;    /* the peer's SYN offered window scaling */
    uint32_t rcv_fin;
    uint32_t iss, irs;
    uint32_t snd_wnd_max;
    uint16_t peer_mss, path_mtu;
    uint16_t offered_mss;
    /* RFC 6298, microseconds */
    uint32_t srtt_us, rttvar_us, rto_us;
    uint64_t resent_us; /* when a timer last sent something again; 0: never */
    uint8_t backoff, retries, keepalive_probes;
    /* loss recovery */
    uint32_t recovery_point, high_rxt, lost_to;
    uint32_t rescue_nxt; /* snd_nxt when the first hole was last sent again */
    uint32_t probe_end;
    uint32_t cwnd_acked; /* bytes acknowledged towards the next step of congestion avoidance */
    uint32_t undo_cwnd, undo_ssthresh, undo_ts;
    bool undo_possible;
    /* RFC 5961: challenge ACKs of this second */
    uint64_t challenge_window_us;
    uint32_t challenge_count, challenge_max;
    uint64_t closed_pass; /* pass in which the closing was queued */
    uint64_t last_send_us;
};

static_assert(offsetof(struct tcp_connection, retransmit_due) -
                      offsetof(struct tcp_connection, snd_una) ==
                  TCP_LINE_BYTES,
              "sequence variables are one cache line");
static_assert(offsetof(struct tcp_connection, timer) -
                      offsetof(struct tcp_connection, retransmit_due) <=
                  2 * TCP_LINE_BYTES,
              "time and sending stay within two lines");

static inline struct tcp_connection *tcp_connection_of_stream(struct stream *stream)
{
    return (struct tcp_connection *)(void *)((uint8_t *)stream -
                                             offsetof(struct tcp_connection, stream));
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
