"""Errors as image servers tell them, in the shape of OpenAI's API."""

from __future__ import annotations

import json


class Refusal(Exception):  # noqa: N818  # no error of this program: an answer
    """An answer that is sent in place of one whose images would have left without a watermark.

    Attributes:
        code: a word for programs, as ``image_not_watermarked``.
        status: HTTP's status code.
        again: whether the same request may succeed later; clients then ask again by themselves.
    """

    def __init__(self, message: str, code: str, *, status: int = 502, again: bool = False) -> None:
        """Keep all that; ``message`` says what happened, then what to do."""
        super().__init__(message)
        self.code, self.status, self.again = code, status, again

    def to_dict(self) -> dict[str, object]:
        """Return the error as OpenAI's clients read it."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": None, "code": self.code}}

    def body(self) -> bytes:
        """Return the body of an answer."""
        return json.dumps(self.to_dict()).encode()

    def event(self) -> bytes:
        """Return the event that ends a stream."""
        told = json.dumps({"type": "error"} | self.to_dict())
        return f"event: error\ndata: {told}\n\n".encode()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers of an answer.

        ``x-should-retry`` is read by OpenAI's clients, which ask three times else: images that cannot be
        watermarked would be made three times.
        """
        return [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self.body())).encode()),
            (b"cache-control", b"no-store"),
            (b"x-should-retry", b"true" if self.again else b"false"),
        ]
