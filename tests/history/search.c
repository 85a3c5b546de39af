/* The search for an order that explains a group's history, after Wing and Gong, with Lowe's memory
 * of configurations already tried.
 *
 * A configuration is how far each thread has come, and what the keys hold. The next operation is
 * the head of a thread that nobody must precede: it was asked no later than any head was answered.
 *
 *   1. A head that only reads and whose reply fits is taken at once: it changes nothing, so an
 * order that has it later also holds with it here.
 *   2. The configuration is given up when a reply that is still to come cannot come any more: the
 *      value it saw was written already and is held by no key, nor is one it could grow from. Since
 *      values are unique this makes most choices the only ones.
 *   3. Otherwise each head that fits is tried in turn, the one answered first first.
 *
 * Keys that vanish by themselves (expiry, eviction) do so just before an operation that can tell: a
 * candidate is a head and the set of its keys that vanish.
 *
 * Depth is bounded by the history's length, and kept on the heap. Choices are undone by a trail of
 * the threads advanced and a copy of the keys for each choice.
 */
#include <stdlib.h>

#include "dataplane/base/check.h"
#include "dataplane/base/hash.h"
#include "tests/history/history_internal.h"

#define STEPS_MAX_DEFAULT UINT64_C(40000000)
#define INDEX_NONE        UINT32_MAX
#define WINDOW_LINES      40U

/* ---- a table from non-zero 64-bit keys to small integers ------------------------------------- */

struct table {
    uint64_t *keys;
    uint32_t *values;
    uint64_t mask, count;
};

static void table_init(struct table *table, uint64_t room)
{
    uint64_t size = 64;
    while (size < room * 2) {
        size *= 2;
    }
    *table =
        (struct table){calloc(size, sizeof(uint64_t)), calloc(size, sizeof(uint32_t)), size - 1, 0};
    CHECK(table->keys != NULL && table->values != NULL);
}

static void table_deinit(struct table *table)
{
    free(table->keys);
    free(table->values);
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    x = (x ^ (x >> 29)) * UINT64_C(0x9fb21c651e98df25);
    return x ^ (x >> 32);
}

/* The place of `key`, or the empty one where it belongs. */
static uint64_t table_place(const struct table *table, uint64_t key)
{
    uint64_t place = mix(key) & table->mask;
    while (table->keys[place] != 0 && table->keys[place] != key) {
        place = (place + 1) & table->mask;
    }
    return place;
}

static uint32_t table_find(const struct table *table, uint64_t key)
{
    uint64_t place = table_place(table, key);
    return table->keys[place] == key ? table->values[place] : INDEX_NONE;
}

static void table_grow(struct table *table)
{
    struct table old = *table;
    table_init(table, old.count * 2);
    table->count = old.count;
    for (uint64_t i = 0; i <= old.mask; i++) {
        if (old.keys[i] != 0) {
            uint64_t place = table_place(table, old.keys[i]);
            table->keys[place] = old.keys[i];
            table->values[place] = old.values[i];
        }
    }
    table_deinit(&old);
}

/* What `key` stands for; a new key stands for `value` from now on. */
static uint32_t table_add(struct table *table, uint64_t key, uint32_t value)
{
    uint64_t place = table_place(table, key);
    if (table->keys[place] == key) {
        return table->values[place];
    }
    table->keys[place] = key;
    table->values[place] = value;
    if (++table->count * 2 > table->mask) {
        table_grow(table);
    }
    return value;
}

/* ---- the search ------------------------------------------------------------------------------ */

/* Replies to come that see a value, or any value of an origin; and who writes the origin. */
struct origin {
    uint32_t sights, writer_position;
    uint8_t writer_thread;
    bool has_writer;
};

struct candidate {
    uint64_t answered_ns;
    uint8_t thread, vanish; /* bits: accesses of the operation whose keys vanish first */
    bool refused;           /* the operation does nothing */
};

struct frame {
    uint64_t asked_max_ns;
    uint32_t trail_count;
    uint32_t candidate_first, candidate_next, candidate_end;
    struct slot slots[GROUP_KEYS];
};

