/* What a machine takes from a program that has a CPU of its own: a loop on each CPU that only looks
 * at the clock, and how long it was away.
 *
 *   empty_loop SECONDS CPU...
 *
 * Prints a line for each CPU: how many gaps of over 10 us it has a second, and how long the
 * unluckiest of 100, 1000 and 10,000 random moments have to wait for the CPU (of a gap, a moment in
 * its middle waits for the other half). A request that comes at such a moment waits as long,
 * whoever serves it.
 */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <x86intrin.h>

#define CPUS_MAX    64
#define GAPS_MAX    (1U << 20)
#define GAP_US_MIN  1.0
#define LONG_GAP_US 10.0
#define NS_PER_S    1e9

struct watch {
    pthread_t thread;
    unsigned cpu;
    double seconds, *gaps_us;
    uint32_t gap_count;
    bool complete;
};

static double cycles_per_us(void)
{
    struct timespec begin, now;
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    uint64_t cycles = __rdtsc();
    double ns;
    do {
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        ns = (double)(now.tv_sec - begin.tv_sec) * NS_PER_S + (double)(now.tv_nsec - begin.tv_nsec);
    } while (ns < NS_PER_S / 10);
    return (double)(__rdtsc() - cycles) * 1000 / ns;
}

static bool pin(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0;
}

static void *watch_cpu(void *argument)
{
    struct watch *watch = argument;
    if (watch->cpu >= CPU_SETSIZE || !pin(watch->cpu)) {
        return NULL;
    }
    double per_us = cycles_per_us();
    uint64_t least = (uint64_t)(GAP_US_MIN * per_us), last = __rdtsc();
    uint64_t end = last + (uint64_t)(watch->seconds * 1e6 * per_us);
    while (last < end) {
        uint64_t now = __rdtsc();
        if (now - last >= least) {
            if (watch->gap_count == GAPS_MAX) {
                return NULL;
            }
            watch->gaps_us[watch->gap_count++] = (double)(now - last) / per_us;
        }
        last = now;
    }
    watch->complete = true;
    return NULL;
}

static int compare_longest_first(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left < right) - (left > right);
}

/* So long that `share` of all moments waits longer. With the k longest gaps that are longer than
 * it, the moments that wait longer are their sum less k times it. */
static double wait_us(const struct watch *watch, double share)
{
    double moments_us = share * watch->seconds * 1e6, sum = 0;
    for (uint32_t k = 1; k <= watch->gap_count; k++) {
        sum += watch->gaps_us[k - 1];
        double us = (sum - moments_us) / k;
        double next = k < watch->gap_count ? watch->gaps_us[k] : 0;
        if (us >= next) {
            return us;
        }
    }
    return 0;
}

static void report(struct watch *watch)
{
    uint32_t count = 0;
    qsort(watch->gaps_us, watch->gap_count, sizeof(*watch->gaps_us), compare_longest_first);
    while (count < watch->gap_count && watch->gaps_us[count] > LONG_GAP_US) {
        count++;
    }
    printf("cpu %u: %.1f gaps of over %.0f us a second, longest %.0f us; waits of 1 in 100 moments "
           "%.1f us, 1 in 1000 %.1f us, 1 in 10000 %.1f us\n",
           watch->cpu, count / watch->seconds, LONG_GAP_US,
           watch->gap_count > 0 ? watch->gaps_us[0] : 0, wait_us(watch, 0.01),
           wait_us(watch, 0.001), wait_us(watch, 0.0001));
}

int main(int argument_count, char **arguments)
{
    static struct watch watches[CPUS_MAX];
    double seconds = argument_count > 2 ? strtod(arguments[1], NULL) : 0;
    int count = argument_count - 2;
    if (seconds <= 0 || count > CPUS_MAX) {
        (void)fprintf(stderr, "usage: empty_loop SECONDS CPU...\n");
        return 2;
    }
    for (int i = 0; i < count; i++) {
        struct watch *watch = &watches[i];
        watch->cpu = (unsigned)strtoul(arguments[i + 2], NULL, 10);
        watch->seconds = seconds;
        watch->gaps_us = malloc(GAPS_MAX * sizeof(*watch->gaps_us));
        if (watch->gaps_us == NULL || pthread_create(&watch->thread, NULL, watch_cpu, watch) != 0) {
            (void)fprintf(stderr, "empty_loop: out of memory or threads\n");
            return 1;
        }
    }
    int code = 0;
    for (int i = 0; i < count; i++) {
        (void)pthread_join(watches[i].thread, NULL);
        if (watches[i].complete) {
            report(&watches[i]);
        } else {
            (void)fprintf(stderr, "empty_loop: CPU %u cannot be used, or has too many gaps\n",
                          watches[i].cpu);
            code = 1;
        }
        free(watches[i].gaps_us);
    }
    return code;
}
