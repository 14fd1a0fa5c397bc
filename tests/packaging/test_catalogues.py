"""CasaOS and Runtipi: a compose file with the catalogue's own fields; and what `make catalogues` writes of all of them.

The fields are those of docs/specs/compose-and-x-casaos.md in github.com/IceWhaleTech/CasaOS-AppStore, and of Runtipi's pages
docs/reference/config-json and docs/reference/dynamic-compose, with apps/app-info-schema.json of its store, runtipi-appstore.
"""

import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import relay
from relay.config import load, missing
from relay.config.environment import NAMES, SETUP
from relay.setup.place import find_place, wanted
from tests.support.tools import checker

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
CASAOS = PACKAGING / "casaos" / "docker-compose.yml"
RUNTIPI = PACKAGING / "runtipi" / "docker-compose.yml"
FORM = json.loads((PACKAGING / "runtipi" / "config.json").read_text(encoding="utf-8"))
ANSWERS = {
    "RELAY_PROVIDER": "gmail",
    "RELAY_USERNAME": "taro@gmail.com",
    "RELAY_PASSWORD": "secret",
    "RELAY_NOTICES_TO": "taro@gmail.com",
    "RELAY_WEB_PASSWORD": "for the page",
}
ENGINE = {"TZ": "Asia/Tokyo", "AppID": "lan-mail-relay", "APP_DATA_DIR": "/srv/app", "PUID": "1000", "PGID": "1000"}
"""What the two set for each app."""


