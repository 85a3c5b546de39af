"""A machine with a network card that DPDK drives: QEMU without KVM, Debian's kernel, and an initial file system that
holds busybox, nicached and the libraries of both.

    build(folder)   kernel and file system, once for each binary
    Guest           one running machine: a shell at a port of virtio's, its monitor, the card's cable

The cable ends in the network namespace that QEMU runs in, as the TAP `cable`.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time

MEMORY_MIB = 1024
HUGEPAGES = 320  # of 2 MiB
DPDK_DRIVERS = ["bus_pci", "bus_vdev", "mempool_ring", "net_e1000", "net_virtio", "net_vmxnet3"]
MODULES = ["virtio_pci", "virtio_console", "vfio_iommu_type1", "vfio-pci"]
LIFETIME_S = 3600  # however the tests end
CARD_ADDRESS = "0000:00:04.0"
PROMPT = "guest-is-ready"

INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /run /var/run
chmod 755 / # DPDK loads no drivers from below a folder that everybody may write to
ip link set lo up
for module in {' '.join(MODULES)}; do modprobe $module; done
while ! port=$(ls /dev/vport*p1 2>/dev/null); do usleep 100000; done # its bus has a number as it is found
exec <>$port >&0 2>&0
echo {PROMPT}
exec sh
"""


def run(*command, **more):
    return subprocess.run([str(word) for word in command], check=True, text=True, stdout=subprocess.PIPE, **more).stdout


# ---- what the machine is made of ------------------------------------------------------------------

def fetch_kernel(folder):
    """Debian's kernel of today, unpacked beside the build and not installed: its modules' folder."""
    image = folder / "kernel"
    if not (image / "complete").exists():
        shutil.rmtree(image, ignore_errors=True)
        image.mkdir(parents=True)
        package = re.search(r"Depends: (linux-image-\S+)", run("apt-cache", "depends", "linux-image-amd64"))[1]
        run("apt-get", "-q", "download", package, cwd=folder, stderr=subprocess.DEVNULL)
        [archive] = folder.glob(f"{package}_*.deb")
        run("dpkg-deb", "-x", archive, image)
        archive.unlink()
        [modules] = image.glob("lib/modules/*")
        run("depmod", "-b", image, modules.name)
        (image / "complete").touch()
    [modules] = image.glob("lib/modules/*")
    return image, modules.name


def libraries(program):
    """Every shared library that it needs, with the dynamic linker."""
    return [pathlib.Path(path) for path in re.findall(r"(/\S+) \(0x", run("ldd", program))]


def place(root, path, where=None):
    """A copy in the file system to be. A library by two names stays one: it must not be loaded twice."""
    real = pathlib.Path(os.path.realpath(path))
    to, named = root / str(where or real).lstrip("/"), root / str(where or path).lstrip("/")
    for file in (to, named):
        file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(real, to)
    if named != to and not named.exists():
        named.symlink_to(real)


def copy_programs(root, nicached):
    [drivers] = pathlib.Path("/usr/lib").glob("*/dpdk/pmds-*")
    wanted = [drivers / f"librte_{name}.so" for name in DPDK_DRIVERS]
    for path in [nicached, *wanted]:
        for library in libraries(path):
            place(root, library)
    for path in wanted:
        place(root, path)
    place(root, nicached, "/bin/nicached")
    place(root, "/bin/busybox")


def copy_modules(root, image, version):
    for module in MODULES:
        for line in run("modprobe", "-d", image, "-S", version, "--show-depends", module).splitlines():
            if line.startswith("insmod"):
                path = pathlib.Path(line.split()[1])
                place(root, path, path.relative_to(image))
    run("depmod", "-b", root, version, stderr=subprocess.DEVNULL) # it misses lists of what is built in


def build(folder, nicached):
    """The kernel and the file system with this binary: two paths."""
    folder.mkdir(parents=True, exist_ok=True)
    image, version = fetch_kernel(folder)
    root, archive = folder / "root", folder / "initial.cpio"
    shutil.rmtree(root, ignore_errors=True)
    copy_programs(root, nicached)
    copy_modules(root, image, version)
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    for name in ("dev", "proc", "sys", "tmp"):
        (root / name).mkdir()
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    with archive.open("wb") as out:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=root, input=names.encode(), stdout=out, check=True)
    return image / f"boot/vmlinuz-{version}", archive


