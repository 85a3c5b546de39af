#include "tests/bench/schedule.h"

#include <math.h>

#include "tests/bench/chance.h"

void schedule_init(struct schedule *schedule, uint64_t start_ns, double rate, bool poisson,
                   uint64_t seed)
{
    *schedule = (struct schedule){
        .start_ns = start_ns,
        .interval_ns = 1e9 / rate,
        .poisson = poisson,
        .random_state = seed | 1,
    };
}

void schedule_advance(struct schedule *schedule)
{
    schedule->number++;
    if (schedule->poisson) {
        schedule->offset_ns -=
            log(chance_fraction(&schedule->random_state)) * schedule->interval_ns;
    } else {
        /* Multiplied, not summed up: no drift over billions of requests. */
        schedule->offset_ns = (double)schedule->number * schedule->interval_ns;
    }
}
