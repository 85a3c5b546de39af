/* TCP of one worker (RFC 9293): a server complete enough for real clients across a lossy link, and
 * active open for tests, the load generator and replication.
 *
 * Thread: the owning worker. Time is an argument. Sequence of calls in one pass:
 *   tcp_input_batch   segments in, acknowledgements noted, stream events out
 *   (sessions read the events, write into stream->out, mark streams dirty)
 *   tcp_output        sends what the windows allow, ACKs that are due, closes as asked
 *   tcp_run_timers    retransmission, delayed ACK, persist, keep-alive, TIME-WAIT; may emit events
 *   tcp_release       drops the packets of this pass: event data slices die here
 */
#ifndef NICACHED_L4_TRANSPORT_TCP_H
#define NICACHED_L4_TRANSPORT_TCP_H

#include "dataplane/access/access.h"
#include "dataplane/base/stream.h"
#include "dataplane/l3_ip/net.h"

struct tcp;

enum tcp_congestion_algorithm { TCP_CONGESTION_CUBIC, TCP_CONGESTION_NEWRENO };

struct tcp_options {
    struct net *net;
    struct byte_pool *pool; /* for stream->out */
    struct metrics *metrics;
    struct access *access;    /* shared by all workers; NULL: everybody is welcome */
    uint32_t connections_max; /* default 2^20; beyond it a SYN is dropped and counted (who may be
                                 served is decided above) */
    uint32_t half_open_max;   /* beyond it SYNs are answered with cookies; 0: always */
    uint32_t receive_buffer_bytes_max; /* what one connection may have unread or out of order */
    uint32_t send_unacknowledged_bytes_max;
    uint32_t keepalive_s;                     /* idle seconds before the first probe; 0: off */
    uint32_t rto_min_ms;                      /* RFC 6298 says 1000; Linux 200: default 200 */
    enum tcp_congestion_algorithm congestion; /* default CUBIC */
    uint32_t time_wait_ms;                    /* default 60000 */
    uint32_t delayed_ack_ms;       /* default 40; 0: what arrives in a pass is acknowledged in
                                      its tcp_output */
    uint64_t seed, seed_more;      /* all that a peer must not guess: both random */
    uint32_t time_wait_max;        /* default 16384: beyond it the oldest TIME-WAIT ends early */
    uint32_t orphans_max;          /* default 8192: beyond it a closed stream is reset */
    uint32_t linger_ms;            /* default 60000: how long a closed stream may go on without
                                      progress (FIN-WAIT-1 .. LAST-ACK: and 8 tries), and FIN-WAIT-2 */
    uint32_t segment_bytes_min;    /* default 48: a smaller MSS of the peer is taken as this */
    uint64_t reassembly_bytes_max; /* default 64 MiB: out-of-order text of all connections */
};
void tcp_default_options(struct tcp_options *options);

struct tcp *tcp_create(const struct tcp_options *options);
void tcp_destroy(struct tcp *tcp);
int tcp_listen(struct tcp *tcp, uint16_t port, uint32_t listener); /* 0 or -EADDRINUSE */
/* Active open; STREAM_OPENED or STREAM_CLOSED follows. NULL without a route or memory. */
struct stream *tcp_connect(struct tcp *tcp, const struct endpoint *peer, const struct instant *now);

struct tcp_events {
    struct stream_event *events;
    uint32_t count, count_max; /* an input batch of n segments makes at most 4 n + 4 events; timers
                                  stop when the array is full and go on in the next pass */
};

/* Takes those of `datagrams` that are TCP (their mbuf becomes NULL). */
void tcp_input_batch(struct tcp *tcp, struct ip_datagram *datagrams, uint32_t count,
                     const struct instant *now, struct tcp_events *events);
/* True: not all is sent yet, but an interface has a burst of frames. They had better leave first,
 * while they are in the cache; then it goes on where it stopped, and must, until it returns false.
 */
bool tcp_output(struct tcp *tcp, const struct instant *now);
/* Returns the next due time (mono_us) or UINT64_MAX. */
void tcp_run_timers(struct tcp *tcp, const struct instant *now, struct tcp_events *events);
/* When there may be something for it to do: the next timer, or now. UINT64_MAX: never. */
uint64_t tcp_next_timer(const struct tcp *tcp, const struct instant *now);
void tcp_release(struct tcp *tcp);

/* Asks for what of a stream a segment reads or writes: with many of them it is in no cache. */
void tcp_prefetch(const struct stream *stream);

/* Connections, half-open ones included, TIME-WAIT ones not. */
uint32_t tcp_connection_count(const struct tcp *tcp);
/* Stop: resets every connection without events (frames go to the interfaces' tx arrays). False when
 * an array was full: some are left, to be called again when the frames are gone. */
bool tcp_abort_all(struct tcp *tcp, const struct instant *now);

#endif
