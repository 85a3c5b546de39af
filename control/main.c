/* The composition root: the one file that knows every part, and the order in which they start.
 *
 * The start is a list of steps, each with its undo; a stop, or a start that fails half way, undoes
 * what was done in the opposite order. Thread: main, which then is the control thread. Memory: one
 * static struct server. Failure of a step: one line on the standard error output, exit code 2.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <rte_mempool.h>

#include "config/config.h"
#include "control/announce.h"
#include "control/command_line.h"
#include "control/control.h"
#include "control/workers.h"
#include "dataplane/access/access.h"
#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/base/log.h"
#include "dataplane/capture/capture.h"
#include "dataplane/channel/channel.h"
#include "dataplane/core/core.h"
#include "dataplane/core/core_distributor.h"
#include "dataplane/core/core_exception.h"
#include "dataplane/l7_command/command.h"
#include "dataplane/store/reclaimer.h"
#include "dataplane/store/region.h"
#include "dataplane/store/shard.h"
#include "drivers/dma.h"
#include "drivers/port.h"
#include "drivers/port_rss.h"

#define CONTROL_CHANNEL_CAPACITY   256
#define RECLAIMER_CHANNEL_CAPACITY 1024
#define PEER_CHANNEL_CAPACITY      256
#define SPARE_DESCRIPTORS          128 /* beside clients: files, devices, wake-ups */

struct server {
    struct config *config; /* ours until the control loop takes it over; then the first snapshot,
                              valid as long as no CONFIG SET can have come in */
    struct control *control;
    uint32_t worker_count;

    /* Interfaces that are up; ports[i] is NULL for a socket. */
    struct interface_config interfaces[CONFIG_INTERFACES_MAX];
    struct port *ports[CONFIG_INTERFACES_MAX];
    struct port port_storage[CONFIG_INTERFACES_MAX];
    uint32_t interface_count;
    struct access *access;
    struct capture *capture;
    struct rte_mempool *pool;
    struct port_rss rss;
    /* Of the ports that the host shares; `taps` where there is one. */
    struct port taps[CONFIG_INTERFACES_MAX];
    struct exception *exceptions[CONFIG_INTERFACES_MAX];
    /* Of the ports, when there are several workers. */
    struct distributor *distributors[CONFIG_INTERFACES_MAX];

    struct metrics *metrics;
    const struct metrics *all_metrics[CONFIG_WORKERS_MAX];
    struct shard *shards[CONFIG_WORKERS_MAX];
    struct channel *to_control[CONFIG_WORKERS_MAX], *from_control[CONFIG_WORKERS_MAX];
    struct channel *to_reclaimer[CONFIG_WORKERS_MAX], *from_reclaimer[CONFIG_WORKERS_MAX];
    /* between workers: [receiver][sender] and [sender][receiver], the same channels */
    struct channel *from_peers[CONFIG_WORKERS_MAX][CONFIG_WORKERS_MAX];
    struct channel *to_peers[CONFIG_WORKERS_MAX][CONFIG_WORKERS_MAX];
    struct reclaimer *reclaimer;
    struct core *cores[CONFIG_WORKERS_MAX];
    struct workers *workers;

    struct config_error error;
};

/* The reason of a failing step, with its errno in words. */
static int fail(struct server *server, int result, const char *what)
{
    snprintf(server->error.text, sizeof(server->error.text), "%.256s: %s", what, strerror(-result));
    return result;
}

/* ---- log, pid file, limits ------------------------------------------------------------------- */

static int setup_log(struct server *server)
{
    int result = log_setup((enum log_level)server->config->loglevel, server->config->logfile);
    return result == 0 ? 0 : fail(server, result, server->config->logfile);
}

static void teardown_log(struct server *server)
{
    (void)server;
    log_teardown();
}

static char pidfile_path[CONFIG_TEXT_BYTES_MAX]; /* outlives the configuration */

