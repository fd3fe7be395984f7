"""Attacks that leave pixels in place: codecs, tone and colour, noise, filters, notching."""

from __future__ import annotations

import io

import numpy as np
from _geometry import array, pil
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from scipy import ndimage


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Round and clip to uint8."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


# --- codecs -------------------------------------------------------------------------------------------------


def encode(rgb: np.ndarray, codec: str, **options: object) -> np.ndarray:
    """Compress with Pillow's encoder and decode again."""
    buffer = io.BytesIO()
    pil(rgb).save(buffer, codec, **options)
    buffer.seek(0)
    with Image.open(buffer) as decoded:
        return array(decoded)


def jpeg(rgb: np.ndarray, quality: int, subsampling: str = "4:2:0") -> np.ndarray:
    return encode(rgb, "JPEG", quality=quality, subsampling=subsampling)


def webp(rgb: np.ndarray, quality: int) -> np.ndarray:
    return encode(rgb, "WEBP", quality=quality)


def avif(rgb: np.ndarray, quality: int) -> np.ndarray:
    # speed 8 of 10: several times faster than the default; one thread, so that nothing depends on the machine
    return encode(rgb, "AVIF", quality=quality, speed=8, max_threads=1)


def jpeg_xl(rgb: np.ndarray, quality: int) -> np.ndarray:
    """Compress by pillow-jxl-plugin, at libjxl's quality."""
    import pillow_jxl  # noqa: F401  registers the format

    return encode(rgb, "JXL", quality=quality, lossless=False)


def jpeg2000(rgb: np.ndarray, rate: float) -> np.ndarray:
    """`rate`: how many times smaller than the raw picture."""
    return encode(rgb, "JPEG2000", quality_mode="rates", quality_layers=[rate], irreversible=True)


def jpeg_twice(rgb: np.ndarray, first: int, second: int) -> np.ndarray:
    """Two JPEGs, the second on a block grid shifted by (3, 5)."""
    return jpeg(jpeg(rgb, first)[3:, 5:], second)


# --- tone and colour ----------------------------------------------------------------------------------------


def brightness(rgb: np.ndarray, factor: float) -> np.ndarray:
    return array(ImageEnhance.Brightness(pil(rgb)).enhance(factor))


def contrast(rgb: np.ndarray, factor: float) -> np.ndarray:
    return array(ImageEnhance.Contrast(pil(rgb)).enhance(factor))


def saturation(rgb: np.ndarray, factor: float) -> np.ndarray:
    return array(ImageEnhance.Color(pil(rgb)).enhance(factor))


def offset(rgb: np.ndarray, levels: int) -> np.ndarray:
    return to_bytes(rgb.astype(np.int16) + levels)


def gamma(rgb: np.ndarray, exponent: float) -> np.ndarray:
    return to_bytes(255 * (np.arange(256) / 255) ** exponent)[rgb]


def hue(rgb: np.ndarray, degrees: float) -> np.ndarray:
    h, s, v = pil(rgb).convert("HSV").split()
    turned = h.point([(i + round(degrees * 256 / 360)) % 256 for i in range(256)])
    return array(Image.merge("HSV", (turned, s, v)))


def channels(rgb: np.ndarray, gains: tuple[float, float, float]) -> np.ndarray:
    return to_bytes(rgb * np.array(gains))


def mix(rgb: np.ndarray, matrix: list[list[float]]) -> np.ndarray:
    """Apply a 3 x 3 colour matrix."""
    return to_bytes(rgb @ np.array(matrix).T)


def greyscale(rgb: np.ndarray) -> np.ndarray:
    return array(ImageOps.grayscale(pil(rgb)))


def invert(rgb: np.ndarray) -> np.ndarray:
    return 255 - rgb


def equalise(rgb: np.ndarray) -> np.ndarray:
    return array(ImageOps.equalize(pil(rgb)))


def autocontrast(rgb: np.ndarray, cutoff: float) -> np.ndarray:
    return array(ImageOps.autocontrast(pil(rgb), cutoff))


def clahe(rgb: np.ndarray, clip_limit: float) -> np.ndarray:
    from skimage import exposure

    return to_bytes(255 * exposure.equalize_adapthist(rgb, clip_limit=clip_limit))


