"""Each YAML block of the pages: configurations pass `relay check`, files for engines say only what the relay knows."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.cli.main import main
from relay.config import environment, load
from relay.config.schema import SECTIONS
from relay.upstream.providers import NAMES
from tests.docs.reading import PAGES, Block, blocks, name_of, prose

BLOCKS = [block for page in PAGES for block in blocks(page) if block.language in ("yaml", "yml")]
ROOTS = sorted({section.path.partition(".")[0] for section in SECTIONS if section.path})
BASE: dict[str, Any] = {"upstreams": {"isp": {"host": "mail.isp.example", "sender": "taro@isp.example"}}}
"""What a part stands in."""


def of(*marks: str) -> list[Any]:
    return [pytest.param(block, id=str(block)) for block in BLOCKS if block.mark.partition(":")[0] in marks]


def as_written(text: str) -> Any:
    """Every scalar as text: what a value means is the relay's business."""
    return yaml.load(text, yaml.BaseLoader)  # noqa: S506 - text only


def put_together(base: Any, part: Any) -> Any:
    if isinstance(base, dict) and isinstance(part, dict):
        return {key: put_together(base.get(key), part.get(key, base.get(key))) for key in {**base, **part}}
    return base if part is None else part


def whole(part: Any) -> Any:
    """A configuration of which this is a part; without rules of its own everything goes by all of its upstreams."""
    config = put_together(BASE, part)
    if "routes" not in config:
        config["routes"] = [{"via": list(config["upstreams"])}]
    return config


def furnish(config: Any, folder: Path) -> None:
    """Makes each file that the configuration names, beside it."""
    if isinstance(config, list):
        for each in config:
            furnish(each, folder)
    if isinstance(config, dict):
        for key, value in config.items():
            if isinstance(value, str) and (
                key.endswith("_file") or key in ("tls_cert", "tls_key", "client_cert", "client_key")
            ):
                assert not value.startswith("/"), f"{value}: name files of an example by a relative path"
                content = "ntfys://ntfy.example/topic\n" if key == "push_file" else "x\n"
                (folder / value).write_text(content, encoding="utf-8")
            furnish(value, folder)


