/* Errands: see core_errand.h.
 *
 *   home                        stops (owners, ascending)                home
 *   core_send_errand
 *     copy, block
 *   core_join_errand ...
 *     the requests behind it
 *   core_send_gathered -------> core_take_errand ... -----------------> core_take_errand_home
 *     set out                     RUN: run, or wait for the shard         deliver
 *                                 BLOB: allocate, or wait                 go on receiving
 *                                 LEASE: lend, or wait for the shard      run the passengers, give
 *                                                                         back, deliver
 *                                 ROUND: collect                          run, deliver
 *   core_send_events                EVENTS: write to watchers               the next may go
 */
#include "dataplane/core/core_errand.h"

#include "dataplane/base/check.h"

#define LEASE_REQUESTS_MAX 256U /* that run with one lease: what others wait for is bounded */

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

/* ---- the way --------------------------------------------------------------------------------- */

static void send_to(struct core *core, uint32_t to, struct errand *errand, enum message_type type)
{
    struct message message = {.type = type,
                              .from = core->options.number,
                              .pointer = errand,
                              .words = {(uintptr_t)errand->due}};
    core_send(core, to, &message);
}

/* The next worker that is to be visited; worker_count: none. */
static uint32_t next_stop(const struct core *core, const struct errand *errand)
{
    uint32_t stop = errand->next_stop;
    if (errand->kind == ERRAND_RUN) {
        return errand->due != NULL ? errand->due->owner : core->options.worker_count;
    }
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

static struct errand *create_errand(struct core *core, enum errand_kind kind,
                                    const struct shard_set *shards)
{
    struct errand *errand = errand_acquire(core);
    errand->kind = kind;
    errand->shards = *shards;
    errand->next_stop = 0;
    errand->due = NULL;
    errand->request_count = 0;
    errand->changes = 0;
    errand->is_gathering = false;
    errand->memory_wait_began_us = 0;
    errand->collected.count = 0;
    errand->collected.pool = &errand->pool;
    return errand;
}

/* Sets an errand under way for all the shards that the first passengers need. */
static void collect_leases(struct core *core)
{
    if (core->is_leasing || core->passengers.first == NULL) {
        return;
    }
    struct shard_set shards = {{0}};
    uint32_t count = 0;
    for (const struct errand *passenger = core->passengers.first;
         passenger != NULL && count < LEASE_REQUESTS_MAX; passenger = passenger->next) {
        shard_set_add_all(&shards, &passenger->shards);
        count += passenger->request_count;
    }
    core->is_leasing = true;
    metric_add(core->metrics, METRIC_LEASES_TAKEN, 1);
    send_on(core, create_errand(core, ERRAND_LEASE, &shards));
}

static void board(struct core *core, struct errand *errand)
{
    errand->kind = ERRAND_LEASE;
    push(&core->passengers, errand);
    collect_leases(core);
}

/* It waits where memory is short: a train when the turn of each request comes. */
static void seek_room(struct core *core, struct errand *errand)
{
    errand->kind = errand->first->one_shard ? ERRAND_RUN : ERRAND_ROOM;
    errand->next_stop = 0;
    send_on(core, errand);
}

static void set_out(struct core *core, struct errand *errand)
{
    errand->is_gathering = false;
    if (errand->kind == ERRAND_LEASE) {
        metric_add(core->metrics, METRIC_ERRANDS_LEASE, errand->request_count);
        (core_train_is_short_of_memory(core, errand) ? seek_room : board)(core, errand);
    } else {
        metric_add(core->metrics, METRIC_ERRANDS_SENT, errand->request_count);
        send_on(core, errand);
    }
}

/* ---- setting out ----------------------------------------------------------------------------- */

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
        errand->datagram.source = &errand->packet.source;
    } else {
        errand->from_socket = *datagram->from_socket;
        errand->datagram.from_socket = &errand->from_socket;
        errand->datagram.source = &errand->from_socket.source;
    }
}

