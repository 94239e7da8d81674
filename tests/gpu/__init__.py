"""What is tried and measured on a GPU: `python -m tests.gpu`. All of it also runs, slower, without one."""
