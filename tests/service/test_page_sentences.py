"""What the page says of an answer, in every language, and that nothing in it is more than text."""

import json
import re
from pathlib import Path
from typing import get_args

import answers
import pytest
from service_pages import CATALOGS, Reader

import fastmark.checking.check
from fastmark.checking.changes import KINDS, Change
from fastmark.checking.findings import Technique
from fastmark.checking.verdicts import Verdict
from fastmark.codec.public import FLAGS
from fastmark.service import wording
from fastmark.service.languages import LANGUAGES, clean, language
from fastmark.service.pages import Pages, read_map
from fastmark.service.settings import Settings
from fastmark.service.wording import ENGLISH, Phrase

VERDICTS = get_args(Verdict)
HOSTILE = "<script>alert(1)</script>\"'>&{x}\u202egnp.\x00\x1b[31m"


def words(text):
    return " ".join(text.split())


def shown(verdict, name="en", **more):
    answer = answers.answer(verdict, **more)
    return Pages(Settings(feedback="mailto:us@example.org")).start(language(name), answer=answer)


# ---- strings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_language_has_the_same_strings_with_the_same_values_in_them(name):
    ours, english = CATALOGS[name], CATALOGS["en"]
    assert list(ours) == list(english)
    for key, text in ours.items():
        assert set(re.findall(r"{(\w+)}", text)) == set(re.findall(r"{(\w+)}", english[key])), key
        assert text.strip(" ") == text or key in ("join", "list", "colon"), key
        assert (text or key == "join") and "<" not in text, key
    assert len(set(ours) & {f"label.{verdict}" for verdict in VERDICTS}) == len(VERDICTS) == 9
    assert {f"technique.{technique}" for technique in get_args(Technique)} <= set(ours)


def test_every_string_is_used():
    package = Path(fastmark.__file__).parent / "service"
    sources = [*package.glob("*.py"), package / "routes" / "page.py", *(package / "page").glob("*.html")]
    text = "".join(source.read_text(encoding="utf-8") for source in sources)
    # names that are put together, as label.{verdict}
    parts = (
        "label.",
        "finding.",
        "said.",
        "technique.",
        "name.",
        "change.",
        "registry.",
        "error.",
        "check.band.",
    )
    for key in CATALOGS["en"]:
        assert f'"{key}"' in text or f"'{key}'" in text or key.startswith(parts), key


@pytest.mark.parametrize("name", LANGUAGES)
def test_no_sentence_says_that_an_image_is_authentic_made_by_a_person_or_lawful(name):
    forbidden = {
        "en": ("authentic", "real photo", "compliant", "complies", "legal"),
        "de": ("authentisch", "echtes foto", "echtes bild", "konform", "gesetz", "rechtlich"),
        "fr": ("authentique", "vraie photo", "conforme à", "légal"),
        "es": ("auténtic", "foto real", "conforme con", "legal"),
        "zh": ("真实照片", "真品", "合规", "合法"),
    }
    for key, text in CATALOGS[name].items():
        assert not [word for word in forbidden[name] if word in text.lower()], key
    # a person is named only where it is said that nothing shows it
    person = {"en": "person", "de": "mensch", "fr": "personne", "es": "persona", "zh": "由人"}[name]
    named = {key for key, text in CATALOGS[name].items() if re.search(rf"\b{person}\b|由人", text.lower())}
    assert named - {"check.band.possible"} <= {"sentence.no proof", "limits.2"}


# ---- what is said of an answer ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", LANGUAGES)
@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_is_a_page_in_every_language(verdict, name):
    strings = CATALOGS[name]
    page = Reader(shown(verdict, name, map=answers.map_url()))
    assert page.all("html") == [{"lang": strings["lang"], "dir": "ltr"}]
    assert len(page.all("h1")) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    twice = {"answer", "verdict"}  # in templates of errors too, which are no part of the document
    assert len([one for one in ids if one not in twice]) == len(set(ids) - twice)
    for key in (f"label.{verdict}", "limits.1", "limits.2", "limits.3", "privacy.image", "map.heading"):
        assert words(strings[key]) in words(page.text), key
    assert words(page.text).startswith(words(strings[f"label.{verdict}"]))  # the title
    assert f"tone-{wording.TONES[verdict]}" in page.first("answer")["class"]
    raw = page.text[page.text.index("{") : page.text.rindex("}") + 1]
    assert json.loads(raw) == {k: v for k, v in answers.answer(verdict).items() if k != "map"}
    assert "English." not in page.text.replace(raw, "")  # the English of findings, all of which it knows


