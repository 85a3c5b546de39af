/* `interface` and `bind` lines.
 *
 *   interface NAME DRIVER[:ARGUMENT] ADDRESS[/PREFIX] ... [gateway ADDRESS] ... [vlan N] [mtu N]
 *             [offloads auto|none|all] [exception-tap NAME] [client] [optional]
 *   bind [-]ADDRESS ...
 *
 * All that can be told from the words alone is checked here; whether a device exists is the
 * driver's to say. Thread: any. Failure: a reason in words, and the configuration as it was.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>

#include "config/config_internal.h"
#include "dataplane/base/number.h"

#define INTERFACE_NAME_BYTES_MAX 31 /* with its terminator it fills interface_config.name */

#define MTU_MIN      576
#define MTU_MAX      9216
#define MTU_MIN_IPV6 1280 /* RFC 8200 5 */
#define VLAN_MAX     4094

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
    [INTERFACE_VLAN] = {"vlan", "an interface that stands before it, as vlan:eth1", 31},
};
#define DRIVER_COUNT (sizeof(drivers) / sizeof(drivers[0]))

const char *interface_driver_name(enum interface_driver driver)
{
    return drivers[driver].name;
}

/* ---- words to fields ----------------------------------------------------------------------- */

static int check_name(const char *word, struct config_reason *reason)
{
    size_t size = strlen(word);
    if (size == 0 || size > INTERFACE_NAME_BYTES_MAX) {
        return config_refuse(reason, "an interface's name has 1 to 31 characters");
    }
    for (size_t i = 0; i < size; i++) {
        if (!isalnum((unsigned char)word[i]) && strchr("._-", word[i]) == NULL) {
            return config_refuse(reason,
                                 "an interface's name holds letters, digits, '.', '_', '-'");
        }
    }
    return 0;
}

static int parse_name(const char *word, struct interface_config *interface,
                      struct config_reason *reason)
{
    if (check_name(word, reason) != 0) {
        return -EINVAL;
    }
    if (strncmp(word, "bind", 4) == 0 && isdigit((unsigned char)word[4])) {
        return config_refuse(reason, "names bind0, bind1, ... belong to the bind directive");
    }
    memcpy(interface->name, word, strlen(word) + 1);
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
    case INTERFACE_VLAN: return interface->argument[0] != '\0';
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
                         "memif:PATH, pcap:IN,OUT, pci:ADDRESS, vlan:INTERFACE",
                         word);
}

/* ---- addresses
 * -----------------------------------------------------------------------------------
 */

static uint32_t bits_of_family(const struct address *address)
{
    return address_is_ipv4(address) ? 32 : 128;
}

/* Whether every bit behind the prefix has this value. */
static bool host_bits_are(const struct address *address, uint32_t prefix_length, bool value)
{
    uint32_t from = prefix_length + 128 - bits_of_family(address);
    for (uint32_t bit = from; bit < 128; bit++) {
        if ((address->bytes[bit / 8] >> (7 - bit % 8) & 1) != value) {
            return false;
        }
    }
    return true;
}

/* An address that a station in this network can have. Of IPv4 neither the first nor the last, but
 * for /31; of IPv6 not the first, which means any router (RFC 4291 2.6.1), but for /127 and /128.
 */
static bool is_host_address(const struct address_prefix *network, const struct address *address)
{
    uint32_t prefix = network->prefix_length, bits = bits_of_family(address);
    if (prefix >= bits - 1) {
        return true;
    }
    return !host_bits_are(address, prefix, false) &&
           (bits == 128 || !host_bits_are(address, prefix, true));
}

/* IPv4: not "this network", loopback, multicast or reserved. IPv6: not ::/8, where "no address",
 * loopback and what stands for IPv4 lie, and no group. */
static bool is_unicast(const struct address *address)
{
    uint32_t first = address_to_ipv4(address) >> 24;
    return address_is_ipv4(address) ? first != 0 && first != 127 && first < 224
                                    : address->bytes[0] != 0 && address->bytes[0] != 0xff;
}

