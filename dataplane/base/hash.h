/* Keyed hashing with a secret drawn at start: tables that a peer can put keys into use nothing
 * else. */
#ifndef NICACHED_BASE_HASH_H
#define NICACHED_BASE_HASH_H

#include "dataplane/base/bytes.h"

/* Draws the process secret from the kernel's random source. Until it is called, hashes use a fixed
 * secret: tests and replays want that. Call once, before any thread starts. */
void hash_setup_random_secret(void);

/* XXH3, 64 bits, with the process secret. */
uint64_t hash_bytes(struct slice bytes);

/* The same for keys of 16 bytes, in a few instructions: the halves, each with a part of the secret,
 * are multiplied, and the product's halves folded. */
extern uint64_t hash_word_secrets[2];
static inline uint64_t hash_words(uint64_t first, uint64_t second)
{
    __extension__ unsigned __int128 product =
        (unsigned __int128)(first ^ hash_word_secrets[0]) * (second ^ hash_word_secrets[1]);
    uint64_t hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    hash = (hash ^ hash >> 32) * 0x9FB21C651E98DF25ULL;
    return hash ^ hash >> 29;
}

/* 64 random bits from the kernel: not for the packet path. */
uint64_t random_seed(void);

/* A small fast generator (xorshift*) for choices that need no secrecy; state must not be 0. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545F4914F6CDD1DULL;
}

#endif
