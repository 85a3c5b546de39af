/* See fake_parts.h. Behaviour is chosen by environment variables, because the process test starts a
 * whole program:
 *   FAKE_FAIL=name        the part of this name refuses to start
 *   FAKE_SHUTDOWN=1       the core asks for a CONFIG SET, waits for it, then for a SHUTDOWN
 * Every part prints "+name" when it comes up and "-name" when it goes, so that a test sees the
 * order.
 */
#include "tests/unit/control/fake_parts.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control/eviction/eviction.h"
#include "dataplane/base/check.h"
#include "dataplane/base/rcu.h"
#include "dataplane/channel/channel.h"
#include "dataplane/core/core.h"
#include "dataplane/core/core_distributor.h"
#include "dataplane/core/core_exception.h"
#include "dataplane/store/reclaimer.h"
#include "dataplane/store/shard.h"
#include "drivers/dma.h"
#include "drivers/port.h"
#include "drivers/port_rss.h"

int fake_request_count;

static void trace(const char *text)
{
    if (getenv("FAKE_TRACE") != NULL) {
        puts(text);
        fflush(stdout);
    }
}

static bool fails(const char *name)
{
    const char *wanted = getenv("FAKE_FAIL");
    return wanted != NULL && strcmp(wanted, name) == 0;
}

/* ---- commands ----------------------------------------------------------------------------------
 */

void command_table_setup(void)
{
    trace("+command_table");
}

void command_print_reference(FILE *to)
{
    fputs("the page of all commands\n", to);
}

struct control_request *fake_request(enum control_request_type type, uint32_t argument_count,
                                     const char *const *arguments)
{
    struct control_request *request = calloc(1, sizeof(*request));
    CHECK(request != NULL);
    request->type = type;
    request->argument_count = argument_count;
    request->arguments = calloc(argument_count + 1, sizeof(char *));
    CHECK(request->arguments != NULL);
    for (uint32_t i = 0; i < argument_count; i++) {
        request->arguments[i] = strdup(arguments[i]);
    }
    __atomic_add_fetch(&fake_request_count, 1, __ATOMIC_RELAXED);
    return request;
}

void control_request_destroy(struct control_request *request)
{
    for (uint32_t i = 0; i < request->argument_count; i++) {
        free(request->arguments[i]);
    }
    free(request->arguments);
    free(request);
    __atomic_sub_fetch(&fake_request_count, 1, __ATOMIC_RELAXED);
}

/* ---- drivers -----------------------------------------------------------------------------------
 */

int eal_setup(const struct eal_options *options, struct config_error *error)
{
    if (fails("eal")) {
        snprintf(error->text, sizeof(error->text), "EAL: refused by the test");
        return -ENOMEM;
    }
    CHECK(options->memory_bytes >= 64U << 20);
    trace("+eal");
    return 0;
}

void eal_teardown(void)
{
    trace("-eal");
}

bool eal_uses_hugepages(void)
{
    return false;
}

int eal_thread_register(void)
{
    return fails("thread") ? -ENOMEM : 0;
}

void eal_thread_unregister(void)
{
}

struct rte_mempool *port_create_packet_pool(uint32_t workers, uint32_t ports, uint16_t mtu)
{
    (void)workers;
    (void)ports;
    (void)mtu;
    trace("+pool");
    static int pool;
    return fails("pool") ? NULL : (struct rte_mempool *)(void *)&pool;
}

/* Shadows DPDK's: the pool above is none. */
void rte_mempool_free(struct rte_mempool *pool)
{
    if (pool != NULL) {
        trace("-pool");
    }
}

int port_setup(struct port *port, const struct interface_config *config, uint32_t queue_count,
               struct port_rss *rss, struct rte_mempool *pool, struct config_error *error)
{
    (void)queue_count;
    CHECK(pool != NULL);
    if (fails(config->name)) {
        snprintf(error->text, sizeof(error->text), "interface %s: refused by the test",
                 config->name);
        return -EPERM;
    }
    port->config = *config;
    trace("+port");
    return 0;
}

int port_setup_exception(struct port *tap, const char *tap_name, const struct port *beside,
                         struct rte_mempool *pool, struct config_error *error)
{
    (void)beside;
    (void)error;
    CHECK(pool != NULL);
    tap->config.exception_tap[0] = tap_name[0]; /* it is set up */
    trace("+tap");
    return 0;
}

void port_watch_link(struct port *port)
{
}

bool dma_map(void *address, uint64_t bytes)
{
    return false;
}

void dma_unmap(void *address, uint64_t bytes)
{
}

/* A TAP that was never set up is taken down, too. */
void port_teardown(struct port *port)
{
    if (port->config.name[0] != '\0') {
        trace("-port");
    } else if (port->config.exception_tap[0] != '\0') {
        trace("-tap");
    }
}

/* ---- store -------------------------------------------------------------------------------------
 */

struct shard {
    int unused;
};

struct shard *shard_create(const struct shard_options *options)
{
    CHECK(options->to_reclaimer != NULL);
    trace("+shard");
    return fails("shard") ? NULL : calloc(1, sizeof(struct shard));
}

void shard_clear(struct shard *shard)
{
    (void)shard;
}

void shard_destroy(struct shard *shard)
{
    trace("-shard");
    free(shard);
}

struct reclaimer {
    int unused;
};

struct reclaimer *reclaimer_create(struct channel **from, struct channel **to, uint32_t count)
{
    CHECK(from[0] != NULL && to[0] != NULL && count > 0);
    trace("+reclaimer");
    return fails("reclaimer") ? NULL : calloc(1, sizeof(struct reclaimer));
}

