"""From the rows of images to the figures of a report: shares, intervals, quantiles, by size and by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastmark.reporting.attacks import GROUPS, Extent, attacks_of, copies_of, null_views_of, untried
from fastmark.reporting.intervals import clopper_pearson, wilson
from fastmark.reporting.trials import DRAWING, LEVELS, rounded

Row = dict[str, Any]

SIZES: dict[str, tuple[float, float]] = {
    "128 to 255 px": (0, 256),
    "256 to 511 px": (256, 512),
    "512 to 1023 px": (512, 1024),
    "1024 to 2047 px": (1024, 2048),
    "2048 px and more": (2048, float("inf")),
}
"""Classes of images by their short side, pixels: from, and below."""

DETAILS: dict[str, tuple[float, float]] = {
    "little detail": (0, 3),
    "some detail": (3, 10),
    "much detail": (10, float("inf")),
}
"""Classes of images by their detail (``trials.detail``), grey levels: from, and below."""


def size_of(row: Row) -> str:
    """Return the class of an image's short side."""
    return _class_of(min(row["width"], row["height"]), SIZES)


def detail_of(row: Row) -> str:
    """Return the class of an image's detail."""
    return _class_of(row["detail"], DETAILS)


def folder_of(row: Row) -> str:
    """Return the folder that an image is in, as its name tells."""
    return str(Path(row["name"]).parent)


def _class_of(value: float, classes: dict[str, tuple[float, float]]) -> str:
    return next(name for name, (least, below) in classes.items() if least <= value < below)


# ---- quality -----------------------------------------------------------------------------------------


def quality(rows: Sequence[Row]) -> dict[str, Any]:
    """Return mean, 5th percentile and worst of each measure, of all images and by their size."""
    classes = [{"size": name, **_qualities(part)} for name, part in _parts(rows, size_of, SIZES)]
    return {"all": _qualities(rows), "sizes": classes}


def _qualities(rows: Sequence[Row]) -> dict[str, Any]:
    measures = {name: _spread([row[name] for row in rows]) for name in ("psnr_db", "ssim", "ssimulacra2")}
    return {"images": len(rows), **measures}


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {
        "mean": rounded(float(np.mean(known))),
        "p5": rounded(float(np.percentile(known, 5))),
        "worst": rounded(min(known)),
    }


# ---- survival ----------------------------------------------------------------------------------------


def survival(rows: Sequence[Row], extent: Extent) -> dict[str, Any]:
    """Return what is left of the watermark: by attack, by group, by group and size, by group and kind."""
    attacks = [
        {"attack": one.name, "group": one.group, **_outcomes(_tried(rows, one.name))}
        for one in attacks_of(extent)
    ]
    groups = [_group(name, [one for one in attacks if one["group"] == name]) for name in GROUPS]
    return {
        "attacks": attacks,
        "groups": groups,
        "sizes": [{"size": name, **_by_group(part, extent)} for name, part in _parts(rows, size_of, SIZES)],
        "kinds": _kinds(rows, extent),
        "not_tried": [
            {"attack": one.name, "reason": f"this Pillow has no {one.lacks}"} for one in untried(extent)
        ],
    }


def _tried(rows: Iterable[Row], attack: str) -> list[Row]:
    found = [row["attacks"][attack] for row in rows if attack in row["attacks"]]
    return [one for one in found if "not_carried_out" not in one]


def _outcomes(tried: Sequence[Row]) -> dict[str, Any]:
    logs = [one["log10_p"] for one in tried]
    public = [one["public_read"] for one in tried if "public_read" in one]
    return {
        "trials": len(tried),
        "message": _share(sum(one["message"] == "exact" for one in tried), len(tried)),
        "detected": _share(sum(one["state"] == "detected" for one in tried), len(tried)),
        "wrong_messages": sum(one["message"] == "wrong" for one in tried),
        "median_log10_p": rounded(float(np.median(logs))) if logs else None,
        "worst_log10_p": rounded(max(logs)) if logs else None,
        "public_read": _share(sum(public), len(public)) if public else None,
    }


def _share(count: int, trials: int) -> dict[str, Any]:
    low, high = wilson(count, trials)
    share = rounded(count / trials) if trials else None
    return {"count": count, "trials": trials, "share": share, "low": rounded(low), "high": rounded(high)}


