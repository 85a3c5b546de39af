/* When the requests of an open loop are meant to be sent.
 *
 * The times are fixed by the rate alone and never wait for the server: a request that leaves late,
 * because no connection was free, is measured from the time it was meant to leave. That is what
 * keeps a stalled server from hiding its stall (coordinated omission).
 */
#ifndef NICACHED_TESTS_BENCH_SCHEDULE_H
#define NICACHED_TESTS_BENCH_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

struct schedule {
    uint64_t start_ns;
    double interval_ns; /* the mean, 1e9 / rate */
    bool poisson;       /* exponential gaps; else all the same */
    uint64_t number;    /* of the next request */
    double offset_ns;   /* of the next request, from the start */
    uint64_t random_state;
};

void schedule_init(struct schedule *schedule, uint64_t start_ns, double rate, bool poisson,
                   uint64_t seed);

static inline uint64_t schedule_next_ns(const struct schedule *schedule)
{
    return schedule->start_ns + (uint64_t)schedule->offset_ns;
}

/* The request of schedule_next_ns was sent: on to the one after it. */
void schedule_advance(struct schedule *schedule);

#endif
