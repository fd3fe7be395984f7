"""Other watermarking packages and fastmark behind the same two calls, each with the secret of one image.

Each is used as its documentation says, at its defaults unless its name says otherwise. Packages are imported
when a tool is made: see others-requirements.txt.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from _common import seeded_bytes

Pixels = np.ndarray
FALSE_POSITIVES = 1e-6  # per image, at which a known message counts as present


@dataclass(frozen=True)
class Answer:
    """What a tool says of one image.

    Attributes:
        says: whether it says that there is a watermark; tools that cannot say no always do.
        known: whether the watermark that one looks for is there, at 1e-6 false positives by the tool's own
            bound, or if it has none by the number of right bits.
        message_ok: whether the message is exactly the one that was embedded; None of tools without messages.
        accuracy: share of bits that are right; None where no bits are given.
        log10_p: the tool's own bound, if it has one.
    """

    says: bool
    known: bool
    message_ok: bool | None = None
    accuracy: float | None = None
    log10_p: float | None = None


@dataclass(frozen=True)
class Tool:
    """A package. `secret` makes of an image's name what `mark` and `look` are given: key, message or both.

    `slow`: it takes seconds per image, and gets fewer images and attacks. `own`: it is fastmark.
    """

    name: str
    bits: int
    secret: Callable[[str], Any]
    mark: Callable[[Pixels, Any], Pixels]
    look: Callable[[Pixels, Any], Answer]
    slow: bool = False
    own: bool = False


def needed_bits(bits: int, rate: float = FALSE_POSITIVES) -> int:
    """The least number of right bits that `bits` fair coins reach with at most this probability."""
    tail, right = 0, bits + 1
    while right > 0 and tail + math.comb(bits, right - 1) <= rate * 2**bits:
        right -= 1
        tail += math.comb(bits, right)
    if right > bits:
        raise ValueError(f"{bits} bits do not reach a false-positive rate of {rate:g}")
    return right


def judged(read: Pixels, message: Pixels) -> Answer:
    """The answer of a tool that always gives bits."""
    right = int(np.count_nonzero(read.astype(bool) == message.astype(bool)))
    bits = message.size
    return Answer(
        says=True,
        known=right >= needed_bits(bits),
        message_ok=right == bits,
        accuracy=right / bits,
    )


def message_of(name: str, bits: int) -> Pixels:
    """A message of an image: 0 and 1, uint8."""
    return np.unpackbits(np.frombuffer(seeded_bytes(f"message {name}", bits // 8), np.uint8))


def turned(rgb: Pixels) -> Pixels:
    """RGB as OpenCV's BGR, or back."""
    return np.ascontiguousarray(rgb[..., ::-1])


