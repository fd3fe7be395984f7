"""A report: the figures of a user's own images and key, as JSON values and as one page."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from fastmark.codec.key import Key
from fastmark.records import format_time
from fastmark.reporting import figures
from fastmark.reporting.page import page_of
from fastmark.reporting.sample import LeftOut, Sample
from fastmark.reporting.trials import rounded
from fastmark.reporting.words import MEASURES

SCHEMA = 1
"""Of the JSON: while it stays, names may be added, but none is removed or gets another meaning."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """What the watermark does to some images, and what is left of it: all figures, as JSON values.

    Attributes:
        made: when, with which versions, on which machine.
        key: its id and name; never the secret.
        settings: strength, length of the messages, attacks, keys drawn anew, seed.
        sample: which images: how many, how they were chosen, formats, sizes; who was left out, and why.
        quality: PSNR (dB), SSIM, SSIMULACRA2 (None without its package): mean, 5th percentile and worst.
        survival: by attack, group, size and kind of image: shares with Wilson intervals of 95 %.
        copies: of watermarks that were copied to other pictures: what is said of those.
        null: of unmarked images searched for keys drawn anew: trials, counts, Clopper-Pearson bounds of 95 %.
        measures: which of these figures help with which measure of the EU's Code of Practice.
        images: each image by itself, in the order of the sources.
    """

    made: dict[str, Any]
    key: dict[str, str]
    settings: dict[str, Any]
    sample: dict[str, Any]
    quality: dict[str, Any]
    survival: dict[str, Any]
    copies: list[dict[str, Any]]
    null: dict[str, Any]
    measures: list[dict[str, Any]]
    images: list[dict[str, Any]]

    @classmethod
    def of(
        cls, rows: Sequence[Row], chosen: Sample, key: Key, settings: dict[str, Any], machine: dict[str, Any]
    ) -> Self:
        """Make the figures of measured images.

        Args:
            rows: one for each, at least one, as ``trials.ReportWorker`` makes them, with a ``name``.
            chosen: the sample they are of, and who was left out.
            key: of the watermarks.
            settings: what was asked for.
            machine: versions and processor.
        """
        settings = dict(settings)
        begun, anonymous = settings.pop("begun"), settings["anonymous"]
        left_out = list(chosen.left_out)
        if anonymous:
            rows, left_out = _without_names(rows), _numbered(left_out)
        extent, keys = settings["attacks"], settings["null_keys"]
        return cls(
            made={"begun": begun, "ended": format_time(dt.datetime.now(dt.UTC)), **machine},
            key={"id": key.id, "name": key.name},
            settings=settings,
            sample=_definition(rows, chosen, left_out, settings),
            quality=figures.quality(rows),
            survival=figures.survival(rows, extent),
            copies=figures.copies(rows, extent),
            null=figures.null(rows, extent, keys),
            measures=[dict(one) for one in MEASURES],
            images=[_image(number, row) for number, row in enumerate(rows, 1)],
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the report that :meth:`to_dict` gave, as read back from JSON.

        Raises:
            ValueError: if it is of another schema, or no report.
        """
        if values.get("schema") != SCHEMA:
            raise ValueError(f"a report of schema {SCHEMA} is needed, not {values.get('schema')!r}")
        try:
            return cls(**{field.name: values[field.name] for field in dataclasses.fields(cls)})
        except KeyError as error:
            raise ValueError(f"this is no report: it has no {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, with the number of the ``schema``."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"schema": SCHEMA, "kind": "fastmark report", **fields}

    def to_html(self) -> str:
        """Return one page that needs nothing else: no script, no picture, no address."""
        return page_of(self.to_dict())


def _definition(
    rows: Sequence[Row], chosen: Sample, left_out: Sequence[LeftOut], settings: dict[str, Any]
) -> dict[str, Any]:
    """Return how the sample is defined."""
    pixels = [row["width"] * row["height"] / 1e6 for row in rows]
    parts = Counter(figures.size_of(row) for row in rows)
    rule = "all images that were named"
    if chosen.drawn:
        rule = (
            f"{len(chosen.items)} of {chosen.found} images that were named, drawn at random without"
            f" replacement: those whose BLAKE2b hash of seed {settings['seed']} and name is least"
        )
    return {
        "found": chosen.found,
        "chosen": len(chosen.items),
        "measured": len(rows),
        "rule": rule,
        "drawn": chosen.drawn,
        "other_files": chosen.other_files,
        "formats": [
            {"format": name, "images": count}
            for name, count in Counter(row["format"] for row in rows).most_common()
        ],
        "sizes": [{"size": name, "images": parts[name]} for name in figures.SIZES if parts[name]],
        "megapixels": {
            "least": rounded(min(pixels)),
            "median": rounded(float(np.median(pixels))),
            "most": rounded(max(pixels)),
        },
        "left_out": [dataclasses.asdict(one) for one in left_out],
    }


def _image(number: int, row: Row) -> dict[str, Any]:
    """Return one image's figures, with the counts that its line of the page shows."""
    tried = [one for one in row["attacks"].values() if "not_carried_out" not in one]
    views = row["null"].values()
    names = ("width", "height", "format", "detail", "psnr_db", "ssim", "ssimulacra2", "strength", "tones")
    return {
        "number": number,
        "name": row["name"],
        "sha256": row["sha256"],
        **{name: row[name] for name in names},
        "warnings": row["warnings"],
        "trials": len(tried),
        "read": sum(one["message"] == "exact" for one in tried),
        "detected": sum(one["state"] == "detected" for one in tried),
        "null_trials": sum(view["trials"] for view in views),
        "null_detected": sum(view["tails"][-1] for view in views),
        "null_least_log10_p": min((view["least_log10_p"] for view in views), default=None),
        "attacks": row["attacks"],
        "copies": row["copies"],
        "copied_to": row["copied_to"],
        "null": row["null"],
    }


def _without_names(rows: Sequence[Row]) -> list[Row]:
    """Return rows with numbers instead of names of files and folders, and without hashes."""
    folders: dict[str, int] = {}
    nameless = []
    for number, row in enumerate(rows, 1):
        folder = folders.setdefault(str(Path(row["name"]).parent), len(folders) + 1)
        nameless.append(row | {"name": f"folder {folder}/image {number}", "sha256": None})
    return nameless


def _numbered(left_out: Sequence[LeftOut]) -> list[LeftOut]:
    return [dataclasses.replace(one, name=f"left out {n}") for n, one in enumerate(left_out, 1)]
