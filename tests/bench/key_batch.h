/* Numbered keys by the burst, as the store's benches use them: 16 bytes each, hashed and drawn
 * before the clock starts. */
#ifndef NICACHED_TESTS_KEY_BATCH_H
#define NICACHED_TESTS_KEY_BATCH_H

#include <stdio.h>
#include <string.h>

#include "dataplane/base/hash.h"
#include "dataplane/store/shard.h"

#define BURST SHARD_LOOKUP_BURST

struct key_batch {
    uint8_t texts[BURST][16];
    struct key keys[BURST];
    struct key *pointers[BURST];
};

static inline void key_batch_set(struct key_batch *batch, uint32_t i, uint64_t number)
{
    char text[32];
    snprintf(text, sizeof(text), "key:%012lu", (unsigned long)number);
    memcpy(batch->texts[i], text, sizeof(batch->texts[i]));
    batch->keys[i] = key_hashed(slice_of(batch->texts[i], sizeof(batch->texts[i])));
    batch->pointers[i] = &batch->keys[i];
}

/* Any of `count` keys from `first` on. */
static inline void key_batch_draw(struct key_batch *batch, uint64_t *random, uint64_t first,
                                  uint64_t count)
{
    for (uint32_t i = 0; i < BURST; i++) {
        key_batch_set(batch, i, random_next(random) % count + first);
    }
}

#endif
