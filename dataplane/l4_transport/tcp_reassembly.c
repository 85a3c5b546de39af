#include "dataplane/l4_transport/tcp_reassembly.h"

#include "dataplane/base/check.h"

#define PAGE_BYTES ((uint32_t)BYTE_PAGE_ROOM)
/* Scattered bytes cost a page each. What a store may take beyond SPARSE_FACTOR times its text; the
 * less when half of the budget is gone. */
#define SPARSE_FACTOR     4U
#define SPARE_PAGES       8U
#define SPARE_PAGES_SHORT 1U

void tcp_reassembly_budget_init(struct tcp_reassembly_budget *budget, struct byte_pool *pages,
                                uint32_t window_bytes_max, uint64_t bytes_max)
{
    *budget = (struct tcp_reassembly_budget){
        .pages = pages,
        .slot_count = window_bytes_max / PAGE_BYTES + 3,
        .page_count_max = (uint32_t)(bytes_max / PAGE_BYTES),
    };
    size_t bytes = sizeof(struct tcp_reassembly) + budget->slot_count * sizeof(struct byte_chunk *);
    object_pool_init(&budget->stores, bytes, 16);
    byte_queue_init(&budget->used);
}

void tcp_reassembly_budget_deinit(struct tcp_reassembly_budget *budget)
{
    tcp_reassembly_free_used(budget);
    CHECK(budget->page_count == 0);
    object_pool_deinit(&budget->stores);
}

void tcp_reassembly_free_used(struct tcp_reassembly_budget *budget)
{
    if (budget->used.head != NULL) {
        byte_queue_clear(&budget->used, budget->pages);
    }
}

/* The byte pool hands out pages through queues: a queue of one page, of which only the page is
 * kept. */
static struct byte_chunk *acquire_page(struct tcp_reassembly_budget *budget,
                                       struct tcp_reassembly *store)
{
    struct byte_queue queue;
    byte_queue_init(&queue);
    byte_queue_reserve(&queue, budget->pages, PAGE_BYTES);
    byte_queue_commit(&queue, PAGE_BYTES);
    budget->page_count++;
    store->page_count++;
    return queue.head;
}

static void retire_page(struct tcp_reassembly_budget *budget, struct tcp_reassembly *store,
                        struct byte_chunk *page)
{
    struct byte_queue queue = {.head = page, .tail = page, .size = PAGE_BYTES};
    byte_queue_move(&budget->used, &queue);
    budget->page_count--;
    store->page_count--;
}

struct tcp_reassembly *tcp_reassembly_create(struct tcp_reassembly_budget *budget, uint32_t next)
{
    struct tcp_reassembly *store = object_pool_acquire(&budget->stores);
    if (store != NULL) {
        store->base = next;
        store->first = 0;
        store->page_count = 0;
        store->ranges.count = store->ranges.stamp = store->ranges.bytes = 0;
        memset(store->slots, 0, budget->slot_count * sizeof(struct byte_chunk *));
    }
    return store;
}

void tcp_reassembly_destroy(struct tcp_reassembly_budget *budget, struct tcp_reassembly *store)
{
    for (uint32_t i = 0; i < budget->slot_count; i++) {
        if (store->slots[i] != NULL) {
            retire_page(budget, store, store->slots[i]);
        }
    }
    object_pool_release(&budget->stores, store);
}

static struct byte_chunk **slot_of(const struct tcp_reassembly_budget *budget,
                                   struct tcp_reassembly *store, uint32_t seq)
{
    uint32_t page = (seq - store->base) / PAGE_BYTES;
    CHECK(page < budget->slot_count);
    return &store->slots[(store->first + page) % budget->slot_count];
}

/* A page holds its bytes at fixed places; `data` was filled in by the pool and points behind the
 * header. */
static uint8_t *page_at(const struct tcp_reassembly *store, struct byte_chunk *page, uint32_t seq)
{
    return (uint8_t *)(page + 1) + (seq - store->base) % PAGE_BYTES;
}

static uint32_t page_rest(const struct tcp_reassembly *store, uint32_t seq)
{
    return PAGE_BYTES - (seq - store->base) % PAGE_BYTES;
}

static void copy_gap(struct tcp_reassembly_budget *budget, struct tcp_reassembly *store,
                     uint32_t seq, const uint8_t *data, uint32_t size)
{
    while (size > 0) {
        struct byte_chunk **slot = slot_of(budget, store, seq);
        if (*slot == NULL) {
            *slot = acquire_page(budget, store);
        }
        uint32_t part = page_rest(store, seq);
        part = part < size ? part : size;
        memcpy(page_at(store, *slot, seq), data, part);
        seq += part;
        data += part;
        size -= part;
    }
}

