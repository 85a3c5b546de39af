/* The states of a connection (RFC 9293 3.3.2), which of them may follow which, and what is true in
 * each.
 *
 *                                 (no connection)
 *              SYN from a peer       |        |   tcp_connect sends SYN
 *              send SYN,ACK          |        |
 *                     .--------------'        '--------------.
 *                     v                SYN; send SYN,ACK      v
 *               SYN-RECEIVED <--------------------------- SYN-SENT
 *                     | ACK of SYN                            | SYN,ACK; send ACK
 *                     '------------> ESTABLISHED <------------'
 *                                     |        |
 *                 close, send FIN     |        |   FIN arrives
 *                     .---------------'        '--------------.
 *                     v                                       v
 *                FIN-WAIT-1 ---- FIN ----> CLOSING        CLOSE-WAIT
 *                     | ACK of FIN            |               | close, send FIN
 *                     v                       | ACK of FIN    v
 *                FIN-WAIT-2 ---- FIN ----> TIME-WAIT       LAST-ACK
 *                                             | 2 MSL         | ACK of FIN
 *                                             v               v
 *                                            CLOSED <---------'    (and from every state by reset,
 *                                                                   give-up or abort)
 *
 * What holds:
 *   F1  SYN-SENT, SYN-RECEIVED: snd_una = iss, snd_nxt = iss + 1; stream->out was never read
 *   F2  ESTABLISHED and later: the front byte of stream->out has sequence number snd_una
 *   F3  FIN-WAIT-1, CLOSING, LAST-ACK: our FIN is sent and not acknowledged; snd_nxt = fin + 1
 *   F4  FIN-WAIT-2, TIME-WAIT: our FIN is acknowledged, stream->out is empty
 *   F5  CLOSE-WAIT, CLOSING, LAST-ACK, TIME-WAIT: the peer's FIN is acknowledged; no text follows
 *   F6  FIN-WAIT-1 and every state after it: the session has asked to close, it gets no more data
 *   F7  CLOSED: out of the table, no timer; waits only for its last event and for tcp_release
 */
#ifndef NICACHED_L4_TRANSPORT_TCP_STATE_H
#define NICACHED_L4_TRANSPORT_TCP_STATE_H

#include <stdbool.h>
#include <stdint.h>

enum tcp_state {
    TCP_CLOSED,
    TCP_SYN_SENT,
    TCP_SYN_RECEIVED,
    TCP_ESTABLISHED,
    TCP_FIN_WAIT_1,
    TCP_FIN_WAIT_2,
    TCP_CLOSE_WAIT,
    TCP_CLOSING,
    TCP_LAST_ACK,
    TCP_TIME_WAIT,
    TCP_STATE_COUNT,
};

const char *tcp_state_name(enum tcp_state state);
/* Whether the drawing has this edge. */
bool tcp_state_may_follow(enum tcp_state from, enum tcp_state to);

/* Text of the peer is still expected. */
static inline bool tcp_state_receives(enum tcp_state state)
{
    return state == TCP_ESTABLISHED || state == TCP_FIN_WAIT_1 || state == TCP_FIN_WAIT_2;
}

/* New text of ours may leave. */
static inline bool tcp_state_sends(enum tcp_state state)
{
    return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT;
}

/* Our FIN is on the way. */
static inline bool tcp_state_fin_sent(enum tcp_state state)
{
    return state == TCP_FIN_WAIT_1 || state == TCP_CLOSING || state == TCP_LAST_ACK;
}

#endif
