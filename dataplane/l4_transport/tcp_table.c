#include "dataplane/l4_transport/tcp_table.h"

#include <stdlib.h>

#include "dataplane/base/check.h"

#define BUCKETS_MIN 1024U

bool tcp_table_init(struct tcp_table *table, uint32_t entries_max)
{
    uint32_t buckets = BUCKETS_MIN;
    while (buckets < entries_max && buckets < 1U << 28) {
        buckets <<= 1;
    }
    *table = (struct tcp_table){.mask = BUCKETS_MIN - 1, .bucket_count_max = buckets};
    table->buckets = calloc(buckets, sizeof(struct tcp_connection *));
    return table->buckets != NULL;
}

void tcp_table_deinit(struct tcp_table *table)
{
    CHECK(table->count == 0);
    free(table->buckets);
    table->buckets = NULL;
}

uint64_t tcp_table_hash_ipv6(const struct address *local, uint16_t local_port,
                             const struct address *peer, uint16_t peer_port)
{
    uint8_t key[36];
    bytes_write_be16(key, local_port);
    bytes_write_be16(key + 2, peer_port);
    memcpy(key + 4, local->bytes, 16);
    memcpy(key + 20, peer->bytes, 16);
    return hash_bytes(slice_of(key, 36));
}

struct tcp_connection *tcp_table_find(const struct tcp_table *table, uint64_t hash,
                                      const struct address *local, uint16_t local_port,
                                      const struct address *peer, uint16_t peer_port)
{
    struct tcp_connection *c = tcp_table_chain(table, hash);
    while (c != NULL) {
        const struct stream *s = &c->stream;
        if (s->local.port == local_port && s->peer.port == peer_port &&
            memcmp(&s->peer.address, peer, sizeof(*peer)) == 0 &&
            memcmp(&s->local.address, local, sizeof(*local)) == 0) {
            return c;
        }
        c = c->table_next;
    }
    return NULL;
}

static void split_one(struct tcp_table *table)
{
    uint32_t from = table->split, upper = table->mask + 1;
    if (from + upper >= table->bucket_count_max) {
        return;
    }
    struct tcp_connection *c = table->buckets[from];
    table->buckets[from] = NULL;
    while (c != NULL) {
        struct tcp_connection *next = c->table_next;
        uint32_t to = (uint32_t)c->hash & upper ? from + upper : from;
        c->table_next = table->buckets[to];
        table->buckets[to] = c;
        c = next;
    }
    table->split++;
    if (table->split == upper) {
        table->mask = table->mask << 1 | 1;
        table->split = 0;
    }
}

void tcp_table_insert(struct tcp_table *table, struct tcp_connection *c)
{
    c->hash = tcp_table_hash(&c->stream.local.address, c->stream.local.port,
                             &c->stream.peer.address, c->stream.peer.port);
    struct tcp_connection **chain = &table->buckets[tcp_table_bucket(table, c->hash)];
    c->table_next = *chain;
    *chain = c;
    c->linked = true;
    if (++table->count > table->mask + 1 + table->split) {
        split_one(table);
    }
}

void tcp_table_remove(struct tcp_table *table, struct tcp_connection *c)
{
    struct tcp_connection **link = &table->buckets[tcp_table_bucket(table, c->hash)];
    while (*link != c) {
        CHECK(*link != NULL);
        link = &(*link)->table_next;
    }
    *link = c->table_next;
    c->table_next = NULL;
    c->linked = false;
    table->count--;
}
