#include "dataplane/channel/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_ring.h>
#include <rte_ring_elem.h>

/* The ring lives on the heap, not in a memzone: channels need no names and no EAL memory. */
struct channel {
    struct rte_ring *ring;
    struct doorbell *doorbell;
};

/* ---- doorbell -------------------------------------------------------------------------------- */

int doorbell_init(struct doorbell *doorbell)
{
    *doorbell = (struct doorbell){.fd = eventfd(0, EFD_CLOEXEC)};
    return doorbell->fd < 0 ? -errno : 0;
}

void doorbell_deinit(struct doorbell *doorbell)
{
    close(doorbell->fd);
}

void doorbell_may_wait(struct doorbell *doorbell)
{
    (void)__atomic_exchange_n(&doorbell->asleep, true, __ATOMIC_ACQ_REL); /* B: see channel.h */
}

void doorbell_wait(struct doorbell *doorbell)
{
    uint64_t rings;
    ssize_t got = read(doorbell->fd, &rings, sizeof(rings));
    (void)got; /* interrupted: the caller looks, and waits again */
}

/* An exchange too, so that it reads what the last sender wrote: B may read this one. */
void doorbell_awake(struct doorbell *doorbell)
{
    (void)__atomic_exchange_n(&doorbell->asleep, false, __ATOMIC_ACQ_REL);
}

void doorbell_ring(struct doorbell *doorbell)
{
    uint64_t one = 1;
    ssize_t written = write(doorbell->fd, &one, sizeof(one));
    (void)written;
}

static void ring_if_asleep(struct doorbell *doorbell)
{
    if (__atomic_exchange_n(&doorbell->asleep, false, __ATOMIC_ACQ_REL)) { /* A: see channel.h */
        doorbell_ring(doorbell);
    }
}

/* ---- channel --------------------------------------------------------------------------------- */

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
    channel->doorbell = NULL;
    return channel;
}

void channel_destroy(struct channel *channel)
{
    if (channel != NULL) {
        free(channel->ring);
        free(channel);
    }
}

void channel_set_doorbell(struct channel *channel, struct doorbell *doorbell)
{
    channel->doorbell = doorbell;
}

uint32_t channel_send_burst(struct channel *channel, const struct message *messages, uint32_t count)
{
    uint32_t sent =
        rte_ring_sp_enqueue_burst_elem(channel->ring, messages, sizeof(*messages), count, NULL);
    if (sent > 0 && channel->doorbell != NULL) {
        ring_if_asleep(channel->doorbell);
    }
    return sent;
}

bool channel_send(struct channel *channel, const struct message *message)
{
    return channel_send_burst(channel, message, 1) == 1;
}

uint32_t channel_receive_burst(struct channel *channel, struct message *messages,
                               uint32_t count_max)
{
    return rte_ring_sc_dequeue_burst_elem(channel->ring, messages, sizeof(*messages), count_max,
                                          NULL);
}

bool channel_is_empty(const struct channel *channel)
{
    /* rte_ring_empty reads without the atomics that a look from beside the queue needs. */
    const struct rte_ring *ring = channel->ring;
    return __atomic_load_n(&ring->prod.tail, __ATOMIC_ACQUIRE) ==
           __atomic_load_n(&ring->cons.tail, __ATOMIC_RELAXED);
}