void reclaimer_destroy(struct reclaimer *reclaimer)
{
    trace("-reclaimer");
    free(reclaimer);
}

/* ---- eviction: nothing ever goes ----------------------------------------------------------- */

struct eviction {
    int unused;
};

struct eviction *eviction_create(const struct eviction_links *links)
{
    CHECK(links->count > 0 && links->shards[0] != NULL && links->to[0] != NULL);
    trace("+eviction");
    return fails("eviction") ? NULL : calloc(1, sizeof(struct eviction));
}

void eviction_destroy(struct eviction *eviction)
{
    if (eviction != NULL) {
        trace("-eviction");
        free(eviction);
    }
}

void eviction_take_back(struct eviction *eviction, uint32_t worker, struct eviction_batch *batch)
{
    CHECK(false);
}

uint32_t eviction_run(struct eviction *eviction, const struct config *config,
                      const struct instant *now)
{
    return EVICTION_REST_MS;
}

/* ---- core --------------------------------------------------------------------------------------
 */

struct core {
    struct core_options options;
    int wake_fd;
    int stop;
};

struct core *core_create(const struct core_options *options)
{
    if (fails("core")) {
        snprintf(options->error->text, sizeof(options->error->text), "core: refused by the test");
        return NULL;
    }
    struct core *core = calloc(1, sizeof(*core));
    CHECK(core != NULL);
    core->options = *options;
    core->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(core->wake_fd >= 0);
    trace("+core");
    return core;
}

/* Sends, sleeps RCU-offline until the answer is there, as a core in adaptive mode does. */
static void ask(struct core *core, struct control_request *request)
{
    struct message message = {.type = MESSAGE_CONTROL_REQUEST, .pointer = request};
    uint64_t one = 1;
    CHECK(channel_send(core->options.to_control, &message));
    CHECK(write(core->options.control_wake_fd, &one, sizeof(one)) == sizeof(one));
    rcu_thread_offline();
    while (channel_receive_burst(core->options.from_control, &message, 1) == 0) {
        struct pollfd fd = {core->wake_fd, POLLIN, 0};
        poll(&fd, 1, 1000);
    }
    rcu_thread_online();
    CHECK(message.type == MESSAGE_CONTROL_REPLY && message.pointer == request);
}

static void ask_for_shutdown(struct core *core)
{
    static const char *const pair[] = {"maxmemory", "1mb"};
    struct control_request *request = fake_request(CONTROL_CONFIG_SET, 2, pair);
    CHECK(RCU_READ(core->options.config_slot)->maxmemory == 0);
    ask(core, request);
    CHECK(request->error[0] == '\0');
    CHECK(RCU_READ(core->options.config_slot)->maxmemory == 1 << 20);
    control_request_destroy(request);
    /* Nobody takes this answer: it must not leak. */
    struct message message = {.type = MESSAGE_CONTROL_REQUEST,
                              .pointer = fake_request(CONTROL_SHUTDOWN, 0, NULL)};
    CHECK(channel_send(core->options.to_control, &message));
}

void core_run(struct core *core)
{
    trace("+run");
    if (getenv("FAKE_SHUTDOWN") != NULL) {
        ask_for_shutdown(core);
    }
    while (__atomic_load_n(&core->stop, __ATOMIC_ACQUIRE) == 0) {
        struct pollfd fd = {core->wake_fd, POLLIN, 0};
        rcu_quiescent();
        rcu_thread_offline();
        poll(&fd, 1, 1000);
        rcu_thread_online();
    }
    trace("-run");
}

void core_wake(struct core *core)
{
    uint64_t one = 1;
    CHECK(write(core->wake_fd, &one, sizeof(one)) == sizeof(one));
}

void core_request_stop(struct core *core)
{
    __atomic_store_n(&core->stop, 1, __ATOMIC_RELEASE);
    core_wake(core);
}

void cores_join(struct core *const *cores, uint32_t count)
{
}

void core_destroy(struct core *core)
{
    trace("-core");
    close(core->wake_fd);
    free(core);
}

void core_wake_if_asleep(struct core *core)
{
    core_wake(core);
}

uint64_t port_packet_pool_bytes(uint32_t workers, uint32_t ports, uint16_t mtu)
{
    (void)mtu;
    return (uint64_t)workers * ports;
}

void port_rss_init_random(struct port_rss *rss)
{
    (void)rss;
}

struct exception {
    int unused;
};

struct exception *exception_create(const struct exception_options *options)
{
    static struct exception only;
    CHECK(options->queue_count <= 1);
    trace("+exception");
    return &only;
}

void exception_destroy(struct exception *exception)
{
    if (exception != NULL) {
        trace("-exception");
    }
}

void exception_link(struct exception *exception, uint32_t queue, struct core_link *link)
{
    (void)exception;
    (void)queue;
    (void)link;
}

/* Several workers are tried with the real parts, by tests/integration. */
struct distributor *distributor_create(const struct distributor_options *options)
{
    (void)options;
    return NULL;
}

void distributor_flush(struct distributor *distributor)
{
    (void)distributor;
}

void distributor_destroy(struct distributor *distributor)
{
    (void)distributor;
}

void distributor_link(struct distributor *distributor, uint32_t worker, struct core_link *link)
{
    (void)distributor;
    (void)worker;
    (void)link;
}

void core_link_to_port(struct core_link *link, struct port *port, uint32_t number)
{
    *link = (struct core_link){.context = port, .queue = (uint16_t)number, .wait_fd = -1};
}
