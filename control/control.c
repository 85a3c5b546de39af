/* The control loop: signals, status, and the workers' rare requests.
 *
 * Thread: control (the main thread), but for control_request_stop. Memory: the configuration in
 * force and one loop; a request stays the worker's, it is answered in place and sent back. Failure:
 * a request that cannot be met is answered with its error text; nothing here ends the process.
 *
 * Invariants:
 *  1. Only the control thread writes the configuration slot.
 *  2. A request received is answered exactly once; when the channel back is full, the answer waits
 *     and no further request of that worker is taken.
 */
#include "control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "control/eviction/eviction.h"
#include "dataplane/access/access.h"
#include "dataplane/base/check.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/hash.h"
#include "dataplane/base/log.h"
#include "dataplane/base/rcu.h"
#include "dataplane/capture/capture.h"
#include "dataplane/channel/channel.h"
#include "dataplane/l7_command/command.h"

#define TICK_MS        100
#define SAMPLE_COUNT   16 /* of the rates: 1.6 s, as Redis' instantaneous metrics */
#define REQUESTS_BURST 64 /* of one worker in one turn of the loop */

/* A counter over the last SAMPLE_COUNT ticks. */
struct rate {
    uint64_t last;
    uint64_t per_second[SAMPLE_COUNT];
    uint32_t next;
};

struct control {
    uv_loop_t loop;
    uv_timer_t tick, eviction_timer;
    uv_poll_t wake;
    uv_signal_t interrupt, terminate;
    int wake_fd, statm_fd;
    uint32_t stop_requested; /* atomic: any thread */

    struct config *config;            /* in force, ours */
    const struct config *config_slot; /* the same, as workers read it */
    struct access *access;            /* NULL: none (tests) */
    struct capture *capture;          /* the same */
    struct control_status status;
    void (*watch_links)(void *argument); /* NULL: none */
    void *links;

    struct control_workers workers;
    struct message unsent[CONFIG_WORKERS_MAX]; /* answers that wait for room; type NONE: none */
    struct eviction *eviction;                 /* NULL: no shards */
    struct rate operations, input_bytes, output_bytes;
    uint64_t last_tick_us;
};

/* ---- status ------------------------------------------------------------------------------------
 */

static void publish(uint64_t *field, uint64_t value)
{
    __atomic_store_n(field, value, __ATOMIC_RELAXED);
}

/* statm's second number is the resident size in pages. */
static uint64_t read_resident_bytes(int statm_fd)
{
    char text[128];
    unsigned long long total, resident;
    ssize_t size = pread(statm_fd, text, sizeof(text) - 1, 0);
    if (size <= 0) {
        return 0;
    }
    text[size] = '\0';
    return sscanf(text, "%llu %llu", &total, &resident) == 2
               ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE)
               : 0;
}

static uint64_t microseconds(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000U + (uint64_t)time.tv_usec;
}

static uint64_t sum_metric(const struct control *control, enum metric metric)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < control->workers.count; i++) {
        sum += metric_read(control->workers.metrics[i], metric);
    }
    return sum;
}

static uint64_t rate_update(struct rate *rate, uint64_t count, uint64_t elapsed_us)
{
    uint64_t sum = 0;
    uint64_t grown = count >= rate->last ? count - rate->last : 0;
    rate->last = count;
    rate->per_second[rate->next] = elapsed_us == 0 ? 0 : grown * 1000000U / elapsed_us;
    rate->next = (rate->next + 1) % SAMPLE_COUNT;
    for (uint32_t i = 0; i < SAMPLE_COUNT; i++) {
        sum += rate->per_second[i];
    }
    return sum / SAMPLE_COUNT;
}

static void publish_status(struct control *control)
{
    struct control_status *status = &control->status;
    struct instant now;
    struct rusage usage;
    clock_read(&now);
    uint64_t elapsed_us = now.mono_us - control->last_tick_us;
    control->last_tick_us = now.mono_us;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        publish(&status->cpu_user_us, microseconds(usage.ru_utime));
        publish(&status->cpu_system_us, microseconds(usage.ru_stime));
    }
    publish(&status->resident_bytes, read_resident_bytes(control->statm_fd));
    publish(&status->operations_per_second,
            rate_update(&control->operations, sum_metric(control, METRIC_COMMANDS_PROCESSED),
                        elapsed_us));
    publish(&status->input_bytes_per_second,
            rate_update(&control->input_bytes, sum_metric(control, METRIC_SESSION_INPUT_BYTES),
                        elapsed_us));
    publish(&status->output_bytes_per_second,
            rate_update(&control->output_bytes, sum_metric(control, METRIC_SESSION_OUTPUT_BYTES),
                        elapsed_us));
}

