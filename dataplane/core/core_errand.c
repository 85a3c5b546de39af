/* Errands: see core_errand.h.
 *
 *   home                        stops (owners, ascending)                home
 *   core_send_errand ---------> core_take_errand ... -----------------> core_take_errand_home
 *     copy, block                 RUN: run, or wait for the shard         deliver
 *                                 BLOB: allocate, or wait                 go on receiving
 *                                 LEASE: lend, or wait for the shard      run the passengers, give
 *                                                                         back, deliver
 *                                 ROUND: collect                          run, deliver
 *   core_send_events                EVENTS: write to watchers               the next may go
 */
#include "dataplane/core/core_errand.h"

#include <stdlib.h>

#include "dataplane/base/check.h"

#define ERRAND_BYTES_KEPT 65536U /* a larger buffer is not kept for the next request */
#define ERRAND_PAGES_KEPT 1U
#define PASSENGERS_MAX    64U /* that run with one lease: what others wait for is bounded */

/* ---- lists ----------------------------------------------------------------------------------- */

static void push(struct errand_list *list, struct errand *errand)
{
    errand->next = NULL;
    if (list->last == NULL) {
        list->first = errand;
    } else {
        list->last->next = errand;
    }
    list->last = errand;
}

static struct errand *pop(struct errand_list *list)
{
    struct errand *errand = list->first;
    if (errand != NULL) {
        list->first = errand->next;
        if (list->first == NULL) {
            list->last = NULL;
        }
    }
    return errand;
}

/* ---- life ------------------------------------------------------------------------------------ */

static struct errand *acquire_errand(struct core *core)
{
    struct errand *errand = core->free_errands;
    if (errand != NULL) {
        core->free_errands = errand->next;
        return errand;
    }
    errand = calloc(1, sizeof(*errand));
    CHECK(errand != NULL);
    errand->home = core->options.number;
    byte_pool_init(&errand->pool, ERRAND_PAGES_KEPT);
    errand->made_next = core->errands;
    core->errands = errand;
    return errand;
}

static void empty_errand(struct errand *errand)
{
    while (errand->blob_count > 0) {
        blob_release(errand->blobs[--errand->blob_count]);
    }
    byte_queue_clear(&errand->reply, &errand->pool);
    byte_queue_clear(&errand->collected.text, &errand->pool);
    if (errand->for_datagram && errand->datagram.packet != NULL) {
        udp_release(&errand->packet);
    }
    errand->for_datagram = false;
    errand->conversation = NULL;
    if (errand->byte_capacity > ERRAND_BYTES_KEPT) {
        free(errand->bytes);
        errand->bytes = NULL;
        errand->byte_capacity = 0;
    }
}

static void release_errand(struct core *core, struct errand *errand)
{
    core->datagrams_away -= errand->for_datagram;
    empty_errand(errand);
    errand->next = core->free_errands;
    core->free_errands = errand;
}

void core_destroy_errands(struct core *core)
{
    while (core->errands != NULL) {
        struct errand *errand = core->errands;
        core->errands = errand->made_next;
        empty_errand(errand);
        byte_pool_deinit(&errand->pool);
        free(errand->arguments);
        free(errand->keys);
        free(errand->bytes);
        free(errand->blobs);
        free(errand);
    }
}

/* ---- copying a request ----------------------------------------------------------------------- */

static void *grown(void *array, uint32_t *capacity, uint32_t count, size_t size)
{
    if (count <= *capacity) {
        return array;
    }
    *capacity = count;
    array = realloc(array, count * size);
    CHECK(array != NULL);
    return array;
}

/* The session keeps large arguments in blobs of their own: they are shared, not copied. */
static bool is_in_blob(const struct errand *errand, struct slice bytes)
{
    for (uint32_t i = 0; i < errand->blob_count; i++) {
        if (bytes.data == errand->blobs[i]->bytes) {
            return true;
        }
    }
    return false;
}

