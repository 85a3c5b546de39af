/* Dialogues with the command layer: a request in plain text, the exact bytes of its reply, on a
 * real shard, at a time that the test sets. So what a day does to a key takes no day to test. */
#ifndef NICACHED_TESTS_UNIT_L7_COMMAND_STRING_DIALOGUE_H
#define NICACHED_TESTS_UNIT_L7_COMMAND_STRING_DIALOGUE_H

#include "config/config.h"
#include "dataplane/l7_command/command.h"

#define DIALOGUE_START_MS 1700000000000U

struct dialogue {
    struct metrics metrics;
    struct client_registry clients;
    struct client client;
    struct config *config;
    struct shard *shard;
    struct command_context *context;
    struct byte_pool pool;
    struct instant now;
    struct blob *large_value; /* given to the next request as its last argument */
    const char *request;      /* the last one, for messages */
};

/* Once per program: EAL without hugepages, the command table. */
void dialogue_setup_program(void);

void dialogue_start(struct dialogue *dialogue, uint64_t maxmemory_bytes);
void dialogue_end(struct dialogue *dialogue);
/* cmocka's setup and teardown of one test, without a memory limit. */
int dialogue_setup(void **state);
int dialogue_teardown(void **state);

/* Sends the words of `request` (parted by blanks, "" is the empty word) and compares the reply. */
#define SAY(dialogue, request, reply)                                                              \
    dialogue_say(dialogue, request, slice_of(reply, sizeof(reply) - 1), __FILE__, __LINE__)
void dialogue_say(struct dialogue *dialogue, const char *request, struct slice reply,
                  const char *file, int line);

/* The same with arguments of any bytes; returns the reply, to be freed. */
struct slice dialogue_ask(struct dialogue *dialogue, const struct slice *arguments, uint32_t count);

void dialogue_wait(struct dialogue *dialogue, uint64_t milliseconds);

/* What a key of database 0 holds now. */
const struct item *dialogue_find(struct dialogue *dialogue, const char *key);
/* Puts "value" under `key` as memcached would: with flags, CAS value and state bits. */
void dialogue_put_memcached(struct dialogue *dialogue, const char *key, const char *value,
                            uint32_t client_flags, uint64_t cas, uint8_t state);
/* Puts something there that is no string. */
void dialogue_put_list(struct dialogue *dialogue, const char *key);

#endif
