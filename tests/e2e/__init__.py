"""Tests on real processes. MLflow warns of its own type hints when it is imported, and here warnings are errors."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow.pyfunc  # noqa: F401
