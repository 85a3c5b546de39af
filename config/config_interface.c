/* `interface` and `bind` lines.
 *
 *   interface NAME DRIVER[:ARGUMENT] ADDRESS[/PREFIX] [gateway ADDRESS] [vlan N] [mtu N] [client]
 *             [optional]
 *   bind [-]ADDRESS ...
 *
 * All that can be told from the words alone is checked here; whether a device exists is the
 * driver's to say. Thread: any. Failure: a reason in words, and the configuration as it was.
 */
#include <ctype.h>
#include <errno.h>

#include "config/config_internal.h"
#include "dataplane/base/number.h"

#define MTU_MIN  576
#define MTU_MAX  9216
#define VLAN_MAX 4094

/* What a driver wants on its line; in the order of enum interface_driver. */
static const struct {
    const char *name;
    const char *argument;  /* what stands behind the colon, or NULL: nothing may */
    size_t name_bytes_max; /* 15 where the kernel knows the interface by this name */
} drivers[] = {
    [INTERFACE_SOCKET] = {"socket", NULL, 31},
    [INTERFACE_TAP] = {"tap", NULL, 15},
    [INTERFACE_AF_XDP] = {"af_xdp", NULL, 15},
    [INTERFACE_AF_PACKET] = {"af_packet", NULL, 15},
    [INTERFACE_MEMIF] = {"memif", "the path of a socket, as memif:/run/nicached/m0.sock", 31},
    [INTERFACE_PCAP] = {"pcap", "two files, as pcap:in.pcap,out.pcap", 31},
    [INTERFACE_PCI] = {"pci", "a PCI address, as pci:0000:41:00.0", 31},
};
#define DRIVER_COUNT (sizeof(drivers) / sizeof(drivers[0]))

const char *interface_driver_name(enum interface_driver driver)
{
    return drivers[driver].name;
}

/* ---- words to fields ----------------------------------------------------------------------- */

static int parse_name(const char *word, struct interface_config *interface,
                      struct config_reason *reason)
{
    size_t size = strlen(word);
    if (size == 0 || size >= sizeof(interface->name)) {
        return config_refuse(reason, "an interface's name has 1 to 31 characters");
    }
    for (size_t i = 0; i < size; i++) {
        if (!isalnum((unsigned char)word[i]) && strchr("._-", word[i]) == NULL) {
            return config_refuse(reason,
                                 "an interface's name holds letters, digits, '.', '_', '-'");
        }
    }
    if (strncmp(word, "bind", 4) == 0 && isdigit((unsigned char)word[4])) {
        return config_refuse(reason, "names bind0, bind1, ... belong to the bind directive");
    }
    memcpy(interface->name, word, size + 1);
    return 0;
}

/* "0000:41:00.0": domain, bus, device, function, in hexadecimal. */
static bool is_pci_address(const char *text)
{
    static const char shape[] = "xxxx:xx:xx.x";
    for (size_t i = 0; i < sizeof(shape) - 1; i++) {
        if (shape[i] == 'x' ? !isxdigit((unsigned char)text[i]) : text[i] != shape[i]) {
            return false;
        }
    }
    return text[sizeof(shape) - 1] == '\0';
}

static bool is_file_pair(const char *text)
{
    const char *comma = strchr(text, ',');
    return comma != NULL && comma != text && comma[1] != '\0' && strchr(comma + 1, ',') == NULL;
}

static bool argument_fits(const struct interface_config *interface)
{
    switch (interface->driver) {
    case INTERFACE_PCI: return is_pci_address(interface->argument);
    case INTERFACE_PCAP: return is_file_pair(interface->argument);
    case INTERFACE_MEMIF: return interface->argument[0] == '/';
    case INTERFACE_SOCKET:
    case INTERFACE_TAP:
    case INTERFACE_AF_XDP:
    case INTERFACE_AF_PACKET:
    default: return interface->argument[0] == '\0';
    }
}

