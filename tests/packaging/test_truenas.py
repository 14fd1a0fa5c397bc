"""TrueNAS's app: its files as the catalogue's own validator reads them, its form's answers as the relay reads them.

questions.yaml ──defaults and answers──▶ values ──templates/docker-compose.yaml──▶ a service ──▶ a configuration of the relay

The rules are those of github.com/truenas/apps_validation (apps_validation/, apps_schema/) and of CONTRIBUTIONS.md in
github.com/truenas/apps; the rendering library's methods are those of its version 2.3.13.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

import relay
from relay.config import load, missing
from relay.config.environment import NAMES, SETUP
from relay.setup.place import find_place, wanted

ROOT = Path(__file__).parents[2]
APP = ROOT / "packaging" / "truenas"
SERVICE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["relay"]
TYPES = {"string": str, "int": int, "boolean": bool, "dict": dict, "list": list, "hostpath": str}
KEYS = {"type", "default", "required", "private", "hidden", "min", "max", "enum", "show_if", "attrs", "items", "$ref"}
ACCOUNT = {"provider": "gmail", "username": "taro@gmail.com", "password": "pass $word", "notices_to": "taro@gmail.com"}
GIVEN = {"relay": ACCOUNT}


def read(name: str) -> Any:
    return yaml.safe_load((APP / name).read_text(encoding="utf-8"))


def below(questions: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in questions:
        yield one
        yield from below(one["schema"].get("attrs", []))
        yield from below(one["schema"].get("items", []))


def answered(questions: list[dict[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """What the form hands on: answers, and defaults for the rest."""
    values = {}
    for one in questions:
        schema, answer = one["schema"], given.get(one["variable"])
        if schema["type"] == "dict":
            values[one["variable"]] = answered(schema.get("attrs", []), answer or {})
        elif answer is not None or "default" in schema:
            values[one["variable"]] = schema.get("default") if answer is None else answer
        else:
            assert not schema.get("required") or schema.get("show_if"), one["variable"]
    return values


class Part:
    """One of the library's objects: takes the calls that it knows, and nothing else."""

    def __init__(self, *known: str, **parts: "Part") -> None:
        self._known, self.said = known, []
        self.__dict__.update(parts)

    def __getattr__(self, name: str) -> Any:
        if name not in self._known:
            raise AttributeError(name)
        return lambda *words: self.said.append((name, *words))


