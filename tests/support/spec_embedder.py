"""A second embedder, written from fastmark/SPEC.md alone: float64, numpy and scipy, nothing of the package.

What it makes is what the specification says; where the package makes something else, one of the two is wrong.
Section numbers are those of fastmark/SPEC.md.
"""

import hashlib
import math
import zlib
from functools import cache, reduce
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import dctn, idctn
from scipy.ndimage import map_coordinates, minimum_filter, uniform_filter

TONE_FREQUENCIES, TONE_PHASES, CHIP_SIGNS, ANCHOR_PLACES, CODE_BIT_MAP, ORIGIN = 2, 3, 4, 5, 6, 7
BINDING_SIGNS, BINDING_PARTNERS, BINDING_FLAGS = 8, 9, 10
COEFFICIENTS = ((0, 2), (1, 1), (2, 0), (0, 3), (1, 2), (2, 1), (3, 0), (1, 3), (2, 2), (3, 1))
ANCHOR = -1
PARTNERS = [(y, x) for y, x in product(range(-5, 6), repeat=2) if 9 <= y * y + x * x <= 25]
DEPTH, FLAG = 0.4, 0.3  # a and f of the first class
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


class Carriers(NamedTuple):
    """What a key means (section 2)."""

    tones: np.ndarray  # (384, 2), bins (fy, fx)
    phases: np.ndarray  # (384,), radians
    signs: np.ndarray  # (10, 128, 128), +1 or -1
    code_bits: np.ndarray  # (10, 128, 128), 0..1023 or ANCHOR
    bindings: np.ndarray  # (10, 128, 128), +1 or -1
    flags: np.ndarray  # (10, 128, 128), +1 or -1: those of the first class
    partners: np.ndarray  # (128, 128, 2), blocks down and right


class Marked(NamedTuple):
    """A marked picture, and what the embedder chose for it."""

    pixels: np.ndarray
    pixels_per_unit: int
    tones: int
    strength: float