static int parse_argument(const char *text, struct interface_config *interface,
                          struct config_reason *reason)
{
    const char *wanted = drivers[interface->driver].argument;
    const char *name = drivers[interface->driver].name;
    if (wanted == NULL && text != NULL) {
        return config_refuse(reason, "driver %s takes no argument", name);
    }
    if (text != NULL) {
        if (strlen(text) >= sizeof(interface->argument)) {
            return config_refuse(reason, "the argument of driver %s has at most %zu bytes", name,
                                 sizeof(interface->argument) - 1);
        }
        if (strpbrk(text, " \t\r\n\v\f\"'\\") != NULL) {
            return config_refuse(reason, "the argument of driver %s holds no blanks or quotes",
                                 name);
        }
        memcpy(interface->argument, text, strlen(text) + 1);
    }
    if (wanted != NULL && !argument_fits(interface)) {
        return config_refuse(reason, "driver %s needs %s", name, wanted);
    }
    return 0;
}

static int parse_driver(const char *word, struct interface_config *interface,
                        struct config_reason *reason)
{
    size_t size = strcspn(word, ":");
    for (size_t i = 0; i < DRIVER_COUNT; i++) {
        if (strlen(drivers[i].name) == size && memcmp(drivers[i].name, word, size) == 0) {
            interface->driver = (enum interface_driver)i;
            if (strlen(interface->name) > drivers[i].name_bytes_max) {
                return config_refuse(reason,
                                     "the name of a %s interface has at most %zu characters",
                                     drivers[i].name, drivers[i].name_bytes_max);
            }
            return parse_argument(word[size] == ':' ? word + size + 1 : NULL, interface, reason);
        }
    }
    return config_refuse(reason,
                         "unknown driver '%.32s'; known are socket, tap, af_xdp, af_packet, "
                         "memif:PATH, pcap:IN,OUT, pci:ADDRESS",
                         word);
}

static uint32_t mask_of(uint8_t prefix_length)
{
    return prefix_length == 0 ? 0 : ~UINT32_C(0) << (32 - prefix_length);
}

static bool same_network(const struct interface_config *interface, const struct address *address)
{
    uint32_t difference = address_to_ipv4(&interface->address) ^ address_to_ipv4(address);
    return (difference & mask_of(interface->prefix_length)) == 0;
}

/* An address that a station in this network can have: neither its first nor its last, but for /31.
 */
static bool is_host_address(const struct interface_config *interface, const struct address *address)
{
    uint32_t host_mask = ~mask_of(interface->prefix_length);
    uint32_t host = address_to_ipv4(address) & host_mask;
    return interface->prefix_length == 31 || (host != 0 && host != host_mask);
}

/* Not "this network", loopback, multicast or reserved. */
static bool is_unicast(const struct address *address)
{
    uint32_t first = address_to_ipv4(address) >> 24;
    return first != 0 && first != 127 && first < 224;
}

static int parse_network_address(const char *word, struct interface_config *interface,
                                 struct config_reason *reason)
{
    size_t size = strcspn(word, "/");
    uint64_t prefix = 0;
    if (!address_parse(slice_of(word, size), &interface->address) ||
        !address_is_ipv4(&interface->address)) {
        return config_refuse(reason, "'%.64s' is no IPv4 address with a prefix, as 10.0.0.5/24",
                             word);
    }
    if (word[size] != '/' || !number_parse_uint64(slice_of_string(word + size + 1), &prefix) ||
        prefix < 1 || prefix > 31) {
        return config_refuse(reason, "the address needs a prefix from /1 to /31, as 10.0.0.5/24");
    }
    interface->prefix_length = (uint8_t)prefix;
    if (!is_unicast(&interface->address) || !is_host_address(interface, &interface->address)) {
        return config_refuse(reason, "'%.64s' is no address that an interface can have", word);
    }
    return 0;
}

static int parse_socket_address(const char *word, struct interface_config *interface,
                                struct config_reason *reason)
{
    if (!address_parse(slice_of_string(word), &interface->address)) {
        return config_refuse(
            reason, "'%.64s' is no address for a socket, as 127.0.0.1 or ::1, no prefix", word);
    }
    return 0;
}

/* ---- keywords behind the address --------------------------------------------------------------
 */

static int parse_gateway(const char *word, struct interface_config *interface,
                         struct config_reason *reason)
{
    if (interface->has_gateway) {
        return config_refuse(reason, "gateway given twice");
    }
    if (!address_parse(slice_of_string(word), &interface->gateway) ||
        !address_is_ipv4(&interface->gateway)) {
        return config_refuse(reason, "gateway '%.64s' is no IPv4 address", word);
    }
    if (!same_network(interface, &interface->gateway) ||
        !is_host_address(interface, &interface->gateway) ||
        address_equal(&interface->gateway, &interface->address)) {
        return config_refuse(reason, "gateway '%.64s' must be another host of the same network",
                             word);
    }
    interface->has_gateway = true;
    return 0;
}

