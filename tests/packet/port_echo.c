/* A tiny host on one port, for testing drivers: answers ARP, ICMP echo and UDP (same payload back).
 *
 *   port_echo [--queues N] [--mtu N] [--sleep] [--limit SECONDS] NAME DRIVER[:ARG] ADDRESS/PREFIX
 *
 * Prints one line "ready ..." when the port is up and one line "done ..." with its counters at the
 * end, which comes at end of input on stdin or after the limit. --sleep waits on the port's
 * descriptor instead of polling. Exit status 1 and the error when the port cannot be set up.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_arp.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include "dataplane/base/clock.h"
#include "drivers/port.h"

#define BURST 64

struct counters {
    uint64_t rx, tx, refused, arp, icmp, udp, bad_checksum, flagged_good, chained;
};

struct host {
    struct port port;
    uint32_t address; /* host order */
    bool sleeps;
    uint64_t limit_us;
    uint32_t queues;
    struct counters counters;
};

static const struct {
    const char *name;
    enum interface_driver driver;
} driver_names[] = {
    {"tap", INTERFACE_TAP},       {"af_xdp", INTERFACE_AF_XDP}, {"af_packet", INTERFACE_AF_PACKET},
    {"memif", INTERFACE_MEMIF},   {"pcap", INTERFACE_PCAP},     {"pci", INTERFACE_PCI},
    {"socket", INTERFACE_SOCKET},
};

static bool parse_driver(const char *text, struct interface_config *config)
{
    size_t length = strcspn(text, ":");
    for (size_t i = 0; i < RTE_DIM(driver_names); i++) {
        if (strlen(driver_names[i].name) == length &&
            memcmp(driver_names[i].name, text, length) == 0) {
            config->driver = driver_names[i].driver;
            if (text[length] == ':') {
                snprintf(config->argument, sizeof(config->argument), "%s", text + length + 1);
            }
            return true;
        }
    }
    return false;
}

static bool parse_interface(char *const words[3], struct interface_config *config)
{
    snprintf(config->name, sizeof(config->name), "%s", words[0]);
    size_t length = strcspn(words[2], "/");
    struct address_prefix *at = &config->addresses.at[0];
    config->addresses.count = 1;
    at->prefix_length = 24;
    if (words[2][length] == '/') {
        at->prefix_length = (uint8_t)atoi(words[2] + length + 1);
    }
    return parse_driver(words[1], config) &&
           address_parse(slice_of(words[2], length), &at->address);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void swap_macs(const struct host *host, struct rte_ether_hdr *ether)
{
    ether->dst_addr = ether->src_addr;
    ether->src_addr = host->port.mac;
}

static bool answer_arp(struct host *host, struct rte_mbuf *packet, struct rte_ether_hdr *ether)
{
    struct rte_arp_hdr *arp = (struct rte_arp_hdr *)(ether + 1);
    if (packet->data_len < sizeof(*ether) + sizeof(*arp) ||
        arp->arp_opcode != rte_cpu_to_be_16(RTE_ARP_OP_REQUEST) ||
        arp->arp_data.arp_tip != rte_cpu_to_be_32(host->address)) {
        return false;
    }
    host->counters.arp++;
    swap_macs(host, ether);
    arp->arp_opcode = rte_cpu_to_be_16(RTE_ARP_OP_REPLY);
    arp->arp_data.arp_tha = arp->arp_data.arp_sha;
    arp->arp_data.arp_tip = arp->arp_data.arp_sip;
    arp->arp_data.arp_sha = host->port.mac;
    arp->arp_data.arp_sip = rte_cpu_to_be_32(host->address);
    return true;
}

static bool checksum_is_right(struct host *host, const struct rte_mbuf *packet,
                              const struct rte_ipv4_hdr *ip, const void *l4)
{
    uint64_t flag = packet->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
    if (flag == RTE_MBUF_F_RX_L4_CKSUM_GOOD) {
        host->counters.flagged_good++;
        return true;
    }
    return flag != RTE_MBUF_F_RX_L4_CKSUM_BAD && rte_ipv4_udptcp_cksum_verify(ip, l4) == 0;
}

static bool answer_udp(struct host *host, struct rte_mbuf *packet, struct rte_ipv4_hdr *ip)
{
    struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);
    if (!checksum_is_right(host, packet, ip, udp)) {
        host->counters.bad_checksum++;
        return false;
    }
    host->counters.udp++;
    rte_be16_t port = udp->src_port;
    udp->src_port = udp->dst_port;
    udp->dst_port = port;
    udp->dgram_cksum = 0;
    udp->dgram_cksum = rte_ipv4_udptcp_cksum(ip, udp);
    return true;
}

