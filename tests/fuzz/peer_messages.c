/* What is said on the link about those who talk: by the peer, by us as an attacker would forge it,
 * and by third stations. Checksums are right; addresses, types, options and quotes are the input's.
 */
#include <rte_ip.h>

#include "dataplane/l2_link/link_internal.h"
#include "dataplane/l2_link/wire_ipv6.h"
#include "tests/fuzz/conversation.h"

#define ARP_FRAME_BYTES     60U
#define ND_OPTIONS          3U
#define ND_OPTION_UNITS     8U
#define QUOTE_BYTES_MAX     128U
#define ECHO_BYTES_MAX      8000U
#define ECHO_FRAGMENT_BYTES 1232U
#define UNKNOWN_PROTOCOL    200U
#define EXTENSIONS_ROOM     200U

/* Sender and target are the peer, we, or a third one; the MAC is the peer's, ours, another, a
 * group.
 */
void arp_message(struct conversation *v, struct input *input)
{
    uint8_t frame[ARP_FRAME_BYTES] = {0}, how = take(input), who = take(input);
    const struct rte_ether_addr macs[4] = {simulated_host_mac(PEER),
                                           simulated_host_mac(OWN),
                                           simulated_host_mac((uint8_t)(3 + (who >> 6))),
                                           {{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}}};
    const struct address addresses[4] = {simulated_host_address(PEER), simulated_host_address(OWN),
                                         simulated_host_address((uint8_t)(3 + (who >> 4 & 3))),
                                         address_from_ipv4(0)};
    memcpy(frame, &macs[how & 1 ? 3 : 1], 6);
    memcpy(frame + 6, &macs[how >> 2 & 3], 6);
    bytes_write_be16(frame + 12, RTE_ETHER_TYPE_ARP);
    bytes_write_be16(frame + 14, 1);
    bytes_write_be16(frame + 16, RTE_ETHER_TYPE_IPV4);
    frame[18] = 6;
    frame[19] = 4;
    bytes_write_be16(frame + 20, how & 2 ? 2 : 1);
    memcpy(frame + 22, &macs[how & 0x40 ? how >> 4 & 3 : how >> 2 & 3], 6);
    memcpy(frame + 28, addresses[who & 3].bytes + 12, 4);
    memcpy(frame + 32, &macs[1], 6);
    memcpy(frame + 38, addresses[who >> 2 & 3].bytes + 12, 4);
    inject_wrapped(v, frame, how & 0x80 ? ARP_FRAME_BYTES / 2 : ARP_FRAME_BYTES);
}

/* ---- IPv6 on the link --------------------------------------------------------------------------
 */

static struct address link_local(uint8_t number)
{
    return (struct address){{0xfe, 0x80, [15] = number}};
}

static struct address own_link_local(const struct conversation *v)
{
    const struct interface_addresses *addresses = &v->b->host.interface->addresses;
    for (uint32_t i = 0; i < addresses->count; i++) {
        if (address_is_link_local(&addresses->at[i].address)) {
            return addresses->at[i].address;
        }
    }
    return (struct address){{0}};
}

static struct address choose_ipv6(const struct conversation *v, uint8_t which)
{
    struct address own = simulated_host_address_ipv6(OWN), local = own_link_local(v);
    struct address peer = simulated_host_address_ipv6(PEER);
    switch (which & 15) {
    case 1: return own;
    case 2: return simulated_host_address_ipv6(3);
    case 3: return (struct address){{0}};
    case 4: return link_local(3);
    case 5: return (struct address){{0xfd, 1, [15] = 1}}; /* beyond the link */
    case 6: return local;
    case 7: return nd_group_of(&own);
    case 8: return (struct address){{0xff, 0x02, [15] = 1}};
    case 9: return nd_group_of(&local);
    case 10: return link_local(PEER);
    case 11: return nd_group_of(&peer);
    case 12: return simulated_host_address_ipv6(4);
    case 13: return own;
    case 14: return nd_group_of(&own);
    default: return peer;
    }
}

