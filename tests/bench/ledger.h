/* What was written when, for each key: which versions a read may return.
 *
 * Writes of one key may overlap on several connections, and then the server alone knows which came
 * last. So overlapping writes are one group: it opens with a write while none is under way, and
 * closes when none is any more. A read that is sent later returns a version of that group or a
 * later one:
 *
 *   floor (first version of the last closed group)  <=  version read  <=  last version sent
 *
 * A write that fails, or is never answered, leaves its group open for good: the floor stays.
 */
#ifndef NICACHED_TESTS_BENCH_LEDGER_H
#define NICACHED_TESTS_BENCH_LEDGER_H

#include <stdint.h>

#include "tests/bench/value.h"

struct ledger;

struct ledger *ledger_create(uint64_t key_count); /* NULL when memory is short */
void ledger_destroy(struct ledger *ledger);

/* The version to write. */
uint32_t ledger_send_write(struct ledger *ledger, uint64_t key);
void ledger_acknowledge_write(struct ledger *ledger, uint64_t key);
/* The floor for a read that is sent now. */
uint32_t ledger_floor(const struct ledger *ledger, uint64_t key);
enum value_fault ledger_check(const struct ledger *ledger, uint64_t key, uint32_t floor,
                              uint32_t version);

#endif
