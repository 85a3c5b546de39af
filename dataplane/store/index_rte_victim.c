/* Looking at the index by fingerprint alone: for the eviction, which knows no keys. */
#include "dataplane/store/index_rte.h"

struct item *index_rte_read_hash(const struct index *common, uint64_t hash)
{
    const struct rte_index *index = rte_index_of_const(common);
    struct segment *segment = index_rte_root(index, hash);
    while (segment != NULL) {
        int32_t position = segment_find(segment, &hash);
        struct item *item = position >= 0 ? segment_item(segment, (uint32_t)position) : NULL;
        if (item != NULL) {
            return item;
        }
        segment = segment_child(segment, hash);
    }
    return NULL;
}

bool index_rte_holds(const struct index *common, uint64_t hash, const struct item *item)
{
    return index_rte_read_hash(common, hash) == item || overflow_holds(common, hash, item);
}
