/* A port as a link of a core: the queue pair of its number. */
#include <inttypes.h>
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

static void arm(void *context, uint16_t queue)
{
    port_arm(context, queue);
}

static bool disarm(void *context, uint16_t queue)
{
    return port_disarm(context, queue);
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
        .link_changes = &port->link_changes,
        .receive = receive,
        .transmit = transmit,
        .take_missed = take_missed,
        .wait_fd = port_queue_fd(port, (uint16_t)number),
        /* An interrupt that has to be armed is trusted when one has come. */
        .wakes = port_queue_fd(port, (uint16_t)number) >= 0 && !capabilities->rx_armed,
        .arm = capabilities->rx_armed ? arm : NULL,
        .disarm = capabilities->rx_armed ? disarm : NULL,
        .interface = {.mac = port->mac,
                      .addresses = config->addresses,
                      .vlan = config->vlan,
                      .mtu = config->mtu,
                      .tx_ipv4_checksum = capabilities->tx_ipv4_checksum,
                      .tx_tcp_checksum = capabilities->tx_tcp_checksum,
                      .tx_udp_checksum = capabilities->tx_udp_checksum,
                      .tx_tso_bytes = capabilities->tx_tso_bytes,
                      .tx_tso_bytes_ipv6 = capabilities->tx_tso_bytes_ipv6,
                      .tx_external_bytes = capabilities->tx_external_bytes,
                      .tx_external_mapped = capabilities->tx_external_mapped,
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
    add_offload(text, size, interface->tx_external_bytes != 0, "zero_copy");
    add_offload(text, size, text[0] == '\0', "none");
}

static uint64_t link_changes(const struct core_link *link)
{
    return link->link_changes != NULL ? __atomic_load_n(link->link_changes, __ATOMIC_RELAXED) : 0;
}

void core_describe_links(struct core *core)
{
    char *text = core->context->ports;
    size_t size = sizeof(core->context->ports), used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < core->options.link_count && used < size; i++) {
        const struct core_link *link = &core->links[i];
        uint64_t changes = link_changes(link);
        char offloads[128];
        name_offloads(&link->interface, offloads, sizeof(offloads));
        int added = snprintf(text + used, size - used,
                             "port%u:name=%s,mtu=%u,offloads=%s,link=%s,"
                             "link_changes=%" PRIu64 "\r\n",
                             i, link->name != NULL ? link->name : "", link->interface.mtu, offloads,
                             changes % 2 == 0 ? "up" : "down", changes);
        CHECK(added > 0 && (size_t)added < size - used);
        used += (size_t)added;
    }
}

/* All workers show all ports; the first one counts them. */
void core_note_links(struct core *core)
{
    uint64_t changes = 0, down = 0;
    for (uint32_t i = 0; i < core->options.link_count; i++) {
        uint64_t of_link = link_changes(&core->links[i]);
        changes += of_link;
        down += of_link % 2;
    }
    if (LIKELY(changes == core->link_changes)) {
        return;
    }
    if (core->options.number == 0) {
        metric_add(core->metrics, METRIC_NET_LINK_CHANGES, changes - core->link_changes);
        metric_set(core->metrics, METRIC_NET_LINKS_DOWN, down);
    }
    core->link_changes = changes;
    core_describe_links(core);
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
