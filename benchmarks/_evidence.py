"""What the paper and the README say of unmarked images, curves, other tools, networks and attackers.

Each function makes a part of a document from the results, and is empty without them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from _nets_table import summary as nets_summary
from _others_table import summary as others_summary
from _speed_tables import JPEG, SPEED_SIZE, speed_summary
from _tables import markdown, measured, of_quality, percent, read_commented

Row = Mapping[str, Any]

POINTS = (("JPEG", "JPEG"), ("WebP", "WebP"), ("AVIF", "AVIF"), ("resize", "scale"), ("crop", "% kept"),
          ("noise", "noise"), ("blur", "blur, px"), ("bending", "bend, px"))  # fmt: skip
# What is asked of the images of a size: in words, the length of messages, and the column of power.csv.
KEPT = (
    ("the message of 32 bits", "32", "message_ok"),
    ("the message of 64 bits", "64", "message_ok"),
    ("the message of 128 bits", "128", "message_ok"),
    ("the watermark of 64 bits, p <= 1e-9", "64", "detected"),
    ("the watermark of 64 bits, at 0.1 % false positives", "64", "at_fpr"),
)
MILDER_IS_LESS = {"noise", "blur", "bending"}
HALF = 0.5
BEYOND = {"yes": "", "beyond": ", beyond what is promised"}


def share(text: object) -> str:
    """A share of 0 to 1 as per cent, rounded down."""
    return percent(str(100 * float(str(text))))


def known(results: Path, *names: str) -> bool:
    """Whether there are all of these results."""
    return all((results / name).exists() for name in names)


# ---- unmarked images -------------------------------------------------------------------------------------


def counted(head: Iterable[str]) -> dict[str, int]:
    """Searches, images, detections and so on, of the comment lines of null-kinds.csv."""
    line = next(line for line in head if " searches in " in line)
    names = r"(\d+) (searches|images|detected|possible|messages|FAULTS)"
    return {name: int(number) for number, name in re.findall(names, line)}


def null_sentence(results: Path) -> str:
    """How many searches there were, and what they found."""
    if not known(results, "null-kinds.csv"):
        return ""
    from fastmark.reporting.intervals import clopper_pearson

    head, _ = read_commented(results / "null-kinds.csv")
    n = counted(head)
    _, most = clopper_pearson(n["detected"], n["searches"])
    return (
        f"{n['searches']:,} searches of {n['images']:,} unmarked images of {len(kinds_of(results))} kinds,"
        f" 64 pixels to 12 MP, untouched and attacked, gave {n['detected']} false detections and"
        f" {n['messages']} messages: at 95 % confidence, the rate is at most {most:.1e}; the detector claims"
        " 1e-9."
    )


def kinds_of(results: Path) -> list[str]:
    """The kinds of unmarked images that were searched."""
    _, rows = read_commented(results / "null-kinds.csv")
    return list(dict.fromkeys(row["kind"] for row in rows if row["table"] == "kinds"))


def null(results: Path) -> str:
    """What the paper says of unmarked images."""
    if not known(results, "null-kinds.csv", "null_parts.csv"):
        return ""
    head, rows = read_commented(results / "null-kinds.csv")
    parts_head, parts = read_commented(results / "null_parts.csv")
    trials = re.search(r"images (\d+), keys (\d+), trials (\d+)", parts_head[0])
    assert trials is not None
    of_all = {
        (row["counted"], float(row["p <="])): row
        for row in parts
        if row["table"] == "claimed" and row["of"] == "all"
    }
    at = {name: of_all[name, 0.01] for name in ("phases", "anchors", "chips", "product")}
    shares = ", ".join(f"{name} {float(row['share']):.1e}" for name, row in at.items())
    faults = counted(head)["FAULTS"]
    return (
        f"{null_sentence(results)} Many keys share an analysed image, which makes the number possible;"
        f" [null-kinds.csv](../benchmarks/results/null-kinds.csv) counts images too. Of all kinds and levels,"
        f" {faults or 'none'} exceeded its bound.{looseness(rows)}\n\np is 1 for nearly every unmarked"
        " image, so parts of the evidence were measured where nothing is searched: at one fixed place,"
        f" {int(trials[3]):,} times ({trials[1]} images, {trials[2]} keys). Where p <= 1e-2 is claimed, these"
        f" shares were seen: {shares} (figure 1). That is the price of exponential bounds.\n\n"
        "![Claimed p-values against their rank, part by part, and claimed against observed shares]"
        "(../benchmarks/results/null_parts.svg)\n\n"
        "*Figure 1. Parts of the evidence on unmarked images of all kinds, nothing searched. Left: below the"
        " grey band is valid. Right: shares with 95 % Clopper-Pearson intervals, against what is claimed.*"
    )


def looseness(rows: Sequence[Row]) -> str:
    """By how much the union bound over a search is above what chance reaches."""
    rungs = {
        row["rung"]: float(row["excess at 0.01"])
        for row in rows
        if row["table"] == "bounds" and row.get("excess at 0.01")
    }
    named = [f"{rungs[name]:.1f} ({name})" for name in ("origin", "candidate") if name in rungs]
    if not named:
        return ""
    return f" What one search in a hundred reaches lies above its union bound by {' and '.join(named)} nats."


# ---- survival --------------------------------------------------------------------------------------------


def classes(results: Path, link: str = "benchmarks/results/") -> str:
    """The table by the classes of the Code."""
    if not known(results, "power-classes.csv"):
        return ""
    head, rows = read_commented(results / "power-classes.csv")
    table = markdown(
        {
            "class of handling": row["class"] + BEYOND[row["promised"]],
            "attacks": row["attacks"],
            "trials": row["trials"],
            "message read": f"{share(row['message_ok share'])} ({share(row['message_ok low'])} to"
            f" {share(row['message_ok high'])})",
            "detected": share(row["detected share"]),
            "worst attack": f"{row['worst attack']}: {share(row['its message share'])}"
            f" of {row['its trials']}",
        }
        for row in rows
    )
    words = (
        "Intervals are Wilson's, 95 %. The classes are those in which the EU Code of Practice asks for"
        " figures (measure 3.3). " + measured(head, "power-classes.csv", link)
    )
    return "\n".join([*table, "", words])


def last_value(rows: Sequence[Row], column: str) -> str:
    """The strongest attack of a curve at which, and below which, half of the images keep what is asked."""
    ordered = sorted(rows, key=lambda row: float(row["value"]))
    if ordered and ordered[0]["sweep"] not in MILDER_IS_LESS:
        ordered.reverse()  # mild first: high quality, large scale
    last = None
    for row in ordered:
        if row["sweep"] == "resize" and float(row["value"]) > 1:
            continue
        if float(row[f"{column} share"]) < HALF:
            break
        last = row
    return f"{float(last['value']):g}" if last else "-"


def curves(results: Path) -> str:
    """Where half of the images keep messages of each length, and the watermark, by size."""
    if not known(results, "power.csv"):
        return ""
    head, rows = read_commented(results / "power.csv")
    lines = []
    for size in sorted({row["size"] for row in rows}, key=lambda size: int(size.split("x")[0])):
        for words, bits, column in KEPT:
            of = [row for row in rows if (row["size"], row["bits"]) == (size, bits)]
            if not of:
                continue
            line = {
                "pixels": size.replace("x", " x "),
                "images": of[0]["trials"],
                "half of them keep": words,
            }
            for name, title in POINTS:
                line[title] = last_value([row for row in of if row["sweep"] == name], column)
            lines.append(line)
    return "\n".join([*markdown(lines), "", measured(head, "power.csv", "../benchmarks/results/")])


def predicted(results: Path) -> str:
    """How predictions of embedding came true."""
    if not known(results, "power-predicted.csv"):
        return ""
    _, rows = read_commented(results / "power-predicted.csv")
    table = markdown(
        {
            "predicted margin": row["predicted margin"],
            "trials": row["trials"],
            "message read": f"{share(row['message_ok share'])} ({share(row['message_ok low'])} to"
            f" {share(row['message_ok high'])})",
        }
        for row in rows
    )
    return "\n".join(table)


# ---- others ----------------------------------------------------------------------------------------------


def others(results: Path) -> str:
    """Other tools: where they do better first, then all."""
    if not known(results, "others.csv"):
        return ""
    head, rows = read_commented(results / "others.csv")
    parts = []
    for title, table in others_summary(rows):
        if table:
            parts += [f"*{title[0].upper()}{title[1:]}:*", "", *markdown(table), ""]
    return "\n".join([*parts, measured(head, "others.csv")])


def losses(results: Path) -> str:
    """Where other tools do better, and the mean rates, for the paper."""
    if not known(results, "others.csv"):
        return ""
    head, rows = read_commented(results / "others.csv")
    tables = dict(others_summary(rows))
    worse = next(iter(tables.values()))
    means = []
    for tool in dict.fromkeys(row["tool"] for row in rows):
        part = [row for row in rows if row["tool"] == tool and row["marked"] == "1" and row["message_ok"]]
        if part:
            read = sum(row["message_ok"] == "1" for row in part)
            means.append({"tool": tool, "trials": str(len(part)), "message read": share(read / len(part))})
    lines = ["Where another tool does better:", "", *markdown(worse), ""]
    lines += ["Over all images and attacks:", "", *markdown(means), ""]
    return "\n".join([*lines, measured(head, "others.csv", "../benchmarks/results/")])


def nets(results: Path, link: str = "results/") -> str:
    """Networks: those that leave least first."""
    if not known(results, "nets.csv"):
        return ""
    head, rows = read_commented(results / "nets.csv")
    return "\n".join([*markdown(nets_summary(rows)), "", measured(head, "nets.csv", link)])


# ---- attackers -------------------------------------------------------------------------------------------

_SECURITY = {
    "attack": "attack", "goal": "goal", "variant": "variant", "has": "has", "number": "number",
    "trials": "trials", "detected %": "detected", "read %": "message read", "dB, median": "dB paid",
    "match": "`match`", "mismatch": "`mismatch`",
}  # fmt: skip


def security(results: Path) -> str:
    """Attackers, all lines."""
    if not known(results, "security.csv"):
        return ""
    head, rows = read_commented(results / "security.csv")
    table = markdown(
        {title: brief(row.get(name, ""), name) for name, title in _SECURITY.items()} for row in rows
    )
    return "\n".join([*table, "", measured(head, "security.csv")])


def attackers(results: Path) -> str:
    """For the paper: of each attack and goal, what its strongest form gets."""
    if not known(results, "security.csv"):
        return ""
    head, rows = read_commented(results / "security.csv")
    return "\n".join(
        [*markdown(strongest(rows)), "", measured(head, "security.csv", "../benchmarks/results/")]
    )


def strongest(rows: Iterable[Row]) -> list[dict[str, str]]:
    """Of each attack and goal, the line that serves the attacker best: he gets most, then pays least."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.get("detected %"):
            groups.setdefault((row["attack"], row["goal"]), []).append(row)

    def serves(row: Row) -> tuple[float, float]:
        detected = float(row["detected %"])
        return (-detected if row["goal"] == "remove" else detected), float(row.get("dB, median") or 0)

    lines = []
    for (attack, goal), part in groups.items():
        best = max(part, key=serves)
        lines.append(
            {
                "attack, at its strongest": f"{attack}: {best['variant']}",
                "he has": f"{best['number']} {best['has']}"
                if best["number"] not in ("", "0")
                else best["has"],
                "to": goal,
                "trials": best["trials"],
                "detected": percent(best["detected %"]),
                "dB paid": brief(best.get("dB, median"), "dB"),
                "said of those read": said(best),
            }
        )
    return lines


