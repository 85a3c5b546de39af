#include "tests/support/simulated_offload.h"

#include <rte_ip.h>
#include <rte_tcp.h>

#include "dataplane/base/bytes.h"
#include "dataplane/base/check.h"

/* TCP packets of up to 64 KiB with a VLAN tag. */
#define FRAME_BYTES_MAX (65535U + 18U)

#define OFFLOADS (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_SEG)

struct view {
    uint8_t *bytes;
    uint32_t size, l3, l4, text; /* offsets */
    bool ipv6, sums_tcp, sums_ipv4;
};

static uint16_t pseudo_of(const struct view *v, uint64_t flags)
{
    const void *ip = v->bytes + v->l3;
    return v->ipv6 ? rte_ipv6_phdr_cksum(ip, flags) : rte_ipv4_phdr_cksum(ip, flags);
}

static uint32_t type_at(const uint8_t *frame, uint32_t l2_bytes)
{
    CHECK(l2_bytes == 14 || (l2_bytes == 18 && bytes_read_be16(frame + 12) == 0x8100));
    return bytes_read_be16(frame + l2_bytes - 2);
}

/* The frame as the mbuf's fields describe it, every one of them checked against the bytes. */
static struct view look(const struct rte_mbuf *frame, uint8_t *bytes)
{
    const uint64_t flags = frame->ol_flags;
    struct view v = {.bytes = bytes, .size = frame->pkt_len, .l3 = frame->l2_len};
    v.l4 = v.l3 + frame->l3_len;
    v.ipv6 = (flags & RTE_MBUF_F_TX_IPV6) != 0;
    v.sums_ipv4 = (flags & RTE_MBUF_F_TX_IP_CKSUM) != 0;
    v.sums_tcp = (flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_TCP_CKSUM;
    CHECK(v.ipv6 != ((flags & RTE_MBUF_F_TX_IPV4) != 0) && !(v.ipv6 && v.sums_ipv4));
    CHECK(type_at(bytes, v.l3) == (v.ipv6 ? 0x86DDU : 0x0800U));
    CHECK(frame->l3_len == (v.ipv6 ? 40 : (bytes[v.l3] & 15) * 4));
    CHECK(!v.sums_ipv4 || bytes_read_be16(bytes + v.l3 + 10) == 0);
    if (v.sums_tcp) {
        CHECK(bytes[v.l3 + (v.ipv6 ? 6 : 9)] == IPPROTO_TCP);
        uint16_t start = pseudo_of(&v, flags & RTE_MBUF_F_TX_TCP_SEG), field;
        memcpy(&field, bytes + v.l4 + 16, 2);
        CHECK(field == start);
        v.text = v.l4 + (uint32_t)(bytes[v.l4 + 12] >> 4) * 4;
    } else {
        CHECK((flags & RTE_MBUF_F_TX_L4_MASK) == 0);
    }
    return v;
}

/* Sums of a whole frame. */
static void finish(const struct view *v)
{
    void *ip = v->bytes + v->l3;
    uint16_t sum;
    if (v->sums_tcp) {
        memset(v->bytes + v->l4 + 16, 0, 2);
        sum = v->ipv6 ? rte_ipv6_udptcp_cksum(ip, v->bytes + v->l4)
                      : rte_ipv4_udptcp_cksum(ip, v->bytes + v->l4);
        memcpy(v->bytes + v->l4 + 16, &sum, 2);
    }
    if (v->sums_ipv4) {
        sum = rte_ipv4_cksum(ip);
        memcpy(v->bytes + v->l3 + 10, &sum, 2);
    }
}

/* The segment with `size` bytes of text from `at` on, the `number`th. */
static struct rte_mbuf *cut(const struct rte_mbuf *frame, const struct view *v, uint32_t at,
                            uint32_t size, uint32_t number)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(frame->pool);
    if (mbuf == NULL) {
        return NULL;
    }
    uint8_t *to = (uint8_t *)rte_pktmbuf_append(mbuf, (uint16_t)(v->text + size));
    CHECK(to != NULL);
    memcpy(to, v->bytes, v->text);
    memcpy(to + v->text, v->bytes + v->text + at, size);
    struct view one = *v;
    one.bytes = to;
    uint32_t l3_bytes = v->text + size - v->l3;
    if (v->ipv6) {
        bytes_write_be16(to + v->l3 + 4, (uint16_t)(l3_bytes - 40));
    } else {
        bytes_write_be16(to + v->l3 + 2, (uint16_t)l3_bytes);
        uint32_t identification = bytes_read_be16(to + v->l3 + 4) + number;
        bytes_write_be16(to + v->l3 + 4, (uint16_t)identification);
    }
    bytes_write_be32(to + v->l4 + 4, bytes_read_be32(to + v->l4 + 4) + at);
    if (v->text + at + size < v->size) {
        to[v->l4 + 13] &= (uint8_t) ~(RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG);
    }
    finish(&one);
    return mbuf;
}

uint32_t simulated_offload(struct rte_mbuf *frame, struct rte_mbuf **segments)
{
    static uint8_t copy[FRAME_BYTES_MAX];
    uint32_t count = 0;
    CHECK(frame->pkt_len <= sizeof(copy));
    for (const struct rte_mbuf *m = frame; m != NULL; m = m->next) {
        memcpy(copy + count, rte_pktmbuf_mtod(m, const void *), m->data_len);
        count += m->data_len;
    }
    CHECK(count == frame->pkt_len);
    if ((frame->ol_flags & OFFLOADS) == 0) {
        segments[0] = frame;
        return 1;
    }
    struct view v = look(frame, copy);
    if (!(frame->ol_flags & RTE_MBUF_F_TX_TCP_SEG)) {
        CHECK(frame->nb_segs == 1);
        v.bytes = rte_pktmbuf_mtod(frame, uint8_t *);
        finish(&v);
        frame->ol_flags = 0;
        segments[0] = frame;
        return 1;
    }
    CHECK(v.sums_tcp && (v.ipv6 || v.sums_ipv4) && frame->l4_len == v.text - v.l4);
    uint32_t text_bytes = v.size - v.text, mss = frame->tso_segsz;
    CHECK(mss > 0 && text_bytes > mss && text_bytes <= SIMULATED_CUT_MAX * mss);
    count = 0;
    for (uint32_t at = 0; at < text_bytes; at += mss) {
        uint32_t size = text_bytes - at < mss ? text_bytes - at : mss;
        struct rte_mbuf *one = cut(frame, &v, at, size, at / mss);
        if (one != NULL) {
            segments[count++] = one;
        }
    }
    rte_pktmbuf_free(frame);
    return count;
}
