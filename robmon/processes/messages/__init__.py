"""The typed messages between the daemon and its short or heavy processes, a file a process; the worker's by subject.

Each is imported from its file; `channel.py` beside this folder carries them.
"""
