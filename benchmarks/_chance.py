"""The family `chance` of `calibrate.py`: how often unmarked images reach what the detector follows up."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from _calibration import Row, carriers, constants
from _common import find_pictures, in_processes
from PIL import Image

# Class of planes: the least short side of an image that is taken for it, and the most to which it is reduced.
PLANES = {
    "under 200": (300, 180),
    "under 700": (300, 480),
    "700 to 999": (700, 800),
    "1000 and more": (1000, 1100),
}
PASSES = ("fine", "upright", "upright", "strained")
FAMILIES = ("score: ", "excess: ", "z: ")  # of constants, by the names that they have in the results
SHARE = "found is the share of unmarked planes that reach the threshold by chance"


def reached_of(path: Path, planes: str, n_keys: int) -> list[dict[str, bool]]:
    """By key, which thresholds an unmarked image reaches."""
    from fastmark.codec.plane import canonical_plane
    from fastmark.detection import integer_units, scan, search
    from fastmark.detection.analysis import Analysis
    from fastmark.detection.logpolar import Templates
    from fastmark.detection.origins import TONES_MISSING
    from fastmark.detection.scores import ScorePlanes
    from fastmark.detection.torus import TorusSpectrum

    with Image.open(path) as opened:
        image = opened.convert("RGB")
    ratio = PLANES[planes][1] / min(image.size)
    if ratio < 1:
        image = image.resize([round(ratio * n) for n in image.size], Image.Resampling.LANCZOS)
    analysis = Analysis(ScorePlanes(canonical_plane(np.array(image), 1)))
    # any geometry but the identity will do for a dense look
    turned = 0.9 * np.array([[math.cos(0.3), math.sin(0.3)], [-math.sin(0.3), math.cos(0.3)]])
    torus = TorusSpectrum(analysis.planes, turned, analysis.plan.step)
    rows = []
    for carrier in carriers(n_keys):
        templates, reached = Templates(carrier), dict.fromkeys((*PASSES, "refined", "bent"), False)
        for level in analysis.levels:
            plan = level.plan
            passes = scan.scan_passes(plan.pools, plan.least_scale)
            # small planes have no strained pass
            for name, one in zip(PASSES, passes, strict=False):
                pattern = (level.views[one.pool], one.strains, one.hypotheses, one.n_tones, one.scales)
                reached[name] |= bool(templates.scan(*pattern, one.least, plan.n_followed))
            scores = [candidate.score for candidate in scan.scan(level, templates)]
            reached["refined"] |= bool(scores)
            reached["bent"] |= max(scores, default=0.0) >= search._PIECEWISE_SCORE
        units = integer_units.whole_units(analysis, templates)
        reached["whole units"] = bool(units)
        reached["dense units"] = any(unit.score >= integer_units._SHOWN_WELL for unit in units)
        as_it_is = analysis.origins.place(carrier)
        reached["origin"] = as_it_is.z >= search._ORIGIN_SCORE
        reached["worth a crop"] = as_it_is.view.excess >= search._WORTH_A_CROP
        reached["worth a small crop"] = as_it_is.view.excess >= search._WORTH_A_SMALL_CROP
        reached["tones missing"] = as_it_is.view.excess <= TONES_MISSING
        shifted, _ = analysis.identity.place_densely(carrier, turns=(False,))
        reached["shift"] = shifted >= search._SHIFT_SCORE
        dense, _ = torus.place_densely(carrier)
        rows.append(reached | {"dense": dense >= search._DENSE_SCORE})
    return rows


def error_of_share(share: float, trials: int) -> float:
    """Two standard errors of a share; of none, or all, as if one trial of each kind had been seen besides."""
    p = (share * trials + 1) / (trials + 2)
    return 2 * math.sqrt(p * (1 - p) / trials)


def chance(options: argparse.Namespace) -> list[Row]:
    """How often unmarked planes reach what is followed up, by the size of the plane."""
    paths = find_pictures(options.folders, options.images)
    jobs = []
    for path in paths:
        with Image.open(path) as opened:
            short = min(opened.size)
        jobs += [(path, planes, options.keys) for planes, (least, _) in PLANES.items() if short >= least]
    by_planes: dict[str, list[dict[str, bool]]] = {}
    for number, rows in in_processes(reached_of, jobs, options.workers):
        by_planes.setdefault(jobs[number][1], []).extend(rows)
    known, table = constants(), []
    for planes in PLANES:
        trials = by_planes.get(planes, [])
        for name in [name for name in known if name.startswith(FAMILIES)] if trials else []:
            kind, threshold = name.partition(": ")[2], known[name]
            share = float(np.mean([row[kind] for row in trials]))
            table.append(
                {
                    "name": name, "in_code": known[name], "found": share,
                    "spread": error_of_share(share, len(trials)),
                    "images": len(trials) // options.keys, "trials": len(trials), "planes": planes,
                    "threshold": threshold, "note": SHARE,
                }
            )  # fmt: skip
    return table
