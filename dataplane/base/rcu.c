/* RCU by liburcu. Thread: any, as rcu.h says. No memory of its own. It cannot fail.
 *
 * ThreadSanitizer does not see into liburcu, which is not instrumented. It is told what guarantee B
 * says: what a reader did before it announced a quiescent state, or left, happens before the end of
 * a grace period that waited for it. One address stands for all grace periods: that orders more
 * than the library promises (a reader with a wait that did not need it), never less.
 */
#include "dataplane/base/rcu.h"

/* Not <urcu-qsbr.h>: that one maps the generic names, so that our rcu_thread_offline would become
 * urcu_qsbr_thread_offline and call itself. */
#include <urcu/urcu-qsbr.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) && !defined(__SANITIZE_THREAD__)
#define __SANITIZE_THREAD__ 1
#endif
#endif

#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *address);
void __tsan_release(void *address);
static char grace_period;
static void tell_quiescent(void)
{
    __tsan_release(&grace_period);
}
static void tell_grace_period_over(void)
{
    __tsan_acquire(&grace_period);
}
#else
static void tell_quiescent(void)
{
}
static void tell_grace_period_over(void)
{
}
#endif

void rcu_thread_register(void)
{
    urcu_qsbr_register_thread();
}

void rcu_thread_unregister(void)
{
    tell_quiescent();
    urcu_qsbr_unregister_thread();
}

void rcu_thread_offline(void)
{
    tell_quiescent();
    urcu_qsbr_thread_offline();
}

void rcu_thread_online(void)
{
    urcu_qsbr_thread_online();
}

void rcu_quiescent(void)
{
    tell_quiescent();
    urcu_qsbr_quiescent_state();
}

void rcu_wait_for_readers(void)
{
    urcu_qsbr_synchronize_rcu();
    tell_grace_period_over();
}
