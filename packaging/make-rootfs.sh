#!/bin/sh
# Makes the root file system of the image: Python, the packages, the shared objects that both load, and little else.
#   make-rootfs.sh SITE ROOT      SITE has the installed packages and the relay; ROOT is made
# Runs inside the build stage, as root, on the architecture of the image.
set -eu
site=$1 root=$2
version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
prefix=$(python3 -c 'import sys; print(sys.prefix)')
library=$prefix/lib/python$version
user=65532

# --- the folders of a merged-/usr Debian, so that paths inside binaries hold ---
mkdir -p "$root$prefix/bin" "$root$prefix/lib" "$root/usr/bin" "$root/usr/lib/ssl" "$root/usr/share/doc/relay" \
    "$root/etc/ssl/certs" "$root/etc/relay" "$root/var/lib/relay" "$root/var/lib/dpkg/status.d" "$root/run" "$root/tmp" \
    "$root/proc" "$root/sys" "$root/dev"
for link in /lib /lib32 /lib64 /libx32; do
    if [ -L "$link" ]; then ln -s "$(readlink "$link")" "$root$link"; mkdir -p "$root$(readlink -f "$link")"; fi
done

# --- Python without what a daemon never calls ---
cp -a "$(readlink -f "$prefix/bin/python3")" "$root$prefix/bin/python$version"
ln -s "python$version" "$root$prefix/bin/python3"
cp -a "$library" "$root$prefix/lib/"
for shared in "$prefix"/lib/libpython*; do [ ! -e "$shared" ] || cp -a "$shared" "$root$prefix/lib/"; done
(
    cd "$root$library"
    rm -rf site-packages dist-packages ensurepip venv idlelib lib2to3 tkinter turtledemo turtle.py pydoc.py pydoc_data \
        test unittest _pyrepl curses dbm config-* distutils msilib antigravity.py this.py __phello__ \
        lib-dynload/_test* lib-dynload/_tkinter* lib-dynload/_curses* lib-dynload/_dbm* lib-dynload/_gdbm* \
        lib-dynload/readline* lib-dynload/_ctypes_test* lib-dynload/_xx* lib-dynload/xx*
    find . -name __pycache__ -prune -exec rm -rf {} +
)
mkdir "$root$library/site-packages"
cp -a "$site/." "$root$library/site-packages/"
rm -rf "$root$library/site-packages/bin"
[ ! -e "$library/dist-packages" ] || ln -s site-packages "$root$library/dist-packages" # where Debian's own site.py looks
find "$root$library/site-packages" \( -name __pycache__ -o -name '*.pyi' -o -name py.typed \) -prune -exec rm -rf {} +
find "$root$library" -xtype l -delete # links into what was left behind

cat >"$root$prefix/bin/relay" <<SCRIPT
#!$prefix/bin/python3
import sys

from relay.cli.main import main

sys.exit(main())
SCRIPT
chmod 755 "$root$prefix/bin/relay"

# --- the one program that is called: it makes the listener's certificate ---
cp -aL "$(command -v openssl)" "$root/usr/bin/openssl"
cp -L /etc/ssl/openssl.cnf "$root/etc/ssl/openssl.cnf"
ln -s /etc/ssl/openssl.cnf "$root/usr/lib/ssl/openssl.cnf"
ln -s /etc/ssl/certs "$root/usr/lib/ssl/certs"

# --- shared objects: all that these load, and libgcc_s, which glibc opens when a thread ends ---
{
    find "$root$library" -name '*.so*' -type f
    echo "$root$prefix/bin/python$version"
    echo "$root/usr/bin/openssl"
    find /usr/lib -name libgcc_s.so.1 | sed -n 1p
} >/tmp/objects
python3 /build/needed.py </tmp/objects >/tmp/wanted
grep -v "^$root" /tmp/objects >>/tmp/wanted # what is not yet in the root
sort -u /tmp/wanted >/tmp/copied
while read -r file; do
    mkdir -p "$root$(dirname "$file")"
    cp -L "$file" "$root$file"
done </tmp/copied
cp -L /etc/ld.so.conf "$root/etc/" 2>/dev/null || echo "$prefix/lib" >"$root/etc/ld.so.conf"
[ ! -d /etc/ld.so.conf.d ] || cp -aL /etc/ld.so.conf.d "$root/etc/"
ldconfig -X -r "$root"

# --- what glibc and OpenSSL read: names, time zones, authorities ---
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
ln -s certs/ca-certificates.crt "$root/etc/ssl/cert.pem"
ln -s /etc/ssl/certs/ca-certificates.crt "$root/usr/lib/ssl/cert.pem"
mkdir -p "$root/usr/share"
cp -a /usr/share/zoneinfo "$root/usr/share/"
rm -rf "$root/usr/share/zoneinfo/right" "$root/usr/share/zoneinfo/posix"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
printf 'root:x:0:0:root:/:/none\nrelay:x:%s:%s:relay:/var/lib/relay:/none\n' $user $user >"$root/etc/passwd"
printf 'root:x:0:\nrelay:x:%s:\n' $user >"$root/etc/group"
cp /build/LICENSE "$root/usr/share/doc/relay/copyright"

# --- which Debian packages these files are, where scanners look for it, and their licences ---
{ cat /tmp/copied; echo /usr/bin/openssl; echo /etc/ssl/certs/ca-certificates.crt; echo /usr/share/zoneinfo/UTC; } \
    | sed 's,^,*,' | xargs dpkg-query -S 2>/dev/null | sed 's/: .*//; s/:.*//' | sort -u | while read -r package; do
    dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
    if [ -e "/usr/share/doc/$package/copyright" ]; then
        mkdir -p "$root/usr/share/doc/$package"
        cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
    fi
done

# --- compiled once, here: a read-only root could never write it, and every health check would compile anew ---
python3 -m compileall -q -j0 --invalidation-mode unchecked-hash -s "$root" -p / "$root$library"
PYTHONPATH="$root$library/site-packages" PYTHONDONTWRITEBYTECODE=1 python3 -m relay.control.rendering # the page's templates too

chown -R 0:0 "$root"
chown $user:$user "$root/var/lib/relay"
chmod 700 "$root/var/lib/relay"
chmod 1777 "$root/tmp"
du -sm "$root"
