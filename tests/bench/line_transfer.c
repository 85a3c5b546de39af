/* How far two CPUs are from each other: what a cache line takes from one to the other.
 *
 *   line_transfer CPU CPU
 *
 * Two threads pass a line to and fro for a while; prints the median, in ns for one way. In a
 * virtual machine it says where the host runs the two CPUs at the moment: on cores that share a
 * cache, or on some that do not.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCHES      201
#define BATCH_PASSES 100 /* to and fro; some 20 us */

struct line {
    _Alignas(128) atomic_uint_fast32_t turn; /* even: the first one's */
    _Alignas(128) unsigned cpu;              /* of the second one */
};

static bool pin(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0;
}

static void pass(struct line *line, uint_fast32_t turn)
{
    while (atomic_load_explicit(&line->turn, memory_order_acquire) != turn) {
    }
    atomic_store_explicit(&line->turn, turn + 1, memory_order_release);
}

static void *pass_back(void *argument)
{
    struct line *line = argument;
    bool pinned = pin(line->cpu);
    for (uint_fast32_t i = 0; i < BATCHES * BATCH_PASSES; i++) {
        pass(line, 2 * i + 1);
    }
    return pinned ? line : NULL;
}

static double now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

int main(int argument_count, char **arguments)
{
    static struct line line;
    static double ns[BATCHES];
    unsigned long cpus[2] = {CPU_SETSIZE, CPU_SETSIZE};
    for (int i = 0; i < 2 && argument_count == 3; i++) {
        cpus[i] = strtoul(arguments[i + 1], NULL, 10);
    }
    if (cpus[0] >= CPU_SETSIZE || cpus[1] >= CPU_SETSIZE || cpus[0] == cpus[1]) {
        (void)fprintf(stderr, "usage: line_transfer CPU CPU, which are two\n");
        return 2;
    }
    line.cpu = (unsigned)cpus[1];
    pthread_t other;
    if (!pin((unsigned)cpus[0]) || pthread_create(&other, NULL, pass_back, &line) != 0) {
        (void)fprintf(stderr, "line_transfer: CPU %lu cannot be used, or out of threads\n",
                      cpus[0]);
        return 1;
    }
    for (uint_fast32_t batch = 0; batch < BATCHES; batch++) {
        double begin = now_ns();
        for (uint_fast32_t i = batch * BATCH_PASSES; i < (batch + 1) * BATCH_PASSES; i++) {
            pass(&line, 2 * i);
        }
        ns[batch] = (now_ns() - begin) / (2 * BATCH_PASSES);
    }
    void *pinned;
    (void)pthread_join(other, &pinned);
    if (pinned == NULL) {
        (void)fprintf(stderr, "line_transfer: CPU %lu cannot be used\n", cpus[1]);
        return 1;
    }
    qsort(ns, BATCHES, sizeof(ns[0]), compare);
    printf("%.1f ns\n", ns[BATCHES / 2]);
    return 0;
}
