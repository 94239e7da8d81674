"""Models by the flavour that MLflow saved them with: of torch, of ONNX, and all others as MLflow loads them."""