/* How far a configuration had come: the deepest one is what the report shows. */
struct configuration {
    uint32_t trail_count;
    uint32_t positions[HISTORY_THREADS];
    struct slot slots[GROUP_KEYS];
};

struct search {
    const struct history *history;
    const struct check_options *options;
    struct check_result result;
    uint32_t thread_count, required_left; /* operations that were answered */
    uint32_t first[HISTORY_THREADS + 1];  /* in `order`, by thread */
    uint32_t *order;
    struct configuration now, deepest;
    uint64_t positions_hash, asked_max_ns;
    uint8_t *trail;
    struct table values, origins, tried;
    uint32_t *value_sights; /* by index in `values` */
    struct origin *origin;  /* by index in `origins` */
    struct frame *frames;
    uint32_t frame_count, frame_room;
    struct candidate *candidates;
    uint32_t candidate_count, candidate_room;
};

static const struct operation *operation_at(const struct search *search, uint32_t thread,
                                            uint32_t position)
{
    return &search->history->operations[search->order[search->first[thread] + position]];
}

static const struct operation *head_of(const struct search *search, uint32_t thread)
{
    uint32_t position = search->now.positions[thread];
    return search->first[thread] + position < search->first[thread + 1]
               ? operation_at(search, thread, position)
               : NULL;
}

/* Whether the reply of `operation` names a value that somebody wrote. */
static bool sees(const struct operation *operation, const struct access *access)
{
    enum operation_type type = (enum operation_type)operation->type;
    return !operation->unanswered && model_observes_values(type) &&
           !value_is_absent(access->observed) && access->observed.origin != ORIGIN_NONE &&
           !(type == OPERATION_INCR && operation->number < 0) &&
           !(type == OPERATION_CAS && operation->number != 1);
}

static void count_sights(struct search *search, const struct operation *operation, int32_t change)
{
    const struct access *access = operation_accesses(search->history, operation);
    for (uint32_t i = 0; i < operation->access_count; i++, access++) {
        if (sees(operation, access)) {
            search->value_sights[table_find(&search->values, access->observed.bits)] +=
                (uint32_t)change;
            search->origin[table_find(&search->origins, access->observed.origin)].sights +=
                (uint32_t)change;
        }
    }
}

static uint64_t hash_position(uint32_t thread, uint32_t position)
{
    return mix((uint64_t)(thread + 1) << 32 | position);
}

static void move_thread(struct search *search, uint32_t thread, int32_t by)
{
    uint32_t *position = &search->now.positions[thread];
    search->positions_hash ^= hash_position(thread, *position);
    *position += (uint32_t)by;
    search->positions_hash ^= hash_position(thread, *position);
}

/* Past the head of `thread`. */
static void advance(struct search *search, uint32_t thread)
{
    const struct operation *operation = operation_at(search, thread, search->now.positions[thread]);
    count_sights(search, operation, -1);
    move_thread(search, thread, 1);
    search->trail[search->now.trail_count++] = (uint8_t)thread;
    search->required_left -= !operation->unanswered;
}

static void return_to(struct search *search, const struct frame *frame)
{
    while (search->now.trail_count > frame->trail_count) {
        uint32_t thread = search->trail[--search->now.trail_count];
        move_thread(search, thread, -1);
        const struct operation *operation =
            operation_at(search, thread, search->now.positions[thread]);
        count_sights(search, operation, 1);
        search->required_left += !operation->unanswered;
    }
    memcpy(search->now.slots, frame->slots, sizeof(frame->slots));
    search->asked_max_ns = frame->asked_max_ns;
}

/* Whether it was a read that nobody heard the answer of. */
static bool is_left_out(const struct operation *operation)
{
    return operation->unanswered &&
           (operation->type == OPERATION_GET || operation->type == OPERATION_MGET ||
            operation->type == OPERATION_EXISTS || operation->type == OPERATION_REFUSED);
}