static int setup_pidfile(struct server *server)
{
    snprintf(pidfile_path, sizeof(pidfile_path), "%s", server->config->pidfile);
    if (pidfile_path[0] == '\0') {
        return 0;
    }
    int fd = open(pidfile_path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) {
        return fail(server, -errno, pidfile_path);
    }
    int written = dprintf(fd, "%d\n", (int)getpid());
    if (close(fd) != 0 || written < 0) {
        return fail(server, -EIO, pidfile_path);
    }
    return 0;
}

static void teardown_pidfile(struct server *server)
{
    (void)server;
    if (pidfile_path[0] != '\0') {
        unlink(pidfile_path);
    }
}

/* A kernel socket per client needs a descriptor per client. */
static int setup_limits(struct server *server)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)server->config->maxclients + SPARE_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return fail(server, -errno, "descriptor limit");
    }
    if (limit.rlim_cur >= wanted) {
        return 0;
    }
    limit.rlim_cur =
        limit.rlim_max != RLIM_INFINITY && limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted) {
        log_warning("only %llu descriptors are allowed: kernel sockets cannot serve all of "
                    "maxclients %lld",
                    (unsigned long long)limit.rlim_cur, (long long)server->config->maxclients);
    }
    return 0;
}

/* ---- what is global to the process
 * --------------------------------------------------------------- */

static int setup_process(struct server *server)
{
    uint32_t cpus[CONFIG_WORKERS_MAX];
    workers_leave_cpus(cpus, config_worker_cpus(server->config, cpus, server->worker_count));
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    hash_setup_random_secret();
    command_table_setup();
    return 0;
}

static int setup_control(struct server *server)
{
    server->control = control_create(server->config, &server->error);
    return server->control != NULL ? 0 : -ENOMEM;
}

static void teardown_control(struct server *server)
{
    control_destroy(server->control);
    server->config = NULL; /* the loop had taken it over */
}

/* ---- EAL, packets, ports -----------------------------------------------------------------------
 */

static bool has_port(const struct interface_config *interface)
{
    return interface->driver != INTERFACE_SOCKET && interface->driver != INTERFACE_VLAN;
}

static uint32_t count_ports(const struct config *config)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < config->interface_count; i++) {
        count += has_port(&config->interfaces[i]);
        count += config->interfaces[i].exception_tap[0] != '\0';
    }
    return count;
}

static bool has_pci(const struct config *config)
{
    for (uint32_t i = 0; i < config->interface_count; i++) {
        if (config->interfaces[i].driver == INTERFACE_PCI) {
            return true;
        }
    }
    return false;
}

/* 0 where no line has one. */
static uint16_t largest_mtu(const struct config *config)
{
    uint16_t largest = 0;
    for (uint32_t i = 0; i < config->interface_count; i++) {
        uint16_t mtu = config->interfaces[i].mtu;
        largest = mtu > largest ? mtu : largest;
    }
    return largest;
}

/* The pool of frames, and for each worker a small one of large buffers and its rings. */
static uint64_t packet_bytes(const struct config *config)
{
    uint32_t workers = (uint32_t)config->workers, ports = count_ports(config);
    uint64_t least = UINT64_C(256) << 20;
    uint64_t needed = port_packet_pool_bytes(workers, ports, largest_mtu(config)) +
                      (workers + 1) * (UINT64_C(32) << 20);
    return ports == 0 ? UINT64_C(64) << 20 : needed > least ? needed : least;
}

/* Packets, and the index of the data: with the smallest items it takes up to half of maxmemory. */
static uint64_t eal_memory_bytes(const struct config *config)
{
    uint64_t physical = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t data = config->maxmemory != 0 ? (uint64_t)config->maxmemory : physical / 4;
    uint64_t index = data / 2 < physical / 2 ? data / 2 : physical / 2;
    return packet_bytes(config) + index;
}

static int setup_eal(struct server *server)
{
    struct eal_options options = {
        .hugepages = (enum hugepages_mode)server->config->hugepages,
        .with_pci = has_pci(server->config),
        .memory_bytes = eal_memory_bytes(server->config),
    };
    return eal_setup(&options, &server->error);
}

