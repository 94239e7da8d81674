"""When things are done: by a clock that never steps, again and again, and once more after what failed."""