/* An operation asked later than this must wait for one that was answered before. */
static uint64_t asked_limit(const struct search *search)
{
    uint64_t limit = TIME_NEVER;
    for (uint32_t thread = 0; thread < search->thread_count; thread++) {
        const struct operation *head = head_of(search, thread);
        if (head != NULL && !head->unanswered && head->answered_ns < limit) {
            limit = head->answered_ns;
        }
    }
    return limit;
}

/* The accesses whose key is certainly expired for this operation. */
static uint8_t expired_accesses(const struct search *search, const struct operation *operation)
{
    const struct access *accesses = operation_accesses(search->history, operation);
    uint8_t expired = 0;
    for (uint32_t i = 0; i < operation->access_count; i++) {
        const struct slot *slot = &search->now.slots[accesses[i].key];
        if (slot->expires_max_ns != TIME_NEVER &&
            operation->asked_ns > slot->expires_max_ns + search->options->slack_ns) {
            expired |= (uint8_t)(1U << i);
        }
    }
    return expired;
}

/* Those whose key may have vanished by `limit` and make a difference. */
static uint8_t fragile_accesses(const struct search *search, const struct operation *operation,
                                uint64_t limit)
{
    const struct access *accesses = operation_accesses(search->history, operation);
    uint8_t fragile = 0;
    for (uint32_t i = 0; i < operation->access_count; i++) {
        const struct slot *slot = &search->now.slots[accesses[i].key];
        bool may_expire = slot->expires_min_ns != TIME_NEVER &&
                          slot->expires_min_ns <= limit + search->options->slack_ns;
        if (!value_is_absent(slot->value) && model_depends_on(operation, i) &&
            (may_expire || search->options->eviction)) {
            fragile |= (uint8_t)(1U << i);
        }
    }
    return fragile;
}

static const struct slot nothing = {.expires_min_ns = TIME_NEVER, .expires_max_ns = TIME_NEVER};

static bool try_apply(const struct search *search, const struct operation *operation,
                      uint8_t vanish, struct slot slots[GROUP_KEYS])
{
    const struct access *accesses = operation_accesses(search->history, operation);
    memcpy(slots, search->now.slots, sizeof(search->now.slots));
    for (uint32_t i = 0; i < operation->access_count; i++) {
        if ((vanish >> i & 1) != 0) {
            slots[accesses[i].key] = nothing;
        }
    }
    return model_apply(slots, operation, accesses);
}

/* ---- 1: reads that fit ----------------------------------------------------------------------- */

/* Whether the reply says that the operation changed nothing. */
static bool changed_nothing(const struct search *search, const struct operation *operation)
{
    switch ((enum operation_type)operation->type) {
    case OPERATION_GET:
    case OPERATION_MGET:
    case OPERATION_EXISTS:
    case OPERATION_REFUSED: return true;
    case OPERATION_SET_NX:
    case OPERATION_SET_XX:
    case OPERATION_MSETNX:
    case OPERATION_DEL:
    case OPERATION_RENAME:
    case OPERATION_COPY:
    case OPERATION_COPY_REPLACE: return operation->number == 0;
    case OPERATION_INCR: return operation->number < 0;
    case OPERATION_CAS: return operation->number <= 0;
    case OPERATION_GETDEL:
        return value_is_absent(operation_accesses(search->history, operation)->observed);
    case OPERATION_SET:
    case OPERATION_SET_GET:
    case OPERATION_APPEND:
    case OPERATION_MSET:
    case OPERATION_FLUSH:
    case OPERATION_REFUSED_SET:
    case OPERATION_TYPE_COUNT: break;
    }
    return false;
}

static bool fits_as_read(const struct search *search, const struct operation *operation)
{
    struct slot slots[GROUP_KEYS];
    return !operation->unanswered && changed_nothing(search, operation) &&
           expired_accesses(search, operation) == 0 && try_apply(search, operation, 0, slots);
}

static void take_reads(struct search *search)
{
    bool again = true;
    while (again) {
        uint64_t limit = asked_limit(search);
        again = false;
        for (uint32_t thread = 0; thread < search->thread_count; thread++) {
            const struct operation *head = head_of(search, thread);
            if (head != NULL && head->asked_ns <= limit && fits_as_read(search, head)) {
                advance(search, thread);
                again = true;
            }
        }
    }
}

