#!/usr/bin/python3
"""Opening PGP messages with the gateway's library against gpg itself, on the same files in one run.

  pgp_bench.py --build BUILD [--messages N] [--megabytes N] [--runs N]

Small: N messages of 10 KiB, encrypted and signed (RSA-2048), against a sequential loop of
`gpg --decrypt`; bar: at least 1.4 times its rate. Large: one message in memory (tmpfs), one at a time;
bar: at least 0.5 of gpg's rate. Medians of the runs, which take turns. Exit status 1 when a bar is
missed.
"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

KEY = """%no-protection
Key-Type: RSA
Key-Length: 2048
Key-Usage: sign
Subkey-Type: RSA
Subkey-Length: 2048
Subkey-Usage: encrypt
Name-Real: NAME
Name-Email: NAME@example.com
Expire-Date: 0
%commit
"""
GPG = ["gpg", "--batch", "--quiet", "--no-tty", "--trust-model", "always", "--homedir"]


def run(argv, **more):
    done = subprocess.run([str(a) for a in argv], capture_output=True, **more)
    if done.returncode != 0:
        sys.exit(f"pgp_bench: {argv[0]} failed: {done.stderr.decode(errors='replace')}")
    return done.stdout


def seconds_of_loop(home, files, output):
    # A loop of the shell's: Python would take its time to start each program.
    command = " ".join(GPG + [str(home), "--yes", "--output", str(output), "--decrypt"])
    script = f'for file; do {command} "$file" || exit; done'
    started = time.monotonic()
    run(["sh", "-c", script, "sh"] + files)
    return time.monotonic() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--messages", type=int, default=150)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    program = options.build / "tests" / "bench" / "pgp_rate"
    shm = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="sp-", dir=shm if shm.is_dir() else None) as text:
        here = pathlib.Path(text)
        partner, ours = here / "pa", here / "gw"
        partner.mkdir(mode=0o700)
        try:
            ok = measure(options, program, here, partner, ours)
        finally:
            for home in (partner, ours, ours / "a1"):
                if home.is_dir():
                    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
    sys.exit(0 if ok else 1)


def measure(options, program, here, partner, ours):
    for name in ("partner", "gateway"):
        run(GPG + [partner, "--gen-key"], input=KEY.replace("NAME", name).encode())
    run([program, "import", ours], input=run(GPG + [partner, "--export-secret-keys", "gateway"]))
    run([program, "import", ours], input=run(GPG + [partner, "--export", "partner"]))
    seal = GPG + [partner, "-u", "partner", "-r", "gateway", "--sign", "--encrypt"]
    files = []
    for i in range(options.messages):
        content = os.urandom(5120).hex().encode()
        files.append(here / f"{i}.pgp")
        files[-1].write_bytes(run(seal, input=content))
    output = here / "out"
    output.mkdir()

    cores = len(os.sched_getaffinity(0))
    theirs, mine = [], []
    for _ in range(options.runs):
        subprocess.run(["gpgconf", "--homedir", ours, "--launch", "gpg-agent"], check=True)
        theirs.append(seconds_of_loop(ours, files, output / "gpg"))
        mine.append(float(run([program, "open", ours, cores, output] + files)))
    small = report("10 KiB, signed", options.messages / statistics.median(theirs),
                   options.messages / statistics.median(mine), "messages/s", 1.4)
    for name in files:
        name.unlink()

    # Not compressible and not compressed: the most bytes that can go through.
    plain, large = here / "plain", here / "large.pgp"
    with plain.open("wb") as file:
        block = os.urandom(1 << 20)
        for _ in range(options.megabytes):
            file.write(block)
    run(seal + ["--compress-algo", "none", "--output", large, plain])
    plain.unlink()
    theirs, mine = [], []
    for _ in range(options.runs):
        subprocess.run(["gpgconf", "--homedir", ours, "--launch", "gpg-agent"], check=True)
        theirs.append(seconds_of_loop(ours, [large], output / "gpg"))
        (output / "gpg").unlink()
        mine.append(float(run([program, "open", ours, 1, output, large])))
    big = report(f"{options.megabytes} MiB, signed", options.megabytes / statistics.median(theirs),
                 options.megabytes / statistics.median(mine), "MiB/s", 0.5)
    shutil.rmtree(output)
    return small and big


def report(what, theirs, mine, unit, bar):
    ratio = mine / theirs
    print(f"{what:18} gpg {theirs:8.1f}  gateway {mine:8.1f} {unit:10} "
          f"ratio {ratio:5.2f}  bar >= {bar}  {'ok' if ratio >= bar else 'MISSED'}", flush=True)
    return ratio >= bar


if __name__ == "__main__":
    main()
