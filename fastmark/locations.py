"""Where in an image a watermark lies: what ``locate`` and ``detect_all`` report, and its picture."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fastmark.results import Detection

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, pixels; the last two are the first column and row beyond."""

# Blue and orange of Okabe & Ito (2008), lightened: they differ for every kind of colour vision.
_MARK, _CHANGED = (86, 180, 233), (230, 159, 0)
_FULL_HEAT, _FULL_CHANGE = 6.0, 9.0  # z and logarithm from which on colours are full
_MOST = 0.7  # of a colour over the grey
_DIM = 0.75  # of the grey, so that colours show on white


@dataclass(frozen=True, slots=True, eq=False)
class Location:
    """Where in an image the watermark of one key lies; true in an ``if`` where it is detected.

    Cell ``(i, j)`` of the maps covers the pixels from row ``i * cell_px`` and column ``j * cell_px`` on of
    the upright image; the last row and column of cells may reach beyond it.

    Attributes:
        detection: what was found; all else is evidence of the place only, given that this is proven.
        heat: float32 ``(rows, columns)``, z of each cell: the watermark's correlation with the image around
            the cell, in standard deviations of what chance, the choice of the key, gives where there is no
            watermark (mean 0, variance 1). Cells are smoothed and so depend on their neighbours; each by
            itself proves nothing. 0 throughout unless ``detection`` is ``detected``.
        carries: bool ``(rows, columns)``, the cells that are taken for a part of the watermarked image.
        disagreement: float32 ``(rows, columns)``, natural logarithm of how much likelier what the watermark
            shows around the cell is if the content there was changed under it than if it is what was
            watermarked; 0 where nothing is known. None where the watermark is not proven to be bound.
        box: left, top, right, bottom of the part that carries the watermark, pixels; None if absent.
        share: of the image's area that carries the watermark, 0..1.
        cell_px: pixels a side of a cell.
        smoothing_px: standard deviation of the Gaussian window over which ``heat`` is summed, pixels.
        width, height: of the upright image, pixels.
    """

    detection: Detection
    heat: NDArray[np.float32]
    carries: NDArray[np.bool_]
    disagreement: NDArray[np.float32] | None
    box: Box | None
    share: float
    cell_px: int
    smoothing_px: float
    width: int
    height: int
    _luma: NDArray[np.uint8] = dataclasses.field(repr=False)

    def __bool__(self) -> bool:
        """Whether the watermark was detected."""
        return self.detection.detected

    def to_dict(self) -> dict[str, Any]:
        """Return all but the maps as JSON values: those of the detection, and the place."""
        place = {
            name: getattr(self, name) for name in ("share", "cell_px", "smoothing_px", "width", "height")
        }
        return self.detection.to_dict() | {"box": None if self.box is None else list(self.box)} | place

    def to_image(self) -> Image.Image:
        """Draw the maps over the grey image: a Pillow RGB image of its size.

        The more certain the watermark, the bluer; the likelier that the content was changed under it, the
        more orange. What carries nothing stays grey. A white line is drawn around the box.
        """
        grey = np.float32(_DIM) * self._luma.astype(np.float32)
        strength = self._spread(np.clip(self.heat / _FULL_HEAT, 0, 1) * self.carries)
        changed = np.zeros_like(strength)
        if self.disagreement is not None:
            changed = self._spread(np.clip(self.disagreement / _FULL_CHANGE, 0, 1))
        shown = np.empty((*grey.shape, 3), np.float32)
        for channel, (mark, change) in enumerate(zip(_MARK, _CHANGED, strict=True)):
            colour = mark + changed * (change - mark)
            share = _MOST * np.maximum(strength, changed)
            shown[..., channel] = grey + share * (colour - grey)
        image = Image.fromarray(np.clip(np.rint(shown), 0, 255).astype(np.uint8))
        if image.size != (self.width, self.height):
            image = image.resize((self.width, self.height), Image.Resampling.BILINEAR)
        if self.box is not None:
            self._draw_box(image, self.box)
        return image

    def _draw_box(self, image: Image.Image, box: Box) -> None:
        left, top, right, bottom = box
        line = max(1, round(min(self.width, self.height) / 250))
        draw = ImageDraw.Draw(image)
        for inset, colour in ((0, "black"), (line, "white")):  # seen on light and on dark
            corners = left + inset, top + inset, right - 1 - inset, bottom - 1 - inset
            if corners[2] > corners[0] and corners[3] > corners[1]:
                draw.rectangle(corners, outline=colour, width=line)

    def _spread(self, cells: NDArray[np.float32]) -> NDArray[np.float32]:
        """Interpolate values of cells to the samples of the luma."""
        n_rows, n_columns = self._luma.shape
        scale = self.cell_px * max(n_columns / self.width, n_rows / self.height)
        covered = (0.0, 0.0, n_columns / scale, n_rows / scale)
        covered = tuple(
            min(a, n) for a, n in zip(covered, (0, 0, cells.shape[1], cells.shape[0]), strict=True)
        )
        resized = Image.fromarray(cells.astype(np.float32)).resize(
            (n_columns, n_rows), Image.Resampling.BILINEAR, box=covered
        )
        return np.asarray(resized)
