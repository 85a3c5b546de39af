/* Walks over the key space: SCAN and KEYS.
 *
 * How many keys a walk yields is known at its end, but a RESP array says so at its start. So the
 * keys are composed into a queue of their own, from the reply's page pool, and moved behind the
 * header: no copy, one walk.
 *
 * KEYS walks everything in one call, O(number of keys), as Redis does and warns of.
 */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/l7_command/generic_type.h"
#include "dataplane/l7_command/handlers_generic.h"

#define SCAN_COUNT_DEFAULT    10
#define SCAN_CURSOR_BYTES_MAX 64

struct key_walk {
    struct slice pattern;   /* "*": everything */
    struct slice type_name; /* empty data: every type */
    struct byte_queue queue;
    struct reply keys; /* writes into `queue` */
    uint64_t key_count;
};

static bool is_match_all(struct slice pattern)
{
    return pattern.size == 1 && pattern.data[0] == '*';
}

static void visit_item(void *argument, const struct item *item)
{
    struct key_walk *walk = argument;
    if (!is_match_all(walk->pattern) && !glob_match(walk->pattern, item_key(item), false)) {
        return;
    }
    if (walk->type_name.data != NULL &&
        !slice_equal_ignoring_case(walk->type_name, slice_of_string(generic_type_name(item)))) {
        return;
    }
    reply_bulk(&walk->keys, item_key(item));
    walk->key_count++;
}

static void walk_init(struct key_walk *walk, const struct call *call)
{
    *walk = (struct key_walk){.pattern = SLICE_LITERAL("*"), .keys = *call->reply};
    byte_queue_init(&walk->queue);
    walk->keys.out = &walk->queue;
}

static void walk_reply_keys(struct key_walk *walk, struct call *call)
{
    reply_array(call->reply, walk->key_count);
    byte_queue_move(call->reply->out, &walk->queue);
}

enum command_verdict generic_keys(struct call *call)
{
    struct key_walk walk;
    walk_init(&walk, call);
    walk.pattern = call->arguments[1];
    for (uint32_t i = 0; i < call->context->worker_count; i++) {
        uint64_t cursor = 0;
        do {
            cursor = shard_scan(context_shard(call->context, i), call->client->database, cursor,
                                UINT32_MAX, call->now, visit_item, &walk);
        } while (cursor != 0);
    }
    walk_reply_keys(&walk, call);
    return COMMAND_DONE;
}

/* Redis reads cursors with strtoul: a sign and leading zeros pass, and so does the empty string. */
static bool parse_cursor(struct call *call, uint64_t *cursor)
{
    char text[SCAN_CURSOR_BYTES_MAX];
    struct slice argument = call->arguments[1];
    if (argument.size < sizeof(text) && (argument.size == 0 || argument.data[0] > ' ')) {
        memcpy(text, argument.size == 0 ? (const void *)"" : argument.data, argument.size);
        text[argument.size] = '\0';
        char *end;
        errno = 0;
        *cursor = strtoul(text, &end, 10);
        if (*end == '\0' && errno != ERANGE) {
            return true;
        }
    }
    reply_error(call->reply, "ERR invalid cursor");
    return false;
}

static bool parse_scan_options(struct call *call, struct key_walk *walk, uint32_t *count)
{
    for (uint32_t i = 2; i < call->argument_count; i += 2) {
        int64_t number = 1;
        bool has_value = i + 1 < call->argument_count;
        if (has_value && call_option(call, i, "COUNT")) {
            if (!call_int64(call, i + 1, &number)) {
                return false;
            }
            *count = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
        } else if (has_value && call_option(call, i, "MATCH")) {
            walk->pattern = call->arguments[i + 1];
        } else if (has_value && call_option(call, i, "TYPE")) {
            struct slice name = call->arguments[i + 1];
            walk->type_name = name.size == 0 ? slice_of("", 0) : name;
        } else {
            number = 0;
        }
        if (number < 1) {
            reply_error(call->reply, ERROR_SYNTAX);
            return false;
        }
    }
    return true;
}

static void visit_hashed_item(void *argument, const struct item *item, uint64_t hash)
{
    visit_item(argument, item);
}

/* Any worker may walk any shard. Above the shard's own cursor stands which shard it is: they are
 * walked one after the other. */
#define CURSOR_SHARD_SHIFT 56

static uint64_t scan_on(struct call *call, uint64_t cursor, uint32_t count, struct key_walk *walk)
{
    struct command_context *context = call->context;
    uint64_t number = cursor >> CURSOR_SHARD_SHIFT;
    if (number >= context->worker_count) {
        return 0; /* none of ours */
    }
    uint64_t next = shard_scan_shared(
        context_shard(context, (uint32_t)number), call->client->database,
        cursor & ((1ULL << CURSOR_SHARD_SHIFT) - 1), count, call->now, visit_hashed_item, walk);
    if (next == 0) {
        return number + 1 < context->worker_count ? (number + 1) << CURSOR_SHARD_SHIFT : 0;
    }
    return number << CURSOR_SHARD_SHIFT | next;
}

enum command_verdict generic_scan(struct call *call)
{
    uint64_t cursor;
    uint32_t count = SCAN_COUNT_DEFAULT;
    struct key_walk walk;
    walk_init(&walk, call);
    if (!parse_cursor(call, &cursor) || !parse_scan_options(call, &walk, &count)) {
        return COMMAND_DONE;
    }
    cursor = scan_on(call, cursor, count, &walk);
    uint8_t text[NUMBER_TEXT_BYTES_MAX];
    reply_array(call->reply, 2);
    reply_bulk(call->reply, slice_of(text, number_format_uint64(cursor, text)));
    walk_reply_keys(&walk, call);
    return COMMAND_DONE;
}
