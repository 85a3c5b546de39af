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

struct address address_from_ipv4(uint32_t ipv4_host_order);
bool address_is_ipv4(const struct address *address);
uint32_t
address_to_ipv4(const struct address *address); /* host order; the caller knows it is one */
bool address_equal(const struct address *a, const struct address *b);
bool address_is_loopback(const struct address *address); /* 127.0.0.0/8 or ::1 */
/* "198.18.0.2" or "2001:db8::1"; false if it is neither. */
bool address_parse(struct slice text, struct address *address);
/* Terminated text; `text` has room for ADDRESS_TEXT_BYTES_MAX. */
void address_format(const struct address *address, char *text);
/* "198.18.0.2:6379" or "[2001:db8::1]:6379". */
void endpoint_format(const struct endpoint *endpoint, char *text);

#endif
