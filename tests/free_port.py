"""A port of 127.0.0.1 for a server that is started a moment later. As a program: prints one.

None of those that the system gives to outgoing connections (net.ipv4.ip_local_port_range, 32768 and up as it is
installed): such a one may be somebody else's by then."""
import random
import socket

given = set()


def free_port():
    for port in random.SystemRandom().sample(range(15_000, 32_000), 1_000):
        if port in given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        given.add(port)
        return port
    raise OSError("of a thousand ports between 15000 and 32000 none is free")


if __name__ == "__main__":
    print(free_port())
