/* Worker threads: one per core, named nicached-w0, nicached-w1, ..., pinned where worker-cpus says;
 * all other threads keep off those CPUs.
 */
#ifndef NICACHED_CONTROL_WORKERS_H
#define NICACHED_CONTROL_WORKERS_H

#include <stdint.h>

struct config_error;
struct core;
struct workers;

/* Starts a thread for each core, registered with EAL and RCU, that runs core_run. Returns when all
 * of them run, or NULL with the reason when none does. `cpus` is empty or has one for each. */
struct workers *workers_start(struct core *const *cores, uint32_t count, const uint32_t *cpus,
                              uint32_t cpu_count, struct config_error *error);
/* The calling thread and those that it starts later (control thread, reclaimer, EAL's) keep off the
 * CPUs of the workers, where the process may use any others. */
void workers_leave_cpus(const uint32_t *cpus, uint32_t cpu_count);
/* Asks all cores to stop, and waits for the threads. */
void workers_stop(struct workers *workers);

#endif