static void reserve_blobs(struct errand *errand, uint32_t count)
{
    errand->blobs = grown(errand->blobs, &errand->blob_capacity, count, sizeof(struct blob *));
}

static void share_blobs(struct errand *errand, const struct conversation *conversation)
{
    uint32_t count = conversation != NULL ? conversation->blob_count : 0;
    reserve_blobs(errand, count);
    for (uint32_t i = 0; i < count; i++) {
        errand->blobs[i] = conversation->blobs[i];
        blob_acquire(errand->blobs[i]);
    }
    errand->blob_count = count;
}

static size_t copied_bytes(const struct errand *errand, const struct slice *slices, uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += is_in_blob(errand, slices[i]) ? 0 : slices[i].size;
    }
    return bytes;
}

static void reserve_bytes(struct errand *errand, size_t bytes)
{
    if (bytes > errand->byte_capacity) {
        free(errand->bytes);
        errand->bytes = malloc(bytes);
        CHECK(errand->bytes != NULL);
        errand->byte_capacity = bytes;
    }
}

static struct slice copy_slice(const struct errand *errand, struct slice from, size_t *used)
{
    if (from.size == 0 || is_in_blob(errand, from)) {
        return from;
    }
    uint8_t *to = errand->bytes + *used;
    memcpy(to, from.data, from.size);
    *used += from.size;
    return slice_of(to, from.size);
}

static void copy_arguments(struct errand *errand, const struct slice *from, uint32_t count,
                           size_t *used)
{
    errand->arguments =
        grown(errand->arguments, &errand->argument_capacity, count, sizeof(struct slice));
    for (uint32_t i = 0; i < count; i++) {
        errand->arguments[i] = copy_slice(errand, from[i], used);
    }
    errand->argument_count = count;
}

static void copy_resp(struct errand *errand, const struct batch_entry *entry)
{
    size_t used = 0;
    uint32_t count = entry->resp.argument_count;
    reserve_bytes(errand, copied_bytes(errand, entry->resp.arguments, count));
    copy_arguments(errand, entry->resp.arguments, count, &used);
    errand->command = entry->resp.command;
    errand->writes = (errand->command->flags & COMMAND_WRITE) != 0;
    errand->has_key = entry->resp.has_key;
    if (errand->has_key) {
        errand->first_key =
            key_of(errand->arguments[errand->command->first_key], entry->resp.key.hash);
    }
}

static void copy_memcache(struct errand *errand, const struct batch_entry *entry)
{
    const struct memcache_request *request = &entry->memcache.request;
    size_t used = 0;
    uint32_t count = request->key_count;
    reserve_bytes(errand, copied_bytes(errand, request->keys, count) +
                              copied_bytes(errand, &request->value, 1) + request->arguments.size);
    copy_arguments(errand, request->keys, count, &used);
    errand->keys = grown(errand->keys, &errand->key_capacity, count, sizeof(struct key));
    for (uint32_t i = 0; i < count; i++) {
        errand->keys[i] = key_of(errand->arguments[i], entry->memcache.keys[i].hash);
    }
    errand->command = NULL;
    errand->writes = true;
    errand->memcache = *request;
    errand->memcache.keys = errand->arguments;
    errand->memcache.value = copy_slice(errand, request->value, &used);
    errand->memcache.arguments = copy_slice(errand, request->arguments, &used);
}

/* The large value is the last blob; which argument shows it. */
static void note_large_value(struct errand *errand)
{
    errand->large_value = errand->blob_count > 0 ? errand->blobs[errand->blob_count - 1] : NULL;
    errand->large_value_index = 0;
    for (uint32_t i = errand->argument_count; errand->large_value != NULL && i > 0; i--) {
        if (errand->arguments[i - 1].data == errand->large_value->bytes) {
            errand->large_value_index = i - 1;
            return;
        }
    }
}

static void copy_client(struct errand *errand, const struct client *client)
{
    errand->client = *client;
    errand->client.name = errand->client.library_name = errand->client.library_version = NULL;
    errand->client.next = errand->client.previous = NULL;
    errand->client.reply_mode = CLIENT_REPLY_ON; /* decided at home */
}

