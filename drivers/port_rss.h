/* The hash by which flows are spread over workers: Toeplitz, over addresses and ports.
 *
 * One key per process, drawn at start, so that nobody can aim flows at one worker. A NIC that takes
 * the key and our table of 128 entries (port.c: capabilities.rss) finds the worker by itself; for
 * every other port the worker that owns a queue works the same number out (core_distributor.h). So
 * the owner of a connection can always be told from its addresses and ports, whoever asks.
 *
 *   worker = (hash mod 128) mod number of workers
 *
 * The hash is linear over GF(2), and clients take their ports in sequence, or every second one:
 * with one key in twenty, 40 connections of a client were on two workers of four. So keys are drawn
 * until the lowest k bits of the hash have rank k over the k + 2 port bits from each of the lowest
 * four on. For 2^k workers the 2^(k+2) ports that differ in these bits alone then give 4 to each
 * worker; for other numbers of workers a sequence is spread about as ports by chance are.
 */
#ifndef NICACHED_DRIVERS_PORT_RSS_H
#define NICACHED_DRIVERS_PORT_RSS_H

#include "dataplane/base/address.h"

#define PORT_RSS_KEY_BYTES_MIN 40U
#define PORT_RSS_KEY_BYTES     64U /* NICs take 40 or 52; addresses and ports use up to 40 */
#define PORT_RSS_TABLE_ENTRIES 128U
#define PORT_RSS_NIBBLES       72U /* of two IPv6 addresses and two ports; IPv4 uses 24 */

struct port_rss {
    uint8_t key[PORT_RSS_KEY_BYTES];
    /* The hash is linear: that of a tuple is the exclusive or of those of its half bytes. */
    uint32_t nibbles[PORT_RSS_NIBBLES][16];
};

void port_rss_init(struct port_rss *rss, const uint8_t key[PORT_RSS_KEY_BYTES]);
/* With a key that spreads ports in sequence. */
void port_rss_init_random(struct port_rss *rss);

/* Addresses and ports in host order; of a packet that comes in: the peer is the source. */
uint32_t port_rss_hash_addresses(const struct port_rss *rss, uint32_t source, uint32_t destination);
uint32_t port_rss_hash_flow(const struct port_rss *rss, uint32_t source, uint32_t destination,
                            uint16_t source_port, uint16_t destination_port);

/* The same of IPv6. */
uint32_t port_rss_hash_addresses_ipv6(const struct port_rss *rss, const struct address *source,
                                      const struct address *destination);
uint32_t port_rss_hash_flow_ipv6(const struct port_rss *rss, const struct address *source,
                                 const struct address *destination, uint16_t source_port,
                                 uint16_t destination_port);

static inline uint32_t port_rss_worker(uint32_t hash, uint32_t worker_count)
{
    return hash % PORT_RSS_TABLE_ENTRIES % worker_count;
}

#endif
