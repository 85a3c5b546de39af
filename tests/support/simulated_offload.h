/* What a NIC does to frames that ask for it: sums, and TCP packets cut into segments (TSO).
 *
 * It checks all that hardware relies on (the lengths of the headers, the sum over the pseudo-header
 * in the checksum's field, no segment beyond the MTU) and takes nothing else from the stack. */
#ifndef NICACHED_TESTS_SUPPORT_SIMULATED_OFFLOAD_H
#define NICACHED_TESTS_SUPPORT_SIMULATED_OFFLOAD_H

#include <rte_mbuf.h>

#define SIMULATED_CUT_MAX 64U

/* Takes over the frame; fills `segments` (room for SIMULATED_CUT_MAX) with frames as they are on
 * the wire, of one buffer each; returns how many. Fewer than there should be when the pool is dry.
 */
uint32_t simulated_offload(struct rte_mbuf *frame, struct rte_mbuf **segments);

#endif