def read(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")))


def filled(text: str, variables: Mapping[str, str]) -> str:
    """As Compose fills variables in: $NAME, ${NAME}, ${NAME:-default}."""

    def value(found: "re.Match[str]") -> str:
        name, default = found[1] or found[2], found[3]
        assert name in variables or default is not None, name
        return variables.get(name) or default or ""

    return re.sub(r"\$(?:(\w+)|\{(\w+)(?::-([^}]*))?\})", value, text)


def configured(environment: Mapping[str, str]) -> Any:
    environ = {name: value for name, value in environment.items() if name != "TZ"}
    assert environ.keys() <= {*NAMES, SETUP}
    assert not missing(None, environ)
    loaded = load(None, environ, machine_name="nas")
    assert [str(mistake) for mistake in loaded.mistakes] == []
    assert loaded.config
    return loaded.config


@pytest.mark.parametrize("file", [CASAOS, RUNTIPI], ids=["casaos", "runtipi"])
def test_it_is_as_locked_down_as_compose_yaml(file: Path) -> None:
    """One service; the same user, file system, capabilities and time to stop; the state on something that stays."""
    ours = COMPOSE["services"]["relay"]
    [(name, service)] = read(file)["services"].items()
    assert name == "lan-mail-relay"
    for key in ("user", "read_only", "cap_drop", "security_opt", "tmpfs", "stop_grace_period", "restart"):
        assert service[key] == ours[key], key
    assert [mount.split(":")[-1] for mount in service["volumes"]] == ["/var/lib/relay"]
    assert service["image"] == f"relay:{relay.__version__}"
    assert not {"build", "privileged", "devices", "cap_add"} & service.keys()


@pytest.mark.parametrize("file", [CASAOS, RUNTIPI], ids=["casaos", "runtipi"])
def test_without_an_answer_the_page_asks(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set-up is on, there is no configuration, and set-up takes what is said; its page is where the catalogue opens it."""
    monkeypatch.chdir(tmp_path)
    [service] = yaml.safe_load(filled(file.read_text(encoding="utf-8"), ENGINE))["services"].values()
    environ = {**service["environment"], "RELAY_SPOOL": f"sqlite:{tmp_path}/spool.db"}
    assert {type(value) for value in environ.values()} == {str}, "an empty answer must not become YAML's null"
    assert wanted(False, environ)
    assert missing(None, environ)
    place = find_place(None, environ)
    assert place.base.web.address == "0.0.0.0:8025"
    assert not place.own_password


@pytest.mark.parametrize("file", [CASAOS, RUNTIPI], ids=["casaos", "runtipi"])
def test_compose_can_read_it(file: Path) -> None:
    """By Compose's own reader, with the variables that the engine sets."""
    command = [checker("docker-compose"), "-f", str(file), "config", "--format", "json"]
    environment = {**os.environ, **ANSWERS, **ENGINE, "COMPOSE_PROJECT_NAME": "app"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    [service] = json.loads(done.stdout)["services"].values()
    assert service["environment"]["TZ"] == "Asia/Tokyo"


def test_casaos_has_its_fields() -> None:
    """All that its build needs, each of its kind; the texts in English at least; the page is what opens."""
    file = read(CASAOS)
    ours = file["x-casaos"]
    [(name, service)] = file["services"].items()
    assert file["name"] == name == ours["main"]
    assert re.fullmatch(r"[a-z0-9]+(?:[._-][a-z0-9]+)*(?:\.[a-z0-9]+(?:[._-][a-z0-9]+)*)+", ours["id"])
    assert {key: type(value) for key, value in ours.items()} == {
        **dict.fromkeys(("id", "main", "index", "port_map", "scheme", "icon", "author", "developer", "category"), str),
        **dict.fromkeys(("version", "website", "repo"), str),
        **dict.fromkeys(("title", "tagline", "description", "tips"), dict),
        "architectures": list,
    }
    for texts in (ours["title"], ours["tagline"], ours["description"], *ours["tips"].values()):
        assert texts.keys() == {"en_US", "ja_JP"}
        assert all(texts.values())
    assert ours["category"] in ("Media", "Productivity", "Home", "Networking", "AI", "Finance", "Social", "Developer", "Others")
    assert set(ours["architectures"]) <= {"amd64", "arm64", "arm"}
    assert ours["version"] == relay.__version__
    assert service["environment"]["RELAY_WEB_ADDRESS"].rpartition(":")[2] == ours["port_map"]
    assert service["network_mode"] == "host"


def test_casaos_makes_a_relay() -> None:
    """With the account and the passwords filled in; with half of it, what is left out is named."""
    [service] = read(CASAOS)["services"].values()
    config = configured({**service["environment"], **ANSWERS})
    assert [listener.name for listener in config.listeners] == ["0.0.0.0:2525"]
    assert config.web.address == "0.0.0.0:8025"
    half = {**service["environment"], "RELAY_PROVIDER": "gmail", "RELAY_USERNAME": "taro@gmail.com"}
    loaded = load(None, {name: value for name, value in half.items() if name != "TZ"}, machine_name="nas")
    assert "RELAY_PASSWORD" in " ".join(map(str, loaded.mistakes))
    assert "RELAY_WEB_PASSWORD" in " ".join(map(str, loaded.remarks))


def test_runtipi_has_its_fields() -> None:
    """Known keys of the right kind; each field of the form is a variable of ours; the folder belongs to the image's user."""
    kinds = {
        **dict.fromkeys(("id", "name", "version", "short_desc", "description", "author", "source", "website"), str),
        **dict.fromkeys(("available", "exposable", "dynamic_config"), bool),
        **dict.fromkeys(("port", "uid", "gid", "tipi_version", "created_at", "updated_at"), int),
        **dict.fromkeys(("categories", "supported_architectures", "form_fields"), list),
    }
    assert {key: type(value) for key, value in FORM.items()} == kinds
    assert FORM["version"] == relay.__version__
    assert {"network", "utilities"} >= set(FORM["categories"])
    assert {"amd64", "arm64"} >= set(FORM["supported_architectures"])
    file = read(RUNTIPI)
    [(name, service)] = file["services"].items()
    assert FORM["id"] == name
    assert file["x-runtipi"] == {"schema_version": 2}
    assert service["x-runtipi"] == {"is_main": True, "internal_port": FORM["port"]}
    assert service["user"] == f"{FORM['uid']}:{FORM['gid']}"
    for field in FORM["form_fields"]:
        assert field.keys() <= {"type", "label", "hint", "default", "required", "min", "env_variable"}
        assert {"type", "label", "required", "env_variable"} <= field.keys()
        assert field["type"] in ("text", "password", "email")
        assert field["env_variable"] in NAMES
        assert (field["type"] == "password") == ("PASSWORD" in field["env_variable"])
        assert f"${{{field['env_variable']}" in service["environment"][field["env_variable"]]
    description = (PACKAGING / "runtipi" / "metadata" / "description.md").read_text(encoding="utf-8")
    assert "2525" in description


def test_runtipi_makes_a_relay() -> None:
    """No answer is forced; with the account, and with all of it."""
    assert not [field["env_variable"] for field in FORM["form_fields"] if field["required"]]
    assert {field["env_variable"] for field in FORM["form_fields"]} > ANSWERS.keys()
    defaults = {field["env_variable"]: field["default"] for field in FORM["form_fields"] if "default" in field}
    for more in ({}, {"RELAY_PROVIDER": "", "RELAY_HOST": "mail.isp.example", "RELAY_NETWORKS": "private 172.18.0.1"}):
        text = filled(RUNTIPI.read_text(encoding="utf-8"), {**defaults, **ANSWERS, **ENGINE, **more})
        [service] = yaml.safe_load(text)["services"].values()
        config = configured(service["environment"])
        assert config.web.address == f"0.0.0.0:{FORM['port']}"
        assert service["ports"] == ["2525:2525"]


def made(folder: Path) -> Path:
    command = [str(PACKAGING / "make-catalogues.sh"), "registry.example/house/relay", "https://git.example/relay", str(folder)]
    done = subprocess.run(
        command, env={**os.environ, "SOURCE_DATE_EPOCH": "1790000000"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def test_what_a_release_hands_out(tmp_path: Path) -> None:
    """Every catalogue pulls the published image by its version and names the project; the same octets each time."""
    archive = made(tmp_path / "one" / "catalogues")
    assert archive.read_bytes() == made(tmp_path / "two" / "catalogues").read_bytes()
    folder = archive.parent / "catalogues"
    with tarfile.open(archive) as packed:
        assert {Path(name).parts[0] for name in packed.getnames()} == {"catalogues"}
    image = f"registry.example/house/relay:{relay.__version__}"
    for name in ("casaos/Apps/LanMailRelay", "runtipi/apps/lan-mail-relay"):
        [service] = read(folder / name / "docker-compose.yml")["services"].values()
        assert service["image"] == image
    assert f"<Repository>{image}</Repository>" in (folder / "unraid.xml").read_text()
    assert read(folder / "truenas" / "lan-mail-relay" / "ix_values.yaml")["images"]["image"] == {
        "repository": "registry.example/house/relay",
        "tag": relay.__version__,
    }
    with tarfile.open(folder / f"relay-{relay.__version__}.tgz") as chart:
        values = chart.extractfile("relay/values.yaml")
        assert values
        assert yaml.safe_load(values.read())["image"]["repository"] == "registry.example/house/relay"
        assert {"relay/Chart.yaml", "relay/values.schema.json", "relay/templates/workload.yaml"} <= set(chart.getnames())
    [service] = read(folder / "compose.yaml")["services"].values()
    assert service == {**{key: value for key, value in COMPOSE["services"]["relay"].items() if key != "build"}, "image": image}
    assert "(https://git.example/relay/blob/HEAD/docs/first-start.md)" in (folder / "compose.yaml").read_text()
    app = folder / "home-assistant"
    assert read(app / "config.yaml")["version"] == relay.__version__
    assert (app / "Dockerfile").read_text().startswith((ROOT / "Dockerfile").read_text())
    assert (app / "relay" / "__init__.py").read_bytes() == (ROOT / "relay" / "__init__.py").read_bytes()
    texts = [
        file.read_text(encoding="utf-8") for file in folder.rglob("*") if file.suffix in (".yaml", ".yml", ".json", ".xml")
    ]
    assert texts
    assert not [text for text in texts if ".invalid/" in text or "//lan-mail-relay.invalid" in text]


def test_a_new_version_is_written_everywhere(tmp_path: Path) -> None:
    """By one command: no file of a catalogue keeps the old one."""
    for name in ("Dockerfile", "relay/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(PACKAGING, tmp_path / "packaging", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run([str(tmp_path / "packaging" / "set-version"), "7.8.9"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    old = relay.__version__.encode()
    texts = [file for file in tmp_path.rglob("*") if file.is_file() and old in file.read_bytes()]
    assert [str(file.relative_to(tmp_path)) for file in texts] == []
    assert '__version__ = "7.8.9"' in (tmp_path / "relay" / "__init__.py").read_text()
