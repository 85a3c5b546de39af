"""Processes of the suite: pinned, logged, paused, and ended whatever happens.

Every process started here is known until it was waited for; `end_all` ends them. When the suite itself is killed
the kernel ends them (PR_SET_PDEATHSIG), so nothing is left behind to disturb the next run.
"""

import contextlib
import ctypes
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_running = []


class Trouble(Exception):
    """A measurement that did not come about: another attempt may."""


class Wrong(Exception):
    """A server that gave wrong answers: it must not be measured."""


def _prepare_child(cpus, niceness):
    def prepare():
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        if cpus:
            os.sched_setaffinity(0, cpus)
        if niceness:
            os.setpriority(os.PRIO_PROCESS, 0, niceness)
    return prepare


class Process:
    niceness = 0    # of all of them

    def __init__(self, name, words, cpus=None, directory=None, stdin=None, stdout=None):
        self.name = name
        self.log_path = pathlib.Path(directory) / f"{name}-{len(os.listdir(directory))}.log"
        log = open(self.log_path, "wb")
        self.popen = subprocess.Popen([str(word) for word in words], stdin=stdin or subprocess.DEVNULL,
                                      stdout=stdout or log, stderr=log,
                                      preexec_fn=_prepare_child(cpus, self.niceness))
        log.close()
        self.pid = self.popen.pid
        _running.append(self)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def last_words(self):
        return f"{self.name} said: {self.log().strip()[-600:]}"

    def is_running(self):
        return self.popen.poll() is None

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            self.popen.send_signal(number)

    def finish(self, timeout_s):
        """Waits; returns the exit code and what it wrote to its standard output."""
        try:
            out, _ = self.popen.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.end()
            raise Trouble(f"{self.name} did not end within {timeout_s:.0f} s; {self.last_words()}") from None
        self._forget()
        return self.popen.returncode, (out or b"").decode(errors="replace")

    def end(self, patience_s=10):
        if self.is_running():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.popen.wait(timeout=patience_s)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        self._forget()

    def _forget(self):
        if self in _running:
            _running.remove(self)

    def threads(self):
        """Of each thread: its name, seconds on a CPU (user and system), seconds spent waiting for one."""
        found = []
        for task in pathlib.Path(f"/proc/{self.pid}/task").glob("*"):
            with contextlib.suppress(OSError, ValueError):
                on_cpu, waited = (task / "schedstat").read_text().split()[:2]
                found.append(((task / "comm").read_text().strip(), int(on_cpu) / 1e9, int(waited) / 1e9))
        return found

    def cpu_seconds(self):
        return sum(on_cpu for _, on_cpu, _ in self.threads())

    def wake_ups(self):
        """Of all threads: how often they gave the CPU up of themselves."""
        count = 0
        for task in pathlib.Path(f"/proc/{self.pid}/task").glob("*"):
            with contextlib.suppress(OSError):
                count += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", (task / "status").read_text(), re.M)[1])
        return count

    def resident_bytes(self):
        """Resident memory and hugepages."""
        kib = 0
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(("VmRSS:", "HugetlbPages:")):
                kib += int(line.split()[1])
        return kib * 1024


def end_all():
    for process in list(_running):
        process.end(patience_s=5)


def own_cpu_seconds():
    """Of the suite and everything that it ever started."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total + sum(process.cpu_seconds() for process in _running)


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def wait_until(condition, timeout_s, what, step_s=0.02):
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise Trouble(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(step_s)


def say(text):
    print(text, flush=True)


def complain(text):
    print(text, file=sys.stderr, flush=True)
