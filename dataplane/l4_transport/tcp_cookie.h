/* SYN cookies (RFC 4987 3.6): when too many connections are half open, the answer to a SYN carries
 * in its own numbers all that has to be known of it, and nothing is kept.
 *
 *   initial sequence number:  31  29 28 27                         0
 *                            | MSS  | e|          MAC             |   XOR a keyed mask
 *   timestamp, low bits:      4    3   0
 *                            | SACK | window scale, 15: none |
 *
 *   MSS   the largest value of a table that the peer's does not go below
 *   e     the epoch's lowest bit: epochs last 67 s, the current one and the one before are accepted
 *   MAC   28 bits over addresses, ports, the peer's sequence number and MSS, under the epoch's key
 *
 * Each epoch's key is made from the last one's by a one-way function, and the last but one is
 * forgotten. A guess is right once in 2^28 times, and is only listened to for two epochs after a
 * cookie was sent. What the timestamp says is the peer's own word about itself: it needs no proof.
 * Without timestamps a connection by cookie has neither window scaling nor SACK.
 */
#ifndef NICACHED_L4_TRANSPORT_TCP_COOKIE_H
#define NICACHED_L4_TRANSPORT_TCP_COOKIE_H

#include "dataplane/l4_transport/tcp_options.h"
#include "dataplane/l4_transport/tcp_secret.h"

#define TCP_COOKIE_EPOCH_SHIFT 26U /* of microseconds */

struct tcp_cookies {
    struct tcp_secret mask, current, previous;
    uint64_t epoch;      /* of `current` */
    uint64_t sent_epoch; /* of the last cookie; UINT64_MAX: none yet */
};

/* `secret` is only read. */
void tcp_cookies_init(struct tcp_cookies *cookies, const struct tcp_secret *secret);

/* The initial sequence number that answers the SYN with number `peer_iss`. */
uint32_t tcp_cookie_make(struct tcp_cookies *cookies, const struct endpoint *local,
                         const struct endpoint *peer, uint32_t peer_iss, uint16_t mss,
                         uint64_t now_us);
/* Whether a cookie that was sent may still come back. */
bool tcp_cookies_in_use(const struct tcp_cookies *cookies, uint64_t now_us);
/* Whether `cookie` was made for this peer in this epoch or the last; its MSS. */
bool tcp_cookie_check(struct tcp_cookies *cookies, const struct endpoint *local,
                      const struct endpoint *peer, uint32_t peer_iss, uint32_t cookie,
                      uint64_t now_us, uint16_t *mss);

/* The timestamp to send instead of `clock`, not later than it, with what the SYN offered. */
uint32_t tcp_cookie_stamp(uint32_t clock, const struct tcp_header_options *offer);
/* What the SYN had offered, from the timestamp that came back. */
void tcp_cookie_read_stamp(uint32_t stamp, struct tcp_header_options *offer);

#endif
