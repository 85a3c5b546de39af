#include "tests/bench/ledger.h"

#include <stdlib.h>

struct ledger_entry {
    uint32_t sent, group_first, floor, under_way;
};

struct ledger {
    uint64_t key_count;
    struct ledger_entry entries[];
};

struct ledger *ledger_create(uint64_t key_count)
{
    size_t bytes;
    if (__builtin_mul_overflow(key_count, sizeof(struct ledger_entry), &bytes) ||
        __builtin_add_overflow(bytes, sizeof(struct ledger), &bytes)) {
        return NULL;
    }
    struct ledger *ledger = calloc(1, bytes);
    if (ledger != NULL) {
        ledger->key_count = key_count;
    }
    return ledger;
}

void ledger_destroy(struct ledger *ledger)
{
    free(ledger);
}

uint32_t ledger_send_write(struct ledger *ledger, uint64_t key)
{
    struct ledger_entry *entry = &ledger->entries[key % ledger->key_count];
    entry->sent++;
    if (entry->under_way++ == 0) {
        entry->group_first = entry->sent;
    }
    return entry->sent;
}

void ledger_acknowledge_write(struct ledger *ledger, uint64_t key)
{
    struct ledger_entry *entry = &ledger->entries[key % ledger->key_count];
    if (--entry->under_way == 0) {
        entry->floor = entry->group_first;
    }
}

uint32_t ledger_floor(const struct ledger *ledger, uint64_t key)
{
    return ledger->entries[key % ledger->key_count].floor;
}

enum value_fault ledger_check(const struct ledger *ledger, uint64_t key, uint32_t floor,
                              uint32_t version)
{
    if (version > ledger->entries[key % ledger->key_count].sent) {
        return VALUE_NEVER_SENT;
    }
    return version < floor ? VALUE_STALE : VALUE_RIGHT;
}
