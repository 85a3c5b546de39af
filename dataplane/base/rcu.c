#include "dataplane/base/rcu.h"

/* Not <urcu-qsbr.h>: that one maps the generic names, so that our rcu_thread_offline would become
 * urcu_qsbr_thread_offline and call itself. */
#include <urcu/urcu-qsbr.h>

void rcu_thread_register(void)
{
    urcu_qsbr_register_thread();
}

void rcu_thread_unregister(void)
{
    urcu_qsbr_unregister_thread();
}

void rcu_thread_offline(void)
{
    urcu_qsbr_thread_offline();
}

void rcu_thread_online(void)
{
    urcu_qsbr_thread_online();
}

void rcu_quiescent(void)
{
    urcu_qsbr_quiescent_state();
}

void rcu_wait_for_readers(void)
{
    urcu_qsbr_synchronize_rcu();
}
