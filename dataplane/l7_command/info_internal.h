/* INFO's sections: each prints its lines; info.c knows their order and names. */
#ifndef NICACHED_L7_COMMAND_INFO_INTERNAL_H
#define NICACHED_L7_COMMAND_INFO_INTERNAL_H

#include "dataplane/l7_command/l7_command_internal.h"

void info_print_server(struct text *text, const struct call *call);
void info_print_clients(struct text *text, const struct call *call);
void info_print_memory(struct text *text, const struct call *call);
void info_print_persistence(struct text *text, const struct call *call);
void info_print_stats(struct text *text, const struct call *call);
void info_print_replication(struct text *text, const struct call *call);
void info_print_cpu(struct text *text, const struct call *call);
void info_print_commandstats(struct text *text, const struct call *call);
void info_print_errorstats(struct text *text, const struct call *call);
void info_print_latencystats(struct text *text, const struct call *call);
void info_print_cluster(struct text *text, const struct call *call);
void info_print_keyspace(struct text *text, const struct call *call);
/* Every row of one of the metrics' tables. */
void info_print_area(struct text *text, const struct call *call, enum metric_area_index index);
void info_print_net(struct text *text, const struct call *call);
void info_print_loop(struct text *text, const struct call *call);
void info_print_requests(struct text *text, const struct call *call);
void info_print_store(struct text *text, const struct call *call);
void info_print_workers(struct text *text, const struct call *call);
void info_print_stages(struct text *text, const struct call *call);

#endif
