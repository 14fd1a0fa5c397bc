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
`/etc/relay/config.yaml`, else the one that [set-up in the browser](first-start.md) left in the state directory. All of it can
be said by [environment variables](#without-a-file) instead; the tables name the variable of each setting. The smallest file
that works:

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
  read as it is, without its last line end; blanks or quotation marks around the secret count, and are remarked on, as is a file
  that every user of the machine can read. File names count from the folder of `config.yaml`.
- YAML's surprises are switched off: `no`, `on`, `22:22` and `0123` stay what you typed until the setting gives them a type.
  Anchors, aliases and tags are mistakes; so is a key said twice.
"""

VARIABLES = """
## Without a file

The same can be said by environment variables, as in `compose.yaml`, in one of two ways. `relay check` names the variable
where it names the line of a file else.

**A variable for each setting**: one upstream and every single value of the tables above.

- `RELAY_<SECTION>_<KEY>`, such as `RELAY_LISTEN_TLS` or `RELAY_RETRY_GIVE_UP_AFTER`; for the upstream `RELAY_UPSTREAM_<KEY>`,
  such as `RELAY_UPSTREAM_REWRITE` or `RELAY_UPSTREAM_LIMITS_PER_DAY`. The most common have short names:
  %s.
- Each secret can come from a file: `RELAY_PASSWORD_FILE`, `RELAY_WEB_PASSWORD_FILE`, `RELAY_NOTICES_WEBHOOK_FILE` ...
- Several values stand with blanks or commas between them; notification URLs with blanks only. With several addresses the
  other settings of `listen` are those of every listener. Values are taken as they are: `${NAME}` means nothing there.
- The upstream is called `upstream`, or as its provider: `gmail`.
- An empty variable counts as not set.

**A whole file in one variable**, `RELAY_CONFIG_YAML`: for rules, and for what has names of your own (several upstreams,
`users`, `aliases`, `routes`, `devices`). It has all that a file has, `${NAME}` too; file names count from the current
directory, and mistakes have line and column. In a compose file `$` is written `$$`:

<!-- environment -->
```yaml
environment:
  ISP_PASSWORD: "..."
  RELAY_CONFIG_YAML: |
    upstreams:
      isp: {host: mail.isp.example, username: taro@isp.example, password: "$${ISP_PASSWORD}"}
      cellar: {folder: /srv/scans}
    routes:
      - {to: "scan@*", via: [cellar, isp]}
      - {via: [isp]}
    listen: {address: "0.0.0.0:2525"}
```

A secret that stands in it is remarked on at each start, since `docker inspect` shows it: `password_file`, or a secret of the
orchestrator, is better. Linux takes up to 128 kB.

**Which of them counts**: the file that `--config` or `RELAY_CONFIG` names, if there is one; else `RELAY_CONFIG_YAML`; else
`config.yaml` in the current directory or in `/etc/relay`; else the single variables. They are not mixed: a variable beside a
file or beside `RELAY_CONFIG_YAML` is not used, and the log and `relay check` say so of each. A variable that looks like one of
ours and is none is told with the name that may be meant. As variables stay what they were while a program runs, a reload
reads only the secrets' files again.
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

BESIDE = {
    **dict.fromkeys(("url", "save_to_sent"), "api: graph, username: me@company.example, oauth: {client_id: x}, "),
    **dict.fromkeys(("title", "attachments"), "push: ntfys://ntfy.example/topic, "),
    "save": "folder: /srv/scans, ",
}
"""What a setting of an upstream stands beside, where without that it is a mistake."""


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
    beside = BESIDE.get(setting.key, "") if section.path == "upstreams.*" else ""
    for mistake in reading(framed(section, f"{beside}{setting.key}: null")):
        match = re.search(rf"(?:^|\.){setting.key}: expected (.*?)(?:, or a list of such)?, found ", mistake)
        if match:
            several = ", or a list of such" in mistake
            return match[1] + (" (one or several)" if several else "")
    if setting.key in ("users", "aliases", "header"):
        return "a mapping"
    raise ValueError(f"relay check says nothing of an empty {section.path}.{setting.key}")


def _row(section: Section, setting: Setting) -> str:
    default = setting.otherwise or (f"`{setting.default}`" if setting.default else "")
    variable = _VARIABLES.get(".".join(filter(None, (section.path, setting.key))))
    said_by = f"`{variable}`" if variable else f"in `{environment.WHOLE}`"
    return f"| `{setting.key}` | {said_by} | {expected(section, setting)} | {default or 'none'} | {setting.text} |\n"


_VARIABLES = {path: name for names in (environment.LONG, environment.SHORT) for name, path in names.items()}
"""By the path of a setting the variable that says it, the short one if there is one."""


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
    table = "\n\n| setting | variable | takes | without it | what it is for |\n| --- | --- | --- | --- | --- |\n"
    return heading + section.text + example + table + "".join(_row(section, setting) for setting in section.settings)


def page() -> str:
    """The whole page."""
    return HEAD + "".join(map(_section, SECTIONS)) + VARIABLES % ", ".join(f"`{name}`" for name in environment.SHORT)
