/* Software RSS. core_distributor.h has the picture and the invariants.
 *
 * Memory: rings on the heap; frames stay in the packet pool. A ring from a worker with a queue has
 * 1024 places, others carry only what was reassembled and have 64.
 */
#include "dataplane/core/core_distributor.h"

#include <netinet/in.h>
#include <stdlib.h>

#include <rte_ring.h>

#include "dataplane/base/check.h"
#include "dataplane/l2_link/packet.h"
#include "dataplane/l2_link/wire_ethernet.h"
#include "dataplane/l2_link/wire_ipv6.h"
#include "dataplane/l2_link/wire_nd.h"
#include "dataplane/l3_ip/wire_icmp.h"
#include "dataplane/l3_ip/wire_icmpv6.h"
#include "dataplane/l3_ip/wire_ipv4.h"

#define BURST           64U
#define RING_PLACES     1024U
#define RING_PLACES_FEW 64U
#define OWNER_ALL       UINT32_MAX
#define PORTS_BYTES     4U /* what the hash needs of TCP's and UDP's header */
#define RING_ALIGNMENT  128U

/* What one worker has taken from its queue for itself, and where its turn of the rings begins. */
struct distributor_worker {
    _Alignas(64) struct rte_mbuf *kept[BURST];
    uint32_t kept_first, kept_end;
    uint32_t next_ring;
};

struct distributor {
    struct distributor_options options;
    struct core_link *queues;
    struct distributor_worker *workers;
    struct rte_ring **rings;        /* [from * worker_count + to]; none to oneself */
    struct rte_ring **output_rings; /* by worker; NULL for those with a queue */
};

/* ---- who owns a frame ------------------------------------------------------------------------ */

static uint32_t owner_of_flow(const struct distributor *distributor, uint32_t source,
                              uint32_t destination, const uint8_t *ports)
{
    uint32_t hash = port_rss_hash_flow(distributor->options.rss, source, destination,
                                       bytes_read_be16(ports), bytes_read_be16(ports + 2));
    return port_rss_worker(hash, distributor->options.worker_count);
}

static uint32_t owner_of_addresses(const struct distributor *distributor,
                                   const struct ipv4_header *header)
{
    uint32_t hash =
        port_rss_hash_addresses(distributor->options.rss, header->source, header->destination);
    return port_rss_worker(hash, distributor->options.worker_count);
}

static bool is_icmp_error(uint8_t type)
{
    return type == ICMP_TYPE_UNREACHABLE || type == ICMP_TYPE_TIME_EXCEEDED ||
           type == ICMP_TYPE_PARAMETER_PROBLEM;
}

/* It quotes a packet of ours: its flow comes in with the ends turned round. `otherwise` when it
 * quotes none that has ports. */
static uint32_t owner_of_quoted(const struct distributor *distributor, struct slice quote,
                                uint32_t otherwise)
{
    if (quote.size < IPV4_HEADER_BYTES || quote.data[0] >> 4 != 4) {
        return otherwise;
    }
    size_t header_bytes = (size_t)(quote.data[0] & 0x0f) * 4;
    uint8_t protocol = quote.data[9];
    if (header_bytes < IPV4_HEADER_BYTES || quote.size < header_bytes + PORTS_BYTES ||
        (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)) {
        return otherwise;
    }
    const uint8_t *ports = quote.data + header_bytes;
    const uint8_t turned[PORTS_BYTES] = {ports[2], ports[3], ports[0], ports[1]};
    return owner_of_flow(distributor, bytes_read_be32(quote.data + 16),
                         bytes_read_be32(quote.data + 12), turned);
}

static uint32_t owner_of_packet(const struct distributor *distributor, uint32_t worker,
                                struct slice packet)
{
    struct ipv4_header header;
    if (UNLIKELY(wire_ipv4_parse(packet, &header) != WIRE_IPV4_RIGHT)) {
        return worker;
    }
    if (UNLIKELY((header.fragment & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK)) != 0)) {
        return owner_of_addresses(distributor, &header);
    }
    struct slice payload = slice_of(packet.data + header.header_bytes,
                                    (size_t)(header.total_bytes - header.header_bytes));
    bool has_ports = header.protocol == IPPROTO_TCP || header.protocol == IPPROTO_UDP;
    if (LIKELY(has_ports && payload.size >= PORTS_BYTES)) {
        return distributor->options.port_spreads
                   ? worker
                   : owner_of_flow(distributor, header.source, header.destination, payload.data);
    }
    if (header.protocol == IPPROTO_ICMP && payload.size >= ICMP_HEADER_BYTES &&
        is_icmp_error(payload.data[0])) {
        return owner_of_quoted(distributor, slice_from(payload, ICMP_HEADER_BYTES), worker);
    }
    return owner_of_addresses(distributor, &header);
}

