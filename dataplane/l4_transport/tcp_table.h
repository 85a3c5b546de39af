/* The connections of one worker by four-tuple.
 *
 * Linear hashing: with every insertion beyond one entry per bucket, one bucket is split in two. No
 * step ever touches more than one chain, so growth never shows in the tail latency. The bucket
 * array is reserved for the largest size at once; untouched parts of it cost address space only.
 * Hashes are keyed, so chains cannot be aimed at.
 */
#ifndef NICACHED_L4_TRANSPORT_TCP_TABLE_H
#define NICACHED_L4_TRANSPORT_TCP_TABLE_H

#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/l4_transport/tcp_connection.h"

struct tcp_table {
    struct tcp_connection **buckets;
    uint32_t mask;  /* of the smaller size */
    uint32_t split; /* buckets below it are split already */
    uint32_t bucket_count_max;
    uint32_t count;
};

bool tcp_table_init(struct tcp_table *table, uint32_t entries_max);
void tcp_table_deinit(struct tcp_table *table);

uint64_t tcp_table_hash_ipv6(const struct address *local, uint16_t local_port,
                             const struct address *peer, uint16_t peer_port);

static inline uint64_t tcp_table_hash(const struct address *local, uint16_t local_port,
                                      const struct address *peer, uint16_t peer_port)
{
    if (UNLIKELY(!address_is_ipv4(local) || !address_is_ipv4(peer))) {
        return tcp_table_hash_ipv6(local, local_port, peer, peer_port);
    }
    uint32_t words[2];
    memcpy(&words[0], local->bytes + 12, 4);
    memcpy(&words[1], peer->bytes + 12, 4);
    return hash_words((uint64_t)words[0] << 32 | words[1], (uint32_t)local_port << 16 | peer_port);
}

static inline uint32_t tcp_table_bucket(const struct tcp_table *table, uint64_t hash)
{
    uint32_t bucket = (uint32_t)hash & table->mask;
    return bucket < table->split ? (uint32_t)hash & (table->mask << 1 | 1) : bucket;
}

/* First of the chain that the hash falls into: for prefetching. */
static inline struct tcp_connection *tcp_table_chain(const struct tcp_table *table, uint64_t hash)
{
    return table->buckets[tcp_table_bucket(table, hash)];
}

struct tcp_connection *tcp_table_find(const struct tcp_table *table, uint64_t hash,
                                      const struct address *local, uint16_t local_port,
                                      const struct address *peer, uint16_t peer_port);
/* By stream.local and stream.peer; sets c->hash. */
void tcp_table_insert(struct tcp_table *table, struct tcp_connection *c);
void tcp_table_remove(struct tcp_table *table, struct tcp_connection *c);

#endif
