"""What cannot work is said in one clear line that says what to do, and the exit status tells which kind."""
import os
import pathlib
import socket
import subprocess

import pytest

from conftest import WEAK_SANDBOX, wait_for

EXIT_FAILURE, EXIT_CONFIG = 1, 78


def program(name):
    build = pathlib.Path(os.environ["SALLYPORT_BUILD"])
    return next(build / place / name for place in ("daemon", "sftp") if (build / place / name).exists())


def start(name, *args, timeout=60):
    result = subprocess.run([program(name), *[str(a) for a in args]], text=True, capture_output=True, timeout=timeout, check=False)
    return result.returncode, result.stdout + result.stderr


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("text,line,words", [
    ("[smtp]\nprot = 25\n", 2, ["smtp.prot", "smtp.port"]),
    ("[smpt]\nport = 25\n", 1, ["smpt"]),
    ("[smtp]\nport = 70000\n", 2, ["smtp.port", "65535"]),
    ("[smtp]\nport = \"x\"\n", 2, ["smtp.port"]),
    ("organization = \"a\"\n[keys]\ninactivity = \"1 year\"\n", 3, ["keys.inactivity"]),
    ("[smtp\n", 1, []),
    ("[log]\nlevel = \"loud\"\n", 2, ["log.level", "debug"]),
])
def test_a_configuration_mistake_names_file_line_and_the_nearest_word(tmp_path, text, line, words):
    path = write(tmp_path / "sallyport.toml", text)
    code, output = start("sallyportd", "--config", path, "--check-config")
    assert code == EXIT_CONFIG, output
    assert f"{path}:{line}" in output
    for word in words:
        assert word in output, output


def test_a_missing_configuration_file_is_named(tmp_path):
    code, output = start("sallyportd", "--config", tmp_path / "none.toml")
    assert code == EXIT_CONFIG and "none.toml" in output


def test_a_good_configuration_passes_the_check(instance):
    code, output = start("sallyportd", "--config", instance.dir / "sallyport.toml", "--check-config")
    assert code == 0, output


def test_a_port_in_use_is_named(instance, tmp_path):
    port = instance.env["SFTP_PORT"]
    code, output = start("sallyport-sftp", *WEAK_SANDBOX, "--listen", f"127.0.0.1:{port}", "--broker", instance.dir / "run/broker.sock",
                         "--host-keys", tmp_path / "keys", "--partners-root", instance.dir / "partners")
    assert code == EXIT_FAILURE and port in output and "port already" in output, output


def test_a_second_daemon_on_the_same_sockets_is_refused(instance):
    code, output = start("sallyportd", "--config", instance.dir / "sallyport.toml")
    assert code != 0
    assert instance.json("status")  # the first one is unharmed


def test_an_unreadable_host_key_is_named(instance, tmp_path):
    keys = tmp_path / "keys"
    keys.mkdir()
    for name in os.listdir(instance.dir / "host-keys"):
        if not name.endswith(".pub"):
            write(keys / name, "this is no key\n").chmod(0o600)
    code, output = start("sallyport-sftp", *WEAK_SANDBOX, "--listen", "127.0.0.1:0", "--broker", instance.dir / "run/broker.sock",
                         "--host-keys", keys, "--partners-root", instance.dir / "partners")
    assert code == EXIT_FAILURE and str(keys) in output, output


def test_a_dead_mail_server_delays_mail_and_nothing_is_forgotten(make_instance):
    instance = make_instance()
    sink = __import__("json").loads((instance.dir / "state.json").read_text())["pids"]["smtp"]
    os.kill(sink, 15)
    wait_for("the sink ends", lambda: not pathlib.Path(f"/proc/{sink}").exists() or "Z" in pathlib.Path(f"/proc/{sink}/stat").read_text())
    key = instance.json("key", "create", "delayed", "--template", "CUSTOM", "--lifetime", "P1D", "--privilege",
                        "PLATFORM/SOURCE/VIEW")
    instance.advance("2d")
    rows = [n for n in instance.items("notices", "list") if n["subjectId"] == key["id"]]
    assert [r["state"].lower() for r in rows if r["state"].lower() not in ("not_applicable", "superseded")] == ["pending"], rows
    wait_for("health says so", lambda: "mail" in str(instance.json("status")["health"]).lower() or "smtp" in str(instance.json("status")["health"]).lower())
    instance.restart()  # brings the sink back
    instance.advance("2h")
    wait_for("the mail arrives", lambda: [m for m in instance.mails() if "delayed" in m["Subject"]])
    assert len([m for m in instance.mails() if "delayed" in m["Subject"]]) == 1


def test_a_missing_database_delays_the_daemon_and_an_unknown_schema_stops_it(make_instance):
    instance = make_instance()
    instance.stop("all")
    import sqlite3
    database = sqlite3.connect(instance.dir / "sallyport.db")
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type='table'")]
    assert any("migration" in t or "schema" in t for t in tables), tables
    database.close()
    path = instance.dir / "sallyport.db"
    path.rename(instance.dir / "kept.db")
    write(path, "this is not a database, but somebody's text file\n" * 100)
    code, output = start("sallyportd", "--config", instance.dir / "sallyport.toml")
    assert code != 0 and "sallyport.db" in output, output
    path.unlink()
    (instance.dir / "kept.db").rename(path)
    instance.restart()
    assert instance.items("partner", "list")
