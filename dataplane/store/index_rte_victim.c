/* Looking at the index by fingerprint alone: for the eviction, which knows no keys. */
#include "dataplane/store/index_rte.h"

struct item *index_read_hash(const struct index *index, uint64_t hash)
{
    struct segment *segment = index_root(index, hash);
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

bool index_holds(const struct index *index, uint64_t hash, const struct item *item)
{
    if (index_read_hash(index, hash) == item) {
        return true;
    }
    for (const struct overflow *node = index->overflow; node != NULL; node = node->next) {
        if (node->hash == hash && node->item == item) {
            return true;
        }
    }
    return false;
}
