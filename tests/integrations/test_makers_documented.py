"""The blocks of INTEGRATIONS.md on diffusers and ComfyUI, as they stand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from documents import blocks
from PIL import Image

torch = pytest.importorskip("torch")


@pytest.fixture
def folder(tmp_path, key, draw, monkeypatch):
    """A folder with my.key and photo.jpg, which is the working one and the home."""
    key.save(tmp_path / "my.key")
    Image.fromarray(draw()).save(tmp_path / "photo.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FASTMARK_KEYS", raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def shell(text):
    return subprocess.run(["bash", "-e"], input=text, check=True, capture_output=True, text=True).stdout


def test_diffusers(folder, capsys):
    pytest.importorskip("diffusers")
    import pipelines

    pipe = pipelines.stable_diffusion(folder)
    steps = pipe.scheduler.set_timesteps
    pipe.scheduler.set_timesteps = lambda _, device: steps(
        1, device=device
    )  # not 50, which shows nothing more
    names = {"pipe": pipe}
    said = []
    for language, text in blocks("INTEGRATIONS.md", "diffusers"):
        if language == "python":
            exec(compile(text, "INTEGRATIONS.md", "exec"), names)
        else:
            assert "fastmark detect IMAGE --key KEY_FILE" in capsys.readouterr().err
            said.append(shell(text))
    names["detach"]()
    names["registry"].close()
    assert len(said) == 1 and "0123456789abcdef" in said[0]
    drawn = json.loads(capsys.readouterr().out.splitlines()[0].replace("'", '"'))
    assert len(drawn) == len(set(drawn)) == 2


def test_comfyui(folder, key):
    from test_comfyui import NODES, load

    (folder / "ComfyUI" / "custom_nodes").mkdir(parents=True)
    (_, install), (_, prompt) = blocks("INTEGRATIONS.md", "ComfyUI")
    shell(install)
    assert set(load(folder / "ComfyUI" / "custom_nodes" / "fastmark").NODE_CLASS_MAPPINGS) == set(NODES)
    steps = json.loads(prompt)
    inputs = steps["2"]["inputs"]
    node = NODES[steps["2"]["class_type"]]
    described = node.INPUT_TYPES()
    assert set(inputs) == set(described["required"]) | set(described["optional"])
    for name, (kind, *_) in {**described["required"], **described["optional"]}.items():
        assert not isinstance(kind, list) or inputs[name] in kind
    image = torch.from_numpy(np.asarray(Image.open(steps["1"]["inputs"]["image"]), np.float32)[None] / 255)
    marked, message = getattr(node(), node.FUNCTION)(**{**inputs, "image": image})
    saved = np.clip(255.0 * marked[0].numpy(), 0, 255).astype(np.uint8)
    from fastmark import Watermarker, public

    key = type(key).load(folder / ".fastmark" / "keys" / inputs["key"])
    assert Watermarker(key).detect(saved).message_hex == message
    assert public.read(saved).code.flags == ("ai-edited",)
