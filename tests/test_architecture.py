"""The shape that the style guide promises: one direction between packages, layers inside `router`, light imports."""

from __future__ import annotations

import ast
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import router

REPOSITORY = Path(__file__).parents[1]

# Each module imports only from those before it. A new file gets its place here, and with it says what it may know.
LAYERS = (
    ("errors", "arrays", "installation"),
    ("taxonomy", "profiles", "strict_yaml", "whole_file", "whole_folder", "hub"),
    ("sentence_folder", "spelling", "tokenization", "bert_config"),
    ("bert", "gpu_norm", "packed_bert", "transformer", "encoder"),
    ("stored_weights", "quantization", "onnx_format", "onnx_session", "bert_graph", "onnx_encoder", "backend"),
    ("scoring", "query_vectors", "heads_graph", "learned_profiles", "served_network", "prototypes", "network", "guard"),
    ("calibration", "closed_form", "budget"),
    ("pool_schema", "pools", "dial_table", "goal", "policy", "decision", "candidates", "ranked"),
    ("gpu_topk", "topk", "linearised", "reduction", "index_kinds", "index", "shortlist"),
    ("profile_fit", "answers", "benchmark_scores", "anchors", "onboarded", "pool_files"),
    ("profiles_file", "checkpoint_folder", "default_checkpoint", "checkpoint", "roster", "onboarding"),
    ("gathered_pools", "request", "routing"),
    ("dataset", "metrics", "risk", "evaluation", "folder_onboarding"),
    ("serving.json_body", "serving.form_model", "serving.conversation", "serving.lanes", "serving.engine"),
    ("serving.private_file", "serving.log_rows", "serving.log_file", "serving.decision_log"),
    ("serving.keys", "serving.rate_limits", "serving.metrics", "serving.session_keys", "serving.sessions"),
    ("serving.failures", "serving.breaker", "serving.load", "serving.outcomes", "serving.relay", "serving.plan"),
    (
        "serving.upstream_keys",
        "serving.settings",
        "serving.connections",
        "serving.litellm_request",
        "serving.litellm_sdk",
        "serving.upstreams",
        "serving.forwarding",
        "serving.service",
    ),
    (
        "serving.decisions",
        "serving.access",
        "serving.relayed",
        "serving.gateway",
        "serving.decision_service",
        "serving.openapi",
    ),
    ("serving.app", "serving.json_log", "serving.guarded_protocol", "serving.server"),
    ("lines", "partial_file", "corpus", "cli_text", "cli_parser", "commands", "route_command", "batch_command"),
    ("anchors_command", "onboard_command", "keys_command", "serve_command", "cli", "batch"),
)
ORDER = [module for layer in LAYERS for module in layer]

# 1 to 7 s each, or of no use to somebody who only routes: loaded inside the edge that needs them.
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
)


def sources(package: str) -> list[Path]:
    return sorted((REPOSITORY / package).rglob("*.py"))


def module(name: str) -> str:
    """The module of `router` that a dotted name is in, as LAYERS has it: of the subpackage `serving` two parts."""
    parts = name.split(".")[1:]
    return ".".join(parts[: 1 + (parts[0] == "serving")])


def module_of(path: Path) -> str:
    return module(".".join(path.relative_to(REPOSITORY).with_suffix("").parts))


def imported(path: Path) -> Iterator[str]:
    """Dotted names of everything the file imports, at its top or inside functions; `from a import b` gives a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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


def test_every_module_of_router_has_a_place_in_the_order_of_layers() -> None:
    present = {module_of(path) for path in sources("router")} - {"__init__", "__main__", "serving.__init__"}
    assert present <= set(ORDER), "give the new modules their place in LAYERS"


@pytest.mark.parametrize("path", [path for path in sources("router") if module_of(path) in ORDER], ids=module_of)
def test_a_module_imports_only_from_modules_before_it(path: Path) -> None:
    names = {module(name) for name in imported(path) if name.startswith("router.")}
    later = names - set(ORDER[: ORDER.index(module_of(path))])
    assert not later & set(ORDER), f"{module_of(path)} imports {sorted(later)}, which come later in {ORDER}"


def test_importing_router_loads_nothing_heavy_and_not_even_torch() -> None:
    assert not modules_loaded_by("import router") & {*HEAVY, "transformers", "torch"}


def test_the_facade_loads_neither_torch_nor_anything_heavier() -> None:
    loaded = modules_loaded_by("from router import *; Router, Decision, Taxonomy, ModelFacts, Pool")
    assert "numpy" in loaded
    assert not loaded & {*HEAVY, "transformers", "torch", "onnxruntime"}


SERVING = """
from pathlib import Path
from router import Router
from router.onboarding import onboard
from router.answers import make_answers
from router.profiles import ModelFacts
router = Router.from_pretrained("checkpoints/routemix")
router.route(["Is this clause enforceable?", "Prove it."], dial=[3, 8], guard=True)
router.route("Is this clause enforceable?", budget_usd_per_1k=0.5)
router.route(["Is this clause enforceable?"], quality_at_least=0.5)
answers = make_answers(["Prove it.", "Is it?"], [0.0, 1.0])
made = onboard(router.checkpoint, ModelFacts("new", 0.1, 0.2), answers, pools=["chat27"])
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


def test_every_error_of_the_tree_is_public() -> None:
    tree = {name for name, value in vars(router.errors).items() if name.endswith("Error")}
    assert tree == {name for name in router.__all__ if name.endswith("Error")}
    assert all(issubclass(getattr(router, name), router.RouterError) for name in tree)


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


@pytest.mark.parametrize("module", ["router", "router.scoring", "train.data"])
def test_a_warning_that_our_own_lines_trigger_is_an_error(module: str) -> None:
    with pytest.raises(UserWarning, match="of ours"):
        warnings.warn_explicit("of ours", UserWarning, "file.py", 1, module=module)


def test_a_warning_of_another_package_is_none_of_our_errors() -> None:
    with pytest.warns(UserWarning, match="of theirs"):
        warnings.warn_explicit("of theirs", UserWarning, "file.py", 1, module="routers.scoring")
