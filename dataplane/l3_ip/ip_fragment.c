/* Reassembly of fragments: layout, bounds and reasons in ip_fragment.h.
 *
 * Path: ip_input and ipv6_input hand validated fragments in and go on with the datagram when it is
 * whole. Memory: one large buffer per slot in use. Failure: counted drops; a slot without a buffer
 * is free.
 */
#include "dataplane/l3_ip/ip_fragment.h"

#include <netinet/in.h>

#include "dataplane/l3_ip/ip_internal.h"

#define FRAGMENT_FIRST_BYTES_TCP   16U
#define FRAGMENT_FIRST_BYTES_OTHER 8U

struct fragment {
    const uint8_t *data;
    uint32_t offset, size;
    bool last;
};

uint32_t fragment_first_bytes(uint8_t protocol)
{
    return protocol == IPPROTO_TCP ? FRAGMENT_FIRST_BYTES_TCP : FRAGMENT_FIRST_BYTES_OTHER;
}

void fragment_table_init(struct fragment_table *table)
{
    memset(table, 0, sizeof(*table));
    table->due_us = UINT64_MAX;
}

static void fragment_free_slot(struct fragment_table *table, struct fragment_slot *slot)
{
    rte_pktmbuf_free(slot->large);
    slot->large = NULL;
    table->used_count--;
}

void fragment_table_deinit(struct fragment_table *table)
{
    for (uint32_t i = 0; i < FRAGMENT_SLOTS; i++) {
        if (table->slots[i].large != NULL) {
            fragment_free_slot(table, &table->slots[i]);
        }
    }
}

/* ---- finding a slot ----------------------------------------------------------------------------
 */

static bool fragment_key_equal(const struct fragment_key *a, const struct fragment_key *b)
{
    return a->identification == b->identification && address_equal(&a->source, &b->source) &&
           address_equal(&a->destination, &b->destination) && a->protocol == b->protocol &&
           a->interface == b->interface;
}

static struct fragment_slot *fragment_find(struct fragment_table *table,
                                           const struct fragment_key *key)
{
    for (uint32_t i = 0; table->used_count != 0 && i < FRAGMENT_SLOTS; i++) {
        struct fragment_slot *slot = &table->slots[i];
        if (slot->large != NULL && fragment_key_equal(&slot->key, key)) {
            return slot;
        }
    }
    return NULL;
}

static bool fragment_source_is_at_limit(const struct fragment_table *table,
                                        const struct address *source)
{
    uint32_t count = 0;
    for (uint32_t i = 0; table->used_count != 0 && i < FRAGMENT_SLOTS; i++) {
        count +=
            table->slots[i].large != NULL && address_equal(&table->slots[i].key.source, source);
    }
    return count >= FRAGMENT_SLOTS_PER_SOURCE;
}

/* A free slot; the oldest datagram is given up when there is none. */
static struct fragment_slot *fragment_take_slot(struct net *net)
{
    struct fragment_table *table = &net->fragments;
    struct fragment_slot *oldest = &table->slots[0];
    for (uint32_t i = 0; i < FRAGMENT_SLOTS; i++) {
        struct fragment_slot *slot = &table->slots[i];
        if (slot->large == NULL) {
            return slot;
        }
        if (slot->started_us < oldest->started_us) {
            oldest = slot;
        }
    }
    if (!oldest->contradicted) {
        net_count(net, METRIC_NET_DROP_FRAGMENT_EVICTED);
    }
    fragment_free_slot(table, oldest);
    return oldest;
}

/* METRIC_COUNT when *slot is the new one, else the reason why there is none. */
static enum metric fragment_start(struct net *net, const struct fragment_part *part,
                                  const struct instant *now, struct fragment_slot **slot)
{
    struct fragment_table *table = &net->fragments;
    if (fragment_source_is_at_limit(table, &part->key.source)) {
        return METRIC_NET_DROP_FRAGMENT_SOURCE_LIMIT;
    }
    struct fragment_slot *taken = fragment_take_slot(net);
    struct rte_mbuf *large = rte_pktmbuf_alloc(net->large_pool);
    if (large == NULL) {
        return METRIC_NET_DROP_FRAGMENT_MEMORY;
    }
    large->data_off = (uint16_t)part->header_bytes;
    *taken = (struct fragment_slot){.key = part->key, .started_us = now->mono_us, .large = large};
    table->used_count++;
    uint64_t due_us = now->mono_us + FRAGMENT_TIMEOUT_US;
    table->due_us = due_us < table->due_us ? due_us : table->due_us;
    *slot = taken;
    return METRIC_COUNT;
}

