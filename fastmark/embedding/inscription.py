"""What one key writes into an image; two keys may write into one at once."""

from __future__ import annotations

from dataclasses import dataclass

from fastmark.detection.detector import KeyDetector


@dataclass(frozen=True, slots=True)
class Inscription:
    """A message to be embedded with one key.

    Attributes:
        detector: of the key, and of messages of that length.
        message: its bytes.
        name: what warnings and errors call the watermark; "" for that of the caller's own key.
    """

    detector: KeyDetector
    message: bytes
    name: str = ""

    @property
    def message_bits(self) -> int:
        """Length of the message."""
        return self.detector.code.message_bits

    def told(self, text: str) -> str:
        """Return a text about the watermark, with its name."""
        return f"{self.name}: {text}" if self.name else text

    def is_read_as(self, message: int | None) -> bool:
        """Whether a message that was read, if any, is this one."""
        return message == int.from_bytes(self.message, "big")
