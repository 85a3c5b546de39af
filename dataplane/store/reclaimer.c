/* The reclaimer thread: see reclaimer.h.
 *
 *   worker --from[i]--> take round --> (batches: one grace period for all) --> to[i] --> worker
 *                            |
 *                            +--> segments made or destroyed, as wanted
 *
 * Between rounds it sleeps, longer while nothing comes; after SLEEP_US_MAX without anything it
 * waits for the doorbell of the channels.
 *
 * It looks into no batch. Thread: its own; not an RCU reader. Memory: the rounds, fixed at the
 * start. Failure: an answer that finds its channel full waits here, and nothing more is taken from
 * that worker; a segment that cannot be made is answered with NULL.
 */
#include "dataplane/store/reclaimer.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "dataplane/base/rcu.h"
#include "dataplane/channel/channel.h"
#include "dataplane/store/memory.h"
#include "dataplane/store/segment.h"

#define ROUND_MESSAGES 64
#define SLEEP_US_MIN   250
#define SLEEP_US_MAX   4000

/* What was taken from one worker, and then the answers to it. */
struct reclaim_round {
    struct message messages[ROUND_MESSAGES];
    uint32_t count, answered;
};

struct reclaimer {
    pthread_t thread;
    struct doorbell doorbell;
    bool stopping;
    uint32_t count;
    struct channel **from, **to;
    struct reclaim_round *rounds;
};

/* True when a batch waits for its grace period. */
static bool take_round(struct reclaimer *reclaimer, uint32_t worker)
{
    struct reclaim_round *round = &reclaimer->rounds[worker];
    if (round->answered < round->count) {
        return false;
    }
    round->answered = 0;
    round->count = channel_receive_burst(reclaimer->from[worker], round->messages, ROUND_MESSAGES);
    bool batches = false;
    for (uint32_t i = 0; i < round->count; i++) {
        batches |= round->messages[i].type == MESSAGE_RECLAIM_BATCH;
    }
    return batches;
}

/* Turns a message into its answer; MESSAGE_NONE when there is none. */
static void serve(struct message *message)
{
    if (message->type == MESSAGE_RECLAIM_BATCH) {
        message->type = MESSAGE_RECLAIMED_BATCH;
    } else if (message->type == MESSAGE_SEGMENT_WANTED && message->pointer != NULL) {
        segment_destroy(message->pointer);
        message->type = MESSAGE_NONE;
    } else if (message->type == MESSAGE_SEGMENT_WANTED) {
        struct segment *segment = segment_create((uint32_t)message->words[0]);
        if (segment != NULL) {
            segment_touch(segment);
        }
        message->pointer = segment;
        message->type = MESSAGE_SEGMENT_READY;
    } else if (message->type == MESSAGE_MEMORY_WANTED) {
        struct memory_task task = {message->pointer, (uint32_t)message->words[0]};
        memory_serve(&task);
        message->type = MESSAGE_MEMORY_READY;
    }
}

/* Batches came first: they are served in order, and an answer once served is only sent again. */
static void answer_round(struct reclaimer *reclaimer, uint32_t worker)
{
    struct reclaim_round *round = &reclaimer->rounds[worker];
    for (; round->answered < round->count; round->answered++) {
        struct message *message = &round->messages[round->answered];
        serve(message);
        if (message->type != MESSAGE_NONE && !channel_send(reclaimer->to[worker], message)) {
            return;
        }
    }
}

/* True when there was anything to do. */
static bool run_round(struct reclaimer *reclaimer)
{
    bool batches = false, busy = false;
    for (uint32_t i = 0; i < reclaimer->count; i++) {
        batches |= take_round(reclaimer, i);
    }
    if (batches) {
        rcu_wait_for_readers();
    }
    for (uint32_t i = 0; i < reclaimer->count; i++) {
        busy |= reclaimer->rounds[i].count > 0;
        answer_round(reclaimer, i);
    }
    return busy;
}

static bool is_stopping(const struct reclaimer *reclaimer)
{
    return __atomic_load_n(&reclaimer->stopping, __ATOMIC_ACQUIRE);
}