static bool has_address(const struct interface_config *interface, const struct address *address)
{
    for (uint32_t i = 0; i < interface->addresses.count; i++) {
        if (address_equal(&interface->addresses.at[i].address, address)) {
            return true;
        }
    }
    return false;
}

/* "10.0.0.5/24", "fd00::5/64". */
static int parse_network_address(const char *word, struct interface_config *interface,
                                 struct config_reason *reason)
{
    struct interface_addresses *addresses = &interface->addresses;
    struct address_prefix network;
    size_t size = strcspn(word, "/");
    uint64_t prefix = 0;
    if (!address_parse(slice_of(word, size), &network.address)) {
        return config_refuse(reason, "'%.64s' is no address with a prefix, as 10.0.0.5/24", word);
    }
    uint32_t longest = address_is_ipv4(&network.address) ? 31 : 128;
    if (word[size] != '/' || !number_parse_uint64(slice_of_string(word + size + 1), &prefix) ||
        prefix < 1 || prefix > longest) {
        return config_refuse(reason, "the address needs a prefix from /1 to /%u, as %s", longest,
                             longest == 31 ? "10.0.0.5/24" : "fd00::5/64");
    }
    network.prefix_length = (uint8_t)prefix;
    if (!is_unicast(&network.address) || !is_host_address(&network, &network.address)) {
        return config_refuse(reason, "'%.64s' is no address that an interface can have", word);
    }
    if (has_address(interface, &network.address)) {
        return config_refuse(reason, "address '%.64s' given twice", word);
    }
    if (addresses->count == CONFIG_ADDRESSES_MAX) {
        return config_refuse(reason, "more than %d addresses", CONFIG_ADDRESSES_MAX);
    }
    addresses->at[addresses->count++] = network;
    return 0;
}

/* One at least, then what else looks like one: no keyword has a slash. */
static int parse_network_addresses(uint32_t word_count, char *const *words,
                                   struct interface_config *interface, uint32_t *taken,
                                   struct config_reason *reason)
{
    int result = 0;
    *taken = 0;
    while (result == 0 && *taken < word_count &&
           (*taken == 0 || strchr(words[*taken], '/') != NULL)) {
        result = parse_network_address(words[(*taken)++], interface, reason);
    }
    return result;
}

static int parse_socket_address(const char *word, struct interface_config *interface,
                                struct config_reason *reason)
{
    if (!address_parse(slice_of_string(word), &interface->addresses.at[0].address)) {
        return config_refuse(
            reason, "'%.64s' is no address for a socket, as 127.0.0.1 or ::1, no prefix", word);
    }
    interface->addresses.count = 1;
    return 0;
}

/* ---- keywords behind the address --------------------------------------------------------------
 */

/* A host of one of our networks; of IPv6 also any station of the link. */
static bool is_gateway(const struct interface_config *interface, const struct address *gateway)
{
    bool within =
        address_is_link_local(gateway) && addresses_have_family(&interface->addresses, false);
    for (uint32_t i = 0; i < interface->addresses.count; i++) {
        const struct address_prefix *network = &interface->addresses.at[i];
        within =
            within || (address_is_within(gateway, network) && is_host_address(network, gateway));
    }
    return within && is_unicast(gateway) && !has_address(interface, gateway);
}

