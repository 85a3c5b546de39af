/* A hierarchical timer wheel: arming, moving and cancelling cost a few instructions each, however
 * many timers there are.
 *
 *   level 0   64 slots of one tick           a node sits in the level of the highest digit (base
 * 64) level 1   64 slots of 64 ticks           in which its tick differs from the current one, so
 * all
 *   ...                                      nodes of a level lie ahead in the same turn, and the
 *   level 8   64 slots of 64^8 ticks         first occupied slot of the lowest level is the next
 *
 * A tick is 1024 us. A node is due at the first tick boundary at or after its time: never early, at
 * most one tick late. Nodes are intrusive; the wheel allocates nothing and has no call-backs: the
 * owner takes due nodes one by one and may stop at any point.
 *
 * Thread: one owner. Time is an argument.
 */
#ifndef NICACHED_BASE_TIMER_WHEEL_H
#define NICACHED_BASE_TIMER_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMER_WHEEL_LEVELS                                                                         \
    9 /* 54 bits of ticks: every 64-bit time in microseconds has its slot                          \
       */
#define TIMER_WHEEL_SLOTS     64
#define TIMER_WHEEL_TICK_BITS 10
#define TIMER_WHEEL_TICK_US   (1U << TIMER_WHEEL_TICK_BITS)

struct timer_node {
    struct timer_node *next, **link; /* link: what points at this node; NULL when not armed */
    uint64_t due_us;
    uint8_t level, slot; /* level TIMER_WHEEL_LEVELS: in the due list */
};

struct timer_wheel {
    uint64_t tick; /* up to which everything was moved to `due` */
    uint64_t occupied[TIMER_WHEEL_LEVELS];
    struct timer_node *slots[TIMER_WHEEL_LEVELS][TIMER_WHEEL_SLOTS];
    struct timer_node *due;
    size_t count; /* nodes armed */
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_us);

static inline bool timer_is_armed(const struct timer_node *node)
{
    return node->link != NULL;
}

/* Arms the node, or moves it when it is armed already. */
void timer_wheel_arm(struct timer_wheel *wheel, struct timer_node *node, uint64_t due_us);
/* Harmless on a node that is not armed; a node must have been zeroed once before its first use. */
void timer_wheel_cancel(struct timer_wheel *wheel, struct timer_node *node);

/* Takes out one node that is due at `now_us`, or returns NULL. Nodes armed for a time that has
 * passed are returned too, so the owner bounds its own loop. */
struct timer_node *timer_wheel_take_due(struct timer_wheel *wheel, uint64_t now_us);

/* A time at or before the first due time (exact within 64 ticks); UINT64_MAX when nothing is armed.
 */
uint64_t timer_wheel_next_due(const struct timer_wheel *wheel);

#endif