/* Of the MAC given, or where frames to the address go. */
static struct station_ipv6 station_of(const struct address *address,
                                      const struct rte_ether_addr *mac)
{
    struct station_ipv6 station = {0};
    struct rte_ether_addr own = simulated_host_mac(OWN);
    memcpy(station.ipv6, address->bytes, 16);
    memcpy(station.mac, mac != NULL ? mac : &own, 6);
    if (mac == NULL && address->bytes[0] == 0xff) {
        station.mac[0] = station.mac[1] = 0x33;
        memcpy(station.mac + 2, address->bytes + 12, 4);
    }
    return station;
}

static void send_frame(struct conversation *v, const struct frame *frame)
{
    CHECK(frame->size + EXTENSIONS_ROOM <= BENCH_FRAME_MAX);
    inject_wrapped(v, frame->bytes, (uint32_t)frame->size);
}

/* One option; returns its size. Its length may be a lie. */
static uint32_t write_nd_option(struct input *input, const struct rte_ether_addr *mac, uint8_t *to)
{
    static const uint8_t kinds[8] = {1, 2, 1, 2, 3, 5, 4, 14};
    uint8_t kind = take(input), form = take(input);
    struct rte_ether_addr other = simulated_host_mac(4);
    uint32_t units = form & 8 ? form & 7 : 1;
    memset(to, 0, ND_OPTION_UNITS * 8);
    to[0] = kinds[kind & 7];
    to[1] = (uint8_t)units;
    memcpy(to + 2, form & 0x10 ? &other : mac, 6);
    return form & 0x20 || units == 0 ? 8 : units * 8;
}

/* What is odd about a neighbour message as a whole; its upper bits hold the number. */
enum {
    ND_IS_CUT = 29, /* in the midst of its last option, or of its target */
    ND_HAS_CODE = 30,
    ND_COMES_FROM_AFAR = 31,
};

/* A solicitation or an advertisement, now and then a router's message or a redirect. */
void neighbour_message(struct conversation *v, struct input *input)
{
    static const uint8_t types[8] = {135, 136, 135, 136, 136, 133, 134, 137};
    uint8_t how = take(input), who = take(input), to = take(input), flags = take(input);
    const struct rte_ether_addr macs[4] = {simulated_host_mac(PEER), simulated_host_mac(3),
                                           simulated_host_mac(PEER), simulated_host_mac(4)};
    const struct rte_ether_addr *mac = &macs[to >> 4 & 3];
    struct address source = choose_ipv6(v, who), target = choose_ipv6(v, who >> 4);
    struct address destination = choose_ipv6(v, to);
    struct station_ipv6 from = station_of(&source, mac), receiver = station_of(&destination, NULL);
    uint8_t rest[16 + ND_OPTIONS * ND_OPTION_UNITS * 8];
    uint32_t size = 16;
    memcpy(rest, target.bytes, 16);
    for (uint32_t i = 0; i < (flags & 3U); i++) {
        size += write_nd_option(input, mac, rest + size);
    }
    uint8_t odd = how >> 3;
    size -= odd == ND_IS_CUT ? 5 : 0;
    struct frame frame;
    frame_icmpv6(&frame, &from, &receiver, odd == ND_COMES_FROM_AFAR ? 64 : 255, types[how & 7],
                 odd == ND_HAS_CODE, (uint32_t)flags << 24, slice_of(rest, size));
    send_frame(v, &frame);
}

/* A query for listeners, or another message of theirs. */
void listener_message(struct conversation *v, struct input *input)
{
    static const uint8_t types[4] = {130, 130, 131, 143}, rest[20] = {0};
    uint8_t how = take(input), who = take(input);
    struct rte_ether_addr mac = simulated_host_mac(3);
    struct address source = choose_ipv6(v, who & 8 ? 4 : who), to = choose_ipv6(v, who >> 4);
    struct station_ipv6 from = station_of(&source, &mac), receiver = station_of(&to, NULL);
    struct frame frame;
    frame_icmpv6(&frame, &from, &receiver, how & 4 ? 64 : 1, types[how & 3], 0, 0,
                 slice_of(rest, how & 8 ? sizeof(rest) : 4));
    send_frame(v, &frame);
}

/* ---- ICMP --------------------------------------------------------------------------------------
 */