def keystream(secret, domain, n_bytes, context=b""):
    """Return the first bytes of the keystream of a domain and a context (section 1)."""
    person = b"fastmark" + domain.to_bytes(2, "little") + bytes(6)
    messages = (i.to_bytes(8, "little") + context for i in range(-(-n_bytes // 64)))
    pieces = (hashlib.blake2b(m, digest_size=64, key=secret, person=person).digest() for m in messages)
    return b"".join(pieces)[:n_bytes]


def draw_tones(secret):
    """Take 384 frequencies out of the 65536 proposed (section 2, tones)."""
    words = np.frombuffer(keystream(secret, TONE_FREQUENCIES, 524288), "<u2").reshape(-1, 4).astype(np.int64)
    fy, fx = 1 + 245 * words[:, 0] // 65536, 491 * words[:, 1] // 65536 - 245
    r2 = fy**2 + fx**2
    fits = (r2 >= 51**2) & (r2 <= 245**2) & (np.abs(fx) >= 6) & (fy >= 6)
    fits &= (65536 * words[:, 2] + words[:, 3]) * r2 < 2**32 * 51**2
    taken = []
    for y, x in zip(fy[fits].tolist(), fx[fits].tolist(), strict=True):
        if all((s * y - a) ** 2 + (s * x - b) ** 2 >= 36 for a, b in taken for s in (1, -1)):
            taken.append((y, x))
        if len(taken) == 384:
            break
    return np.array(taken)


def map_code_bits(anchors, words):
    """Deal the code bits to the chips of every superblock, anchors left out (section 2, code-bit map)."""
    code_bits = np.full((10, 128, 128), ANCHOR)
    chip = np.arange(10)[:, None, None]
    for s in range(64):
        rows, columns = (slice(16 * i, 16 * i + 16) for i in divmod(s, 8))
        data = chip != anchors[rows, columns]
        rank = np.empty(2304, int)
        rank[np.argsort(words[:, rows, columns][data], kind="stable")] = np.arange(2304)
        code_bits[:, rows, columns][data] = (rank + 256 * s) % 1024
    return code_bits


def draw_signs(secret, domain):
    """Draw one sign for each chip (section 2, signs)."""
    bits = np.unpackbits(np.frombuffer(keystream(secret, domain, 20480), np.uint8))
    return (1 - 2 * bits.astype(int)).reshape(10, 128, 128)


@cache
def carriers(secret):
    """Make tones, phases, signs, the code-bit map, and what binds (section 2)."""
    phases = 2 * np.pi * np.frombuffer(keystream(secret, TONE_PHASES, 768), "<u2") / 65536
    signs, bindings, flags = (draw_signs(secret, d) for d in (CHIP_SIGNS, BINDING_SIGNS, BINDING_FLAGS))
    anchors, partners = (
        np.frombuffer(keystream(secret, d, 32768), "<u2").reshape(128, 128).astype(int)
        for d in (ANCHOR_PLACES, BINDING_PARTNERS)
    )
    words = np.frombuffer(keystream(secret, CODE_BIT_MAP, 655360), "<u4").reshape(10, 128, 128)
    code_bits = map_code_bits(anchors % 10, words)
    partners = np.array(PARTNERS)[partners % len(PARTNERS)]
    return Carriers(draw_tones(secret), phases, signs, code_bits, bindings, flags, partners)


def draw_pilot(key, n_tones):
    """Sum the first tones over the torus, to a mean square of 1 (section 2, pilot)."""
    spectrum = np.zeros((1024, 1024), complex)
    fy, fx = key.tones[:n_tones].T
    spectrum[fy, fx % 1024] = np.exp(1j * key.phases[:n_tones])
    return math.sqrt(2 / n_tones) * 1024**2 * np.fft.ifft2(spectrum).real


def checksum(message, k):
    """Return the low 24 bits of CRC-32, masked by a hash of length and k (section 3, step 1)."""
    mask = hashlib.blake2b(b"fastmark" + bytes([8 * len(message), k]), digest_size=3).digest()
    return (zlib.crc32(message) % 2**24 ^ int.from_bytes(mask, "big")).to_bytes(3, "big")


def encode(message, k):
    """Return the 1024 code bits of a message: CRC, then polar code (section 3)."""
    bits = np.unpackbits(np.frombuffer(message + checksum(message, min(k, 15)), np.uint8))
    weights = [sum(2 ** (j / 4) for j in range(10) if i >> j & 1) for i in range(1024)]
    u = np.zeros(1024, int)
    u[np.sort(np.argsort(weights)[-bits.size :])] = bits
    return u @ reduce(np.kron, [np.array([[1, 0], [1, 1]])] * 10) % 2


def to_plane(pixels, k):
    """Average luma, or grey, over k x k pixels (section 4)."""
    luma = pixels @ np.array([0.299, 0.587, 0.114]) if pixels.ndim == 3 else pixels.astype(float)
    height, width = (n // k for n in luma.shape)
    return luma[: height * k, : width * k].reshape(height, k, width, k).mean(axis=(1, 3))


def find_origin(plane, secret):
    """Derive the torus place of the plane's first unit from its thumbnail (section 4)."""
    rows, columns = ([i * n // 8 for i in range(9)] for n in plane.shape)
    cells = [[plane[t:b, x:r].mean() for x, r in pairwise(columns)] for t, b in pairwise(rows)]
    d = keystream(secret, ORIGIN, 2, np.rint(cells).astype(np.uint8).tobytes())
    return 8 * (d[0] % 128) + 4, 8 * (d[1] % 128) + 4


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


def make_delta(plane, m, origin, key, codeword, n_tones):
    """Make pilot and chips at strength 1, the chips bound by the first class (section 5)."""
    shape = plane.shape
    y, x = ((np.arange(n) + o) % 1024 for n, o in zip(shape, origin, strict=True))
    delta = 0.21 * spread(box5(m), shape) * draw_pilot(key, n_tones)[np.ix_(y, x)]
    mask = to_blocks(spread(m, shape), 4).mean(axis=(2, 3))
    y, x = (((o + 4) // 8 + np.arange(n)) % 128 for n, o in zip(mask.shape, origin, strict=True))
    place = np.ix_(range(10), y, x)
    values = np.append(1 - 2 * codeword, 1)[key.code_bits[place]]  # the last one is that of an ANCHOR
    content = find_content(plane, key.partners[np.ix_(y, x)])
    values = values * (1 + 0.4 * key.bindings[place] * content + 0.3 * key.flags[place])
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


def find_noise(pixels, plane, k, m):
    """Return what a mark adds to the activity at the sampled cells (section 6, strength)."""
    cells = pool(plane)
    y, x = sampled(cells)
    variance = sliding_window_view(cells, (5, 5)).var(axis=(2, 3))[np.ix_(y - 2, x - 2)]
    power = 0.21**2 * box5(m) ** 2 + 0.275**2 * m**2 * (1 + FLAG**2 + 0.7 * DEPTH**2)
    colours = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    g = find_sensitivity(colours[np.ix_((2 * y + 1) * k, (2 * x + 1) * k)])
    return power[np.ix_(y, x)] * g**2 / (g**2 * variance + 50)


def base_strength(k, v):
    """Choose the strength, the user's factor left out (section 6, strength)."""
    seen = 4.819 + 0.476 * math.log(v) + 0.482 * math.log(min(k, 4))
    return min(max(math.exp((math.log(11.5) - seen) / 1.173), 0.35), 1.4)


def harden(plane, delta, strength):
    """Push coefficients over the thresholds of JPEG at quality 10, then 20 (section 7)."""
    table = np.array(LUMINANCE_TABLE.split(), int).reshape(8, 8)
    x, d = (dctn(to_blocks(p, 0), axes=(2, 3), norm="ortho") for p in (plane, delta))
    direction, size = np.where(d >= 0, 1, -1), np.abs(d)
    low = np.zeros((8, 8), bool)
    low[:6, :6] = True
    low[0, 0] = False
    for quality, limit in ((10, 2.5), (20, 2.0)):
        q = np.clip((table * (5000 // quality) + 50) // 100, 1, 255)
        t = (0.5 - (x / q - np.floor(x / q + 0.5)) * direction) * q + 0.5
        size = np.where(low & (size >= strength) & (size < t) & (t <= limit * size), t, size)
    return put_blocks(delta, 0, idctn(direction * size, axes=(2, 3), norm="ortho"))


def to_pixels(delta, k, shape):
    """Interpolate the delta between the centres of the units (section 8)."""
    at = [np.clip((np.arange(n) + 0.5) / k - 0.5, 0, m - 1) for n, m in zip(shape, delta.shape, strict=True)]
    return map_coordinates(delta, np.meshgrid(*at, indexing="ij"), order=1) if k > 1 else delta


def embed(pixels, secret, message, factor=1.0):
    """Mark uint8 pixels ``(H, W)`` or ``(H, W, 3)`` as sections 4 to 8 say; refuse none."""
    k = max(1, (2 * min(pixels.shape[:2]) + 800) // 1600)
    key, plane = carriers(secret), to_plane(pixels, k)
    m = measure(plane)
    n_tones = count_tones(plane, m, key.tones)
    unit = make_delta(plane, m, find_origin(plane, secret), key, encode(message, k), n_tones)

    def scaled(strength):
        return harden(plane, strength * unit, strength) if k == 1 else strength * unit

    v = math.sqrt(np.mean(find_noise(pixels, plane, k, m) ** 2))
    strength = factor * base_strength(k, v)
    delta = scaled(strength)
    psnr = 10 * math.log10(255**2 / (np.mean(delta**2) + 1 / 12))
    lacking = 42.15 - 20 * math.log10(max(1, factor)) - psnr
    if lacking > 0:
        strength *= 10 ** (-lacking / 20)
        delta = scaled(strength)
    steps = np.floor(to_pixels(delta, k, pixels.shape[:2]) + 0.5)
    marked = np.clip(pixels + (steps if pixels.ndim == 2 else steps[..., None]), 0, 255)
    return Marked(marked.astype(np.uint8), k, n_tones, strength)
