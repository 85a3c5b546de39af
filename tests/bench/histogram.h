/* A histogram of durations over the whole range that a clock can tell, in 36 KiB.
 *
 *   0 .. 255 ns        a bucket of its own each
 *   2^k .. 2^(k+1)     128 buckets of equal width, for k from 8 to 43
 *
 * So a bucket is at most 1/128 of its values wide, and its middle, which stands for all of them, is
 * off by at most 0.4 %. The idea is HdrHistogram's. Values beyond about 4.9 hours count as that.
 *
 * Thread: one owner. Memory: the caller's.
 */
#ifndef NICACHED_TESTS_BENCH_HISTOGRAM_H
#define NICACHED_TESTS_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_HALF_BITS    7U
#define HISTOGRAM_HALF         (1U << HISTOGRAM_HALF_BITS)
#define HISTOGRAM_VALUE_BITS   44U
#define HISTOGRAM_VALUE_MAX    ((UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1)
#define HISTOGRAM_BUCKET_COUNT ((HISTOGRAM_VALUE_BITS - HISTOGRAM_HALF_BITS + 1) * HISTOGRAM_HALF)

struct histogram {
    uint64_t count, minimum, maximum;
    double sum;
    uint64_t buckets[HISTOGRAM_BUCKET_COUNT];
};

void histogram_init(struct histogram *histogram);
void histogram_add(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The value that a share `quantile` (0 to 1) of all values does not exceed; 0 when it is empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);
double histogram_mean(const struct histogram *histogram);

/* The bucket of a value, and the value that stands for a bucket. */
uint32_t histogram_bucket_of(uint64_t value);
uint64_t histogram_bucket_middle(uint32_t bucket);

#endif
