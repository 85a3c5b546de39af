"""Ports of 127.0.0.1 for servers that are about to start."""
import random
import socket


def is_free(port, kind):
    with socket.socket(type=kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count, kind=socket.SOCK_STREAM):
    """Below those that the kernel gives to clients: none of theirs can come before the server that is to have it."""
    ports = set()
    while len(ports) < count:
        port = random.randrange(10000, 32768)
        if is_free(port, kind):
            ports.add(port)
    return list(ports)
