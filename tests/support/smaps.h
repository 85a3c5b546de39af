/* What the kernel was told of memory. */
#ifndef NICACHED_TESTS_SUPPORT_SMAPS_H
#define NICACHED_TESTS_SUPPORT_SMAPS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Whether /proc/self/smaps has madvise(MADV_HUGEPAGE) in the flags of the mapping of an address. */
static inline bool wants_large_pages(const void *address)
{
    FILE *smaps = fopen("/proc/self/smaps", "re");
    if (smaps == NULL) {
        return false;
    }
    char line[512];
    bool inside = false, wanted = false;
    while (fgets(line, sizeof(line), smaps) != NULL) {
        unsigned long first, end;
        if (sscanf(line, "%lx-%lx ", &first, &end) == 2) {
            inside = (uintptr_t)address >= first && (uintptr_t)address < end;
        } else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            wanted = strstr(line, " hg") != NULL;
        }
    }
    fclose(smaps);
    return wanted;
}

#endif
