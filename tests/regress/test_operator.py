"""What people who run Sallyport have in their hands: that the documents name commands, options and conditions that
exist, that recipes do what they say, and that sallyportctl helps when something is typed wrong."""
import json
import os
import pathlib
import pty
import re
import shlex
import subprocess

import pytest

from conftest import TESTS, wait_for

ROOT = TESTS.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "docs").rglob("*.in"))]


def built(*places):
    build = pathlib.Path(os.environ["SALLYPORT_BUILD"])
    return str(next(build / place for place in places if (build / place).exists()))


CTL = built("daemon/sallyportctl")
DAEMON = built("daemon/sallyportd")
FRONT = built("sftp/sallyport-sftp")


def run(*argv, **more):
    return subprocess.run([str(a) for a in argv], text=True, capture_output=True, check=False, timeout=60, **more)


def page_text(path):
    """A manual page or another document without the markup that stands in the way of reading it."""
    return re.sub(r"\\f[BIR]", "", pathlib.Path(path).read_text().replace("\\-", "-"))


def options_in(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


@pytest.fixture(scope="module")
def commands():
    """Every command of sallyportctl with its options: {"key list": {"--status", ...}}."""
    tree = {}

    def walk(path):
        text = run(CTL, *path, "--help").stdout
        below = re.search(r"\nSubcommands:\n(.*?)\n\n", text, re.S)
        tree[" ".join(path)] = options_in(text.split("Options:")[1].split("\n\n")[0])
        for name in re.findall(r"^  (\S+)", below.group(1), re.M) if below else []:
            walk([*path, name])

    walk([])
    return tree


@pytest.fixture(scope="module")
def option_names():
    example, names, section = run(DAEMON, "--print-example-config").stdout, [], ""
    for line in example.splitlines():
        if line.startswith("["):
            section = line.strip("[]") + "."
        elif line.startswith("#[["):
            names.append(line.strip("#[]"))
        elif re.match(r"#\w+ = ", line):
            names.append(section + line[1:].split(" ")[0])
    return names


# ---------------------------------------------------------------------------- the documents
def quoted_commands(text):
    """Words behind 'sallyportctl', in code and in the words of the manual."""
    text = text.replace("\\-", "-").replace("\\\n", " ")
    for match in re.finditer(r"sallyportctl((?: +[^\s`|;&()<>#]+)+)", text):
        yield match.group(1).split()


def problem_with(words, commands):
    path, words = "", list(words)
    while words and f"{path} {words[0]}".strip() in commands:
        path = f"{path} {words.pop(0)}".strip()
    has_more = any(name.startswith(f"{path} ".lstrip()) for name in commands if name != path)
    if path == "" and not words[0].startswith("-") and re.fullmatch(r"[a-z-]+", words[0]) is None:
        return None  # prose
    if has_more and words and re.fullmatch(r"[a-z][a-z-]+", words[0]):
        return f"there is no '{path} {words[0]}'"
    known = commands[path] | commands[""]
    wrong = [w for w in words if re.match(r"--[a-z-]+$", w.split("=")[0].rstrip(".,'\"")) and w.split("=")[0].rstrip(".,'\"") not in known]
    return f"'{path}' has no {wrong}" if wrong else None


PROSE = {"against", "is", "it", "and", "are", "talks", "of", "as", "then", "on", "over", "to", "for", "or", "tells"}


def test_documents_and_messages_name_commands_that_exist(commands):
    sources = [p for folder in ("daemon", "notify", "pgp", "sftp", "store") for p in (ROOT / folder).rglob("*.cc")
               if p.name not in ("run.cc", "completion.cc")]  # which hold several lines in one text
    found, wrong = 0, []
    for path in DOCUMENTS + sources:
        text = path.read_text()
        if path.suffix == ".cc":
            text = re.sub(r'"\s*\n\s*"', "", re.sub(r"^\s*//.*$", "", text, flags=re.M))
        for words in quoted_commands(text):
            if words[0] in PROSE:
                continue
            found += 1
            words = [w for w in (w.rstrip("'\".,:*") for w in words) if w]
            problem = problem_with(words, commands) if words else None
            if problem:
                wrong.append(f"{path.relative_to(ROOT)}: sallyportctl {' '.join(words)}: {problem}")
    assert wrong == []
    assert found > 60, "the search finds nothing any more"


def test_short_forms_in_the_operators_page_exist(commands):
    """`files check`, `key show ID`: commands named without the program."""
    groups = {name for name in commands if name and " " not in name}
    wrong = []
    for code in re.findall(r"`([a-z][^`\n]*)`", (ROOT / "docs/operations.md").read_text()):
        words = code.split()
        if words[0] in groups and len(words) > 1 and re.fullmatch(r"[a-z-]+", words[1]):
            problem = problem_with(words, commands)
            if problem:
                wrong.append(f"{code}: {problem}")
    assert wrong == []


def test_documents_name_options_of_the_configuration_that_exist(option_names):
    known, sections = set(option_names), {name.split(".")[0] for name in option_names if "." in name}
    # Events and conditions look the same; those the daemon has stand in its sources.
    sources = "".join(p.read_text() for p in (ROOT / "daemon").rglob("*.cc"))
    wrong = []
    for path in DOCUMENTS:
        for word in re.findall(r"(?<![\w./-])([a-z]+\.[a-z_0-9]+)(?![\w./-])", page_text(path)):
            section = word.split(".")[0]
            known_file = word.endswith((".conf", ".service", ".sock", ".toml", ".key", ".md", ".password", ".cc"))
            if section in sections and word not in known and f'"{word}"' not in sources and not known_file:
                wrong.append(f"{path.relative_to(ROOT)}: {word}")
    # An event of the store, a file's name, and conditions whose names are put together.
    allowed = {"store.conflict", "keys.csv", "files.hook", "files.webhook", "files.receipt"}
    assert [w for w in wrong if w.split(": ")[1] not in allowed] == []


def test_the_manual_has_every_option_of_the_configuration(option_names):
    page = page_text(built("docs/man/sallyport.toml.5"))
    listed = re.findall(r"^\.TP\n\.B ([a-z_.0-9]+)$", page, re.M)
    assert len(option_names) > 80
    assert listed == option_names


@pytest.mark.parametrize("program, page", [(DAEMON, "sallyportd.8"), (FRONT, "sallyport-sftp.8"), (built("daemon/sallyport-hook"), "sallyport-hook.8")])
def test_manual_pages_have_the_programs_options(program, page):
    text = page_text(built(f"docs/man/{page}"))
    of_others = {"--now", "--quiet"}  # in examples, of systemctl and of a program of the reader's
    assert options_in(text) - of_others == options_in(run(program, "--help").stdout)


def test_the_manual_has_every_command(commands):
    page = pathlib.Path(built("docs/man/sallyportctl.1")).read_text().replace("\\-", "-")
    leaves = [name for name in commands if name and not any(other.startswith(name + " ") for other in commands)]
    assert len(leaves) > 50
    assert [name for name in leaves if f"\\fB{name}\\fR" not in page] == []


def conditions_in_sources():
    for path in (ROOT / "daemon").rglob("*.cc"):
        text = path.read_text()
        yield from re.findall(r'(?:raise|set|clear)\(\s*"([a-z_]+\.[a-z_]+)"', text)
        yield from re.findall(r'condition\w*(?:\[\])? *(?:=|\{) *"([a-z_]+\.[a-z_]+)"', text)
        yield from re.findall(r'"name", "([a-z_]+\.[a-z_]+)"', text)


def test_every_health_condition_has_its_row_in_the_operators_page():
    page = (ROOT / "docs/operations.md").read_text()
    names = set(conditions_in_sources())
    assert len(names) > 20
    assert [name for name in sorted(names) if f"| `{name}` |" not in page] == []


def test_what_is_installed_is_where_the_documents_and_units_say(tmp_path):
    build = pathlib.Path(os.environ["SALLYPORT_BUILD"])
    result = run("cmake", "--install", build, env={**os.environ, "DESTDIR": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    prefix = re.search(r"^CMAKE_INSTALL_PREFIX:\w+=(.*)$", (build / "CMakeCache.txt").read_text(), re.M).group(1)
    if prefix != "/usr/local":
        pytest.skip(f"configured for {prefix}")
    there = lambda path: (tmp_path / path.lstrip("/")).exists()
    for path in ("/etc/sallyport/sallyport.toml.example", "/etc/fail2ban/jail.d/sallyport.conf", "/etc/fail2ban/filter.d/sallyport.conf",
                 "/usr/local/bin/sallyportctl", "/usr/local/share/man/man5/sallyport.toml.5", "/usr/local/lib/sysusers.d/sallyport.conf",
                 "/usr/local/share/bash-completion/completions/sallyportctl", "/usr/local/share/zsh/site-functions/_sallyportctl"):
        assert there(path), path
    units = list((tmp_path / "usr/local/lib/systemd/system").iterdir())
    assert len(units) == 4
    for unit in units:
        for line in unit.read_text().splitlines():
            if line.startswith("ExecStart="):
                assert there(line.split("=", 1)[1].split()[0]), line
            assert "/usr/local/etc" not in line, line


# ---------------------------------------------------------------------------- recipes
def test_host_keys_change_as_the_operators_page_says(make_instance):
    instance = make_instance()
    directory = instance.dir / "host-keys"

    def front(task):
        return run(FRONT, task, "--host-keys", directory)

    listed = lambda: {(k["algorithm"], k["sha256"], k["staged"]) for k in instance.items("host-keys")}
    first = listed()
    assert {a for a, _, _ in first} == {"ssh-ed25519", "ssh-rsa"} and not any(s for _, _, s in first)
    refused = front("--activate-host-keys")
    assert refused.returncode == 1 and "--stage-host-keys makes one" in refused.stderr
    assert front("--stage-host-keys").returncode == 0
    instance.stop("sftp")
    instance.restart()
    wait_for("the second set is announced", lambda: any(s for _, _, s in listed()))
    staged = {f for _, f, s in listed() if s}
    sheet = instance.ctl("partner", "sheet", "acme")
    assert all(f in sheet for f in staged | {f for _, f, _ in first})
    assert instance.sftp("pwd").returncode == 0, "the first set is still the one in use"
    assert front("--stage-host-keys").returncode == 1, "a set that partners were told of is not replaced"
    assert front("--activate-host-keys").returncode == 0
    instance.stop("sftp")
    instance.restart()
    wait_for("the second set is in use", lambda: {f for _, f, _ in listed()} == staged)
    assert instance.sftp("pwd").returncode == 0, "with the known_hosts lines of the second set"


def test_host_keys_are_listed_for_files_and_for_dns(make_instance, tmp_path):
    assert "set gateway.public_host" in make_instance().ctl_fails("host-keys", "--format", "sshfp"), "an address is no name"
    instance = make_instance("--option", 'gateway.public_host="files.example.com"')
    known, records = (instance.ctl("host-keys", "--format", form).splitlines() for form in ("known-hosts", "sshfp"))
    assert len(known) == len(records) == 2
    shown = run(FRONT, "--show-host-keys", "--host-keys", instance.dir / "host-keys").stdout
    for line in known:
        host, key = line.split(" ", 1)
        assert host.startswith("[files.example.com]:")
        (tmp_path / "one.pub").write_text(key)
        of_openssh = run("ssh-keygen", "-r", "files.example.com.", "-f", tmp_path / "one.pub").stdout.splitlines()
        assert [r for r in of_openssh if r in records and r.split(". ")[1] in shown], (of_openssh, records, shown)


@pytest.mark.parametrize("moved, staged", [(0, 2), (1, 2), (1, 1), (2, 1), (2, 0)])
def test_an_exchange_of_host_keys_that_was_cut_off_is_ended(make_instance, moved, staged):
    """By a power cut at any step; and whatever else lies in the folder."""
    instance = make_instance()
    directory, names = instance.dir / "host-keys", ["ssh_host_ed25519_key", "ssh_host_rsa_key"]
    first = {k["sha256"] for k in instance.items("host-keys")}
    assert run(FRONT, "--stage-host-keys", "--host-keys", directory).returncode == 0
    (directory / "staged" / ".left-over.new").write_text("of a crash")
    (directory / "exchanging").mkdir()
    for name in names[:moved]:
        (directory / name).rename(directory / "exchanging" / name)
    for name in names[:2 - staged]:
        (directory / "staged" / name).rename(directory / name)
    instance.stop("sftp")
    instance.restart()
    now = wait_for("the second set is in use", lambda: {k["sha256"] for k in instance.items("host-keys") if not k["staged"]})
    assert len(now) == 2 and not now & first
    [retired] = directory.glob("retired-*")
    assert sorted(p.name for p in retired.glob("ssh_*")) == names
    assert not (directory / "exchanging").exists() and not (directory / "staged").exists()
    # And the next rotation goes as any.
    for task in ("--stage-host-keys", "--activate-host-keys"):
        assert run(FRONT, task, "--host-keys", directory).returncode == 0
    assert len(list(directory.glob("retired-*"))) in (1, 2)


def test_looking_for_host_keys_makes_none(tmp_path):
    result = run(FRONT, "--show-host-keys", "--host-keys", tmp_path / "none")
    assert result.returncode == 1 and "first start" in result.stderr
    assert not (tmp_path / "none").exists()


def test_a_backup_is_restored_as_the_operators_page_says(make_instance, scratch):
    instance = make_instance()
    database, copy = instance.dir / "sallyport.db", scratch / "copy.db"
    plain = scratch / "rates.csv"
    plain.write_text("a,b\n")
    instance.sftp(f"put {instance.seal(plain, scratch / 'one.csv.pgp')} /Incoming/Invoices/one.csv.pgp")
    instance.wait_state("one.csv.pgp", "archived")
    assert run("sqlite3", database, f".backup {copy}").returncode == 0, "while it runs"
    later = instance.ctl("key", "create", "made later", "--privilege", "PLATFORM/SOURCE/VIEW").strip()
    instance.sftp(f"put {instance.seal(plain, scratch / 'two.csv.pgp')} /Incoming/Invoices/two.csv.pgp")
    instance.wait_state("two.csv.pgp", "archived")
    instance.stop()
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    database.write_bytes(copy.read_bytes())
    instance.restart()
    check = instance.command("ctl", "files", "check", check=False)
    assert check.returncode == 1 and "two.csv.pgp" in check.stdout and "one.csv.pgp" not in check.stdout
    assert (instance.inbound("Invoices") / "two.csv").exists(), "what the database does not know stays where it is"
    assert instance.verify(later) == 401, "a key that was made after the backup is unknown"


def test_keys_of_another_server_come_along(make_instance, scratch):
    instance = make_instance()
    for kind in ("ed25519", "ecdsa"):
        run("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"old {kind}", "-f", scratch / kind)
    lines = [(scratch / f"{kind}.pub").read_text() for kind in ("ed25519", "ecdsa")]
    (scratch / "authorized_keys").write_text(f'# who\nfrom="192.0.2.0/24",no-pty {lines[0]}{lines[1]}')
    page = (ROOT / "docs/operations.md").read_text()
    loop = re.search(r"^  grep -oE .*?^  done$", page, re.S | re.M).group(0)
    script = loop.replace("/home/acme/.ssh/authorized_keys", str(scratch / "authorized_keys"))
    env = {**os.environ, "SALLYPORT_ADMIN_SOCKET": instance.env["SALLYPORT_ADMIN_SOCKET"],
           "PATH": f"{pathlib.Path(CTL).parent}:{os.environ['PATH']}"}
    result = run("bash", "-e", "-c", script, env=env)
    assert result.returncode == 0, result.stderr
    assert {"old ed25519", "old ecdsa"} <= {k["label"] for k in instance.json("partner", "show", "acme")["sshKeys"]}
    # PGP keys as gpg gives them, binary.
    home = scratch / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    try:
        run(*gpg, "--quick-gen-key", "old <old@example.org>", "rsa2048", "default", "never")
        for what, command in (("--export", ["partner", "pgp-key", "add", "acme", "-"]), ("--export-secret-keys", ["pgp", "import", "-"])):
            key = subprocess.run([str(a) for a in gpg] + [what, "old@example.org"], capture_output=True, check=True).stdout
            assert key[0] >= 0x80
            done = subprocess.run([CTL, *command], input=key, capture_output=True, env=env, check=False)
            assert done.returncode == 0, done.stderr
    finally:
        run("gpgconf", "--homedir", home, "--kill", "all")


def test_a_front_that_is_away_is_a_condition(make_instance):
    instance = make_instance()
    def away():
        return [c["sentence"] for c in instance.json("status")["health"] if c["name"] == "sftp.away"]
    wait_for("the front is there", lambda: not away())
    instance.stop("sftp")
    wait_for("status says so", away)
    check = instance.command("ctl", "status", "--check", check=False)
    assert check.returncode == 1 and "sftp.away" in check.stdout and check.stdout.count("\n") == 1 and check.stderr == ""
    instance.restart()
    wait_for("it is back", lambda: not away())


# ---------------------------------------------------------------------------- sallyportctl
@pytest.mark.parametrize("typed, says", [
    (["kye", "list"], "there is no command 'kye'; did you mean 'key'?"),
    (["key", "lits"], "there is no command 'lits'; did you mean 'list'?"),
    (["key", "list", "--staus", "ACTIVE"], "there is no option '--staus'; did you mean '--status'?"),
    (["key", "show"], "'sallyportctl key show --help' explains it"),
    (["key", "show", "a", "b"], "'b' was not expected"),
    (["--jsno", "key", "list"], "there is no option '--jsno'; did you mean '--json'?"),
    (["xyzzy"], "there is no command 'xyzzy' ("),
])
def test_what_is_mistyped_is_answered_with_what_was_meant(typed, says):
    result = run(CTL, *typed)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith("sallyportctl: ") and says in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("path", [[], ["key"], ["partner", "ssh-key"]])
def test_a_group_without_a_command_shows_what_there_is(path):
    result = run(CTL, *path)
    assert result.returncode == 2 and "Subcommands:" in result.stderr and result.stdout == ""


def test_json_of_every_listing_is_json(instance):
    instance.ctl("key", "create", "one", "--privilege", "PLATFORM/SOURCE/VIEW", "--lifetime", "30d")
    key = instance.items("key", "list")[0]["id"]
    for words in ("key list", f"key show {key}", f"key why {key}", "key simulate", "key calendar", "partner list", "partner show acme",
                  "pgp list", "ban list", "files list", "files check", "notices list", "activity list", "activity verify",
                  "admin list", "admin show admin@example.org", "admin group list", "admin token list", "gateway-token list",
                  "status", "clock show", "sessions", "audit", "host-keys", "ban add 192.0.2.1", "ban lift 192.0.2.1",
                  "partner suspend acme", "partner resume acme", "notices requeue --all", f"key delete {key} --yes"):
        instance.json(*words.split())


def test_tables_are_not_wider_than_a_terminal(instance):
    instance.ctl("key", "create", "a key with a name", "--privilege", "PLATFORM/SOURCE/VIEW", "--lifetime", "8d")
    for words in ("key list", "files list", "notices list", "partner list", "ban list", "pgp list", "admin list",
                  "admin token list", "gateway-token list", "sessions", "host-keys", "status", "key calendar"):
        longest = max(instance.ctl(*words.split()).splitlines(), key=len)
        assert len(longest) <= 120, f"{words}: {longest}"
    # Here the last column holds names, which are as long as people made them.
    assert instance.ctl("activity", "list").splitlines()[0].index("RESOURCE") <= 75


def test_notices_are_named_by_how_their_ids_begin(make_instance):
    instance = make_instance()
    key = instance.json("key", "create", "short", "--privilege", "PLATFORM/SOURCE/VIEW")["id"]
    instance.ctl("key", "expose", key, "--severity", "LOW", "--reason", "seen")
    notices = wait_for("there is a notice", lambda: instance.items("notices", "list"))
    shown = [line.split()[-1] for line in instance.ctl("notices", "list").splitlines()[1:]]
    assert shown and set(shown) <= {n["id"][:12] for n in instance.items("notices", "list")}
    assert instance.json("notices", "show", notices[0]["id"][:12])["id"] == notices[0]["id"]
    assert "no notice" in instance.ctl_fails("notices", "show", "0" * 16)
    assert "--all" in instance.ctl_fails("notices", "requeue")
    assert "No notice has failed." in instance.ctl("notices", "requeue", "--all")


def test_a_mistyped_partner_is_not_an_empty_list(instance):
    assert "There is no partner" in instance.ctl_fails("files", "list", "--partner", "acmee")
    assert "No files." in instance.ctl("files", "list", "--partner", "acme")


def test_relative_times_are_the_daemons(make_instance):
    instance = make_instance()
    instance.ctl("key", "create", "k", "--privilege", "PLATFORM/SOURCE/VIEW", "--lifetime", "30d")
    instance.advance("10d")
    assert re.search(r"UTC +in (20|19) days", instance.ctl("key", "calendar"))


def test_colours_are_for_terminals(instance):
    argv = [CTL, "--socket", instance.env["SALLYPORT_ADMIN_SOCKET"], "status"]
    assert "\x1b[" not in run(*argv).stdout

    def at_a_terminal(*more, **env):
        ours, theirs = pty.openpty()
        process = subprocess.Popen([*argv, *more], stdout=theirs, stderr=theirs, env={**os.environ, **env})
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        os.close(ours)
        assert process.wait(20) == 0
        return shown.decode()

    assert "\x1b[" in at_a_terminal()
    assert "\x1b[" not in at_a_terminal("--no-colour")
    assert "\x1b[" not in at_a_terminal(NO_COLOR="1")


# ---------------------------------------------------------------------------- completion
def completed(line):
    words = line.split(" ")
    script = run(CTL, "completion", "bash").stdout + f"""
COMP_WORDS=({' '.join(shlex.quote(w) for w in words)}); COMP_CWORD={len(words) - 1}
_sallyportctl; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    result = run("bash", "-c", script)
    assert result.stderr == ""
    return result.stdout.split()


def test_bash_completes_commands_and_options():
    assert completed("sallyportctl part") == ["partner"]
    assert completed("sallyportctl partner ssh") == ["ssh-key"]
    assert completed("sallyportctl partner ssh-key a") == ["add"]
    assert completed("sallyportctl --json key list --st") == ["--status"]
    assert completed("sallyportctl completion ") == ["bash", "zsh", "fish", "--help"]


@pytest.mark.long
def test_zsh_and_fish_complete_commands_and_options(tmp_path):
    zsh, fish = tmp_path / "_sallyportctl", tmp_path / "sallyportctl.fish"
    zsh.write_text(run(CTL, "completion", "zsh").stdout)
    fish.write_text(run(CTL, "completion", "fish").stdout)

    def offered_by_zsh(*words):
        # What the shell's own functions are given: they need a terminal to show it.
        script = f"""
compdef() {{ :; }}
_files() {{ print FILES; }}
_describe() {{ [[ $1 == -o ]] && shift; print -l -- ${{(P)2}}; }}
source {zsh}
words=({' '.join(shlex.quote(w) for w in words)}); CURRENT={len(words)}; _sallyportctl
"""
        result = run("zsh", "-f", "-c", script)
        assert result.returncode == 0 and result.stderr == ""
        return [line.split(":")[0] for line in result.stdout.splitlines()]

    assert offered_by_zsh("sallyportctl", "partner", "ssh-key", "") == ["add", "remove"]
    assert "--status" in offered_by_zsh("sallyportctl", "--json", "key", "list", "--")
    assert offered_by_zsh("sallyportctl", "pgp", "import", "") == ["FILES"]
    result = run("fish", "--no-config", "-c", f"source {fish}; complete -C 'sallyportctl partner ssh-key a'; "
                                              "complete -C 'sallyportctl --json key list --st'; complete -C 'sallyportctl pg'")
    assert result.returncode == 0 and result.stderr == ""
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == ["add", "--status", "pgp"]


def test_a_misspelt_object_is_refused_where_it_would_protect_nothing(make_instance):
    instance = make_instance()
    assert "it has Users" in instance.ctl_fails("partner", "set", "acme", "encryption", "required", "--object", "Invioces")
    instance.ctl("partner", "set", "acme", "encryption", "required", "--object", "Invoices")


def test_what_a_session_reads_once_is_refused_for_an_object(make_instance):
    instance = make_instance()
    for policy, value in (("max_file_bytes", "10"), ("trigger", "rename"), ("quota_files", "3")):
        said = instance.ctl_fails("partner", "set", "acme", policy, value, "--object", "Users")
        assert f"{policy} is read once for a whole session: set it for the partner, not for an object" in said
        instance.ctl("partner", "set", "acme", policy, value)


def test_a_ban_of_more_than_is_looked_for_is_refused(make_instance):
    instance = make_instance()
    for address in ("127.0.0.0/8", "2001:db8::/32", "example.com"):
        for what in ("add", "lift"):
            assert "write an IPv4 address such as 192.0.2.7" in instance.ctl_fails("ban", what, address)
    instance.ctl("ban", "add", "2001:db8::1")
    assert "2001:db8::/64" in instance.ctl("ban", "list")
    instance.ctl("ban", "lift", "2001:db8::7")
    assert "2001:db8" not in instance.ctl("ban", "list")
