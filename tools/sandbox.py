"""Find bubblewrap, in which the challenge runs programs, and with ``--install`` get it where there is none."""

import os
import shutil
import subprocess
import sys

MISSING = (
    "no bubblewrap: run `python tools/sandbox.py --install` as root (Debian, Ubuntu: apt install bubblewrap)"
)
INSTALL = (
    ["apt-get", "update", "-qq"],
    ["apt-get", "install", "-qq", "--no-install-recommends", "bubblewrap"],
)


def install_bubblewrap() -> None:
    """Install Debian's or Ubuntu's package, as root."""
    for command in INSTALL:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL)


def main() -> int:
    """Print the path of bubblewrap; with ``--install``, install it first where there is none."""
    can_install = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("apt-get")
    if not shutil.which("bwrap") and "--install" in sys.argv[1:] and can_install:
        print("no bubblewrap found: installing it for the challenge's sandbox", flush=True)
        try:
            install_bubblewrap()
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"could not install bubblewrap ({error})", file=sys.stderr)
    found = shutil.which("bwrap")
    if found is None:
        print(MISSING, file=sys.stderr)
        return 0 if sys.platform != "linux" else 1
    print(f"sandbox: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
