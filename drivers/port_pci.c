/* pci: a NIC bound to vfio-pci or uio, or a bifurcated one, by whichever PMD claims it.
 *
 * The argument is its address, "0000:41:00.0", and after a comma what the PMD understands. EAL was
 * started with nothing allowed; plugging the device in allows this one. Offloads are taken from
 * what the device announces, and RSS is set to our key and table where it takes them (port.c).
 * Queue interrupts are asked for, to be armed before each sleep; a device that does not start with
 * them starts without.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_pci.h>

#include "drivers/port_internal.h"

static int compose_pci_arguments(const struct interface_config *config, uint32_t *queue_count,
                                 char *text, size_t size, struct config_error *error)
{
    (void)queue_count;
    char address[32];
    size_t length = strcspn(config->argument, ",");
    struct rte_pci_addr parsed;
    snprintf(address, sizeof(address), "%.*s", (int)RTE_MIN(length, sizeof(address) - 1),
             config->argument);
    if (length >= sizeof(address) || rte_pci_addr_parse(address, &parsed) < 0) {
        return port_refuse(error, config->name, -EINVAL,
                           "pci:ADDRESS needs an address such as 0000:41:00.0");
    }
    snprintf(text, size, "%s",
             config->argument[length] == ',' ? config->argument + length + 1 : "");
    return 0;
}

const struct port_driver port_driver_pci = {
    .driver = INTERFACE_PCI,
    .bus = "pci",
    .quirks = PORT_QUIRK_HARDWARE_RSS | PORT_QUIRK_READS_MEMORY | PORT_QUIRK_ARMED_INTERRUPT,
    .rx_descriptors = 1024,
    .tx_descriptors = 1024,
    .queue_count_max = CONFIG_WORKERS_MAX,
    .compose_arguments = compose_pci_arguments,
};
