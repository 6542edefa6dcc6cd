#!/bin/sh
# Run a module of tasks/ in a pod like those of the DAGs, show its output, and exit with its status.
#   k8s/run-task.sh tasks.store.check --store /nucleus/store
# This needs kubectl and python3.
set -eu
name="by-hand-$(date +%s)"
phase() { kubectl -n nucleus get pod "$name" -o jsonpath='{.status.phase}'; }

kubectl -n nucleus get podtemplate cpu -o json | python3 -c '
import json, sys
name, *arguments = sys.argv[1:]
pod = json.load(sys.stdin)["template"]
pod["metadata"]["name"] = name
pod["spec"]["containers"][0]["args"] = ["-m", *arguments]
json.dump({"apiVersion": "v1", "kind": "Pod", **pod}, sys.stdout)
' "$name" "$@" | kubectl -n nucleus apply -f - >&2
trap 'kubectl -n nucleus delete pod "$name" --wait=false >&2' EXIT

while [ "$(phase)" = Pending ]; do sleep 1; done
kubectl -n nucleus logs --follow "$name"
while [ "$(phase)" = Running ]; do sleep 1; done
exit "$(kubectl -n nucleus get pod "$name" -o jsonpath='{.status.containerStatuses[0].state.terminated.exitCode}')"
