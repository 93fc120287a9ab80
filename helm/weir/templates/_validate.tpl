{{/*
What the schema can't say: values that don't fit each other. Each refusal names the key, its value and the way out.
Values that hold ${VAR} are known to Weir alone, which refuses the same at its start.
*/}}
{{- define "weir.validate" -}}
{{- $config := .Values.config }}
{{- if and .Values.existingConfigMap.name $config }}
{{- fail (printf "existingConfigMap.name is %s, and config is set, too: give one of them" .Values.existingConfigMap.name) }}
{{- end }}
{{- with $config.http }}
{{- fail (printf "config.http is %s: the chart sets the address, so that probes and Service find it; use listenAddress and containerPort" (toJson .)) }}
{{- end }}
{{- if dig "drain" "grace_period" "" $config }}
{{- fail (printf "config.drain.grace_period is %v: the chart sets it; use terminationGracePeriodSeconds" $config.drain.grace_period) }}
{{- end }}

{{- /* A hand-over fits into the drain: it waits for an heir for a quarter of its time, 0.275 leases and 0.7 s. */}}
{{- $drainTimeout := include "weir.drainTimeout" . }}
{{- $drain := include "weir.milliseconds" $drainTimeout }}
{{- $leaseDuration := dig "leases" "duration" "10s" $config }}
{{- $lease := include "weir.milliseconds" $leaseDuration }}
{{- if and $drain (or (lt (int64 $drain) 1000) (gt (int64 $drain) 3600000)) }}
{{- fail (printf "config.drain.timeout is %s: Weir takes 1s to 1h" $drainTimeout) }}
{{- end }}
{{- if and $drain $lease }}
{{- $least := add (div (mul (int64 $lease) 11) 10) 2800 }}
{{- if lt (int64 $drain) $least }}
{{- fail (printf "config.drain.timeout is %s: handing over leases of %s takes up to %d ms, so raise it to %ds at least, or shorten config.leases.duration" $drainTimeout $leaseDuration $least (div (add $least 999) 1000)) }}
{{- end }}
{{- end }}

{{- /* The drain, and Weir's end after it, fit into what Kubernetes waits. */}}
{{- $grace := include "weir.gracePeriodSeconds" . | int64 }}
{{- if $drain }}
{{- $least := div (add (int64 $drain) 5999) 1000 }}
{{- if lt $grace $least }}
{{- fail (printf "terminationGracePeriodSeconds is %d: a drain of %s (config.drain.timeout) and its end need %d, so raise it, leave it out, or shorten config.drain.timeout" $grace $drainTimeout $least) }}
{{- end }}
{{- end }}

{{- /* One record of a Kinesis stream has up to 10 MiB, and takes 56 MiB on its way. */}}
{{- $kinesis := "" }}
{{- range $name, $pipeline := dig "pipelines" dict $config }}
{{- $source := dig "source" dict $pipeline }}
{{- if or (hasKey $source "kinesis_stream") (hasKey $source "kinesis_stream_arn") }}
{{- $kinesis = $name }}
{{- end }}
{{- end }}
{{- $memoryBytes := include "weir.bytes" (dig "memory" "-" $config) }}
{{- if and $memoryBytes (lt (int64 $memoryBytes) 16777216) }}
{{- fail (printf "config.memory is %v: Weir takes 16MiB to 64GiB" $config.memory) }}
{{- end }}
{{- if and $memoryBytes $kinesis (lt (int64 $memoryBytes) 58720256) }}
{{- fail (printf "config.memory is %v: config.pipelines.%s reads a Kinesis stream, of which one record takes up to 56MiB; raise config.memory to that at least, or leave it out" $config.memory $kinesis) }}
{{- end }}

{{- /* What is in flight fits into the container, beside 64 MiB that Weir needs for itself. */}}
{{- $limit := dig "limits" "memory" "" .Values.resources }}
{{- $limitBytes := include "weir.bytes" $limit }}
{{- if kindIs "float64" $limit }}
{{- $limit = int64 $limit }}
{{- end }}
{{- if $limitBytes }}
{{- if lt (int64 $limitBytes) 83886080 }}
{{- fail (printf "resources.limits.memory is %v: Weir needs 80Mi at least; raise it" $limit) }}
{{- end }}
{{- if and $kinesis (lt (int64 $limitBytes) 125829120) }}
{{- fail (printf "resources.limits.memory is %v: config.pipelines.%s reads a Kinesis stream, for which Weir needs 120Mi at least; raise it" $limit $kinesis) }}
{{- end }}
{{- $request := dig "requests" "memory" "" .Values.resources }}
{{- if gt (include "weir.bytes" $request | int64) (int64 $limitBytes) }}
{{- fail (printf "resources.requests.memory is %v and limits.memory %v: Kubernetes takes no request above its limit; set both, best to the same" $request $limit) }}
{{- end }}
{{- if and $memoryBytes (gt (add (int64 $memoryBytes) 67108864) (int64 $limitBytes)) }}
{{- $least := div (add (int64 $memoryBytes) 68157439) 1048576 }}
{{- fail (printf "config.memory is %v: with resources.limits.memory of %v too little is left for Weir itself, which needs 64Mi; raise the limit to %dMi at least, or leave config.memory out for half of the limit" $config.memory $limit $least) }}
{{- end }}
{{- end }}