def _group(name: str, attacks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean over a group's attacks, and the worst of them by message and by detection."""
    tried = [one for one in attacks if one["trials"]]
    summed: dict[str, Any] = {"group": name, "attacks": len(tried)}
    for what in ("message", "detected"):
        worst = min(tried, key=lambda one: one[what]["share"], default=None)
        mean = float(np.mean([one[what]["share"] for one in tried])) if tried else None
        summed[what] = {
            "mean": None if mean is None else rounded(mean),
            "worst_attack": None if worst is None else worst["attack"],
            "worst": None if worst is None else worst[what],
        }
    return summed


def _by_group(rows: Sequence[Row], extent: Extent) -> dict[str, Any]:
    """Return the share of all trials of each group on some images."""
    groups = {}
    for name in GROUPS:
        tried = [t for one in attacks_of(extent) if one.group == name for t in _tried(rows, one.name)]
        groups[name] = {
            "trials": len(tried),
            "message": rounded(sum(t["message"] == "exact" for t in tried) / len(tried)) if tried else None,
            "detected": rounded(sum(t["state"] == "detected" for t in tried) / len(tried)) if tried else None,
        }
    return {"images": len(rows), "groups": groups}


def _kinds(rows: Sequence[Row], extent: Extent) -> list[dict[str, Any]]:
    """Return shares by what the images are: their detail, format and folder, where they differ in that."""
    table = []
    kinds: list[tuple[str, Callable[[Row], str], tuple[str, ...]]] = [
        ("detail", detail_of, tuple(DETAILS)),
        ("format", lambda row: str(row["format"]), ()),
        ("folder", folder_of, ()),
    ]
    for by, kind_of, order in kinds:
        parts = _parts(rows, kind_of, order)
        if len(parts) > 1:
            table += [{"by": by, "kind": name, **_by_group(part, extent)} for name, part in parts]
    return table


def _parts(
    rows: Sequence[Row], kind_of: Callable[[Row], str], order: Iterable[str] = ()
) -> list[tuple[str, list[Row]]]:
    """Return the images of each kind that there is, in an order of the kinds or by their names."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(kind_of(row), []).append(row)
    return [(name, found[name]) for name in (list(order) or sorted(found)) if name in found]


# ---- copies ------------------------------------------------------------------------------------------


def copies(rows: Sequence[Row], extent: Extent) -> list[dict[str, Any]]:
    """Return what is said of pictures that watermarks were copied to."""
    table = []
    for way in copies_of(extent):
        tried = [row["copies"][way] for row in rows]
        read = [one for one in tried if one["message"] == "exact"]
        said = Counter(one["binding"] for one in read)
        table.append(
            {
                "way": way,
                "trials": len(tried),
                "drawn": sum(row["copied_to"] == DRAWING for row in rows),
                "detected": sum(one["state"] == "detected" for one in tried),
                "read": len(read),
                **{name: said[name] for name in ("mismatch", "unknown", "match")},
            }
        )
    return table


# ---- false positives ---------------------------------------------------------------------------------


def null(rows: Sequence[Row], extent: Extent, keys: int) -> dict[str, Any]:
    """Return how often unmarked images were taken for marked by keys drawn anew; counts, tails, bounds."""
    names = [one.name for one in null_views_of(extent)] if keys else []
    views = [{"view": name, **_trials([row["null"][name] for row in rows])} for name in names]
    every = [view for row in rows for view in row["null"].values()]
    whole = _trials(every)
    of_images = [sum(view["tails"][-1] for view in row["null"].values()) for row in rows]
    tails = []
    for i, level in enumerate(LEVELS):
        seen = sum(view["tails"][i] for view in every)
        tails.append(
            {
                "log10_p": level,
                "claimed": 10.0**level,
                "seen": seen,
                "share": rounded_share(seen, whole["trials"]),
                "upper": clopper_pearson(seen, whole["trials"])[1],
            }
        )
    images, searched = sum(count > 0 for count in of_images), len(rows) if keys else 0
    return {
        "keys": keys,
        "images": searched,
        **whole,
        "views": views,
        "tails": tails,
        "images_detected": images,
        "images_detected_upper": clopper_pearson(images, searched)[1],
    }


def rounded_share(count: int, trials: int) -> float | None:
    """Return a share that may be tiny, all of its digits; None of no trials."""
    return count / trials if trials else None


def _trials(views: Sequence[Row]) -> dict[str, Any]:
    trials = sum(view["trials"] for view in views)
    detected = sum(view["tails"][LEVELS.index(-9.0)] for view in views)
    possible = sum(view["tails"][LEVELS.index(-4.0)] for view in views) - detected
    return {
        "trials": trials,
        "detected": detected,
        "possible": possible,
        "messages": sum(view["messages"] for view in views),
        "least_log10_p": min((view["least_log10_p"] for view in views), default=None),
        "detected_upper": clopper_pearson(detected, trials)[1],
    }
