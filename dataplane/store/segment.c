#include "dataplane/store/segment.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"

/* One load instead of a call to memcmp. The stored fingerprint may belong to a writer that is just
 * filling a free slot, hence atomic; a torn mix cannot be seen, and a wrong match is caught by the
 * comparison of full keys. */
static int compare_fingerprints(const void *a, const void *b, size_t bytes)
{
    return __atomic_load_n((const uint64_t *)a, __ATOMIC_RELAXED) !=
           __atomic_load_n((const uint64_t *)b, __ATOMIC_RELAXED);
}

/* rte_hash asks for it only where no hash is handed in; it must agree with those that are. */
static uint32_t low_bits(const void *key, uint32_t key_bytes, uint32_t seed)
{
    return (uint32_t) * (const uint64_t *)key;
}

static struct rte_hash *create_hash(uint32_t order)
{
    static uint32_t serial; /* names are unique in the process */
    char name[RTE_HASH_NAMESIZE];
    snprintf(name, sizeof(name), "segment%u", __atomic_fetch_add(&serial, 1, __ATOMIC_RELAXED));
    struct rte_hash_parameters parameters = {
        .name = name,
        .entries = (1U << order) - 1, /* 2^k - 1: what its ring and buckets are rounded up to */
        .key_len = sizeof(uint64_t),
        .hash_func = low_bits,
        .socket_id = SOCKET_ID_ANY,
        .extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF,
    };
    struct rte_hash *hash = rte_hash_create(&parameters);
    if (hash != NULL) {
        rte_hash_set_cmp_func(hash, compare_fingerprints);
    }
    return hash;
}

static uint64_t *key_address(const struct rte_hash *hash, uint32_t position)
{
    void *key = NULL;
    /* The result says whether the key is in use; the address comes in any case. */
    (void)rte_hash_get_key_with_position(hash, (int32_t)position, &key);
    CHECK(key != NULL);
    return key;
}

/* That the data word of a key lies before it: what is put there by address is what rte_hash finds,
 * and what rte_hash puts there is found by address. */
static void check_data_word(const struct segment *segment)
{
    uint64_t key = 0x6E69636163686564ULL;
    struct item *mark = (struct item *)(uintptr_t)0x1000, *other = (struct item *)(uintptr_t)0x2000;
    void *found = NULL;
    CHECK(rte_hash_add_key_with_hash_data(segment->hash, &key, (uint32_t)key, mark) == 0);
    int32_t position = segment_find(segment, &key);
    CHECK(position >= 0);
    struct slot *slot = &segment->slots[position];
    CHECK(slot->item == mark && slot->hash == key);
    slot->item = other;
    CHECK(rte_hash_lookup_with_hash_data(segment->hash, &key, (uint32_t)key, &found) == position);
    CHECK(found == other);
    slot->item = NULL;
    CHECK(rte_hash_del_key_with_hash(segment->hash, &key, (uint32_t)key) == position);
    CHECK(rte_hash_free_key_with_position(segment->hash, position) == 0);
}

/* Slots are read and written by address: asking rte_hash costs a look-up for each, and rte_hash has
 * no exchange. That they lie in a plain array is checked, not assumed. */
static void find_slots(struct segment *segment)
{
    uint32_t last = segment->capacity - 1;
    char *first_key = (char *)key_address(segment->hash, 0);
    segment->slots = (struct slot *)(void *)(first_key - offsetof(struct slot, hash));
    CHECK((uintptr_t)segment->slots % sizeof(struct slot) == 0);
    CHECK(key_address(segment->hash, 1) == &segment->slots[1].hash);
    CHECK(key_address(segment->hash, last) == &segment->slots[last].hash);
    check_data_word(segment);
}

struct segment *segment_create(uint32_t order)
{
    CHECK(order >= SEGMENT_ORDER_MIN && order <= SEGMENT_ORDER_MAX);
    struct segment *segment = calloc(1, sizeof(*segment));
    if (segment == NULL) {
        return NULL;
    }
    segment->order = (uint8_t)order;
    segment->capacity = (1U << order) - 1;
    segment->hash = create_hash(order);
    if (segment->hash == NULL) {
        segment_destroy(segment);
        return NULL;
    }
    find_slots(segment);
    return segment;
}

void segment_destroy(struct segment *segment)
{
    if (segment != NULL) {
        rte_hash_free(segment->hash);
        free(segment);
    }
}

/* Per entry: 8 of a bucket, 16 of a key slot, 4 in the ring of free slots. */
uint64_t segment_bytes(uint32_t order)
{
    return (28ULL << order) + 2048;
}

int32_t segment_add(struct segment *segment, uint64_t hash, struct item *item)
{
    int32_t position = rte_hash_add_key_with_hash(segment->hash, &hash, (uint32_t)hash);
    if (position >= 0) {
        segment->used++;
        /* Until now a reader that found the position read NULL there. rte_hash is not given the
         * item: it would leave it in the free slot when it finds no place in a bucket. */
        RCU_PUBLISH(&segment->slots[position].item, item);
    }
    return position;
}

void segment_remove(struct segment *segment, uint64_t hash, int32_t position)
{
    int32_t removed = rte_hash_del_key_with_hash(segment->hash, &hash, (uint32_t)hash);
    CHECK(removed == position);
}

void segment_free_position(struct segment *segment, int32_t position)
{
    CHECK(rte_hash_free_key_with_position(segment->hash, position) == 0);
    segment->used--;
}
