/* INFO [section ...]: which sections are asked for, and in which order they come.
 *
 * The last six are ours: every counter of docs/metrics.md, and the workers side by side, for who
 * asks for them by name or for everything. Only what is true is shown. A field of something that
 * does not exist here (a replica, a snapshot) has the value that Redis shows when that thing is
 * off, because monitoring reads it.
 */
#include "dataplane/l7_command/handlers_server.h"
#include "dataplane/l7_command/info_internal.h"

struct info_section {
    const char *name, *title;
    bool by_default; /* without arguments, and for "default" */
    bool in_all;
    void (*print)(struct text *text, const struct call *call); /* NULL: always empty */
};

static const struct info_section sections[] = {
    {"server", "Server", true, true, info_print_server},
    {"clients", "Clients", true, true, info_print_clients},
    {"memory", "Memory", true, true, info_print_memory},
    {"persistence", "Persistence", true, true, info_print_persistence},
    {"stats", "Stats", true, true, info_print_stats},
    {"replication", "Replication", true, true, info_print_replication},
    {"cpu", "CPU", true, true, info_print_cpu},
    {"modules", "Modules", true, false, NULL},
    {"commandstats", "Commandstats", false, true, info_print_commandstats},
    {"errorstats", "Errorstats", true, true, info_print_errorstats},
    {"latencystats", "Latencystats", false, true, info_print_latencystats},
    {"cluster", "Cluster", true, true, info_print_cluster},
    {"keyspace", "Keyspace", true, true, info_print_keyspace},
    {"net", "Net", false, false, info_print_net},
    {"loop", "Loop", false, false, info_print_loop},
    {"requests", "Requests", false, false, info_print_requests},
    {"store", "Store", false, false, info_print_store},
    {"stages", "Stages", false, false, info_print_stages},
    {"workers", "Workers", false, false, info_print_workers},
};

static bool names_section(const struct call *call, uint32_t index,
                          const struct info_section *section)
{
    return call_option(call, index, section->name) || call_option(call, index, "everything") ||
           (section->in_all && call_option(call, index, "all")) ||
           (section->by_default && call_option(call, index, "default"));
}

static bool wants_section(const struct call *call, const struct info_section *section)
{
    if (call->argument_count == 1) {
        return section->by_default;
    }
    for (uint32_t i = 1; i < call->argument_count; i++) {
        if (names_section(call, i, section)) {
            return true;
        }
    }
    return false;
}

enum command_verdict server_info(struct call *call)
{
    struct text text;
    text_init(&text, call->reply);
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        if (!wants_section(call, &sections[i])) {
            continue;
        }
        text_print(&text, "%s# %s\r\n", text.queue.size > 0 ? "\r\n" : "", sections[i].title);
        if (sections[i].print != NULL) {
            sections[i].print(&text, call);
        }
    }
    text_reply_verbatim(&text, call->reply);
    return COMMAND_DONE;
}
