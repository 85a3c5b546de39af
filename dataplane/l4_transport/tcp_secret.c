/* SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF") over whole 64-bit words. */
#include "dataplane/l4_transport/tcp_secret.h"

#define TUPLE_WORDS 5

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], int rounds)
{
    for (int i = 0; i < rounds; i++) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

static uint64_t sip_hash(const uint64_t key[2], const uint64_t *words, unsigned count)
{
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575ULL, key[1] ^ 0x646f72616e646f6dULL,
                     key[0] ^ 0x6c7967656e657261ULL, key[1] ^ 0x7465646279746573ULL};
    for (unsigned i = 0; i <= count; i++) {
        uint64_t word = i < count ? words[i] : (uint64_t)(count * 8U) << 56;
        v[3] ^= word;
        sip_rounds(v, 2);
        v[0] ^= word;
    }
    v[2] ^= 0xFF;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void tcp_secret_init(struct tcp_secret *secret, uint64_t seed, uint64_t more)
{
    *secret = (struct tcp_secret){{seed ^ 0x6e69636163686564ULL, more}};
    tcp_secret_advance(secret);
}

void tcp_secret_advance(struct tcp_secret *secret)
{
    const uint64_t words[2] = {1, 2};
    struct tcp_secret next = {{sip_hash(secret->key, words, 1), sip_hash(secret->key, words, 2)}};
    *secret = next;
}

static void write_tuple(uint64_t words[TUPLE_WORDS], const struct endpoint *local,
                        const struct endpoint *peer, uint32_t purpose)
{
    memcpy(&words[0], local->address.bytes, 16);
    memcpy(&words[2], peer->address.bytes, 16);
    words[4] = (uint64_t)local->port << 48 | (uint64_t)peer->port << 32 | purpose;
}

uint64_t tcp_secret_of_tuple(const struct tcp_secret *secret, const struct endpoint *local,
                             const struct endpoint *peer, uint32_t purpose)
{
    uint64_t words[TUPLE_WORDS];
    write_tuple(words, local, peer, purpose);
    return sip_hash(secret->key, words, TUPLE_WORDS);
}

uint64_t tcp_secret_of_segment(const struct tcp_secret *secret, const struct endpoint *local,
                               const struct endpoint *peer, uint32_t purpose, uint32_t seq)
{
    uint64_t words[TUPLE_WORDS + 1];
    write_tuple(words, local, peer, purpose);
    words[TUPLE_WORDS] = seq;
    return sip_hash(secret->key, words, TUPLE_WORDS + 1);
}
