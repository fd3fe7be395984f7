"""fastmark beside other packages: the same images and attacks, messages, false accusations, quality, time.

Packages that cannot tell an unmarked image always give a message. To compare them fairly, the message that
was embedded is taken as known too, and counted as present where so many bits are right that chance reaches it
once in a million images; fastmark's own bound is held to the same rate. Times are processor time, so that
other work on the machine changes them little. Needs others-requirements.txt; what cannot be used is named.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from _common import (
    find_pictures,
    fitted,
    header,
    label,
    one_thread_each,
    print_table,
    read_rgb,
    versions_of_tools,
    write_csv,
)

one_thread_each()
os.environ.setdefault("CBWM_GPU", "0")  # melu: numpy, and as many threads as the others
os.environ.setdefault("CBWM_WORKERS", "1")

import numpy as np  # noqa: E402
from _drawing import PALETTE, new_figure, save  # noqa: E402
from _others import MAKERS, Tool  # noqa: E402
from _others_table import OWN, rates, summary, tools_of  # noqa: E402
from _resuming import Row, done_already, resumed  # noqa: E402
from _tables import read_commented  # noqa: E402
from attacks import ATTACKS  # noqa: E402
from quality import psnr_db, ssimulacra2  # noqa: E402

CHOSEN = (
    "none", "jpeg-75", "jpeg-50", "jpeg-30", "webp-60", "avif-40", "resize-0.5", "resize-0.5-back",
    "crop-3px", "crop-50-centre", "crop-25-random", "rotate-1", "rotate-5", "rotate-45", "flip-x",
    "brightness-1.3", "contrast-0.7", "greyscale", "noise-10", "blur-1", "blur-2", "median-3", "posterise-4",
    "palette-64-dither", "overlay-text-30", "screenshot-0.8", "social-1080", "messenger-640", "jpeg-10",
    "webp-20", "resize-0.25-back", "blur-4", "median-7",
)  # fmt: skip
FEW = (
    "none", "jpeg-50", "resize-0.5-back", "crop-3px", "rotate-1", "noise-10", "crop-50-centre", "rotate-5",
    "blur-4", "posterise-4", "screenshot-0.8", "flip-x", "resize-0.25-back", "webp-20",
)  # fmt: skip
UNMARKED, UNMARKED_FEW = ("none", "jpeg-50", "resize-0.5-back", "rotate-5"), ("none",)
PACKAGES = (
    "invisible-watermark", "blind-watermark", "sigil-watermark", "melu", "trustmark", "PyWavelets",
    "onnxruntime", "torch",
)  # fmt: skip


@cache
def tool_of(name: str) -> Tool:
    return MAKERS[name]()


def usable() -> tuple[list[str], list[Row]]:
    """Names of the tools there are, and a row for each that cannot be used."""
    names, failed = [], []
    for name in MAKERS:
        try:
            tool_of(name)
        except Exception as error:  # a package may break in any way on another's new version
            failed.append({"tool": name, "error": f"{type(error).__name__}: {error}"})
        else:
            names.append(name)
    return names, failed


def looked_at(tool: Tool, rgb: np.ndarray, secret: Any) -> Row:
    """What the tool says, in which processor time; an error counts as nothing read."""
    start = time.process_time()
    try:
        answer = vars(tool.look(rgb, secret))
        error = {}
    except Exception as problem:
        answer = {"says": False, "known": False, "message_ok": False if tool.bits else None}
        error = {"error": f"{type(problem).__name__}: {problem}"}
    ms = 1e3 * (time.process_time() - start)
    numbers = {name: int(value) if isinstance(value, bool) else value for name, value in answer.items()}
    return {"detect_ms": ms} | numbers | error


def job(name: str, path: str, side: int, patience: float) -> list[Row]:
    """Mark one picture with one tool, attack it, and look; look at the unmarked one as well."""
    began = time.process_time()
    tool, picture = tool_of(name), label(Path(path))
    rgb = np.ascontiguousarray(fitted(read_rgb(Path(path)), side, side))
    place: Row = {"tool": tool.name, "bits": tool.bits, "picture": picture, "side": side}
    secret = tool.secret(picture)
    if not tool.slow:  # compiling and planning
        tool.look(tool.mark(rgb, secret), secret)
    start = time.process_time()
    marked = tool.mark(rgb, secret)
    embedded = {"embed_ms": 1e3 * (time.process_time() - start), "psnr_db": psnr_db(rgb, marked)}
    embedded["ssimulacra2"] = ssimulacra2(rgb, marked)[0]
    rows: list[Row] = []
    plan = [(1, attack) for attack in (FEW if tool.slow else CHOSEN)]
    plan[1:1] = [(0, attack) for attack in (UNMARKED_FEW if tool.slow else UNMARKED)]
    plan = [one for one in plan if ATTACKS[one[1]].applies(side, side)]
    for is_marked, attack in plan:
        if time.process_time() - began > patience:
            break
        attacked = np.ascontiguousarray(ATTACKS[attack](marked if is_marked else rgb))
        row = place | {"marked": is_marked, "attack": attack} | looked_at(tool, attacked, secret)
        rows.append(row | (embedded if is_marked and attack == "none" else {}))
    return rows


def jobs_of(
    names: Sequence[str], paths: Sequence[Path], options: argparse.Namespace
) -> list[tuple[Any, ...]]:
    """Every tool and picture that need not be enlarged, picture by picture: a run may be stopped.

    Slow tools have fewer pictures, all of the first size: one after that size, the others last.
    """

    def spread(number: int, side: int) -> list[Path]:
        large = [path for path in paths if min(read_rgb(path).shape[:2]) >= side]
        return [large[i * len(large) // number] for i in range(min(number, len(large)))]

    found, slow = [], []
    for side, number in zip(options.sides, options.pictures, strict=True):
        chosen = spread(number, side)
        found += [(n, str(p), side) for p in chosen for n in names if not tool_of(n).slow]
        if side == options.sides[0]:
            few = [chosen[i * len(chosen) // options.few] for i in range(min(options.few, len(chosen)))]
            slow = [[(n, str(p), side) for n in names if tool_of(n).slow] for p in few]
            found += slow.pop(0) if slow else []
    found += [one for part in slow for one in part]
    return [(*one, options.patience) for one in found]


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Which messages are read after which attack, by tool: a map, the attacks as in the table."""
    rows = [row for row in rows if row.get("attack")]
    tools = [tool for tool in tools_of(rows) if any(line[tool] for line in rates(rows, "message_ok"))]
    lines = rates(rows, "message_ok")
    shares = np.array([[float(line[t].rstrip(" %") or "nan") for t in tools] for line in lines])
    figure, axes = new_figure(1, 1, 7.5, 0.9 + 0.24 * len(lines) + 1.2)
    one = axes[0, 0]
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("shares", ["#ffffff", PALETTE[5], PALETTE[0]])
    colours.set_bad("#eeeeee")
    one.imshow(shares, cmap=colours, vmin=0, vmax=100, aspect="auto")
    for (y, x), share in np.ndenumerate(shares):
        if not np.isnan(share):
            colour = "white" if share > 70 else "black"
            one.text(x, y, f"{share:.0f}", ha="center", va="center", color=colour, fontsize=8)
    one.grid(visible=False)
    one.set_yticks(range(len(lines)), [line["attack"] for line in lines])
    words = [tool.replace("-", "-\n").replace(", ", "\n") for tool in tools]
    one.set_xticks(range(len(tools)), words, fontsize=8)
    one.xaxis.tick_top()
    one.tick_params(length=0)
    one.set_xlabel("messages read exactly, % of images; grey: not tried")
    for text in one.get_xticklabels():
        text.set_fontweight("bold" if text.get_text() == OWN else "normal")
    save(figure, path)


