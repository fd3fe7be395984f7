"""Scan an archive of thousands of JPEGs with one worker, with two, and on Ray: speed, memory, what was found.

    python benchmarks/bulk.py [FOLDER ...] [--pictures 5000] [--archive FOLDER] [--skip-ray]

The archive is made of the folders' images, parts of them reduced or a little enlarged, as JPEGs of quality 80
to 95; without folders of drawn scenes and of scikit-image's photographs, of quality 60 to 95. Areas are from
0.1 to 3 megapixels, their logarithms uniform: two of three are below one megapixel. Most are files, some in
tars, some in Parquet files. One in a hundred is marked, one in two hundred damaged. The command line is
measured, in a separate process, and beside it a bare loop over `fastmark.detect`, in one process and in two
at a time, and one that only decodes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _common import (
    find_pictures,
    header,
    in_processes,
    label,
    one_thread_each,
    print_table,
    read_rgb,
    seeded_bytes,
    write_csv,
)
from _rejecting import drawn_part, fitting
from _tables import RESULTS
from _timing import decoded, verdict
from PIL import Image

MARKED_EVERY, DAMAGED_EVERY = 100, 200
SHARD = 250
LEAST_AREA, MOST_AREA = 0.1e6, 3e6
REACH, AIM = 100, 200  # pictures a second and worker
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "retina", "hubble_deep_field")
Row = dict[str, Any]


# ---- the archive -----------------------------------------------------------------------------------


def drawn(seed: int) -> Image.Image:
    """A scene of waves, discs and noise, 1536 x 2048."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:1536, 0:2048].astype(np.float32)
    scene = np.full((1536, 2048, 3), rng.uniform(60, 180, 3), np.float32)
    for fy, fx, phase in rng.uniform([-0.05, -0.05, 0], [0.05, 0.05, 6.28], (8, 3)):
        scene += (rng.uniform(3, 14) * np.cos(2 * np.pi * (fy * y + fx * x) + phase))[..., None]
    for top, left, size in rng.random((30, 3)):
        disc = np.hypot(y - 1536 * top, x - 2048 * left) < 300 * size**2
        scene[disc] += rng.uniform(-70, 70, 3)
    scene += rng.normal(0, rng.uniform(0.5, 7), (1536, 2048, 1))
    return Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8))


def shipped() -> list[Image.Image]:
    """The images that all others are made of where no folder is named."""
    from skimage import data

    photographs = [Image.fromarray(getattr(data, name)()).convert("RGB") for name in PHOTOGRAPHS]
    return photographs * 3 + [drawn(seed) for seed in range(12)]


def part_of_shipped(
    originals: list[Image.Image], width: int, height: int, rng: np.random.Generator
) -> Image.Image:
    """A part of one of the originals, so that no two images are the same."""
    base = originals[rng.integers(len(originals))]
    part = rng.uniform(0.5, 1) * min(base.width / width, base.height / height)
    left = rng.uniform(0, base.width - width * part)
    top = rng.uniform(0, base.height - height * part)
    box = (left, top, left + width * part, top + height * part)
    picture = base.resize((width, height), Image.Resampling.BICUBIC, box=box)
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else picture


