/* The recorder: one loop over all clients. Rounds end with nothing outstanding, so that what was
 * cut off in one round is settled before the next. */
#include "tests/history/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/base/check.h"
#include "tests/bench/chance.h"
#include "tests/history/workload.h"

#define ROUND_OPERATIONS   20000U
#define RECONNECT_ONE_IN   2000U /* requests of one client */
#define STALL_MS           30000
#define SETTLE_NS          100000000L /* after connections were cut: their requests are done or lost */
#define FLAG_KEYS          4U         /* the last one is the flag */
#define FLAG_KEYS_MASK     ((1U << FLAG_KEYS) - 1)
#define FLAG_ONE_IN        12U
#define FILLER_DEPTH       32U
#define FILLER_VALUE_BYTES 1000U
#define READ_BYTES         65536U

enum flight_kind { FLIGHT_RECORDED, FLIGHT_FLUSH, FLIGHT_FLAG_SET, FLIGHT_FLAG_GET, FLIGHT_FILLER };

/* A request without its reply. */
struct flight {
    enum flight_kind kind;
    uint32_t group, index; /* recorded: the operation */
    bool with_cas;
    uint32_t owner, key; /* flags: whose set, which key of it */
    uint64_t sequence;   /* and which value it writes */
};

struct client {
    int fd;
    uint32_t number, depth;
    bool memcache, leaving, cut_soon, flags_paused;
    struct wire_buffer in, out;
    size_t sent;
    struct flight flights[RECORDER_PIPELINE_MAX + FLAG_KEYS];
    uint32_t flight_first, flight_count;
    struct cas_memory cas;
    uint64_t flag_seen; /* of the set that is being read */
    uint64_t flag_newest[RECORDER_CLIENTS_MAX];
};

/* Sequence numbers of one client's set. */
struct flag_set {
    uint64_t written; /* the last one sent */
    uint64_t flushed; /* up to here a FLUSHDB may have deleted it */
    uint8_t *done;    /* by sequence number: a bit for each key whose write was not refused */
};

/* A reader saw a key older than the flag. Right only when what should have made it newer was
 * refused, which its writer knows when the round is over. */
struct doubt {
    uint32_t client, owner, key;
    uint64_t flag, seen;
    uint64_t since; /* writes after this one, up to the flag's, would have made it newer */
};

struct recorder {
    struct recorder_options options;
    struct recorder_report report;
    struct workload workload;
    struct history histories[RECORDER_GROUPS_MAX];
    uint32_t flush_index[RECORDER_GROUPS_MAX];
    bool flush_in_flight, filler_shrinks, draining;
    struct client clients[RECORDER_CLIENTS_MAX + 1]; /* the last one is the filler */
    struct flag_set flags[RECORDER_CLIENTS_MAX];
    struct doubt *doubts;
    uint32_t doubt_count, doubt_room;
    uint64_t asked, round_end, cut_at, filler_next, filler_first;
    uint64_t count_reply;
    uint32_t threads; /* given out so far */
    uint32_t cut_first[RECORDER_GROUPS_MAX];
    bool cut_in_round;
    char *problem;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

__attribute__((format(printf, 2, 3))) static bool fail(struct recorder *recorder,
                                                       const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(recorder->problem, 256, format, arguments);
    va_end(arguments);
    return false;
}

static struct client *filler_of(struct recorder *recorder)
{
    return &recorder->clients[recorder->options.clients];
}

static bool is_filler(const struct recorder *recorder, const struct client *client)
{
    return client->number == recorder->options.clients;
}

/* ---- connections ----------------------------------------------------------------------------- */

static int open_socket(const char *host, uint16_t port)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *found;
    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(host, service, &hints, &found) != 0) {
        errno = EINVAL;
        return -1;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    if (fd >= 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    }
    return fd;
}

static bool connect_client(struct recorder *recorder, struct client *client)
{
    const struct recorder_options *options = &recorder->options;
    uint16_t port = client->memcache ? options->memcache_port : options->port;
    client->fd = open_socket(options->host, port);
    client->in.size = client->out.size = client->sent = 0;
    client->leaving = client->cut_soon = false;
    recorder->report.connections++;
    return client->fd >= 0 ||
           fail(recorder, "cannot connect to %s port %u: %s", options->host, port, strerror(errno));
}

