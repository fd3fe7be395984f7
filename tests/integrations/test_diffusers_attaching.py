"""Attaching to pipelines of diffusers and detaching; pipelines that are copied, moved, saved or let go."""

import copy
import gc
import pickle
import warnings
import weakref

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

import pipelines  # noqa: E402
from attachments import MAKERS, MESSAGE, as_bytes, joining, lent, make_pipelines, read, run  # noqa: E402
from diffusers import StableDiffusionImg2ImgPipeline  # noqa: E402

from fastmark import IntegrationError, InvalidMessageError, Key  # noqa: E402


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


# ---- what is given ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"message": None}, InvalidMessageError, "no message to embed"),
        ({"message": "12"}, InvalidMessageError, "64 bits are 16 hex digits"),
        ({"message": 1, "registry": "any"}, ValueError, "one message cannot be the registry's id of every"),
        ({"message": 1, "record": "any"}, ValueError, "give registry too"),
        ({"message": 1, "on_error": "ignore"}, ValueError, "on_error must be warn or raise"),
        (
            {"message": 1, "marker": Key(bytes(32))},
            TypeError,
            "marker must be a fastmark.Watermarker, not Key",
        ),
    ],
)
def test_arguments_are_checked_at_once(sd, marker, arguments, error, text, join):
    with pytest.raises(error, match=text):
        join(sd, **{"marker": marker, **arguments})


def test_a_message_that_does_not_fit_ends_the_call(sd, marker, join):
    detach = join(sd, marker, lambda: 1 << 64)
    with pytest.raises(InvalidMessageError, match="must be 0"):
        run(sd)
    detach()


# ---- attaching and detaching -----------------------------------------------------------------------------


def test_detaching_restores_what_was_there(pipe, marker, join):
    plain = run(pipe)
    kind, held, processor = type(pipe), dict(vars(pipe)), dict(vars(pipe.image_processor))
    detach = join(pipe, marker, MESSAGE)
    assert isinstance(pipe, kind) and type(pipe).__name__ == kind.__name__
    run(pipe)
    detach()
    detach()
    assert type(pipe) is kind
    assert vars(pipe) == held and list(vars(pipe)) == list(held)
    assert vars(pipe.image_processor) == processor
    np.testing.assert_array_equal(as_bytes(run(pipe)), as_bytes(plain))


def test_a_watermark_of_before_is_restored(sdxl, marker, join):
    class Theirs:
        def apply_watermark(self, images):
            raise AssertionError("it is not asked while fastmark is attached")

    sdxl.watermark = theirs = Theirs()
    detach = join(sdxl, marker, MESSAGE)
    assert read(marker, run(sdxl)) == [MESSAGE]
    detach()
    assert sdxl.watermark is theirs
    sdxl.watermark = None


def test_what_another_program_put_there_is_kept(sd, marker, monkeypatch, join):
    seen = []
    original = sd.image_processor.postprocess

    def theirs(image, output_type="pil", **settings):
        seen.append(output_type)
        return original(image, output_type, **settings)

    monkeypatch.setitem(vars(sd.image_processor), "postprocess", theirs)
    detach = join(sd, marker, MESSAGE)
    assert read(marker, run(sd)) == [MESSAGE] and seen == ["pil"]
    ours = sd.image_processor.postprocess

    def later(*arguments, **settings):
        return ours(*arguments, **settings)

    sd.image_processor.postprocess = later
    detach()
    assert sd.image_processor.postprocess is later  # it is not ours to take away, and does no harm
    assert read(marker, run(sd)) == [None] and seen == ["pil"] * 2


def test_attaching_twice_is_refused(pipe, marker, join):
    detach = join(pipe, marker, MESSAGE)
    with pytest.raises(IntegrationError, match=r"attached to this .* already"):
        join(pipe, marker, 1)
    assert read(marker, run(pipe)) == [MESSAGE]
    detach()
    again = join(pipe, marker, 1)
    detach()  # of the first: does nothing more
    assert [marker.detect(image).message for image in run(pipe)] == [1]
    again()


