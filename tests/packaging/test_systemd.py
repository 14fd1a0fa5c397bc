"""The Debian package under a real systemd: a Debian of its own starts in an emulated machine, with the package in it.

.deb ──dpkg -i──▶ Debian ──cpio──▶ qemu: kernel, systemd as process 1, relay.service ──serial line──▶ what was seen
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import relay
from tests.packaging.test_debian import built, renumbered
from tests.support.overlay import instance

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="Debian's dpkg-deb is not here"),
    pytest.mark.skipif(not os.environ.get("EMULATE"), reason="takes a quarter of an hour; EMULATE=1 asks for it"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the emulated machine is a PC"),
]
QUEUED = 25

BOOT = """
set -eu
root=/opt/machine
cp /srv/peer/*.deb /srv/peer/trial "$root/"
printf 'relay-machine\\n' >"$root/etc/hostname"
chroot "$root" dpkg -i /old.deb
install -m 640 -g "$(chroot "$root" id -g relay)" /srv/peer/config.yaml "$root/etc/relay/config.yaml"
cp /srv/peer/trial.service "$root/etc/systemd/system/"
chroot "$root" systemctl enable trial.service
chroot "$root" systemctl mask serial-getty@ttyS0.service
ln -sf /bin/true "$root/usr/bin/py3compile"  # tried in test_debian.py: emulated, it takes ten minutes
cp /opt/boot/vmlinuz-* /srv/peer/kernel
cd "$root"
find . -xdev -print | cpio --quiet -o -H newc >/srv/peer/disk
timeout 1200 qemu-system-x86_64 -accel tcg,thread=multi -m 3G -smp 2 -nographic -no-reboot -net none -kernel /srv/peer/kernel \\
    -initrd /srv/peer/disk -append "console=ttyS0 rdinit=/lib/systemd/systemd panic=-1 systemd.show_status=0" </dev/null
"""

UNIT = """
[Unit]
After=relay.service
[Service]
Type=idle
ExecStart=/bin/sh -c 'sh /trial >/dev/ttyS0 2>&1; systemctl poweroff -f -f'
[Install]
WantedBy=multi-user.target
"""

TRIAL = f"""
say() {{ echo "SEEN $*"; }}
pid() {{ systemctl show -P MainPID relay; }}
settled() {{
    for _ in $(seq 240); do
        case $(systemctl is-active relay) in active | failed | inactive) break ;; esac
        sleep 1
    done
}}
queued() {{
    runuser -u relay -- relay queue list --json |
        python3 -c 'import json, sys; print(len(json.load(sys.stdin)["messages"]))'
}}
settled
say first $(systemctl is-active relay) $(systemctl show -P Type relay) $(systemctl is-enabled relay)
say user $(stat -c %U:%G /proc/$(pid))
say capabilities $(sed -n 's/^CapEff:\\t//p' /proc/$(pid)/status)
python3 - <<'PYTHON'
import smtplib
with smtplib.SMTP("127.0.0.1", 25, timeout=60) as device:
    for number in range({QUEUED}):
        letter = b"From: nas@nas.local\\r\\nSubject: %d\\r\\n\\r\\nhello\\r\\n" % number
        device.sendmail("nas@nas.local", ["me@example.jp"], letter)
PYTHON
say queued $(queued)
systemctl reload relay; say reloaded $?
old=$(pid); kill -9 $old; sleep 2; settled
say killed $(systemctl is-active relay) $(test "$(pid)" != $old && echo another) $(queued)
dpkg -i /new.deb >/dev/null 2>&1; say installed $?
settled
say upgraded $(systemctl is-active relay) $(dpkg-query -W -f '${{Version}}' lan-mail-relay) $(queued)
systemctl restart relay; say restarted $? $(queued)
echo 'upstreams: [' >/etc/relay/config.yaml
systemctl restart relay; settled; sleep 7
say broken $(systemctl is-active relay) $(systemctl show -P ExecMainStatus relay) $(systemctl show -P NRestarts relay)
say exposure $(systemd-analyze security --no-pager relay.service | sed -n 's/.*Overall exposure.*: \\([0-9.]*\\).*/\\1/p')
systemctl reset-failed relay
dpkg --purge lan-mail-relay >/dev/null 2>&1
say purged $? $(ls -d /etc/relay /var/lib/relay /usr/lib/relay 2>/dev/null) $(systemctl is-active relay)
systemctl list-units --failed --no-legend --plain | sed 's/^/SEEN failed /'
journalctl -q -o cat -u relay -n 60
"""

CONFIG = """
upstreams: {isp: {host: 127.0.0.1, port: 9, tls: none, sender: nas@isp.example}}
"""


def test_a_life_under_systemd(tmp_path: Path) -> None:
    """Starts at boot with one capability, reloads, comes back after kill -9, keeps the queue in an upgrade, is purged."""
    package = built(tmp_path)
    unpacked = tmp_path / "unpacked"
    subprocess.run(["dpkg-deb", "-R", str(package), str(unpacked)], check=True)
    files = {
        "old.deb": renumbered(unpacked, tmp_path, "0.0.9").read_bytes(),
        "new.deb": package.read_bytes(),
        "config.yaml": CONFIG,
        "trial": TRIAL,
        "trial.service": UNIT,
    }
    with instance("machine", BOOT, files) as inside:
        inside.process.wait(1400)
        said = inside.log_file.read_text(errors="replace")
    seen = dict(re.findall(r"SEEN (\w+) ?([^\r\n]*)", said))
    assert "purged" in seen, f"it did not come to its end: {seen}\n{said[-3000:]}"
    assert seen.pop("first") == "active notify enabled"
    assert seen.pop("user") == "relay:relay"
    assert int(seen.pop("capabilities"), 16) == 1 << 10  # CAP_NET_BIND_SERVICE
    assert float(seen.pop("exposure")) < 2.0
    assert seen == {
        "queued": str(QUEUED),
        "reloaded": "0",
        "killed": f"active another {QUEUED}",
        "installed": "0",
        "upgraded": f"active {relay.__version__} {QUEUED}",
        "restarted": f"0 {QUEUED}",
        "broken": "failed 2 0",
        "purged": "0 inactive",
    }, said[-4000:]
