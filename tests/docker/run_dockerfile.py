"""Executes what docker/Dockerfile says for one target, on a bare Debian root, where no Docker engine is at hand.

    python tests/docker/run_dockerfile.py [OPTIONS] cluster flatselect doctor

As root, on Linux, with debootstrap, and with `pip install dockerfile-parse docker`. It takes minutes and gigabytes, so
it is no part of the tests. What the network here needs is passed from outside: `--env PIP_INDEX_URL=...`,
`--bring CERTIFICATES:/etc/ca.pem`, and `--build-arg TORCH_INDEX_URL=` where PyTorch's own index cannot be reached.

The root is Debian's of the same release, not the very base image; layers, health checks and ports are not looked at.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from docker.utils.build import exclude_paths
from dockerfile_parse import DockerfileParser
from dockerfile_parse.util import WordSplitter, extract_key_values

CONTEXT = Path(__file__).parents[2]
DOCKERFILE = CONTEXT / "docker" / "Dockerfile"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOT_EXECUTED = {"FROM", "COMMENT", "EXPOSE", "HEALTHCHECK", "LABEL"}


@dataclass(frozen=True)
class Stage:
    """One `FROM ... AS name` and the instructions under it."""

    base: str
    instructions: tuple[tuple[str, str], ...]


@dataclass
class Root:
    """A folder that stands for the image: where commands run, with what environment, and as whom."""

    folder: Path
    build_args: Mapping[str, str]
    passed_environment: Mapping[str, str]
    args: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    user: str = "0"
    working_folder: str = "/"

    def run(self, command: Sequence[str]) -> None:
        """Runs a command in the root, in a mount namespace that goes with it."""
        enter = (
            'mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev" && mount --rbind /sys "$0/sys" && '
            'exec chroot --userspec="$1" "$0" /bin/sh -c \'cd "$0" && exec "$@"\' "$2" "${@:3}"'
        )
        home = {"HOME": "/root" if self.user == "0" else "/home/flatselect"}
        subprocess.run(
            [
                "unshare",
                "--mount",
                "--fork",
                "bash",
                "-c",
                enter,
                self.folder,
                self.user,
                self.working_folder,
                *command,
            ],
            env={**home, **self.passed_environment, **self.args, **self.environment},
            check=True,
        )

    def execute(self, instruction: str, value: str) -> None:
        """Does what one instruction of a Dockerfile says."""
        if instruction == "RUN":
            self.run(["/bin/sh", "-c", value])
        elif instruction == "COPY":
            self._copy(value)
        elif instruction == "ENV":
            self.environment |= dict(extract_key_values(True, self.args, self.environment, value))
        elif instruction == "ARG":
            name, _, default = value.partition("=")
            self.args[name] = self.build_args.get(name, default)
        elif instruction == "USER":
            self.user = f"{value}:{value}"
        elif instruction == "WORKDIR":
            self.working_folder = value
            (self.folder / value.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif instruction not in {*_NOT_EXECUTED, "CMD", "ENTRYPOINT"}:
            raise NotImplementedError(f"{instruction} {value}: this script does not know the instruction")

    def _copy(self, value: str) -> None:
        words = shlex.split(WordSplitter(value, self.args, self.environment).dequote())
        mode = next((word.partition("=")[2] for word in words if word.startswith("--chmod=")), None)
        source, target = (word for word in words if not word.startswith("--"))
        ignored = (CONTEXT / ".dockerignore").read_text().splitlines()
        patterns = [line.strip() for line in ignored if line.strip() and not line.startswith("#")]
        destination = self.folder / target.lstrip("/")
        for name in sorted(exclude_paths(str(CONTEXT), patterns)):
            path = CONTEXT / name
            if path.is_file() and path.is_relative_to(CONTEXT / source):
                copy = destination / path.relative_to(CONTEXT / source) if path != CONTEXT / source else destination
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
                if mode is not None:
                    copy.chmod(int(mode, 8))
        assert destination.exists(), f"COPY {value}: nothing was copied; see .dockerignore"


def read_stages(path: Path) -> dict[str, Stage]:
    """The stages of a Dockerfile by name, in their order."""
    with path.open("rb") as stream:
        structure = DockerfileParser(fileobj=stream).structure
    stages: dict[str, Stage] = {}
    for item in structure:
        instruction, value = item["instruction"], item["value"]
        if instruction == "FROM":
            base, name = re.split(r"\s+AS\s+", value, flags=re.IGNORECASE)
            stages[name] = Stage(base, ())
        elif stages:
            stages[name] = Stage(base, (*stages[name].instructions, (instruction, value)))
    return stages


def list_instructions(stages: Mapping[str, Stage], target: str) -> tuple[str, list[tuple[str, str]]]:
    """The image that a target begins with, and all instructions from there to it."""
    stage = stages[target]
    if stage.base not in stages:
        return stage.base, list(stage.instructions)
    image, instructions = list_instructions(stages, stage.base)
    # What a stage declared by ARG ends with it.
    return image, [*instructions, ("FROM", stage.base), *stage.instructions]


def make_debian_root(folder: Path, image: str) -> None:
    """Debian's smallest root of the release in the image's tag."""
    release = re.match(r"debian:([a-z]+)", image)
    assert release, f"{image}: only Debian's own images can be stood in for"
    subprocess.run(["debootstrap", "--variant=minbase", release[1], folder], check=True, stdout=subprocess.DEVNULL)
    # What an engine mounts over the image's own.
    shutil.copy("/etc/resolv.conf", folder / "etc" / "resolv.conf")
    (folder / "etc" / "hosts").write_text("127.0.0.1 localhost\n")


def main() -> None:
    """Makes the root, executes the instructions, then the given command as the image's user."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=read_stages(DOCKERFILE))
    parser.add_argument("command", nargs=argparse.REMAINDER, help="run at the end, in the root")
    parser.add_argument("--root", type=Path, default=Path("/tmp/flatselect-root"), help="a new folder")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="of every command")
    parser.add_argument("--bring", action="append", default=[], metavar="FILE:PATH", help="a file put into the root")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("chroot and debootstrap need root")
    image, instructions = list_instructions(read_stages(DOCKERFILE), options.target)
    make_debian_root(options.root, image)
    for file, path in (given.split(":") for given in options.bring):
        shutil.copy(file, options.root / path.lstrip("/"))
    root = Root(
        options.root,
        dict(given.split("=", 1) for given in options.build_arg),
        dict(given.split("=", 1) for given in options.env),
    )
    for instruction, value in instructions:
        if instruction == "FROM":
            root.args.clear()
        if instruction == "COMMENT":
            continue
        print(f"==> {instruction} {value}", flush=True)
        started = time.monotonic()
        root.execute(instruction, value)
        print(f"    {time.monotonic() - started:.0f} s", flush=True)
    if options.command:
        print(f"==> {shlex.join(options.command)}, as user {root.user}", flush=True)
        root.run(options.command)
    size = subprocess.run(["du", "-shx", options.root], check=True, capture_output=True, text=True).stdout.split()[0]
    print(f"{options.target}: every instruction executed; the root has {size}")


if __name__ == "__main__":
    main()
