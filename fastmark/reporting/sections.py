"""The sections of a report's page."""

from __future__ import annotations

from html import escape

from fastmark.reporting import charts, words
from fastmark.reporting.attacks import GROUPS
from fastmark.reporting.elements import (
    Figures,
    count,
    decibels,
    facts,
    likeness,
    listed,
    paragraph,
    percent,
    plain,
    power,
    rate,
    row,
    score,
    table,
    unbroken,
)
from fastmark.reporting.quality import SCORED_SIDE

MOST_IMAGES = 500
"""Images that have a line on the page; of more, the JSON has all."""

MEASURES_OF_QUALITY = (
    ("psnr_db", "PSNR", decibels),
    ("ssim", "SSIM", likeness),
    ("ssimulacra2", "SSIMULACRA2", score),
)


def head(f: Figures) -> str:
    """Whose watermark, when, with what."""
    name = f.at("key.name")
    key = f"key {f.shown('key.id')}" + (f" ({escape(name)})" if name else "")
    return (
        f'<p class="soft">{f.shown("sample.measured", count)} images, {key}, fastmark'
        f" {f.shown('made.versions.fastmark')}, {f.shown('made.ended')}</p>"
    )


def short(f: Figures) -> str:
    """The figures that most ask for, on cards."""
    none, typical = (list(GROUPS).index(group) for group in ("none", "typical"))
    cards = [
        ("Read from untouched images", f.shown(f"survival.groups.{none}.message.mean", percent),
         f"of {f.shown('sample.measured', count)} images"),
        ("Read after typical processing", f.shown(f"survival.groups.{typical}.message.mean", percent),
         f"mean of {f.shown(f'survival.groups.{typical}.attacks')} attacks"),
        ("PSNR, mean", f.shown("quality.all.psnr_db.mean", decibels),
         f"worst {f.shown('quality.all.psnr_db.worst', decibels)}"),
    ]  # fmt: skip
    if f.at("null.trials"):
        cards.append(
            ("Unmarked images detected", f.shown("null.detected", count),
             f"of {f.shown('null.trials', count)} trials; claimed: at most 1e-9 each")
        )  # fmt: skip
    parts = [f"<div><dt>{name}</dt><dd>{figure}</dd><dd>{more}</dd></div>" for name, figure, more in cards]
    return f'<section aria-label="In short"><dl class="cards">{"".join(parts)}</dl></section>'


def sample(f: Figures) -> str:
    """Which images, how they were chosen, settings and versions."""
    s = "sample"
    formats = ", ".join(
        f"{escape(one['format'])} {f.shown(f'{s}.formats.{i}.images', count)}"
        for i, one in enumerate(f.at(f"{s}.formats"))
    )
    pixels = " to ".join(f.shown(f"{s}.megapixels.{name}", rate) for name in ("least", "most"))
    public = (
        f"public watermark {f.shown('settings.public')}" if f.at("settings.public") else "no public watermark"
    )
    versions = f.at("made.versions")
    parts = [
        facts(
            [
                ("Images", f"{f.shown(f'{s}.measured', count)} measured, of"
                 f" {f.shown(f'{s}.chosen', count)} in the sample and {f.shown(f'{s}.found', count)} named"),
                ("Sampling rule", escape(f.at(f"{s}.rule"))),
                ("Formats", formats),
                ("Megapixels", f"{pixels}, median {f.shown(f'{s}.megapixels.median', rate)}"),
                ("Settings", f"strength {f.shown('settings.strength')}, messages of"
                 f" {f.shown('settings.message_bits')} bits, attacks: {f.shown('settings.attacks')}, seed"
                 f" {f.shown('settings.seed')}, {public}"),
                ("Date", f"begun {f.shown('made.begun')}, ended {f.shown('made.ended')} (UTC)"),
                ("Versions", ", ".join(f"{escape(name)} {f.shown(f'made.versions.{name}')}"
                                       for name, version in versions.items() if version is not None)),
                ("Machine", f"{f.shown('made.cpu')}, {f.shown('made.cores')} cores"),
            ]
        )
    ]  # fmt: skip
    sizes = f.at(f"{s}.sizes")
    most = max(one["images"] for one in sizes)
    parts.append(
        table(
            "Short side of the images",
            [("size", ""), ("images", "n"), ("of the most", "wide")],
            [
                row(
                    escape(one["size"]),
                    [
                        (f.shown(f"{s}.sizes.{i}.images", count), "n"),
                        (charts.bar(one["images"] / most), "wide"),
                    ],
                )
                for i, one in enumerate(sizes)
            ],
        )
    )
    left_out = f.at(f"{s}.left_out")
    if left_out:
        rows = [
            row(escape(one["name"]), [(escape(one["state"]), ""), (escape(one["reason"]), "wide")], "name")
            for one in left_out
        ]
        parts.append(
            table(
                f"Left out: {len(left_out)}", [("name", ""), ("state", ""), ("reason", "")], rows, "Left out"
            )
        )
    else:
        parts.append("<p>No image was left out.</p>")
    if f.at(f"{s}.other_files"):
        parts.append(f"<p>Files that are no images: {f.shown(f'{s}.other_files', count)}.</p>")
    return "".join(parts)


