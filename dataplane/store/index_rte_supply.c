/* Where segments come from and where they go.
 *
 *   asked for --> reclaimer makes it --> ready --> in an index --> (grace period) --> reclaimer
 *                                          |                                       destroys it
 *                                          +-- nobody wants it any more --------------^
 *
 * Making one takes a millisecond for each 2^17 entries, destroying one as long: EAL clears what it
 * is given back. So that is the reclaimer's work. Only small ones are made on the spot; and a
 * larger one when a segment is full to the last position and the reclaimer has not answered (an
 * emergency, counted). Index memory is reserved when a segment is asked for, so a segment that
 * comes always fits.
 */
#include <stdlib.h>

#include <rte_cycles.h>

#include "dataplane/base/check.h"
#include "dataplane/channel/channel.h"
#include "dataplane/store/index_rte.h"

/* Made faster than asked for: about 30 us. */
#define INLINE_ENTRIES_MAX (1U << 14)
#define RETRY_US           100000

static struct segment *pop(struct segment **list)
{
    struct segment *segment = *list;
    *list = segment->queue_next;
    segment->queue_next = NULL;
    return segment;
}

static void push(struct segment **list, struct segment *segment)
{
    segment->queue_next = *list;
    *list = segment;
}

bool segments_are_made_inline(const struct index_services *services, uint32_t entries)
{
    return services->to_reclaimer == NULL || entries <= INLINE_ENTRIES_MAX;
}

uint32_t segments_count_ready(const struct index_services *services, uint32_t entries)
{
    uint32_t count = 0;
    for (const struct segment *s = services->ready; s != NULL; s = s->queue_next) {
        count += s->capacity == entries;
    }
    return count;
}

struct segment *segments_take(struct index_services *services, uint32_t entries)
{
    struct segment **link = &services->ready;
    while (*link != NULL && (*link)->capacity != entries) {
        link = &(*link)->queue_next;
    }
    struct segment *segment = *link;
    CHECK(segment != NULL);
    *link = segment->queue_next;
    segment->queue_next = NULL;
    return segment;
}

void segments_take_ready(struct index_services *services, struct segment *segment, uint32_t entries)
{
    CHECK(services->outstanding > 0);
    services->outstanding--;
    if (segment == NULL) {
        memory_release_index(services->memory, segment_bytes(entries));
        services->retry_at_us = services->now_us + RETRY_US;
        return;
    }
    push(&services->ready, segment);
    metric_add(services->metrics, METRIC_STORE_SEGMENTS, 1);
}

static bool reserve(struct index_services *services, uint32_t entries)
{
    services->refused =
        services->now_us < services->retry_at_us ||
        !memory_reserve_index(services->memory, segment_bytes(entries), MEMORY_LIMITED);
    return !services->refused;
}

bool segments_make(struct index_services *services, uint32_t entries)
{
    if (!reserve(services, entries)) {
        return false;
    }
    uint64_t start = rte_rdtsc();
    struct segment *segment = segment_create(entries);
    services->growth_cycles += rte_rdtsc() - start;
    services->outstanding++;
    segments_take_ready(services, segment, entries);
    return segment != NULL;
}

bool segments_request(struct index_services *services, uint32_t entries)
{
    if (!reserve(services, entries)) {
        return false;
    }
    struct message message = {
        .type = MESSAGE_SEGMENT_WANTED, .from = services->number, .words = {entries}};
    if (!channel_send(services->to_reclaimer, &message)) {
        memory_release_index(services->memory, segment_bytes(entries));
        return false;
    }
    services->outstanding++;
    return true;
}

/* Whoever gets a message owns the segment, so it is in no list of ours when it is sent. */
static bool send_away(struct index_services *services, struct segment *segment)
{
    struct message message = {
        .type = MESSAGE_SEGMENT_WANTED, .from = services->number, .pointer = segment};
    if (!channel_send(services->to_reclaimer, &message)) {
        push(&services->doomed, segment);
        return false;
    }
    return true;
}

void segments_dispose(struct index_services *services, struct segment *segment)
{
    memory_release_index(services->memory, segment_bytes(segment->capacity));
    metric_subtract(services->metrics, METRIC_STORE_SEGMENTS, 1);
    if (services->to_reclaimer == NULL) {
        segment_destroy(segment);
    } else {
        (void)send_away(services, segment);
    }
}

void segments_trim(struct index_services *services)
{
    while (services->doomed != NULL && send_away(services, pop(&services->doomed))) {
    }
    if (services->ready != NULL && services->hungry_count == 0 && services->outstanding == 0) {
        segments_dispose(services, pop(&services->ready));
    }
}

void segments_teardown(struct index_services *services)
{
    services->to_reclaimer = NULL;
    while (services->doomed != NULL) {
        segment_destroy(pop(&services->doomed));
    }
    while (services->ready != NULL) {
        segments_dispose(services, pop(&services->ready));
    }
}
