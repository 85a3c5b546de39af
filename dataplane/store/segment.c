#include "dataplane/store/segment.h"

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_malloc.h>
#include <rte_memory.h>
#include <rte_ring_elem.h>

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

static struct rte_hash *create_hash(uint32_t entries)
{
    static uint32_t serial; /* names are unique in the process */
    char name[RTE_HASH_NAMESIZE];
    snprintf(name, sizeof(name), "segment%u", __atomic_fetch_add(&serial, 1, __ATOMIC_RELAXED));
    struct rte_hash_parameters parameters = {
        .name = name,
        .entries = entries,
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

/* ---- buckets ----------------------------------------------------------------------------------
 */

static uint32_t bucket_bytes(uint32_t entries)
{
    return rte_align32pow2(entries) / 8 * (uint32_t)sizeof(struct bucket);
}

/* A block of EAL's heap that is as large as the buckets are. */
static bool looks_like_buckets(const void *block, uint32_t bytes)
{
    size_t size = 0;
    return block != NULL && (uintptr_t)block % RTE_CACHE_LINE_SIZE == 0 &&
           rte_mem_virt2memseg_list(block) != NULL && rte_malloc_validate(block, &size) == 0 &&
           size >= bytes && size < bytes + 2 * RTE_CACHE_LINE_SIZE;
}

/* rte_hash does not say where its buckets are: the one pointer in it that leads to a block of their
 * size does. NULL when there is none. */
static const struct bucket *find_buckets(const struct rte_hash *hash, uint32_t entries)
{
    size_t size = 0;
    if (rte_malloc_validate(hash, &size) != 0) {
        return NULL;
    }
    const void *const *words = (const void *const *)hash;
    for (size_t i = 0; i < size / sizeof(void *); i++) {
        if (looks_like_buckets(words[i], bucket_bytes(entries))) {
            return words[i];
        }
    }
    return NULL;
}

/* ---- a segment that nobody has checked --------------------------------------------------------
 */

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
}

static struct segment *create_unchecked(uint32_t entries)
{
    struct segment *segment = calloc(1, sizeof(*segment));
    if (segment == NULL) {
        return NULL;
    }
    segment->capacity = entries;
    segment->hash = create_hash(entries);
    if (segment->hash == NULL) {
        free(segment);
        return NULL;
    }
    find_slots(segment);
    segment->bucket_mask = rte_align32pow2(entries) / 8 - 1;
    segment->buckets = find_buckets(segment->hash, entries);
    return segment;
}

/* ---- the layout, checked ----------------------------------------------------------------------
 */

/* That the data word of a key lies before it: what is put there by address is what rte_hash finds,
 * and what rte_hash puts there is found by address. The same key tells whether these are its
 * buckets.
 */
static void check_layout(struct segment *segment)
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
    if (segment_find_own(segment, key) != position) {
        segment->buckets = NULL;
    }
    CHECK(rte_hash_del_key_with_hash(segment->hash, &key, (uint32_t)key) == position);
    CHECK(rte_hash_free_key_with_position(segment->hash, position) == 0);
}

/* ---- where rte_hash keeps its entries, seen once for the process ------------------------------
 */

static bool keeps_entries_in_buckets;

static uint64_t trial_key(uint32_t number)
{
    return (number + 1) * 0x9E3779B97F4A7C15ULL;
}

/* Of all keys of the trial rte_hash and we say the same. */
static bool both_agree(const struct segment *segment)
{
    for (uint32_t i = 0; i < segment->capacity; i++) {
        uint64_t key = trial_key(i);
        int32_t position = segment_find(segment, &key), own = segment_find_own(segment, key);
        if (position != own && (position >= 0 || own >= 0)) {
            return false;
        }
    }
    return true;
}

