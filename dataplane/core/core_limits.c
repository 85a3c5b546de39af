/* What one client may keep us waiting for, and what all of them may make us hold.
 *
 * A client that has begun a request, or has not logged in where a password is asked for, owes us
 * something. Such clients stand in a list, those first that began to owe first, so that a look at
 * its head tells each pass whether anybody's time (request-timeout) is over. Whoever has sent
 * enough or finished a request meanwhile goes to the end of it: a large value may take its time, a
 * byte now and then may not. A login is not put off.
 *
 * What clients make us hold (maxmemory-clients) is counted in sums: pages of replies and of TCP's
 * reassembly, the buffers of requests, the memory of values that are on their way, all of it
 * from the moment that they are announced, and the large values that only replies still hold, each
 * once: as long as a key has it, a value costs no more for being read. When all workers' clients
 * hold more than the limit, each worker with more than its part drops the client that holds most,
 * one after the other is gone, until it is kept. For its part all that its clients' replies refer
 * to counts, for it does not know what of that is only theirs.
 *
 * What one client leaves unread (client-output-buffer-limit) is judged when its session settles,
 * before anything of it is sent, as Redis does; a client beyond the soft limit also once a second,
 * and everybody when the limit changes. It counts what waits here: with our own TCP also what the
 * peer has not acknowledged, with a socket not what the kernel has taken.
 *
 * Thread: the owning worker. Failure: a client that is ended hears nothing of why: it does not
 * read.
 */
#include <inttypes.h>
#include <stdio.h>

#include "dataplane/base/check.h"
#include "dataplane/core/core_internal.h"

/* What a request that is on its way must bring, at least. */
#define PROGRESS_BYTES_PER_SECOND 1024U

#define OUTPUT_CHECK_INTERVAL_US 1000000U
#define LOG_INTERVAL_US          1000000U
#define LOGGED_BYTES_MAX         896U /* with the words around them they fit into a line of the log */

/* ---- owing ----------------------------------------------------------------------------------- */

static bool owes_login(const struct core *core, const struct client *client)
{
    return !client->authenticated && core->config->requirepass[0] != '\0';
}

static bool owes(const struct core *core, const struct conversation *conversation)
{
    const struct session *session = &conversation->session;
    bool unfinished =
        session->blocked == SESSION_RUNNING && (session->buffer_bytes > 0 || session->bulk_active);
    return !session->closing && (unfinished || owes_login(core, &conversation->client));
}

static uint32_t mono_ms(const struct core *core)
{
    return (uint32_t)(core->now.mono_us / 1000U);
}

static void append_owing(struct core *core, struct conversation *conversation)
{
    struct owing *owing = &conversation->owing;
    owing->input_bytes = conversation->client.input_bytes;
    owing->since_ms = mono_ms(core);
    owing->command_count = (uint32_t)conversation->client.command_count;
    conversation->owes = true;
    owing->next = NULL;
    owing->previous = core->owing_last;
    *(core->owing_last != NULL ? &core->owing_last->owing.next : &core->owing_first) = conversation;
    core->owing_last = conversation;
}

static void remove_owing(struct core *core, struct conversation *conversation)
{
    struct owing *owing = &conversation->owing;
    *(owing->previous != NULL ? &owing->previous->owing.next : &core->owing_first) = owing->next;
    *(owing->next != NULL ? &owing->next->owing.previous : &core->owing_last) = owing->previous;
    conversation->owes = false;
}

void core_note_owing(struct core *core, struct conversation *conversation)
{
    bool now_owes = owes(core, conversation);
    if (LIKELY(now_owes == conversation->owes)) {
        return;
    }
    if (now_owes) {
        append_owing(core, conversation);
    } else {
        remove_owing(core, conversation);
    }
}

