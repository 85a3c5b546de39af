/* Keyed pseudo-random function over a connection's four-tuple: initial sequence numbers, timestamp
 * offsets, ephemeral ports, SYN cookies. An attacker sees its outputs for tuples of his own and
 * must not be able to predict those of others (RFC 6528), so it is SipHash-2-4 and not a table
 * hash. */
#ifndef NICACHED_L4_TRANSPORT_TCP_SECRET_H
#define NICACHED_L4_TRANSPORT_TCP_SECRET_H

#include "dataplane/base/address.h"

struct tcp_secret {
    uint64_t key[2];
};

void tcp_secret_init(struct tcp_secret *secret, uint64_t seed, uint64_t more);
/* The next key, from which this one cannot be worked out. */
void tcp_secret_advance(struct tcp_secret *secret);
/* `purpose` separates the uses of one secret. */
uint64_t tcp_secret_of_tuple(const struct tcp_secret *secret, const struct endpoint *local,
                             const struct endpoint *peer, uint32_t purpose);
/* The same, of one segment of the peer: its sequence number counts, too. */
uint64_t tcp_secret_of_segment(const struct tcp_secret *secret, const struct endpoint *local,
                               const struct endpoint *peer, uint32_t purpose, uint32_t seq);

#endif
