#include "dataplane/channel/channel.h"

#include <stdlib.h>

#include <rte_ring.h>
#include <rte_ring_elem.h>

/* The ring lives on the heap, not in a memzone: channels need no names and no EAL memory. */
struct channel {
    struct rte_ring *ring;
};

struct channel *channel_create(uint32_t capacity)
{
    ssize_t size = rte_ring_get_memsize_elem(sizeof(struct message), capacity);
    if (size < 0) {
        return NULL;
    }
    struct channel *channel = malloc(sizeof(*channel));
    /* A ring is aligned to cache lines, and aligned_alloc wants a multiple of the alignment. */
    size_t rounded = ((size_t)size + 127U) & ~(size_t)127U;
    struct rte_ring *ring = aligned_alloc(128, rounded);
    if (channel == NULL || ring == NULL ||
        rte_ring_init(ring, "channel", capacity, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0) {
        free(ring);
        free(channel);
        return NULL;
    }
    channel->ring = ring;
    return channel;
}

void channel_destroy(struct channel *channel)
{
    if (channel != NULL) {
        free(channel->ring);
        free(channel);
    }
}

bool channel_send(struct channel *channel, const struct message *message)
{
    struct message copy = *message;
    return rte_ring_sp_enqueue_elem(channel->ring, &copy, sizeof(copy)) == 0;
}

uint32_t channel_receive_burst(struct channel *channel, struct message *messages,
                               uint32_t count_max)
{
    return rte_ring_sc_dequeue_burst_elem(channel->ring, messages, sizeof(*messages), count_max,
                                          NULL);
}

bool channel_is_empty(const struct channel *channel)
{
    return rte_ring_empty(channel->ring) != 0;
}