@pytest.mark.parametrize("block", of("", "part"))
def test_configurations_pass_the_check(block: Block, tmp_path: Path, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    """As it stands; a part within the smallest configuration that there is."""
    config = as_written(block.text)
    if block.mark == "part":
        config = whole(config)
    furnish(config, tmp_path)
    text = block.text if not block.mark else yaml.safe_dump(config, allow_unicode=True)
    for name in re.findall(r"\$\{(\w+)\}", text):
        monkeypatch.setenv(name, "ntfys://ntfy.example/topic" if name == "PHONE_URL" else "x")
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    status = main(["check", "--config", str(path)])
    assert (status, capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize("block", of("compose"))
def test_compose_files_say_what_the_relay_knows(block: Block, tmp_path: Path) -> None:
    """Its variables make a configuration; user, volume and time to stop are those of the image."""
    [service] = yaml.safe_load(block.text)["services"].values()
    check_variables({**service["environment"]}, tmp_path)
    assert service["user"] == "65532:65532"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["stop_grace_period"] == "45s"
    assert any(mount.endswith(":/var/lib/relay") for mount in service["volumes"])
    secret = service["environment"]["RELAY_PASSWORD_FILE"]
    assert any(f":{secret}:ro" in mount for mount in service["volumes"])


@pytest.mark.parametrize("block", of("environment"))
def test_a_whole_file_in_a_variable_passes_the_check(block: Block) -> None:
    """As an engine hands it on: `$$` is `$`."""
    environ = {name: value.replace("$$", "$") for name, value in yaml.safe_load(block.text)["environment"].items()}
    loaded = load(None, environ, machine_name="nas")
    assert (loaded.mistakes, loaded.remarks) == ((), ())


def check_variables(variables: dict[str, str], folder: Path) -> None:
    (folder / "secret").write_text("x\n", encoding="utf-8")
    ours = {name: value for name, value in variables.items() if name != "TZ"}
    assert set(ours) <= set(environment.NAMES)
    loaded = load(None, {**ours, "RELAY_PASSWORD_FILE": str(folder / "secret")}, machine_name="nas")
    assert [str(mistake) for mistake in loaded.mistakes] == []


@pytest.mark.parametrize("block", of("kubernetes"))
def test_manifests_keep_to_one_replica_and_one_volume(block: Block, tmp_path: Path) -> None:
    """Documents of the right kinds, each name that one uses given by another."""
    documents = {one["kind"]: one for one in yaml.safe_load_all(block.text)}
    assert set(documents) == {"PersistentVolumeClaim", "Secret", "Deployment", "Service"}
    deployment, service = documents["Deployment"]["spec"], documents["Service"]["spec"]
    pod = deployment["template"]["spec"]
    [container] = pod["containers"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}
    assert deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"] == service["selector"]
    assert documents["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert pod["terminationGracePeriodSeconds"] == 45
    assert pod["securityContext"]["runAsUser"] == 65532
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert volumes["spool"]["persistentVolumeClaim"]["claimName"] == documents["PersistentVolumeClaim"]["metadata"]["name"]
    assert volumes["password"]["secret"]["secretName"] == documents["Secret"]["metadata"]["name"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts["spool"] == "/var/lib/relay"
    variables = {one["name"]: one["value"] for one in container["env"]}
    [key] = documents["Secret"]["stringData"]
    assert variables["RELAY_PASSWORD_FILE"] == f"{mounts['password']}/{key}"
    check_variables(variables, tmp_path)
    assert "private" not in variables["RELAY_NETWORKS"]
    assert service["externalTrafficPolicy"] == "Local"
    assert {port["targetPort"] for port in service["ports"]} <= {port["name"] for port in container["ports"]}


@pytest.mark.parametrize("block", of("other"))
def test_what_is_for_other_programs_is_yaml(block: Block) -> None:
    """It can be read, at least."""
    assert list(yaml.safe_load_all(block.text))


def test_every_block_has_a_kind() -> None:
    """A misspelt mark would take a block out of the tests."""
    known = {"", "part", "compose", "kubernetes", "environment", "other"}
    assert [str(block) for block in BLOCKS if block.mark.partition(":")[0] not in known] == []
    assert len(of("")) > 25
    assert len(of("part")) > 15


SETTINGS = {
    f"{section.path.removesuffix('.*').removeprefix('upstreams.*.')}.{setting.key}"
    for section in SECTIONS
    for setting in section.settings
}
SETTINGS_OF_DEVICES = {
    f"limits.{setting.key}" for section in SECTIONS if section.path == "limits" for setting in section.settings
}
INLINE = [
    pytest.param(code, id=f"{name_of(page)}: {code[:40]}")
    for page in PAGES
    for code in dict.fromkeys(re.findall(rf"(?<!`)`((?:{'|'.join(ROOTS)}): [{{\[][^`]+)`(?!`)", prose(page)))
    if "..." not in code
]


@pytest.mark.parametrize("code", INLINE)
def test_settings_shown_in_sentences_pass_the_check(code: str, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    """`web: {address: ...}` in the middle of a sentence is a part like any other; limits may be those of an upstream."""
    part = as_written(code)
    of_upstream = "limits" in part and not set(part["limits"]) <= {name.partition(".")[2] for name in SETTINGS_OF_DEVICES}
    config = whole({"upstreams": {"isp": part}} if of_upstream else part)
    furnish(config, tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert (main(["check", "--config", str(tmp_path)]), capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_named_in_sentences_are_there(page: Path) -> None:
    """`retry.rest_login` and the like."""
    named = re.findall(rf"(?<!`)`((?:{'|'.join(ROOTS)})\.[a-z_]+)(?:: [^`]*)?`(?!`)", prose(page))
    assert set(named) - SETTINGS - {"spool.db", *NAMES} == set()
