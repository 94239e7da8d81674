"""Pictures on real programs: mirrored bytes of two formats, the daemon, Prometheus with the shipped rules. What is
published is what Pillow, PyTorch and SciPy make of the same pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageChops
from prometheus_client.samples import Sample
from scipy import ndimage
from sklearn.datasets import load_digits
from torch.nn import functional

from tests.e2e.daemon import Daemon, running_daemon
from tests.e2e.picture_model import weights
from tests.e2e.registry import Registry
from tests.inputs import senders
from tests.watching.prometheus import live_config, prometheus_server, query

ROWS, SIDE = 48, 16
NOBODY = "http://127.0.0.1:9"
NOISES = "thumbnail@0.5 gaussian_blur@1 pixelate@0.75 crop@0.25 rotate@20 brightness@0.2 contrast@0.4"
Pictures = NDArray[Any]
Perturb = Callable[[Pictures], Pictures]


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    """Handwritten digits, shape `(rows, side, side)`, 16 pixels wide."""
    digits = load_digits().images[:ROWS] * (255 / 16)
    return np.repeat(np.repeat(digits, 2, axis=1), 2, axis=2).round().astype(np.uint8)


def error(pictures: Pictures, made: Pictures) -> Pictures:
    """Of each row, by the model of gain 1."""
    exact = np.clip(np.rint(np.asarray(made, dtype=np.float64)), 0, 255)
    return np.asarray((((exact - pictures) / 255.0 * weights(SIDE, SIDE)).sum(axis=(1, 2))) ** 2)


def through_jpeg(picture: Pictures, quality: int) -> Pictures:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(buffer))


def resized(pictures: Pictures, *sides: int) -> Pictures:
    tensor = torch.tensor(pictures[:, None].astype(np.float64))
    for side in sides:
        tensor = functional.interpolate(tensor, size=(side, side), mode="bilinear", antialias=True)
    return tensor[:, 0].numpy()


def blocks(pictures: Pictures) -> Pictures:
    small = functional.avg_pool2d(torch.tensor(pictures[:, None].astype(np.float64)), 4)
    return functional.interpolate(small, size=(SIDE, SIDE), mode="nearest")[:, 0].numpy()


def shifted(pictures: Pictures, by: int) -> Pictures:
    each = (Image.fromarray(picture) for picture in pictures)
    grey = Image.new("L", (SIDE, SIDE), abs(by))
    return np.stack([np.asarray((ImageChops.add if by > 0 else ImageChops.subtract)(one, grey)) for one in each])


def stretched(pictures: Pictures, factor: float) -> Pictures:
    mean = pictures.mean(axis=(1, 2), keepdims=True)
    return np.clip(mean + factor * (pictures - mean), 0, 255)


def turned(pictures: Pictures, degrees: float) -> Pictures:
    return ndimage.rotate(pictures.astype(float), degrees, axes=(2, 1), order=1, reshape=False, mode="nearest")


EXACT: dict[str, Perturb] = {
    "thumbnail": lambda x: resized(x, SIDE // 2, SIDE),
    "gaussian_blur": lambda x: ndimage.gaussian_filter(x.astype(float), (0, 1, 1), mode="nearest"),
    "pixelate": blocks,
    "crop": lambda x: resized(x[:, 2:-2, 2:-2], SIDE),
}
"""Those without a draw, by a second library."""
DRAWN: dict[str, list[Perturb]] = {
    "rotate": [lambda x, angle=angle: turned(x, angle) for angle in np.linspace(-20, 20, 41)],  # type: ignore[misc]
    "brightness": [lambda x: shifted(x, 51), lambda x: shifted(x, -51)],
    "contrast": [lambda x: stretched(x, 1.4), lambda x: stretched(x, 0.6)],
}
"""All that can be drawn, each as likely as any other."""


def mirror(daemon: Daemon, pictures: Pictures) -> None:
    """Every second one as bytes of the Open Inference Protocol, the others as MLflow's client sends tensors."""
    for place, picture in enumerate(pictures[..., None]):
        tensor = senders.tensor("picture", picture[None])
        sent = senders.mlflow(picture[None]) if place % 2 else senders.v2([tensor], "/v2/models/pictures/infer")
        url = f"http://127.0.0.1:{daemon.port('inputs_port')}{sent.path}"
        assert daemon.client.post(url, content=sent.body, headers=dict(sent.headers)).status_code == 202


