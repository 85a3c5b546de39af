/* A core: putting its parts together and taking them apart. core.h has the contract. */
#include "dataplane/core/core_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/base/log.h"
#include "dataplane/base/rcu.h"

#define BYTE_PAGES_KEPT     4096U
#define CONVERSATIONS_FIRST 63U

static int fail(struct config_error *error, const char *what, int code)
{
    snprintf(error->text, sizeof(error->text), "%s: %s", what, strerror(-code));
    return code;
}

/* ---- kernel sockets -------------------------------------------------------------------------- */

static int listen_on(struct core *core, const struct address *address, int64_t port,
                     enum core_listener listener, struct config_error *error)
{
    if (port == 0) {
        return 0;
    }
    struct endpoint endpoint = {*address, (uint16_t)port};
    char text[ENDPOINT_TEXT_BYTES_MAX];
    endpoint_format(&endpoint, text);
    int code = 0;
    if (listener == LISTENER_MEMCACHE_UDP) {
        code = socket_open_udp(core->sockets, &endpoint, listener);
    } else {
        /* The first worker makes sure that we share the port with ourselves only. */
        code = core->options.number == 0 ? socket_probe_endpoint(&endpoint) : 0;
        code = code == 0 ? socket_listen(core->sockets, &endpoint, listener) : code;
    }
    return code == 0 ? 0 : fail(error, text, code);
}

static int open_sockets_of(struct core *core, const struct interface_config *interface,
                           struct config_error *error)
{
    const struct config *config = core->config;
    const struct address *address = &interface->addresses.at[0].address;
    int code = listen_on(core, address, config->port, LISTENER_RESP, error);
    if (code == 0) {
        code = listen_on(core, address, config->memcache_port, LISTENER_MEMCACHE, error);
    }
    if (code == 0) {
        code = listen_on(core, address, config->memcache_udp_port, LISTENER_MEMCACHE_UDP, error);
    }
    if (code == -EADDRNOTAVAIL && interface->optional) {
        log_warning("%s; it is optional: going on without it", error->text);
        return 0;
    }
    return code;
}

static int open_unix_socket(struct core *core, const char *path, int64_t mode,
                            enum core_listener listener, struct config_error *error)
{
    if (path[0] == '\0') {
        return 0;
    }
    int code = socket_listen_unix(core->sockets, path, (uint32_t)mode, listener);
    return code == 0 ? 0 : fail(error, path, code);
}

static int open_unix_sockets(struct core *core, struct config_error *error)
{
    const struct config *config = core->config;
    int code =
        open_unix_socket(core, config->unixsocket, config->unixsocketperm, LISTENER_RESP, error);
    return code != 0 ? code
                     : open_unix_socket(core, config->memcache_unixsocket,
                                        config->memcache_unixsocketperm, LISTENER_MEMCACHE, error);
}

static int open_sockets(struct core *core, struct config_error *error)
{
    for (uint32_t i = 0; i < core->options.interface_count; i++) {
        const struct interface_config *interface = &core->options.interfaces[i];
        int code =
            interface->driver == INTERFACE_SOCKET ? open_sockets_of(core, interface, error) : 0;
        if (code != 0) {
            return code;
        }
    }
    return core->options.number == 0 ? open_unix_sockets(core, error) : 0;
}

/* ---- the stack ------------------------------------------------------------------------------- */

/* A seed that was given is for tests and replays; otherwise nobody's numbers tell another's. */
static uint64_t seed_or_random(uint64_t seed)
{
    return seed != 0 ? seed : random_seed();
}

static void fill_tcp_options(struct core *core, struct tcp_options *options)
{
    const struct config *config = core->config;
    uint64_t seed = core->options.seed;
    tcp_default_options(options);
    options->net = core->net;
    options->pool = &core->bytes;
    options->metrics = core->metrics;
    options->access = core->options.access;
    options->keepalive_s = (uint32_t)config->tcp_keepalive;
    options->rto_min_ms = (uint32_t)config->tcp_rto_min;
    options->congestion = config->tcp_congestion_control == TCP_CONTROL_NEWRENO
                              ? TCP_CONGESTION_NEWRENO
                              : TCP_CONGESTION_CUBIC;
    options->half_open_max = (uint32_t)config->tcp_max_syn_backlog;
    options->time_wait_max = (uint32_t)config->tcp_max_tw_buckets;
    options->orphans_max = (uint32_t)config->tcp_max_orphans;
    options->segment_bytes_min = (uint32_t)config->tcp_min_snd_mss;
    options->seed = seed_or_random(seed);
    options->seed_more = seed_or_random(seed);
}

