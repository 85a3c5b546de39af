/* Where leaves and tables come from: the shard's pages, within its limit.
 *
 * Storing never fails, and the limit holds: so a few blocks are kept back for when nothing is to be
 * had, as many as one insert can need. From then on, until they are whole again, the shard is
 * `starved` and takes no drafts. (What is stored nevertheless, without a draft that asked or with
 * several made before, goes to the list beside the index.) Thread: the owner. */
#include "dataplane/base/check.h"
#include "dataplane/store/index_buckets.h"

static void *take_spare(struct index_services *services)
{
    services->starved = true;
    return services->spare_count > 0 ? services->spares[--services->spare_count] : NULL;
}

/* The number of buckets becomes what the block has room for. */
bool leaf_allocate(struct index_services *services, struct leaf *leaf)
{
    size_t bytes = leaf->bucket_count * sizeof(struct leaf_bucket);
    leaf->buckets = memory_allocate_index(services->memory, bytes, MEMORY_LIMITED);
    if (leaf->buckets == NULL) {
        leaf->buckets = take_spare(services);
    }
    if (leaf->buckets == NULL) {
        return false;
    }
    bytes = memory_block_bytes(services->memory, leaf->buckets);
    leaf->bucket_count = (uint32_t)(bytes / sizeof(struct leaf_bucket));
    return true;
}

struct table *table_allocate(struct index_services *services)
{
    void *block = memory_allocate_index(services->memory, sizeof(struct table), MEMORY_LIMITED);
    return block != NULL ? block : take_spare(services);
}

/* One whose pages are to become empty goes, for another. */
static void drop_leaving_spares(struct index_services *services)
{
    for (uint32_t i = services->spare_count; i-- > 0;) {
        if (memory_is_leaving(services->memory, services->spares[i])) {
            memory_free(services->memory, services->spares[i]);
            services->spares[i] = services->spares[--services->spare_count];
        }
    }
}

void index_buckets_keep_spares(struct index_services *services)
{
    if (UNLIKELY(services->memory->evacuating_spans > 0)) {
        drop_leaving_spares(services);
    }
    while (services->spare_count < INDEX_SPARES) {
        void *block = memory_allocate_index(services->memory, LEAF_BYTES_MAX, MEMORY_LIMITED);
        if (block == NULL) {
            services->starved = true;
            return;
        }
        services->spares[services->spare_count++] = block;
    }
}

void index_buckets_free_spares(struct index_services *services)
{
    while (services->spare_count > 0) {
        memory_free(services->memory, services->spares[--services->spare_count]);
    }
}