/* What stays the same as long as the process runs. */
static void fill_constant_status(struct control *control)
{
    struct control_status *status = &control->status;
    struct instant now;
    clock_read(&now);
    control->last_tick_us = now.mono_us;
    status->start_wall_ms = now.wall_ms;
    for (uint32_t i = 0; i < 40; i += 8) {
        snprintf(status->run_id + i, sizeof(status->run_id) - i, "%08x", (uint32_t)random_seed());
    }
    ssize_t size = readlink("/proc/self/exe", status->executable, sizeof(status->executable) - 1);
    status->executable[size > 0 ? size : 0] = '\0';
    snprintf(status->config_file, sizeof(status->config_file), "%.255s",
             control->config->file_path);
}

/* ---- requests ----------------------------------------------------------------------------------
 */

/* What a changed directive means for this process beside the snapshot. */
static void apply_config(const struct config *config)
{
    log_set_level((enum log_level)config->loglevel);
}

/* The next snapshot takes the slot; the old one goes when no worker can hold it any more. */
static void publish_config(struct control *control, struct config *next)
{
    struct config *old = control->config;
    control->config = next;
    RCU_PUBLISH(&control->config_slot, next);
    rcu_wait_for_readers();
    config_destroy(old);
    apply_config(next);
}

/* What can fail comes before the snapshot is published; all or nothing. */
static int apply_to_parts(struct control *control, const struct config *next,
                          struct config_error *error)
{
    struct config_error ignored;
    int result = control->capture == NULL ? 0 : capture_set(control->capture, next, error);
    if (result == 0 && control->access != NULL) {
        result = access_set(control->access, next, error);
        if (result != 0 && control->capture != NULL) {
            (void)capture_set(control->capture, control->config, &ignored);
        }
    }
    return result;
}

/* A capture that is complete takes its name out of the configuration. */
static void run_capture(struct control *control)
{
    if (control->capture == NULL || !capture_run(control->capture)) {
        return;
    }
    struct config_error ignored;
    struct config *next = config_copy(control->config);
    char name[] = "capture-file", none[] = "";
    char *const pair[] = {name, none};
    if (next != NULL && config_set(next, 2, pair, &ignored) == 0) {
        publish_config(control, next);
    } else {
        config_destroy(next);
    }
}

static void set_config(struct control *control, struct control_request *request)
{
    struct config_error error;
    struct config *next = config_copy(control->config);
    if (next == NULL) {
        snprintf(request->error, sizeof(request->error), "ERR out of memory");
        return;
    }
    if (config_set(next, request->argument_count, request->arguments, &error) != 0) {
        snprintf(request->error, sizeof(request->error), "%s", error.text);
        config_destroy(next);
        return;
    }
    if (apply_to_parts(control, next, &error) != 0) {
        snprintf(request->error, sizeof(request->error), "%s", error.text);
        config_destroy(next);
        return;
    }
    publish_config(control, next);
}

static void rewrite_config(struct control *control, struct control_request *request)
{
    struct config_error error;
    int result = config_rewrite(control->config, &error);
    if (result != 0) {
        snprintf(request->error, sizeof(request->error), "%s", error.text);
        log_warning("CONFIG REWRITE failed: %s", error.text);
        return;
    }
    log_notice("CONFIG REWRITE executed with success");
}

static void answer_request(struct control *control, struct control_request *request)
{
    request->error[0] = '\0';
    switch (request->type) {
    case CONTROL_CONFIG_SET: set_config(control, request); break;
    case CONTROL_CONFIG_REWRITE: rewrite_config(control, request); break;
    case CONTROL_SHUTDOWN: control_request_stop(control, "SHUTDOWN command"); break;
    case CONTROL_LOG: log_warning("%s", request->arguments[0]); break;
    default: CHECK(false);
    }
}