/* ---- the same for IPv6 ----------------------------------------------------------------------- */

static uint32_t owner_of_flow_ipv6(const struct distributor *distributor,
                                   const struct address *source, const struct address *destination,
                                   const uint8_t *ports)
{
    uint32_t hash = port_rss_hash_flow_ipv6(distributor->options.rss, source, destination,
                                            bytes_read_be16(ports), bytes_read_be16(ports + 2));
    return port_rss_worker(hash, distributor->options.worker_count);
}

static uint32_t owner_of_addresses_ipv6(const struct distributor *distributor,
                                        const struct ipv6_header *header)
{
    uint32_t hash = port_rss_hash_addresses_ipv6(distributor->options.rss, &header->source,
                                                 &header->destination);
    return port_rss_worker(hash, distributor->options.worker_count);
}

static bool has_ports_ipv6(const struct ipv6_chain *chain, struct slice behind)
{
    return (chain->next == IPPROTO_TCP || chain->next == IPPROTO_UDP) &&
           behind.size - chain->bytes >= PORTS_BYTES;
}

static uint32_t owner_of_quoted_ipv6(const struct distributor *distributor, struct slice quote,
                                     uint32_t otherwise)
{
    if (quote.size < IPV6_HEADER_BYTES || quote.data[0] >> 4 != 6) {
        return otherwise;
    }
    struct ipv6_chain chain = {.may_begin = true, .next = quote.data[6]};
    struct slice behind = slice_from(quote, IPV6_HEADER_BYTES);
    if (wire_ipv6_walk(behind, &chain) != WIRE_IPV6_CHAIN_RIGHT ||
        !has_ports_ipv6(&chain, behind)) {
        return otherwise;
    }
    struct address source, destination;
    memcpy(source.bytes, quote.data + 8, sizeof(source.bytes));
    memcpy(destination.bytes, quote.data + 24, sizeof(destination.bytes));
    const uint8_t *ports = behind.data + chain.bytes;
    const uint8_t turned[PORTS_BYTES] = {ports[2], ports[3], ports[0], ports[1]};
    return owner_of_flow_ipv6(distributor, &destination, &source, turned);
}

static uint32_t owner_of_icmpv6(const struct distributor *distributor, uint32_t worker,
                                const struct ipv6_header *header, struct slice message)
{
    uint8_t type = message.data[0];
    if (type == ND_SOLICITATION || type == ND_ADVERTISEMENT) {
        return OWNER_ALL;
    }
    if (type >= ICMPV6_TYPE_UNREACHABLE && type <= ICMPV6_TYPE_PARAMETER_PROBLEM) {
        return owner_of_quoted_ipv6(distributor, slice_from(message, ICMPV6_HEADER_BYTES), worker);
    }
    return owner_of_addresses_ipv6(distributor, header);
}

/* A port that spreads by itself is believed about plain packets only: what it does behind extension
 * headers differs from one to the next. */
static uint32_t owner_of_packet_ipv6(const struct distributor *distributor, uint32_t worker,
                                     struct slice packet)
{
    struct ipv6_header header;
    if (UNLIKELY(wire_ipv6_parse(packet, &header) != WIRE_IPV6_RIGHT)) {
        return worker;
    }
    struct slice behind = slice_of(packet.data + IPV6_HEADER_BYTES, header.payload_bytes);
    struct ipv6_chain chain = {.may_begin = true, .next = header.next};
    if (UNLIKELY(wire_ipv6_walk(behind, &chain) != WIRE_IPV6_CHAIN_RIGHT)) {
        return worker;
    }
    if (UNLIKELY(chain.fragmented)) {
        return owner_of_addresses_ipv6(distributor, &header);
    }
    if (LIKELY(has_ports_ipv6(&chain, behind))) {
        return distributor->options.port_spreads && chain.bytes == 0
                   ? worker
                   : owner_of_flow_ipv6(distributor, &header.source, &header.destination,
                                        behind.data + chain.bytes);
    }
    struct slice message = slice_from(behind, chain.bytes);
    if (chain.next == IPV6_ICMP && message.size >= ICMPV6_HEADER_BYTES) {
        return owner_of_icmpv6(distributor, worker, &header, message);
    }
    return owner_of_addresses_ipv6(distributor, &header);
}

