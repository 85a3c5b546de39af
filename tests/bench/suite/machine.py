"""The machine: what it is, and how much of it others use meanwhile."""

import contextlib
import os
import pathlib
import platform
import re
import subprocess
import time

from processes import Trouble, own_cpu_seconds

TICKS = os.sysconf("SC_CLK_TCK")


def _read(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


def _output(*words):
    try:
        return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30,
                              check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _cpu_model():
    info = _read("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.*)", info)
    family = re.search(r"cpu family\s*: (\d+)", info)
    model = re.search(r"^model\s*: (\d+)", info, re.M)
    numbers = f" (family {family[1]}, model {model[1]})" if family and model else ""
    return (name[1] if name else platform.processor()) + numbers


def hugepages_free_bytes():
    total = 0
    for folder in pathlib.Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB"):
        total += int(folder.name[10:-2]) * 1024 * int(_read(folder / "free_hugepages") or 0)
    return total


@contextlib.contextmanager
def hugepages(wanted_bytes):
    """At least so much in free hugepages of 2 MiB, where this user may reserve them and three times as much memory
    is free; gives those back at the end that were not there before."""
    total = pathlib.Path("/proc/sys/vm/nr_hugepages")
    before, missing = int(_read(total) or 0), wanted_bytes - hugepages_free_bytes()
    available = re.search(r"MemAvailable:\s+(\d+)", _read("/proc/meminfo"))
    if missing <= 0 or os.geteuid() != 0 or not available or int(available[1]) * 1024 < 3 * wanted_bytes:
        yield
        return
    try:
        total.write_text(str(before + (missing >> 21) + 1))
        yield
    finally:
        total.write_text(str(before))


def _package_version(name):
    return _output("dpkg-query", "-W", "-f", "${Version}", name) or "unknown"


def watch_cpus(program, seconds, cpus):
    """By CPU, how long an empty loop on it had to wait for it, in words: what nobody who polls can be better than."""
    found = re.findall(r"^cpu (\d+): (.*)$", _output(str(program), str(seconds), *map(str, cpus)), re.M)
    return {f"an empty loop on CPU {cpu}": words for cpu, words in found}


def transfer_ns(program, cpus):
    """What a cache line takes from one CPU to the other: the host may move them near each other and apart."""
    words = _output(str(program), *map(str, cpus))
    found = re.fullmatch(r"([\d.]+) ns", words)
    if not found:
        raise Trouble(f"{program}: {words}")
    return float(found[1])


def describe(root, uses_hugepages):
    memory = re.search(r"MemTotal:\s+(\d+)", _read("/proc/meminfo"))
    hypervisor = "hypervisor" in _read("/proc/cpuinfo")
    return {
        "CPU": _cpu_model(),
        "CPUs": f"{os.cpu_count()}{', in a virtual machine' if hypervisor else ''}",
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "hugepages": "used by nicached, testpmd and the generators" if uses_hugepages
                     else "none free: nicached, testpmd and the generators all run without (--no-huge)",
        "kernel": platform.release(),
        "DPDK": _output("pkg-config", "--modversion", "libdpdk") or _package_version("libdpdk-dev"),
        "testpmd": _package_version("dpdk-dev"),
        "redis-server": _package_version("redis-server"),
        "memcached": _package_version("memcached"),
        "nicached": _output("git", "-C", str(root), "describe", "--always", "--dirty") or "not from git",
        "load average at the start": " ".join(_read("/proc/loadavg").split()[:3]),
    }


def _busy_seconds():
    """Of all CPUs, with what the hypervisor took away."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, _read("/proc/stat").split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


class ForeignLoad:
    """How many CPUs were busy with what is not ours, on average, since it was made."""

    def __init__(self):
        self.start = time.monotonic(), _busy_seconds(), own_cpu_seconds()

    def cpus(self):
        then, busy, ours = self.start
        elapsed = max(time.monotonic() - then, 0.01)
        return max(0.0, (_busy_seconds() - busy - (own_cpu_seconds() - ours)) / elapsed)
