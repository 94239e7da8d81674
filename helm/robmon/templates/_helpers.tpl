{{- define "robmon.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "robmon.fullname" -}}
{{- $name := include "robmon.wholeName" . -}}
{{- dict "name" $name "isService" .Values.standalone.enabled | include "robmon.checkName" -}}
{{- $name -}}
{{- end }}

{{- define "robmon.wholeName" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "robmon.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "robmon.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "robmon.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "robmon.selectorLabels" -}}
app.kubernetes.io/name: {{ include "robmon.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "robmon.labels" -}}
{{- $own := include "robmon.ownLabels" . -}}
{{- dict "own" $own "extra" .Values.commonLabels "value" "commonLabels" | include "robmon.joinedLabels" -}}
{{- end }}

{{- define "robmon.ownLabels" -}}
helm.sh/chart: {{ include "robmon.chart" . }}
{{ include "robmon.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/*
Labels of robmon's own pods. Not the chart's version: a new one alone is no reason for a new pod, which would lose what
robmon has learnt.
*/}}
{{- define "robmon.podLabels" -}}
{{- $own := printf "%s\n%s" (include "robmon.selectorLabels" .) (include "robmon.watchedLabel" .) -}}
{{- dict "own" $own "extra" .Values.commonLabels "value" "commonLabels" | include "robmon.joinedLabels" -}}
{{- end }}

{{/* Label of a pod with robmon in it, by which a fleet's PodMonitor finds it. */}}
{{- define "robmon.watchedLabel" -}}
robmon.dev/watched: "true"
{{- end }}

{{/*
Labels of an object: its own, and further ones of the values, which must not replace them. Takes own (text), extra, and
the name of the value that extra is.
*/}}
{{- define "robmon.joinedLabels" -}}
{{- $own := fromYaml .own -}}
{{- dict "labels" .extra "value" .value | include "robmon.checkLabels" -}}
{{- range $name, $_ := .extra -}}
{{- if hasKey $own $name -}}
{{- fail (printf "%s sets the label %s, which the chart sets itself" $.value $name) -}}
{{- end -}}
{{- end -}}
{{ .own }}
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "robmon.httpPort" -}}
{{- dig "http" "port" 9877 .Values.settings | int }}
{{- end }}

{{- define "robmon.inputsPort" -}}
{{- dig "inputs" "port" 9878 .Values.settings | int }}
{{- end }}
