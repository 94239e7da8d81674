"""What runs: a predictor, batches of noisy rows through it, trials of them, and the plan that times the same."""
