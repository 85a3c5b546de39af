/* A bounded sorted set of disjoint ranges of sequence numbers.
 *
 * It says what lies in the reassembly store, and so what our SACK blocks say. Search is binary, an
 * insertion moves at most TCP_RANGES_MAX entries, adding to a full set is refused: cost and memory
 * have a bound whatever the peer sends. All sequence numbers of one set lie within 2^31 of each
 * other; the caller checks that against its window.
 */
#ifndef NICACHED_L4_TRANSPORT_TCP_RANGES_H
#define NICACHED_L4_TRANSPORT_TCP_RANGES_H

#include "dataplane/l4_transport/tcp_sequence.h"

#define TCP_RANGES_MAX 64U

struct tcp_range {
    uint32_t start, end; /* [start, end) */
    uint32_t stamp;      /* when it last grew: the newest goes into the first SACK block */
};

struct tcp_ranges {
    uint32_t count, stamp;
    uint32_t bytes; /* sum of the lengths */
    struct tcp_range at[TCP_RANGES_MAX];
};

/* Index of the first range whose end lies at or after `seq`; count if none. */
uint32_t tcp_ranges_find(const struct tcp_ranges *ranges, uint32_t seq);
/* Adds [start, end), joined with what it touches. False: it needs a range of its own and there is
 * no room; nothing changed then. An empty range is accepted and ignored. */
bool tcp_ranges_add(struct tcp_ranges *ranges, uint32_t start, uint32_t end);
/* Whether tcp_ranges_add would succeed. */
bool tcp_ranges_has_room(const struct tcp_ranges *ranges, uint32_t start, uint32_t end);
/* Drops everything below `seq`. */
void tcp_ranges_trim(struct tcp_ranges *ranges, uint32_t seq);
/* The first gap at or after `seq`: [*start, *end), *end not beyond `limit`. False when [seq, limit)
 * is covered. */
bool tcp_ranges_gap(const struct tcp_ranges *ranges, uint32_t seq, uint32_t limit, uint32_t *start,
                    uint32_t *end);

#endif
