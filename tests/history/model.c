/* The sequential model: what each command does to a group's keys, and what it replies.
 *
 *   `number` of the reply   DEL, EXISTS: how many. SET NX, SET XX, MSETNX, COPY, RENAME: 1 done,
 *                           0 not. INCR: the number, -1 not a number. APPEND: the length (15 bits).
 *                           cas: 1 STORED, 0 EXISTS, -1 NOT_FOUND. Others: nothing.
 *
 * For want of memory Redis' commands do nothing; memcached's set deletes the key, so that no old
 * value outlives it.
 */
#include "dataplane/base/check.h"
#include "tests/history/history_internal.h"

static const struct slot empty_slot = {.expires_min_ns = TIME_NEVER, .expires_max_ns = TIME_NEVER};

static bool is_present(const struct slot *slot)
{
    return !value_is_absent(slot->value);
}

static uint64_t add_milliseconds(uint64_t time_ns, uint32_t ms)
{
    return time_ns == TIME_NEVER ? TIME_NEVER : time_ns + (uint64_t)ms * 1000000U;
}

static void store(struct slot *slot, const struct operation *operation, struct value value)
{
    *slot = empty_slot;
    slot->value = value;
    if (operation->px_ms != 0) {
        slot->expires_min_ns = add_milliseconds(operation->asked_ns, operation->px_ms);
        slot->expires_max_ns = add_milliseconds(operation->answered_ns, operation->px_ms);
    }
}

static bool observed_as_is(const struct slot *slots, const struct operation *operation,
                           const struct access *accesses)
{
    for (uint32_t i = 0; i < operation->access_count && !operation->unanswered; i++) {
        if (slots[accesses[i].key].value.bits != accesses[i].observed.bits) {
            return false;
        }
    }
    return true;
}

static bool replies(const struct operation *operation, int64_t number)
{
    return operation->unanswered || operation->number == number;
}

static int64_t count_present(const struct slot *slots, const struct operation *operation,
                             const struct access *accesses)
{
    int64_t count = 0;
    for (uint32_t i = 0; i < operation->access_count; i++) {
        count += is_present(&slots[accesses[i].key]);
    }
    return count;
}

static void store_all(struct slot *slots, const struct operation *operation,
                      const struct access *accesses)
{
    for (uint32_t i = 0; i < operation->access_count; i++) {
        store(&slots[accesses[i].key], operation, accesses[i].written);
    }
}

static bool store_if(bool condition, struct slot *slots, const struct operation *operation,
                     const struct access *accesses)
{
    if (condition) {
        store_all(slots, operation, accesses);
    }
    return replies(operation, condition);
}

static void delete_all(struct slot *slots, const struct operation *operation,
                       const struct access *accesses)
{
    for (uint32_t i = 0; i < operation->access_count; i++) {
        slots[accesses[i].key] = empty_slot;
    }
}

static bool apply_increment(struct slot *slots, const struct operation *operation,
                            const struct access *accesses)
{
    struct slot *slot = &slots[accesses->key];
    if (!is_present(slot)) {
        *slot = empty_slot;
        slot->value = value_of_number(1);
    } else if (value_is_number(slot->value)) {
        slot->value.bits++; /* the origin stays, however often */
    } else {
        return replies(operation, -1);
    }
    return replies(operation, (int64_t)value_number(slot->value));
}

static bool apply_append(struct slot *slots, const struct operation *operation,
                         const struct access *accesses)
{
    uint8_t text[VALUE_TEXT_BYTES_MAX];
    struct slot *slot = &slots[accesses->key];
    if (!is_present(slot)) {
        *slot = empty_slot;
    }
    size_t size = value_write_suffix(text, accesses->written.origin);
    slot->value = value_append(slot->value, slice_of(text, size));
    return replies(operation, value_length(slot->value));
}

/* Whether the value may have come back under another cas number. */
static bool may_have_come_again(const struct slot *slot)
{
    return slot->moved || slot->value.origin == ORIGIN_NONE;
}