def posterise(rgb: np.ndarray, bits: int) -> np.ndarray:
    return array(ImageOps.posterize(pil(rgb), bits))


def palette(rgb: np.ndarray, colours: int, dither: bool) -> np.ndarray:
    # twice: Pillow dithers only when it is handed a palette
    found = pil(rgb).quantize(colours, Image.Quantize.MEDIANCUT)
    how = Image.Dither.FLOYDSTEINBERG if dither else Image.Dither.NONE
    return array(pil(rgb).quantize(palette=found, dither=how))


def bilevel(rgb: np.ndarray) -> np.ndarray:
    """Black and white dots, as on a fax."""
    return array(pil(rgb).convert("1", dither=Image.Dither.FLOYDSTEINBERG))


def photo_filter(rgb: np.ndarray) -> np.ndarray:
    """Vignette, faded blacks, an S curve and a warm cast."""
    h, w = rgb.shape[:2]
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    vignette = 1 - 0.35 * np.clip(x**2 + y**2, 0, 2) / 2
    t = np.arange(256) / 255
    curve = 255 * (0.06 + 0.9 * (0.6 * t + 0.4 * (3 * t**2 - 2 * t**3)))
    return to_bytes(curve[rgb] * vignette[..., None] * np.array([1.06, 1.0, 0.9]))


# --- noise --------------------------------------------------------------------------------------------------


def noise(rgb: np.ndarray, rng: np.random.Generator, sigma: float) -> np.ndarray:
    return to_bytes(rgb + sigma * rng.standard_normal(rgb.shape, np.float32))


def speckle(rgb: np.ndarray, rng: np.random.Generator, sigma: float) -> np.ndarray:
    return to_bytes(rgb * (1 + sigma * rng.standard_normal(rgb.shape, np.float32)))


def poisson(rgb: np.ndarray, rng: np.random.Generator, photons: float) -> np.ndarray:
    """Noise of light: at white, so many photons per pixel and colour."""
    return to_bytes(rng.poisson(rgb * (photons / 255)) * (255 / photons))


