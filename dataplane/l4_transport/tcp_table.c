/* See the header for the layout. Invariants:
 *   T1  a tag is 0 exactly when its slot is NULL
 *   T2  table_next of a connection in a slot is NULL, but for the last slot's: from there on are
 *       those that found no slot, and as long as there are any all slots are taken
 */
#include "dataplane/l4_transport/tcp_table.h"

#include <sys/mman.h>

#include "dataplane/base/check.h"

#define BUCKETS_MIN      512U
#define BUCKETS_MAX      (1U << 26)
#define ENTRIES_A_BUCKET 3U
#define LAST_SLOT        (TCP_TABLE_SLOTS - 1)
#define LARGE_PAGE_BYTES ((size_t)2 << 20)

static size_t reserved_bytes(const struct tcp_table *table)
{
    return table->bucket_count_max * sizeof(struct tcp_bucket);
}

/* Address space that begins a large page, in large pages if the kernel has any: which bucket is
 * looked at is chance, and in small pages each look would miss the TLB as well as the cache. */
static void *reserve(size_t bytes)
{
    uint8_t *all = mmap(NULL, bytes + LARGE_PAGE_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED) {
        return NULL;
    }
    size_t front = -(uintptr_t)all % LARGE_PAGE_BYTES;
    if (front > 0) {
        munmap(all, front);
    }
    munmap(all + front + bytes, LARGE_PAGE_BYTES - front);
    (void)madvise(all + front, bytes, MADV_HUGEPAGE);
    return all + front;
}

bool tcp_table_init(struct tcp_table *table, uint32_t entries_max)
{
    uint32_t buckets = BUCKETS_MIN;
    while (buckets < entries_max / ENTRIES_A_BUCKET + 1 && buckets < BUCKETS_MAX) {
        buckets <<= 1;
    }
    *table = (struct tcp_table){.mask = BUCKETS_MIN - 1, .bucket_count_max = buckets};
    table->buckets = reserve(reserved_bytes(table));
    return table->buckets != NULL;
}

void tcp_table_deinit(struct tcp_table *table)
{
    CHECK(table->count == 0);
    munmap(table->buckets, reserved_bytes(table));
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
    const struct tcp_bucket *bucket = tcp_table_bucket(table, hash);
    uint64_t matches = tcp_bucket_match(bucket, tcp_table_tag(hash));
    for (; matches != 0; matches &= matches - 1) {
        struct tcp_connection *c = tcp_bucket_first(bucket, matches);
        if (LIKELY(tcp_connection_has_tuple(c, local, local_port, peer, peer_port))) {
            return c;
        }
    }
    struct tcp_connection *c = tcp_bucket_overflow(bucket);
    while (c != NULL && !tcp_connection_has_tuple(c, local, local_port, peer, peer_port)) {
        c = c->table_next;
    }
    return c;
}

static void fill_slot(struct tcp_bucket *bucket, uint32_t slot, struct tcp_connection *c)
{
    bucket->slots[slot] = c;
    bucket->tags[slot] = c != NULL ? tcp_table_tag(c->hash) : 0;
}

/* Into an empty slot, or behind the last. */
static void put(struct tcp_bucket *bucket, struct tcp_connection *c)
{
    c->table_next = NULL;
    uint32_t slot = (uint32_t)__builtin_ctzll(tcp_bucket_match(bucket, 0)) / 8;
    if (slot < TCP_TABLE_SLOTS) {
        fill_slot(bucket, slot, c);
    } else {
        c->table_next = bucket->slots[LAST_SLOT]->table_next;
        bucket->slots[LAST_SLOT]->table_next = c;
    }
}

static void split_one(struct tcp_table *table)
{
    uint32_t upper = table->mask + 1;
    if (table->split + upper >= table->bucket_count_max) {
        return;
    }
    struct tcp_bucket *from = &table->buckets[table->split], *to = from + upper, whole = *from;
    struct tcp_connection *c = tcp_bucket_overflow(from), *next;
    *from = (struct tcp_bucket){0};
    for (uint32_t i = 0; i < TCP_TABLE_SLOTS; i++) {
        if (whole.slots[i] != NULL) {
            put((uint32_t)whole.slots[i]->hash & upper ? to : from, whole.slots[i]);
        }
    }
    for (; c != NULL; c = next) {
        next = c->table_next;
        put((uint32_t)c->hash & upper ? to : from, c);
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
    put(tcp_table_bucket(table, c->hash), c);
    c->linked = true;
    table->count++;
    if (table->count > tcp_table_bucket_count(table) * ENTRIES_A_BUCKET) {
        split_one(table);
    }
}

static void unlink_overflow(struct tcp_bucket *bucket, const struct tcp_connection *c)
{
    struct tcp_connection *before = bucket->slots[LAST_SLOT];
    while (before->table_next != c) {
        before = before->table_next;
        CHECK(before != NULL);
    }
    before->table_next = c->table_next;
}

/* The slot goes to the first of those that have none. */
static void empty_slot(struct tcp_bucket *bucket, uint32_t slot)
{
    struct tcp_connection *heir = tcp_bucket_overflow(bucket);
    if (heir != NULL && slot != LAST_SLOT) {
        unlink_overflow(bucket, heir);
        heir->table_next = NULL;
    }
    fill_slot(bucket, slot, heir);
}

void tcp_table_remove(struct tcp_table *table, struct tcp_connection *c)
{
    struct tcp_bucket *bucket = tcp_table_bucket(table, c->hash);
    uint32_t slot = 0;
    while (slot < TCP_TABLE_SLOTS && bucket->slots[slot] != c) {
        slot++;
    }
    if (slot < TCP_TABLE_SLOTS) {
        empty_slot(bucket, slot);
    } else {
        unlink_overflow(bucket, c);
    }
    c->table_next = NULL;
    c->linked = false;
    table->count--;
}
