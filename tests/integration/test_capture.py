"""Captures of what our own stack sees: whole frames of both directions, bounds kept, names that are refused."""
from scapy.all import IP, TCP, rdpcap

CLIENT = r"""
import os, sys, time
import redis
host, folder = sys.argv[1], sys.argv[2]
admin = redis.Redis(host=host)

def refused(value):
    try:
        admin.config_set('capture-file', value)
    except redis.ResponseError as error:
        return str(error)

def wait_until_complete():
    for _ in range(200):
        if admin.config_get('capture-file')['capture-file'] == '':
            return
        time.sleep(0.05)
    raise AssertionError('does not end')

os.symlink('elsewhere.pcapng', folder + '/link.pcapng')
assert 'without a folder' in refused('../x.pcapng')
assert 'link.pcapng' in refused('link.pcapng') and not os.path.exists(folder + '/elsewhere.pcapng')
admin.config_set('capture-packets', 20)
admin.config_set('capture-file', 'bounded.pcapng')
assert admin.config_get('capture-file')['capture-file'] == 'bounded.pcapng'
for _ in range(50):
    admin.ping()
wait_until_complete()
assert 'File exists' in refused('bounded.pcapng')
admin.config_set('capture-packets', 100000)
admin.config_set('capture-file', 'ended.pcapng')
for i in range(100):
    admin.set('k%d' % i, 'v' * 100)
admin.config_set('capture-file', '')
admin.config_set('capture-seconds', 1)
admin.config_set('capture-file', 'timed.pcapng')
wait_until_complete()
admin.config_set('capture-bytes', 1)
admin.config_set('capture-file', 'one.pcapng')
admin.ping()
wait_until_complete()
assert admin.ping()
print('ok')
"""


def frames_of(path):
    return [frame for frame in rdpcap(str(path)) if IP in frame and TCP in frame]


def test_captures(fleet, tmp_path):
    appliance = fleet.start("tap", f"--capture-directory {tmp_path}")
    assert appliance.client(CLIENT, tmp_path).strip() == "ok"
    assert len(rdpcap(str(tmp_path / "bounded.pcapng"))) == 20
    assert (tmp_path / "bounded.pcapng").stat().st_mode & 0o777 == 0o600
    frames = frames_of(tmp_path / "ended.pcapng")
    received = [f for f in frames if f[TCP].dport == 6379]
    sent = [f for f in frames if f[TCP].sport == 6379]
    # A client that waits for long sends a segment again.
    requests = b"".join({f[TCP].seq: bytes(f[TCP].payload) for f in received}.values())
    assert requests.count(b"v" * 100) == 100
    assert b"".join(bytes(f[TCP].payload) for f in sent).count(b"+OK\r\n") >= 100
    assert len(rdpcap(str(tmp_path / "one.pcapng"))) <= 1
    assert "capture bounded.pcapng is complete: 20 frames, 0 missing" in appliance.output()


def test_capture_needs_a_folder(fleet):
    appliance = fleet.start("tap")
    source = "import redis, sys\ntry:\n    redis.Redis(host=sys.argv[1]).config_set('capture-file', 'x')\n" \
             "except redis.ResponseError as error:\n    print(error)"
    assert "no capture-directory" in appliance.client(source)
