/* Memory that devices read by themselves: what they are to send, where it lies.
 *
 * A device behind an IOMMU reads what was mapped for it and nothing else. DPDK maps its own memory;
 * the store's is mapped here, chunk by chunk, into the container that all of the process' devices
 * bound to vfio-pci share, at the addresses it has in the process (IOVA as VA), for reading only.
 *
 * The kernel pins the pages and counts them against RLIMIT_MEMLOCK where the process has no
 * CAP_IPC_LOCK; it takes vfio_iommu_type1.dma_entry_limit mappings, 65535 unless told otherwise.
 *
 * Thread: any. Failure: what cannot be mapped is not shown to devices; the first time is logged. */
#ifndef NICACHED_DRIVERS_DMA_H
#define NICACHED_DRIVERS_DMA_H

#include <stdbool.h>
#include <stdint.h>

/* Whether this device, by its PCI address, reads what dma_map has mapped. EAL knows it. */
bool dma_serves(const char *pci_address);

/* Whole pages that are there: they are as they are now for the device, until they are unmapped. */
bool dma_map(void *address, uint64_t bytes);
/* Exactly what was mapped; no frame in a device's queue points there any more. */
void dma_unmap(void *address, uint64_t bytes);

#endif