/* The link's interface, and those of its port's further VLANs. */
static bool add_interfaces(struct core *core, uint32_t link)
{
    const struct core_options *options = &core->options;
    struct net_interface *first =
        net_add_interface(core->net, &options->links[link].interface, &core->now);
    core->interfaces[link] = first;
    bool added = first != NULL;
    for (uint32_t i = 0; i < options->interface_count && added; i++) {
        struct net_interface vlan;
        if (core_vlan_interface(&options->links[link], &options->interfaces[i], &vlan)) {
            added = net_add_vlan(core->net, first, &vlan, &core->now) != NULL;
        }
    }
    return added;
}

static int create_stack(struct core *core, struct config_error *error)
{
    const struct core_options *options = &core->options;
    if (options->link_count == 0) {
        return 0;
    }
    uint64_t seed = options->seed;
    struct net_options net_options = {
        .pool = options->pool, .metrics = core->metrics, .seed = seed_or_random(seed)};
    core->net = net_create(&net_options);
    core->interfaces = calloc(options->link_count, sizeof(struct net_interface *));
    core->links = calloc(options->link_count, sizeof(struct core_link));
    if (core->net == NULL || core->interfaces == NULL || core->links == NULL) {
        return fail(error, "network stack", -ENOMEM);
    }
    memcpy(core->links, options->links, options->link_count * sizeof(struct core_link));
    core_describe_links(core);
    for (uint32_t i = 0; i < options->link_count; i++) {
        if (!add_interfaces(core, i)) {
            return fail(error, "network stack", -ENOMEM);
        }
    }

    struct tcp_options tcp_options;
    fill_tcp_options(core, &tcp_options);
    core->tcp = tcp_create(&tcp_options);
    core->udp = udp_create(core->net, core->metrics);
    if (core->tcp == NULL || core->udp == NULL) {
        return fail(error, "network stack", -ENOMEM);
    }
    udp_set_access(core->udp, core->options.access);
    return 0;
}

static int listen_on_stack(struct core *core, struct config_error *error)
{
    const struct config *config = core->config;
    int code = 0;
    if (core->tcp == NULL) {
        return 0;
    }
    if (config->port != 0) {
        code = tcp_listen(core->tcp, (uint16_t)config->port, LISTENER_RESP);
    }
    if (code == 0 && config->memcache_port != 0) {
        code = tcp_listen(core->tcp, (uint16_t)config->memcache_port, LISTENER_MEMCACHE);
    }
    if (code == 0 && config->memcache_udp_port != 0) {
        code = udp_listen(core->udp, (uint16_t)config->memcache_udp_port, LISTENER_MEMCACHE_UDP);
    }
    return code == 0 ? 0 : fail(error, "port and memcache-port", code);
}

/* ---- create, destroy ------------------------------------------------------------------------- */

static int create_datagrams(struct core *core)
{
    if (core->config->memcache_udp_port != 0) {
        core->datagram_parts = datagram_parts_create(core->metrics);
    }
    return core->config->memcache_udp_port != 0 && core->datagram_parts == NULL ? -ENOMEM : 0;
}

static int create_context(struct core *core)
{
    const struct core_options *options = &core->options;
    struct command_context *context = command_context_create();
    if (context == NULL) {
        return -ENOMEM;
    }
    core->context = context;
    context->shard = options->shard;
    context->config = core->config;
    context->metrics = options->metrics;
    context->all_metrics = options->all_metrics;
    context->all_shards = options->all_shards;
    context->worker = options->number;
    context->worker_count = options->worker_count;
    context->clients = &core->clients;
    context->status = options->status;
    memcache_observers_keep_detail(context->observers, core->config->memcache_detail);
    context->random_state = options->seed != 0 ? options->seed : random_seed();
    return 0;
}

