#include "tests/unit/l7_command/dialogue.h"

#include <rte_eal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dataplane/base/check.h"

void dialogue_setup(const char *program)
{
    char name[64];
    snprintf(name, sizeof(name), "%.60s", program);
    char words[][20] = {"--no-huge",   "--no-pci",          "-m", "512", "--no-telemetry",
                        "--no-shconf", "--log-level=error", "-l", "0"};
    char *arguments[sizeof(words) / sizeof(words[0]) + 2] = {name};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        arguments[i + 1] = words[i];
    }
    CHECK(rte_eal_init(sizeof(words) / sizeof(words[0]) + 1, arguments) >= 0);
    command_table_setup();
}

struct dialogue *dialogue_create(void)
{
    /* The metrics inside want whole cache lines. */
    struct dialogue *dialogue = aligned_alloc(64, (sizeof(*dialogue) + 63) & ~(size_t)63);
    CHECK(dialogue != NULL);
    memset(dialogue, 0, sizeof(*dialogue));
    dialogue->config = config_create_default();
    dialogue->now =
        (struct instant){.mono_us = 5000000, .wall_ms = 1700000000000, .wall_us = 1700000000000123};
    byte_pool_init(&dialogue->pool, 16);
    client_registry_init(&dialogue->clients, 0, 1);

    struct shard_options options = {.metrics = &dialogue->metrics};
    dialogue->shard = shard_create(&options);
    CHECK(dialogue->config != NULL && dialogue->shard != NULL);

    struct command_context *context = command_context_create();
    CHECK(context != NULL);
    context->shard = dialogue->shard;
    context->config = dialogue->config;
    context->metrics = &dialogue->metrics;
    context->clients = &dialogue->clients;
    context->status = &dialogue->status;
    context->now = dialogue->now;
    dialogue->context = context;
    dialogue->client = dialogue->speaker = dialogue_open_client(dialogue);
    return dialogue;
}

struct client *dialogue_open_client(struct dialogue *dialogue)
{
    struct client *client = malloc(sizeof(*client));
    CHECK(client != NULL);
    client_open(&dialogue->clients, client, CLIENT_RESP);
    client->created_mono_us = dialogue->now.mono_us;
    CHECK(address_parse(SLICE_LITERAL("127.0.0.1"), &client->peer.address));
    CHECK(address_parse(SLICE_LITERAL("127.0.0.1"), &client->local.address));
    client->peer.port = (uint16_t)(50000 + client->id);
    client->local.port = 6379;
    return client;
}

void dialogue_destroy(struct dialogue *dialogue)
{
    while (dialogue->clients.first != NULL) {
        struct client *client = dialogue->clients.first;
        client_close(&dialogue->clients, client);
        free(client);
    }
    control_request_destroy(dialogue->deferral.request);
    command_context_destroy(dialogue->context);
    shard_destroy(dialogue->shard);
    config_destroy(dialogue->config);
    byte_pool_deinit(&dialogue->pool);
    free(dialogue->reply);
    free(dialogue);
}

static void take_reply(struct dialogue *dialogue, struct byte_queue *out)
{
    free(dialogue->reply);
    dialogue->reply_bytes = out->size;
    dialogue->reply = malloc(out->size + 1);
    CHECK(dialogue->reply != NULL);
    CHECK(byte_queue_copy_out(out, 0, dialogue->reply, out->size) == out->size);
    dialogue->reply[out->size] = '\0';
    byte_queue_clear(out, &dialogue->pool);
}

static void run(struct dialogue *dialogue, const struct resp_request *request)
{
    struct byte_queue out;
    byte_queue_init(&out);
    struct reply reply = {
        .out = &out, .pool = &dialogue->pool, .protocol = dialogue->speaker->protocol};
    struct key key;
    struct call call = {
        .context = dialogue->context,
        .shard = dialogue->shard,
        .now = &dialogue->now,
        .client = dialogue->speaker,
        .argument_count = request->argument_count,
        .arguments = request->arguments,
        .reply = &reply,
    };
    call.command = command_find(call.arguments, call.argument_count);
    if (call.command != NULL &&
        command_first_key(call.command, call.arguments, call.argument_count, &key)) {
        call.first_key = &key;
    }
    control_request_destroy(dialogue->deferral.request);
    dialogue->deferral = (struct deferral){0};
    dialogue->context->now = dialogue->now;
    dialogue->verdict = command_run(&call);
    if (dialogue->verdict == COMMAND_DEFERRED) {
        dialogue->deferral = call.deferral;
    }
    take_reply(dialogue, &out);
    while (shard_maintain(dialogue->shard, &dialogue->now)) {
    }
}

void dialogue_send_bytes(struct dialogue *dialogue, struct slice bytes)
{
    struct resp_parser parser;
    struct resp_limits limits = {.bulk_bytes_max = 1 << 20, .authenticated = true};
    struct resp_request request;
    struct resp_parse_result result;
    resp_parser_init(&parser);
    resp_parse(&parser, &limits, bytes, &request, &result);
    CHECK(result.verdict == PARSE_COMPLETE && result.consumed == bytes.size);
    run(dialogue, &request);
    resp_parser_deinit(&parser);
}

void dialogue_send(struct dialogue *dialogue, const char *text)
{
    size_t size = strlen(text);
    char *line = malloc(size + 2);
    CHECK(line != NULL);
    memcpy(line, text, size);
    memcpy(line + size, "\r\n", 2);
    dialogue_send_bytes(dialogue, slice_of(line, size + 2));
    free(line);
}

void dialogue_expect_at(struct dialogue *dialogue, const char *request, const char *expected,
                        const char *file, int line)
{
    dialogue_send(dialogue, request);
    if (strcmp(dialogue->reply, expected) != 0 || strlen(expected) != dialogue->reply_bytes) {
        print_error("%s:%d: %s\n  expected: %s\n  got:      %s\n", file, line, request, expected,
                    dialogue->reply);
        _fail(file, line);
    }
}

void dialogue_expect_part_at(struct dialogue *dialogue, const char *request, const char *part,
                             const char *file, int line)
{
    dialogue_send(dialogue, request);
    if (strstr(dialogue->reply, part) == NULL) {
        print_error("%s:%d: %s\n  expected within: %s\n  got: %s\n", file, line, request, part,
                    dialogue->reply);
        _fail(file, line);
    }
}

void dialogue_resume(struct dialogue *dialogue)
{
    struct byte_queue out;
    byte_queue_init(&out);
    struct reply reply = {
        .out = &out, .pool = &dialogue->pool, .protocol = dialogue->speaker->protocol};
    assert_int_equal(dialogue->verdict, COMMAND_DEFERRED);
    command_resume(dialogue->context, dialogue->speaker, &dialogue->deferral, &reply);
    take_reply(dialogue, &out);
}
