/* The connections of one worker by four-tuple.
 *
 *   bucket, one cache line          tag: a byte of the hash, never 0; 0: the slot is empty
 *   | 7 tags, 0 | slot 0 | slot 1 | ... | slot 6 | --> connection -> connection -> ...
 *                                                      what found no slot: by table_next
 *
 * A look-up compares the tags, all at once, and so the connection that it reads next is the right
 * one in all but one of a hundred cases: others' lines, in memory that is in no cache, stay
 * unread.
 *
 * Linear hashing with a bucket for each three entries: with an insertion beyond that one bucket is
 * split in two. No step ever touches more than two buckets, so growth never shows in the tail
 * latency. Some buckets hold twice as many then, which fits; of one entry in fifty, ten at worst,
 * there is no slot. The bucket array is reserved for the largest size at once, in large pages;
 * untouched parts of it cost address space only.
 * Hashes are keyed, so buckets cannot be aimed at.
 */
#ifndef NICACHED_L4_TRANSPORT_TCP_TABLE_H
#define NICACHED_L4_TRANSPORT_TCP_TABLE_H

#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "dataplane/l4_transport/tcp_connection.h"

#define TCP_TABLE_SLOTS 7U

struct tcp_bucket {
    union {
        uint8_t tags[8]; /* the last is no slot's, and 0 */
        uint64_t tag_word;
    };
    struct tcp_connection *slots[TCP_TABLE_SLOTS];
};

static_assert(sizeof(struct tcp_bucket) == TCP_LINE_BYTES, "a bucket is one cache line");

struct tcp_table {
    struct tcp_bucket *buckets;
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

static inline uint32_t tcp_table_bucket_count(const struct tcp_table *table)
{
    return table->mask + 1 + table->split;
}

static inline struct tcp_bucket *tcp_table_bucket(const struct tcp_table *table, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & table->mask;
    at = at < table->split ? (uint32_t)hash & (table->mask << 1 | 1) : at;
    return &table->buckets[at];
}

/* Not of the bits that choose the bucket. */
static inline uint8_t tcp_table_tag(uint64_t hash)
{
    return (uint8_t)(hash >> 56 | 1);
}

/* The highest bit of each byte that is the tag. */
static inline uint64_t tcp_bucket_match(const struct tcp_bucket *bucket, uint8_t tag)
{
    const uint64_t ones = 0x0101010101010101U, low = 0x7F7F7F7F7F7F7F7FU;
    uint64_t difference = bucket->tag_word ^ ones * tag;
    return ~(((difference & low) + low) | difference | low);
}

static inline struct tcp_connection *tcp_bucket_first(const struct tcp_bucket *bucket,
                                                      uint64_t matches)
{
    return bucket->slots[__builtin_ctzll(matches) / 8];
}

/* The connection that the hash, whose bucket it is, most likely is of, as the tags say: for
 * prefetching. */
static inline struct tcp_connection *tcp_bucket_guess(const struct tcp_bucket *bucket,
                                                      uint64_t hash)
{
    uint64_t matches = tcp_bucket_match(bucket, tcp_table_tag(hash));
    return LIKELY(matches != 0) ? tcp_bucket_first(bucket, matches) : NULL;
}

static inline bool tcp_connection_has_tuple(const struct tcp_connection *c,
                                            const struct address *local, uint16_t local_port,
                                            const struct address *peer, uint16_t peer_port)
{
    const struct stream *s = &c->stream;
    return s->local.port == local_port && s->peer.port == peer_port &&
           memcmp(&s->peer.address, peer, sizeof(*peer)) == 0 &&
           memcmp(&s->local.address, local, sizeof(*local)) == 0;
}

struct tcp_connection *tcp_table_find(const struct tcp_table *table, uint64_t hash,
                                      const struct address *local, uint16_t local_port,
                                      const struct address *peer, uint16_t peer_port);
/* By stream.local and stream.peer; sets c->hash. */
void tcp_table_insert(struct tcp_table *table, struct tcp_connection *c);
void tcp_table_remove(struct tcp_table *table, struct tcp_connection *c);

/* Those of a bucket that found no slot. */
static inline struct tcp_connection *tcp_bucket_overflow(const struct tcp_bucket *bucket)
{
    const struct tcp_connection *last = bucket->slots[TCP_TABLE_SLOTS - 1];
    return last != NULL ? last->table_next : NULL;
}

#endif
