"""Pipelines of other shapes: upscalers, DeepFloyd, modular ones; those that are refused; missing packages."""

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

import pipelines  # noqa: E402
from diffusers import image_processor  # noqa: E402
from diffusers.video_processor import VideoProcessor  # noqa: E402
from PIL import Image  # noqa: E402

from fastmark import IntegrationError, MissingPackageError, public  # noqa: E402
from fastmark.integrations.diffusers import UnmarkedImageWarning, attach  # noqa: E402
from fastmark.integrations.pipelines import processes  # noqa: E402

MESSAGE = "0123456789abcdef"


def read(marker, images):
    return [marker.detect(np.asarray(image)).message_hex for image in images]


def test_an_upscaler_keeps_its_own_visible_mark(marker, draw, tmp_path):
    pipe = pipelines.upscaler(tmp_path)
    low = Image.fromarray(draw(height=64, width=64))
    own, theirs = pipe.watermarker, dict(pipe.config)
    detach = attach(pipe, marker, MESSAGE)
    for output_type in ("pil", "np"):
        images = pipe("harbour", image=low, num_inference_steps=1, output_type=output_type).images
        assert read(marker, images) == [MESSAGE]
    detach()
    assert pipe.watermarker is own and dict(pipe.config) == theirs


def test_deep_floyd_is_watermarked_in_its_result(marker):
    pipe = pipelines.deep_floyd()
    settings = {
        "prompt_embeds": torch.zeros(1, 4, 16),
        "negative_prompt_embeds": torch.zeros(1, 4, 16),
        "num_inference_steps": 1,
        "num_images_per_prompt": 2,
    }
    plain = pipe(**settings).images
    detach = attach(pipe, marker, MESSAGE)
    assert read(marker, pipe(**settings).images) == [MESSAGE] * 2
    assert read(marker, pipe(**settings, return_dict=False)[0]) == [MESSAGE] * 2
    assert read(marker, pipe(**settings, output_type="np").images) == [MESSAGE] * 2
    assert [report.message for report in detach.reports] == [MESSAGE] * 2
    with pytest.warns(UnmarkedImageWarning, match="no images of a range that is known"):
        pipe(**settings, output_type="pt")  # on -1..1, for the next stage
    detach()
    assert read(marker, plain) == read(marker, pipe(**settings).images) == [None] * 2


@pytest.mark.skipif(
    not hasattr(diffusers, "StableDiffusionXLAutoBlocks"),
    reason="diffusers before 0.35 has no modular pipelines",
)
def test_a_modular_pipeline_is_watermarked(marker, tmp_path):
    pipe = pipelines.modular_xl(tmp_path)
    plain = pipe(prompt="harbour", **pipelines.STEPS, output="images")
    detach = attach(pipe, marker, MESSAGE)
    for output_type in ("pil", "np"):
        settings = {**pipelines.STEPS, "output_type": output_type, "prompt": "harbour"}
        assert read(marker, pipe(**settings, output="images")) == [MESSAGE]
        assert read(marker, pipe(**settings).get("images")) == [MESSAGE]
    with pytest.warns(UnmarkedImageWarning, match="returns latents"):
        pipe(prompt="harbour", **pipelines.STEPS, output_type="latent", output="images")
    detach()
    assert read(marker, plain) == [None]


def test_the_public_watermark_stands_beside_it(marker, tmp_path):
    pipe = pipelines.stable_diffusion_xl(tmp_path)
    attach(pipe, marker, MESSAGE, public=public.PublicCode.of("ai-generated"))
    image = pipe("harbour", **{**pipelines.STEPS, "height": 512, "width": 512}).images[0]
    assert read(marker, [image]) == [MESSAGE]
    assert public.read(image).code.flags == ("ai-generated",)


# ---- what is refused -------------------------------------------------------------------------------------


def test_audio_and_video_are_refused(marker):
    audio = diffusers.DanceDiffusionPipeline(None, None)
    with pytest.raises(IntegrationError, match=r"no image_processor.*marker\.embed\(image, message\)"):
        attach(audio, marker, MESSAGE)

    class VideoPipeline(diffusers.DiffusionPipeline):
        def __init__(self):
            self.video_processor = VideoProcessor()
            # of a model that is shown the first frame: it prepares images, and makes none
            self.image_processor = type("CLIPImageProcessor", (), {"preprocess": None})()

    with pytest.raises(IntegrationError, match="VideoPipeline makes no images"):
        attach(VideoPipeline(), marker, MESSAGE)


def test_a_pipeline_of_pipelines_names_its_part(marker, tmp_path):
    class CombinedPipeline(diffusers.DiffusionPipeline):
        def __init__(self, decoder_pipe):
            self.prior_pipe, self.decoder_pipe = None, decoder_pipe

    whole = CombinedPipeline(pipelines.stable_diffusion(tmp_path))
    with pytest.raises(IntegrationError, match=r"attach to that, pipe\.decoder_pipe$"):
        attach(whole, marker, MESSAGE)


@pytest.mark.parametrize("pipe", [None, "model", diffusers.StableDiffusionPipeline])
def test_anything_else_is_refused(pipe, marker):
    with pytest.raises(IntegrationError):
        attach(pipe, marker, MESSAGE)


def test_processors_are_told_by_what_they_do():
    for name in ("VaeImageProcessor", "InpaintProcessor", "PixArtImageProcessor"):
        if kind := getattr(image_processor, name, None):  # the second came with diffusers 0.35
            assert processes(kind())
    assert not processes(None) and not processes(object())


@pytest.mark.parametrize("missing", ["torch", "diffusers"])
def test_a_missing_package_names_the_command(missing, marker, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        MissingPackageError, match=rf"{missing}: pip install 'fastmark-watermark\[diffusers\]'"
    ):
        attach(object(), marker, MESSAGE)


def test_importing_the_module_imports_neither():
    code = "import sys, fastmark.integrations.diffusers as _, fastmark.integrations.comfyui as _;"
    code += "sys.exit(bool({'torch', 'diffusers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
