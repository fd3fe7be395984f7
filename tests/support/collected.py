"""Images as collections hold them: marked by a key, by the public watermark, unmarked, damaged."""

import functools
import io

import numpy as np
from PIL import Image

from fastmark import Key, Watermarker
from fastmark.public import PublicCode, embed

KEY = Key(bytes(range(32)), "integrations")
MESSAGE = "0123456789abcdef"
MADE = PublicCode.of("ai-generated")
MINE = PublicCode.of("do-not-train")
ART = PublicCode.of("do-not-train-generative")


def drawn(seed, height=288, width=320):
    """Smooth shapes and grain, uint8 ``(height, width, 3)``."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(40, 215, (height // 32 + 2, width // 32 + 2, 3))
    smooth = small[(np.arange(height) / 32).astype(int)][:, (np.arange(width) / 32).astype(int)]
    return np.clip(smooth + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def encoded(image, kind="JPEG", **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **({"quality": 92} if kind == "JPEG" else {}), **options)
    return file.getvalue()


@functools.cache
def collection():
    """Encoded images by what they are."""
    return {
        "ours": encoded(Watermarker(KEY).embed(drawn(1), MESSAGE)),
        "made": encoded(embed(drawn(2), MADE), "PNG"),
        "mine": encoded(embed(drawn(3), MINE)),
        "art": encoded(embed(drawn(4), ART)),
        "shot": encoded(embed(drawn(5), "captured")),
        "plain": encoded(drawn(6)),
        "broken": encoded(drawn(7))[:300],
    }


TOLD = {
    "ours": ("detected", None),
    "made": ("absent", MADE),
    "mine": ("absent", MINE),
    "art": ("absent", ART),
    "shot": ("absent", PublicCode.of("captured")),
    "plain": ("absent", None),
    "broken": ("error", None),
}
"""State by KEY, and the public code, of every image of the collection."""

TRAINABLE = ["shot", "plain"]
UNMARKED = ["plain"]
MARKED = ["ours", "made", "mine", "art", "shot"]


def holds_secret(data, key=KEY):
    """Whether bytes hold the key's secret, as it is or in hex."""
    return key.secret in data or key.secret.hex().encode() in data.lower()