static bool has_messages(const struct reclaimer *reclaimer)
{
    for (uint32_t i = 0; i < reclaimer->count; i++) {
        if (!channel_is_empty(reclaimer->from[i])) {
            return true;
        }
    }
    return false;
}

/* The last round was empty: no answer is left to send. */
static void wait_for_messages(struct reclaimer *reclaimer)
{
    doorbell_may_wait(&reclaimer->doorbell);
    if (!has_messages(reclaimer) && !is_stopping(reclaimer)) {
        doorbell_wait(&reclaimer->doorbell);
    }
    doorbell_awake(&reclaimer->doorbell);
}

static void *run(void *argument)
{
    struct reclaimer *reclaimer = argument;
    useconds_t sleep_us = SLEEP_US_MIN;
    while (!is_stopping(reclaimer)) {
        bool busy = run_round(reclaimer);
        sleep_us = busy ? SLEEP_US_MIN : sleep_us * 2;
        if (sleep_us <= SLEEP_US_MAX) {
            usleep(sleep_us);
        } else {
            wait_for_messages(reclaimer);
            sleep_us = SLEEP_US_MIN;
        }
    }
    return NULL;
}

/* Signals are for the control thread. */
static bool start_thread(struct reclaimer *reclaimer)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&reclaimer->thread, NULL, run, reclaimer) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started) {
        for (uint32_t i = 0; i < reclaimer->count; i++) {
            channel_set_doorbell(reclaimer->from[i], &reclaimer->doorbell);
        }
        pthread_setname_np(reclaimer->thread, "reclaimer");
    }
    return started;
}

static struct channel **copy_channels(struct channel **channels, uint32_t count)
{
    struct channel **copy = calloc(count, sizeof(struct channel *));
    for (uint32_t i = 0; copy != NULL && i < count; i++) {
        copy[i] = channels[i];
    }
    return copy;
}

static void free_reclaimer(struct reclaimer *reclaimer)
{
    free(reclaimer->from);
    free(reclaimer->to);
    free(reclaimer->rounds);
    doorbell_deinit(&reclaimer->doorbell);
    free(reclaimer);
}

struct reclaimer *reclaimer_create(struct channel **from, struct channel **to, uint32_t count)
{
    struct reclaimer *reclaimer = calloc(1, sizeof(*reclaimer));
    if (reclaimer == NULL) {
        return NULL;
    }
    if (doorbell_init(&reclaimer->doorbell) < 0) {
        free(reclaimer);
        return NULL;
    }
    reclaimer->count = count;
    reclaimer->from = copy_channels(from, count);
    reclaimer->to = copy_channels(to, count);
    reclaimer->rounds = calloc(count, sizeof(*reclaimer->rounds));
    if (reclaimer->from == NULL || reclaimer->to == NULL || reclaimer->rounds == NULL ||
        !start_thread(reclaimer)) {
        free_reclaimer(reclaimer);
        return NULL;
    }
    return reclaimer;
}

/* Segments belong to nobody while they travel. Batches are the shard's, which knows them all. */
static void destroy_segment_of(const struct message *message)
{
    bool retired = message->type == MESSAGE_SEGMENT_WANTED;
    bool ready = message->type == MESSAGE_SEGMENT_READY;
    if ((retired || ready) && message->pointer != NULL) {
        segment_destroy(message->pointer);
    }
}

static void drain(struct channel *channel)
{
    struct message message;
    while (channel_receive_burst(channel, &message, 1) == 1) {
        destroy_segment_of(&message);
    }
}

void reclaimer_destroy(struct reclaimer *reclaimer)
{
    if (reclaimer == NULL) {
        return;
    }
    __atomic_store_n(&reclaimer->stopping, true, __ATOMIC_RELEASE);
    doorbell_ring(&reclaimer->doorbell);
    pthread_join(reclaimer->thread, NULL);
    for (uint32_t i = 0; i < reclaimer->count; i++) {
        struct reclaim_round *round = &reclaimer->rounds[i];
        for (; round->answered < round->count; round->answered++) {
            destroy_segment_of(&round->messages[round->answered]);
        }
        channel_set_doorbell(reclaimer->from[i], NULL);
        drain(reclaimer->from[i]);
        drain(reclaimer->to[i]);
    }
    free_reclaimer(reclaimer);
}