/* True when nothing of this worker waits for room any more. */
static bool send_unsent(struct control *control, uint32_t worker)
{
    struct message *unsent = &control->unsent[worker];
    if (unsent->type == MESSAGE_NONE) {
        return true;
    }
    if (!channel_send(control->workers.to[worker], unsent)) {
        return false;
    }
    unsent->type = MESSAGE_NONE;
    if (control->workers.wake != NULL) {
        control->workers.wake(control->workers.argument, worker);
    }
    return true;
}

static void serve_worker(struct control *control, uint32_t worker)
{
    struct message message;
    for (uint32_t i = 0; i < REQUESTS_BURST && send_unsent(control, worker); i++) {
        if (channel_receive_burst(control->workers.from[worker], &message, 1) == 0) {
            return;
        }
        if (message.type == MESSAGE_EVICTED_BATCH) {
            eviction_take_back(control->eviction, worker, message.pointer);
            continue;
        }
        CHECK(message.type == MESSAGE_CONTROL_REQUEST);
        answer_request(control, message.pointer);
        control->unsent[worker] = (struct message){.type = MESSAGE_CONTROL_REPLY,
                                                   .from = CHANNEL_FROM_CONTROL,
                                                   .pointer = message.pointer};
    }
}

static void serve_workers(struct control *control)
{
    for (uint32_t i = 0; i < control->workers.count; i++) {
        serve_worker(control, i);
    }
}

/* ---- eviction ------------------------------------------------------------------------------ */

static void on_eviction_due(uv_timer_t *timer);

/* While nothing is near, the tick and the workers' wakes are enough. */
static void run_eviction(struct control *control)
{
    struct instant now;
    if (control->eviction == NULL) {
        return;
    }
    clock_read(&now);
    uint32_t ms = eviction_run(control->eviction, control->config, &now);
    if (ms < TICK_MS) {
        (void)uv_timer_start(&control->eviction_timer, on_eviction_due, ms, 0);
    }
}

static void on_eviction_due(uv_timer_t *timer)
{
    struct control *control = timer->data;
    serve_workers(control);
    run_eviction(control);
}

/* ---- the loop
 * ------------------------------------------------------------------------------------ */

