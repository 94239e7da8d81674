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

{{/* The container's security context. OpenShift chooses user and group itself, and refuses a pod that names others. */}}
{{- define "robmon.securityContext" -}}
{{- $context := .Values.securityContext -}}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- $context = omit $context "runAsUser" "runAsGroup" -}}
{{- end -}}
{{- toYaml $context -}}
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
{{- dict "resources" $resources "variant" (include "robmon.variant" .) | include "robmon.checkRequests" -}}
{{- toYaml $resources -}}
{{- end }}

{{/* Items for the pod's `resourceClaims`; nothing unless device.mode is claim. */}}
{{- define "robmon.resourceClaims" -}}
{{- if eq .Values.device.mode "claim" -}}
- name: {{ .Values.device.claim.name }}
  resourceClaimTemplateName: {{ required "device.claim.templateName is required with device.mode=claim" .Values.device.claim.templateName }}
{{- end }}
{{- end }}
