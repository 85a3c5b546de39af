/* Between a memif peer and DPDK's net_memif: hands their messages on, and keeps the port's gate.
 *
 *   peer <-- PATH --> relay <-- PATH.pmd --> net_memif <-- shared memory --> worker
 *
 * net_memif (DPDK 22.11) gives the shared memory back on EAL's interrupt thread as soon as its peer
 * goes, whatever the worker does with it just then: a worker that lost its CPU in the middle of a
 * burst finds nothing there when it goes on. And a peer that goes within the millisecond in which
 * it came makes it close a descriptor that EAL still waits for, which aborts the process. So no
 * peer talks to it directly. What a peer says once it is connected, or that it has gone, reaches
 * net_memif when the gate is closed; and what net_memif has greeted is closed, nothing else.
 *
 * One peer at a time: a second one is hung up on.
 *
 * Thread: EAL's interrupt thread, on which net_memif's own callbacks run, too; create and destroy
 * on the control thread. Memory: descriptors in messages belong to the relay until they are handed
 * on. Failure: a peer that sends what is no memif message, or does not read, is hung up on.
 */
#ifndef NICACHED_DRIVERS_MEMIF_RELAY_H
#define NICACHED_DRIVERS_MEMIF_RELAY_H

#include "drivers/port_gate.h"

/* sun_path has 108 bytes; net_memif's path is PATH.pmd, or PATH.PID.pmd where we are the client. */
#define MEMIF_PATH_BYTES_MAX   95
#define MEMIF_SUFFIX_BYTES_MAX 12

struct memif_relay;

/* Where net_memif listens, or connects to (server, client). */
void memif_relay_pmd_path(const char *path, bool is_client, char *pmd_path, size_t size);

/* Who connects to whom. We listen: on `path`, and connect to net_memif for each peer that comes
 * (memif_relay_start, when net_memif listens). We are the client: connected to `path` at once, and
 * net_memif connects to us. NULL with *code a negative errno: cannot listen or connect. */
struct memif_relay *memif_relay_create(const char *path, bool is_client, int *code);
/* The device is there and started. 0 or a negative errno. */
int memif_relay_start(struct memif_relay *relay);
/* When the device is gone. */
void memif_relay_destroy(struct memif_relay *relay);
struct port_gate *memif_relay_gate(struct memif_relay *relay);

#endif
