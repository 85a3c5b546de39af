/* The flight. Invariants: ranges are not empty and in ascending order; the last ends at SND.NXT;
 * first + count <= room; SACKED excludes LOST; sacked_bytes and lost_bytes are the sums of the
 * lengths of those ranges. */
#include "dataplane/l4_transport/tcp_flight.h"

#include <assert.h>
#include <string.h>

#include "dataplane/base/check.h"

#define FLIGHTS_FIRST 15U

static const size_t object_bytes[TCP_FLIGHT_SIZES] = {256, 1024, 6144};

static uint16_t room_of(uint32_t size)
{
    return (uint16_t)((object_bytes[size] - sizeof(struct tcp_flight)) /
                      sizeof(struct tcp_flight_range));
}

static_assert((6144 - sizeof(struct tcp_flight)) / sizeof(struct tcp_flight_range) ==
                  TCP_FLIGHT_RANGES_MAX,
              "the largest size has the ranges that it is said to have");

void tcp_flight_pools_init(struct tcp_flight_pools *pools)
{
    for (uint32_t i = 0; i < TCP_FLIGHT_SIZES; i++) {
        object_pool_init(&pools->sizes[i], object_bytes[i], FLIGHTS_FIRST);
    }
    pools->bytes = 0;
    pools->bytes_max = TCP_FLIGHT_BYTES_MAX;
}

void tcp_flight_pools_deinit(struct tcp_flight_pools *pools)
{
    for (uint32_t i = 0; i < TCP_FLIGHT_SIZES; i++) {
        object_pool_deinit(&pools->sizes[i]);
    }
}

struct tcp_flight *tcp_flight_create(struct tcp_flight_pools *pools, uint32_t start, uint32_t end,
                                     uint32_t sent_us)
{
    struct tcp_flight *flight = object_pool_acquire(&pools->sizes[0]);
    if (flight == NULL) {
        return NULL;
    }
    *flight = (struct tcp_flight){
        .start = start, .count = 1, .room = room_of(0), .forward_end = start, .resent_us = sent_us};
    flight->ranges[0] = (struct tcp_flight_range){.end = end, .sent_us = sent_us};
    return flight;
}

void tcp_flight_destroy(struct tcp_flight_pools *pools, struct tcp_flight *flight)
{
    pools->bytes -= flight->size > 0 ? object_bytes[flight->size] : 0;
    object_pool_release(&pools->sizes[flight->size], flight);
}

static struct tcp_flight *acquire_larger(struct tcp_flight_pools *pools, uint32_t size)
{
    if (size == TCP_FLIGHT_SIZES || pools->bytes + object_bytes[size] > pools->bytes_max) {
        return NULL;
    }
    struct tcp_flight *flight = object_pool_acquire(&pools->sizes[size]);
    pools->bytes += flight != NULL ? object_bytes[size] : 0;
    return flight;
}

static void move_to_front(struct tcp_flight *flight)
{
    memmove(flight->ranges, flight->ranges + flight->first,
            flight->count * sizeof(flight->ranges[0]));
    flight->first = 0;
}

static bool grow(struct tcp_flight_pools *pools, struct tcp_flight **flight)
{
    struct tcp_flight *old = *flight;
    uint32_t size = old->size + 1U;
    struct tcp_flight *larger = acquire_larger(pools, size);
    if (larger == NULL) {
        return false;
    }
    *larger = *old;
    memcpy(larger->ranges, old->ranges + old->first, old->count * sizeof(old->ranges[0]));
    larger->first = 0;
    larger->size = (uint8_t)size;
    larger->room = room_of(size);
    tcp_flight_destroy(pools, old);
    *flight = larger;
    return true;
}

/* Half of the room free in front is worth moving for, less only where there is nothing larger. */
bool tcp_flight_reserve(struct tcp_flight_pools *pools, struct tcp_flight **flight, uint32_t more)
{
    struct tcp_flight *f = *flight;
    if ((uint32_t)f->first + f->count + more <= f->room) {
        return true;
    }
    if (f->first < f->room / 2U && grow(pools, flight)) {
        return true;
    }
    move_to_front(f);
    return f->count + more <= f->room;
}

static struct tcp_flight_range *at(struct tcp_flight *flight, uint32_t index)
{
    return &flight->ranges[flight->first + index];
}

static uint32_t start_of(const struct tcp_flight *flight, uint32_t index)
{
    return index == 0 ? flight->start : flight->ranges[flight->first + index - 1].end;
}

