{{- /* A duration of Go's in seconds. */ -}}
{{- define "fairlead.seconds" -}}
{{- $seconds := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|s|m|h)" . -1 -}}
{{- $unit := get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) (regexFind "[a-z]+" .) -}}
{{- $seconds = addf $seconds (mulf (float64 (regexFind "[0-9.]+" .)) $unit) -}}
{{- end -}}
{{- $seconds -}}
{{- end -}}

{{- /* Values that are each of them right, and cannot work together. */ -}}
{{- define "fairlead.checks" -}}
{{- $ownData := or .Values.persistence.enabled .Values.persistence.existingClaim -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection.enabled) -}}
{{- fail (printf "replicas is %d: two operators without leader election would work against each other; set leaderElection.enabled, or replicas: 1" (int .Values.replicas)) -}}
{{- end -}}
{{- if and (gt (int .Values.replicas) 1) $ownData -}}
{{- fail "a claim (persistence) can be used by one replica only: set replicas: 1, or persistence.enabled: false" -}}
{{- end -}}
{{- if not (include "fairlead.controllers" .) -}}
{{- fail "nothing is left to do: with eventsAddr the controller notification is that of the other program; name more in controllers, or leave eventsAddr empty" -}}
{{- end -}}
{{- if ge (float64 (include "fairlead.seconds" .Values.gracefulShutdownTimeout)) (float64 .Values.terminationGracePeriodSeconds) -}}
{{- fail (printf "gracefulShutdownTimeout (%s) has to be shorter than terminationGracePeriodSeconds (%d): the pod would be killed in the middle of its work" .Values.gracefulShutdownTimeout (int .Values.terminationGracePeriodSeconds)) -}}
{{- end -}}
{{- if and .Values.environment.url .Values.rbac.create (not .Values.rbac.clusterAdmin) (not .Values.defaultServiceAccount) (not .Values.environment.serviceAccountName) -}}
{{- fail (printf "with rbac.clusterAdmin: false the Kustomization of environment.url would be forbidden everything: set environment.serviceAccountName (or defaultServiceAccount) to an account of the namespace %s that may apply the folder" (include "fairlead.environmentNamespace" .)) -}}
{{- end -}}
{{- end -}}
