/* A port as a link of a core: the queue pair of its number. */
#include <stdio.h>

#include "dataplane/base/check.h"
#include "dataplane/core/core_internal.h"
#include "drivers/port.h"

static uint16_t receive(void *context, uint16_t queue, struct rte_mbuf **packets,
                        uint16_t count_max)
{
    return port_receive_burst(context, queue, packets, count_max);
}

static uint16_t transmit(void *context, uint16_t queue, struct rte_mbuf **packets, uint16_t count)
{
    return port_transmit_burst(context, queue, packets, count);
}

static uint64_t take_missed(void *context, uint16_t queue)
{
    return port_take_missed(context, queue);
}

void core_link_to_port(struct core_link *link, struct port *port, uint32_t number)
{
    const struct interface_config *config = &port->config;
    const struct port_capabilities *capabilities = &port->capabilities;
    *link = (struct core_link){
        .context = port,
        .queue = (uint16_t)number,
        .port = port->dpdk_port,
        .name = port->name,
        .receive = receive,
        .transmit = transmit,
        .take_missed = take_missed,
        .wait_fd = port_queue_fd(port, (uint16_t)number),
        .wakes = port_queue_fd(port, (uint16_t)number) >= 0,
        .interface = {.mac = port->mac,
                      .addresses = config->addresses,
                      .vlan = config->vlan,
                      .mtu = config->mtu,
                      .tx_ipv4_checksum = capabilities->tx_ipv4_checksum,
                      .tx_tcp_checksum = capabilities->tx_tcp_checksum,
                      .tx_udp_checksum = capabilities->tx_udp_checksum,
                      .tx_tso_bytes = capabilities->tx_tso_bytes,
                      .tx_tso_bytes_ipv6 = capabilities->tx_tso_bytes_ipv6,
                      .tx_external = capabilities->tx_external,
                      .rx_checksum = capabilities->rx_checksum,
                      .any_station = config->driver == INTERFACE_PCAP},
    };
}

static void add_offload(char *text, size_t size, bool has, const char *name)
{
    size_t used = strlen(text);
    if (has) {
        snprintf(text + used, size - used, "%s%s", used > 0 ? "+" : "", name);
    }
}

/* "ipv4_cksum+tcp_cksum+tso", or "none". */
static void name_offloads(const struct net_interface *interface, char *text, size_t size)
{
    text[0] = '\0';
    add_offload(text, size, interface->rx_checksum, "rx_cksum");
    add_offload(text, size, interface->tx_ipv4_checksum, "ipv4_cksum");
    add_offload(text, size, interface->tx_tcp_checksum, "tcp_cksum");
    add_offload(text, size, interface->tx_udp_checksum, "udp_cksum");
    add_offload(text, size, interface->tx_tso_bytes != 0, "tso");
    add_offload(text, size, interface->tx_tso_bytes_ipv6 != 0, "tso_ipv6");
    add_offload(text, size, interface->tx_external, "zero_copy");
    add_offload(text, size, text[0] == '\0', "none");
}

void core_describe_links(const struct core *core, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < core->options.link_count && used < size; i++) {
        const struct core_link *link = &core->links[i];
        char offloads[128];
        name_offloads(&link->interface, offloads, sizeof(offloads));
        int added = snprintf(text + used, size - used, "port%u:name=%s,mtu=%u,offloads=%s\r\n", i,
                             link->name != NULL ? link->name : "", link->interface.mtu, offloads);
        CHECK(added > 0 && (size_t)added < size - used);
        used += (size_t)added;
    }
}

bool core_vlan_interface(const struct core_link *link, const struct interface_config *config,
                         struct net_interface *interface)
{
    if (config->driver != INTERFACE_VLAN || link->name == NULL ||
        strcmp(config->argument, link->name) != 0) {
        return false;
    }
    *interface = link->interface;
    interface->addresses = config->addresses;
    interface->vlan = config->vlan;
    if (config->mtu != 0 && config->mtu < link->interface.mtu) {
        interface->mtu = config->mtu;
    }
    return true;
}
