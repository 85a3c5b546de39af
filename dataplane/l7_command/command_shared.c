/* Reads on shards that other workers write meanwhile, without asking them.
 *
 * A string item never changes once it is published, so one key needs no more than that its shard is
 * not in the middle of a joint write (its version is even): what is found then was there at the
 * moment of the look-up. Several keys must have been there all at one moment. They are looked up,
 * the handler reads them, and they are looked up again: if every look-up gave the same item and no
 * shard says that something was removed or written jointly, nothing changed from the end of the
 * first round to the beginning of the last (shard.h: struct shard_state), and the handler read in
 * between. Otherwise its reply is thrown away and it tries again; after a few attempts the owners
 * are asked.
 *
 * Thread: any worker, inside its read section. Memory: the observations are on the stack; a command
 * with more keys than fit asks the owners at once.
 */
#include "dataplane/l7_command/l7_command_internal.h"

#define ATTEMPTS_MAX 3U
#define KEYS_MAX     64U

struct observed_key {
    struct key key;
    const struct shard *shard;
    struct shard_state state;
    const struct item *item;
};

struct observation {
    uint32_t count;
    struct observed_key keys[KEYS_MAX];
};

static const struct item *look_up(const struct call *call, const struct observed_key *key)
{
    return shard_find_shared(key->shard, call->client->database, &key->key, call->now);
}

/* False: a joint write is under way. */
static bool observe(const struct call *call, struct observation *observation)
{
    for (uint32_t i = 0; i < observation->count; i++) {
        struct observed_key *key = &observation->keys[i];
        key->state = shard_observe(key->shard);
        if (key->state.version % 2 != 0) {
            return false;
        }
    }
    for (uint32_t i = 0; i < observation->count && observation->count > 1; i++) {
        observation->keys[i].item = look_up(call, &observation->keys[i]);
    }
    return true;
}

/* One key is read once: there is nothing that could have changed in between. */
static bool still_holds(const struct call *call, const struct observation *observation)
{
    if (observation->count == 1) {
        return true;
    }
    for (uint32_t i = 0; i < observation->count; i++) {
        if (look_up(call, &observation->keys[i]) != observation->keys[i].item) {
            return false;
        }
    }
    for (uint32_t i = 0; i < observation->count; i++) {
        if (!shard_is_unchanged(observation->keys[i].shard, &observation->keys[i].state)) {
            return false;
        }
    }
    return true;
}

static enum command_verdict attempt(struct call *call, const struct observation *observation)
{
    struct metrics *metrics = call->context->metrics;
    uint64_t hits = metric_read(metrics, METRIC_KEYSPACE_HITS);
    uint64_t misses = metric_read(metrics, METRIC_KEYSPACE_MISSES);
    struct byte_queue tentative, *out = call->reply->out;
    uint32_t errors = call->reply->error_count;
    byte_queue_init(&tentative);
    call->reply->out = &tentative;
    enum command_verdict verdict = call->command->handler(call);
    call->reply->out = out;
    if (still_holds(call, observation)) {
        byte_queue_move(out, &tentative);
        return verdict;
    }
    byte_queue_clear(&tentative, call->reply->pool);
    call->reply->error_count = errors;
    metric_subtract(metrics, METRIC_KEYSPACE_HITS,
                    metric_read(metrics, METRIC_KEYSPACE_HITS) - hits);
    metric_subtract(metrics, METRIC_KEYSPACE_MISSES,
                    metric_read(metrics, METRIC_KEYSPACE_MISSES) - misses);
    return COMMAND_TORN;
}

/* Its shard is known, and its hash: the handler asks for both. */
static bool is_of_one_key(const struct call *call)
{
    return call->shard != NULL && call->first_key != NULL && command_has_one_key(call->command);
}

enum command_verdict command_run_shared(struct call *call)
{
    if (LIKELY(is_of_one_key(call))) {
        return shard_is_steady(call->shard) ? call->command->handler(call) : COMMAND_TORN;
    }
    struct observation observation;
    observation.count = command_key_count(call->command, call->argument_count);
    if (observation.count > KEYS_MAX) {
        return COMMAND_TORN;
    }
    for (uint32_t i = 0; i < observation.count; i++) {
        struct observed_key *key = &observation.keys[i];
        key->key = command_key_at(call->command, call->arguments, i);
        key->shard = call_shard(call, &key->key);
    }
    enum command_verdict verdict = COMMAND_TORN;
    for (uint32_t i = 0; i < ATTEMPTS_MAX && verdict == COMMAND_TORN; i++) {
        if (!observe(call, &observation)) {
            return COMMAND_TORN;
        }
        verdict =
            observation.count == 1 ? call->command->handler(call) : attempt(call, &observation);
    }
    return verdict;
}
