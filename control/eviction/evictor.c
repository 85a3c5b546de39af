/* The walk, the histogram, and the policies that need no more. evictor.h has the contract. */
#include "control/eviction/evictor_internal.h"

#include <stdlib.h>

#define HISTOGRAM_MIN 256U   /* scores seen before any is judged */
#define HISTOGRAM_MAX 65536U /* then all counts are halved: it forgets */

struct evictor *evictor_create(const struct shard *shard, uint64_t seed)
{
    struct evictor *evictor = calloc(1, sizeof(*evictor));
    if (evictor != NULL) {
        evictor->shard = shard;
        evictor->random_state = seed;
    }
    return evictor;
}

void evictor_destroy(struct evictor *evictor)
{
    if (evictor != NULL) {
        s3fifo_deinit(evictor);
        free(evictor);
    }
}

static uint64_t candidates_in(const struct evictor *evictor, uint32_t database, bool volatile_only)
{
    return volatile_only ? shard_expiry_count(evictor->shard, database)
                         : shard_key_count(evictor->shard, database);
}

uint64_t evictor_key_count(const struct evictor *evictor, bool volatile_only)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < SHARD_DATABASE_COUNT; i++) {
        count += candidates_in(evictor, i, volatile_only);
    }
    return count;
}

/* ---- the walk -------------------------------------------------------------------------------- */

/* The bytes as they are asked of the allocator: a little less than what comes back. */
static uint64_t bytes_of(const struct item *item)
{
    const struct blob *blob = item_blob(item);
    return item_bytes(item) + (blob != NULL ? blob->capacity_bytes : 0);
}

void choice_take(struct choice *choice, uint32_t database, const struct item *item, uint64_t hash)
{
    struct eviction_batch *batch = choice->batch;
    if (batch->count < EVICTION_BATCH_VICTIMS && batch->bytes < choice->bytes_wanted) {
        batch->victims[batch->count++] = (struct eviction_victim){item, hash, database};
        batch->bytes += bytes_of(item);
    }
}

/* The next database that holds anything; the one the walk is in comes first. */
static void find_database(struct evictor *evictor)
{
    for (uint32_t i = 0; i < SHARD_DATABASE_COUNT; i++) {
        uint32_t number = (evictor->database + i) % SHARD_DATABASE_COUNT;
        if (candidates_in(evictor, number, evictor->volatile_only) > 0) {
            if (i != 0) {
                evictor->database = number;
                evictor->cursor = 0;
            }
            return;
        }
    }
}

void choice_walk(struct choice *choice, shard_item_visitor *visit)
{
    struct evictor *evictor = choice->evictor;
    find_database(evictor);
    uint32_t count =
        choice->budget < EVICTOR_ITEMS_PER_SLICE ? choice->budget : EVICTOR_ITEMS_PER_SLICE;
    choice->budget -= count;
    evictor->cursor = shard_scan_shared(evictor->shard, evictor->database, evictor->cursor, count,
                                        choice->now, visit, choice);
    if (evictor->cursor == 0) {
        evictor->database = (evictor->database + 1) % SHARD_DATABASE_COUNT;
    }
}

/* ---- scores ---------------------------------------------------------------------------------- */

static void note_score(struct evictor *evictor, uint32_t score, uint64_t key_count)
{
    uint64_t limit = key_count / 2 < HISTOGRAM_MAX ? key_count / 2 : HISTOGRAM_MAX;
    evictor->scores[score]++;
    if (++evictor->score_count < limit || evictor->score_count < 2 * HISTOGRAM_MIN) {
        return;
    }
    evictor->score_count = 0;
    for (uint32_t i = 0; i < EVICTION_SCORES; i++) {
        evictor->scores[i] /= 2;
        evictor->score_count += evictor->scores[i];
    }
}

/* Where the highest 1/samples of the scores begins. */
static void set_threshold(struct choice *choice)
{
    const struct evictor *evictor = choice->evictor;
    uint64_t wanted = evictor->score_count / choice->policy->samples + 1, above = 0;
    uint32_t score = EVICTION_SCORES - 1;
    while (score > 0 && above + evictor->scores[score] < wanted) {
        above += evictor->scores[score--];
    }
    choice->threshold = score;
    choice->chance =
        evictor->scores[score] > 0 ? ((wanted - above) << 32) / evictor->scores[score] : 0;
}

static bool goes(struct choice *choice, uint32_t score)
{
    return score > choice->threshold ||
           (score == choice->threshold &&
            random_next(&choice->evictor->random_state) >> 32 < choice->chance);
}

static void judge(void *argument, const struct item *item, uint64_t hash)
{
    struct choice *choice = argument;
    struct evictor *evictor = choice->evictor;
    if (!eviction_may_take(choice->policy, item)) {
        return;
    }
    uint32_t score = eviction_score(choice->policy, item, &evictor->random_state);
    if (goes(choice, score)) {
        choice_take(choice, evictor->database, item, hash);
    }
    note_score(evictor, score, shard_key_count(evictor->shard, evictor->database));
}

static void gather(void *argument, const struct item *item, uint64_t hash)
{
    struct choice *choice = argument;
    struct evictor *evictor = choice->evictor;
    if (eviction_may_take(choice->policy, item)) {
        uint32_t score = eviction_score(choice->policy, item, &evictor->random_state);
        note_score(evictor, score, shard_key_count(evictor->shard, evictor->database));
    }
}

static void choose_by_score(struct choice *choice, uint64_t candidates)
{
    struct evictor *evictor = choice->evictor;
    uint64_t needed = candidates < HISTOGRAM_MIN ? candidates : HISTOGRAM_MIN;
    while (choice->budget > 0 && evictor->score_count < needed) {
        choice_walk(choice, gather);
    }
    set_threshold(choice);
    while (choice_is_open(choice)) {
        choice_walk(choice, judge);
    }
}

/* ---- the face -------------------------------------------------------------------------------- */

static void adopt_policy(struct evictor *evictor, const struct eviction_policy *policy)
{
    if (policy->kind == evictor->kind && policy->volatile_only == evictor->volatile_only) {
        return;
    }
    s3fifo_deinit(evictor);
    evictor->kind = policy->kind;
    evictor->volatile_only = policy->volatile_only;
    memset(evictor->scores, 0, sizeof(evictor->scores));
    evictor->score_count = 0;
}

void evictor_follow(struct evictor *evictor, const struct eviction_policy *policy)
{
    adopt_policy(evictor, policy);
    if (policy->kind == EVICT_S3FIFO) {
        s3fifo_follow(evictor);
    }
}

bool evictor_choose(struct evictor *evictor, const struct eviction_policy *policy,
                    const struct instant *now, uint64_t bytes_wanted, struct eviction_batch *batch)
{
    evictor_follow(evictor, policy);
    uint64_t candidates = evictor_key_count(evictor, policy->volatile_only);
    if (policy->kind == EVICT_NOTHING || candidates == 0) {
        return false;
    }
    struct choice choice = {.evictor = evictor,
                            .policy = policy,
                            .now = now,
                            .batch = batch,
                            .bytes_wanted = bytes_wanted,
                            .budget = EVICTOR_ITEMS_PER_CALL};
    if (policy->kind == EVICT_S3FIFO) {
        s3fifo_choose(&choice);
    } else {
        choose_by_score(&choice, candidates);
    }
    return true;
}
