/* Multicast listener reports (MLDv2, RFC 3810): switches that look into them pass on only those
 * groups that somebody has reported, and solicitations come by groups.
 *
 * Path: reported when the interface is announced, and to every query, at most once a second. The
 * groups are the solicited-node groups of our addresses; all-nodes needs no report. Failure:
 * without a buffer a report is a counted drop, and the next query asks again.
 *
 *   IPv6 | hop-by-hop: router alert | type 143(1) 0(1) checksum(2) 0(2) records(2) |
 *   record: kind(1) 0(1) sources(2) group(16)
 */
#include "dataplane/base/checksum.h"
#include "dataplane/l2_link/link_internal.h"
#include "dataplane/l2_link/nd.h"
#include "dataplane/l2_link/wire_ipv6.h"

#define MLD_REPORT          143U
#define MLD_ALERT_BYTES     8U
#define MLD_HEADER_BYTES    8U
#define MLD_RECORD_BYTES    20U
#define MLD_KIND_IS_EXCLUDE 2U /* we listen to every source, as the answer to a query ... */
#define MLD_KIND_TO_EXCLUDE 4U /* ... and as news */
#define MLD_ANSWER_PAUSE_US 1000000ULL

static const uint8_t router_alert[MLD_ALERT_BYTES] = {IPV6_ICMP, 0, 5, 2, 0, 0, 1, 0};
static const struct address all_routers = {{0xff, 0x02, [15] = 0x16}};
static const struct rte_ether_addr all_routers_station = {{0x33, 0x33, 0, 0, 0, 0x16}};

/* Writes the message; returns its size. */
static uint32_t mld_compose(const struct net_interface *interface, const struct address *source,
                            uint8_t kind, uint8_t *to)
{
    uint16_t records = 0;
    uint32_t size = MLD_HEADER_BYTES;
    for (uint32_t i = 0; i < interface->addresses.count; i++) {
        const struct address *ours = &interface->addresses.at[i].address;
        if (!address_is_ipv4(ours)) {
            struct address group = nd_group_of(ours);
            bytes_write_be32(to + size, (uint32_t)kind << 24);
            memcpy(to + size + 4, group.bytes, sizeof(group.bytes));
            size += MLD_RECORD_BYTES;
            records++;
        }
    }
    bytes_write_be32(to, MLD_REPORT << 24);
    bytes_write_be32(to + 4, records);
    uint64_t sum = checksum_pseudo(source, &all_routers, IPV6_ICMP, size);
    checksum_store(to + 2, checksum_finish(checksum_add(sum, to, size)));
    return size;
}

/* The link-local address, which reports must come from (RFC 3810 5.2.13); NULL where there is none.
 */
static const struct address *mld_source(const struct net_interface *interface)
{
    for (uint32_t i = 0; i < interface->addresses.count; i++) {
        if (address_is_link_local(&interface->addresses.at[i].address)) {
            return &interface->addresses.at[i].address;
        }
    }
    return NULL;
}

static void mld_report(struct net_interface *interface, uint8_t kind)
{
    const struct address *source = mld_source(interface);
    CHECK(source != NULL); /* net_add_interface sees to it */
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(interface->link->options.pool);
    if (mbuf == NULL) {
        link_count(interface, METRIC_NET_DROP_NO_BUFFER);
        return;
    }
    uint32_t front = IPV6_HEADER_BYTES + MLD_ALERT_BYTES;
    uint8_t *to = (uint8_t *)rte_pktmbuf_append(
        mbuf, (uint16_t)(front + MLD_HEADER_BYTES + ADDRESSES_MAX * MLD_RECORD_BYTES));
    CHECK(to != NULL);
    uint32_t size = mld_compose(interface, source, kind, to + front);
    struct ipv6_header header = {.source = *source,
                                 .destination = all_routers,
                                 .payload_bytes = (uint16_t)(MLD_ALERT_BYTES + size),
                                 .next = IPV6_HOP_BY_HOP,
                                 .hop_limit = 1};
    wire_ipv6_compose(to, &header);
    memcpy(to + IPV6_HEADER_BYTES, router_alert, sizeof(router_alert));
    mbuf->data_len = (uint16_t)(front + size);
    mbuf->pkt_len = mbuf->data_len;
    link_count(interface, METRIC_NET_MLD_REPORTS_SENT);
    link_transmit(interface, &all_routers_station, RTE_ETHER_TYPE_IPV6, mbuf);
}

void mld_announce(struct net_interface *interface)
{
    mld_report(interface, MLD_KIND_TO_EXCLUDE);
}

void mld_answer_query(struct net_interface *interface, const struct instant *now)
{
    struct link *link = interface->link;
    if (link->reported_us == 0 || now->mono_us - link->reported_us >= MLD_ANSWER_PAUSE_US) {
        link->reported_us = now->mono_us;
        mld_report(interface, MLD_KIND_IS_EXCLUDE);
    }
}
