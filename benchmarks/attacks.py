"""The registry of attacks: what may befall a marked picture, and how much of the mark must be left.

Every attack is deterministic: those that draw are seeded by their own name. `python benchmarks/attacks.py`
lists them, `python benchmarks/attacks.py PICTURE -o FOLDER` writes one PNG of each to look at.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import _chains as chain
import _edits as edit
import _geometry as geo
import _pixels as pix
import _scenes as scene
import numpy as np
from PIL import Image, features

# group -> (share of messages read exactly, share detected) that must be reached; None: no target
TARGETS: dict[str, tuple[float | None, float | None]] = {
    "none": (0.995, 0.999),
    "everyday": (0.995, 0.999),
    "jpeg-20": (0.98, 0.999),
    "jpeg-10": (0.60, 0.95),
    "webp-50": (0.98, 0.999),
    "webp-20": (0.75, 0.98),
    "resize-0.25": (0.95, 0.99),
    "thumbnail-256": (0.25, 0.90),
    "large-1080": (0.99, 0.999),
    "large-800": (0.80, 0.95),
    "large-512": (0.25, 0.50),
    "crop-10": (0.97, None),
    "crop-5": (0.85, None),
    "crop-large-10": (0.92, None),
    "crop-large-4": (0.75, None),
    "geometry-hard": (0.97, None),
    "bend-3": (0.85, None),
    "nlm-strong": (0.60, 0.95),
    "blur-4": (0.30, 0.60),
    "notch-200": (None, 0.95),
    "screen-1080p": (0.95, 0.98),
    "screen-larger": (0.95, 0.98),
    "phone": (0.95, 0.98),
    "posted-small": (0.95, 0.98),
    "screen-4k": (0.80, 0.90),
    "typical-more": (0.98, 0.99),  # codecs and noise that the other groups lack
    "local-edits": (0.97, 0.99),
    "screen-tiny": (None, None),  # pictures of 300 to 400 px
    "beyond": (None, None),  # harder than anything promised: shows where it ends
}

DEEP = {"screen-4k", "screen-tiny"}
"""Groups that are for the deep search: small pieces of large canvases."""

Function = Callable[[np.ndarray], np.ndarray]
Applies = Callable[[int, int], bool]  # height, width


@dataclass(frozen=True)
class Attack:
    """One attack. `function` takes and returns RGB uint8, H x W x 3, and leaves its argument alone."""

    name: str
    group: str
    function: Function
    target_message: float | None
    target_presence: float | None
    applies: Applies

    @property
    def deep(self) -> bool:
        """Whether the mark is looked for with ``deep=True``, whatever is asked for."""
        return self.group in DEEP

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        return self.function(rgb)


ATTACKS: dict[str, Attack] = {}

_LARGE_PIXELS = 2_000_000  # from here on the targets of large pictures hold


def _always(h: int, w: int) -> bool:
    return True


def _large(h: int, w: int) -> bool:
    return h * w >= _LARGE_PIXELS


def _small(h: int, w: int) -> bool:
    return h * w < _LARGE_PIXELS


def _small_from_500(h: int, w: int) -> bool:
    """Targets set for 'a 512-px picture' would be meaningless on a 320-px one."""
    return min(h, w) >= 500 and _small(h, w)


def _from_500(h: int, w: int) -> bool:
    return min(h, w) >= 500


def _below_6_mp(h: int, w: int) -> bool:
    """Seconds a megapixel, or output larger than input: not worth the minutes on huge pictures."""
    return h * w <= 6_000_000


def _below_3_mp(h: int, w: int) -> bool:
    return h * w <= 3_000_000


def add(name: str, group: str, function: Callable, *args: object, applies: Applies = _always, **kw: object):
    """Register `function(rgb, *args, **kw)`; a second parameter `rng` gets a generator seeded by name."""
    if name in ATTACKS:
        raise ValueError(f"two attacks are called {name}")
    draws = "rng" in inspect.signature(function).parameters

    def run(rgb: np.ndarray) -> np.ndarray:
        drawn = (np.random.default_rng(zlib.crc32(name.encode())),) if draws else ()
        return function(rgb, *drawn, *args, **kw)

    ATTACKS[name] = Attack(name, group, run, *TARGETS[group], applies)


def _register_codecs() -> None:
    for quality in (95, 90, 80, 75, 70, 60, 50, 40, 30):
        add(f"jpeg-{quality}", "everyday", pix.jpeg, quality)
    for quality in (90, 50, 30):
        add(f"jpeg-{quality}-444", "everyday", pix.jpeg, quality, "4:4:4")
    add("jpeg-75-twice", "everyday", pix.jpeg_twice, 75, 70)
    add("jpeg-50-twice", "everyday", pix.jpeg_twice, 50, 60)
    for quality in (20, 10):
        add(f"jpeg-{quality}", f"jpeg-{quality}", pix.jpeg, quality)
    add("jpeg-20-444", "jpeg-20", pix.jpeg, 20, "4:4:4")
    add("jpeg-5", "beyond", pix.jpeg, 5)
    for quality in (90, 80, 70, 60):
        add(f"webp-{quality}", "everyday", pix.webp, quality)
    add("webp-50", "webp-50", pix.webp, 50)
    add("webp-30", "beyond", pix.webp, 30)
    add("webp-20", "webp-20", pix.webp, 20)
    if features.check("avif"):
        add("avif-60", "everyday", pix.avif, 60)
        add("avif-40", "everyday", pix.avif, 40)
        add("avif-20", "beyond", pix.avif, 20)
    if importlib.util.find_spec("pillow_jxl"):
        add("jpeg-xl-50", "typical-more", pix.jpeg_xl, 50)
        add("jpeg-xl-20", "beyond", pix.jpeg_xl, 20)
    if features.check("jpg_2000"):
        add("jpeg2000-20", "beyond", pix.jpeg2000, 20)
        add("jpeg2000-50", "beyond", pix.jpeg2000, 50)


def _register_sizes() -> None:
    for scale in (0.3, 0.33, 0.5, 0.75, 0.9, 1.1, 1.5, 2.0):
        add(f"resize-{scale}", "everyday", geo.resize, scale, scale, applies=_below_6_mp)
    for scale in (0.3, 0.33, 0.5, 0.75, 1.5):
        add(f"resize-{scale}-back", "everyday", geo.resize, scale, scale, back=True, applies=_below_6_mp)
    for scale, method in (
        (0.33, "lanczos"), (0.4, "box"), (0.5, "bilinear"), (0.5, "nearest"), (0.75, "nearest"),
        (0.6, "lanczos"), (1.5, "nearest"), (1.3, "bilinear"),
    ):  # fmt: skip
        add(f"resize-{scale}-{method}", "everyday", geo.resize, scale, scale, method, applies=_below_6_mp)
    add("resize-0.25", "resize-0.25", geo.resize, 0.25, 0.25, applies=_from_500)
    add("resize-0.25-back", "resize-0.25", geo.resize, 0.25, 0.25, back=True, applies=_from_500)
    add("resize-0.2", "beyond", geo.resize, 0.2, 0.2, applies=_from_500)
    add("resize-3", "beyond", geo.resize, 3.0, 3.0, applies=_below_3_mp)
    for factor in (0.8, 0.9, 1.1, 1.25):
        add(f"aspect-x{factor}", "everyday", geo.resize, factor, 1.0)
        add(f"aspect-y{factor}", "everyday", geo.resize, 1.0, factor)
    add("thumbnail-256", "thumbnail-256", chain.social, 256, 75, applies=_small)
    for side in (1080, 800, 512):
        add(f"large-{side}", f"large-{side}", chain.social, side, 71, applies=_large)


def _register_crops() -> None:
    add("crop-75-centre", "everyday", geo.crop_area, 0.75, "centre")
    for where in ("centre", "corner", "random"):
        for percent in (50, 25, 15):
            add(f"crop-{percent}-{where}", "everyday", geo.crop_area, percent / 100, where)
        add(f"crop-10-{where}", "crop-10", geo.crop_area, 0.10, where, applies=_small_from_500)
        add(f"crop-5-{where}", "crop-5", geo.crop_area, 0.05, where, applies=_small_from_500)
        add(f"crop-large-10-{where}", "crop-large-10", geo.crop_area, 0.10, where, applies=_large)
        add(f"crop-large-4-{where}", "crop-large-4", geo.crop_area, 0.04, where, applies=_large)
    add("crop-3px", "everyday", geo.crop_pixels, 3, 3, 0, 0)
    add("crop-odd-px", "everyday", geo.crop_pixels, 13, 7, 1, 5)
    add("crop-left-30", "everyday", geo.crop_sides, 0.3, 0, 0, 0)
    add("crop-top-45", "everyday", geo.crop_sides, 0, 0.45, 0, 0)
    add("crop-right-bottom-20", "everyday", geo.crop_sides, 0, 0, 0.2, 0.2)
    add("crop-square", "everyday", geo.crop_aspect, 1.0)
    add("crop-16:9", "everyday", geo.crop_aspect, 16 / 9)
    add("crop-strip", "beyond", geo.crop_sides, 0.03, 0.4, 0.03, 0.4)
    add("frame-white", "everyday", geo.pad, 0.1, 0.1, 0.1, 0.1)
    add("frame-black-thin", "everyday", geo.pad, 0.02, 0.02, 0.02, 0.02, 0)
    add("frame-polaroid", "everyday", geo.pad, 0.05, 0.05, 0.05, 0.2)
    add("frame-blurred", "everyday", geo.pad_blurred, 1.9)
    add("frame-canvas-x2", "everyday", geo.paste_random, 2.0)


def _register_geometry() -> None:
    for degrees in (1, 2, 5, 10, 17, 30, 45, 60, 77, 123):
        add(f"rotate-{degrees}", "everyday", geo.rotate, degrees, "cropped")
    for degrees in (3, 10, 45, 77, 160, 340):
        add(f"rotate-{degrees}-black", "everyday", geo.rotate, degrees, "black")
    add("rotate-7-clipped", "everyday", geo.rotate, 7, "clipped")
    turns = Image.Transpose
    for name, method in (
        ("rotate-90", turns.ROTATE_90), ("rotate-180", turns.ROTATE_180), ("rotate-270", turns.ROTATE_270),
        ("flip-x", turns.FLIP_LEFT_RIGHT), ("flip-y", turns.FLIP_TOP_BOTTOM),
        ("transpose", turns.TRANSPOSE), ("transverse", turns.TRANSVERSE),
    ):  # fmt: skip
        add(name, "everyday", geo.transpose, method)
    for axis in ("x", "y"):
        add(f"shear-{axis}-0.02", "everyday", geo.shear, **{axis: 0.02})
        add(f"shear-{axis}-0.05", "geometry-hard", geo.shear, **{axis: 0.05})
    add("perspective-2", "everyday", geo.perspective, 0.02)
    add("keystone-2", "everyday", geo.keystone, 0.02)
    add("perspective-5", "geometry-hard", geo.perspective, 0.05)
    add("keystone-5", "geometry-hard", geo.keystone, 0.05)
    for amplitude, group in ((1, "everyday"), (3, "bend-3")):
        for waves in (1, 2):
            add(f"bend-{amplitude}-waves-{waves}", group, geo.bend, amplitude, waves, applies=_below_6_mp)
    add("rotate-8-scale-0.8-crop-60", "everyday", chain.rotate_scale_crop, 8, 0.8, 0.6)
    add("rotate-33-scale-1.2-crop-50", "everyday", chain.rotate_scale_crop, 33, 1.2, 0.5)


def _register_tones() -> None:
    for factor in (0.5, 0.7, 1.3, 1.5):
        add(f"brightness-{factor}", "everyday", pix.brightness, factor)
        add(f"contrast-{factor}", "everyday", pix.contrast, factor)
    add("offset-40", "everyday", pix.offset, 40)
    add("gamma-0.6", "everyday", pix.gamma, 0.6)
    add("gamma-1.6", "everyday", pix.gamma, 1.6)
    add("saturation-0", "everyday", pix.saturation, 0.0)
    add("saturation-1.5", "everyday", pix.saturation, 1.5)
    add("hue-30", "everyday", pix.hue, 30)
    add("hue-90", "everyday", pix.hue, 90)
    add("warm", "everyday", pix.channels, (1.15, 1.0, 0.82))
    add("sepia", "everyday", pix.mix, [[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])
    add("channels-swapped", "beyond", pix.mix, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    add("greyscale", "everyday", pix.greyscale)
    add("invert", "everyday", pix.invert)
    add("equalise", "everyday", pix.equalise)
    add("autocontrast", "everyday", pix.autocontrast, 1)
    add("clahe", "everyday", pix.clahe, 0.01, applies=_below_6_mp)
    for bits in (5, 4, 3):
        add(f"posterise-{bits}", "everyday", pix.posterise, bits)
    for colours in (256, 64, 16):
        add(f"palette-{colours}", "everyday", pix.palette, colours, False)
        add(f"palette-{colours}-dither", "everyday", pix.palette, colours, True)
    add("bilevel-dither", "beyond", pix.bilevel)
    add("photo-filter", "everyday", pix.photo_filter)


def _register_noise_and_filters() -> None:
    for sigma in (5, 10, 25):
        add(f"noise-{sigma}", "everyday", pix.noise, sigma)
    add("noise-50", "beyond", pix.noise, 50)
    add("poisson-60", "typical-more", pix.poisson, 60)
    add("speckle-0.1", "everyday", pix.speckle, 0.1)
    add("salt-pepper-1", "everyday", pix.salt_pepper, 0.01)
    add("salt-pepper-5", "everyday", pix.salt_pepper, 0.05)
    add("blur-1", "everyday", pix.blur, 1)
    add("blur-2", "everyday", pix.blur, 2)
    add("blur-3", "beyond", pix.blur, 3)
    add("blur-4", "blur-4", pix.blur, 4)
    add("box-blur-1", "everyday", pix.box_blur, 1)
    add("box-blur-2", "everyday", pix.box_blur, 2)
    add("motion-blur-5", "everyday", pix.motion_blur, 5, True)
    add("motion-blur-9", "beyond", pix.motion_blur, 9, False)
    add("median-3", "everyday", pix.median, 3)
    add("median-5", "everyday", pix.median, 5)
    add("median-7", "beyond", pix.median, 7)
    add("sharpen-2", "everyday", pix.sharpen, 2.0)
    add("unsharp", "everyday", pix.unsharp, 2, 150)
    add("bilateral", "everyday", pix.bilateral, 18, 2, applies=_below_3_mp)
    add("wavelet-5", "everyday", pix.wavelet, 5, applies=_below_6_mp)
    add("wavelet-15", "beyond", pix.wavelet, 15, applies=_below_6_mp)
    add("nlm-moderate", "everyday", pix.non_local_means, 4, 5, applies=_below_3_mp)
    add("nlm-strong", "nlm-strong", pix.non_local_means, 10, 7, applies=_below_3_mp)
    add("total-variation", "beyond", pix.total_variation, 0.05, applies=_below_3_mp)
    add("cover-blocks-30", "everyday", edit.cover_blocks, 0.3)
    add("cover-banner-30", "everyday", edit.cover_banner, 0.3)
    add("cover-half", "everyday", edit.cover_half)
    add("overlay-text-30", "everyday", edit.overlay_text, 0.3)
    add("overlay-picture-30", "everyday", edit.blend_picture, 0.3)
    add("masked-20", "local-edits", edit.mask_black, 0.2)
    add("masked-40", "local-edits", edit.mask_black, 0.4)
    add("blurred-parts-30", "local-edits", edit.blur_parts, 0.3, 6)
    add("strokes-6", "local-edits", edit.strokes, 6)
    add("pasted-40", "local-edits", edit.paste_into, 0.4)
    add("pasted-20", "beyond", edit.paste_into, 0.2)
    add("notch-200", "notch-200", pix.notch, 200)
    add("notch-200-in-band", "beyond", pix.notch, 200, 0.26)
    add("notch-1000", "beyond", pix.notch, 1000)


def _register_chains() -> None:
    add("screenshot-0.8", "everyday", chain.screenshot, 0.8, 85)
    add("screenshot-1.25", "everyday", chain.screenshot, 1.25, 75, applies=_below_6_mp)
    add("screenshot-png", "everyday", chain.screenshot, 0.66, None)
    add("print-scan", "everyday", chain.print_scan, applies=_below_6_mp)
    add("photographed-print", "beyond", chain.photographed_print, applies=_below_6_mp)
    add("photographed-screen", "beyond", chain.photographed, applies=_below_6_mp)
    add("social-2048", "everyday", chain.social, 2048, 85)
    # large pictures brought to such sizes have targets of their own
    add("social-1080", "everyday", chain.social, 1080, 75, sharpen=True, applies=_small)
    add("social-800", "everyday", chain.social, 800, 71, applies=_small)
    add("social-640", "everyday", chain.social, 640, 75, applies=_small)
    add("messenger-640", "everyday", chain.social, 640, 60, applies=_small)
    add("reshared", "everyday", chain.reshared, applies=_small)
    add("crop-50-resize-0.7-jpeg-60", "everyday", chain.crop_resize_jpeg, 0.5, 0.7, 60)
    add("rotate-5-crop-75-jpeg-75", "everyday", chain.rotate_crop_jpeg, 5, 0.75, 75)
    add("meme", "everyday", chain.meme, 80)
    add("collage", "beyond", chain.collage, applies=_below_3_mp)


def _register_scenes() -> None:
    """Pictures of at least 500 px a side; smaller ones are shown as small as they are elsewhere."""
    from_500 = {"applies": _from_500}
    full_hd = (1920, 1080)
    for share in (0.45, 0.55, 0.65):
        add(f"screen-{share}-png", "screen-1080p", scene.page, full_hd, share, None, **from_500)
        add(f"screen-{share}-jpeg-75", "screen-1080p", scene.page, full_hd, share, 75, **from_500)
    add("slide", "screen-1080p", scene.slide, 85, **from_500)
    add("screen-1600x1200", "screen-larger", scene.viewer, (1600, 1200), 0.8, None, **from_500)
    add("screen-2560x1440", "screen-larger", scene.viewer, (2560, 1440), 1.0, None, **from_500)
    add("screen-2560x1440-jpeg-80", "screen-larger", scene.page, (2560, 1440), 0.8, 80, **from_500)
    add("video-frame-upright", "phone", scene.video_frame, 70, **from_500)
    add("feed-1080x1350", "phone", scene.feed, 80, **from_500)
    add("phone-1080x2400", "phone", scene.phone_page, None, **from_500)
    add("phone-1170x2532-to-1600", "phone", scene.phone_chat, 1600, 80, **from_500)
    add("meme-640", "posted-small", scene.captioned, 640, 80, **from_500)
    add("avatar-400", "posted-small", scene.avatar, 400, 85, **from_500)
    for quality, name in ((None, "png"), (80, "jpeg-80")):
        add(f"screen-4k-0.6-{name}", "screen-4k", scene.page, (3840, 2160), 0.6, quality, **from_500)
    add("screen-0.35-png", "screen-tiny", scene.page, full_hd, 0.35, None, **from_500)
    add("screen-2560x1440-0.35-png", "screen-tiny", scene.page, (2560, 1440), 0.35, None, **from_500)


add("none", "none", np.copy)
_register_codecs()
_register_sizes()
_register_crops()
_register_geometry()
_register_tones()
_register_noise_and_filters()
_register_chains()
_register_scenes()


def main() -> None:
    parser = argparse.ArgumentParser(description="list the attacks, or show what each does to a picture")
    parser.add_argument("picture", nargs="?", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("attacked"), help="folder for the PNGs")
    options = parser.parse_args()
    if options.picture is None:
        for attack in ATTACKS.values():
            print(f"{attack.group:14} {attack.name}")
        return
    rgb = geo.array(Image.open(options.picture))
    options.output.mkdir(parents=True, exist_ok=True)
    for attack in ATTACKS.values():
        geo.pil(attack(rgb)).save(options.output / f"{attack.name.replace(':', '-')}.png", compress_level=1)
        print(attack.name, file=sys.stderr)


if __name__ == "__main__":
    main()
