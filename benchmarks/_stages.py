"""The stage tables of `speed.py`: what each stage takes, and what the machine needs for it at best."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from _timing import Row, Work, median_ms

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


def stages(marker: Any, picture: np.ndarray, bandwidth: float, speed: float, runs: int) -> list[Row]:
    """Stage by stage, on the data they get; megabytes each array once, operations a unit as counted in the
    kernels.
    """
    from fastmark import fft
    from fastmark.codec import plane
    from fastmark.codec.mask import Perception
    from fastmark.detection import noise as spectra
    from fastmark.detection.analysis import Analysis
    from fastmark.detection.levels import ScanLevel
    from fastmark.detection.scan import scan
    from fastmark.detection.scores import ScorePlanes, scores
    from fastmark.embedding import choices, earlier, hardening, host, host_scores, margins, marking, origin

    detector = marker.key_detector
    carrier, code, templates = detector.carrier, detector.code, detector.templates
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

    found = Analysis(ScorePlanes(picture, k))
    identity, levels, step = found.identity, found.levels, found.plan.step
    seen = found.planes.reduced(step)
    weighted = found.planes.weighted(step)
    side = 1024 // step
    seen_mb, n_seen, spectrum_mb = seen.nbytes * mega, seen.size, identity.spectrum.nbytes * mega
    finest = levels[0]
    shared = identity.power if found.plan.shares_spectrum else None
    windows = [spectra.tukey(n) for n in weighted.shape]

    def fft_ops(size: int) -> float:
        return 2.5 * size * math.log2(size)  # of a real transform (Frigo & Johnson 2005)

    # job, stage, work, megabytes, operations
    entries: list[tuple[str, str, Work, float, float]] = [
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
        ("detect", "luma",
         lambda: plane.canonical_plane(picture, step * k), pixels_mb + seen_mb, 6 * n * k * k),
        ("detect", "perception", lambda: Perception.of(seen), 2 * seen_mb, 22 * n_seen),
        ("detect", "scores, four grids", lambda: scores(seen), 4 * 3 * seen_mb, 4 * 46 * n_seen),
        ("detect", "FFT of the torus",
         lambda: fft.rfft2_padded(weighted[:side, :side], windows[0][:side], windows[1][:side], (side, side)),
         seen_mb + spectrum_mb, fft_ops(side * side)),
        ("detect", "finest level, to log-polar bytes",
         lambda: ScanLevel(found.planes, finest.plan, shared),
         6 * finest.white.nbytes * mega, 60 * finest.white.size),
        ("key", "place, as it is",
         lambda: identity.place_densely(carrier, turns=(False,)),
         4 * spectrum_mb, fft_ops(side * side) + 8 * identity.spectrum.size),
        ("key", "scan, finest level",
         lambda: scan(finest, templates), scanned_mb(finest, templates), 0.0),
        ("key", "scan, coarsest level",
         lambda: scan(levels[-1], templates), scanned_mb(levels[-1], templates), 0.0),
        ("key", "of it an inverse FFT",
         lambda: fft.irfft2(identity.spectrum), spectrum_mb + 4 * side * side * mega, fft_ops(side * side)),
    ]  # fmt: skip
    rows = []
    for job, stage, work, megabytes, operations in entries:
        ms = median_ms(work, runs)
        bound = max(megabytes / bandwidth, operations / speed * 1e-6)
        rows.append(
            {"job": job, "stage": stage, "ms": ms, "MB": megabytes, "Mflop": operations * 1e-6,
             "roofline, ms": bound, "times roofline": ms / bound}
        )  # fmt: skip
    return rows


def scanned_mb(level: Any, templates: Any) -> float:
    """Megabytes that a scan reads from its log-polar bytes, one a tone, rotation and scale."""
    from fastmark.detection.scan import scan_passes

    total = 0
    for one in scan_passes(level.plan.pools, small=level.plan.small):
        n_scales = level.views[one.pool].grid.scales(level.plan.least_scale).size
        total += len(one.hypotheses) * one.n_tones * n_scales
    return total * 1e-6
