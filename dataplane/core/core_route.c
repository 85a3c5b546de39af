/* Which way a request goes: what it needs of which shards.
 *
 *   nothing                                     ROUTE_HERE     it runs
 *   the own shard                               ROUTE_OWN      it runs
 *   reads strings, wherever they are            ROUTE_SHARED   it reads them under RCU
 *   changes the shard of one other worker       ROUTE_OWNER    it travels there
 *   several shards                              ROUTE_LEASE    it takes their leases
 *   every worker's connections                  ROUTE_ROUND    it visits them all
 *
 * With one worker nobody asks. Pure: depends on the request and the number of workers only.
 */
#include "dataplane/base/check.h"
#include "dataplane/core/core_internal.h"

static inline void add_key(struct route *route, const struct core *core, const struct key *key)
{
    uint32_t owner = key_owner(key, core->options.worker_count);
    route->several |= route->has_shard && owner != route->owner;
    route->has_shard = true;
    route->owner = owner;
    shard_set_add(&route->shards, owner);
}

static void add_all_shards(struct route *route, const struct core *core)
{
    for (uint32_t i = 0; i < core->options.worker_count; i++) {
        shard_set_add(&route->shards, i);
    }
}

static inline enum route_kind kind_of_keys(const struct route *route, const struct core *core,
                                           bool only_reads)
{
    bool own = route->owner == core->options.number;
    if (!route->has_shard) {
        return ROUTE_HERE;
    }
    if (!route->several && own) {
        return ROUTE_OWN;
    }
    if (only_reads) {
        return ROUTE_SHARED;
    }
    return route->several ? ROUTE_LEASE : ROUTE_OWNER;
}

/* Most requests are about one key. */
static inline void route_only_key(struct route *route, const struct core *core,
                                  const struct key *key, bool only_reads)
{
    add_key(route, core, key);
    route->only_reads = only_reads;
    route->kind = kind_of_keys(route, core, only_reads);
}

static void route_resp(const struct core *core, struct batch_entry *entry)
{
    struct route *route = &entry->route;
    const struct command *command = entry->resp.command;
    uint32_t count = entry->resp.argument_count;
    if (command == NULL || !command_arity_fits(command, count)) {
        return;
    }
    if ((command->flags & (COMMAND_ALL_SHARDS | COMMAND_ALL_WORKERS)) != 0) {
        add_all_shards(route, core);
        route->kind = (command->flags & COMMAND_ALL_SHARDS) != 0 ? ROUTE_LEASE : ROUTE_ROUND;
        return;
    }
    bool only_reads = (command->flags & COMMAND_READONLY) != 0;
    if (LIKELY(command_has_one_key(command) && entry->resp.has_key)) {
        route_only_key(route, core, entry->keys, only_reads);
        return;
    }
    uint32_t key_count = command_key_count(command, count);
    if (key_count > 0 && entry->resp.has_key) {
        add_key(route, core, entry->keys);
    }
    for (uint32_t i = 1; i < key_count; i++) {
        struct key key = command_key_at(command, entry->resp.arguments, i);
        add_key(route, core, &key);
    }
    route->only_reads = only_reads;
    route->kind = kind_of_keys(route, core, only_reads);
}

static void route_memcache(const struct core *core, struct batch_entry *entry)
{
    struct route *route = &entry->route;
    const struct memcache_request *request = &entry->memcache.request;
    if (LIKELY(request->key_count == 1)) {
        route_only_key(route, core, entry->keys, memcache_only_reads(request));
        return;
    }
    if (request->verb == MEMCACHE_FLUSH_ALL) {
        add_all_shards(route, core);
        route->kind = ROUTE_LEASE;
        return;
    }
    if (memcache_visits_workers(request)) {
        add_all_shards(route, core);
        route->kind = ROUTE_ROUND;
        return;
    }
    for (uint32_t i = 0; i < request->key_count; i++) {
        add_key(route, core, &entry->keys[i]);
    }
    route->only_reads = memcache_only_reads(request);
    route->kind = kind_of_keys(route, core, route->only_reads);
}

/* ---- values that are still arriving ---------------------------------------------------------- */

static bool find_resp_key(const struct resp_parser *parser, struct slice input, struct slice *key)
{
    struct slice name[2];
    uint32_t count = parser->argument_count, words = count < 2 ? count : 2, index;
    for (uint32_t i = 0; i < words; i++) {
        name[i] = resp_parser_argument(parser, input, i);
    }
    const struct command *command = words > 0 ? command_find(name, words) : NULL;
    if (command == NULL || (command->flags & COMMAND_WRITE) == 0 ||
        !command_key_before(command, parser->arguments_expected, count, &index)) {
        return false;
    }
    *key = resp_parser_argument(parser, input, index);
    return true;
}

uint32_t core_owner_of_bulk(const struct core *core, const struct conversation *conversation)
{
    const struct session *session = &conversation->session;
    struct slice input = slice_from(session->view, session->parsed), bytes;
    if (core->options.worker_count == 1) {
        return core->options.number;
    }
    if (conversation->speaks_binary) {
        bytes = memcache_binary_awaited_key(&conversation->parser->memcache_binary, input);
    } else if (conversation->client.kind == CLIENT_MEMCACHE) {
        bytes = memcache_parser_key(&conversation->parser->memcache, input);
    } else if (!find_resp_key(&conversation->parser->resp, input, &bytes)) {
        return core->options.number;
    }
    struct key key = key_hashed(bytes);
    return key_owner(&key, core->options.worker_count);
}

/* ---- requests -------------------------------------------------------------------------------- */

void core_route_entry(const struct core *core, struct batch_entry *entry)
{
    entry->route = (struct route){.kind = ROUTE_HERE};
    switch (entry->kind) {
    case ENTRY_RESP: route_resp(core, entry); break;
    case ENTRY_MEMCACHE: route_memcache(core, entry); break;
    case ENTRY_ERROR: break;
    }
}
