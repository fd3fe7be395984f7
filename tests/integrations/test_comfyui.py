"""The nodes, loaded and called as ComfyUI does."""

import importlib.util
import inspect
import json
import math
import tomllib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fastmark import (  # noqa: E402
    ImageTooSmallError,
    InvalidImageError,
    InvalidMessageError,
    Key,
    KeyFormatError,
    KeyNotFoundError,
    OutputError,
    RegistryError,
    Watermarker,
    public,
)
from fastmark.integrations import comfyui, comfyui_nodes  # noqa: E402
from fastmark.integrations.marking import UnmarkedImageWarning  # noqa: E402
from fastmark.registry import Registry  # noqa: E402

FOLDER = Path(comfyui_nodes.__file__).parent
MESSAGE = "0123456789abcdef"


def load(folder):
    """As ComfyUI's ``load_custom_node``."""
    spec = importlib.util.spec_from_file_location(f"{folder}_custom", folder / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NODES = load(FOLDER).NODE_CLASS_MAPPINGS


def invoke(name, *, valid=True, **inputs):
    """Validate, and run with the defaults of all that is not given, as ComfyUI's ``execution`` does."""
    node = NODES[name]
    described = node.INPUT_TYPES()
    given = {}
    for input_name, (kind, *options) in {**described["required"], **described.get("optional", {})}.items():
        default = kind[0] if isinstance(kind, list) else options[0].get("default")
        given[input_name] = inputs.pop(input_name, default)
    assert not inputs
    checked = inspect.getfullargspec(node.VALIDATE_INPUTS).args[1:]
    answer = node.VALIDATE_INPUTS(**{key: value for key, value in given.items() if key in checked})
    assert (answer is True) == valid, answer
    constants = {key: None if isinstance(value, torch.Tensor) else value for key, value in given.items()}
    assert isinstance(node.IS_CHANGED(**constants), str)
    with torch.inference_mode():
        result = getattr(node(), node.FUNCTION)(**given)
    values = result["result"] if isinstance(result, dict) else result
    assert len(values) == len(node.RETURN_TYPES) == len(node.RETURN_NAMES) == len(node.OUTPUT_TOOLTIPS)
    return values


@pytest.fixture(autouse=True)
def keys(key, tmp_path, monkeypatch):
    """The folder of keys: ours.key, and its detector key."""
    folder = tmp_path / "keys"
    folder.mkdir()
    key.save(folder / "ours.key")
    key.detector_key().save(folder / "reader.key")
    monkeypatch.setenv("FASTMARK_KEYS", str(folder))
    monkeypatch.delenv("FASTMARK_KEY", raising=False)
    return folder


@pytest.fixture
def image(draw):
    """float32 ``(2, 320, 384, 3)``."""
    return torch.from_numpy(np.stack([draw(1), draw(2)]).astype(np.float32) / 255)


def saved(images):
    """What SaveImage writes: uint8."""
    return [np.clip(255.0 * one.numpy(), 0, 255).astype(np.uint8) for one in images]


# ---- the nodes -------------------------------------------------------------------------------------------


def test_embed_marks_each_image_of_a_batch(image, marker):
    before = image.clone()
    marked, messages = invoke("FastmarkEmbed", image=image, key="ours.key", message=MESSAGE)
    assert torch.equal(image, before)
    assert (marked.dtype, marked.shape, marked.device) == (image.dtype, image.shape, image.device)
    assert marked.min() >= 0 and marked.max() <= 1
    assert [marker.detect(one).message_hex for one in saved(marked)] == [MESSAGE] * 2
    assert messages == f"{MESSAGE}\n{MESSAGE}"


def test_messages_are_one_for_each_or_drawn(image, marker):
    marked, messages = invoke("FastmarkEmbed", image=image, key="ours.key", message=f"{MESSAGE}, 0x7\n")
    assert [marker.detect(one).message_hex for one in saved(marked)] == messages.split("\n")
    assert messages == f"{MESSAGE}\n{7:016x}"
    marked, messages = invoke("FastmarkEmbed", image=image, key="ours.key")
    drawn = messages.split("\n")
    assert [marker.detect(one).message_hex for one in saved(marked)] == drawn
    assert len(set(drawn)) == 2
    assert invoke("FastmarkEmbed", image=image, key="ours.key")[1] != messages


def test_settings_reach_the_watermark(image, key):
    settings = {"message_bits": 16, "strength": 2.0, "public": "ai-generated, do-not-train"}
    marked, _ = invoke("FastmarkEmbed", image=image[:1], key="ours.key", message="beef", **settings)
    (one,) = saved(marked)
    assert Watermarker(key, 16).detect(one).message_hex == "beef"
    assert public.read(one).code.flags == ("ai-generated", "do-not-train")
    weaker, _ = invoke("FastmarkEmbed", image=image[:1], key="ours.key", message="beef", message_bits=16)
    change, weak = (float((other - image[:1]).std()) for other in (marked, weaker))
    assert change > 1.5 * weak
    with_earlier = {"key": "ours.key", "message": "0001", "message_bits": 16}
    kept, said = invoke("FastmarkEmbed", image=weaker, on_marked="keep", **with_earlier)
    assert torch.equal(kept, weaker) and said == "beef"
    _, said = invoke("FastmarkEmbed", image=weaker, **with_earlier)
    assert said == "0001"


def test_a_registry_draws_and_keeps_the_messages(image, tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'ids.db'}"
    with Registry(url) as registry:
        registry.init()
        monkeypatch.setenv("FASTMARK_REGISTRY", url)
        settings = {"image": image, "key": "ours.key", "registry": "env:FASTMARK_REGISTRY"}
        _, messages = invoke("FastmarkEmbed", **settings)
        assert [registry.get(message).state for message in messages.split("\n")] == ["marked"] * 2
        invoke("FastmarkEmbed", message="1111111111111111,2222222222222222", **settings)
        assert registry.count() == 4
    monkeypatch.delenv("FASTMARK_REGISTRY")
    with pytest.raises(RegistryError, match="FASTMARK_REGISTRY is not set"):
        invoke("FastmarkEmbed", valid=False, **settings)


def test_detect_answers_for_each_image(image):
    marked, _ = invoke("FastmarkEmbed", image=image, key="ours.key", message=MESSAGE, public="ai-edited")
    batch = torch.cat([marked[:1], image[1:]])
    for name in ("ours.key", "reader.key"):
        verdict, detected, message, says, report = invoke("FastmarkDetect", image=batch, key=name)
        assert detected == [True, False]
        assert message == [MESSAGE, ""]
        assert says == ["ai-edited", ""]
        assert verdict[0].startswith("detected: ") and f"Message: {MESSAGE}. p-value: 1e-" in verdict[0]
        assert verdict[0].endswith("The public watermark says: ai-edited.")
        assert verdict[1].startswith("absent: ") and "no evidence" in verdict[1]
        assert [json.loads(one)["state"] for one in report] == ["detected", "absent"]
    assert NODES["FastmarkDetect"].OUTPUT_IS_LIST == (True,) * 5
    shown = NODES["FastmarkDetect"]().detect(batch, "ours.key")["ui"]["text"]
    assert shown == invoke("FastmarkDetect", image=batch, key="ours.key")[0]


def test_locate_shows_the_part_that_is_watermarked(image):
    marked, _ = invoke("FastmarkEmbed", image=image[:1], key="ours.key", message=MESSAGE)
    wide = torch.cat([marked, image[1:]], dim=2)  # side by side
    batch = torch.cat([wide, torch.cat([image[1:], image[1:]], dim=2)])
    shown, mask, verdict = invoke("FastmarkLocate", image=batch, key="ours.key")
    assert shown.shape == (2, 320, 768, 3) and shown.dtype == torch.float32
    assert mask.shape == (2, 320, 768) and mask.dtype == torch.float32
    assert shown.min() >= 0 and shown.max() <= 1 and set(mask.unique().tolist()) <= {0.0, 1.0}
    left, right = mask[0, :, :352].mean(), mask[0, :, 416:].mean()
    assert left > 0.8 and right < 0.2
    assert mask[1].max() == 0
    first, second = verdict.split("\n")
    assert first.startswith("detected") and first.endswith("% of the image") and second.startswith("absent")


def test_images_that_cannot_carry_it_stop_or_are_passed_on(image):
    small = image[:, :64, :64]
    with pytest.raises(ImageTooSmallError, match="128 pixels a side"):
        invoke("FastmarkEmbed", image=small, key="ours.key", message=MESSAGE)
    with pytest.warns(UnmarkedImageWarning, match="64 x 64") as seen:
        passed, messages = invoke(
            "FastmarkEmbed", image=small, key="ours.key", message=MESSAGE, on_error="warn"
        )
    assert len(seen) == 2 and torch.equal(passed, small) and messages == "\n"


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda image: image.permute(0, 3, 1, 2), "bring it to NHWC by permute"),
        (lambda image: image[0], "must be a batch NHWC, not of shape"),
        (lambda image: (image * 255).to(torch.uint8), "tensor of floats"),
        (lambda image: image * 255, "must have values in 0..1"),
        (lambda image: image * 2 - 1, "must have values in 0..1"),
        (lambda image: image.where(image > 0.1, math.nan), "NaN"),
    ],
    ids=["channels", "single", "bytes", "levels", "signed", "nan"],
)
def test_images_of_another_kind_are_refused(name, image, change, text):
    with pytest.raises(InvalidImageError, match=text):
        invoke(name, image=change(image), key="ours.key")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("12", "64 bits are 16 hex digits"),
        ("hello", "not hexadecimal"),
        (" ,", "there is no message"),
    ],
)
def test_messages_of_another_kind_are_refused(image, message, text):
    assert text in NODES["FastmarkEmbed"].VALIDATE_INPUTS(message=message, message_bits=64)
    with pytest.raises(InvalidMessageError, match=text):
        invoke("FastmarkEmbed", valid=False, image=image, key="ours.key", message=message)