static int parse_gateway(const char *word, struct interface_config *interface,
                         struct config_reason *reason)
{
    struct interface_addresses *addresses = &interface->addresses;
    struct address gateway;
    if (!address_parse(slice_of_string(word), &gateway)) {
        return config_refuse(reason, "gateway '%.64s' is no address", word);
    }
    for (uint32_t i = 0; i < addresses->gateway_count; i++) {
        if (address_is_ipv4(&addresses->gateways[i]) == address_is_ipv4(&gateway)) {
            return config_refuse(reason, "gateway given twice for the same family");
        }
    }
    if (!is_gateway(interface, &gateway)) {
        return config_refuse(reason, "gateway '%.64s' must be another host of the same network",
                             word);
    }
    addresses->gateways[addresses->gateway_count++] = gateway;
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

static const char *const offloads_names[] = {
    [OFFLOADS_AUTO] = "auto", [OFFLOADS_NONE] = "none", [OFFLOADS_ALL] = "all"};
#define OFFLOADS_COUNT (sizeof(offloads_names) / sizeof(offloads_names[0]))

static int parse_offloads(const char *word, struct interface_config *interface,
                          struct config_reason *reason)
{
    if (interface->driver == INTERFACE_VLAN) {
        return config_refuse(reason, "offloads are those of the interface below");
    }
    if (interface->offloads != OFFLOADS_AUTO) {
        return config_refuse(reason, "offloads given twice");
    }
    for (size_t i = 0; i < OFFLOADS_COUNT; i++) {
        if (strcmp(word, offloads_names[i]) == 0) {
            interface->offloads = (enum offloads_mode)i;
            return 0;
        }
    }
    return config_refuse(reason, "offloads must be auto, none or all");
}

static bool can_be_shared(enum interface_driver driver)
{
    return driver == INTERFACE_AF_XDP || driver == INTERFACE_PCI;
}

/* The others: a tap is the host's already, with a memif or a file there is no host, and of an
 * af_packet interface the kernel sees every frame itself, and would refuse our clients. */
static int parse_exception_tap(const char *word, struct interface_config *interface,
                               struct config_reason *reason)
{
    if (!can_be_shared(interface->driver)) {
        return config_refuse(reason, "only an af_xdp or pci interface can have an exception-tap");
    }
    if (interface->exception_tap[0] != '\0') {
        return config_refuse(reason, "exception-tap given twice");
    }
    if (strlen(word) >= sizeof(interface->exception_tap)) {
        return config_refuse(reason, "the name of an exception-tap has at most %zu characters",
                             sizeof(interface->exception_tap) - 1);
    }
    if (check_name(word, reason) != 0) {
        return -EINVAL;
    }
    memcpy(interface->exception_tap, word, strlen(word) + 1);
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
    if (strcmp(keyword, "exception-tap") == 0) {
        return parse_exception_tap(word, interface, reason);
    }
    if (strcmp(keyword, "offloads") == 0) {
        return parse_offloads(word, interface, reason);
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
    return strcmp(word, "gateway") == 0 || strcmp(word, "vlan") == 0 || strcmp(word, "mtu") == 0 ||
           strcmp(word, "offloads") == 0 || strcmp(word, "exception-tap") == 0;
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
                                 "unknown word '%.32s'; known are ADDRESS/PREFIX, gateway "
                                 "ADDRESS, vlan N, mtu N, offloads MODE, exception-tap NAME, "
                                 "client, optional",
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
    uint32_t taken = 1;
    if (result == 0) {
        result =
            interface->driver == INTERFACE_SOCKET
                ? parse_socket_address(words[2], interface, reason)
                : parse_network_addresses(word_count - 2, words + 2, interface, &taken, reason);
    }
    if (result == 0) {
        uint32_t first = 2 + taken;
        result = parse_keywords(word_count - first, words + first, interface, reason);
    }
    if (result == 0 && interface->driver == INTERFACE_VLAN && interface->vlan == 0) {
        return config_refuse(reason, "a vlan interface needs a vlan");
    }
    if (result == 0 && interface->mtu != 0 && interface->mtu < MTU_MIN_IPV6 &&
        addresses_have_family(&interface->addresses, false)) {
        result = config_refuse(reason, "IPv6 needs an mtu of at least %d", MTU_MIN_IPV6);
    }
    return result;
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

/* A link-local address is another one on each link. */
static bool share_address(const struct interface_config *a, const struct interface_config *b)
{
    for (uint32_t i = 0; i < a->addresses.count; i++) {
        const struct address *address = &a->addresses.at[i].address;
        if (!address_is_link_local(address) && has_address(b, address)) {
            return true;
        }
    }
    return false;
}

static const struct interface_config *find_interface(const struct config *config, const char *name)
{
    for (uint32_t i = 0; i < config->interface_count; i++) {
        if (strcmp(config->interfaces[i].name, name) == 0) {
            return &config->interfaces[i];
        }
    }
    return NULL;
}

/* An interface that a frame can come by, and a VLAN that nobody has there. */
static int check_vlan(const struct config *config, const struct interface_config *interface,
                      struct config_reason *reason)
{
    const struct interface_config *below = find_interface(config, interface->argument);
    if (below == NULL || below->driver == INTERFACE_SOCKET || below->driver == INTERFACE_VLAN) {
        return config_refuse(reason, "there is no interface '%.31s' with frames before this line",
                             interface->argument);
    }
    for (uint32_t i = 0; i < config->interface_count; i++) {
        const struct interface_config *other = &config->interfaces[i];
        bool beside = other == below || (other->driver == INTERFACE_VLAN &&
                                         strcmp(other->argument, interface->argument) == 0);
        if (beside && other->vlan == interface->vlan) {
            return config_refuse(reason, "interface '%s' has this vlan already", other->name);
        }
    }
    if (below->mtu != 0 && interface->mtu > below->mtu) {
        return config_refuse(reason, "mtu beyond that of '%s'", below->name);
    }
    return 0;
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
        if (strcmp(other->name, interface->name) == 0 ||
            (interface->exception_tap[0] != '\0' &&
             strcmp(other->exception_tap, interface->exception_tap) == 0)) {
            return config_refuse(reason, "interface '%s' is there already", interface->name);
        }
        if ((other->driver == INTERFACE_SOCKET) == is_socket && share_address(other, interface)) {
            return config_refuse(reason, "interface '%s' has this address already", other->name);
        }
    }
    if (interface->driver == INTERFACE_VLAN && check_vlan(config, interface, reason) != 0) {
        return -EINVAL;
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
        const struct address *only = &interface->addresses.at[0].address;
        address_format(only, address);
        if (is_any(only)) {
            snprintf(address, sizeof(address), "%s", address_is_ipv4(only) ? "*" : "::*");
        }
        used += (size_t)snprintf(text + used, size - used, "%s%s%s", used == 0 ? "" : " ",
                                 interface->optional ? "-" : "", address);
    }
}

/* What one line is put together from. */
struct line {
    char *text;
    size_t size, used;
};

static void add(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct line *line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(line->text + line->used, line->size - line->used, format, arguments);
    va_end(arguments);
    size_t room = line->size - line->used - 1;
    line->used += (size_t)bytes < room ? (size_t)bytes : room;
}

static void add_addresses(struct line *line, const struct interface_config *interface)
{
    char text[ADDRESS_TEXT_BYTES_MAX];
    for (uint32_t i = 0; i < interface->addresses.count; i++) {
        const struct address_prefix *at = &interface->addresses.at[i];
        address_format(&at->address, text);
        add(line, " %s", text);
        if (interface->driver != INTERFACE_SOCKET) {
            add(line, "/%u", at->prefix_length);
        }
    }
    for (uint32_t i = 0; i < interface->addresses.gateway_count; i++) {
        address_format(&interface->addresses.gateways[i], text);
        add(line, " gateway %s", text);
    }
}

void interface_format(const struct interface_config *interface, char *text, size_t size)
{
    struct line line = {text, size, 0};
    add(&line, "%s %s%s%s", interface->name, drivers[interface->driver].name,
        interface->argument[0] != '\0' ? ":" : "", interface->argument);
    add_addresses(&line, interface);
    if (interface->vlan != 0) {
        add(&line, " vlan %u", interface->vlan);
    }
    if (interface->mtu != 0) {
        add(&line, " mtu %u", interface->mtu);
    }
    if (interface->offloads != OFFLOADS_AUTO) {
        add(&line, " offloads %s", offloads_names[interface->offloads]);
    }
    if (interface->exception_tap[0] != '\0') {
        add(&line, " exception-tap %s", interface->exception_tap);
    }
    add(&line, "%s%s", interface->client ? " client" : "", interface->optional ? " optional" : "");
}