/* ---- one fragment ------------------------------------------------------------------------------
 */

/* METRIC_COUNT when the fragment makes sense by itself. */
static enum metric fragment_check(const struct fragment *fragment, const struct fragment_part *part)
{
    uint32_t end = fragment->offset + fragment->size;
    if (fragment->size == 0 || (!fragment->last && fragment->size % FRAGMENT_BLOCK_BYTES != 0)) {
        return METRIC_NET_DROP_FRAGMENT_LENGTH;
    }
    if (end > PACKET_LARGE_BYTES - part->header_bytes) {
        return METRIC_NET_DROP_FRAGMENT_OVERSIZE;
    }
    if (fragment->offset < part->first_bytes && end < part->first_bytes) {
        return METRIC_NET_DROP_FRAGMENT_TINY;
    }
    if (fragment->offset != 0 && fragment->offset < part->first_bytes) {
        return METRIC_NET_DROP_FRAGMENT_TINY; /* would cut or overwrite the first one's header */
    }
    return METRIC_COUNT;
}

static uint32_t fragment_count_present(const struct fragment_slot *slot,
                                       const struct fragment *fragment)
{
    uint32_t first = fragment->offset / FRAGMENT_BLOCK_BYTES, count = 0;
    uint32_t end =
        (fragment->offset + fragment->size + FRAGMENT_BLOCK_BYTES - 1) / FRAGMENT_BLOCK_BYTES;
    for (uint32_t block = first; block < end; block++) {
        count += (uint32_t)(slot->present[block / 64] >> (block % 64)) & 1U;
    }
    return count;
}

enum fragment_relation { FRAGMENT_NEW, FRAGMENT_REPEATED, FRAGMENT_CONTRADICTS };

/* How the fragment agrees with what is there: its end with the datagram's, its bytes with the
 * bytes. */
static enum fragment_relation fragment_compare(const struct fragment_slot *slot,
                                               const struct fragment *fragment)
{
    uint32_t end = fragment->offset + fragment->size;
    bool total_known = slot->payload_bytes != 0;
    if (total_known &&
        (end > slot->payload_bytes || (fragment->last && end != slot->payload_bytes))) {
        return FRAGMENT_CONTRADICTS;
    }
    if (fragment->last && end < slot->reach_bytes) {
        return FRAGMENT_CONTRADICTS;
    }
    uint32_t present = fragment_count_present(slot, fragment);
    if (present == 0) {
        return FRAGMENT_NEW;
    }
    uint32_t blocks = (fragment->size + FRAGMENT_BLOCK_BYTES - 1) / FRAGMENT_BLOCK_BYTES;
    const uint8_t *there = rte_pktmbuf_mtod_offset(slot->large, uint8_t *, fragment->offset);
    bool repeated = present == blocks && (!fragment->last || total_known) &&
                    memcmp(there, fragment->data, fragment->size) == 0;
    return repeated ? FRAGMENT_REPEATED : FRAGMENT_CONTRADICTS;
}

static void fragment_store(struct fragment_slot *slot, const struct fragment *fragment)
{
    uint32_t end = fragment->offset + fragment->size;
    memcpy(rte_pktmbuf_mtod_offset(slot->large, uint8_t *, fragment->offset), fragment->data,
           fragment->size);
    for (uint32_t at = fragment->offset; at < end; at += FRAGMENT_BLOCK_BYTES) {
        uint32_t block = at / FRAGMENT_BLOCK_BYTES;
        slot->present[block / 64] |= 1ULL << (block % 64);
    }
    slot->received_bytes += fragment->size;
    if (end > slot->reach_bytes) {
        slot->reach_bytes = end;
    }
    if (fragment->last) {
        slot->payload_bytes = end;
    }
}

/* ---- completion --------------------------------------------------------------------------------
 */

/* The datagram in the buffer it is handed up in: an ordinary one when it fits, so that large
 * buffers come back soon. `spare` is the last fragment's own buffer; it is used or freed. */