static void block_conversation(struct errand *errand, struct conversation *conversation)
{
    errand->conversation = conversation;
    conversation->errand = errand;
    session_block(&conversation->session, SESSION_AWAITS_REPLY);
}

static void note_sender(struct core *core, struct errand *errand, const struct batch_entry *entry)
{
    if (entry->conversation == NULL) {
        copy_client(errand, &core->datagram_client);
        keep_datagram(errand, entry->datagram);
        core->datagrams_away++;
        return;
    }
    copy_client(errand, &entry->conversation->client);
    block_conversation(errand, entry->conversation);
}

static enum errand_kind kind_of(const struct route *route)
{
    if (route->kind == ROUTE_ROUND) {
        return ERRAND_ROUND;
    }
    bool one_owner = route->has_shard && !route->several;
    return one_owner ? ERRAND_RUN : ERRAND_LEASE;
}

/* Reads run wherever the train is. */
static void count_change(struct errand *train, const struct errand_request *request)
{
    if (!request->only_reads) {
        train->changes += train->changes == 0 || request->owner != train->written_owner;
        train->written_owner = request->owner;
    }
}

/* CLIENT REPLY OFF and SKIP are about single replies: such a request travels alone. */
void core_send_errand(struct core *core, const struct batch_entry *entry)
{
    const struct conversation *conversation = entry->conversation;
    struct errand *errand = create_errand(core, kind_of(&entry->route), &entry->route.shards);
    core->errand_count++;
    count_change(errand, errand_copy_request(core, errand, entry));
    note_sender(core, errand, entry);
    if (errand->kind == ERRAND_RUN && conversation != NULL &&
        conversation->client.reply_mode == CLIENT_REPLY_ON) {
        errand->is_gathering = true;
        push(&core->gathering, errand);
    } else {
        set_out(core, errand);
    }
}

bool core_errand_takes(const struct core *core, const struct batch_entry *entry)
{
    const struct conversation *conversation = entry->conversation;
    return core->options.worker_count > 1 && conversation->errand != NULL &&
           conversation->errand->is_gathering && !conversation->rewind && !entry->must_run &&
           entry->route.has_shard && !entry->route.several &&
           !(core->config->maxmemory != 0 && core_wants_by_old_value(entry));
}

bool core_errand_ends_alike(const struct core *core, const struct batch_entry *entry)
{
    const struct errand_request *last = entry->conversation->errand->last;
    return last->command == entry->resp.command &&
           last->argument_count == entry->resp.argument_count && !core_may_want_memory(core, entry);
}

void core_join_errand(struct core *core, const struct batch_entry *entry)
{
    struct errand *train = entry->conversation->errand;
    shard_set_add_all(&train->shards, &entry->route.shards);
    count_change(train, errand_copy_request(core, train, entry));
}

/* From owner to owner it takes a message for each change, and one home. Leases take one for each
 * shard, and one home; but when all workers want them at once, each waits for all others. */
static bool lease_is_quicker(const struct core *core, const struct errand *train)
{
    uint32_t owners = shard_set_count(&train->shards);
    return owners > 1 && train->changes >= core->options.worker_count * (owners + 1);
}

void core_send_gathered(struct core *core)
{
    for (struct errand *train; (train = pop(&core->gathering)) != NULL;) {
        if (lease_is_quicker(core, train)) {
            train->kind = ERRAND_LEASE;
        }
        set_out(core, train);
    }
}

void core_ask_for_blob(struct core *core, struct conversation *conversation, uint32_t owner,
                       uint64_t bytes)
{
    struct shard_set shards = {{0}};
    shard_set_add(&shards, owner);
    struct errand *errand = create_errand(core, ERRAND_BLOB, &shards);
    core->errand_count++;
    errand->bulk_bytes = bytes;
    errand_add_request(errand, 1)->wanted =
        core_wanted_by_bulk(conversation, core->options.all_shards[owner], bytes);
    block_conversation(errand, conversation);
    set_out(core, errand);
}

