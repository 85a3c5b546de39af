/* The load as a whole: connections opened, a phase run to its end. load.h says how it measures. */
#include "tests/bench/load.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load_internal.h"

#define SECOND_NS        UINT64_C(1000000000)
#define MILLISECOND_NS   UINT64_C(1000000)
#define CONNECT_TIMEOUT  (10 * SECOND_NS)
#define PROBE_INTERVAL   (100 * MILLISECOND_NS)
#define CONNECTING_MAX   64U /* handshakes under way at the same time */
#define CLOSING_MAX      256U
#define CLOSE_TIMEOUT    (3 * SECOND_NS) /* since the last one that was over */
#define DATAGRAM_IDS_MAX 32768U
#define LARGE_PAGE_BYTES (2U << 20)
#define EVENTS_AHEAD     8U /* whose connections are on their way from memory */
#define WAIT_NS_MAX      (100 * MILLISECOND_NS)
#define WAKE_EARLY_NS                                                                              \
    (MILLISECOND_NS / 5) /* a sleep ends late by about so much: the rest is polled */
#define WATCH_INTERVAL_NS (10 * MILLISECOND_NS)

static volatile sig_atomic_t interrupted;

void load_interrupt(void)
{
    interrupted = 1;
}

bool load_was_interrupted(void)
{
    return interrupted != 0;
}

uint64_t load_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

static void read_clock(struct load *load)
{
    load->now_ns = load->options.clock_ns != NULL ? load->options.clock_ns() : load_clock_ns();
    load->instant = (struct instant){.mono_us = load->now_ns / 1000,
                                     .wall_ms = load->now_ns / MILLISECOND_NS,
                                     .wall_us = load->now_ns / 1000};
}

void load_fail(struct load *load, const char *format, ...)
{
    if (load->failed) {
        return;
    }
    va_list list;
    va_start(list, format);
    vsnprintf(load->error->text, sizeof(load->error->text), format, list);
    va_end(list);
    load->failed = true;
}

/* ---- create, destroy ------------------------------------------------------------------------- */

static uint32_t capacity_for(const struct load_options *options)
{
    /* A lost datagram keeps its slot until its time is over; the others go round it. */
    uint32_t wanted = options->pipeline * (options->datagrams ? 4 : 1), capacity = 1;
    while (capacity < wanted && capacity < DATAGRAM_IDS_MAX) {
        capacity *= 2;
    }
    return capacity;
}

/* In large pages, if it fills any and the kernel has some: what is looked at in turn is in no
 * cache, and would be outside of the TLB, too. */
static void *allocate_zeroed(size_t count, size_t object_bytes)
{
    size_t alignment = count * object_bytes < LARGE_PAGE_BYTES ? LOAD_LINE_BYTES : LARGE_PAGE_BYTES;
    size_t bytes = (count * object_bytes + alignment - 1) / alignment * alignment;
    void *memory = aligned_alloc(alignment, bytes);
    if (memory != NULL) {
        if (alignment == LARGE_PAGE_BYTES) {
            (void)madvise(memory, bytes, MADV_HUGEPAGE);
        }
        memset(memory, 0, bytes);
    }
    return memory;
}

static bool allocate(struct load *load)
{
    size_t count = load->options.connections;
    load->connections = allocate_zeroed(count, sizeof(struct connection));
    load->ready = allocate_zeroed(count, sizeof(uint32_t));
    load->request_memory = allocate_zeroed(count * load->capacity, sizeof(struct request));
    load->key_memory =
        allocate_zeroed(count * load->capacity * load->keys_a_request, sizeof(struct request_key));
    load->line_memory = calloc(count, REPLY_LINE_BYTES_MAX);
    return load->connections != NULL && load->ready != NULL && load->request_memory != NULL &&
           load->key_memory != NULL && load->line_memory != NULL;
}