/* Filled until entries have been moved to their other buckets, and emptied by half. */
static bool passes_trial(const struct segment *segment)
{
    for (uint32_t i = 0; i < segment->capacity; i++) {
        uint64_t key = trial_key(i);
        (void)rte_hash_add_key_with_hash(segment->hash, &key, (uint32_t)key);
    }
    if (!both_agree(segment)) {
        return false;
    }
    for (uint32_t i = 0; i < segment->capacity; i += 2) {
        uint64_t key = trial_key(i);
        (void)rte_hash_del_key_with_hash(segment->hash, &key, (uint32_t)key);
    }
    return both_agree(segment);
}

static void learn_where_entries_are(void)
{
    struct segment *trial = create_unchecked(SEGMENT_ENTRIES_MIN);
    if (trial == NULL) {
        return; /* no memory: rte_hash will be asked */
    }
    keeps_entries_in_buckets = trial->buckets != NULL && passes_trial(trial);
    segment_destroy(trial);
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct segment *segment_create(uint32_t entries)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    CHECK(entries >= SEGMENT_ENTRIES_MIN && entries <= SEGMENT_ENTRIES_MAX);
    CHECK(pthread_once(&once, learn_where_entries_are) == 0);
    struct segment *segment = create_unchecked(entries);
    if (segment != NULL) {
        if (!keeps_entries_in_buckets) {
            segment->buckets = NULL;
        }
        check_layout(segment);
    }
    return segment;
}

void segment_destroy(struct segment *segment)
{
    rte_hash_free(segment->hash);
    free(segment);
}

#define PAGE_BYTES 4096

void segment_touch(struct segment *segment)
{
    for (uint32_t i = 0; i < segment->capacity; i += PAGE_BYTES / sizeof(struct slot)) {
        __atomic_store_n(&segment->slots[i].hash, 0, __ATOMIC_RELAXED);
    }
    for (uint32_t i = 0; segment->buckets != NULL && i <= segment->bucket_mask;
         i += PAGE_BYTES / sizeof(struct bucket)) {
        /* Zero already; the first write is what makes the page. */
        *(volatile uint8_t *)(uintptr_t)&segment->buckets[i].flags[0] = 0;
    }
}

/* What rte_hash and EAL need for a segment of any size, next to what is counted below. */
#define FIXED_BYTES 1344

/* Per position 16 bytes; per power of two 8 in the buckets and 4 in the ring of free slots. */
uint64_t segment_bytes(uint32_t entries)
{
    uint64_t slots = ((uint64_t)entries + 1) * sizeof(struct slot);
    uint64_t ring = (uint64_t)rte_ring_get_memsize_elem(4, rte_align32pow2(entries + 1));
    return RTE_ALIGN_CEIL(slots, (uint64_t)RTE_CACHE_LINE_SIZE) + bucket_bytes(entries) + ring +
           FIXED_BYTES + sizeof(struct segment);
}

/* ---- entries ----------------------------------------------------------------------------------
 */

int32_t segment_add(struct segment *segment, uint64_t hash, struct item *item)
{
    int32_t position = rte_hash_add_key_with_hash(segment->hash, &hash, (uint32_t)hash);
    __atomic_store_n(&segment->given_out, segment->given_out + 1, __ATOMIC_RELAXED);
    if (position >= 0) {
        segment->used++;
        DEBUG_CHECK(segment->given_out >= segment->capacity ||
                    position == (int32_t)segment->given_out);
        /* Until now a reader that found the position read NULL there. rte_hash is not given the
         * item: it would leave it in the free slot when it finds no place in a bucket. */
        RCU_PUBLISH(&segment->slots[position].item, item);
    }
    return position;
}

void segment_remove(struct segment *segment, uint64_t hash, uint32_t position)
{
    int32_t removed = rte_hash_del_key_with_hash(segment->hash, &hash, (uint32_t)hash);
    CHECK(removed == (int32_t)position);
}

void segment_free_position(struct segment *segment, uint32_t position)
{
    CHECK(rte_hash_free_key_with_position(segment->hash, (int32_t)position) == 0);
    segment->used--;
}
