"""A port of this machine that nobody listens at, for programs that must be told one."""

import random
import socket

#: Below the ports that systems hand out by themselves, so no other server gets it meanwhile.
PORTS = range(20_000, 32_000)


def free_port():
    """Return a port that is free now; other tests at the same time draw others."""
    draw = random.SystemRandom()
    while True:
        port = draw.choice(PORTS)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
