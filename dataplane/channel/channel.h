/* A channel: the only door between two threads. One sender, one receiver, fixed size, in order.
 *
 * Thin over rte_ring (single producer, single consumer, 32-byte elements). Messages are small
 * values; what they point at changes hands with them. A full channel refuses, and the sender
 * keeps the message and tries again in a later pass: nobody ever waits.
 *
 * A receiver that has nothing else to look at may wait for a doorbell that all of its channels
 * ring:
 *
 *   doorbell_may_wait; all channels empty? -> doorbell_wait; in either case doorbell_awake
 *
 * Why no message is missed: the sender puts it into the channel and then exchanges `asleep` for
 * false (A in channel_send); the receiver exchanges it for true (B in doorbell_may_wait) and then
 * looks into its channels. If A comes after B, the sender finds it true and rings; if before, B has
 * read what A wrote or something later, so that the look sees the message. A sender makes a system
 * call only if the receiver waits.
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
    /* worker -> worker: `pointer` is a struct errand (core/core_errand.h); there, and back */
    MESSAGE_ERRAND,
    MESSAGE_ERRAND_DONE,
    /* worker -> worker: the lease of the receiver's shard is given back */
    MESSAGE_LEASE_RETURNED,
    /* worker -> reclaimer: please put memory behind a chunk, or take it away; and back, done:
     * `pointer` is a struct memory, words[0] the chunk */
    MESSAGE_MEMORY_WANTED,
    MESSAGE_MEMORY_READY,
    /* worker -> worker: words[0] is the descriptor of a connection to serve, words[1] its listener
     */
    MESSAGE_CONNECTION,
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

struct doorbell {
    int fd; /* eventfd */
    bool asleep;
};

/* 0 or a negative errno. */
int doorbell_init(struct doorbell *doorbell);
void doorbell_deinit(struct doorbell *doorbell);
void doorbell_may_wait(struct doorbell *doorbell);
void doorbell_wait(struct doorbell *doorbell);
void doorbell_awake(struct doorbell *doorbell);
/* Ends a wait, also from another thread than the senders'. */
void doorbell_ring(struct doorbell *doorbell);

/* `capacity` is a power of two; the channel holds capacity - 1 messages. NULL when out of memory.
 */
struct channel *channel_create(uint32_t capacity);
void channel_destroy(struct channel *channel);
/* While nobody sends. NULL: nobody waits for this channel. */
void channel_set_doorbell(struct channel *channel, struct doorbell *doorbell);
bool channel_send(struct channel *channel, const struct message *message);
/* The first ones, as many as there is room for; returns how many. The receiver sees all of them at
 * once. */
uint32_t channel_send_burst(struct channel *channel, const struct message *messages,
                            uint32_t count);
uint32_t channel_receive_burst(struct channel *channel, struct message *messages,
                               uint32_t count_max);
bool channel_is_empty(const struct channel *channel);

#endif
