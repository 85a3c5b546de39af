/* Toeplitz by table: 24 look-ups in 1.5 KB for a flow of IPv4, 72 in 4.6 KB for one of IPv6. DPDK's
 * own form, which the table is made with, walks over every set bit. Thread: any; read-only once
 * made. */
#include "drivers/port_rss.h"

#include <string.h>

#include <rte_thash.h>

#include "dataplane/base/hash.h"

#define TABLE_BITS  7U  /* of the hash: they choose the table's entry */
#define RANK_SPARE  2U  /* so many port bits more than the hash bits that they must reach */
#define STRIDE_BITS 4U  /* ports apart by 1, 2, 4 or 8 */
#define PORTS_IPV4  16U /* where the source port's half bytes begin */
#define PORTS_IPV6  64U

/* Half byte `at` of the tuple, most significant first, as it lies in 32-bit words. */
static uint32_t hash_nibble(const uint8_t *key, uint32_t at, uint32_t value)
{
    uint32_t words[PORT_RSS_NIBBLES / 8] = {0};
    words[at / 8] = value << (28 - at % 8 * 4);
    return rte_softrss(words, PORT_RSS_NIBBLES / 8, key);
}

void port_rss_init(struct port_rss *rss, const uint8_t key[PORT_RSS_KEY_BYTES])
{
    memcpy(rss->key, key, PORT_RSS_KEY_BYTES);
    for (uint32_t at = 0; at < PORT_RSS_NIBBLES; at++) {
        for (uint32_t value = 0; value < 16; value++) {
            rss->nibbles[at][value] = hash_nibble(rss->key, at, value);
        }
    }
}

/* ---- keys that spread ports in sequence ------------------------------------------------------ */

/* Of these vectors over GF(2), which are spoilt. */
static uint32_t rank_of(uint32_t *vectors, uint32_t count)
{
    uint32_t rank = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t lowest = vectors[i] & -vectors[i];
        rank += lowest != 0;
        for (uint32_t k = i + 1; k < count; k++) {
            vectors[k] ^= (vectors[k] & lowest) != 0 ? vectors[i] : 0;
        }
    }
    return rank;
}

/* Whether the port's bits from `stride` on reach every value of the lowest `bits` of the hash. */
static bool has_full_rank(const struct port_rss *rss, uint32_t ports, uint32_t stride,
                          uint32_t bits)
{
    uint32_t vectors[TABLE_BITS + RANK_SPARE];
    for (uint32_t i = 0; i < bits + RANK_SPARE; i++) {
        uint32_t bit = stride + i;
        vectors[i] = rss->nibbles[ports + 3 - bit / 4][1U << bit % 4] & ((1U << bits) - 1);
    }
    return rank_of(vectors, bits + RANK_SPARE) == bits;
}

static bool spreads_ports(const struct port_rss *rss, uint32_t ports)
{
    for (uint32_t stride = 0; stride < STRIDE_BITS; stride++) {
        for (uint32_t bits = 1; bits <= TABLE_BITS; bits++) {
            if (!has_full_rank(rss, ports, stride, bits)) {
                return false;
            }
        }
    }
    return true;
}

static void init_any(struct port_rss *rss)
{
    uint8_t key[PORT_RSS_KEY_BYTES];
    for (uint32_t i = 0; i < sizeof(key); i += (uint32_t)sizeof(uint64_t)) {
        uint64_t word = random_seed();
        memcpy(key + i, &word, sizeof(word));
    }
    port_rss_init(rss, key);
}

/* About one key in 25 is good enough. */
void port_rss_init_random(struct port_rss *rss)
{
    do {
        init_any(rss);
    } while (!spreads_ports(rss, PORTS_IPV4) || !spreads_ports(rss, PORTS_IPV6));
}

/* ---- the hash -------------------------------------------------------------------------------- */

static uint32_t hash_word(const struct port_rss *rss, uint32_t first, uint32_t word)
{
    uint32_t hash = 0;
    for (uint32_t i = 0; i < 8; i++) {
        hash ^= rss->nibbles[first + i][word >> (28 - 4 * i) & 15U];
    }
    return hash;
}

uint32_t port_rss_hash_addresses(const struct port_rss *rss, uint32_t source, uint32_t destination)
{
    return hash_word(rss, 0, source) ^ hash_word(rss, 8, destination);
}

uint32_t port_rss_hash_flow(const struct port_rss *rss, uint32_t source, uint32_t destination,
                            uint16_t source_port, uint16_t destination_port)
{
    return port_rss_hash_addresses(rss, source, destination) ^
           hash_word(rss, 16, (uint32_t)source_port << 16 | destination_port);
}

static uint32_t hash_address(const struct port_rss *rss, uint32_t first,
                             const struct address *address)
{
    uint32_t hash = 0;
    for (uint32_t i = 0; i < 4; i++) {
        hash ^= hash_word(rss, first + 8 * i, bytes_read_be32(address->bytes + (size_t)4 * i));
    }
    return hash;
}

uint32_t port_rss_hash_addresses_ipv6(const struct port_rss *rss, const struct address *source,
                                      const struct address *destination)
{
    return hash_address(rss, 0, source) ^ hash_address(rss, 32, destination);
}

uint32_t port_rss_hash_flow_ipv6(const struct port_rss *rss, const struct address *source,
                                 const struct address *destination, uint16_t source_port,
                                 uint16_t destination_port)
{
    return port_rss_hash_addresses_ipv6(rss, source, destination) ^
           hash_word(rss, 64, (uint32_t)source_port << 16 | destination_port);
}