/* ---- 2: replies that cannot come any more ---------------------------------------------------- */

/* The lowest rank among the keys' values of this origin; UINT32_MAX when no key has one. */
static uint32_t lowest_rank(const struct search *search, uint32_t origin)
{
    uint32_t lowest = UINT32_MAX;
    for (uint32_t i = 0; i < GROUP_KEYS; i++) {
        struct value held = search->now.slots[i].value;
        if (!value_is_absent(held) && held.origin == origin && value_rank(held) < lowest) {
            lowest = value_rank(held);
        }
    }
    return lowest;
}

/* `lost` is no longer where it was. Whether a reply to come needs it. */
static bool is_missed(const struct search *search, struct value lost)
{
    uint32_t index =
        lost.origin == ORIGIN_NONE ? INDEX_NONE : table_find(&search->origins, lost.origin);
    if (index == INDEX_NONE || search->origin[index].sights == 0) {
        return false;
    }
    uint32_t lowest = lowest_rank(search, lost.origin);
    if (lowest == UINT32_MAX) {
        return true;
    }
    uint32_t value = table_find(&search->values, lost.bits);
    return value != INDEX_NONE && search->value_sights[value] != 0 && lowest > value_rank(lost);
}

static bool lost_too_early(const struct search *search, const struct slot before[GROUP_KEYS])
{
    for (uint32_t i = 0; i < GROUP_KEYS; i++) {
        if (!value_is_absent(before[i].value) &&
            before[i].value.bits != search->now.slots[i].value.bits &&
            is_missed(search, before[i].value)) {
            return true;
        }
    }
    return false;
}

static bool may_still_appear(const struct search *search, struct value value)
{
    uint32_t index = table_find(&search->origins, value.origin);
    const struct origin *origin = &search->origin[index];
    if (origin->has_writer &&
        search->now.positions[origin->writer_thread] <= origin->writer_position) {
        return true;
    }
    uint32_t lowest = lowest_rank(search, value.origin);
    return lowest != UINT32_MAX && lowest <= value_rank(value);
}

