#include "control/eviction/ghost.h"

#include <stdlib.h>

#define WAYS              8U
#define EPOCHS_VALID      8U  /* the current one included */
#define EPOCH_MASK        31U /* an entry is overwritten long before it looks new again */
#define FINGERPRINT_SHIFT 5
#define BUCKETS_MIN       16U

static uint32_t age_of(const struct ghost *ghost, uint16_t entry)
{
    return (ghost->epoch - entry) & EPOCH_MASK;
}

/* Other bits of the hash than those that choose the bucket; never 0, which is an empty slot. */
static uint16_t fingerprint_of(uint64_t hash)
{
    return (uint16_t)((hash >> 48) % 2047U + 1U);
}

static uint16_t *bucket_of(const struct ghost *ghost, uint64_t hash)
{
    return &ghost->slots[(hash & (ghost->bucket_count - 1)) * WAYS];
}

static bool is_valid(const struct ghost *ghost, uint16_t entry)
{
    return entry >> FINGERPRINT_SHIFT != 0 && age_of(ghost, entry) < EPOCHS_VALID;
}

void ghost_deinit(struct ghost *ghost)
{
    free(ghost->slots);
    *ghost = (struct ghost){0};
}

void ghost_resize(struct ghost *ghost, uint64_t capacity)
{
    ghost->capacity = capacity;
    uint64_t wanted = capacity + capacity / 4, buckets = BUCKETS_MIN;
    while (buckets * WAYS < wanted) {
        buckets *= 2;
    }
    if (buckets <= ghost->bucket_count && buckets >= ghost->bucket_count / 4) {
        return;
    }
    uint16_t *slots = calloc(buckets * WAYS, sizeof(*slots));
    if (slots != NULL) {
        free(ghost->slots);
        ghost->slots = slots;
        ghost->bucket_count = buckets;
    }
}

static void advance_epoch(struct ghost *ghost)
{
    if (++ghost->epoch_keys >= ghost->capacity / EPOCHS_VALID) {
        ghost->epoch_keys = 0;
        ghost->epoch++;
    }
}

void ghost_add(struct ghost *ghost, uint64_t hash)
{
    if (ghost->slots == NULL) {
        return;
    }
    uint16_t *bucket = bucket_of(ghost, hash), *oldest = bucket;
    for (uint32_t i = 0; i < WAYS; i++) {
        if (bucket[i] == 0) {
            oldest = &bucket[i];
            break;
        }
        if (age_of(ghost, bucket[i]) > age_of(ghost, *oldest)) {
            oldest = &bucket[i];
        }
    }
    *oldest = (uint16_t)((unsigned)fingerprint_of(hash) << FINGERPRINT_SHIFT |
                         (ghost->epoch & EPOCH_MASK));
    advance_epoch(ghost);
}

bool ghost_take(struct ghost *ghost, uint64_t hash)
{
    if (ghost->slots == NULL) {
        return false;
    }
    uint16_t *bucket = bucket_of(ghost, hash);
    for (uint32_t i = 0; i < WAYS; i++) {
        if (bucket[i] >> FINGERPRINT_SHIFT == fingerprint_of(hash) && is_valid(ghost, bucket[i])) {
            bucket[i] = 0;
            return true;
        }
    }
    return false;
}
