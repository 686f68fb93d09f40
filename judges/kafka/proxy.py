"""A way to the broker that can be slow, can break off, and can lose what it carries."""

import contextlib
import socket
import threading
import time


class Proxy:
    """Listens at `address`; everything goes to `target`, both as `host:port`."""

    def __init__(self, address, target):
        self.target = target
        self.delay = 0.0
        self.cut_after = None
        self.pairs = set()
        self.lock = threading.Lock()
        host, port = address.split(":")
        self.listener = socket.create_server((host, int(port)))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.connect, args=(client,), daemon=True).start()

    def connect(self, client):
        host, port = self.target.split(":")
        try:
            server = socket.create_connection((host, int(port)), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        pair = (client, server)
        with self.lock:
            self.pairs.add(pair)
        for source, sink, answers in ((client, server, False), (server, client, True)):
            one = (source, sink, answers, pair)
            threading.Thread(target=self.carry, args=one, daemon=True).start()

    def carry(self, source, sink, answers, pair):
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if self.delay:
                    time.sleep(self.delay)
                if answers and self.cut_after is not None:
                    # Half an answer, then nothing.
                    sink.sendall(data[: self.cut_after])
                    self.cut_after = None
                    break
                sink.sendall(data)
        self.close(pair)

    def close(self, pair):
        with self.lock:
            self.pairs.discard(pair)
        for one in pair:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def drop(self):
        """Breaks every connection; how many there were."""
        with self.lock:
            pairs = list(self.pairs)
        for pair in pairs:
            self.close(pair)
        return len(pairs)
