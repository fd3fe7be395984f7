"""PyTorch: any dataset without the images that are not to be trained on.

>>> from fastmark.integrations.torch import kept
>>> loader = DataLoader(kept(dataset, "trainable"), batch_size=32, num_workers=4)  # doctest: +SKIP
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

from fastmark._checks import MAX_PIXELS_EACH
from fastmark._imports import package
from fastmark.errors import IntegrationError
from fastmark.integrations.collecting import Errors, Keys, Look, Rule, What

Where = str | int | None


def kept(
    dataset: Any,
    what: What = "trainable",
    keys: Keys = (),
    *,
    public: bool = True,
    drop: Iterable[str] | None = None,
    errors: Errors = "drop",
    image: Where = None,
    message_bits: int = 64,
    deep: bool = False,
    max_pixels: int = MAX_PIXELS_EACH,
) -> Any:
    """Return an ``IterableDataset`` with the samples of a dataset that are kept, in its order.

    It is for a ``DataLoader`` with any number of workers, started in any way. An iterable dataset shares its
    samples out among them by itself, as ever; of a dataset with indices, each worker takes its own. How many
    samples are kept is not known before, so it has no length; shuffle before it.

    Args:
        dataset: an iterable dataset, or one with ``__len__`` and ``__getitem__``.
        what: "trainable": samples without a watermark of ``keys``, whose public watermark says none of
            ``drop``; "unmarked": without any watermark; "marked": with one.
        keys: one or more keys, detector keys, or places of keys ("my.key", "env:NAME").
        public: look for the public watermark.
        drop: flags of the public watermark that leave a sample out of what is trainable; by default
            "ai-generated", "do-not-train" and "do-not-train-generative". A public watermark that is there
            and cannot be read leaves it out too.
        errors: images that cannot be looked at are left out ("drop"), kept ("keep"), or end the run
            ("raise").
        image: where in a sample its image is: the key of a dict, the index of a tuple; None where the sample
            is the image. It may be encoded bytes, a path, a Pillow image, an array, or a tensor of C, H, W
            in 0..255 or 0..1: filter before images are scaled down or normalised.
        message_bits: length of the messages to look for: 16, 32, 64, 96 or 128.
        deep: search longer, for images that somebody tried to clean; slow.
        max_pixels: images with more pixels than this are not decoded but are errors.

    Raises:
        KeyFormatError: if there is nothing to look for, or a file is no key; KeyNotFoundError if it is
            missing.
        InvalidMessageError: if ``message_bits`` is none of those lengths.
        TypeError: if one of ``keys`` is none, or the dataset cannot be iterated over.
        ValueError: if ``what``, ``drop`` or ``errors`` is none that is possible.
        MissingPackageError: without torch.
    """
    rule = Rule.of(what, public, drop, errors)
    look = Look.of(keys, public, message_bits, deep, max_pixels)
    if not hasattr(dataset, "__iter__") and not _has_indices(dataset):
        raise TypeError(f"a {type(dataset).__name__} is no dataset: it has neither __iter__ nor indices")
    return _kept(dataset, look, rule, image)


def _kept(dataset: Any, look: Look, rule: Rule, image: Where) -> Any:
    return _class()(dataset, look, rule, image)


@functools.cache
def _class() -> Any:
    """The class of :func:`kept`, once torch is there to inherit from."""
    data = package("torch.utils.data", "a filter for PyTorch", "torch")
    base: Any = data.IterableDataset

    class Kept(base):  # type: ignore[misc]  # types are checked without torch
        """The samples of a dataset that are kept."""

        def __init__(self, dataset: Any, look: Look, rule: Rule, image: Where) -> None:
            super().__init__()
            self.dataset = dataset
            self._look, self._rule, self._image = look, rule, image

        def __reduce__(self) -> tuple[Any, ...]:
            return _kept, (self.dataset, self._look, self._rule, self._image)

        def __iter__(self) -> Iterator[Any]:
            for sample in _samples(self.dataset, data):
                if self._rule.keeps(self._look(_image(sample, self._image))):
                    yield sample

    return Kept


def _samples(dataset: Any, data: Any) -> Iterator[Any]:
    """The samples of a dataset, or the share of this worker."""
    if isinstance(dataset, data.IterableDataset) or not _has_indices(dataset):
        yield from dataset
        return
    worker = data.get_worker_info()
    first, step = (worker.id, worker.num_workers) if worker else (0, 1)
    for i in range(first, len(dataset), step):
        yield dataset[i]


def _has_indices(dataset: Any) -> bool:
    return hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")


def _image(sample: Any, where: Where) -> Any:
    """The image of a sample."""
    if where is None:
        if isinstance(sample, dict | tuple | list):
            names = list(sample) if isinstance(sample, dict) else list(range(len(sample)))
            raise IntegrationError(
                f"a sample is a {type(sample).__name__}: name its image with image=..., one of {names}"
            )
        return sample
    try:
        found = sample[where]
    except (KeyError, IndexError, TypeError):
        has = f"{list(sample)}" if isinstance(sample, dict) else f"a {type(sample).__name__}"
        raise IntegrationError(f"a sample has no {where!r}, it is or has {has}: name its image") from None
    if isinstance(found, dict) and {"bytes", "path"} & set(found):  # of Hugging Face's datasets
        return found.get("path") if found.get("bytes") is None else found["bytes"]
    return found
