/* Which index the shards of tests and benches have: STORE_INDEX in the environment says, rte_hash
 * if it says nothing. meson runs the store's tests with either. */
#ifndef NICACHED_TESTS_TESTED_INDEX_H
#define NICACHED_TESTS_TESTED_INDEX_H

#include <stdlib.h>
#include <string.h>

#include "dataplane/base/check.h"
#include "dataplane/store/shard.h"

static inline enum index_kind tested_index(void)
{
    const char *name = getenv("STORE_INDEX");
    if (name == NULL || strcmp(name, "rte_hash") == 0) {
        return INDEX_RTE_HASH;
    }
    CHECK(strcmp(name, "buckets") == 0);
    return INDEX_BUCKETS;
}

#endif
