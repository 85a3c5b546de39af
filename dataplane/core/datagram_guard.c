/* See datagram_guard.h. */
#include "dataplane/core/datagram_guard.h"

#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"

#define WAYS          4U
#define REQUEST       1000000U /* one request in tokens; a second at one request per second */
#define BURST_DIVISOR 4U

void datagram_guard_deinit(struct datagram_guard *guard)
{
    free(guard->allow_text);
    guard->allow_text = NULL;
}

void datagram_guard_set(struct datagram_guard *guard, const char *allow)
{
    if (guard->allow_text != NULL && strcmp(guard->allow_text, allow) == 0) {
        return;
    }
    datagram_guard_deinit(guard);
    guard->allow_text = strdup(allow);
    bool valid = guard->allow_text != NULL && prefix_list_parse(allow, &guard->allowed);
    CHECK(valid); /* the configuration has looked at it */
}

/* The address' own place, or the one that it may take. */
static struct datagram_source *place_of(struct datagram_guard *guard, uint64_t hash)
{
    struct datagram_source *ways = &guard->sources[hash % (DATAGRAM_SOURCES_MAX / WAYS) * WAYS];
    struct datagram_source *oldest = &ways[0];
    for (uint32_t i = 0; i < WAYS; i++) {
        if (ways[i].hash == hash) {
            return &ways[i];
        }
        oldest = ways[i].last_us < oldest->last_us ? &ways[i] : oldest;
    }
    return oldest;
}

bool datagram_guard_take(struct datagram_guard *guard, const struct address *source, uint64_t rate,
                         const struct instant *now)
{
    if (rate == 0) {
        return true;
    }
    uint64_t full = (rate / BURST_DIVISOR + 1) * REQUEST;
    uint64_t hash = hash_bytes(slice_of(source->bytes, sizeof(source->bytes))) | 1;
    struct datagram_source *place = place_of(guard, hash);
    if (place->hash != hash) {
        *place = (struct datagram_source){.hash = hash, .last_us = now->mono_us, .tokens = full};
    }
    uint64_t elapsed_us = now->mono_us - place->last_us;
    elapsed_us = elapsed_us < REQUEST ? elapsed_us : REQUEST; /* more than fills it */
    uint64_t tokens = place->tokens + elapsed_us * rate;
    place->tokens = tokens < full ? tokens : full;
    place->last_us = now->mono_us;
    if (place->tokens < REQUEST) {
        return false;
    }
    place->tokens -= REQUEST;
    return true;
}
