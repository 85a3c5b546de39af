#include "dataplane/base/clock.h"

#include <time.h>

static uint64_t microseconds(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000U + (uint64_t)t.tv_nsec / 1000U;
}

void clock_read(struct instant *now)
{
    now->mono_us = microseconds(CLOCK_MONOTONIC);
    now->wall_us = microseconds(CLOCK_REALTIME);
    now->wall_ms = now->wall_us / 1000U;
}
