"""A second embedder, written from fastmark/SPEC.md alone: float64, numpy and scipy, nothing of the package.

What it makes is what the specification says; where the package makes something else, one of the two is wrong.
Section numbers are those of fastmark/SPEC.md.
"""

import math
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import dctn, idctn
from scipy.ndimage import convolve1d, map_coordinates, minimum_filter, uniform_filter
from spec_key import ORIGIN, carriers, draw_pilot, encode, keystream

COEFFICIENTS = ((0, 2), (1, 1), (2, 0), (0, 3), (1, 2), (2, 1), (3, 0), (1, 3), (2, 2), (3, 1))
CLASSES = (1, 0.4, 0.3), (2, 0.2, 0.15)  # number, a and f
NEEDED = {16: 8.5, 32: 10.0, 64: 12.8, 96: 15.1, 128: 17.2}  # z, by the bits of the message
CONES = np.array([[0.3, 0.622, 0.078], [0.23, 0.692, 0.078]])
MASK = (1.48044, 0.636791, 0.227851, -0.0541014, 0.00756661, -0.000418531)
LUMINANCE_TABLE = """
    16 11 10 16  24  40  51  61
    12 12 14 19  26  58  60  55
    14 13 16 24  40  57  69  56
    14 17 22 29  51  87  80  62
    18 22 37 56  68 109 103  77
    24 35 55 64  81 104 113  92
    49 64 78 87 103 121 120 101
    72 92 95 98 112 100 103  99"""  # ITU-T T.81, table K.1


class Marked(NamedTuple):
    """A marked picture, and what the embedder chose for it."""

    pixels: np.ndarray
    pixels_per_unit: int
    tones: int
    strength: float
    lead: float  # of the origin over the next best, standard deviations; infinite where it is a hash
    binding: int  # class
    margin: float  # of the message


def to_plane(pixels, k):
    """Average luma, or grey, over k x k pixels (section 4)."""
    luma = pixels @ np.array([0.299, 0.587, 0.114]) if pixels.ndim == 3 else pixels.astype(float)
    height, width = (n // k for n in luma.shape)
    return luma[: height * k, : width * k].reshape(height, k, width, k).mean(axis=(1, 3))


def box5(x):
    """Average over 5 x 5 samples, edges repeated (preamble)."""
    return uniform_filter(x, 5, mode="nearest")


def pool(x):
    """Average over cells of 2 x 2 units, edges repeated where a side is odd (section 5)."""
    x = np.pad(x, [(0, n % 2) for n in x.shape], mode="edge")
    return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).mean(axis=(1, 3))


def spread(cells, shape):
    """Give every unit of a plane the value of its cell (section 5)."""
    return cells.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]


def measure(plane):
    """Return the mask m of the plane's cells (section 5)."""
    c, q = pool(plane), pool(plane**2)
    around = box5(c)
    s = np.sqrt(np.maximum(0, box5(q - 2 * around * c + around**2) - box5(c - around) ** 2))
    a = np.minimum(0.455 * (s + minimum_filter(s, 5, mode="nearest")), 40)
    return np.polynomial.polynomial.polyval(np.sqrt(a), MASK)


def to_blocks(x, start):
    """View the 8 x 8 blocks from ``(start, start)`` on that lie wholly in ``x``: ``(BY, BX, 8, 8)``."""
    return sliding_window_view(x[start:, start:], (8, 8), writeable=True)[::8, ::8]


def put_blocks(x, start, blocks):
    """Return ``x`` with the blocks of :func:`to_blocks` replaced."""
    out = x.copy()
    to_blocks(out, start)[:] = blocks
    return out


