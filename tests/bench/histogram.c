#include "tests/bench/histogram.h"

#include <math.h>
#include <string.h>

void histogram_init(struct histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
    histogram->minimum = UINT64_MAX;
}

uint32_t histogram_bucket_of(uint64_t value)
{
    if (value > HISTOGRAM_VALUE_MAX) {
        value = HISTOGRAM_VALUE_MAX;
    }
    if (value < 2 * HISTOGRAM_HALF) {
        return (uint32_t)value;
    }
    uint32_t shift = 63U - (uint32_t)__builtin_clzll(value) - HISTOGRAM_HALF_BITS;
    return shift * HISTOGRAM_HALF + (uint32_t)(value >> shift);
}

uint64_t histogram_bucket_middle(uint32_t bucket)
{
    if (bucket < 2 * HISTOGRAM_HALF) {
        return bucket;
    }
    uint32_t shift = bucket / HISTOGRAM_HALF - 1;
    uint64_t low = (uint64_t)(bucket - shift * HISTOGRAM_HALF) << shift;
    return low + (UINT64_C(1) << shift) / 2;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->buckets[histogram_bucket_of(value)]++;
    histogram->count++;
    histogram->sum += (double)value;
    histogram->minimum = value < histogram->minimum ? value : histogram->minimum;
    histogram->maximum = value > histogram->maximum ? value : histogram->maximum;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (uint32_t i = 0; i < HISTOGRAM_BUCKET_COUNT; i++) {
        into->buckets[i] += from->buckets[i];
    }
    into->count += from->count;
    into->sum += from->sum;
    into->minimum = from->minimum < into->minimum ? from->minimum : into->minimum;
    into->maximum = from->maximum > into->maximum ? from->maximum : into->maximum;
}

double histogram_mean(const struct histogram *histogram)
{
    return histogram->count == 0 ? 0 : histogram->sum / (double)histogram->count;
}

static uint64_t rank_of(const struct histogram *histogram, double quantile)
{
    double rank = ceil(quantile * (double)histogram->count);
    if (rank < 1) {
        return 1;
    }
    return rank >= (double)histogram->count ? histogram->count : (uint64_t)rank;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
    if (histogram->count == 0) {
        return 0;
    }
    uint64_t rank = rank_of(histogram, quantile), seen = 0;
    if (rank == histogram->count) {
        return histogram->maximum;
    }
    uint32_t bucket = 0;
    while (bucket < HISTOGRAM_BUCKET_COUNT - 1 && (seen += histogram->buckets[bucket]) < rank) {
        bucket++;
    }
    uint64_t value = histogram_bucket_middle(bucket);
    value = value < histogram->minimum ? histogram->minimum : value;
    return value > histogram->maximum ? histogram->maximum : value;
}
