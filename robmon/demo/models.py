"""Two versions of a small classifier of handwritten digits, trained and registered as an MLflow user would.

Run as a process: it trains, waits for the end of its standard input (the registry is up), registers both versions and
writes `models.json` and `held-out.npy` to the folder given. The digits are scikit-learn's: 1,797 real ones, 8 x 8
pixels of 0 to 16 (UCI "Optical Recognition of Handwritten Digits").
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.neural_network import MLPClassifier

NAME = "digits"
ALIAS = "champion"
TRAINING_ROWS = 1000
SEED = 0
EPOCHS = 60
BATCH_ROWS = 50
HIDDEN = (64, 64)
LEARNING_RATE = 3e-3
NOISE_BY_VERSION = {"1": 6.0, "2": 0.0}
"""Standard deviation, in grey levels, of the noise on the training inputs."""


@dataclass(frozen=True)
class Digits:
    """Images, shape `(n, 64)`, and their digits, split into those to train on and those held out."""

    train_x: NDArray[np.float64]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.float64]
    test_y: NDArray[np.int64]


@dataclass(frozen=True)
class Registered:
    """One registered version, with the noise it was trained with and its accuracy on held-out digits."""

    version: str
    training_noise: float
    accuracy: float


def load_digits() -> Digits:
    """The digits in a fixed random order."""
    from sklearn.datasets import load_digits as load

    x, y = load(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(x))
    x, y = x[order], y[order].astype(np.int64)
    return Digits(x[:TRAINING_ROWS], y[:TRAINING_ROWS], x[TRAINING_ROWS:], y[TRAINING_ROWS:])


def train(digits: Digits, noise: float) -> MLPClassifier:
    """A small network; fresh Gaussian noise is added to the training inputs of every epoch."""
    from sklearn.neural_network import MLPClassifier

    random = np.random.default_rng(SEED)
    network = MLPClassifier(HIDDEN, learning_rate_init=LEARNING_RATE, batch_size=BATCH_ROWS, random_state=SEED)
    for _ in range(EPOCHS):
        noisy = digits.train_x + noise * random.standard_normal(digits.train_x.shape)
        network.partial_fit(noisy, digits.train_y, classes=range(10))
    return network


def accuracy(model: MLPClassifier, digits: Digits) -> float:
    """Share of held-out digits that the model gets right."""
    return float((model.predict(digits.test_x) == digits.test_y).mean())


def log(model: MLPClassifier, digits: Digits, **options: Any) -> Any:
    """Log the model, which is to return probabilities, to the run under way."""
    import mlflow
    import mlflow.sklearn
    import sklearn
    from mlflow.models import infer_signature

    example = digits.test_x[:5]
    return mlflow.sklearn.log_model(
        model,
        signature=infer_signature(example, model.predict_proba(example)),
        input_example=example,
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",
        # Inferring them would run the model in a process of its own, for 8 s.
        pip_requirements=[f"scikit-learn=={sklearn.__version__}", f"mlflow=={mlflow.__version__}"],
        **options,
    )


def release(
    tracking_uri: str,
    folder: Path,
    digits: Digits,
    train: Callable[[Digits, float], Any],
    accuracy: Callable[[Any, Digits], float],
    log: Callable[..., Any],
) -> None:
    """Train both versions, wait, register them; the first is the one served.

    Args:
        tracking_uri: of the registry, which may still be starting.
        folder: gets `models.json`.
        digits: to train on.
        train, accuracy, log: of one version, by the noise that it is trained with.
    """
    trained = {noise: train(digits, noise) for noise in NOISE_BY_VERSION.values()}
    import mlflow.sklearn  # imported while the registry is still starting

    sys.stdin.read()
    mlflow.set_tracking_uri(tracking_uri)
    registered = []
    for noise, model in trained.items():
        right = accuracy(model, digits)
        with mlflow.start_run(run_name=f"training noise {noise:g}"):
            mlflow.log_param("training_noise", noise)
            mlflow.log_metric("accuracy", right)
            logged = log(model, digits, name="model", registered_model_name=NAME)
        registered.append(Registered(str(logged.registered_model_version), noise, right))
    mlflow.MlflowClient().set_registered_model_alias(NAME, ALIAS, registered[0].version)
    (folder / "models.json").write_text(json.dumps([asdict(each) for each in registered]), encoding="utf-8")


def read_registered(folder: Path) -> list[Registered]:
    """What the process left in `models.json`, in the order of registration."""
    found: list[dict[str, Any]] = json.loads((folder / "models.json").read_text(encoding="utf-8"))
    return [Registered(**each) for each in found]


if __name__ == "__main__":
    found = load_digits()
    np.save(Path(sys.argv[2]) / "held-out.npy", found.test_x)
    release(sys.argv[1], Path(sys.argv[2]), found, train, accuracy, log)
