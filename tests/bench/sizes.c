#include "tests/bench/sizes.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/chance.h"

/* The named ones, and the bounds that they are cut at. */
static const struct {
    const char *name;
    enum sizes_shape shape;
    uint32_t low, high;
} named[] = {
    {"etc-key", SIZES_ETC_KEY, 20, 70},
    {"etc-value", SIZES_ETC_VALUE, 1, 1000},
    {"twitter-value", SIZES_TWITTER, 15, 67000},
    {"twitter-write", SIZES_LOG_UNIFORM, 15, 20000},
};

static bool parse_named(struct sizes *sizes, const char *text)
{
    for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
        if (strcmp(text, named[i].name) == 0) {
            sizes->shape = named[i].shape;
            sizes->range_count = 1;
            sizes->ranges[0].low = named[i].low;
            sizes->ranges[0].high = named[i].high;
            sizes->ranges[0].weight_end = 1;
            return true;
        }
    }
    return false;
}

static bool parse_number(const char **text, uint64_t limit, uint64_t *value)
{
    if (**text < '0' || **text > '9') {
        return false;
    }
    *value = 0;
    while (**text >= '0' && **text <= '9') {
        *value = *value * 10 + (uint64_t)(*(*text)++ - '0');
        if (*value > limit) {
            return false;
        }
    }
    return true;
}

/* LOW[-HIGH][:WEIGHT] */
static bool parse_range(struct sizes *sizes, const char **text, uint32_t low_limit,
                        uint32_t high_limit)
{
    uint64_t low, high, weight = 1;
    if (sizes->range_count == SIZES_RANGES_MAX || !parse_number(text, high_limit, &low)) {
        return false;
    }
    high = low;
    if (**text == '-' && ((*text)++, !parse_number(text, high_limit, &high))) {
        return false;
    }
    if (**text == ':' && ((*text)++, !parse_number(text, 1000000, &weight))) {
        return false;
    }
    if (low < low_limit || high < low || weight == 0) {
        return false;
    }
    uint32_t i = sizes->range_count++;
    sizes->ranges[i].low = (uint32_t)low;
    sizes->ranges[i].high = (uint32_t)high;
    sizes->ranges[i].weight_end = weight + (i > 0 ? sizes->ranges[i - 1].weight_end : 0);
    return true;
}

bool sizes_parse(struct sizes *sizes, const char *text, uint32_t low_limit, uint32_t high_limit)
{
    *sizes = (struct sizes){0};
    if (parse_named(sizes, text)) {
        return sizes->ranges[0].low >= low_limit && sizes->ranges[0].high <= high_limit;
    }
    while (parse_range(sizes, &text, low_limit, high_limit)) {
        if (*text == '\0') {
            return true;
        }
        if (*text++ != ',') {
            return false;
        }
    }
    return false;
}

/* ---- drawing --------------------------------------------------------------------------------- */

static double draw_shape(const struct sizes *sizes, uint64_t *state)
{
    double u = chance_fraction(state), low = sizes->ranges[0].low, high = sizes->ranges[0].high;
    switch (sizes->shape) {
    case SIZES_ETC_KEY: return 30.7984 + 8.20449 * (pow(-log(u), -0.078688) - 1) / 0.078688;
    case SIZES_ETC_VALUE: return 214.476 * (pow(u, -0.348238) - 1) / 0.348238;
    case SIZES_TWITTER:
        return 224 * exp(1.2 * sqrt(-2 * log(u)) * cos(2 * M_PI * chance_fraction(state)));
    case SIZES_LOG_UNIFORM: return low * exp(u * log(high / low));
    case SIZES_RANGES:
    default: return low;
    }
}

static uint32_t draw_range(const struct sizes *sizes, uint64_t *state)
{
    uint64_t point = chance_below(state, sizes->ranges[sizes->range_count - 1].weight_end);
    uint32_t i = 0;
    while (point >= sizes->ranges[i].weight_end) {
        i++;
    }
    uint32_t width = sizes->ranges[i].high - sizes->ranges[i].low + 1;
    return sizes->ranges[i].low + (uint32_t)chance_below(state, width);
}

uint32_t sizes_of(const struct sizes *sizes, uint64_t hash)
{
    if (sizes->shape == SIZES_RANGES && sizes->range_count == 1 &&
        sizes->ranges[0].low == sizes->ranges[0].high) {
        return sizes->ranges[0].low;
    }
    uint64_t state = hash | 1;
    (void)random_next(&state);
    if (sizes->shape == SIZES_RANGES) {
        return draw_range(sizes, &state);
    }
    double size = draw_shape(sizes, &state);
    size = size < sizes->ranges[0].low ? sizes->ranges[0].low : size;
    return size > sizes->ranges[0].high ? sizes->ranges[0].high : (uint32_t)size;
}

uint32_t sizes_maximum(const struct sizes *sizes)
{
    uint32_t maximum = 0;
    for (uint32_t i = 0; i < sizes->range_count; i++) {
        maximum = sizes->ranges[i].high > maximum ? sizes->ranges[i].high : maximum;
    }
    return maximum;
}

uint32_t sizes_minimum(const struct sizes *sizes)
{
    uint32_t minimum = UINT32_MAX;
    for (uint32_t i = 0; i < sizes->range_count; i++) {
        minimum = sizes->ranges[i].low < minimum ? sizes->ranges[i].low : minimum;
    }
    return minimum;
}
