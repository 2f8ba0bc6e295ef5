"""List the links of the built site that lead to other hosts, and say which do not answer.

It never fails: a site that is down is no fault of the page, and without a network nothing answers. DOIs are asked for
at doi.org, which knows them even where a publisher turns programs away.
"""

import re
import sys
import urllib.error
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path

HTML = Path(__file__).resolve().parent.parent / "_build" / "html"
LINK = re.compile(r'<a\b[^>]*\bhref="(https?://[^"#]+)')
DOI = re.compile(r"https?://(?:dx\.)?doi\.org/(10\.[^?]+)")
SECONDS = 15
TURNED_AWAY = {401, 403, 405, 429}  # there, but not for programs


def outside_links() -> dict[str, set[str]]:
    """Return every link to another host, with the pages that have it."""
    found = defaultdict(set)
    for page in sorted(HTML.rglob("*.html")):
        for address in LINK.findall(page.read_text(encoding="utf-8")):
            found[unescape(address)].add(page.relative_to(HTML).as_posix())
    return dict(found)


def answer(address: str) -> str:
    """ "ok", or why not."""
    doi = DOI.fullmatch(address)
    asked = f"https://doi.org/api/handles/{doi[1]}" if doi else address
    request = urllib.request.Request(asked, headers={"User-Agent": "Mozilla/5.0 (link check)"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            return "ok" if response.status < 400 else f"status {response.status}"
    except urllib.error.HTTPError as error:
        return "ok, but turns programs away" if error.code in TURNED_AWAY else f"status {error.code}"
    except (OSError, ValueError) as error:
        return f"no answer: {getattr(error, 'reason', error)}"


def main() -> int:
    """Print every link, those that do not answer last; the exit status is 0 whatever they say."""
    links = outside_links()
    if not links:
        print("no links found: run `make book` first", file=sys.stderr)
        return 0
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(links, pool.map(answer, links), strict=True))
    for address in sorted(links, key=lambda one: (not answers[one].startswith("ok"), one)):
        pages = sorted(links[address])
        print(
            f"{answers[address]:28.28s} {address}   {pages[0]}"
            + f" and {len(pages) - 1} more" * (len(pages) > 1)
        )
    silent = sum(not one.startswith("ok") for one in answers.values())
    print(f"{len(links)} links, {silent} without an answer")
    return 0


if __name__ == "__main__":
    sys.exit(main())
