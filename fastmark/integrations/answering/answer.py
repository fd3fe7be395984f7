"""One answer on its way to the client: held until its images are watermarked, or passed as it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from fastmark.errors import FastmarkError, RegistryError, one_line
from fastmark.images.formats import PREFIX_BYTES, format_by_prefix
from fastmark.integrations.answering.events import Event, Splitter
from fastmark.integrations.answering.problems import Refusal
from fastmark.integrations.answering.scanning import Found, Scan, replaced, scan
from fastmark.integrations.answering.types import Headers, Message, Send
from fastmark.integrations.answering.unpacking import CODINGS, Decoder

if TYPE_CHECKING:
    from fastmark.integrations.answering.bounds import Bounds, Crew
    from fastmark.integrations.answering.marking import Done
    from fastmark.integrations.answering.rules import Rules

log = logging.getLogger("fastmark.integrations")

_STALE = frozenset(
    b"content-length content-encoding transfer-encoding trailer etag content-md5 digest content-digest"
    b" repr-digest accept-ranges content-range fastmark-id fastmark-state fastmark-warning".split()
)
"""Headers that tell of the body as it was, or are ours."""

_BY_URL = "image_by_url"
_USUAL_BYTES = 16 << 20
"""That are set aside for an answer that does not tell its length."""

_LARGE = 1 << 17
"""Characters of JSON that are searched in a thread: reading them takes longer than starting it."""


class EndedError(OSError):
    """The answer is over; raised to who still sends, as servers do where the client is gone."""


class Answer:
    """What an app sends in answer to one request.

    Attributes:
        refused: whether another answer was sent in its place, or an event that ended it.
    """

    def __init__(self, rules: Rules, crew: Crew, bounds: Bounds, send: Send) -> None:
        """Prepare for an answer.

        Args:
            rules: by which it is treated.
            crew: that works on its images.
            bounds: of all answers together.
            send: where it goes.
        """
        self._rules, self._crew, self._forward = rules, crew, send
        self._room, self._turns, self._slots = bounds.room, bounds.turns, bounds.slots
        self.refused = False
        self._mode = "none"
        self._start: Message = {}
        self._chunks: list[bytes] = []
        self._length = self._held = 0
        self._decoder: Decoder | None = None
        self._splitter = Splitter()
        self._done: list[Done] = []
        self._notes: list[str] = []

    @property
    def open(self) -> bool:
        """Whether nothing was sent yet, so that another answer can be; or a stream, which can be ended."""
        return self._mode in ("none", "hold", "events")

    def close(self) -> None:
        """Give back what was taken."""
        self._room.give(self._held)
        self._held = 0
        self._chunks.clear()

    async def send(self, message: Message) -> None:
        """Take a part of the answer, as the app sends it."""
        kind = message["type"]
        if self._mode == "over":
            raise EndedError("the answer is over")
        if self._mode == "pass":
            await self._forward(message)
        elif kind == "http.response.start":
            await self._guarded(self._begin(message))
        elif kind == "http.response.body":
            more = message.get("more_body", False)
            await self._guarded(self._body(message.get("body", b""), more), more=more)

    async def _guarded(self, step: Awaitable[None], *, more: bool = True) -> None:
        try:
            await step
        except Refusal as refusal:
            await self.refuse(refusal)
            if more:
                raise EndedError("the answer was refused") from None

    async def refuse(self, refusal: Refusal) -> None:
        """Send another answer in place of this one, or an event that ends it."""
        log.warning("an answer is refused: %s", refusal)
        self.refused = True
        if self._mode == "events":
            await self._forward(_body(refusal.event(), more=True))
            await self._forward(_body(b""))
        else:
            start = {"type": "http.response.start", "status": refusal.status, "headers": refusal.headers()}
            await self._forward(start)
            await self._forward(_body(refusal.body()))
        self._mode = "over"

    # ---- its parts ---------------------------------------------------------------------------------------

    async def _begin(self, start: Message) -> None:
        self._start = start
        if not 200 <= start["status"] < 300:
            self._mode = "pass"
            await self._forward(start)
            return
        self._mode = "hold"
        coding = self._header(b"content-encoding").lower()
        if coding not in CODINGS:
            await self._give_up(
                Refusal(f"the answer is encoded as {coding!r}, not as gzip", "unknown_answer")
            )
            return
        self._decoder = Decoder(coding)
        if self._header(b"content-type").partition(";")[0].strip().lower() == "text/event-stream":
            self._mode = "events"
            if self._rules.on_partial == "pass":
                self._notes.append("partial images are passed without a watermark")
            await self._forward({**start, "headers": self._headers()})
            return
        told = self._header(b"content-length")
        if told.isdecimal() and int(told) > self._rules.max_bytes:
            await self._give_up(self._too_large())
            return
        guess = min(_USUAL_BYTES, self._rules.max_bytes)
        self._held = await self._room.take(int(told) if told.isdecimal() else guess)

    async def _body(self, chunk: bytes, more: bool) -> None:
        if self._mode == "none":  # no start: the server will complain
            await self._forward(_body(chunk, more=more))
        elif self._mode == "events":
            await self._stream(chunk, more)
        else:
            self._length += len(chunk)
            self._chunks.append(chunk)
            if self._length > self._rules.max_bytes:
                await self._give_up(self._too_large(), more=more)
                return
            self._hold(max(self._length, self._held))
            if not more:
                await self._finish()

    async def _give_up(self, refusal: Refusal, *, more: bool = True) -> None:
        """Refuse the answer, or pass it as it is where that is the rule."""
        if self._rules.fail == "closed" or refusal.code == _BY_URL:
            raise refusal
        log.warning("an answer is passed without a watermark: %s", refusal)
        self._notes.append(f"passed without a watermark: {refusal}")
        headers = [*self._start.get("headers", ()), *self._ours()]
        await self._forward({**self._start, "headers": headers})
        whole = b"".join(self._chunks)
        if whole or not more:
            await self._forward(_body(whole, more=more))
        self._chunks.clear()
        self._mode = "pass" if more else "over"

    async def _finish(self) -> None:
        raw = b"".join(self._chunks)
        self._chunks.clear()
        self._hold(len(raw))
        try:
            async with self._turns:  # what waits is held once, what is at work several times over
                data = await self._decoded(raw)
                body = await self._marked_body(data)
        except (Refusal, ValueError) as error:
            self._chunks.append(raw)
            await self._give_up(_unknown(error), more=False)
            return
        if body is data and not self._notes:
            await self._forward(self._start)
            await self._forward(_body(raw))
        else:
            length = (b"content-length", str(len(body)).encode())
            await self._forward({**self._start, "headers": [*self._headers(), length]})
            await self._forward(_body(body))
        self._mode = "over"

    async def _marked_body(self, data: bytes) -> bytes:
        """Return a body with its images watermarked; the same object where there is none."""
        if not data.strip():
            return data
        if format_by_prefix(data[:PREFIX_BYTES]) is not None:
            done = await self._mark("file", data)
            if done is None:
                return data
            self._done.append(done)
            return bytes(done.data)
        text = data.decode()
        scanned = await _scan(text)
        parts = await self._marked_parts(scanned)
        return replaced(text, parts) if parts else data

    async def _marked_parts(self, scanned: Scan) -> list[tuple[Found, str]]:
        """Return the images of a JSON text, watermarked.

        Raises:
            Refusal: if an image in it, or elsewhere, is not to leave.
        """
        if scanned.urls and self._rules.refuses_urls:
            raise Refusal(
                "the answer says where an image is instead of having it, and what is fetched there has no"
                " watermark: ask with response_format 'b64_json'",
                _BY_URL,
            )
        if scanned.urls:
            self._notes.append(f"{len(scanned.urls)} by URL, without a watermark")
        # NOTE: all of them, before one that fails is told: nothing is left at work when the answer is sent
        marking = [self._mark("text", image.value) for image in scanned.images]
        parts = []
        for image, done in zip(
            scanned.images, await asyncio.gather(*marking, return_exceptions=True), strict=True
        ):
            if isinstance(done, BaseException):
                raise done
            if done is not None:
                self._done.append(done)
                parts.append((image, str(done.data)))
        return parts

    async def _stream(self, chunk: bytes, more: bool) -> None:
        try:
            plain = await self._decoded(chunk)
        except ValueError as error:
            raise _unknown(error) from None
        events = self._splitter.feed(plain)
        self._hold_rest()
        if not more and (rest := self._splitter.rest()):
            events.append(rest)
        for event in events:
            if told := await self._marked_event(event):
                await self._forward(_body(told, more=True))
        if not more:
            await self._forward(_body(b""))
            self._mode = "over"

    async def _decoded(self, data: bytes) -> bytes:
        assert self._decoder is not None
        if len(data) < _LARGE or self._decoder.plain:
            return self._decoder.feed(data, self._rules.max_bytes)
        return await asyncio.to_thread(self._decoder.feed, data, self._rules.max_bytes)

    def _hold_rest(self) -> None:
        """Take room for what waits for the rest of its event, or refuse it."""
        waits = len(self._splitter)
        if waits > self._rules.max_bytes:
            raise self._too_large()
        self._hold(waits)

    def _hold(self, amount: int) -> None:
        """Take so much room in all, or refuse the answer: who holds some must not wait for more."""
        if amount > self._held and not self._room.take_now(amount - self._held):
            raise Refusal("too many answers are on their way: try again in a moment", "busy", again=True)
        if amount < self._held:
            self._room.give(self._held - amount)
        self._held = amount

    async def _marked_event(self, raw: bytes) -> bytes:
        """Return an event with its images watermarked, as it was where it has none; empty to leave it out."""
        try:
            event = Event.of(raw)
            if event.data is None or event.data.strip() in ("", "[DONE]"):
                return raw
            scanned = await _scan(event.data)
            if (scanned.kind or event.name).endswith("partial_image") and self._rules.on_partial != "mark":
                return raw if self._rules.on_partial == "pass" else b""
            parts = await self._marked_parts(scanned)
        except (Refusal, ValueError) as error:
            refusal = _unknown(error)
            if self._rules.fail == "closed" or refusal.code == _BY_URL:
                raise refusal from None
            log.warning("an event is passed without a watermark: %s", refusal)
            return raw
        return event.to_bytes(replaced(event.data, parts)) if parts else raw

    # ---- the work ----------------------------------------------------------------------------------------

    async def _mark(self, name: str, image: Any) -> Done | None:
        """Watermark an image; None where it is passed as it is.

        A client that leaves while its image waits takes its place with it; what is begun is ended, so that
        the registry's entry is.
        """
        try:
            async with self._slots:
                done: Done = await asyncio.shield(asyncio.ensure_future(self._crew.run(name, image)))
        except Exception as error:
            refusal = _failed(error)
            if self._rules.fail == "closed":
                raise refusal from None
            log.warning("an image is passed without a watermark: %s", refusal)
            self._notes.append(str(refusal))
            return None
        self._rules.tell(done.key_id, done.message)
        return done

    # ---- headers -----------------------------------------------------------------------------------------

    def _header(self, name: bytes) -> str:
        """Return a header's value; empty without one, several with commas."""
        values = [value for key, value in self._start.get("headers", ()) if key.lower() == name]
        return b", ".join(values).decode("latin-1").strip()

    def _headers(self) -> Headers:
        kept = [(key, value) for key, value in self._start.get("headers", ()) if key.lower() not in _STALE]
        return kept + self._ours()

    def _ours(self) -> Headers:
        """Return what is told of the images: their states, ids, and what has no watermark."""
        headers = []
        states = dict.fromkeys([*(one.state for one in self._done), *(["unmarked"] if self._notes else [])])
        if states:
            headers.append((b"fastmark-state", ", ".join(states).encode()))
        ids = [one.message for one in self._done if one.message is not None]
        if ids:
            headers.append((b"fastmark-id", ", ".join(ids).encode()))
        if self._notes:
            told = "; ".join(dict.fromkeys(self._notes))
            headers.append((b"fastmark-warning", told.encode("ascii", "replace")[:1000]))
        return headers

    def _too_large(self) -> Refusal:
        return Refusal(
            f"the answer has more than {self._rules.max_bytes} bytes: ask for fewer or smaller images",
            "answer_too_large",
        )


async def _scan(text: str) -> Scan:
    return await asyncio.to_thread(scan, text) if len(text) > _LARGE else scan(text)


def _unknown(error: Exception) -> Refusal:
    """Return the answer that tells why another was not read."""
    if isinstance(error, Refusal):
        return error
    why = "" if isinstance(error, UnicodeDecodeError) else f": {one_line(error)}"
    return Refusal(f"the answer is neither JSON nor an image{why}", "unknown_answer")


def _failed(error: Exception) -> Refusal:
    """Return the answer that tells why an image has no watermark; of errors not ours, without their words."""
    what = "the image was not watermarked"
    if isinstance(error, RegistryError):
        log.error("%s", one_line(error))  # where the registry is, is told to the operator alone
        return Refusal(f"{what}: the registry did not take it; try again later", "registry", again=True)
    if isinstance(error, FastmarkError):
        return Refusal(f"{what}: {one_line(error)}", "image_not_watermarked")
    log.error("%s while an image was watermarked", type(error).__name__)
    return Refusal(f"{what}: it takes too long, or fails within fastmark", "internal_error", again=True)


def _body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}
