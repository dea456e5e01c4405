"""Single system calls of a running program that fail (strace injects it)."""
import os
import signal
import subprocess

from conftest import wait_for

PID = {"daemon": "SALLYPORTD_PID", "front": "SALLYPORT_SFTP_PID"}


class Injection:
    """While the body of the with runs, the `when`th such call of each thread of the program, and of each program that it
    starts, fails."""

    def __init__(self, instance, program, call, error, when, log):
        self.log = log
        pid = instance.env[PID[program]]
        self.process = subprocess.Popen(["strace", "-f", "-q", "-o", log, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}",
                                         "-p", pid], stderr=subprocess.PIPE, text=True)

        def attached():
            tasks = os.listdir(f"/proc/{pid}/task")
            tracers = [next(line for line in open(f"/proc/{pid}/task/{t}/status", encoding="ascii") if line.startswith("TracerPid")).split()[1]
                       for t in tasks]
            return all(t == str(self.process.pid) for t in tracers)

        wait_for("strace is attached", attached)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:  # it waits for a stop that does not come; the kernel lets go of all in that case
            self.process.kill()
            self.process.wait(10)

    @property
    def injected(self):
        return self.log.read_text().count("(INJECTED)")
