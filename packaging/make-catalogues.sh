#!/bin/sh
# Writes what catalogues take, with the image that they pull and the project's address: FOLDER.tar.gz, and what is in it in FOLDER.
#   make-catalogues.sh IMAGE URL FOLDER      IMAGE: registry and name, without tag
# The same commit makes the same octets.
set -eu
umask 022
cd "$(dirname "$0")/.."
image=$1 url=$2 out=$3
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' relay/__init__.py)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
rm -rf "$out"
mkdir -p "$out/truenas" "$out/casaos/Apps" "$out/runtipi/apps"
cp -R packaging/truenas "$out/truenas/lan-mail-relay"
cp -R packaging/casaos "$out/casaos/Apps/LanMailRelay"
cp -R packaging/runtipi "$out/runtipi/apps/lan-mail-relay"
cp packaging/home-assistant/icon.png "$out/casaos/Apps/LanMailRelay/icon.png"
cp packaging/unraid.xml "$out/unraid.xml"
sed -e '/^    build: /d' -e "s,\(docs/[a-z-]*\.md\),$url/blob/HEAD/\1," compose.yaml >"$out/compose.yaml"
cp -R packaging/helm "$out/relay"
find "$out" -type f ! -name '*.png' ! -name '*.jpg' -exec sed -i \
    -e "s,https://lan-mail-relay\.invalid,$url,g" \
    -e "s,\(image: \|<Repository>\)relay:[a-z0-9.]*,\1$image:$version," \
    -e "s,repository: relay\$,repository: $image," \
    -e "s,repository: \"\" # .*,repository: $image," {} +
packaging/make-addon.sh "$out/home-assistant" >/dev/null # built on the machine: it pulls no image of ours
pack() { # pack ARCHIVE FOLDER NAME
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$2" -cf - "$3" | gzip -9n >"$1"
}
pack "$out/relay-$version.tgz" "$out" relay # as `helm package` makes it
rm -rf "$out/relay"
pack "$out.tar.gz" "$(dirname "$out")" "$(basename "$out")"
echo "$out.tar.gz"
