"""The Compose files against the Compose specification's schema, and what no schema says: where the secrets go."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "docker"
FILES = sorted(FOLDER.glob("compose*.yaml"))


def validate(path):
    pytest.importorskip("check_jsonschema")  # it brings the specification's schema
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", path]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_file_is_of_the_schema(path):
    done = validate(path)
    assert done.returncode == 0, done.stdout


def test_a_misspelt_key_is_not(tmp_path):
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((FOLDER / "compose.yaml").read_text().replace("healthcheck:", "healthchek:", 1))
    assert validate(wrong).returncode == 1


@pytest.fixture
def services():
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]


def test_services_are_those_of_a_search(services):
    assert services.keys() == {"postgres", "ray-head", "ray-worker", "search", "dashboard"}
    ray_images = {services[name]["image"] for name in ("ray-head", "ray-worker", "search")}
    assert ray_images == {"flatselect:cluster"}, "one Ray for all nodes"


def test_only_those_who_speak_to_the_database_have_its_password(services):
    with_password = {name for name, service in services.items() if "postgres_password" in service["secrets"]}
    assert with_password == {"postgres", "search", "dashboard"}
    for name in ("ray-head", "search"):
        assert "--num-cpus=0" in str(services[name]["command"]), f"{name}: no trial runs beside a driver"


def test_services_that_are_waited_for_say_when_they_are_ready(services):
    for name, service in services.items():
        for needed, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in services[needed], f"{name} waits for {needed}"


def test_no_secret_stands_in_a_file():
    secrets = yaml.safe_load((FOLDER / "compose.yaml").read_text())["secrets"]
    assert all(secret.keys() == {"file"} for secret in secrets.values())
    for path in FOLDER.iterdir():
        if path.is_file():
            assert not re.search(r"//[^/\s:]+:[^/\s]*@", path.read_text()), f"{path.name}: a URL with a password"


def test_ports_are_of_this_machine_only(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
