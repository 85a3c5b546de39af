/* A short list of networks, as a directive names them: "10.0.0.0/8,fd00::/8,192.0.2.7". */
#ifndef NICACHED_BASE_PREFIX_LIST_H
#define NICACHED_BASE_PREFIX_LIST_H

#include "dataplane/base/address.h"

#define PREFIX_LIST_MAX 64U

struct prefix_list {
    uint32_t count;
    struct {
        uint64_t network[2], mask[2]; /* an address as two words, in network order */
    } entries[PREFIX_LIST_MAX];
};

/* Networks parted by commas; an address alone is a network of one; empty is none. False: wrong, or
 * more than PREFIX_LIST_MAX. */
bool prefix_list_parse(const char *text, struct prefix_list *list);

static inline bool prefix_list_has(const struct prefix_list *list, const struct address *address)
{
    uint64_t words[2];
    memcpy(words, address->bytes, sizeof(words));
    for (uint32_t i = 0; i < list->count; i++) {
        const uint64_t *network = list->entries[i].network, *mask = list->entries[i].mask;
        if ((((words[0] ^ network[0]) & mask[0]) | ((words[1] ^ network[1]) & mask[1])) == 0) {
            return true;
        }
    }
    return false;
}

#endif
