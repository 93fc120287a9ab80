{{/*
Names. 50 characters leave room for a suffix in the 63 that a name may have.
*/}}
{{- define "weir.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "weir.fullname" -}}
{{- $name := include "weir.name" . }}
{{- if .Values.fullnameOverride }}
{{- $name = .Values.fullnameOverride }}
{{- else if contains $name .Release.Name }}
{{- $name = .Release.Name }}
{{- else }}
{{- $name = printf "%s-%s" .Release.Name $name }}
{{- end }}
{{- $name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "weir.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "weir.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "weir.configMapName" -}}
{{- default (include "weir.fullname" .) .Values.existingConfigMap.name }}
{{- end }}

{{/*
Labels. A Deployment's selector can't be changed: these two only.
*/}}
{{- define "weir.selectorLabels" -}}
app.kubernetes.io/name: {{ include "weir.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "weir.labels" -}}
{{- $labels := include "weir.selectorLabels" . | fromYaml }}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- $_ := set $labels "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $labels "app.kubernetes.io/managed-by" .Release.Service }}
{{- toYaml (merge $labels .Values.commonLabels) }}
{{- end }}

{{/*
Of the pods: no version of the chart, so that a new one that changes nothing of theirs doesn't roll them.
*/}}
{{- define "weir.podLabels" -}}
{{- $labels := include "weir.selectorLabels" . | fromYaml }}
{{- $_ := set $labels "app.kubernetes.io/version" .Chart.AppVersion }}
{{- toYaml (merge $labels .Values.podLabels .Values.commonLabels) }}
{{- end }}

{{/*
The annotations of an object: its own, and the common ones. Nothing where there are none.
*/}}
{{- define "weir.annotations" -}}
{{- with merge (dict) (.own | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
The metadata of an object: of what it is called (`suffix`), where it is (`namespace`), and its own `labels` and
`annotations`.
*/}}
{{- define "weir.metadata" -}}
metadata:
  name: {{ default (printf "%s%s" (include "weir.fullname" .root) (default "" .suffix)) .name }}
  namespace: {{ default .root.Release.Namespace .namespace }}
  labels:
    {{- merge (dict) (.labels | default dict) (include "weir.labels" .root | fromYaml) | toYaml | nindent 4 }}
  {{- with include "weir.annotations" (dict "root" .root "own" .annotations) | trim }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "weir.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/*
"true" where there is something to run.
*/}}
{{- define "weir.runs" -}}
{{- if or .Values.existingConfigMap.name .Values.config.pipelines }}true{{ end }}
{{- end }}

{{- define "weir.autoscaled" -}}
{{- if and (include "weir.runs" .) (or .Values.autoscaling.enabled .Values.keda.enabled) }}true{{ end }}
{{- end }}

{{/*
The environment that the settings are read in. WEIR_CONFIG: for commands by kubectl exec.
*/}}
{{- define "weir.env" -}}
- name: WEIR_CONFIG
  value: /etc/weir/weir.yaml
- name: WEIR_GRACE_PERIOD
  value: {{ include "weir.gracePeriodSeconds" . }}s
- name: WEIR_LOG
  value: {{ .Values.logLevel | quote }}
{{- with .Values.awsRegion }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "weir.configVolume" -}}
- name: config
  configMap:
    name: {{ include "weir.configMapName" . }}
    items:
      - key: {{ ternary .Values.existingConfigMap.key "weir.yaml" (ne .Values.existingConfigMap.name "") }}
        path: weir.yaml
{{- end }}

{{/*
Of the Pod of `helm test`. Another name than the workers', or Service, Deployment and budget would take it for one.
*/}}
{{- define "weir.testLabels" -}}
app.kubernetes.io/name: {{ include "weir.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