static uint32_t owner_of_frame(const struct distributor *distributor, uint32_t worker,
                               const struct rte_mbuf *frame)
{
    struct ethernet_header ethernet;
    struct slice bytes = slice_of(rte_pktmbuf_mtod(frame, const uint8_t *), frame->data_len);
    if (UNLIKELY(!wire_ethernet_parse(bytes, &ethernet))) {
        return worker;
    }
    if (LIKELY(ethernet.type == RTE_ETHER_TYPE_IPV4)) {
        return owner_of_packet(distributor, worker, slice_from(bytes, ethernet.bytes));
    }
    if (ethernet.type == RTE_ETHER_TYPE_IPV6) {
        return owner_of_packet_ipv6(distributor, worker, slice_from(bytes, ethernet.bytes));
    }
    return ethernet.type == RTE_ETHER_TYPE_ARP ? OWNER_ALL : worker;
}

/* ---- from one worker to another -------------------------------------------------------------- */

static struct rte_ring *ring_between(const struct distributor *distributor, uint32_t from,
                                     uint32_t to)
{
    return distributor->rings[from * distributor->options.worker_count + to];
}

static void count(const struct distributor *distributor, uint32_t worker, enum metric metric,
                  uint32_t amount)
{
    metric_add(&distributor->options.metrics[worker], metric, amount);
}

/* Takes over the frames. */
static void put_into_ring(struct distributor *distributor, uint32_t from, uint32_t to,
                          struct rte_mbuf **frames, uint32_t frame_count)
{
    uint32_t put = rte_ring_sp_enqueue_burst(ring_between(distributor, from, to), (void **)frames,
                                             frame_count, NULL);
    count(distributor, from, METRIC_NET_FRAMES_HANDED_ON, put);
    if (UNLIKELY(put < frame_count)) {
        count(distributor, from, METRIC_NET_DROP_HAND_ON_FULL, frame_count - put);
        rte_pktmbuf_free_bulk(frames + put, frame_count - put);
    }
    distributor->options.wake(distributor->options.argument, to);
}

static void keep(struct distributor *distributor, uint32_t worker, struct rte_mbuf *frame)
{
    struct distributor_worker *own = &distributor->workers[worker];
    own->kept[own->kept_end++] = frame;
}

static void copy_to_others(struct distributor *distributor, uint32_t from,
                           const struct rte_mbuf *frame)
{
    for (uint32_t to = 0; to < distributor->options.worker_count; to++) {
        if (to == from) {
            continue;
        }
        struct rte_mbuf *copy = rte_pktmbuf_copy(frame, distributor->options.pool, 0, UINT32_MAX);
        if (copy == NULL) {
            count(distributor, from, METRIC_NET_DROP_NO_BUFFER, 1);
            return;
        }
        packet_mark_overheard(copy);
        put_into_ring(distributor, from, to, &copy, 1);
    }
}

/* Those of the same owner together, in their order. */
static void spread(struct distributor *distributor, uint32_t worker, struct rte_mbuf **frames,
                   uint32_t frame_count)
{
    uint32_t owners[BURST];
    for (uint32_t i = 0; i < frame_count; i++) {
        owners[i] = owner_of_frame(distributor, worker, frames[i]);
        if (owners[i] == OWNER_ALL) {
            copy_to_others(distributor, worker, frames[i]);
            owners[i] = worker;
        }
        if (owners[i] == worker) {
            keep(distributor, worker, frames[i]);
        }
    }
    for (uint32_t i = 0; i < frame_count; i++) {
        struct rte_mbuf *burst[BURST];
        uint32_t owner = owners[i], burst_count = 0;
        for (uint32_t k = i; owner != worker && k < frame_count; k++) {
            if (owners[k] == owner) {
                burst[burst_count++] = frames[k];
                owners[k] = worker;
            }
        }
        if (burst_count > 0) {
            put_into_ring(distributor, worker, owner, burst, burst_count);
        }
    }
}

/* ---- the link's functions -------------------------------------------------------------------- */

