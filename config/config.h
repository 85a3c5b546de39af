/* Configuration: every directive is one row of options.def; the row is the variable, its bounds,
 * its default, its help, its CONFIG GET / SET behaviour and its line in the reference page.
 *
 * A snapshot (struct config) never changes once published. The control thread builds the next one,
 * publishes it under RCU and frees the old one after a grace period.
 *
 * Field of a directive: its name with '_' for '-', so "tcp-keepalive" is config->tcp_keepalive.
 */
#ifndef NICACHED_CONFIG_CONFIG_H
#define NICACHED_CONFIG_CONFIG_H

#include <stdio.h>

#include "dataplane/base/address.h"
#include "dataplane/base/bytes.h"

#define CONFIG_INTERFACES_MAX     16
#define CONFIG_SECURITY_RULES_MAX 64
#define CONFIG_WORKERS_MAX        128
#define CONFIG_DATABASES_MAX      16   /* of this version */
#define CONFIG_TEXT_BYTES_MAX     4096 /* of one value, with its terminator */
#define CONFIG_INCLUDE_DEPTH_MAX  8
#define CONFIG_ADDRESSES_MAX      8 /* of one interface; one more is for the link-local one */

enum interface_driver {
    INTERFACE_SOCKET,
    INTERFACE_TAP,
    INTERFACE_AF_XDP,
    INTERFACE_AF_PACKET,
    INTERFACE_MEMIF,
    INTERFACE_PCAP,
    INTERFACE_PCI,
    INTERFACE_VLAN, /* one more VLAN of another interface */
};

/* What is left to a port: what its driver announces and is worth it (auto), nothing, or also what
 * the driver computes itself. */
enum offloads_mode { OFFLOADS_AUTO, OFFLOADS_NONE, OFFLOADS_ALL };

/* One `interface` line:
 * "NAME DRIVER[:ARGUMENT] ADDRESS[/PREFIX] ... [gateway A] ... [vlan N] [mtu N]
 * [offloads auto|none|all] [exception-tap NAME] [client] [optional]" */
struct interface_config {
    char name[32];
    enum interface_driver driver;
    char argument[256]; /* memif: socket path; pcap: "in.pcap,out.pcap"; pci: 0000:41:00.0;
                         * vlan: the other interface */
    /* tap: ours; the host side gets each network's first other address. With a socket: one address,
     * prefix 0, no gateway. */
    struct interface_addresses addresses;
    char exception_tap[16]; /* the host shares the interface: the TAP where it does, or "" */
    uint16_t vlan;          /* 0: untagged */
    uint16_t mtu;           /* 0: the port's */
    enum offloads_mode offloads;
    bool client;    /* memif: connects to the socket instead of listening on it */
    bool optional;  /* missing privilege or device: a warning, not the end */
    bool from_bind; /* made by the `bind` directive */
};

enum security_family { SECURITY_FAMILY_ANY, SECURITY_FAMILY_IPV4, SECURITY_FAMILY_IPV6 };
enum security_protocol { SECURITY_PROTOCOL_ANY, SECURITY_PROTOCOL_TCP, SECURITY_PROTOCOL_UDP };

/* One rule of `security-group`: "allow|deny PREFIX|all [port N[-M]] [protocol tcp|udp]". */
struct security_rule {
    struct address address;       /* nothing set beyond the prefix */
    uint16_t port_low, port_high; /* 0 to 65535: any */
    uint8_t family;               /* enum security_family */
    uint8_t prefix_length;        /* of the family */
    uint8_t protocol;             /* enum security_protocol */
    bool allow;
};

/* Clients as client-output-buffer-limit sorts them; here are only normal ones. */
enum output_class {
    OUTPUT_CLASS_NORMAL,
    OUTPUT_CLASS_REPLICA,
    OUTPUT_CLASS_PUBSUB,
    OUTPUT_CLASS_COUNT,
};

/* So much unread output ends a client: at once, or when it has been so much for so long. 0: no
 * limit. */
struct output_limit {
    int64_t hard_bytes, soft_bytes, soft_seconds;
};

enum poll_mode { POLL_ADAPTIVE, POLL_BUSY };
enum tcp_control { TCP_CONTROL_CUBIC, TCP_CONTROL_NEWRENO };
enum hugepages_mode { HUGEPAGES_AUTO, HUGEPAGES_YES, HUGEPAGES_NO };
enum store_index { STORE_INDEX_RTE_HASH, STORE_INDEX_BUCKETS };
enum debug_command_mode { DEBUG_COMMAND_NO, DEBUG_COMMAND_YES, DEBUG_COMMAND_LOCAL };
/* In the order of maxmemory-policy's names in Redis; ours follow. */
enum maxmemory_policy {
    MAXMEMORY_VOLATILE_LRU,
    MAXMEMORY_VOLATILE_LFU,
    MAXMEMORY_VOLATILE_RANDOM,
    MAXMEMORY_VOLATILE_TTL,
    MAXMEMORY_ALLKEYS_LRU,
    MAXMEMORY_ALLKEYS_LFU,
    MAXMEMORY_ALLKEYS_RANDOM,
    MAXMEMORY_NOEVICTION,
    MAXMEMORY_ALLKEYS_S3FIFO,
};

