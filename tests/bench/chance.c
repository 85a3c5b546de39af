#include "tests/bench/chance.h"

#include <math.h>

static double weight(const struct zipf *zipf, double x)
{
    return exp(-zipf->theta * log(x));
}

/* (x^(1-theta) - 1) / (1-theta), which is log x where theta is 1. */
static double area(const struct zipf *zipf, double x)
{
    double exponent = 1 - zipf->theta, logarithm = log(x);
    return fabs(exponent) < 1e-9 ? logarithm : expm1(exponent * logarithm) / exponent;
}

static double area_inverse(const struct zipf *zipf, double y)
{
    double exponent = 1 - zipf->theta;
    if (fabs(exponent) < 1e-9) {
        return exp(y);
    }
    double grown = exponent * y;
    return exp(log1p(grown < -1 ? -1 : grown) / exponent);
}

void zipf_init(struct zipf *zipf, uint64_t count, double theta)
{
    *zipf = (struct zipf){.count = count, .theta = theta};
    zipf->area_first = area(zipf, 1.5) - 1;
    zipf->area_last = area(zipf, (double)count + 0.5);
    zipf->squeeze = 2 - area_inverse(zipf, area(zipf, 2.5) - weight(zipf, 2));
}

uint64_t zipf_draw(const struct zipf *zipf, uint64_t *state)
{
    for (;;) {
        double u = zipf->area_last + chance_fraction(state) * (zipf->area_first - zipf->area_last);
        double x = area_inverse(zipf, u), rank = floor(x + 0.5);
        rank = rank < 1 ? 1 : rank;
        rank = rank > (double)zipf->count ? (double)zipf->count : rank;
        if (rank - x <= zipf->squeeze || u >= area(zipf, rank + 0.5) - weight(zipf, rank)) {
            return (uint64_t)rank - 1;
        }
    }
}
