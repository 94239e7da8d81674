{{/* The parts of a pod. Each takes the context of this chart: `.` here, `.Subcharts.robmon` in a chart that depends on it. */}}

{{/* robmon as a native sidecar: an item for the pod's `initContainers`. */}}
{{- define "robmon.sidecar" -}}
{{ include "robmon.container" . }}
  restartPolicy: Always
{{- end }}

{{/* robmon as an ordinary container: an item for the pod's `containers`. */}}
{{- define "robmon.container" -}}
- name: robmon
  image: {{ include "robmon.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  env:
    {{- include "robmon.env" . | nindent 4 }}
  {{- with include "robmon.envFrom" . | trim }}
  envFrom:
    {{- . | nindent 4 }}
  {{- end }}
  ports:
    - name: robmon-http
      containerPort: {{ include "robmon.httpPort" . }}
    - name: robmon-inputs
      containerPort: {{ include "robmon.inputsPort" . }}
  livenessProbe:
    httpGet:
      path: /healthz
      port: {{ include "robmon.httpPort" . }}
      {{- if .Values.access.http.tlsSecret }}
      scheme: HTTPS
      {{- end }}
    {{- toYaml .Values.livenessProbe | nindent 4 }}
  resources:
    {{- include "robmon.resources" . | nindent 4 }}
  securityContext:
    {{- include "robmon.securityContext" . | nindent 4 }}
  volumeMounts:
    {{- include "robmon.volumeMounts" . | nindent 4 }}
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
{{- if not .digest -}}
{{- printf "%s:%s" $repository $tag -}}
{{- else if .tag -}}
{{- printf "%s:%s@%s" $repository $tag .digest -}}
{{- else -}}
{{- printf "%s@%s" $repository .digest -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The container's security context. OpenShift chooses user and group itself, and refuses a pod that names others. */}}
{{- define "robmon.securityContext" -}}
{{- $context := .Values.securityContext -}}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- $context = omit $context "runAsUser" "runAsGroup" -}}
{{- end -}}
{{- toYaml $context -}}
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
{{- with $access.clientCaSecret }}
- volume: robmon-{{ $port }}-client-ca
  secret: {{ . }}
  path: /etc/robmon/{{ $port }}-client-ca
  files:
    {{ $port }}__tls_client_ca_file: ca.crt
{{- end }}
{{- end }}
{{- end }}

{{/* Items for the pod's `resourceClaims`; nothing unless device.mode is claim. */}}
{{- define "robmon.resourceClaims" -}}
{{- if eq .Values.device.mode "claim" -}}
- name: {{ .Values.device.claim.name }}
  resourceClaimTemplateName: {{ required "device.claim.templateName is required with device.mode=claim" .Values.device.claim.templateName }}
{{- end }}
{{- end }}

{{/* What the chart sets, then the values' own: a name that stands there twice would win, or be refused, without a word. */}}
{{- define "robmon.env" -}}
{{- $own := include "robmon.ownEnv" . -}}
{{- $names := dict -}}
{{- range $own | fromYamlArray }}{{ $_ := set $names .name true }}{{ end -}}
{{- range .Values.env -}}
{{- if hasKey $names .name -}}
{{- fail (printf "env sets %s, which is set already: by `settings`, `access`, `device` or `env` itself" .name) -}}
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

{{/* Refuses ports with which robmon itself would not start. */}}
{{- define "robmon.checkPorts" -}}
{{- if eq (include "robmon.httpPort" .) (include "robmon.inputsPort" .) -}}
{{- fail (printf "settings.http.port and settings.inputs.port are both %s: each needs its own" (include "robmon.httpPort" .)) -}}
{{- end -}}
{{- if and .Values.access.inputs.clientCaSecret (not .Values.access.inputs.tlsSecret) -}}
{{- fail "access.inputs.clientCaSecret needs access.inputs.tlsSecret: clients show certificates over TLS only" -}}
{{- end -}}
{{- end }}

{{- define "robmon.ownEnv" -}}
{{- $device := dig "device" "name" "" .Values.settings | default "" -}}
{{- if and (eq .Values.device.mode "none") (hasPrefix "cuda" $device) -}}
{{- fail (printf "settings.device.name is %s, and device.mode none gives no device: choose resource or claim, or leave the name out" $device) -}}
{{- end -}}
- name: ROBMON_HTTP__HOST
  value: "0.0.0.0"
- name: ROBMON_INPUTS__HOST
  value: "0.0.0.0"
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

{{- define "robmon.resources" -}}
{{- $resources := mergeOverwrite (deepCopy (get .Values.resourcesByVariant (include "robmon.variant" .))) (deepCopy .Values.resources) -}}
{{- range $kind := list "requests" "limits" -}}
{{- $kept := dict -}}
{{- range $name, $amount := get $resources $kind -}}
{{- if not (kindIs "invalid" $amount) }}{{ $_ := set $kept $name $amount }}{{ end -}}
{{- end -}}
{{- if $kept }}{{ $_ := set $resources $kind $kept }}{{ else }}{{ $_ := unset $resources $kind }}{{ end -}}
{{- end -}}
{{- if eq .Values.device.mode "resource" -}}
{{- $device := dict .Values.device.resource.name (int .Values.device.resource.count) -}}
{{- $_ := set $resources "limits" (merge $device (default dict $resources.limits)) -}}
{{- else if eq .Values.device.mode "claim" -}}
{{- $_ := set $resources "claims" (list (dict "name" .Values.device.claim.name)) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end }}
