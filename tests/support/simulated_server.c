#include "tests/support/simulated_server.h"

#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/base/rcu.h"
#include "tests/support/simulated_host.h"

#define MAINTAIN_PASSES_MAX 10000

void simulated_server_setup_process(void)
{
    simulated_memory_setup();
    command_table_setup();
    rcu_thread_register();
}

void simulated_server_init(struct simulated_server *server)
{
    *server = (struct simulated_server){.core = NULL};
    struct shard_options options = {.metrics = &server->metrics};
    server->shard = shard_create(&options);
    CHECK(server->shard != NULL);
    server->config = config_create_default();
    CHECK(server->config != NULL);
    server->config->protected_mode = false;
    server->config_slot = server->config;
    server->all_metrics[0] = &server->metrics;
}

void simulated_server_start(struct simulated_server *server, const struct core_options *options)
{
    struct config_error error = {{0}};
    struct core_options all = *options;
    all.worker_count = 1;
    all.config_slot = &server->config_slot;
    all.shard = server->shard;
    all.all_shards = &server->shard;
    all.metrics = &server->metrics;
    all.all_metrics = server->all_metrics;
    all.status = &server->status;
    all.control_wake_fd = -1;
    all.error = &error;
    server->core = core_create(&all);
    if (server->core == NULL) {
        (void)fprintf(stderr, "core: %s\n", error.text);
        abort();
    }
}

void simulated_server_deinit(struct simulated_server *server, const struct instant *now)
{
    core_close_all(server->core, now);
    CHECK(metric_read(&server->metrics, METRIC_CONNECTIONS_CURRENT) == 0);
    core_destroy(server->core);
    for (int i = 0; i < MAINTAIN_PASSES_MAX && shard_maintain(server->shard, now); i++) {
    }
    shard_destroy(server->shard);
    config_destroy(server->config);
}

struct core_link simulated_server_link(uint8_t number, void *context)
{
    return (struct core_link){
        .context = context,
        .wait_fd = -1,
        .interface = {.mac = simulated_host_mac(number),
                      .address = simulated_host_address(number),
                      .prefix_length = 24,
                      .mtu = 1500},
    };
}