static uint32_t missing_pages(const struct tcp_reassembly_budget *budget,
                              const struct tcp_reassembly *store, uint32_t seq, uint32_t size)
{
    uint32_t first = (seq - store->base) / PAGE_BYTES, missing = 0;
    uint32_t last = (seq - store->base + size - 1) / PAGE_BYTES;
    for (uint32_t page = first; size > 0 && page <= last; page++) {
        missing += store->slots[(store->first + page) % budget->slot_count] == NULL;
    }
    return missing;
}

/* Whether the store's array and the budget hold [seq, seq + size). */
static bool fits(const struct tcp_reassembly_budget *budget, const struct tcp_reassembly *store,
                 uint32_t seq, uint32_t size, bool urgent)
{
    uint32_t span = budget->slot_count * PAGE_BYTES;
    uint32_t offset = seq - store->base;
    if (offset >= span || size > span - offset) {
        return false;
    }
    if (urgent) {
        return true;
    }
    uint32_t more = missing_pages(budget, store, seq, size);
    uint32_t spare =
        budget->page_count < budget->page_count_max / 2 ? SPARE_PAGES : SPARE_PAGES_SHORT;
    uint32_t worth = SPARSE_FACTOR * (store->ranges.bytes + size) / PAGE_BYTES + spare;
    return budget->page_count + more <= budget->page_count_max &&
           (more == 0 || store->page_count + more <= worth);
}

enum tcp_reassembly_verdict tcp_reassembly_insert(struct tcp_reassembly_budget *budget,
                                                  struct tcp_reassembly *store, uint32_t seq,
                                                  struct slice bytes, bool urgent)
{
    uint32_t size = (uint32_t)bytes.size, end = seq + size, at = seq, gap_start, gap_end;
    if (!fits(budget, store, seq, size, urgent) || !tcp_ranges_has_room(&store->ranges, seq, end)) {
        return TCP_REASSEMBLY_REFUSED;
    }
    bool any = false;
    while (tcp_ranges_gap(&store->ranges, at, end, &gap_start, &gap_end)) {
        copy_gap(budget, store, gap_start, bytes.data + (gap_start - seq), gap_end - gap_start);
        at = gap_end;
        any = true;
    }
    bool added = tcp_ranges_add(&store->ranges, seq, end);
    CHECK(added);
    return any ? TCP_REASSEMBLY_STORED : TCP_REASSEMBLY_KNOWN;
}

uint32_t tcp_reassembly_contiguous_end(const struct tcp_reassembly *store, uint32_t next)
{
    if (store->ranges.count > 0 && seq_at_or_before(store->ranges.at[0].start, next) &&
        seq_before(next, store->ranges.at[0].end)) {
        return store->ranges.at[0].end;
    }
    return next;
}

/* Everything below `next` was taken: pages that end there are done. */
static void retire_pages_below(struct tcp_reassembly_budget *budget, struct tcp_reassembly *store,
                               uint32_t next)
{
    while (next - store->base >= PAGE_BYTES && seq_before(store->base, next)) {
        struct byte_chunk **slot = &store->slots[store->first];
        if (*slot != NULL) {
            retire_page(budget, store, *slot);
            *slot = NULL;
        }
        store->first = (store->first + 1) % budget->slot_count;
        store->base += PAGE_BYTES;
    }
}

void tcp_reassembly_skip(struct tcp_reassembly_budget *budget, struct tcp_reassembly *store,
                         uint32_t next)
{
    retire_pages_below(budget, store, next);
}

struct slice tcp_reassembly_take(struct tcp_reassembly_budget *budget, struct tcp_reassembly *store,
                                 uint32_t limit)
{
    if (store->ranges.count == 0 || !seq_before(store->ranges.at[0].start, limit)) {
        return slice_of(NULL, 0);
    }
    uint32_t start = store->ranges.at[0].start;
    uint32_t size = seq_min(store->ranges.at[0].end, limit) - start;
    uint32_t rest = page_rest(store, start);
    size = size < rest ? size : rest;
    struct slice taken = slice_of(page_at(store, *slot_of(budget, store, start), start), size);
    tcp_ranges_trim(&store->ranges, start + size);
    retire_pages_below(budget, store, start + size);
    return taken;
}

uint32_t tcp_reassembly_undelivered(const struct tcp_reassembly *store, uint32_t next)
{
    if (store->ranges.count == 0 || !seq_before(store->ranges.at[0].start, next)) {
        return 0;
    }
    return seq_min(store->ranges.at[0].end, next) - store->ranges.at[0].start;
}
