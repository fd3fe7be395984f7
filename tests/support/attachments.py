"""The pipelines that tests attach to, calls of them, and what is read from their images."""

import numpy as np
import pipelines
import torch

from fastmark.integrations.diffusers import attach

MESSAGE = "0123456789abcdef"
MAKERS = {
    "sd": pipelines.stable_diffusion,
    "sdxl": pipelines.stable_diffusion_xl,
    "flux": pipelines.flux,
}


def make_pipelines(tmp_path_factory):
    """The pipelines by name, each made once."""
    folders = {name: tmp_path_factory.mktemp(name) for name in MAKERS}
    return {name: maker(folders[name]) for name, maker in MAKERS.items()}


def lent(pipe):
    """Yield a pipeline; whatever a test attached is seen to have been detached."""
    yield pipe
    assert_detached(pipe)


def joining():
    """Yield ``attach``, undone when a test has ended."""
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
