"""Inside a network namespace of its own: runs the image on the engine's bridge and talks to its published port.

python -m tests.container.through_the_gateway IMAGE NETWORKS      prints one JSON document; {gateway} in NETWORKS is filled in
"""

import json
import smtplib
import sys
import time

from tests.support.containers import Container, podman, volume

PORT = 2525


def main(image: str, networks: str) -> None:
    network = json.loads(podman("network", "inspect", "podman").stdout)[0]
    gateway = network["subnets"][0]["gateway"]
    environment = {
        "RELAY_HOST": "mail.isp.example",
        "RELAY_SENDER": "nas@isp.example",
        "RELAY_LISTEN": f"0.0.0.0:{PORT}",
        "RELAY_NETWORKS": networks.format(gateway=gateway),
    }
    with volume() as spool:
        mounts = {spool: "/var/lib/relay"}
        options = (f"--publish=127.0.0.1:{PORT}:{PORT}",)
        with Container(image, environment=environment, mounts=mounts, options=options) as relay:
            relay.wait_for("started")
            seen = {"gateway": gateway, **dialog()}
            listed = relay.exec("relay", "queue", "list", "--json")
            seen["queued"] = len(json.loads(listed.stdout)["messages"])
            for name in ("warned", "refused"):
                seen[name] = [line["text"] for line in relay.events(name)]
    print(json.dumps(seen))


def dialog() -> dict[str, str]:
    device = smtplib.SMTP(timeout=20)
    code, words = connected(device)
    device.ehlo("nas")
    mail = device.mail("nas@isp.example")
    if mail[0] == 250:
        device.rcpt("me@example.jp")
        device.data(b"Subject: through the gateway\r\n\r\nhello\r\n")
    device.quit()
    return {"greeting": f"{code} {words.decode()}", "mail": f"{mail[0]} {mail[1].decode()}"}


def connected(device: smtplib.SMTP) -> tuple[int, bytes]:
    """The published port answers a moment after the listener does."""
    for _ in range(100):
        try:
            return device.connect("127.0.0.1", PORT)
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the published port never answered")


if __name__ == "__main__":
    main(*sys.argv[1:])
