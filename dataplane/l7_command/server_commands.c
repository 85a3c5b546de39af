/* The server group's small commands: DBSIZE, FLUSHDB, FLUSHALL, SWAPDB, TIME, ROLE, MEMORY USAGE,
 * and those that end or hold up something: SHUTDOWN, DEBUG SLEEP.
 */
#include <stdlib.h>

#include "config/config.h"
#include "dataplane/l7_command/handlers_server.h"
#include "dataplane/l7_command/l7_command_internal.h"

#define DEBUG_SLEEP_SECONDS_MAX 1e9

enum command_verdict server_dbsize(struct call *call)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < call->context->worker_count; i++) {
        count += shard_key_count(context_shard(call->context, i), call->client->database);
    }
    reply_integer(call->reply, (int64_t)count);
    return COMMAND_DONE;
}

/* Both modes do the same: a flush detaches in constant time and frees in the background. */
static bool flush_mode_valid(struct call *call)
{
    if (call->argument_count == 1 ||
        (call->argument_count == 2 &&
         (call_option(call, 1, "SYNC") || call_option(call, 1, "ASYNC")))) {
        return true;
    }
    reply_error(call->reply, ERROR_SYNTAX);
    return false;
}

enum command_verdict server_flushdb(struct call *call)
{
    if (flush_mode_valid(call)) {
        for (uint32_t i = 0; i < call->context->worker_count; i++) {
            shard_flush(context_shard(call->context, i), call->client->database);
        }
        reply_ok(call->reply);
    }
    return COMMAND_DONE;
}

static void flush_all_databases(struct shard *shard)
{
    for (uint32_t database = 0; database < SHARD_DATABASE_COUNT; database++) {
        shard_flush(shard, database);
    }
}

enum command_verdict server_flushall(struct call *call)
{
    if (flush_mode_valid(call)) {
        for (uint32_t i = 0; i < call->context->worker_count; i++) {
            flush_all_databases(context_shard(call->context, i));
        }
        reply_ok(call->reply);
    }
    return COMMAND_DONE;
}

static bool parse_database(struct call *call, uint32_t index, const char *which, int64_t *database)
{
    if (number_parse_int64(call->arguments[index], database) && *database >= INT32_MIN &&
        *database <= INT32_MAX) {
        return true;
    }
    reply_error_format(call->reply, "ERR invalid %s DB index", which);
    return false;
}

enum command_verdict server_swapdb(struct call *call)
{
    int64_t a, b;
    if (!parse_database(call, 1, "first", &a) || !parse_database(call, 2, "second", &b)) {
        return COMMAND_DONE;
    }
    if (!database_index_valid(call, a) || !database_index_valid(call, b)) {
        reply_error(call->reply, "ERR DB index is out of range");
        return COMMAND_DONE;
    }
    for (uint32_t i = 0; a != b && i < call->context->worker_count; i++) {
        shard_swap_databases(context_shard(call->context, i), (uint32_t)a, (uint32_t)b);
    }
    reply_ok(call->reply);
    return COMMAND_DONE;
}

static void reply_bulk_number(struct reply *reply, uint64_t value)
{
    uint8_t text[NUMBER_TEXT_BYTES_MAX];
    reply_bulk(reply, slice_of(text, number_format_uint64(value, text)));
}

enum command_verdict server_time(struct call *call)
{
    reply_array(call->reply, 2);
    reply_bulk_number(call->reply, call->now->wall_us / 1000000);
    reply_bulk_number(call->reply, call->now->wall_us % 1000000);
    return COMMAND_DONE;
}

/* A primary without replicas, at offset 0 of a stream that does not exist. */
enum command_verdict server_role(struct call *call)
{
    reply_array(call->reply, 3);
    reply_bulk_string(call->reply, "master");
    reply_integer(call->reply, 0);
    reply_array(call->reply, 0);
    return COMMAND_DONE;
}

/* SAMPLES is for types with parts; a string is counted whole. */
static bool memory_samples_valid(struct call *call)
{
    for (uint32_t i = 3; i < call->argument_count; i += 2) {
        int64_t samples = 0;
        if (!call_option(call, i, "SAMPLES") || i + 1 == call->argument_count) {
            reply_error(call->reply, ERROR_SYNTAX);
            return false;
        }
        if (!call_int64(call, i + 1, &samples)) {
            return false;
        }
        if (samples < 0) {
            reply_error(call->reply, ERROR_SYNTAX);
            return false;
        }
    }
    return true;
}

