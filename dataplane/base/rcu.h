/* RCU: the one place that includes liburcu (QSBR flavour).
 *
 * Guarantees:
 *  A. A pointer read with RCU_READ between two quiescent states of the reading thread stays valid
 *     until the later one.
 *  B. rcu_wait_for_readers returns only when every registered online thread has announced a
 *     quiescent state, or was offline, at some moment after the call began.
 *  C. What a thread wrote before RCU_PUBLISH is seen by whoever reads the pointer with RCU_READ.
 *
 * Duties: every thread that reads published pointers registers first, announces quiescent states
 * regularly (a worker: once per pass), and is offline whenever it may sleep. A thread that waits
 * for readers must be offline or unregistered itself.
 */
#ifndef NICACHED_BASE_RCU_H
#define NICACHED_BASE_RCU_H

void rcu_thread_register(void); /* online afterwards */
void rcu_thread_unregister(void);
void rcu_thread_offline(void);
void rcu_thread_online(void);
void rcu_quiescent(void);        /* holds no published pointer any more */
void rcu_wait_for_readers(void); /* blocks for one grace period: never on a worker */

/* Pairs: the release store of RCU_PUBLISH with the acquire load of RCU_READ. */
#define RCU_PUBLISH(pointer_address, value)                                                        \
    __atomic_store_n((pointer_address), (value), __ATOMIC_RELEASE)
#define RCU_EXCHANGE(pointer_address, value)                                                       \
    __atomic_exchange_n((pointer_address), (value), __ATOMIC_ACQ_REL)
#define RCU_READ(pointer_address) __atomic_load_n((pointer_address), __ATOMIC_ACQUIRE)

#endif