def test_a_processor_that_is_shared_is_refused(sd, marker, join):
    other = StableDiffusionImg2ImgPipeline(**sd.components, requires_safety_checker=False)
    other.image_processor = sd.image_processor
    detach = join(sd, marker, MESSAGE)
    with pytest.raises(IntegrationError, match=r"image_processor of this .* belongs to another pipeline too"):
        join(other, marker, 1)
    detach()


def test_a_pipeline_made_of_it_is_attached_by_itself(sd, marker, draw, join):
    detach = join(sd, marker, MESSAGE)
    other = pipelines.quiet(StableDiffusionImg2ImgPipeline.from_pipe(sd))
    with warnings.catch_warnings(action="ignore"):  # a model that it imports uses deprecated parts of torch
        from diffusers import AutoPipelineForImage2Image
    assert type(AutoPipelineForImage2Image.from_pipe(sd)) is StableDiffusionImg2ImgPipeline
    assert "_fastmark_attachment" not in vars(type(other))
    start = {"image": Image.fromarray(draw(height=256, width=256)), "num_inference_steps": 2, "strength": 0.5}
    assert read(marker, other("harbour", **start).images) == [None]
    join(other, marker, 1)
    assert [marker.detect(image).message for image in other("harbour", **start).images] == [1]
    assert read(marker, run(sd)) == [MESSAGE]
    detach()


def test_moving_it_keeps_the_watermark(pipe, marker, join):
    detach = join(pipe, marker, MESSAGE)
    pipe.to("cpu", torch.float64).to(torch.float32)
    assert read(marker, run(pipe)) == [MESSAGE]
    detach()


def test_a_copy_shares_the_attachment(pipe, marker, join):
    detach = join(pipe, marker, MESSAGE)
    other = copy.deepcopy(pipe)
    assert other.image_processor is not pipe.image_processor
    assert read(marker, run(other)) == [MESSAGE]
    detach()
    assert read(marker, run(other)) == [None]
    join(other, marker, MESSAGE)
    assert read(marker, run(other)) == [MESSAGE]


def test_saving_it_writes_no_secret(sdxl, marker, key, tmp_path, join):
    clean, dirty = tmp_path / "clean", tmp_path / "dirty"
    layer = sdxl.vae.decoder.conv_out
    sdxl.vae.decoder.conv_out = layer.layer  # the test's own layer is none that could be loaded
    sdxl.save_pretrained(clean)
    detach = join(sdxl, marker, MESSAGE)
    sdxl.save_pretrained(dirty)
    detach()
    sdxl.vae.decoder.conv_out = layer
    names = sorted(path.relative_to(clean) for path in clean.rglob("*"))
    assert names == sorted(path.relative_to(dirty) for path in dirty.rglob("*"))
    for name in names:
        if (clean / name).is_file():
            assert (clean / name).read_bytes() == (dirty / name).read_bytes()
            assert key.secret not in (dirty / name).read_bytes()
            assert key.secret.hex().encode() not in (dirty / name).read_bytes()
    loaded = type(sdxl).from_pretrained(dirty)
    assert "_fastmark_attachment" not in vars(type(loaded))


def test_it_cannot_be_pickled_with_the_key(pipe, marker, key, join):
    detach = join(pipe, marker, MESSAGE)
    with pytest.raises((IntegrationError, pickle.PicklingError)):
        pickle.dumps(pipe)
    with pytest.raises(IntegrationError, match="would write the secret key: detach first"):
        pickle.dumps(pipe.image_processor)
    with pytest.raises(IntegrationError, match="would write the secret key: detach first"):
        pickle.dumps(detach)
    assert key.secret.hex() not in repr(detach)
    detach()
    pickle.dumps(pipe.image_processor)


def test_its_weights_are_free_as_soon_as_it_is_let_go(tmp_path, marker, join):
    pipe = pipelines.stable_diffusion_xl(tmp_path)
    join(pipe, marker, MESSAGE)
    run(pipe)
    gc.collect()
    gc.disable()
    try:
        seen = weakref.ref(pipe)
        del pipe
        assert seen() is None
    finally:
        gc.enable()
