"""``fastmark report``: what the watermark does to a user's own images, as one page and its figures."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmark._checks import MAX_PIXELS_EACH, redacted
from fastmark.cli.arguments import add_key, add_max_pixels, add_message_bits, count, positive, strength
from fastmark.cli.codes import DONE, INTERRUPTED, PARTLY, fail
from fastmark.codec.key_places import load_secret_key
from fastmark.codec.public import FLAGS
from fastmark.errors import OutputError

if TYPE_CHECKING:
    from fastmark.reporting import Report

_PAGES = (".html", ".htm")


def add(verbs: Any) -> None:
    """Add the verb."""
    report = verbs.add_parser(
        "report",
        help="measure what the watermark does to your own images, and write a report",
        epilog="images are watermarked and attacked in memory: none is written, and none is in the report."
        " exit codes: 0 done; 2 error; 3 some images could not be measured, which the report lists; 130"
        " stopped: run the same command again to resume",
        allow_abbrev=False,
    )
    report.add_argument(
        "inputs",
        nargs="*",
        metavar="IMAGE",
        help="an image, a folder of images, or a list of paths (.txt or .lst)",
    )
    report.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="the page: a file that ends in .html"
    )
    report.add_argument(
        "--figures", metavar="FILE", help="the figures as JSON; default: OUT with the ending .json"
    )
    add_key(report, many=False)
    report.add_argument(
        "--attacks",
        choices=("quick", "full"),
        default="quick",
        help="quick: some of each group, one to two seconds per core and image of 512 x 512 pixels; full:"
        " all, several seconds; default: %(default)s",
    )
    report.add_argument("--sample", type=positive, metavar="N", help="draw N of the images at random")
    report.add_argument(
        "--null-keys",
        type=_null_keys,
        default=20,
        metavar="N",
        help="keys drawn at random that each unmarked original is searched for, 0 to 1000; default:"
        " %(default)s",
    )
    report.add_argument(
        "--seed",
        type=_seed,
        metavar="N",
        help="what is drawn at random follows from it; default: one by chance, which the report tells",
    )
    report.add_argument(
        "--strength",
        type=strength,
        default=1.0,
        metavar="S",
        help="amplitude relative to the default, 0.25..4; default: %(default)s",
    )
    add_message_bits(report)
    report.add_argument(
        "--public",
        metavar="FLAGS",
        help=f"embed the public watermark beside, as 'embed' does; with commas between: {', '.join(FLAGS)}",
    )
    report.add_argument(
        "--anonymous", action="store_true", help="leave names and hashes of files out of the report"
    )
    report.add_argument(
        "--list",
        action="append",
        metavar="FILE",
        help="text file with one path per line, whatever its name; - is stdin; may be repeated",
    )
    report.add_argument("--workers", type=count, metavar="N", help="processes; default: one per core")
    add_max_pixels(report, str(MAX_PIXELS_EACH))
    report.add_argument("--force", action="store_true", help="replace what exists, and start over")
    report.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    report.add_argument("--quiet", action="store_true", help="print no progress and no summary")
    report.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """``fastmark report``."""
    from fastmark.bulk.journal import journal_path
    from fastmark.images.encoding import write_output

    page, figures = _outputs(options)
    key = load_secret_key(options.key)
    public = None
    if options.public is not None:
        from fastmark.codec.public import PublicCode

        public = PublicCode.of(options.public)

    from fastmark.reporting import measure
    from fastmark.reporting.measuring import forget

    try:
        report = measure(
            options.inputs,
            key,
            lists=options.list or (),
            sample=options.sample,
            seed=options.seed,
            attacks=options.attacks,
            null_keys=options.null_keys,
            strength=options.strength,
            message_bits=options.message_bits,
            public=public,
            anonymous=options.anonymous,
            workers=options.workers or 0,
            max_pixels=options.max_pixels or MAX_PIXELS_EACH,
            output=page,
            force=options.force,
            quiet=options.quiet,
        )
    except KeyboardInterrupt:
        if not Path(journal_path(page)).exists():
            raise
        kept = redacted(journal_path(page))
        print(
            f"fastmark: stopped before the end: what is measured is kept in {kept}; run the same command"
            " again to resume",
            file=sys.stderr,
        )
        return INTERRUPTED
    text = json.dumps(report.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    write_output(figures, f"{text}\n".encode(), overwrite=True)
    write_output(page, report.to_html().encode(), overwrite=True)
    forget(page)
    return _end(report, options, page, figures)


def _outputs(options: argparse.Namespace) -> tuple[str, str]:
    """Return where page and figures go, if they can be written there."""
    from fastmark.bulk.journal import has_journal
    from fastmark.bulk.storage import check_folder_of, is_url

    page = options.output
    if is_url(page) or Path(page).suffix.lower() not in _PAGES:
        raise OutputError(f"{page}: the page is a file of this machine that ends in .html: name one")
    figures = options.figures or str(Path(page).with_suffix(".json"))
    if Path(figures).resolve() == Path(page).resolve():
        raise OutputError(f"{page} cannot be both the page and the figures: name another file with --figures")
    for place in (page, figures):
        check_folder_of(place)
        if Path(place).is_dir():
            raise OutputError(f"{place} is a folder: name a file in it")
        if Path(place).exists() and not options.force and not has_journal(page):
            raise OutputError(f"{place} exists already: choose another output, or --force")
    return page, figures


def _end(report: Report, options: argparse.Namespace, page: str, figures: str) -> int:
    """Tell what came of it; the exit code."""
    values = report.to_dict()
    failed = [one for one in values["sample"]["left_out"] if one["state"] != "passed over"]
    if options.json:
        names = ("schema", "key", "settings", "quality", "null")
        summary = {name: values[name] for name in names}
        summary["sample"] = {name: values["sample"][name] for name in ("found", "chosen", "measured")}
        summary["groups"] = values["survival"]["groups"]
        print(json.dumps({"output": page, "figures": figures, **summary}))
    elif not options.quiet:
        for line in _lines(values):
            print(line)
        print(f"written: {page}, {figures}")
    if failed:
        tried = values["sample"]["measured"] + len(failed)  # with those that were named and are not there
        fail(f"{len(failed)} of {tried} images could not be measured: the report lists them")
        return PARTLY
    return DONE


def _lines(values: dict[str, Any]) -> list[str]:
    """Return the summary for people."""
    quality = values["quality"]["all"]
    shown = [f"PSNR {quality['psnr_db']['mean']:.1f} dB (worst {quality['psnr_db']['worst']:.1f})"]
    shown.append(f"SSIM {quality['ssim']['mean']:.4f} (worst {quality['ssim']['worst']:.4f})")
    if quality["ssimulacra2"] is not None:
        score = quality["ssimulacra2"]
        shown.append(f"SSIMULACRA2 {score['mean']:.1f} (worst {score['worst']:.1f})")
    lines = [f"{'images':<20}{values['sample']['measured']} of {values['sample']['found']}"]
    lines.append(f"{'quality':<20}{', '.join(shown)}")
    from fastmark.reporting.attacks import GROUPS
    from fastmark.reporting.elements import percent

    for one in values["survival"]["groups"]:
        if one["attacks"]:
            title = GROUPS[one["group"]].partition(",")[0].lower()
            means = {what: percent(one[what]["mean"]) for what in ("message", "detected")}
            lines.append(f"{title:<20}read {means['message']}, detected {means['detected']}")
    null = values["null"]
    if null["trials"]:
        least = null["least_log10_p"]
        lines.append(
            f"{'unmarked':<20}{null['detected']} of {null['trials']:,} trials detected, least p"
            f" {'1' if least > -0.5 else f'1e{least:.0f}'}"
        )
    return lines


def _seed(text: str) -> int:
    if text.isdecimal() and int(text) < 1 << 63:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a number of 0 to 2^63 - 1, not {text!r}")


def _null_keys(text: str) -> int:
    if text.isdecimal() and int(text) <= 1000:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be 0 to 1000, not {text!r}")