enum command_verdict server_memory_usage(struct call *call)
{
    if (!memory_samples_valid(call)) {
        return COMMAND_DONE;
    }
    struct key key = call_key(call, 2);
    const struct item *item = call_find_for_write(call, &key);
    if (item == NULL) {
        reply_null(call->reply);
        return COMMAND_DONE;
    }
    reply_integer(call->reply, (int64_t)shard_item_bytes(call->shard, item));
    return COMMAND_DONE;
}

/* ---- SHUTDOWN -------------------------------------------------------------------------------- */

struct shutdown_options {
    bool save, nosave, now, force, abort;
};

static bool parse_shutdown(struct call *call, struct shutdown_options *options)
{
    const struct {
        const char *name;
        bool *value;
    } words[] = {{"NOSAVE", &options->nosave},
                 {"SAVE", &options->save},
                 {"NOW", &options->now},
                 {"FORCE", &options->force},
                 {"ABORT", &options->abort}};
    for (uint32_t i = 1; i < call->argument_count; i++) {
        size_t word = 0;
        while (word < 5 && !call_option(call, i, words[word].name)) {
            word++;
        }
        if (word == 5) {
            return false;
        }
        *words[word].value = true;
    }
    bool other = options->save || options->nosave || options->now || options->force;
    return !(options->save && options->nosave) && !(options->abort && other);
}

enum command_verdict server_shutdown(struct call *call)
{
    struct shutdown_options options = {0};
    if (!parse_shutdown(call, &options)) {
        reply_error(call->reply, ERROR_SYNTAX);
    } else if (options.abort) {
        /* A shutdown waits for nothing here, so none can be caught under way. */
        reply_error(call->reply, "ERR No shutdown in progress.");
    } else if (options.save && !options.force) {
        /* This version cannot save: better to go on than to lose what was to be kept. */
        reply_error(call->reply, "ERR Errors trying to SHUTDOWN. Check logs.");
    } else {
        return call_defer_to_control(call, CONTROL_SHUTDOWN, call->argument_count - 1,
                                     call->arguments + 1);
    }
    return COMMAND_DONE;
}

/* ---- DEBUG ----------------------------------------------------------------------------------- */

/* As strtod reads it: what is no number is 0, as in Redis. */
static double parse_seconds(struct slice text)
{
    char copy[64];
    size_t size = text.size < sizeof(copy) - 1 ? text.size : sizeof(copy) - 1;
    memcpy(copy, text.data, size);
    copy[size] = '\0';
    double seconds = strtod(copy, NULL);
    if (!(seconds > 0)) {
        return 0; /* NaN too */
    }
    return seconds < DEBUG_SLEEP_SECONDS_MAX ? seconds : DEBUG_SLEEP_SECONDS_MAX;
}

static void reply_debug_help(struct reply *reply)
{
    static const char *const lines[] = {
        "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "SLEEP <seconds>",
        "    Holds up this connection, not the server. Decimals allowed.",
        "HELP",
        "    Lists the DEBUG subcommands.",
    };
    reply_array(reply, sizeof(lines) / sizeof(lines[0]));
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        reply_status(reply, lines[i]);
    }
}

/* In Redis the whole server sleeps; here the worker goes on and only this connection waits. */
enum command_verdict server_debug(struct call *call)
{
    if (call->argument_count == 3 && call_option(call, 1, "SLEEP")) {
        double microseconds = parse_seconds(call->arguments[2]) * 1e6;
        call->deferral.until_mono_us = call->now->mono_us + (uint64_t)microseconds;
        return COMMAND_DEFERRED;
    }
    if (call->argument_count == 2 && call_option(call, 1, "HELP")) {
        reply_debug_help(call->reply);
        return COMMAND_DONE;
    }
    reply_error_format(call->reply,
                       "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try DEBUG "
                       "HELP.",
                       call_shown_size(call, 1, SHOWN_BYTES_MAX),
                       (const char *)call->arguments[1].data);
    return COMMAND_DONE;
}
