"""Every error fastmark raises on purpose: one root, one line of text that says what to do."""

from __future__ import annotations


class FastmarkError(Exception):
    """Root of all errors raised by fastmark."""


def one_line(error: BaseException) -> str:
    """What an error says, without line breaks."""
    return " ".join(str(error).split())


def reason_of(error: BaseException) -> str:
    """Why something failed, in a few words: of an OSError the system's, without the path."""
    return getattr(error, "strerror", None) or one_line(error) or type(error).__name__


class KeyFormatError(FastmarkError, ValueError):
    """A key file or key value is damaged, of an unknown version, or not a key at all."""


class InvalidMessage(FastmarkError, ValueError):
    """The message does not fit the watermarker's ``message_bits``."""


class InvalidImage(FastmarkError, ValueError):
    """The picture cannot be read: truncated, hostile, zero-sized, not finite, of a wrong shape."""


class UnsupportedImage(InvalidImage):
    """The picture is readable but of a kind that is refused: animated, CMYK, palette."""


class ImageTooSmall(FastmarkError, ValueError):
    """The picture has too few pixels to carry a mark."""


class ImageTooFlat(FastmarkError, ValueError):
    """The picture was tried, and cannot carry the mark with a provable margin."""


class OutputError(FastmarkError, OSError):
    """The output cannot be written: exists already, unknown format, folder missing."""


class SourceError(FastmarkError, OSError):
    """A source of many pictures cannot be opened: missing, of no known kind, without a column of pictures."""


class MissingPackage(FastmarkError, ImportError):
    """An optional package is needed for what was asked, and not installed."""