static bool take_from_queue(struct distributor *distributor, uint32_t worker)
{
    struct distributor_worker *own = &distributor->workers[worker];
    const struct core_link *queue = &distributor->queues[worker];
    struct rte_mbuf *frames[BURST];
    if (own->kept_first < own->kept_end) {
        return true; /* not yet taken: the rings had their turn */
    }
    bool moved = queue->exchange != NULL && queue->exchange(queue->context, queue->queue);
    own->kept_first = own->kept_end = 0;
    uint16_t frame_count = queue->receive(queue->context, queue->queue, frames, BURST);
    spread(distributor, worker, frames, frame_count);
    return moved || frame_count > 0;
}

/* The queue of this worker sends for those without one. */
static bool send_for_others(struct distributor *distributor, uint32_t worker)
{
    const struct core_link *queue = &distributor->queues[worker];
    bool sent = false;
    for (uint32_t from = worker + distributor->options.queue_count;
         from < distributor->options.worker_count; from += distributor->options.queue_count) {
        struct rte_mbuf *frames[BURST];
        uint32_t frame_count = rte_ring_sc_dequeue_burst(distributor->output_rings[from],
                                                         (void **)frames, BURST, NULL);
        if (frame_count > 0) {
            uint16_t dropped =
                queue->transmit(queue->context, queue->queue, frames, (uint16_t)frame_count);
            count(distributor, worker, METRIC_NET_DROP_PORT_FULL, dropped);
            sent = true;
        }
    }
    return sent;
}

static bool exchange(void *context, uint16_t worker)
{
    struct distributor *distributor = context;
    if (worker >= distributor->options.queue_count) {
        return false;
    }
    bool received = take_from_queue(distributor, worker);
    bool sent = send_for_others(distributor, worker);
    return received || sent;
}

/* At most half from the rings, each in turn first; the rest is what came by the own queue. */
static uint16_t receive(void *context, uint16_t worker, struct rte_mbuf **frames,
                        uint16_t count_max)
{
    struct distributor *distributor = context;
    struct distributor_worker *own = &distributor->workers[worker];
    uint32_t worker_count = distributor->options.worker_count, got = 0;
    uint32_t from_rings = own->kept_first < own->kept_end ? count_max / 2U : count_max;
    for (uint32_t i = 0; i < worker_count && got < from_rings; i++) {
        uint32_t from = (own->next_ring + i) % worker_count;
        if (from != worker) {
            got += rte_ring_sc_dequeue_burst(ring_between(distributor, from, worker),
                                             (void **)(frames + got), from_rings - got, NULL);
        }
    }
    own->next_ring = (own->next_ring + 1) % worker_count;
    while (got < count_max && own->kept_first < own->kept_end) {
        frames[got++] = own->kept[own->kept_first++];
    }
    return (uint16_t)got;
}

static uint16_t transmit(void *context, uint16_t worker, struct rte_mbuf **frames,
                         uint16_t frame_count)
{
    struct distributor *distributor = context;
    if (worker < distributor->options.queue_count) {
        const struct core_link *queue = &distributor->queues[worker];
        return queue->transmit(queue->context, queue->queue, frames, frame_count);
    }
    uint32_t put = rte_ring_sp_enqueue_burst(distributor->output_rings[worker], (void **)frames,
                                             frame_count, NULL);
    if (UNLIKELY(put < frame_count)) {
        count(distributor, worker, METRIC_NET_DROP_OUTPUT_RING_FULL, frame_count - put);
        rte_pktmbuf_free_bulk(frames + put, frame_count - put);
    }
    distributor->options.wake(distributor->options.argument,
                              worker % distributor->options.queue_count);
    return 0;
}

/* rte_ring_empty reads without the atomics that a look from beside the queue needs. */
static bool ring_is_empty(const struct rte_ring *ring)
{
    return __atomic_load_n(&ring->prod.tail, __ATOMIC_ACQUIRE) ==
           __atomic_load_n(&ring->cons.tail, __ATOMIC_RELAXED);
}

static bool has_frames(void *context, uint16_t worker)
{
    const struct distributor *distributor = context;
    const struct distributor_worker *own = &distributor->workers[worker];
    uint32_t worker_count = distributor->options.worker_count;
    bool any = own->kept_first < own->kept_end;
    for (uint32_t from = 0; from < worker_count && !any; from++) {
        any = from != worker && !ring_is_empty(ring_between(distributor, from, worker));
    }
    for (uint32_t from = worker + distributor->options.queue_count;
         worker < distributor->options.queue_count && from < worker_count && !any;
         from += distributor->options.queue_count) {
        any = !ring_is_empty(distributor->output_rings[from]);
    }
    return any;
}

