"""How long do kernels take to compile, each of them and all together, on one core and on two?

Images of every kind are watermarked and searched in a fresh process with an empty cache; numba tells of
what it compiles. `--write` brings the table up to date by which `fastmark warmup` compiles,
`fastmark/kernels/_table.py`: run it after every change of a kernel's arguments, or of where one is called.
Seconds are of the processor, so that others who use the machine count little.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _common import header, one_thread_each, print_table, write_csv
from PIL import Image

MESSAGE = 0x0123456789ABCDEF
Work = Callable[[], object]


def drawn(height: int, width: int) -> np.ndarray:
    """Waves under grain: uint8 (H, W, 3)."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = 128 + 50 * np.sin(x / 31 + np.cos(y / 47) * 2) + 30 * np.cos(y / 13 - x / 57)
    grain = np.random.default_rng(1).normal(0, 6, (height, width, 3))
    return np.clip(waves[..., None] + grain, 0, 255).astype(np.uint8)


def coded(array: np.ndarray, form: str, **options: Any) -> bytes:
    """An image file."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, form, **options)
    return file.getvalue()


def ordinary() -> Iterator[tuple[str, Work]]:
    """What every user needs: an RGB image of 8 bits, watermarked and not."""
    from fastmark import Key, Watermarker

    marker, other = Watermarker(Key(bytes(range(32)))), Watermarker(Key(bytes(range(1, 33))))
    image = drawn(512, 512)
    marked = marker.embed(image, MESSAGE)
    yield "embed", lambda: marker.embed(image, MESSAGE)
    yield "detect", lambda: marker.detect(marked)
    yield "detect, not watermarked", lambda: other.detect(marked)


def kinds() -> Iterator[tuple[str, Work]]:
    """Images of all other kinds and sizes, and what is done to them."""
    import fastmark
    from fastmark import Detector, Key, Watermarker

    key = Key(bytes(range(32)))
    marker = Watermarker(key)
    small = drawn(512, 512)
    alpha = np.dstack([small, np.full((512, 512), 255, np.uint8)])
    alpha[:128, :200, 3] = 0
    arrays = {
        "grey": small[..., 1].copy(),
        "16 bit": small.astype(np.uint16) * 257,
        "16 bit grey": small[..., 1].astype(np.uint16) * 257,
        "float": small.astype(np.float32) / 255,
        "float64": small / 255.0,
        "float grey": small[..., 1].astype(np.float32) / 255,
        "alpha": alpha,
        "strided": drawn(512, 1024)[:, ::2],
        "upside down": small[::-1],
        "odd": drawn(333, 501),
        "flat": np.full((400, 400, 3), 200, np.uint8),
        "k = 2": drawn(1300, 1500),
        "k = 3": drawn(2100, 2200),
        "k = 4": drawn(3000, 3200),
        "k = 5": drawn(4000, 3700),
        "k = 2, grey": drawn(1300, 1500)[..., 0].copy(),
        "k = 2, float": drawn(1300, 1500).astype(np.float32) / 255,
        "panorama": drawn(300, 2600),
    }
    for name, array in arrays.items():
        array.flags.writeable = name in ("grey", "alpha", "k = 2")

        def both(array: np.ndarray = array) -> None:
            try:
                marked = marker.embed(array, MESSAGE)
            except fastmark.ImageTooFlatError:
                return
            marker.detect(array)
            marker.detect(marked)
            jpeg = marked if marked.dtype == np.uint8 and marked.shape[2:] != (4,) else None
            if jpeg is not None:
                marker.detect(coded(jpeg, "JPEG", quality=80))

        yield name, both
    marked = marker.embed(small, MESSAGE)
    large = marker.embed(drawn(1100, 1200), MESSAGE)
    for bits in (16, 32, 96, 128):
        sized = Watermarker(key, bits)
        yield f"{bits} bits", lambda m=sized: m.detect(m.embed(small, 7))
    yield "PNG", lambda: marker.embed(coded(small, "PNG"), MESSAGE)
    yield "out", lambda: marker.embed(small, MESSAGE, out=np.empty_like(small))
    yield "again", lambda: marker.embed(marked, MESSAGE + 1)
    yield "again, large", lambda: marker.embed(large, MESSAGE + 1)
    yield "detector key", lambda: Detector([key.detector_key()]).detect(marked)
    for name, image in (("512", Image.fromarray(marked)), ("1100", Image.fromarray(large))):
        w, h = image.size
        changed = {
            "rotated": image.rotate(7, Image.Resampling.BICUBIC, expand=True),
            "turned": image.transpose(Image.Transpose.ROTATE_90),
            "mirrored": image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            "smaller": image.resize((w * 6 // 10, h * 6 // 10), Image.Resampling.LANCZOS),
            "larger": image.resize((w * 16 // 10, h * 16 // 10), Image.Resampling.LANCZOS),
            "cropped": image.crop((101, 55, 421, 400)),
            "sheared": image.transform(image.size, Image.Transform.AFFINE, (1, 0.04, 0, 0.02, 1, 0), 3),
            "inverted": Image.eval(image, lambda v: 255 - v),
        }
        screen = Image.new("RGB", (1920, 1080), "white")
        screen.paste(image.resize((w * 55 // 100, h * 55 // 100), Image.Resampling.LANCZOS), (401, 133))
        for what, picture in (changed | {"screen": screen}).items():
            array = np.asarray(picture)
            yield f"{name}, {what}", lambda a=array: marker.detect(a)
            if what in ("sheared", "cropped", "screen"):
                yield f"{name}, {what}, deep", lambda a=array: marker.detect(a, deep=True)
        bent = bend(np.asarray(image))
        yield f"{name}, bent", lambda b=bent: marker.detect(b, deep=True)
        for verb in ("locate", "detect_all"):
            for what in ("whole", "cropped") if hasattr(marker, verb) else ():
                array = np.asarray(changed.get(what, image))
                yield f"{name}, {verb}, {what}", lambda a=array, v=verb: getattr(marker, v)(a)
    copied = np.clip(
        drawn(512, 512)[:, ::-1].astype(np.int16) + marked.astype(np.int16) - small, 0, 255
    ).astype(np.uint8)
    yield "copied", lambda: marker.detect(copied)
    yield "not watermarked, deep", lambda: marker.detect(drawn(500, 700), deep=True)
    huge = np.tile(drawn(1080, 1920), (2, 2, 1))
    huge[300:812, 500:1012] = marked
    yield "3840 x 2160, deep", lambda: marker.detect(huge, deep=True)


def bend(array: np.ndarray) -> np.ndarray:
    """The image, bent in waves of three pixels."""
    y, x = np.mgrid[0 : array.shape[0], 0 : array.shape[1]]
    rows = np.clip(np.rint(y + 3 * np.sin(x / 60)), 0, array.shape[0] - 1).astype(int)
    return np.ascontiguousarray(array[rows, x])


def child(what: str) -> None:
    """Do the work, and print what was compiled, a line of JSON each."""
    from fastmark.kernels._compiling import compilations
    from fastmark.kernels.signatures import spell

    seen = 0
    for works in (ordinary(), kinds()) if what == "all" else (ordinary(),):
        for name, work in works:
            work()
            for one in compilations()[seen:]:
                row = {
                    "line": spell(one.cpu_seconds, one.kernel, one.arguments),
                    "for": name,
                    "seconds": one.cpu_seconds,
                }
                print(json.dumps(row), flush=True)
            seen = len(compilations())
        print(json.dumps({"end": True}), flush=True)


def in_child(arguments: list[str], cache: str) -> tuple[str, float, float]:
    """Run a fresh process; what it printed, its seconds, and those of the processor."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment | {"PYTHONPATH": root},
        stdout=subprocess.PIPE,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout.decode(), time.perf_counter() - start, cpu


