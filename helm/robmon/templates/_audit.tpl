{{/* The audit of a registry on Ray. */}}

{{/* What is missing is told before anything is rendered. */}}
{{- define "robmon.checkAudit" -}}
{{- with .Values.audit.rayJob -}}
{{- if .enabled -}}
{{- range $name := list "image" "inputs" "out" -}}
{{- if not (get $.Values.audit.rayJob $name) -}}
{{- fail (printf "audit.rayJob.enabled needs audit.rayJob.%s" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The command: KubeRay has a shell split it. */}}
{{- define "robmon.auditCommand" -}}
{{- with .Values.audit.rayJob -}}
robmon audit {{ squote .models }} --versions {{ squote .versions }} --inputs /etc/robmon/map.yaml --out {{ squote .out }} --engine ray --address auto
{{- range .args }} {{ squote . }}{{ end -}}
{{- end -}}
{{- end }}

{{/* A pod of the cluster. Ray writes to /tmp and /dev/shm. */}}
{{- define "robmon.auditPod" -}}
{{- with .Values.audit.rayJob -}}
spec:
  automountServiceAccountToken: false
  securityContext:
    runAsNonRoot: true
    runAsUser: 1000
    runAsGroup: 1000
    seccompProfile:
      type: RuntimeDefault
  {{- range $name := list "imagePullSecrets" "nodeSelector" "tolerations" }}
  {{- with get $.Values.audit.rayJob $name }}
  {{ $name }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  containers:
    - name: ray
      image: {{ .image | quote }}
      env:
        - name: RAY_USAGE_STATS_ENABLED
          value: "0"
        # Without it Ray tries a version again without end where memory runs out.
        - name: RAY_task_oom_retries
          value: "1"
        {{- with .env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .envFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      resources:
        {{- toYaml .resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        - name: map
          mountPath: /etc/robmon
          readOnly: true
  volumes:
    - name: tmp
      emptyDir: {}
    - name: map
      configMap:
        name: {{ include "robmon.fullname" $ }}-audit
{{- end -}}
{{- end }}