/* From the first key to the second. */
static bool apply_copy(struct slot *slots, const struct operation *operation,
                       const struct access *accesses, bool replace, bool remove)
{
    struct slot *from = &slots[accesses[0].key], *to = &slots[accesses[1].key];
    bool done = is_present(from) && (replace || !is_present(to));
    if (done) {
        *to = *from;
        to->moved = true;
    }
    if (done && remove) {
        *from = empty_slot;
    }
    return replies(operation, done);
}

static bool apply_cas(struct slot *slots, const struct operation *operation,
                      const struct access *accesses)
{
    struct slot *slot = &slots[accesses->key];
    bool same = slot->value.bits == accesses->observed.bits;
    switch (operation->number) {
    case -1: return !is_present(slot);
    case 0: return is_present(slot) && (!same || may_have_come_again(slot));
    default: store_all(slots, operation, accesses); return same;
    }
}

static bool apply_flush(struct slot *slots)
{
    for (uint32_t i = 0; i < GROUP_KEYS; i++) {
        slots[i] = empty_slot;
    }
    return true;
}

bool model_apply(struct slot slots[GROUP_KEYS], const struct operation *operation,
                 const struct access *accesses)
{
    int64_t present = count_present(slots, operation, accesses);
    switch ((enum operation_type)operation->type) {
    case OPERATION_GET:
    case OPERATION_MGET: return observed_as_is(slots, operation, accesses);
    case OPERATION_EXISTS: return replies(operation, present);
    case OPERATION_SET:
    case OPERATION_MSET: store_all(slots, operation, accesses); return true;
    case OPERATION_SET_NX:
    case OPERATION_MSETNX: return store_if(present == 0, slots, operation, accesses);
    case OPERATION_SET_XX: return store_if(present != 0, slots, operation, accesses);
    case OPERATION_SET_GET:
        return observed_as_is(slots, operation, accesses) &&
               store_if(true, slots, operation, accesses);
    case OPERATION_GETDEL:
        if (!observed_as_is(slots, operation, accesses)) {
            return false;
        }
        delete_all(slots, operation, accesses);
        return true;
    case OPERATION_DEL: delete_all(slots, operation, accesses); return replies(operation, present);
    case OPERATION_INCR: return apply_increment(slots, operation, accesses);
    case OPERATION_APPEND: return apply_append(slots, operation, accesses);
    case OPERATION_RENAME: return apply_copy(slots, operation, accesses, true, true);
    case OPERATION_COPY: return apply_copy(slots, operation, accesses, false, false);
    case OPERATION_COPY_REPLACE: return apply_copy(slots, operation, accesses, true, false);
    case OPERATION_CAS: return apply_cas(slots, operation, accesses);
    case OPERATION_FLUSH: return apply_flush(slots);
    case OPERATION_REFUSED: return true;
    case OPERATION_REFUSED_SET: delete_all(slots, operation, accesses); return true;
    case OPERATION_TYPE_COUNT: break;
    }
    CHECK(false);
}

bool model_depends_on(const struct operation *operation, uint32_t access_index)
{
    switch ((enum operation_type)operation->type) {
    case OPERATION_SET:
    case OPERATION_MSET:
    case OPERATION_FLUSH:
    case OPERATION_REFUSED:
    case OPERATION_REFUSED_SET: return false;
    case OPERATION_RENAME:
    case OPERATION_COPY_REPLACE: return access_index == 0;
    case OPERATION_GET:
    case OPERATION_MGET:
    case OPERATION_EXISTS:
    case OPERATION_SET_NX:
    case OPERATION_SET_XX:
    case OPERATION_SET_GET:
    case OPERATION_GETDEL:
    case OPERATION_INCR:
    case OPERATION_APPEND:
    case OPERATION_DEL:
    case OPERATION_MSETNX:
    case OPERATION_COPY:
    case OPERATION_CAS: return true;
    case OPERATION_TYPE_COUNT: break;
    }
    CHECK(false);
}

/* Whether a reply names, in `observed`, what each key held. A cas does only when it was STORED. */
bool model_observes_values(enum operation_type type)
{
    return type == OPERATION_GET || type == OPERATION_MGET || type == OPERATION_SET_GET ||
           type == OPERATION_GETDEL || type == OPERATION_INCR || type == OPERATION_CAS;
}
