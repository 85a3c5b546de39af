/* The other side of a memif port, for testing it: connects as client and sends COUNT UDP requests
 * (after one ARP request) to the host at ADDRESS, one burst after another, and counts right
 * answers.
 *
 *   memif_ping SOCKET ADDRESS COUNT
 *
 * Prints "answers=N lost=N" and exits with 0 if all came back within five seconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_arp.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include "dataplane/base/clock.h"
#include "drivers/port.h"

#define BURST   32
#define PAYLOAD 18

struct pinger {
    uint16_t port;
    struct rte_mempool *pool;
    struct rte_ether_addr mac, server_mac;
    uint32_t ours, server;
    bool resolved;
    uint32_t sent, answered;
};

static int open_client(struct pinger *pinger, const char *path)
{
    char arguments[256];
    snprintf(arguments, sizeof(arguments), "role=client,socket=%s,socket-abstract=no,rsize=10",
             path);
    struct rte_eth_conf conf = {0};
    int result = rte_eal_hotplug_add("vdev", "net_memif_client", arguments);
    result = result < 0 ? result : rte_eth_dev_get_port_by_name("net_memif_client", &pinger->port);
    result = result < 0 ? result : rte_eth_dev_configure(pinger->port, 1, 1, &conf);
    result =
        result < 0 ? result : rte_eth_rx_queue_setup(pinger->port, 0, 1024, 0, NULL, pinger->pool);
    result = result < 0 ? result : rte_eth_tx_queue_setup(pinger->port, 0, 1024, 0, NULL);
    result = result < 0 ? result : rte_eth_dev_start(pinger->port);
    return result < 0 ? result : rte_eth_macaddr_get(pinger->port, &pinger->mac);
}

static struct rte_mbuf *make_frame(const struct pinger *pinger, uint16_t size, uint16_t type)
{
    struct rte_mbuf *packet = rte_pktmbuf_alloc(pinger->pool);
    if (packet == NULL) {
        return NULL;
    }
    packet->data_len = size; /* the data room is larger than any of these frames */
    packet->pkt_len = size;
    struct rte_ether_hdr *ether = rte_pktmbuf_mtod(packet, struct rte_ether_hdr *);
    memset(ether, 0, size);
    ether->src_addr = pinger->mac;
    ether->dst_addr = pinger->server_mac;
    ether->ether_type = rte_cpu_to_be_16(type);
    return packet;
}

static struct rte_mbuf *make_arp(const struct pinger *pinger)
{
    struct rte_mbuf *packet = make_frame(pinger, 60, RTE_ETHER_TYPE_ARP);
    if (packet == NULL) {
        return NULL;
    }
    struct rte_ether_hdr *ether = rte_pktmbuf_mtod(packet, struct rte_ether_hdr *);
    memset(&ether->dst_addr, 0xff, sizeof(ether->dst_addr));
    struct rte_arp_hdr *arp = (struct rte_arp_hdr *)(ether + 1);
    arp->arp_hardware = rte_cpu_to_be_16(RTE_ARP_HRD_ETHER);
    arp->arp_protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
    arp->arp_hlen = RTE_ETHER_ADDR_LEN;
    arp->arp_plen = 4;
    arp->arp_opcode = rte_cpu_to_be_16(RTE_ARP_OP_REQUEST);
    arp->arp_data.arp_sha = pinger->mac;
    arp->arp_data.arp_sip = rte_cpu_to_be_32(pinger->ours);
    arp->arp_data.arp_tip = rte_cpu_to_be_32(pinger->server);
    return packet;
}

