"""Model inputs as they are perturbed: `split.py` takes them apart, and `model_inputs.py` is what comes of it.

Of each kind of inputs `array.py`, `frame.py` and `tensors.py` say what is perturbed, and how it is made again.
"""
