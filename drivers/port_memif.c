/* memif: shared-memory rings to another process on the host (DPDK net_memif).
 *
 * One side is the server and listens on the socket; the other, the client, connects, owns the
 * memory and says how many queues there are. An appliance is the server; the load generator, or an
 * appliance behind a switch that listens, is the client. Until both are there, and after one left,
 * bursts move nothing. No receive descriptor: memif masks its interrupt while it is polled, so a
 * worker sleeps with a timeout.
 *
 * One queue pair, however many workers (core/core_distributor.h): how many are really there is
 * agreed anew with each peer, net_memif does not tell, and a queue that the peer has not got reads
 * and writes the first one's ring.
 *
 * Known fault of DPDK 22.11: when a peer connects and goes within the same millisecond, net_memif
 * closes the descriptor before it has taken it out of EAL's interrupt thread, which then aborts the
 * process. (A peer that goes later, even killed, does no harm.) Whoever may connect shares memory
 * with us and has to be trusted anyway: the socket is open to its owner only, by the usual umask.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "drivers/port_internal.h"
#include "drivers/unix_socket.h"

static int compose_memif_arguments(const struct interface_config *config, uint32_t *queue_count,
                                   char *text, size_t size, struct config_error *error)
{
    (void)queue_count;
    /* sun_path is 108 bytes; a comma would end the value. */
    size_t length = strlen(config->argument);
    if (config->argument[0] != '/' || length > 107 || strchr(config->argument, ',') != NULL) {
        return port_refuse(error, config->name, -EINVAL,
                           "memif:PATH needs an absolute path of at most 107 bytes without comma");
    }
    int result = config->client ? 0 : unix_socket_remove_stale(config->argument);
    if (result < 0) {
        return port_refuse(error, config->name, result, "cannot listen on %s: %s", config->argument,
                           strerror(-result));
    }
    snprintf(text, size, "role=%s,socket=%s,socket-abstract=no,rsize=10,bsize=2048",
             config->client ? "client" : "server", config->argument);
    return 0;
}

/* The PMD leaves its file. */
static void remove_memif_socket(struct port *port)
{
    if (!port->config.client) {
        (void)unix_socket_remove_stale(port->config.argument);
    }
}

const struct port_driver port_driver_memif = {
    .driver = INTERFACE_MEMIF,
    .bus = "vdev",
    .pmd = "net_memif",
    .quirks = PORT_QUIRK_COPIES_ON_TRANSMIT,
    .rx_descriptors = 1024,
    .tx_descriptors = 1024,
    .queue_count_max = 1,
    .compose_arguments = compose_memif_arguments,
    .after_teardown = remove_memif_socket,
};
