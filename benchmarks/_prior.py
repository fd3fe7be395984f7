"""Deep image prior: an untrained network is fitted to one picture, and stopped before it fits all of it.

Ulyanov, Vedaldi & Lempitsky, CVPR 2018: a convolutional network fits what is natural first, and noise, or a
watermark, later. Theirs is an hourglass of 128 channels and five scales, whose input is jittered at each
step; this one has fewer and an input that stays, which fits in fewer steps, for a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

CHANNELS, SKIPPED, SCALES, GIVEN = 32, 4, 4, 16
RATE, AVERAGED = 0.01, 0.99  # as in the paper, for denoising


def _hourglass(torch: Any) -> Any:
    """Four times halved and doubled again, with narrow skips: the paper's network, a quarter as wide."""
    nn = torch.nn

    def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> Any:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, size, stride, size // 2),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(0.2),
        )

    class Hourglass(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [GIVEN] + [CHANNELS] * SCALES
            self.skips = nn.ModuleList(convolution(n, SKIPPED, 1) for n in widths[:-1])
            self.down = nn.ModuleList(
                nn.Sequential(convolution(n, CHANNELS, 3, 2), convolution(CHANNELS, CHANNELS, 3))
                for n in widths[:-1]
            )
            self.up = nn.ModuleList(
                nn.Sequential(
                    convolution(CHANNELS + SKIPPED, CHANNELS, 3), convolution(CHANNELS, CHANNELS, 1)
                )
                for _ in range(SCALES)
            )
            self.last = nn.Conv2d(CHANNELS, 3, 1)

        def forward(self, x: Any) -> Any:
            kept = []
            for skip, down in zip(self.skips, self.down, strict=True):
                kept.append(skip(x))
                x = down(x)
            for up, skipped in zip(self.up, reversed(kept), strict=True):
                x = nn.functional.interpolate(x, size=skipped.shape[2:], mode="bilinear")
                x = up(torch.cat([x, skipped], 1))
            return torch.sigmoid(self.last(x))

    return Hourglass()


def fitted_prior(rgb: np.ndarray, steps: Sequence[int], seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (step, picture) at these steps of a fit to `rgb`, RGB uint8; pictures likewise.

    The picture is the running mean of the outputs, as in the paper, without the bias of its beginning.
    """
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    height, width = rgb.shape[:2]
    target = torch.from_numpy(rgb.astype(np.float32).transpose(2, 0, 1)[None] / 255)
    noise = 0.1 * torch.rand(1, GIVEN, height, width)
    noise = noise.to(memory_format=torch.channels_last)
    network = _hourglass(torch).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    mean, weight = torch.zeros_like(target), 0.0
    for step in range(1, max(steps) + 1):
        optimiser.zero_grad()
        out = network(noise)
        torch.nn.functional.mse_loss(out, target).backward()
        optimiser.step()
        mean = AVERAGED * mean + (1 - AVERAGED) * out.detach()
        weight = AVERAGED * weight + (1 - AVERAGED)
        if step in steps:
            picture = 255 * (mean / weight)[0].numpy().transpose(1, 2, 0)
            yield step, np.clip(np.rint(picture), 0, 255).astype(np.uint8)
