"""Inputs of the nodes for ComfyUI: names of keys, messages, registries, images; and what is kept of them."""

from __future__ import annotations

import functools
import os
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastmark._checks import MESSAGE_BITS, parse_message, redacted
from fastmark.errors import (
    FastmarkError,
    InvalidImageError,
    InvalidMessageError,
    KeyFormatError,
    RegistryError,
    one_line,
)
from fastmark.integrations.marking import first_image
from fastmark.integrations.named_keys import names
from fastmark.integrations.tensors import to_arrays

if TYPE_CHECKING:
    from fastmark.codec.key import AnyKey, Key
    from fastmark.codec.public import PublicCode
    from fastmark.detector import Detector
    from fastmark.registry.store import Registry
    from fastmark.results import Detection
    from fastmark.watermarker import Watermarker

RANDOM, NO_REGISTRY, REGISTRY = "random", "none", "env:FASTMARK_REGISTRY"
_BITS = [64, *(bits for bits in MESSAGE_BITS if bits != 64)]


# ---- the widgets -----------------------------------------------------------------------------------------


def key_input() -> tuple[list[str], dict[str, str]]:
    """Describe the input of a key: a list of names."""
    return names(), {"tooltip": "Name of a key on the machine that runs ComfyUI; never the key itself."}


def bits_input() -> tuple[list[int], dict[str, str]]:
    """Describe the input of a message's length."""
    return _BITS, {"tooltip": "Length of messages, the same where they are embedded and where they are read."}


def valid(*checks: Callable[[], object]) -> bool | str:
    """Return True, or what the first check that fails says: ComfyUI shows it before anything runs."""
    try:
        for check in checks:
            check()
    except FastmarkError as error:
        return one_line(error)
    return True


def check_texts(**texts: Any) -> None:
    """Raise KeyFormatError if a text may be a key, without repeating it."""
    for name, text in texts.items():
        if isinstance(text, str) and (redacted(text) != text or "{" in text):
            raise KeyFormatError(
                f"{name} looks like the text of a key, and is not shown: take it out, and choose the key by"
                " its name; if the workflow or an image was saved with it, make a new key (fastmark keygen)"
            )


def check_registry(registry: Any) -> str:
    """Return how a registry is named; raise RegistryError, without repeating it, for anything else."""
    if registry in (NO_REGISTRY, REGISTRY):
        return str(registry)
    raise RegistryError(
        f"registry must be {NO_REGISTRY} or {REGISTRY}, a variable that holds its URL; the value is not"
        " shown, in case it holds a password"
    )


def registry_of(registry: str) -> Registry | None:
    """Return the registry of that name."""
    if registry == NO_REGISTRY:
        return None
    variable = registry.removeprefix("env:")
    url = os.environ.get(variable)
    if not url:
        raise RegistryError(f"the environment variable {variable} is not set: let it hold the registry's URL")
    return _opened(url)


@functools.lru_cache(maxsize=2)
def _opened(url: str) -> Registry:
    from fastmark.registry import Registry

    return Registry(url)


def public_of(flags: str) -> PublicCode | None:
    """Return the public watermark that has these flags; None for none."""
    from fastmark.codec.public import PublicCode

    return PublicCode.of(flags) if flags.strip() else None


def messages_in(text: str, bits: int) -> list[bytes]:
    """Return the messages that a text names; none where it is random.

    Raises:
        InvalidMessageError: if one does not fit, or there is none.
    """
    if text.strip() == RANDOM:
        return []
    parts = [part.strip() for part in text.replace("\n", ",").split(",")]
    if messages := [parse_message(part, bits) for part in parts if part]:
        return messages
    raise InvalidMessageError(f"there is no message: give one for all images, one for each, or {RANDOM}")


def messages_of(text: str, bits: int, count: int, *, registered: bool) -> Callable[[], bytes] | None:
    """Return what gives the message of each of ``count`` images; None where the registry draws it.

    Raises:
        InvalidMessageError: as :func:`messages_in`; if there are neither one nor ``count`` messages.
    """
    messages = messages_in(text, bits)
    if not messages:
        return None if registered else functools.partial(secrets.token_bytes, bits // 8)
    if len(messages) not in (1, count):
        raise InvalidMessageError(
            f"{len(messages)} messages for {count} images: give one for all, one for each with commas between"
            f" them, or {RANDOM}"
        )
    return iter(messages * (count if len(messages) == 1 else 1)).__next__


def finite_images(image: Any) -> NDArray[np.float32]:
    """Return the images of a batch; raise InvalidImageError if one holds NaN or infinity."""
    arrays = to_arrays(image, "NHWC", signed=False, what="the input image")
    if np.isnan(arrays).any():
        raise InvalidImageError("the input image holds NaN or infinity: look at the node that made it")
    return arrays


def verdict(found: Detection, public: str) -> str:
    """Say in words what was found; ``public`` is what the public watermark says."""
    said = f"{found.state}: {found.note}"
    if found.detected:
        said += f" Message: {found.message_hex or 'not readable'}. p-value: 1e{found.log10_p:.0f}."
    return f"{said} The public watermark says: {public}." if public else said


# ---- what is kept from run to run ------------------------------------------------------------------------


@functools.lru_cache(maxsize=4)
def marker_of(key: Key, bits: int, strength: float) -> Watermarker:
    """Return the watermarker of a key."""
    from fastmark.watermarker import Watermarker

    return Watermarker(key, bits, strength)


@functools.lru_cache(maxsize=4)
def detector_of(key: AnyKey, bits: int) -> Detector:
    """Return the detector of a key."""
    from fastmark.detector import Detector

    return Detector(key, bits)


first_of = functools.cache(functools.partial(first_image, "ComfyUI"))
"""What tells how to check the first image that has messages of a length."""
