"""docs/configuration.md: every setting, from its description, with the words in which `relay check` asks for its value."""

import re
import tempfile
from pathlib import Path

from relay.config import environment, load
from relay.config.schema import SECTIONS, Section, Setting

HEAD = """# Configuration

Every setting, what it takes, and what holds without it. This page is made from `relay/config/schema.py` and from what the
code says when a value is missing (`make pages`); tests hold it to what the code reads.

The file is `config.yaml`: the one that `--config` or `RELAY_CONFIG` names, else the one in the current directory, else
`/etc/relay/config.yaml`. The smallest that works:

```yaml
upstreams:
  isp: {host: mail.isp.example, username: taro@isp.example, password_file: isp.secret}
```

`config.example.yaml` in the repository shows all of them in one file. `relay check` prints every mistake with its line, and
`relay reload` (or SIGHUP: `systemctl reload`, `docker compose kill -s HUP relay`) makes a running relay read the file again;
with a mistake in it the old settings stay in force. Everything is applied, listeners and the page's address and password too,
and sessions of listeners that stay go on, their next message by the new settings. Only `url`, `password`, `fallback`, `lease`,
`name` and `state_dir` of `spool` wait for the next start. What cannot be applied, such as a port that another program has,
keeps its old state; the log and `relay reload` name it, with the reason.

How values are written:

- **Durations** `30s 5m 4h 2d 1w`, also `1h30m`. **Sizes** `500kB 50MB 10MiB`.
- Where several values are possible, one may stand without the brackets of a list.
- `${NAME}` in a value takes an environment variable; it is a mistake if there is none. `$${` stands for `${` itself.
- **Secrets** may stand in a file of their own: `password_file`, `client_secret_file`, and `nas_file` under `users`. The file is
  read as it is, without its last line end. File names count from the folder of `config.yaml`.
- YAML's surprises are switched off: `no`, `on`, `22:22` and `0123` stay what you typed until the setting gives them a type.
  Anchors, aliases and tags are mistakes; so is a key said twice.
"""

VARIABLES = """
## Without a file

One upstream can be told by environment variables alone, as in `compose.yaml`. They count only where no file is found.

Each setting of the sections %s is `RELAY_<SECTION>_<KEY>`:
`RELAY_LISTEN_TLS`, `RELAY_RECIPIENTS_EVERYTHING_TO`, `RELAY_WEB_PASSWORD_FILE`. Several values stand with blanks or commas
between them. With several addresses the other settings of `listen` are those of every listener. A file is needed for what
has names of your own or is a list of rules (`users`, `aliases`, `routes`, `devices`, a second upstream), and for
more of an upstream than this:

| variable | is |
| --- | --- |
"""

ISP = "host: mail.isp.example, sender: taro@isp.example"
POP = "auth: pop, username: me, password: x, pop: {host: pop.isp.example, %s}"
OAUTH = "username: me, oauth: {token_url: http://localhost, client_id: x, %s}"
FRAMES = {
    "": f"upstreams: {{isp: {{{ISP}}}}}\n%s\n",
    "upstreams.*": "upstreams: {isp: {host: mail.isp.example, %s}}\n",
    "upstreams.*.limits": f"upstreams: {{isp: {{{ISP}, limits: {{%s}}}}}}\n",
    "upstreams.*.pop": f"upstreams: {{isp: {{{ISP}, {POP}}}}}\n",
    "upstreams.*.oauth": f"upstreams: {{isp: {{{ISP}, {OAUTH}}}}}\n",
    "routes": f"upstreams: {{isp: {{{ISP}}}}}\nroutes: [{{via: [isp], %s}}]\n",
    "dkim": f"upstreams: {{isp: {{{ISP}}}}}\ndkim: {{domain: own.example, %s}}\n",
    "devices.*": f"upstreams: {{isp: {{{ISP}}}}}\ndevices: {{nas: {{client: 192.168.0.20, expect_every: 26h, %s}}}}\n",
    "devices.*.limits": f"upstreams: {{isp: {{{ISP}}}}}\ndevices: {{nas: {{client: 192.168.0.20, limits: {{%s}}}}}}\n",
    "devices.*.storm": f"upstreams: {{isp: {{{ISP}}}}}\ndevices: {{nas: {{client: 192.168.0.20, storm: {{%s}}}}}}\n",
    "devices.*.quiet": f"upstreams: {{isp: {{{ISP}}}}}\ndevices: {{nas: {{client: 192.168.0.20, quiet: {{%s}}}}}}\n",
}
"""A configuration around one setting, by the path of its section."""