def to_pixels(values: Pixels) -> Pixels:
    return values if values.dtype == np.uint8 else np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _fastmark(bits: int) -> Tool:
    import fastmark as fm

    @cache
    def secret(name: str) -> tuple[Any, bytes]:
        key = fm.Key(seeded_bytes(f"others {name}"))
        return fm.Watermarker(key, message_bits=bits), seeded_bytes(f"message {name}", bits // 8)

    def look(rgb: Pixels, of: tuple[Any, bytes]) -> Answer:
        marker, message = of
        found = marker.detect(rgb)
        return Answer(
            says=found.detected,
            known=found.log10_p <= math.log10(FALSE_POSITIVES),
            message_ok=found.message_bytes == message,
            accuracy=None if found.message is None else float(found.message_bytes == message),
            log10_p=float(found.log10_p),
        )

    name = "fastmark" if bits == 64 else f"fastmark, {bits} bits"
    return Tool(name, bits, secret, lambda rgb, of: of[0].embed(rgb, of[1]), look, own=True)


def _invisible_watermark(method: str, bits: int, scale: int | None = None) -> Tool:
    """`scale`: step of the quantisation of the one channel that it marks by default."""
    import cv2
    import imwatermark

    cv2.setNumThreads(1)
    if method == "rivaGan":
        _load_riva_gan()
    settings = {} if scale is None else {"scales": [0, scale, 0]}

    def mark(rgb: Pixels, message: Pixels) -> Pixels:
        encoder = imwatermark.WatermarkEncoder()
        encoder.set_watermark("bits", message)
        return turned(to_pixels(encoder.encode(turned(rgb), method, **settings)))

    def look(rgb: Pixels, message: Pixels) -> Answer:
        decoder = imwatermark.WatermarkDecoder("bits", bits)
        return judged(np.asarray(decoder.decode(turned(rgb), method, **settings)), message)

    name = f"invisible-watermark, {method}" + (f", scale {scale}" if scale else "")
    return Tool(name, bits, lambda of: message_of(of, bits), mark, look, slow=method == "rivaGan")


def _load_riva_gan() -> None:
    """Load its two networks as the package does, but for one thread."""
    from pathlib import Path

    import onnxruntime
    import torch
    from imwatermark import rivaGan

    torch.set_num_threads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    folder = Path(rivaGan.__file__).parent
    for part in ("encoder", "decoder"):
        session = onnxruntime.InferenceSession(
            str(folder / f"rivagan_{part}.onnx"), options, providers=["CPUExecutionProvider"]
        )
        setattr(rivaGan.RivaWatermark, part, session)


def _blind_watermark() -> Tool:
    import multiprocessing

    import cv2

    method = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(None, force=True)  # importing sets it, and fails if it is set
    import blind_watermark

    multiprocessing.set_start_method(method, force=True)
    cv2.setNumThreads(1)
    blind_watermark.bw_notes.close()  # it greets on stdout
    bits = 64

    def mark(rgb: Pixels, message: Pixels) -> Pixels:
        marker = blind_watermark.WaterMark()
        marker.read_img(img=turned(rgb))
        marker.read_wm(message.astype(bool), mode="bit")
        return turned(to_pixels(marker.embed()))

    def look(rgb: Pixels, message: Pixels) -> Answer:
        read = blind_watermark.WaterMark().extract(embed_img=turned(rgb), wm_shape=bits, mode="bit")
        return judged(np.asarray(read), message)

    return Tool("blind-watermark", bits, lambda of: message_of(of, bits), mark, look)


def _sigil(strength: float | None = None) -> Tool:
    """Its message is the author's index, 20 bits, with 48 bits that are compared with an author's key."""
    import sigil_watermark
    from sigil_watermark.keygen import derive_author_index

    config = sigil_watermark.DEFAULT_CONFIG
    if strength is not None:
        config = sigil_watermark.SigilConfig(embed_strength=strength)
    embedder, detector = sigil_watermark.SigilEmbedder(config), sigil_watermark.SigilDetector(config)

    @cache
    def secret(name: str) -> Any:
        return sigil_watermark.generate_author_keys(seed=seeded_bytes(f"others {name}"))

    def look(rgb: Pixels, keys: Any) -> Answer:
        found = detector.detect(rgb.astype(np.float64), keys.public_key)
        index = derive_author_index(keys.public_key, config=config)
        return Answer(
            says=bool(found.detected),
            known=bool(found.author_id_match),
            message_ok=bool(found.author_id_match and found.author_index == index),
            accuracy=float(found.payload_confidence),
        )

    name = "sigil-watermark" + (f", strength {strength:g}" if strength else "")
    return Tool(
        name, 68, secret,
        lambda rgb, keys: to_pixels(embedder.embed(rgb.astype(np.float64), keys)), look, slow=True,
    )  # fmt: skip


def _melu() -> Tool:
    """It tells presence alone, at 1e-6 false positives by its own account."""
    import melu

    return Tool(
        "melu", 0, lambda name: seeded_bytes(f"others {name}"),
        lambda rgb, salt: np.array(melu.embed(rgb, salt)[0].to_pil()),
        lambda rgb, salt: (lambda found: Answer(says=found, known=found))(bool(melu.detect(rgb, salt))),
        slow=True,
    )  # fmt: skip


def _trustmark() -> Tool:
    """Fetches its weights from its vendor when it is first used; without them it cannot be compared."""
    import torch
    from PIL import Image
    from trustmark import TrustMark

    torch.set_num_threads(1)
    marker = TrustMark(verbose=False, device="cpu", model_type="Q", loadRemover=False)
    if marker.encoder is None or marker.decoder is None:
        raise FileNotFoundError("its weights are not in the package, and could not be fetched")
    bits = int(marker.schemaCapacity())

    def mark(rgb: Pixels, message: str) -> Pixels:
        return np.array(marker.encode(Image.fromarray(rgb), message, MODE="binary"))

    def look(rgb: Pixels, message: str) -> Answer:
        read, present, _ = marker.decode(Image.fromarray(rgb), MODE="binary")
        return Answer(says=bool(present), known=bool(present) and read == message, message_ok=read == message)

    def secret(name: str) -> str:
        return "".join(map(str, message_of(name, 64)[:bits]))

    return Tool("trustmark, Q", bits, secret, mark, look, slow=True)


MAKERS: dict[str, Callable[[], Tool]] = {
    "fastmark": lambda: _fastmark(64),
    "fastmark, 32 bits": lambda: _fastmark(32),
    "invisible-watermark, dwtDct": lambda: _invisible_watermark("dwtDct", 64),
    "invisible-watermark, dwtDct, scale 100": lambda: _invisible_watermark("dwtDct", 64, 100),
    "invisible-watermark, dwtDctSvd": lambda: _invisible_watermark("dwtDctSvd", 64),
    "invisible-watermark, rivaGan": lambda: _invisible_watermark("rivaGan", 32),
    "blind-watermark": _blind_watermark,
    "sigil-watermark": _sigil,
    "sigil-watermark, strength 12": lambda: _sigil(12.0),
    "melu": _melu,
    "trustmark, Q": _trustmark,
}
