"""What is on a link between a client and an appliance, and what tshark finds wrong with it."""
import subprocess
import time

from conftest import STACK_ADDRESS, run

# Where a checksum is 0, Linux writes 0xffff, which is the same number (RFC 1624 3), and tshark calls it bad: one of 65536.
OF_ZERO = f"(tcp.checksum == 0xffff && ip.src != {STACK_ADDRESS})"
TROUBLE = ["_ws.malformed", "tcp.analysis.retransmission", "tcp.analysis.lost_segment",
           "tcp.analysis.out_of_order", f"(tcp.checksum.status == 0 && !{OF_ZERO})", "ip.checksum.status == 0",
           "arp.duplicate-address-detected", f"(tcp.flags.reset == 1 && ip.src == {STACK_ADDRESS})"]


class LinkCapture:
    """`with LinkCapture(...) as link:` captures; afterwards it can be asked."""

    def __init__(self, namespace, interface, path):
        self.path = path
        self.tshark = namespace.popen("tshark", "-i", interface, "-B", 64, "-w", path, "-q",
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        # "Capturing on" it says before it does; the file is opened behind the interface.
        while "File:" not in (line := self.tshark.stderr.readline()):
            assert line, "tshark has ended"
        return self

    def __exit__(self, *_):
        time.sleep(0.5)
        self.tshark.terminate()
        self.tshark.wait(timeout=30)

    def find(self, expression):
        """The packets that a display filter shows, a line each."""
        text = run("tshark", "-r", self.path, "-o", "tcp.check_checksum:TRUE", "-o",
                   "ip.check_checksum:TRUE", "-o",
                   "udp.check_checksum:TRUE", "-Y", expression, timeout=300).stdout
        return [line for line in text.splitlines() if "Running as user" not in line]

    def assert_no_trouble(self):
        """Nothing malformed, lost, retransmitted or reset. Linux sends its last segment again after a few
        milliseconds without an answer (TLP; tshark calls it out of order when it comes soon): now and then it may,
        when the workers share two cores with their clients."""
        again = "(tcp.analysis.retransmission || tcp.analysis.out_of_order)"
        impatient = self.find(f"{again} && ip.src != {STACK_ADDRESS}")
        trouble = [line for line in self.find(" || ".join(TROUBLE)) if line not in impatient]
        assert trouble == [] and len(impatient) <= 5, "\n".join((trouble + impatient)[:20])