static int parse_number(const char *keyword, const char *word, uint32_t low, uint32_t high,
                        uint16_t *field, struct config_reason *reason)
{
    uint64_t value;
    if (*field != 0) {
        return config_refuse(reason, "%s given twice", keyword);
    }
    if (!number_parse_uint64(slice_of_string(word), &value) || value < low || value > high) {
        return config_refuse(reason, "%s must be a number from %u to %u", keyword, low, high);
    }
    *field = (uint16_t)value;
    return 0;
}

static int parse_keyword(const char *keyword, const char *word, struct interface_config *interface,
                         struct config_reason *reason)
{
    if (word == NULL) {
        return config_refuse(reason, "'%.32s' needs a value", keyword);
    }
    if (strcmp(keyword, "gateway") == 0) {
        return parse_gateway(word, interface, reason);
    }
    if (strcmp(keyword, "vlan") == 0) {
        return parse_number("vlan", word, 1, VLAN_MAX, &interface->vlan, reason);
    }
    return parse_number("mtu", word, MTU_MIN, MTU_MAX, &interface->mtu, reason);
}

static int parse_client(struct interface_config *interface, struct config_reason *reason)
{
    if (interface->driver != INTERFACE_MEMIF) {
        return config_refuse(reason, "only a memif can be a client");
    }
    if (interface->client) {
        return config_refuse(reason, "client given twice");
    }
    interface->client = true;
    return 0;
}

static bool is_keyword(const char *word)
{
    return strcmp(word, "gateway") == 0 || strcmp(word, "vlan") == 0 || strcmp(word, "mtu") == 0;
}

static int parse_keywords(uint32_t word_count, char *const *words,
                          struct interface_config *interface, struct config_reason *reason)
{
    for (uint32_t i = 0; i < word_count; i++) {
        if (strcmp(words[i], "optional") == 0) {
            if (i + 1 != word_count) {
                return config_refuse(reason, "'optional' stands at the end of the line");
            }
            interface->optional = true;
            return 0;
        }
        if (strcmp(words[i], "client") == 0) {
            int result = parse_client(interface, reason);
            if (result != 0) {
                return result;
            }
            continue;
        }
        if (!is_keyword(words[i])) {
            return config_refuse(reason,
                                 "unknown word '%.32s'; known are gateway ADDRESS, vlan N, "
                                 "mtu N, client, optional",
                                 words[i]);
        }
        if (interface->driver == INTERFACE_SOCKET) {
            return config_refuse(reason, "a socket takes no %s: the kernel has it", words[i]);
        }
        const char *value = i + 1 < word_count ? words[i + 1] : NULL;
        int result = parse_keyword(words[i++], value, interface, reason);
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

static int parse_interface(uint32_t word_count, char *const *words,
                           struct interface_config *interface, struct config_reason *reason)
{
    if (word_count < 3) {
        return config_refuse(reason, "wrong number of arguments");
    }
    int result = parse_name(words[0], interface, reason);
    if (result == 0) {
        result = parse_driver(words[1], interface, reason);
    }
    if (result == 0) {
        result = interface->driver == INTERFACE_SOCKET
                     ? parse_socket_address(words[2], interface, reason)
                     : parse_network_address(words[2], interface, reason);
    }
    return result != 0 ? result : parse_keywords(word_count - 3, words + 3, interface, reason);
}

/* ---- into the configuration ---------------------------------------------------------------- */

static void drop_bind(struct config *config)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < config->interface_count; i++) {
        if (!config->interfaces[i].from_bind) {
            config->interfaces[kept++] = config->interfaces[i];
        }
    }
    config->interface_count = kept;
}

static int append(struct config *config, const struct interface_config *interface,
                  struct config_reason *reason)
{
    bool is_socket = interface->driver == INTERFACE_SOCKET;
    if (config->interface_count == CONFIG_INTERFACES_MAX) {
        return config_refuse(reason, "more than %d interfaces", CONFIG_INTERFACES_MAX);
    }
    for (uint32_t i = 0; i < config->interface_count; i++) {
        const struct interface_config *other = &config->interfaces[i];
        if (strcmp(other->name, interface->name) == 0) {
            return config_refuse(reason, "interface '%s' is there already", interface->name);
        }
        if ((other->driver == INTERFACE_SOCKET) == is_socket &&
            address_equal(&other->address, &interface->address)) {
            return config_refuse(reason, "interface '%s' has this address already", other->name);
        }
    }
    config->interfaces[config->interface_count++] = *interface;
    return 0;
}

