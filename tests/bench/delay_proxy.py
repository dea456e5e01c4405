"""A TCP proxy that delays what goes through it, each way, as a long line does; it limits nothing else."""
import collections
import contextlib
import socket
import threading
import time


class DelayProxy:
    """Listens on a free port of 127.0.0.1 (`port`) and passes connections on to `target`, `delay` seconds later."""

    def __init__(self, target, delay):
        self.target, self.delay = target, delay
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
                for a, b in ((near, far), (far, near)):
                    a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.pump(a, b)

    def pump(self, source, sink):
        waiting, there = collections.deque(), threading.Semaphore(0)

        def read():
            while True:
                try:
                    data = source.recv(1 << 18)
                except OSError:
                    data = b""
                waiting.append((time.monotonic() + self.delay, data))
                there.release()
                if not data:
                    return

        def write():
            with contextlib.suppress(OSError):
                while True:
                    there.acquire()
                    due, data = waiting.popleft()
                    time.sleep(max(0.0, due - time.monotonic()))
                    if not data:
                        sink.shutdown(socket.SHUT_WR)
                        return
                    sink.sendall(data)

        for loop in (read, write):
            threading.Thread(target=loop, daemon=True).start()

    def close(self):
        self.listener.close()