class Render:
    """Stands in for ix_lib.base.render.Render: what the template says, as the library would write it."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.portals = Part("add")
        self.deps = Part()
        self.deps.perms = lambda name: self.perms
        self.perms = Part("add_or_skip_action", "activate")
        self.perms.has_actions = lambda: bool(self.perms.said)
        self.container = Part(
            "set_user",
            "set_read_only",
            "set_grace_period",
            "add_port",
            "add_storage",
            healthcheck=Part("use_built_in"),
            environment=Part("add_env", "add_user_envs"),
            depends=Part("add_dependency"),
        )

    def add_container(self, name: str, image: str) -> Part:
        assert image in self._values["images"]
        self.container.said.append(("named", name))
        return self.container

    def render(self) -> dict[str, Any]:
        said = self.container.said
        variables: dict[str, str] = {}
        for call in self.container.environment.said:
            pairs = [call[1:]] if call[0] == "add_env" else [(each["name"], each["value"]) for each in call[1]]
            assert not variables.keys() & dict(pairs).keys()  # the library refuses one that is there
            variables.update(pairs)
        [user] = [words for name, *words in said if name == "set_user"]
        return {
            "user": "{}:{}".format(*user),
            "environment": variables,
            "ports": [words[0]["port_number"] for name, *words in said if name == "add_port"],
            "mounts": [words[0] for name, *words in said if name == "add_storage"],
            "calls": [[name, *words] for name, *words in said if name.startswith("set_")],
            "depends": self.container.depends.said,
            "portals": self.portals.said,
            "health": self.container.healthcheck.said,
        }


def rendered(values: Mapping[str, Any]) -> dict[str, Any]:
    environment = jinja2.Environment(  # noqa: S701 - as TrueNAS does it: no HTML comes of it
        loader=jinja2.FileSystemLoader(APP / "templates"), extensions=["jinja2.ext.do"], undefined=jinja2.StrictUndefined
    )
    library = {"base": {"render": {"Render": Render}}}
    text = environment.get_template("docker-compose.yaml").render(values={**read("ix_values.yaml"), **values}, ix_lib=library)
    return dict(json.loads(text))


def configured(service: Mapping[str, Any]) -> Any:
    environ = {name: value for name, value in service["environment"].items() if name != "TZ"}
    assert environ.keys() <= {*NAMES, SETUP, "RELAY_CONFIG_YAML"}
    assert not missing(None, environ)
    loaded = load(None, environ, machine_name="truenas")
    assert [str(mistake) for mistake in loaded.mistakes] == []
    assert loaded.config
    return loaded.config


def test_the_catalogue_takes_its_metadata() -> None:
    """Every key that app.yaml must have, each of its kind; our version; the user that may run it."""
    app = read("app.yaml")
    assert {key: type(value) for key, value in app.items()} == {
        **dict.fromkeys(("app_version", "date_added", "description", "home", "icon", "lib_version", "lib_version_hash"), str),
        **dict.fromkeys(("name", "title", "train", "version"), str),
        **dict.fromkeys(("capabilities", "categories", "host_mounts", "keywords", "maintainers", "run_as_context"), list),
        **dict.fromkeys(("screenshots", "sources"), list),
        "annotations": dict,
    }
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", app["date_added"])
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", app[name]) for name in ("version", "lib_version"))
    assert app["app_version"] == read("ix_values.yaml")["images"]["image"]["tag"] == relay.__version__
    assert all({"name", "email"} <= one.keys() for one in app["maintainers"])
    [context] = app["run_as_context"]
    run_as = answered(read("questions.yaml")["questions"], GIVEN)["run_as"]
    assert (context["uid"], context["gid"]) == (run_as["user"], run_as["group"])
    assert (APP / "README.md").exists()


def test_the_form_is_one_that_the_catalogue_knows() -> None:
    """Known keys and types, defaults of the type, names used once, conditions and groups that are there."""
    form = read("questions.yaml")
    assert form.keys() == {"groups", "questions"}
    groups = [group["name"] for group in form["groups"]]
    assert {one["group"] for one in form["questions"]} == set(groups)
    for one in below(form["questions"]):
        schema = one["schema"]
        assert one.keys() <= {"variable", "label", "description", "group", "schema"}, one["variable"]
        assert schema.keys() <= KEYS, one["variable"]
        kind = TYPES[schema["type"]]
        assert type(schema.get("default", kind())) is kind, one["variable"]
        for choice in schema.get("enum", ()):
            assert choice.keys() == {"value", "description"}
            assert type(choice["value"]) is kind
        names = [each["variable"] for each in schema.get("attrs", [])]
        assert len(names) == len(set(names)), one["variable"]
        for each in schema.get("attrs", []):
            assert all(condition[0] in names for condition in each["schema"].get("show_if", ())), each["variable"]
    secrets = {one["variable"] for one in below(form["questions"]) if one["schema"].get("private")}
    assert secrets == {one["variable"] for one in below(form["questions"]) if "password" in one["variable"]}


def test_the_form_alone_makes_a_relay() -> None:
    """Account, password and who is told: a configuration; locked down as compose.yaml is; the state where the image has it."""
    service = rendered(answered(read("questions.yaml")["questions"], GIVEN))
    config = configured(service)
    assert [listener.name for listener in config.listeners] == ["0.0.0.0:2525"]
    [upstream] = config.upstreams.values()
    assert upstream.smtp.host == "smtp.gmail.com"
    assert service["environment"]["RELAY_PASSWORD"] == "pass $word"
    assert not config.web.address
    assert service["portals"] == []
    assert service["user"] == "568:568"
    assert ["set_read_only", True] in service["calls"]
    assert ["set_grace_period", int(SERVICE["stop_grace_period"].removesuffix("s"))] in service["calls"]
    assert service["health"] == [["use_built_in"]]
    assert service["mounts"] == ["/var/lib/relay", "/tmp"]
    assert service["depends"] == [["add_dependency", "permissions", "service_completed_successfully"]]


def test_without_an_answer_the_page_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is filled in: set-up is on, there is no configuration, and the page is opened where the form says."""
    monkeypatch.chdir(tmp_path)
    service = rendered(answered(read("questions.yaml")["questions"], {"network": {"web_port": {"port_number": 8080}}}))
    environ = {**service["environment"], "RELAY_SPOOL": f"sqlite:{tmp_path}/spool.db"}
    assert wanted(False, environ)
    assert missing(None, environ)
    place = find_place(None, environ)
    assert place.base.web.address == "0.0.0.0:8080"
    assert not place.own_password
    assert service["ports"] == [8080, 2525]
    assert [portal[0] for portal in service["portals"]] == ["add"]


def test_a_server_named_by_a_variable_of_one_s_own_needs_no_page() -> None:
    """It is no set-up then, and the page's empty password is remarked, no mistake."""
    variables = {"RELAY_UPSTREAM_PROVIDER": "gmail", "RELAY_UPSTREAM_USERNAME": "taro@gmail.com", "RELAY_PASSWORD": "x"}
    envs = [{"name": name, "value": value} for name, value in variables.items()]
    service = rendered(answered(read("questions.yaml")["questions"], {"relay": {"additional_envs": envs}}))
    assert not configured(service).web.address


def test_every_answer_is_heard() -> None:
    """Each of the form's fields, ports and variables of one's own among them."""
    given = {
        "relay": {
            **GIVEN["relay"],
            "provider": "",
            "host": "mail.isp.example",
            "sender": "nas@isp.example",
            "networks": "192.168.7.0/24",
            "web_password": "for the page",
            "additional_envs": [{"name": "RELAY_UPSTREAM_LIMITS_PER_DAY", "value": "500"}],
        },
        "network": {"smtp_port": {"port_number": 2626}, "web_port": {"port_number": 8080}},
    }
    service = rendered(answered(read("questions.yaml")["questions"], given))
    config = configured(service)
    assert service["ports"] == [8080, 2626]
    assert [portal[0] for portal in service["portals"]] == ["add"]
    assert [listener.name for listener in config.listeners] == ["0.0.0.0:2626"]
    assert config.web.address == "0.0.0.0:8080"
    assert config.listeners[0].networks[0].with_prefixlen == "192.168.7.0/24"
    [upstream] = config.upstreams.values()
    assert upstream.smtp.host == "mail.isp.example"
    assert str(upstream.identity.sender) == "nas@isp.example"


@pytest.mark.parametrize("file", sorted((APP / "templates" / "test_values").glob("*.yaml")), ids=lambda path: path.name)
def test_the_values_that_the_catalogues_own_tests_start_it_with(file: Path) -> None:
    """They answer every question, and make a configuration."""
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    form = answered(read("questions.yaml")["questions"], GIVEN)
    assert values.keys() == {*form, "ix_volumes"} - {"labels"}
    assert values["relay"].keys() == form["relay"].keys()
    configured(rendered(values))