static struct rte_mbuf *make_request(const struct pinger *pinger, uint32_t number)
{
    const uint16_t udp_size = sizeof(struct rte_udp_hdr) + PAYLOAD;
    const uint16_t ip_size = (uint16_t)(sizeof(struct rte_ipv4_hdr) + udp_size);
    struct rte_mbuf *packet =
        make_frame(pinger, (uint16_t)(sizeof(struct rte_ether_hdr) + ip_size), RTE_ETHER_TYPE_IPV4);
    if (packet == NULL) {
        return NULL;
    }
    struct rte_ipv4_hdr *ip =
        (struct rte_ipv4_hdr *)(rte_pktmbuf_mtod(packet, struct rte_ether_hdr *) + 1);
    struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);
    ip->version_ihl = 0x45;
    ip->total_length = rte_cpu_to_be_16(ip_size);
    ip->time_to_live = 64;
    ip->next_proto_id = IPPROTO_UDP;
    ip->src_addr = rte_cpu_to_be_32(pinger->ours);
    ip->dst_addr = rte_cpu_to_be_32(pinger->server);
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    udp->src_port = rte_cpu_to_be_16(4000);
    udp->dst_port = rte_cpu_to_be_16(7);
    udp->dgram_len = rte_cpu_to_be_16(udp_size);
    memcpy(udp + 1, &number, sizeof(number));
    udp->dgram_cksum = rte_ipv4_udptcp_cksum(ip, udp);
    return packet;
}

static void take_answer(struct pinger *pinger, struct rte_mbuf *packet)
{
    const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(packet, const struct rte_ether_hdr *);
    const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(ether + 1);
    if (ether->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP)) {
        pinger->server_mac = ether->src_addr;
        pinger->resolved = true;
    } else if (ether->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) &&
               packet->data_len >= sizeof(*ether) + sizeof(*ip) + 8 &&
               ip->src_addr == rte_cpu_to_be_32(pinger->server) &&
               rte_ipv4_udptcp_cksum_verify(ip, ip + 1) == 0) {
        pinger->answered++;
    }
}

static void receive(struct pinger *pinger)
{
    struct rte_mbuf *packets[BURST];
    uint16_t count = rte_eth_rx_burst(pinger->port, 0, packets, BURST);
    for (uint16_t i = 0; i < count; i++) {
        take_answer(pinger, packets[i]);
        rte_pktmbuf_free(packets[i]);
    }
}

static void send_one(struct pinger *pinger, struct rte_mbuf *packet)
{
    if (packet != NULL && rte_eth_tx_burst(pinger->port, 0, &packet, 1) == 0) {
        rte_pktmbuf_free(packet);
    }
}

static void ping(struct pinger *pinger, uint32_t count)
{
    struct instant start, now;
    clock_read(&start);
    now = start;
    while (pinger->answered < count && now.mono_us - start.mono_us < 5000000) {
        if (!pinger->resolved) {
            send_one(pinger, make_arp(pinger));
            usleep(10000);
        }
        for (uint32_t i = 0; pinger->resolved && i < BURST && pinger->sent < count &&
                             pinger->sent - pinger->answered < 256;
             i++) {
            send_one(pinger, make_request(pinger, pinger->sent++));
        }
        receive(pinger);
        usleep(20);
        clock_read(&now);
    }
}

int main(int argument_count, char **arguments)
{
    struct pinger pinger = {.ours = (198U << 24) + (18U << 16) + 200};
    struct address address;
    struct config_error error;
    if (argument_count != 4 || !address_parse(slice_of_string(arguments[2]), &address)) {
        fprintf(stderr, "usage: memif_ping SOCKET ADDRESS COUNT\n");
        return 2;
    }
    pinger.server = address_to_ipv4(&address);
    uint32_t count = (uint32_t)atoi(arguments[3]);
    struct eal_options options = {.hugepages = HUGEPAGES_NO,
                                  .memory_bytes = port_packet_pool_bytes(1, 1, 0)};
    if (eal_setup(&options, &error) < 0) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    pinger.pool = port_create_packet_pool(1, 1, 0);
    int result = pinger.pool == NULL ? -1 : open_client(&pinger, arguments[1]);
    if (result == 0) {
        ping(&pinger, count);
        (void)rte_eth_dev_stop(pinger.port);
        (void)rte_eth_dev_close(pinger.port);
    }
    printf("answers=%u lost=%u\n", pinger.answered, pinger.sent - pinger.answered);
    eal_teardown();
    return result == 0 && pinger.answered == count ? 0 : 1;
}
