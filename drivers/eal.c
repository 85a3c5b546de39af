/* EAL: DPDK's start and end.
 *
 * No IPC socket and no map files, so any number of instances on one host, and nothing left behind
 * even when the process is killed, but for one empty run-time directory, which EAL makes unasked
 * and teardown removes. With hugepages that is --in-memory; 22.11 refuses it together with
 * --no-huge, where --no-shconf does the same. One lcore, the calling thread, whose CPU affinity is
 * put back: workers are threads of ours, registered with eal_thread_register.
 *
 * Memory: with hugepages, `-m` reserves at start what will be needed, so that there is no failure
 * later. Without, the same amount is mapped but a page costs memory only once it is touched (and 48
 * bytes of EAL's bookkeeping for each 4 KiB from the start, 1.2 %); the kernel is asked for large
 * pages there, too (eal_memory.h).
 *
 * DPDK's own log lines go to our debug log; the first one is kept as the reason in our errors.
 *
 * Thread: control. Failure: rte_eal_init cannot be called twice in one process, so everything that
 * can be refused is refused before it.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_interrupts.h>
#include <rte_lcore.h>
#include <rte_log.h>

#include "dataplane/base/check.h"
#include "dataplane/base/log.h"
#include "drivers/eal_memory.h"
#include "drivers/port_internal.h"

#define ARGUMENTS_MAX      24
#define ARGUMENT_BYTES_MAX 64
#define MEBIBYTE           (UINT64_C(1) << 20)
#define OVERHEAD_MIB       64U /* drivers' private data, rings, heap fragmentation */
/* An address that no device has: as the only allowed one it keeps EAL from probing every NIC of the
 * host at start; port_setup then plugs in the configured ones. */
#define NO_PCI_DEVICE "ffff:ff:1f.7"

struct eal_arguments {
    char text[ARGUMENTS_MAX][ARGUMENT_BYTES_MAX];
    char *pointers[ARGUMENTS_MAX + 1];
    int count;
};

/* EAL is a process-wide singleton, and so is this. */
static struct {
    bool started, hugepages;
    FILE *log;
    pthread_mutex_t reason_lock;
    char reason[256];
    int errand_fd;
    struct rte_intr_handle *errand_handle;
    pthread_mutex_t errand_lock;
    struct eal_errand *errands, **errands_tail;
} eal = {.reason_lock = PTHREAD_MUTEX_INITIALIZER, .errand_lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- DPDK's log ------------------------------------------------------------------------------ */

/* A PMD may log from a worker: never wait for the lock there, rather lose the line. */
static ssize_t take_log_line(void *cookie, const char *text, size_t size)
{
    (void)cookie;
    size_t length = size;
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' ')) {
        length--;
    }
    if (length > 0 && pthread_mutex_trylock(&eal.reason_lock) == 0) {
        /* The first line is the closest to the cause; later ones say that the caller failed too. */
        if (eal.reason[0] == '\0') {
            snprintf(eal.reason, sizeof(eal.reason), "%.*s", (int)length, text);
        }
        pthread_mutex_unlock(&eal.reason_lock);
        log_debug("dpdk: %.*s", (int)(length > 1000 ? 1000 : length), text);
    }
    return (ssize_t)size;
}

static int open_log(void)
{
    eal.log = fopencookie(NULL, "w", (cookie_io_functions_t){.write = take_log_line});
    if (eal.log == NULL) {
        return -ENOMEM;
    }
    setvbuf(eal.log, NULL, _IOLBF, 1024);
    return rte_openlog_stream(eal.log) == 0 ? 0 : -EIO;
}

const char *eal_reason(void)
{
    return eal.reason;
}

void eal_forget_reason(void)
{
    pthread_mutex_lock(&eal.reason_lock);
    eal.reason[0] = '\0';
    pthread_mutex_unlock(&eal.reason_lock);
}

/* ---- hugepages ------------------------------------------------------------------------------- */

static uint64_t read_number(const char *path)
{
    uint64_t value = 0;
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        if (fscanf(file, "%" SCNu64, &value) != 1) {
            value = 0;
        }
        fclose(file);
    }
    return value;
}

static uint64_t free_hugepage_bytes(void)
{
    static const char folder[] = "/sys/kernel/mm/hugepages";
    uint64_t total = 0;
    DIR *directory = opendir(folder);
    if (directory == NULL) {
        return 0;
    }
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        uint64_t kib, free_pages;
        char path[512];
        if (sscanf(entry->d_name, "hugepages-%" SCNu64 "kB", &kib) == 1) {
            snprintf(path, sizeof(path), "%s/%s/free_hugepages", folder, entry->d_name);
            free_pages = read_number(path);
            total += free_pages * kib * 1024;
        }
    }
    closedir(directory);
    return total;
}

