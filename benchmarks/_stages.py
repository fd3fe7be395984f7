"""The stage tables of `speed.py`: what each stage takes, and what the machine needs for it at best."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from _timing import Row, Work, median_ms

Stage = tuple[str, str, Work, float, float]
"""Job, stage, work, megabytes that it must move, operations."""
MESSAGE = 0x0123456789ABCDEF


def roofline() -> tuple[float, float]:
    """Bandwidth of a copy of 64 MB, bytes read and written, and vectorised multiply-adds in the cache: GB/s,
    GFLOP/s.
    """
    from fastmark.kernels._jit import kernel

    @kernel
    def work(x: Any, y: Any, times: int) -> None:
        for _ in range(times):
            for i in range(x.size):
                y[i] = y[i] * np.float32(0.999) + x[i]

    source, target = np.ones(1 << 24, np.float32), np.empty(1 << 24, np.float32)
    copy_ms = median_ms(lambda: np.copyto(target, source), 9)
    x, y = np.ones(2048, np.float32), np.ones(2048, np.float32)
    work_ms = median_ms(lambda: work(x, y, 20000), 9)
    return 2 * source.nbytes / copy_ms / 1e6, 2 * x.size * 20000 / work_ms / 1e6


def fft_ops(size: int) -> float:
    """Operations of a real transform (Frigo & Johnson 2005)."""
    return 2.5 * size * math.log2(size)


def of_embedding(marker: Any, picture: np.ndarray) -> list[Stage]:
    """The stages of embedding, on the data that they get."""
    from fastmark.codec import plane
    from fastmark.codec.mask import Perception
    from fastmark.embedding import choices, earlier, hardening, host, host_scores, margins, marking, origin

    detector = marker.key_detector
    carrier, code = detector.carrier, detector.code
    k = plane.pixels_per_unit(*picture.shape[:2])
    luma = plane.canonical_plane(picture, k)
    prepared = host.prepare(luma, k)
    codeword = code.encode(MESSAGE, k)
    design = marking.make_design(prepared, carrier, codeword)
    unit_delta = marking.make_delta(prepared, carrier, codeword, design)
    delta, _ = hardening.harden(prepared, unit_delta, 0.8)
    mask = prepared.perception.mask
    known = margins.KnownMark(design.origin, carrier, codeword, design.n_tones, 64)
    n, mega = luma.size, 1e-6
    everything = margins.Window(0, 0, *luma.shape)
    whole_look = (luma + delta, luma + delta, mask)  # as if nothing were lost by compression

    def asked() -> host_scores.HostScores:
        return host_scores.HostScores(luma, mask)

    n_asked = asked().weighted.size
    pixels_mb, plane_mb = picture.nbytes * mega, luma.nbytes * mega

    entries: list[Stage] = [
        ("embed", "luma", lambda: plane.canonical_plane(picture, k), pixels_mb + plane_mb, 6 * n * k * k),
        ("embed", "perception", lambda: Perception.of(luma), 2 * plane_mb, 22 * n),
        ("embed", "look for an earlier mark, its spectrum known",
         lambda: earlier.look_for(host.Pixels(picture, 255.0, k), prepared, marker.key_detector),
         8 * 384 * 64 * mega, 8 * 384 * 20),
        ("embed", "scores and spectrum for look and origin", lambda: asked().torus,
         4 * n_asked * 4 * mega, 46 * n_asked + fft_ops(512 * 512)),
        ("embed", "origin, its scores known",
         lambda: origin.Agreement.of(prepared.scored, carrier, codeword, design.n_tones).best(),
         30 * 128 * 128 * 4 * mega, 22 * fft_ops(128 * 128)),
        ("embed", "origin of an image without detail",
         lambda: host.hashed_origin(luma, carrier.key), plane_mb, n),
        ("embed", "number of tones",
         lambda: choices.choose_tones(prepared, carrier, design.pilot_ratio),
         9 * 128 * 128 * 4 * mega, 9 * fft_ops(128 * 128)),
        ("embed", "strength",
         lambda: choices.choose_strength(prepared, design), 3 * mask.nbytes * mega, 10 * mask.size),
        ("embed", "pilot and chips",
         lambda: marking.make_delta(prepared, carrier, codeword, design), 4 * plane_mb, 16 * n),
        ("embed", "hardening",
         lambda: hardening.harden(prepared, unit_delta, 0.8), 3 * plane_mb, (60 if k == 1 else 2) * n),
        ("embed", "margins",
         lambda: margins.measure(host.Pixels(picture, 255.0, k), delta, mask, known),
         8 * 4 * 96 * 96 * 4 * mega, 560 * 4 * 96 * 96),
        ("embed", "survival, all of a plane",
         lambda: known.look(*whole_look, [everything], luma.shape, k),
         14 * plane_mb, 9.25 * 46 * n + 2 * fft_ops(2 * n)),
        ("embed", "delta to pixels",
         lambda: plane.add_delta(picture, delta, k), 2 * pixels_mb + plane_mb, 4 * n * k * k),
    ]  # fmt: skip
    return entries


def of_detecting(detector: Any, picture: np.ndarray) -> list[Stage]:
    """The stages of detection, of an analysis and of each key."""
    from fastmark.codec import plane
    from fastmark.codec.mask import Perception
    from fastmark.detection.analysis import Analysis
    from fastmark.detection.levels import PaddedSpectrum, ScanLevel
    from fastmark.detection.origins import Origins
    from fastmark.detection.scan import scan
    from fastmark.detection.scores import ScorePlanes, scores
    from fastmark.detection.torus import TorusSpectrum

    carrier, templates = detector.carrier, detector.templates
    k, mega = plane.pixels_per_unit(*picture.shape[:2]), 1e-6
    found = Analysis(ScorePlanes(picture, k))
    finest, step, planes = found.levels[0], found.plan.step, found.planes
    seen, weighted = planes.reduced(step), planes.weighted(step)
    padded, cells = finest.padded, sum(view.cells.size for view in finest.views.values())
    spectrum_mb, torus_mb = padded.spectrum.nbytes * mega, found.identity.spectrum.nbytes * mega
    pixels_mb, seen_mb, n_seen = picture.nbytes * mega, seen.nbytes * mega, seen.size
    side = 1024 // step

    return [
        ("detect", "luma", lambda: plane.canonical_plane(picture, step * k), pixels_mb + seen_mb,
         2 * picture.size),
        ("detect", "perception", lambda: Perception.of(seen), 2 * seen_mb, 22 * n_seen),
        ("detect", "scores, four grids", lambda: scores(seen), 4 * 3 * seen_mb, 4 * 46 * n_seen),
        ("detect", "spectrum, zero-padded", lambda: PaddedSpectrum.of(weighted), seen_mb + spectrum_mb,
         fft_ops(2 * padded.spectrum.size)),
        ("detect", "chips, for the origins", lambda: Origins(planes, padded, step), 2 * seen_mb, 2 * n_seen),
        ("detect", "spectrum and its log-polar bytes", lambda: ScanLevel(planes, finest.plan).views,
         seen_mb + 4 * spectrum_mb + 2 * cells * mega, fft_ops(2 * padded.spectrum.size) + 60 * cells),
        ("detect", "torus, for whole shifts", lambda: TorusSpectrum(planes, np.eye(2), step),
         seen_mb + torus_mb, fft_ops(side * side)),
        # the pilot agrees by three standard deviations at 44 of 16,384 places, where anchors are asked
        ("key", "origins, image as it is", lambda: found.origins.place(carrier), 14 * 128 * 128 * 4 * mega,
         fft_ops(128 * 128) + 44 * 2 * 10 * 128 * 128),
        ("key", "scan and refinement", lambda: scan(finest, templates), scanned_mb(finest), 0.0),
        ("key", "whole shifts, where they are asked",
         lambda: found.identity.place_densely(carrier, turns=(False,)),
         4 * torus_mb, fft_ops(side * side) + 8 * found.identity.spectrum.size),
    ]  # fmt: skip


def stages(marker: Any, picture: np.ndarray, bandwidth: float, speed: float, runs: int) -> list[Row]:
    """Stage by stage, on the data they get; megabytes each array once, operations a unit as counted in the
    kernels.
    """
    entries = of_embedding(marker, picture) + of_detecting(marker.key_detector, picture)
    rows = []
    for job, stage, work, megabytes, operations in entries:
        ms = median_ms(work, runs)
        bound = max(megabytes / bandwidth, operations / speed * 1e-6)
        rows.append(
            {"job": job, "stage": stage, "ms": ms, "MB": megabytes, "Mflop": operations * 1e-6,
             "roofline, ms": bound, "times roofline": ms / bound}
        )  # fmt: skip
    return rows


def scanned_mb(level: Any) -> float:
    """Megabytes that a scan reads from its log-polar bytes, one a tone, rotation and scale."""
    from fastmark.detection.scan import scan_passes

    total = 0
    for one in scan_passes(level.plan.pools, level.plan.least_scale):
        n_scales = level.views[one.pool].grid.scales(*one.scales)[1].size
        total += len(one.hypotheses) * one.n_tones * n_scales
    return total * 1e-6
