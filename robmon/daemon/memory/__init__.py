"""What outlives an assessment: verdicts, baselines and evidence over time, also on disk and at the registry."""
