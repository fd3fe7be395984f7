"""How long embedding and detection take per megapixel, beside two other packages and beside JPEG.

All tools get the same pixels, from memory to memory, one thread and 64 bits, and run at their defaults:
fastmark, invisible-watermark (its methods dwtDct and dwtDctSvd) and blind-watermark. Not timed: what a tool
makes once (fastmark: the key's carriers, compiled code, FFT plans), the BGR that the others take instead of
RGB, and rounding blind-watermark's floats to pixels. For scale there are Pillow encoding the picture as JPEG,
in the column of embedding, and decoding it, in that of detection in the unmarked image; and `np.copyto`.

It is not the same work. fastmark looks for scale, rotation and cropping, says how sure it is, and can say
that there is no mark. The others' decoders expect the pixels where they were written, and answer with bits
for every picture, marked or not. invisible-watermark has no key; blind-watermark has two numbers that seed a
shuffle. Both loop over small blocks in Python, and neither corrects errors: one wrong bit, and the message
counts as not read. The marks differ in strength: PSNR is given, but nothing is adjusted to make it the same.
Only the untouched array is read back; what the marks survive is not compared.

Without folders, photographs that scikit-image brings are cut and resized to four sizes. Enlarged ones are
smoother than a camera's, which makes JPEG somewhat faster.
"""

from __future__ import annotations

import os

# before numpy is imported: OpenBLAS looks when it is loaded
os.environ.update(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
)

import argparse
import io
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _common import (
    find_pictures,
    fitted,
    header,
    jpeg_90,
    label,
    print_table,
    read_rgb,
    seeded_bytes,
    versions_of_tools,
    write_csv,
)
from _imwatermark import without_riva_gan
from _speed_tables import JPEG, SPEED_MEASURES, SPEED_SIZE, speed_summary
from _tables import brief, read_commented
from PIL import Image
from quality import psnr_db

PACKAGES = ("invisible-watermark", "blind-watermark", "PyWavelets")  # that header() does not name
MESSAGE_BITS = 64
SIZES = ("512x512", "1024x1024", "2048x2048", "4000x3000")
PHOTOGRAPHS = ("astronaut", "coffee", "chelsea")
CALLS = 15  # at most, for one median
PATIENCE = 20.0  # seconds: a tool slower than that at one size is not given the other pictures

COLOURS = {
    "mark_ms": ("embedding", "#d55e00"),
    "detect_marked_ms": ("detection, watermarked", "#56b4e9"),
    "detect_unmarked_ms": ("detection, unmarked", "#0072b2"),
}
JPEG_WORDS = {"mark_ms": "encoding", "detect_unmarked_ms": "decoding"}

Pixels = np.ndarray
Row = dict[str, Any]


@dataclass(frozen=True)
class Tool:
    """A package behind the same three calls. `read` makes message and a word of what `detect` returned."""

    name: str
    mark: Callable[[Pixels, bytes], Pixels]
    detect: Callable[[Pixels], Any]
    read: Callable[[Any], tuple[bytes | None, str]]
    bgr: bool = True
    prepares: bool = False  # the first call at a size compiles and plans


def fastmark_tool() -> Tool:
    import fastmark

    key = fastmark.Key(secret=seeded_bytes("key 0"), name="bench-0")
    marker = fastmark.Watermarker(key, message_bits=MESSAGE_BITS)
    return Tool(
        "fastmark",
        marker.embed,
        marker.detect,
        lambda found: (found.message_bytes, found.state),
        bgr=False,
        prepares=True,
    )


def invisible_watermark_tool(method: str) -> Tool:
    import cv2

    imwatermark = without_riva_gan()
    cv2.setNumThreads(1)

    def mark(bgr: Pixels, message: bytes) -> Pixels:
        encoder = imwatermark.WatermarkEncoder()
        encoder.set_watermark("bytes", message)
        return encoder.encode(bgr, method)

    decoder = imwatermark.WatermarkDecoder("bytes", MESSAGE_BITS)
    return Tool(
        f"invisible-watermark, {method}",
        mark,
        lambda bgr: decoder.decode(bgr, method),
        lambda message: (message, "a message"),
    )


def blind_watermark_tool() -> Tool:
    import blind_watermark
    import cv2

    cv2.setNumThreads(1)
    blind_watermark.bw_notes.close()  # it greets on stdout

    def mark(bgr: Pixels, message: bytes) -> Pixels:
        marker = blind_watermark.WaterMark()
        marker.read_img(img=bgr)
        marker.read_wm(np.unpackbits(np.frombuffer(message, np.uint8)), mode="bit")
        return marker.embed()

    return Tool(
        "blind-watermark",
        mark,
        lambda bgr: blind_watermark.WaterMark().extract(embed_img=bgr, wm_shape=MESSAGE_BITS, mode="bit"),
        lambda bits: (np.packbits(np.asarray(bits, bool)).tobytes(), "a message"),
    )


