{{/* Refuses what would scrape pods twice, or other pods than it says. */}}
{{- define "robmon.checkFleet" -}}
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
