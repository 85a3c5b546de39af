#include "dataplane/base/hash.h"

#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "dataplane/base/check.h"

static uint8_t secret[XXH_SECRET_DEFAULT_SIZE] = "nicached: fixed secret for tests and replays";
static uint64_t secret_seed = 0x9E3779B97F4A7C15ULL;
uint64_t hash_word_secrets[2] = {0xD6E8FEB86659FD93ULL, 0xA0761D6478BD642FULL};

uint64_t random_seed(void)
{
    uint64_t seed;
    CHECK(getrandom(&seed, sizeof(seed), 0) == (ssize_t)sizeof(seed));
    return seed != 0 ? seed : 1;
}

void hash_setup_random_secret(void)
{
    CHECK(getrandom(secret, sizeof(secret), 0) == (ssize_t)sizeof(secret));
    secret_seed = random_seed();
    hash_word_secrets[0] = random_seed();
    hash_word_secrets[1] = random_seed();
}

uint64_t hash_bytes(struct slice bytes)
{
    return XXH3_64bits_withSecretandSeed(bytes.data, bytes.size, secret, sizeof(secret),
                                         secret_seed);
}
