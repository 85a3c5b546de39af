#include "tests/support/simulated_network.h"

#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "tests/support/simulated_offload.h"

#define WALL_START_MS 1767225600000ULL

struct frame {
    uint64_t due_us, order; /* equal times leave in the order in which they came */
    struct rte_mbuf *mbuf;
};

/* A binary heap, earliest first. */
struct heap {
    struct frame *frames;
    uint32_t count, size;
};

struct station {
    struct rte_ether_addr mac;
    struct simulated_link link;
    uint64_t line_free_us; /* when the rate limit lets the next frame start */
    struct heap arriving;
};

struct simulated_network {
    uint64_t random_state, order;
    uint32_t station_count;
    struct station stations[SIMULATED_STATIONS_MAX];
    struct simulated_counters counters;
};

static bool earlier(const struct frame *a, const struct frame *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void heap_push(struct heap *heap, struct frame frame)
{
    if (heap->count == heap->size) {
        heap->size = heap->size == 0 ? 256 : heap->size * 2;
        heap->frames = realloc(heap->frames, heap->size * sizeof(struct frame));
        CHECK(heap->frames != NULL);
    }
    uint32_t at = heap->count++;
    while (at > 0 && earlier(&frame, &heap->frames[(at - 1) / 2])) {
        heap->frames[at] = heap->frames[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->frames[at] = frame;
}

static struct rte_mbuf *heap_pop(struct heap *heap)
{
    struct rte_mbuf *first = heap->frames[0].mbuf;
    struct frame last = heap->frames[--heap->count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= heap->count) {
            break;
        }
        if (child + 1 < heap->count && earlier(&heap->frames[child + 1], &heap->frames[child])) {
            child++;
        }
        if (!earlier(&heap->frames[child], &last)) {
            break;
        }
        heap->frames[at] = heap->frames[child];
        at = child;
    }
    heap->frames[at] = last;
    return first;
}

static uint64_t draw(struct simulated_network *network, uint64_t below)
{
    return below == 0 ? 0 : (random_next(&network->random_state) >> 11) % below;
}

static bool happens(struct simulated_network *network, uint32_t millionths)
{
    return millionths != 0 && draw(network, SIMULATED_MILLION) < millionths;
}

struct simulated_network *simulated_network_create(uint64_t seed)
{
    struct simulated_network *network = calloc(1, sizeof(*network));
    CHECK(network != NULL);
    network->random_state = seed * 0x9E3779B97F4A7C15ULL | 1;
    return network;
}

void simulated_network_destroy(struct simulated_network *network)
{
    for (uint32_t i = 0; i < network->station_count; i++) {
        struct heap *heap = &network->stations[i].arriving;
        while (heap->count > 0) {
            rte_pktmbuf_free(heap_pop(heap));
        }
        free(heap->frames);
    }
    free(network);
}

uint32_t simulated_network_add_station(struct simulated_network *network,
                                       const struct rte_ether_addr *mac,
                                       const struct simulated_link *link)
{
    CHECK(network->station_count < SIMULATED_STATIONS_MAX);
    struct station *station = &network->stations[network->station_count];
    station->mac = *mac;
    station->link = *link;
    return network->station_count++;
}

void simulated_network_set_link(struct simulated_network *network, uint32_t station,
                                const struct simulated_link *link)
{
    network->stations[station].link = *link;
}

static struct rte_mbuf *copy_of(struct rte_mbuf *mbuf)
{
    return rte_pktmbuf_copy(mbuf, mbuf->pool, 0, UINT32_MAX);
}

/* One bit, behind the Ethernet header: a flipped MAC only loses the frame. */
static struct rte_mbuf *corrupt(struct simulated_network *network, struct rte_mbuf *mbuf)
{
    if (rte_mbuf_refcnt_read(mbuf) != 1 || !RTE_MBUF_DIRECT(mbuf)) {
        struct rte_mbuf *own = copy_of(mbuf);
        rte_pktmbuf_free(mbuf);
        mbuf = own;
    }
    if (mbuf != NULL && mbuf->data_len > RTE_ETHER_HDR_LEN) {
        uint64_t at = RTE_ETHER_HDR_LEN + draw(network, mbuf->data_len - RTE_ETHER_HDR_LEN);
        rte_pktmbuf_mtod(mbuf, uint8_t *)[at] ^= (uint8_t)(1U << draw(network, 8));
        network->counters.corrupted++;
    }
    return mbuf;
}

/* When the frame has left the sender's line; false when its queue is full. */
static bool pass_line(struct station *from, uint32_t bytes, uint64_t now_us, uint64_t *left_us)
{
    const struct simulated_link *link = &from->link;
    *left_us = now_us;
    if (link->bytes_per_second == 0) {
        return true;
    }
    uint64_t start = from->line_free_us > now_us ? from->line_free_us : now_us;
    if (link->queue_us != 0 && start - now_us > link->queue_us) {
        return false;
    }
    from->line_free_us = start + (uint64_t)bytes * SIMULATED_MILLION / link->bytes_per_second;
    *left_us = from->line_free_us;
    return true;
}

static void put_on_way(struct simulated_network *network, struct station *from, struct station *to,
                       struct rte_mbuf *mbuf, uint64_t left_us)
{
    const struct simulated_link *link = &from->link;
    uint64_t due = left_us + link->delay_us + draw(network, link->jitter_us + 1);
    if (happens(network, link->reorder)) {
        due += link->reorder_delay_us;
        network->counters.reordered++;
    }
    if (happens(network, link->corruption)) {
        mbuf = corrupt(network, mbuf);
    }
    if (mbuf != NULL) {
        heap_push(&to->arriving,
                  (struct frame){.due_us = due, .order = network->order++, .mbuf = mbuf});
    }
}

static void deliver(struct simulated_network *network, struct station *from, struct station *to,
                    struct rte_mbuf *mbuf, uint64_t now_us)
{
    uint64_t left_us;
    network->counters.sent++;
    if (from->link.frame_bytes_max != 0 && mbuf->pkt_len > from->link.frame_bytes_max) {
        network->counters.oversized++;
        rte_pktmbuf_free(mbuf);
    } else if (!pass_line(from, mbuf->pkt_len, now_us, &left_us)) {
        network->counters.queue_drops++;
        rte_pktmbuf_free(mbuf);
    } else if (happens(network, from->link.loss)) {
        network->counters.lost++;
        rte_pktmbuf_free(mbuf);
    } else {
        struct rte_mbuf *again = happens(network, from->link.duplication) ? copy_of(mbuf) : NULL;
        put_on_way(network, from, to, mbuf, left_us);
        if (again != NULL) {
            network->counters.duplicated++;
            put_on_way(network, from, to, again, left_us);
        }
    }
}

static void send_one(struct simulated_network *network, struct station *from, struct rte_mbuf *mbuf,
                     uint64_t now_us)
{
    const struct rte_ether_addr *to = rte_pktmbuf_mtod(mbuf, const struct rte_ether_addr *);
    bool group = rte_is_multicast_ether_addr(to);
    for (uint32_t i = 0; i < network->station_count; i++) {
        struct station *station = &network->stations[i];
        if (station == from || (!group && !rte_is_same_ether_addr(&station->mac, to))) {
            continue;
        }
        struct rte_mbuf *one = group ? copy_of(mbuf) : mbuf;
        if (one != NULL) {
            deliver(network, from, station, one, now_us);
        }
        if (!group) {
            return;
        }
    }
    rte_pktmbuf_free(mbuf);
}

void simulated_network_send(struct simulated_network *network, uint32_t station,
                            struct rte_mbuf **frames, uint32_t count, uint64_t now_us)
{
    for (uint32_t i = 0; i < count; i++) {
        struct rte_mbuf *cut[SIMULATED_CUT_MAX];
        uint32_t cut_count = simulated_offload(frames[i], cut);
        for (uint32_t j = 0; j < cut_count; j++) {
            send_one(network, &network->stations[station], cut[j], now_us);
        }
    }
}

void simulated_network_collect(struct simulated_network *network, uint32_t station,
                               struct net_interface *interface, uint64_t now_us)
{
    simulated_network_send(network, station, interface->tx, interface->tx_count, now_us);
    interface->tx_count = 0;
}

uint32_t simulated_network_receive(struct simulated_network *network, uint32_t station,
                                   struct rte_mbuf **frames, uint32_t count_max, uint64_t now_us)
{
    struct heap *heap = &network->stations[station].arriving;
    uint32_t count = 0;
    while (count < count_max && heap->count > 0 && heap->frames[0].due_us <= now_us) {
        frames[count++] = heap_pop(heap);
    }
    network->counters.delivered += count;
    return count;
}

uint64_t simulated_network_next_due_at(const struct simulated_network *network, uint32_t station)
{
    const struct heap *heap = &network->stations[station].arriving;
    return heap->count > 0 ? heap->frames[0].due_us : UINT64_MAX;
}

uint64_t simulated_network_next_due(const struct simulated_network *network)
{
    uint64_t due = UINT64_MAX;
    for (uint32_t i = 0; i < network->station_count; i++) {
        uint64_t one = simulated_network_next_due_at(network, i);
        due = one < due ? one : due;
    }
    return due;
}

const struct simulated_counters *simulated_network_counters(const struct simulated_network *network)
{
    return &network->counters;
}

struct instant simulated_instant(uint64_t mono_us)
{
    return (struct instant){
        .mono_us = mono_us,
        .wall_ms = WALL_START_MS + mono_us / 1000U,
        .wall_us = WALL_START_MS * 1000U + mono_us,
    };
}