static int create_sockets(struct core *core, struct config_error *error)
{
    struct socket_options options = {
        .pool = &core->bytes,
        .metrics = core->metrics,
        .access = core->options.access,
        .backlog = (uint32_t)core->config->tcp_backlog,
        .keepalive_s = (uint32_t)core->config->tcp_keepalive,
        .hands_out_unix = core->options.worker_count > 1,
    };
    core->sockets = socket_transport_create(&options);
    core->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (core->sockets == NULL || core->wake_fd < 0) {
        return fail(error, "epoll", -errno);
    }
    int code = socket_watch(core->sockets, core->wake_fd);
    for (uint32_t i = 0; code == 0 && i < core->options.link_count; i++) {
        if (core->links[i].wait_fd >= 0) {
            code = socket_watch(core->sockets, core->links[i].wait_fd);
        }
    }
    return code == 0 ? open_sockets(core, error) : fail(error, "epoll", code);
}

struct core *core_create(const struct core_options *options)
{
    struct config_error *error = options->error;
    struct core *core = calloc(1, sizeof(*core));
    if (core == NULL) {
        fail(error, "core", -ENOMEM);
        return NULL;
    }
    core->options = *options;
    core->config = RCU_READ(options->config_slot);
    core->shard = options->shard;
    core->metrics = options->metrics;
    core->now = *options->now;
    core->wake_fd = -1;
    core_stages_init(&core->stages);
    byte_pool_init(&core->bytes, BYTE_PAGES_KEPT);
    core_init_deferred(core);
    object_pool_init(&core->conversations, sizeof(struct conversation), CONVERSATIONS_FIRST);
    client_registry_init(&core->clients, options->number, options->worker_count);
    core->datagram_client =
        (struct client){.kind = CLIENT_MEMCACHE_UDP, .authenticated = true, .socket_fd = -1};
    memcache_parser_init(&core->datagram_parser);

    int code = core_peers_create(core);
    if (code == 0) {
        code = create_context(core);
    }
    if (code == 0) {
        code = create_datagrams(core);
    }
    if (code != 0) {
        fail(error, "command tables", code);
    } else if ((code = create_stack(core, error)) == 0 &&
               (code = listen_on_stack(core, error)) == 0) {
        code = create_sockets(core, error);
    }
    if (code != 0) {
        core_destroy(core);
        return NULL;
    }
    return core;
}

void core_destroy(struct core *core)
{
    core_forget_all(core);
    if (core->sockets != NULL) {
        socket_transport_close_all(core->sockets);
        socket_transport_destroy(core->sockets);
    }
    if (core->wake_fd >= 0) {
        close(core->wake_fd);
    }
    if (core->tcp != NULL) {
        tcp_destroy(core->tcp);
    }
    if (core->udp != NULL) {
        udp_destroy(core->udp);
    }
    if (core->net != NULL) {
        net_destroy(core->net);
    }
    free(core->interfaces);
    free(core->links);
    if (core->context != NULL) {
        command_context_destroy(core->context);
    }
    memcache_parser_deinit(&core->datagram_parser);
    datagram_guard_deinit(&core->datagram_guard);
    datagram_parts_destroy(core->datagram_parts);
    object_pool_deinit(&core->conversations);
    core_free_parsers(core);
    core_destroy_errands(core);
    core_peers_destroy(core);
    byte_queue_clear(&core->datagram_reply, &core->bytes);
    byte_pool_deinit(&core->bytes);
    free(core);
}

void cores_join(struct core *const *cores, uint32_t count)
{
    CHECK(count > 0 && count <= CONFIG_WORKERS_MAX);
    struct command_context **contexts = cores[0]->contexts;
    for (uint32_t i = 0; i < count; i++) {
        CHECK(cores[i]->options.number == i && cores[i]->options.worker_count == count);
        cores[i]->peers = cores;
        contexts[i] = cores[i]->context;
    }
    command_contexts_join(contexts, count);
}

void core_wake(struct core *core)
{
    uint64_t one = 1;
    ssize_t written = write(core->wake_fd, &one, sizeof(one));
    (void)written; /* full: it is awake already */
}

void core_request_stop(struct core *core)
{
    __atomic_store_n(&core->stop_requested, true, __ATOMIC_RELEASE);
    core_wake(core);
}
