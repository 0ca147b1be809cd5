#!/usr/bin/env python3
"""HTTP servers that answer in the name of pods, and the load on them.

traffic.py backends BASE_PORT LOG_FOLDER SERVICE/POD[:errors=R][:delay_ms=N] ...
    One server for each pod, on 127.0.0.1, ports from BASE_PORT upwards in the order given.
      GET /metrics                         this pod's http_requests_total, http_request_duration_seconds, http_requests_in_flight
      GET /healthz                         always 200 at once, not counted
      POST /control?errors=R&delay_ms=N    from now on a share R of the requests gets 500, each takes N ms more
      anything else                        a request: 200 or 500, counted and (at most 2 lines a second) logged
    The log of a pod is LOG_FOLDER/POD.log, in the format of a container runtime.

traffic.py heartbeat LOG_FILE
    Appends mixed lines to LOG_FILE in the format of a container runtime, one a second, until it is stopped.

traffic.py load SECONDS RATE=URL ...
    Sends RATE requests a second to each URL for at most SECONDS, and never more than it can in time: what is late is left out.
"""
import http.client
import itertools
import json
import random
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]
NAMESPACE = "shop"


def cri(text, stream="stdout"):
    now = time.time_ns()
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10 ** 9))
    return "".join(f"{whole}.{now % 10 ** 9 + i:09d}Z {stream} F {line}\n" for i, line in enumerate(text.split("\n")))


class Pod:
    """What one server knows of itself."""

    def __init__(self, service, name, folder):
        self.service, self.name = service, name
        self.errors, self.delay = 0.0, 0.0
        self.base = 0.004 + 0.008 * random.Random(name).random()
        self.lock = threading.Lock()
        self.codes = {"200": 0, "500": 0}
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0
        self.in_flight = 0
        self.log = open(f"{folder}/{name}.log", "a", encoding="utf-8")
        self.logged = {"200": 0.0, "500": 0.0}
        self.write(json.dumps({"level": "info", "msg": f"{name} listens", "service": service}))

    def write(self, text, stream="stdout"):
        self.log.write(cri(text, stream))
        self.log.flush()

    def control(self, settings):
        errors = float(settings.get("errors", self.errors))
        delay = float(settings.get("delay_ms", self.delay * 1000)) / 1000
        if not 0 <= errors <= 1 or not 0 <= delay <= 30:
            raise ValueError("errors is 0 to 1, delay_ms 0 to 30000")
        self.errors, self.delay = errors, delay

    def request(self, path):
        begin = time.monotonic()
        with self.lock:
            self.in_flight += 1
        time.sleep(max(0.0, random.gauss(self.base, self.base / 4)) + self.delay * random.uniform(0.8, 1.2))
        code = "500" if random.random() < self.errors else "200"
        took = time.monotonic() - begin
        with self.lock:
            self.in_flight -= 1
            self.codes[code] += 1
            self.sum += took
            self.buckets[next((i for i, bound in enumerate(BOUNDS) if took <= bound), len(BOUNDS))] += 1
            if begin - self.logged[code] >= 1:
                self.logged[code] = begin
                line = {"level": "info", "msg": "request done", "path": path, "status": int(code), "ms": round(took * 1000, 1)}
                if code == "500":
                    line |= {"level": "error", "msg": f"upstream 10.0.0.{random.randrange(256)} timed out after {random.randrange(900, 1100)}ms"}
                self.write(json.dumps(line), "stderr" if code == "500" else "stdout")
        return int(code)

    def metrics(self):
        who = f'namespace="{NAMESPACE}",pod="{self.name}",service="{self.service}"'
        with self.lock:
            out = ["# HELP http_requests_total Requests answered.", "# TYPE http_requests_total counter"]
            out += [f'http_requests_total{{{who},code="{code}"}} {n}' for code, n in self.codes.items()]
            out += ["# HELP http_request_duration_seconds Time to answer.", "# TYPE http_request_duration_seconds histogram"]
            totals = list(itertools.accumulate(self.buckets))
            out += [f'http_request_duration_seconds_bucket{{{who},le="{le}"}} {n}' for le, n in zip([*map(str, BOUNDS), "+Inf"], totals)]
            out += [f"http_request_duration_seconds_sum{{{who}}} {self.sum:.6f}", f"http_request_duration_seconds_count{{{who}}} {totals[-1]}"]
            out += ["# HELP http_requests_in_flight Requests being answered.", "# TYPE http_requests_in_flight gauge",
                    f"http_requests_in_flight{{{who}}} {self.in_flight}", ""]
        return "\n".join(out)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self, code, text, kind="text/plain; charset=utf-8"):
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        pod, path = self.server.pod, self.path.split("?")[0]
        if path == "/metrics":
            self.answer(200, pod.metrics(), "text/plain; version=0.0.4; charset=utf-8")
        elif path == "/healthz":
            self.answer(200, "ok\n")
        else:
            code = pod.request(path)
            self.answer(code, f"{pod.name} {code}\n")

    do_HEAD = do_GET

    def do_POST(self):
        url = urllib.parse.urlsplit(self.path)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if url.path != "/control":
            return self.answer(404, "only /control\n")
        try:
            self.server.pod.control(dict(urllib.parse.parse_qsl(url.query)))
        except ValueError as problem:
            return self.answer(400, f"{problem}\n")
        self.answer(200, json.dumps({"errors": self.server.pod.errors, "delay_ms": self.server.pod.delay * 1000}) + "\n")

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def backends(base, folder, *pods):
    servers = []
    for i, text in enumerate(pods):
        name, *settings = text.split(":")
        server = Server(("127.0.0.1", int(base) + i), Handler)
        server.pod = Pod(*name.split("/"), folder)
        server.pod.control(dict(s.split("=") for s in settings))
        servers.append(server)
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