struct load *load_create(const struct load_options *options)
{
    struct load *load = calloc(1, sizeof(*load));
    if (load == NULL) {
        return NULL;
    }
    load->options = *options;
    load->workload = options->workload;
    load->transport = options->transport;
    load->capacity = capacity_for(options);
    load->mask = load->capacity - 1;
    load->keys_a_request = options->workload->keys_a_get;
    if (!allocate(load)) {
        load_destroy(load);
        return NULL;
    }
    for (uint32_t i = 0; i < options->connections; i++) {
        struct connection *connection = &load->connections[i];
        connection->index = i;
        connection->requests = load->request_memory + (size_t)i * load->capacity;
        connection->keys = load->key_memory + (size_t)i * load->capacity * load->keys_a_request;
        reply_parser_init(&connection->parser, options->workload->protocol,
                          load->line_memory + (size_t)i * REPLY_LINE_BYTES_MAX);
    }
    return load;
}

void load_destroy(struct load *load)
{
    free(load->connections);
    free(load->ready);
    free(load->request_memory);
    free(load->key_memory);
    free(load->line_memory);
    free(load);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void take_opened(struct load *load, struct connection *connection)
{
    load->open_count++;
    if (load->options.password != NULL) {
        load_authenticate(load, connection);
        return;
    }
    connection->state = CONNECTION_READY;
    load->opening_count--;
}

static void take_closed(struct load *load, struct connection *connection)
{
    char peer[ENDPOINT_TEXT_BYTES_MAX];
    endpoint_format(&load->options.peer, peer);
    connection->stream = NULL;
    if (connection->state != CONNECTION_READY) {
        load_fail(load, "cannot connect to %s: refused, reset or not answered", peer);
        return;
    }
    connection->state = CONNECTION_CLOSED;
    load->open_count--;
    load->result->disconnects++;
    load_fail(load, "%s closed a connection", peer);
}

static void take_stream_event(struct load *load, const struct stream_event *event)
{
    struct connection *connection = event->stream->session;
    if (connection == NULL) {
        return;
    }
    switch (event->type) {
    case STREAM_OPENED: take_opened(load, connection); break;
    case STREAM_DATA: load_take_bytes(load, connection, event->data); break;
    case STREAM_FINISHED:
        event->stream->close_requested = true;
        stream_mark_dirty(event->stream);
        break;
    case STREAM_CLOSED: take_closed(load, connection); break;
    case STREAM_DRAINED: break;
    }
}

static void take_datagram(struct load *load, const struct transport_datagram *datagram)
{
    load->probe_answered = true;
    if (load->phase != NULL) {
        load_take_datagram(load, &load->connections[datagram->channel], datagram->payload);
    }
}

static void prefetch_connection(const struct load *load, const struct stream_event *event)
{
    const struct connection *connection = event->stream->session;
    if (connection != NULL) {
        load_prefetch(load, (uint32_t)(connection - load->connections));
    }
}

/* One pass of input. True when anything came. */
static bool take_input(struct load *load)
{
    struct transport_input *input = &load->input;
    load->transport->operations->input(load->transport, &load->instant, input);
    if (input->event_count == 0 && input->datagram_count == 0) {
        return false;
    }
    read_clock(load);
    load->last_activity_ns = load->now_ns;
    for (uint32_t i = 0; i < EVENTS_AHEAD && i < input->event_count; i++) {
        prefetch_connection(load, &input->events[i]);
    }
    for (uint32_t i = 0; i < input->event_count; i++) {
        if (i + EVENTS_AHEAD < input->event_count) {
            prefetch_connection(load, &input->events[i + EVENTS_AHEAD]);
        }
        take_stream_event(load, &input->events[i]);
    }
    for (uint32_t i = 0; i < input->datagram_count; i++) {
        take_datagram(load, &input->datagrams[i]);
    }
    return true;
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void start_connection(struct load *load, struct connection *connection)
{
    const struct transport_operations *operations = load->transport->operations;
    if (load->options.datagrams) {
        int result =
            operations->open_channel(load->transport, connection->index, &load->options.peer);
        if (result < 0) {
            load_fail(load, "cannot open a UDP port: %s", strerror(-result));
        }
        connection->state = CONNECTION_READY;
        return;
    }
    connection->stream = operations->connect(load->transport, &load->options.peer, &load->instant);
    if (connection->stream == NULL) {
        load_fail(load, "cannot connect (connection %u): %s", connection->index, strerror(errno));
        return;
    }
    connection->stream->session = connection;
    connection->state = CONNECTION_OPENING;
    load->opening_count++;
}

/* The first one alone: until the neighbour's address is known, one packet waits and others are
 * lost. */
static uint32_t connecting_limit(const struct load *load)
{
    return load->open_count == 0 ? 1 : CONNECTING_MAX;
}

static void connect_pass(struct load *load, uint32_t *started)
{
    read_clock(load);
    while (*started < load->options.connections && !load->failed &&
           load->opening_count < connecting_limit(load)) {
        start_connection(load, &load->connections[(*started)++]);
    }
    load->transport->operations->output(load->transport, &load->instant);
    if (!take_input(load) && load->transport->operations->wait != NULL && load->opening_count > 0) {
        load->transport->operations->wait(load->transport, 10 * MILLISECOND_NS);
    }
}

/* Somebody must be there, and with our own stack the way be known: until the neighbour answers, one
 * packet waits and others are lost. Its id is one that a phase begins far away from. */
static void probe_with_datagram(struct load *load, uint64_t *next_ns)
{
    static const uint8_t probe[] = "\xff\xff\0\0\0\1\0\0version\r\n";
    if (load->now_ns >= *next_ns) {
        (void)load->transport->operations->send(load->transport, 0,
                                                slice_of(probe, sizeof(probe) - 1), &load->instant);
        *next_ns = load->now_ns + PROBE_INTERVAL;
    }
    (void)take_input(load);
    load->transport->operations->output(load->transport, &load->instant);
    read_clock(load);
}

static bool is_connected(const struct load *load, uint32_t started)
{
    return started == load->options.connections && load->opening_count == 0 &&
           (!load->options.datagrams || load->probe_answered);
}

int load_connect(struct load *load, struct config_error *error)
{
    struct load_result *unused = calloc(1, sizeof(*unused));
    uint32_t started = 0;
    load->error = error;
    load->result = unused;
    read_clock(load);
    uint64_t deadline_ns = load->now_ns + CONNECT_TIMEOUT, probe_ns = 0;
    while (unused != NULL && !load->failed && !load_was_interrupted() &&
           !is_connected(load, started)) {
        uint32_t open = load->open_count;
        connect_pass(load, &started);
        if (load->open_count > open) {
            deadline_ns = load->now_ns + CONNECT_TIMEOUT;
        }
        if (load->options.datagrams && !load->failed) {
            probe_with_datagram(load, &probe_ns);
        }
        if (load->now_ns > deadline_ns) {
            char peer[ENDPOINT_TEXT_BYTES_MAX];
            endpoint_format(&load->options.peer, peer);
            load_fail(load, "%s does not answer", peer);
        }
    }
    free(unused);
    load->result = NULL;
    return unused == NULL || load->failed ? -1 : 0;
}

/* ---- disconnecting --------------------------------------------------------------------------- */

/* A peer may close, too; nothing else that it says matters any more. */
static void forget_closed(struct load *load, uint32_t *held)
{
    for (uint32_t i = 0; i < load->input.event_count; i++) {
        const struct stream_event *event = &load->input.events[i];
        struct connection *connection = event->stream->session;
        if (event->type == STREAM_CLOSED && connection != NULL) {
            connection->stream = NULL;
            (*held)--;
        }
    }
}

static void close_in_order(struct connection *connection, uint32_t *held)
{
    struct stream *stream = connection->stream;
    if (stream != NULL) {
        stream->session = connection->stream = NULL;
        stream->close_requested = true;
        stream_mark_dirty(stream);
        (*held)--;
    }
}

static uint32_t count_held(const struct load *load)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < load->options.connections; i++) {
        held += load->connections[i].stream != NULL;
    }
    return held;
}

