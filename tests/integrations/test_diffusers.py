"""Real pipelines of diffusers, tiny, on the CPU: the message is read from whatever a call returns."""

import copy
import itertools
import threading

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

import pipelines  # noqa: E402
from attachments import MAKERS, MESSAGE, as_bytes, joining, lent, make_pipelines, read, run  # noqa: E402
from diffusers import (  # noqa: E402
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
)

from fastmark.registry import Registry  # noqa: E402


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_pipelines(tmp_path_factory)


@pytest.fixture(params=MAKERS)
def pipe(request, made):
    """Each of the pipelines; whatever a test attached is seen to have been detached."""
    yield from lent(made[request.param])


@pytest.fixture
def sd(made):
    yield from lent(made["sd"])


@pytest.fixture
def sdxl(made):
    yield from lent(made["sdxl"])


@pytest.fixture
def join():
    """``attach``, undone when a test has ended; named last, so that it is undone before what it joins."""
    yield from joining()


@pytest.fixture
def registry(tmp_path):
    with Registry(f"sqlite:///{tmp_path / 'ids.db'}") as registry:
        registry.init()
        yield registry


# ---- what leaves carries the message ---------------------------------------------------------------------


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_the_message_is_read_from_every_output(pipe, marker, output_type, join):
    plain = run(pipe, output_type=output_type, num_images_per_prompt=2)
    detach = join(pipe, marker, MESSAGE)
    images = run(pipe, output_type=output_type, num_images_per_prompt=2)
    detach()
    assert read(marker, images) == [MESSAGE] * 2
    assert read(marker, plain) == [None] * 2
    assert type(images) is type(plain) and getattr(images, "dtype", None) == getattr(plain, "dtype", None)
    assert [report.message for report in detach.reports] == [MESSAGE] * 2
    for before, after in zip(as_bytes(plain), as_bytes(images), strict=True):
        difference = after.astype(int) - before
        assert 0 < np.abs(difference).max() < 40
        assert np.mean(difference**2) < 255**2 / 10**3.5  # 35 dB


def test_it_works_in_half_precision(sdxl, marker, join):
    """bfloat16 throughout, of which the last steps are rounded to 8 bits, some of them twice."""
    half = copy.deepcopy(sdxl).to(torch.bfloat16)
    join(half, marker, MESSAGE)
    for output_type in ("pil", "np", "pt"):
        images = run(half, output_type=output_type)
        assert read(marker, images) == [MESSAGE]
    assert images.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_apply_watermark_keeps_dtype_layout_and_input(sdxl, marker, draw, dtype, join):
    detach = join(sdxl, marker, MESSAGE)
    images = torch.from_numpy(np.stack([draw(1), draw(2)])).permute(0, 3, 1, 2) / 127.5 - 1
    images = images.to(getattr(torch, dtype))
    before = images.clone()
    marked = sdxl.watermark.apply_watermark(images)
    assert (marked.dtype, marked.device, marked.shape) == (images.dtype, images.device, images.shape)
    assert marked.stride() == images.stride()
    assert torch.equal(images, before) and not torch.equal(marked, images)
    assert marked.min() >= -1 and marked.max() <= 1
    # what the pipeline does next
    for output_type in ("pil", "np", "pt"):
        assert read(marker, sdxl.image_processor.postprocess(marked, output_type)) == [MESSAGE] * 2
    assert len(detach.reports) == 2  # not marked once more
    detach()


def test_what_overshoots_is_clipped_as_it_would_be(sdxl, marker, draw, join):
    detach = join(sdxl, marker, MESSAGE)
    images = 1.3 * (torch.from_numpy(draw()[None]).permute(0, 3, 1, 2) / 127.5 - 1)
    assert images.max() > 1
    assert read(marker, (sdxl.watermark.apply_watermark(images) / 2 + 0.5)) == [MESSAGE]
    detach()


def test_images_decoded_by_hand_are_watermarked_too(pipe, marker, join):
    with torch.no_grad():
        decoded = pipe.vae.decode(
            torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
        ).sample
    detach = join(pipe, marker, MESSAGE)
    assert read(marker, pipe.image_processor.postprocess(decoded)) == [MESSAGE]
    assert read(marker, pipe.image_processor.postprocess(decoded, output_type="pt")) == [MESSAGE]
    detach()


