#!/bin/sh
# Name the images of an overlay that have no digest, and end with 1 if there are any: under a tag, a registry may give
# another image tomorrow. For example: k8s/check-images.sh k8s/overlays/gpu-cluster
set -eu
overlay=${1:?Give the folder of an overlay, such as k8s/overlays/gpu-cluster.}

objects=$(kubectl kustomize "$overlay")
tagged=$(printf '%s\n' "$objects" | sed -n "s/^[ -]*image: *//p" | tr -d "\"'" | sort -u |
  grep -Ev '@sha256:[0-9a-f]{64}$' || true)
if ! grep -Eq '^    digest: "?sha256:[0-9a-f]{64}"?( .*)?$' "$overlay/airflow.yaml"; then
  tagged="${tagged:+$tagged
}images.airflow in $overlay/airflow.yaml"
fi
[ -n "$tagged" ] || exit 0
printf 'These images have a tag and no digest:\n%s\n' "$tagged" >&2
echo "Give each its digest: under images: of $overlay/kustomization.yaml and of airflow.yaml, digest: sha256:..." \
  "What you push gets one, which docker push prints; of others, docker buildx imagetools inspect NAME says it." >&2
exit 1
