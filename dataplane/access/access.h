/* Who may speak to us: the rules of `security-group`, and what one source may take of us.
 *
 *   SYN, cookie, datagram, accepted socket --> access_check --> may go on, or a reason to drop it
 *   handshake complete, socket accepted    --> access_enter --> counted, or a reason to reset it
 *   connection over                        --> access_leave
 *
 * The rules are compiled into rte_acl by the control thread and published under RCU. Connections
 * and their rate are only charged to a source that has shown that it receives what is sent to it,
 * so nobody can use up what is another's by forging addresses.
 *
 * Figures by source are kept in a sketch of three rows, shared by all workers: no memory is made
 * for a source, nothing has to be evicted, and a source can only be taken for busier than it is,
 * when it shares a place in each row with others (its places are drawn by the process' secret). A
 * source is an IPv4 address or an IPv6 /64.
 *
 * Thread: access_set the control thread, the others any worker. A NULL access permits everything.
 */
#ifndef NICACHED_ACCESS_ACCESS_H
#define NICACHED_ACCESS_ACCESS_H

#include "config/config.h"
#include "dataplane/base/metrics.h"

struct access;

/* NULL when memory is short. EAL is up. */
struct access *access_create(void);
void access_destroy(struct access *access);
/* Compiles and publishes; waits for readers when the rules change. 0, or -ENOMEM with the error's
 * text: nothing changed then. */
int access_set(struct access *access, const struct config *config, struct config_error *error);

/* METRIC_COUNT when the rules let `source` speak to `port`, else the reason to drop it. */
enum metric access_check_rules(const struct access *access, const struct address *source,
                               uint16_t port, uint8_t protocol);
/* The same, and whether the source may begin a connection. Nothing is noted. */
enum metric access_check(const struct access *access, const struct address *source, uint16_t port,
                         uint64_t now_us);
/* A connection of the source is there: METRIC_COUNT and it is counted, or the reason to reset it.
 */
enum metric access_enter(struct access *access, const struct address *source, uint64_t now_us);
void access_leave(struct access *access, const struct address *source);

#endif
