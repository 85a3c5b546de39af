/* Ready lines. Thread: main, once. */
#include "control/announce.h"

static void print_listener(FILE *to, const char *protocol, const struct interface_config *interface,
                           const struct address *address, int64_t port)
{
    char text[ENDPOINT_TEXT_BYTES_MAX];
    struct endpoint endpoint = {*address, (uint16_t)port};
    if (port == 0) {
        return;
    }
    endpoint_format(&endpoint, text);
    fprintf(to, "  %-13s %-24s %s, %s\n", protocol, text, interface->name,
            interface->driver == INTERFACE_SOCKET ? "kernel sockets"
                                                  : interface_driver_name(interface->driver));
}

static void print_listeners(FILE *to, const struct config *config,
                            const struct interface_config *interface)
{
    for (uint32_t i = 0; i < interface->addresses.count; i++) {
        const struct address *address = &interface->addresses.at[i].address;
        print_listener(to, "redis", interface, address, config->port);
        print_listener(to, "memcached", interface, address, config->memcache_port);
        print_listener(to, "memcached/udp", interface, address, config->memcache_udp_port);
    }
}

/* The address to connect to: "every address" is reached as the loopback one. */
static void format_target(const struct address *address, char *text)
{
    static const struct address ipv6_any;
    struct address ipv4_any = address_from_ipv4(0);
    if (address_equal(address, &ipv4_any)) {
        snprintf(text, ADDRESS_TEXT_BYTES_MAX, "127.0.0.1");
    } else if (address_equal(address, &ipv6_any)) {
        snprintf(text, ADDRESS_TEXT_BYTES_MAX, "::1");
    } else {
        address_format(address, text);
    }
}

static void print_try(FILE *to, const struct config *config,
                      const struct interface_config *interface)
{
    char target[ADDRESS_TEXT_BYTES_MAX];
    for (uint32_t i = 0; i < interface->addresses.count; i++) {
        format_target(&interface->addresses.at[i].address, target);
        if (config->port != 0) {
            fprintf(to, "  redis-cli -h %s -p %lld ping\n", target, (long long)config->port);
        }
        if (config->memcache_port != 0) {
            fprintf(to, "  printf 'version\\r\\nquit\\r\\n' | nc %s %lld\n", target,
                    (long long)config->memcache_port);
        }
    }
}

/* The refusal that surprises most: say it before it happens. */
static void print_protection(FILE *to, const struct config *config,
                             const struct interface_config *interfaces, uint32_t interface_count)
{
    if (!config->protected_mode || config->requirepass[0] != '\0') {
        return;
    }
    for (uint32_t i = 0; i < interface_count; i++) {
        if (!address_is_loopback(&interfaces[i].addresses.at[0].address)) {
            fputs("Protected mode: no password is set, so only clients on loopback addresses are "
                  "served\n(requirepass or protected-mode no change that).\n",
                  to);
            return;
        }
    }
}

void announce(FILE *to, const struct config *config, const struct interface_config *interfaces,
              uint32_t interface_count)
{
    fprintf(to, "nicached %s is ready; it listens on\n", NICACHED_VERSION);
    for (uint32_t i = 0; i < interface_count; i++) {
        print_listeners(to, config, &interfaces[i]);
    }
    if (config->unixsocket[0] != '\0') {
        fprintf(to, "  %-13s %s\n", "redis", config->unixsocket);
    }
    if (config->memcache_unixsocket[0] != '\0') {
        fprintf(to, "  %-13s %s\n", "memcached", config->memcache_unixsocket);
    }
    fprintf(to, "Try:\n");
    for (uint32_t i = 0; i < interface_count; i++) {
        print_try(to, config, &interfaces[i]);
    }
    if (config->unixsocket[0] != '\0') {
        fprintf(to, "  redis-cli -s %s ping\n", config->unixsocket);
    }
    print_protection(to, config, interfaces, interface_count);
    fputs("Stop with Ctrl-C.\n", to);
    fflush(to);
}
