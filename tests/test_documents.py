"""Documents and project files: links lead somewhere, named versions and files agree with the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from router import Router
from router.checkpoint.benchmark_scores import FEWEST, BenchmarkScores
from router.evaluation.metrics import upper_hull
from router.policy.constraints import cost_weights
from router.pools.pool import read_pool

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
DOCUMENTS = sorted(
    [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "configs" / "README.md"]
)


def text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_to_a_file_of_the_repository_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    files = {target.partition("#")[0] for target in targets if not re.match(r"https?:|#", target)}
    assert not [name for name in files if not (document.parent / name).exists()]


def test_the_index_names_every_document() -> None:
    index = text("docs/index.md")
    others = {each.name for each in (REPOSITORY / "docs").glob("*.md")} - {"index.md"}
    assert not [name for name in others if f"({name})" not in index]


def test_the_glossary_has_at_most_fifteen_terms_each_with_an_example() -> None:
    sections = re.split(r"^## ", text("docs/concepts.md"), flags=re.MULTILINE)[1:]
    assert 10 <= len(sections) <= 15
    assert not [section.splitlines()[0] for section in sections if section.count("*Example:*") != 1]


def test_the_glossary_computes_as_the_code_does() -> None:
    assert cost_weights(4, 1, 0.01)[1] * 0.002 == pytest.approx(0.02)
    single = upper_hull(np.array([1.0, 3.0]), np.array([0.5, 0.7]))
    routed = upper_hull(np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.7, 0.7]))
    assert single.height(2.0) == pytest.approx(0.6)
    assert (single.mean_height(1.0, 3.0), routed.mean_height(1.0, 3.0)) == pytest.approx((0.6, 0.65))


def test_every_source_of_the_comparison_is_cited_and_every_citation_has_a_source() -> None:
    table, sources = text("docs/comparison.md").split("## Sources")
    listed = set(re.findall(r"^(\d+)\. <https://", sources, flags=re.MULTILINE))
    assert set(re.findall(r"\[(\d+)\]", table)) == listed


def test_files_that_contributing_names_exist() -> None:
    named = re.findall(r"`((?:router|train|tests|configs|docs|scripts)/[\w/.-]+)`", text("CONTRIBUTING.md"))
    assert len(named) > 4 and not [name for name in named if not (REPOSITORY / name).exists()]


def test_the_citation_has_what_the_format_requires() -> None:
    found = yaml.safe_load(text("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= found.keys()
    assert (str(found["date-released"]), found["license"]) == ("2026-11-29", PROJECT["license"])


def test_hooks_run_in_the_environment_of_the_tests_and_download_nothing() -> None:
    (repository,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system" and hook["entry"].startswith(".venv-test/bin/ruff ")


def test_the_workflow_runs_our_own_command_on_every_python_that_the_package_names() -> None:
    job = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"]["test"]
    named = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", each)]
    assert job["strategy"]["matrix"]["python"] == named
    assert job["steps"][-1] == {"run": "./.ci/run"} and (REPOSITORY / ".ci" / "run").is_file()


def test_published_scores_that_examples_give_are_known() -> None:
    known = BenchmarkScores.from_json(text("checkpoints/routemix/benchmarks.json")).scores
    commands = sorted((REPOSITORY / "router" / "cli" / "onboarding").glob("*.py"))
    lines = [line for page in (*DOCUMENTS, *commands) for line in page.read_text(encoding="utf-8").splitlines()]
    given = [re.findall(r"([\w-]+)=0\.\d", line) for line in lines if re.search("--(scores|benchmarks) ", line)]
    examples = [names for names in given if names]
    assert len(examples) >= 6
    for names in examples:  # under the default pool's protocol
        models = [set(known.get((name, "open-2026"), ())) for name in names]
        assert len(set.intersection(*models)) >= FEWEST, names


def test_the_readmes_python_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    found: dict[str, Any] = {}
    block = re.findall(r"```python\n(.*?)```", text("README.md"), re.DOTALL)
    assert len(block) == 1
    exec(block[0], found)
    assert found["decision"].pool == "today"


def test_the_shipped_default_pool_is_the_file_of_its_name() -> None:
    router = Router.from_pretrained(REPOSITORY / "checkpoints" / "routemix")
    assert router.default_pool == "today"
    assert router.pool("today") == read_pool(REPOSITORY / "configs" / "pools" / "today.yaml", router.systems)