/* What is odd about a quote. */
enum {
    QUOTE_IS_UDP = 1,
    QUOTE_HAS_OPTIONS = 2, /* or an extension header */
    QUOTE_IS_LATER = 4,    /* of a fragment that is not the first; a longer extension header */
    QUOTE_IS_SHORT = 8,
};

/* Each writes the IP header of the quoted packet, and returns its size. */
static uint32_t write_quoted_ipv4(const struct conversation *v, uint8_t form, uint8_t *to)
{
    struct address own = own_address(v);
    bool options = form & QUOTE_HAS_OPTIONS;
    to[0] = options ? 0x46 : 0x45;
    to[7] = form & QUOTE_IS_LATER ? 5 : 0;
    to[9] = form & QUOTE_IS_UDP ? IPPROTO_UDP : IPPROTO_TCP;
    memcpy(to + 12, own.bytes + 12, 4);
    memcpy(to + 16, v->peer.bytes + 12, 4);
    return options ? 24 : 20;
}

static uint32_t write_quoted_ipv6(const struct conversation *v, uint8_t form, uint8_t *to)
{
    uint8_t next = form & QUOTE_IS_UDP ? IPPROTO_UDP : IPPROTO_TCP;
    bool extended = form & QUOTE_HAS_OPTIONS;
    struct ipv6_header header = {.source = own_address(v),
                                 .destination = v->peer,
                                 .payload_bytes = 1000,
                                 .next = extended ? IPV6_DESTINATION_OPTIONS : next};
    wire_ipv6_compose(to, &header);
    to[IPV6_HEADER_BYTES] = next;
    to[IPV6_HEADER_BYTES + 1] = form & QUOTE_IS_LATER ? 3 : 0;
    return IPV6_HEADER_BYTES + (extended ? 8U : 0U);
}

/* The beginning of a segment that we sent or might have sent, with this sequence number; `to` has
 * room for QUOTE_BYTES_MAX. Returns its size. */
static uint32_t write_quote(const struct conversation *v, uint8_t form, uint32_t seq, uint8_t *to)
{
    memset(to, 0, QUOTE_BYTES_MAX);
    uint32_t at = (v->ipv6 ? write_quoted_ipv6 : write_quoted_ipv4)(v, form, to), more = form >> 4;
    bytes_write_be16(to + at, v->port);
    bytes_write_be16(to + at + 2, v->peer_port);
    bytes_write_be32(to + at + 4, seq);
    return form & QUOTE_IS_SHORT ? at + more - 8 : at + 8 + 3 * more;
}

struct icmp_kind {
    uint8_t type, code;
};

static uint16_t choose_mtu(struct input *input)
{
    static const uint16_t usual[8] = {0, 68, 551, 576, 1279, 1280, 1400, 1499};
    uint8_t how = take(input);
    return how & 0x80 ? (uint16_t)(256U * (how & 0x7F) + take(input)) : usual[how & 7];
}

/* Only who quotes what is under way is to be believed. */
static void note_mtu(struct conversation *v, uint16_t mtu, uint32_t seq)
{
    const struct tcp_connection *c = connection_of(v);
    bool under_way = c != NULL && seq - c->snd_una < tcp_flight_bytes(c);
    v->told_mtu = under_way && mtu < v->told_mtu ? mtu : v->told_mtu;
}

static void compose_icmp(const struct conversation *v, uint8_t sender, struct icmp_kind kind,
                         uint32_t rest, struct slice behind, struct frame *frame)
{
    struct rte_ether_addr mac = simulated_host_mac(sender), own_mac = simulated_host_mac(OWN);
    struct address source = simulated_host_address(sender), own = simulated_host_address(OWN);
    struct station from = {.ipv4 = address_to_ipv4(&source)}, to = {.ipv4 = address_to_ipv4(&own)};
    (void)v;
    memcpy(from.mac, &mac, 6);
    memcpy(to.mac, &own_mac, 6);
    frame_icmp(frame, &from, &to, kind.type, kind.code, rest, behind);
}