@pytest.mark.parametrize("verdict", VERDICTS)
def test_nothing_in_a_page_is_inline_or_from_elsewhere(verdict):
    page = Reader(shown(verdict, map=answers.map_url(), report="a.b.c"))
    assert not page.all("style")
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "action", "href"):
            target = attributes.get(name, "")
            allowed = ("./", "?lang=", "static/", "#", "i/", "data:", "mailto:", "https://check.example.org")
            assert not target or target.startswith(allowed), (tag, target)
    assert [set(script) for script in page.all("script")] == [{"src"}]


def test_hostile_values_stay_text():
    findings = [
        answers.watermark(),
        answers.xmp(HOSTILE, system=HOSTILE, data_mining=HOSTILE, aigc={"Label": HOSTILE}),
        answers.finding("text", "names a generator", tool=HOSTILE),
        answers.c2pa(
            "invalid", issuer=HOSTILE, system=HOSTILE, problems=[HOSTILE], digital_source_type=HOSTILE
        ),
        answers.finding("xmp", HOSTILE, HOSTILE),
    ]
    for verdict in ("genuine, changed since", "metadata only", "metadata and pixels disagree"):
        for name in LANGUAGES:
            text = shown(
                verdict,
                name,
                key_name=HOSTILE,
                registry=answers.RECORD | {"provider": HOSTILE, "system": HOSTILE},
                findings=findings[:4],
                remarks=[HOSTILE],
            )
            page = Reader(text)
            assert "<script>alert" not in text
            assert len(page.all("script")) == 1
            assert not set("\u202e\x00\x1b") & set(text)
            assert "alert(1)" in page.text
    text = shown("nothing found", "de", findings=findings[4:])
    assert '<span lang="en">&lt;script&gt;' in text


def test_the_pages_of_ids_escape_too():
    pages = Pages(Settings(contact="javascript:alert(1)", feedback=HOSTILE))
    text = pages.entry(language("en"), "", answers.RECORD | {"provider": HOSTILE})
    text += pages.no_entry(language("en"), "", "entry.unknown", Phrase("entry.unknown.text", {"id": HOSTILE}))
    assert "<script>alert" not in text
    assert 'href="javascript' not in text
    assert "javascript:alert(1)" in text  # as text: the operator sees the mistake


def test_every_state_of_a_finding_is_known_in_every_language():
    listed = re.sub(r"\s+", " ", fastmark.checking.check.check.__doc__)
    states = re.search(r"States of the findings: (.*?)\.", listed)[1]
    made = {"xmp": answers.xmp, "c2pa": answers.c2pa}
    for group in states.split("; "):
        technique, _, names = group.replace("``", "").partition(": ")
        for state in names.split(", "):
            one = answers.finding(
                technique,
                state,
                id=answers.ID,
                message=answers.ID,
                made_with="key",
                tool="x",
                flags=list(FLAGS),
                resolver=3,
                free=7,
            )
            if technique in made and state not in ("damaged", "not read"):
                one = made[technique]() | {"state": state}
            phrases = wording.says_of(one, answers.answer("genuine"))
            assert phrases[0].key != ENGLISH, (technique, state)
            for name in LANGUAGES:
                assert language(name).say(*phrases)


@pytest.mark.parametrize("name", LANGUAGES)
def test_what_a_public_watermark_says_is_told(name):
    told = {"flags": list(FLAGS), "resolver": 3, "free": 7}
    one = answers.finding("public watermark", "says", **told)
    html = language(name).say(*wording.says_of(one, answers.answer("metadata only")))
    for flag in FLAGS:
        assert language(name).say(wording.Phrase(f"said.{flag}")) in html
    assert "00000007" in html


