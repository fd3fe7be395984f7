"""Which images a report is about: how they are drawn and named, and what is left out."""

from pathlib import Path

import pytest
from PIL import Image

from fastmark import SourceError
from fastmark.bulk.records import Item
from fastmark.reporting.measuring import seconds_of
from fastmark.reporting.sample import choose, nameless


@pytest.fixture
def folder(tmp_path):
    """Forty files that are images by name; none is opened to be listed."""
    for i in range(40):
        path = tmp_path / "all" / f"{i % 3}" / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes([i]))
    return tmp_path / "all"


def names(sample):
    return [sample.names[item.source] for item in sample.items]


def test_all_images_in_order_named_from_their_folder_on(folder):
    sample = choose(folder)
    assert names(sample) == [f"all/{i % 3}/{i:02d}.png" for i in sorted(range(40), key=lambda i: (i % 3, i))]
    assert (sample.found, sample.drawn, sample.left_out) == (40, False, [])
    assert names(choose(folder / "0" / "00.png")) == ["00.png"]


def test_names_do_not_depend_on_how_the_folder_is_written(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    expected = names(choose(folder))
    for way in ("all", "./all/", "all/../all"):
        assert names(choose(way)) == expected
    monkeypatch.chdir(folder)
    assert names(choose(".")) == expected


def test_a_sample_is_drawn_by_the_seed_and_keeps_the_order(folder):
    drawn = [names(choose(folder, size=10, seed=seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [len(one) for one in drawn] == [10, 10, 10]
    every = names(choose(folder))
    assert [one for one in every if one in drawn[0]] == drawn[0]
    assert choose(folder, size=40).drawn is False
    assert choose(folder, size=10).found == 40


def test_every_image_is_as_likely_to_be_drawn(folder):
    counts = dict.fromkeys(names(choose(folder)), 0)
    for seed in range(400):
        for name in names(choose(folder, size=10, seed=seed)):
            counts[name] += 1
    # binomial of 400 and 1/4: standard deviation 8.7; of 40 images none lies beyond four and a half
    assert all(abs(count - 100) < 39 for count in counts.values())


def test_a_new_image_hardly_changes_the_sample(folder):
    before = names(choose(folder, size=10, seed=3))
    (folder / "0" / "new.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    after = names(choose(folder, size=10, seed=3))
    assert len(set(before) & set(after)) >= 9


def test_copies_go_to_the_next_image_and_stamps_follow_both(folder):
    sample = choose(folder, size=5, seed=1)
    others = sample.others()
    paths = [item.path for item in sample.items]
    assert [others[item.source] for item in sample.items] == [*paths[1:], paths[0]]
    assert choose(paths[0]).others() == {}
    with Path(paths[2]).open("ab") as file:
        file.write(b"more")
    later = choose(folder, size=5, seed=1)
    changed = [a.stamp != b.stamp for a, b in zip(sample.items, later.items, strict=True)]
    assert changed == [False, True, True, False, False]


def test_what_is_passed_over_is_told(folder, tmp_path):
    (folder / "a.zip").write_bytes(b"PK\x03\x04")
    (folder / "b.tar").write_bytes(bytes(257) + b"ustar" + bytes(512))
    (folder / "notes.txt").write_text("x")
    (folder / "link.png").symlink_to(folder / "0" / "00.png")
    listed = tmp_path / "list.txt"
    listed.write_text(f"{folder / '1' / '01.png'}\n{folder / 'gone.png'}\n")
    sample = choose(folder, listed)
    left_out = {one.name: (one.state, one.reason) for one in sample.left_out}
    assert set(left_out) == {"all/a.zip", "all/b.tar", "all/link.png", "all/1/01.png", "all/gone.png"}
    assert left_out["all/gone.png"] == ("error", "no such file")
    assert "unpack" in left_out["all/a.zip"][1] and "unpack" in left_out["all/b.tar"][1]
    assert (sample.found, sample.other_files) == (40, 1)


def test_sources_that_cannot_be_measured_are_refused():
    with pytest.raises(SourceError, match="download it"):
        choose("https://example.org/a.png")


def test_errors_lose_the_names_of_files():
    assert nameless("/home/me/x.png: no such file", "/home/me/x.png") == "no such file"
    assert nameless("/home/me/x.png cannot be read: x.png is bad", "/home/me/x.png") == (
        "cannot be read: it is bad"
    )
    assert nameless("a file is no image", "a") == "a file is no image"


def test_the_time_is_estimated_from_the_sizes(tmp_path):
    for side in (200, 2000):
        Image.new("L", (side, side)).save(tmp_path / f"{side}.png")
    small, large = ([Item(str(side), path=str(tmp_path / f"{side}.png"))] for side in (200, 2000))
    assert seconds_of(small, "quick") < seconds_of(small, "full") < seconds_of(large, "full")
    assert seconds_of(small * 50 + large * 50, "full") == pytest.approx(
        50 * (seconds_of(small, "full") + seconds_of(large, "full"))
    )
    assert seconds_of([Item("gone", path="gone")], "quick") > 0