/* The first range that ends after `seq`. */
static uint32_t find(const struct tcp_flight *flight, uint32_t seq)
{
    const struct tcp_flight_range *ranges = flight->ranges + flight->first;
    uint32_t low = 0, high = flight->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (seq_at_or_before(ranges[middle].end, seq)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void remove_ranges(struct tcp_flight *flight, uint32_t from, uint32_t to)
{
    memmove(at(flight, from), at(flight, to), (flight->count - to) * sizeof(flight->ranges[0]));
    flight->count = (uint16_t)(flight->count - (to - from));
}

/* Cuts the range in two: the first ends at `seq`. */
static void split(struct tcp_flight *flight, uint32_t index, uint32_t seq)
{
    CHECK(flight->first + flight->count < flight->room);
    memmove(at(flight, index + 1), at(flight, index),
            (flight->count - index) * sizeof(flight->ranges[0]));
    at(flight, index)->end = seq;
    flight->count++;
}

/* The ranges of [start, end): [*from, *to); cut so that they begin and end there if there is room.
 */
static void cut_out(struct tcp_flight *flight, uint32_t start, uint32_t end, uint32_t *from,
                    uint32_t *to)
{
    uint32_t index = find(flight, start);
    bool room = flight->first + flight->count + 2U <= flight->room;
    if (room && index < flight->count && seq_before(start_of(flight, index), start)) {
        split(flight, index++, start);
    }
    *from = index;
    while (index < flight->count && seq_before(start_of(flight, index), end)) {
        if (room && seq_before(end, at(flight, index)->end)) {
            split(flight, index, end);
        }
        index++;
    }
    *to = index;
}

/* Of what is SACKed or lost, when it was sent last does not tell ranges apart. */
static bool alike(const struct tcp_flight_range *a, const struct tcp_flight_range *b)
{
    return a->fate == b->fate &&
           (a->sent_us == b->sent_us || (a->fate & (TCP_FLIGHT_SACKED | TCP_FLIGHT_LOST)) != 0);
}

/* Joins what is alike among the ranges [from, to) and their neighbours. */
static void join(struct tcp_flight *flight, uint32_t from, uint32_t to)
{
    from = from > 0 ? from - 1 : 0;
    to = to < flight->count ? to + 1 : flight->count;
    uint32_t kept = from;
    for (uint32_t i = from + 1; i < to; i++) {
        struct tcp_flight_range *last = at(flight, kept), *next = at(flight, i);
        if (alike(last, next)) {
            last->end = next->end;
            last->sent_us = seq_max(last->sent_us, next->sent_us);
        } else {
            *at(flight, ++kept) = *next;
        }
    }
    if (to > from && kept + 1 < to) {
        remove_ranges(flight, kept + 1, to);
    }
}

void tcp_flight_append(struct tcp_flight *flight, uint32_t end, uint32_t now_us, uint32_t grain_us)
{
    struct tcp_flight_range *last = flight->count > 0 ? at(flight, flight->count - 1U) : NULL;
    bool room = flight->first + flight->count < flight->room;
    bool together = last != NULL && last->fate == 0 && now_us - last->sent_us <= grain_us &&
                    seq_at_or_before(flight->resent_us, last->sent_us);
    if (together || (!room && tcp_flight_ends_plain(flight))) {
        last->sent_us = room ? last->sent_us : now_us; /* rather too late than too early */
        last->end = end;
        return;
    }
    CHECK(room);
    *at(flight, flight->count++) = (struct tcp_flight_range){.end = end, .sent_us = now_us};
}

/* `bytes` of the range up to `end` were delivered. */
static void note_delivered(const struct tcp_flight *flight, const struct tcp_flight_range *range,
                           uint32_t bytes, uint32_t end, struct tcp_flight_news *news)
{
    bool again = (range->fate & TCP_FLIGHT_AGAIN) != 0;
    news->highest_end = news->delivered == 0 ? end : seq_max(news->highest_end, end);
    news->delivered += bytes;
    if (!again) {
        news->original |= seq_at_or_before(end, news->original_before);
        news->reordered |= seq_before(end, flight->forward_end);
    }
    if (!news->newest_known ||
        tcp_flight_sent_after(range->sent_us, end, news->newest_sent_us, news->newest_end)) {
        news->newest_known = true;
        news->newest_again = again;
        news->newest_sent_us = range->sent_us;
        news->newest_end = end;
    }
}

/* The first `bytes` of the range, up to `end`, are acknowledged. */
static void take_acknowledged(struct tcp_flight *flight, const struct tcp_flight_range *range,
                              uint32_t bytes, uint32_t end, struct tcp_flight_news *news)
{
    if (range->fate & TCP_FLIGHT_SACKED) {
        flight->sacked_bytes -= bytes;
        return;
    }
    if (range->fate & TCP_FLIGHT_LOST) {
        flight->lost_bytes -= bytes;
    }
    note_delivered(flight, range, bytes, end, news);
    if (range->fate & TCP_FLIGHT_AGAIN) {
        news->again = true;
    } else if (!news->oldest_known) {
        news->oldest_known = true;
        news->oldest_sent_us = range->sent_us;
    }
}

void tcp_flight_acknowledge(struct tcp_flight *flight, uint32_t una, struct tcp_flight_news *news)
{
    while (flight->count > 0 && seq_before(flight->start, una)) {
        const struct tcp_flight_range *range = at(flight, 0);
        uint32_t end = seq_min(range->end, una);
        take_acknowledged(flight, range, end - flight->start, end, news);
        flight->start = end;
        if (end == range->end) {
            flight->first++;
            flight->count--;
        }
    }
    flight->forward_end = seq_max(flight->forward_end, una);
}

void tcp_flight_sack(struct tcp_flight *flight, uint32_t start, uint32_t end,
                     struct tcp_flight_news *news)
{
    uint32_t from, to;
    CHECK(flight->first + flight->count + 2U <= flight->room);
    cut_out(flight, start, end, &from, &to);
    for (uint32_t i = from; i < to; i++) {
        struct tcp_flight_range *range = at(flight, i);
        uint32_t bytes = range->end - start_of(flight, i);
        if (range->fate & TCP_FLIGHT_SACKED) {
            continue;
        }
        news->sacked = true;
        note_delivered(flight, range, bytes, range->end, news);
        if (range->fate & TCP_FLIGHT_LOST) {
            flight->lost_bytes -= bytes;
        }
        flight->sacked_bytes += bytes;
        range->fate = TCP_FLIGHT_SACKED;
    }
    join(flight, from, to);
}

static uint32_t lose_range(struct tcp_flight *flight, uint32_t index)
{
    struct tcp_flight_range *range = at(flight, index);
    if (range->fate & (TCP_FLIGHT_SACKED | TCP_FLIGHT_LOST)) {
        return 0;
    }
    uint32_t bytes = range->end - start_of(flight, index);
    range->fate |= TCP_FLIGHT_LOST;
    flight->lost_bytes += bytes;
    return bytes;
}

void tcp_flight_lose(struct tcp_flight *flight, uint32_t start, uint32_t end)
{
    uint32_t from, to;
    cut_out(flight, start, end, &from, &to);
    for (uint32_t i = from; i < to; i++) {
        lose_range(flight, i);
    }
    join(flight, from, to);
}

void tcp_flight_resend(struct tcp_flight *flight, uint32_t start, uint32_t end, uint32_t now_us)
{
    uint32_t from, to;
    flight->resent_us = now_us;
    cut_out(flight, start, end, &from, &to);
    for (uint32_t i = from; i < to; i++) {
        struct tcp_flight_range *range = at(flight, i);
        if (range->fate & TCP_FLIGHT_SACKED) {
            continue;
        }
        if (range->fate & TCP_FLIGHT_LOST) {
            flight->lost_bytes -= range->end - start_of(flight, i);
        }
        range->fate = TCP_FLIGHT_AGAIN;
        range->sent_us = now_us;
    }
    join(flight, from, to);
}

bool tcp_flight_next_lost(const struct tcp_flight *flight, uint32_t from, uint32_t *start,
                          uint32_t *end)
{
    if (flight->lost_bytes == 0) {
        return false;
    }
    for (uint32_t i = find(flight, from); i < flight->count; i++) {
        const struct tcp_flight_range *range = &flight->ranges[flight->first + i];
        if (range->fate & TCP_FLIGHT_LOST) {
            *start = seq_max(start_of(flight, i), from);
            *end = range->end;
            return true;
        }
    }
    return false;
}

uint32_t tcp_flight_detect(struct tcp_flight *flight, uint32_t window_us, uint32_t now_us,
                           uint32_t *wait_us, bool *again)
{
    uint32_t bytes = 0;
    *wait_us = 0;
    *again = false;
    for (uint32_t i = 0; flight->rack_known && i < flight->count; i++) {
        const struct tcp_flight_range *range = at(flight, i);
        if ((range->fate & (TCP_FLIGHT_SACKED | TCP_FLIGHT_LOST)) != 0 ||
            !tcp_flight_sent_after(flight->rack_sent_us, flight->rack_end, range->sent_us,
                                   range->end)) {
            continue;
        }
        uint32_t overdue_us = range->sent_us + flight->rack_rtt_us + window_us;
        if (seq_at_or_before(overdue_us, now_us)) {
            *again |= (range->fate & TCP_FLIGHT_AGAIN) != 0;
            bytes += lose_range(flight, i);
        } else if (overdue_us - now_us > *wait_us) {
            *wait_us = overdue_us - now_us;
        }
    }
    if (bytes > 0) {
        join(flight, 0, flight->count);
    }
    return bytes;
}

void tcp_flight_lose_older(struct tcp_flight *flight, uint32_t sent_us)
{
    for (uint32_t i = 0; i < flight->count; i++) {
        if (i == 0 || seq_at_or_before(at(flight, i)->sent_us, sent_us)) {
            lose_range(flight, i);
        }
    }
    join(flight, 0, flight->count);
}

void tcp_flight_find_all(struct tcp_flight *flight)
{
    for (uint32_t i = 0; i < flight->count; i++) {
        at(flight, i)->fate &= (uint8_t)~TCP_FLIGHT_LOST;
    }
    flight->lost_bytes = 0;
    join(flight, 0, flight->count);
}

void tcp_flight_renege(struct tcp_flight *flight)
{
    for (uint32_t i = 0; i < flight->count; i++) {
        struct tcp_flight_range *range = at(flight, i);
        if (range->fate & TCP_FLIGHT_SACKED) {
            range->fate = TCP_FLIGHT_AGAIN; /* says nothing about round trips any more */
        }
    }
    flight->sacked_bytes = 0;
    join(flight, 0, flight->count);
}
