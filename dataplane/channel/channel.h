/* A channel: the only door between two threads. One sender, one receiver, fixed size, in order.
 *
 * Thin over rte_ring (single producer, single consumer, 32-byte elements). Messages are small
 * values; what they point at changes hands with them. A full channel refuses, and the sender
 * keeps the message and tries again in a later pass: nobody ever waits.
 */
#ifndef NICACHED_CHANNEL_CHANNEL_H
#define NICACHED_CHANNEL_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

enum message_type {
    MESSAGE_NONE,
    /* worker -> reclaimer and back: `pointer` is a struct reclaim_batch */
    MESSAGE_RECLAIM_BATCH,
    MESSAGE_RECLAIMED_BATCH,
    /* worker -> control: `pointer` is a struct control_request; and back, answered */
    MESSAGE_CONTROL_REQUEST,
    MESSAGE_CONTROL_REPLY,
    /* worker -> control: please have index segments ready; control -> worker: here is one */
    MESSAGE_SEGMENT_WANTED,
    MESSAGE_SEGMENT_READY,
    /* control -> worker: `pointer` is a struct eviction_batch; and back, worked off */
    MESSAGE_EVICT_BATCH,
    MESSAGE_EVICTED_BATCH,
};

struct message {
    enum message_type type;
    uint32_t from; /* worker number, or CHANNEL_FROM_CONTROL */
    void *pointer;
    uint64_t words[2];
};
_Static_assert(sizeof(struct message) == 32, "a message is one ring element");

#define CHANNEL_FROM_CONTROL UINT32_MAX

struct channel;

/* `capacity` is a power of two; the channel holds capacity - 1 messages. NULL when out of memory.
 */
struct channel *channel_create(uint32_t capacity);
void channel_destroy(struct channel *channel);
bool channel_send(struct channel *channel, const struct message *message);
uint32_t channel_receive_burst(struct channel *channel, struct message *messages,
                               uint32_t count_max);
bool channel_is_empty(const struct channel *channel);

#endif
