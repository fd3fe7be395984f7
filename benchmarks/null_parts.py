"""How often each part of the evidence is strong by chance, at one fixed place: the tail against its bound.

`null.py` judges whole searches, whose union bounds leave hardly any p-value below 1: it can show that nothing
is accused, not that a part is sound. Here nothing is searched. Every unmarked image of `null.py --kinds` with
sides of up to 768 pixels is read with every key at torus place (0, 0), and the bounds are taken as they are:
the pilot's phases, weighted as the search weighs them, the anchors, the data chips against the codeword of
message 0, and Fisher's product of the three.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _null_plots
import _null_tables as tables
import numpy as np
from _common import find_pictures, header, one_thread_each, print_table, seeded_bytes, write_csv
from _drawing import new_figure, save
from _ladder import BIN, Settings, bin_of
from _null_pictures import Plan, kinds_in_turn, other_tool_is_there, picture, plan
from _resuming import resumed

Row = dict[str, Any]

MOST_SIDE = 768
BLOCK = 128  # images that share their keys
PARTS = ("phases", "anchors", "chips", "product")
EXPONENTS = (0.5, 1, 2, 3, 4, 5)


def bounds_of(rgb: np.ndarray, carriers: Sequence[Any]) -> np.ndarray:
    """Bounds of one image for some keys: float64 (keys, 4), natural logarithms, in the order of PARTS."""
    from fastmark.codec.message import MessageCode
    from fastmark.codec.plane import canonical_plane
    from fastmark.detection import evidence
    from fastmark.detection.placement import PilotView, weigh
    from fastmark.detection.resampling import resample
    from fastmark.detection.scores import ScorePlanes
    from fastmark.detection.soft_bits import ChipBlocks
    from fastmark.detection.torus import TorusSpectrum

    signs = 1.0 - 2.0 * MessageCode(64).encode(0)
    planes = ScorePlanes(canonical_plane(rgb, 1))
    torus = TorusSpectrum(planes, np.eye(2), 1)
    grid = resample(planes, np.eye(2), np.zeros(2))
    blocks = ChipBlocks.of(grid.scores, grid.inside)
    rows = []
    for carrier in carriers:
        values = weigh(torus.tones(carrier), carrier)
        view = PilotView(values, carrier, torus.matrix, torus.offset, True)
        phases = evidence.phase_sum_bound(
            view.total(view.aligned(turned=False), np.zeros(2)), np.abs(view.values)
        )
        total, variance = blocks.soft_bits(carrier, (0, 0))
        anchors = evidence.sign_sum_bound(float(total[-1]), float(variance[-1]))
        chips = evidence.sign_sum_bound(float(signs @ total[:-1]), float(variance[:-1].sum()))
        rows.append((phases, anchors, chips, evidence.product_bound(phases, anchors, chips)))
    return np.array(rows)


def run_block(plans: Sequence[Plan], settings: Settings) -> list[Row]:
    """All trials of some images, with keys of their own: a row an image, its bounds counted in bins."""
    from fastmark.codec.carrier import Carrier
    from fastmark.codec.key import Key

    first = plans[0].number
    carriers = [Carrier(Key(seeded_bytes(f"null parts of {first}, key {n}"))) for n in range(settings.keys)]
    rows: list[Row] = []
    for one in plans:
        bounds = bounds_of(picture(one, settings.folders), carriers)
        bins = {}
        for part, column in zip(PARTS, bounds.T, strict=True):
            counts = Counter(bin_of(log_p) for log_p in column.tolist())
            bins[part] = [n for pair in sorted(counts.items()) for n in pair]
        rows.append(
            {
                "kind": one.kind, "attack": one.attack, "height": one.height, "width": one.width,
                "searches": len(bounds), "bins": bins,
            }
        )  # fmt: skip
    return rows


def chosen(number: int, kinds: tuple[str, ...], keys: int) -> list[Plan]:
    """The first images of `null.py --kinds` whose sides are not too large."""
    found: list[Plan] = []
    n = 0
    while len(found) < number:
        one = plan(n, kinds, keys)
        if max(one.height, one.width) <= MOST_SIDE:
            found.append(one)
        n += 1
    return found


def claimed(rows: Sequence[Row]) -> list[Row]:
    """Claimed against observed tail of each part, of all images and of each kind."""
    views = [
        (part, name, sum(row["searches"] for row in of), tables.bins_of(of, part))
        for name, of in tables.groups_of(rows).items()
        for part in PARTS
    ]
    return tables.tails(views, EXPONENTS)


def quantiles(rows: Sequence[Row]) -> list[Row]:
    """What p is claimed at the quantiles of a uniform one: the Q-Q plot as numbers."""
    n = sum(row["searches"] for row in rows)
    table = []
    for exponent in (*EXPONENTS, np.log10(n)):
        share = 10.0**-exponent
        line: Row = {"share": f"{share:.2g}"}
        for part in PARTS:
            log_p = tables.quantile(tables.bins_of(rows, part), n, share)
            line[f"claimed p, {part}"] = "" if log_p is None else f"{np.exp(log_p):.3g}"
        table.append(line)
    return table


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the Q-Q plot of the parts, and that of the kinds for Fisher's product."""
    n = sum(row["searches"] for row in rows)
    figure, axes = new_figure(1, 2, 10.5, 4.6)
    _null_plots.qq(axes[0, 0], [(part, tables.bins_of(rows, part)) for part in PARTS], n)
    axes[0, 0].set_title("parts of the evidence at one fixed place")
    curves = [(part, tables.bins_of(rows, part), n) for part in PARTS]
    _null_plots.tail(axes[0, 1], curves, 0.0, -6.0)
    axes[0, 1].set_title("claimed against observed")
    save(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="of photographs")
    parser.add_argument("--pictures", type=int, default=2304, help="of all kinds; default: %(default)s")
    parser.add_argument("--keys", type=int, default=96, help="for each; default: %(default)s")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--journal", type=Path, help="file by which a run is gone on with")
    parser.add_argument("--chart", type=Path, help="Q-Q plot and tails, SVG or PNG")
    parser.add_argument("-o", "--output", type=Path, help="CSV of the tables")
    options = parser.parse_args(arguments)

    one_thread_each()
    kinds = kinds_in_turn(other_tool_is_there())
    settings = Settings(tuple(options.folders), kinds, options.keys, False, 64)
    plans = chosen(options.pictures, kinds, options.keys)
    jobs = [(plans[i : i + BLOCK], settings) for i in range(0, len(plans), BLOCK)]
    asked = {
        "images": [path.name for path in find_pictures(options.folders)] if options.folders else [],
        "kinds": kinds, "keys": options.keys, "pictures": options.pictures, "most side": MOST_SIDE,
    }  # fmt: skip
    done = resumed(run_block, jobs, options.workers, options.journal, asked)
    rows = [row for found in done for row in found]
    n = sum(row["searches"] for row in rows)
    made = {"claimed": claimed(rows), "quantiles": quantiles(rows)}
    faults = [row for row in made["claimed"] if row["result"] != "ok"]
    head = header(
        "null_parts", options.workers, images=len(rows), keys=options.keys, trials=n, most_side=MOST_SIDE
    )
    head.append(f"{len(faults)} FAULTS; bounds are counted in bins of {BIN:.4f} nats, by their upper edge")
    print(*head, sep="\n")
    print_table("claimed, all images", [row for row in made["claimed"] if row["of"] == "all"])
    print_table("quantiles", made["quantiles"])
    print_table("FAULTS", faults)
    if options.output:
        write_csv(options.output, head, [{"table": n} | row for n, table in made.items() for row in table])
    if options.chart:
        draw(rows, options.chart)
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