def quality(f: Figures) -> str:
    """Tables by size, and histograms."""
    parts = [paragraph(words.QUALITY.format(side=SCORED_SIDE))]
    known = [one for one in MEASURES_OF_QUALITY if f.at(f"quality.all.{one[0]}") is not None]
    if len(known) < len(MEASURES_OF_QUALITY):
        parts.append(paragraph("SSIMULACRA2 was not measured: the package ssimulacra2 is not installed."))
    images = f.at("images")
    figures = []
    for name, title, _ in known:
        if name != "ssim":
            label = f"Histogram of {title} of {len(images)} images; the table below has mean and worst"
            picture = charts.histogram(
                [one[name] for one in images], label, "dB" if name == "psnr_db" else ""
            )
            figures.append(f"<figure><figcaption>Images by {title}</figcaption>{picture}</figure>")
    parts.append(f'<div class="charts">{"".join(figures)}</div>')
    heads = [("images of", ""), ("images", "n")]
    for _, title, _ in known:
        heads += [(f"{title}, mean", "n"), ("5th percentile", "n"), ("worst", "n")]
    rows = []
    places = [("all sizes", "quality.all")] if len(f.at("quality.sizes")) > 1 else []
    places += [(one["size"], f"quality.sizes.{i}") for i, one in enumerate(f.at("quality.sizes"))]
    for title, path in places:
        cells = [(f.shown(f"{path}.images", count), "n")]
        for name, _, text in known:
            cells += [(f.shown(f"{path}.{name}.{which}", text), "n") for which in ("mean", "p5", "worst")]
        rows.append(row(escape(title), cells))
    parts.append(table("Quality by the short side of the image", heads, rows))
    return "".join(parts)


def survival(f: Figures) -> str:
    """Groups, attacks, sizes, kinds."""
    parts = [paragraph(words.SURVIVAL), _groups(f), paragraph(words.ANALOGUE), _attacks(f)]
    if f.at("survival.not_tried"):
        lacking = [f"{one['attack']}: {one['reason']}" for one in f.at("survival.not_tried")]
        parts += [paragraph("Not tried on this machine:"), listed(lacking)]
    parts += [f"<h3>{escape('By size')}</h3>", paragraph(words.SURVIVAL_SIZES)]
    for what, title in (("message", "Message read"), ("detected", "Detected")):
        places = [(one["size"], f"survival.sizes.{i}") for i, one in enumerate(f.at("survival.sizes"))]
        parts.append(_by_group(f, f"{title}, by the short side of the image", "size", places, what))
    kinds = f.at("survival.kinds")
    if kinds:
        parts.append("<h3>By kind of image</h3>")
        parts.append(
            paragraph(
                "Detail is the median standard deviation of luma in 9 x 9 pixels: little is below 3 grey"
                " levels, much is 10 and more."
            )
        )
        places = [(f"{one['by']}: {one['kind']}", f"survival.kinds.{i}") for i, one in enumerate(kinds)]
        parts.append(_by_group(f, "Message read, by kind of image", "kind", places, "message"))
    return "".join(parts)