def framed(section: Section, said: str) -> str:
    """A whole configuration in which that section says this."""
    frame = FRAMES.get(section.path) or FRAMES[""] % (section.path + ": {%s}")
    return re.sub(r"(\w+): [^,{}]+, (?=[^{}]*\b\1:)", "", frame % said)  # what is said replaces what the frame says


def reading(source: str) -> list[str]:
    """The mistakes of `relay check` in this file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(source, encoding="utf-8")
        return [f"{one.path}: {one.text}" for one in load(path, {}, machine_name="nas").mistakes]


def expected(section: Section, setting: Setting) -> str:
    """What `relay check` asks for where the value is missing."""
    for mistake in reading(framed(section, f"{setting.key}: null")):
        match = re.search(rf"(?:^|\.){setting.key}: expected (.*?)(?:, or a list of such)?, found ", mistake)
        if match:
            several = ", or a list of such" in mistake
            return match[1] + (" (one or several)" if several else "")
    if setting.key in ("users", "aliases", "header"):
        return "a mapping"
    raise ValueError(f"relay check says nothing of an empty {section.path}.{setting.key}")


def _row(section: Section, setting: Setting) -> str:
    default = setting.otherwise or (f"`{setting.default}`" if setting.default else "")
    return f"| `{setting.key}` | {expected(section, setting)} | {default or 'none'} | {setting.text} |\n"


PARTS = {
    "upstreams.*": "upstreams:\n  isp: %s\n",
    "upstreams.*.limits": "upstreams:\n  isp:\n    limits: %s\n",
    "upstreams.*.pop": "upstreams:\n  isp:\n    auth: pop\n    username: me\n    password_file: pop.secret\n    pop: %s\n",
    "upstreams.*.oauth": "upstreams:\n  isp:\n    provider: outlook\n    username: nas@company.example\n    oauth: %s\n",
    "routes": "routes:\n  - %s\n",
    "devices.*": "devices:\n  nas: %s\n",
    "devices.*.limits": "devices:\n  nas:\n    client: 192.168.0.20\n    limits: %s\n",
    "devices.*.storm": "devices:\n  nas:\n    client: 192.168.0.20\n    storm: %s\n",
    "devices.*.quiet": "devices:\n  nas:\n    client: 192.168.0.20\n    quiet: %s\n",
}
"""How a section stands in a file."""


def _section(section: Section) -> str:
    name = section.path.replace("*", "NAME")
    heading = f"\n## {name}\n\n" if name else "\n## Top level\n\n"
    part = PARTS.get(section.path, f"{section.path}: %s\n") % section.example
    example = f"\n\n<!-- part -->\n```yaml\n{part}```" if section.example else ""
    table = "\n\n| setting | takes | without it | what it is for |\n| --- | --- | --- | --- |\n"
    return heading + section.text + example + table + "".join(_row(section, setting) for setting in section.settings)


def _variables() -> str:
    rows = [f"| `{name}` | `{key}` of the upstream |" for name, key in environment.UPSTREAM.items()]
    rows += [f"| `{name}` | `{'.'.join(setting)}` |" for name, setting in environment.SHORT.items()]
    rows += ["| `RELAY_HOSTNAME` | `hostname` |"]
    sections = ", ".join(dict.fromkeys(f"`{section}`" for section, _ in environment.LONG.values() if section))
    return VARIABLES % sections + "\n".join(rows) + "\n"


def page() -> str:
    """The whole page."""
    return HEAD + "".join(map(_section, SECTIONS)) + _variables()
