/* A bounded capture of the frames that our own stack receives and sends, as a pcapng file.
 *
 *   worker: capture_frames --copies--> ring --> control: capture_run --> file
 *
 * It begins when `capture-file` is set and ends by itself with capture-packets, capture-bytes or
 * capture-seconds, whichever comes first. Copies come from a pool of its own; when the writer is
 * slow, frames are missing in the file and counted, and nobody waits. While there is none, it costs
 * a worker one comparison for each burst.
 *
 * The file is made anew in capture-directory, for its owner only; a name that exists, be it a link,
 * is refused.
 *
 * Thread: capture_frames any worker, between two quiescent states of RCU; the others control.
 */
#ifndef NICACHED_CAPTURE_CAPTURE_H
#define NICACHED_CAPTURE_CAPTURE_H

#include "config/config.h"

struct capture;
struct rte_mbuf;

enum capture_direction { CAPTURE_RECEIVED, CAPTURE_SENT };

/* NULL when memory is short. */
struct capture *capture_create(void);
/* Ends what is going on. */
void capture_destroy(struct capture *capture);
/* Begins, ends or leaves alone what is going on, as the configuration says. 0, or a negative errno
 * with the error's text. */
int capture_set(struct capture *capture, const struct config *config, struct config_error *error);
/* Writes what has come in. True when a capture has just become complete. */
bool capture_run(struct capture *capture);

/* `port`: of the frames, as DPDK numbers it. */
void capture_frames(struct capture *capture, uint16_t port, uint16_t queue,
                    struct rte_mbuf *const *frames, uint32_t count,
                    enum capture_direction direction);

/* Whether frames are wanted: the one comparison. */
struct capture_wanted {
    uint32_t wanted; /* atomic */
};
static inline bool capture_is_on(const struct capture *capture)
{
    return capture != NULL &&
           __atomic_load_n(&((const struct capture_wanted *)(const void *)capture)->wanted,
                           __ATOMIC_ACQUIRE) != 0;
}

#endif
