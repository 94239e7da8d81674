"""Libraries that answer part of the same question of a torch module, where they are installed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from tests.benchmarks._rounds import Run
from tests.benchmarks._torch_task import TorchTask


def peers(task: TorchTask, names: Sequence[str] = ()) -> tuple[dict[str, Run], dict[str, str]]:
    """What is timed of these, or of all, and why others are left out, by name."""
    found, skipped = {}, {}
    for name in names or PEERS:
        package, make = PEERS[name]
        if find_spec(package):
            found[name] = make(task)
        else:
            skipped[name] = f"{package} is not installed"
    return found, skipped


def captum_sensitivity(task: TorchTask) -> Run:
    """The largest change of the outputs around each row, of as many random rows; uniform noise."""
    from captum.metrics import sensitivity_max

    samples, together = task.noisy_rows // len(task.inputs), min(task.noisy_rows, max(1024, len(task.inputs)))
    given = {"perturb_radius": 0.1, "n_perturb_samples": samples, "max_examples_per_batch": together}
    return partial(sensitivity_max, lambda inputs: (task.predict(*inputs),), task.inputs, **given)


def torchmetrics_error(task: TorchTask) -> Run:
    """The naive loop, whose errors a metric adds up."""
    from torchmetrics import MeanSquaredError

    def run() -> float:
        error, clean = MeanSquaredError().to(task.inputs.device), task.predict(task.inputs)
        for noisy in task.naive_rows():
            error.update(task.predict(noisy), clean)
        return float(error.compute())

    return run


def foolbox_noise(task: TorchTask) -> Run:
    """Its additive Gaussian noise, which tells of each row whether its class changes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox

        bound = 10 * float(task.inputs.abs().max())
        model = foolbox.PyTorchModel(task.model, bounds=(-bound, bound), device=task.inputs.device)
    attack = foolbox.attacks.L2AdditiveGaussianNoiseAttack()
    sizes = [level * float(task.scale.norm()) for level in task.levels[1:]]

    def run() -> int:
        classes, changed = task.predict(task.inputs).argmax(dim=1), 0
        for _ in range(task.trials):
            *_, is_changed = attack(model, task.inputs, classes, epsilons=sizes)
            changed += int(is_changed.sum())
        return changed

    return run


def _art(task: TorchTask, kind: Any, **options: Any) -> Any:
    outputs = task.predict(task.inputs[:2]).shape[1]
    given = {"input_shape": tuple(task.inputs.shape[1:]), "nb_classes": outputs}
    device = "cpu" if task.inputs.device.type == "cpu" else "gpu"
    return kind(task.model, torch.nn.CrossEntropyLoss(), **given, device_type=device, **options)


def art_classifier(task: TorchTask) -> Run:
    """The naive loop through the Adversarial Robustness Toolbox's classifier, in the sample's own batch."""
    from art.estimators.classification import PyTorchClassifier

    classifier = _art(task, PyTorchClassifier)

    def run() -> float:
        rows = len(task.inputs)
        clean, total = classifier.predict(task.inputs.cpu().numpy(), batch_size=rows), 0.0
        for noisy in task.naive_rows():
            total += float(((classifier.predict(noisy.cpu().numpy(), batch_size=rows) - clean) ** 2).mean())
        return total

    return run


def art_smoothing(task: TorchTask) -> Run:
    """Its randomised smoothing (Cohen et al. 2019): the class that most of as many noisy copies of a row have."""
    from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing

    copies = task.noisy_rows // len(task.inputs)
    options = {"sample_size": copies, "scale": task.levels[-1] * float(task.scale.mean())}
    smoothed = _art(task, PyTorchRandomizedSmoothing, **options)
    return partial(smoothed.predict, task.inputs.cpu().numpy(), batch_size=1024)


PEERS: dict[str, tuple[str, Callable[[TorchTask], Run]]] = {
    "captum sensitivity": ("captum", captum_sensitivity),
    "torchmetrics": ("torchmetrics", torchmetrics_error),
    "foolbox": ("foolbox", foolbox_noise),
    "ART classifier": ("art", art_classifier),
    "ART smoothing": ("art", art_smoothing),
}
"""By name, the package that each is from, and what makes its run."""
