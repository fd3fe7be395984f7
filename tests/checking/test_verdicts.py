"""The verdict as a function of facts: every combination, and the sentence that goes with each."""

import dataclasses
import itertools
import typing

import pytest

from fastmark.checking.sentences import Words, sentence
from fastmark.checking.verdicts import Facts, Verdict, decide

VERDICTS = typing.get_args(Verdict)
CHOICES = {
    "state": ("detected", "possible", "absent"),
    "forged": (False, True),
    "binding": ("match", "mismatch", "unknown"),
    "altered_shape": (False, True),
    "registered": (False, True),
    "same_file": (None, False, True),
    "likeness": (None, "same", "other", "not comparable"),
    "said_otherwise": ((), ("XMP says another thing",)),
    "credential": (None, "intact", "broken"),
    "metadata": (False, True),
    "promised": (False, True),
}


def every_fact():
    for values in itertools.product(*CHOICES.values()):
        yield Facts(**dict(zip(CHOICES, values, strict=True)))


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({}, "nothing found"),
        ({"metadata": True}, "metadata only"),
        ({"metadata": True, "promised": True}, "metadata and pixels disagree"),
        ({"metadata": True, "said_otherwise": ("a", "b")}, "metadata and pixels disagree"),
        ({"state": "possible", "metadata": True, "promised": True}, "too weak to say"),
        ({"state": "detected"}, "genuine"),
        ({"state": "detected", "registered": True}, "genuine"),
        ({"state": "detected", "same_file": True}, "genuine and unchanged"),
        ({"state": "detected", "same_file": False}, "genuine, changed since"),
        ({"state": "detected", "altered_shape": True}, "genuine, changed since"),
        ({"state": "detected", "credential": "intact"}, "genuine and unchanged"),
        ({"state": "detected", "credential": "broken"}, "genuine, changed since"),
        # the registry knows the file that left: credentials signed by another afterwards do not make it that
        ({"state": "detected", "credential": "intact", "same_file": False}, "genuine, changed since"),
        ({"state": "detected", "binding": "mismatch"}, "genuine, not made for this image"),
        ({"state": "detected", "likeness": "other"}, "genuine, not made for this image"),
        # edits may change a hash much, and leave what the watermark was made for
        ({"state": "detected", "likeness": "other", "binding": "match", "same_file": False},
         "genuine, changed since"),
        ({"state": "detected", "likeness": "not comparable", "same_file": False}, "genuine, changed since"),
        ({"state": "detected", "said_otherwise": ("a",)}, "metadata and pixels disagree"),
        ({"state": "detected", "said_otherwise": ("a",), "binding": "mismatch"},
         "genuine, not made for this image"),
        ({"state": "detected", "forged": True, "same_file": True}, "not genuine"),
    ],
)  # fmt: skip
def test_the_verdict_of_these_facts(facts, verdict):
    assert decide(Facts(**facts)) == verdict


def test_what_holds_for_all_facts():
    """Rules that a reader of verdicts relies on, over all combinations."""
    seen = set()
    for facts in every_fact():
        verdict = decide(facts)
        seen.add(verdict)
        if facts.state != "detected":
            assert not verdict.startswith("genuine")
        if verdict == "genuine and unchanged":
            assert facts.same_file or facts.credential == "intact"
            assert not facts.forged
        if facts.same_file is False:
            assert verdict != "genuine and unchanged"
        if facts.forged and facts.state == "detected":
            assert verdict == "not genuine"
        if facts.binding == "mismatch" and facts.state == "detected" and not facts.same_file:
            assert verdict in ("genuine, not made for this image", "not genuine")
        if verdict == "nothing found":
            assert not (facts.metadata or facts.said_otherwise or facts.promised)
    assert seen == set(VERDICTS)


def test_one_more_fault_never_makes_a_verdict_better():
    """A copy, a contradiction or a forgery may only take an image away from "genuine and unchanged"."""
    for facts in every_fact():
        if decide(facts) == "genuine and unchanged" or facts.same_file:
            continue
        for fault in ({"forged": True}, {"binding": "mismatch"}, {"said_otherwise": ("a",)}):
            assert decide(dataclasses.replace(facts, **fault)) != "genuine and unchanged"


# ---- sentences -------------------------------------------------------------------------------------------

WORDS = Words(
    key="Example",
    provider="Example Studio",
    registered=True,
    same_file=True,
    changes=("it was cropped",),
    contradictions=("XMP says that a camera took it",),
    metadata=("XMP says: something.",),
    keys=2,
)


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("words", [WORDS, Words(key="K"), Words(key="K", registered=True, keys=1)], ids=str)
def test_no_sentence_says_that_an_image_is_authentic_or_made_by_a_person(verdict, words):
    text = sentence(verdict, words)
    assert text[0].isupper()
    assert text.endswith(".")
    assert "None" not in text
    assert "\n" not in text
    lower = text.lower().replace("this does not show that the image was made by a person", "")
    for word in ("authentic", "real photo", "by a person", "not generated", "untouched by"):
        assert word not in lower


@pytest.mark.parametrize(
    ("verdict", "says"),
    [
        ("genuine and unchanged", "registered by Example Studio. The file is the one that was registered."),
        ("genuine, changed since", "It was changed since: it was cropped."),
        ("genuine, not made for this image", "it was not made for this image"),
        ("not genuine", "the holder of a detector key made it"),
        ("metadata and pixels disagree", "disagree: XMP says that a camera took it."),
        ("metadata only", "No watermark of the keys known here was found. XMP says: something."),
        ("too weak to say", "Try the original file"),
        ("nothing found", "This does not show that the image was made by a person."),
    ],
)
def test_sentences_name_what_they_are_about(verdict, says):
    assert says in sentence(verdict, WORDS)


def test_odds_are_those_at_which_a_watermark_counts_as_detected():
    from fastmark.detection.evidence import DETECTED

    assert f"1 in {round(2.718281828459045**-DETECTED):,}." in sentence("genuine", WORDS)


def test_disagreement_and_nothing_found_do_not_name_a_key_that_was_not_found():
    words = Words(contradictions=("credentials name a watermark, which was not found",), keys=1)
    says = sentence("metadata and pixels disagree", words)
    assert says == "Metadata and pixels disagree: credentials name a watermark, which was not found."
    assert "No key was looked for" in sentence("nothing found", Words())