def test_the_first_image_says_how_to_check_it(sd, marker, key, capfd, join):
    detach = join(sd, marker, MESSAGE)
    run(sd, num_images_per_prompt=2)
    run(sd)
    detach()
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("fastmark")]
    assert said == [
        f"fastmark: diffusers: the first image is watermarked, message {MESSAGE}, key {key.id}.",
        "fastmark: diffusers: save it and check it: fastmark detect IMAGE --key KEY_FILE",
    ]


# ---- messages --------------------------------------------------------------------------------------------


def test_a_function_gives_a_message_for_each_image(pipe, marker, join):
    ids = itertools.count(7)
    detach = join(pipe, marker, lambda: next(ids))
    images = [*run(pipe, num_images_per_prompt=2), *run(pipe)]
    detach()
    assert [marker.detect(image).message for image in images] == [7, 8, 9]


def test_a_registry_draws_an_id_for_each_image(pipe, marker, registry, join):
    detach = join(pipe, marker, registry=registry)
    images = run(pipe, num_images_per_prompt=2)
    detach()
    found = read(marker, images)
    assert len(set(found)) == 2
    assert found == [report.message for report in detach.reports]
    entries = [registry.get(message) for message in found]
    assert all((entry.width, entry.height) == (256, 256) and entry.perceptual_hash for entry in entries)
    assert registry.count() == 2


def test_threads_get_messages_of_their_own(sd, marker, draw, join):
    numbers = (number for number in range(100))  # not to be asked by two threads at a time
    detach = join(sd, marker, numbers.__next__)
    found, decoded = [], torch.from_numpy(draw()[None]).permute(0, 3, 1, 2) / 127.5 - 1

    def work():
        for _ in range(2):
            image = sd.image_processor.postprocess(decoded)[0]
            found.append((marker.detect(image).message, int(detach.reports[0].message, 16)))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    detach()
    assert sorted(found) == [(i, i) for i in range(6)]


# ---- inpainting ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def painting():
    """An image, and a mask of a part in its middle."""
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 14, (320, 448, 3)) + rng.uniform(60, 190, (10, 14, 3)).repeat(32, 0).repeat(32, 1)
    mask = np.zeros((320, 448), np.uint8)
    mask[120:220, 150:280] = 255
    return Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)), Image.fromarray(mask)


@pytest.mark.parametrize("pad", [16, None])
def test_inpainting_is_watermarked_after_the_overlay(sdxl, marker, registry, painting, pad, join):
    image, mask = painting
    pipe = pipelines.quiet(StableDiffusionXLInpaintPipeline(**sdxl.components))
    join(pipe, marker, registry=registry)
    images = pipe(
        "harbour",
        image=image,
        mask_image=mask,
        padding_mask_crop=pad,
        num_inference_steps=2,
        strength=0.9,
        num_images_per_prompt=2,
        generator=torch.Generator().manual_seed(0),
        **({} if pad else {"height": image.height, "width": image.width}),
    ).images
    assert [one.size for one in images] == [image.size] * 2
    found = read(marker, images)
    assert len(set(found)) == 2 and registry.count() == 2  # each drawn once, none for what went before
    # around what was painted, too
    outside = np.asarray(images[0])[:, :150], np.asarray(image)[:, :150]
    assert np.abs(outside[0].astype(int) - outside[1]).max() > 0
    if pad:
        assert np.abs(outside[0].astype(int) - outside[1]).max() < 40


def test_an_overlay_laid_by_hand_is_watermarked(sd, marker, painting, join):
    image, mask = painting
    detach = join(sd, marker, MESSAGE)
    painted = Image.new("RGB", image.size)
    assert read(marker, [sd.image_processor.apply_overlay(mask, image, painted)]) == [MESSAGE]
    detach()


def test_image_to_image_is_watermarked(sdxl, marker, draw, join):
    pipe = pipelines.quiet(StableDiffusionXLImg2ImgPipeline(**sdxl.components))
    join(pipe, marker, MESSAGE)
    start = Image.fromarray(draw(height=256, width=256))
    images = pipe("harbour", image=start, num_inference_steps=2, strength=0.5).images
    assert read(marker, images) == [MESSAGE]
    assert isinstance(pipe, StableDiffusionXLImg2ImgPipeline) and not isinstance(
        pipe, StableDiffusionPipeline
    )
