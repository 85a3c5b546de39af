/* What is under way: the text between SND.UNA and SND.NXT as ranges of like fate, the sender's
 * scoreboard (RFC 2018, 6675, 8985).
 *
 *   start                                                                  (SND.NXT)
 *     |-- sent at 10 --|-- SACKed --|-- lost --|-- again at 52 --|-- sent at 61 --|
 *
 * A connection has one only while its flight is more than one plain range: text sent at once and
 * not yet answered needs none, and an idle connection never has one. Neighbours of like fate are
 * joined, and new text sent within a thirty-second of a round trip counts as sent together unless
 * other text was sent again in between (RACK lives by the order), so the number of ranges follows
 * the losses, not the window.
 *
 * Bounds: three sizes, the largest with TCP_FLIGHT_RANGES_MAX ranges; and bytes_max for the two
 * larger ones of all connections together. Search is binary; a change moves at most that many
 * entries, and so does a walk. Where there is no room a SACK block is ignored: what it says is then
 * learned later, from the cumulative ACK.
 *
 * Times are the lower 32 bits of microseconds and are compared as sequence numbers are.
 */
#ifndef NICACHED_L4_TRANSPORT_TCP_FLIGHT_H
#define NICACHED_L4_TRANSPORT_TCP_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>

#include "dataplane/base/object_pool.h"
#include "dataplane/l4_transport/tcp_sequence.h"

#define TCP_FLIGHT_SIZES      3U
#define TCP_FLIGHT_RANGES_MAX 507U
#define TCP_FLIGHT_BYTES_MAX  (64U << 20)

enum tcp_flight_fate {
    TCP_FLIGHT_SACKED = 1, /* arrived, and alone then */
    TCP_FLIGHT_LOST = 2,   /* waits to be sent again */
    TCP_FLIGHT_AGAIN = 4,  /* was sent again */
};

struct tcp_flight_range {
    uint32_t end;     /* its start is the end of the range before it */
    uint32_t sent_us; /* when last */
    uint8_t fate;     /* enum tcp_flight_fate */
};

struct tcp_flight {
    uint32_t start; /* SND.UNA */
    uint16_t first, count, room;
    uint8_t size; /* 0 .. TCP_FLIGHT_SIZES - 1 */
    uint32_t sacked_bytes, lost_bytes;
    /* RFC 8985: of all that was delivered, the last sent; and the highest */
    bool rack_known;
    uint32_t rack_sent_us, rack_end, rack_rtt_us;
    uint32_t forward_end;
    uint32_t resent_us; /* when text was last sent again, or the flight began */
    /* RFC 9937 */
    uint32_t prr_delivered, prr_sent, prr_flight;
    struct tcp_flight_range ranges[];
};

struct tcp_flight_pools {
    struct object_pool sizes[TCP_FLIGHT_SIZES];
    uint64_t bytes, bytes_max; /* of the flights that grew */
};

/* What one ACK delivered. The caller zeroes it and sets `original_before`. */
struct tcp_flight_news {
    uint32_t original_before;
    uint32_t delivered; /* bytes newly acknowledged or SACKed, the highest up to highest_end */
    uint32_t highest_end;
    bool sacked;    /* some of them by SACK */
    bool original;  /* some of them sent once, and below original_before */
    bool reordered; /* some of them sent once, and below what had been delivered before */
    bool again;     /* some of the acknowledged ones had been sent again */
    /* The last sent of them; and the first acknowledged that was sent once. */
    bool newest_known, newest_again, oldest_known;
    uint32_t newest_sent_us, newest_end, oldest_sent_us;
};

/* Of two pieces of text with their ends, whether the first was sent after the other. */
static inline bool tcp_flight_sent_after(uint32_t sent_us, uint32_t end, uint32_t other_sent_us,
                                         uint32_t other_end)
{
    return seq_before(other_sent_us, sent_us) ||
           (sent_us == other_sent_us && seq_before(other_end, end));
}

void tcp_flight_pools_init(struct tcp_flight_pools *pools);
void tcp_flight_pools_deinit(struct tcp_flight_pools *pools);

/* [start, end) as one plain range. NULL: no memory. */
struct tcp_flight *tcp_flight_create(struct tcp_flight_pools *pools, uint32_t start, uint32_t end,
                                     uint32_t sent_us);
void tcp_flight_destroy(struct tcp_flight_pools *pools, struct tcp_flight *flight);

/* Room for `more` ranges; the flight may move. False: none to be had. */
bool tcp_flight_reserve(struct tcp_flight_pools *pools, struct tcp_flight **flight, uint32_t more);

/* New text up to `end`; joined with the text before it when that left within `grain_us`, and
 * nothing was sent again since. Needs one reserved range, else the last range takes it. */
void tcp_flight_append(struct tcp_flight *flight, uint32_t end, uint32_t now_us, uint32_t grain_us);
/* Everything below `una` is acknowledged. */
void tcp_flight_acknowledge(struct tcp_flight *flight, uint32_t una, struct tcp_flight_news *news);
/* [start, end) is SACKed: both inside the flight, two reserved ranges. */
void tcp_flight_sack(struct tcp_flight *flight, uint32_t start, uint32_t end,
                     struct tcp_flight_news *news);
/* [start, end) is lost; what is SACKed stays so. Without two reserved ranges all of the ranges that
 * it touches. */
void tcp_flight_lose(struct tcp_flight *flight, uint32_t start, uint32_t end);
/* [start, end) was sent again at `now_us`. Without two reserved ranges all of the ranges that it
 * touches count so: what was not sent is found by the timer. */
void tcp_flight_resend(struct tcp_flight *flight, uint32_t start, uint32_t end, uint32_t now_us);
/* The lost text at or after `from`: [*start, *end). False: there is none. */
bool tcp_flight_next_lost(const struct tcp_flight *flight, uint32_t from, uint32_t *start,
                          uint32_t *end);
/* RFC 8985 6.2 step 5: what was sent before the last delivered, and is overdue by `window_us`, is
 * lost. Returns the bytes, `*wait_us` until more may be (0: nothing waits), and whether any of them
 * had been sent again. */
uint32_t tcp_flight_detect(struct tcp_flight *flight, uint32_t window_us, uint32_t now_us,
                           uint32_t *wait_us, bool *again);
/* A timeout: the first range and everything sent at or before `sent_us` is lost. */
void tcp_flight_lose_older(struct tcp_flight *flight, uint32_t sent_us);
/* Nothing is lost after all. */
void tcp_flight_find_all(struct tcp_flight *flight);
/* The peer dropped what it had SACKed (RFC 2018 section 8). */
void tcp_flight_renege(struct tcp_flight *flight);
/* Whether new text may join the last range, if need be. */
static inline bool tcp_flight_ends_plain(const struct tcp_flight *flight)
{
    return flight->count > 0 && flight->ranges[flight->first + flight->count - 1].fate == 0;
}
static inline bool tcp_flight_has_reneged(const struct tcp_flight *flight)
{
    return flight->count > 0 && (flight->ranges[flight->first].fate & TCP_FLIGHT_SACKED) != 0;
}

#endif
