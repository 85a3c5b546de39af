#include "tests/support/simulated_server.h"

#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/base/rcu.h"
#include "dataplane/channel/channel.h"
#include "tests/support/simulated_host.h"
#include "tests/support/tested_index.h"

#define MAINTAIN_PASSES_MAX 10000

void simulated_server_setup_process(void)
{
    simulated_memory_setup();
    command_table_setup();
    rcu_thread_register();
}

static struct shard *create_shard(struct simulated_server *server, uint32_t number,
                                  struct metrics *metrics)
{
    struct shard_options options = {.number = number, .index = tested_index(), .metrics = metrics};
    struct shard *shard = shard_create(&options);
    CHECK(shard != NULL);
    server->shards[number] = shard;
    server->all_metrics[number] = metrics;
    return shard;
}

void simulated_server_init_pair(struct simulated_server *server)
{
    simulated_server_init(server);
    server->worker_count = 2;
    (void)create_shard(server, 1, &server->peer_metrics);
    for (uint32_t from = 0; from < 2; from++) {
        struct channel *channel = channel_create(256);
        CHECK(channel != NULL);
        server->to_peers[from][1 - from] = server->from_peers[1 - from][from] = channel;
    }
}

void simulated_server_init(struct simulated_server *server)
{
    *server = (struct simulated_server){.worker_count = 1};
    server->shard = create_shard(server, 0, &server->metrics);
    server->config = config_create_default();
    CHECK(server->config != NULL);
    server->config->protected_mode = false;
    server->config_slot = server->config;
}

static struct core *create_core(struct simulated_server *server, const struct core_options *options,
                                uint32_t number, struct metrics *metrics)
{
    struct config_error error = {{0}};
    struct core_options all = *options;
    all.number = number;
    all.worker_count = server->worker_count;
    all.config_slot = &server->config_slot;
    all.shard = server->shards[number];
    all.all_shards = server->shards;
    all.metrics = metrics;
    all.to_peers = server->to_peers[number];
    all.from_peers = server->from_peers[number];
    all.all_metrics = server->all_metrics;
    all.status = &server->status;
    all.control_wake_fd = -1;
    all.error = &error;
    struct core *core = core_create(&all);
    if (core == NULL) {
        (void)fprintf(stderr, "core: %s\n", error.text);
        abort();
    }
    server->cores[number] = core;
    return core;
}

void simulated_server_start(struct simulated_server *server, const struct core_options *options)
{
    server->core = create_core(server, options, 0, &server->metrics);
    if (server->worker_count == 2) {
        struct core_options peer = {.seed = options->seed, .now = options->now};
        (void)create_core(server, &peer, 1, &server->peer_metrics);
        cores_join(server->cores, 2);
    }
}

void simulated_server_deinit(struct simulated_server *server, const struct instant *now)
{
    for (uint32_t i = 0; i < server->worker_count; i++) {
        core_close_all(server->cores[i], now);
        CHECK(metric_read(server->all_metrics[i], METRIC_CONNECTIONS_CURRENT) == 0);
    }
    for (uint32_t i = 0; i < server->worker_count; i++) {
        core_destroy(server->cores[i]);
    }
    for (uint32_t i = 0; i < server->worker_count; i++) {
        for (int j = 0; j < MAINTAIN_PASSES_MAX && shard_maintain(server->shards[i], now); j++) {
        }
        shard_destroy(server->shards[i]);
        channel_destroy(server->to_peers[i][server->worker_count - 1 - i]);
    }
    config_destroy(server->config);
}

struct core_link simulated_server_link(uint8_t number, void *context)
{
    return (struct core_link){
        .context = context,
        .wait_fd = -1,
        .interface = {.mac = simulated_host_mac(number),
                      .addresses = simulated_host_addresses(number),
                      .mtu = 1500},
    };
}
