/* Large pages for EAL's memory where there are no hugepages. */
#ifndef NICACHED_DRIVERS_EAL_MEMORY_H
#define NICACHED_DRIVERS_EAL_MEMORY_H

#include <stdint.h>

/* Without hugepages EAL's memory (packet buffers, rings, the tables of rte_hash) is a shared file
 * of small pages, which the kernel does not make large: an index of some MB then misses the TLB at
 * every look-up. This puts private memory in its place, with what EAL has in it by now, and asks
 * for transparent hugepages there. Right after rte_eal_init, before anybody else uses that memory;
 * does nothing where EAL has hugepages. A wish: what the kernel refuses stays as it was. Returns
 * how many bytes are new. */
uint64_t eal_memory_enlarge_pages(void);

#endif