def said(row: Row) -> str:
    """What the detector says of where the marks that are read come from."""
    names = [f"{row[name]} {name}" for name in ("match", "mismatch", "unknown") if row.get(name, "0") != "0"]
    return ", ".join(names)


def brief(text: str | None, name: str) -> str:
    """A cell: shares in per cent, prices with one decimal."""
    if not text:
        return ""
    if name.endswith("%"):
        return percent(text)
    return f"{float(text):.1f}" if name.startswith("dB") else text


# ---- quality ---------------------------------------------------------------------------------------------


def quality(results: Path) -> str:
    """What one watermark costs the image and the processor, in a sentence or two."""
    if not known(results, "quality.csv", "compare.csv"):
        return ""
    _, looks = read_commented(results / "quality.csv")
    _, times = read_commented(results / "compare.csv")
    (psnr, least_psnr), (score, least) = (of_quality(looks)[name] for name in ("psnr_db", "ssimulacra2"))
    speed = {line["tool"]: line for line in speed_summary(times, SPEED_SIZE)}
    own, jpeg = speed["fastmark"], speed[JPEG]
    return (
        f"At strength 1, PSNR is {psnr} dB and SSIMULACRA2 {score} on average, {least_psnr} dB and {least} at"
        f" worst, over {sum(bool(row.get('psnr_db')) for row in looks)} images. Per megapixel, on one thread,"
        f" embedding takes {own['mark_ms']:.0f} ms and looking at an unmarked image"
        f" {own['detect_unmarked_ms']:.0f} ms; encoding it as a JPEG takes {jpeg['mark_ms']:.1f} ms, decoding"
        f" {jpeg['detect_unmarked_ms']:.1f} ms. Figure 3 shows what more or less strength would bring.\n\n"
        "![Messages read and watermarks detected after hard handling, against SSIMULACRA2 and PSNR]"
        "(../benchmarks/results/tradeoff.svg)\n\n"
        "*Figure 3. Strengths 0.5 to 2, images of 512 x 512 pixels, attacks that are hard at strength 1.*"
    )