MAKERS: dict[str, Callable[[], Tool]] = {
    "fastmark": fastmark_tool,
    "invisible-watermark, dwtDct": lambda: invisible_watermark_tool("dwtDct"),
    "invisible-watermark, dwtDctSvd": lambda: invisible_watermark_tool("dwtDctSvd"),
    "blind-watermark": blind_watermark_tool,
}


def load_tools() -> tuple[list[Tool], list[Row]]:
    """The tools there are, and a row for each that cannot be used."""
    tools, failed = [], []
    for name, make in MAKERS.items():
        try:
            tools.append(make())
        except Exception as error:  # a package may break in any way on another's new version
            failed.append({"tool": name, "error": f"{type(error).__name__}: {error}"})
    return tools, failed


def pictures(options: argparse.Namespace) -> Iterator[tuple[str, list[tuple[str, Pixels]]]]:
    """Yield size by size: its name, and the named pictures."""
    if options.folders:
        paths = find_pictures(options.folders, options.pictures)
        sources = [(label(path), read_rgb(path)) for path in paths]
    else:
        from skimage import data

        names = PHOTOGRAPHS[: options.pictures or None]
        sources = [(name, getattr(data, name)()) for name in names]
    if options.folders and not options.sizes:
        groups: dict[str, list[tuple[str, Pixels]]] = {}
        for name, rgb in sources:
            groups.setdefault(f"{rgb.shape[1]}x{rgb.shape[0]}", []).append((name, rgb))
        yield from groups.items()
        return
    for size in options.sizes or SIZES:
        width, height = map(int, size.split("x"))
        yield size, [(name, fitted(rgb, height, width)) for name, rgb in sources]


def clock(call: Callable[[], Any], seconds: float) -> tuple[Any, float]:
    """What the call returns, and the median of its milliseconds: many calls if fast, one if slow."""
    times: list[float] = []
    while not times or (len(times) <= CALLS and sum(times) < seconds):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return result, 1e3 * statistics.median(times[1:] or times)  # the first one finds cold caches


def wrong_bits(message: bytes, read: bytes | None) -> int | None:
    return None if read is None else sum((a ^ b).bit_count() for a, b in zip(message, read, strict=True))


def measure(tool: Tool, rgb: Pixels, message: bytes, seconds: float) -> Row:
    """Mark one picture and look for the mark, with it and without."""
    picture = np.ascontiguousarray(rgb[..., ::-1]) if tool.bgr else rgb
    try:
        if tool.prepares:
            tool.detect(tool.mark(picture, message))
            tool.detect(picture)
        marked, mark_ms = clock(lambda: tool.mark(picture, message), seconds)
        if marked.dtype != np.uint8:
            marked = np.clip(np.rint(marked), 0, 255).astype(np.uint8)
        found, marked_ms = clock(lambda: tool.detect(marked), seconds)
        nothing, unmarked_ms = clock(lambda: tool.detect(picture), seconds)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    read, _ = tool.read(found)
    return {
        "mark_ms": mark_ms,
        "detect_marked_ms": marked_ms,
        "detect_unmarked_ms": unmarked_ms,
        "message_read": int(read == message),
        "wrong_bits": wrong_bits(message, read),
        "psnr_db": psnr_db(picture, marked),
        "said_of_unmarked": tool.read(nothing)[1],
    }


def measure_references(rgb: Pixels, seconds: float) -> dict[str, Row]:
    """JPEG's times in the columns they are a scale for, and those of a copy."""
    image = Image.fromarray(rgb)

    def decode() -> None:
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()

    copy = np.empty_like(rgb)
    data, encode_ms = clock(lambda: jpeg_90(image), seconds)
    _, decode_ms = clock(decode, seconds)
    _, copy_ms = clock(lambda: np.copyto(copy, rgb), seconds)
    return {
        JPEG: {"mark_ms": encode_ms, "detect_unmarked_ms": decode_ms},
        "np.copyto": {"mark_ms": copy_ms},
    }


def completed(tool: str, picture: str, size: str, row: Row) -> Row:
    """A row with its place in front and its times per megapixel."""
    width, height = map(int, size.split("x"))
    megapixels = 1e-6 * width * height
    place = {"tool": tool, "picture": picture, "size": size, "megapixels": megapixels}
    return place | row | {f"{name}_per_mp": row[name] / megapixels for name in SPEED_MEASURES if name in row}


