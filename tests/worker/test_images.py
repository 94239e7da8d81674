"""What the worker does with requests that hold images, as the numbers that Pillow itself gives."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from robmon.errors import InvalidInputError
from robmon.models.loading import load
from robmon.models.served.served import ServedModel
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.question import Assess, SampledRequest
from robmon.robustness.noise.images.layout import ImageLayout
from robmon.robustness.specification import Specification
from robmon.worker import further
from robmon.worker.context import Evaluation
from robmon.worker.evaluation import evaluate
from tests.models.conftest import save_pyfunc, tensor
from tests.worker.test_evaluation import question

ROWS, HEIGHT, WIDTH = 64, 16, 24
LENGTH = "inference-header-content-length"


def pictures(seed: int = 0) -> NDArray[np.uint8]:
    """Of which one channel's first line never varies."""
    given = np.random.default_rng(seed).integers(0, 256, (ROWS, HEIGHT, WIDTH, 3), dtype=np.uint8)
    given[:, 0, :, 1] = 40
    return given


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    def predict(x: Any) -> Any:
        given = np.asarray(x)
        assert given.dtype == np.uint8
        return given[:, 0, :, 1].mean(axis=1, dtype=float)  # of the line that does not vary

    folder = tmp_path_factory.mktemp("images") / "model"
    return load(save_pyfunc(folder, predict, tensor("uint8", (-1, HEIGHT, WIDTH, 3))), integers=["all"])


def as_json(picture: NDArray[np.uint8]) -> tuple[dict[str, str], bytes]:
    return {"content-type": "application/json"}, json.dumps({"inputs": [picture.tolist()]}).encode()


def as_binary(picture: NDArray[np.uint8]) -> tuple[dict[str, str], bytes]:
    told = {"name": "x", "datatype": "UINT8", "shape": [1, *picture.shape]}
    head = json.dumps({"inputs": [told | {"parameters": {"binary_data_size": picture.size}}]}).encode()
    return {"content-type": "application/octet-stream", LENGTH: str(len(head))}, head + picture.tobytes()


def asked(pictures_sent: NDArray[np.uint8], is_binary: bool, **options: Any) -> tuple[Assess, list[bytes]]:
    sent = [(as_binary if is_binary else as_json)(picture) for picture in pictures_sent]
    name = "v2" if is_binary else "mlflow"
    requests = [SampledRequest(format=name, headers=headers, seed=index) for index, (headers, _) in enumerate(sent)]
    asked = question(len(sent), requests=requests, baseline_min_rows=32, **options)
    return asked, [body for _, body in sent]