int config_add_interface(struct config *config, uint32_t word_count, char *const *words,
                         struct config_reason *reason)
{
    struct interface_config interface = {0};
    int result = parse_interface(word_count, words, &interface, reason);
    if (result != 0) {
        return result;
    }
    if (config->bind_is_default) {
        drop_bind(config);
        config->bind_is_default = false;
    }
    return append(config, &interface, reason);
}

static int parse_bind_word(const char *word, uint32_t number, struct interface_config *interface,
                           struct config_reason *reason)
{
    *interface = (struct interface_config){.driver = INTERFACE_SOCKET, .from_bind = true};
    snprintf(interface->name, sizeof(interface->name), "bind%u", number);
    if (word[0] == '-') {
        interface->optional = true;
        word++;
    }
    if (strcmp(word, "*") == 0) {
        word = "0.0.0.0";
    } else if (strcmp(word, "::*") == 0) {
        word = "::";
    }
    return parse_socket_address(word, interface, reason);
}

int config_set_bind(struct config *config, uint32_t word_count, char *const *words,
                    struct config_reason *reason)
{
    struct config without = *config; /* borrows the strings: only the interfaces are used */
    drop_bind(&without);
    if (word_count == 1 && words[0][0] == '\0') {
        word_count = 0; /* bind "": no address */
    } else if (word_count == 0) {
        return config_refuse(reason, "wrong number of arguments");
    }
    for (uint32_t i = 0; i < word_count; i++) {
        struct interface_config interface;
        int result = parse_bind_word(words[i], i, &interface, reason);
        if (result == 0) {
            result = append(&without, &interface, reason);
        }
        if (result != 0) {
            return result;
        }
    }
    memcpy(config->interfaces, without.interfaces, sizeof(config->interfaces));
    config->interface_count = without.interface_count;
    config->bind_is_default = false;
    return 0;
}

/* ---- back to words ------------------------------------------------------------------------- */

static bool is_any(const struct address *address)
{
    static const struct address ipv6_any;
    struct address ipv4_any = address_from_ipv4(0);
    return address_equal(address, &ipv4_any) || address_equal(address, &ipv6_any);
}

void config_format_bind(const struct config *config, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < config->interface_count && used < size; i++) {
        const struct interface_config *interface = &config->interfaces[i];
        char address[ADDRESS_TEXT_BYTES_MAX];
        if (!interface->from_bind) {
            continue;
        }
        address_format(&interface->address, address);
        if (is_any(&interface->address)) {
            snprintf(address, sizeof(address), "%s",
                     address_is_ipv4(&interface->address) ? "*" : "::*");
        }
        used += (size_t)snprintf(text + used, size - used, "%s%s%s", used == 0 ? "" : " ",
                                 interface->optional ? "-" : "", address);
    }
}

void interface_format(const struct interface_config *interface, char *text, size_t size)
{
    char address[ADDRESS_TEXT_BYTES_MAX], prefix[8] = "", gateway[ADDRESS_TEXT_BYTES_MAX + 16] = "";
    char vlan[16] = "", mtu[16] = "";
    address_format(&interface->address, address);
    if (interface->driver != INTERFACE_SOCKET) {
        snprintf(prefix, sizeof(prefix), "/%u", interface->prefix_length);
    }
    if (interface->has_gateway) {
        char of_gateway[ADDRESS_TEXT_BYTES_MAX];
        address_format(&interface->gateway, of_gateway);
        snprintf(gateway, sizeof(gateway), " gateway %s", of_gateway);
    }
    if (interface->vlan != 0) {
        snprintf(vlan, sizeof(vlan), " vlan %u", interface->vlan);
    }
    if (interface->mtu != 0) {
        snprintf(mtu, sizeof(mtu), " mtu %u", interface->mtu);
    }
    snprintf(text, size, "%s %s%s%s %s%s%s%s%s%s%s", interface->name,
             drivers[interface->driver].name, interface->argument[0] != '\0' ? ":" : "",
             interface->argument, address, prefix, gateway, vlan, mtu,
             interface->client ? " client" : "", interface->optional ? " optional" : "");
}