static void compose_icmpv6(const struct conversation *v, uint8_t sender, struct icmp_kind kind,
                           uint32_t rest, struct slice behind, struct frame *frame)
{
    struct rte_ether_addr mac = simulated_host_mac(sender);
    struct address source = simulated_host_address_ipv6(sender), own = own_address(v);
    struct station_ipv6 from = station_of(&source, &mac), to = station_of(&own, NULL);
    frame_icmpv6(frame, &from, &to, 64, kind.type, kind.code, rest, behind);
}

/* An error that quotes the connection, from the peer or a router on the way. */
static void send_error(struct conversation *v, struct input *input, uint8_t how)
{
    static const struct icmp_kind kinds[8] = {{3, 4}, {3, 4},  {3, 3}, {3, 2},
                                              {3, 1}, {11, 0}, {4, 0}, {5, 1}};
    static const struct icmp_kind kinds_ipv6[8] = {{2, 0}, {2, 0}, {1, 4}, {4, 1},
                                                   {1, 0}, {3, 0}, {4, 2}, {137, 0}};
    bool too_big = (how & 7) < 2;
    uint16_t mtu = too_big ? choose_mtu(input) : 0;
    uint8_t seq_how = take(input), form = take(input), quote[QUOTE_BYTES_MAX];
    int8_t offset = seq_how & 0x10 ? (int8_t)take(input) : 0;
    uint32_t seq = choose_ack(v, connection_of(v), seq_how, offset);
    struct slice behind = slice_of(quote, write_quote(v, form, seq, quote));
    struct frame frame;
    if (too_big) {
        note_mtu(v, mtu, seq);
    }
    (v->ipv6 ? compose_icmpv6 : compose_icmp)(
        v, how & 8 ? 3 : PEER, (v->ipv6 ? kinds_ipv6 : kinds)[how & 7], mtu, behind, &frame);
    send_frame(v, &frame);
}

/* One that is larger than a frame comes in fragments, and so goes the answer. */
static void send_echo(struct conversation *v, struct input *input, uint8_t how)
{
    static const uint8_t text[ECHO_BYTES_MAX] = {1, 2, 3};
    struct icmp_kind kind = {v->ipv6 ? 128 : 8, 0};
    uint8_t sender = how & 8 ? 3 : PEER;
    uint32_t size = take(input) * (how & 2 ? ECHO_BYTES_MAX / 255 : 5U);
    struct frame frame;
    (v->ipv6 ? compose_icmpv6 : compose_icmp)(v, sender, kind, 1, slice_of(text, size), &frame);
    if (how & 2) {
        struct cut cut = {.size = ECHO_FRAGMENT_BYTES, .how = take(input), .which = how >> 2};
        queue_fragments(v, frame.bytes, (uint32_t)frame.size - (v->ipv6 ? AT_IPV6_L4 : AT_L4),
                        &cut);
        arrive(v);
    } else {
        send_frame(v, &frame);
    }
}

/* Of a protocol that nobody here speaks. */
static void send_unknown(struct conversation *v, uint8_t how)
{
    static const uint8_t text[16] = {0};
    uint8_t bytes[BENCH_FRAME_MAX] = {0};
    struct probe p = {.ipv6 = v->ipv6, .peer = &v->peer, .text = text, .text_bytes = sizeof(text)};
    uint32_t size = bench_compose(&p, bytes);
    bytes[v->ipv6 ? AT_IPV6_NEXT : AT_IP_PROTOCOL] = how & 8 ? IPPROTO_UDP : UNKNOWN_PROTOCOL;
    if (!v->ipv6) {
        const void *ip = bytes + AT_IP;
        memset(bytes + AT_IP_CHECKSUM, 0, 2);
        uint16_t sum = rte_ipv4_cksum(ip);
        memcpy(bytes + AT_IP_CHECKSUM, &sum, 2);
    }
    inject_wrapped(v, bytes, size);
}

void icmp_message(struct conversation *v, struct input *input)
{
    uint8_t how = take(input);
    if ((how & 0x30) != 0x30) {
        send_error(v, input, how);
    } else if (how & 1) {
        send_echo(v, input, how);
    } else {
        send_unknown(v, how);
    }
}
