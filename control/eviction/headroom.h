/* How much of a shard's memory is to be kept free, and how much has to go.
 *
 *   0 ......................................... limit - headroom ........... limit
 *                  nothing to do                       evict       writes wait
 *
 * The headroom follows the writers: what they took in 16 ms at their fastest, lately; twice as
 * much, and twice again, when writes had to wait nevertheless (the control thread is late on a busy
 * machine, or freeing is). It is between 1/64 and 1/8 of the limit. So writers at full speed rarely
 * find the memory used up, and a cache that is written to little is full.
 *
 * Pure arithmetic: no clock, no thread.
 */
#ifndef NICACHED_CONTROL_EVICTION_HEADROOM_H
#define NICACHED_CONTROL_EVICTION_HEADROOM_H

#include <stdint.h>

struct headroom {
    uint64_t last_us;
    uint64_t last_bytes;   /* in use then, less what was chosen since */
    uint64_t bytes_per_ms; /* the fastest lately */
    uint64_t waited_us;    /* when the stretch last changed */
    uint32_t stretch;      /* log2 of the factor */
};

/* `used_bytes`: in use and not about to be freed. */
void headroom_note(struct headroom *headroom, uint64_t used_bytes, uint64_t now_us);
/* A write waits, or waited a moment ago. */
void headroom_note_waiting(struct headroom *headroom, uint64_t now_us);
/* So much has been chosen to go: it is not counted as given back by itself. */
void headroom_note_chosen(struct headroom *headroom, uint64_t bytes);
uint64_t headroom_bytes(const struct headroom *headroom, uint64_t limit_bytes);
/* What has to go so that the headroom, or `room_bytes` if that is more, is free. */
uint64_t headroom_excess(const struct headroom *headroom, uint64_t limit_bytes, uint64_t used_bytes,
                         uint64_t room_bytes);

#endif
