"""How much of the mark is left after every attack, group by group against the targets.

Each picture is marked with a random message of its own (seeded), attacked, and read blind. With `--unmarked`
nothing is embedded: then any message, and p-values small more often than they say, are faults. With
`--detector-key` the key marks, and its detector key looks. With `--public` the public watermark is embedded
beside the key's, and both are looked for, each in rows of its own. Groups that are for the deep search get it
always.
"""

from __future__ import annotations

import argparse
import fnmatch
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from _common import (
    breaches,
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
from attacks import ATTACKS, TARGETS, Attack

Row = dict[str, Any]

# attacks after which an image is inverted, or mirrored
INVERTING, MIRRORING = ("invert",), ("flip-x", "flip-y", "transpose", "transverse")


@dataclass(frozen=True)
class Settings:
    """What every worker needs to know."""

    patterns: tuple[str, ...]
    message_bits: int
    strength: float
    deep: bool
    keys: int
    unmarked: bool
    detector_key: bool
    public: bool


@cache
def watermarker(number: int, message_bits: int, strength: float) -> Any:
    """Watermarker of the numbered benchmark key, warmed up so that no trial's time holds compilation."""
    import fastmark as fm

    key = fm.Key(secret=seeded_bytes(f"key {number}"), name=f"bench-{number}")
    marker = fm.Watermarker(key, message_bits=message_bits, strength=strength)
    marker.detect(np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8))
    return marker


@cache
def looker(number: int, message_bits: int, strength: float, detector_key: bool) -> Callable[..., Any]:
    """`detect` of the numbered key's watermarker, or of a detector with its detector key alone."""
    import fastmark as fm

    marker = watermarker(number, message_bits, strength)
    if not detector_key:
        return marker.detect
    detector = fm.Detector(marker.key.detector_key(), message_bits)
    return lambda image, **options: detector.detect(image, **options)[0]


@cache
def public_looker() -> tuple[str, Callable[..., Any]]:
    """The public key's `detect`."""
    from fastmark import public

    marker = public.marker()
    marker.detect(np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8))
    return "public", marker.detect


def chosen(patterns: Iterable[str], height: int, width: int) -> list[Attack]:
    """Attacks whose name or group fits a pattern and which apply to a picture of this size."""
    return [
        attack
        for attack in ATTACKS.values()
        if attack.applies(height, width)
        and any(fnmatch.fnmatchcase(name, p) for p in patterns for name in (attack.name, attack.group))
    ]


def flat(found: Mapping[str, Any], prefix: str = "") -> Row:
    """Flatten the scalars of a detection's dict, whatever diagnostics it carries."""
    row: Row = {}
    for name, value in found.items():
        if isinstance(value, Mapping):
            row |= flat(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, str | int | float | bool):
            row[prefix + name] = value
    return row


def trial(detect: Callable[..., Any], attacked: np.ndarray, message: int | None, deep: bool) -> Row:
    """Detect once. An exception is a result too: one bad trial must not cost the run."""
    start = time.perf_counter()
    try:
        found = detect(attacked, deep=True) if deep else detect(attacked)
    except Exception as error:
        return {"state": "error", "log10_p": 0.0, "message_ok": 0, "message_wrong": 0, "ms": 0.0,
                "error": f"{type(error).__name__}: {error}"}  # fmt: skip
    ms = 1e3 * (time.perf_counter() - start)
    row = {
        "state": str(found.state),
        "log10_p": float(found.log10_p),
        "message_ok": int(found.message is not None and found.message == message),
        "message_wrong": int(found.message is not None and found.message != message),
        "ms": ms,
        "scale": found.scale,
        "rotation_deg": found.rotation_deg,
        "mirrored": found.mirrored,
        "error": "",
    }
    skipped = {"message", "message_bytes", "key_id", "p_value", "state", "note", *row}
    return row | {k: v for k, v in flat(found.to_dict()).items() if k not in skipped}


