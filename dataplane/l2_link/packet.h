/* Packet buffers beyond the ordinary: a small pool of buffers that hold the largest IP datagram in
 * one piece, so that every layer above sees contiguous bytes.
 *
 * Used where a chain arrives (jumbo frames over 2 KiB buffers), by reassembly, and for replies that
 * will be fragmented. The pool is short on purpose: it bounds what a flood of such packets can
 * hold.
 */
#ifndef NICACHED_L2_LINK_PACKET_H
#define NICACHED_L2_LINK_PACKET_H

#include <rte_mbuf.h>

#include <stdbool.h>

#define PACKET_LARGE_BYTES    65535U /* buffer size; 16 bits in DPDK */
#define PACKET_HEADROOM_BYTES 64U    /* Ethernet, VLAN, IPv4, and some air: asked of every reply */

/* NULL when memory is short. `owner` makes the name unique. */
struct rte_mempool *packet_create_large_pool(const void *owner, uint32_t count);

/* One segment with the same bytes and at least PACKET_HEADROOM_BYTES in front. Takes over the mbuf;
 * NULL when it is too large or the pool is dry (the mbuf is freed then). */
struct rte_mbuf *packet_make_contiguous(struct rte_mempool *large_pool, struct rte_mbuf *mbuf);

/* Gives `count` packets back, as rte_pktmbuf_free_bulk does; in a few instructions each where they
 * are what most are: one buffer that nobody else holds, from the pool of the one before. */
void packet_free_bulk(struct rte_mbuf **packets, uint32_t count);

/* Whether the mbuf can be rewritten and sent again: nobody else holds it or its buffer. */
static inline bool packet_is_exclusive(struct rte_mbuf *mbuf)
{
    return RTE_MBUF_DIRECT(mbuf) && rte_mbuf_refcnt_read(mbuf) == 1 && mbuf->nb_segs == 1;
}

/* Forgets what the receiving side noted, before the buffer goes out again. */
static inline void packet_clear_offloads(struct rte_mbuf *mbuf)
{
    mbuf->ol_flags = 0;
    mbuf->tx_offload = 0;
    mbuf->vlan_tci = 0;
    mbuf->packet_type = 0;
}

/* From here on the receive flags about checksums can be believed: what a port does not promise is
 * unknown. */
static inline void packet_forget_checksums(struct rte_mbuf *mbuf)
{
    mbuf->ol_flags &= ~(RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK);
}

/* A copy of a frame that another worker answers: to learn from, not to answer. Marked as a rule in
 * a NIC would mark it; we set no such rules, so no frame comes in with it. */
#define PACKET_MARK_OVERHEARD 1U

static inline void packet_mark_overheard(struct rte_mbuf *mbuf)
{
    mbuf->ol_flags |= RTE_MBUF_F_RX_FDIR | RTE_MBUF_F_RX_FDIR_ID;
    mbuf->hash.fdir.hi = PACKET_MARK_OVERHEARD;
}

static inline bool packet_is_overheard(const struct rte_mbuf *mbuf)
{
    return (mbuf->ol_flags & RTE_MBUF_F_RX_FDIR_ID) != 0 &&
           mbuf->hash.fdir.hi == PACKET_MARK_OVERHEARD;
}

#endif
