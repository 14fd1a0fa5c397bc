"""Prints the bill of materials as CycloneDX 1.5: the Python packages of a lock file, and the Debian packages of the image.

python packaging/sbom.py LOCKFILE [FOLDER]      FOLDER: the image's /var/lib/dpkg/status.d
The same input prints the same octets: no time and no serial number.
"""

import json
import re
import sys
from pathlib import Path

NOT_HERE = re.compile(r"sys_platform == 'win32'")


def python_packages(lock: str) -> list[dict[str, object]]:
    """Each pinned package that is installed on Linux, with the hashes of its files."""
    found: list[dict[str, object]] = []
    for name, version, marker, hashes in re.findall(r"(?m)^([a-z0-9.-]+)==([^ ]+)(.*?) \\\n((?:    --hash=.*\n?)+)", lock):
        if NOT_HERE.search(marker):
            continue
        address = f"pkg:pypi/{name}@{version}"
        files = [
            {"type": "distribution", "url": address, "hashes": [{"alg": "SHA-256", "content": one}]}
            for one in re.findall(r"--hash=sha256:([0-9a-f]{64})", hashes)
        ]
        found.append(
            {"type": "library", "bom-ref": address, "name": name, "version": version, "purl": address}
            | {"externalReferences": files}
        )
    return found


def debian_packages(folder: Path) -> list[dict[str, object]]:
    """Each package that a file of the image is from."""
    found: list[dict[str, object]] = []
    for file in sorted(folder.iterdir()):
        text = file.read_text(encoding="utf-8")
        name, version, kind = (re.search(rf"(?m)^{key}: (.*)$", text)[1] for key in ("Package", "Version", "Architecture"))
        address = f"pkg:deb/debian/{name}@{version.replace(':', '%3A').replace('+', '%2B')}?arch={kind}"
        found.append({"type": "library", "bom-ref": address, "name": name, "version": version, "purl": address})
    return found


def main(words: list[str]) -> None:
    root = Path(__file__).resolve().parent.parent
    version = re.search(r'__version__ = "(.*)"', (root / "relay" / "__init__.py").read_text(encoding="utf-8"))[1]
    address = f"pkg:pypi/lan-mail-relay@{version}"
    parts = python_packages(Path(words[0]).read_text(encoding="utf-8"))
    parts += debian_packages(Path(words[1])) if words[1:] else []
    itself = {"type": "application", "bom-ref": address, "name": "lan-mail-relay", "version": version, "purl": address}
    itself["licenses"] = [{"license": {"id": "MIT"}}]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": itself},
        "components": parts,
        "dependencies": [{"ref": address, "dependsOn": [part["bom-ref"] for part in parts]}],
    }
    print(json.dumps(bill, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
