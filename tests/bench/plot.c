/* The percentile curve as SVG, written by hand: no plotting program is needed.
 *
 * Across: 50 %, 90 %, 99 % ... each nine as wide as the one before. Up: latency, logarithmic.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/report.h"

#define CURVES_MAX   8U
#define STEPS        400U
#define NINES_MAX    5.0 /* to the 99.999th percentile */
#define WIDTH        900.0
#define HEIGHT       520.0
#define MARGIN_LEFT  80.0
#define MARGIN_RIGHT 20.0
#define MARGIN_UP    50.0
#define MARGIN_DOWN  60.0

struct curve {
    char name[32];
    double latency_us[STEPS + 1];
    uint32_t steps; /* as far as there are values enough */
};

struct plot {
    uint32_t count;
    double low_us, high_us;
    struct curve curves[CURVES_MAX];
};

static const char *const colours[CURVES_MAX] = {"#1f6fb4", "#d1495b", "#3d9970", "#8e44ad",
                                                "#c77d0a", "#2c3e50", "#16a2b8", "#7f8c2b"};

struct plot *plot_create(void)
{
    struct plot *plot = calloc(1, sizeof(*plot));
    if (plot != NULL) {
        plot->low_us = INFINITY;
    }
    return plot;
}

void plot_destroy(struct plot *plot)
{
    free(plot);
}

static double nines_at(uint32_t step)
{
    return NINES_MAX * step / STEPS;
}

void plot_add(struct plot *plot, const char *name, const struct histogram *histogram)
{
    if (plot->count == CURVES_MAX || histogram->count == 0) {
        return;
    }
    struct curve *curve = &plot->curves[plot->count++];
    snprintf(curve->name, sizeof(curve->name), "%s", name);
    for (uint32_t i = 0; i <= STEPS; i++) {
        double beyond = pow(10, -nines_at(i));
        double us = (double)histogram_quantile(histogram, 1 - beyond) / 1e3;
        curve->latency_us[i] = us < 0.001 ? 0.001 : us;
        curve->steps = i;
        if (beyond * (double)histogram->count < 1) {
            break;
        }
    }
    plot->low_us = fmin(plot->low_us, curve->latency_us[0]);
    plot->high_us = fmax(plot->high_us, curve->latency_us[curve->steps]);
}

struct frame {
    double low, high; /* powers of ten of microseconds */
};

static double x_of(double nines)
{
    return MARGIN_LEFT + nines / NINES_MAX * (WIDTH - MARGIN_LEFT - MARGIN_RIGHT);
}

static double y_of(const struct frame *frame, double us)
{
    double share = (log10(us) - frame->low) / (frame->high - frame->low);
    return HEIGHT - MARGIN_DOWN - share * (HEIGHT - MARGIN_UP - MARGIN_DOWN);
}

static void put_line(FILE *to, double x1, double y1, double x2, double y2)
{
    fprintf(to, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", x1, y1,
            x2, y2);
}

static void put_percentile_axis(FILE *to)
{
    static const struct {
        double percentile;
        const char *name;
    } marks[] = {{0, "0"},       {50, "50"},       {90, "90"},        {99, "99"},
                 {99.9, "99.9"}, {99.99, "99.99"}, {99.999, "99.999"}};
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        double x = x_of(-log10(1 - marks[i].percentile / 100));
        put_line(to, x, MARGIN_UP, x, HEIGHT - MARGIN_DOWN);
        fprintf(to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n", x,
                HEIGHT - MARGIN_DOWN + 20, marks[i].name);
    }
    fprintf(to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">percentile</text>\n", WIDTH / 2,
            HEIGHT - 15);
}

static void put_latency_axis(FILE *to, const struct frame *frame)
{
    for (double power = frame->low; power <= frame->high; power++) {
        for (uint32_t digit = 1; digit < 10; digit++) {
            double us = digit * pow(10, power), y = y_of(frame, us);
            if (y < MARGIN_UP - 0.5) {
                break;
            }
            put_line(to, MARGIN_LEFT, y, WIDTH - MARGIN_RIGHT, y);
            if (digit == 1) {
                fprintf(to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%g %s</text>\n",
                        MARGIN_LEFT - 8, y + 4, us < 1000 ? us : us / 1000,
                        us < 1000 ? "us" : "ms");
            }
        }
    }
}

static void put_curve(FILE *to, const struct frame *frame, const struct curve *curve,
                      uint32_t index)
{
    fprintf(to, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"",
            colours[index]);
    for (uint32_t i = 0; i <= curve->steps; i++) {
        fprintf(to, "%.1f,%.1f ", x_of(nines_at(i)), y_of(frame, curve->latency_us[i]));
    }
    /* Names of tests are ours: nothing in them needs escaping. */
    fprintf(to, "\"/>\n<text x=\"%.1f\" y=\"%.1f\" fill=\"%s\">%s</text>\n", MARGIN_LEFT + 10,
            MARGIN_UP + 20 + 18.0 * index, colours[index], curve->name);
}

int plot_write(const struct plot *plot, const char *path)
{
    FILE *to = fopen(path, "we");
    if (to == NULL) {
        return -errno;
    }
    struct frame frame = {.low = 0, .high = 1};
    if (plot->count > 0) {
        frame.low = floor(log10(plot->low_us));
        frame.high = fmax(ceil(log10(plot->high_us)), frame.low + 1);
    }
    fprintf(to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
            "<text x=\"%.0f\" y=\"28\" text-anchor=\"middle\" font-size=\"16\">"
            "Latency by percentile</text>\n",
            WIDTH, HEIGHT, WIDTH / 2);
    put_percentile_axis(to);
    put_latency_axis(to, &frame);
    for (uint32_t i = 0; i < plot->count; i++) {
        put_curve(to, &frame, &plot->curves[i], i);
    }
    fputs("</svg>\n", to);
    return fclose(to) == 0 ? 0 : -errno;
}
