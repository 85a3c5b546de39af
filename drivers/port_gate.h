/* A gate in front of a port's bursts: whoever is about to take away what a burst uses closes it.
 *
 *   worker                          closer
 *   busy = 1          (seq_cst)     closed = 1        (seq_cst)
 *   closed? -> no burst             while busy: wait
 *   burst                           ... takes it away
 *   busy = 0          (release)     closed = 0, when it is there again
 *
 * Either the closer sees `busy`, or the worker sees `closed`: both write before they read, in the
 * one order of sequentially consistent operations.
 *
 * Thread: one worker enters and leaves, and no burst lies within another; one thread closes and
 * opens. Time: the closer waits for one burst, however long the worker is kept from its CPU.
 */
#ifndef NICACHED_DRIVERS_PORT_GATE_H
#define NICACHED_DRIVERS_PORT_GATE_H

#include <stdbool.h>
#include <unistd.h>

#include <rte_common.h>

#define PORT_GATE_WAIT_US 10U

struct port_gate {
    bool busy __rte_cache_aligned;
    bool closed;
};

static inline void port_gate_leave(struct port_gate *gate)
{
    __atomic_store_n(&gate->busy, false, __ATOMIC_RELEASE);
}

/* False: it is closed. */
static inline bool port_gate_enter(struct port_gate *gate)
{
    (void)__atomic_exchange_n(&gate->busy, true, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&gate->closed, __ATOMIC_SEQ_CST)) {
        return true;
    }
    port_gate_leave(gate);
    return false;
}

/* Returns when no burst is under way, and none will begin. */
static inline void port_gate_close(struct port_gate *gate)
{
    (void)__atomic_exchange_n(&gate->closed, true, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&gate->busy, __ATOMIC_SEQ_CST)) {
        (void)usleep(PORT_GATE_WAIT_US);
    }
}

static inline void port_gate_open(struct port_gate *gate)
{
    __atomic_store_n(&gate->closed, false, __ATOMIC_RELEASE);
}

#endif
