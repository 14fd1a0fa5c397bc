"""Prints the shared objects that ELF files load, and those that these load, as paths on this system.

python3 needed.py < LIST-OF-FILES.  Reads the files and runs nothing: `ldd` asks the loader, which an emulator may not survive.
"""

import re
import struct
import sys
import sysconfig
from pathlib import Path

LOAD, DYNAMIC, INTERPRETER = 1, 2, 3
NEEDED, STRINGS = 1, 5


def folders() -> list[Path]:
    """Where the loader looks: what ld.so.conf names, then Debian's own places."""
    configured = [
        line.strip()
        for file in [Path("/etc/ld.so.conf"), *sorted(Path("/etc/ld.so.conf.d").glob("*.conf"))]
        if file.exists()
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith("/")
    ]
    triplet = sysconfig.get_config_var("MULTIARCH") or "."
    own = [f"/lib/{triplet}", f"/usr/lib/{triplet}", "/lib", "/usr/lib", "/lib64", f"{sys.prefix}/lib"]
    return [Path(text) for text in dict.fromkeys([*configured, *own])]


def wanted(file: Path) -> list[str]:
    """The names (and the loader's path) that one file asks for; [] if it is no ELF file or asks for nothing."""
    octets = file.read_bytes()
    if octets[:4] != b"\x7fELF" or octets[5] != 1:  # little-endian: all of our processors
        return []
    wide = octets[4] == 2
    header, entry = ("<QQ", "<qQ") if wide else ("<II", "<iI")
    (table,) = struct.unpack_from("<Q" if wide else "<I", octets, 32 if wide else 28)
    size, count = struct.unpack_from("<HH", octets, 54 if wide else 42)
    segments = []
    for at in range(table, table + size * count, size):
        (kind,) = struct.unpack_from("<I", octets, at)
        offset, address = struct.unpack_from(header, octets, at + (8 if wide else 4))
        (length,) = struct.unpack_from(header[:2], octets, at + (32 if wide else 16))
        segments.append((kind, offset, address, length))

    def text(at: int) -> str:
        return octets[at : octets.index(b"\0", at)].decode()

    found = [text(offset) for kind, offset, _, _ in segments if kind == INTERPRETER]
    for kind, offset, _, length in segments:
        if kind == DYNAMIC:
            pairs = list(struct.iter_unpack(entry, octets[offset : offset + length]))
            strings = next((value for tag, value in pairs if tag == STRINGS), 0)
            base = next((o + strings - a for k, o, a, n in segments if k == LOAD and a <= strings < a + n), 0)
            found += [text(base + value) for tag, value in pairs if tag == NEEDED]
    return found


def main() -> int:
    places, missing = folders(), []
    waiting = [Path(line.strip()) for line in sys.stdin if line.strip()]
    seen: dict[str, Path] = {}
    while waiting:
        for name in wanted(waiting.pop()):
            if name in seen:
                continue
            options = [Path(name)] if name.startswith("/") else [place / name for place in places]
            there = next((option for option in options if option.exists()), None)
            if there is None:
                missing.append(name)
                continue
            seen[name] = there
            waiting.append(there)
    print("\n".join(sorted({str(path.parent.resolve() / path.name) for path in seen.values()})))
    bundled = [name for name in missing if re.search(r"-[0-9a-f]{8,}\.so", name)]  # wheels carry their own beside them
    for name in set(missing) - set(bundled):
        print(f"needed.py: {name} is nowhere", file=sys.stderr)
    return 1 if set(missing) - set(bundled) else 0


if __name__ == "__main__":
    sys.exit(main())
