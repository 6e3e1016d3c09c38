{{- /* Labels and values into the Deployment of the base. Prints nothing. Takes the
deployment, the labels and the root context. */}}
{{- define "fff-serving.deployment" }}
{{- $values := .root.Values }}
{{- $spec := .deployment.spec }}
{{- $_ := set $spec.selector "matchLabels" .labels }}
{{- $_ := set $spec.template.metadata "labels" .labels }}
{{- if $values.autoscaled }}
{{- $_ := unset $spec "replicas" }}
{{- else if not (kindIs "invalid" $values.replicas) }}
{{- $_ := set $spec "replicas" $values.replicas }}
{{- end }}
{{- $pod := $spec.template.spec }}
{{- range $pod.topologySpreadConstraints }}
{{- $_ := set .labelSelector "matchLabels" $.labels }}
{{- end }}
{{- with $values.imagePullSecrets }}{{ $_ := set $pod "imagePullSecrets" . }}{{ end }}
{{- with $values.nodeSelector }}{{ $_ := set $pod "nodeSelector" (mergeOverwrite ($pod.nodeSelector | default dict) .) }}{{ end }}
{{- with $values.tolerations }}{{ $_ := set $pod "tolerations" . }}{{ end }}
{{- $server := index $pod.containers 0 }}
{{- $tag := $values.image.tag | default .root.Chart.AppVersion }}
{{- $_ := set $server "image" (printf "%s:%s" $values.image.repository $tag) }}
{{- with $values.resources }}{{ $_ := set $server "resources" . }}{{ end }}
{{- $variables := deepCopy $values.env }}
{{- $mount := dict "name" "models" "mountPath" "/repository" "readOnly" true }}
{{- $volume := dict }}
{{- if $values.models.claim }}
{{- $volume = dict "persistentVolumeClaim" (dict "claimName" $values.models.claim "readOnly" true) }}
{{- else if $values.models.image }}
{{- $volume = dict "image" (dict "reference" $values.models.image "pullPolicy" "IfNotPresent") }}
{{- $_ := set $mount "subPath" "models" }}
{{- end }}
{{- if $volume }}
{{- $_ := set $variables "FFF_MODEL_REPOSITORY" $mount.mountPath }}
{{- $_ := set $server "volumeMounts" (list $mount) }}
{{- $_ := set $pod "volumes" (list (set $volume "name" "models")) }}
{{- end }}
{{- with $values.tracing.endpoint }}
{{- $patch := $.root.Files.Get "tracing/endpoint.yaml" | fromYaml }}
{{- $_ := set $spec.template.metadata "labels" (merge (dict) $patch.spec.template.metadata.labels $.labels) }}
{{- $sent := dict "FFF_OTLP_ENDPOINT" . }}
{{- if not (kindIs "invalid" $values.tracing.sample) }}
{{- $_ := set $sent "FFF_TRACE_SAMPLE" (toString $values.tracing.sample) }}
{{- end }}
{{- $variables = merge $variables $sent }}
{{- end }}
{{- $env := list }}
{{- range $server.env }}
{{- if not (hasKey $variables .name) }}{{ $env = append $env . }}{{ end }}
{{- end }}
{{- range $name, $value := $variables }}
{{- $env = append $env (dict "name" $name "value" $value) }}
{{- end }}
{{- $_ := set $server "env" $env }}
{{- end }}
