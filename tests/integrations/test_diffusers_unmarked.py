"""Images that pipelines of diffusers return without a watermark, and results that are hard to watermark."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

import pipelines  # noqa: E402
from attachments import MAKERS, MESSAGE, as_bytes, joining, lent, make_pipelines, read, run  # noqa: E402
from diffusers.image_processor import VaeImageProcessor  # noqa: E402

from fastmark import ImageTooSmallError, InvalidImageError  # noqa: E402
from fastmark.integrations.diffusers import UnmarkedImageWarning  # noqa: E402


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


# ---- images that leave unmarked --------------------------------------------------------------------------


def test_latents_leave_with_a_warning(pipe, marker, join):
    plain = run(pipe, output_type="latent")
    detach = join(pipe, marker, MESSAGE)
    with pytest.warns(
        UnmarkedImageWarning, match="image 1 leaves without a watermark: .* returns latents"
    ) as seen:
        latents = run(pipe, output_type="latent")
    assert len(seen) == 1
    assert torch.equal(latents, plain)
    assert detach.reports == ()
    assert read(marker, run(pipe)) == [MESSAGE]
    with pytest.warns(UnmarkedImageWarning, match="image 3"):  # another text, or Python would not show it
        run(pipe, output_type="latent")
    detach()


def test_latents_can_be_refused_before_any_work(pipe, marker, monkeypatch, join):
    monkeypatch.setattr(pipe.vae, "decode", None)
    monkeypatch.setattr(type(pipe), "encode_prompt", None)
    detach = join(pipe, marker, MESSAGE, on_error="raise")
    with pytest.raises(InvalidImageError, match="would leave without a watermark: this call returns latents"):
        run(pipe, output_type="latent")
    detach()


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_images_too_small_leave_as_they_are_with_a_warning(pipe, marker, output_type, join):
    small = {"height": 64, "width": 64, "output_type": output_type}
    plain = run(pipe, **small)
    detach = join(pipe, marker, MESSAGE)
    with pytest.warns(UnmarkedImageWarning, match="needs 128 pixels a side .* has 64 x 64"):
        images = run(pipe, **small)
    detach()
    assert detach.reports == (None,)
    np.testing.assert_array_equal(as_bytes(images), as_bytes(plain))
    detach = join(pipe, marker, MESSAGE, on_error="raise")
    with pytest.raises(ImageTooSmallError):
        run(pipe, **small)
    detach()


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (lambda image: torch.randn(image.shape, generator=torch.Generator().manual_seed(0)), "cannot carry"),
        (lambda image: image.where(image < 0.5, float("nan")), "NaN"),
        (lambda image: image.where(image < 0.5, float("inf")), "NaN"),
    ],
    ids=["noise", "nan", "inf"],
)
@pytest.mark.parametrize("place", ["watermark", "processor"])
def test_one_bad_image_of_a_batch_leaves_the_others_be(sdxl, marker, draw, bad, why, place, join):
    images = torch.from_numpy(np.stack([draw(1), draw(2), draw(3)])).permute(0, 3, 1, 2) / 127.5 - 1
    images[1] = bad(images[1])
    if place == "processor":  # which would clip infinities away
        images = images.nan_to_num(posinf=float("nan"), nan=float("nan"))
    plain = sdxl.image_processor.postprocess(images, "pt") if place == "processor" else images
    detach = join(sdxl, marker, MESSAGE)
    with pytest.warns(UnmarkedImageWarning, match=f"image 2 leaves without a watermark: .*({why})"):
        if place == "watermark":
            marked = sdxl.watermark.apply_watermark(images)
        else:
            marked = sdxl.image_processor.postprocess(images, "pt")
    assert [report and report.message for report in detach.reports] == [MESSAGE, None, MESSAGE]
    assert torch.equal(marked[1].nan_to_num(), plain[1].nan_to_num())
    assert read(marker, marked[::2] / 2 + 0.5 if place == "watermark" else marked[::2]) == [MESSAGE] * 2


def test_images_that_a_safety_checker_blackens_are_watermarked_too(sd, marker, monkeypatch, join):
    looked_at = []

    class Checker:
        def __call__(self, images, clip_input):
            images[0] = 0  # as the real one does, of arrays and tensors
            return images, [True] + [False] * (len(images) - 1)

    class Extractor:
        def __call__(self, images, return_tensors):
            looked_at.extend(images)
            return self

        pixel_values = torch.zeros(1)

        def to(self, device):
            return self

    monkeypatch.setitem(vars(sd), "safety_checker", Checker())
    monkeypatch.setitem(vars(sd), "feature_extractor", Extractor())
    ids = itertools.count(1)
    join(sd, marker, lambda: next(ids))
    images = run(sd, num_images_per_prompt=2)
    assert np.asarray(images[0]).max() < 8
    assert read(marker, images) == [f"{1:016x}", f"{2:016x}"]
    assert read(marker, looked_at) == [None, None]  # and no ids were drawn for these


def test_a_result_that_did_not_pass_by_is_watermarked_all_the_same(sd, marker, join):
    detach = join(sd, marker, MESSAGE)
    watched, sd.image_processor = sd.image_processor, VaeImageProcessor(vae_scale_factor=8)
    assert read(marker, run(sd)) == [MESSAGE]
    assert read(marker, run(sd, output_type="np")) == [MESSAGE]
    assert read(marker, sd("harbour", **pipelines.STEPS, return_dict=False)[0]) == [MESSAGE]
    with pytest.warns(UnmarkedImageWarning, match=r"returned a Tensor of shape \(1, 3, 256, 256\)"):
        run(sd, output_type="pt")
    sd.image_processor = watched
    detach()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda images: (images + 1) * 127.5, "must have values in -1..1, this one spans .*: scale it"),
        (lambda images: ((images + 1) * 127.5).to(torch.uint8), "tensor of floats, not torch.uint8"),
        (lambda images: images.permute(0, 2, 3, 1), "its channels are on another axis, bring it to NCHW"),
        (lambda images: images[0], "must be a batch NCHW, not of shape"),
        (lambda images: images[:0], "has no pixels"),
        (lambda images: images.to("meta"), "is on the device meta"),
        (lambda images: images.numpy(), "torch tensor NCHW, not ndarray"),
        (lambda images: [images], "torch tensor NCHW, not list"),
        (lambda images: None, "torch tensor NCHW, not NoneType"),
    ],
)
def test_batches_of_another_kind_are_refused(sdxl, marker, draw, change, text, join):
    images = torch.from_numpy(draw()[None]).permute(0, 3, 1, 2) / 127.5 - 1
    detach = join(sdxl, marker, MESSAGE, on_error="raise")
    try:
        with pytest.raises(InvalidImageError, match=text):
            sdxl.watermark.apply_watermark(change(images))
    finally:
        detach()