void load_disconnect(struct load *load)
{
    const struct transport_operations *operations = load->transport->operations;
    if (operations->connection_count == NULL) {
        return;
    }
    uint32_t held = count_held(load), next = 0, left, least = UINT32_MAX;
    uint64_t deadline_ns = 0;
    while ((left = operations->connection_count(load->transport)) > 0) {
        read_clock(load);
        if (left < least) {
            least = left;
            deadline_ns = load->now_ns + CLOSE_TIMEOUT;
        } else if (load->now_ns > deadline_ns) {
            return;
        }
        while (next < load->options.connections && left < held + CLOSING_MAX) {
            close_in_order(&load->connections[next++], &held);
        }
        operations->output(load->transport, &load->instant);
        operations->input(load->transport, &load->instant, &load->input);
        forget_closed(load, &held);
    }
}

/* ---- seconds and progress -------------------------------------------------------------------- */

static void add_second(struct load *load)
{
    struct load_result *result = load->result;
    if (result->second_count == load->second_capacity) {
        uint32_t capacity = load->second_capacity * 2 + 64;
        struct load_second *grown = realloc(result->seconds, capacity * sizeof(*grown));
        if (grown == NULL) {
            return;
        }
        result->seconds = grown;
        load->second_capacity = capacity;
    }
    result->seconds[result->second_count++] = (struct load_second){
        .replies = load->second.count,
        .p50_ns = histogram_quantile(&load->second, 0.5),
        .p99_ns = histogram_quantile(&load->second, 0.99),
        .maximum_ns = load->second.maximum,
    };
}

