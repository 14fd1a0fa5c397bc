#!/bin/sh
# Builds the image for three processors, publishes and signs it, with its bill of materials.
#   publish-image.sh IMAGE VERSION FOLDER      IMAGE: registry and name; FOLDER gets image.json and relay-image.cdx.json
# A version with letters (0.3.0-rc1) is no news for those who take the latest, or the latest of a line.
# Needs docker with buildx, emulation for ARM, a login at the registry, and cosign.
set -eu
cd "$(dirname "$0")/.."
image=$1 version=${2#v} out=$3
case $version in *[!0-9.]*) set -- ;; *) set -- --tag "$image:${version%.*}" --tag "$image:latest" ;; esac
mkdir -p "$out"
docker buildx build --platform linux/amd64,linux/arm64,linux/arm/v7 --provenance mode=max --push \
    --build-arg "VERSION=$version" --build-arg "REVISION=$(git rev-parse HEAD)" \
    --build-arg "CREATED=$(git log -1 --format=%cI)" --metadata-file "$out/image.json" \
    --tag "$image:$version" "$@" .
digest=$(sed -n 's/.*"containerimage.digest": *"\(sha256:[0-9a-f]*\)".*/\1/p' "$out/image.json")
container=$(docker create "$image@$digest")
docker cp "$container:/var/lib/dpkg/status.d" "$out/status.d"
docker rm "$container" >/dev/null
python3 packaging/sbom.py requirements/push.txt "$out/status.d" >"$out/relay-image.cdx.json"
cosign sign --yes "$image@$digest"
cosign attest --yes --type cyclonedx --predicate "$out/relay-image.cdx.json" "$image@$digest"
echo "$image@$digest"
