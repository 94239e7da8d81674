{{/* What the container sees of disks, Secrets and ConfigMaps as files. */}}

{{/* Items for the pod's `volumes`: those of the chart, then the values' own, none of them twice. */}}
{{- define "robmon.volumes" -}}
{{- $own := include "robmon.ownVolumes" . -}}
{{- $names := dict -}}
{{- range $own | fromYamlArray }}{{ $_ := set $names .name true }}{{ end -}}
{{- range .Values.extraVolumes -}}
{{- if hasKey $names .name -}}
{{- fail (printf "extraVolumes sets the volume %s, which is set already: by the chart or by extraVolumes itself" .name) -}}
{{- end -}}
{{- $_ := set $names .name true -}}
{{- end -}}
{{ $own }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "robmon.ownVolumes" -}}
- name: robmon-data
  {{- with include "robmon.claimName" . }}
  persistentVolumeClaim:
    claimName: {{ . }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .Values.volumes.data.sizeLimit }}
  {{- end }}
- name: robmon-tmp
  emptyDir:
    sizeLimit: {{ .Values.volumes.tmp.sizeLimit }}
{{- range $mount := include "robmon.secretMounts" . | fromYamlArray }}
- name: {{ $mount.volume }}
  secret:
    secretName: {{ $mount.secret }}
{{- end }}
{{- with include "robmon.caVolume" . }}
- name: robmon-ca
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The claim in which the data lie; nothing where it is an emptyDir. */}}
{{- define "robmon.claimName" -}}
{{- with .Values.persistence -}}
{{- if .existingClaim -}}
{{- .existingClaim -}}
{{- else if .size -}}
{{- include "robmon.fullname" $ -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The chart's mounts, then the values' own, no two of them at one place. */}}
{{- define "robmon.volumeMounts" -}}
{{- $own := include "robmon.ownVolumeMounts" . -}}
{{- $places := dict -}}
{{- range $own | fromYamlArray }}{{ $_ := set $places .mountPath true }}{{ end -}}
{{- range .Values.extraVolumeMounts -}}
{{- $place := trimSuffix "/" .mountPath -}}
{{- if hasKey $places $place -}}
{{- fail (printf "extraVolumeMounts mounts at %s, where something is mounted already: by the chart or by extraVolumeMounts itself" .mountPath) -}}
{{- end -}}
{{- $_ := set $places $place true -}}
{{- end -}}
{{ $own }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "robmon.ownVolumeMounts" -}}
- name: robmon-data
  mountPath: /data
- name: robmon-tmp
  mountPath: /tmp
{{- range $mount := include "robmon.secretMounts" . | fromYamlArray }}
- name: {{ $mount.volume }}
  mountPath: {{ $mount.path }}
  readOnly: true
{{- end }}
{{- if include "robmon.caVolume" . }}
- name: robmon-ca
  mountPath: /etc/robmon/ca
  readOnly: true
{{- end }}
{{- end }}

{{/*
The Secrets that are mounted, and the setting that names each of their files. Whole folders are mounted, because a
single file would never be replaced.
*/}}
{{- define "robmon.secretMounts" -}}
{{- range $port, $access := .Values.access }}
{{- with $access.tokenSecret }}
- volume: robmon-{{ $port }}-token
  secret: {{ . }}
  path: /etc/robmon/{{ $port }}-token
  files:
    {{ $port }}__token_file: {{ $access.tokenKey }}
{{- end }}
{{- with $access.tlsSecret }}
- volume: robmon-{{ $port }}-tls
  secret: {{ . }}
  path: /etc/robmon/{{ $port }}-tls
  files:
    {{ $port }}__tls_cert_file: tls.crt
    {{ $port }}__tls_key_file: tls.key
{{- end }}
{{- with $access.webhookSecret }}
- volume: robmon-{{ $port }}-webhook
  secret: {{ . }}
  path: /etc/robmon/{{ $port }}-webhook
  files:
    mlflow__webhook_secret_file: {{ $access.webhookKey }}
{{- end }}
{{- with $access.clientCaSecret }}
- volume: robmon-{{ $port }}-client-ca
  secret: {{ . }}
  path: /etc/robmon/{{ $port }}-client-ca
  files:
    {{ $port }}__tls_client_ca_file: ca.crt
{{- end }}
{{- end }}
{{- end }}

{{/* What the volume of caBundle is made of; nothing without one. */}}
{{- define "robmon.caVolume" -}}
{{- with .Values.caBundle -}}
{{- if and .configMap .secret -}}
{{- fail "caBundle names a configMap and a secret: the authorities come from one of them" -}}
{{- else if .configMap -}}
configMap:
  name: {{ .configMap }}
{{- else if .secret -}}
secret:
  secretName: {{ .secret }}
{{- end -}}
{{- end -}}
{{- end }}