static bool answer_icmp(struct host *host, struct rte_ipv4_hdr *ip)
{
    struct rte_icmp_hdr *icmp = (struct rte_icmp_hdr *)(ip + 1);
    if (icmp->icmp_type != RTE_IP_ICMP_ECHO_REQUEST) {
        return false;
    }
    host->counters.icmp++;
    icmp->icmp_type = RTE_IP_ICMP_ECHO_REPLY;
    uint32_t sum = (uint32_t)rte_be_to_cpu_16(icmp->icmp_cksum) + 0x0800;
    icmp->icmp_cksum = rte_cpu_to_be_16((uint16_t)((sum >> 16) + (sum & 0xffff)));
    return true;
}

static bool answer_ipv4(struct host *host, struct rte_mbuf *packet, struct rte_ether_hdr *ether,
                        size_t offset)
{
    struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(packet, struct rte_ipv4_hdr *, offset);
    if (packet->data_len < offset + sizeof(*ip) + 8 || ip->version_ihl != 0x45 ||
        ip->dst_addr != rte_cpu_to_be_32(host->address) ||
        (ip->fragment_offset & rte_cpu_to_be_16(0x3fff)) != 0 ||
        rte_be_to_cpu_16(ip->total_length) > packet->data_len - offset) {
        return false;
    }
    bool answered = false;
    if (ip->next_proto_id == IPPROTO_UDP) {
        answered = answer_udp(host, packet, ip);
    } else if (ip->next_proto_id == IPPROTO_ICMP) {
        answered = answer_icmp(host, ip);
    }
    ip->dst_addr = ip->src_addr;
    ip->src_addr = rte_cpu_to_be_32(host->address);
    swap_macs(host, ether);
    return answered;
}

static bool answer(struct host *host, struct rte_mbuf *packet)
{
    struct rte_ether_hdr *ether = rte_pktmbuf_mtod(packet, struct rte_ether_hdr *);
    size_t offset = sizeof(*ether);
    host->counters.chained += packet->nb_segs > 1;
    if (packet->data_len < offset) {
        return false;
    }
    rte_be16_t type = ether->ether_type;
    if (type == rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN) && packet->data_len >= offset + 4) {
        type = ((struct rte_vlan_hdr *)(ether + 1))->eth_proto;
        offset += 4;
    }
    if (type == rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP) && offset == sizeof(*ether)) {
        return answer_arp(host, packet, ether);
    }
    return type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) &&
           answer_ipv4(host, packet, ether, offset);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static uint16_t serve_queue(struct host *host, uint16_t queue)
{
    struct rte_mbuf *packets[BURST], *answers[BURST];
    uint16_t count = port_receive_burst(&host->port, queue, packets, BURST), answer_count = 0;
    for (uint16_t i = 0; i < count; i++) {
        if (answer(host, packets[i])) {
            answers[answer_count++] = packets[i];
        } else {
            rte_pktmbuf_free(packets[i]);
        }
    }
    host->counters.rx += count;
    if (answer_count > 0) {
        uint16_t refused = port_transmit_burst(&host->port, queue, answers, answer_count);
        host->counters.refused += refused;
        host->counters.tx += (uint64_t)answer_count - refused;
    }
    return count;
}

/* Waits a little; false at end of input. */
static bool wait_for_packets(const struct host *host)
{
    struct pollfd fds[2] = {
        {.fd = STDIN_FILENO, .events = POLLIN},
        {.fd = host->port.rx_fd, .events = POLLIN},
    };
    bool blocks = host->sleeps && host->port.rx_fd >= 0;
    (void)poll(fds, blocks ? 2 : 1, blocks ? 1000 : 0);
    return (fds[0].revents & (POLLIN | POLLHUP)) == 0;
}

