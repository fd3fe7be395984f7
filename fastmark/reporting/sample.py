"""Which images a report is about: those that are named, or a sample of them, and what was left out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from fastmark.bulk.records import Entry, Item
from fastmark.bulk.sources import check_sources, entries, named
from fastmark.bulk.storage import is_url, printable
from fastmark.bulk.walk import Walk
from fastmark.errors import SourceError

AnyPath: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image that is not among the figures.

    Attributes:
        name: as it is shown.
        reason: why, without its name.
        state: "error" where it could not be read, "refused" where it cannot carry the watermark or carries
            it already, "passed over" where it was not looked at.
    """

    name: str
    reason: str
    state: str


@dataclass(slots=True)
class Sample:
    """The images of a report.

    Attributes:
        items: those to be measured, in the order of the sources.
        names: what each is called, by its ``source``: relative to the folder that was named.
        found: how many images there were, before any were drawn.
        drawn: whether only some of them are in the sample.
        left_out: those that were passed over, and why.
        other_files: how many files were no images.
    """

    items: list[Item] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    found: int = 0
    drawn: bool = False
    left_out: list[LeftOut] = field(default_factory=list)
    other_files: int = 0

    def others(self) -> dict[str, str]:
        """Pair each image with the next one, to which its watermark is copied; the last with the first."""
        paths = [item.path for item in self.items]
        if len(paths) < 2:
            return {}
        pairs = zip(self.items, paths[1:] + paths[:1], strict=True)
        return {item.source: path for item, path in pairs if path is not None}


def choose(
    sources: AnyPath | Sequence[AnyPath],
    lists: AnyPath | Sequence[AnyPath] = (),
    *,
    size: int | None = None,
    seed: int = 0,
) -> Sample:
    """List the images of the sources, and draw some of them if ``size`` is given.

    The rule of drawing: the images whose ``BLAKE2b(seed, name)`` are least. So a sample does not depend on
    the order of files, and hardly changes when some are added.

    Args:
        sources: images, folders, and text files of paths ending in .txt or .lst.
        lists: text files of any name with a path per line; "-" is standard input.
        size: how many images are drawn; None for all.
        seed: of the drawing.

    Raises:
        SourceError: for a source of no known kind, or a URL; if there are none.
        SourceNotFoundError: for one that is missing.
    """
    given = named(sources, lists)
    for one in given:
        if is_url(one.path):
            raise SourceError(
                f"{printable(one.path)}: reports are of files on this machine: download it first"
            )
    check_sources(given)
    sample, walk, seen = Sample(), Walk(), set[str]()
    folders = [Path(one.path).absolute() for one in given if Path(one.path).is_dir()]
    for entry in entries(given, walk):
        name = _shown(entry.path, folders)
        if entry.kind == "error":
            sample.left_out.append(LeftOut(name, nameless(entry.error, entry.path), "error"))
        elif entry.is_shard:
            reason = "images in tars and Parquet files are not measured: unpack them"
            sample.left_out.append(LeftOut(name, reason, "passed over"))
        elif is_url(entry.path):
            sample.left_out.append(LeftOut(name, "it is not a file on this machine", "passed over"))
        elif (place := os.path.realpath(entry.path)) in seen:
            sample.left_out.append(LeftOut(name, "the same file is in the sample already", "passed over"))
        else:
            seen.add(place)
            _take(sample, entry, name)
    for name in walk.unopened:
        reason = "it is an archive of a kind that is not opened: unpack it"
        sample.left_out.append(LeftOut(_shown(name, folders), reason, "passed over"))
    more = walk.unopened_count - len(walk.unopened)
    if more:
        sample.left_out.append(LeftOut(f"{more} more archives", "archives are not opened", "passed over"))
    sample.found, sample.other_files = len(sample.items), walk.others
    if size is not None and size < sample.found:
        sample.drawn = True
        chosen = {id(one) for one in sorted(sample.items, key=lambda one: _rank(one, sample, seed))[:size]}
        sample.items = [one for one in sample.items if id(one) in chosen]
    _stamp_with_others(sample)
    return sample


def _take(sample: Sample, entry: Entry, name: str) -> None:
    source = printable(entry.path)
    sample.items.append(Item(source, stamp=entry.stamp, path=entry.path, size=entry.size))
    sample.names[source] = name


def _stamp_with_others(sample: Sample) -> None:
    """Let the stamp of an image change with that of the one that its watermark is copied to."""
    stamps = {item.path: item.stamp for item in sample.items}
    others = sample.others()
    sample.items = [
        Item(
            item.source,
            stamp=f"{item.stamp} {others.get(item.source, '')} {stamps.get(others.get(item.source), '')}",
            path=item.path,
            size=item.size,
        )
        for item in sample.items
    ]


def _rank(item: Item, sample: Sample, seed: int) -> tuple[bytes, str]:
    name = sample.names[item.source]
    return hashlib.blake2b(f"{seed} {name}".encode(), digest_size=16).digest(), item.source


def _shown(path: str, folders: Sequence[Path]) -> str:
    """Name a file below the folder that was named, with that folder's own name; alone by its name."""
    place = Path(path).absolute()
    above = [folder for folder in folders if place.is_relative_to(folder)]
    if not above:
        return printable(place.name)
    folder = max(above, key=lambda one: len(one.parts))
    return printable(str(Path(folder.resolve().name) / place.relative_to(folder)))


def nameless(reason: str, path: str) -> str:
    """Return an error's text without the path that it begins with, or has in it."""
    shown, name = printable(path), printable(Path(path).name)
    reason = reason.replace("the image data", "it")
    if "." not in name:  # it may be any word
        return reason.removeprefix(f"{shown}: ")
    reason = reason.removeprefix(f"{shown}: ").removeprefix(f"{shown} ")
    return reason.replace(shown, "it").replace(name, "it")
