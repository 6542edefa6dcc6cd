#!/bin/sh
# Name what of an overlay isn't as it should be where others use it, and end with 1 if there is anything:
# - images without a digest: under a tag, a registry may give another image tomorrow;
# - a quota that counts GPUs under another name than NUCLEUS_GPU_RESOURCE, and so doesn't bound them.
# For example: k8s/check-overlay.sh k8s/overlays/gpu-cluster
set -eu
overlay=${1:?Give the folder of an overlay, such as k8s/overlays/gpu-cluster.}
objects=$(kubectl kustomize "$overlay")
status=0

tagged=$(printf '%s\n' "$objects" | sed -n "s/^[ -]*image: *//p" | tr -d "\"'" | sort -u |
  grep -Ev '@sha256:[0-9a-f]{64}$' || true)
if ! grep -Eq '^    digest: "?sha256:[0-9a-f]{64}"?( .*)?$' "$overlay/airflow.yaml"; then
  tagged="${tagged:+$tagged
}images.airflow in $overlay/airflow.yaml"
fi
if [ -n "$tagged" ]; then
  printf 'These images have a tag and no digest:\n%s\n' "$tagged" >&2
  echo "Give each its digest: under images: of $overlay/kustomization.yaml and of airflow.yaml, digest: sha256:..." \
    "What you push gets one, which docker push prints; of others, docker buildx imagetools inspect NAME says it." >&2
  status=1
fi

gpu=$(printf '%s\n' "$objects" | sed -n 's/^  NUCLEUS_GPU_RESOURCE: *//p' | tr -d "\"'")
counted=$(printf '%s\n' "$objects" | sed -n 's/^    requests\.\([^:]*\/[^:]*\):.*/\1/p')
if [ "$gpu" != "$counted" ]; then
  path=/spec/hard/requests.
  echo "NUCLEUS_GPU_RESOURCE is $gpu, but the quota counts ${counted:-no GPUs} and so doesn't bound them. Add to the" \
    "patches of $overlay/kustomization.yaml:" >&2
  echo "  - target: {kind: ResourceQuota, name: nucleus}" >&2
  echo "    patch: '[{op: move, from: $path$(echo "$counted" | sed 's|/|~1|'), path: $path$(echo "$gpu" | sed 's|/|~1|')}]'" >&2
  status=1
fi
exit $status
