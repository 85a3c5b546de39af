/* Who observes: see memcache_observers.h. The counts of watchers are relaxed: a worker that learns
 * of a watcher a pass later begins its lines a pass later. */
#include "dataplane/l7_command/memcache_observers.h"

#include <stdlib.h>

struct memcache_observers *memcache_observers_create(void)
{
    struct memcache_observers *observers = calloc(1, sizeof(*observers));
    if (observers != NULL) {
        observers->user_count = 1;
    }
    return observers;
}

void memcache_observers_release(struct memcache_observers *observers)
{
    if (observers != NULL && --observers->user_count == 0) {
        free(observers);
    }
}

/* One in the byte of each kind. */
static uint64_t one_of_each(uint32_t kinds)
{
    uint64_t ones = 0;
    for (uint32_t kind = 0; kind < EVENT_KIND_COUNT; kind++) {
        ones |= (uint64_t)(kinds >> kind & 1U) << 8 * kind;
    }
    return ones;
}

bool memcache_observers_add(struct memcache_observers *observers, uint32_t worker, uint32_t kinds)
{
    CHECK(kinds != 0 && kinds >> EVENT_KIND_COUNT == 0 && worker < CONFIG_WORKERS_MAX);
    uint32_t before = __atomic_fetch_add(&observers->watcher_count, 1, __ATOMIC_RELAXED);
    if (before >= MEMCACHE_WATCHERS_MAX) {
        __atomic_fetch_sub(&observers->watcher_count, 1, __ATOMIC_RELAXED);
        return false;
    }
    __atomic_fetch_add(&observers->watchers_of[worker], 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&observers->state, one_of_each(kinds), __ATOMIC_RELAXED);
    return true;
}

void memcache_observers_remove(struct memcache_observers *observers, uint32_t worker,
                               uint32_t kinds)
{
    __atomic_fetch_sub(&observers->state, one_of_each(kinds), __ATOMIC_RELAXED);
    __atomic_fetch_sub(&observers->watchers_of[worker], 1, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&observers->watcher_count, 1, __ATOMIC_RELAXED);
}

void memcache_observers_keep_detail(struct memcache_observers *observers, bool keep)
{
    if (keep) {
        __atomic_fetch_or(&observers->state, OBSERVED_DETAIL, __ATOMIC_RELAXED);
    } else {
        __atomic_fetch_and(&observers->state, ~OBSERVED_DETAIL, __ATOMIC_RELAXED);
    }
}
