{{/* Which image is pulled. */}}

{{/* cpu, cuda or remote: what the image holds. */}}
{{- define "robmon.variant" -}}
{{- $variant := .Values.image.variant -}}
{{- if and $variant (ne $variant "cuda") (ne .Values.device.mode "none") -}}
{{- fail (printf "image.variant %s has no CUDA, and device.mode %s gives a device: choose cuda, or leave the variant out" $variant .Values.device.mode) -}}
{{- end -}}
{{- $variant | default (ternary "cpu" "cuda" (eq .Values.device.mode "none")) -}}
{{- end }}

{{/* The image: [registry/]repository:tag, the tag with its variant unless it ends with it; with a digest @digest behind it. */}}
{{- define "robmon.image" -}}
{{- $suffix := include "robmon.variant" . | printf "-%s" | trimSuffix "-cpu" -}}
{{- with .Values.image -}}
{{- $repository := ternary .repository (printf "%s/%s" (trimSuffix "/" .registry) .repository) (empty .registry) -}}
{{- $tag := printf "%s%s" (.tag | default $.Chart.AppVersion | trimSuffix $suffix) $suffix -}}
{{- dict "repository" $repository "tag" $tag | include "robmon.checkImage" -}}
{{- if not .digest -}}
{{- printf "%s:%s" $repository $tag -}}
{{- else if .tag -}}
{{- printf "%s:%s@%s" $repository $tag .digest -}}
{{- else -}}
{{- printf "%s@%s" $repository .digest -}}
{{- end -}}
{{- end -}}
{{- end }}
