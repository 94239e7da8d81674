{{/*
A value as a CEL expression. Kubernetes takes no map or list of mixed types, so an object is written as
Object.<its path>{...}, whose fields may differ; a map of amounts or labels stays a map, with its values as text. Takes
value and path.
*/}}
{{- define "robmon.cel" -}}
{{- $path := .path -}}
{{- if kindIs "map" .value -}}
{{- $items := list -}}
{{- if has (splitList "." $path | last) (list "requests" "limits" "labels" "annotations" "matchLabels" "volumeAttributes" "options" "nodeSelector") -}}
{{- range $key, $value := .value }}{{ $items = append $items (printf "%s: %s" (toJson $key) (toString $value | toJson)) }}{{ end -}}
{{- printf "{%s}" (join ", " $items) -}}
{{- else -}}
{{- range $key, $value := .value -}}
{{- $items = append $items (printf "%s: %s" $key (dict "value" $value "path" (printf "%s.%s" $path $key) | include "robmon.cel")) -}}
{{- end -}}
{{- printf "%s{%s}" $path (join ", " $items) -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- $items := list -}}
{{- range .value }}{{ $items = append $items (dict "value" . "path" $path | include "robmon.cel") }}{{ end -}}
{{- printf "[%s]" (join ", " $items) -}}
{{- else if kindIs "float64" .value -}}
{{- .value | int64 -}}
{{- else -}}
{{- toJson .value -}}
{{- end -}}
{{- end }}

{{/* What is chosen by the variable variant, as a CEL expression. Takes cpu, cuda and remote, which are expressions. */}}
{{- define "robmon.celByVariant" -}}
{{- printf "{\"cpu\": %s, \"cuda\": %s, \"remote\": %s}[variables.variant]" .cpu .cuda .remote -}}
{{- end }}
