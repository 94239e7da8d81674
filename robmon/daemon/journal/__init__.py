"""What is told of assessments and versions: log, counters, history and MLflow's runs."""