static bool heads_may_be_answered(const struct search *search)
{
    for (uint32_t thread = 0; thread < search->thread_count; thread++) {
        const struct operation *head = head_of(search, thread);
        for (uint32_t i = 0; head != NULL && i < head->access_count; i++) {
            const struct access *access = &operation_accesses(search->history, head)[i];
            if (sees(head, access) && !may_still_appear(search, access->observed)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- 3: choices ------------------------------------------------------------------------------ */

static void add_candidate(struct search *search, const struct frame *frame,
                          struct candidate candidate)
{
    if (search->candidate_count == search->candidate_room) {
        search->candidate_room = search->candidate_room * 2 + 256;
        search->candidates = (struct candidate *)realloc(
            search->candidates, search->candidate_room * sizeof(*search->candidates));
        CHECK(search->candidates != NULL);
    }
    uint32_t place = search->candidate_count++;
    while (place > frame->candidate_first &&
           search->candidates[place - 1].answered_ns > candidate.answered_ns) {
        search->candidates[place] = search->candidates[place - 1];
        place--;
    }
    search->candidates[place] = candidate;
}

/* The only set of vanished keys under which a reply that names values can be right. */
static uint8_t seen_absent(const struct search *search, const struct operation *operation)
{
    const struct access *accesses = operation_accesses(search->history, operation);
    uint8_t absent = 0;
    for (uint32_t i = 0; i < operation->access_count; i++) {
        absent |= (uint8_t)(value_is_absent(accesses[i].observed) << i);
    }
    return absent;
}

static bool names_all_values(const struct operation *operation)
{
    return !operation->unanswered && operation->type != OPERATION_CAS &&
           operation->type != OPERATION_INCR &&
           model_observes_values((enum operation_type)operation->type);
}

/* The head takes effect, its keys as they are or vanished. */
static void add_effects(struct search *search, const struct frame *frame, uint32_t thread,
                        uint64_t limit)
{
    struct slot slots[GROUP_KEYS];
    const struct operation *head = head_of(search, thread);
    uint8_t expired = expired_accesses(search, head);
    uint8_t fragile = (uint8_t)(fragile_accesses(search, head, limit) & ~expired);
    uint8_t most = names_all_values(head) ? fragile & seen_absent(search, head) : fragile;
    uint8_t least = names_all_values(head) ? most : 0;
    for (uint8_t vanish = least;; vanish = (uint8_t)(((vanish | ~most) + 1) & most)) {
        if (try_apply(search, head, vanish | expired, slots)) {
            add_candidate(search, frame,
                          (struct candidate){.answered_ns = head->answered_ns,
                                             .thread = (uint8_t)thread,
                                             .vanish = vanish | expired});
        }
        if (vanish == most) {
            return;
        }
    }
}

static void add_head(struct search *search, const struct frame *frame, uint32_t thread,
                     uint64_t limit)
{
    const struct operation *head = head_of(search, thread);
    if (head->unanswered && head->answered_ns < search->asked_max_ns) {
        return; /* too late for it to take effect */
    }
    add_effects(search, frame, thread, limit);
    if (head->unanswered && search->options->refusals &&
        operation_needs_memory((enum operation_type)head->type)) {
        add_candidate(search, frame,
                      (struct candidate){.answered_ns = head->answered_ns,
                                         .thread = (uint8_t)thread,
                                         .refused = true});
    }
}

/* Cut off operations that could have taken effect until before this was asked no longer can. Reads
 * do not count: taken early, they must not shut out what may come before them. */
static void note_asked(struct search *search, const struct operation *operation)
{
    if (!operation->unanswered && !changed_nothing(search, operation) &&
        operation->asked_ns > search->asked_max_ns) {
        search->asked_max_ns = operation->asked_ns;
    }
}

static uint64_t hash_configuration(const struct search *search)
{
    uint64_t hash = search->positions_hash;
    for (uint32_t i = 0; i < GROUP_KEYS; i++) {
        const struct slot *slot = &search->now.slots[i];
        hash = mix(hash ^ slot->value.bits);
        hash = mix(hash ^ slot->expires_min_ns ^ slot->moved);
    }
    return hash | 1;
}

/* False: tried before. */
static bool remember(struct search *search)
{
    uint64_t before = search->tried.count;
    table_add(&search->tried, hash_configuration(search), 0);
    return search->tried.count != before;
}

static void push_frame(struct search *search)
{
    if (search->frame_count == search->frame_room) {
        search->frame_room = search->frame_room * 2 + 256;
        search->frames =
            (struct frame *)realloc(search->frames, search->frame_room * sizeof(*search->frames));
        CHECK(search->frames != NULL);
    }
    struct frame *frame = &search->frames[search->frame_count++];
    *frame = (struct frame){.asked_max_ns = search->asked_max_ns,
                            .trail_count = search->now.trail_count,
                            .candidate_first = search->candidate_count,
                            .candidate_next = search->candidate_count};
    memcpy(frame->slots, search->now.slots, sizeof(frame->slots));
    uint64_t limit = asked_limit(search);
    for (uint32_t thread = 0; thread < search->thread_count; thread++) {
        const struct operation *head = head_of(search, thread);
        if (head != NULL && head->asked_ns <= limit) {
            add_head(search, frame, thread, limit);
        }
    }
    frame->candidate_end = search->candidate_count;
    search->result.branches += frame->candidate_end - frame->candidate_first > 1;
}

/* Goes on from the last choice that has an alternative left. False: there is none. */
static bool take_next_choice(struct search *search)
{
    while (search->frame_count > 0) {
        struct frame *frame = &search->frames[search->frame_count - 1];
        return_to(search, frame);
        while (frame->candidate_next < frame->candidate_end) {
            struct candidate candidate = search->candidates[frame->candidate_next++];
            const struct operation *head = head_of(search, candidate.thread);
            struct slot slots[GROUP_KEYS];
            if (!candidate.refused) {
                CHECK(try_apply(search, head, candidate.vanish, slots));
                memcpy(search->now.slots, slots, sizeof(slots));
            }
            note_asked(search, head);
            advance(search, candidate.thread);
            if (!lost_too_early(search, frame->slots)) {
                return true;
            }
            return_to(search, frame);
        }
        search->candidate_count = frame->candidate_first;
        search->frame_count--;
    }
    return false;
}

static enum check_verdict run_search(struct search *search)
{
    uint64_t steps_max = search->options->steps_max;
    steps_max = steps_max != 0 ? steps_max : STEPS_MAX_DEFAULT + search->history->operation_count;
    for (;;) {
        take_reads(search);
        if (search->required_left == 0) {
            return CHECK_PASSED;
        }
        if (search->now.trail_count >= search->deepest.trail_count) {
            search->deepest = search->now;
        }
        if (heads_may_be_answered(search) && remember(search)) {
            push_frame(search);
        }
        if (!take_next_choice(search)) {
            return CHECK_VIOLATED;
        }
        if (++search->result.steps > steps_max) {
            return CHECK_UNDECIDED;
        }
    }
}

/* ---- before and after ------------------------------------------------------------------------ */

static void sort_by_thread(struct search *search)
{
    const struct history *history = search->history;
    uint32_t next[HISTORY_THREADS];
    for (uint32_t i = 0; i < history->operation_count; i++) {
        uint32_t thread = history->operations[i].thread;
        CHECK(thread < HISTORY_THREADS);
        search->thread_count = thread >= search->thread_count ? thread + 1 : search->thread_count;
        search->first[thread + 1] += !is_left_out(&history->operations[i]);
    }
    for (uint32_t thread = 0; thread < HISTORY_THREADS; thread++) {
        search->first[thread + 1] += search->first[thread];
        next[thread] = search->first[thread];
        search->positions_hash ^= hash_position(thread, 0);
    }
    for (uint32_t i = 0; i < history->operation_count; i++) {
        if (!is_left_out(&history->operations[i])) {
            search->order[next[history->operations[i].thread]++] = i;
        }
    }
}

static struct origin *origin_of(struct search *search, uint32_t token)
{
    return &search->origin[table_add(&search->origins, token, (uint32_t)search->origins.count)];
}

static void note_values(struct search *search, uint32_t thread, uint32_t position)
{
    const struct operation *operation = operation_at(search, thread, position);
    const struct access *access = operation_accesses(search->history, operation);
    for (uint32_t i = 0; i < operation->access_count; i++, access++) {
        if (!value_is_absent(access->written)) {
            struct origin *origin = origin_of(search, access->written.origin);
            origin->has_writer = true;
            origin->writer_thread = (uint8_t)thread;
            origin->writer_position = position;
        }
        if (sees(operation, access)) {
            origin_of(search, access->observed.origin);
            table_add(&search->values, access->observed.bits, (uint32_t)search->values.count);
        }
    }
    count_sights(search, operation, 1);
    search->required_left += !operation->unanswered;
}

static void search_init(struct search *search, const struct history *history,
                        const struct check_options *options)
{
    *search = (struct search){.history = history, .options = options};
    search->order = (uint32_t *)calloc(history->operation_count + 1U, sizeof(uint32_t));
    search->trail = (uint8_t *)calloc(history->operation_count + 1U, 1);
    search->value_sights = (uint32_t *)calloc(history->access_count + 1U, sizeof(uint32_t));
    search->origin =
        (struct origin *)calloc(2U * history->access_count + 1U, sizeof(struct origin));
    CHECK(search->order != NULL && search->trail != NULL && search->value_sights != NULL &&
          search->origin != NULL);
    table_init(&search->values, history->access_count);
    table_init(&search->origins, 2U * (uint64_t)history->access_count);
    table_init(&search->tried, history->operation_count);
    sort_by_thread(search);
    for (uint32_t i = 0; i < GROUP_KEYS; i++) {
        search->now.slots[i] = nothing;
    }
    for (uint32_t thread = 0; thread < search->thread_count; thread++) {
        uint32_t count = search->first[thread + 1] - search->first[thread];
        for (uint32_t position = 0; position < count; position++) {
            note_values(search, thread, position);
        }
    }
}

static void search_deinit(struct search *search)
{
    free(search->order);
    free(search->trail);
    free(search->value_sights);
    free(search->origin);
    free(search->frames);
    free(search->candidates);
    table_deinit(&search->values);
    table_deinit(&search->origins);
    table_deinit(&search->tried);
}

/* The head that was answered first: nothing that is left can come before it was answered. */
static const struct operation *blocked_head(const struct search *search)
{
    const struct operation *blocked = NULL;
    for (uint32_t thread = 0; thread < search->thread_count; thread++) {
        const struct operation *head = head_of(search, thread);
        if (head != NULL && !head->unanswered &&
            (blocked == NULL || head->answered_ns < blocked->answered_ns)) {
            blocked = head;
        }
    }
    return blocked;
}

/* As bits; FLUSHDB names none and touches all. */
static uint32_t keys_of(const struct history *history, const struct operation *operation)
{
    uint32_t keys = operation->access_count == 0 ? UINT32_MAX : 0;
    for (uint32_t i = 0; i < operation->access_count; i++) {
        keys |= 1U << operation_accesses(history, operation)[i].key;
    }
    return keys;
}

static int compare_asked(const void *a, const void *b)
{
    const struct operation *x = *(const struct operation *const *)a;
    const struct operation *y = *(const struct operation *const *)b;
    return (x->asked_ns > y->asked_ns) - (x->asked_ns < y->asked_ns);
}

/* What touched these keys: the last WINDOW_LINES of it. */
static void print_window(const struct history *history, uint32_t keys, uint64_t base_ns,
                         FILE *report)
{
    const struct operation **window =
        (const struct operation **)calloc(history->operation_count, sizeof(struct operation *));
    CHECK(window != NULL);
    uint32_t count = 0;
    for (uint32_t i = 0; i < history->operation_count; i++) {
        if ((keys_of(history, &history->operations[i]) & keys) != 0) {
            window[count++] = &history->operations[i];
        }
    }
    qsort(window, count, sizeof(*window), compare_asked);
    for (uint32_t i = count > WINDOW_LINES ? count - WINDOW_LINES : 0; i < count; i++) {
        history_print_operation(report, history, window[i], base_ns);
    }
    free(window);
}

static void print_violation(const struct search *search, FILE *report)
{
    const struct history *history = search->history;
    struct history shorter = {0};
    const struct operation *first = history_reduce(history, search->options, &shorter);
    fprintf(report, "violation: the first reply that no order explains\n");
    history_print_operation(report, history, first, first->asked_ns);
    fprintf(report, "what touched the same keys, without the reads that do not matter:\n");
    print_window(&shorter, keys_of(history, first), first->asked_ns, report);
    history_deinit(&shorter);
}

static void print_undecided(struct search *search, FILE *report)
{
    search->now = search->deepest;
    const struct operation *blocked = blocked_head(search);
    CHECK(blocked != NULL); /* or there would be nothing left to explain */
    fprintf(report, "undecided: the search gave up after %u of %u operations, before\n",
            search->now.trail_count, search->history->operation_count);
    history_print_operation(report, search->history, blocked, blocked->asked_ns);
    fprintf(report, "the keys there:");
    for (uint32_t i = 0; i < GROUP_KEYS; i++) {
        fprintf(report, " k%u=", i);
        history_print_value(report, search->now.slots[i].value);
    }
    fprintf(report, "\n");
}

struct check_result history_check(const struct history *history,
                                  const struct check_options *options, FILE *report)
{
    struct search search;
    search_init(&search, history, options);
    search.result.verdict = run_search(&search);
    if (search.result.verdict == CHECK_VIOLATED && report != NULL) {
        print_violation(&search, report);
    } else if (search.result.verdict == CHECK_UNDECIDED && report != NULL) {
        print_undecided(&search, report);
    }
    search_deinit(&search);
    return search.result;
}
