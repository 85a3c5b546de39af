/* Random choices of the load: uniform, Zipf and exponential, from a seed, so that a run repeats.
 *
 * Thread: one owner of each state.
 */
#ifndef NICACHED_TESTS_BENCH_CHANCE_H
#define NICACHED_TESTS_BENCH_CHANCE_H

#include <stdint.h>

#include "dataplane/base/hash.h"

/* In (0, 1): never 0, so that its logarithm exists. */
static inline double chance_fraction(uint64_t *state)
{
    return ((double)(random_next(state) >> 12) + 0.5) * 0x1p-52;
}

static inline uint64_t chance_below(uint64_t *state, uint64_t bound)
{
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)(((wide)random_next(state) * bound) >> 64);
}

/* Ranks 0 .. count-1, rank k with a weight of (k+1)^-theta. Drawn by inverting the integral of the
 * continuous function and rejecting the little that it has too much (Hoermann and Derflinger 1996):
 * constant time and memory for any count and any theta > 0. */
struct zipf {
    uint64_t count;
    double theta;
    double area_first, area_last; /* the integral at 1.5 less the first weight, and at count+0.5 */
    double squeeze;               /* closer to a rank than this: taken without a second look */
};

void zipf_init(struct zipf *zipf, uint64_t count, double theta);
uint64_t zipf_draw(const struct zipf *zipf, uint64_t *state);

#endif
