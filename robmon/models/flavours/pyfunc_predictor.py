"""Anything MLflow can load, called as its model server calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc

from robmon.models import mlmodel
from robmon.models.devices.device import DeviceUse
from robmon.models.flavours.enforcement import predict_of
from robmon.models.outputs import cells
from robmon.models.served.served import Claim, LoadedCode


def load(folder: Path, use: DeviceUse, claim: Claim) -> LoadedCode:
    """Load the model of a folder by its python_function flavour.

    The predictor takes a DataFrame, array or dict of arrays, and returns the model's own output.

    Raises:
        ModelLoadError: the device is not there.
    """
    loader = mlmodel.read(folder).flavors.get(mlmodel.PYFUNC, {}).get("loader_module")
    remarks: list[str] = []
    used, config = "cpu", None
    if loader == "mlflow.pytorch":
        from robmon.models.devices.torch_device import resolve

        place, remarks = resolve(use.name)
        used = str(place)
        claim(used)
        config = {"device": used}
    elif use.name.startswith("cuda"):
        taken_by = "only torch and ONNX models take: MLflow runs this one where it chooses"
        remarks = [f"device.name is {use.name}, which {taken_by}"]
    if use.precision is not None:
        remarks = [*remarks, f"device.precision is {use.precision}, which only torch models of tensors take"]
    model = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True, model_config=config)
    predict = predict_of(model)

    def call(model_input: Any) -> Any:
        outputs = predict(model_input)
        return cells.to_numpy(outputs) if cells.is_tensor(outputs) else outputs

    return LoadedCode(use.on(used), call, lambda array: array, remarks=tuple(remarks))
