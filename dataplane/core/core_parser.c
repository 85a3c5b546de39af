/* Parsers, lent to conversations.
 *
 * Between two requests a parser knows nothing, so a conversation has one only from the first byte
 * of a request to its last: an idle connection holds none, and of many connections with short
 * requests all use the one that is in the cache. What lies here is in its first state (a parser at
 * rest is) and may own a small table; one list for each protocol.
 *
 * Thread: the owning worker. Memory: as many parsers as requests were cut at the same time; beyond
 * PARSERS_KEPT_MAX they go back to the heap.
 */
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/core/core_internal.h"

#define PARSERS_KEPT_MAX 64U

static enum core_protocol protocol_of(const struct conversation *conversation)
{
    if (conversation->speaks_binary) {
        return PROTOCOL_MEMCACHE_BINARY;
    }
    return conversation->client.kind == CLIENT_MEMCACHE ? PROTOCOL_MEMCACHE : PROTOCOL_RESP;
}

static void init_parser(struct conversation_parser *parser, enum core_protocol protocol)
{
    switch (protocol) {
    case PROTOCOL_RESP: resp_parser_init(&parser->resp); break;
    case PROTOCOL_MEMCACHE: memcache_parser_init(&parser->memcache); break;
    case PROTOCOL_MEMCACHE_BINARY:
        parser->memcache_binary = (struct memcache_binary_parser){0};
        break;
    case PROTOCOL_COUNT: CHECK(false);
    }
}

/* Back in its first state, without a table. */
static void reset_parser(struct conversation_parser *parser, enum core_protocol protocol)
{
    switch (protocol) {
    case PROTOCOL_RESP: resp_parser_deinit(&parser->resp); break;
    case PROTOCOL_MEMCACHE: memcache_parser_deinit(&parser->memcache); break;
    case PROTOCOL_MEMCACHE_BINARY: init_parser(parser, protocol); break;
    case PROTOCOL_COUNT: CHECK(false);
    }
}

/* What others borrow next, or nobody for long, keeps no table of a large request. */
static void release_large(struct conversation_parser *parser, enum core_protocol protocol)
{
    switch (protocol) {
    case PROTOCOL_RESP: resp_parser_release_large(&parser->resp); break;
    case PROTOCOL_MEMCACHE: memcache_parser_release_large(&parser->memcache); break;
    case PROTOCOL_MEMCACHE_BINARY: break; /* it has none */
    case PROTOCOL_COUNT: CHECK(false);
    }
}

static bool is_at_rest(const struct conversation_parser *parser, enum core_protocol protocol)
{
    switch (protocol) {
    case PROTOCOL_RESP: return resp_parser_is_at_rest(&parser->resp);
    case PROTOCOL_MEMCACHE: return memcache_parser_is_at_rest(&parser->memcache);
    case PROTOCOL_MEMCACHE_BINARY: return memcache_binary_is_at_rest(&parser->memcache_binary);
    case PROTOCOL_COUNT: break;
    }
    return false;
}

void core_take_parser(struct core *core, struct conversation *conversation)
{
    enum core_protocol protocol = protocol_of(conversation);
    struct core_parsers *kept = &core->parsers[protocol];
    struct conversation_parser *parser = kept->first;
    if (conversation->parser != NULL) {
        return;
    }
    if (LIKELY(parser != NULL)) {
        kept->first = parser->free_next;
        kept->count--;
    } else {
        parser = malloc(sizeof(*parser));
        CHECK(parser != NULL);
        init_parser(parser, protocol);
    }
    conversation->parser = parser;
}

static void keep_parser(struct core *core, struct conversation *conversation)
{
    enum core_protocol protocol = protocol_of(conversation);
    struct core_parsers *kept = &core->parsers[protocol];
    struct conversation_parser *parser = conversation->parser;
    conversation->parser = NULL;
    if (UNLIKELY(kept->count == PARSERS_KEPT_MAX)) {
        reset_parser(parser, protocol);
        free(parser);
        return;
    }
    release_large(parser, protocol);
    parser->free_next = kept->first;
    kept->first = parser;
    kept->count++;
}

void core_return_parser(struct core *core, struct conversation *conversation)
{
    if (conversation->parser != NULL &&
        is_at_rest(conversation->parser, protocol_of(conversation))) {
        keep_parser(core, conversation);
    }
}

void core_forget_parser(struct core *core, struct conversation *conversation)
{
    if (conversation->parser != NULL) {
        reset_parser(conversation->parser, protocol_of(conversation));
        keep_parser(core, conversation);
    }
}

void core_free_parsers(struct core *core)
{
    for (int protocol = 0; protocol < PROTOCOL_COUNT; protocol++) {
        struct core_parsers *kept = &core->parsers[protocol];
        while (kept->first != NULL) {
            struct conversation_parser *parser = kept->first;
            kept->first = parser->free_next;
            reset_parser(parser, (enum core_protocol)protocol);
            free(parser);
        }
        kept->count = 0;
    }
}
