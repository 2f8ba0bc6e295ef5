"""Execute and build the site, never from stale results.

Jupyter Book executes a page again when the page changes; it sees neither a change in `etlab` nor in the
environment, and a second build after a failed one does not repeat the warnings of the first. So two keys are
kept beside the site: what the pages were computed with, and what the last *successful* build was made of.
"""

import hashlib
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
COMPUTED_WITH = ("etlab", "requirements.txt")
LOOKS_LIKE = ("_config.yml", "_toc.yml", "assets", "extensions")
# one thread a page: as many pages as cores are executed at a time, and threads that wait for a core spin
ENVIRONMENT = {
    "ETLAB_STATIC": "1",
    "NUMBA_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
READER = {"name": "myst_nb_md", "type": "plugin"}
CELL_SECONDS = 300  # as in _config.yml
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def digest(*names: str) -> str:
    """SHA-256 over the names and contents of files, folders taken whole but for Python's caches."""
    total = hashlib.sha256(platform.python_version().encode())
    for name in names:
        top = ROOT / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                total.update(f"{path.relative_to(ROOT).as_posix()} {path.stat().st_size}\n".encode())
                total.update(path.read_bytes())
    return total.hexdigest()


def forget_unless(key_file: Path, key: str, *folders: str) -> None:
    """Remove folders of the build unless ``key_file`` holds ``key``."""
    if not key_file.is_file() or key_file.read_text() != key:
        for folder in folders:
            shutil.rmtree(BUILD / folder, ignore_errors=True)


def execute_pages() -> None:
    """Execute the pages into the cache, as many at a time as there are cores: Jupyter Book takes one after another.

    A page that fails is left to Jupyter Book, which executes it again and says what is wrong.
    """
    texts = {page: page.read_text(encoding="utf-8") for page in ROOT.glob("*/*.md")}
    pages = [page for page, text in texts.items() if "\nkernelspec:" in text]
    # longer pages take longer, as a rule, and what runs commands most of all: those first, or a core waits at the end
    pages.sort(key=lambda page: (page.parent.name != "appendices", -len(texts[page]), page))
    cache = get_cache(BUILD / ".jupyter_cache")
    keys = {cache.add_nb_to_project(str(page), read_data=READER).pk: page for page in pages}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = {pool.submit(execute, key): page for key, page in keys.items()}
        for n, run in enumerate(as_completed(runs), 1):
            if run.result():
                print(f"executed {runs[run].relative_to(ROOT)} ({n} of {len(runs)})", flush=True)


def execute(key: int) -> bool:
    """Execute a page, by its key in the cache, in a kernel of its own; return False if the cache has its results."""
    cache = get_cache(BUILD / ".jupyter_cache")
    executor = load_executor("local-serial", cache, logging.getLogger("pages"))
    return bool(executor.run_and_cache(filter_pks=[key], timeout=CELL_SECONDS).succeeded)


def silence_kernels(folder: Path) -> None:
    """Let kernels log errors only, not that they talk to this machine unencrypted; nor do a user's settings count."""
    profile = folder / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    (profile / "ipython_kernel_config.json").write_text('{"IPKernelApp": {"log_level": 40}}')
    os.environ["IPYTHONDIR"] = str(folder)


def run(command: list[str], log: Path) -> int:
    """Run the build, showing which page it is at; warnings and errors go to the terminal as they come."""
    with (
        log.open("w") as copy,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as build,
    ):
        for line in build.stdout:
            plain = COLOUR.sub("", line)
            copy.write(plain)
            if plain.startswith("reading sources") or "Executed notebook" in plain:
                print(plain.rstrip(), flush=True)
    return build.returncode


def main() -> int:
    """Build; return the exit status of Jupyter Book."""
    BUILD.mkdir(exist_ok=True)
    executed, built = BUILD / "executed.key", BUILD / "built.key"
    computed_with = digest(*COMPUTED_WITH)
    made_of = computed_with + digest(*LOOKS_LIKE)
    forget_unless(executed, computed_with, ".jupyter_cache", "jupyter_execute")
    executed.write_text(computed_with)
    forget_unless(built, made_of, ".doctrees", "html")
    built.unlink(missing_ok=True)

    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command = [*jupyter_book, "build", ".", "-W", "-n", "--keep-going"]
    log = BUILD / "book.log"
    with tempfile.TemporaryDirectory(prefix="etlab-ipython-") as settings:
        silence_kernels(Path(settings))
        execute_pages()
        status = run(command, log)
    if status:
        print(
            f"the build failed; its warnings and errors stand above, the pages it read in {log}",
            file=sys.stderr,
        )
    else:
        built.write_text(made_of)
        print(f"\nThe site is built. Open {(BUILD / 'html' / 'index.html').as_uri()} or run `make serve`.")
    return status


if __name__ == "__main__":
    os.environ.update(ENVIRONMENT)
    sys.exit(main())
