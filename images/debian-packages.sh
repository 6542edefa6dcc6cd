#!/bin/sh
# Print the Debian packages of an image that is on this machine, one on a line: package, version, architecture.
#   images/debian-packages.sh nucleus-cpu:dev
# This needs docker, podman or buildah, able to run.
set -eu
format='${Package} ${Version} ${Architecture}\n'
for tool in docker podman; do
  if $tool info >/dev/null 2>&1; then
    exec $tool run --rm --pull never --network none --entrypoint dpkg-query "$1" --show --showformat "$format"
  fi
done
container=$(buildah from --pull-never "$1")
trap 'buildah rm "$container" >/dev/null' EXIT
buildah run "$container" -- dpkg-query --show --showformat "$format"
