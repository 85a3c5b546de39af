/* What the checker's files share: the sequential model and the printing of operations. */
#ifndef NICACHED_TESTS_HISTORY_HISTORY_INTERNAL_H
#define NICACHED_TESTS_HISTORY_HISTORY_INTERNAL_H

#include "tests/history/history.h"

/* What one key holds in the model. */
struct slot {
    struct value value;
    uint64_t expires_min_ns, expires_max_ns; /* both TIME_NEVER: it does not */
    bool moved; /* by RENAME or COPY: its cas number may have changed although the value did not */
};

/* Runs the operation. False: the recorded reply is not what the model says, and `slots` is spoilt.
 */
bool model_apply(struct slot slots[GROUP_KEYS], const struct operation *operation,
                 const struct access *accesses);
/* Whether what the key held before matters for the reply or for what becomes of the keys. */
bool model_depends_on(const struct operation *operation, uint32_t access_index);
bool model_observes_values(enum operation_type type);

/* `history` is one that no order explains. Puts what is needed to see that into `shorter`, up to
 * the first reply that cannot be explained: the operation, in `history`, that it belongs to (one of
 * them, where several came at one time). */
const struct operation *history_reduce(const struct history *history,
                                       const struct check_options *options,
                                       struct history *shorter);

void history_print_operation(FILE *out, const struct history *history,
                             const struct operation *operation, uint64_t base_ns);
void history_print_value(FILE *out, struct value value);

#endif
