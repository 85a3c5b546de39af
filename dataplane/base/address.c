#include "dataplane/base/address.h"

#include <arpa/inet.h>
#include <stdio.h>

static const uint8_t ipv4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct address address_from_ipv4(uint32_t ipv4_host_order)
{
    struct address address;
    memcpy(address.bytes, ipv4_prefix, sizeof(ipv4_prefix));
    bytes_write_be32(address.bytes + 12, ipv4_host_order);
    return address;
}

bool address_is_ipv4(const struct address *address)
{
    return memcmp(address->bytes, ipv4_prefix, sizeof(ipv4_prefix)) == 0;
}

uint32_t address_to_ipv4(const struct address *address)
{
    return bytes_read_be32(address->bytes + 12);
}

bool address_equal(const struct address *a, const struct address *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool address_is_loopback(const struct address *address)
{
    static const uint8_t ipv6_loopback[16] = {[15] = 1};
    return address_is_ipv4(address) ? address->bytes[12] == 127
                                    : memcmp(address->bytes, ipv6_loopback, 16) == 0;
}

bool address_parse(struct slice text, struct address *address)
{
    char buffer[ADDRESS_TEXT_BYTES_MAX];
    if (text.size >= sizeof(buffer)) {
        return false;
    }
    memcpy(buffer, text.data, text.size);
    buffer[text.size] = '\0';
    struct in_addr ipv4;
    if (inet_pton(AF_INET, buffer, &ipv4) == 1) {
        *address = address_from_ipv4(ntohl(ipv4.s_addr));
        return true;
    }
    return inet_pton(AF_INET6, buffer, address->bytes) == 1;
}

void address_format(const struct address *address, char *text)
{
    if (address_is_ipv4(address)) {
        inet_ntop(AF_INET, address->bytes + 12, text, ADDRESS_TEXT_BYTES_MAX);
    } else {
        inet_ntop(AF_INET6, address->bytes, text, ADDRESS_TEXT_BYTES_MAX);
    }
}

void endpoint_format(const struct endpoint *endpoint, char *text)
{
    char address[ADDRESS_TEXT_BYTES_MAX];
    address_format(&endpoint->address, address);
    snprintf(text, ENDPOINT_TEXT_BYTES_MAX,
             address_is_ipv4(&endpoint->address) ? "%s:%u" : "[%s]:%u", address, endpoint->port);
}
