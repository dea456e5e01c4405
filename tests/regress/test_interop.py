"""Messages of six OpenPGP implementations, with every kind of key that partners have, go in; what goes out is read by all
of them, and its signature is found good."""
import os
import pathlib
import shutil
import subprocess

import pytest

from conftest import wait_for

pytestmark = pytest.mark.long  # it fetches OpenPGP.js from the npm registry

HERE = pathlib.Path(__file__).resolve().parent / "interop"
KINDS = ["rsa2048", "rsa3072", "curve25519"]
FORMS = ["armoured", "binary"]
TEXT = "".join(f"line {n * 7919 % 1000};a;b\n" for n in range(400))


def run(*argv, cwd=None, stdin=None):
    result = subprocess.run([str(a) for a in argv], cwd=cwd, input=stdin, capture_output=True, check=False)
    assert result.returncode == 0, f"{argv}: {result.stdout.decode(errors='replace')}{result.stderr.decode(errors='replace')}"
    return result.stdout


class Program:
    """An implementation behind a small program of ours with the commands make, seal and open."""
    kinds, compressions = KINDS, ["none", "zip", "zlib", "bzip2"]

    def __init__(self, directory, *argv):
        self.dir, self.argv = directory, argv

    def make(self, kind):
        run(*self.argv, "make", kind, cwd=self.dir)
        return self.dir / f"{kind}.cert"

    def seal(self, kind, ours, form, compression, source, target):
        run(*self.argv, "seal", kind, ours, form, compression, source, target, cwd=self.dir)

    def open(self, kind, ours, source):
        run(*self.argv, "open", kind, ours, source, "opened", cwd=self.dir)
        return (self.dir / "opened").read_text()


class OpenpgpJs(Program):
    compressions = ["none", "zip", "zlib"]

    def __init__(self, directory, version):
        run("npm", "install", "--silent", "--no-audit", "--no-fund", f"openpgp@{version}", cwd=directory)
        shutil.copy(HERE / "openpgp.mjs", directory)
        super().__init__(directory, "node", "openpgp.mjs")


class BouncyCastle(Program):
    def __init__(self, directory):
        jars = "/usr/share/java/bcpg.jar:/usr/share/java/bcprov.jar"
        run("javac", "-cp", jars, "-d", directory, HERE / "BouncyCastle.java")
        super().__init__(directory, "java", "-cp", f"{jars}:{directory}", "BouncyCastle")


class Pgpy(Program):
    def __init__(self, directory):
        super().__init__(directory, "/usr/bin/python3", HERE / "pgpy_program.py")


class Gpg:
    kinds, compressions = KINDS, ["none", "zip", "zlib", "bzip2"]
    algorithms = {"rsa2048": ("rsa2048", "rsa2048"), "rsa3072": ("rsa3072", "rsa3072"), "curve25519": ("ed25519", "cv25519")}

    def __init__(self, directory):
        self.dir, self.fingerprints = directory, {}
        self.home = directory / "h"
        self.home.mkdir(mode=0o700)

    def gpg(self, *args):
        return run("gpg", "--homedir", self.home, "--batch", "--quiet", "--yes", "--pinentry-mode", "loopback", "--passphrase", "",
                   "--trust-model", "always", *args)

    def make(self, kind):
        primary, subkey = self.algorithms[kind]
        self.gpg("--quick-gen-key", f"{kind} <{kind}@example.org>", primary, "sign,cert", "never")
        listing = self.gpg("--with-colons", "--list-keys", f"{kind}@example.org").decode()
        fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))
        self.gpg("--quick-add-key", fingerprint, subkey, "encr", "never")
        self.fingerprints[kind] = fingerprint
        (self.dir / f"{kind}.cert").write_bytes(self.gpg("--armor", "--export", fingerprint))
        return self.dir / f"{kind}.cert"

    def seal(self, kind, ours, form, compression, source, target):
        self.gpg(*(["--armor"] if form == "armoured" else []), "--compress-algo", compression, "--local-user", self.fingerprints[kind],
                 "--recipient-file", ours, "--sign", "--encrypt", "--output", target, source)

    def open(self, kind, ours, source):
        self.gpg("--import", ours)
        status = self.gpg("--status-fd", "1", "--output", self.dir / "opened", "--decrypt", source).decode(errors="replace")
        assert "GOODSIG" in status and "DECRYPTION_OKAY" in status, status
        return (self.dir / "opened").read_text()

    def close(self):
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False, capture_output=True)


class Sq:
    kinds, compressions = ["rsa3072", "curve25519"], ["none", "zip", "zlib", "bzip2"]  # it makes no smaller RSA keys

    def __init__(self, directory):
        self.dir = directory

    def make(self, kind):
        suite = {"rsa3072": "rsa3k", "curve25519": "cv25519"}[kind]
        run("sq", "key", "generate", "--cipher-suite", suite, "--userid", "Sq <sq@example.org>", "--export", self.dir / f"{kind}.key")
        (self.dir / f"{kind}.cert").write_bytes(run("sq", "key", "extract-cert", self.dir / f"{kind}.key"))
        return self.dir / f"{kind}.cert"

    def seal(self, kind, ours, form, compression, source, target):
        run("sq", "encrypt", *(["--binary"] if form == "binary" else []), "--compression", compression, "--recipient-cert", ours,
            "--signer-key", self.dir / f"{kind}.key", "--output", target, source)

    def open(self, kind, ours, source):
        return run("sq", "decrypt", "--recipient-key", self.dir / f"{kind}.key", "--signer-cert", ours, source).decode()


