#!/usr/bin/env python3
"""A CertStream server that keeps account: serves lines of a file over WebSockets, knows what it delivered, and fails on demand.

    scripts/blackbox/feed.py stream.jsonl --port 4000 --rate 400
    scripts/blackbox/feed.py stream.jsonl --port 4000 --fault fin:100 --fault status:0:503 --resume -20 --ledger sent.csv

Handshake and frames (RFC 6455) are written by hand, so that they can be wrong. Each connection takes the next fault of
its feed; when none is left it serves to the end and stays open. A fault is KIND:AFTER[:VALUE], after so many messages of
its connection; the kinds are the methods `fault_*` below. A message counts as delivered when the client's kernel may have
it whole: it was handed to ours before anything was done to the connection.
"""

import argparse
import base64
import collections
import dataclasses
import hashlib
import pathlib
import random
import select
import socket
import struct
import sys
import threading
import time

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@dataclasses.dataclass
class Fault:
    kind: str
    # Messages of its connection before it.
    after: int = 0
    # What else the kind needs: a status, a close code, seconds, bytes, headers.
    value: object = None
    headers: str = ""


@dataclasses.dataclass
class Sent:
    connection: int
    # Of the feed's messages.
    index: int
    # Unix seconds, when it had been handed over.
    at: float


@dataclasses.dataclass
class Cut:
    """The end of a connection, as the server meant it."""

    kind: str
    connection: int
    at: float
    # What the client said in its close frame.
    code: int | None = None


class Over(Exception):
    """The connection is at its end."""


def frame(payload, opcode=TEXT, fin=True, rsv=0, masked=False, length=None):
    """A frame as a server writes it; `length` is what it claims, whatever the payload has."""
    length = len(payload) if length is None else length
    mask = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if length < 126:
        head += bytes([mask | length])
    elif length < 1 << 16:
        head += bytes([mask | 126]) + struct.pack(">H", length)
    else:
        head += bytes([mask | 127]) + struct.pack(">Q", length)
    return head + (b"\0\0\0\0" if masked else b"") + payload


def is_text(payload):
    try:
        payload.decode()
        return True
    except UnicodeDecodeError:
        return False


def message(payload):
    """What is no UTF-8 cannot be a text message."""
    return frame(payload, TEXT if is_text(payload) else BINARY)


