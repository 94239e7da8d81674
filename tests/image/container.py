"""A container run by runc as the manifest says, and as strictly as a cluster's `restricted` pods are.

    with running(image, root, pod, folder) as container:
        container.wait_for_assessments()
        done = container.execute("robmon", "baseline", "--model", "models:/digits/2", "--accept")

What it is asked, and how, is that of any daemon (`tests.e2e.daemon.Daemon`).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.daemon import Daemon
from tests.image.host import PATH
from tests.image.pod import Pod
from tests.image.seccomp import without_capabilities
from tests.image.store import Image
from tests.servers import answers

HEALTHY_SECONDS = 15.0
END_SECONDS = 10.0
PREFIX = "robmon-test-"
"""Of the names of containers and their cgroups."""
LOOPBACK = {"ROBMON_HTTP__HOST": "127.0.0.1", "ROBMON_INPUTS__HOST": "127.0.0.1"}
"""The one thing that is not as in the manifest: the network is the machine's own, where nobody else may get in."""


@dataclass
class Container(Daemon):
    """A running container; `/data` and `/tmp` of it lie below `folder`."""

    runc: tuple[str, ...] = ()
    identifier: str = ""
    began: float = 0.0
    healthy_seconds: float = 0.0
    ready_seconds: float = 0.0
    end_seconds: float = 0.0

    def execute(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as `kubectl exec` does: with its user, its environment and its limits."""
        command = [*self.runc, "exec", self.identifier, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def type(self, command: str) -> str:
        """Type a command into a shell in it; what that prints."""
        done = self.execute("sh", "-c", command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run_printed_command(self) -> str:
        """Accept the version as the page says; what that prints."""
        return self.type(self.accept_command())

    def wait_until_ready(self) -> None:
        """Wait until it has a model."""
        self.wait_for(lambda: self.get("/readyz").status_code == 200, "a model")
        self.ready_seconds = time.monotonic() - self.began

    def inside(self) -> list[psutil.Process]:
        """Its processes, the first one first."""
        listed = subprocess.run(
            [*self.runc, "ps", "--format", "json", self.identifier], capture_output=True, check=True
        )
        return [psutil.Process(pid) for pid in sorted(json.loads(listed.stdout))]

    def children(self, module: str) -> list[psutil.Process]:
        """The processes that it runs of a module of robmon."""
        return [each for each in self.inside() if module in each.cmdline()]

    def memory(self) -> Memory:
        """What its cgroup has counted so far."""
        return Memory(_memory_folder(self.inside()[0].pid))

    def terminate(self) -> None:
        """SIGTERM, as a kubelet sends it: to the first process of the container alone."""
        began = time.monotonic()
        subprocess.run([*self.runc, "kill", self.identifier, "TERM"], check=True)
        status = self.process.wait(END_SECONDS + 20)
        self.end_seconds = time.monotonic() - began
        assert self.end_seconds < END_SECONDS
        assert status == 0


@dataclass(frozen=True)
class Memory:
    """Of a memory cgroup, version 1 or 2."""

    folder: Path

    @property
    def limit_bytes(self) -> int:
        """At which the kernel kills."""
        return self._number("memory.limit_in_bytes", "memory.max")

    @property
    def peak_bytes(self) -> int:
        """The most that was ever used, pages of files among it."""
        return self._number("memory.max_usage_in_bytes", "memory.peak")

    @property
    def kills(self) -> int:
        """Processes that the kernel has killed for want of memory."""
        names = ("memory.oom_control", "memory.events")
        [file] = [self.folder / name for name in names if (self.folder / name).exists()]
        return int(dict(line.split() for line in file.read_text().splitlines())["oom_kill"])

    def _number(self, *names: str) -> int:
        [file] = [self.folder / name for name in names if (self.folder / name).exists()]
        return int(file.read_text())


def _memory_folder(pid: int) -> Path:
    root = Path("/sys/fs/cgroup")
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory" or (not controllers and not (root / "memory").exists()):
            return root / ("memory" if controllers else "") / path.strip("/")
    raise AssertionError("the container is in no memory cgroup")


@contextlib.contextmanager
def running(image: Image, root: Path, pod: Pod, folder: Path) -> Iterator[Container]:
    """A container of that image on that root file system, in a pod with empty volumes; it answers /healthz.

    At the end it is terminated, unless the test has ended it, and held to the promises of every daemon. Whatever
    happens, even to this process, neither it nor its cgroup is left.
    """
    identifier = f"{PREFIX}{uuid.uuid4().hex[:12]}"
    volumes = pod.volumes(folder)
    log_file = folder / "container.log"
    with tempfile.TemporaryDirectory() as bundle:  # it holds credentials, which are looked for below `folder`
        runc = (shutil.which("runc", path=PATH) or "runc", "--root", f"{bundle}/runc")
        subprocess.run([*runc, "spec", "--bundle", bundle], check=True)
        file = Path(bundle, "config.json")
        file.write_text(json.dumps(_configuration(json.loads(file.read_text()), image, root, pod, volumes, identifier)))
        # runc passes the signal on, waits for the end and clears the cgroup away: also when we are killed.
        command = ["setpriv", "--pdeathsig", "TERM", *runc, "run", "--bundle", bundle, identifier]
        began = time.monotonic()
        with log_file.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        container = Container(
            process, folder, log_file, pod.environment | LOOPBACK, runc=runc, identifier=identifier, began=began
        )
        try:
            container.wait_for(lambda: answers(pod.health_url), pod.health_url, 10 * HEALTHY_SECONDS)
            container.healthy_seconds = time.monotonic() - began
            yield container
            if process.poll() is None:
                container.hold_public_face_to_promises()
                container.terminate()
            container.hold_to_promises()
        except BaseException:
            print(log_file.read_text(encoding="utf-8", errors="replace")[-20_000:])
            raise
        finally:
            container.client.close()
            subprocess.run([*runc, "delete", "--force", identifier], capture_output=True, check=False)
            process.kill()
            process.wait()


def _configuration(
    by_default: dict[str, Any], image: Image, root: Path, pod: Pod, volumes: dict[str, Path], identifier: str
) -> dict[str, Any]:
    """The container in the OCI's words: what runc gives by default, and what image and pod say."""
    security = pod.security
    assert security["capabilities"] == {"drop": ["ALL"]} and security["seccompProfile"] == {"type": "RuntimeDefault"}
    variables = dict(word.split("=", 1) for word in image.configuration["Env"]) | pod.environment | LOOPBACK
    configuration = by_default
    configuration["process"] = {
        "user": {"uid": security["runAsUser"], "gid": security["runAsGroup"]},
        "args": [*image.configuration["Entrypoint"], *pod.container.get("args", image.configuration["Cmd"])],
        "env": [f"{name}={value}" for name, value in variables.items()],
        "cwd": image.configuration["WorkingDir"],
        "capabilities": {},
        "noNewPrivileges": not security["allowPrivilegeEscalation"],
    }
    configuration["root"] = {"path": str(root), "readonly": security["readOnlyRootFilesystem"]}
    configuration["hostname"] = identifier
    configuration["mounts"] += [
        {"destination": path, "source": str(source), "type": "bind", "options": ["bind", "rw", "nosuid", "nodev"]}
        for path, source in volumes.items()
    ]
    linux = configuration["linux"]
    linux["namespaces"] = [each for each in linux["namespaces"] if each["type"] != "network"]
    linux["cgroupsPath"] = f"/{identifier}"
    linux["resources"]["memory"] = {"limit": pod.memory_bytes}
    linux["seccomp"] = without_capabilities()
    return configuration