def report(rows: Sequence[Row]) -> None:
    """Print the tables."""
    for title, lines in summary(rows):
        print_table(title, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 256, 1024], help="pixels")
    parser.add_argument("--pictures", type=int, nargs="+", default=[6, 2, 1], help="so many of each size")
    parser.add_argument("--few", type=int, default=2, help="pictures for slow tools")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds per picture for a tool")
    parser.add_argument("--tools", nargs="+", choices=[*MAKERS], help="only these")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--journal", type=Path, help="continue, or begin, a run that can be stopped")
    parser.add_argument("--only-done", action="store_true", help="report what the journal has, run nothing")
    parser.add_argument("-o", "--output", type=Path, help="CSV, one row a tool, image and attack")
    parser.add_argument("--chart", type=Path, metavar="FILE.svg")
    parser.add_argument("--rows", type=Path, metavar="CSV", help="tables and chart of these, measure nothing")
    options = parser.parse_args()
    if options.rows:
        rows = read_commented(options.rows)[1]
        report(rows)
        if options.chart:
            draw(options.chart, rows)
        return
    if not options.folders:
        parser.error("name folders of pictures")
    if len(options.sides) != len(options.pictures):
        parser.error("--sides and --pictures belong together: name as many of one as of the other")

    names, failed = usable()
    names = [name for name in names if not options.tools or name in options.tools]
    versions = versions_of_tools(PACKAGES)
    head = header("others", options.workers, **versions)
    print(*head, sep="\n")
    print_table("cannot be used", failed)
    jobs = jobs_of(names, find_pictures(options.folders), options)
    asked = {
        "jobs": [(n, label(Path(p)), *rest) for n, p, *rest in jobs],
        "versions": versions,
    }
    if options.only_done:
        found = done_already(options.journal, asked)
    else:
        found = resumed(job, jobs, options.workers, options.journal, asked)
    rows = [row for part in found for row in part]
    report(rows)
    if options.output:
        write_csv(options.output, head, [*rows, *failed])
    if options.chart:
        draw(options.chart, rows)


if __name__ == "__main__":
    main()