/* ---- a segment that has become whole --------------------------------------------------------- */

/* The frame it would have been: Ethernet and IP header in front of a copy, in the buffers of the
 * common pool. The stack whose buffer it came in may be gone before its receiver. */
static struct rte_mbuf *make_frame(const struct distributor *distributor,
                                   const struct ip_datagram *datagram)
{
    const struct net_interface *interface = datagram->interface;
    uint16_t ethernet_bytes = wire_ethernet_bytes(interface->vlan);
    uint16_t ip_bytes = datagram->mbuf->l3_len;
    struct rte_mbuf *frame = rte_pktmbuf_alloc(distributor->options.pool);
    struct rte_mbuf *payload =
        rte_pktmbuf_copy(datagram->mbuf, distributor->options.pool, 0, UINT32_MAX);
    if (frame == NULL || payload == NULL || rte_pktmbuf_chain(frame, payload) != 0) {
        rte_pktmbuf_free(frame);
        rte_pktmbuf_free(payload);
        return NULL;
    }
    rte_pktmbuf_reset_headroom(frame);
    uint16_t header_bytes = (uint16_t)(ethernet_bytes + ip_bytes);
    uint8_t *header = rte_pktmbuf_mtod(frame, uint8_t *);
    wire_ethernet_compose(header, &interface->mac, &datagram->source_mac, interface->vlan,
                          address_is_ipv4(&datagram->source) ? RTE_ETHER_TYPE_IPV4
                                                             : RTE_ETHER_TYPE_IPV6);
    memcpy(header + ethernet_bytes,
           rte_pktmbuf_mtod(datagram->mbuf, const uint8_t *) - datagram->mbuf->l3_len, ip_bytes);
    frame->data_len = header_bytes;
    frame->pkt_len += header_bytes;
    return frame;
}

static bool hand_on(void *context, uint16_t worker, struct ip_datagram *datagram)
{
    struct distributor *distributor = context;
    const uint8_t *ports = rte_pktmbuf_mtod(datagram->mbuf, const uint8_t *);
    if (datagram->mbuf->data_len < PORTS_BYTES) {
        return false;
    }
    uint32_t owner =
        address_is_ipv4(&datagram->source)
            ? owner_of_flow(distributor, address_to_ipv4(&datagram->source),
                            address_to_ipv4(&datagram->destination), ports)
            : owner_of_flow_ipv6(distributor, &datagram->source, &datagram->destination, ports);
    if (owner == worker) {
        return false;
    }
    struct rte_mbuf *frame = make_frame(distributor, datagram);
    if (frame == NULL) {
        count(distributor, worker, METRIC_NET_DROP_NO_BUFFER, 1);
    } else {
        put_into_ring(distributor, worker, owner, &frame, 1);
    }
    rte_pktmbuf_free(datagram->mbuf);
    datagram->mbuf = NULL;
    return true;
}

static uint64_t take_missed(void *context, uint16_t worker)
{
    const struct distributor *distributor = context;
    const struct core_link *queue = &distributor->queues[worker];
    return queue->take_missed(queue->context, queue->queue);
}

static void arm(void *context, uint16_t worker)
{
    const struct distributor *distributor = context;
    const struct core_link *queue = &distributor->queues[worker];
    queue->arm(queue->context, queue->queue);
}

static bool disarm(void *context, uint16_t worker)
{
    const struct distributor *distributor = context;
    const struct core_link *queue = &distributor->queues[worker];
    return queue->disarm(queue->context, queue->queue);
}

void distributor_link(struct distributor *distributor, uint32_t worker, struct core_link *link)
{
    bool has_queue = worker < distributor->options.queue_count;
    *link = distributor->queues[has_queue ? worker : 0];
    link->context = distributor;
    link->queue = (uint16_t)worker;
    link->receive = receive;
    link->transmit = transmit;
    link->exchange = exchange;
    link->has_frames = has_frames;
    link->hand_on = hand_on;
    link->take_missed = has_queue && link->take_missed != NULL ? take_missed : NULL;
    link->arm = has_queue && link->arm != NULL ? arm : NULL;
    link->disarm = has_queue && link->disarm != NULL ? disarm : NULL;
    link->interface.quiet = worker != 0;
    if (!has_queue) {
        link->wait_fd = -1;
        link->wakes = true;
    }
}

/* ---- creation and end ------------------------------------------------------------------------ */