static void show_progress(const struct load *load)
{
    const struct load_second *second = &load->result->seconds[load->result->second_count - 1];
    fprintf(stderr, "\r%5u s  %12llu replies/s  p50 %.3f ms  p99 %.3f ms  max %.3f ms   ",
            load->result->second_count, (unsigned long long)second->replies,
            (double)second->p50_ns / 1e6, (double)second->p99_ns / 1e6,
            (double)second->maximum_ns / 1e6);
}

static void close_seconds(struct load *load)
{
    while (load->now_ns >= load->second_end_ns) {
        add_second(load);
        if (load->phase->show_progress && load->result->second_count > 0) {
            show_progress(load);
        }
        histogram_init(&load->second);
        load->second_end_ns += SECOND_NS;
    }
}

/* ---- time limits ----------------------------------------------------------------------------- */

static void expire_datagrams(struct load *load, struct connection *connection)
{
    for (uint32_t id = connection->first; id != connection->next; id++) {
        struct request *request = load_request_at(load, connection, id);
        if (!request->active) {
            continue;
        }
        if (load->now_ns - request->sent_ns < load->options.datagram_timeout_ns) {
            return; /* the later ones were sent later */
        }
        load_abandon(load, connection, request, &load->result->lost);
    }
}

static void watch_limits(struct load *load)
{
    if (load->options.datagrams) {
        for (uint32_t i = 0; i < load->options.connections; i++) {
            expire_datagrams(load, &load->connections[i]);
        }
    } else if (load->in_flight > 0 &&
               load->now_ns - load->last_activity_ns > load->options.timeout_ns) {
        load_fail(load, "no answer for %.1f seconds, %llu requests are waiting",
                  (double)load->options.timeout_ns / 1e9, (unsigned long long)load->in_flight);
    }
}

/* ---- a phase --------------------------------------------------------------------------------- */

static void begin_phase(struct load *load, const struct load_phase *phase,
                        struct load_result *result)
{
    load->phase = phase;
    load->result = result;
    load->stopped = false;
    load->recorded_count = load->preload_next = 0;
    load->second_capacity = 0;
    read_clock(load);
    load->record_start_ns = phase->preload ? UINT64_MAX : load->now_ns + phase->warmup_ns;
    load->stop_ns = load->record_start_ns + phase->duration_ns;
    load->last_activity_ns = load->now_ns;
    load->last_reply_ns = load->record_start_ns;
    load->second_end_ns = phase->preload ? UINT64_MAX : load->record_start_ns + SECOND_NS;
    memset(result, 0, sizeof(*result));
    histogram_init(&result->all);
    histogram_init(&load->second);
    for (uint32_t i = 0; i < REQUEST_KIND_COUNT; i++) {
        histogram_init(&result->kinds[i]);
    }
    if (phase->rate > 0) {
        schedule_init(&load->schedule, load->now_ns, phase->rate, phase->poisson, phase->seed);
    }
    for (uint32_t i = 0; i < load->options.connections; i++) {
        load_offer(load, &load->connections[i]);
    }
}