/* Free is not allowed: without the privilege or the group the kernel refuses. One page tells. */
static bool may_use_hugepages(void)
{
    int fd = memfd_create("nicached-probe", MFD_CLOEXEC | MFD_HUGETLB);
    if (fd < 0) {
        return false;
    }
    bool allowed = false;
    const size_t size = 2U << 20;
    if (ftruncate(fd, (off_t)size) == 0) {
        void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        allowed = page != MAP_FAILED;
        if (allowed) {
            munmap(page, size);
        }
    }
    close(fd);
    return allowed;
}

static int choose_hugepages(const struct eal_options *options, uint64_t wanted_mib, bool *use,
                            struct config_error *error)
{
    uint64_t free_mib = free_hugepage_bytes() / MEBIBYTE;
    bool allowed = free_mib > 0 && may_use_hugepages();
    *use = options->hugepages != HUGEPAGES_NO && free_mib >= wanted_mib && allowed;
    if (options->hugepages != HUGEPAGES_YES || *use) {
        return 0;
    }
    const char *hint = free_mib > 0 && !allowed ? "; this user may not use them" : "";
    snprintf(error->text, sizeof(error->text),
             "hugepages yes: %" PRIu64 " MiB are needed and %" PRIu64 " MiB are free%s", wanted_mib,
             free_mib, hint);
    return -ENOMEM;
}

/* ---- arguments ------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void add_argument(struct eal_arguments *arguments,
                                                               const char *format, ...)
{
    CHECK(arguments->count < ARGUMENTS_MAX);
    char *text = arguments->text[arguments->count];
    va_list list;
    va_start(list, format);
    vsnprintf(text, ARGUMENT_BYTES_MAX, format, list);
    va_end(list);
    arguments->pointers[arguments->count++] = text;
}

static int first_allowed_cpu(const cpu_set_t *cpus)
{
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET((size_t)cpu, cpus)) {
            return cpu;
        }
    }
    return 0;
}

static void compose_arguments(struct eal_arguments *arguments, const struct eal_options *options,
                              uint64_t memory_mib, int cpu)
{
    arguments->count = 0;
    add_argument(arguments, "nicached");
    add_argument(arguments, "--file-prefix=nicached");
    add_argument(arguments, "--no-telemetry");
    add_argument(arguments, "--log-level=error");
    add_argument(arguments, "--lcores=0@%d", cpu);
    add_argument(arguments, "-m");
    add_argument(arguments, "%" PRIu64, memory_mib);
    if (eal.hugepages) {
        /* One descriptor for all pages of a size instead of one for each page. */
        add_argument(arguments, "--single-file-segments");
        add_argument(arguments, "--in-memory");
    } else {
        add_argument(arguments, "--no-shconf");
        add_argument(arguments, "--no-huge");
    }
    if (options->with_pci) {
        add_argument(arguments, "-a");
        add_argument(arguments, NO_PCI_DEVICE);
    } else {
        add_argument(arguments, "--no-pci");
        add_argument(arguments, "--iova-mode=va");
    }
    arguments->pointers[arguments->count] = NULL;
}

/* ---- the interrupt thread -------------------------------------------------------------------- */

static void run_errands(void *argument)
{
    (void)argument;
    uint64_t count;
    (void)!read(eal.errand_fd, &count, sizeof(count));
    pthread_mutex_lock(&eal.errand_lock);
    struct eal_errand *errand = eal.errands;
    eal.errands = NULL;
    eal.errands_tail = &eal.errands;
    pthread_mutex_unlock(&eal.errand_lock);
    while (errand != NULL) {
        struct eal_errand *next = errand->next; /* it may be gone when it has run */
        errand->run(errand);
        errand = next;
    }
}

void eal_post_errand(struct eal_errand *errand)
{
    errand->next = NULL;
    pthread_mutex_lock(&eal.errand_lock);
    *eal.errands_tail = errand;
    eal.errands_tail = &errand->next;
    pthread_mutex_unlock(&eal.errand_lock);
    const uint64_t one = 1;
    CHECK(write(eal.errand_fd, &one, sizeof(one)) == sizeof(one));
}

struct awaited_errand {
    struct eal_errand errand;
    int (*run)(void *argument);
    void *argument;
    int result;
    sem_t done;
};

static void run_awaited(struct eal_errand *errand)
{
    struct awaited_errand *awaited = (struct awaited_errand *)errand;
    awaited->result = awaited->run(awaited->argument);
    CHECK(sem_post(&awaited->done) == 0);
}

