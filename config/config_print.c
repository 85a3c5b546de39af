/* The documents made from the table: config/nicached.conf and docs/configuration.md. A test holds
 * the committed ones against what is printed here. */
#include <stdlib.h>

#include "config/config_internal.h"
#include "dataplane/base/check.h"

/* ---- what both say ------------------------------------------------------------------------- */

static void print_enum_values(FILE *to, const struct option *option)
{
    const char *separator = "";
    for (const struct option_value *value = option->values; value->name != NULL; value++) {
        if (!value->refused) {
            fprintf(to, "%s%s", separator, value->name);
            separator = ", ";
        }
    }
}

static void print_integer_range(FILE *to, const struct option *option)
{
    static const char *const unit_names[] = {
        [UNIT_NONE] = "",
        [UNIT_BYTES] = " bytes (k kb m mb g gb)",
        [UNIT_SECONDS] = " seconds",
        [UNIT_OCTAL] = " (octal)",
    };
    if (option->high >= UINT32_MAX) {
        fprintf(to, "%lld or more%s", (long long)option->low, unit_names[option->unit]);
    } else if (option->unit == UNIT_OCTAL) {
        fprintf(to, "%llo to %llo%s", (long long)option->low, (long long)option->high,
                unit_names[option->unit]);
    } else {
        fprintf(to, "%lld to %lld%s", (long long)option->low, (long long)option->high,
                unit_names[option->unit]);
    }
}

static void print_allowed(FILE *to, const struct option *option)
{
    switch (option->kind) {
    case OPTION_KIND_BOOL: fputs("yes, no", to); break;
    case OPTION_KIND_INTEGER: print_integer_range(to, option); break;
    case OPTION_KIND_ENUM: print_enum_values(to, option); break;
    case OPTION_KIND_STRING: fputs("text", to); break;
    case OPTION_KIND_FIXED: fputs("fixed", to); break;
    case OPTION_KIND_INTERFACE: fputs("one interface", to); break;
    case OPTION_KIND_BIND: fputs("addresses", to); break;
    case OPTION_KIND_SECTION:
    default: CHECK(false);
    }
}

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
    "#   interface nic0 pci:0000:41:00.0 10.0.0.5/24 gateway 10.0.0.1 vlan 12\n"
    "#   interface m0 memif:/run/nicached/m0.sock 198.18.2.2/24\n"
    "#   interface p0 pcap:in.pcap,out.pcap 198.18.3.2/24\n"
    "# A word `optional` at the end makes a missing device or privilege a warning.\n";

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
    if (option->kind != OPTION_KIND_FIXED) {
        fputs("# Allowed: ", to);
        print_allowed(to, option);
        fprintf(to, "%s\n", option->when == WHEN_NOW ? "; CONFIG SET changes it" : "");
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
    "Made from `config/options.def` (`nicached --print-reference`); change the table, not this "
    "page.\n\n"
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
    fputs(" | ", to);
    print_allowed(to, option);
    fprintf(to, " | %s | %s |\n",
            option->kind != OPTION_KIND_FIXED && option->when == WHEN_NOW ? "yes" : "no",
            option->help);
}

static const char reference_interface[] =
    "\n## The interface line\n\n"
    "`interface NAME DRIVER[:ARGUMENT] ADDRESS[/PREFIX] [gateway ADDRESS] [vlan N] [mtu N] "
    "[optional]`\n\n"
    "| driver | argument | NAME | address |\n|---|---|---|---|\n"
    "| `socket` | none | any | IPv4 or IPv6, no prefix; `0.0.0.0` and `::` are every address |\n"
    "| `tap` | none | of the TAP interface on the host | IPv4/prefix; the host side gets the first "
    "other "
    "address of the network |\n"
    "| `af_xdp`, `af_packet` | none | of the kernel's interface | IPv4/prefix |\n"
    "| `memif` | path of the socket | any | IPv4/prefix |\n"
    "| `pcap` | input file, output file | any | IPv4/prefix |\n"
    "| `pci` | PCI address | any | IPv4/prefix |\n\n"
    "`optional` makes a missing device or privilege a warning; without it the server does not "
    "start.\n";

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
    config_destroy(defaults);
}
