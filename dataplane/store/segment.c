#include "dataplane/store/segment.h"

#include <stdio.h>
#include <stdlib.h>

#include <rte_malloc.h>

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

static const uint8_t *key_address(const struct rte_hash *hash, uint32_t position)
{
    void *key = NULL;
    /* The result says whether the key is in use; the address comes in any case. */
    (void)rte_hash_get_key_with_position(hash, (int32_t)position, &key);
    CHECK(key != NULL);
    return key;
}

/* Fingerprints are read back by address: asking rte_hash costs a look-up for each. That they lie in
 * a plain array is checked, not assumed. */
static void find_keys(struct segment *segment)
{
    segment->keys = key_address(segment->hash, 0);
    segment->key_stride = (uint32_t)(key_address(segment->hash, 1) - segment->keys);
    uint32_t last = segment->capacity - 1;
    CHECK(key_address(segment->hash, last) == segment->keys + (uint64_t)last * segment->key_stride);
    CHECK((uintptr_t)segment->keys % sizeof(uint64_t) == 0);
    CHECK(segment->key_stride % sizeof(uint64_t) == 0);
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
    segment->items = rte_zmalloc("items", sizeof(struct item *) << order, RTE_CACHE_LINE_SIZE);
    if (segment->hash == NULL || segment->items == NULL) {
        segment_destroy(segment);
        return NULL;
    }
    find_keys(segment);
    return segment;
}

void segment_destroy(struct segment *segment)
{
    if (segment != NULL) {
        rte_hash_free(segment->hash);
        rte_free(segment->items);
        free(segment);
    }
}

/* Per entry: 8 of a bucket, 16 of a key slot, 4 in the ring of free slots, 8 for our pointer. */
uint64_t segment_bytes(uint32_t order)
{
    return (36ULL << order) + 2048;
}

int32_t segment_add(struct segment *segment, uint64_t hash, struct item *item)
{
    int32_t position = rte_hash_add_key_with_hash(segment->hash, &hash, (uint32_t)hash);
    if (position >= 0) {
        segment->used++;
        /* Until now a reader that found the position read NULL there: the key came later. */
        RCU_PUBLISH(&segment->items[position], item);
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
