"""The shape that the style guide promises: one direction between packages, layers inside `router`, light imports."""

from __future__ import annotations

import ast
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import router

REPOSITORY = Path(__file__).parents[1]

# Each package imports only from those before it: the order of docs/architecture.md.
ROUTER = (
    "errors arrays options installation files hub validation pools onnx encoding network policy index checkpoint "
    "routing evaluation batch llm grading evidence onboarding serving cli"
).split()
TRAIN = "runs data_folders annotate collect data fit export baselines compare studies cli lightning_command".split()
SERVING = "protocol telemetry settings lanes engine client_keys dispatch upstreams service http".split()

# 0.1 to 7 s each, or of no use to somebody who only routes: loaded inside the edge that needs them.
HEAVY = (
    "lightning",
    "wandb",
    "sentence_transformers",
    "fastapi",
    "starlette",
    "uvicorn",
    "httpx",
    "prometheus_client",
    "litellm",
    "gradio",
    "ray",
    "pandas",
    "sklearn",
    "faiss",
    "pydantic",
)


def sources(package: str) -> list[Path]:
    return sorted((REPOSITORY / package).rglob("*.py"))


def imported(path: Path, *, at_import_only: bool = False) -> Iterator[str]:
    """Dotted names of everything the file imports, `from a import b` gives a.b; or of what its own import needs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_import_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: write imports in full, from router... or from train..."
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules_loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    ("package", "forbidden"), [("router", {"train", "scripts", "tests"}), ("train", {"scripts", "tests"})]
)
def test_packages_import_in_one_direction(package: str, forbidden: set[str]) -> None:
    assert sources(package)
    for path in sources(package):
        assert not {name.partition(".")[0] for name in imported(path)} & forbidden, path.name


@pytest.mark.parametrize(
    ("folder", "order"),
    [("router", ROUTER), ("train", TRAIN), ("router/serving", SERVING)],
    ids=["router", "train", "serving"],
)
def test_a_package_imports_only_from_packages_before_it(folder: str, order: list[str]) -> None:
    prefix = folder.replace("/", ".") + "."
    for path in sources(folder):
        inside = path.relative_to(REPOSITORY / folder)
        own = inside.parts[0].removesuffix(".py")
        if inside.stem.startswith("__"):  # a facade, or a command that starts the command line
            continue
        assert own in order, f"give {own} its place in the order above"
        others = {name.removeprefix(prefix).partition(".")[0] for name in imported(path) if name.startswith(prefix)}
        later = {name for name in others - {own} if name not in order[: order.index(own)]}
        assert not later, f"{path} imports {sorted(later)}, which come later"


@pytest.mark.parametrize("package", ["router", "train"])
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    modules = {".".join(path.relative_to(REPOSITORY).with_suffix("").parts): path for path in sources(package)}
    assert modules
    graph = {name: set() for name in modules}
    for name, path in modules.items():
        for target in imported(path, at_import_only=True):
            found = target if target in modules else target.rpartition(".")[0]
            if found in modules:
                graph[name].add(found)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("package", ["router", "train"])
def test_a_facade_is_one_paragraph_and_names_only_what_it_has(package: str) -> None:
    facades = {str(path.parent.relative_to(REPOSITORY)).replace("/", "."): path for path in sources(package)
               if path.name == "__init__.py"}  # fmt: skip
    assert set(facades) == {".".join(path.parent.relative_to(REPOSITORY).parts) for path in sources(package)}
    for name, path in facades.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert (ast.get_docstring(tree) or "").partition("\n")[0].endswith((".", ".\n")), name
        public = getattr(import_module(name), "__all__", [])
        assert [each for each in public if not hasattr(import_module(name), each)] == [], name


def test_importing_router_loads_nothing_heavy_and_not_even_torch() -> None:
    assert not modules_loaded_by("import router") & {*HEAVY, "transformers", "torch"}


def test_the_facade_loads_neither_torch_nor_anything_heavier() -> None:
    loaded = modules_loaded_by("from router import *; Router, Decision, Taxonomy, ModelFacts, Pool")
    assert "numpy" in loaded
    assert not loaded & {*HEAVY, "transformers", "torch", "onnxruntime"}


SERVING = """
from pathlib import Path
from router import Router
from router.onboarding.add_model import onboard
from router.onboarding.graded_answers import make_answers
from router.pools.models import ModelFacts
router = Router.from_pretrained("checkpoints/routemix")
router.route(["Is this clause enforceable?", "Prove it."], dial=[3, 8], guard=True)
router.route("Is this clause enforceable?", budget_usd_per_1k=0.5)
router.route(["Is this clause enforceable?"], quality_at_least=0.5)
answers = make_answers(["Prove it.", "Is it?"], [0.0, 1.0])
made = onboard(router.checkpoint, ModelFacts("new", 0.1, 0.2), answers, pools=["today"])
Router(made.checkpoint, index="auto").route("Is this clause enforceable?", attitude="pessimistic")
"""


def test_serving_and_onboarding_never_load_torch() -> None:
    code = SERVING + "import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "onnxruntime" in loaded
    assert not loaded & {*HEAVY, "transformers", "torch", "onnx"}


def test_the_public_names_are_these() -> None:
    assert router.__all__ == [
        "Router",
        "Decision",
        "Pool",
        "ModelFacts",
        "Taxonomy",
        "RouterError",
        "CheckpointError",
        "DataError",
        "NoCandidateError",
        "PoolError",
        "QueryError",
        "UsageError",
    ]


def test_every_public_name_loads_is_listed_and_is_a_class() -> None:
    for name in router.__all__:
        assert isinstance(getattr(router, name), type), name
        assert name in dir(router)
    assert isinstance(router.__version__, str)


def test_the_tree_of_errors_is_drawn_whole_and_holds_the_public_ones() -> None:
    tree = {name: value for name, value in vars(router.errors).items() if name.endswith("Error")}
    assert tree.keys() == {"RouterError", *re.findall(r"[├└]── (\w+)", router.errors.__doc__)}
    assert tree.keys() > {name for name in router.__all__ if name.endswith("Error")}
    assert all(issubclass(each, router.RouterError) for each in tree.values())


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'router' has no attribute 'Ruoter'"):
        router.Ruoter  # noqa: B018


def test_the_suite_blocks_connections_and_look_ups_beyond_this_machine() -> None:
    with socket.socket() as outward, pytest.raises(RuntimeError, match=r"socket\.connect for \('192\.0\.2\.1', 80\)"):
        outward.connect(("192.0.2.1", 80))
    with pytest.raises(RuntimeError, match=r"looked up 'huggingface\.co'"):
        socket.create_connection(("huggingface.co", 443))


def test_the_suite_allows_connections_on_this_machine() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as client,
    ):
        assert client.getpeername() == server.getsockname()


@pytest.mark.parametrize("module", ["router", "router.network.scoring", "train.data.datamodule"])
def test_a_warning_that_our_own_lines_trigger_is_an_error(module: str) -> None:
    with pytest.raises(UserWarning, match="of ours"):
        warnings.warn_explicit("of ours", UserWarning, "file.py", 1, module=module)


def test_a_warning_of_another_package_is_none_of_our_errors() -> None:
    with pytest.warns(UserWarning, match="of theirs"):
        warnings.warn_explicit("of theirs", UserWarning, "file.py", 1, module="routers.scoring")
