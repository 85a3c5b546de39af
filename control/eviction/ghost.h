/* A ghost: which keys were evicted not long ago, as fingerprints of 11 bits.
 *
 *   bucket (16 bytes)  | fingerprint:11 epoch:5 | x 8
 *
 * It remembers the last keys, 7/8 of `capacity` to all of it. An epoch lasts capacity / 8 keys; an
 * entry is valid for 8 epochs, its own included, and a bucket overwrites its oldest one. A look-up
 * is wrong once in 350 times: then a key is kept that would have gone.
 *
 * Thread: one. Memory: 2 bytes a slot, 1.25 to 2.5 slots for each key of the capacity. Failure: a
 * heap without room for a larger table leaves the old one, or none, which remembers less.
 */
#ifndef NICACHED_CONTROL_EVICTION_GHOST_H
#define NICACHED_CONTROL_EVICTION_GHOST_H

#include <stdbool.h>
#include <stdint.h>

struct ghost {
    uint16_t *slots; /* NULL: remembers nothing */
    uint64_t bucket_count;
    uint64_t capacity;
    uint64_t epoch_keys; /* added in this epoch */
    uint32_t epoch;
};

void ghost_deinit(struct ghost *ghost);
/* For a cache of so many keys. Growing forgets everything, and happens at every doubling. */
void ghost_resize(struct ghost *ghost, uint64_t capacity);
void ghost_add(struct ghost *ghost, uint64_t hash);
/* Whether it remembers the key, which it then forgets. */
bool ghost_take(struct ghost *ghost, uint64_t hash);

#endif