struct config {
    /* Scalar directives, generated from the table. Types: int64_t for integers, bytes and times;
     * bool; int for enumerations; char * for strings (owned by the snapshot, never NULL). */
#define OPTION_SECTION(title)
#define OPTION_BOOL(field, name, default_value, when, help)                     bool field;
#define OPTION_INTEGER(field, name, default_value, low, high, unit, when, help) int64_t field;
#define OPTION_ENUM(field, name, default_value, values, when, help)             int field;
#define OPTION_STRING(field, name, default_value, check, when, help)            char *field;
#define OPTION_FIXED(name, value, when, help)
#define OPTION_INTERFACE(name, help)
#define OPTION_BIND(name, help)
#define OPTION_SECURITY(name, help)
#define OPTION_OUTPUT_LIMITS(name, default_value, help)
#include "config/options.def"
#undef OPTION_SECTION
#undef OPTION_BOOL
#undef OPTION_INTEGER
#undef OPTION_ENUM
#undef OPTION_STRING
#undef OPTION_FIXED
#undef OPTION_INTERFACE
#undef OPTION_BIND
#undef OPTION_SECURITY
#undef OPTION_OUTPUT_LIMITS
    /* Directives with a structure of their own: `interface`, `bind`, `security-group`,
     * `client-output-buffer-limit`. */
    struct interface_config interfaces[CONFIG_INTERFACES_MAX];
    uint32_t interface_count;
    struct security_rule security_rules[CONFIG_SECURITY_RULES_MAX];
    uint32_t security_rule_count;
    struct output_limit client_output_buffer_limit[OUTPUT_CLASS_COUNT];
    bool bind_is_default; /* the socket interfaces of `bind` give way to an `interface` line */
    int64_t
        cluster_version; /* of memcache-cluster-nodes: grows when they change, also over restarts:
                            the time of the change, in Unix seconds, or the next number */
    char file_path[512]; /* absolute path of the configuration file, or "" */
};

/* A refusal: one line that names file, line, directive and what is allowed. */
struct config_error {
    char text[512];
};

/* NULL when out of memory. The default serves on every address (bind * -::*), in protected mode. */
struct config *config_create_default(void);
struct config *config_copy(const struct config *config);
void config_destroy(struct config *config);

/* redis-server's command line without the program's name: [FILE] then --directive value ...; words
 * after a directive up to the next "--" are joined into one line. `interface` may repeat; anything
 * else: the last one wins. FILE "-" is the standard input. Checks the whole in the end.
 * Returns 0 or -EINVAL with the error. --help, --version and --check are the caller's. */
int config_load(struct config *config, int argument_count, char *const *arguments,
                struct config_error *error);
int config_load_file(struct config *config, const char *path, struct config_error *error);
/* What no single directive can tell: something to listen on, no port used twice, CPUs enough. */
int config_check(const struct config *config, struct config_error *error);

/* CONFIG SET: all pairs or none, checked as at start. `error` is the reply's text with its prefix,
 * as Redis words it ("ERR Unknown option or number of arguments for CONFIG SET - 'x'", "ERR CONFIG
 * SET failed (possibly related to argument 'x') - argument must be 'yes' or 'no'"). 0, -EINVAL,
 * -ENOMEM. `config` must not be published yet. */
int config_set(struct config *config, uint32_t argument_count, char *const *arguments,
               struct config_error *error);

/* CONFIG GET: calls `visit` for each directive whose name matches one of the glob patterns, once,
 * in table order, with the value as text. As in Redis, a name that was asked for without a glob
 * character is given back as it was written. */
void config_visit(const struct config *config, uint32_t pattern_count, const struct slice *patterns,
                  void (*visit)(void *argument, const char *name, const char *value),
                  void *argument);

/* CONFIG REWRITE: rewrites the file it was started with, keeping comments and order; atomic
 * (temporary file, fsync, rename, fsync of the directory). 0 or a negative errno, with the reply's
 * text ("ERR The server is running without a config file"). */
int config_rewrite(const struct config *config, struct config_error *error);

/* The CPUs of worker-cpus in order; returns how many (0: not pinned), at most `count_max`. */
uint32_t config_worker_cpus(const struct config *config, uint32_t *cpus, uint32_t count_max);

const char *interface_driver_name(enum interface_driver driver);
/* The line that describes `interface`, as the file has it; at most `size` bytes with terminator. */
#define INTERFACE_TEXT_BYTES_MAX 1024 /* with its terminator */
void interface_format(const struct interface_config *interface, char *text, size_t size);

/* The sample file / reference page, generated from the table. */
void config_print_sample(FILE *to);
void config_print_reference(FILE *to);

#endif