/* Takes the datagram over: its packet is not freed with the others of this pass. */
static void keep_datagram(struct errand *errand, struct core_datagram *datagram)
{
    errand->for_datagram = true;
    errand->datagram = *datagram;
    if (datagram->packet != NULL) {
        errand->packet = *datagram->packet;
        datagram->packet->ip.mbuf = NULL;
        errand->datagram.packet = &errand->packet;
    } else {
        errand->from_socket = *datagram->from_socket;
        errand->datagram.from_socket = &errand->from_socket;
    }
}

static void block_conversation(struct errand *errand, struct conversation *conversation)
{
    errand->conversation = conversation;
    conversation->errand = errand;
    session_block(&conversation->session, SESSION_AWAITS_REPLY);
}

static void copy_request(struct core *core, struct errand *errand, const struct batch_entry *entry)
{
    share_blobs(errand, entry->conversation);
    if (entry->kind == ENTRY_RESP) {
        copy_resp(errand, entry);
    } else {
        copy_memcache(errand, entry);
    }
    note_large_value(errand);
    errand->wanted = core_wanted_memory(core, entry);
    errand->memory_wait_ends_us = 0;
    errand->collected.count = 0;
    errand->collected.pool = &errand->pool;
    if (entry->conversation == NULL) {
        copy_client(errand, &core->datagram_client);
        keep_datagram(errand, entry->datagram);
        core->datagrams_away++;
        return;
    }
    copy_client(errand, &entry->conversation->client);
    block_conversation(errand, entry->conversation);
}

/* ---- the way --------------------------------------------------------------------------------- */

static void send_to(struct core *core, uint32_t to, struct errand *errand, enum message_type type)
{
    struct message message = {.type = type, .from = core->options.number, .pointer = errand};
    core_send(core, to, &message);
}

/* The next worker that is to be visited; worker_count: none. */
static uint32_t next_stop(const struct core *core, const struct errand *errand)
{
    uint32_t stop = errand->next_stop;
    while (stop < core->options.worker_count && !shard_set_has(&errand->shards, stop)) {
        stop++;
    }
    return stop;
}

static void send_on(struct core *core, struct errand *errand)
{
    uint32_t stop = next_stop(core, errand);
    if (stop == core->options.worker_count) {
        if (errand->home == core->options.number) {
            core_take_errand_home(core, errand);
        } else {
            send_to(core, errand->home, errand, MESSAGE_ERRAND_DONE);
        }
    } else if (stop == core->options.number) {
        core_take_errand(core, errand);
    } else {
        send_to(core, stop, errand, MESSAGE_ERRAND);
    }
}

/* Sets an errand under way for all the shards that the first passengers need. */
static void collect_leases(struct core *core)
{
    if (core->is_leasing || core->passengers.first == NULL) {
        return;
    }
    struct errand *vehicle = acquire_errand(core);
    vehicle->kind = ERRAND_LEASE;
    vehicle->next_stop = 0;
    vehicle->shards = (struct shard_set){{0}};
    uint32_t count = 0;
    for (const struct errand *passenger = core->passengers.first;
         passenger != NULL && count < PASSENGERS_MAX; passenger = passenger->next) {
        shard_set_add_all(&vehicle->shards, &passenger->shards);
        count++;
    }
    core->is_leasing = true;
    metric_add(core->metrics, METRIC_LEASES_TAKEN, 1);
    send_on(core, vehicle);
}

static enum errand_kind kind_of(const struct route *route)
{
    if (route->kind == ROUTE_ROUND) {
        return ERRAND_ROUND;
    }
    bool one_owner = route->has_shard && !route->several;
    return one_owner ? ERRAND_RUN : ERRAND_LEASE;
}

