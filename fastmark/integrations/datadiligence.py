"""Spawning's ``datadiligence``: an evaluator that reads opt-outs in pixels, which survive screenshots.

>>> import datadiligence as dd
>>> from fastmark.integrations.datadiligence import register
>>> register()  # doctest: +SKIP
>>> dd.is_allowed(name="fastmark", path="photo.jpg")  # doctest: +SKIP
False

An image is not allowed where

- its public watermark says "do-not-train", or for generative models "do-not-train-generative", or is there
  and cannot be read;
- it carries a watermark of a given key;
- its metadata forbid it: ``plus:DataMining`` in XMP (``DMI-PROHIBITED...``), ``cawg.training-mining`` and
  ``c2pa.training-mining`` in content credentials, whoever signed them. Of content credentials, what forbids
  to train any model counts for every use. ``datadiligence`` itself reads the last of these alone.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fastmark._checks import MAX_PIXELS_EACH
from fastmark._imports import package
from fastmark.errors import CredentialError, FastmarkError, IntegrationError, InvalidImageError, reason_of
from fastmark.images.reading import most_bytes, read_encoded, too_large
from fastmark.integrations.collecting import ERROR, STATE, Keys, Look, Rule

Use = Literal["generative", "other"]
Errors = Literal["refuse", "allow", "raise"]

NAME = "fastmark"
"""The evaluator's name."""

_OF_USE = {"generative": ("do-not-train", "do-not-train-generative"), "other": ("do-not-train",)}
_ONLY_GENERATIVE = "DMI-PROHIBITED-GENAIMLTRAINING"
_SECONDS = 10.0  # as datadiligence waits for a server


def register(
    keys: Keys = (),
    *,
    use: Use = "generative",
    errors: Errors = "refuse",
    public: bool = True,
    metadata: bool = True,
    name: str = NAME,
    everywhere: bool = False,
    overwrite: bool = False,
    user_agent: str | None = None,
    message_bits: int = 64,
    deep: bool = False,
    max_pixels: int = MAX_PIXELS_EACH,
) -> Any:
    """Make an evaluator, register it with ``datadiligence``, and return it.

    Args:
        keys: one or more keys, detector keys, or places of keys ("my.key", "env:NAME"), whose images are not
            allowed.
        use: what for: a "generative" model, or an "other" one.
        errors: images that cannot be read are not allowed ("refuse"), allowed ("allow"), or an error
            ("raise"); likewise where their metadata are damaged.
        public: whether the public watermark counts.
        metadata: whether opt-outs in metadata count.
        name: for ``datadiligence.is_allowed(name=...)``.
        everywhere: whether calls without a name ask it too: those with ``path=``, ``url=`` and
            ``response=``, which other evaluators of ``datadiligence`` answer.
        overwrite: whether it may take the place of an evaluator of that name.
        user_agent: that URLs are fetched with.
        message_bits: length of the messages of the keys: 16, 32, 64, 96 or 128.
        deep: search longer, for images that somebody tried to clean; slow.
        max_pixels: images with more pixels than this are not decoded but are errors.

    Raises:
        KeyFormatError: if there is nothing to look for, or a file is no key; KeyNotFoundError if it is
            missing.
        InvalidMessageError: if ``message_bits`` is none of those lengths.
        TypeError: if one of ``keys`` is none.
        ValueError: if ``use`` or ``errors`` is none that is possible.
        MissingPackageError: without datadiligence.
    """
    library: Any = package("datadiligence", "an evaluator for datadiligence", "datadiligence")
    look = Look.of(keys, public, message_bits, deep, max_pixels)
    for value, possible in ((use, get_args(Use)), (errors, get_args(Errors))):
        if value not in possible:
            raise ValueError(f"{value!r} is not possible: choose from {', '.join(possible)}")
    made = _made(_Judge(look, use, errors, metadata), user_agent)
    library.register_evaluator(made, name=name, overwrite=overwrite)
    if everywhere:
        for other in ("file", "postprocess"):
            evaluator = library.get_evaluator(other)
            evaluator.rules = [rule for rule in evaluator.rules if not isinstance(rule, _class())]
            evaluator.add_rule(made)
    return made


