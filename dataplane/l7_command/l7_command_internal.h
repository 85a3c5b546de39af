/* What the files of this folder share. */
#ifndef NICACHED_L7_COMMAND_INTERNAL_H
#define NICACHED_L7_COMMAND_INTERNAL_H

#include <inttypes.h>

#include "dataplane/l7_command/command.h"

/* Names of flag or category `bit`, in the order of the enumerations; NULL: not shown. */
#define COMMAND_FLAG_COUNT     20
#define COMMAND_CATEGORY_COUNT 21
extern const char *const command_flag_names[COMMAND_FLAG_COUNT];
extern const char *const command_category_names[COMMAND_CATEGORY_COUNT];

/* ---- statistics (command_context.c) ------------------------------------------------------ */

void statistics_note_latency(struct command_statistics *statistics, uint64_t ticks);
/* Counts an error reply by its first word; `text` without the leading '-'. */
void statistics_note_error(struct command_context *context, struct slice text);

/* Sums over all workers since the last CONFIG RESETSTAT. */
uint64_t statistics_metric(const struct command_context *context, enum metric metric);
/* The same without regard to RESETSTAT: gauges. */
uint64_t statistics_gauge(const struct command_context *context, enum metric metric);
void statistics_command(const struct command_context *context, uint32_t index,
                        struct command_statistics *sum);
/* The words seen so far and how often; returns how many. */
uint32_t statistics_errors(const struct command_context *context,
                           struct error_entry entries[ERROR_WORD_COUNT_MAX]);
void statistics_reset(struct command_context *context);
/* Microseconds below which `percent` of the timed calls stayed. */
double statistics_percentile_us(const struct command_statistics *statistics, double percent);
double statistics_ticks_to_us(uint64_t ticks);

/* ---- reads of shards that others write (command_shared.c) ------------------------------------ */

/* Runs the handler of a command that only reads; COMMAND_TORN, with nothing replied, when what it
 * saw was not there all at one moment. */
enum command_verdict command_run_shared(struct call *call);

/* ---- text of unknown size (text.c) ----------------------------------------------------------- */

/* A long text that grows line by line and becomes one bulk reply without being copied again. */
struct text {
    struct byte_queue queue;
    struct byte_pool *pool;
};
void text_init(struct text *text, const struct reply *reply);
/* At most TEXT_PRINT_BYTES_MAX bytes per call; what is longer is cut. */
#define TEXT_PRINT_BYTES_MAX 2048
void text_print(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The text becomes a bulk reply, verbatim in RESP3. Ends the text, as text_discard does. */
void text_reply_verbatim(struct text *text, struct reply *reply);
void text_discard(struct text *text);

/* ---- for the handlers of this folder --------------------------------------------------------- */

/* Bytes of an argument that "%.*s" may show: at most `size_max`, up to a NUL. */
#define SHOWN_BYTES_MAX 128U
int call_shown_size(const struct call *call, uint32_t index, size_t size_max);
/* For commands whose arity is not all there is to check. */
void reply_wrong_arity(struct call *call);
bool database_index_valid(const struct call *call, int64_t index);
/* A heap copy, or NULL for an empty text. */
void client_set_text(char **field, struct slice text);
/* False after an error reply that calls the text `what`. */
bool client_name_valid(struct call *call, const char *what, struct slice name);
/* Asks the control thread; the verdict to return. */
enum command_verdict call_defer_to_control(struct call *call, enum control_request_type type,
                                           uint32_t argument_count, const struct slice *arguments);

#endif
