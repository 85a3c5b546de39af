/* A server for tests: one core, with a shard, a configuration and counters of its own, in the
 * test's thread and at the test's time.
 *
 *   simulated_server_init     everything but the core; the configuration may still be changed
 *   simulated_server_start    the core, over links or kernel sockets as the options say
 *   core_pass ...
 *   simulated_server_deinit   closes every connection; nothing may be left
 *
 * simulated_memory_setup must have been called, command_table_setup too, and the thread must be
 * registered with RCU: simulated_server_setup_process does all three.
 */
#ifndef NICACHED_TESTS_SUPPORT_SIMULATED_SERVER_H
#define NICACHED_TESTS_SUPPORT_SIMULATED_SERVER_H

#include "dataplane/core/core.h"

#define SIMULATED_WORKERS_MAX 2

struct simulated_server {
    struct metrics metrics;
    const struct metrics *all_metrics[SIMULATED_WORKERS_MAX];
    struct shard *shard;
    struct config *config; /* may be changed between passes */
    const struct config *config_slot;
    struct control_status status;
    struct core *core;
    /* A second worker without links, where there is one. */
    uint32_t worker_count;
    struct shard *shards[SIMULATED_WORKERS_MAX];
    struct metrics peer_metrics;
    struct core *cores[SIMULATED_WORKERS_MAX];
    struct channel *to_peers[SIMULATED_WORKERS_MAX][SIMULATED_WORKERS_MAX];
    struct channel *from_peers[SIMULATED_WORKERS_MAX][SIMULATED_WORKERS_MAX];
};

void simulated_server_setup_process(void);

void simulated_server_init(struct simulated_server *server);
/* With a second worker, whose core is cores[1]: whoever calls core_pass calls it for both. */
void simulated_server_init_pair(struct simulated_server *server);
/* `options` says what is the test's own: links, pool, channels, interfaces, seed, now. */
void simulated_server_start(struct simulated_server *server, const struct core_options *options);
void simulated_server_deinit(struct simulated_server *server, const struct instant *now);

/* The link to `context`: MAC and address of host `number`, as simulated_host_init has them. */
struct core_link simulated_server_link(uint8_t number, void *context);

#endif