static void stop_if_requested(struct control *control)
{
    if (__atomic_load_n(&control->stop_requested, __ATOMIC_ACQUIRE) != 0) {
        uv_stop(&control->loop);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct control *control = timer->data;
    publish_status(control);
    run_capture(control);
    if (control->watch_links != NULL) {
        control->watch_links(control->links);
    }
    serve_workers(control);
    run_eviction(control);
    stop_if_requested(control);
}

static void on_wake(uv_poll_t *poll, int status, int events)
{
    struct control *control = poll->data;
    uint64_t count;
    (void)status;
    (void)events;
    if (read(control->wake_fd, &count, sizeof(count)) < 0) {
        CHECK(errno == EAGAIN || errno == EINTR);
    }
    serve_workers(control);
    run_eviction(control);
    stop_if_requested(control);
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct control *control = signal->data;
    control_request_stop(control, number == SIGINT ? "SIGINT" : "SIGTERM");
}

static void wake(const struct control *control)
{
    uint64_t one = 1;
    if (write(control->wake_fd, &one, sizeof(one)) < 0) {
        CHECK(errno == EAGAIN || errno == EINTR); /* full: it is awake anyway; the tick comes */
    }
}

void control_request_stop(struct control *control, const char *why)
{
    if (__atomic_exchange_n(&control->stop_requested, 1, __ATOMIC_ACQ_REL) == 0) {
        log_notice("stopping: %s", why);
    }
    wake(control);
}

void control_run(struct control *control)
{
    stop_if_requested(control); /* a signal during the start */
    rcu_thread_register();
    rcu_thread_offline();
    uv_run(&control->loop, UV_RUN_DEFAULT);
    rcu_thread_unregister();
}

void control_set_capture(struct control *control, struct capture *capture)
{
    struct config_error error;
    control->capture = capture;
    if (capture != NULL && capture_set(capture, control->config, &error) != 0) {
        log_warning("%s", error.text);
    }
}

void control_set_access(struct control *control, struct access *access)
{
    control->access = access;
}

void control_set_links(struct control *control, void (*watch)(void *argument), void *argument)
{
    control->watch_links = watch;
    control->links = argument;
}

/* ---- life --------------------------------------------------------------------------------------
 */

static int start_handles(struct control *control)
{
    int result = uv_timer_init(&control->loop, &control->tick);
    control->tick.data = control;
    result = result != 0 ? result : uv_timer_start(&control->tick, on_tick, TICK_MS, TICK_MS);
    result = result != 0 ? result : uv_timer_init(&control->loop, &control->eviction_timer);
    control->eviction_timer.data = control;
    result = result != 0 ? result : uv_poll_init(&control->loop, &control->wake, control->wake_fd);
    control->wake.data = control;
    result = result != 0 ? result : uv_poll_start(&control->wake, UV_READABLE, on_wake);
    result = result != 0 ? result : uv_signal_init(&control->loop, &control->interrupt);
    control->interrupt.data = control;
    result = result != 0 ? result : uv_signal_start(&control->interrupt, on_signal, SIGINT);
    result = result != 0 ? result : uv_signal_init(&control->loop, &control->terminate);
    control->terminate.data = control;
    return result != 0 ? result : uv_signal_start(&control->terminate, on_signal, SIGTERM);
}

static void close_handle(uv_handle_t *handle, void *argument)
{
    (void)argument;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void close_loop(struct control *control)
{
    uv_walk(&control->loop, close_handle, NULL);
    uv_run(&control->loop, UV_RUN_DEFAULT); /* the close callbacks */
    CHECK(uv_loop_close(&control->loop) == 0);
}

static int open_descriptors(struct control *control)
{
    control->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (control->wake_fd < 0) {
        return -errno;
    }
    control->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (control->statm_fd < 0) {
        int result = -errno;
        close(control->wake_fd);
        return result;
    }
    return 0;
}

static void close_descriptors(struct control *control)
{
    close(control->statm_fd);
    close(control->wake_fd);
}

static int setup(struct control *control)
{
    int result = open_descriptors(control);
    if (result != 0) {
        return result;
    }
    result = uv_loop_init(&control->loop);
    if (result != 0) {
        close_descriptors(control);
        return result;
    }
    result = start_handles(control);
    if (result != 0) {
        close_loop(control);
        close_descriptors(control);
    }
    return result;
}

struct control *control_create(struct config *config, struct config_error *error)
{
    struct control *control = calloc(1, sizeof(*control));
    int result = control == NULL ? -ENOMEM : setup(control);
    if (result != 0) {
        snprintf(error->text, sizeof(error->text), "control loop: %s", strerror(-result));
        free(control);
        return NULL;
    }
    control->config = config;
    control->config_slot = config;
    fill_constant_status(control);
    publish_status(control);
    return control;
}

void control_destroy(struct control *control)
{
    close_loop(control);
    close_descriptors(control);
    config_destroy(control->config);
    free(control);
}

const struct config *const *control_config_slot(const struct control *control)
{
    return &control->config_slot;
}

const struct control_status *control_status_slot(const struct control *control)
{
    return &control->status;
}

int control_wake_fd(const struct control *control)
{
    return control->wake_fd;
}

int control_attach_workers(struct control *control, const struct control_workers *workers)
{
    CHECK(workers->count <= CONFIG_WORKERS_MAX);
    control->workers = *workers;
    if (workers->shards == NULL) {
        return 0;
    }
    struct eviction_links links = {.count = workers->count,
                                   .shards = workers->shards,
                                   .to = workers->to,
                                   .wake = workers->wake,
                                   .argument = workers->argument};
    control->eviction = eviction_create(&links);
    return control->eviction != NULL ? 0 : -ENOMEM;
}

/* Nobody reads the channel any more: every message in it is a request that somebody must free. */
static void drain(struct channel *channel)
{
    struct message message;
    while (channel_receive_burst(channel, &message, 1) != 0) {
        if (message.type == MESSAGE_CONTROL_REQUEST || message.type == MESSAGE_CONTROL_REPLY) {
            control_request_destroy(message.pointer);
        }
    }
}

void control_detach_workers(struct control *control)
{
    for (uint32_t i = 0; i < control->workers.count; i++) {
        drain(control->workers.from[i]);
        drain(control->workers.to[i]);
        if (control->unsent[i].type != MESSAGE_NONE) {
            control_request_destroy(control->unsent[i].pointer);
            control->unsent[i].type = MESSAGE_NONE;
        }
    }
    eviction_destroy(control->eviction); /* with all batches, wherever they are */
    control->eviction = NULL;
    control->workers = (struct control_workers){0};
}