def run_picture(number: int, path: Path, settings: Settings) -> list[Row]:
    """All trials of one picture."""
    rgb = read_rgb(path)
    height, width = rgb.shape[:2]
    base = {"picture": label(path), "height": height, "width": width}
    # a mark is read with its own key; an unmarked picture must be silent under every key
    numbers = range(settings.keys) if settings.unmarked else [number % settings.keys]
    made = settings.message_bits, settings.strength
    lookers: list[tuple[Any, Callable[..., Any], int | None]]
    lookers = [(n, looker(n, *made, settings.detector_key), None) for n in numbers]
    if not settings.unmarked:
        message = int.from_bytes(seeded_bytes(f"message {path.name}", settings.message_bits // 8))
        lookers = [(*lookers[0][:2], message)]
        code = None
        if settings.public:
            from fastmark.public import PublicCode

            code = PublicCode.of("ai-generated", 65535, int.from_bytes(seeded_bytes(f"free {path.name}", 4)))
            lookers.append((*public_looker(), int(code.hex, 16)))
        try:
            rgb = watermarker(numbers[0], *made).embed(rgb, message, public=code)
        except Exception as error:
            refusal = f"{type(error).__name__}: {error}"
            return [base | {"attack": "embed", "group": "embed", "state": "refused", "error": refusal}]
    rows = []
    for attack in chosen(settings.patterns, height, width):
        attacked = attack(rgb)
        for n, detect, message in lookers:
            row = base | {"attack": attack.name, "group": attack.group, "key": n}
            row |= {"attacked_height": attacked.shape[0], "attacked_width": attacked.shape[1]}
            deep = settings.deep or attack.deep
            rows.append(row | {"deep": int(deep)} | trial(detect, attacked, message, deep))
    return rows


def run(paths: list[Path], settings: Settings, workers: int) -> list[Row]:
    """Run a job a picture; rows in the pictures' order."""
    results: dict[int, list[Row]] = {}
    start = time.perf_counter()
    jobs = [(i, path, settings) for i, path in enumerate(paths)]
    for number, rows in in_processes(run_picture, jobs, workers):
        results[number] = rows
        seconds = time.perf_counter() - start
        done = f"{len(results)}/{len(paths)}"
        print(f"{done} {label(paths[number])}: {len(rows)} trials, {seconds:.0f} s", file=sys.stderr)
    return [row for number in sorted(results) for row in results[number]]


def grouped(rows: Iterable[Row], name: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[name], []).append(row)
    return groups


def percent(rows: list[Row], test: Callable[[Row], object]) -> float:
    return 100 * sum(bool(test(row)) for row in rows) / len(rows)


def detected(row: Row) -> bool:
    return row["state"] == "detected"


def by_attack(rows: list[Row]) -> list[Row]:
    return [
        {
            "attack": name,
            "group": part[0]["group"],
            "n": len(part),
            "message %": percent(part, lambda row: row["message_ok"]),
            "presence %": percent(part, detected),
            "wrong": sum(row["message_wrong"] for row in part),
            "errors": sum(row["state"] == "error" for row in part),
            "median ms": statistics.median(row["ms"] for row in part),
            "worst log10 p": max(row["log10_p"] for row in part),
        }
        for name, part in grouped(rows, "attack").items()
    ]


def by_group(rows: list[Row]) -> list[Row]:
    table = []
    groups = grouped(rows, "group")
    for name, (message, presence) in TARGETS.items():
        part = groups.get(name, [])
        if not part:
            continue
        got_message, got_presence = percent(part, lambda row: row["message_ok"]), percent(part, detected)
        short = (message is not None and got_message < 100 * message) or (
            presence is not None and got_presence < 100 * presence
        )
        table.append(
            {
                "group": name,
                "n": len(part),
                "message %": got_message,
                "message target": None if message is None else 100 * message,
                "presence %": got_presence,
                "presence target": None if presence is None else 100 * presence,
                "wrong": sum(row["message_wrong"] for row in part),
                "result": "SHORT" if short else "-" if message is presence is None else "pass",
            }
        )
    return table


def by_picture(rows: list[Row]) -> list[Row]:
    """Count what each picture lost where everything should come back; the worst twelve."""
    table = []
    for name, part in grouped(
        (row for row in rows if row["group"] in ("none", "everyday")), "picture"
    ).items():
        lost = [row["attack"] for row in part if not row["message_ok"]]
        table.append(
            {
                "picture": name,
                "n": len(part),
                "messages lost": len(lost),
                "undetected": sum(not detected(row) for row in part),
                "lost to": ", ".join(lost[:6]) + (" ..." if len(lost) > 6 else ""),
            }
        )
    worst = sorted(table, key=lambda row: -row["messages lost"])
    return [row for row in worst if row["messages lost"] or row["undetected"]][:12]


def tails(rows: list[Row]) -> list[Row]:
    """Compare the share of p-values below each level with the level itself."""
    table = []
    for exponent in range(1, 10):
        seen = sum(row["log10_p"] <= -exponent for row in rows)
        bound = len(rows) * 10.0**-exponent
        # trials on one picture are not independent: a breach is flagged beyond four standard deviations
        fault = breaches(seen, bound)
        table.append(
            {"p <=": f"1e-{exponent}", "seen": seen, "allowed": bound, "result": "FAULT" if fault else "ok"}
        )
    return table


def report_unmarked(rows: list[Row]) -> list[Row]:
    table = [
        {
            "attack": name,
            "n": len(part),
            "detected": sum(map(detected, part)),
            "possible": sum(row["state"] == "possible" for row in part),
            "messages": sum(row["message_wrong"] for row in part),
            "errors": sum(row["state"] == "error" for row in part),
            "median ms": statistics.median(row["ms"] for row in part),
            "least log10 p": min(row["log10_p"] for row in part),
        }
        for name, part in grouped(rows, "attack").items()
    ]
    print_table("unmarked pictures, by attack", table)
    print_table(f"p-values of {len(rows)} unmarked trials", tails(rows))
    faults = [row for row in rows if row["message_wrong"] or detected(row)]
    keep = ("picture", "attack", "key", "state", "log10_p", "message_wrong")
    print_table("FAULTS", [{name: row[name] for name in keep} for row in faults])
    print(f"\n{len(rows)} trials, {len(faults)} reported a mark that is not there")
    return table


def by_watermark(rows: list[Row]) -> list[Row]:
    """Tell the groups of a key's watermark and of the public one apart, where both were embedded."""
    parts = {
        name: [row for row in rows if (row["key"] == "public") == (name == "public")]
        for name in ("own", "public")
    }
    if not parts["public"]:
        return by_group(rows)
    return [{"watermark": name} | line for name, part in parts.items() for line in by_group(part)]


def by_claim(rows: list[Row]) -> list[Row]:
    """What is said of images whose message is read, group by group, and how often it is not so.

    All are genuine: `mismatch` and `detector key` accuse them.
    """
    lines = []
    for name, part in grouped(rows, "group").items():
        read = [row for row in part if row["message_ok"]]
        said = {"match": "binding", "mismatch": "binding", "key": "made_with", "detector key": "made_with"}
        line = {"group": name, "read": len(read)}
        line |= {word: sum(row[column] == word for row in read) for word, column in said.items()}
        wrongly = {
            "inverted": sum(bool(row["inverted"]) != (row["attack"] in INVERTING) for row in read),
            "mirrored": sum(bool(row["mirrored"]) != (row["attack"] in MIRRORING) for row in read),
        }
        lines.append(line | {f"{claim}, wrongly": count for claim, count in wrongly.items()})
    return lines


def report_marked(rows: list[Row]) -> list[Row]:
    table = by_attack(rows)
    print_table("by attack", table)
    print_table("pictures that lost most (group everyday)", by_picture(rows))
    print_table("by group, against the targets", by_watermark(rows))
    print_table("what is said of those whose message is read", by_claim(rows))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--attacks", default="*", help="patterns of names or groups, comma between")
    parser.add_argument("--pictures", type=int, default=0, help="only so many, spread over all")
    parser.add_argument("--message-bits", type=int, default=64)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--keys", type=int, default=4, help="keys in turn; with --unmarked, keys a picture")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--deep", action="store_true", help="detect with deep=True")
    parser.add_argument("--unmarked", action="store_true", help="embed nothing: count false alarms")
    parser.add_argument("--detector-key", action="store_true", help="look with the keys' detector keys")
    parser.add_argument("--public", action="store_true", help="embed and look for the public watermark too")
    parser.add_argument("-o", "--output", type=Path, help="CSV of trials; the summary goes beside it")
    options = parser.parse_args()

    one_thread_each()
    paths = find_pictures(options.folders, options.pictures)
    settings = Settings(
        tuple(options.attacks.split(",")),
        options.message_bits,
        options.strength,
        options.deep,
        options.keys,
        options.unmarked,
        options.detector_key,
        options.public,
    )
    if not chosen(settings.patterns, 1024, 1024) and not chosen(settings.patterns, 2048, 2048):
        raise SystemExit(f"no attack is called {options.attacks}")
    head = header(
        "robustness",
        options.workers,
        pictures=len(paths),
        message_bits=options.message_bits,
        strength=options.strength,
        deep=options.deep,
        unmarked=options.unmarked,
        detector_key=options.detector_key,
        public=options.public,
        attacks=options.attacks,
    )
    print(*head, sep="\n")
    rows = run(paths, settings, options.workers)

    refused = [row for row in rows if row["state"] == "refused"]
    print_table("refused to embed", [{"picture": row["picture"], "why": row["error"]} for row in refused])
    trials = [row for row in rows if row["state"] != "refused"]
    if not trials:
        raise SystemExit("no trial was run")
    errors = [row for row in trials if row["state"] == "error"]
    keep = ("picture", "attack", "error")
    print_table(
        "errors in detect (first twelve)", [{name: row[name] for name in keep} for row in errors[:12]]
    )
    summary = report_unmarked(trials) if options.unmarked else report_marked(trials)
    if options.output:
        write_csv(options.output, head, rows)
        write_csv(options.output.with_name(f"{options.output.stem}-summary.csv"), head, summary)
        if not options.unmarked:
            write_csv(
                options.output.with_name(f"{options.output.stem}-groups.csv"), head, by_watermark(trials)
            )


if __name__ == "__main__":
    main()