{{- /* Helm reads YAML 1.1, Weir 1.2: a key N (a number of DynamoDB's, in a filter) is "false" when it gets here. */}}
{{- with include "weir.booleanKey" (dict "at" "config" "value" $config) | fromJsonArray }}
{{- fail (printf "%s is a key that Helm made of one of %s: write it in quotes, as in \"%s\"" (first .) (index . 1) (last .)) }}
{{- end }}

{{- /* A variable that stands twice is told once, and not always the one that is meant. */}}
{{- $ours := dict "WEIR_HTTP_ADDRESS" "listenAddress and containerPort" "WEIR_GRACE_PERIOD" "terminationGracePeriodSeconds" "WEIR_DRAIN_TIMEOUT" "config.drain.timeout" "WEIR_LOG" "logLevel" "WEIR_CONFIG" "config" "WEIR_CONFIG_TEXT" "config" }}
{{- if .Values.awsRegion }}
{{- $_ := set $ours "AWS_REGION" "awsRegion" }}
{{- end }}
{{- /* It would stand before the settings, unseen by notes and policy. */}}
{{- if not .Values.existingConfigMap.name }}
{{- $_ := set $ours "WEIR_APPLICATION" "config.application" }}
{{- end }}
{{- $seen := dict }}
{{- range .Values.extraEnv }}
{{- $name := .name }}
{{- if hasKey $seen $name }}
{{- fail (printf "extraEnv holds %s twice: leave one" $name) }}
{{- end }}
{{- $_ := set $seen $name true }}
{{- with get $ours .name }}
{{- fail (printf "extraEnv holds %s, which the chart sets: use %s" $name .) }}
{{- end }}
{{- end }}

{{- /* One who scales, and something to scale by. */}}
{{- if and .Values.autoscaling.enabled .Values.keda.enabled }}
{{- fail "autoscaling.enabled and keda.enabled are both true: KEDA makes a HorizontalPodAutoscaler of its own; enable one of them" }}
{{- end }}
{{- with .Values.autoscaling }}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) }}
{{- fail (printf "autoscaling.minReplicas is %v and maxReplicas %v: the least must not be more than the largest" .minReplicas .maxReplicas) }}
{{- end }}
{{- if and .enabled .targetCPUUtilizationPercentage (not (dig "requests" "cpu" "" $.Values.resources)) }}
{{- fail "autoscaling.targetCPUUtilizationPercentage is a part of resources.requests.cpu, which is not set: set it, or targetCPUUtilizationPercentage to null" }}
{{- end }}
{{- if and .enabled (not .targetCPUUtilizationPercentage) (not .metrics) }}
{{- fail "autoscaling.enabled is true without targetCPUUtilizationPercentage or metrics: set one" }}
{{- end }}
{{- end }}
{{- with .Values.keda }}
{{- if and .enabled (gt (int .minReplicaCount) (int .maxReplicaCount)) }}
{{- fail (printf "keda.minReplicaCount is %v and maxReplicaCount %v: the least must not be more than the largest" .minReplicaCount .maxReplicaCount) }}
{{- end }}
{{- if and .enabled (not .lag.enabled) (not .shards.enabled) (not .triggers) }}
{{- fail "keda.enabled is true without a trigger: set keda.lag.enabled, keda.shards.enabled or keda.triggers" }}
{{- end }}
{{- if and .enabled (or .lag.enabled .shards.enabled) (not .prometheus.serverAddress) }}
{{- fail "keda.lag and keda.shards ask Prometheus: set keda.prometheus.serverAddress" }}
{{- end }}
{{- end }}

{{- /* Scraped once, and by somebody who finds it. */}}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}
{{- fail "podMonitor.enabled and serviceMonitor.enabled are both true: each worker would be scraped twice; enable one of them" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.service.enabled) }}
{{- fail "serviceMonitor.enabled is true and service.enabled is false: enable the Service, or podMonitor instead" }}
{{- end }}
{{- end }}

{{/*
The first key that reads as a boolean, as a list: its path, the words that it may have been, and the likeliest; an empty
list where there is none.
*/}}
{{- define "weir.booleanKey" -}}
{{- $found := list }}
{{- if kindIs "map" .value }}
{{- $words := dict "true" (list "y, Y, yes, on and true" "on") "false" (list "n, N, no, off and false" "N") }}
{{- range $key, $value := .value }}
{{- if not $found }}
{{- $path := printf "%s.%s" $.at $key }}
{{- with get $words $key }}
{{- $found = prepend . $path }}
{{- else }}
{{- $found = include "weir.booleanKey" (dict "at" $path "value" $value) | fromJsonArray }}
{{- end }}
{{- end }}
{{- end }}
{{- else if kindIs "slice" .value }}
{{- range $index, $value := .value }}
{{- if not $found }}
{{- $found = include "weir.booleanKey" (dict "at" (printf "%s[%d]" $.at $index) "value" $value) | fromJsonArray }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $found }}
{{- end }}
