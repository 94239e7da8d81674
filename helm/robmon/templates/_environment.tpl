{{/* Settings and other variables of the container. */}}

{{/* What the chart sets, then the values' own: a name that stands there twice would win, or be refused, without a word. */}}
{{- define "robmon.env" -}}
{{- include "robmon.checkUri" . -}}
{{- $own := include "robmon.ownEnv" . -}}
{{- $names := dict -}}
{{- range $own | fromYamlArray }}{{ $_ := set $names .name true }}{{ end -}}
{{- range .Values.env -}}
{{- if hasKey $names .name -}}
{{- fail (printf "env sets %s, which is set already: by `settings`, `access`, `caBundle`, `device` or `env` itself" .name) -}}
{{- end -}}
{{- $_ := set $names .name true -}}
{{- end -}}
{{- if not (or (hasKey $names "ROBMON_MODEL__URI") .Values.settingsConfigMap .Values.envFrom) -}}
{{- fail "settings.model.uri is required: the model to watch, for example models:/digits@champion (or ROBMON_MODEL__URI in settingsConfigMap, env or envFrom)" -}}
{{- end -}}
{{ $own }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "robmon.ownEnv" -}}
{{- $device := dig "device" "name" "" .Values.settings | default "" -}}
{{- if and (eq .Values.device.mode "none") (hasPrefix "cuda" $device) -}}
{{- fail (printf "settings.device.name is %s, and device.mode none gives no device: choose resource or claim, or leave the name out" $device) -}}
{{- end -}}
- name: ROBMON_HTTP__HOST
  value: {{ .Values.listenAddress | default "0.0.0.0" | quote }}
- name: ROBMON_INPUTS__HOST
  value: {{ .Values.listenAddress | default "0.0.0.0" | quote }}
- name: ROBMON_DATA_DIR
  value: /data
{{- range $mount := include "robmon.secretMounts" . | fromYamlArray }}
{{- range $setting, $file := $mount.files }}
- name: ROBMON_{{ upper $setting }}
  value: {{ printf "%s/%s" $mount.path $file }}
{{- end }}
{{- end }}
{{- if include "robmon.caVolume" . }}
{{- range $name := list "SSL_CERT_FILE" "REQUESTS_CA_BUNDLE" "AWS_CA_BUNDLE" }}
- name: {{ $name }}
  value: {{ printf "/etc/robmon/ca/%s" $.Values.caBundle.key }}
{{- end }}
{{- end }}
{{- range $section, $keys := .Values.settings }}
{{- range $key, $value := $keys }}
{{- if not (or (kindIs "invalid" $value) (and (eq $section "model") (eq $key "uri") (eq $value ""))) }}
- name: ROBMON_{{ upper $section }}__{{ upper $key }}
  value: {{ include "robmon.settingText" $value | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- if not (dig "history" "scope" "" .Values.settings) }}
- name: ROBMON_HISTORY__SCOPE
  value: {{ include "robmon.scope" . | quote }}
{{- end }}
{{- if eq .Values.device.mode "none" }}
- name: CUDA_VISIBLE_DEVICES
  value: ""
{{- else if not $device }}
- name: ROBMON_DEVICE__NAME
  value: auto
{{- end }}
{{- end }}

{{- define "robmon.envFrom" -}}
{{- with .Values.settingsConfigMap }}
- configMapRef:
    name: {{ . }}
{{- end }}
{{- with .Values.envFrom }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
The scope in which verdicts are remembered: staging, challengers and shadows do not judge for each other, though they
share a registry. It ends with what robmon itself would take: the alias, or pinned.
*/}}
{{- define "robmon.scope" -}}
{{- $uri := .Values.settings.model.uri | default "" -}}
{{- $alias := ternary (regexFind "@[^/@]+$" $uri | trimPrefix "@") "" (hasPrefix "models:/" $uri) -}}
{{- $of := printf "%s.%s" .Release.Name .Release.Namespace -}}
{{- ternary (printf "%s.%s" $of ($alias | default "pinned")) $of (not (empty $uri)) | trunc 200 -}}
{{- end }}

{{/* A setting as text: anything but text as JSON, lists so that their words may have spaces. */}}
{{- define "robmon.settingText" -}}
{{- if kindIs "string" . -}}
{{- . -}}
{{- else -}}
{{- toJson . -}}
{{- end -}}
{{- end }}

{{/* Refuses ports with which robmon itself would not start. */}}
{{- define "robmon.checkPorts" -}}
{{- if eq (include "robmon.httpPort" .) (include "robmon.inputsPort" .) -}}
{{- fail (printf "settings.http.port and settings.inputs.port are both %s: each needs its own" (include "robmon.httpPort" .)) -}}
{{- end -}}
{{- if and .Values.access.inputs.clientCaSecret (not .Values.access.inputs.tlsSecret) -}}
{{- fail "access.inputs.clientCaSecret needs access.inputs.tlsSecret: clients show certificates over TLS only" -}}
{{- end -}}
{{- end }}