TRACE = """ERROR OrderService - order 4711 failed
java.lang.IllegalStateException: stock of item 93812 is negative
\tat com.example.shop.Stock.take(Stock.java:214)
\tat com.example.shop.OrderService.place(OrderService.java:88)
\tat java.base/java.lang.Thread.run(Thread.java:1583)
Caused by: java.sql.SQLTransientConnectionException: pool - Connection is not available, request timed out after 30001ms.
\tat com.zaxxer.hikari.pool.HikariPool.createTimeoutException(HikariPool.java:696)
\t... 14 more"""


def heartbeat(path):
    for n in itertools.count():
        kind = n % 20
        if kind == 7:
            line, stream = json.dumps({"level": "error", "msg": "connection reset by peer", "peer": f"10.0.3.{n % 256}:5432", "attempt": n}), "stderr"
        elif kind == 11:
            clock = time.strftime("%m%d %H:%M:%S", time.gmtime())
            line, stream = f'E{clock}.000000       1 reflector.go:{100 + n % 50}] "Failed to watch" err="dial tcp 10.0.0.1:443: i/o timeout" try={n}', "stderr"
        elif kind == 13:
            line, stream = f'level=warn msg="slow query" duration={200 + n % 700}ms table=orders', "stdout"
        elif kind == 17:
            line, stream = TRACE, "stderr"
        elif kind % 4 == 0:
            line, stream = json.dumps({"level": "info", "msg": "order placed", "id": n, "total": f"{n % 90}.50"}), "stdout"
        elif kind % 4 == 1:
            line, stream = f"level=info msg=\"cache refreshed\" keys={n * 7}", "stdout"
        elif kind % 4 == 2:
            line, stream = f"I{time.strftime('%m%d %H:%M:%S', time.gmtime())}.000000       1 sync.go:42] \"Synced\" generation={n}", "stdout"
        else:
            line, stream = f"worker {n % 8} finished batch {n} in {n % 300} ms", "stdout"
        with open(path, "a", encoding="utf-8") as log:
            log.write(cri(line, stream))
        time.sleep(1)  # the beat itself, not a wait for something


def load(seconds, *targets):
    end = time.monotonic() + float(seconds)

    def worker(url, interval, offset):
        address = urllib.parse.urlsplit(url)
        client = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
        due = time.monotonic() + offset
        for n in itertools.count():
            now = time.monotonic()
            if now >= end:
                return
            if due > now:
                time.sleep(due - now)
            due = max(due + interval, time.monotonic() - interval)
            try:
                client.request("GET", f"/item/{n % 50}")
                client.getresponse().read()
            except (OSError, http.client.HTTPException):
                client.close()

    threads = []
    for target in targets:
        rate, url = target.split("=", 1)
        workers = max(1, round(float(rate) / 5))
        interval = workers / float(rate)
        threads += [threading.Thread(target=worker, args=(url, interval, interval * i / workers)) for i in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    try:
        command = {"backends": backends, "heartbeat": heartbeat, "load": load}[sys.argv[1]]
        arguments = sys.argv[2:]
    except (KeyError, IndexError):
        sys.exit(__doc__)
    try:
        command(*arguments)
    except KeyboardInterrupt:
        pass