def test_there_must_be_as_many_messages_as_images(image):
    with pytest.raises(InvalidMessageError, match="3 messages for 2 images: give one for all"):
        invoke("FastmarkEmbed", image=image, key="ours.key", message="0x1,0x2,0x3")


def test_the_first_image_says_how_to_check_it(image, key, capsys):
    comfyui.first_of.cache_clear()
    for _ in range(2):
        invoke("FastmarkEmbed", image=image, key="ours.key", message=MESSAGE)
    assert capsys.readouterr().err.splitlines() == [
        f"fastmark: ComfyUI: the first image is watermarked, message {MESSAGE}, key {key.id}.",
        "fastmark: ComfyUI: save it and check it: fastmark detect IMAGE --key KEY_FILE",
    ]


# ---- keys stay where they are ----------------------------------------------------------------------------


def test_keys_are_listed_by_name(keys):
    (keys / "notes.txt").write_text("no key")
    (keys / "folder.key").mkdir()
    for node in NODES.values():
        assert node.INPUT_TYPES()["required"]["key"][0] == ["env:FASTMARK_KEY", "ours.key", "reader.key"]


def test_a_variable_holds_a_path_or_the_text(image, keys, key, monkeypatch):
    monkeypatch.setenv("OTHER", key.to_text())
    for value in (str(keys / "ours.key"), key.to_text(), "\n " + key.to_text(), "env:OTHER"):
        monkeypatch.setenv("FASTMARK_KEY", value)
        marked, _ = invoke("FastmarkEmbed", image=image[:1], key="env:FASTMARK_KEY", message=MESSAGE)
        assert invoke("FastmarkDetect", image=marked, key="env:FASTMARK_KEY")[2] == [MESSAGE]
    monkeypatch.delenv("FASTMARK_KEY")
    with pytest.raises(KeyFormatError, match="the environment variable FASTMARK_KEY is not set"):
        invoke("FastmarkEmbed", valid=False, image=image, key="env:FASTMARK_KEY")