def _groups(f: Figures) -> str:
    rows = []
    for i, one in enumerate(f.at("survival.groups")):
        if not one["attacks"]:
            continue
        path, cells = f"survival.groups.{i}", [(f.shown(f"survival.groups.{i}.attacks"), "n")]
        for what in ("message", "detected"):
            cells.append((f.shown(f"{path}.{what}.mean", percent), "n"))
            cells.append((_share(f, f"{path}.{what}.worst"), "n"))
            cells.append((escape(f.at(f"{path}.{what}.worst_attack")), ""))
        rows.append(row(escape(GROUPS[one["group"]]), cells))
    heads = [("group", ""), ("attacks", "n"), ("read, mean", "n"), ("read, worst", "n"), ("which", ""),
             ("detected, mean", "n"), ("detected, worst", "n"), ("which", "")]  # fmt: skip
    return table("Groups of measure 3.3: mean over attacks, and the worst attack", heads, rows)


def _share(f: Figures, path: str) -> str:
    """A share, and its interval below."""
    low, high = (f.shown(f"{path}.{end}", percent) for end in ("low", "high"))
    return f'{f.shown(path + ".share", percent)}<span class="of">{low} to {high}</span>'


def _attacks(f: Figures) -> str:
    public = f.at("settings.public") is not None
    heads = [("attack", ""), ("read", "n"), ("detected", "n"), ("read (dark), detected (light)", "wide"),
             ("median p", "n"), ("worst p", "n"), ("wrong messages", "n"), ("images", "n")]  # fmt: skip
    heads += [("public one read", "n")] if public else []
    rows, group = [], ""
    for i, one in enumerate(f.at("survival.attacks")):
        path = f"survival.attacks.{i}"
        if one["group"] != group:
            group = one["group"]
            rows.append(f'<tr><th scope="colgroup" colspan="{len(heads)}">{escape(GROUPS[group])}</th></tr>')
        if not one["trials"]:
            rows.append(row(escape(one["attack"]), [("could not be carried out", "")]))
            continue
        m, d = one["message"], one["detected"]
        cells = [
            (_share(f, f"{path}.message"), "n"),
            (_share(f, f"{path}.detected"), "n"),
            (charts.bar(m["share"], d["share"], (m["low"], m["high"])), "wide"),
            (f.shown(f"{path}.median_log10_p", power), "n"),
            (f.shown(f"{path}.worst_log10_p", power), "n"),
            (f.shown(f"{path}.wrong_messages", count), "n"),
            (f.shown(f"{path}.trials", count), "n"),
        ]
        cells += [(f.shown(f"{path}.public_read.share", percent), "n")] if public else []
        rows.append(row(unbroken(one["attack"]), cells))
    return table("Attack by attack; the line below a bar is the interval of what was read", heads, rows)


def _by_group(f: Figures, caption: str, what_of: str, places: list[tuple[str, str]], what: str) -> str:
    heads = [(what_of, ""), ("images", "n"), *((escape(title), "n") for title in GROUPS.values())]
    rows = [
        row(
            escape(title),
            [(f.shown(f"{path}.images", count), "n")]
            + [(f.shown(f"{path}.groups.{group}.{what}", percent), "n") for group in GROUPS],
            "name",
        )
        for title, path in places
    ]
    return table(caption, heads, rows)


def copies(f: Figures) -> str:
    """What binding says of copies."""
    heads = [("copied", ""), ("pictures", "n"), ("of them drawn", "n"), ("detected", "n"), ("read", "n"),
             ("mismatch", "n"), ("unknown", "n"), ("match", "n")]  # fmt: skip
    names = ("trials", "drawn", "detected", "read", "mismatch", "unknown", "match")
    rows = [
        row(escape(one["way"]), [(f.shown(f"copies.{i}.{name}", count), "n") for name in names])
        for i, one in enumerate(f.at("copies"))
    ]
    return paragraph(words.COPIES) + table("Of those read: what the detector says of a copy", heads, rows)