int eal_run_errand(int (*run)(void *argument), void *argument)
{
    struct awaited_errand awaited = {
        .errand = {.run = run_awaited}, .run = run, .argument = argument};
    CHECK(sem_init(&awaited.done, 0, 0) == 0);
    eal_post_errand(&awaited.errand);
    while (sem_wait(&awaited.done) < 0) {
        CHECK(errno == EINTR);
    }
    (void)sem_destroy(&awaited.done);
    return awaited.result;
}

/* It stays as long as the process. */
static int register_errands(void)
{
    eal.errand_handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
    if (eal.errand_fd < 0 || eal.errand_handle == NULL) {
        return eal.errand_fd < 0 ? eal.errand_fd : -ENOMEM;
    }
    (void)rte_intr_fd_set(eal.errand_handle, eal.errand_fd);
    (void)rte_intr_type_set(eal.errand_handle, RTE_INTR_HANDLE_EXT);
    return rte_intr_callback_register(eal.errand_handle, run_errands, NULL);
}

static int do_nothing(void *argument)
{
    (void)argument;
    return 0;
}

/* rte_eal_cleanup takes the memory away that net_memif's listener is described in, which stays
 * among the thread's sources for ever. They are read when it has been told that there is another or
 * one less: the first errand may run in that very round, the second runs behind it. For the same
 * reason nobody may use EAL's alarms: the clean-up removes their source. */
static void settle_interrupt_thread(void)
{
    (void)eal_run_errand(do_nothing, NULL);
    (void)eal_run_errand(do_nothing, NULL);
}

/* ---- start and end --------------------------------------------------------------------------- */

static int start_eal(const struct eal_options *options, uint64_t memory_mib,
                     struct config_error *error)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    bool restore = sched_getaffinity(0, sizeof(cpus), &cpus) == 0;
    struct eal_arguments arguments;
    compose_arguments(&arguments, options, memory_mib, first_allowed_cpu(&cpus));
    /* Before there is the thread that reads them. */
    eal.errands_tail = &eal.errands;
    int errand_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    eal.errand_fd = errand_fd < 0 ? -errno : errand_fd;
    int result = rte_eal_init(arguments.count, arguments.pointers);
    int code = rte_errno;
    if (restore) {
        (void)sched_setaffinity(0, sizeof(cpus), &cpus);
    }
    if (result >= 0) {
        (void)eal_memory_enlarge_pages();
        result = register_errands();
        if (result < 0) {
            snprintf(error->text, sizeof(error->text),
                     "cannot start DPDK: its interrupt thread: %s", rte_strerror(-result));
        }
        return result;
    }
    fflush(eal.log);
    snprintf(error->text, sizeof(error->text),
             "cannot start DPDK with %" PRIu64 " MiB %s hugepages: %s%s%s", memory_mib,
             eal.hugepages ? "of" : "without", rte_strerror(code), eal.reason[0] ? ": " : "",
             eal.reason);
    return code > 0 ? -code : -EIO;
}

int eal_setup(const struct eal_options *options, struct config_error *error)
{
    CHECK(!eal.started);
    uint64_t memory_mib = options->memory_bytes / MEBIBYTE + 1 + OVERHEAD_MIB;
    int result = choose_hugepages(options, memory_mib, &eal.hugepages, error);
    if (result < 0) {
        return result;
    }
    if (options->memory_bytes > INT64_MAX / 2 || memory_mib > INT32_MAX) {
        snprintf(error->text, sizeof(error->text), "cannot start DPDK: %" PRIu64 " MiB asked for",
                 memory_mib);
        return -ENOMEM;
    }
    result = open_log();
    if (result == 0) {
        result = start_eal(options, memory_mib, error);
    } else {
        snprintf(error->text, sizeof(error->text), "cannot start DPDK: no memory for its log");
    }
    eal.started = result == 0;
    return result;
}

void eal_teardown(void)
{
    if (!eal.started) {
        return;
    }
    settle_interrupt_thread();
    char directory[256];
    snprintf(directory, sizeof(directory), "%s", rte_eal_get_runtime_dir());
    (void)rte_eal_cleanup();
    (void)rmdir(directory);
    (void)rte_openlog_stream(NULL);
    fclose(eal.log);
    eal.log = NULL;
    eal.started = false;
}

bool eal_uses_hugepages(void)
{
    return eal.hugepages;
}

int eal_thread_register(void)
{
    return rte_thread_register() == 0 ? 0 : -rte_errno;
}

void eal_thread_unregister(void)
{
    rte_thread_unregister();
}