def test_a_detector_key_does_not_embed(image):
    with pytest.raises(KeyFormatError, match="this is a detector key, which only detects"):
        invoke("FastmarkEmbed", valid=False, image=image, key="reader.key")


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("value", ["text", "secret", "path", "above", "other variable", "number"])
def test_anything_but_a_name_is_refused_and_not_repeated(name, value, image, keys, key, monkeypatch):
    monkeypatch.setenv("OTHER", key.to_text())
    given = {
        "text": key.to_text(),
        "secret": key.secret.hex(),
        "path": str(keys / "ours.key"),
        "above": "../keys/ours.key",
        "other variable": "env:OTHER",
        "number": 7,
    }[value]
    said = NODES[name].VALIDATE_INPUTS(key=given)
    assert "there is no key of the name that was given" in said and "Never paste a key's text" in said
    assert key.secret.hex() not in said and str(given) not in said.replace(str(keys), "")
    node = NODES[name]()
    with pytest.raises(KeyNotFoundError) as error:  # linked from another node, which is not validated
        getattr(node, node.FUNCTION)(image=image, key=given)
    assert key.secret.hex() not in str(error.value)
    assert node.IS_CHANGED(key=given) == "no key"


@pytest.mark.parametrize("widget", ["message", "public", "registry"])
def test_a_key_in_another_widget_is_refused_and_not_repeated(widget, image, key):
    for given in (key.to_text(), key.secret.hex(), f"01{key.secret.hex()}"):
        said = NODES["FastmarkEmbed"].VALIDATE_INPUTS(**{widget: given})
        assert isinstance(said, str) and key.secret.hex() not in said
        with pytest.raises((KeyFormatError, RegistryError)) as error:
            NODES["FastmarkEmbed"]().embed(image, "ours.key", **{widget: given})
        assert key.secret.hex() not in str(error.value)
    password = "postgresql://me:hunter2@host/ids"
    said = NODES["FastmarkEmbed"].VALIDATE_INPUTS(registry=password)
    assert "must be none or env:FASTMARK_REGISTRY" in said and "hunter2" not in said