void core_send_errand(struct core *core, const struct batch_entry *entry)
{
    enum errand_kind kind = kind_of(&entry->route);
    struct errand *errand = acquire_errand(core);
    core->errand_count++;
    errand->kind = kind;
    errand->shards = entry->route.shards;
    errand->next_stop = 0;
    copy_request(core, errand, entry);
    if (kind == ERRAND_LEASE) {
        metric_add(core->metrics, METRIC_ERRANDS_LEASE, 1);
        push(&core->passengers, errand);
        collect_leases(core);
    } else {
        metric_add(core->metrics, METRIC_ERRANDS_SENT, 1);
        send_on(core, errand);
    }
}

/* Only the first of a request waits for memory: who waits holds none. */
void core_ask_for_blob(struct core *core, struct conversation *conversation, uint32_t owner,
                       uint64_t bytes)
{
    struct errand *errand = acquire_errand(core);
    core->errand_count++;
    errand->kind = ERRAND_BLOB;
    errand->shards = (struct shard_set){{0}};
    shard_set_add(&errand->shards, owner);
    errand->next_stop = 0;
    errand->bulk_bytes = bytes;
    errand->wanted =
        conversation->blob_count == 0 ? core_wanted_by_bulk(bytes) : (struct wanted_memory){0};
    errand->memory_wait_ends_us = 0;
    block_conversation(errand, conversation);
    metric_add(core->metrics, METRIC_ERRANDS_SENT, 1);
    send_on(core, errand);
}

void core_send_events(struct core *core, const struct shard_set *workers, struct slice lines)
{
    struct errand *errand = acquire_errand(core);
    errand->kind = ERRAND_EVENTS;
    errand->shards = *workers;
    errand->next_stop = 0;
    reserve_bytes(errand, lines.size);
    memcpy(errand->bytes, lines.data, lines.size);
    errand->line_bytes = lines.size;
    core->events_away = true;
    send_on(core, errand);
}

/* ---- running --------------------------------------------------------------------------------- */

static struct collected *collected_of(struct errand *errand)
{
    return errand->kind == ERRAND_ROUND ? &errand->collected : NULL;
}

/* On `shard`, or on all the shards that the errand has leases of where it is NULL. */
static void run(struct core *core, struct errand *errand, struct shard *shard)
{
    core_share_time(core);
    core_note_observers(core);
    if (errand->command == NULL) {
        struct memcache_reply reply = {
            .out = &errand->reply, .pool = &errand->pool, .suppressed = errand->memcache.no_reply};
        struct memcache_call call = {.context = core->context,
                                     .shard = shard,
                                     .now = &core->now,
                                     .client = &errand->client,
                                     .request = &errand->memcache,
                                     .keys = errand->keys,
                                     .large_value = errand->large_value,
                                     .collected = collected_of(errand),
                                     .reply = &reply};
        CHECK(memcache_execute(&call) == COMMAND_DONE);
        return;
    }
    struct reply reply = {
        .out = &errand->reply, .pool = &errand->pool, .protocol = errand->client.protocol};
    struct call call = {.context = core->context,
                        .shard = shard,
                        .now = &core->now,
                        .client = &errand->client,
                        .command = errand->command,
                        .argument_count = errand->argument_count,
                        .arguments = errand->arguments,
                        .first_key = errand->has_key ? &errand->first_key : NULL,
                        .large_value = errand->large_value,
                        .large_value_index = errand->large_value_index,
                        .collected = collected_of(errand),
                        .reply = &reply};
    enum command_verdict verdict = command_run_admitted(&call);
    CHECK(verdict == COMMAND_DONE);
}

static void grant_blob(struct core *core, struct errand *errand)
{
    struct blob *blob = shard_create_blob(core->shard, (uint32_t)errand->bulk_bytes);
    if (blob != NULL) {
        reserve_blobs(errand, 1);
        errand->blobs[errand->blob_count++] = blob;
    }
}

/* False: not now. */
static bool try_run(struct core *core, struct errand *errand)
{
    if (core_shard_is_lent(core) || core_errand_waits_for_memory(core, errand)) {
        return false;
    }
    if (errand->kind == ERRAND_BLOB) {
        grant_blob(core, errand);
    } else {
        run(core, errand, core->shard);
    }
    metric_add(core->metrics, METRIC_ERRANDS_RUN, 1);
    errand->next_stop = core->options.number + 1;
    send_on(core, errand);
    return true;
}

