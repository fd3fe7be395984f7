"""What the commands on single images are run with: keys, and an image with and without a watermark."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from commands import MESSAGE, run
from PIL import Image
from skimage import data

from fastmark import Key
from fastmark.bulk.tables import SCAN_COLUMNS

DETECT_COLUMNS = [*SCAN_COLUMNS, "metadata", "agree"]  # of the tables of scan, and what goes with one image


class Bench(NamedTuple):
    """Files that most tests need, made once; nobody writes among them."""

    key: Path
    other_key: Path
    plain: Path
    marked: Path
    embedded: subprocess.CompletedProcess[bytes]


def make_bench(folder: Path) -> Bench:
    """Keys and images in ``folder``."""
    key, other_key, plain, marked = (
        folder / name for name in ("our.key", "other.key", "plain.png", "marked.png")
    )
    Key.generate("ours").save(key)
    Key.generate().save(other_key)
    Image.fromarray(data.rocket()[:384, :384]).save(plain)
    embedded = run("embed", plain, "-o", marked, "--key", key, "--message", MESSAGE)
    return Bench(key, other_key, plain, marked, embedded)