static void teardown_eal(struct server *server)
{
    (void)server;
    eal_teardown();
}

static int setup_access(struct server *server)
{
    server->access = access_create();
    if (server->access == NULL) {
        return fail(server, -ENOMEM, "access rules");
    }
    int result = access_set(server->access, server->config, &server->error);
    if (result != 0) {
        access_destroy(server->access);
        return result;
    }
    control_set_access(server->control, server->access);
    return 0;
}

static void teardown_access(struct server *server)
{
    control_set_access(server->control, NULL);
    access_destroy(server->access);
}

static int setup_packet_pool(struct server *server)
{
    uint32_t port_count = count_ports(server->config);
    if (port_count == 0) {
        return 0;
    }
    server->pool =
        port_create_packet_pool(server->worker_count, port_count, largest_mtu(server->config));
    return server->pool != NULL ? 0 : fail(server, -ENOMEM, "packet pool");
}

static void teardown_packet_pool(struct server *server)
{
    rte_mempool_free(server->pool);
}

static int setup_capture(struct server *server)
{
    server->capture = capture_create();
    if (server->capture == NULL) {
        return fail(server, -ENOMEM, "capture");
    }
    control_set_capture(server->control, server->capture);
    return 0;
}

static void teardown_capture(struct server *server)
{
    control_set_capture(server->control, NULL);
    capture_destroy(server->capture);
}

/* Twice is once. */
static void teardown_ports(struct server *server)
{
    control_set_links(server->control, NULL, NULL);
    while (server->interface_count > 0) {
        struct port *port = server->ports[--server->interface_count];
        port_teardown(&server->taps[server->interface_count]);
        if (port != NULL) {
            port_teardown(port);
        }
    }
}

/* With its exception path, which has a queue for each of the port's. */
static int setup_port(struct server *server, struct port *port, struct port *tap,
                      const struct interface_config *interface)
{
    bool shared = interface->exception_tap[0] != '\0';
    uint32_t queue_count =
        shared ? RTE_MIN(server->worker_count, (uint32_t)PORT_QUEUES_MAX) : server->worker_count;
    int result =
        port_setup(port, interface, queue_count, &server->rss, server->pool, &server->error);
    if (result == 0 && shared) {
        result =
            port_setup_exception(tap, interface->exception_tap, port, server->pool, &server->error);
        if (result != 0) {
            port_teardown(port);
        }
    }
    return result;
}