def null(f: Figures) -> str:
    """Trials, tails and bounds."""
    parts = [paragraph(words.NULL)]
    if not f.at("null.trials"):
        return parts[0] + paragraph("No trials were made: no keys were asked for.")
    parts.append(paragraph(words.NULL_TRIALS))
    heads = [("originals", ""), ("trials", "n"), ("detected", "n"), ("possible", "n"), ("messages", "n"),
             ("least p", "n"), ("detected, upper end", "n"), ("claimed", "n")]  # fmt: skip
    places = [(one["view"], f"null.views.{i}") for i, one in enumerate(f.at("null.views"))]
    rows = []
    for title, path in [*places, ("all", "null")]:
        cells = [
            (f.shown(f"{path}.{name}", count), "n") for name in ("trials", "detected", "possible", "messages")
        ]
        cells += [(f.shown(f"{path}.least_log10_p", power), "n")]
        cells += [(f.shown(f"{path}.detected_upper", rate), "n"), ("at most 1e-9", "n")]
        rows.append(row(escape(title), cells))
    keys, images = f.shown("null.keys", count), f.shown("null.images", count)
    parts.append(table("Unmarked originals, searched for keys drawn at random", heads, rows))
    parts.append(
        f"<p>{images} images, {keys} keys. Images of which any trial was detected:"
        f" {f.shown('null.images_detected', count)}; by the 95 % interval at most"
        f" {f.shown('null.images_detected_upper', percent)} of all images.</p>"
    )
    tails = f.at("null.tails")
    picture = charts.tails(
        [one["log10_p"] for one in tails],
        [one["share"] for one in tails],
        [one["upper"] for one in tails],
        "Shares of trials beyond each p-value, and the claim; the table below has the same figures",
    )
    parts.append(
        '<div class="charts"><figure><figcaption>Share of trials at or beyond a p-value: seen (dots), upper'
        " end of its interval (caps), and the claim (dashed line), which the truth does not exceed"
        f"</figcaption>{picture}</figure></div>"
    )
    heads = [
        ("p at most", "n"),
        ("trials seen", "n"),
        ("share", "n"),
        ("upper end", "n"),
        ("claimed, at most", "n"),
    ]
    rows = [
        row(
            f.shown(f"null.tails.{i}.log10_p", power),
            [
                (f.shown(f"null.tails.{i}.seen", count), "n"),
                (f.shown(f"null.tails.{i}.share", rate), "n"),
                (f.shown(f"null.tails.{i}.upper", rate), "n"),
                (f.shown(f"null.tails.{i}.claimed", rate), "n"),
            ],
            "n",
        )
        for i in range(len(tails))
    ]
    parts.append(table("The tail of the p-values of unmarked images", heads, rows))
    return "".join(parts)


def measures(f: Figures) -> str:
    """Which figures help with which measure; and that nothing is claimed."""
    rows = []
    for one in f.at("measures"):
        links = ", ".join(f'<a href="#{anchor}">{words.TITLES[anchor].partition(":")[0]}</a>'
                          for anchor in one["sections"])  # fmt: skip
        cells = [(escape(one["asks"]), "wide"), (escape(one["helps"]), "wide"), (links, "")]
        rows.append(row(f"{escape(one['measure'])}", cells))
    heads = [("measure", ""), ("asks for", ""), ("helps to meet it", ""), ("where", "")]
    return (
        f'<p class="note">{escape(words.NO_CLAIM)}</p>'
        + table(f"Measures of the {words.CODE}, section for providers", heads, rows)
    )  # fmt: skip


def limits(f: Figures) -> str:
    """What nobody should read into this."""
    return listed(words.LIMITS)


def images(f: Figures) -> str:
    """A line for each image."""
    known = f.at("images")
    heads = [("image", ""), ("size", "n"), ("format", ""), ("PSNR", "n"), ("SSIMULACRA2", "n"),
             ("attacks", "n"), ("read", "n"), ("detected", "n"), ("null trials", "n"), ("detected", "n"),
             ("least p", "n")]  # fmt: skip
    rows = []
    for i, one in enumerate(known[:MOST_IMAGES]):
        path = f"images.{i}"
        size = f"{f.shown(f'{path}.width')} x {f.shown(f'{path}.height')}"
        cells = [(size, "n"), (escape(one["format"]), "")]
        cells += [(f.shown(f"{path}.psnr_db", decibels), "n"), (f.shown(f"{path}.ssimulacra2", score), "n")]
        for name in ("trials", "read", "detected", "null_trials", "null_detected"):
            cells.append((f.shown(f"{path}.{name}", count), "n"))
        cells.append((f.shown(f"{path}.null_least_log10_p", power), "n"))
        rows.append(row(escape(one["name"]), cells, "name"))
    more = len(known) - MOST_IMAGES
    rest = f"<p>The JSON beside this page has {plain(more)} more.</p>" if more > 0 else ""
    lines = table("Images: attacks read and detected, and trials of the unmarked original", heads, rows)
    return f"<details><summary>Show the table of images</summary>{lines}{rest}</details>"
