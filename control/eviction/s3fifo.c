/* S3-FIFO: most keys that are asked for once are never asked for again, so new keys get little
 * room until they are used again.
 *
 *   new key --> small queue (5 % of the keys)  --used again--> main queue --unused--> out
 *                    |                                  ^          |  ^
 *                    +--unused--> out, into the ghost   |          +--+ used: one use less
 *   new key that is in the ghost -----------------------+
 *
 * The small queue is a queue of fingerprints here; the items themselves hold no links. The main
 * queue is no queue at all: its items have the bit ACCESS_MAIN, and the walk through the index is
 * the hand that goes round. An item says with its stamp when it was new: one that has no main bit
 * and is older than the small queue (its entry was lost, or the policy was another then) is of the
 * main queue, too.
 *
 * Memory, on the control thread's heap: 13 bytes for each key of the small queue, and the ghost's:
 * together 3 to 6 bytes for each key of the shard.
 */
#include <stdlib.h>

#include "control/eviction/evictor_internal.h"

#define SMALL_PARTS           20U /* the small queue is one part of so many */
#define SMALL_COUNT_MIN       16U
#define SMALL_QUEUE_MIN       1024U
#define USES_TO_STAY          2U
#define INSERTIONS_BURST      256U
#define INSERTIONS_BURSTS_MAX 8U
#define LAST_RESORT_POPS      64U

/* ---- the small queue ------------------------------------------------------------------------- */

static void queue_deinit(struct small_queue *queue)
{
    free(queue->hashes);
    free(queue->stamps);
    free(queue->databases);
    *queue = (struct small_queue){0};
}

static void copy_entries(const struct small_queue *from, struct small_queue *to)
{
    for (; to->count < from->count; to->count++) {
        uint32_t at = (from->head + to->count) & (from->capacity - 1);
        to->hashes[to->count] = from->hashes[at];
        to->stamps[to->count] = from->stamps[at];
        to->databases[to->count] = from->databases[at];
    }
}

/* False: no memory; the queue stays as it is. */
static bool queue_grow(struct small_queue *queue)
{
    struct small_queue larger = {.capacity =
                                     queue->capacity > 0 ? queue->capacity * 2 : SMALL_QUEUE_MIN};
    larger.hashes = malloc(larger.capacity * sizeof(*larger.hashes));
    larger.stamps = malloc(larger.capacity * sizeof(*larger.stamps));
    larger.databases = malloc(larger.capacity * sizeof(*larger.databases));
    if (larger.hashes == NULL || larger.stamps == NULL || larger.databases == NULL) {
        queue_deinit(&larger);
        return false;
    }
    copy_entries(queue, &larger);
    queue_deinit(queue);
    *queue = larger;
    return true;
}

static struct insertion queue_pop(struct small_queue *queue)
{
    struct insertion entry = {queue->hashes[queue->head], queue->databases[queue->head],
                              queue->stamps[queue->head]};
    queue->head = (queue->head + 1) & (queue->capacity - 1);
    queue->count--;
    return entry;
}

static void queue_push(struct small_queue *queue, const struct insertion *entry)
{
    if (queue->count == queue->capacity && !queue_grow(queue)) {
        if (queue->count == 0) {
            return;
        }
        (void)queue_pop(queue); /* the walk will find it */
    }
    uint32_t at = (queue->head + queue->count++) & (queue->capacity - 1);
    queue->hashes[at] = entry->hash;
    queue->stamps[at] = entry->stamp;
    queue->databases[at] = (uint8_t)entry->database;
}

void s3fifo_deinit(struct evictor *evictor)
{
    queue_deinit(&evictor->small);
    ghost_deinit(&evictor->ghost);
}

/* ---- new keys -------------------------------------------------------------------------------- */

static uint64_t small_target(const struct evictor *evictor)
{
    uint64_t target = evictor_key_count(evictor, false) / SMALL_PARTS;
    return target > SMALL_COUNT_MIN ? target : SMALL_COUNT_MIN;
}

