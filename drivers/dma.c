#include "drivers/dma.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_vfio.h>

#include "dataplane/base/log.h"

static bool is_bound_to_vfio(const char *pci_address)
{
    static const char wanted[] = "/vfio-pci";
    char path[128], target[256];
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", pci_address);
    ssize_t size = readlink(path, target, sizeof(target));
    ssize_t wanted_size = (ssize_t)sizeof(wanted) - 1;
    return size >= wanted_size &&
           memcmp(target + size - wanted_size, wanted, (size_t)wanted_size) == 0;
}

/* Without an IOMMU, and where EAL goes by physical addresses, nobody translates ours. */
bool dma_serves(const char *pci_address)
{
    return rte_eal_iova_mode() == RTE_IOVA_VA && rte_vfio_get_container_fd() >= 0 &&
           rte_vfio_noiommu_is_enabled() != 1 && is_bound_to_vfio(pci_address);
}

static void log_refusal(int code)
{
    static bool logged;
    if (!__atomic_exchange_n(&logged, true, __ATOMIC_RELAXED)) {
        log_warning("memory cannot be mapped for the network cards: %s; values in it are copied "
                    "into packets (store_pages_mapped_bytes)",
                    strerror(code));
    }
}

/* Not by rte_vfio_container_dma_map: it keeps a list, for cards that are plugged in later, that
 * holds 256 runs of chunks, and whose being full makes unmapping fail. */
bool dma_map(void *address, uint64_t bytes)
{
    struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map),
                                           .flags = VFIO_DMA_MAP_FLAG_READ,
                                           .vaddr = (uintptr_t)address,
                                           .iova = (uintptr_t)address,
                                           .size = bytes};
    if (ioctl(rte_vfio_get_container_fd(), VFIO_IOMMU_MAP_DMA, &map) < 0) {
        log_refusal(errno);
        return false;
    }
    return true;
}

/* What stays mapped all the same keeps its old pages, and cannot be mapped again. */
void dma_unmap(void *address, uint64_t bytes)
{
    struct vfio_iommu_type1_dma_unmap unmap = {
        .argsz = sizeof(unmap), .iova = (uintptr_t)address, .size = bytes};
    if (ioctl(rte_vfio_get_container_fd(), VFIO_IOMMU_UNMAP_DMA, &unmap) < 0) {
        log_warning("memory at %p stays mapped for the network cards: %s", address,
                    strerror(errno));
    }
}
