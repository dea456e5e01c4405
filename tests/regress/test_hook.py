"""Hooks after a delivery: spawned by the daemon, and by sallyport-hook behind its socket as systemd runs it."""
import os
import pathlib
import pwd
import shutil
import signal
import subprocess

import pytest

from conftest import wait_for

SHOW = "#!/bin/sh\nenv | grep ^SALLYPORT_ | sort >\"$1.new\" && mv \"$1.new\" \"$1.$SALLYPORT_NAME\"\n"


def program(name):
    return next((pathlib.Path(os.environ["SALLYPORT_BUILD"]) / "daemon").glob(name))


def make(scratch, name, text, mode=0o600):
    path = scratch / name
    path.write_text(text)
    path.chmod(mode)
    return path


def upload(instance, scratch, name):
    sealed = instance.seal(make(scratch, name, "a,b\n"), scratch / f"{name}.pgp")
    instance.sftp(f"put {sealed} /Incoming/Invoices/")
    return instance.wait_state(sealed.name, "archived")


def check_facts(path, row, instance, name):
    wait_for("the hook has run", path.exists)
    facts = dict(line.split("=", 1) for line in path.read_text().splitlines())
    assert facts["SALLYPORT_FILE_ID"] == row["id"]
    assert facts["SALLYPORT_PARTNER"] == "acme" and facts["SALLYPORT_OBJECT"] == "Invoices"
    assert pathlib.Path(facts["SALLYPORT_PATH"]) == instance.inbound("Invoices", name)
    assert facts["SALLYPORT_ORIGINAL_SHA256"] == row["sha256"]


def test_a_hook_of_the_daemons_own_user(make_instance, scratch):
    script = make(scratch, "hook", SHOW, 0o755)
    user = pwd.getpwuid(os.geteuid()).pw_name
    instance = make_instance("--option", f'files.hook=["{script}", "{scratch}/out"]', "--option", f'files.hook_user="{user}"')
    row = upload(instance, scratch, "one.csv")
    check_facts(scratch / "out.one.csv.pgp", row, instance, "one.csv")


@pytest.fixture
def hook_socket(scratch):
    """sallyport-hook behind a socket, a process a connection, as the installed units have it."""
    if shutil.which("systemd-socket-activate") is None:
        pytest.fail("systemd-socket-activate is missing: make deps installs it")
    path, conf = scratch / "hook.sock", scratch / "hook.conf"
    activator = subprocess.Popen(["systemd-socket-activate", "--accept", "--inetd", "-l", path, program("sallyport-hook"), "--config", conf],
                                 stderr=subprocess.DEVNULL)
    wait_for("the socket is there", path.exists)
    yield path, conf
    activator.send_signal(signal.SIGTERM)
    activator.wait(10)


def test_the_hook_service_runs_its_own_command_and_failures_are_tried_again(make_instance, hook_socket, scratch):
    path, conf = hook_socket
    script = make(scratch, "hook", SHOW, 0o755)
    instance = make_instance("--option", f'files.hook_socket="{path}"')
    row = upload(instance, scratch, "early.csv")  # there is no hook.conf yet
    wait_for("health says what to do",
             lambda: any(str(conf) in c["sentence"] for c in instance.json("status")["health"] if c["name"] == "files.hook"))
    make(scratch, "hook.conf", f"{script}\n{scratch}/out\n")
    instance.advance("1min")
    check_facts(scratch / "out.early.csv.pgp", row, instance, "early.csv")
    wait_for("all is well again", lambda: "files.hook" not in str(instance.json("status")["health"]))
    # Whoever holds the daemon cannot say what runs: files.hook is not sent anywhere.
    assert "hook done" in str(instance.json("files", "show", row["id"]))
