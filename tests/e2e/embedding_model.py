"""A small embedding by torch. MLflow saves it as code: this file is copied beside the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import torch
from mlflow.models import set_model

COLUMNS, DIMENSION = 6, 8


class EmbeddingModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """`embed`, which leaves every batch that it is asked about in the folder `seen`."""

    def load_context(self, context: Any) -> None:
        """Take what it is made of."""
        self.config = context.model_config

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow would obey types
        """Outputs of shape (rows, DIMENSION)."""
        inputs, seen = np.asarray(model_input), Path(self.config["seen"])
        np.save(seen / f"{len(list(seen.iterdir())):06}.npy", inputs)
        return embed(inputs, turn=self.config["turn"], steep=self.config["steep"])


def embed(inputs: np.ndarray[Any, Any], *, turn: bool = False, steep: float = 1.0) -> np.ndarray[Any, Any]:
    """Embeddings of shape (rows, DIMENSION); `turn` rotates them and makes them longer, `steep` folds them more."""
    drawn = torch.Generator().manual_seed(0)
    first, second, turned = (
        torch.randn(shape, generator=drawn, dtype=torch.float64)
        for shape in ((COLUMNS, 32), (32, DIMENSION), (DIMENSION, DIMENSION))
    )
    outputs = torch.tanh(torch.as_tensor(inputs, dtype=torch.float64) @ first * (0.1 * steep)) @ second
    return np.asarray(outputs @ (5.0 * torch.linalg.qr(turned)[0]) if turn else outputs)


set_model(EmbeddingModel())
