"""A gRPC client of a few bytes: one call on a connection of its own, written by hand,
so that it can be slow in ways that a real client cannot be made to."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
ACK, END_STREAM, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4  # a setting
STREAM = 1


def frame(kind, flags, stream, payload=b""):
    return (struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
            + struct.pack(">I", stream) + payload)


def header(name, value):
    """A literal header field without indexing; both are short ASCII."""
    return (b"\x00" + bytes([len(name)]) + name.encode()
            + bytes([len(value)]) + value.encode())


class Announced:
    """A gRPC message of `length` zero bytes that is never held in memory."""

    def __init__(self, length):
        self._prefix = b"\x00" + struct.pack(">I", length)
        self._length = len(self._prefix) + length

    def __len__(self):
        return self._length

    def __getitem__(self, part):
        head = self._prefix[part]
        return head + bytes(part.stop - part.start - len(head))


def message_bytes(message):
    """A serialized protobuf message with gRPC's five bytes before it."""
    return b"\x00" + struct.pack(">I", len(message)) + message


class Peer:
    """Sends `body`, bytes or Announced, as far as the server's windows let it; reads
    no answer when `window` is 0."""

    def __init__(self, port, path, body, window=65535):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setblocking(False)
        fields = [(":method", "POST"), (":scheme", "http"), (":path", path),
                  (":authority", "localhost"), ("te", "trailers"),
                  ("content-type", "application/grpc")]
        setting = struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
        self._out = (PREFACE + frame(SETTINGS, 0, 0, setting)
                     + frame(HEADERS, END_HEADERS, STREAM,
                             b"".join(header(*field) for field in fields)))
        self._in = b""
        self._body = body
        self.sent = 0
        self._windows = {0: 65535, STREAM: 65535}

    @property
    def done(self):
        return self.sent == len(self._body) and not self._out

    def step(self, bytes_max):
        """Sends at most `bytes_max` of the body; never waits. An OSError when the
        server has hung up."""
        self._receive()
        allowed = min(bytes_max, *self._windows.values(),
                      len(self._body) - self.sent, 16384)
        if allowed > 0 and len(self._out) < 65536:
            part = self._body[self.sent:self.sent + allowed]
            self.sent += allowed
            for stream in self._windows:
                self._windows[stream] -= allowed
            last = END_STREAM if self.sent == len(self._body) else 0
            self._out += frame(DATA, last, STREAM, part)
        try:
            self._out = self._out[self.socket.send(self._out):]
        except BlockingIOError:
            pass

    def _receive(self):
        try:
            received = self.socket.recv(65536)
        except BlockingIOError:
            return
        if not received:
            raise ConnectionError("the server hung up")
        self._in += received
        while len(self._in) >= 9:
            length = int.from_bytes(self._in[:3], "big")
            if len(self._in) < 9 + length:
                return
            kind, flags = self._in[3], self._in[4]
            stream = int.from_bytes(self._in[5:9], "big")
            payload = self._in[9:9 + length]
            self._in = self._in[9 + length:]
            self._take(kind, flags, stream, payload)

    def _take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                key, value = struct.unpack(">HI", payload[at:at + 6])
                if key == INITIAL_WINDOW_SIZE:
                    self._windows[STREAM] += value - 65535
            self._out += frame(SETTINGS, ACK, 0)
        elif kind == PING and not flags & ACK:
            self._out += frame(PING, ACK, 0, payload)
        elif kind == WINDOW_UPDATE and stream in self._windows:
            self._windows[stream] += int.from_bytes(payload, "big")

    def close(self):
        self.socket.close()
