"""Find a Chromium or Chrome for the browser tests, and with ``--install`` get one where there is none.

The system's browser is preferred, best without its windows and menus, which cost several times the processor time of
the pages; next comes playwright's own. Where there is none, Debian's package is installed if we are root there,
playwright's download otherwise.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
MAC_APPS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)


def find_browser() -> str | None:
    """Path of the system's Chromium or Chrome, else of playwright's own, else None."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    for app in MAC_APPS:
        if os.access(app, os.X_OK):
            return app
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None


def install_browser() -> None:
    """Install Chromium: Debian's package as root, else playwright's download into the user's cache."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    debian = shutil.which("apt-get") and platform.freedesktop_os_release().get("ID") == "debian"
    if root and debian:
        # On Ubuntu the package of this name is a snap, which does not start in a container.
        packages = ["chromium-headless-shell", "fonts-liberation"]
        install = ["apt-get", "install", "-qq", "--no-install-recommends", *packages]
        commands = [["apt-get", "update", "-qq"], install]
    else:
        with_deps = ["--with-deps"] if root and sys.platform == "linux" else []
        commands = [[sys.executable, "-m", "playwright", "install", *with_deps, "chromium"]]
    for command in commands:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL)


def main() -> int:
    """Print the browser's path; with ``--install``, install one first where there is none."""
    found = find_browser()
    if found is None and "--install" in sys.argv[1:]:
        print("no Chromium or Chrome found: installing Chromium for the browser tests", flush=True)
        try:
            install_browser()
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"could not install Chromium ({error})", file=sys.stderr)
        found = find_browser()
    if found is None:
        print("browser tests need Chromium: install it (Debian: apt install chromium)", file=sys.stderr)
        return 1
    print(f"browser: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
