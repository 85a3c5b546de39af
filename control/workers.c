/* Starts, pins and joins the worker threads.
 *
 * Thread: control; worker_main is the worker's own. Signals stay with the control thread: workers
 * are created with all of them blocked. Failure: those already started are stopped again.
 */
#include "control/workers.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/base/rcu.h"
#include "dataplane/core/core.h"
#include "drivers/port.h"

struct worker {
    pthread_t thread;
    struct core *core;
    sem_t started;
    int start_result; /* written before `started` is posted */
};

struct workers {
    uint32_t count; /* of threads that run */
    struct worker workers[];
};

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    worker->start_result = eal_thread_register();
    if (worker->start_result == 0) {
        rcu_thread_register();
    }
    int result = worker->start_result;
    sem_post(&worker->started);
    if (result == 0) {
        core_run(worker->core);
        rcu_thread_unregister();
        eal_thread_unregister();
    }
    return NULL;
}

void workers_leave_cpus(const uint32_t *cpus, uint32_t cpu_count)
{
    cpu_set_t others;
    if (sched_getaffinity(0, sizeof(others), &others) != 0) {
        return; /* more CPUs than the set has: the scheduler decides */
    }
    for (uint32_t i = 0; i < cpu_count; i++) {
        CPU_CLR(cpus[i], &others);
    }
    if (CPU_COUNT(&others) > 0) {
        (void)sched_setaffinity(0, sizeof(others), &others);
    }
}

static int create_thread(struct worker *worker, const uint32_t *cpu)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_attr_init(&attributes);
    if (cpu != NULL) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(*cpu, &set);
        pthread_attr_setaffinity_np(&attributes, sizeof(set), &set);
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&worker->thread, &attributes, worker_main, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return -result;
}

static void wait_started(struct worker *worker)
{
    while (sem_wait(&worker->started) != 0) {
        CHECK(errno == EINTR);
    }
}

/* One worker, up to the point where its loop runs. */
static int start_worker(struct worker *worker, uint32_t number, struct core *core,
                        const uint32_t *cpu, struct config_error *error)
{
    char name[32]; /* the kernel takes 15 characters: up to nicached-w99999 */
    worker->core = core;
    sem_init(&worker->started, 0, 0);
    int result = create_thread(worker, cpu);
    if (result != 0) {
        if (cpu != NULL) {
            snprintf(error->text, sizeof(error->text), "worker %u cannot run on CPU %u: %s", number,
                     *cpu, strerror(-result));
        } else {
            snprintf(error->text, sizeof(error->text), "worker %u cannot start: %s", number,
                     strerror(-result));
        }
        sem_destroy(&worker->started);
        return result;
    }
    snprintf(name, sizeof(name), "nicached-w%u", number);
    pthread_setname_np(worker->thread, name);
    wait_started(worker);
    if (worker->start_result != 0) {
        snprintf(error->text, sizeof(error->text), "worker %u cannot register with EAL: %s", number,
                 strerror(-worker->start_result));
        pthread_join(worker->thread, NULL);
        sem_destroy(&worker->started);
        return worker->start_result;
    }
    return 0;
}

struct workers *workers_start(struct core *const *cores, uint32_t count, const uint32_t *cpus,
                              uint32_t cpu_count, struct config_error *error)
{
    CHECK(cpu_count == 0 || cpu_count >= count);
    struct workers *workers = calloc(1, sizeof(*workers) + count * sizeof(workers->workers[0]));
    if (workers == NULL) {
        snprintf(error->text, sizeof(error->text), "workers: out of memory");
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t *cpu = cpu_count == 0 ? NULL : &cpus[i];
        if (start_worker(&workers->workers[i], i, cores[i], cpu, error) != 0) {
            workers_stop(workers);
            return NULL;
        }
        workers->count++;
    }
    return workers;
}

void workers_stop(struct workers *workers)
{
    if (workers == NULL) {
        return;
    }
    for (uint32_t i = 0; i < workers->count; i++) {
        core_request_stop(workers->workers[i].core);
    }
    for (uint32_t i = 0; i < workers->count; i++) {
        pthread_join(workers->workers[i].thread, NULL);
        sem_destroy(&workers->workers[i].started);
    }
    free(workers);
}
