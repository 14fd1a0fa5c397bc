#!/bin/sh
# Builds the Debian package: the relay and the Python packages of its lock file under /usr/lib/relay, for every architecture.
#   make-deb.sh PYTHON FOLDER      PYTHON has pip and shtab; FOLDER gets lan-mail-relay_VERSION_all.deb, whose path is printed
# The same commit makes the same octets.
set -eu
umask 022
cd "$(dirname "$0")/.."
python=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' relay/__init__.py)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
code=$root/usr/lib/relay
doc=$root/usr/share/doc/lan-mail-relay
chmod 755 "$work"
install -d "$code" "$doc/examples" "$root/DEBIAN" "$root/etc/relay" "$root/usr/bin" "$root/usr/lib/systemd/system" \
    "$root/usr/lib/sysusers.d" "$root/usr/share/man/man8" "$root/usr/share/lintian/overrides"

# --- code: wheels without what is compiled, each of which has the same in Python beside it ---
"$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes --no-deps --no-compile \
    --only-binary :all: --target "$code" -r requirements/push.txt
cp -R relay "$code/"
find "$code" \( -name __pycache__ -o -name '*.pyi' -o -name py.typed -o -name '*.so' -o -name '*.pyx' \) -prune -exec rm -rf {} +
rm -rf "$code/bin" "$code/_yaml" "$code"/*.dist-info/RECORD "$code"/*.dist-info/INSTALLER "$code"/*.dist-info/REQUESTED \
    "$code"/*.dist-info/WHEEL "$code/aiosmtpd/docs" "$code"/*/tests
find "$code" -name '*.py' -exec sed -i '1{/^#!/d}' {} + # modules, no programs
cat >"$root/usr/bin/relay" <<'SCRIPT'
#!/usr/bin/python3 -sP
import sys

sys.path.insert(0, "/usr/lib/relay")

from relay.cli.main import main

sys.exit(main())
SCRIPT
chmod 755 "$root/usr/bin/relay"

# --- the unit: packaging/relay.service with the places of a package; it waits quietly for a configuration ---
sed -e 's,^ExecStart=.*,ExecStart=/usr/bin/relay run,' \
    -e 's,^WorkingDirectory=.*,WorkingDirectory=/var/lib/relay,' \
    -e 's,^Documentation=.*,Documentation=man:relay(8),' \
    -e '1d' -e '/^StartLimitBurst=/a ConditionPathExists=|/etc/relay/config.yaml\nConditionPathExists=|/etc/relay/environment' \
    packaging/relay.service >"$root/usr/lib/systemd/system/relay.service"
cp packaging/relay.sysusers "$root/usr/lib/sysusers.d/lan-mail-relay.conf"

# --- documents ---
"$python" packaging/manual.py "$version" "$SOURCE_DATE_EPOCH" | gzip -9n >"$root/usr/share/man/man8/relay.8.gz"
"$python" packaging/completion.py "$root"
cp config.example.yaml "$doc/examples/"
gzip -9n <CHANGELOG.md >"$doc/CHANGELOG.md.gz"
printf 'lan-mail-relay (%s) unstable; urgency=medium\n\n  * CHANGELOG.md.gz tells what is new.\n\n -- %s  %s\n' "$version" \
    "$(sed -n 's/^Maintainer: //p' packaging/debian/control)" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")" |
    gzip -9n >"$doc/changelog.gz"
{
    printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: %s\nLicense: MIT\n' \
        "$(sed -n 's/^Copyright (c) //p' LICENSE)"
    sed -e 1,/^Copyright/d -e 's/^$/./' -e 's/^/ /' LICENSE | sed 1d
    printf '\nFiles: usr/lib/relay/*\nCopyright: their authors, named in each package'"'"'s dist-info\nLicense: their own\n'
    printf ' The Python packages beside the relay keep their licences in\n /usr/lib/relay/NAME-VERSION.dist-info/.\n'
} >"$doc/copyright"
cp packaging/debian/lintian-overrides "$root/usr/share/lintian/overrides/lan-mail-relay"

# --- the package ---
size=$(du -sk --apparent-size "$root" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@SIZE@/$size/" packaging/debian/control >"$root/DEBIAN/control"
for script in postinst prerm postrm; do install -m 755 "packaging/debian/$script" "$root/DEBIAN/$script"; done
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
find "$root" -type d -exec chmod 755 {} +
find "$root" -type f -exec chmod u=rwX,go=rX {} +
find "$code" -type f -exec chmod 644 {} +
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/lan-mail-relay_${version}_all.deb" >/dev/null
echo "$out/lan-mail-relay_${version}_all.deb"