@dataclass(frozen=True, slots=True)
class _Judge:
    """Whether encoded images are allowed; options as of :func:`register`."""

    look: Look
    use: Use
    errors: Errors
    metadata: bool

    def allows(self, image: Callable[[], bytes | str | os.PathLike[str]]) -> bool:
        """Whether an image is allowed.

        Args:
            image: returns the encoded image or its path, or raises InvalidImageError.

        Raises:
            FastmarkError: if it cannot be read, and that is to be an error.
        """
        try:
            data = read_encoded(image(), self.look.max_pixels)
            if self.metadata and self._opted_out(data):
                return False
            columns = self.look(data)
            if columns[STATE] == "error":
                raise InvalidImageError(columns[ERROR])
        except (InvalidImageError, CredentialError):
            if self.errors == "raise":
                raise
            return self.errors == "allow"
        return Rule("trainable", self.look.public, _OF_USE[self.use]).keeps(columns)

    def _opted_out(self, data: bytes) -> bool:
        """Whether metadata forbid the use."""
        from fastmark.provenance import credentials, plain, xmp

        packet = plain.metadata_of(data).xmp
        if packet is not None:
            label = xmp.read(packet)
            if label.opted_out and (self.use == "generative" or label.data_mining != _ONLY_GENERATIVE):
                return True
        if plain.c2pa_present(data):
            credential = credentials.read(data)
            return credential is not None and credential.opted_out
        return False


def _made(judge: _Judge, user_agent: str | None) -> Any:
    return _class()(judge, user_agent)


@functools.cache
def _class() -> Any:
    """The evaluator's class, once ``datadiligence`` is there to inherit from."""
    evaluators: Any = package("datadiligence.evaluators", "an evaluator for datadiligence", "datadiligence")
    rules: Any = package("datadiligence.rules", "an evaluator for datadiligence", "datadiligence")

    class Fastmark(evaluators.Evaluator, rules.Rule):  # type: ignore[misc]  # types are checked without it
        """Evaluator, and a rule of others, that reads opt-outs in pixels and metadata."""

        name = NAME

        def __init__(self, judge: _Judge, user_agent: str | None) -> None:
            super().__init__()
            self._judge, self._user_agent = judge, user_agent

        def __reduce__(self) -> tuple[Any, ...]:
            return _made, (self._judge, self._user_agent)

        def is_ready(self) -> bool:
            """Whether it can be asked: always."""
            return True

        def is_allowed(
            self,
            path: str | os.PathLike[str] | None = None,
            url: str | None = None,
            body: bytes | None = None,
            response: Any = None,
            urls: Iterable[str] | None = None,
            paths: Iterable[str | os.PathLike[str]] | None = None,
            **other: Any,
        ) -> bool | list[bool]:
            """Whether an image may be used; of ``urls`` or ``paths``, a list.

            Args:
                path: of a file.
                url: which is fetched, unless there are ``body`` or ``response``.
                body: the encoded image.
                response: of ``requests``; its content is the image.
                urls: several.
                paths: several.
                other: as ``headers``, which say nothing of pixels: with these alone, the image is allowed.

            Raises:
                ValueError: without any.
                IntegrationError: for a response of ``http.client``, whose body can be read only once.
                FastmarkError: if an image cannot be read, and that is to be an error.
            """
            if paths is not None:
                return [bool(self.is_allowed(path=one)) for one in paths]
            if urls is not None:
                return [bool(self.is_allowed(url=one)) for one in urls]
            if body is not None:
                return self._judge.allows(lambda: body)
            if response is not None:
                return self._judge.allows(lambda: _content(response))
            if path is not None:
                return self._judge.allows(lambda: path)
            if url is not None:
                limit = most_bytes(self._judge.look.max_pixels)
                return self._judge.allows(lambda: _fetched(url, self._user_agent, limit))
            if not other:
                raise ValueError("there is no image: give path, url, body, response, paths or urls")
            return True

        def filter_allowed(
            self,
            urls: Iterable[str] | None = None,
            paths: Iterable[str | os.PathLike[str]] | None = None,
            **other: Any,
        ) -> list[Any]:
            """Return those of ``urls`` or ``paths`` that may be used."""
            if urls is not None:
                return [one for one in urls if self.is_allowed(url=one)]
            return [one for one in paths or () if self.is_allowed(path=one)]

    return Fastmark


# ---- bytes -------------------------------------------------------------------------------------------------


def _content(response: Any) -> bytes:
    content = getattr(response, "content", None)
    if not isinstance(content, bytes):
        raise IntegrationError(
            f"the body of a {type(response).__name__} can be read only once: read it, and give it as body=..."
        )
    if response.status_code != 200:
        raise InvalidImageError(f"the server answered {response.status_code}: there is no image")
    return content


def _fetched(url: str, user_agent: str | None, limit: int) -> bytes:
    requests: Any = package("requests", "fetching images", "datadiligence")
    headers = {"User-Agent": user_agent} if user_agent else {}
    try:
        with requests.get(url, headers=headers, timeout=_SECONDS, stream=True) as response:
            if response.status_code != 200:
                raise InvalidImageError(f"the server answered {response.status_code}: there is no image")
            parts, size = [], 0
            for part in response.iter_content(1 << 16):
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise InvalidImageError(too_large(size, limit))
            return b"".join(parts)
    except (OSError, ValueError) as error:  # those of requests are of these
        if isinstance(error, FastmarkError):
            raise
        raise InvalidImageError(f"the URL cannot be fetched: {reason_of(error)}") from None
