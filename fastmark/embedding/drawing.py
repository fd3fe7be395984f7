"""The pattern of a mark drawn on a plane at strength 1: pilot and chips by the mask (SPEC.md, section 5)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmark._threads import in_strips
from fastmark.codec.binding import block_content
from fastmark.codec.carrier import BASIS, COEFFICIENT_COLUMNS, COEFFICIENT_ROWS, Carrier
from fastmark.codec.plane import Plane
from fastmark.codec.tables import BLOCK, N_COEFFICIENTS
from fastmark.embedding.design import Design
from fastmark.embedding.host import Host
from fastmark.kernels import chips as kernels


def make_delta(
    host: Host, carrier: Carrier, codeword: NDArray[np.uint8], design: Design, threads: int = 1
) -> Plane:
    """Return the delta at strength 1, grey levels, float32 of the plane's shape."""
    delta = draw_pilot(host, carrier, design, threads)
    add_chips(chip_coefficients(host, carrier, 1.0 - 2.0 * codeword, design), delta, threads)
    return delta


def draw_pilot(host: Host, carrier: Carrier, design: Design, threads: int = 1) -> Plane:
    """Return the pilot at strength 1, grey levels, float32 of the plane's shape."""
    delta = np.empty_like(host.plane)
    pilot, gain = carrier.pilot(design.n_tones), np.float32(design.pilot_ratio)
    in_strips(
        lambda first, last: kernels.draw_pilot(
            pilot, *design.origin, gain, host.smooth_mask, first, last, delta
        ),
        delta.shape[0],
        threads,
    )
    return delta


def add_chips(chips: NDArray[np.float32], delta: Plane, threads: int = 1) -> None:
    """Add chips, given by their DCT coefficients ``(10, BY, BX)``, to a delta of their plane's shape."""

    def add(first: int, last: int) -> None:
        # NOTE: a copy, for of rows in a larger array numba would compile the kernel once more
        part = np.ascontiguousarray(chips[:, first:last])
        kernels.add_inverse_dct(
            part, BASIS, COEFFICIENT_ROWS, COEFFICIENT_COLUMNS, 4 + BLOCK * first, 4, delta
        )

    in_strips(add, chips.shape[1], threads, rows=32)


def chip_coefficients(
    host: Host, carrier: Carrier, bits: NDArray[Any], design: Design
) -> NDArray[np.float32]:
    """Return the chips' DCT coefficients at strength 1: float32 ``(10, BY, BX)``, grey levels.

    ``bits`` ``(1024,)``: the codeword as signs, 1 for a bit 0; 0 for one that is not known.
    """
    bound = flags = carrier.signs
    depth = flag = np.float32(0)
    content = np.zeros_like(host.block_mask)
    if design.binding is not None:
        kind, tables = design.binding, carrier.binding
        bound, flags = tables.signs, tables.flags[kind.number - 1]
        depth, flag = np.float32(kind.depth), np.float32(kind.flag)
        content = block_content(host.block_luma(), tables.partners, design.grid_origin)
    chips = np.empty((N_COEFFICIENTS, *host.block_mask.shape), np.float32)
    kernels.chip_amplitudes(
        host.block_mask,
        np.float32(design.chip_ratio),
        carrier.signs,
        carrier.code_bit,
        np.append(bits, 1.0).astype(np.float32),
        bound,
        depth,
        flags,
        flag,
        content,
        *design.grid_origin,
        chips,
    )
    return chips
