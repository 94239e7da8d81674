{{/* Refuses what would scrape pods twice, other pods than it says, or none. */}}
{{- define "robmon.checkFleet" -}}
{{- dict "labels" .Values.podMonitor.matchLabels "value" "podMonitor.matchLabels" | include "robmon.checkLabels" -}}
{{- dict "labels" .Values.fleet.matchLabels "value" "fleet.matchLabels" | include "robmon.checkLabels" -}}
{{- with .Values.podMonitor -}}
{{- if and .interval .scrapeTimeout -}}
{{- if gt (include "robmon.milliseconds" .scrapeTimeout | int64) (include "robmon.milliseconds" .interval | int64) -}}
{{- fail (printf "podMonitor.scrapeTimeout %s is longer than podMonitor.interval %s: a scrape must end before the next" .scrapeTimeout .interval) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.fleet.enabled -}}
{{- range $name := list "matchLabels" "namespaceSelector" -}}
{{- if get $.Values.podMonitor $name -}}
{{- fail (printf "podMonitor.%s is set, and fleet.enabled is true: a fleet's pods are chosen by fleet.matchLabels and fleet.namespaces" $name) -}}
{{- end -}}
{{- end -}}
{{- if not .Values.fleet.matchLabels -}}
{{- fail "fleet.matchLabels is empty, and all pods would be scraped: name the labels of pods with robmon" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/*
Relabelings of the target. In a fleet one PodMonitor scrapes many applications, of which each is a job of its own, as it
would be with a PodMonitor of its own; a pod without the usual label keeps the PodMonitor's name.
*/}}
{{- define "robmon.relabelings" -}}
{{- if .Values.fleet.enabled }}
- sourceLabels: [__meta_kubernetes_namespace, __meta_kubernetes_pod_label_app_kubernetes_io_name]
  separator: /
  regex: (.+/.+)
  targetLabel: job
{{- end }}
{{- with .Values.podMonitor.relabelings }}
{{ toYaml . }}
{{- end }}
{{- end }}