void core_run_waiting_errands(struct core *core)
{
    struct errand_list waiting = core->errands_waiting;
    core->errands_waiting = (struct errand_list){0};
    for (struct errand *errand; (errand = pop(&waiting)) != NULL;) {
        if (!try_run(core, errand)) {
            push(&core->errands_waiting, errand);
        }
    }
    core->did_work |= core->errands_waiting.first != NULL && !core_shard_is_lent(core);
}

/* ---- leases ---------------------------------------------------------------------------------- */

static void lend(struct core *core, struct errand *errand)
{
    core->lease = errand;
    errand->next_stop = core->options.number + 1;
    send_on(core, errand);
}

void core_take_lease_back(struct core *core)
{
    CHECK(core_shard_is_lent(core));
    core->lease = NULL;
    /* Those that waited go first, all of them: else leases could follow one another for ever. */
    core_run_waiting_errands(core);
    core_continue_awaiting_shard(core);
    core_run_batch(core);
    /* One that came meanwhile found nobody waiting, or waits behind them. */
    struct errand *next = core_shard_is_lent(core) ? NULL : pop(&core->leases_waiting);
    if (next != NULL) {
        lend(core, next);
    }
}

static void give_leases_back(struct core *core, const struct errand *errand)
{
    struct message message = {.type = MESSAGE_LEASE_RETURNED, .from = core->options.number};
    for (uint32_t i = 0; i < core->options.worker_count; i++) {
        if (shard_set_has(&errand->shards, i) && i != core->options.number) {
            core_send(core, i, &message);
        }
    }
    if (shard_set_has(&errand->shards, core->options.number)) {
        core_take_lease_back(core);
    }
}

static void for_each_shard(struct core *core, const struct errand *errand,
                           void (*act)(struct shard *shard))
{
    for (uint32_t i = 0; i < core->options.worker_count; i++) {
        if (shard_set_has(&errand->shards, i)) {
            act(core->options.all_shards[i]);
        }
    }
}

/* A connection that ended while the leases were collected asks for nothing any more. */
static void run_with_leases(struct core *core, struct errand *errand)
{
    if (errand->conversation == NULL && !errand->for_datagram) {
        return;
    }
    if (errand->writes) {
        for_each_shard(core, errand, shard_begin_joint_write);
    }
    run(core, errand, NULL);
    if (errand->writes) {
        for_each_shard(core, errand, shard_end_joint_write);
    }
}

/* Runs the first passengers whose shards the vehicle has, in their order, and puts them into
 * `done`. Of one connection there is one passenger at most. */
