"""The metrics that dashboards, rules and charts may name, and the labels of each besides those of its target."""

from __future__ import annotations

_MEASUREMENTS = {
    "robmon_noise_mse": "noise level reference space primary",
    "robmon_noise_mse_bound": "noise level reference confidence primary",
    "robmon_request_change_bound": "noise level confidence primary",
    "robmon_reference_noise_mse": "noise level reference_version space",
    "robmon_reference_noise_mse_bound": "noise level reference_version space",
    "robmon_clean_mse": "",
    "robmon_labelled_rows": "",
    "robmon_clean_nonfinite_ratio": "",
    "robmon_served_prediction_mismatch_ratio": "",
    "robmon_served_predictions_compared": "",
    "robmon_served_predictions_not_comparable": "",
    "robmon_assessment_rows": "",
    "robmon_assessment_trials": "",
    "robmon_robustness_slope": "noise score primary",
    "robmon_robustness_slope_lack_of_fit": "noise score primary",
    "robmon_robustness_area": "noise reference primary",
    "robmon_robustness_index": "noise reference primary",
    "robmon_noise_margin_level": "noise",
    "robmon_prediction_agreement_ratio": "noise level primary",
    "robmon_embedding_beyond_threshold_ratio": "noise level primary",
    "robmon_triplet_flip_ratio": "noise level primary",
    "robmon_self_nearest_ratio": "noise level primary",
    "robmon_noise_mse_baseline_ratio": "noise level",
    "robmon_noise_mse_baseline_ratio_lower": "noise level",
    "robmon_noise_share": "group",
    "robmon_change_share": "cause",
    "robmon_input_drift": "feature statistic",
    "robmon_input_drifted_features": "",
    "robmon_input_features_watched": "",
    "robmon_input_quality_ratio": "feature problem",
    "robmon_input_novel_ratio": "",
    "robmon_input_novelty_pvalue": "",
    "robmon_input_near_duplicate_rows": "",
    "robmon_attack_agreement_ratio": "attack norm radius",
    "robmon_attack_gradient_ok": "",
    "robmon_certified_agreement_ratio": "method norm radius",
    "robmon_attack_rows": "",
    "robmon_attack_queries": "",
    "robmon_prediction_drift": "feature statistic",
}
_STATES = {
    "robmon_model_info": "model_version flavor device run_id baseline",
    "robmon_regression_detected": "kind",
    "robmon_regression_info": "model_version reference_version",
    "robmon_regression_evidence": "model_version",
    "robmon_regression_evidence_threshold": "model_version",
    "robmon_detectable_ratio": "within",
    "robmon_detection_state": "state",
    "robmon_regression_cause_info": "cause group",
    "robmon_canary_change_ratio": "",
    "robmon_comparison_pending": "reason",
    "robmon_version_ratio_since": "anchor",
    "robmon_version_mse_ratio": "reference_version level",
    "robmon_version_flip_ratio": "reference_version level",
    "robmon_version_ratio": "reference_version score",
    "robmon_version_ratio_lower": "reference_version score",
    "robmon_version_ratio_upper": "reference_version score",
    "robmon_regression_since_timestamp_seconds": "kind",
    "robmon_baseline_timestamp_seconds": "",
    "robmon_baseline_rows": "",
    "robmon_assess_interval_seconds": "",
    "robmon_served_alias_info": "alias",
    "robmon_last_assessment_timestamp_seconds": "",
    "robmon_last_attack_timestamp_seconds": "",
    "robmon_sample_rows": "",
    "robmon_sample_oldest_timestamp_seconds": "",
    "robmon_kafka_lag_messages": "",
    "robmon_worker_resident_memory_bytes": "",
    "robmon_device_info": "device precision compiled",
    "robmon_device_memory_bytes": "",
    "robmon_engine_batch_rows": "",
}
_COUNTERS = {
    "robmon_assessments_total": "outcome reason",
    "robmon_attacks_total": "outcome reason",
    "robmon_inputs_received_total": "source",
    "robmon_inputs_sampled_total": "source",
    "robmon_inputs_skipped_total": "source",
    "robmon_inputs_repeated_total": "source",
    "robmon_inputs_rejected_total": "source reason",
    "robmon_labels_total": "outcome",
    "robmon_served_answers_total": "outcome",
    "robmon_detection_restarts_total": "reason",
    "robmon_http_rejected_total": "reason",
    "robmon_registry_events_total": "outcome",
    "robmon_nonfinite_outputs_total": "level",
    "robmon_out_of_memory_retries_total": "",
    "robmon_worker_restarts_total": "reason",
    "robmon_model_failures_total": "stage reason",
    "robmon_history_write_failures_total": "",
    "robmon_history_damages_total": "",
    "robmon_log_lines_left_out_total": "",
}
HISTOGRAMS = {
    "robmon_assessment_duration_seconds": "phase",
    "robmon_inputs_body_bytes": "source",
    "robmon_event_loop_lag_seconds": "",
}
_PROCESS = {"process_resident_memory_bytes": ""}
_PROCESS_COUNTERS = {"process_cpu_seconds_total": ""}
PROMETHEUS = {"up": "", "scrape_samples_scraped": "", "ALERTS": "alertname alertstate model_name severity"}
"""What Prometheus itself adds."""

SOMETIMES = {
    "robmon_noise_mse": {"space", "primary"},
    **{
        name: {"primary"}
        for name, labels in _MEASUREMENTS.items()
        if labels.endswith(" primary") and "space" not in labels
    },
}
"""Labels that not every series of a metric has."""
TARGET_LABELS = {"cluster", "job", "instance", "namespace", "pod", "container", "endpoint", "node"}
BOUNDS = {"robmon_noise_mse_bound", "robmon_request_change_bound", "robmon_reference_noise_mse_bound"}
COUNTERS = {
    *_COUNTERS,
    *_PROCESS_COUNTERS,
    *(name + suffix for name in HISTOGRAMS for suffix in ("_bucket", "_sum", "_count")),
}

LABELS: dict[str, set[str]] = {
    **{name: {"model_name", "model_version", *labels.split()} for name, labels in _MEASUREMENTS.items()},
    **{name: {"model_name", *labels.split()} for name, labels in _STATES.items()},
    **{name: set(labels.split()) for name, labels in (_COUNTERS | _PROCESS | _PROCESS_COUNTERS | PROMETHEUS).items()},
    **{
        name + suffix: {*labels.split(), *(["le"] if suffix == "_bucket" else [])}
        for name, labels in HISTOGRAMS.items()
        for suffix in ("_bucket", "_sum", "_count")
    },
}
