/* Time, read once per pass of a loop and handed down: no layer reads a clock by itself. */
#ifndef NICACHED_BASE_CLOCK_H
#define NICACHED_BASE_CLOCK_H

#include <stdint.h>

struct instant {
    uint64_t mono_us; /* monotonic, from an arbitrary start: for timers */
    uint64_t wall_ms; /* Unix time in milliseconds: for expiry */
    uint64_t wall_us; /* Unix time in microseconds: for TIME */
};

/* Reads the operating system's clocks. Called by loops only. */
void clock_read(struct instant *now);

#endif
