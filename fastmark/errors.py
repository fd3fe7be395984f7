"""Every error fastmark raises on purpose: one root, one line of text that says what to do."""

from __future__ import annotations

import errno
import warnings
from typing import Any


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


class InvalidMessageError(FastmarkError, ValueError):
    """The message does not fit the watermarker's ``message_bits``."""


class InvalidImageError(FastmarkError, ValueError):
    """The image cannot be read: truncated, hostile, zero-sized, not finite, of a wrong shape."""


class UnsupportedImageError(InvalidImageError):
    """The image is readable but of a kind that is refused: animated, CMYK, palette."""


class ImageTooSmallError(FastmarkError, ValueError):
    """The image has too few pixels to carry a mark."""


class ImageTooFlatError(FastmarkError, ValueError):
    """The image was tried, and cannot carry the mark with a provable margin."""


class RecordError(FastmarkError, ValueError):
    """A record of an image has a value that it cannot have."""


class RegistryError(FastmarkError):
    """A registry cannot be reached, is of another version, or does not have what is asked of it."""


class IdTakenError(RegistryError):
    """The message that was to be embedded is the id of another image already."""


class CredentialError(FastmarkError):
    """Provenance metadata cannot be written or read: a certificate, key, manifest or XMP is not in order."""


class ServiceError(FastmarkError):
    """The service cannot start: a setting, a token file or a key of reports is not in order."""


class IntegrationError(FastmarkError):
    """Another program cannot be joined to fastmark as asked: it makes no images, or is joined already."""


class ReportError(FastmarkError, ValueError):
    """A signed report is damaged, or none of the keys that were given signed it."""


class AlreadyMarkedError(FastmarkError, ValueError):
    """The image carries a watermark of this key already, which was to be respected or could not be replaced.

    Attributes:
        message: of that watermark; None where it is not readable.
        message_hex: the same as hex digits.
    """

    def __init__(self, text: str, message_hex: str | None = None) -> None:
        """Say what happened, and keep the message that was found."""
        super().__init__(text, message_hex)  # both, to be pickled
        self.message = None if message_hex is None else int(message_hex, 16)
        self.message_hex = message_hex

    def __str__(self) -> str:
        """Return the text alone."""
        return str(self.args[0])


class OutputError(FastmarkError, OSError):
    """The output cannot be written: exists already, unknown format, folder missing."""


class SourceError(FastmarkError, OSError):
    """A source of many images cannot be opened: missing, of no known kind, without a column of images."""


class MissingPackageError(FastmarkError, ImportError):
    """An optional package is needed for what was asked, and not installed."""


class _NotFoundError(FileNotFoundError):
    """A FileNotFoundError of one line of text that has the ``errno`` its callers look at."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.errno = errno.ENOENT


class ImageNotFoundError(InvalidImageError, _NotFoundError):
    """There is no image file of that name."""


class KeyNotFoundError(KeyFormatError, _NotFoundError):
    """There is no key file of that name."""


class SourceNotFoundError(SourceError, _NotFoundError):
    """There is no file or folder of that name."""


# The names of before 0.2, which did not all end in Error; they go with 0.3.
_OLD_NAMES = {
    "InvalidImage": InvalidImageError,
    "UnsupportedImage": UnsupportedImageError,
    "ImageTooSmall": ImageTooSmallError,
    "ImageTooFlat": ImageTooFlatError,
    "InvalidMessage": InvalidMessageError,
    "MissingPackage": MissingPackageError,
}


def old_name(name: str, stacklevel: int) -> Any:
    """Give an error by its old name, with a DeprecationWarning at ``stacklevel``."""
    warnings.warn(
        f"{name} is now {name}Error; the old name goes with fastmark 0.3", DeprecationWarning, stacklevel
    )
    return _OLD_NAMES[name]


def __getattr__(name: str) -> Any:
    """Give errors by their old names."""
    if name not in _OLD_NAMES:
        raise AttributeError(f"module 'fastmark.errors' has no attribute {name!r}")
    return old_name(name, 3)
