"""The least that must be set: a model that is loaded, or one that is asked at its endpoint."""

from __future__ import annotations

MODEL = {"model.uri": "models:/digits@champion"}
ENDPOINT = {"model.uri": "http://host/v2/models/digits/infer"}
