#!/bin/sh
# Ends with 1 unless the tag, the code, the image's label and the changelog name one version.
#   check-tag.sh v0.2.0
set -eu
cd "$(dirname "$0")/.."
version=${1#v}
grep -qxF "__version__ = \"$version\"" relay/__init__.py || { echo "relay/__init__.py has another version than $1" >&2; exit 1; }
grep -qxF "ARG VERSION=$version" Dockerfile || { echo "the Dockerfile has another version than $1" >&2; exit 1; }
grep -qxF "version: \"$version\"" packaging/home-assistant/config.yaml || { echo "the app has another version than $1" >&2; exit 1; }
grep -q '^ARG BASE=.*@sha256:' Dockerfile || { echo "the image's base has no digest: make release" >&2; exit 1; }
python3 packaging/notes.py "$version" >/dev/null
