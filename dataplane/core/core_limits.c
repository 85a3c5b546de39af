/* What one client may keep us waiting for, and what all of them may make us hold.
 *
 * A client that has begun a request, or has not logged in where a password is asked for, owes us
 * something. Such clients stand in a list, those first that began to owe first, so that a look at
 * its head tells each pass whether anybody's time (request-timeout) is over. Whoever has sent
 * enough or finished a request meanwhile goes to the end of it: a large value may take its time, a
 * byte now and then may not. A login is not put off.
 *
 * What clients make us hold (maxmemory-clients) is counted in sums: pages of replies and of TCP's
 * reassembly, and the buffers of requests. Beyond its part of the limit a worker drops the client
 * that holds most, one after the other is gone, until it is kept.
 *
 * Thread: the owning worker. Failure: a client that is ended hears nothing of why: it does not
 * read.
 */
#include "dataplane/base/check.h"
#include "dataplane/core/core_internal.h"

/* What a request that is on its way must bring, at least. */
#define PROGRESS_BYTES_PER_SECOND 1024U

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

void core_forget_limits(struct core *core, struct conversation *conversation)
{
    if (conversation->owes) {
        remove_owing(core, conversation);
    }
    if (core->evicting == conversation) {
        core->evicting = NULL;
    }
    core_note_request_memory(core, conversation, 0);
}

static bool is_excused(const struct core *core, const struct conversation *conversation,
                       uint64_t timeout_us)
{
    const struct client *client = &conversation->client;
    if (owes_login(core, client)) {
        return core->now.mono_us - client->created_mono_us < timeout_us;
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

void core_limit_memory(struct core *core)
{
    uint64_t limit = (uint64_t)core->config->maxmemory_clients / core->options.worker_count;
    uint64_t held = core->bytes.used_count * (uint64_t)BYTE_PAGE_BYTES + core->request_bytes;
    if (LIKELY(limit == 0 || held <= limit) || core->evicting != NULL) {
        return;
    }
    struct client *largest = find_largest(core);
    if (largest != NULL && memory_of(largest) > 0) {
        metric_add(core->metrics, METRIC_EVICTED_CLIENTS, 1);
        core->evicting = conversation_of_client(largest);
        core_end_client(largest);
    }
}
