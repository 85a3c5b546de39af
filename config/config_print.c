/* The documents made from the table: config/nicached.conf and docs/configuration.md.
 * tests/documents.py holds the committed ones against what is printed here. */
#include <stdlib.h>

#include "config/config_internal.h"
#include "dataplane/base/check.h"

/* Words of `text` in lines of at most 76 characters behind `prefix`. */
static void print_wrapped(FILE *to, const char *prefix, const char *text)
{
    size_t column = 0;
    while (*text != '\0') {
        size_t size = strcspn(text, " ");
        if (column != 0 && column + 1 + size > 76) {
            fputc('\n', to);
            column = 0;
        }
        column += (size_t)fprintf(to, "%s%.*s", column == 0 ? prefix : " ", (int)size, text);
        text += size + strspn(text + size, " ");
    }
    fputc('\n', to);
}

/* ---- the sample file ---------------------------------------------------------------------------
 */

static const char sample_head[] =
    "# nicached: every directive with its default. Made from config/options.def\n"
    "# (nicached --print-sample); a copy with the '#' taken off is a configuration.\n"
    "#\n"
    "# nicached FILE [--directive value ...]\n"
    "#\n"
    "# Memory sizes: 1k is 1000 bytes, 1kb 1024; m mb g gb likewise; case does not matter.\n"
    "# include FILE reads another file in place; the last word on a directive counts.\n";

static const char sample_interfaces[] =
    "#\n"
    "#   interface lo0 socket 127.0.0.1               kernel sockets, no privilege\n"
    "#   interface tap0 tap 198.18.0.2/24             the host side gets 198.18.0.1\n"
    "#   interface eth1 af_xdp 10.0.0.5/24 gateway 10.0.0.1\n"
    "#   interface eth1 af_packet 10.0.0.5/24 gateway 10.0.0.1\n"
    "#   interface eth1 af_xdp 10.0.0.5/24 fd00::5/64 gateway 10.0.0.1 gateway fd00::1\n"
    "#   interface nic0 pci:0000:41:00.0 10.0.0.5/24 gateway 10.0.0.1 vlan 12\n"
    "#   interface eth1 af_xdp 10.0.0.5/24 exception-tap eth1x   the host shares eth1\n"
    "#   interface v20 vlan:nic0 10.1.0.5/24 gateway 10.1.0.1 vlan 20   one more VLAN of nic0\n"
    "#   interface m0 memif:/run/nicached/m0.sock 198.18.2.2/24\n"
    "#   interface p0 pcap:in.pcap,out.pcap 198.18.3.2/24\n"
    "# A word `optional` at the end makes a missing device or privilege a warning.\n";

static const char sample_security[] =
    "# CONFIG SET replaces all rules.\n"
    "#\n"
    "#   security-group deny 10.0.9.0/24\n"
    "#   security-group allow 10.0.0.0/8 port 6379\n"
    "#   security-group allow 2001:db8::/32 port 11211 protocol tcp\n";

static void print_sample_option(FILE *to, const struct config *defaults,
                                const struct option *option)
{
    char value[CONFIG_VALUE_BYTES_MAX];
    fputc('\n', to);
    print_wrapped(to, "# ", option->help);
    if (option->kind == OPTION_KIND_INTERFACE) {
        fputs(sample_interfaces, to);
        return;
    }
    if (option->kind == OPTION_KIND_SECURITY) {
        fputs(sample_security, to);
        return;
    }
    if (option->kind != OPTION_KIND_FIXED) {
        option_format_allowed(option, value);
        fprintf(to, "# Allowed: %s%s\n", value,
                option->when == WHEN_NOW ? "; CONFIG SET changes it" : "");
    }
    option_format_for_file(defaults, option, value);
    fprintf(to, "# %s %s\n", option->name, value);
}

void config_print_sample(FILE *to)
{
    struct config *defaults = config_create_default();
    CHECK(defaults != NULL);
    fputs(sample_head, to);
    for (uint32_t i = 0; i < option_count; i++) {
        if (options[i].kind == OPTION_KIND_SECTION) {
            fprintf(to, "\n################ %s ################\n", options[i].name);
        } else {
            print_sample_option(to, defaults, &options[i]);
        }
    }
    config_destroy(defaults);
}

/* ---- the reference page
 * -------------------------------------------------------------------------- */

static const char reference_head[] =
    "# Configuration\n\n"
    "Made from `config/options.def` (`nicached --print-reference configuration`); change the "
    "table, not\nthis page.\n\n"
    "`nicached [FILE] [--directive value ...]` takes directives as redis-server does: from FILE, "
    "one in\n"
    "a line, and from the command line, where the words behind `--directive` up to the next `--` "
    "are its\n"
    "value. The last word on a directive counts; `interface` adds one each time. `include FILE` "
    "reads\n"
    "another file in place. Values with blanks stand in quotes. Memory sizes take `k` (1000), "
    "`kb`\n"
    "(1024), `m`, `mb`, `g`, `gb`.\n\n"
    "*Live* directives can be changed with CONFIG SET; CONFIG REWRITE writes them back to FILE.\n";