static bool reconnect_client(struct recorder *recorder, struct client *client)
{
    close(client->fd);
    return connect_client(recorder, client);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static struct flight *add_flight(struct client *client, enum flight_kind kind)
{
    const uint32_t room = sizeof(client->flights) / sizeof(client->flights[0]);
    CHECK(client->flight_count < room);
    struct flight *flight =
        &client->flights[(client->flight_first + client->flight_count++) % room];
    *flight = (struct flight){.kind = kind};
    return flight;
}

static void pop_flight(struct client *client)
{
    const uint32_t room = sizeof(client->flights) / sizeof(client->flights[0]);
    client->flight_first = (client->flight_first + 1) % room;
    client->flight_count--;
}

static void compose(struct recorder *recorder, struct client *client, const struct request *request)
{
    if (client->memcache) {
        workload_compose_memcache(&recorder->workload, request, &client->out);
    } else {
        workload_compose(&recorder->workload, request, &client->out);
    }
}

static uint32_t record(struct recorder *recorder, struct client *client, uint32_t group,
                       const struct request *request)
{
    struct operation operation = request->operation;
    operation.thread = (uint8_t)client->number;
    operation.asked_ns = now_ns();
    operation.answered_ns = TIME_NEVER;
    return history_add(&recorder->histories[group], &operation, request->accesses,
                       request->access_count);
}

static void ask_flush(struct recorder *recorder, struct client *client,
                      const struct request *request)
{
    recorder->flush_in_flight = true;
    for (uint32_t group = 0; group < recorder->options.groups; group++) {
        recorder->flush_index[group] = record(recorder, client, group, request);
    }
    add_flight(client, FLIGHT_FLUSH);
    compose(recorder, client, request);
}

static void ask(struct recorder *recorder, struct client *client, const struct request *request)
{
    recorder->asked++;
    if (request->operation.type == OPERATION_FLUSH) {
        ask_flush(recorder, client, request);
        return;
    }
    struct flight *flight = add_flight(client, FLIGHT_RECORDED);
    flight->group = request->group;
    flight->with_cas = request->with_cas;
    flight->index = record(recorder, client, request->group, request);
    compose(recorder, client, request);
}

static void ask_random(struct recorder *recorder, struct client *client)
{
    struct request request;
    do {
        if (client->memcache) {
            workload_draw_memcache(&recorder->workload, client->number, recorder->asked,
                                   &client->cas, &request);
        } else {
            workload_draw(&recorder->workload, client->number, recorder->asked, &request);
        }
    } while (request.operation.type == OPERATION_FLUSH && recorder->flush_in_flight);
    client->cas.valid = client->cas.valid && request.operation.type != OPERATION_CAS;
    ask(recorder, client, &request);
}

/* A command with one key, and a value if that is not NULL, beside the recorded groups. */
static void put_plain(struct client *client, const char *command, const char *key,
                      const char *value)
{
    wire_put_words(&client->out, value != NULL ? 3 : 2);
    wire_put_word(&client->out, slice_of_string(command));
    wire_put_word(&client->out, slice_of_string(key));
    if (value != NULL) {
        wire_put_word(&client->out, slice_of_string(value));
    }
}

static void ask_flag_key(struct recorder *recorder, struct client *client, enum flight_kind kind,
                         uint32_t owner, uint32_t key, uint64_t sequence)
{
    char name[64], text[32];
    struct flight *flight = add_flight(client, kind);
    flight->owner = owner;
    flight->key = key;
    flight->sequence = sequence;
    snprintf(name, sizeof(name), "flags:%" PRIu64 ":%" PRIu32 ":%" PRIu32, recorder->options.seed,
             owner, key);
    snprintf(text, sizeof(text), "%" PRIu64, sequence);
    put_plain(client, kind == FLIGHT_FLAG_SET ? "SET" : "GET", name,
              kind == FLIGHT_FLAG_SET ? text : NULL);
    recorder->asked++;
}

/* The data, then the flag; none waits for the other. */
static void write_flags(struct recorder *recorder, struct client *client)
{
    struct flag_set *set = &recorder->flags[client->number];
    uint64_t sequence = ++set->written;
    set->done[sequence] = recorder->options.refusals ? 0 : FLAG_KEYS_MASK;
    for (uint32_t key = 0; key < FLAG_KEYS; key++) {
        ask_flag_key(recorder, client, FLIGHT_FLAG_SET, client->number, key, sequence);
    }
}

/* The flag, then the data. */
static void read_flags(struct recorder *recorder, struct client *client)
{
    uint32_t owner = (uint32_t)chance_below(&recorder->workload.random, recorder->options.clients);
    for (uint32_t i = 0; i < FLAG_KEYS; i++) {
        ask_flag_key(recorder, client, FLIGHT_FLAG_GET, owner, FLAG_KEYS - 1 - i, 0);
    }
}

static void ask_filler(struct recorder *recorder, struct client *client)
{
    char name[64], value[FILLER_VALUE_BYTES + 1];
    uint64_t held = recorder->filler_next - recorder->filler_first;
    bool remove = recorder->draining || recorder->filler_shrinks;
    memset(value, 'f', FILLER_VALUE_BYTES);
    value[FILLER_VALUE_BYTES] = '\0';
    snprintf(name, sizeof(name), "filler:%" PRIu64,
             remove ? recorder->filler_first++ : recorder->filler_next++);
    put_plain(client, remove ? "DEL" : "SET", name, remove ? NULL : value);
    add_flight(client, FLIGHT_FILLER);
    if (held + 2 > recorder->options.filler_keys) {
        recorder->filler_shrinks = true;
    } else if (held < 2) {
        recorder->filler_shrinks = false;
    }
    recorder->report.filler_operations++;
}

static bool one_in(struct recorder *recorder, uint64_t bound)
{
    return chance_below(&recorder->workload.random, bound) == 0;
}

static void ask_next(struct recorder *recorder, struct client *client)
{
    if (!client->memcache && one_in(recorder, FLAG_ONE_IN)) {
        if (one_in(recorder, 2) && !client->flags_paused) {
            write_flags(recorder, client);
        } else {
            read_flags(recorder, client);
        }
        return;
    }
    ask_random(recorder, client);
    client->leaving = client->leaving || one_in(recorder, RECONNECT_ONE_IN);
}

/* In bursts: a client that has half of its replies asks on. */
static void refill(struct recorder *recorder, struct client *client)
{
    if (client->leaving || client->flight_count > client->depth / 2) {
        return;
    }
    if (is_filler(recorder, client)) {
        bool left = recorder->filler_first < recorder->filler_next;
        while (client->flight_count < client->depth && recorder->options.filler_keys > 0 &&
               (recorder->draining ? left : recorder->asked < recorder->round_end)) {
            ask_filler(recorder, client);
            left = recorder->filler_first < recorder->filler_next;
        }
        return;
    }
    while (client->flight_count < client->depth && recorder->asked < recorder->round_end &&
           !client->leaving) {
        ask_next(recorder, client);
    }
}

static bool flush_out(struct recorder *recorder, struct client *client)
{
    while (client->sent < client->out.size) {
        ssize_t size = send(client->fd, client->out.data + client->sent,
                            client->out.size - client->sent, MSG_NOSIGNAL);
        if (size < 0 && errno == EAGAIN) {
            return true;
        }
        if (size < 0) {
            return fail(recorder, "client %u: send: %s", client->number, strerror(errno));
        }
        client->sent += (size_t)size;
    }
    client->out.size = client->sent = 0;
    return true;
}

/* ---- replies --------------------------------------------------------------------------------- */

static bool is_refused(const struct operation *operation)
{
    return operation->type == OPERATION_REFUSED || operation->type == OPERATION_REFUSED_SET;
}

static void take_recorded(struct recorder *recorder, struct client *client,
                          const struct flight *flight, struct operation *operation,
                          struct access *accesses, const struct wire_reply *reply)
{
    recorder->report.operations++;
    recorder->report.refused += is_refused(operation);
    if (flight->with_cas && !value_is_absent(accesses->observed)) {
        client->cas = (struct cas_memory){
            .group = flight->group, .access = *accesses, .cas = reply->cas, .valid = true};
    }
}

static bool take_operation(struct recorder *recorder, struct client *client,
                           const struct flight *flight, const struct wire_reply *reply,
                           uint64_t now)
{
    struct history *history = &recorder->histories[flight->group];
    struct operation *operation = &history->operations[flight->index];
    struct access *accesses = history->accesses + operation->access_first;
    operation->answered_ns = now;
    if (!workload_take_reply(operation, accesses, client->memcache, reply) ||
        (is_refused(operation) && !recorder->options.refusals)) {
        return fail(recorder, "client %u: unexpected reply to %s: %.*s", client->number,
                    operation_name((enum operation_type)operation->type),
                    (int)(reply->text.size < 100 ? reply->text.size : 100),
                    (const char *)reply->text.data);
    }
    take_recorded(recorder, client, flight, operation, accesses, reply);
    return true;
}

static void take_flush(struct recorder *recorder, uint64_t now)
{
    recorder->report.operations++;
    recorder->flush_in_flight = false;
    for (uint32_t group = 0; group < recorder->options.groups; group++) {
        struct history *history = &recorder->histories[group];
        history->operations[recorder->flush_index[group]].answered_ns = now;
    }
    for (uint32_t i = 0; i < recorder->options.clients; i++) {
        recorder->flags[i].flushed = recorder->flags[i].written;
    }
}

static void add_doubt(struct recorder *recorder, const struct doubt *doubt)
{
    if (recorder->doubt_count == recorder->doubt_room) {
        recorder->doubt_room = recorder->doubt_room * 2 + 64;
        recorder->doubts = (struct doubt *)realloc(recorder->doubts, recorder->doubt_room *
                                                                         sizeof(*recorder->doubts));
        CHECK(recorder->doubts != NULL);
    }
    recorder->doubts[recorder->doubt_count++] = *doubt;
}

static bool is_explained(const struct recorder *recorder, const struct doubt *doubt)
{
    const struct flag_set *set = &recorder->flags[doubt->owner];
    if (doubt->seen > set->written || doubt->flag > set->written) {
        return false; /* nobody wrote it */
    }
    for (uint64_t sequence = doubt->since + 1; sequence <= doubt->flag; sequence++) {
        if ((set->done[sequence] >> doubt->key & 1) != 0) {
            return false;
        }
    }
    return true;
}

static void judge_doubts(struct recorder *recorder)
{
    for (uint32_t i = 0; i < recorder->doubt_count; i++) {
        const struct doubt *doubt = &recorder->doubts[i];
        if (!is_explained(recorder, doubt)) {
            recorder->report.flag_violations++;
            fprintf(stderr,
                    "violation: client %u read %s %" PRIu64
                    " of client %u, then key %u of it: %" PRIu64 "\n",
                    doubt->client, doubt->key == FLAG_KEYS - 1 ? "flag (earlier)" : "flag",
                    doubt->flag, doubt->owner, doubt->key, doubt->seen);
        }
    }
    recorder->doubt_count = 0;
}

/* Data older than the flag that was read before it, a flag that went back, or what nobody wrote. */
static void take_flag(struct recorder *recorder, struct client *client, const struct flight *flight,
                      const struct wire_reply *reply)
{
    uint64_t seen = value_is_absent(reply->values[0]) ? 0 : value_number(reply->values[0]);
    uint64_t *newest = &client->flag_newest[flight->owner];
    uint64_t floor = client->flag_seen;
    bool is_flag = flight->key == FLAG_KEYS - 1;
    if (is_flag) {
        recorder->report.flag_reads++;
        floor = *newest;
        client->flag_seen = seen;
        *newest = seen > floor ? seen : floor;
    }
    const struct flag_set *set = &recorder->flags[flight->owner];
    uint64_t since = seen != 0 ? seen : set->flushed;
    bool may_be_gone = seen == 0 && (recorder->options.eviction || recorder->flush_in_flight);
    if (seen > set->written || (since < floor && !may_be_gone)) {
        add_doubt(recorder, &(struct doubt){.client = client->number,
                                            .owner = flight->owner,
                                            .key = flight->key,
                                            .flag = floor,
                                            .seen = seen,
                                            .since = since});
    }
}

static bool take_reply(struct recorder *recorder, struct client *client,
                       const struct wire_reply *reply, uint64_t now)
{
    struct flight flight = client->flights[client->flight_first];
    pop_flight(client);
    bool refused = reply->kind == WIRE_ERROR && reply->text.size > 4 &&
                   memcmp(reply->text.data, "OOM ", 4) == 0;
    switch (flight.kind) {
    case FLIGHT_RECORDED: return take_operation(recorder, client, &flight, reply, now);
    case FLIGHT_FLUSH:
        if (reply->kind == WIRE_STATUS) {
            take_flush(recorder, now);
        }
        break;
    case FLIGHT_FLAG_GET:
        if (reply->kind == WIRE_VALUES && reply->value_count == 1) {
            take_flag(recorder, client, &flight, reply);
            recorder->report.operations++;
            return true;
        }
        return fail(recorder, "client %u: unexpected reply to GET", client->number);
    case FLIGHT_FLAG_SET:
        recorder->report.operations++;
        recorder->report.refused += refused;
        recorder->flags[flight.owner].done[flight.sequence] |= (uint8_t)(!refused << flight.key);
        break;
    case FLIGHT_FILLER: recorder->count_reply = (uint64_t)reply->number; break;
    }
    return (reply->kind != WIRE_ERROR || (refused && recorder->options.refusals)) ||
           fail(recorder, "client %u: unexpected error: %.*s", client->number,
                (int)(reply->text.size < 100 ? reply->text.size : 100),
                (const char *)reply->text.data);
}

static bool take_replies(struct recorder *recorder, struct client *client, uint64_t now)
{
    size_t used = 0, taken;
    struct wire_reply reply;
    enum wire_result result = WIRE_DONE;
    while (client->flight_count > 0) {
        struct slice rest = slice_from(slice_of(client->in.data, client->in.size), used);
        result = client->memcache ? wire_parse_memcache(rest, &reply, &taken)
                                  : wire_parse_resp(rest, &reply, &taken);
        if (result != WIRE_DONE) {
            break;
        }
        if (!take_reply(recorder, client, &reply, now)) {
            return false;
        }
        used += taken;
    }
    wire_drop_front(&client->in, used);
    return (result != WIRE_BROKEN && (client->flight_count > 0 || client->in.size == 0)) ||
           fail(recorder, "client %u: bytes that are no reply", client->number);
}

static bool receive(struct recorder *recorder, struct client *client)
{
    uint8_t *room = wire_reserve(&client->in, READ_BYTES);
    ssize_t size = recv(client->fd, room, READ_BYTES, 0);
    if (size < 0 && errno == EAGAIN) {
        return true;
    }
    if (size <= 0) {
        return fail(recorder, "client %u: the server closed the connection: %s", client->number,
                    size < 0 ? strerror(errno) : "end of stream");
    }
    client->in.size += (size_t)size;
    return take_replies(recorder, client, now_ns());
}

/* ---- connections that are cut off ------------------------------------------------------------ */

static bool may_be_cut(const struct client *client)
{
    const uint32_t room = sizeof(client->flights) / sizeof(client->flights[0]);
    for (uint32_t i = 0; i < client->flight_count; i++) {
        if (client->flights[(client->flight_first + i) % room].kind == FLIGHT_FLUSH) {
            return false;
        }
    }
    return client->flight_count > 0;
}

/* Its requests become those of a thread that ends here; they may take effect until the round does.
 */
static bool cut_connection(struct recorder *recorder, struct client *client)
{
    uint8_t thread = (uint8_t)recorder->threads++;
    const uint32_t room = sizeof(client->flights) / sizeof(client->flights[0]);
    for (; client->flight_count > 0; pop_flight(client)) {
        const struct flight *flight = &client->flights[client->flight_first % room];
        if (flight->kind == FLIGHT_RECORDED) {
            struct operation *operation =
                &recorder->histories[flight->group].operations[flight->index];
            operation->unanswered = true;
            operation->thread = thread;
            recorder->report.unanswered++;
        }
    }
    client->flags_paused = true; /* until what it had sent cannot come after what it sends now */
    recorder->cut_in_round = true;
    recorder->report.cut_connections++;
    return reconnect_client(recorder, client);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static bool serve_client(struct recorder *recorder, struct client *client)
{
    if (client->cut_soon && recorder->asked >= recorder->cut_at && may_be_cut(client)) {
        return cut_connection(recorder, client);
    }
    if (client->leaving && client->flight_count == 0 && !reconnect_client(recorder, client)) {
        return false;
    }
    refill(recorder, client);
    return flush_out(recorder, client);
}

static bool is_quiet(const struct recorder *recorder)
{
    for (uint32_t i = 0; i <= recorder->options.clients; i++) {
        if (recorder->clients[i].flight_count > 0) {
            return false;
        }
    }
    return recorder->asked >= recorder->round_end;
}

static bool wait_for_replies(struct recorder *recorder)
{
    struct pollfd ready[RECORDER_CLIENTS_MAX + 1];
    uint32_t count = recorder->options.clients + 1;
    for (uint32_t i = 0; i < count; i++) {
        const struct client *client = &recorder->clients[i];
        bool unsent = client->sent < client->out.size;
        ready[i] =
            (struct pollfd){.fd = client->fd, .events = (short)(POLLIN | (unsent ? POLLOUT : 0))};
    }
    if (poll(ready, count, STALL_MS) <= 0) {
        return fail(recorder, "no reply for %d ms", STALL_MS);
    }
    for (uint32_t i = 0; i < count; i++) {
        if ((ready[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0 &&
            !receive(recorder, &recorder->clients[i])) {
            return false;
        }
    }
    return true;
}

static bool run_until_quiet(struct recorder *recorder)
{
    for (;;) {
        for (uint32_t i = 0; i <= recorder->options.clients; i++) {
            if (!serve_client(recorder, &recorder->clients[i])) {
                return false;
            }
        }
        if (is_quiet(recorder)) {
            return true;
        }
        if (!wait_for_replies(recorder)) {
            return false;
        }
    }
}

/* One client of most rounds loses its connection, as long as there are threads for that. */
static void choose_cut(struct recorder *recorder)
{
    uint32_t number = (uint32_t)chance_below(&recorder->workload.random, recorder->options.clients);
    struct client *client = &recorder->clients[number];
    if (recorder->options.cut && recorder->threads < HISTORY_THREADS && !client->memcache) {
        client->cut_soon = true;
        recorder->cut_at =
            recorder->asked +
            chance_below(&recorder->workload.random, recorder->round_end - recorder->asked + 1);
    }
}

/* Who had nothing under way all round long is not cut off later: what is asked after the last round
 * is not settled. */
static void forget_cut(struct recorder *recorder)
{
    for (uint32_t i = 0; i < recorder->options.clients; i++) {
        recorder->clients[i].cut_soon = false;
    }
}

/* Now the cut connections' requests have been done, or never will be. */
static void settle_cuts(struct recorder *recorder)
{
    if (!recorder->cut_in_round) {
        return;
    }
    nanosleep(&(struct timespec){.tv_nsec = SETTLE_NS}, NULL);
    uint64_t now = now_ns();
    for (uint32_t group = 0; group < recorder->options.groups; group++) {
        struct history *history = &recorder->histories[group];
        for (uint32_t i = recorder->cut_first[group]; i < history->operation_count; i++) {
            if (history->operations[i].unanswered) {
                history->operations[i].answered_ns = now;
            }
        }
        recorder->cut_first[group] = history->operation_count;
    }
    for (uint32_t i = 0; i < recorder->options.clients; i++) {
        recorder->clients[i].flags_paused = false;
    }
    recorder->cut_in_round = false;
}

static bool run_round(struct recorder *recorder)
{
    uint64_t left = recorder->options.operations - recorder->asked;
    recorder->round_end = recorder->asked + (left < ROUND_OPERATIONS ? left : ROUND_OPERATIONS);
    choose_cut(recorder);
    bool well = run_until_quiet(recorder);
    forget_cut(recorder);
    settle_cuts(recorder);
    judge_doubts(recorder);
    return well;
}

/* ---- before and after ------------------------------------------------------------------------ */

/* One command outside of the history, and its reply's number. */
static bool run_plain(struct recorder *recorder, const char *command, const char *key)
{
    struct client *client = &recorder->clients[0];
    CHECK(!client->memcache);
    wire_put_words(&client->out, key != NULL ? 2 : 1);
    wire_put_word(&client->out, slice_of_string(command));
    if (key != NULL) {
        wire_put_word(&client->out, slice_of_string(key));
    }
    add_flight(client, FLIGHT_FILLER);
    return run_until_quiet(recorder);
}

/* DBSIZE counts keys whose time has come until somebody would write to them: PERSIST does not, but
 * looks as if it would. */
static bool remove_expired(struct recorder *recorder)
{
    for (uint32_t i = 0; i < recorder->options.groups * GROUP_KEYS; i++) {
        char name[64];
        workload_key_name(&recorder->workload, i / GROUP_KEYS, (uint8_t)(i % GROUP_KEYS), name);
        if (!run_plain(recorder, "PERSIST", name)) {
            return false;
        }
    }
    return true;
}

/* What is left in the end: all of it is read, and where nothing vanishes DBSIZE must agree. */
static bool count_keys(struct recorder *recorder)
{
    uint64_t present = 0;
    for (uint32_t group = 0; group < recorder->options.groups; group++) {
        struct request request;
        workload_read_group(group, &request);
        ask(recorder, &recorder->clients[0], &request);
        if (!run_until_quiet(recorder)) {
            return false;
        }
        const struct history *history = &recorder->histories[group];
        const struct operation *last = &history->operations[history->operation_count - 1];
        for (uint32_t key = 0; key < GROUP_KEYS; key++) {
            present += !value_is_absent(operation_accesses(history, last)[key].observed);
        }
    }
    for (uint32_t i = 0; i < recorder->options.clients * FLAG_KEYS; i++) {
        char name[64];
        snprintf(name, sizeof(name), "flags:%" PRIu64 ":%" PRIu32 ":%" PRIu32,
                 recorder->options.seed, i / FLAG_KEYS, i % FLAG_KEYS);
        if (!run_plain(recorder, "DEL", name)) {
            return false;
        }
    }
    if (!remove_expired(recorder) || !run_plain(recorder, "DBSIZE", NULL)) {
        return false;
    }
    if (recorder->count_reply != present && !recorder->options.eviction) {
        recorder->report.count_violations++;
        fprintf(stderr, "violation: DBSIZE is %" PRIu64 ", but %" PRIu64 " keys are there\n",
                recorder->count_reply, present);
    }
    return true;
}

/* Everything the run left behind is removed or counted. */
static bool finish(struct recorder *recorder)
{
    if (recorder->clients[0].memcache) {
        return true;
    }
    nanosleep(&(struct timespec){.tv_nsec = SETTLE_NS * 2}, NULL); /* what expires is gone */
    recorder->draining = true;
    return run_until_quiet(recorder) && count_keys(recorder);
}

struct recorder *recorder_create(const struct recorder_options *options)
{
    struct recorder *recorder = (struct recorder *)calloc(1, sizeof(*recorder));
    CHECK(recorder != NULL && options->clients <= RECORDER_CLIENTS_MAX &&
          options->groups <= RECORDER_GROUPS_MAX && options->pipeline <= RECORDER_PIPELINE_MAX);
    recorder->options = *options;
    recorder->threads = options->clients;
    recorder->workload = (struct workload){.seed = options->seed,
                                           .random = options->seed,
                                           .group_count = options->groups,
                                           .expiry = options->expiry,
                                           .flush = options->flush};
    for (uint32_t i = 0; i <= options->clients; i++) {
        struct client *client = &recorder->clients[i];
        client->fd = -1;
        client->number = i;
        client->depth = 1U << i % 6;
        client->depth = client->depth < options->pipeline ? client->depth : options->pipeline;
        client->memcache = options->port == 0 ||
                           (options->memcache_port != 0 && i % 4 == 3 && i < options->clients);
    }
    for (uint32_t i = 0; i < options->clients; i++) {
        recorder->flags[i].done = (uint8_t *)calloc(options->operations / FLAG_KEYS + 2, 1);
        CHECK(recorder->flags[i].done != NULL);
    }
    filler_of(recorder)->depth = FILLER_DEPTH;
    return recorder;
}

bool recorder_run(struct recorder *recorder, char problem[256])
{
    recorder->problem = problem;
    for (uint32_t i = 0; i <= recorder->options.clients; i++) {
        if (!connect_client(recorder, &recorder->clients[i])) {
            return false;
        }
    }
    if (!recorder->clients[0].memcache && !run_plain(recorder, "FLUSHALL", NULL)) {
        return false;
    }
    uint64_t start = now_ns();
    while (recorder->asked < recorder->options.operations) {
        if (!run_round(recorder)) {
            return false;
        }
    }
    recorder->report.duration_ns = now_ns() - start;
    return finish(recorder);
}

const struct recorder_report *recorder_report(const struct recorder *recorder)
{
    return &recorder->report;
}

const struct history *recorder_history(const struct recorder *recorder, uint32_t group)
{
    return &recorder->histories[group];
}

void recorder_destroy(struct recorder *recorder)
{
    for (uint32_t i = 0; i <= recorder->options.clients; i++) {
        struct client *client = &recorder->clients[i];
        if (client->fd >= 0) {
            close(client->fd);
        }
        free(client->in.data);
        free(client->out.data);
    }
    for (uint32_t i = 0; i < recorder->options.clients; i++) {
        free(recorder->flags[i].done);
    }
    free(recorder->doubts);
    for (uint32_t group = 0; group < recorder->options.groups; group++) {
        history_deinit(&recorder->histories[group]);
    }
    free(recorder);
}
