"""The first program in a sandbox: reports that it runs, waits for the word, limits itself and becomes the other.

Run as ``python -I -S enter.py SETTINGS COMMAND...``. ``SETTINGS`` is JSON: ``rlimits`` (name: value); ``uid``, which it
takes on if it is not null; and ``stay``: whether to wait beside the program and to end with the evaluator, as is
needed where nobody else sees to that. Uses the standard library only, and nothing of this package.
"""

import json
import os
import select
import signal
import sys

READY = b"ready\n"
GO = b"go"


def main() -> None:
    """Never returns: becomes the program, or exits as it does."""
    settings, command = json.loads(sys.argv[1]), sys.argv[2:]
    os.write(1, READY)
    if os.read(0, len(GO)) != GO:
        os._exit(1)  # the evaluator is gone
    if settings["stay"] and (child := os.fork()):
        os._exit(stay(child))
    limit(settings["rlimits"], settings["uid"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        os.execvpe(command[0], command, os.environ)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", flush=True)
        os._exit(127)


def limit(rlimits: dict[str, int], uid: int | None) -> None:
    """Set limits and give up all rights, so that neither can be taken back."""
    import resource  # here, because Windows has none, where this file is imported for two words only

    for name, value in rlimits.items():
        which = getattr(resource, name, None)
        if which is not None:
            hard = resource.getrlimit(which)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (value, value))
    if os.access("/proc/self/oom_score_adj", os.W_OK):
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # should the machine's memory run out, this goes first
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def stay(child: int) -> int:
    """Wait for the child and return its exit code; kill the group if the evaluator goes away first."""
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if select.select([0], [], [], 0.02)[0] and not os.read(0, 1):
            os.kill(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
