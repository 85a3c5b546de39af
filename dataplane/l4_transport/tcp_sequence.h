/* Sequence numbers: comparisons modulo 2^32 (RFC 9293 3.4). Right as long as the two lie less than
 * 2^31 apart, which windows guarantee. */
#ifndef NICACHED_L4_TRANSPORT_TCP_SEQUENCE_H
#define NICACHED_L4_TRANSPORT_TCP_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

static inline bool seq_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static inline bool seq_at_or_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) <= 0;
}

static inline uint32_t seq_max(uint32_t a, uint32_t b)
{
    return seq_before(a, b) ? b : a;
}

static inline uint32_t seq_min(uint32_t a, uint32_t b)
{
    return seq_before(a, b) ? a : b;
}

#endif
