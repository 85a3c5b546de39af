/* What the store's tests share: EAL without hugepages, a shard with its clock, short ways to write
 * and read keys. */
#ifndef NICACHED_TESTS_STORE_TEST_H
#define NICACHED_TESTS_STORE_TEST_H

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_eal.h>

#include "dataplane/base/check.h"
#include "dataplane/store/store_internal.h"
#include "tests/support/tested_index.h"

static inline int setup_eal(void **state)
{
    static char words[][20] = {"test",           "--no-huge",   "--no-pci",          "-m", "512",
                               "--no-telemetry", "--no-shconf", "--log-level=error", "-l", "0"};
    char *arguments[11] = {NULL};
    for (unsigned i = 0; i < 10; i++) {
        arguments[i] = words[i];
    }
    cpu_set_t before;
    CHECK(sched_getaffinity(0, sizeof(before), &before) == 0);
    CHECK(rte_eal_init(10, arguments) >= 0);
    /* EAL pins this thread, and threads made later inherit it. */
    CHECK(sched_setaffinity(0, sizeof(before), &before) == 0);
    return 0;
}

struct fixture {
    struct shard *shard;
    struct metrics metrics;
    struct instant now;
};

static inline struct fixture *create_fixture(uint64_t maxmemory_bytes, struct channel *to_reclaimer)
{
    struct fixture *fixture = aligned_alloc(64, (sizeof(*fixture) + 63U) & ~(size_t)63U);
    CHECK(fixture != NULL);
    *fixture = (struct fixture){.now = {.mono_us = 1000000, .wall_ms = 1000}};
    struct shard_options options = {.number = 3,
                                    .index = tested_index(),
                                    .maxmemory_bytes = maxmemory_bytes,
                                    .metrics = &fixture->metrics,
                                    .to_reclaimer = to_reclaimer};
    fixture->shard = shard_create(&options);
    CHECK(fixture->shard != NULL);
    return fixture;
}

static inline void destroy_fixture(struct fixture *fixture)
{
    shard_destroy(fixture->shard);
    free(fixture);
}

/* As their owner does it. */
static inline void prefetch_keys(const struct fixture *fixture, uint32_t database,
                                 struct key *const *keys, uint32_t count)
{
    const struct index *index = shard_index(fixture->shard, database);
    struct shard_lookup lookups[SHARD_LOOKUP_BURST];
    for (uint32_t i = 0; i < count; i++) {
        lookups[i] = (struct shard_lookup){index, keys[i], .is_own = true};
    }
    shard_prefetch_bulk(lookups, index != NULL ? count : 0);
}

/* Passes until nothing is left to do, 100 us each. */
static inline void settle(struct fixture *fixture)
{
    do {
        fixture->now.mono_us += 100;
    } while (shard_maintain(fixture->shard, &fixture->now));
}

/* False: out of memory. */
static inline bool put(struct fixture *fixture, uint32_t database, const struct key *key,
                       struct slice value, uint64_t expire_at_ms)
{
    struct item_draft_options options = {.value_bytes = (uint32_t)value.size,
                                         .expire_at_ms = expire_at_ms};
    struct item *draft = shard_draft(fixture->shard, key->bytes, &options);
    if (draft == NULL) {
        return false;
    }
    if (value.size > 0) {
        memcpy(draft_value(draft), value.data, value.size);
    }
    shard_publish(fixture->shard, database, key, draft);
    return true;
}

/* Keys "key:N" with values that name the key and a version. */
struct numbered_key {
    char text[24];
    struct key key;
};

static inline struct key *number_key(struct numbered_key *to, uint64_t number)
{
    int size = snprintf(to->text, sizeof(to->text), "key:%lu", (unsigned long)number);
    to->key = key_hashed(slice_of(to->text, (size_t)size));
    return &to->key;
}

static inline bool put_version(struct fixture *fixture, const struct key *key, uint64_t number,
                               uint64_t version)
{
    uint64_t value[2] = {number, version};
    return put(fixture, 0, key, slice_of(value, sizeof(value)), 0);
}

static inline bool put_number(struct fixture *fixture, uint64_t number, uint64_t version)
{
    struct numbered_key key;
    return put_version(fixture, number_key(&key, number), number, version);
}

/* The version that a numbered key holds; 0: not there. A value of another key is a failure. */
static inline uint64_t get_version(struct fixture *fixture, const struct key *key, uint64_t number)
{
    const struct item *item = shard_find(fixture->shard, 0, key, &fixture->now);
    if (item == NULL) {
        return 0;
    }
    uint64_t value[2];
    CHECK(item_stored_bytes(item) == sizeof(value));
    memcpy(value, item_value_bytes(item), sizeof(value));
    CHECK(value[0] == number);
    return value[1];
}

static inline uint64_t get_number(struct fixture *fixture, uint64_t number)
{
    struct numbered_key key;
    return get_version(fixture, number_key(&key, number), number);
}

static inline bool delete_number(struct fixture *fixture, uint64_t number)
{
    struct numbered_key key;
    return shard_delete(fixture->shard, 0, number_key(&key, number), &fixture->now);
}

static inline struct shard_memory memory_of(const struct fixture *fixture)
{
    struct shard_memory memory;
    shard_read_memory(fixture->shard, &memory);
    return memory;
}

#endif
