"""Names of before 0.2: each still works, and says by what it is replaced."""

import importlib

import pytest
from pictures import photograph

import fastmark as fm

OLD = (
    "ImageTooFlat",
    "ImageTooSmall",
    "InvalidImage",
    "InvalidMessage",
    "MissingPackage",
    "UnsupportedImage",
)


@pytest.mark.parametrize("name", OLD)
def test_errors_are_found_by_their_old_names(name):
    for module in (fm, importlib.import_module("fastmark.errors")):
        with pytest.warns(DeprecationWarning, match=f"{name} is now {name}Error") as caught:
            assert getattr(module, name) is getattr(fm, f"{name}Error")
        assert caught[0].filename == __file__  # the line that is to be changed
    assert name not in fm.__all__


def test_an_old_name_catches_the_error(marker):
    with pytest.warns(DeprecationWarning, match="InvalidImageError"):
        from fastmark import InvalidImage
    with pytest.raises(InvalidImage):
        marker.detect(b"no image")


def test_margins_are_found_by_their_old_names(marker):
    _, report = marker.embed_report(photograph("coffee", 256), 1)
    with pytest.warns(DeprecationWarning, match="margin_message"):
        assert report.margin == report.margin_message
    with pytest.warns(DeprecationWarning, match="margin_pilot"):
        assert report.pilot_margin == report.margin_pilot


def test_the_old_default_of_threads_is_one_thread_for_each_image(marker):
    image = photograph("coffee", 256)
    calls = (
        lambda: marker.embed_batch([image], [1], threads=0),
        lambda: marker.detect_batch([image], threads=0),
        lambda: fm.Detector(marker).detect_batch([image], threads=0),
    )
    for call in calls:
        with pytest.warns(DeprecationWarning, match="workers=0"):
            assert len(call()) == 1
