#include "dataplane/base/address.h"

#include <arpa/inet.h>
#include <stdio.h>

struct address address_from_ipv4(uint32_t ipv4_host_order)
{
    struct address address;
    memset(address.bytes, 0, 10);
    memset(address.bytes + 10, 0xff, 2);
    bytes_write_be32(address.bytes + 12, ipv4_host_order);
    return address;
}

bool address_is_within(const struct address *address, const struct address_prefix *network)
{
    bool ipv4 = address_is_ipv4(&network->address);
    uint32_t bits = network->prefix_length + (ipv4 ? 96U : 0U), bytes = bits / 8;
    if (address_is_ipv4(address) != ipv4 ||
        memcmp(address->bytes, network->address.bytes, bytes) != 0) {
        return false;
    }
    uint32_t rest = bits % 8;
    return rest == 0 || (address->bytes[bytes] ^ network->address.bytes[bytes]) >> (8 - rest) == 0;
}

bool addresses_have_family(const struct interface_addresses *addresses, bool ipv4)
{
    for (uint32_t i = 0; i < addresses->count; i++) {
        if (address_is_ipv4(&addresses->at[i].address) == ipv4) {
            return true;
        }
    }
    return false;
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