def through_jpeg(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize("is_binary", [False, True], ids=["json", "binary"])
def test_images_of_requests_go_through_an_encoder(model: ServedModel, is_binary: bool) -> None:
    sent = pictures()
    asks, bodies = asked(sent, is_binary, noise="jpeg", levels=[50, 80])
    answer, _ = evaluate(model, asks, bodies)
    assert isinstance(answer, Assessed)
    for point in answer.levels[1:]:
        encoded = np.stack([through_jpeg(picture, 100 - int(point.level)) for picture in sent])
        moved = encoded[:, 0, :, 1].mean(axis=1) - 40.0
        assert point.mean_mse == pytest.approx(float((moved**2).mean()), rel=1e-12)
        assert point.bound is None
        assert point.request_bound is not None
    assert answer.plan.trials == 1
    assert any("images with channels on axis 3 from 0 to 255" in note for note in answer.notes)
    # With the baseline that it has learnt, in which the line has no variance.
    again, _ = evaluate(model, asks.model_copy(update={"baseline": answer.baseline, "number": 2}), bodies)
    assert isinstance(again, Assessed)
    assert [point.mean_mse for point in again.levels] == [point.mean_mse for point in answer.levels]
    assert [point.baseline_ratio for point in again.levels][1:] == pytest.approx([1.0, 1.0])


def test_a_layout_is_believed_and_what_is_no_image_is_refused(model: ServedModel) -> None:
    first, bodies = asked(pictures(), False, noise="thumbnail", layout=ImageLayout("first", (0.0, 255.0)))
    with pytest.raises(InvalidInputError, match="with channels first have 16 of them"):
        evaluate(model, first, bodies)
    last, bodies = asked(pictures(), False, noise="thumbnail", levels=[0.5], layout=ImageLayout("last", (0.0, 255.0)))
    answer, _ = evaluate(model, last, bodies)
    assert isinstance(answer, Assessed)
    assert Assess.model_validate_json(last.model_dump_json()).specification == last.specification
    assert answer.levels[1].mean_mse > 0


def test_a_further_noise_is_run_beside_and_changes_nothing(model: ServedModel) -> None:
    sent = pictures()
    asks, bodies = asked(sent, True, noise="thumbnail", levels=[0.5])
    alone, kept = evaluate(model, asks, bodies)
    jpeg = Specification(noise="jpeg", levels=(50, 80))
    both, also_kept = evaluate(model, asks.model_copy(update={"further": jpeg}), bodies)
    assert isinstance(alone, Assessed) and isinstance(both, Assessed) and both.further is not None
    moved = np.stack([through_jpeg(picture, 20) for picture in sent])[:, 0, :, 1].mean(axis=1) - 40.0
    assert both.further.levels[2].mean_mse == pytest.approx(float((moved**2).mean()), rel=1e-12)
    assert (both.further.noise, both.further.rows, both.further.trials) == ("jpeg", ROWS, 1)
    assert [point.bound for point in both.further.levels] == [None] * 3
    assert (alone.further, kept) == (None, also_kept)
    changing = {"phase_seconds": {}, "plan": None, "further": None, "baseline": {}}
    assert alone.model_copy(update=changing) == both.model_copy(update=changing)
    of_time = {"at": None, "checksum": None}
    assert {**alone.baseline, **of_time} == {**both.baseline, **of_time}
    assert Assess.model_validate_json(asks.model_copy(update={"further": jpeg}).model_dump_json()).further == jpeg


@pytest.mark.parametrize(
    ("noise", "options", "reason", "why"),
    [
        ("correlated", {}, "invalid_input", "needs inputs of columns"),
        ("uniform", {"max_seconds": 0.0}, "over_budget", "used up all of assess.max_seconds"),
    ],
)
def test_a_further_noise_that_cannot_be_costs_itself_alone(
    model: ServedModel, monkeypatch: pytest.MonkeyPatch, noise: str, options: dict[str, float], reason: str, why: str
) -> None:
    asks, bodies = asked(pictures(), True, noise="thumbnail", levels=[0.5])
    asks.further = Specification(noise=noise, levels=(0.5,), trials=19, integers=("all",))
    if options:  # the time is up when its turn comes
        monkeypatch.setattr(Evaluation, "deadline", property(lambda each: 0.0))
    answer, _ = evaluate(model, asks, bodies)
    assert isinstance(answer, Assessed) and answer.further is not None
    assert answer.levels[1].mean_mse > 0
    assert (answer.further.levels, answer.further.reason) == ([], reason)
    assert why in answer.further.why


@pytest.mark.parametrize("noise", ["quantize", "gaussian"])
def test_pixels_are_whole_numbers_to_a_further_noise_of_numbers(model: ServedModel, noise: str) -> None:
    asks, bodies = asked(pictures(), True, noise="thumbnail", levels=[0.5])
    asks.further = Specification(noise=noise, levels=(0.5,), trials=19)
    answer, _ = evaluate(model, asks, bodies)
    assert isinstance(answer, Assessed) and answer.further is not None
    assert (answer.further.levels, answer.further.reason) == ([], "invalid_input")
    expected = f"{noise} leaves whole numbers alone that are not said to be measurements: set assess.integers"
    assert answer.further.why == expected
    asks.further = Specification(noise=noise, levels=(0.5,), trials=19, integers=("all",))
    answer, _ = evaluate(model, asks, bodies)
    assert isinstance(answer, Assessed) and answer.further is not None
    assert answer.further.levels[1].level == 0.5, "then they move by whole numbers: the model asserts uint8"
    assert not any("as given" in note for note in answer.further.notes)


def test_a_model_that_does_not_bear_a_further_noise_is_named_without_an_input(
    model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks, bodies = asked(pictures(), True, noise="thumbnail", levels=[0.5])
    asks.further = Specification(noise="jpeg")

    def raising(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("row 7 holds 0.123456")

    monkeypatch.setattr(further, "assess_batch", raising)
    answer, _ = evaluate(model, asks, bodies)
    assert isinstance(answer, Assessed) and answer.further is not None
    assert answer.further.reason == "model_raised"
    assert "ZeroDivisionError" in answer.further.why and "0.123456" not in answer.further.why
