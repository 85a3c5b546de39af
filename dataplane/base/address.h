/* Network addresses. IPv4 is kept in the last four bytes of the v4-mapped IPv6 form, so that one
 * comparison and one hash serve both families. */
#ifndef NICACHED_BASE_ADDRESS_H
#define NICACHED_BASE_ADDRESS_H

#include "dataplane/base/bytes.h"

struct address {
    uint8_t bytes[16]; /* network order; IPv4 as ::ffff:a.b.c.d */
};

struct endpoint {
    struct address address;
    uint16_t port; /* host order; 0 with a Unix socket */
};

#define ADDRESS_TEXT_BYTES_MAX  46
#define ENDPOINT_TEXT_BYTES_MAX 56

/* An address of ours and the network it lies in. */
struct address_prefix {
    struct address address;
    uint8_t prefix_length; /* in bits of the address's own family */
};

/* What an interface goes by: at least one address, and at most one gateway of each family. */
#define ADDRESSES_MAX 9U
#define GATEWAYS_MAX  2U
struct interface_addresses {
    struct address_prefix at[ADDRESSES_MAX];
    uint32_t count;
    struct address gateways[GATEWAYS_MAX];
    uint32_t gateway_count;
};

struct address address_from_ipv4(uint32_t ipv4_host_order);

static inline bool address_is_ipv4(const struct address *address)
{
    static const uint8_t prefix[4] = {[2] = 0xff, [3] = 0xff};
    uint64_t zero;
    uint32_t mapped, behind;
    memcpy(&zero, address->bytes, sizeof(zero));
    memcpy(&behind, address->bytes + 8, sizeof(behind));
    memcpy(&mapped, prefix, sizeof(mapped));
    return (zero | (behind ^ mapped)) == 0;
}

/* Host order; the caller knows it is one. */
static inline uint32_t address_to_ipv4(const struct address *address)
{
    return bytes_read_be32(address->bytes + 12);
}

static inline bool address_equal(const struct address *a, const struct address *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* IPv6's fe80::/10: an address of one link. */
static inline bool address_is_link_local(const struct address *address)
{
    return address->bytes[0] == 0xfe && (address->bytes[1] & 0xc0) == 0x80;
}

/* Of the same family, and alike in the bits that the prefix has. */
bool address_is_within(const struct address *address, const struct address_prefix *network);
/* Whether one of the addresses is IPv4, or one is IPv6. */
bool addresses_have_family(const struct interface_addresses *addresses, bool ipv4);
bool address_is_loopback(const struct address *address); /* 127.0.0.0/8 or ::1 */
/* "198.18.0.2" or "2001:db8::1"; false if it is neither. */
bool address_parse(struct slice text, struct address *address);
/* Terminated text; `text` has room for ADDRESS_TEXT_BYTES_MAX. */
void address_format(const struct address *address, char *text);
/* "198.18.0.2:6379" or "[2001:db8::1]:6379". */
void endpoint_format(const struct endpoint *endpoint, char *text);

#endif
