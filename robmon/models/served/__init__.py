"""A loaded model, whatever its flavour, as the numerics ask it: outputs, gradients, and what drift watches."""
