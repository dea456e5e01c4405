"""A live session of the SFTP front that is made to misbehave: a debugger makes it call what somebody who has taken it over would, before its
login and after it. What the sandbox refuses one by one is unit_sftp's; here it is the very process that talks to partners."""
import errno
import os
import re
import socket
import subprocess

import pytest

from conftest import WEAK_SANDBOX, wait_for
from hostile import instance, sessions, tree  # noqa: F401 (a fixture)
from ssh_wire import Wire

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root alone may take over a session: no other process may look into it")

OPENAT2 = 437  # on every machine
KILLED = "SIGSYS"
# How it goes, by what it tries. Strings and structures are made in its own memory.
ATTEMPTS = {
    "open another path": ('((int(*)(const char*,int))open)("/etc/passwd", 0)', errno.EPERM),
    "connect to somebody": ("((int(*)(int,int,int))socket)(2, 1, 0)", errno.EPERM),
    "fork": ("((int(*)(void))fork)()", errno.EPERM),
    "run a program": ('((int(*)(const char*,void*,void*))execve)("/bin/true", 0, 0)', KILLED),
    "look into its parent": ("((long(*)(int,int,long,long))ptrace)(16, PARENT, 0, 0)", KILLED),
    "open the host's file by openat2": (f'((long(*)(long,long,const char*,void*,long))syscall)({OPENAT2}, -100, "OUTSIDE", HOW, 24)', errno.EACCES),
    "make memory that runs": ("((int(*)(void*,long,int))mprotect)((void*)((long)$sp & ~4095L), 4096, 7)", errno.EPERM),
}


def made_to(session, call):
    """The errno of the call in the session, 0, or the signal that ended it."""
    script = ["set debuginfod enabled off", "set confirm off", "set unwindonsignal off",
              f"print (long)({call})", "print *((int*(*)(void))__errno_location)()"]
    done = subprocess.run(["gdb", "-q", "-nx", "-batch", "-p", str(session), *[x for line in script for x in ("-ex", line)]],
                          text=True, capture_output=True, timeout=120, check=False)
    if re.search(rf"signal {KILLED}", done.stdout):
        return KILLED
    values = re.findall(r"^\$\d+ = (-?\d+)", done.stdout, re.M)
    assert len(values) == 2, done.stdout + done.stderr
    return int(values[1]) if int(values[0]) == -1 else 0


@pytest.mark.parametrize("logged_in", [False, True], ids=["before the login", "after it"])
def test_what_is_taken_over_gets_nowhere(instance, logged_in):
    front = instance.env["SALLYPORT_SFTP_PID"]
    outside = tree(instance, "other") / "Shared" / "secret"
    outside.write_bytes(b"of another partner")
    for what, (call, outcome) in ATTEMPTS.items():
        if WEAK_SANDBOX and outcome == errno.EACCES:
            continue  # landlock's part, which this kernel has not
        wait_for("the session before has ended", lambda: not sessions(instance))
        if logged_in:
            wire = Wire(instance).login()
            assert wire.sftp().list("/")
        else:
            wire = socket.create_connection((instance.env["SFTP_HOST"], int(instance.env["SFTP_PORT"])), timeout=20)
            assert wire.recv(4) == b"SSH-"
        [session] = sessions(instance)
        # Before the login it has not been given a partner's directory: the root above them is what it may reach.
        path = str(outside) if logged_in else str(instance.dir / "sallyport.toml")
        call = call.replace("PARENT", front).replace("OUTSIDE", path).replace("HOW", "((void*(*)(long,long))calloc)(1, 24)")
        assert made_to(session, call) == outcome, what
        if outcome != KILLED:
            assert made_to(session, "((int(*)(void))getpid)()") == 0, "what it may do, it can"
        wire.close()
    assert outside.read_bytes() == b"of another partner"
