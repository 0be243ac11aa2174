"""What the servers of the tests have in common: they say where they are, and end with whoever started them."""

import os
import signal
import threading


def serve(server):
    """Serves in the background, prints "ready PORT", and waits for SIGTERM, SIGINT, or the end of the parent."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    wait(server.server_port)


def wait(port):
    """The same of a server that runs already."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    print("ready", port, flush=True)
    parent = os.getppid()
    while not stop.wait(timeout=1) and os.getppid() == parent:
        pass
