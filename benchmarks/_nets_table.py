"""The table of nets.csv: of numbers or of the texts of a file, the attacks that leave least first."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

MEASURES = (
    ("psnr_db", "PSNR, dB", 1),
    ("ssimulacra2", "SSIMULACRA2", 1),
    ("marked_psnr_db", "PSNR to the marked, dB", 1),
)


def summary(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """One row per attack and size of image, as texts: how often the watermark is left, and at what quality.

    Those after which fewer messages are read come first, and among equals those that cost the image least.
    """
    groups: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("log10_p") not in (None, ""):
            groups.setdefault((int(row["side"]), row["attack"]), []).append(row)
    lines = []
    for (side, attack), part in groups.items():
        read = sum(int(row["message_ok"]) for row in part)
        detected = sum(row["state"] == "detected" for row in part)
        means = {name: statistics.mean(float(row[name]) for row in part) for name, _, _ in MEASURES}
        order = (read / len(part), detected / len(part), -means["psnr_db"])
        line = {
            "attack": attack,
            "pixels": f"{side} x {side}",
            "images": str(len(part)),
            "message read": str(read),
            "detected": str(detected),
            "wrong message": str(sum(int(row["message_wrong"]) for row in part)),
            "median log10 p": f"{statistics.median(float(row['log10_p']) for row in part):.1f}",
        }
        line |= {title: f"{means[name]:.{digits}f}" for name, title, digits in MEASURES}
        lines.append((order, line))
    return [line for _, line in sorted(lines, key=lambda pair: pair[0])]


def words(rows: Iterable[Mapping[str, Any]]) -> str:
    """What the table says in a sentence: how many attacks leave every message, and how many none."""
    lines = [line for line in summary(rows) if line["attack"] != "none"]
    kept = [line for line in lines if line["message read"] == line["images"]]
    lost = [line for line in lines if line["message read"] == "0"]
    wrong = sum(int(line["wrong message"]) for line in lines)
    text = f"After {len(kept)} of {len(lines)} every message is read"
    text += f", after {len(lost)} none is" if lost else ""
    return f"{text}; {wrong or 'no'} message was wrong."
