/* See the header for the layout. Invariants:
 *   W1  a node in level l, slot s: its tick has the same base-64 digits as wheel->tick above l, and
 *       digit l is s, greater than that of wheel->tick
 *   W2  bit s of occupied[l] is set exactly when slots[l][s] is not empty
 */
#include "dataplane/base/timer_wheel.h"

#include "dataplane/base/check.h"

#define DIGIT_BITS 6

static uint64_t tick_at_or_after(uint64_t time_us)
{
    uint64_t tick = time_us >> TIMER_WHEEL_TICK_BITS, last = UINT64_MAX >> TIMER_WHEEL_TICK_BITS;
    return (time_us & (TIMER_WHEEL_TICK_US - 1)) != 0 && tick < last ? tick + 1 : tick;
}

static void push(struct timer_node **list, struct timer_node *node)
{
    node->next = *list;
    node->link = list;
    if (node->next != NULL) {
        node->next->link = &node->next;
    }
    *list = node;
}

static void place(struct timer_wheel *wheel, struct timer_node *node)
{
    uint64_t tick = tick_at_or_after(node->due_us);
    if (tick <= wheel->tick) {
        node->level = TIMER_WHEEL_LEVELS;
        push(&wheel->due, node);
        return;
    }
    uint64_t difference = tick ^ wheel->tick;
    unsigned level = (63U - (unsigned)__builtin_clzll(difference)) / DIGIT_BITS;
    unsigned slot = (unsigned)(tick >> (DIGIT_BITS * level)) & (TIMER_WHEEL_SLOTS - 1);
    node->level = (uint8_t)level;
    node->slot = (uint8_t)slot;
    push(&wheel->slots[level][slot], node);
    wheel->occupied[level] |= 1ULL << slot;
}

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_us)
{
    *wheel = (struct timer_wheel){.tick = now_us >> TIMER_WHEEL_TICK_BITS};
}

void timer_wheel_arm(struct timer_wheel *wheel, struct timer_node *node, uint64_t due_us)
{
    timer_wheel_cancel(wheel, node);
    node->due_us = due_us;
    place(wheel, node);
    wheel->count++;
}

void timer_wheel_cancel(struct timer_wheel *wheel, struct timer_node *node)
{
    if (!timer_is_armed(node)) {
        return;
    }
    *node->link = node->next;
    if (node->next != NULL) {
        node->next->link = node->link;
    }
    if (node->level < TIMER_WHEEL_LEVELS && wheel->slots[node->level][node->slot] == NULL) {
        wheel->occupied[node->level] &= ~(1ULL << node->slot);
    }
    node->link = NULL;
    node->next = NULL;
    wheel->count--;
}

/* The first tick at which a slot has to be opened; false when all are empty. */
static bool next_slot(const struct timer_wheel *wheel, unsigned *level, unsigned *slot,
                      uint64_t *tick)
{
    for (unsigned l = 0; l < TIMER_WHEEL_LEVELS; l++) {
        if (wheel->occupied[l] != 0) {
            unsigned shift = DIGIT_BITS * l;
            *level = l;
            *slot = (unsigned)__builtin_ctzll(wheel->occupied[l]);
            *tick = (wheel->tick >> shift >> DIGIT_BITS << DIGIT_BITS << shift) | (uint64_t)*slot
                                                                                      << shift;
            return true;
        }
    }
    return false;
}

static void open_slot(struct timer_wheel *wheel, unsigned level, unsigned slot)
{
    struct timer_node *node = wheel->slots[level][slot];
    wheel->slots[level][slot] = NULL;
    wheel->occupied[level] &= ~(1ULL << slot);
    while (node != NULL) {
        struct timer_node *next = node->next;
        place(wheel, node);
        node = next;
    }
}

static void advance(struct timer_wheel *wheel, uint64_t target)
{
    unsigned level, slot;
    uint64_t tick;
    while (next_slot(wheel, &level, &slot, &tick) && tick <= target) {
        wheel->tick = tick > wheel->tick ? tick : wheel->tick;
        open_slot(wheel, level, slot);
    }
    if (wheel->tick < target) {
        wheel->tick = target;
    }
}

struct timer_node *timer_wheel_take_due(struct timer_wheel *wheel, uint64_t now_us)
{
    uint64_t tick = now_us >> TIMER_WHEEL_TICK_BITS;
    if (wheel->due == NULL && tick > wheel->tick) {
        advance(wheel, tick);
    }
    struct timer_node *node = wheel->due;
    if (node != NULL) {
        timer_wheel_cancel(wheel, node);
    }
    return node;
}

uint64_t timer_wheel_next_due(const struct timer_wheel *wheel)
{
    unsigned level, slot;
    uint64_t tick;
    if (wheel->due != NULL) {
        return wheel->tick << TIMER_WHEEL_TICK_BITS;
    }
    return next_slot(wheel, &level, &slot, &tick) ? tick << TIMER_WHEEL_TICK_BITS : UINT64_MAX;
}
