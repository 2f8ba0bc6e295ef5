"""Keep the outputs in the executed notebooks beside the site.

When a page's execution is taken from the cache, myst-nb 1.4 shows its outputs but writes the notebook to
``_build/jupyter_execute`` without them. The tests read those notebooks and readers download them, so after
all pages have been read the outputs are merged into them from the cache.
"""

from contextlib import suppress
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def restore_outputs(app: Sphinx, env: BuildEnvironment) -> None:
    """Give every written notebook that is in the cache its outputs."""
    cache = get_cache(app.env.mystnb_config.execution_cache_path)
    for page, data in env.nb_metadata.items():
        if "exec_data" in data:
            path = Path(app.outdir).parent / "jupyter_execute" / f"{page}.ipynb"
            # A page that was executed but is not in the cache has failed, which is reported elsewhere.
            with suppress(KeyError):
                _, notebook = cache.merge_match_into_notebook(nbformat.read(path, as_version=4))
                nbformat.write(notebook, path)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("env-updated", restore_outputs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
