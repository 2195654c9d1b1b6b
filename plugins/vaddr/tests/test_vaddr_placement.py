"""What paths of cgroups say: the forms of each manager and driver."""

import pytest
from damon_vaddr.placement import Placement, cgroup_of, placement

ID = "34dc0b5e626f2c5c4c5170e34b10e7654ce36f0fcd532739f4445baabea03376"
UID = "74c13223-5a00-11e9-b385-42010a80018d"
UNDERSCORED = UID.replace("-", "_")
HASH = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("path", "unit", "user_unit"),
    [
        ("/system.slice/redis.service", "redis.service", ""),
        ("/system.slice/system-postgresql.slice/postgresql@15-main.service/x", None, ""),
        ("/user.slice/user-1000.slice/session-2.scope", "session-2.scope", ""),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-1.scope",
            "user@1000.service",
            "app-firefox-1.scope",
        ),
        ("/init.scope", "init.scope", ""),
        ("/system.slice/_cpu.service", "cpu.service", ""),
        (r"/system.slice/dev-disk\x2dby.swap", r"dev-disk\x2dby.swap", ""),
        ("/", "", ""),
        ("/mine/redis.service", "", ""),
        ("/system.slice", "", ""),
    ],
)
def test_units(path: str, unit: str | None, user_unit: str) -> None:
    """It is the first part of the path that isn't a slice; below a user's manager another one."""
    expected = "postgresql@15-main.service" if unit is None else unit
    found = placement(path)
    assert (found.unit, found.user_unit) == (expected, user_unit)


@pytest.mark.parametrize(
    ("path", "runtime"),
    [
        (f"/docker/{ID}", "docker"),
        (f"/system.slice/docker-{ID}.scope", "docker"),
        (f"/system.slice/docker-{ID}.scope/init", "docker"),
        (f"/system.slice/nerdctl-{ID}.scope", "containerd"),
        (f"/default/{ID}", ""),
        (f"/machine.slice/libpod-{ID}.scope", "podman"),
        (f"/machine.slice/libpod-{ID}.scope/container", "podman"),
        (f"/libpod_parent/libpod-{ID}", "podman"),
        (
            f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container",
            "podman",
        ),
        (f"/kubepods/burstable/pod{UID}/{ID}", ""),
        (f"/kubepods/besteffort/pod{UID}/crio-{ID}", "cri-o"),
        (f"/kubepods.slice/kubepods-pod{UNDERSCORED}.slice/crio-{ID}.scope", "cri-o"),
        (
            f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UNDERSCORED}.slice/"
            f"cri-containerd-{ID}.scope",
            "containerd",
        ),
        (
            f"/system.slice/containerd.service/kubepods-burstable-pod{UNDERSCORED}.slice:"
            f"cri-containerd:{ID}",
            "containerd",
        ),
    ],
)
def test_containers(path: str, runtime: str) -> None:
    """The id is found in each form, and what runs the container where the form shows it."""
    found = placement(path)
    assert (found.container, found.runtime) == (ID, runtime)


def test_a_container_in_a_container() -> None:
    """The innermost one counts, as of kind's nodes."""
    inner = ID[::-1]
    found = placement(f"/docker/{ID}/kubelet/kubepods/pod{UID}/{inner}")
    assert (found.container, found.pod_uid) == (inner, UID)


@pytest.mark.parametrize(
    "path",
    [
        f"/machine.slice/libpod-conmon-{ID}.scope",
        f"/kubepods.slice/kubepods-pod{UNDERSCORED}.slice/crio-conmon-{ID}.scope",
        "/system.slice/docker.service",
        f"/docker/{ID[:12]}",
    ],
)
def test_no_containers(path: str) -> None:
    """What looks after containers isn't one."""
    assert placement(path).container == ""


@pytest.mark.parametrize(
    ("path", "uid"),
    [
        (f"/kubepods/pod{UID}/{ID}", UID),
        (f"/kubepods/burstable/pod{HASH}/{ID}", HASH),
        (
            f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UNDERSCORED}.slice",
            UID,
        ),
        (
            f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UNDERSCORED}.slice/"
            f"cri-containerd-{ID}.scope",
            UID,
        ),
        (
            f"/system.slice/containerd.service/kubepods-pod{UNDERSCORED}.slice:cri-containerd:{ID}",
            UID,
        ),
        ("/system.slice/tripod.service", ""),
        ("/kubepods.slice", ""),
    ],
)
def test_pods(path: str, uid: str) -> None:
    """A pod's uid has hyphens, whichever driver has made its cgroup; a static pod's is a hash."""
    assert placement(path).pod_uid == uid


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("0::/system.slice/a.service\n", "/system.slice/a.service"),
        ("0::/\n", "/"),
        ("0::/gone (deleted)\n", "/gone"),
        ("5:cpu,cpuacct:/a\n4:memory:/b\n1:name=systemd:/c\n0::/\n", "/b"),
        ("5:cpu,cpuacct:/a\n4:memory:/\n1:name=systemd:/c\n0::/d\n", "/d"),
        ("1:name=systemd:/c\n0::/\n", "/c"),
        ("0::/with:colon\n", "/with:colon"),
        ("", ""),
    ],
)
def test_cgroup_of(text: str, path: str) -> None:
    """The memory controller's path counts on version 1, the only one on version 2."""
    assert cgroup_of(text) == path


def test_nothing_known() -> None:
    """A process outside of all of them has only its path."""
    assert placement("/mine") == Placement("/mine")
