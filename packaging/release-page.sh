#!/bin/sh
# Makes the release's page: what CHANGELOG.md says of the version, with every file of the folders.  Needs `gh` and its token.
#   release-page.sh TAG FOLDER...
set -eu
cd "$(dirname "$0")/.."
tag=$1
shift
notes=$(mktemp)
trap 'rm -f "$notes"' EXIT
python3 packaging/notes.py "$tag" >"$notes"
find "$@" -type f -print0 | sort -z | xargs -0 gh release create "$tag" --verify-tag --title "relay ${tag#v}" --notes-file "$notes"
