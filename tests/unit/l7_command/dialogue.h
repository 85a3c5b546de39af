/* A conversation with the command layer, without a connection: what a client sends, and the bytes
 * it gets back. One real shard, one context, any number of clients.
 *
 *     struct dialogue *dialogue = dialogue_create();
 *     dialogue_expect(dialogue, "SET k v", "+OK\r\n");
 *
 * Requests are written as inline commands ("SET k \"a b\""); time stands still until the test moves
 * dialogue->now.
 */
#ifndef NICACHED_TESTS_DIALOGUE_H
#define NICACHED_TESTS_DIALOGUE_H

#include "config/config.h"
#include "dataplane/l6_protocol/resp_parse.h"
#include "dataplane/l7_command/command.h"

struct dialogue {
    struct command_context *context;
    struct config *config;
    struct metrics metrics;
    struct shard *shard;
    struct client_registry clients;
    struct control_status status;
    struct byte_pool pool;
    struct instant now;
    struct client *client;    /* the first one */
    struct client *speaker;   /* who sends the next request */
    struct deferral deferral; /* of the last request, if it was deferred */
    enum command_verdict verdict;
    char *reply; /* terminated bytes of the last reply */
    size_t reply_bytes;
};

/* EAL and the command table: once per program. */
void dialogue_setup(const char *program);
struct dialogue *dialogue_create(void);
void dialogue_destroy(struct dialogue *dialogue);
struct client *dialogue_open_client(struct dialogue *dialogue); /* closed with the dialogue */

/* Sends one request; its reply is in dialogue->reply until the next one. */
void dialogue_send(struct dialogue *dialogue, const char *request);
void dialogue_send_bytes(struct dialogue *dialogue, struct slice request);
#define dialogue_expect(dialogue, request, expected)                                               \
    dialogue_expect_at(dialogue, request, expected, __FILE__, __LINE__)
void dialogue_expect_at(struct dialogue *dialogue, const char *request, const char *expected,
                        const char *file, int line);
/* The reply contains `part`. */
#define dialogue_expect_part(dialogue, request, part)                                              \
    dialogue_expect_part_at(dialogue, request, part, __FILE__, __LINE__)
void dialogue_expect_part_at(struct dialogue *dialogue, const char *request, const char *part,
                             const char *file, int line);
/* Composes the reply of the deferred request, as the core would. */
void dialogue_resume(struct dialogue *dialogue);

#endif