void core_send_events(struct core *core, const struct shard_set *workers, struct slice lines)
{
    struct errand *errand = create_errand(core, ERRAND_EVENTS, workers);
    void *copy = errand_allocate(errand, lines.size);
    memcpy(copy, lines.data, lines.size);
    errand->lines = slice_of(copy, lines.size);
    core->events_away = true;
    send_on(core, errand);
}

/* ---- running --------------------------------------------------------------------------------- */

static void prepare_to_run(struct core *core)
{
    core_share_time(core);
    core_note_observers(core);
}

static void grant_blob(struct core *core, struct errand *errand)
{
    struct blob *blob = shard_create_blob(core->shard, (uint32_t)errand->bulk_bytes);
    if (blob != NULL) {
        errand->first->blobs[errand->first->blob_count++] = blob;
    }
    metric_add(core->metrics, METRIC_ERRANDS_RUN, 1);
}

/* Our shard may be used for what is due. */
static bool is_ready(struct core *core, struct errand *errand)
{
    return !core_shard_is_lent(core) && !core_errand_waits_for_memory(core, errand);
}

/* False: it cannot run here. */
static bool run_due(struct core *core, struct errand *train)
{
    uint32_t count = 1;
    if (train->due->owner == core->options.number) {
        count = errand_run(core, train, train->due);
        train->memory_wait_began_us = 0;
    } else if (!train->due->only_reads || !errand_read(core, train, train->due)) {
        return false;
    }
    metric_add(core->metrics, METRIC_ERRANDS_RUN, count);
    for (; count > 0; count--) {
        train->due = train->due->behind;
    }
    return true;
}

/* Runs all of the train that can run here. False: the next request waits for our shard. */
static bool run_train(struct core *core, struct errand *train)
{
    prepare_to_run(core);
    do {
        if (train->due->owner == core->options.number && !is_ready(core, train)) {
            return false;
        }
    } while (run_due(core, train) && train->due != NULL);
    return true;
}

/* False: not now. */
static bool try_run(struct core *core, struct errand *errand)
{
    if (errand->kind == ERRAND_RUN) {
        if (!run_train(core, errand)) {
            return false;
        }
    } else if (!is_ready(core, errand)) {
        return false;
    } else if (errand->kind == ERRAND_BLOB) {
        grant_blob(core, errand);
    }
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
    if (core->errands_waiting.first != NULL && !core_shard_is_lent(core)) {
        core_note_memory_retry(core);
    }
}

/* ---- leases ---------------------------------------------------------------------------------- */

