"""What the units have to allow: a fence that is forbidden to go up is not there, and nothing else would show it."""
import pathlib

import pytest

UNITS = pathlib.Path(__file__).resolve().parents[2] / "systemd"
# No set of systemd 252 that the units name has these.
FENCES = {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"}


@pytest.mark.parametrize("unit", ["sallyportd.service.in", "sallyport-sftp.service.in"])
def test_fences_may_go_up(unit):
    allowed = set()
    for line in (UNITS / unit).read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            calls = line.removeprefix("SystemCallFilter=")
            if calls.startswith("~"):
                allowed -= set(calls[1:].split())
            else:
                allowed |= set(calls.split())
    assert FENCES <= allowed
