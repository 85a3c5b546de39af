/* Replies: which request they belong to, whether they are right, how long they took. */
#include <stdio.h>

#include "tests/bench/load_internal.h"

/* ---- the end of a request -------------------------------------------------------------------- */

static void retire(struct load *load, struct connection *connection, struct request *request)
{
    request->active = false;
    connection->active--;
    load->in_flight--;
    while (connection->first != connection->next &&
           !load_request_at(load, connection, connection->first)->active) {
        connection->first++;
    }
    load_offer(load, connection);
}

static void record(struct load *load, const struct request *request)
{
    uint64_t latency_ns =
        load->now_ns > request->intended_ns ? load->now_ns - request->intended_ns : 0;
    struct load_result *result = load->result;
    histogram_add(&result->all, latency_ns);
    histogram_add(&result->kinds[request->kind], latency_ns);
    histogram_add(&load->second, latency_ns);
}

/* What never came counts with the time that was waited for it: leaving it out would flatter. */
void load_abandon(struct load *load, struct connection *connection, struct request *request,
                  uint64_t *counter)
{
    if (request->recorded) {
        record(load, request);
    }
    if (request->recorded || load->phase->preload) {
        (*counter)++;
    }
    retire(load, connection, request);
}

static void count_status(struct load *load, const struct request *request,
                         const struct reply_event *event)
{
    struct load_result *result = load->result;
    if (event->status == REPLY_STATUS_ERROR) {
        if (result->errors++ == 0) {
            snprintf(result->first_error, sizeof(result->first_error), "%.*s",
                     (int)event->bytes.size, (const char *)event->bytes.data);
        }
    } else if (event->status == REPLY_STATUS_NOT) {
        result->not_stored++;
    }
}

static void finish_reply(struct load *load, struct connection *connection, uint32_t id,
                         const struct reply_event *event)
{
    struct request *request = load_request_at(load, connection, id);
    const struct request_key *keys = load_keys_at(load, connection, id);
    struct load_result *result = load->result;
    if (request->kind == REQUEST_SET && event->status == REPLY_STATUS_OK &&
        load_knows_key(load, keys[0].key)) {
        ledger_acknowledge_write(load->options.ledger, keys[0].key);
    }
    if (request->recorded) {
        count_status(load, request, event);
        if (request->kind == REQUEST_GET && event->status == REPLY_STATUS_OK) {
            result->hits += connection->value_count;
            result->misses += request->key_count - connection->value_count;
        }
        result->replies++;
        record(load, request);
    } else if (event->status == REPLY_STATUS_ERROR && load->phase->preload) {
        load_fail(load, "the server refuses a write: %.*s", (int)event->bytes.size,
                  (const char *)event->bytes.data);
    }
    load->last_reply_ns = load->now_ns;
    connection->value_index = connection->value_count = 0;
    retire(load, connection, request);
}

/* ---- values ---------------------------------------------------------------------------------- */

static void note_fault(struct load *load, uint64_t key, enum value_fault fault, uint32_t version,
                       uint32_t floor)
{
    struct load_result *result = load->result;
    result->faults[fault]++;
    if (result->first_fault[0] == '\0') {
        uint8_t text[WORKLOAD_KEY_BYTES_MAX];
        uint32_t size = workload_compose_key(load->workload, key, text);
        snprintf(result->first_fault, sizeof(result->first_fault),
                 "%s: %.*s (version %u, at least %u expected)", value_fault_names[fault],
                 size > 60 ? 60 : (int)size, (const char *)text, version, floor);
    }
}

/* RESP answers in the order of the keys; memcached leaves out what it does not have and names the
 * rest. False when the value belongs to none of the keys that are left. */
static bool find_value_key(struct load *load, struct connection *connection, uint32_t id,
                           const struct reply_event *event)
{
    const struct request *request = load_request_at(load, connection, id);
    const struct request_key *keys = load_keys_at(load, connection, id);
    if (event->key.data == NULL) {
        return connection->value_index < request->key_count;
    }
    for (; connection->value_index < request->key_count; connection->value_index++) {
        uint8_t text[WORKLOAD_KEY_BYTES_MAX];
        uint32_t size =
            workload_compose_key(load->workload, keys[connection->value_index].key, text);
        if (slice_equal(event->key, slice_of(text, size))) {
            return true;
        }
    }
    return false;
}

