"""At which resolutions an image is looked at, and how hard: decided once, from the size of its plane alone.

A large plane is looked at reduced by two, the image as it is and the scan alike. It loses by it, but has
enough. Samples are those of the plane unless a level's are meant; units are those of the mark.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastmark.codec.tables import TORUS
from fastmark.detection.logpolar import MAX_SCALE

MAX_SIDE = 2048
"""Samples of the middle of a plane, each way, that are looked at."""

HALF = 2
"""Samples of a large plane to one that is looked at.

It is also the step, in units, at which the pilot is placed: its tones end below a quarter of a cycle per
unit.
"""

LARGE_PLANE = 1000
"""Samples; planes whose short side has as many are looked at at half resolution first."""

_SMALL_PLANE = 700  # samples; planes of a shorter side have less to show, and time to spare

# Least scale sought at the finest level, in its samples per unit. It does not depend on how much is seen: an
# image shown small in a screenshot must not be lost because there is more round it. Coarser levels are for
# crops of larger images.
_MIN_SCALE = 0.2
_COARSER_SCALE = 0.75
_COARSER_FACTORS = (2, 4)
_LEAST_SIDE = 128  # samples of a coarser level's short side: a smaller one shows too few tones

# Sizes of cells of the log-polar grids on which a level is scanned, in those of the finest grid.
_POOLS, _SMALL_POOLS = (1, 2, 4), (2, 4)
_SMALL_LEVEL = 260  # samples; the spectrum of a smaller level has no use for the finest grid

# Hypotheses of one scan that are refined, and candidates of one image that are placed.
_MAX_FOLLOWED, _MAX_SMALL_FOLLOWED = 6, 20
_MAX_CANDIDATES, _MAX_SMALL_CANDIDATES = 6, 12


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """How one resolution of a plane is scanned.

    Attributes:
        factor: samples of the plane to one of the level, each way.
        least_scale: smallest scale sought, samples of the level per unit; the largest is 1.6.
        pools: sizes of the cells of its log-polar grids, in those of the finest; finest first.
        small: whether the plane is, so that more is followed up.
    """

    factor: int
    least_scale: float
    pools: tuple[int, ...]
    small: bool

    @classmethod
    def of(cls, shape: tuple[int, int], factor: int, least_scale: float) -> LevelPlan:
        """Plan the scan of a plane of ``shape``, averaged over ``factor`` samples each way."""
        pools = _SMALL_POOLS if max(shape) // factor <= _SMALL_LEVEL else _POOLS
        return cls(factor, least_scale, pools, min(shape) < _SMALL_PLANE)

    @property
    def n_followed(self) -> int:
        """The number of hypotheses that are refined, at most."""
        return _MAX_SMALL_FOLLOWED if self.small else _MAX_FOLLOWED

    def __str__(self) -> str:
        """Say what is scanned, in one line."""
        low, high = self.factor * self.least_scale, self.factor * MAX_SCALE
        return f"every rotation, mirror image and scale from {low:g} to {high:g}, {_resolution(self.factor)}"


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """The parts and resolutions of a plane that are looked at; ``str()`` lists them in words.

    Attributes:
        shape: height and width of the plane, samples.
        step: samples to one of the plane that is folded onto the torus: 2 for large planes, else 1.
        levels: the resolutions that are scanned, finest first.
    """

    shape: tuple[int, int]
    step: int
    levels: tuple[LevelPlan, ...]

    @classmethod
    def of(cls, shape: tuple[int, int]) -> ScanPlan:
        """Plan for a plane of ``shape``, its middle if it is one of more than 2048 samples a side."""
        short = min(shape)
        step = HALF if short >= LARGE_PLANE else 1
        scales = {step: _MIN_SCALE}
        for factor in _COARSER_FACTORS:
            if short >= _LEAST_SIDE * factor:
                scales.setdefault(factor, _COARSER_SCALE)
        return cls(shape, step, tuple(LevelPlan.of(shape, *level) for level in scales.items()))

    @property
    def half(self) -> bool:
        """Whether the image as it is, and its chips, are read at half resolution first."""
        return self.step == HALF

    @property
    def shares_spectrum(self) -> bool:
        """Whether the spectrum on the torus serves the scan of the finest level as well.

        It does where it shows the same samples, and none were folded onto others.
        """
        return self.half and max(self.shape) <= TORUS

    @property
    def n_candidates(self) -> int:
        """The number of candidates of the scan that are placed, at most."""
        return _MAX_SMALL_CANDIDATES if self.levels[0].small else _MAX_CANDIDATES

    def __str__(self) -> str:
        """List what is looked at, a line each; scales are in samples of the plane per unit of the mark."""
        height, width = self.shape
        return "\n".join(
            [
                f"a plane of {height} x {width} samples:",
                f"- the image as it is or cropped, {_resolution(self.step)}",
                *(f"- {level}" for level in self.levels),
                f"- of what these suggest, the {self.n_candidates} likeliest geometries at most",
            ]
        )


def _resolution(factor: int) -> str:
    return {1: "at full resolution", 2: "at half resolution"}.get(factor, f"at 1/{factor} of the resolution")
