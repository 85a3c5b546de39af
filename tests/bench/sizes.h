/* Sizes of keys and values: one, a list, a range, or a named distribution.
 *
 *   64              all the same
 *   64,512,4096     each as often as the others
 *   64:90,4096:10   weighted
 *   100-1000        every size in the range as often as the others; may stand in a list too
 *   etc-key         Facebook's ETC pool (Atikoglu et al., 2012): generalised extreme value, 20 to
 * 70 etc-value       the same: generalised Pareto, 1 to 1000, most of them small twitter-value
 * log-normal around 224 bytes, 15 to 67000 (Yang et al., 2020) twitter-write   log-uniform, 15 to
 * 20000
 *
 * The size belongs to a key for good: it is drawn from the key's hash.
 */
#ifndef NICACHED_TESTS_BENCH_SIZES_H
#define NICACHED_TESTS_BENCH_SIZES_H

#include <stdbool.h>
#include <stdint.h>

#define SIZES_RANGES_MAX 64U

enum sizes_shape { SIZES_RANGES, SIZES_ETC_KEY, SIZES_ETC_VALUE, SIZES_TWITTER, SIZES_LOG_UNIFORM };

struct sizes {
    enum sizes_shape shape;
    uint32_t range_count;
    struct {
        uint32_t low, high;
        uint64_t weight_end; /* of this and the ranges before it */
    } ranges[SIZES_RANGES_MAX];
};

/* False when the text is no such thing, or a size is not in low_limit .. high_limit. */
bool sizes_parse(struct sizes *sizes, const char *text, uint32_t low_limit, uint32_t high_limit);
uint32_t sizes_of(const struct sizes *sizes, uint64_t hash);
uint32_t sizes_maximum(const struct sizes *sizes);
uint32_t sizes_minimum(const struct sizes *sizes);

#endif
