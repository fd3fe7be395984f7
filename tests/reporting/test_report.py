"""A report of drawn images: measured, told as JSON and as a page that shows the same."""

import dataclasses
import itertools
import json
import math
import re

import numpy as np
import pytest
from browser import chromium, violations
from pictures import drawn
from PIL import Image
from report_pages import Page, number_of

from fastmark import Key, KeyFormatError, SourceError, Watermarker
from fastmark.bulk.records import Item
from fastmark.public import PublicCode
from fastmark.reporting import SCHEMA, Report, measure
from fastmark.reporting.attacks import attacks_of
from fastmark.reporting.intervals import clopper_pearson
from fastmark.reporting.trials import DRAWING, IMAGE, REFUSED, ReportJob, drawn_bytes
from fastmark.reporting.words import MEASURES, NO_CLAIM, TITLES

KEY = Key(bytes(range(32)), "<studio> & co")
HOSTILE = "<img src=x onerror=alert(1)>&.png"


def save(picture, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three images to be measured, and one of each kind that is not."""
    folder = tmp_path_factory.mktemp("secretplace") / "shop"
    save(drawn(300, 360, 1), folder / "a.png")
    save(drawn(256, 256, 2), folder / "sub" / HOSTILE)
    Image.fromarray(drawn(180, 200, 3)).save(folder / "c.jpg", quality=95)
    save(Watermarker(KEY).embed(drawn(300, 300, 4), 7), folder / "marked.png")
    save(drawn(100, 300, 5), folder / "small.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def report(folder):
    return measure(folder, KEY, seed=1, null_keys=4, workers=1, public=PublicCode.of("ai-generated"))


@pytest.fixture(scope="module")
def values(report):
    return json.loads(json.dumps(report.to_dict(), allow_nan=False))


@pytest.fixture(scope="module")
def page(report):
    return Page(report.to_html())


# ---- the figures -------------------------------------------------------------------------------------


def test_every_image_is_measured_or_left_out_with_a_reason(values):
    sample = values["sample"]
    assert (values["schema"], values["kind"]) == (SCHEMA, "fastmark report")
    assert [one["name"] for one in values["images"]] == ["shop/a.png", "shop/c.jpg", f"shop/sub/{HOSTILE}"]
    assert (sample["found"], sample["chosen"], sample["measured"], sample["other_files"]) == (6, 6, 3, 1)
    left_out = {one["name"]: (one["state"], one["reason"]) for one in sample["left_out"]}
    assert set(left_out) == {"shop/marked.png", "shop/small.png", "shop/broken.png"}
    assert left_out["shop/marked.png"] == ("refused", "it carries a watermark of this key already")
    assert left_out["shop/small.png"][0] == "refused" and "128 pixels" in left_out["shop/small.png"][1]
    assert left_out["shop/broken.png"][0] == "error"
    assert sample["formats"] == [{"format": "PNG", "images": 2}, {"format": "JPEG", "images": 1}]
    assert [one["images"] for one in sample["sizes"]] == [1, 2]


def test_the_watermark_is_there_and_survives_what_it_should(values):
    by_name = {one["attack"]: one for one in values["survival"]["attacks"]}
    assert list(by_name) == [one.name for one in attacks_of("quick")]
    assert by_name["untouched"]["message"]["count"] == 3
    assert by_name["JPEG 75"]["detected"]["count"] == 3
    assert by_name["untouched"]["public_read"]["count"] == 3
    assert all(one["wrong_messages"] == 0 for one in by_name.values())
    assert 38 < values["quality"]["all"]["psnr_db"]["worst"] <= values["quality"]["all"]["psnr_db"]["mean"]
    for image in values["images"]:
        assert image["read"] == sum(one["message"] == "exact" for one in image["attacks"].values())

    # the next images are a broken one, one that has the watermark already, and the first
    assert [one["copied_to"] for one in values["images"]] == [DRAWING, DRAWING, IMAGE]


def test_unmarked_images_are_not_detected(values):
    null = values["null"]
    assert (null["trials"], null["detected"], null["messages"]) == (3 * 2 * 4, 0, 0)
    assert null["detected_upper"] == clopper_pearson(0, 24)[1]
    for tail in null["tails"]:  # more than the claim allows, even by the lower end, would be a fault
        assert clopper_pearson(tail["seen"], null["trials"], 0.999)[0] <= tail["claimed"]


def test_date_versions_settings_and_key_are_told_and_no_secret(values, report):
    made, text = values["made"], json.dumps(values) + report.to_html()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["ended"])
    assert {"fastmark", "python", "numpy", "numba", "pillow"} <= set(made["versions"])
    assert made["cpu"]
    assert values["key"] == {"id": KEY.id, "name": KEY.name}
    settings = values["settings"]
    assert (settings["strength"], settings["message_bits"], settings["seed"]) == (1.0, 64, 1)
    assert settings["public"] == PublicCode.of("ai-generated").hex
    assert KEY.secret.hex() not in text.lower()
    assert "secretplace" not in text  # names are told from the folder on that was named


def test_the_same_seed_gives_the_same_figures(folder, values):
    again = measure(folder / "c.jpg", KEY, seed=1, null_keys=4, workers=1,
                    public=PublicCode.of("ai-generated"))  # fmt: skip
    (image,) = again.images
    (before,) = [one for one in values["images"] if one["name"] == "shop/c.jpg"]
    assert image["name"] == "c.jpg"
    same = ("psnr_db", "ssim", "ssimulacra2", "null", "sha256", "strength")
    assert {name: image[name] for name in same} == {name: before[name] for name in same}
    assert image["attacks"]["cropped to half of the area"] == before["attacks"]["cropped to half of the area"]
    assert image["copied_to"] == "a drawn picture"


def test_anonymous_reports_have_no_names(folder):
    report = measure([folder / "a.png", folder / "small.png"], KEY, null_keys=0, workers=1, anonymous=True)
    text = json.dumps(report.to_dict()) + report.to_html()
    assert "a.png" not in text and "small.png" not in text and "shop" not in text
    assert report.images[0]["name"] == "folder 1/image 1"
    assert report.images[0]["sha256"] is None
    assert [one["name"] for one in report.sample["left_out"]] == ["left out 1"]
    assert report.null["trials"] == 0
    Page(report.to_html())


# ---- what can go wrong is seen -----------------------------------------------------------------------


def job(**changes):
    chosen = ReportJob(KEY, 64, 1.0, None, "quick", 3, 5, 10**8, {})
    return dataclasses.replace(chosen, **changes)


def test_a_key_that_is_there_is_counted_as_a_detection(tmp_path):
    """A report whose null has detections shows them: here one of its keys really is in the original."""
    planted = Watermarker(Key(drawn_bytes(5, "null key 1"))).embed(drawn(256, 300, 6), 3)
    path = save(planted, tmp_path / "planted.png")
    (result,) = job().worker()([Item("planted", path=str(path))]).results
    views = result.row["null"]
    assert [view["tails"][-1] for view in views.values()] == [1, 1]
    assert views["untouched"]["least_log10_p"] < -70


def test_images_that_refuse_are_told_apart_from_those_that_fail(tmp_path):
    flat = save(np.zeros((140, 140, 3), np.uint8), tmp_path / "flat.png")
    frames = [Image.fromarray(drawn(140, 140, seed)) for seed in (1, 2)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    paths = [flat, tmp_path / "moving.gif", tmp_path / "gone.png"]
    items = [Item(path.stem, path=str(path)) for path in paths]
    first, second, third = job(strength=0.25, message_bits=128).worker()(items).results
    assert first.state == REFUSED and first.row["reason"]
    assert second.state == REFUSED and "frames" in second.row["reason"]
    assert third.state == "error" and "no such file" in third.row["error"]


def test_transparent_grey_and_deep_images_are_measured_as_they_are_shown(tmp_path):
    alpha = Image.fromarray(drawn(200, 220, 7)).convert("RGBA")
    alpha.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 220).astype(np.uint8), (200, 1))))
    alpha.save(tmp_path / "alpha.png")
    Image.fromarray(drawn(200, 220, 8)[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(drawn(200, 220, 9)[..., 0]).save(tmp_path / "grey.png")
    items = [Item(name, path=str(tmp_path / f"{name}.png")) for name in ("alpha", "deep", "grey")]
    for result in job(null_keys=0).worker()(items).results:
        assert result.state == "measured", result.row
        assert 35 < result.row["psnr_db"] < 60
        assert result.row["attacks"]["untouched"]["message"] == "exact"


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"attacks": "all"}, ValueError, "quick or full"),
        ({"null_keys": 1001}, ValueError, "at most 1000"),
        ({"null_keys": -1}, ValueError, "null_keys"),
        ({"sample": 0}, ValueError, "sample"),
        ({"strength": 9}, ValueError, "strength"),
        ({"message_bits": 63}, ValueError, "message_bits"),
        ({"workers": -1}, ValueError, "workers"),
        ({"seed": -1}, ValueError, "seed"),
        ({"images": []}, SourceError, "no source"),
        ({"images": "s3://bucket/x.png"}, SourceError, "download it"),
        ({"images": "nowhere"}, FileNotFoundError, "no such file"),
        ({"key": KEY.detector_key()}, TypeError, "detector key"),
    ],
)
def test_arguments_out_of_range_are_refused(folder, changes, error, says):
    arguments = {"images": str(folder), "key": KEY} | changes
    with pytest.raises((error, KeyFormatError), match=says):
        measure(arguments.pop("images"), arguments.pop("key"), **arguments)


def test_a_folder_without_images_is_an_error_that_says_why(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(SourceError, match="no image was found"):
        measure(tmp_path, KEY)
    save(drawn(64, 64), tmp_path / "tiny.png")
    with pytest.raises(SourceError, match=r"none of 1 images could be measured: .*tiny\.png: .* 128 pixels"):
        measure(tmp_path, KEY, workers=1, null_keys=0)


# ---- the page ----------------------------------------------------------------------------------------


def test_the_page_shows_what_the_json_says(page, values):
    assert len(page.figures) > 200
    for path, value, text in page.figures:
        found = values
        for part in path.split("."):
            found = found[int(part)] if isinstance(found, list) else found[part]
        assert str(found) == value, path
        number = number_of(text)
        if number is None or isinstance(found, str):
            assert text == value, path
        elif path.endswith("log10_p"):
            assert math.log10(number) == pytest.approx(found, abs=0.51), path
        else:
            assert number == pytest.approx(found, rel=0.06, abs=0.0006), path


def test_no_figure_of_a_table_stands_outside_of_the_json(page, values):
    told = json.dumps(values, ensure_ascii=False) + " ".join(name for name in values["survival"])
    for text in page.bare:
        if re.search(r"\d", text):
            assert text in ("at most 1e-9", " x ") or text in told, text


def test_the_page_needs_nothing_and_runs_nothing(page, report):
    names = {name for name, _ in page.elements}
    assert not names & {"script", "img", "link", "iframe", "object", "use", "image", "form"}
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(set(ids)) == len(ids)
    for name, attrs in page.elements:
        assert not [one for one in attrs if one.startswith("on") or one in ("src", "srcset", "style")], name
        if "href" in attrs:
            assert attrs["href"][0] == "#" and attrs["href"][1:] in ids
    assert "url(" not in report.to_html() and "http:" not in report.to_html()


def test_names_are_shown_as_text(page, report):
    assert HOSTILE not in report.to_html()
    assert any(HOSTILE in text for text in page.texts)
    assert any(KEY.name in text for text in page.texts)


def test_the_page_can_be_read_aloud(page):
    assert page.all("html") == [{"lang": "en"}]
    order = [name for name, _ in page.elements if re.fullmatch("h[1-6]", name)]
    assert order.count("h1") == 1 and order[0] == "h1"
    assert all(int(b[1]) <= int(a[1]) + 1 for a, b in itertools.pairwise(order))
    assert len(page.all("table")) == len(page.all("caption")) > 6
    assert all(attrs.get("scope") in ("col", "row", "colgroup") for attrs in page.all("th"))
    for attrs in page.all("svg"):
        assert attrs.get("aria-hidden") == "true" or (attrs["role"] == "img" and attrs["aria-label"])
    assert [attrs["id"] for attrs in page.all("h2")] == list(TITLES)


def test_measures_are_named_and_nothing_is_claimed(page, values):
    text = " ".join(page.texts)
    assert NO_CLAIM in text
    assert [one["measure"] for one in values["measures"]] == ["1.1", "3.2", "3.3", "4.2"]
    for one in MEASURES:
        assert one["asks"] in text and one["helps"] in text
    assert not re.search(r"\b(?:is|are|fully|be) compliant|complies with|ensures? compliance", text)


def test_the_page_can_be_made_again_from_the_json(report, values):
    assert Report.from_dict(values).to_html() == report.to_html()
    with pytest.raises(ValueError, match="schema"):
        Report.from_dict(values | {"schema": 99})
    with pytest.raises(ValueError, match="'null'"):
        Report.from_dict({name: value for name, value in values.items() if name != "null"})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(report, tmp_path, scheme):
    path = tmp_path / "report.html"
    path.write_text(report.to_html(), encoding="utf-8")
    complaints = []
    with chromium() as browser:
        for width in (360, 1280):
            context = browser.new_context(
                viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
            )
            tab = context.new_page()
            tab.on("console", lambda message: complaints.append(message.text))
            tab.goto(path.as_uri())
            tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert violations(tab) == []
            assert complaints == []
            context.close()
