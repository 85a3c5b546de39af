/* Requests: whose turn it is, what to ask, and when. */
#include "tests/bench/load_internal.h"

#define TURNS_AHEAD 8U

static bool closed_loop(const struct load *load)
{
    return load->phase->rate <= 0;
}

/* A window of ids bounds what may be under way, also where an old datagram is still missing. */
static bool has_room(const struct load *load, const struct connection *connection)
{
    return connection->state == CONNECTION_READY && connection->active < load->options.pipeline &&
           connection->next - connection->first < load->capacity;
}

/* A stream in a closed loop starts its next round when the last one is through. */
static bool wants_turn(const struct load *load, const struct connection *connection)
{
    bool by_rounds = closed_loop(load) && connection->stream != NULL;
    return has_room(load, connection) && (!by_rounds || connection->active == 0);
}

void load_offer(struct load *load, struct connection *connection)
{
    if (!connection->queued && load->phase != NULL && wants_turn(load, connection)) {
        connection->queued = true;
        load->ready[(load->ready_first + load->ready_count++) % load->options.connections] =
            connection->index;
    }
}

/* The one whose turn comes `distance` turns later than the next. */
static uint32_t ready_at(const struct load *load, uint32_t distance)
{
    uint32_t at = load->ready_first + distance, count = load->options.connections;
    return load->ready[at < count ? at : at - count];
}