static bool is_excused(const struct core *core, const struct conversation *conversation,
                       uint64_t timeout_us)
{
    const struct client *client = &conversation->client;
    if (owes_login(core, client)) { /* in milliseconds, as it is looked at */
        return mono_ms(core) - (uint32_t)(client->created_mono_us / 1000U) < timeout_us / 1000U;
    }
    uint64_t brought = client->input_bytes - conversation->owing.input_bytes;
    return (uint32_t)client->command_count != conversation->owing.command_count ||
           brought >= timeout_us / 1000000U * PROGRESS_BYTES_PER_SECOND;
}

void core_end_owing(struct core *core)
{
    uint64_t timeout_us = (uint64_t)core->config->request_timeout * 1000000U;
    while (timeout_us != 0 && core->owing_first != NULL &&
           mono_ms(core) - core->owing_first->owing.since_ms >= timeout_us / 1000U) {
        struct conversation *conversation = core->owing_first;
        remove_owing(core, conversation);
        if (!owes(core, conversation)) {
            continue;
        }
        if (is_excused(core, conversation, timeout_us)) {
            append_owing(core, conversation);
        } else {
            metric_add(core->metrics, METRIC_REQUEST_TIMEOUTS, 1);
            core_end_client(&conversation->client);
        }
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

void core_note_request_memory(struct core *core, struct conversation *conversation, size_t bytes)
{
    core->request_bytes += bytes - conversation->request_bytes;
    conversation->request_bytes = bytes;
}

static uint64_t memory_of(struct client *client)
{
    const struct conversation *conversation = conversation_of_client(client);
    return conversation->request_bytes + conversation->session.stream->out.size;
}

static struct client *find_largest(const struct core *core)
{
    struct client *largest = NULL;
    for (struct client *client = core->clients.first; client != NULL; client = client->next) {
        bool may_go = !client->no_evict && !conversation_of_client(client)->session.closing;
        if (may_go && (largest == NULL || memory_of(client) > memory_of(largest))) {
            largest = client;
        }
    }
    return largest;
}

/* What our clients hold but for one that is on its way out, for all workers to see. */
static uint64_t note_held(struct core *core)
{
    uint64_t held = byte_pool_held_bytes(&core->bytes) + core->request_bytes;
    uint64_t leaving = core->evicting != NULL ? memory_of(&core->evicting->client) : 0;
    held -= leaving < held ? leaving : held;
    metric_set(core->metrics, METRIC_CLIENT_MEMORY, held);
    return held;
}

/* By the clients of all workers. */
static uint64_t held_by_all(const struct core *core)
{
    const struct core_options *options = &core->options;
    if (options->worker_count == 1) {
        return metric_read(core->metrics, METRIC_CLIENT_MEMORY) + shard_kept_bytes(core->shard);
    }
    uint64_t held = 0;
    for (uint32_t i = 0; i < options->worker_count; i++) {
        held += metric_read(options->all_metrics[i], METRIC_CLIENT_MEMORY) +
                shard_kept_bytes(options->all_shards[i]);
    }
    return held;
}

void core_limit_memory(struct core *core)
{
    uint64_t limit = (uint64_t)core->config->maxmemory_clients;
    uint64_t reach = note_held(core) + core->bytes.referenced_bytes;
    if (LIKELY(limit == 0 || reach <= limit / core->options.worker_count) ||
        core->evicting != NULL || held_by_all(core) <= limit) {
        return;
    }
    struct client *largest = find_largest(core);
    if (largest != NULL && memory_of(largest) > 0) {
        metric_add(core->metrics, METRIC_EVICTED_CLIENTS, 1);
        core->evicting = conversation_of_client(largest);
        (void)note_held(core);
        core_end_client(largest);
    }
}

/* ---- unread output --------------------------------------------------------------------------- */

/* A line in the log, a second apart; the next one has the number of those without. */
static void log_ended(struct core *core, const struct client *client)
{
    char described[LOGGED_BYTES_MAX], others[48] = "", line[LOGGED_BYTES_MAX + 128];
    if (core->output_logged_us != 0 &&
        core->now.mono_us - core->output_logged_us < LOG_INTERVAL_US) {
        core->outputs_unlogged++;
        return;
    }
    if (core->outputs_unlogged > 0) {
        snprintf(others, sizeof(others), " (and %" PRIu64 " others before)",
                 core->outputs_unlogged);
    }
    (void)client_describe(core->context, client, &core->bytes, described, sizeof(described));
    snprintf(line, sizeof(line),
             "Client %s scheduled to be closed ASAP for overcoming of output buffer limits.%s",
             described, others);
    core->output_logged_us = core->now.mono_us;
    core->outputs_unlogged = core_log_warning(core, line) ? 0 : core->outputs_unlogged + 1;
}

static void forget_soft(struct core *core, struct conversation *conversation)
{
    if (conversation->output_soft_since_s != 0) {
        conversation->output_soft_since_s = 0;
        core->output_soft_count--;
    }
}

static bool exceeds_hard(const struct core *core, uint64_t bytes)
{
    uint64_t hard_bytes = (uint64_t)core->output_limit.hard_bytes;
    return hard_bytes != 0 && bytes >= hard_bytes;
}

static bool exceeds_soft(const struct core *core, uint64_t bytes)
{
    uint64_t soft_bytes = (uint64_t)core->output_limit.soft_bytes;
    return soft_bytes != 0 && bytes >= soft_bytes;
}

static bool exceeds_soft_for_long(struct core *core, struct conversation *conversation,
                                  uint64_t bytes)
{
    if (!exceeds_soft(core, bytes)) {
        forget_soft(core, conversation);
        return false;
    }
    uint32_t now_s = (uint32_t)(core->now.mono_us / 1000000U) + 1;
    if (conversation->output_soft_since_s == 0) {
        conversation->output_soft_since_s = now_s;
        core->output_soft_count++;
    }
    return now_s - conversation->output_soft_since_s > (uint64_t)core->output_limit.soft_seconds;
}

void core_judge_output(struct core *core, struct conversation *conversation)
{
    struct client *client = &conversation->client;
    uint64_t bytes = conversation->session.stream->out.size;
    bool for_long = exceeds_soft_for_long(core, conversation, bytes);
    if (conversation->session.closing || (!for_long && !exceeds_hard(core, bytes))) {
        return;
    }
    client->output_buffer_bytes = bytes;
    metric_add(core->metrics, METRIC_OUTPUT_LIMIT_DISCONNECTIONS, 1);
    log_ended(core, client);
    core_end_client(client);
}

/* True: it is another one now. */
static bool take_output_limit(struct core *core)
{
    const struct output_limit *limit =
        &core->config->client_output_buffer_limit[OUTPUT_CLASS_NORMAL];
    struct output_limit *last = &core->output_limit;
    if (LIKELY(limit->hard_bytes == last->hard_bytes && limit->soft_bytes == last->soft_bytes &&
               limit->soft_seconds == last->soft_seconds)) {
        return false;
    }
    *last = *limit;
    uint64_t hard_bytes = limit->hard_bytes != 0 ? (uint64_t)limit->hard_bytes : UINT64_MAX;
    uint64_t soft_bytes = limit->soft_bytes != 0 ? (uint64_t)limit->soft_bytes : UINT64_MAX;
    core->output_watch_bytes = hard_bytes < soft_bytes ? hard_bytes : soft_bytes;
    return true;
}

void core_limit_outputs(struct core *core)
{
    bool due = core->output_soft_count > 0 &&
               core->now.mono_us - core->outputs_checked_us >= OUTPUT_CHECK_INTERVAL_US;
    if (LIKELY(!take_output_limit(core) && !due)) {
        return;
    }
    core->outputs_checked_us = core->now.mono_us;
    for (struct client *client = core->clients.first; client != NULL; client = client->next) {
        core_limit_output(core, conversation_of_client(client));
    }
}

/* ---- the end ----------------------------------------------------------------------------------
 */

void core_forget_limits(struct core *core, struct conversation *conversation)
{
    if (conversation->owes) {
        remove_owing(core, conversation);
    }
    if (core->evicting == conversation) {
        core->evicting = NULL;
    }
    forget_soft(core, conversation);
    core_note_request_memory(core, conversation, 0);
}
