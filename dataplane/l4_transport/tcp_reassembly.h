/* Text that arrived out of order, copied out of the packets, until the hole before it is filled.
 *
 *   sequence   base                                          window's right edge
 *              |  page 0  |  page 1  |  page 2  |  ...  |
 *   ranges          [####]    [##########]   [#]              bytes held
 *              ^next: what lies below is delivered
 *
 * A byte has one place, given by its sequence number, so the first copy wins and overlaps cost
 * nothing. Pages come from the core's byte pool on first touch. Bounds: bytes by the receive
 * window, ranges by TCP_RANGES_MAX, pages of all connections by the budget, pages of one that
 * holds little text by a few more than it fills.
 *
 * A page whose bytes were all delivered goes to the budget's list of used pages: delivered slices
 * live until tcp_reassembly_free_used, at the end of the pass.
 */
#ifndef NICACHED_L4_TRANSPORT_TCP_REASSEMBLY_H
#define NICACHED_L4_TRANSPORT_TCP_REASSEMBLY_H

#include "dataplane/base/byte_queue.h"
#include "dataplane/base/object_pool.h"
#include "dataplane/l4_transport/tcp_ranges.h"

/* Shared by the stores of one worker. */
struct tcp_reassembly_budget {
    struct byte_pool *pages;
    struct object_pool stores;
    uint32_t slot_count; /* pages one store can span */
    uint32_t page_count, page_count_max;
    struct byte_queue used;
};

struct tcp_reassembly {
    uint32_t base;  /* sequence number of the first byte of the first slot's page */
    uint32_t first; /* index of that slot: the array is a ring */
    uint32_t page_count;
    struct tcp_ranges ranges;
    struct byte_chunk *slots[];
};

enum tcp_reassembly_verdict {
    TCP_REASSEMBLY_STORED,
    TCP_REASSEMBLY_KNOWN,   /* all of it was there */
    TCP_REASSEMBLY_REFUSED, /* bounds: nothing was stored */
};

void tcp_reassembly_budget_init(struct tcp_reassembly_budget *budget, struct byte_pool *pages,
                                uint32_t window_bytes_max, uint64_t bytes_max);
void tcp_reassembly_budget_deinit(struct tcp_reassembly_budget *budget);
void tcp_reassembly_free_used(struct tcp_reassembly_budget *budget);

/* NULL when the heap is exhausted. `next`: RCV.NXT. */
struct tcp_reassembly *tcp_reassembly_create(struct tcp_reassembly_budget *budget, uint32_t next);
/* Slices delivered from it stay alive until tcp_reassembly_free_used. */
void tcp_reassembly_destroy(struct tcp_reassembly_budget *budget, struct tcp_reassembly *store);

/* Stores bytes at `seq`; all of it lies at or after everything delivered and inside the window.
 * `urgent`: in-order text that must not be refused for the budget's sake. */
enum tcp_reassembly_verdict tcp_reassembly_insert(struct tcp_reassembly_budget *budget,
                                                  struct tcp_reassembly *store, uint32_t seq,
                                                  struct slice bytes, bool urgent);
/* Where the contiguous text that begins at `next` ends; `next` when there is none. */
uint32_t tcp_reassembly_contiguous_end(const struct tcp_reassembly *store, uint32_t next);
/* Takes out the next contiguous slice below `limit`, at most up to a page's end. Empty slice: none.
 */
struct slice tcp_reassembly_take(struct tcp_reassembly_budget *budget, struct tcp_reassembly *store,
                                 uint32_t limit);
/* RCV.NXT moved to `next` by text that did not pass through the store, and nothing below it is
 * here: lets the store's array follow the window. */
void tcp_reassembly_skip(struct tcp_reassembly_budget *budget, struct tcp_reassembly *store,
                         uint32_t next);
/* Bytes below `next` that were not taken yet. */
uint32_t tcp_reassembly_undelivered(const struct tcp_reassembly *store, uint32_t next);

#endif
