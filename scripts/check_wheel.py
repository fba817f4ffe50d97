"""Check of an environment with the built wheel installed: `python scripts/check_wheel.py ENVIRONMENT`.

Runs outside the clone, as users do.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PROBE = """
import importlib.util, pathlib, sys
import router, train
from router import Router
packages = [pathlib.Path(package.__file__).parent for package in (router, train)]
assert all(path.is_relative_to(sys.prefix) for path in packages), f"imported from {packages}, not from the wheel"
for path in packages:
    files = [file for file in path.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    print(*sorted(str(file.relative_to(path.parent)) for file in files), sep="\\n")
"""


def run(*command: str | Path) -> str:
    """Output of a command in an empty folder; SystemExit with it where the command fails."""
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run([str(part) for part in command], cwd=elsewhere, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command[:2]))} exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Check that the wheel holds every module and nothing more, and that the commands start."""
    binaries = Path(sys.argv[1]) / "bin"
    source = {
        str(path.relative_to(REPOSITORY))
        for package in ("router", "train")
        for path in (REPOSITORY / package).rglob("*")
        if path.suffix in (".py", ".yaml", ".csv", ".jsonl") or path.name == "py.typed"
    }
    packed = {line for line in run(binaries / "python", "-c", PROBE).splitlines() if "__pycache__" not in line}
    if packed != source:
        raise SystemExit(f"the wheel lacks {sorted(source - packed)} and has too much {sorted(packed - source)}")
    version = run(binaries / "router", "--version").strip()
    run(binaries / "lightning", "--help")
    print(f"the wheel holds {len(packed)} files; `router --version` prints {version!r}")


if __name__ == "__main__":
    main()
