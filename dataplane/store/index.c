/* The two implementations of the index, as a table. */
#include "dataplane/store/index.h"

#include "dataplane/base/check.h"
#include "dataplane/store/index_buckets.h"
#include "dataplane/store/index_rte.h"

static const struct index_operations operations[] = {
    [INDEX_RTE_HASH] = {index_rte_create, index_rte_dismantle, index_rte_find, index_rte_read,
                        index_rte_read_hash, index_rte_holds, index_rte_prefetch_bulk,
                        index_rte_prefetch_step, index_rte_store, index_rte_remove,
                        index_rte_maintain, index_rte_scan, index_rte_random},
    [INDEX_BUCKETS] = {index_buckets_create, index_buckets_dismantle,
                       index_buckets_read, /* finds, too */
                       index_buckets_read, index_buckets_read_hash, index_buckets_holds,
                       index_buckets_prefetch_bulk, index_buckets_prefetch_step,
                       index_buckets_store, index_buckets_remove, index_buckets_maintain,
                       index_buckets_scan, index_buckets_random},
};

struct index *index_create(struct index_services *services)
{
    CHECK(services->kind < sizeof(operations) / sizeof(operations[0]));
    struct index *index = operations[services->kind].create(services);
    index->operations = &operations[services->kind];
    index_begin_epoch(index);
    return index;
}

void index_prefetch_step(enum index_kind kind, const struct shard_prefetch *prefetch,
                         const struct index_services *services)
{
    operations[kind].prefetch_step(prefetch, services);
}