static void lend(struct core *core, struct errand *errand)
{
    shard_prefetch_end(&core->context->ahead);
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

/* One request over several shards: all of it is seen, or nothing. */
static void run_jointly(struct core *core, struct errand *errand)
{
    bool writes = errand->first->writes;
    if (writes) {
        for_each_shard(core, errand, shard_begin_joint_write);
    }
    (void)errand_run(core, errand, errand->first);
    if (writes) {
        for_each_shard(core, errand, shard_end_joint_write);
    }
}

/* A connection that ended while the leases were collected asks for nothing any more. */
static void run_with_leases(struct core *core, struct errand *train)
{
    if (train->conversation == NULL && !train->for_datagram) {
        return;
    }
    if (!train->first->one_shard) {
        run_jointly(core, train);
        return;
    }
    core_prefetch_leased(core, train);
    for (const struct errand_request *request = train->first; request != NULL;) {
        for (uint32_t count = errand_run(core, train, request); count > 0; count--) {
            request = request->behind;
        }
    }
}

/* Runs the first passengers whose shards the vehicle has, in their order, and puts them into
 * `done`, or into `lacking` where memory is short. Of one connection there is one passenger at
 * most.
 */
static void run_passengers(struct core *core, const struct errand *vehicle,
                           struct errand_list *done, struct errand_list *lacking)
{
    struct errand_list waiting = core->passengers;
    core->passengers = (struct errand_list){0};
    uint32_t count = 0;
    for (struct errand *errand; (errand = pop(&waiting)) != NULL;) {
        if (count >= LEASE_REQUESTS_MAX || !shard_set_covers(&vehicle->shards, &errand->shards)) {
            push(&core->passengers, errand);
        } else if (core_leases_lack_memory(core, errand)) {
            push(lacking, errand);
        } else {
            run_with_leases(core, errand);
            push(done, errand);
            count += errand->request_count;
        }
    }
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void collect_memcache(struct core *core, struct errand *errand)
{
    struct memcache_call call = {.context = core->context,
                                 .now = &core->now,
                                 .client = &errand->client,
                                 .request = errand->first->memcache,
                                 .collected = &errand->collected};
    memcache_collect(&call);
}

static void collect_resp(struct core *core, struct errand *errand)
{
    struct call call = {.context = core->context,
                        .now = &core->now,
                        .client = &errand->client,
                        .command = errand->first->command,
                        .argument_count = errand->first->argument_count,
                        .arguments = errand->first->arguments,
                        .collected = &errand->collected};
    core_note_sizes(core);
    errand->first->command->collect(&call);
    core_close_killed(core);
}

static void collect(struct core *core, struct errand *errand)
{
    if (errand->first->command == NULL) {
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
    case ERRAND_ROOM:
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
        core_write_events(core, errand->lines);
        errand->next_stop = core->options.number + 1;
        send_on(core, errand);
        break;
    }
}

/* What the commands of the train are to their client. True: the reply is not to be sent. */
static bool note_commands(const struct errand *train, struct client *client)
{
    if (train->first->command != NULL) {
        return command_note_elsewhere(client, train->request_count);
    }
    client->last_command = train->client.last_command;
    client->command_count += train->request_count;
    return false;
}

static void deliver_to_conversation(struct core *core, struct errand *errand)
{
    struct conversation *conversation = errand->conversation;
    struct stream *stream = conversation->session.stream;
    conversation->errand = NULL;
    if (conversation->session.closing) {
        return; /* killed meanwhile */
    }
    if (!note_commands(errand, &conversation->client)) {
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
    core_begin_datagram_reply(core, &errand->datagram);
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
    errand_release(core, errand);
}

/* The parser finds the answer where it asked. */
static void deliver_blob(struct core *core, struct errand *errand)
{
    struct conversation *conversation = errand->conversation;
    if (conversation != NULL && !conversation->session.closing) {
        conversation->blob_answer = BLOB_DENIED;
        struct errand_request *asked = errand->first;
        if (asked->blob_count > 0) {
            conversation->blob_answer = BLOB_GRANTED;
            core_add_blob(conversation, asked->blobs[--asked->blob_count]);
        }
    }
    if (conversation != NULL) {
        conversation->errand = NULL;
        core_continue(core, conversation);
    }
    errand_release(core, errand);
}

static void take_leases_home(struct core *core, struct errand *vehicle)
{
    struct errand_list done = {0}, lacking = {0};
    prepare_to_run(core);
    run_passengers(core, vehicle, &done, &lacking);
    core->is_leasing = false;
    give_leases_back(core, vehicle);
    errand_release(core, vehicle);
    for (struct errand *errand; (errand = pop(&done)) != NULL;) {
        deliver(core, errand);
    }
    for (struct errand *errand; (errand = pop(&lacking)) != NULL;) {
        seek_room(core, errand);
    }
    collect_leases(core);
}

void core_take_errand_home(struct core *core, struct errand *errand)
{
    switch (errand->kind) {
    case ERRAND_RUN: deliver(core, errand); break;
    case ERRAND_BLOB: deliver_blob(core, errand); break;
    case ERRAND_ROOM: board(core, errand); break;
    case ERRAND_LEASE: take_leases_home(core, errand); break;
    case ERRAND_ROUND:
        prepare_to_run(core);
        (void)errand_run(core, errand, errand->first);
        deliver(core, errand);
        break;
    case ERRAND_EVENTS:
        core->events_away = false;
        errand_release(core, errand);
        break;
    }
}