static struct rte_ring *create_ring(uint32_t places)
{
    ssize_t size = rte_ring_get_memsize(places);
    if (size < 0) {
        return NULL;
    }
    size_t rounded = ((size_t)size + RING_ALIGNMENT - 1) & ~(size_t)(RING_ALIGNMENT - 1);
    struct rte_ring *ring = aligned_alloc(RING_ALIGNMENT, rounded);
    if (ring != NULL &&
        rte_ring_init(ring, "distributor", places, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0) {
        free(ring);
        ring = NULL;
    }
    return ring;
}

static bool create_rings(struct distributor *distributor)
{
    uint32_t worker_count = distributor->options.worker_count;
    uint32_t queue_count = distributor->options.queue_count;
    bool made = true;
    for (uint32_t from = 0; from < worker_count; from++) {
        bool many = from < queue_count && !distributor->options.port_spreads;
        for (uint32_t to = 0; to < worker_count && made; to++) {
            struct rte_ring **ring = &distributor->rings[from * worker_count + to];
            *ring = from != to ? create_ring(many ? RING_PLACES : RING_PLACES_FEW) : NULL;
            made = from == to || *ring != NULL;
        }
        if (from >= queue_count && made) {
            distributor->output_rings[from] = create_ring(RING_PLACES);
            made = distributor->output_rings[from] != NULL;
        }
    }
    return made;
}

struct distributor *distributor_create(const struct distributor_options *options)
{
    uint32_t worker_count = options->worker_count, queue_count = options->queue_count;
    CHECK(queue_count > 0 && queue_count <= worker_count);
    CHECK(!options->port_spreads || queue_count == worker_count);
    struct distributor *distributor = calloc(1, sizeof(*distributor));
    if (distributor == NULL) {
        return NULL;
    }
    size_t workers_bytes = worker_count * sizeof(struct distributor_worker);
    distributor->options = *options;
    distributor->queues = calloc(queue_count, sizeof(struct core_link));
    distributor->rings = calloc((size_t)worker_count * worker_count, sizeof(struct rte_ring *));
    distributor->output_rings = calloc(worker_count, sizeof(struct rte_ring *));
    distributor->workers = aligned_alloc(_Alignof(struct distributor_worker), workers_bytes);
    if (distributor->queues == NULL || distributor->rings == NULL ||
        distributor->output_rings == NULL || distributor->workers == NULL) {
        distributor_destroy(distributor);
        return NULL;
    }
    memset(distributor->workers, 0, workers_bytes);
    memcpy(distributor->queues, options->queues, queue_count * sizeof(struct core_link));
    if (!create_rings(distributor)) {
        distributor_destroy(distributor);
        return NULL;
    }
    return distributor;
}

static void empty_ring(struct rte_ring *ring)
{
    void *frame;
    while (ring != NULL && rte_ring_sc_dequeue(ring, &frame) == 0) {
        rte_pktmbuf_free(frame);
    }
}

static void empty_all(struct distributor *distributor)
{
    uint32_t worker_count = distributor->options.worker_count;
    for (uint32_t i = 0; i < worker_count * worker_count; i++) {
        empty_ring(distributor->rings[i]);
    }
    for (uint32_t i = 0; i < worker_count; i++) {
        struct distributor_worker *own = &distributor->workers[i];
        empty_ring(distributor->output_rings[i]);
        while (own->kept_first < own->kept_end) {
            rte_pktmbuf_free(own->kept[own->kept_first++]);
        }
    }
}

void distributor_flush(struct distributor *distributor)
{
    for (uint32_t i = 0; i < distributor->options.queue_count; i++) {
        while (send_for_others(distributor, i)) {
        }
    }
    empty_all(distributor);
}

void distributor_destroy(struct distributor *distributor)
{
    if (distributor == NULL) {
        return;
    }
    uint32_t worker_count = distributor->options.worker_count;
    bool complete = distributor->rings != NULL && distributor->output_rings != NULL &&
                    distributor->workers != NULL;
    if (complete && distributor->queues != NULL) {
        empty_all(distributor);
    }
    for (uint32_t i = 0; complete && i < worker_count * worker_count; i++) {
        free(distributor->rings[i]);
    }
    for (uint32_t i = 0; complete && i < worker_count; i++) {
        free(distributor->output_rings[i]);
    }
    free(distributor->queues);
    free(distributor->rings);
    free(distributor->output_rings);
    free(distributor->workers);
    free(distributor);
}