def test_what_was_changed_is_listed():
    def said(name, **more):
        return str(language(name).say(*wording.summary(answers.answer("genuine, changed since", **more))))

    assert said("en").endswith("scaled to 0.5 times its size; turned by 4 degrees; mirrored.")
    assert "auf das 0,5-Fache" in said("de")
    assert said("zh").endswith(
        CATALOGS["zh"]["list"].join(("缩放为原来的 0.5 倍", "旋转了 4 度", "左右翻转。"))
    )
    written = said("en", changes=[{"change": "rewritten", "by": None}])
    assert written.endswith("It was changed since: the file was written anew or edited.")
    assert said("en", changes=[]).endswith("It was changed since.")


def test_sentences_follow_what_was_found():
    def said(verdict, **more):
        text = str(language("en").say(*wording.summary(answers.answer(verdict, **more))))
        return re.sub("<[^>]*>", "", text)

    same = (
        "This image carries the watermark of Example Studio 2026, registered by Example Studio. The file is"
    )
    assert said("genuine and unchanged") == f"{same} the one that was registered."
    fits = said("genuine and unchanged", findings=[answers.watermark(), answers.c2pa()])
    assert fits == f"{same} unchanged since its content credentials were signed."
    assert "registered here. Its file is not known" in said(
        "genuine", registry=answers.RECORD | {"provider": None}
    )
    assert "cannot" not in said("genuine")
    assert f"carry the message {answers.ID}, while XMP metadata name the message {answers.OTHER_ID}." in said(
        "metadata and pixels disagree"
    )
    promised = said(
        "metadata and pixels disagree", key_name=None, id=None, findings=[answers.ABSENT, answers.c2pa()]
    )
    assert promised.endswith(f"tell of the watermark {answers.ID}, which was not found.")
    differ = said("metadata and pixels disagree", findings=[answers.xmp(), answers.c2pa(message=None)])
    assert differ.endswith("They differ in how the image was made.")
    assert said("metadata only", findings=[answers.xmp()]).startswith("No key was looked for.")
    assert said("nothing found", findings=[]).startswith("No key was looked for")
    known = said("metadata only", findings=[answers.ABSENT, answers.SAME])
    assert known.endswith(f"registered with the id {answers.ID}.")
    future = answers.answer("genuine") | {"verdict": "of the future", "sentence": "New."}
    assert language("de").say(*wording.summary(future)) == '<span lang="en">New.</span>'


def test_unreadable_and_forged_watermarks_are_told_apart():
    def key(finding):
        return wording.says_of(finding, answers.answer("genuine"))[0].key

    assert key(answers.watermark()) == "finding.watermark.detected"
    assert key(answers.watermark(message=None)) == "finding.watermark.unreadable"
    assert key(answers.watermark(made_with="detector key")) == "finding.watermark.detector key"


def test_the_map_is_told_in_words():
    found = read_map(answers.map_url(), [80, 40, 680, 480])
    # 11 of 13 rows and 15 of 20 columns, 4 x 4 of them changed
    assert (found.columns, found.rows, found.changed) == (20, 13, True)
    said = language("en").say(*found.says)
    assert said == (
        "The watermark covers about 63% of the image."
        " It lies between 80 and 680 pixels from the left edge,"
        " and between 40 and 480 pixels from the top edge."
        " In about 6% of the image, the content under it was changed."
    )
    plain = read_map(answers.map_url(changed=False), None)
    assert [phrase.key for phrase in plain.says] == ["map.share"]
    text = shown("genuine", map=answers.map_url(changed=False))
    assert CATALOGS["en"]["map.changed"] not in text
    assert f'alt="{CATALOGS["en"]["map.alt"]}"' in text


def test_values_are_cut_and_cleaned():
    assert clean("a\u202eb\x07") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
    assert clean("می\N{ZERO WIDTH NON-JOINER}خواهم 32\N{NO-BREAK SPACE}MB") == (
        "می\N{ZERO WIDTH NON-JOINER}خواهم 32\N{NO-BREAK SPACE}MB"
    )
    assert len(clean("x" * 10_000)) == 301


@pytest.mark.parametrize("name", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_change_has_words(name, kind):
    change = Change(kind, {"scaled": 0.75, "turned": 12.0}.get(kind))
    values = answers.answer("genuine, changed since", changes=[change.to_dict()])
    (*_, told) = wording.summary(values)
    words = language(name).say(told)
    assert CATALOGS[name][f"change.{kind}"].partition("{")[0] in words
    assert kind not in ("scaled", "turned") or re.search(r"0[.,]75|12", words)