static struct rte_mbuf *fragment_finish(struct fragment_table *table, struct fragment_slot *slot,
                                        uint32_t header_bytes, struct rte_mbuf *spare)
{
    struct rte_mbuf *large = slot->large;
    uint32_t size = slot->payload_bytes;
    const uint8_t *from = rte_pktmbuf_mtod(large, uint8_t *);
    struct rte_mbuf *whole = large;
    uint32_t data_off = PACKET_HEADROOM_BYTES + header_bytes;
    if (packet_is_exclusive(spare) && data_off + size <= spare->buf_len) {
        whole = spare;
    } else if (data_off + size > large->buf_len) {
        data_off = header_bytes; /* near 64 KiB: an answer is fragmented anyway */
    }
    whole->data_off = (uint16_t)data_off;
    memmove(rte_pktmbuf_mtod(whole, uint8_t *), from, size);
    whole->pkt_len = size;
    whole->data_len = (uint16_t)size;
    packet_clear_offloads(whole);
    whole->l3_len = header_bytes & 0x1ff;
    if (whole == large) {
        rte_pktmbuf_free(spare);
        slot->large = NULL;
        table->used_count--;
    } else {
        fragment_free_slot(table, slot);
    }
    return whole;
}

static struct fragment_slot *fragment_slot_for(struct net *net, const struct fragment_part *part,
                                               const struct instant *now, enum metric *reason)
{
    struct fragment_slot *slot = fragment_find(&net->fragments, &part->key);
    *reason = METRIC_COUNT;
    if (slot == NULL) {
        *reason = fragment_start(net, part, now, &slot);
    }
    return slot;
}

/* METRIC_COUNT when the fragment's bytes are in the slot now. */
static enum metric fragment_place(struct fragment_slot *slot, const struct fragment *fragment)
{
    if (slot->contradicted) {
        return METRIC_NET_DROP_FRAGMENT_OVERLAP;
    }
    switch (fragment_compare(slot, fragment)) {
    case FRAGMENT_REPEATED: return METRIC_NET_DROP_FRAGMENT_DUPLICATE;
    case FRAGMENT_CONTRADICTS: slot->contradicted = true; return METRIC_NET_DROP_FRAGMENT_OVERLAP;
    case FRAGMENT_NEW: break;
    }
    fragment_store(slot, fragment);
    return METRIC_COUNT;
}

bool fragment_accept(struct net *net, struct ip_datagram *datagram,
                     const struct fragment_part *part, const struct instant *now)
{
    net_count(net, METRIC_NET_FRAGMENTS_RECEIVED);
    struct rte_mbuf *mbuf = datagram->mbuf;
    struct fragment fragment = {
        .data = rte_pktmbuf_mtod(mbuf, uint8_t *),
        .offset = part->offset,
        .size = mbuf->data_len,
        .last = part->last,
    };
    struct fragment_slot *slot = NULL;
    enum metric reason = fragment_check(&fragment, part);
    if (reason == METRIC_COUNT) {
        slot = fragment_slot_for(net, part, now, &reason);
    }
    if (reason == METRIC_COUNT) {
        reason = fragment_place(slot, &fragment);
    }
    if (reason != METRIC_COUNT) {
        net_drop(net, mbuf, reason);
        return false;
    }
    if (part->offset == 0) {
        slot->protocol = part->protocol;
    }
    if (slot->payload_bytes == 0 || slot->received_bytes != slot->payload_bytes) {
        rte_pktmbuf_free(mbuf);
        return false;
    }
    datagram->protocol = slot->protocol;
    datagram->mbuf = fragment_finish(&net->fragments, slot, part->header_bytes, mbuf);
    net_count(net, METRIC_NET_DATAGRAMS_REASSEMBLED);
    return true;
}

/* ---- timers ------------------------------------------------------------------------------------
 */

uint64_t fragment_run_timers(struct net *net, const struct instant *now)
{
    struct fragment_table *table = &net->fragments;
    if (LIKELY(now->mono_us < table->due_us)) {
        return table->due_us;
    }
    table->due_us = UINT64_MAX;
    for (uint32_t i = 0; i < FRAGMENT_SLOTS; i++) {
        struct fragment_slot *slot = &table->slots[i];
        if (slot->large == NULL) {
            continue;
        }
        uint64_t due_us = slot->started_us + FRAGMENT_TIMEOUT_US;
        if (due_us <= now->mono_us) {
            if (!slot->contradicted) {
                net_count(net, METRIC_NET_DROP_FRAGMENT_TIMEOUT);
            }
            fragment_free_slot(table, slot);
        } else if (due_us < table->due_us) {
            table->due_us = due_us;
        }
    }
    return table->due_us;
}
