"""The public functions, which run in the caller's process: assess, compare, rank, record baselines."""