static void print_reference_option(FILE *to, const struct config *defaults,
                                   const struct option *option)
{
    char value[CONFIG_VALUE_BYTES_MAX];
    option_format_for_file(defaults, option, value);
    fprintf(to, "| `%s` | ", option->name);
    if (value[0] != '\0') {
        fprintf(to, "`%s`", value);
    }
    option_format_allowed(option, value);
    fprintf(to, " | %s | %s | %s |\n", value,
            option->kind != OPTION_KIND_FIXED && option->when == WHEN_NOW ? "yes" : "no",
            option->help);
}

static const char reference_interface[] =
    "\n## The interface line\n\n"
    "`interface NAME DRIVER[:ARGUMENT] ADDRESS[/PREFIX] ... [gateway ADDRESS] ... [vlan N] [mtu N] "
    "[offloads auto|none|all] [exception-tap NAME] [client] [optional]`\n\n"
    "| driver | argument | NAME | address |\n|---|---|---|---|\n"
    "| `socket` | none | any | IPv4 or IPv6, no prefix; `0.0.0.0` and `::` are every address |\n"
    "| `tap` | none | of the TAP interface on the host | address/prefix; the host side gets the "
    "first other address of each network |\n"
    "| `af_xdp`, `af_packet` | none | of the kernel's interface | address/prefix |\n"
    "| `memif` | path of the socket | any | address/prefix; `client` connects to the socket, "
    "without it we listen |\n"
    "| `pcap` | input file, output file | any | address/prefix |\n"
    "| `pci` | PCI address | any | address/prefix |\n"
    "| `vlan` | an interface that stands before it, no socket | any | address/prefix; needs `vlan` "
    "|\n\n"
    "All but a socket take up to 8 addresses, IPv4 and IPv6 in any mixture "
    "(`10.0.0.5/24 10.1.0.5/16 fd00::5/64`), and a gateway for each family (`gateway 10.0.0.1 "
    "gateway "
    "fe80::1`); with an IPv6 address "
    "comes a link-local one, made of the MAC, unless one is given. IPv6 needs an MTU of 1280 or "
    "more.\n\n"
    "`vlan N` says which VLAN the interface serves; without it untagged frames. One more VLAN of "
    "the "
    "same port is an interface of its own, with its addresses and gateways: `interface v20 "
    "vlan:eth1 "
    "10.1.0.5/24 gateway 10.1.0.1 vlan 20`.\n\n"
    "`offloads` says what is left to the port of what its driver announces (checksums, cutting TCP "
    "packets into segments): `auto` what a device does, `none` nothing, `all` also what the driver "
    "computes itself, which is dearer than ours. `INFO net` shows what is.\n\n"
    "`exception-tap NAME` lets the host share an `af_xdp` or `pci` interface: packets that are not "
    "ours reach the kernel by the TAP interface NAME, and what it sends there leaves by the port "
    "([which ones, and how to set it up](operations.md#an-interface-that-the-host-shares)).\n\n"
    "`optional` makes a missing device or privilege a warning; without it the server does not "
    "start.\n";

static const char reference_security[] =
    "\n## The security-group line\n\n"
    "`security-group allow|deny PREFIX|all [port N[-M]] [protocol tcp|udp]`\n\n"
    "PREFIX is an address or a network, as `10.0.0.0/8` or `2001:db8::/32`; `all` is every address "
    "of "
    "both families. Each line adds a rule (or several: `security-group \"deny 10.0.9.0/24; allow "
    "10.0.0.0/8 port 6379\"`, and such a quoted value replaces those before it, `\"\"` all of "
    "them). "
    "They are tried in order and the first that matches decides. What none matches is refused when "
    "there is any allow rule, else served: a list of deny rules shuts out, a list with an allow "
    "rule "
    "lets in.\n\n"
    "Refused are: on our own stack TCP segments without a connection, and datagrams, before any "
    "state "
    "is made and without an answer (pings are answered); with kernel sockets the connection as "
    "soon "
    "as it is accepted, and datagrams. Unix sockets are not concerned, and neither are connections "
    "that are there when the rules "
    "change.\n";

void config_print_reference(FILE *to)
{
    struct config *defaults = config_create_default();
    CHECK(defaults != NULL);
    fputs(reference_head, to);
    for (uint32_t i = 0; i < option_count; i++) {
        if (options[i].kind == OPTION_KIND_SECTION) {
            fprintf(to,
                    "\n## %s\n\n| directive | default | allowed | live | meaning |\n"
                    "|---|---|---|---|---|\n",
                    options[i].name);
        } else {
            print_reference_option(to, defaults, &options[i]);
        }
    }
    fputs(reference_interface, to);
    fputs(reference_security, to);
    config_print_aliases(to);
    config_destroy(defaults);
}
