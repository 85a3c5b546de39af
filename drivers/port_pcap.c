/* pcap: frames from a capture file, answers to another (DPDK net_pcap).
 *
 * "IN,OUT" or "IN" alone (answers are dropped). The whole of IN arrives as fast as it is polled,
 * once. One queue. OUT is complete after teardown.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "drivers/port_internal.h"

static int compose_pcap_arguments(const struct interface_config *config, uint32_t *queue_count,
                                  char *text, size_t size, struct config_error *error)
{
    *queue_count = 1;
    const char *comma = strchr(config->argument, ',');
    size_t in = strcspn(config->argument, ",");
    if (in == 0 || (comma != NULL && (comma[1] == '\0' || strchr(comma + 1, ',') != NULL))) {
        return port_refuse(error, config->name, -EINVAL, "pcap:IN[,OUT] needs one or two files");
    }
    int used = snprintf(text, size, "rx_pcap=%.*s", (int)in, config->argument);
    if (comma != NULL) {
        snprintf(text + used, size - (size_t)used, ",tx_pcap=%s", comma + 1);
    }
    return 0;
}

const struct port_driver port_driver_pcap = {
    .driver = INTERFACE_PCAP,
    .bus = "vdev",
    .pmd = "net_pcap",
    .quirks = PORT_QUIRK_COPIES_ON_TRANSMIT,
    .rx_descriptors = 1024,
    .tx_descriptors = 1024,
    .queue_count_max = 1,
    .compose_arguments = compose_pcap_arguments,
};
