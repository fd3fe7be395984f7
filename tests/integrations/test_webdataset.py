"""WebDataset pipelines that scan and filter samples, by the real library; its tars are written and read."""

import gc
import io
import json
import pickle

import pytest
from collected import KEY, MARKED, MESSAGE, TOLD, TRAINABLE, UNMARKED, collection

from fastmark.errors import IntegrationError, InvalidImageError, KeyFormatError

wds = pytest.importorskip("webdataset")

from fastmark.integrations.webdataset import Keep, Scan  # noqa: E402  # after it is known that it is there

# NOTE: webdataset leaves it to the collector of garbage to close its tars
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def tars_are_closed():
    yield
    gc.collect()


def kind(name):
    return "png" if name == "made" else "jpg"


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Two tars with all images of the collection, each with a caption."""
    folder = tmp_path_factory.mktemp("shards")
    names = list(collection())
    for i in range(2):
        with wds.TarWriter(str(folder / f"{i}.tar")) as tar:
            for name in names[i::2]:
                tar.write({"__key__": name, kind(name): collection()[name], "txt": f"of {name}"})
    return [str(folder / f"{i}.tar") for i in range(2)]


def opened(shards):
    return wds.WebDataset(shards, shardshuffle=False)


def keys_of(samples):
    return sorted(sample["__key__"] for sample in samples)


def told(sample):
    return json.loads(sample["fm.json"])


def check(told, name):
    state, code = TOLD[name]
    assert (told["fm_state"], told["fm_public_code"]) == (state, code and code.hex)
    assert told["fm_public"] == (",".join(code.flags) if code else None)
    if state == "error":
        assert "cut short" in told["fm_error"]
        assert told["fm_log10_p"] is told["fm_key"] is None
    else:
        assert (told["fm_key"], told["fm_error"]) == (KEY.id, None)
        assert told["fm_message"] == (MESSAGE if state == "detected" else None)


def test_samples_are_scanned_and_written_again(shards, tmp_path):
    with wds.TarWriter(str(tmp_path / "scanned.tar")) as tar:
        for sample in opened(shards).map(Scan(KEY)):
            assert sample[kind(sample["__key__"])] == collection()[sample["__key__"]]
            check(json.loads(sample["fm.json"]), sample["__key__"])
            tar.write(sample)
    again = list(opened(str(tmp_path / "scanned.tar")))
    assert keys_of(again) == sorted(TOLD)
    for sample in again:
        assert sample["txt"] == f"of {sample['__key__']}".encode()
        check(json.loads(sample["fm.json"]), sample["__key__"])
    # the tar's own field is filtered by, and decode reads it
    kept = opened(str(tmp_path / "scanned.tar")).select(Keep())
    at_once = opened(shards).map(Scan(KEY)).select(Keep())
    assert keys_of(kept) == keys_of(at_once) == sorted(TRAINABLE)
    for pipeline in (kept, at_once):
        for picture, told in pipeline.decode("pil").to_tuple("jpg", "fm.json"):
            assert (picture.size, told["fm_state"]) == ((320, 288), "absent")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, TRAINABLE),
        ({"what": "unmarked"}, UNMARKED),
        ({"what": "marked"}, MARKED),
        ({"errors": "keep"}, [*TRAINABLE, "broken"]),
        ({"public": False, "what": "marked"}, ["ours"]),
    ],
)
def test_filters_by_what_is_told_and_by_pixels_agree(shards, options, wanted):
    assert keys_of(opened(shards).map(Scan(KEY)).select(Keep(**options))) == sorted(wanted)
    assert keys_of(opened(shards).select(Keep(keys=KEY, **options))) == sorted(wanted)


def test_workers_of_a_loader(shards):
    pipeline = opened(shards).compose(wds.map(Scan(KEY)), wds.select(Keep()))
    for context in ("fork", "spawn"):
        loader = wds.WebLoader(
            pipeline.to_tuple("__key__", "fm.json"),
            batch_size=None,
            num_workers=2,
            multiprocessing_context=context,
        )
        assert sorted(name for name, _ in loader) == sorted(TRAINABLE)


def test_decoded_samples_are_taken(shards):
    fine = opened(shards).select(lambda sample: sample["__key__"] != "broken")
    for how in ("pil", "rgb8", "rgb", "torchrgb"):
        for sample in fine.decode(how).map(Scan(KEY)):
            check(sample["fm.json"], sample["__key__"])
            assert Keep("marked")(sample) == (sample["__key__"] in MARKED)


def test_the_image_is_found_by_its_ending_or_by_name():
    data = collection()["ours"]
    for name in ("jpg", "JPEG", "input.webp", "left.tiff"):
        sample = {"__key__": "a", name: data, "json": b"{}", "jpg.txt": b"not the image"}
        assert told(Scan(KEY)(sample))["fm_state"] == "detected"
    named = {"__key__": "a", "input": data, "jpg": b""}
    assert (
        json.loads(Scan(KEY, image="input", field="ours.json")(named)["ours.json"])["fm_message"] == MESSAGE
    )
    assert Keep("marked", KEY, image="input")(named)
    with pytest.raises(IntegrationError, match=r"a/b has the fields left.jpg, right.jpg: .*image="):
        Scan(KEY)({"__key__": "a/b", "left.jpg": data, "right.jpg": data})
    with pytest.raises(IntegrationError, match=r"fields jpg, txt: .*image="):
        Scan(KEY, image="jpeg")({"__key__": "a", "jpg": data, "txt": b""})


def test_a_sample_without_an_image_is_an_error():
    said = told(Scan()({"__key__": "7", "txt": b"text"}))
    assert (said["fm_state"], said["fm_public"]) == ("error", None)
    assert said["fm_error"] == "there is no image: the sample 7 has the fields txt"
    assert Keep()({"txt": b"text"}) is False
    with pytest.raises(InvalidImageError, match="there is no image"):
        Keep(errors="raise")({"txt": b"text"})


def test_what_is_told_by_others_or_of_other_keys_is_not_mixed_up(shards):
    (sample,) = [sample for sample in opened(shards) if sample["__key__"] == "ours"]
    scanned = Scan()(sample)
    with pytest.raises(IntegrationError, match="leave keys out"):
        Keep("marked", KEY)(scanned)
    assert Keep("marked", KEY, field="other.json")(scanned)
    for wrong in (b"no json", {"a": 1}, [], None):
        with pytest.raises(IntegrationError, match=r"'fm.json' is not of a scan"):
            Keep()(sample | {"fm.json": wrong})
    with pytest.raises(IntegrationError, match="nothing to look for"):
        Keep(public=False)(sample)
    with pytest.raises(KeyFormatError, match="nothing to look for"):
        Scan(public=False)


def test_pickles_do_the_same():
    scan, keep = pickle.loads(pickle.dumps((Scan(KEY, image="x"), Keep("marked", KEY, image="x"))))
    sample = {"x": io.BytesIO(collection()["ours"])}
    assert scan(sample)["fm.json"]["fm_message"] == MESSAGE
    sample["x"].seek(0)
    assert keep(sample)