static void serve(struct host *host)
{
    struct instant now;
    clock_read(&now);
    uint64_t end_us = now.mono_us + host->limit_us;
    while (now.mono_us < end_us) {
        uint32_t received = 0;
        for (uint16_t queue = 0; queue < host->port.capabilities.queue_count; queue++) {
            received += serve_queue(host, queue);
        }
        if (received == 0 && !wait_for_packets(host)) {
            break;
        }
        if (received == 0 && !host->sleeps) {
            usleep(50);
        }
        clock_read(&now);
    }
}

static void print_ready(const struct host *host)
{
    const struct port *port = &host->port;
    const struct port_capabilities *can = &port->capabilities;
    char mac[RTE_ETHER_ADDR_FMT_SIZE];
    rte_ether_format_addr(mac, sizeof(mac), &port->mac);
    printf("ready mac=%s mtu=%u mtu_max=%u queues=%u rss=%d tx_checksum=%d%d%d rx_checksum=%d "
           "multi_segment=%d tso=%u rx_fd=%d hugepages=%d\n",
           mac, port->config.mtu, can->mtu_max, can->queue_count, can->rss, can->tx_ipv4_checksum,
           can->tx_tcp_checksum, can->tx_udp_checksum, can->rx_checksum, can->tx_multi_segment,
           can->tx_tso_bytes, port->rx_fd >= 0, eal_uses_hugepages());
    fflush(stdout);
}

static void print_done(const struct counters *c)
{
    printf("done rx=%lu tx=%lu refused=%lu arp=%lu icmp=%lu udp=%lu bad_checksum=%lu "
           "flagged_good=%lu chained=%lu\n",
           c->rx, c->tx, c->refused, c->arp, c->icmp, c->udp, c->bad_checksum, c->flagged_good,
           c->chained);
}

static int run(struct host *host, const struct interface_config *config)
{
    struct config_error error;
    struct eal_options options = {.hugepages = HUGEPAGES_AUTO,
                                  .with_pci = config->driver == INTERFACE_PCI,
                                  .memory_bytes = port_packet_pool_bytes(host->queues, 1, 0)};
    if (eal_setup(&options, &error) < 0) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    struct rte_mempool *pool = port_create_packet_pool(host->queues, 1, config->mtu);
    int status = 1;
    if (pool == NULL) {
        fprintf(stderr, "no memory for packets\n");
    } else if (port_setup(&host->port, config, host->queues, NULL, pool, &error) < 0) {
        fprintf(stderr, "%s\n", error.text);
    } else {
        print_ready(host);
        serve(host);
        port_teardown(&host->port);
        print_done(&host->counters);
        printf("pool=%u of %u\n", rte_mempool_avail_count(pool), pool->size);
        status = 0;
    }
    rte_mempool_free(pool);
    eal_teardown();
    return status;
}

int main(int argument_count, char **arguments)
{
    struct host host = {.queues = 1, .limit_us = 60 * 1000000};
    struct interface_config config = {0};
    int i = 1;
    for (; i < argument_count && arguments[i][0] == '-'; i++) {
        bool more = i + 1 < argument_count;
        if (strcmp(arguments[i], "--sleep") == 0) {
            host.sleeps = true;
        } else if (strcmp(arguments[i], "--queues") == 0 && more) {
            host.queues = (uint32_t)atoi(arguments[++i]);
        } else if (strcmp(arguments[i], "--mtu") == 0 && more) {
            config.mtu = (uint16_t)atoi(arguments[++i]);
        } else if (strcmp(arguments[i], "--limit") == 0 && more) {
            host.limit_us = (uint64_t)atoi(arguments[++i]) * 1000000;
        }
    }
    if (argument_count - i != 3 || !parse_interface(arguments + i, &config)) {
        fprintf(stderr, "usage: port_echo [OPTIONS] NAME DRIVER[:ARG] ADDRESS/PREFIX\n");
        return 2;
    }
    host.address = address_to_ipv4(&config.addresses.at[0].address);
    return run(&host, &config);
}