static struct connection *take_ready(struct load *load)
{
    struct connection *connection = &load->connections[load->ready[load->ready_first]];
    load->ready_first = (load->ready_first + 1) % load->options.connections;
    load->ready_count--;
    connection->queued = false;
    return connection;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Request id, number 0 of 1 datagrams, reserved: memcached's frame. */
static bool send_datagram(struct load *load, const struct connection *connection, uint32_t id,
                          struct slice bytes)
{
    if (bytes.size > sizeof(load->datagram) - LOAD_DATAGRAM_HEADER_BYTES) {
        load_fail(load, "a request of %zu bytes does not fit in one datagram", bytes.size);
        return false;
    }
    memset(load->datagram, 0, LOAD_DATAGRAM_HEADER_BYTES);
    bytes_write_be16(load->datagram, (uint16_t)id);
    bytes_write_be16(load->datagram + 4, 1);
    memcpy(load->datagram + LOAD_DATAGRAM_HEADER_BYTES, bytes.data, bytes.size);
    return load->transport->operations->send(
        load->transport, connection->index,
        slice_of(load->datagram, bytes.size + LOAD_DATAGRAM_HEADER_BYTES), &load->instant);
}

static void send_bytes(struct load *load, struct connection *connection, uint32_t id,
                       struct slice bytes)
{
    load->result->bytes_sent += bytes.size;
    if (connection->stream == NULL) {
        /* Not sent is not answered: it counts as lost when its time is over. */
        (void)send_datagram(load, connection, id, bytes);
        return;
    }
    byte_queue_append(&connection->stream->out, &load->transport->pool, bytes.data, bytes.size);
    stream_mark_dirty(connection->stream);
}

static struct slice compose_get(struct load *load, struct request *request,
                                struct request_key *keys)
{
    uint64_t numbers[WORKLOAD_KEYS_A_GET_MAX];
    request->key_count = (uint16_t)load->workload->keys_a_get;
    for (uint32_t i = 0; i < request->key_count; i++) {
        numbers[i] = workload_draw_key(load->workload);
        keys[i] = (struct request_key){.key = numbers[i]};
        if (load->options.ledger != NULL) {
            keys[i].floor = ledger_floor(load->options.ledger, numbers[i]);
        }
    }
    return workload_compose_get(load->workload, numbers, request->key_count);
}

static struct slice compose_set(struct load *load, struct request *request,
                                struct request_key *keys)
{
    uint64_t key =
        load->phase->preload ? load->preload_next++ : workload_draw_write_key(load->workload);
    request->key_count = 1;
    keys[0] = (struct request_key){.key = key};
    uint32_t version = load_knows_key(load, key) ? ledger_send_write(load->options.ledger, key) : 0;
    return workload_compose_set(load->workload, key, version);
}

static struct slice compose(struct load *load, struct request *request, struct request_key *keys)
{
    switch ((enum request_kind)request->kind) {
    case REQUEST_SET: return compose_set(load, request, keys);
    case REQUEST_PING: return workload_compose_ping(load->workload);
    case REQUEST_GET:
    case REQUEST_KIND_COUNT:
    default: return compose_get(load, request, keys);
    }
}

static void issue(struct load *load, struct connection *connection, uint64_t intended_ns)
{
    uint32_t id = connection->next++;
    struct request *request = load_request_at(load, connection, id);
    *request = (struct request){
        .intended_ns = intended_ns,
        .sent_ns = load->now_ns,
        .kind = (uint8_t)(load->phase->preload ? REQUEST_SET : workload_draw_kind(load->workload)),
        .recorded = intended_ns >= load->record_start_ns,
        .active = true,
    };
    connection->active++;
    load->in_flight++;
    load->recorded_count += request->recorded;
    send_bytes(load, connection, id, compose(load, request, load_keys_at(load, connection, id)));
}

void load_authenticate(struct load *load, struct connection *connection)
{
    const char *password = load->options.password;
    char header[64];
    int size = snprintf(header, sizeof(header), "*2\r\n$4\r\nAUTH\r\n$%zu\r\n", strlen(password));
    struct byte_queue *out = &connection->stream->out;
    byte_queue_append(out, &load->transport->pool, header, (size_t)size);
    byte_queue_append(out, &load->transport->pool, password, strlen(password));
    byte_queue_append(out, &load->transport->pool, "\r\n", 2);
    stream_mark_dirty(connection->stream);
    connection->state = CONNECTION_AUTHENTICATING;
}

/* ---- the two loops --------------------------------------------------------------------------- */

static bool may_issue(struct load *load)
{
    const struct load_phase *phase = load->phase;
    if (phase->preload) {
        load->stopped |= load->preload_next >= load->workload->key_count;
    } else if (phase->request_count > 0) {
        load->stopped |= load->recorded_count >= phase->request_count;
    } else {
        load->stopped |= load->now_ns >= load->stop_ns;
    }
    load->stopped |= load->failed || load_was_interrupted();
    return !load->stopped;
}

static bool may_begin(const struct load *load)
{
    return load->options.in_flight_max == 0 || load->in_flight < load->options.in_flight_max;
}

/* Whose turn it is soon: its stream; and later: what names that. */
static void prefetch_turns(const struct load *load)
{
    void (*prefetch)(const struct stream *stream) = load->transport->operations->prefetch;
    if (prefetch != NULL && load->ready_count > 2 * TURNS_AHEAD) {
        load_prefetch(load, ready_at(load, 2 * TURNS_AHEAD));
        const struct stream *stream = load->connections[ready_at(load, TURNS_AHEAD)].stream;
        if (stream != NULL) {
            prefetch(stream);
        }
    }
}

static bool generate_closed(struct load *load)
{
    bool sent = false;
    for (uint32_t left = load->ready_count; left > 0 && may_begin(load); left--) {
        prefetch_turns(load);
        struct connection *connection = take_ready(load);
        while (has_room(load, connection) && may_issue(load)) {
            issue(load, connection, load->now_ns);
            sent = true;
        }
    }
    return sent;
}

static bool generate_open(struct load *load)
{
    bool sent = false;
    while (load->ready_count > 0 && may_begin(load) && may_issue(load)) {
        uint64_t due_ns = schedule_next_ns(&load->schedule);
        if (due_ns > load->now_ns || (load->phase->request_count == 0 && due_ns >= load->stop_ns)) {
            break;
        }
        struct connection *connection = take_ready(load);
        if (has_room(load, connection)) {
            issue(load, connection, due_ns);
            schedule_advance(&load->schedule);
            sent = true;
            load_offer(load, connection);
        }
    }
    return sent;
}

bool load_generate(struct load *load)
{
    if (!may_issue(load)) {
        return false;
    }
    return closed_loop(load) ? generate_closed(load) : generate_open(load);
}