def salt_pepper(rgb: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    drawn = rng.random(rgb.shape[:2], np.float32)
    out = rgb.copy()
    out[drawn < share / 2] = 0
    out[drawn > 1 - share / 2] = 255
    return out


# --- filters ------------------------------------------------------------------------------------------------


def blur(rgb: np.ndarray, radius: float) -> np.ndarray:
    """Blur by a Gaussian; Pillow's radius is the standard deviation."""
    return array(pil(rgb).filter(ImageFilter.GaussianBlur(radius)))


def box_blur(rgb: np.ndarray, radius: float) -> np.ndarray:
    return array(pil(rgb).filter(ImageFilter.BoxBlur(radius)))


def motion_blur(rgb: np.ndarray, length: int, diagonal: bool) -> np.ndarray:
    kernel = np.eye(length) if diagonal else np.zeros((length, length))
    if not diagonal:
        kernel[length // 2] = 1
    weights = (kernel / kernel.sum())[..., None].astype(np.float32)
    return to_bytes(ndimage.convolve(rgb.astype(np.float32), weights, mode="mirror"))


def median(rgb: np.ndarray, size: int) -> np.ndarray:
    return array(pil(rgb).filter(ImageFilter.MedianFilter(size)))


def sharpen(rgb: np.ndarray, factor: float) -> np.ndarray:
    return array(ImageEnhance.Sharpness(pil(rgb)).enhance(factor))


def unsharp(rgb: np.ndarray, radius: float, percent: int) -> np.ndarray:
    return array(pil(rgb).filter(ImageFilter.UnsharpMask(radius, percent, 2)))


# --- denoising ----------------------------------------------------------------------------------------------


def non_local_means(rgb: np.ndarray, strength: float, distance: int) -> np.ndarray:
    """`strength`: the filter's h in grey levels; `distance`: how far it looks for similar 5 x 5 patches."""
    from skimage import restoration

    clean = restoration.denoise_nl_means(
        rgb.astype(np.float32) / 255, 5, distance, strength / 255, fast_mode=True, channel_axis=-1
    )
    return to_bytes(255 * clean)


def bilateral(rgb: np.ndarray, colour_levels: float, space_px: float) -> np.ndarray:
    from skimage import restoration

    clean = restoration.denoise_bilateral(
        rgb, win_size=7, sigma_color=colour_levels / 255, sigma_spatial=space_px, channel_axis=-1
    )
    return to_bytes(255 * clean)


def total_variation(rgb: np.ndarray, weight: float) -> np.ndarray:
    from skimage import restoration

    clean = restoration.denoise_tv_chambolle(rgb.astype(np.float32) / 255, weight, channel_axis=-1)
    return to_bytes(255 * clean)


def wavelet(rgb: np.ndarray, sigma: float) -> np.ndarray:
    """Soft-threshold an undecimated B3-spline wavelet transform, as if the noise had `sigma`.

    Ours and not scikit-image's, which needs one more package. The threshold of each of the four scales is
    BayesShrink's: noise variance over the signal's standard deviation.
    """
    out = np.empty_like(rgb)
    for c in range(3):
        smooth = rgb[..., c].astype(np.float32)
        total = np.zeros_like(smooth)
        # standard deviation of white unit noise in each scale of this transform
        for level, gain in enumerate((0.889, 0.200, 0.086, 0.041)):
            kernel = np.zeros(4 * 2**level + 1, np.float32)
            kernel[:: 2**level] = np.array([1, 4, 6, 4, 1]) / 16
            coarse = ndimage.convolve1d(smooth, kernel, axis=0, mode="mirror")
            coarse = ndimage.convolve1d(coarse, kernel, axis=1, mode="mirror")
            detail, smooth = smooth - coarse, coarse
            variance = (gain * sigma) ** 2
            threshold = variance / np.sqrt(max(float(np.mean(detail**2)) - variance, 1e-3 * variance))
            total += np.sign(detail) * np.maximum(np.abs(detail) - threshold, 0)
        out[..., c] = to_bytes(total + smooth)
    return out


# --- against the pilot --------------------------------------------------------------------------------------


def spectral_level(power: np.ndarray) -> np.ndarray:
    """The mean of a power over 21 x 21 bins, twice limited to three times itself: no line hides itself."""
    level = ndimage.uniform_filter(power, 21, mode="wrap")
    for _ in range(2):
        level = 1.2 * ndimage.uniform_filter(np.minimum(power, 3 * level), 21, mode="wrap")
    return level


def notch(rgb: np.ndarray, peaks: int, top_radius: float = 1.0) -> np.ndarray:
    """Flatten the strongest peaks of the whitened luma spectrum, the key unknown.

    1. Whiten: |F|^2 over its robust mean in 21 x 21 bins (clipped twice, so that no peak hides itself).
    2. Take the strongest local maxima of the half plane. The attacker knows the design, so the radii start
       just under the pilot's, in units of the canonical plane; bins beside the axes hold the jump at the
       frame's edges and are left out.
    3. Bring a peak and its eight neighbours (tones fall between bins) down to the local level, phases kept.
    """
    h, w = rgb.shape[:2]
    y = luma(rgb)
    spectrum = np.fft.rfft2(y)
    power = np.abs(spectrum) ** 2
    white = power / np.maximum(spectral_level(power), 1e-6)

    unit = max(1, round(min(h, w) / 800))
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None, :]
    radius = np.hypot(fy, fx) * unit
    allowed = (radius > 0.04) & (radius < top_radius) & (np.abs(fy) * h > 3) & (fx * w > 3)
    summit = white == ndimage.maximum_filter(white, 5, mode="wrap")
    score = np.where(allowed & summit, white, 0)
    strongest = np.argpartition(score, -peaks, axis=None)[-peaks:]

    chosen = np.zeros(score.shape, bool)
    chosen.flat[strongest] = score.flat[strongest] > 0
    chosen = ndimage.binary_dilation(chosen, np.ones((3, 3)))
    keep = np.where(chosen, np.minimum(1, 1 / np.sqrt(np.maximum(white, 1e-6))), 1)
    delta = np.fft.irfft2(spectrum * keep, s=(h, w)) - y
    return to_bytes(rgb + delta[..., None])