def part_of_given(
    originals: list[np.ndarray], width: int, height: int, rng: np.random.Generator
) -> Image.Image:
    """The same of the folders' images, of one that is large enough; a smaller part where none is."""
    size = (width, height)
    while not (usable := fitting(originals, size)):
        size = (size[0] * 9 // 10, size[1] * 9 // 10)
    return drawn_part(usable[rng.integers(len(usable))], size, rng)


def make_pictures(first: int, last: int, paths: tuple[Path, ...] = ()) -> list[tuple[str, bytes, str]]:
    """Name, JPEG bytes and message ("" if unmarked) of images `first` up to `last`."""
    from fastmark import Key, Watermarker

    marker = Watermarker(Key(seeded_bytes("bulk key")))
    given = [read_rgb(path) for path in paths]
    originals = [] if given else shipped()
    made = []
    for number in range(first, last):
        rng = np.random.default_rng([7, number])
        area = float(np.exp(rng.uniform(np.log(LEAST_AREA), np.log(MOST_AREA))))
        aspect = rng.uniform(0.6, 1.7)
        size = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        picture = part_of_given(given, *size, rng) if given else part_of_shipped(originals, *size, rng)
        message = ""
        if number % MARKED_EVERY == MARKED_EVERY // 2:
            message = f"{number:016x}"
            picture = marker.embed(picture, number)
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=int(rng.integers(80 if given else 60, 96)), subsampling="4:2:0")
        data = file.getvalue()
        if number % DAMAGED_EVERY == 1:
            data = data[: len(data) // 2] if number % (2 * DAMAGED_EVERY) == 1 else b"<html>404</html>"
            message = "damaged"
        made.append((f"{number % 17:02d}/{number:06d}.jpg", data, message))
    return made


def build(folder: Path, pictures: int, paths: tuple[Path, ...] = ()) -> dict[str, str]:
    """Write the archive; the messages of its images by name, see `make_pictures`."""
    truth: dict[str, str] = {}
    made_of = [pictures, *map(label, paths)]
    if (folder / "truth.json").exists():
        known = json.loads((folder / "truth.json").read_text())
        if known.get("made of") == made_of:
            return dict(known["truth"])
    shutil.rmtree(folder / "pictures", ignore_errors=True)
    jobs = [(first, min(first + SHARD, pictures), paths) for first in range(0, pictures, SHARD)]
    for number, made in in_processes(make_pictures, jobs, os.cpu_count() or 1):
        truth |= {name: message for name, _, message in made}
        if number % 5 == 3:
            write_tar(folder / "pictures" / f"shard-{number:03d}.tar", made)
        elif number % 5 == 4:
            write_parquet(folder / "pictures" / f"part-{number:03d}.parquet", made)
            truth |= {f"part-{number:03d}/{row}": made[row][2] for row in range(len(made))}
            for name, _, _ in made:
                del truth[name]
        else:
            for name, data, _ in made:
                path = folder / "pictures" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    (folder / "truth.json").write_text(json.dumps({"made of": made_of, "truth": truth}))
    return truth


def write_tar(path: Path, made: list[tuple[str, bytes, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data, _ in made:
            for member, content in ((name, data), (name.replace(".jpg", ".txt"), b"a caption")):
                header = tarfile.TarInfo(member)
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))


def write_parquet(path: Path, made: list[tuple[str, bytes, str]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"url": [name for name, _, _ in made], "jpg": [data for _, data, _ in made]})
    pq.write_table(table, path)


def name_of(row: Row) -> str:
    """The name that `truth` has for a row of a scan."""
    source = Path(row["source"])
    if source.suffix == ".tar":
        return str(row["member"])
    if source.suffix == ".parquet":
        return f"{source.stem}/{row['member']}"
    return f"{source.parent.name}/{source.name}"


# ---- measuring -------------------------------------------------------------------------------------


def tree_memory(root: int) -> int:
    """Bytes of memory of a process and all below it; shared memory is counted once."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    total = 0
    for pid in parents:
        above = pid
        while above not in (root, 0, 1):
            above = parents.get(above, 0)
        if above == root:
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total


def scan(folder: Path, key: Path, *options: str) -> tuple[float, float, Row, list[Row]]:
    """Seconds, peak megabytes, summary and rows of one scan by the command line."""
    output = folder / "rows.jsonl"
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "fastmark", "scan", str(folder / "pictures"), "-o", str(output)]
    command += ["--key", str(key), "--json", "--force", *options]
    peak = 0
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.5):
            peak = max(peak, tree_memory(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, err = process.communicate()
    ended.set()
    watcher.join()
    seconds = time.perf_counter() - start
    if process.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(command)}: {err.decode()}")
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    return seconds, peak / 1e6, json.loads(out), rows


def bare_loop(paths: list[str]) -> tuple[float, float]:
    """Seconds that `fastmark.detect` alone takes for files, once warm: by the clock, and at work."""
    import fastmark

    marker = fastmark.Watermarker(fastmark.Key(seeded_bytes("bulk key")))
    fastmark.detect(paths[0], [marker])
    start, at_work = time.perf_counter(), time.thread_time()
    for path in paths:
        fastmark.detect(path, [marker])
    return time.perf_counter() - start, time.thread_time() - at_work


def decoding_loop(paths: list[str]) -> tuple[float, float]:
    """The same of Pillow, which decodes the files to RGB, once read."""
    files = [Path(path).read_bytes() for path in paths]
    start, at_work = time.perf_counter(), time.thread_time()
    for file in files:
        decoded(file)
    return time.perf_counter() - start, time.thread_time() - at_work


def some_files(folder: Path, count: int) -> list[str]:
    """So many of the archive's whole JPEG files, spread over all."""
    files = sorted(folder.rglob("*.jpg"))
    chosen = files[:: max(1, len(files) // count)][:count]
    return [str(path) for path in chosen if is_whole(path)]


def alone(paths: list[str]) -> Iterator[tuple[str, int, float, float]]:
    """Images per second, and milliseconds at work per image, of one that decodes and of the bare loop."""
    seconds, at_work = decoding_loop(paths)
    yield "decode alone", 1, len(paths) / seconds, 1e3 * at_work / len(paths)
    for processes in (1, 2):
        share = [paths[i::processes] for i in range(processes)]
        spent = [s for _, s in in_processes(bare_loop, [(part,) for part in share], processes)]
        rate = len(paths) / max(seconds for seconds, _ in spent)
        yield "detect alone", processes, rate, 1e3 * sum(work for _, work in spent) / len(paths)


def is_whole(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except OSError:
        return False
    return True


def judged(rows: list[Row], truth: dict[str, str]) -> Row:
    """Counts of a scan's rows that agree with the archive, and of those that do not."""
    by_name = {name_of(row): row for row in rows}
    found = missed = wrong = false = unreported = 0
    for name, message in truth.items():
        row = by_name[name]
        if message == "damaged":
            # of a file that was cut off the intact part is looked at, and the remarks say so
            unreported += row["error"] is None and row["remarks"] is None
        elif message:
            found += row["state"] == "detected" and row["message"] == message
            missed += row["state"] != "detected"
            wrong += row["message"] not in (message, None)
        else:
            false += row["state"] != "absent"
    return {
        "rows": len(rows),
        "doubled or lost": abs(len(rows) - len(by_name)) + abs(len(truth) - len(by_name)),
        "marked": sum(message not in ("", "damaged") for message in truth.values()),
        "found": found,
        "missed": missed,
        "wrong": wrong,
        "false": false,
        "damaged, not reported": unreported,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="images; else shipped ones")
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--archive", type=Path, help="made there, and used again if it is there")
    parser.add_argument("--skip-ray", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "bulk.csv")
    options = parser.parse_args()
    one_thread_each()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.archive or Path(scratch)
        paths = tuple(find_pictures(options.folders)) if options.folders else ()
        truth = build(folder, options.pictures, paths)
        measure(folder, truth, options)


def measure(folder: Path, truth: dict[str, str], options: argparse.Namespace) -> None:
    from fastmark import Key

    key = folder / "bulk.key"
    key.unlink(missing_ok=True)
    Key(seeded_bytes("bulk key")).save(key)
    bare: dict[int, float] = {}
    rows: list[Row] = []
    for what, n, rate, ms in alone(some_files(folder / "pictures", 400)):
        rows.append({"what": f"{what}, {n} processes", "pictures a second": rate, "ms at work": ms})
        if what == "detect alone":
            bare[n] = rate
    decoding = rows[0]["pictures a second"]
    ways = {
        "local, 1 worker": (1, ["--workers", "1"]),
        "local, 2 workers": (2, ["--workers", "2"]),
        "Ray, 2 CPUs": (2, ["--workers", "2", "--engine", "ray"]),
    }
    if options.skip_ray:
        del ways["Ray, 2 CPUs"]
    for way, (workers, flags) in ways.items():
        seconds, peak, summary, found = scan(folder, key, *flags)
        rate = len(found) / seconds
        stages = {f"{stage} s": total for stage, total in summary["stages"].items()}
        busy = sum(summary["stages"].values())
        rows.append(
            {"what": way, "pictures a second": rate, "per worker": rate / workers, "reach": REACH, "aim": AIM,
             "result": verdict(workers / rate, 1 / REACH, 1 / AIM), "seconds": seconds,
             "decodings a picture": workers * decoding / rate, "ms at work": None,
             "of detect alone": rate / (workers * bare[1]), "of as many processes": rate / bare[workers],
             "peak MB": peak, **judged(found, truth), **stages, "idle s": workers * seconds - busy}
        )  # fmt: skip
    by_way = {row["what"]: row["pictures a second"] for row in rows}
    rows.append(
        {
            "what": "2 workers over 1",
            "pictures a second": by_way["local, 2 workers"] / by_way["local, 1 worker"],
        }
    )
    print_table("Scanning an archive", [{name: row.get(name) for name in rows[3]} for row in rows])
    write_csv(options.out, header("bulk", 2, pictures=options.pictures, folders=len(options.folders)), rows)


if __name__ == "__main__":
    main()