class Rnp:
    kinds, compressions = KINDS, ["none", "zip", "zlib", "bzip2"]
    switches = {"none": ["-z", "0"], "zip": ["--zip", "-z", "6"], "zlib": ["--zlib", "-z", "6"], "bzip2": ["--bzip", "-z", "6"]}

    def __init__(self, directory):
        self.dir = directory

    def home(self, kind):
        home = self.dir / kind
        home.mkdir(mode=0o700, exist_ok=True)
        return ["--homedir", home]

    def make(self, kind):
        how = ["--expert"] if kind == "curve25519" else ["--numbits", kind[3:]]
        run("rnpkeys", *self.home(kind), "--password", "secret", "--userid", f"{kind}@example.org", *how, "--generate-key",
            stdin=b"22\n" if kind == "curve25519" else None)
        (self.dir / f"{kind}.cert").write_bytes(run("rnpkeys", *self.home(kind), "--export-key", f"{kind}@example.org"))
        return self.dir / f"{kind}.cert"

    def seal(self, kind, ours, form, compression, source, target):
        run("rnp", *self.home(kind), "--password", "secret", *(["--armor"] if form == "armoured" else []), *self.switches[compression],
            "--encrypt", "--sign", "-u", f"{kind}@example.org", "-r", self.key_id(kind, ours), "--overwrite", "--output", target, source)

    def key_id(self, kind, ours):
        run("rnpkeys", *self.home(kind), "--import-key", ours)
        listing = run("gpg", "--show-keys", "--with-colons", ours).decode()
        return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))

    def open(self, kind, ours, source):
        self.key_id(kind, ours)
        # It fails on a signature that is not good.
        run("rnp", *self.home(kind), "--password", "secret", "--decrypt", "--overwrite", "--output", self.dir / "opened", source)
        return (self.dir / "opened").read_text()


IMPLEMENTATIONS = {
    "gpg": Gpg, "sq": Sq, "rnp": Rnp, "pgpy": Pgpy, "bouncycastle": BouncyCastle,
    "openpgpjs5": lambda directory: OpenpgpJs(directory, "5.11.2"), "openpgpjs6": lambda directory: OpenpgpJs(directory, "6.1.0"),
}


@pytest.fixture(scope="module")
def gateway(instance):
    """The instance, with a key of ours of each kind as a file."""
    ours = {"rsa3072": instance.dir / "ours-rsa3072.asc", "curve25519": instance.dir / "ours-curve25519.asc"}
    ours["rsa3072"].write_text(instance.ctl("pgp", "export"))
    before = {key["fingerprint"] for key in instance.items("pgp", "list")}
    instance.ctl("pgp", "init", "--type", "curve25519", "--email", "curve@example.org")
    new = next(key["fingerprint"] for key in instance.items("pgp", "list") if key["fingerprint"] not in before)
    ours["curve25519"].write_text(instance.ctl("pgp", "export", new))
    return instance, ours


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_both_ways(gateway, tmp_path_factory, name):
    instance, ours = gateway
    directory = pathlib.Path(tmp_path_factory.mktemp("x", numbered=True))
    # Short: an agent's socket lies below it.
    short = pathlib.Path(f"/tmp/sp-{os.getpid()}-{name}")
    short.symlink_to(directory)
    implementation = IMPLEMENTATIONS[name](short)
    try:
        both_ways(instance, ours, implementation, name, short)
    finally:
        getattr(implementation, "close", lambda: None)()
        short.unlink()


def both_ways(instance, ours, implementation, name, directory):
    (directory / "text").write_text(TEXT)
    wanted = []
    for kind in implementation.kinds:
        instance.ctl("partner", "pgp-key", "add", "acme", implementation.make(kind))
        for our_kind, certificate in ours.items():
            for form in FORMS:
                for compression in implementation.compressions:
                    message = directory / f"{name}-{kind}-{our_kind}-{form}-{compression}.csv.pgp"
                    implementation.seal(kind, certificate, form, compression, directory / "text", message)
                    wanted.append(message)
        # The newest key of the partner is what is encrypted to; the newest of ours signs.
        out = pathlib.Path(instance.env["OUTBOUND_DIR"]) / "acme" / "Invoices"
        out.mkdir(parents=True, exist_ok=True)
        temporary = directory / "outgoing"
        temporary.write_text(TEXT)
        shutil.move(temporary, out / f"to-{name}-{kind}.csv")
        wait_for("it can be collected", lambda: instance.items("files", "list", "--name", f"to-{name}-{kind}.csv", "--state", "available"))
        sealed = directory / f"to-{name}-{kind}.csv.pgp"
        instance.sftp(f"get /Outgoing/Invoices/{sealed.name} {sealed}")
        assert implementation.open(kind, ours["curve25519"], sealed) == TEXT, kind
    instance.sftp(*[f"put {message} /Incoming/Invoices/" for message in wanted])
    for message in wanted:
        def settled(name=message.name):
            return [f for f in instance.items("files", "list", "--name", name) if f["state"] in ("archived", "failed")]
        row = wait_for(f"{message.name} is settled", settled, 60)[0]
        assert row["state"] == "archived", row
        assert instance.inbound("Invoices", message.name.removesuffix(".pgp")).read_text() == TEXT, message.name