/* How long nothing can become due but by the server; 0 when it is better to look again at once. */
static uint64_t idle_ns(const struct load *load)
{
    if (load->options.busy || load->transport->operations->wait == NULL) {
        return 0;
    }
    if (load->phase->rate <= 0 || load->stopped) {
        return WAIT_NS_MAX;
    }
    if (load->ready_count == 0) {
        return MILLISECOND_NS; /* all connections are waiting for replies */
    }
    uint64_t due_ns = schedule_next_ns(&load->schedule);
    if (due_ns <= load->now_ns + WAKE_EARLY_NS) {
        return 0;
    }
    uint64_t left_ns = due_ns - load->now_ns - WAKE_EARLY_NS;
    return left_ns < WAIT_NS_MAX ? left_ns : WAIT_NS_MAX;
}

static void run_pass(struct load *load)
{
    read_clock(load);
    bool worked = take_input(load);
    worked |= load_generate(load);
    load->transport->operations->output(load->transport, &load->instant);
    if (load->now_ns >= load->second_end_ns) {
        close_seconds(load);
    }
    uint64_t wait_ns = worked ? 0 : idle_ns(load);
    if (wait_ns > 0) {
        load->transport->operations->wait(load->transport, wait_ns);
    }
}

/* Due before the end, and never sent: each has waited at least until the end. */
static void count_unsent(struct load *load)
{
    if (load->phase->rate <= 0 || load->phase->request_count > 0 || load_was_interrupted()) {
        return;
    }
    for (; schedule_next_ns(&load->schedule) < load->stop_ns; schedule_advance(&load->schedule)) {
        uint64_t due_ns = schedule_next_ns(&load->schedule);
        if (due_ns >= load->record_start_ns) {
            load->result->unsent++;
            histogram_add(&load->result->all, load->stop_ns - due_ns);
        }
    }
}

static void end_phase(struct load *load)
{
    struct load_result *result = load->result;
    for (uint32_t i = 0; i < load->options.connections; i++) {
        struct connection *connection = &load->connections[i];
        for (uint32_t id = connection->first; id != connection->next; id++) {
            struct request *request = load_request_at(load, connection, id);
            if (request->active) {
                load_abandon(load, connection, request, &result->unanswered);
            }
        }
        connection->queued = false;
    }
    load->ready_count = 0;
    if (!load->phase->preload && load->second.count > 0) {
        add_second(load);
    }
    count_unsent(load);
    if (load->last_reply_ns > load->record_start_ns) {
        result->elapsed_ns = load->last_reply_ns - load->record_start_ns;
    }
    if (load->phase->show_progress) {
        fprintf(stderr, "\r%78s\r", "");
    }
    load->phase = NULL;
    load->result = NULL;
}

int load_run(struct load *load, const struct load_phase *phase, struct load_result *result,
             struct config_error *error)
{
    load->error = error;
    begin_phase(load, phase, result);
    uint64_t watch_ns = load->now_ns + WATCH_INTERVAL_NS;
    while (!load->failed && (!load->stopped || load->in_flight > 0)) {
        run_pass(load);
        if (load->now_ns >= watch_ns) {
            watch_limits(load);
            watch_ns = load->now_ns + WATCH_INTERVAL_NS;
        }
    }
    end_phase(load);
    return load->failed ? -1 : 0;
}

void load_result_deinit(struct load_result *result)
{
    free(result->seconds);
    result->seconds = NULL;
}
