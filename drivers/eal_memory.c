/* EAL's memory, moved from a shared file to private pages: eal_memory.h says why.
 *
 * The file is there for vhost backends, that share the memory by its descriptor; we have none.
 * Other threads of EAL wait in epoll and do not touch this memory, and the new pages take the place
 * of the old ones in one step (mremap).
 *
 * Thread: control, before the workers. Failure: the memory stays as it was. */
#include "drivers/eal_memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_memory.h>

#define SMALL_PAGE_BYTES 4096U
#define LARGE_PAGE_BYTES (2U << 20)

/* Addresses that lie in a large page as those at `like` do. NULL: no memory. */
static uint8_t *reserve_like(const void *like, size_t bytes)
{
    uint8_t *address = mmap(NULL, bytes + LARGE_PAGE_BYTES, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED) {
        return NULL;
    }
    size_t before = ((uintptr_t)like - (uintptr_t)address) % LARGE_PAGE_BYTES;
    if (before > 0) {
        munmap(address, before);
    }
    munmap(address + before + bytes, LARGE_PAGE_BYTES - before);
    return address + before;
}

/* Those pages that have been used: the others are empty in both. EAL has just begun, and nothing of
 * its memory has been swapped out, which mincore does not tell from unused. */
static bool copy_used_pages(uint8_t *to, uint8_t *from, size_t bytes)
{
    size_t count = bytes / SMALL_PAGE_BYTES;
    unsigned char *used = calloc(count, 1);
    bool known = used != NULL && mincore(from, bytes, used) == 0;
    for (size_t i = 0; known && i < count; i++) {
        if ((used[i] & 1) != 0) {
            memcpy(to + i * SMALL_PAGE_BYTES, from + i * SMALL_PAGE_BYTES, SMALL_PAGE_BYTES);
        }
    }
    free(used);
    return known;
}

static int enlarge(const struct rte_memseg_list *list, void *argument)
{
    uint64_t *enlarged = argument;
    if (list->external || list->page_sz != SMALL_PAGE_BYTES) {
        return 0;
    }
    uint8_t *fresh = reserve_like(list->base_va, list->len);
    if (fresh == NULL) {
        return 0;
    }
    if (madvise(fresh, list->len, MADV_HUGEPAGE) == 0 &&
        copy_used_pages(fresh, list->base_va, list->len) &&
        mremap(fresh, list->len, list->len, MREMAP_MAYMOVE | MREMAP_FIXED, list->base_va) !=
            MAP_FAILED) {
        *enlarged += list->len;
    } else {
        munmap(fresh, list->len);
    }
    return 0;
}

uint64_t eal_memory_enlarge_pages(void)
{
    uint64_t enlarged = 0;
    (void)rte_memseg_list_walk(enlarge, &enlarged);
    return enlarged;
}