def power_density(plane):
    """Estimate the power density of the cells' means at ``n x n`` frequencies (section 6, tones)."""
    cells = pool(plane) - 128
    n = 128 if min(cells.shape) >= 128 else 32
    window = np.sin(np.pi * np.arange(1, n + 1) / (n + 1)) ** 2
    window = np.outer(window, window)
    starts = []
    for side in cells.shape:
        tiles = min(3, -(-side // n))
        starts.append([i * (side - n) // max(tiles - 1, 1) for i in range(tiles)])
    power = np.zeros((n, n))
    for y, x in product(*starts):
        power += np.abs(np.fft.fft2(cells[y : y + n, x : x + n] * window)) ** 2
    return power / (len(starts[0]) * len(starts[1]) * np.sum(window**2))


def smooth_power(power, bins):
    """Average the density over 3 x 3 frequencies about each of ``bins`` ``(n, 2)`` (section 6, tones)."""
    n = len(power)
    offsets = list(product((-1, 0, 1), repeat=2))
    y, x = (bins[:, None] + offsets).transpose(2, 0, 1)
    y, x = np.where(x < 0, -1 - y, y), np.where(x < 0, -1 - x, x)
    return power[y % n, x].mean(axis=1)


def count_tones(plane, m, tones):
    """Choose how many tones hide under the picture's own spectrum (section 6, tones)."""
    power = power_density(plane)
    bins = np.rint(tones * len(power) / 512).astype(int)
    bins *= np.where(bins[:, 1:] < 0, -1, 1)
    below = 4 * smooth_power(power, bins) / np.prod(np.cos(np.pi * tones / 1024) ** 2, axis=1)
    units = 0.823 * math.prod(min(n, 1024) for n in plane.shape)
    for count in (48, 96, 192):
        above = (0.21 * m.mean()) ** 2 / (2 * count) * units
        if np.median(above / np.maximum(below[:count], 1e-12)) <= 4:
            return count
    return 384


def hash_origin(plane, secret, codeword):
    """Derive an origin from the plane's thumbnail and the codeword (section 6, origin)."""
    rows, columns = ([i * n // 8 for i in range(9)] for n in plane.shape)
    cells = [[plane[t:b, x:r].mean() for x, r in pairwise(columns)] for t, b in pairwise(rows)]
    context = np.rint(cells).astype(np.uint8).tobytes() + np.packbits(codeword).tobytes()
    d = keystream(secret, ORIGIN, 2, context)
    return 8 * (d[0] % 128) + 4, 8 * (d[1] % 128) + 4


def score(plane, grids):
    """Return the mean score over block grids (section 9, scores)."""
    total = np.zeros(plane.shape)
    for top, left in grids:
        after = (-(n + offset) % 8 for n, offset in zip(plane.shape, (top, left), strict=True))
        padded = np.pad(plane, list(zip((top, left), after, strict=True)), mode="edge")
        x = dctn(to_blocks(padded, 0), axes=(2, 3), norm="ortho")
        size = np.abs(x)
        size[..., 0, 0] = size[..., 1, 1]
        spread_of_block = 1.25 * uniform_filter(size, (1, 1, 3, 3), mode="nearest")
        v = np.hypot(spread_of_block, 4)
        x = np.clip(x / v, -1.5, 1.5) / v
        x[..., 0, 0] = 0
        shown = put_blocks(padded, 0, idctn(x, axes=(2, 3), norm="ortho"))
        total += shown[top:, left:][: plane.shape[0], : plane.shape[1]]
    return total / len(grids)


def cut_middle(plane, m):
    """Return the part of a plane that chooses the origin, its mask and its start (section 6, origin)."""
    height, width = (min(n, 1024) for n in plane.shape)
    if height * width > 2**19:
        height = min(height, max(724, 2**19 // width))
        width = min(width, 2**19 // height)
    start = [(n - side) // 16 * 8 for n, side in zip(plane.shape, (height, width), strict=True)]
    place = tuple(slice(at, at + side) for at, side in zip(start, (height, width), strict=True))
    return plane[place], spread(m, plane.shape)[place], start


def smooth_level(power, reach):
    """Average half a spectrum's power ``(512, 257)`` over cells about each cell (section 6, origin)."""
    level = np.full((128, 64), np.inf)
    for limit in (np.inf, 8):
        cells = np.empty((128, 64))
        for j in range(64):
            columns = power[:, 4 * j : 4 * j + 4 if j < 63 else 257].reshape(128, 4, -1)
            cells[:, j] = np.minimum(columns, (limit * level[:, j])[:, None, None]).mean(axis=(1, 2))
        # rows go round; columns go on as those of the other half, and end at the highest frequency
        around = np.concatenate([cells[::-1, ::-1], cells], axis=1)
        sums = convolve1d(around, np.ones(2 * reach + 1), axis=0, mode="wrap")
        for j in range(64):
            part = sums[:, max(64 + j - reach, 0) : 64 + j + reach + 1]
            level[:, j] = part.mean(axis=1) / (2 * reach + 1)
    return level


def find_tones(weighted, tones):
    """Return the tones of a score plane over the root of their level (section 6, origin)."""
    halved = weighted
    for axis in (0, 1):
        n = halved.shape[axis] // 2
        ends = [(1, 2) if i == axis else (0, 0) for i in (0, 1)]
        line = np.moveaxis(np.pad(halved, ends, mode="edge"), axis, 0)
        halved = sum(share / 8 * line[i : i + 2 * n : 2] for i, share in enumerate((1, 3, 3, 1)))
        halved = np.moveaxis(halved, 0, axis)
    windows = []
    for n in halved.shape:
        t = np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5)
        windows.append(0.5 - 0.5 * np.cos(np.pi * np.minimum(1, 20 * t / n)))
    x = np.fft.fft2(halved * np.outer(*windows), (512, 512))
    reach = min(64, 5120 / math.sqrt(halved.size))
    level = smooth_level(np.abs(x[:, :257]) ** 2, round(reach / 4 - 3 / 8))
    fy, fx = tones.T
    side = np.where(fx < 0, -1, 1)
    v = x[fy, fx] / np.sqrt(np.maximum(level[side * fy % 512 // 4, side * fx // 4], 1e-12))
    v *= np.exp(-1j * np.pi * (fy + fx) / 1024)
    return v * np.minimum(1, 4 / np.maximum(np.abs(v), 4e-12))


def find_origin(plane, m, secret, codeword, n_tones):
    """Return the origin, and its lead over the next best in standard deviations (section 6, origin).

    A hash is the only origin there is: its lead is infinite.
    """
    key = carriers(secret)
    middle, mask, start = cut_middle(plane, m)
    weighted = score(middle, [(0, 0), (6, 6)] if middle.size <= 2**18 else [(0, 0)]) * mask
    blocks = dctn(to_blocks(weighted, 4), axes=(2, 3), norm="ortho")
    seen = np.array([blocks[:, :, v, u] for v, u in COEFFICIENTS])
    if np.mean(np.sum(seen**2, axis=0) >= 0.1) < 1 / 8:
        return hash_origin(plane, secret, codeword), math.inf
    signs = key.signs * np.append(1 - 2 * codeword, 1)[key.code_bits]
    chips = np.zeros((10, 128, 128))
    chips[:, : seen.shape[1], : seen.shape[2]] = seen
    agree = np.fft.ifft2(np.sum(np.fft.fft2(chips).conj() * np.fft.fft2(signs), axis=0)).real
    agree /= math.sqrt(np.sum(seen**2))
    tones = key.tones[:n_tones]
    v = find_tones(weighted, tones) * np.exp(-1j * key.phases[:n_tones])
    turn = np.exp(-2j * np.pi / 1024 * np.multiply.outer(4 + 8 * np.arange(128), tones))
    pilot = np.einsum("t,yt,xt->yx", v, turn[..., 0], turn[..., 1]).real
    pilot /= math.sqrt(np.sum(np.abs(v) ** 2) / 2)
    # the first block lies one place of the grid behind the origin
    total = pilot + 0.75 * np.roll(agree, -1, axis=(0, 1))
    first, second = np.partition(total, -2, axis=None)[:-3:-1]
    at = np.unravel_index(total.argmax(), total.shape)
    return tuple((4 + 8 * int(i) - n) % 1024 for i, n in zip(at, start, strict=True)), first - second


def find_content(plane, partners):
    """Compare each block's surroundings with those of its partner, -1..1 (section 5, binding)."""
    means = to_blocks(plane, 4).mean(axis=(2, 3))
    around = np.pad(means, 1, constant_values=np.nan)
    around = np.nanmean(sliding_window_view(around, (3, 3)), axis=(2, 3))
    content = np.zeros(means.shape)
    for y, x in np.ndindex(means.shape):
        there = y + partners[y, x, 0], x + partners[y, x, 1]
        if all(0 <= at < n for at, n in zip(there, means.shape, strict=True)):
            content[y, x] = np.clip((around[y, x] - around[there]) / 6, -1, 1)
    return content


def make_delta(plane, m, origin, key, codeword, n_tones, binding=CLASSES[0]):
    """Make pilot and chips at strength 1, the chips bound by a class (section 5)."""
    shape = plane.shape
    y, x = ((np.arange(n) + o) % 1024 for n, o in zip(shape, origin, strict=True))
    delta = 0.21 * spread(box5(m), shape) * draw_pilot(key, n_tones)[np.ix_(y, x)]
    mask = to_blocks(spread(m, shape), 4).mean(axis=(2, 3))
    y, x = (((o + 4) // 8 + np.arange(n)) % 128 for n, o in zip(mask.shape, origin, strict=True))
    place = np.ix_(range(10), y, x)
    values = np.append(1 - 2 * codeword, 1)[key.code_bits[place]]  # the last one is that of an ANCHOR
    content = find_content(plane, key.partners[np.ix_(y, x)])
    number, depth, flag = binding
    values = values * (1 + depth * key.bindings[place] * content + flag * key.flags[number - 1][place])
    spectrum = np.zeros((*mask.shape, 8, 8))
    for (v, u), chips in zip(COEFFICIENTS, key.signs[place] * values, strict=True):
        spectrum[:, :, v, u] = 0.275 * 8 / math.sqrt(10) * mask * chips
    return put_blocks(delta, 4, to_blocks(delta, 4) + idctn(spectrum, axes=(2, 3), norm="ortho"))


def find_sensitivity(colours):
    """Tell how much luma is seen to grow with the level of all channels (section 6, strength)."""
    levels = np.arange(-3, 259).clip(0, 255) / 255
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    lower, light, higher = light[:-6], light[3:-3], light[6:]
    slope = 85 * np.sqrt(((higher - light) ** 2 + (light - lower) ** 2) / 2)
    gains = [slope[colours] @ w / (3 * (light[colours] @ w + 0.0037930733) ** (2 / 3)) for w in CONES]
    return (gains[0] + gains[1]) / 2


def sampled(cells):
    """Choose rows and columns of the cells by which the strength is chosen (section 6, strength)."""
    step = 8 if min(cells.shape) >= 256 else 4
    return [np.arange(2, n - 2, step) for n in cells.shape]


def find_noise(pixels, plane, k, m, binding=CLASSES[0]):
    """Return what a mark adds to the activity at the sampled cells (section 6, strength)."""
    cells = pool(plane)
    y, x = sampled(cells)
    variance = sliding_window_view(cells, (5, 5)).var(axis=(2, 3))[np.ix_(y - 2, x - 2)]
    _, depth, flag = binding
    power = 0.21**2 * box5(m) ** 2 + 0.275**2 * m**2 * (1 + flag**2 + 0.7 * depth**2)
    colours = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    g = find_sensitivity(colours[np.ix_((2 * y + 1) * k, (2 * x + 1) * k)])
    return power[np.ix_(y, x)] * g**2 / (g**2 * variance + 50)


def base_strength(k, v, visibility=11.5):
    """Choose the strength, the user's factor left out (section 6, strength)."""
    seen = 4.819 + 0.476 * math.log(v) + 0.482 * math.log(min(k, 4))
    return min(max(math.exp((math.log(visibility) - seen) / 1.173), 0.35), 1.4)


def harden(plane, delta, strength):
    """Push coefficients over thresholds of JPEG, as far as is worth most over seven qualities (section 7)."""
    table = np.array(LUMINANCE_TABLE.split(), int).reshape(8, 8)
    x, d = (dctn(to_blocks(p, 0), axes=(2, 3), norm="ortho") for p in (plane, delta))
    direction, size = np.where(d >= 0, 1, -1), np.abs(d)
    low = np.zeros((8, 8), bool)
    low[:6, :6] = True
    low[0, 0] = False
    steps = [np.clip((table * (5000 // quality) + 50) // 100, 1, 255) for quality in range(10, 41, 5)]
    moves = [(0.5 - (x / q - np.floor(x / q + 0.5)) * direction) * q + 0.5 for q in steps]

    def worth(move):
        return sum((t <= move) * q**2 / 7.0 for t, q in zip(moves, steps, strict=True)) - 5 * move**2

    best, top = size, worth(size)
    for t in moves:
        better = low & (size >= strength) & (size < t) & (t <= 3 * size) & (worth(t) > top)
        best, top = np.where(better, t, best), np.where(better, worth(t), top)
    return put_blocks(delta, 0, idctn(direction * best, axes=(2, 3), norm="ortho"))


def to_pixels(delta, k, shape):
    """Interpolate the delta between the centres of the units (section 8)."""
    at = [np.clip((np.arange(n) + 0.5) / k - 0.5, 0, m - 1) for n, m in zip(shape, delta.shape, strict=True)]
    return map_coordinates(delta, np.meshgrid(*at, indexing="ij"), order=1) if k > 1 else delta


def message_margin(plane, m, origin, key, codeword, n_bits):
    """Return how well the message is read from a marked plane; m is that of the plane before (section 8)."""
    weighted = score(plane, [(0, 0), (2, 4), (4, 2), (6, 6)]) * spread(m, plane.shape)
    blocks = dctn(to_blocks(weighted, 4), axes=(2, 3), norm="ortho")
    y, x = (((o + 4) // 8 + np.arange(n)) % 128 for n, o in zip(blocks.shape, origin, strict=False))
    place = np.ix_(range(10), y, x)
    bits = np.append(1 - 2 * codeword, 0)[key.code_bits[place]]  # anchors tell nothing
    seen = np.array([blocks[:, :, v, u] for v, u in COEFFICIENTS]) * bits
    return np.sum(seen * key.signs[place]) / math.sqrt(np.sum(seen**2)) / NEEDED[n_bits]


def embed(pixels, secret, message, factor=1.0):
    """Mark uint8 pixels ``(H, W)`` or ``(H, W, 3)`` as sections 4 to 8 say; refuse none."""
    return embed_all(pixels, [(secret, message)], factor)[0]


def embed_both(pixels, one, other, factor=1.0):
    """Mark pixels with two secrets and messages (section 14): the same pixels, with the facts of each."""
    return embed_all(pixels, [one, other], factor)


def embed_all(pixels, written, factor):
    k = max(1, (2 * min(pixels.shape[:2]) + 800) // 1600)
    plane = to_plane(pixels, k)
    m = measure(plane)
    marks = []
    for secret, message in written:
        key, codeword = carriers(secret), encode(message, k)
        n_tones = count_tones(plane, m, key.tones)
        marks.append((key, codeword, n_tones, *find_origin(plane, m, secret, codeword, n_tones)))
    alone = len(marks) == 1
    for binding in CLASSES:
        unit = sum(
            make_delta(plane, m, origin, key, codeword, n_tones, binding)
            for key, codeword, n_tones, origin, _ in marks
        )
        v = math.sqrt(np.mean(find_noise(pixels, plane, k, m, binding) ** 2))
        base = base_strength(k, v) if alone else base_strength(k, v, 14) / math.sqrt(2)
        delta, strength = scale(plane, unit, k, factor, base, 42.15 if alone else 39.5)
        steps = np.floor(to_pixels(delta, k, pixels.shape[:2]) + 0.5)
        marked = np.clip(pixels + (steps if pixels.ndim == 2 else steps[..., None]), 0, 255).astype(np.uint8)
        seen = to_plane(marked, k)
        margins = [
            message_margin(seen, m, origin, key, codeword, 8 * len(message))
            for (key, codeword, _, origin, _), (_, message) in zip(marks, written, strict=True)
        ]
        if min(margins) >= 1:
            break
    return [
        Marked(marked, k, n_tones, strength, lead, binding[0], margin)
        for (_, _, n_tones, _, lead), margin in zip(marks, margins, strict=True)
    ]


def scale(plane, unit, k, factor, base, least_psnr=42.15):
    """Return the hardened delta and its strength, lowered where the PSNR asks for it (sections 6, 14)."""

    def scaled(strength):
        return harden(plane, strength * unit, strength) if k == 1 else strength * unit

    strength = factor * base
    delta = scaled(strength)
    for _ in range(3):
        psnr = 10 * math.log10(255**2 / (np.mean(delta**2) + 1 / 12))
        lacking = least_psnr - 20 * math.log10(max(1, factor)) - psnr
        if lacking > 0:
            strength *= 10 ** (-lacking / 20)
            delta = scaled(strength)
    return delta, strength
