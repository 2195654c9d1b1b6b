"""Kubernetes manifests: the published schemas, privileges, and what they refer to."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())


def resource(name: str) -> dict[str, Any]:
    """Return a resource of the base."""
    return dict(yaml.safe_load((FOLDER / name).read_text()))


@pytest.fixture
def pod() -> dict[str, Any]:
    """Return what the DaemonSet says of its pods."""
    return dict(resource("daemonset.yaml")["spec"]["template"]["spec"])


@pytest.fixture
def container(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the only container."""
    (only,) = pod["containers"]
    return dict(only)


@pytest.mark.parametrize("version", ["1.28", "1.34"])
@pytest.mark.parametrize("name", KUSTOMIZATION["resources"])
def test_the_published_schema_accepts_it(name: str, version: str) -> None:
    """Strictly: an unknown key is a mistake."""
    kubernetes_validate.validate(resource(name), version, strict=True)


def test_a_mistake_would_be_found() -> None:
    """The schemas are not empty."""
    wrong = resource("daemonset.yaml")
    wrong["spec"]["template"]["spec"]["hostPid"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.34", strict=True)


def test_it_sees_the_processes_of_the_node(pod: dict[str, Any]) -> None:
    """And asks no API server."""
    assert pod["hostPID"] is True
    assert pod["automountServiceAccountToken"] is False


def test_it_has_the_two_capabilities_and_no_other(container: dict[str, Any]) -> None:
    """Nothing else of root's privileges, and no way to more."""
    security = container["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["SYS_PTRACE", "DAC_OVERRIDE"]}
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert "privileged" not in security


@pytest.mark.parametrize(
    ("probe", "path"),
    [
        ("startupProbe", "/-/healthy"),
        ("livenessProbe", "/-/healthy"),
        ("readinessProbe", "/-/ready"),
    ],
)
def test_probes_ask_the_listener(container: dict[str, Any], probe: str, path: str) -> None:
    """At the port that is configured."""
    assert container[probe]["httpGet"] == {"path": path, "port": "metrics"}
    assert {"name": "metrics", "containerPort": 9464} in container["ports"]
    assert "port = 9464" in (FOLDER / "damon.toml").read_text()


def test_the_configuration_is_what_the_container_mounts(
    pod: dict[str, Any], container: dict[str, Any]
) -> None:
    """The generated ConfigMap has the file that the container runs."""
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    assert {"name": "configuration", "configMap": {"name": generated["name"]}} in pod["volumes"]
    (file,) = generated["files"]
    assert container["args"][:2] == ["run", f"/etc/damon/{file}"]


def test_every_mount_has_a_volume(pod: dict[str, Any], container: dict[str, Any]) -> None:
    """And every volume is mounted."""
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in pod["volumes"]}


def test_the_configuration_is_right() -> None:
    """`damon check` accepts it."""
    command = [str(Path(sys.executable).parent / "damon"), "check", str(FOLDER / "damon.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
