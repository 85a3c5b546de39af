"""What both differential tests share: options, the two servers, progress."""
import argparse
import atexit
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from free_ports import free_ports  # noqa: E402, F401  (for those that import this)


def parse_arguments(description, reference):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--server", metavar="BINARY",
                        help="nicached; 'reference': a second %s, which tests the test" % reference)
    parser.add_argument("--count", type=int, default=100000, help="commands (default %(default)s)")
    parser.add_argument("--seed", type=int, help="default: from the clock")
    parser.add_argument("--print-exceptions", action="store_true",
                        help="print what is not compared, and why, as docs/support.md shows it")
    arguments = parser.parse_args()
    if arguments.server is None and not arguments.print_exceptions:
        parser.error("--server is needed")
    if arguments.seed is None:
        arguments.seed = int(time.time()) & 0xFFFFFF
    return arguments


def require(program):
    if shutil.which(program) is None:
        print("%s is not installed" % program, file=sys.stderr)
        sys.exit(77)


def print_exceptions(rows):
    print("| request | why |\n|---|---|")
    for words, reason in rows:
        print("| %s | %s |" % (words.replace("|", "\\|"), reason.replace("|", "\\|")))


class Process:
    """A server that ends with this script."""

    def __init__(self, name, command, errors=None):
        self.name = name
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        atexit.register(self.stop)

    def wait_for_port(self, port):
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        sys.exit("error: %s does not answer on port %d" % (self.name, port))

    def stop(self):
        """Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()


def start_subject(binary, redis_port, memcache_port):
    """nicached on two ports of 127.0.0.1; 0 turns one off."""
    return Process("nicached", [
        binary, "--interface", "lo0", "socket", "127.0.0.1", "--port", str(redis_port),
        "--memcache-port", str(memcache_port), "--hugepages", "no", "--loglevel", "warning"])


class Progress:
    """A line now and then, and one at the end. What differs must differ again when it is replayed; once in a run it need
    not: between two servers that are asked one after the other a second may pass, or a busy host stand still."""

    FLEETING_MAX = 1

    def __init__(self, seed, count):
        self.seed, self.count = seed, count
        self.differences = self.fleeting = 0
        self.started = self.shown = time.monotonic()

    def show(self, done):
        now = time.monotonic()
        if now - self.shown >= 10:
            self.shown = now
            print("%d of %d commands, %d per second" %
                  (done, self.count, done / (now - self.started)), flush=True)

    def note(self, is_seen_again):
        self.differences += is_seen_again
        self.fleeting += not is_seen_again

    def ends_early(self, differences_max):
        return self.differences >= differences_max or self.fleeting > self.FLEETING_MAX

    def finish(self, done):
        """Prints the outcome; the exit status."""
        print("%s%s: seed %d, %d commands in %d s" %
              ("no difference" if self.differences == 0 else "%d differences" % self.differences,
               ", %d that no replay showed again" % self.fleeting if self.fleeting else "",
               self.seed, done, time.monotonic() - self.started))
        return 1 if self.ends_early(1) else 0


def finish(result, subject):
    """The exit status: `result`, unless the subject did not end well."""
    code = subject.stop()
    if code != 0:
        print("error: %s ended with %d" % (subject.name, code))
        return result or 2
    return result
