"""Frames: how messages of four classes share one byte stream.

A message is cut into frames; the frames of different classes interleave, those
of one class keep their order. On the wire a frame is a 4-byte big-endian word
and its payload:

    bit 31        "more": the message goes on in the next frame of this class
    bits 30..26   reserved, 0
    bits 25..24   class
    bits 23..0    payload length, 1 to FRAME_BYTES_MAX

The reserved bits earn their place: ASCII text, a TLS record and a random 32-bit
length nearly all set one of them, so a stranger is told from a peer by its first
four bytes, before anything is allocated.

This file knows frames, their order and their bounds. It knows nothing of what
a message says, nor of sockets.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from gossipconf.model.errors import InvalidInput, LimitExceeded, ProtocolViolation
from gossipconf.model.limits import FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, SYNC_BUDGET_BYTES

HEADER_BYTES: Final = 4

_MORE: Final = 1 << 31
_RESERVED: Final = 0b11111 << 26
_CLASS_SHIFT: Final = 24
_CLASS_MASK: Final = 0b11
_LENGTH_MASK: Final = (1 << 24) - 1


class FrameClass(enum.IntEnum):
    """What a message is for. The smaller value is sent first at every frame boundary."""

    CONTROL = 0
    BROADCAST = 1
    ACK = 2
    SYNC = 3


QUEUE_BYTES_MAX: Final[Mapping[FrameClass, int]] = MappingProxyType(
    {
        # Membership, keepalives, announcements, questions: under 4 KiB each. A peer that leaves
        # 64 of them unread is not slow but gone.
        FrameClass.CONTROL: 256 << 10,
        # A burst of 800 changes of 1 KiB, even if nothing of it leaves before its end. A peer further
        # behind than that catches up by sync, which sends only what is still live.
        FrameClass.BROADCAST: 1 << 20,
        # Each report replaces the one before: a lost one costs a late figure, nothing else.
        FrameClass.ACK: 64 << 10,
        # One granted budget, what wraps it and what ends its answer. Whoever asks again before it has
        # read that gets nothing.
        FrameClass.SYNC: SYNC_BUDGET_BYTES + (64 << 10),
    }
)
"""Unsent message bytes of a class, behind its first message, at which a `FrameQueue` takes no more: so it holds
twice MESSAGE_BYTES_MAX more at the very most, and as a rule a few KiB more."""

STALE_S: Final = 2.0
"""How long a push waits for those before it. Where it is longer the peer reads more slowly than is published, and
each push that waits is likely to be superseded before it is read."""

# First bytes of protocols that people point at the wrong port. All of them set reserved bits.
_STRANGERS: Final = (
    (b"\x16\x03", "a TLS handshake inside the link"),
    (b"GET ", "an HTTP request"),
    (b"POST", "an HTTP request"),
    (b"PUT ", "an HTTP request"),
    (b"HEAD", "an HTTP request"),
    (b"HTTP", "an HTTP response"),
    (b"PRI ", "an HTTP/2 preface"),
    (b"SSH-", "an SSH greeting"),
)


def check_message(message: bytes) -> None:
    """Raise if *message* can be no message: `InvalidInput` if empty, `LimitExceeded` if too long."""
    if not message:
        raise InvalidInput("an empty message cannot be sent; a message is at least 1 byte")
    if len(message) > MESSAGE_BYTES_MAX:
        raise LimitExceeded(f"a message of {len(message)} bytes is above the limit of {MESSAGE_BYTES_MAX} bytes")


def encode_frames(frame_class: FrameClass, message: bytes) -> Iterator[bytes]:
    """The frames that carry *message*, in order, each with its header.

    Raises `InvalidInput` for an empty message and `LimitExceeded` for one above
    `MESSAGE_BYTES_MAX`, at the call and not at the first frame.
    """
    check_message(message)
    return (_frame(frame_class, message, offset) for offset in range(0, len(message), FRAME_BYTES_MAX))


def _frame(frame_class: FrameClass, message: bytes, offset: int) -> bytes:
    payload = message[offset : offset + FRAME_BYTES_MAX]
    more = _MORE if offset + len(payload) < len(message) else 0
    word = more | frame_class << _CLASS_SHIFT | len(payload)
    return word.to_bytes(HEADER_BYTES, "big") + payload


class FrameDecoder:
    """Puts the messages of one byte stream together again.

    Memory is bounded by one unfinished message per class: 4 × `MESSAGE_BYTES_MAX`
    (32.25 MiB), and only of bytes that have arrived; a claimed length allocates
    nothing. Time is linear in the bytes fed, however they are cut.
    """

    __slots__ = ("_header", "_partial", "_remaining", "_unfinished", "_violation")

    def __init__(self) -> None:
        self._header = bytearray()
        self._partial: dict[FrameClass, bytearray] = {each: bytearray() for each in FrameClass}
        self._remaining = 0  # payload bytes of the current frame still to come
        self._unfinished: tuple[FrameClass, bool] = (FrameClass.CONTROL, False)  # of the current frame
        self._violation: str | None = None

    @property
    def held_bytes(self) -> int:
        """Bytes of unfinished messages held now."""
        return len(self._header) + sum(map(len, self._partial.values()))

    def feed(self, data: bytes | bytearray | memoryview) -> list[tuple[FrameClass, bytes]]:
        """Take the next bytes of the stream; return the messages that they complete, in order.

        Raises `ProtocolViolation` at the first header that no peer sends; messages completed
        by the same *data* are lost with it, and every later call raises the same.
        """
        if self._violation is not None:
            raise ProtocolViolation(self._violation)
        messages: list[tuple[FrameClass, bytes]] = []
        view = memoryview(data)
        position = 0
        while position < len(view):
            if not self._remaining:
                wanted = HEADER_BYTES - len(self._header)
                self._header += view[position : position + wanted]
                position += wanted  # past the end if the header is still short: the loop ends
                if len(self._header) == HEADER_BYTES:
                    self._open_frame()
                continue
            chunk = view[position : position + self._remaining]
            position += len(chunk)
            self._remaining -= len(chunk)
            frame_class, more = self._unfinished
            partial = self._partial[frame_class]
            if self._remaining or more:
                partial += chunk
            elif partial:
                partial += chunk
                messages.append((frame_class, bytes(partial)))
                self._partial[frame_class] = bytearray()
            else:
                messages.append((frame_class, bytes(chunk)))
        return messages

    def _open_frame(self) -> None:
        word = int.from_bytes(self._header, "big")
        if word & _RESERVED:
            self._refuse(_strange_header(bytes(self._header), word))
        length = word & _LENGTH_MASK
        frame_class = FrameClass(word >> _CLASS_SHIFT & _CLASS_MASK)
        name = frame_class.name.lower()
        if length == 0:
            self._refuse(f"an empty {name} frame; a frame carries at least 1 byte")
        if length > FRAME_BYTES_MAX:
            self._refuse(f"a {name} frame claims {length} bytes; the limit is {FRAME_BYTES_MAX}")
        total = len(self._partial[frame_class]) + length
        if total > MESSAGE_BYTES_MAX:
            self._refuse(f"a {name} message reaches {total} bytes; the limit is {MESSAGE_BYTES_MAX}")
        self._header.clear()
        self._remaining = length
        self._unfinished = (frame_class, bool(word & _MORE))

    def _refuse(self, words: str) -> None:
        self._violation = words
        self._partial = {each: bytearray() for each in FrameClass}
        raise ProtocolViolation(words)


def _strange_header(header: bytes, word: int) -> str:
    for opening, what in _STRANGERS:
        if header.startswith(opening):
            return f"not a gossipconf frame but {what} (first bytes {header!r})"
    return (
        f"not a gossipconf frame: reserved bits are set in the header {header.hex()} "
        f"(as a plain length it claims {word} bytes; the limit is {FRAME_BYTES_MAX})"
    )


class FrameQueue:
    """The messages that wait for one link, and the order in which their frames leave it.

    At every frame boundary the next frame is of the most urgent class that has one, so a
    control message overtakes a long sync message that is half sent. A class takes messages
    while what waits behind its first one is within its bound: one of the largest holds up
    none of the small ones after it, nor they it.

    Pushes are news, and old news is no use: once there is no room, or the oldest has waited
    for STALE_S, all of them are forgotten, and no more are taken until nothing of any
    class waits. Sync, which is less urgent, comes through meanwhile.
    """

    __slots__ = ("_behind", "_bounds", "_bytes", "_messages", "_offset", "_pushed_s")

    def __init__(self, bounds: Mapping[FrameClass, int] = QUEUE_BYTES_MAX) -> None:
        self._bounds = bounds
        self._messages: dict[FrameClass, deque[bytes]] = {each: deque() for each in FrameClass}
        self._offset = dict.fromkeys(FrameClass, 0)  # bytes already taken of each class's first message
        self._bytes = dict.fromkeys(FrameClass, 0)
        self._pushed_s: deque[float] = deque()  # when each waiting push was put
        self._behind = False

    def held_bytes(self, frame_class: FrameClass | None = None) -> int:
        """Unsent message bytes of *frame_class*, or of all classes."""
        return sum(self._bytes.values()) if frame_class is None else self._bytes[frame_class]

    def bounded_bytes(self, frame_class: FrameClass) -> int:
        """Unsent message bytes of *frame_class* without its first message and its last: what the bound bounds."""
        waiting = self._messages[frame_class]
        return self._behind_first_bytes(frame_class) - len(waiting[-1]) if len(waiting) > 1 else 0

    def put(self, frame_class: FrameClass, message: bytes, now_s: float) -> bool:
        """Queue *message*; False, and it is not taken, if the class is full. *now_s*: any monotonic clock.

        Raises `InvalidInput` or `LimitExceeded` as `check_message` does.
        """
        check_message(message)
        if frame_class is FrameClass.BROADCAST:
            if not self._takes_push(now_s):
                return False
            self._pushed_s.append(now_s)
        elif self._is_full(frame_class):
            return False
        self._messages[frame_class].append(message)
        self._bytes[frame_class] += len(message)
        return True

    def _is_full(self, frame_class: FrameClass) -> bool:
        return self._behind_first_bytes(frame_class) > self._bounds[frame_class]

    def _behind_first_bytes(self, frame_class: FrameClass) -> int:
        waiting = self._messages[frame_class]
        first_bytes = len(waiting[0]) - self._offset[frame_class] if waiting else 0
        return self._bytes[frame_class] - first_bytes

    def _takes_push(self, now_s: float) -> bool:
        if self._behind:
            self._behind = self.held_bytes() > 0
        if not self._behind and (self._is_stale(now_s) or self._is_full(FrameClass.BROADCAST)):
            self._behind = True
            self._forget_pushes()
        return not self._behind

    def _is_stale(self, now_s: float) -> bool:
        """Whether the oldest push of which nothing is sent yet has waited for too long."""
        begun = self._offset[FrameClass.BROADCAST] > 0
        return len(self._pushed_s) > begun and now_s - self._pushed_s[begun] >= STALE_S

    def _forget_pushes(self) -> None:
        """All but one that is half sent."""
        waiting = self._messages[FrameClass.BROADCAST]
        kept = 1 if self._offset[FrameClass.BROADCAST] else 0
        while len(waiting) > kept:
            self._bytes[FrameClass.BROADCAST] -= len(waiting.pop())
            self._pushed_s.pop()

    def take(self, bytes_max: int = HEADER_BYTES + FRAME_BYTES_MAX) -> bytes:
        """The next frames, as many whole ones as fit *bytes_max* but at least one; b"" if none wait."""
        batch = bytearray()
        for frame_class in FrameClass:
            waiting = self._messages[frame_class]
            while waiting:
                message, offset = waiting[0], self._offset[frame_class]
                payload_bytes = min(len(message) - offset, FRAME_BYTES_MAX)
                if batch and len(batch) + HEADER_BYTES + payload_bytes > bytes_max:
                    # A less urgent class might still fit, but must not pass this one.
                    return bytes(batch)
                batch += _frame(frame_class, message, offset)
                self._bytes[frame_class] -= payload_bytes
                if offset + payload_bytes < len(message):
                    self._offset[frame_class] = offset + payload_bytes
                else:
                    waiting.popleft()
                    self._offset[frame_class] = 0
                    if frame_class is FrameClass.BROADCAST:
                        self._pushed_s.popleft()
        return bytes(batch)

    def drop_all_but(self, kept: FrameClass) -> None:
        """Forget what waits in the other classes, half-sent messages too: only for a link that closes."""
        for frame_class in FrameClass:
            if frame_class is not kept:
                self._messages[frame_class].clear()
                self._offset[frame_class] = self._bytes[frame_class] = 0
        if kept is not FrameClass.BROADCAST:
            self._pushed_s.clear()
