/* The life of a RESP request between parser and handler: look-up, checks, execution, statistics.
 *
 * Path: the batch finds the rows and hashes the first keys of all its requests and prefetches them;
 * then command_run takes each request at its turn: checks what depends on the state, runs the
 * handler. One reply at most. The checks come in Redis' order: existence, arity, protected
 * commands, authentication, memory.
 *
 * Thread: the owning worker. Failure: a request that fails a check is answered and counted; nothing
 * here can fail otherwise.
 *
 * Timing: reading the TSC around every command would cost a tenth of a GET, so the first
 * TIMED_CALLS_FULL calls of each command are timed and then one of TIMED_CALLS_STRIDE. INFO scales
 * the sum up. The figures are for statistics only: nothing that a command does depends on them.
 */
#include <rte_cycles.h>
#include <stdio.h>

#include "config/config.h"
#include "dataplane/base/check.h"
#include "dataplane/l7_command/l7_command_internal.h"

#define TIMED_CALLS_FULL   1024U
#define TIMED_CALLS_STRIDE 64U

#define ERROR_TEXT_BYTES_MAX 640U

static void add_relaxed(uint64_t *counter, uint64_t amount)
{
    __atomic_store_n(counter, *counter + amount, __ATOMIC_RELAXED);
}

/* CLIENT REPLY SKIP silences the one command that follows it. */
static void advance_reply_mode(struct client *client)
{
    if (client->reply_mode == CLIENT_REPLY_SKIP) {
        client->reply_mode = CLIENT_REPLY_ON;
    } else if (client->reply_mode == CLIENT_REPLY_SKIP_NEXT) {
        client->reply_mode = CLIENT_REPLY_SKIP;
    }
}

/* ---- refusals ------------------------------------------------------------------------------- */

static bool refuse(struct call *call, const char *text)
{
    if (call->command != NULL) {
        add_relaxed(&call->context->statistics[command_index(call->command)].rejected, 1);
    }
    statistics_note_error(call->context, slice_of_string(text));
    if (call->client->reply_mode == CLIENT_REPLY_ON) {
        reply_error(call->reply, text);
    }
    advance_reply_mode(call->client);
    return false;
}

void command_refuse(struct call *call, const char *text)
{
    (void)refuse(call, text);
}

