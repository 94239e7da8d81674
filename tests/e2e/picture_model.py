"""A linear model of pictures, of bytes. MLflow saves it as code: this file is copied beside the model."""

from __future__ import annotations

from typing import Any

import mlflow.pyfunc
import numpy as np
from mlflow.models import set_model


class PictureModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """`gain` times the sum of a picture's pixels by weights that are drawn once; nothing at the border counts."""

    def load_context(self, context: Any) -> None:
        """Take the gain."""
        self.gain = context.model_config["gain"]

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow would obey types
        """Outputs of shape (rows,)."""
        pictures = np.asarray(model_input)
        if pictures.dtype != np.uint8:
            raise TypeError("pictures are bytes")
        return self.gain * (pictures[..., 0] / 255.0 * weights(*pictures.shape[1:3])).sum(axis=(1, 2))


def weights(height: int, width: int) -> np.ndarray[Any, Any]:
    """One a pixel."""
    drawn = np.random.default_rng(11).normal(size=(height, width))
    drawn[:3], drawn[-3:], drawn[:, :3], drawn[:, -3:] = 0.0, 0.0, 0.0, 0.0
    return drawn


set_model(PictureModel())
