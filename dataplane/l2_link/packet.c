/* Packet buffers beyond the ordinary. Thread: the owning worker; creation on any. */
#include "dataplane/l2_link/packet.h"

#include <inttypes.h>
#include <stdio.h>

#include <rte_mempool.h>

struct rte_mempool *packet_create_large_pool(const void *owner, uint32_t count)
{
    char name[RTE_MEMPOOL_NAMESIZE];
    snprintf(name, sizeof(name), "large_%" PRIxPTR, (uintptr_t)owner);
    return rte_pktmbuf_pool_create(name, count, 0, 0, PACKET_LARGE_BYTES, SOCKET_ID_ANY);
}

static struct rte_mbuf *packet_copy_to_large(struct rte_mempool *large_pool, struct rte_mbuf *mbuf)
{
    if (mbuf->pkt_len > PACKET_LARGE_BYTES - PACKET_HEADROOM_BYTES) {
        return NULL;
    }
    struct rte_mbuf *large = rte_pktmbuf_alloc(large_pool);
    if (large == NULL) {
        return NULL;
    }
    large->data_off = PACKET_HEADROOM_BYTES;
    uint8_t *to = rte_pktmbuf_mtod(large, uint8_t *);
    uint32_t copied = 0;
    for (const struct rte_mbuf *segment = mbuf; segment != NULL; segment = segment->next) {
        memcpy(to + copied, rte_pktmbuf_mtod(segment, const uint8_t *), segment->data_len);
        copied += segment->data_len;
    }
    large->pkt_len = copied;
    large->data_len = (uint16_t)copied;
    /* What the port noted; whose memory the parts were in is not true of this one. */
    large->ol_flags = mbuf->ol_flags & ~(RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL);
    large->hash = mbuf->hash;
    large->vlan_tci = mbuf->vlan_tci;
    return large;
}

struct rte_mbuf *packet_make_contiguous(struct rte_mempool *large_pool, struct rte_mbuf *mbuf)
{
    if (mbuf->nb_segs == 1) {
        return mbuf;
    }
    struct rte_mbuf *large = packet_copy_to_large(large_pool, mbuf);
    rte_pktmbuf_free(mbuf);
    return large;
}

/* As a pool keeps it: it can go back as it is. */
static inline bool packet_is_as_pooled(const struct rte_mbuf *mbuf)
{
    return rte_mbuf_refcnt_read(mbuf) == 1 && mbuf->nb_segs == 1 && mbuf->next == NULL &&
           RTE_MBUF_DIRECT(mbuf);
}

void packet_free_bulk(struct rte_mbuf **packets, uint32_t count)
{
    for (uint32_t at = 0, end; at < count; at = end) {
        struct rte_mempool *pool = packets[at]->pool;
        for (end = at;
             end < count && packets[end]->pool == pool && packet_is_as_pooled(packets[end]);
             end++) {
        }
        if (end > at) {
            rte_mempool_put_bulk(pool, (void **)(packets + at), end - at);
        } else {
            rte_pktmbuf_free(packets[end++]);
        }
    }
}
