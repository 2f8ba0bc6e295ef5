"""Serve the built site to this machine's own browser: ``python tools/serve.py [port]``."""

import errno
import functools
import http.server
import sys
from pathlib import Path

HTML = Path(__file__).resolve().parent.parent / "_build" / "html"


def listen(port: int) -> http.server.ThreadingHTTPServer:
    """Return a server at ``port``, or at any free one where that is taken."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=HTML)
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)


def main() -> int:
    """Serve until interrupted."""
    if not (HTML / "index.html").is_file():
        print("the site is not built: run `make book` first", file=sys.stderr)
        return 1
    with listen(int(sys.argv[1]) if len(sys.argv) > 1 else 8000) as server:
        print(f"The site is at http://127.0.0.1:{server.server_port}/ (Ctrl-C stops it).", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