@pytest.mark.long
def test_mirrored_pictures_end_as_curves_bounds_and_an_alert(
    tmp_path: Path, served: Registry, pictures: NDArray[np.uint8]
) -> None:
    model = served.model("pictures")
    good, fragile = (model.add_of_pictures(gain, SIDE, SIDE) for gain in (1.0, 2.0))
    model.serve(good)
    settings: dict[str, object] = {"assess__noise": "jpeg", "assess__levels": "50 80", "assess__noises": NOISES}
    settings |= {"inputs__sample_rows": ROWS, "assess__min_rows": ROWS, "assess__max_seconds": 120}
    with running_daemon(tmp_path, model.uri, served.tracking_uri, **settings) as daemon:
        mirror(daemon, pictures)
        config = live_config(tmp_path / "prometheus", f"127.0.0.1:{daemon.port('http_port')}", NOBODY)
        with prometheus_server(tmp_path / "prometheus", config) as prometheus:
            hold_curve(daemon, prometheus, pictures)
            hold_further(daemon, pictures)
            firing = 'ALERTS{alertname="RobmonRobustnessRegression", alertstate="firing"}'
            assert not query(prometheus, firing)
            model.serve(fragile)
            daemon.wait_for(lambda: query(prometheus, firing), "the alert")
            [ratio] = daemon.wait_for(lambda: query(prometheus, "robmon_version_ratio"), "its ratio")
            assert float(ratio["value"][1]) == pytest.approx(4.0), (
                "twice the gain, in units of the accepted version's outputs"
            )
            assert not query(prometheus, 'robmon_noise_mse_bound{noise="jpeg"}')


def hold_curve(daemon: Daemon, prometheus: str, pictures: Pictures) -> None:
    """The primary noise: mean and request bound as they are by Pillow, and no trial bound."""
    for level in (50, 80):
        of = f'{{noise="jpeg", level="{level}"}}'
        [mean], [bound] = daemon.wait_for(lambda of=of: both(prometheus, of), "a curve in Prometheus")
        errors = error(pictures, np.stack([through_jpeg(each, 100 - level) for each in pictures]))
        assert float(mean["value"][1]) == pytest.approx(float(errors.mean()), rel=1e-9)
        rank = math.ceil((ROWS + 1) * 0.95)
        assert float(bound["value"][1]) == pytest.approx(math.sqrt(np.sort(errors)[rank - 1]), rel=1e-9)
    assert not query(prometheus, "robmon_noise_mse_bound")


def both(prometheus: str, of: str) -> list[Any] | None:
    """The mean and the request bound of these labels, once both are there."""
    found = [query(prometheus, f"{name}{of}") for name in ("robmon_noise_mse", "robmon_request_change_bound")]
    return found if all(found) else None


def everybody(daemon: Daemon, count: int) -> list[Sample] | None:
    """What is measured under further noises, once it is there of all of them."""
    found = [each for each in daemon.metrics("robmon_") if each.labels.get("primary") == "false"]
    return found if len({each.labels["noise"] for each in found}) == count else None


def hold_further(daemon: Daemon, pictures: Pictures) -> None:
    """Each of the others has its turn, in their order, with the number that a second library gets."""
    count = len(NOISES.split())
    daemon.wait_for(lambda: len({line["noise"] for line in daemon.log("further noise")}) == count, "everybody's turn")
    turns = [line["noise"] for line in daemon.log("further noise")]
    assert turns[:count] == [word.partition("@")[0] for word in NOISES.split()]

    assert "<h2>Further noises</h2>" in daemon.get("/").text
    samples = daemon.wait_for(lambda: everybody(daemon, count), "the curves of all of them")

    def of(name: str, noise: str) -> float | None:
        found = [each.value for each in samples if each.name == name and each.labels.get("noise") == noise]
        return found[0] if found else None

    for noise, perturb in EXACT.items():
        expected = float(error(pictures, perturb(pictures)).mean())
        # Where a pixel lies halfway between two bytes, rounding tells libraries apart.
        assert of("robmon_noise_mse", noise) == pytest.approx(expected, rel=0.02), noise
        assert of("robmon_noise_mse_bound", noise) is None
    for noise, all_of_them in DRAWN.items():
        expected = float(np.mean([error(pictures, perturb(pictures)).mean() for perturb in all_of_them]))
        assert of("robmon_noise_mse", noise) == pytest.approx(expected, rel=0.15), noise
        assert (of("robmon_noise_mse_bound", noise) or 0.0) > 0
