"""Make a page of feedback safe to open: it asks no other host for anything and runs no program.

The page is nbconvert's, of a notebook that anybody may have written. Formulas stay as they were typed, since what
draws them would have to be loaded.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from bs4 import BeautifulSoup

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; "
    "form-action 'none'"
)
ACTIVE = (
    "script,iframe,frame,object,embed,applet,form,base,meta,link,portal,video,audio,source,track,svg,math,"
    "template"
)
ADDRESSES = (
    "src",
    "srcset",
    "href",
    "xlink:href",
    "data",
    "poster",
    "background",
    "action",
    "formaction",
    "ping",
)
LINKS = ("http", "https", "mailto")
LOADING = re.compile(r"@import[^;]*;?|url\(\s*['\"]?(?!data:)[^)]*\)", re.IGNORECASE)


def harmless(page: str) -> str:
    """Return the page without programs, without addresses that load anything, and with a policy that forbids both."""
    soup = BeautifulSoup(page, "html.parser")
    for element in soup.select(ACTIVE):
        element.decompose()
    for style in soup.find_all("style"):
        # a rule on links that run programs has none to apply to
        style.string = LOADING.sub("", style.get_text()).replace("javascript:", "")
    for element in soup.find_all(True):
        _clean(element)
    policy = soup.new_tag("meta", attrs={"http-equiv": "Content-Security-Policy", "content": POLICY})
    encoding = soup.new_tag("meta", attrs={"charset": "utf-8"})
    (soup.head or soup).insert(0, policy)
    (soup.head or soup).insert(0, encoding)
    return str(soup)


def _clean(element):
    """Drop handlers of events and every address but links to be followed by hand and pictures within the page."""
    for name in list(element.attrs):
        value = element.attrs[name]
        text = value if isinstance(value, str) else " ".join(value)
        if name.lower().startswith("on") or (name.lower() in ADDRESSES and not _allowed(element, name, text)):
            del element.attrs[name]
        elif name.lower() == "style":
            element.attrs[name] = LOADING.sub("", text)


def _allowed(element, name, address):
    address = re.sub(r"[\x00-\x20]+", "", address)  # browsers skip these
    if element.name == "img" and name.lower() == "src":
        return re.match(r"data:image/(png|jpeg|gif);base64,", address, re.IGNORECASE) is not None
    if element.name != "a" or name.lower() != "href":
        return False
    try:
        return address.startswith("#") or urlsplit(address).scheme.lower() in LINKS
    except ValueError:
        return False