def measure(what: str) -> tuple[list[list[dict[str, Any]]], float, float]:
    """Lists of what is compiled, for ordinary images, then for further ones; seconds, of the processor."""
    with tempfile.TemporaryDirectory() as cache:
        text, seconds, cpu = in_child([__file__, "--child", what], cache)
    groups: list[list[dict[str, Any]]] = [[]]
    for row in map(json.loads, text.splitlines()):
        if "end" in row:
            groups.append([])
        else:
            groups[-1].append(row)
    return groups[:-1], seconds, cpu


def write_table(groups: list[list[dict[str, Any]]]) -> None:
    """Write ``fastmark/kernels/_table.py``."""
    path = Path(__file__).resolve().parent.parent / "fastmark" / "kernels" / "_table.py"
    first, further = ("".join(f"{row['line']}\n" for row in rows) for rows in groups)
    path.write_text(
        '"""Types that kernels are compiled for: made by ``benchmarks/compiling.py --write``."""\n\n'
        "# fmt: off\n"
        f'FIRST = """\n{first}"""\n\nFURTHER = """\n{further}"""\n',
        encoding="utf-8",
    )
    print(f"{path}: {len(groups[0])} + {len(groups[1])} kernels")


def table(groups: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row for each kernel and signature, slowest first."""
    rows = [
        {
            "kernel": row["line"].split()[1],
            "arguments": " ".join(row["line"].split()[2:]),
            "needed for": row["for"] if number else "every image",
            "seconds": row["seconds"],
        }
        for number, group in enumerate(groups)
        for row in group
    ]
    return sorted(rows, key=lambda row: -row["seconds"])


def totals() -> Iterator[dict[str, Any]]:
    """First uses as a whole, alone and with help, and a warm one: seconds, and those of the processor."""
    with tempfile.TemporaryDirectory() as cache:
        for name, arguments in (
            ("fastmark doctor, first", ["-m", "fastmark", "doctor"]),
            ("fastmark doctor, warm", ["-m", "fastmark", "doctor"]),
            ("fastmark warmup, after that", ["-m", "fastmark", "warmup", "--quiet"]),
            ("fastmark warmup, nothing to do", ["-m", "fastmark", "warmup", "--quiet"]),
        ):
            _text, seconds, cpu = in_child(arguments, cache)
            yield {"kernel": name, "wall s": seconds, "seconds": cpu}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, help="CSV of all kernels")
    parser.add_argument("--write", action="store_true", help="write fastmark/kernels/_table.py")
    parser.add_argument("--child", choices=("ordinary", "all"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    one_thread_each()
    if options.child:
        child(options.child)
        return
    groups, seconds, cpu = measure("all")
    if options.write:
        write_table(groups)
    rows = table(groups)
    for number, name in enumerate(("for every image", "for further kinds")):
        spent = sum(row["seconds"] for row in groups[number])
        rows.append({"kernel": f"all {len(groups[number])} {name}", "seconds": spent})
    rows.append({"kernel": "the whole run, work included", "wall s": seconds, "seconds": cpu})
    rows += totals()
    print_table("compiled", rows)
    if options.output:
        write_csv(options.output, header("compiling.py", 1), rows)


if __name__ == "__main__":
    main()
