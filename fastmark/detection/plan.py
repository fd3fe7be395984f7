"""At which resolutions an image is looked at, and how hard: decided once, from the size of its plane alone.

A large plane is looked at reduced by two, the image as it is and the scan alike. It loses by it, but has
enough. Samples are those of the plane unless a level's are meant; units are those of the mark.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastmark.detection.logpolar import MAX_SCALE

MAX_SIDE = 2048
"""Samples of the middle of a plane, each way, that are looked at."""

HALF = 2
"""Samples of a large plane to one that is looked at.

It is also the step, in units, at which the pilot is placed: its tones end below a quarter of a cycle per
unit.
"""

HALVED_FROM = 700
"""Samples; planes whose short side has as many are looked at at half resolution first."""

_FINE_FROM = 1000
"""Samples of a plane's short side from which on the finest log-polar grid is worth its price."""

# Scales sought at the finest level, in its samples per unit. They do not depend on how much is seen: an image
# shown small in a screenshot must not be lost because there is more round it.
_PLAN_LEAST_SCALE = 0.2

# Sizes of cells of the log-polar grids on which a level is scanned, in those of the finest grid.
_POOLS, _SMALL_POOLS, _TINY_POOLS = (1, 2, 4), (2, 2, 4), (2, 2, 0)
_TINY_LEVEL = 260  # samples of a level's long side; smaller ones do not tell strained images that are turned

_MAX_FOLLOWED = 6  # hypotheses of one scan that are refined
_MAX_CANDIDATES = 2  # candidates of one image that are placed


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """How one resolution of a plane is scanned.

    Attributes:
        factor: samples of the plane to one of the level, each way.
        least_scale: smallest scale sought, samples of the level per unit; the largest is 3.
        pools: sizes of the cells of the log-polar grids, in those of the finest: for every rotation, for
            strained images that are upright, and for those that are turned; 0 where these are not sought.
    """

    factor: int
    least_scale: float
    pools: tuple[int, int, int]

    @classmethod
    def of(cls, shape: tuple[int, int], factor: int, least_scale: float = _PLAN_LEAST_SCALE) -> LevelPlan:
        """Plan the scan of a plane of ``shape``, averaged over ``factor`` samples each way."""
        large, tiny = min(shape) >= _FINE_FROM, max(shape) // factor <= _TINY_LEVEL
        return cls(factor, least_scale, _POOLS if large else _TINY_POOLS if tiny else _SMALL_POOLS)

    @property
    def n_followed(self) -> int:
        """The number of hypotheses that are refined, at most."""
        return _MAX_FOLLOWED

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
        step = HALF if min(shape) >= HALVED_FROM else 1
        return cls(shape, step, (LevelPlan.of(shape, step),))

    @property
    def half(self) -> bool:
        """Whether the image as it is, and its chips, are read at half resolution first."""
        return self.step == HALF

    @property
    def n_candidates(self) -> int:
        """The number of candidates of the scan that are placed, at most."""
        return _MAX_CANDIDATES

    def __str__(self) -> str:
        """List what is looked at, a line each; scales are in samples of the plane per unit of the mark."""
        height, width = self.shape
        return "\n".join(
            [
                f"a plane of {height} x {width} samples:",
                f"- the image as it is or cropped, {_resolution(self.step)}",
                "- crops of larger images: whole samples per unit, 2 to 8",
                "- where the canvas is flat, its busy part by itself",
                *(f"- {level}" for level in self.levels),
                f"- of what these suggest, the {self.n_candidates} likeliest geometries at most",
            ]
        )


def _resolution(factor: int) -> str:
    return {1: "at full resolution", 2: "at half resolution"}.get(factor, f"at 1/{factor} of the resolution")