static void move_to_main(const struct item *item)
{
    item_set_access(item, (item_access(item) & ~ACCESS_USES_MAX) | ACCESS_MAIN);
}

static void take_insertion(struct evictor *evictor, const struct insertion *entry)
{
    if (ghost_take(&evictor->ghost, entry->hash)) {
        const struct item *item = shard_read_hash(evictor->shard, entry->database, entry->hash);
        if (item != NULL) {
            move_to_main(item);
        }
        return;
    }
    queue_push(&evictor->small, entry);
}

/* While the cache fills up the oldest of the small queue go to the main queue unseen. */
void s3fifo_follow(struct evictor *evictor)
{
    struct insertion entries[INSERTIONS_BURST];
    uint64_t room = 2 * small_target(evictor);
    uint32_t count = INSERTIONS_BURST;
    for (uint32_t burst = 0; burst < INSERTIONS_BURSTS_MAX && count == INSERTIONS_BURST; burst++) {
        count = shard_take_insertions(evictor->shard, entries, INSERTIONS_BURST);
        for (uint32_t i = 0; i < count; i++) {
            take_insertion(evictor, &entries[i]);
        }
        while (evictor->small.count > room) {
            (void)queue_pop(&evictor->small);
        }
    }
}

/* ---- victims --------------------------------------------------------------------------------- */

static void judge_oldest(struct choice *choice)
{
    struct evictor *evictor = choice->evictor;
    struct insertion entry = queue_pop(&evictor->small);
    const struct item *item = shard_read_hash(evictor->shard, entry.database, entry.hash);
    if (item == NULL || (item_access(item) & ACCESS_MAIN) != 0) {
        return; /* gone, or queued twice */
    }
    if ((item_access(item) & ACCESS_USES_MAX) >= USES_TO_STAY) {
        move_to_main(item);
        return;
    }
    ghost_add(&evictor->ghost, entry.hash);
    choice_take(choice, entry.database, item, entry.hash);
}

static uint32_t age_of(const struct evictor *evictor, uint32_t stamp)
{
    uint64_t now = shard_insertion_count(evictor->shard) >> ACCESS_STAMP_UNIT_SHIFT;
    return (uint32_t)(now - stamp) & ACCESS_STAMP_MASK;
}

/* Its turn comes in the small queue: it is no older than the oldest there. */
static bool is_in_small_queue(const struct evictor *evictor, uint32_t access)
{
    const struct small_queue *small = &evictor->small;
    return (access & ACCESS_MAIN) == 0 && small->count > 0 &&
           age_of(evictor, access >> ACCESS_STAMP_SHIFT) <=
               age_of(evictor, small->stamps[small->head]);
}

static void judge_main(void *argument, const struct item *item, uint64_t hash)
{
    struct choice *choice = argument;
    uint32_t access = item_access(item);
    if (is_in_small_queue(choice->evictor, access)) {
        return;
    }
    if ((access & ACCESS_USES_MAX) > 0) {
        item_set_access(item, (access - 1) | ACCESS_MAIN);
        return;
    }
    choice_take(choice, choice->evictor->database, item, hash);
}

/* A handful of keys, all of them new: there is no main queue to take from. */
static void choose_from_small(struct choice *choice)
{
    struct small_queue *small = &choice->evictor->small;
    for (uint32_t i = 0; i < LAST_RESORT_POPS && small->count > 0; i++) {
        judge_oldest(choice);
    }
}

void s3fifo_choose(struct choice *choice)
{
    struct evictor *evictor = choice->evictor;
    uint32_t count_before = choice->batch->count;
    uint64_t keys = evictor_key_count(evictor, false), target = small_target(evictor);
    ghost_resize(&evictor->ghost, keys > target ? keys - target : keys); /* as the main queue */
    while (choice_is_open(choice)) {
        if (evictor->small.count > target) {
            choice->budget--;
            judge_oldest(choice);
        } else {
            choice_walk(choice, judge_main);
        }
    }
    if (choice->batch->count == count_before) {
        choose_from_small(choice);
    }
}
