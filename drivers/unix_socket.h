/* The file of a Unix socket: left behind by whoever made it and died. */
#ifndef NICACHED_DRIVERS_UNIX_SOCKET_H
#define NICACHED_DRIVERS_UNIX_SOCKET_H

/* Makes room for a socket at `path`: removes the file if it is a socket that nobody listens on.
 * `type` is SOCK_STREAM or SOCK_SEQPACKET. 0, -EADDRINUSE if somebody does, -EEXIST if the file is
 * not a socket, or another negative errno. */
int unix_socket_remove_stale(const char *path, int type);

#endif