def run(tools: list[Tool], options: argparse.Namespace) -> Iterator[Row]:
    for size, group in pictures(options):
        for tool in tools:
            start = time.perf_counter()
            for name, rgb in group:
                message = seeded_bytes(f"message {name}", MESSAGE_BITS // 8)
                yield completed(tool.name, name, size, measure(tool, rgb, message, options.seconds))
                if not tool.prepares and time.perf_counter() - start > PATIENCE:  # compiling is slow but once
                    break
            print(f"{size} {tool.name}", file=sys.stderr)
        for name, rgb in group:
            for tool_name, row in measure_references(rgb, options.seconds).items():
                yield completed(tool_name, name, size, row)


def table(rows: list[Row]) -> list[Row]:
    """One row a size and tool, as printed; a tool that failed has one at every size."""
    lines = []
    for size in dict.fromkeys(row["size"] for row in rows if "size" in row):
        for line in speed_summary(rows, size):
            part = [row for row in rows if row["tool"] == line["tool"] and row.get("size") == size]
            times = {name: line[name] for name in SPEED_MEASURES}
            psnr = [row["psnr_db"] for row in part if "psnr_db" in row]
            wrong = [row["wrong_bits"] for row in part if row.get("wrong_bits") is not None]
            said = sorted({row["said_of_unmarked"] for row in part if "said_of_unmarked" in row})
            lines.append(
                {"size": size, "tool": line["tool"]}
                | {name: None if ms is None else ms * part[0]["megapixels"] for name, ms in times.items()}
                | {f"{name}/MP": ms for name, ms in times.items()}
                | {
                    "read": line["read"],
                    "wrong bits": max(wrong, default=None),
                    "psnr_db": statistics.mean(psnr) if psnr else None,
                    "of unmarked": ", ".join(said),
                    "failed": line["error"],
                }
            )
    return lines


def draw(path: Path, rows: list[Row]) -> None:
    """The chart of the README: what each tool takes per megapixel, on a log axis."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    # the same numbers make the same file: no random ids, no date; text as text: a small file that can be read
    matplotlib.rcParams.update({"svg.hashsalt": "fastmark", "svg.fonttype": "none", "font.size": 10})
    lines = [line for line in speed_summary(rows, SPEED_SIZE) if any(line[name] for name in SPEED_MEASURES)]
    if not lines:
        print(f"no pictures of {SPEED_SIZE}, no chart", file=sys.stderr)
        return
    bars = [[(name, line[name]) for name in SPEED_MEASURES if line[name]] for line in lines]
    length = sum(map(len, bars)) + len(bars)
    figure = Figure(figsize=(8, 0.9 + 0.22 * length), layout="constrained")
    axes = figure.add_subplot()
    y = 0
    for line, group in zip(lines, bars, strict=True):
        for i, (name, ms) in enumerate(group):
            legend, colour = COLOURS[name]
            if not line["read"]:
                legend, colour = "", "#8c8c8c"
            elif y > 0:
                legend = ""  # named once
            axes.barh(y + i, ms, 0.86, color=colour, label=legend or None)
            text = brief(ms) + (f" {JPEG_WORDS[name]}" if line["tool"] == JPEG else "")
            axes.annotate(text, (ms, y + i), (4, -0.5), textcoords="offset points", va="center")
        words = line["tool"].replace(", ", "\n").replace(" (", "\n(").split("\n")
        for i, word in enumerate(words):  # each by itself: lines of one text keep right in one font only
            axes.annotate(
                word,
                (0, y + (len(group) - 1) / 2),
                (-8, 12.5 * ((len(words) - 1) / 2 - i)),
                xycoords=axes.get_yaxis_transform(),
                textcoords="offset points",
                ha="right",
                va="center",
                weight="bold" if line["tool"] == "fastmark" else "normal",
            )
        y += len(group) + 1

    axes.set_xscale("log")
    largest = max(ms for group in bars for _, ms in group)
    axes.set_xlim(0.03, 3 * largest)
    axes.set_ylim(y - 1.2, -0.8)
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel(
        f"milliseconds per megapixel (log scale), {SPEED_SIZE.replace('x', ' x ')} pixels, one thread"
    )
    figure.legend(loc="outside upper center", ncols=3, frameon=False, handlelength=1.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    print(f"wrote {path}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--pictures", type=int, default=0, help="only so many, spread over all")
    parser.add_argument("--sizes", nargs="+", metavar="WxH", help="cut and resize the pictures to these")
    parser.add_argument("--seconds", type=float, default=2.0, help="for one median")
    parser.add_argument("-o", "--output", type=Path, help="CSV, one row a tool, picture and size")
    parser.add_argument("--chart", type=Path, metavar="FILE.svg", help=f"of the pictures of {SPEED_SIZE}")
    parser.add_argument("--rows", type=Path, metavar="CSV", help="draw the chart of these, measure nothing")
    options = parser.parse_args()
    if options.rows:
        draw(options.chart, read_commented(options.rows)[1])
        return

    tools, failed = load_tools()
    head = header("compare", 1, **versions_of_tools(PACKAGES), message_bits=MESSAGE_BITS)
    print(*head, sep="\n")
    rows = [*run(tools, options), *failed]
    print_table("median milliseconds, and the same per megapixel (MP)", table(rows))
    if options.output:
        write_csv(options.output, head, rows)
    if options.chart:
        draw(options.chart, rows)


if __name__ == "__main__":
    main()
