/* Configuration: every directive is one row of options.def; the row is the variable, its bounds, its
 * default, its help, its CONFIG GET / SET behaviour and its line in the reference page.
 *
 * A snapshot (struct config) never changes once published. The control thread builds the next one,
 * publishes it under RCU and frees the old one after a grace period.
 */
#ifndef NICACHED_CONFIG_CONFIG_H
#define NICACHED_CONFIG_CONFIG_H

#include <stdio.h>

#include "dataplane/base/address.h"
#include "dataplane/base/bytes.h"

#define CONFIG_INTERFACES_MAX     16
#define CONFIG_ADDRESSES_MAX      16
#define CONFIG_WORKERS_MAX        128
#define CONFIG_TEXT_BYTES_MAX     1024 /* of one value */

enum interface_driver {
    INTERFACE_SOCKET, INTERFACE_TAP, INTERFACE_AF_XDP, INTERFACE_AF_PACKET, INTERFACE_MEMIF,
    INTERFACE_PCAP, INTERFACE_PCI,
};

/* One `interface` line: "NAME DRIVER[:ARGUMENT] ADDRESS[/PREFIX] [gateway A] [vlan N] [mtu N]" */
struct interface_config {
    char name[32];
    enum interface_driver driver;
    char argument[256];          /* memif: socket path; pcap: "in.pcap,out.pcap"; pci: 0000:41:00.0 */
    struct address address;      /* tap: ours; the host side gets the network's first other address */
    uint8_t prefix_length;
    bool has_gateway;
    struct address gateway;
    uint16_t vlan;               /* 0: untagged */
    uint16_t mtu;                /* 0: the port's */
};

enum poll_mode { POLL_ADAPTIVE, POLL_BUSY };
enum hugepages_mode { HUGEPAGES_AUTO, HUGEPAGES_YES, HUGEPAGES_NO };
/* In the order of maxmemory-policy's names in Redis. Only noeviction acts in this version; the
 * others are refused with a clear error by CONFIG SET and at start. */
enum maxmemory_policy {
    MAXMEMORY_VOLATILE_LRU, MAXMEMORY_VOLATILE_LFU, MAXMEMORY_VOLATILE_RANDOM,
    MAXMEMORY_VOLATILE_TTL, MAXMEMORY_ALLKEYS_LRU, MAXMEMORY_ALLKEYS_LFU,
    MAXMEMORY_ALLKEYS_RANDOM, MAXMEMORY_NOEVICTION,
};

struct config {
    /* Scalar directives, generated from the table. Types: int64_t for integers, bytes and times;
     * bool; int for enumerations; char * for strings (owned by the snapshot, never NULL). */
#define OPTION_BOOL(field, name, default_value, when, help)                   bool field;
#define OPTION_INTEGER(field, name, default_value, low, high, unit, when, help) int64_t field;
#define OPTION_ENUM(field, name, default_value, values, when, help)           int field;
#define OPTION_STRING(field, name, default_value, check, when, help)          char *field;
#include "config/options.def"
#undef OPTION_BOOL
#undef OPTION_INTEGER
#undef OPTION_ENUM
#undef OPTION_STRING
    /* Directives with a structure of their own. */
    struct interface_config interfaces[CONFIG_INTERFACES_MAX];
    uint32_t interface_count;
    char file_path[512];         /* the configuration file, or "" */
};

/* A refusal: one line that names file, line, directive and what is allowed. */
struct config_error {
    char text[512];
};

struct config *config_create_default(void);
struct config *config_copy(const struct config *config);
void config_destroy(struct config *config);

/* redis-server's command line: [FILE] then --directive value ...; words after a directive up to the
 * next "--" are joined into one line. `interface` may repeat; anything else: the last one wins.
 * Returns 0 or -EINVAL with the error. --help, --version and --check are the caller's. */
int config_load(struct config *config, int argument_count, char *const *arguments,
                struct config_error *error);
int config_load_file(struct config *config, const char *path, struct config_error *error);

/* CONFIG SET: all pairs or none, checked as at start. `error` is the reply's text with its prefix, as
 * Redis words it ("ERR Unknown option or number of arguments for CONFIG SET - 'x'", "ERR CONFIG SET
 * failed (possibly related to argument 'x') - argument must be 'yes' or 'no'"). */
int config_set(struct config *config, uint32_t argument_count, char *const *arguments,
               struct config_error *error);

/* CONFIG GET: calls `visit` for each directive whose name matches one of the glob patterns, once,
 * in table order, with the value as text. */
void config_visit(const struct config *config, uint32_t pattern_count, const struct slice *patterns,
                  void (*visit)(void *argument, const char *name, const char *value), void *argument);

/* CONFIG REWRITE: rewrites the file it was started with, keeping comments and order; atomic
 * (temporary file, fsync, rename, fsync of the directory). 0 or a negative errno. */
int config_rewrite(const struct config *config, struct config_error *error);

/* The sample file / reference page, generated from the table. */
void config_print_sample(FILE *to);
void config_print_reference(FILE *to);

#endif
