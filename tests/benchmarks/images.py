"""What each perturbation of images costs beside the forward pass of a small convolutional network: ratios of medians
of the processor's seconds, all measured in one run, the pass and the perturbations in turn."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from robmon import ImageLayout
from robmon.noise import NOISE_MODELS, Corruption, Noise
from robmon.robustness.features.features import measure
from robmon.robustness.noise.images.corruption import CORRUPTIONS
from robmon.vocabulary import IMAGE_NOISES

LEVELS = {"crop": 0.25, "jpeg": 50.0, "thumbnail": 0.5, "rotate": 10.0, "brightness": 0.2, "contrast": 0.4,
          "gaussian_blur": 1.0, "pixelate": 0.5}  # fmt: skip
SEVERITY = 3.0
Step = Callable[[], object]


def network() -> nn.Module:
    """Four convolutions of 16 to 64 channels."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)).eval()


def steps(pictures: NDArray[np.float32]) -> dict[str, Step]:
    """One perturbation of all rows each, by the name of the noise."""
    layout, inputs = ImageLayout(), pictures.astype(np.float64)
    noises: list[tuple[str, Noise, float]] = [
        (name, type(NOISE_MODELS[name])(layout=layout), LEVELS[name])  # type: ignore[call-arg]
        for name in IMAGE_NOISES
    ]
    noises += [(f"{name}, severity {SEVERITY:g}", Corruption(name, layout=layout), SEVERITY) for name in CORRUPTIONS]
    gaussian, features = NOISE_MODELS["gaussian"], measure(inputs)

    def step(noise: Noise, level: float) -> Step:
        fitted = noise.fitted(features, inputs.shape)
        generator = np.random.default_rng(0)

        def run() -> object:
            draw = noise.draw(generator, inputs.shape, fitted)
            return noise.perturbed(inputs, draw, level, fitted).astype(np.float32)

        return run

    found = {name: step(noise, level) for name, noise, level in noises}
    return {"gaussian noise on all pixels": step(gaussian, 0.2)} | found


def seconds(step: Step) -> float:
    """That it takes once, of the processor: a machine that is busy with other things has no say."""
    start = time.process_time()
    step()
    return time.process_time() - start


def table(side: int, rows: int, rounds: int) -> None:
    """Measure, and print a line a perturbation."""
    pictures = np.random.default_rng(0).random((rows, 3, side, side), dtype=np.float32)
    model, given = network(), torch.tensor(pictures)

    def forward() -> object:
        with torch.inference_mode():
            return model(given)

    timed: dict[str, list[float]] = {}
    every = {"forward": forward, **steps(pictures)}
    for _ in range(rounds + 1):  # the first is to warm up
        for name, each in every.items():
            timed.setdefault(name, []).append(seconds(each))
    medians = {name: statistics.median(values[1:]) for name, values in timed.items()}
    passed = medians.pop("forward")
    print(f"\n3 x {side} x {side}, {rows} rows, 1 thread, {rounds} rounds: forward pass {1e3 * passed:.1f} ms")
    print("| perturbation | ms a picture | of a forward pass |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {1e3 * median / rows:.3f} | {median / passed:.2f} |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 96])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for side in given.sides:
        table(side, given.rows, given.rounds)


if __name__ == "__main__":
    main()