# ---- a running machine ------------------------------------------------------------------------------

class Line:
    """A Unix socket that QEMU listens on, read up to a marker."""

    def __init__(self, path, timeout=60):
        self.socket = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.socket.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.pending = b""

    def send(self, text):
        self.socket.sendall(text.encode())

    def read_until(self, pattern, timeout):
        """What came before it, and its match."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern.encode(), self.pending)):
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError(self.pending.decode(errors="replace"))
            self.pending += more
        before, self.pending = self.pending[:found.start()], self.pending[found.end():]
        return before.decode(errors="replace"), found


class Guest:
    """`card`: what QEMU's -device has for it; `cable`: what -netdev has."""

    def __init__(self, namespace, folder, kernel, archive, card, cable):
        command = ["timeout", str(LIFETIME_S), "nice", "-n", "15",
                   "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max",
                   "-smp", "1", "-m", str(MEMORY_MIB), "-display", "none", "-nodefaults", "-no-user-config",
                   "-no-reboot", "-kernel", kernel, "-initrd", archive,
                   "-append", f"console=ttyS0 quiet panic=-1 hugepages={HUGEPAGES} intel_iommu=on "
                   "no_timer_check",  # on a busy host its interrupts may come late
                   "-serial", f"file:{folder}/console.log",
                   "-chardev", f"socket,id=shell,path={folder}/shell.sock,server=on,wait=off",
                   "-device", "virtio-serial-pci,addr=5", "-device", "virtserialport,chardev=shell",
                   "-qmp", f"unix:{folder}/monitor.sock,server=on,wait=off",
                   "-netdev", f"tap,id=cable,ifname=cable,script=no,downscript=no{cable}",
                   "-device", "intel-iommu,intremap=on",
                   "-device", f"{card},id=card,netdev=cable,addr=4"]
        self.folder = folder
        self.log = open(folder / "qemu.log", "wb")
        self.process = namespace.popen(*command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.monitor = self.line = None

    def wait_until_ready(self):
        try:
            self.connect()
        except OSError as problem:
            logs = [(self.folder / name).read_text(errors="replace")[-4000:] for name in ("console.log", "qemu.log")]
            raise RuntimeError("\n".join(logs)) from problem

    def connect(self):
        self.monitor = Line(self.folder / "monitor.sock")
        self.monitor.read_until(r"QMP[^\n]*\n", 60)
        self.ask("qmp_capabilities")
        self.line = Line(self.folder / "shell.sock")
        self.line.read_until(PROMPT + r"\s+", 300)

    def ask(self, command, **arguments):
        """A command of QEMU's monitor."""
        self.monitor.send(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        _, found = self.monitor.read_until(r'\{"(return|error)"[^\n]*\n', 60)
        assert found[1] == b"return", found[0]

    def shell(self, command, timeout=120, check=True):
        """Runs it in the machine's shell; its output."""
        self.line.send(f"{command}\necho $? guest-has-done\n")
        output, found = self.line.read_until(r"(\d+) guest-has-done\s+", timeout)
        assert not check or found[1] == b"0", f"{command}: {output}"
        return output

    def bind(self):
        """The card to vfio-pci, as dpdk-devbind.py does it."""
        device = f"/sys/bus/pci/devices/{CARD_ADDRESS}"
        self.shell(f"if [ -e {device}/driver ]; then echo {CARD_ADDRESS} >{device}/driver/unbind; fi\n"
                   f"echo vfio-pci >{device}/driver_override\n"
                   f"echo {CARD_ADDRESS} >/sys/bus/pci/drivers/vfio-pci/bind")

    def set_link(self, up):
        self.ask("set_link", name="card", up=up)

    def close(self):
        self.process.terminate()  # `timeout` passes it on
        self.process.wait()
        self.log.close()
