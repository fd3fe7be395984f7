"""Real pipelines of diffusers, tiny, on the CPU: the message is read from whatever a call returns."""

import copy
import gc
import itertools
import pickle
import threading
import warnings
import weakref

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

import pipelines  # noqa: E402
from diffusers import (  # noqa: E402
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
)
from diffusers.image_processor import VaeImageProcessor  # noqa: E402

from fastmark import ImageTooSmallError, IntegrationError, InvalidImageError, InvalidMessageError, Key  # noqa: E402
from fastmark.integrations.diffusers import UnmarkedImageWarning, attach  # noqa: E402
from fastmark.registry import Registry  # noqa: E402

MESSAGE = "0123456789abcdef"
MAKERS = {
    "sd": pipelines.stable_diffusion,
    "sdxl": pipelines.stable_diffusion_xl,
    "flux": pipelines.flux,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The pipelines by name, each made once."""
    folders = {name: tmp_path_factory.mktemp(name) for name in MAKERS}
    return {name: maker(folders[name]) for name, maker in MAKERS.items()}


@pytest.fixture(params=MAKERS)
def pipe(request, made):
    """Each of the pipelines; whatever a test attached is seen to have been detached."""
    yield made[request.param]
    assert_detached(made[request.param])


@pytest.fixture
def sd(made):
    yield made["sd"]
    assert_detached(made["sd"])


@pytest.fixture
def sdxl(made):
    yield made["sdxl"]
    assert_detached(made["sdxl"])


@pytest.fixture
def join():
    """``attach``, undone when a test has ended; named last, so that it is undone before what it joins."""
    joined = []

    def attached(*arguments, **settings):
        joined.append(attach(*arguments, **settings))
        return joined[-1]

    yield attached
    for detach in joined:
        detach()


def assert_detached(pipe):
    assert "_fastmark_attachment" not in vars(type(pipe))
    assert not {"postprocess", "apply_overlay"} & set(vars(pipe.image_processor))
    assert getattr(pipe, "watermark", None) is None


@pytest.fixture
def registry(tmp_path):
    with Registry(f"sqlite:///{tmp_path / 'ids.db'}") as registry:
        registry.init()
        yield registry


def run(pipe, seed=3, **settings):
    """Call a pipeline; its images."""
    given = {**pipelines.STEPS, "output_type": "pil", **settings}
    if "Flux" in type(pipe).__name__:
        given["max_sequence_length"] = 16
    return pipe("harbour", generator=torch.Generator().manual_seed(seed), **given).images


def as_bytes(images):
    """What is saved of any kind of output: uint8 arrays."""
    if isinstance(images, torch.Tensor):
        images = images.float().permute(0, 2, 3, 1).numpy()
    if isinstance(images, np.ndarray):
        assert images.min() >= 0 and images.max() <= 1
        return list((images * 255).round().astype(np.uint8))
    return [np.asarray(image) for image in images]


def read(marker, images):
    return [marker.detect(image).message_hex for image in as_bytes(images)]


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