static bool is_up(const struct server *server, const char *name)
{
    for (uint32_t i = 0; i < server->interface_count; i++) {
        if (strcmp(server->interfaces[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Brings one interface up and adds it to those that serve. */
static int setup_interface(struct server *server, const struct interface_config *interface)
{
    uint32_t at = server->interface_count;
    struct port *port = NULL;
    if (interface->driver == INTERFACE_VLAN && !is_up(server, interface->argument)) {
        snprintf(server->error.text, sizeof(server->error.text),
                 "interface '%s': '%.31s' is not there", interface->name, interface->argument);
        return -ENODEV;
    }
    if (has_port(interface)) {
        port = &server->port_storage[at];
        int result = setup_port(server, port, &server->taps[at], interface);
        if (result != 0) {
            return result;
        }
    }
    server->interfaces[at] = *interface;
    server->ports[at] = port;
    server->interface_count++;
    return 0;
}

static void watch_links(void *argument)
{
    struct server *server = argument;
    for (uint32_t i = 0; i < server->interface_count; i++) {
        if (server->ports[i] != NULL) {
            port_watch_link(server->ports[i]);
        }
    }
}

static int setup_ports(struct server *server)
{
    const struct config *config = server->config;
    port_rss_init_random(&server->rss);
    for (uint32_t i = 0; i < config->interface_count; i++) {
        int result = setup_interface(server, &config->interfaces[i]);
        if (result != 0 && !config->interfaces[i].optional) {
            teardown_ports(server);
            return result;
        }
        if (result != 0) {
            log_warning("%s; it is optional: going on without it", server->error.text);
        }
    }
    bool has_path = config->unixsocket[0] != '\0' || config->memcache_unixsocket[0] != '\0';
    if (server->interface_count == 0 && !has_path) {
        snprintf(server->error.text, sizeof(server->error.text),
                 "no interface is left to serve on");
        return -ENODEV;
    }
    control_set_links(server->control, watch_links, server);
    return 0;
}

/* ---- counters, shards, channels
 * -------------------------------------------------------------------- */

static int setup_counters(struct server *server)
{
    size_t size = sizeof(struct metrics) * server->worker_count;
    server->metrics = aligned_alloc(_Alignof(struct metrics), size);
    if (server->metrics == NULL) {
        return fail(server, -ENOMEM, "counters");
    }
    memset(server->metrics, 0, size);
    for (uint32_t i = 0; i < server->worker_count; i++) {
        server->all_metrics[i] = &server->metrics[i];
    }
    return 0;
}

static void teardown_counters(struct server *server)
{
    free(server->metrics);
}

static void teardown_channels(struct server *server)
{
    for (uint32_t i = 0; i < server->worker_count; i++) {
        channel_destroy(server->to_control[i]);
        channel_destroy(server->from_control[i]);
        channel_destroy(server->to_reclaimer[i]);
        channel_destroy(server->from_reclaimer[i]);
        for (uint32_t j = 0; j < server->worker_count; j++) {
            channel_destroy(server->to_peers[i][j]);
        }
    }
}

/* One for each direction of each pair of workers. */
static bool connect_peers(struct server *server)
{
    for (uint32_t from = 0; from < server->worker_count; from++) {
        for (uint32_t to = 0; to < server->worker_count; to++) {
            struct channel *channel = from == to ? NULL : channel_create(PEER_CHANNEL_CAPACITY);
            if (from != to && channel == NULL) {
                return false;
            }
            server->to_peers[from][to] = server->from_peers[to][from] = channel;
        }
    }
    return true;
}

static int setup_channels(struct server *server)
{
    for (uint32_t i = 0; i < server->worker_count; i++) {
        server->to_control[i] = channel_create(CONTROL_CHANNEL_CAPACITY);
        server->from_control[i] = channel_create(CONTROL_CHANNEL_CAPACITY);
        server->to_reclaimer[i] = channel_create(RECLAIMER_CHANNEL_CAPACITY);
        server->from_reclaimer[i] = channel_create(RECLAIMER_CHANNEL_CAPACITY);
        if (server->to_control[i] == NULL || server->from_control[i] == NULL ||
            server->to_reclaimer[i] == NULL || server->from_reclaimer[i] == NULL) {
            teardown_channels(server);
            return fail(server, -ENOMEM, "channels");
        }
    }
    if (!connect_peers(server)) {
        teardown_channels(server);
        return fail(server, -ENOMEM, "channels");
    }
    return 0;
}

static void teardown_shards(struct server *server)
{
    for (uint32_t i = 0; i < server->worker_count && server->shards[i] != NULL; i++) {
        shard_clear(server->shards[i]);
    }
    for (uint32_t i = 0; i < server->worker_count; i++) {
        if (server->shards[i] != NULL) {
            shard_destroy(server->shards[i]);
        }
    }
}

/* The memory node of a CPU; -1: there is only one, or nobody knows. */
static int numa_node_of(uint32_t cpu)
{
    char path[64];
    for (int node = 0; node < 64 && access("/sys/devices/system/node/node1", F_OK) == 0; node++) {
        snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%" PRIu32 "/node%d", cpu, node);
        if (access(path, F_OK) == 0) {
            return node;
        }
    }
    return -1;
}

/* NULL: no port's device reads there. */
static const struct region_devices *devices_that_read(const struct server *server)
{
    static const struct region_devices devices = {.map = dma_map, .unmap = dma_unmap};
    for (uint32_t i = 0; i < server->interface_count; i++) {
        if (server->ports[i] != NULL && server->ports[i]->capabilities.tx_external_mapped) {
            return &devices;
        }
    }
    return NULL;
}

/* With hugepages: EAL has what it will need by now, so the rest may go to the data. */
static int setup_shards(struct server *server)
{
    uint32_t cpus[CONFIG_WORKERS_MAX];
    uint32_t cpu_count = config_worker_cpus(server->config, cpus, CONFIG_WORKERS_MAX);
    for (uint32_t i = 0; i < server->worker_count; i++) {
        struct shard_options options = {
            .number = i,
            .index =
                server->config->store_index == STORE_INDEX_BUCKETS ? INDEX_BUCKETS : INDEX_RTE_HASH,
            .maxmemory_bytes = (uint64_t)server->config->maxmemory / server->worker_count,
            .metrics = &server->metrics[i],
            .to_reclaimer = server->to_reclaimer[i],
            .use_hugepages = eal_uses_hugepages(),
            .devices = devices_that_read(server),
            .numa_node = i < cpu_count ? numa_node_of(cpus[i]) : -1,
        };
        server->shards[i] = shard_create(&options);
        if (server->shards[i] == NULL) {
            teardown_shards(server);
            return fail(server, -ENOMEM, "shard");
        }
    }
    return 0;
}

static int setup_reclaimer(struct server *server)
{
    server->reclaimer =
        reclaimer_create(server->to_reclaimer, server->from_reclaimer, server->worker_count);
    return server->reclaimer != NULL ? 0 : fail(server, -ENOMEM, "reclaimer");
}

static void teardown_reclaimer(struct server *server)
{
    reclaimer_destroy(server->reclaimer);
}

/* ---- ports shared with the host -------------------------------------------------------------- */

static bool is_shared(const struct server *server, uint32_t interface)
{
    return server->interfaces[interface].exception_tap[0] != '\0';
}

static void teardown_exceptions(struct server *server)
{
    for (uint32_t i = 0; i < server->interface_count; i++) {
        exception_destroy(server->exceptions[i]);
        server->exceptions[i] = NULL;
    }
}

static struct exception *create_exception(struct server *server, uint32_t interface)
{
    /* Large; exception_create copies them. */
    static struct core_link queues[PORT_QUEUES_MAX], taps[PORT_QUEUES_MAX];
    const struct config *config = server->config;
    uint32_t queue_count = server->ports[interface]->capabilities.queue_count;
    for (uint32_t i = 0; i < queue_count; i++) {
        core_link_to_port(&queues[i], server->ports[interface], i);
        core_link_to_port(&taps[i], &server->taps[interface], i);
    }
    struct exception_options options = {
        .queues = queues,
        .taps = taps,
        .queue_count = queue_count,
        .interfaces = server->interfaces,
        .interface_count = server->interface_count,
        .rules = {.tcp_ports = {(uint16_t)config->port, (uint16_t)config->memcache_port},
                  .udp_port = (uint16_t)config->memcache_udp_port},
        .pool = server->pool,
        .metrics = server->metrics,
    };
    return exception_create(&options);
}

static int setup_exceptions(struct server *server)
{
    for (uint32_t i = 0; i < server->interface_count; i++) {
        if (!is_shared(server, i)) {
            continue;
        }
        server->exceptions[i] = create_exception(server, i);
        if (server->exceptions[i] == NULL) {
            teardown_exceptions(server);
            return fail(server, -ENOMEM, "exception path");
        }
    }
    return 0;
}

/* The queue pair of a port, with the exception path where the host shares it. */
static void link_queue(struct server *server, uint32_t interface, uint32_t queue,
                       struct core_link *link)
{
    if (server->exceptions[interface] != NULL) {
        exception_link(server->exceptions[interface], queue, link);
    } else {
        core_link_to_port(link, server->ports[interface], queue);
    }
}

/* ---- ports shared by workers ----------------------------------------------------------------- */

static void teardown_distributors(struct server *server)
{
    for (uint32_t i = 0; i < server->interface_count; i++) {
        distributor_destroy(server->distributors[i]);
        server->distributors[i] = NULL;
    }
}

static void wake_worker(void *argument, uint32_t worker)
{
    struct server *server = argument;
    core_wake_if_asleep(server->cores[worker]);
}

static struct distributor *create_distributor(struct server *server, uint32_t interface)
{
    const struct port *port = server->ports[interface];
    static struct core_link queues[CONFIG_WORKERS_MAX]; /* large; distributor_create copies them */
    uint32_t queue_count = port->capabilities.queue_count;
    for (uint32_t i = 0; i < queue_count; i++) {
        link_queue(server, interface, i, &queues[i]);
    }
    struct distributor_options options = {
        .queues = queues,
        .queue_count = queue_count,
        .worker_count = server->worker_count,
        .port_spreads = port->capabilities.rss && queue_count == server->worker_count,
        .rss = &server->rss,
        .pool = server->pool,
        .metrics = server->metrics,
        .wake = wake_worker,
        .argument = server,
    };
    return distributor_create(&options);
}

static int setup_distributors(struct server *server)
{
    for (uint32_t i = 0; i < server->interface_count && server->worker_count > 1; i++) {
        if (server->ports[i] == NULL) {
            continue;
        }
        server->distributors[i] = create_distributor(server, i);
        if (server->distributors[i] == NULL) {
            teardown_distributors(server);
            return fail(server, -ENOMEM, "rings between workers");
        }
    }
    return 0;
}

/* ---- cores and their threads
 * --------------------------------------------------------------------- */

static void teardown_cores(struct server *server)
{
    for (uint32_t i = 0; i < server->interface_count; i++) {
        if (server->distributors[i] != NULL) {
            distributor_flush(server->distributors[i]);
        }
    }
    for (uint32_t i = 0; i < server->worker_count; i++) {
        if (server->cores[i] != NULL) {
            core_destroy(server->cores[i]);
        }
    }
}

/* The worker's queue of every port that is up. */
static uint32_t link_ports(struct server *server, uint32_t number, struct core_link *links)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < server->interface_count; i++) {
        if (server->distributors[i] != NULL) {
            distributor_link(server->distributors[i], number, &links[count++]);
        } else if (server->ports[i] != NULL) {
            link_queue(server, i, number, &links[count++]);
        }
    }
    return count;
}

static struct core *create_core(struct server *server, uint32_t number)
{
    static struct core_link links[CONFIG_INTERFACES_MAX]; /* large; core_create copies them */
    struct instant now;
    clock_read(&now);
    struct core_options options = {
        .number = number,
        .worker_count = server->worker_count,
        .config_slot = control_config_slot(server->control),
        .interfaces = server->interfaces,
        .interface_count = server->interface_count,
        .links = links,
        .link_count = link_ports(server, number, links),
        .pool = server->pool,
        .access = server->access,
        .capture = server->capture,
        .shard = server->shards[number],
        .all_shards = server->shards,
        .metrics = &server->metrics[number],
        .all_metrics = server->all_metrics,
        .to_control = server->to_control[number],
        .from_control = server->from_control[number],
        .from_reclaimer = server->from_reclaimer[number],
        .to_peers = server->to_peers[number],
        .from_peers = server->from_peers[number],
        .status = control_status_slot(server->control),
        .control_wake_fd = control_wake_fd(server->control),
        .now = &now,
        .error = &server->error,
    };
    return core_create(&options);
}

static int setup_cores(struct server *server)
{
    for (uint32_t i = 0; i < server->worker_count; i++) {
        server->cores[i] = create_core(server, i);
        if (server->cores[i] == NULL) {
            teardown_cores(server);
            return -EIO;
        }
    }
    cores_join(server->cores, server->worker_count);
    return 0;
}

static void wake_core(void *argument, uint32_t worker)
{
    struct server *server = argument;
    core_wake(server->cores[worker]);
}

static void teardown_workers(struct server *server)
{
    workers_stop(server->workers);
    control_detach_workers(server->control);
}

static int setup_workers(struct server *server)
{
    uint32_t cpus[CONFIG_WORKERS_MAX];
    uint32_t cpu_count = config_worker_cpus(server->config, cpus, CONFIG_WORKERS_MAX);
    struct control_workers attached = {
        .count = server->worker_count,
        .metrics = server->all_metrics,
        .shards = server->shards,
        .from = server->to_control,
        .to = server->from_control,
        .wake = wake_core,
        .argument = server,
    };
    server->workers =
        workers_start(server->cores, server->worker_count, cpus, cpu_count, &server->error);
    if (server->workers == NULL) {
        return -EAGAIN;
    }
    if (control_attach_workers(server->control, &attached) != 0) {
        teardown_workers(server);
        return fail(server, -ENOMEM, "eviction");
    }
    return 0;
}

/* ---- the list
 * ------------------------------------------------------------------------------------ */

struct step {
    const char *name;
    int (*setup)(struct server *server);     /* NULL: nothing to do */
    void (*teardown)(struct server *server); /* NULL: leaves nothing behind */
};

static const struct step steps[] = {
    {"log", setup_log, teardown_log},
    {"pid file", setup_pidfile, teardown_pidfile},
    {"limits", setup_limits, NULL},
    {"process", setup_process, NULL},
    {"control loop", setup_control, teardown_control},
    {"EAL", setup_eal, teardown_eal},
    {"access rules", setup_access, teardown_access},
    {"packet pool", setup_packet_pool, teardown_packet_pool},
    {"ports", setup_ports, teardown_ports},
    {"capture", setup_capture, teardown_capture},
    {"counters", setup_counters, teardown_counters},
    {"channels", setup_channels, teardown_channels},
    {"shards", setup_shards, teardown_shards},
    {"reclaimer", setup_reclaimer, teardown_reclaimer},
    /* Devices read values by the frames in their queues: no shard goes before the ports. */
    {"frames under way", NULL, teardown_ports},
    {"exception path", setup_exceptions, teardown_exceptions},
    {"distributors", setup_distributors, teardown_distributors},
    {"cores", setup_cores, teardown_cores},
    {"workers", setup_workers, teardown_workers},
};
#define STEP_COUNT (sizeof(steps) / sizeof(steps[0]))

static void stop(struct server *server, size_t done_count)
{
    while (done_count > 0) {
        const struct step *step = &steps[--done_count];
        if (step->teardown != NULL) {
            log_notice("stop: %s", step->name);
            step->teardown(server);
        }
    }
}

/* How many steps are done: all of them, or those before the one that failed, which are undone. */
static bool start(struct server *server)
{
    for (size_t i = 0; i < STEP_COUNT; i++) {
        log_verbose("start: %s", steps[i].name);
        if (steps[i].setup != NULL && steps[i].setup(server) != 0) {
            fprintf(stderr, "nicached: cannot start (%s): %s\n", steps[i].name, server->error.text);
            stop(server, i);
            return false;
        }
    }
    return true;
}

static enum exit_code serve(struct server *server)
{
    server->worker_count = (uint32_t)server->config->workers;
    CHECK(server->worker_count >= 1 && server->worker_count <= CONFIG_WORKERS_MAX);
    if (!start(server)) {
        return EXIT_CODE_START;
    }
    announce(stdout, server->config, server->interfaces, server->interface_count);
    log_notice("Ready to accept connections");
    control_run(server->control);
    stop(server, STEP_COUNT);
    puts("nicached has stopped.");
    return EXIT_CODE_OK;
}

int main(int argument_count, char **arguments)
{
    static struct server server;
    enum exit_code exit_code;
    if (command_line_handle(argument_count, arguments, &exit_code)) {
        return (int)exit_code;
    }
    server.config = config_create_default();
    if (server.config == NULL) {
        fputs("nicached: out of memory\n", stderr);
        return EXIT_CODE_START;
    }
    if (config_load(server.config, argument_count - 1, arguments + 1, &server.error) != 0) {
        fprintf(stderr, "nicached: %s\n", server.error.text);
        config_destroy(server.config);
        return EXIT_CODE_CONFIG;
    }
    exit_code = serve(&server);
    config_destroy(server.config); /* NULL when the control loop had it */
    return (int)exit_code;
}
