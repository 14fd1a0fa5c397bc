#!/bin/sh
# Makes the folder that Home Assistant builds as a local app: copied to /addons/lan_mail_relay there, it stands in the store.
#   make-addon.sh FOLDER
set -eu
cd "$(dirname "$0")/.."
rm -rf "$1"
mkdir -p "$1/packaging" "$1/requirements"
cp -R packaging/home-assistant/. "$1/"
cat Dockerfile packaging/home-assistant/Dockerfile >"$1/Dockerfile"
cp -R relay LICENSE CHANGELOG.md "$1/"
cp requirements/runtime.txt requirements/push.txt requirements/postgres.txt "$1/requirements/"
cp packaging/make-rootfs.sh packaging/needed.py "$1/packaging/"
find "$1" -name __pycache__ -prune -exec rm -rf {} +
echo "$1"
