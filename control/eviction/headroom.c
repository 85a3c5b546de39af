#include "control/eviction/headroom.h"

#define HEADROOM_MS  16U
#define PART_MIN     64U
#define PART_MAX     8U
#define DECAY_PART   64U   /* of the fastest rate, in a millisecond */
#define DECAY_MS_MAX 1000U /* a longer pause forgets everything */

#define STRETCH_MAX      4U
#define STRETCH_EVERY_US 20000U   /* doubled no faster: it takes a while to help */
#define STRETCH_KEPT_US  2000000U /* halved after so long without a wait */

/* Rounded up, so that it comes to 0. */
static uint64_t decayed(uint64_t rate, uint64_t elapsed_ms)
{
    if (elapsed_ms >= DECAY_MS_MAX) {
        return 0;
    }
    for (uint64_t i = 0; i < elapsed_ms && rate > 0; i++) {
        rate -= (rate + DECAY_PART - 1) / DECAY_PART;
    }
    return rate;
}

void headroom_note(struct headroom *headroom, uint64_t used_bytes, uint64_t now_us)
{
    uint64_t elapsed_us = now_us - headroom->last_us;
    if (elapsed_us < 500) {
        return; /* too short to measure a rate */
    }
    uint64_t grown = used_bytes > headroom->last_bytes ? used_bytes - headroom->last_bytes : 0;
    uint64_t rate = headroom->last_us != 0 ? grown * 1000 / elapsed_us : 0;
    uint64_t kept = decayed(headroom->bytes_per_ms, elapsed_us / 1000);
    headroom->bytes_per_ms = rate > kept ? rate : kept;
    headroom->last_us = now_us;
    headroom->last_bytes = used_bytes;
    if (headroom->stretch > 0 && now_us - headroom->waited_us >= STRETCH_KEPT_US) {
        headroom->stretch--;
        headroom->waited_us = now_us;
    }
}

void headroom_note_waiting(struct headroom *headroom, uint64_t now_us)
{
    if (now_us - headroom->waited_us < STRETCH_EVERY_US) {
        return;
    }
    headroom->waited_us = now_us;
    if (headroom->stretch < STRETCH_MAX) {
        headroom->stretch++;
    }
}

void headroom_note_chosen(struct headroom *headroom, uint64_t bytes)
{
    headroom->last_bytes -= bytes < headroom->last_bytes ? bytes : headroom->last_bytes;
}

uint64_t headroom_bytes(const struct headroom *headroom, uint64_t limit_bytes)
{
    uint64_t low = limit_bytes / PART_MIN, high = limit_bytes / PART_MAX;
    uint64_t bytes = (headroom->bytes_per_ms * HEADROOM_MS) << headroom->stretch;
    return bytes < low ? low : bytes > high ? high : bytes;
}

uint64_t headroom_excess(const struct headroom *headroom, uint64_t limit_bytes, uint64_t used_bytes,
                         uint64_t room_bytes)
{
    uint64_t wanted = headroom_bytes(headroom, limit_bytes);
    wanted = wanted > room_bytes ? wanted : room_bytes;
    uint64_t aim = limit_bytes > wanted ? limit_bytes - wanted : 0;
    return used_bytes > aim ? used_bytes - aim : 0;
}