static void start_value(struct load *load, struct connection *connection, uint32_t id,
                        const struct reply_event *event)
{
    if (!find_value_key(load, connection, id, event)) {
        load_fail(load, "the server answers with a value that was not asked for");
        return;
    }
    connection->value_count++;
    connection->checking = load->options.ledger != NULL;
    if (connection->checking) {
        uint64_t key = load_keys_at(load, connection, id)[connection->value_index].key;
        value_check_start(&connection->check, workload_key_hash(key),
                          workload_value_size(load->workload, key), event->size);
    }
}

static void end_value(struct load *load, struct connection *connection, uint32_t id)
{
    const struct request_key *key = &load_keys_at(load, connection, id)[connection->value_index++];
    if (!connection->checking) {
        return;
    }
    const struct value_check *check = &connection->check;
    enum value_fault fault = check->fault;
    if (fault == VALUE_RIGHT && value_has_version(check->size)) {
        fault = ledger_check(load->options.ledger, key->key, key->floor, check->version);
    }
    load->result->values_checked++;
    if (fault != VALUE_RIGHT) {
        note_fault(load, key->key, fault, check->version, key->floor);
    }
}

/* ---- streams --------------------------------------------------------------------------------- */

static void take_authentication(struct load *load, struct connection *connection,
                                const struct reply_event *event)
{
    if (event->status != REPLY_STATUS_OK) {
        load_fail(load, "the server refuses the password: %.*s", (int)event->bytes.size,
                  (const char *)event->bytes.data);
        return;
    }
    connection->state = CONNECTION_READY;
    load->opening_count--;
}

/* One event of the reply to request `id`. True when that was its end. */
static bool take_event(struct load *load, struct connection *connection, uint32_t id,
                       enum reply_event_type type, const struct reply_event *event)
{
    switch (type) {
    case REPLY_VALUE_START: start_value(load, connection, id, event); break;
    case REPLY_VALUE_BYTES:
        if (connection->checking) {
            value_check_bytes(&connection->check, event->bytes);
        }
        break;
    case REPLY_VALUE_END: end_value(load, connection, id); break;
    case REPLY_VALUE_MISSING: connection->value_index++; break;
    case REPLY_DONE: finish_reply(load, connection, id, event); return true;
    case REPLY_BROKEN: load_fail(load, "the server's reply is no reply of this protocol"); break;
    case REPLY_NOTHING:
    case REPLY_NEED_MORE: break;
    }
    return false;
}

void load_take_bytes(struct load *load, struct connection *connection, struct slice bytes)
{
    load->result->bytes_received += bytes.size;
    while (!load->failed) {
        struct reply_event event;
        enum reply_event_type type = reply_next(&connection->parser, &bytes, &event);
        if (type == REPLY_NEED_MORE) {
            return;
        }
        if (connection->state == CONNECTION_AUTHENTICATING && type == REPLY_DONE) {
            take_authentication(load, connection, &event);
        } else if (connection->active == 0) {
            load_fail(load, "the server speaks without being asked: %.*s", (int)event.bytes.size,
                      (const char *)event.bytes.data);
        } else {
            (void)take_event(load, connection, connection->first, type, &event);
        }
    }
}

/* ---- datagrams ------------------------------------------------------------------------------- */

static bool find_request(const struct load *load, const struct connection *connection, uint16_t id,
                         uint32_t *found)
{
    uint32_t distance = (uint16_t)(id - (uint16_t)connection->first);
    *found = connection->first + distance;
    return distance < connection->next - connection->first &&
           load_request_at(load, connection, *found)->active;
}

/* The datagrams of one reply have to come in order and without those of another in between: what
 * comes otherwise counts as lost, and a late reply to a request that was given up is ignored. */
void load_take_datagram(struct load *load, struct connection *connection, struct slice payload)
{
    if (payload.size < LOAD_DATAGRAM_HEADER_BYTES) {
        return;
    }
    uint16_t id = bytes_read_be16(payload.data), sequence = bytes_read_be16(payload.data + 2);
    uint32_t found;
    if (!find_request(load, connection, id, &found)) {
        return;
    }
    if (sequence == 0) {
        reply_parser_reset(&connection->parser);
        connection->value_index = connection->value_count = 0;
    } else if (id != connection->datagram_id || sequence != connection->datagram_sequence + 1) {
        return;
    }
    connection->datagram_id = id;
    connection->datagram_sequence = sequence;
    struct slice bytes = slice_from(payload, LOAD_DATAGRAM_HEADER_BYTES);
    load->result->bytes_received += bytes.size;
    struct reply_event event;
    enum reply_event_type type;
    do {
        type = reply_next(&connection->parser, &bytes, &event);
    } while (type != REPLY_NEED_MORE && !load->failed &&
             !take_event(load, connection, found, type, &event));
}
