"""Requests at a steady rate: steady_client.py HOST:PORT CA_FILE PATH_PREFIX SECONDS REQUESTS_PER_SECOND NAME

Each request has a connection of its own and the path PATH_PREFIX/NUMBER/NAME. Prints one line of JSON when done:
{"requests": [[path, end], ...]}, end in seconds since the Unix epoch.
"""

import http.client
import json
import ssl
import sys
import threading
import time

THREADS = 4

address, ca_file, prefix, seconds, rate, name = sys.argv[1:]
host, _, port = address.partition(":")
context = ssl.create_default_context(cafile=ca_file)
start = time.monotonic()
total = int(float(seconds) * float(rate))
done = []
failures = []


def work(first):
    for number in range(first, total, THREADS):
        time.sleep(max(0.0, start + number / float(rate) - time.monotonic()))
        path = f"{prefix}/{number}/{name}"
        try:
            connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            connection.close()
            if response.status != 200:
                raise RuntimeError(f"status {response.status}")
        except Exception as error:
            failures.append(f"{path}: {error!r}")
            return
        done.append([path, time.time()])


threads = [threading.Thread(target=work, args=(first,)) for first in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if failures:
    sys.exit("\n".join(failures))
print(json.dumps({"requests": done}))