def test_validation_passes_what_is_in_order_or_linked():
    embed = NODES["FastmarkEmbed"]
    assert embed.VALIDATE_INPUTS() is True
    assert embed.VALIDATE_INPUTS("ours.key", MESSAGE, 64, "ai-generated", "none") is True
    assert "cannot say sold" in embed.VALIDATE_INPUTS(public="sold")


def test_the_workflow_never_holds_a_secret(image, key):
    """ComfyUI writes inputs, and what IS_CHANGED returns, into the metadata of what it saves."""
    inputs = {"key": "ours.key", "message": "random"}
    prompt = {}
    for name, node in NODES.items():
        prompt[name] = {"inputs": inputs, "class_type": name, "is_changed": [node.IS_CHANGED(**inputs)]}
        shown = getattr(node(), node.FUNCTION)(image=image, key="ours.key")
        if isinstance(shown, dict):
            prompt[name]["ui"] = shown
    described = {name: node.INPUT_TYPES() for name, node in NODES.items()}
    written = json.dumps([prompt, described])
    assert key.id in written
    assert key.secret.hex() not in written


def test_nodes_run_again_when_they_must(keys):
    embed, detect = NODES["FastmarkEmbed"], NODES["FastmarkDetect"]
    fixed = {"key": "ours.key", "message": MESSAGE}
    assert embed.IS_CHANGED(**fixed) == embed.IS_CHANGED(**fixed)
    assert embed.IS_CHANGED(key="ours.key", message="random") != embed.IS_CHANGED(
        key="ours.key", message="random"
    )
    kept = {**fixed, "registry": "env:FASTMARK_REGISTRY"}
    assert embed.IS_CHANGED(**kept) != embed.IS_CHANGED(**kept)
    before = detect.IS_CHANGED(key="ours.key")
    assert before != detect.IS_CHANGED(key="reader.key")
    (keys / "ours.key").unlink()
    assert detect.IS_CHANGED(key="ours.key") == "no key"
    Key(bytes(32)).save(keys / "ours.key")
    assert detect.IS_CHANGED(key="ours.key") not in (before, "no key")


# ---- the folder ------------------------------------------------------------------------------------------


def test_the_folder_is_what_the_registry_of_comfyui_takes():
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())
    assert "comfyui" not in project["project"]["name"].lower() and len(project["project"]["name"]) < 100
    assert (FOLDER / project["project"]["license"]["file"]).read_text() == (
        Path(comfyui.__file__).parents[2] / "LICENSE"
    ).read_text()
    assert project["project"]["dependencies"] == (FOLDER / "requirements.txt").read_text().split()
    assert {"PublisherId", "DisplayName", "requires-comfyui"} <= set(project["tool"]["comfy"])
    assert set(NODES) == set(load(FOLDER).NODE_DISPLAY_NAME_MAPPINGS)
    assert all(name.startswith("Fastmark") for name in NODES)


def test_one_command_installs_the_folder(tmp_path, capsys):
    (tmp_path / "custom_nodes").mkdir()
    assert comfyui.main([str(tmp_path)]) == 0
    assert comfyui.main([str(tmp_path)]) == 0  # anew, after an update
    folder = tmp_path / "custom_nodes" / "fastmark"
    assert str(folder) in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == [
        "LICENSE",
        "README.md",
        "__init__.py",
        "pyproject.toml",
        "requirements.txt",
    ]
    assert set(load(folder).NODE_CLASS_MAPPINGS) == set(NODES)
    assert comfyui.main([str(tmp_path / "elsewhere")]) == 2
    assert "name the folder of ComfyUI" in capsys.readouterr().err
    with pytest.raises(OutputError):
        comfyui.install(tmp_path / "elsewhere")
