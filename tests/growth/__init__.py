"""Time against size of all that reads strangers' bytes: `python -m tests.growth`, a part of `make fuzz`.

`hostile` makes bytes of any size, `readers` lists what reads them and up to which size, `criterion` decides.
"""
