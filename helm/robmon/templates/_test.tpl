{{/* A pod of `helm test`. Takes root, name, address, sentence (what is wrong when it does not answer) and annotations. */}}
{{- define "robmon.testPod" -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ include "robmon.fullname" .root }}-{{ .name }}
  # Not those by which the Service would send it requests.
  labels:
    app.kubernetes.io/name: {{ include "robmon.name" .root }}-test
    app.kubernetes.io/instance: {{ .root.Release.Name }}
    {{- with .root.Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
    {{- with .annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .root.Values.standalone.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.standalone.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.standalone.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: test
      image: {{ include "robmon.image" .root | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command: [python, -c]
      args:
        - |
          {{- .root.Files.Get "files/answers.py" | nindent 10 }}
        - {{ .address | quote }}
        - {{ .sentence | quote }}
      resources:
        requests: {cpu: 10m, memory: 32Mi}
        limits: {memory: 128Mi}
      securityContext:
        {{- include "robmon.securityContext" .root | nindent 8 }}
{{- end }}