static bool refuse_unknown_subcommand(struct call *call, const struct command *container)
{
    char text[ERROR_TEXT_BYTES_MAX], upper[32];
    size_t size = strlen(container->name);
    CHECK(size < sizeof(upper));
    for (size_t i = 0; i <= size; i++) {
        char c = container->name[i];
        upper[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    snprintf(text, sizeof(text), "ERR unknown subcommand '%.*s'. Try %s HELP.",
             call_shown_size(call, 1, SHOWN_BYTES_MAX), (const char *)call->arguments[1].data,
             upper);
    return refuse(call, text);
}

/* "ERR unknown command 'foo', with args beginning with: 'a' 'b' ": about 128 bytes of arguments. */
static bool refuse_unknown(struct call *call)
{
    const struct command *container = command_find_named(NULL, call->arguments[0]);
    if (container != NULL) {
        return refuse_unknown_subcommand(call, container);
    }
    char text[ERROR_TEXT_BYTES_MAX], shown[2 * SHOWN_BYTES_MAX];
    size_t used = 0;
    shown[0] = '\0';
    for (uint32_t i = 1; i < call->argument_count && used < SHOWN_BYTES_MAX; i++) {
        int written = snprintf(shown + used, sizeof(shown) - used, "'%.*s' ",
                               call_shown_size(call, i, SHOWN_BYTES_MAX - used),
                               (const char *)call->arguments[i].data);
        used += (size_t)written;
    }
    snprintf(text, sizeof(text), "ERR unknown command '%.*s', with args beginning with: %s",
             call_shown_size(call, 0, SHOWN_BYTES_MAX), (const char *)call->arguments[0].data,
             shown);
    return refuse(call, text);
}

static bool refuse_arity(struct call *call)
{
    char text[ERROR_TEXT_BYTES_MAX];
    snprintf(text, sizeof(text), "ERR wrong number of arguments for '%s' command",
             call->command->name);
    return refuse(call, text);
}

/* ---- checks --------------------------------------------------------------------------------- */

bool command_arity_fits(const struct command *command, uint32_t argument_count)
{
    return command->arity >= 0 ? argument_count == (uint32_t)command->arity
                               : argument_count >= (uint32_t)-command->arity;
}

bool command_client_authenticated(const struct command_context *context, struct client *client)
{
    /* Without a password everybody is the default user, and stays it when one is set later. */
    if (!client->authenticated && context->config->requirepass[0] == '\0') {
        client->authenticated = true;
    }
    return client->authenticated;
}

/* On this host: a Unix socket (port 0) or the loopback network. */
static bool client_is_local(const struct client *client)
{
    return client->peer.port == 0 || address_is_loopback(&client->peer.address);
}

/* DEBUG is the only protected command. */
static bool protected_command_allowed(const struct call *call)
{
    int enabled = call->context->config->enable_debug_command;
    return enabled == DEBUG_COMMAND_YES ||
           (enabled == DEBUG_COMMAND_LOCAL && client_is_local(call->client));
}

static bool exceeds(const struct shard *shard, uint64_t limit_bytes)
{
    return shard_used_bytes(shard) > limit_bytes;
}

/* Any of the shards that its keys live on. */
static bool memory_is_exhausted(const struct call *call)
{
    const struct command_context *context = call->context;
    uint64_t limit_bytes = (uint64_t)context->config->maxmemory / context->worker_count;
    if (context->config->maxmemory == 0) {
        return false;
    }
    if (call->shard != NULL) {
        return exceeds(call->shard, limit_bytes);
    }
    for (uint32_t i = 0; i < command_key_count(call->command, call->argument_count); i++) {
        struct key key = command_key_at(call->command, call->arguments, i);
        if (exceeds(call_shard(call, &key), limit_bytes)) {
            return true;
        }
    }
    return false;
}

enum objection {
    OBJECTION_NONE,
    OBJECTION_ARITY,
    OBJECTION_PROTECTED,
    OBJECTION_LOGIN,
    OBJECTION_MEMORY,
};

/* The slow path of the checks: some may fail. */
static enum objection find_objection(const struct call *call)
{
    const struct command *command = call->command;
    if (!command_arity_fits(command, call->argument_count)) {
        return OBJECTION_ARITY;
    }
    if (command->flags & COMMAND_PROTECTED && !protected_command_allowed(call)) {
        return OBJECTION_PROTECTED;
    }
    if (!(command->flags & COMMAND_NO_AUTH) &&
        !command_client_authenticated(call->context, call->client)) {
        return OBJECTION_LOGIN;
    }
    if (command->flags & COMMAND_DENYOOM && memory_is_exhausted(call)) {
        return OBJECTION_MEMORY;
    }
    return OBJECTION_NONE;
}

static bool refuse_for(struct call *call, enum objection objection)
{
    switch (objection) {
    case OBJECTION_NONE: break;
    case OBJECTION_ARITY: return refuse_arity(call);
    case OBJECTION_PROTECTED:
        return refuse(call, "ERR DEBUG command not allowed. If the enable-debug-command option is "
                            "set to \"local\", you can run it from a local connection, otherwise "
                            "you need to set this option in the configuration file, and then "
                            "restart the server.");
    case OBJECTION_LOGIN: return refuse(call, "NOAUTH Authentication required.");
    case OBJECTION_MEMORY: return refuse(call, ERROR_OOM);
    }
    return true;
}

/* The common case sums its reasons to look closer and takes one branch. */
static inline enum objection objection_to(const struct call *call)
{
    const struct command *command = call->command;
    bool look_closer = !command_arity_fits(command, call->argument_count);
    look_closer |= !call->client->authenticated;
    look_closer |= (command->flags & (COMMAND_PROTECTED | COMMAND_DENYOOM)) != 0;
    return LIKELY(!look_closer) ? OBJECTION_NONE : find_objection(call);
}

static void note_command(const struct call *call)
{
    call->client->active_mono_us = call->now->mono_us;
    call->client->last_command = call->command != NULL ? call->command->name : NULL;
}

/* False when the request was refused. */
static inline bool admit(struct call *call)
{
    note_command(call);
    if (UNLIKELY(call->command == NULL)) {
        return refuse_unknown(call);
    }
    enum objection objection = objection_to(call);
    return LIKELY(objection == OBJECTION_NONE) || refuse_for(call, objection);
}

/* ---- execution ------------------------------------------------------------------------------ */

/* By its first word, read back from the reply. */
void command_note_error(struct call *call, size_t size_before)
{
    uint8_t bytes[ERROR_WORD_BYTES_MAX];
    size_t size = byte_queue_copy_out(call->reply->out, size_before, bytes, sizeof(bytes));
    if (size > 1 && bytes[0] == '-') {
        statistics_note_error(call->context, slice_of(bytes + 1, size - 1));
    } else {
        statistics_note_error(call->context, SLICE_LITERAL("ERR"));
    }
    add_relaxed(&call->context->statistics[command_index(call->command)].failed, 1);
}

/* Alone, or where the keeper of the other workers' clients is not asked: what there is here. */
static enum command_verdict run_collecting(struct call *call)
{
    struct collected collected = {.pool = call->reply->pool};
    byte_queue_init(&collected.text);
    call->collected = &collected;
    call->command->collect(call);
    enum command_verdict verdict = call->command->handler(call);
    call->collected = NULL;
    byte_queue_clear(&collected.text, collected.pool);
    return verdict;
}

/* Several keys of one shard, or one key of several databases, which readers on other workers must
 * not see half written either. Where there are several shards, whoever holds their leases sees to
 * it. */
static bool is_joint_write(const struct call *call)
{
    const struct command *command = call->command;
    return call->context->worker_count > 1 && call->shard != NULL &&
           (command->flags & COMMAND_WRITE) != 0 &&
           ((command->flags & COMMAND_TWO_PLACES) != 0 ||
            command_key_count(command, call->argument_count) > 1);
}

static enum command_verdict run_joint_write(struct call *call)
{
    shard_begin_joint_write(call->shard);
    enum command_verdict verdict = call->command->handler(call);
    shard_end_joint_write(call->shard);
    return verdict;
}

static inline enum command_verdict run_handler(struct call *call)
{
    if (UNLIKELY(call->shared)) {
        return command_run_shared(call);
    }
    if (UNLIKELY(call->command->collect != NULL && call->collected == NULL)) {
        return run_collecting(call);
    }
    if (UNLIKELY(is_joint_write(call))) {
        return run_joint_write(call);
    }
    return call->command->handler(call);
}

static enum command_verdict run(struct call *call)
{
    struct command_context *context = call->context;
    struct command_statistics *statistics = &context->statistics[command_index(call->command)];
    uint64_t calls = statistics->calls;
    bool timed = UNLIKELY(calls < TIMED_CALLS_FULL || calls % TIMED_CALLS_STRIDE == 0);
    uint64_t start = timed ? rte_rdtsc() : 0;
    uint32_t errors_before = call->reply->error_count;
    size_t size_before = call->reply->out->size;

    enum command_verdict verdict = run_handler(call);

    if (UNLIKELY(verdict == COMMAND_TORN)) {
        return verdict; /* it runs again elsewhere, and is counted there */
    }
    if (timed) {
        statistics_note_latency(statistics, rte_rdtsc() - start);
    }
    if (UNLIKELY(call->reply->error_count != errors_before)) {
        command_note_error(call, size_before);
    }
    add_relaxed(&statistics->calls, 1);
    call->client->command_count++;
    metric_add(context->metrics, METRIC_COMMANDS_PROCESSED, 1);
    return verdict;
}

/* With CLIENT REPLY OFF or SKIP the reply is composed all the same, for the statistics, and thrown
 * away; unless it is the one of CLIENT REPLY ON. */
static enum command_verdict run_muted(struct call *call)
{
    struct byte_queue muted, *out = call->reply->out;
    byte_queue_init(&muted);
    call->reply->out = &muted;
    enum command_verdict verdict = run(call);
    call->reply->out = out;
    if (call->client->reply_mode == CLIENT_REPLY_ON) {
        byte_queue_move(out, &muted);
    }
    byte_queue_clear(&muted, call->reply->pool);
    if (verdict != COMMAND_TORN) {
        call->deferral.muted = true;
        advance_reply_mode(call->client);
    }
    return verdict;
}

static enum command_verdict execute(struct call *call)
{
    if (UNLIKELY(call->client->reply_mode != CLIENT_REPLY_ON)) {
        return run_muted(call);
    }
    enum command_verdict verdict = run(call);
    if (UNLIKELY(call->client->reply_mode != CLIENT_REPLY_ON)) {
        /* It was CLIENT REPLY OFF or SKIP itself, which answer nothing. */
        advance_reply_mode(call->client);
    }
    return verdict;
}

bool command_admit(struct call *call)
{
    return admit(call);
}

bool command_admit_silently(struct call *call)
{
    if (call->command == NULL || objection_to(call) != OBJECTION_NONE) {
        return false;
    }
    note_command(call);
    return true;
}

enum command_verdict command_run_admitted(struct call *call)
{
    return execute(call);
}

enum command_verdict command_run(struct call *call)
{
    return admit(call) ? execute(call) : COMMAND_DONE;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Commands on keys do nothing to their client. */
#define ROW_FLAGS (COMMAND_READONLY | COMMAND_WRITE)
#define ALONE_FLAGS                                                                                \
    (COMMAND_ADMIN | COMMAND_PROTECTED | COMMAND_NO_AUTH | COMMAND_ALL_SHARDS |                    \
     COMMAND_ALL_WORKERS | COMMAND_TWO_PLACES)

/* A call that is to be timed runs alone. Memory is whoever collects the row to look after. */
uint32_t command_row_max(const struct call *call)
{
    const struct command *command = call->command;
    if (UNLIKELY(command == NULL)) {
        return 0;
    }
    uint64_t calls = call->context->statistics[command_index(command)].calls;
    bool alone = (command->flags & ROW_FLAGS) == 0;
    alone |= (command->flags & ALONE_FLAGS) != 0;
    alone |= !command_arity_fits(command, call->argument_count);
    alone |= !call->client->authenticated;
    alone |= call->client->reply_mode != CLIENT_REPLY_ON;
    alone |= calls < TIMED_CALLS_FULL;
    if (UNLIKELY(alone || is_joint_write(call))) {
        return 0;
    }
    return (uint32_t)((0 - calls) % TIMED_CALLS_STRIDE);
}

void command_end_row(struct call *call, uint32_t count)
{
    note_command(call);
    add_relaxed(&call->context->statistics[command_index(call->command)].calls, count);
    call->client->command_count += count;
    metric_add(call->context->metrics, METRIC_COMMANDS_PROCESSED, count);
}

bool command_note_elsewhere(struct client *client, uint32_t count)
{
    bool muted = client->reply_mode != CLIENT_REPLY_ON;
    CHECK(!muted || count == 1);
    client->command_count += count;
    advance_reply_mode(client);
    return muted;
}

static void compose_resumed(const struct deferral *deferral, struct reply *reply)
{
    const char *error = deferral->request != NULL ? deferral->request->error : "";
    if (error[0] != '\0') {
        reply_error(reply, error);
    } else {
        reply_status(reply, "OK");
    }
}

void command_resume(struct command_context *context, struct client *client,
                    struct deferral *deferral, struct reply *reply)
{
    const char *error = deferral->request != NULL ? deferral->request->error : "";
    if (error[0] != '\0') {
        statistics_note_error(context, slice_of_string(error));
    }
    if (!deferral->muted) {
        compose_resumed(deferral, reply);
    }
    control_request_destroy(deferral->request);
    deferral->request = NULL;
}