def fragmented(payload, pieces, between=b""):
    """One message in so many frames, `between` in between."""
    opcode = TEXT if is_text(payload) else BINARY
    step = max(1, -(-len(payload) // pieces))
    parts = [payload[at:at + step] for at in range(0, len(payload), step)] or [b""]
    frames = [frame(part, 0 if at else opcode, fin=at == len(parts) - 1) for at, part in enumerate(parts)]
    return between.join(frames)


class Feed:
    """One path of a server.

    messages: list of bytes. rate: messages a second, None for full speed. order: which messages are sent, and when one
    is sent twice. resume: where a new connection goes on, relative to where the last one ended: 0, or n messages later
    (they are lost), or earlier (they come again).
    """

    def __init__(self, messages, rate=None, faults=(), resume=0, order=None, style="plain", end=None):
        self.messages, self.rate, self.resume, self.style, self.end = messages, rate, resume, style, end
        self.order = range(len(messages)) if order is None else order
        self.faults = collections.deque(faults)
        self.position = 0
        self.ledger, self.cuts, self.skipped = [], [], []
        self.handshakes = self.connections = self.pings = 0
        self.requests = []
        # Cleared: connections send nothing, and answer pings.
        self.flowing = threading.Event()
        self.flowing.set()
        self.lock = threading.Lock()

    def delivered(self):
        """Indices of messages, each once, in the order of their first delivery."""
        with self.lock:
            return list(dict.fromkeys(sent.index for sent in self.ledger))

    @property
    def sent(self):
        return len(self.ledger)

    @property
    def done(self):
        return self.position >= len(self.order) and not self.faults


class Server:
    """Serves feeds by path."""

    def __init__(self, feeds, port=0):
        self.feeds, self.threads, self.sockets = feeds, [], set()
        self.lock = threading.Lock()
        self.port = port
        self.listen()

    def listen(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.port = listener.getsockname()[1]
        self.listener = listener
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def url(self, path):
        return f"ws://127.0.0.1:{self.port}/{path}"

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.sockets.add(client)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Connection(self, client).run()
        except (Over, OSError):
            pass
        finally:
            with self.lock:
                self.sockets.discard(client)
            client.close()

    def close(self):
        """Nobody listens any more: connections are refused. Those that stand, stand."""
        # Closing alone would leave the socket to the thread that waits in accept.
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def stop(self):
        self.close()
        with self.lock:
            for client in self.sockets:
                try:
                    client.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


class Connection:
    def __init__(self, server, client):
        self.server, self.socket = server, client
        self.buffer = b""
        self.writing = threading.Lock()
        self.ended = threading.Event()
        self.close_code = None
        self.answers_pings = True
        self.synced = threading.Event()

    def run(self):
        path, headers = self.request()
        feed = self.feed = self.server.feeds.get(path)
        if feed is None:
            self.socket.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        with feed.lock:
            feed.handshakes += 1
            feed.requests.append(headers)
            self.fault = feed.faults.popleft() if feed.faults else None
        accept = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode() + GUID).digest()).decode()
        if self.fault and self.fault.kind in ("status", "hang", "html", "accept", "hangup"):
            getattr(self, f"refuse_{self.fault.kind}")()
            self.cut(self.fault.kind)
            return
        self.socket.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        with feed.lock:
            self.number = feed.connections
            feed.connections += 1
            if self.number:
                position = max(0, feed.position + feed.resume)
                feed.skipped += list(feed.order[feed.position:position])
                feed.position = position
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.send_all()

    def request(self):
        while b"\r\n\r\n" not in self.buffer:
            got = self.socket.recv(4096)
            if not got:
                raise Over
            self.buffer += got
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict((name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        return first.split()[1].partition("?")[0].lstrip("/"), headers

    # Refusals: the value is a status.

    def refuse_status(self):
        body = b"<html>sorry</html>"
        self.socket.sendall(f"HTTP/1.1 {self.fault.value} Refused\r\n{self.fault.headers}"
                            f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def refuse_html(self):
        self.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>hello</html>")

    def refuse_accept(self):
        self.socket.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n")
        self.linger()

    def refuse_hangup(self):
        self.socket.sendall(b"HTTP/1.1 101 Swit")

    def refuse_hang(self):
        self.ended.wait(self.fault.value)

    # Messages.

    def send_all(self):
        feed, fault = self.feed, self.fault
        begun, count = time.monotonic(), 0
        while True:
            if fault and count == fault.after:
                getattr(self, f"fault_{fault.kind}")()
                fault = None
            if self.ended.is_set():
                self.cut("client")
                return
            with feed.lock:
                end = len(feed.order) if feed.end is None else feed.end
                index = feed.order[feed.position] if feed.position < end else None
            if index is None or not feed.flowing.is_set():
                if fault and index is None and feed.end is None:
                    # Nothing more comes: now or never.
                    count = fault.after
                    continue
                self.ended.wait(0.01)
                begun, count_then = time.monotonic(), count
                self.pace = (begun, count_then)
                continue
            if feed.rate:
                since, at = getattr(self, "pace", (begun, 0))
                ahead = since + (count - at) / feed.rate - time.monotonic()
                if ahead > 0:
                    self.ended.wait(ahead)
            self.deliver(feed.messages[index], feed.style)
            with feed.lock:
                feed.ledger.append(Sent(self.number, index, time.time()))
                feed.position += 1
            count += 1

    def deliver(self, payload, style):
        if style == "fragments":
            self.write(fragmented(payload, 7, between=frame(b"are you there", PING)))
        elif style == "drip":
            whole = message(payload)
            self.write(*(whole[at:at + 512] for at in range(0, len(whole), 512)), pause=0.0005)
        else:
            self.write(message(payload))

    def write(self, *parts, pause=0.0):
        """Whole frames: pongs come before or after all parts."""
        try:
            with self.writing:
                for part in parts:
                    self.socket.sendall(part)
                    if pause:
                        time.sleep(pause)
        except OSError:
            self.cut("client")
            raise Over from None

    def cut(self, kind):
        with self.feed.lock:
            self.feed.cuts.append(Cut(kind, getattr(self, "number", -1), time.time(), self.close_code))

    def sync(self):
        """Waits until the client has read all: it answers a ping that comes behind it."""
        self.write(frame(b"sync", PING))
        self.synced.wait(10)

    def linger(self, seconds=5):
        """Ends our half, and waits for the client to end its own."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self.ended.wait(seconds)

    # Faults in a standing connection.

    def fault_fin(self):
        """No close frame."""
        self.cut("fin")
        self.linger()
        raise Over

    def fault_rst(self):
        self.sync()
        self.cut("rst")
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The reader has to let go of the socket.
        self.ended.set()
        self.reader.join(5)
        self.socket.close()
        raise Over

    def fault_close(self):
        """With a close code."""
        self.cut("close")
        self.write(frame(struct.pack(">H", self.fault.value) + b"see you", CLOSE))
        self.linger()
        raise Over

    def fault_partial(self):
        """Half a frame and no more."""
        self.cut("partial")
        payload = self.feed.messages[0]
        self.write(message(payload)[:len(payload) // 2])
        self.linger()
        raise Over

    def fault_half_open(self):
        """Neither reads nor writes for so many seconds."""
        self.answers_pings = False
        self.cut("half_open")
        self.ended.wait(self.fault.value)
        raise Over

    def fault_stall(self):
        """Sends nothing for so many seconds, but answers pings, and then goes on."""
        self.ended.wait(self.fault.value)

    def fault_raw(self):
        """Bytes that break the protocol; the client has to hang up."""
        self.write(self.fault.value)
        self.ended.wait(10)
        self.cut("raw")
        raise Over

    def fault_extra(self):
        """Bytes that do not: the connection goes on."""
        self.write(self.fault.value)

    # What the client says.

    def read(self):
        try:
            while not self.ended.is_set():
                if not self.read_frame():
                    break
        except (OSError, Over):
            pass
        self.ended.set()

    def take(self, count):
        while len(self.buffer) < count:
            if not self.answers_pings:
                # Half open: what comes is left in the kernel.
                if self.ended.wait(0.05):
                    raise Over
                continue
            if not self.readable():
                # A thread that waits in recv would keep the socket from being closed.
                if self.ended.is_set():
                    raise Over
                continue
            got = self.socket.recv(65536)
            if not got:
                raise Over
            self.buffer += got
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def readable(self):
        """Within a moment. Unlike select, poll takes any descriptor."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return poll.poll(50)

    def read_frame(self):
        first, second = self.take(2)
        length = second & 0x7F
        if length == 126:
            length = struct.unpack(">H", self.take(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self.take(8))[0]
        if not second & 0x80:
            # RFC 6455 section 5.1: a client masks.
            raise Over
        mask = self.take(4)
        payload = bytes(b ^ mask[at % 4] for at, b in enumerate(self.take(length)))
        opcode = first & 0x0F
        if opcode == PING:
            with self.feed.lock:
                self.feed.pings += 1
            if self.answers_pings:
                with self.writing:
                    self.socket.sendall(frame(payload, PONG))
        if opcode == PONG and payload == b"sync":
            self.synced.set()
        if opcode == CLOSE:
            self.close_code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
            return False
        return True


def shuffled(count, seed, again=0.05, late=0.05):
    """An order of `count` messages: some come again a little later, some change places with one of the next ten."""
    rng = random.Random(seed)
    order = list(range(count))
    for at in range(count):
        if rng.random() < late:
            other = min(count - 1, at + rng.randrange(1, 10))
            order[at], order[other] = order[other], order[at]
    for at in range(count - 1, 0, -1):
        if rng.random() < again:
            order.insert(min(len(order), at + rng.randrange(1, 50)), order[at])
    return order


def read_lines(path):
    return [line for line in pathlib.Path(path).read_bytes().split(b"\n") if line.strip()]


def parse_fault(text):
    kind, after, *value = text.split(":")
    return Fault(kind.replace("-", "_"), int(after), int(value[0]) if value else None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=__doc__.partition("\n\n")[2],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path, help="messages, one a line")
    parser.add_argument("--port", type=int, default=4000)
    parser.add_argument("--path", default="full-stream")
    parser.add_argument("--rate", type=float, help="messages a second; as fast as they are taken without it")
    parser.add_argument("--fault", action="append", default=[], type=parse_fault, metavar="KIND:AFTER[:VALUE]",
                        help="fin, rst, close, partial, half-open, stall, status, html, accept, hangup or hang")
    parser.add_argument("--resume", type=int, default=0, help="where a new connection goes on, relative to the last one")
    parser.add_argument("--style", default="plain", choices=("plain", "fragments", "drip"))
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="5 %% come again, 5 %% change places")
    parser.add_argument("--ledger", type=pathlib.Path, help="written at the end: connection, line and time of each message")
    args = parser.parse_args()
    messages = read_lines(args.file)
    order = None if args.shuffle is None else shuffled(len(messages), args.shuffle)
    feed = Feed(messages, args.rate, args.fault, args.resume, order, args.style)
    server = Server({args.path: feed}, args.port)
    print(server.url(args.path), flush=True)
    try:
        while True:
            time.sleep(1)
            print(f"{feed.connections} connections, {feed.sent} messages sent", file=sys.stderr)
    except KeyboardInterrupt:
        server.stop()
    if args.ledger:
        rows = (f"{sent.connection},{sent.index + 1},{sent.at:.6f}\n" for sent in feed.ledger)
        args.ledger.write_text("connection,line,at\n" + "".join(rows))


if __name__ == "__main__":
    main()