static void run_passengers(struct core *core, const struct errand *vehicle,
                           struct errand_list *done)
{
    struct errand_list waiting = core->passengers;
    core->passengers = (struct errand_list){0};
    uint32_t count = 0;
    for (struct errand *errand; (errand = pop(&waiting)) != NULL;) {
        if (count < PASSENGERS_MAX && shard_set_covers(&vehicle->shards, &errand->shards)) {
            run_with_leases(core, errand);
            push(done, errand);
            count++;
        } else {
            push(&core->passengers, errand);
        }
    }
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void collect_memcache(struct core *core, struct errand *errand)
{
    struct memcache_call call = {.context = core->context,
                                 .now = &core->now,
                                 .client = &errand->client,
                                 .request = &errand->memcache,
                                 .collected = &errand->collected};
    memcache_collect(&call);
}

static void collect_resp(struct core *core, struct errand *errand)
{
    struct call call = {.context = core->context,
                        .now = &core->now,
                        .client = &errand->client,
                        .command = errand->command,
                        .argument_count = errand->argument_count,
                        .arguments = errand->arguments,
                        .collected = &errand->collected};
    core_note_sizes(core);
    errand->command->collect(&call);
    core_close_killed(core);
}

static void collect(struct core *core, struct errand *errand)
{
    if (errand->command == NULL) {
        collect_memcache(core, errand);
    } else {
        collect_resp(core, errand);
    }
    errand->next_stop = core->options.number + 1;
    send_on(core, errand);
}

/* ---- arriving -------------------------------------------------------------------------------- */

void core_take_errand(struct core *core, struct errand *errand)
{
    switch (errand->kind) {
    case ERRAND_RUN:
    case ERRAND_BLOB:
        if (core->errands_waiting.first != NULL || !try_run(core, errand)) {
            push(&core->errands_waiting, errand);
        }
        break;
    case ERRAND_LEASE:
        if (core_shard_is_lent(core) || core->leases_waiting.first != NULL) {
            push(&core->leases_waiting, errand);
        } else {
            lend(core, errand);
        }
        break;
    case ERRAND_ROUND: collect(core, errand); break;
    case ERRAND_EVENTS:
        core_write_events(core, slice_of(errand->bytes, errand->line_bytes));
        errand->next_stop = core->options.number + 1;
        send_on(core, errand);
        break;
    }
}

static void deliver_to_conversation(struct core *core, struct errand *errand)
{
    struct conversation *conversation = errand->conversation;
    struct client *client = &conversation->client;
    struct stream *stream = conversation->session.stream;
    conversation->errand = NULL;
    if (conversation->session.closing) {
        return; /* killed meanwhile */
    }
    bool muted = false;
    if (errand->command != NULL) {
        muted = command_note_elsewhere(client);
    } else {
        client->last_command = errand->client.last_command;
        client->command_count++;
    }
    if (!muted) {
        size_t before = stream->out.size;
        byte_queue_transfer(&stream->out, &core->bytes, &errand->reply, &errand->pool);
        core_count_output(core, conversation, before);
    }
    core_after_command(conversation);
    if (!conversation->session.closing) {
        core_continue(core, conversation);
    }
}

static void deliver_to_datagram(struct core *core, struct errand *errand)
{
    byte_queue_transfer(&core->datagram_reply, &core->bytes, &errand->reply, &errand->pool);
    core_send_datagram_reply(core, &errand->datagram);
}

static void deliver(struct core *core, struct errand *errand)
{
    if (errand->conversation != NULL) {
        deliver_to_conversation(core, errand);
    } else if (errand->for_datagram) {
        deliver_to_datagram(core, errand);
    }
    release_errand(core, errand);
}

/* The parser finds the answer where it asked. */
static void deliver_blob(struct core *core, struct errand *errand)
{
    struct conversation *conversation = errand->conversation;
    if (conversation != NULL && !conversation->session.closing) {
        conversation->blob_answer = BLOB_DENIED;
        if (errand->blob_count > 0) {
            conversation->blob_answer = BLOB_GRANTED;
            core_add_blob(conversation, errand->blobs[--errand->blob_count]);
        }
    }
    if (conversation != NULL) {
        conversation->errand = NULL;
        core_continue(core, conversation);
    }
    release_errand(core, errand);
}

static void take_leases_home(struct core *core, struct errand *vehicle)
{
    struct errand_list done = {0};
    run_passengers(core, vehicle, &done);
    core->is_leasing = false;
    give_leases_back(core, vehicle);
    release_errand(core, vehicle);
    for (struct errand *errand; (errand = pop(&done)) != NULL;) {
        deliver(core, errand);
    }
    collect_leases(core);
}

void core_take_errand_home(struct core *core, struct errand *errand)
{
    switch (errand->kind) {
    case ERRAND_RUN: deliver(core, errand); break;
    case ERRAND_BLOB: deliver_blob(core, errand); break;
    case ERRAND_LEASE: take_leases_home(core, errand); break;
    case ERRAND_ROUND:
        run(core, errand, NULL);
        deliver(core, errand);
        break;
    case ERRAND_EVENTS:
        core->events_away = false;
        release_errand(core, errand);
        break;
    }
}
