"""Many requests on few connections: keepalive_client.py HOST:PORT CA_FILE PATH_PREFIX CONNECTIONS REQUESTS NAME

Opens CONNECTIONS at once and makes REQUESTS on each, one after the other, for PATH_PREFIX/CONNECTION/NUMBER/NAME.
Prints {"ports": [...]}: the local port of each connection.
"""

import http.client
import json
import ssl
import sys
import threading

address, ca_file, prefix, connections, requests, name = sys.argv[1:]
context = ssl.create_default_context(cafile=ca_file)
ports = [0] * int(connections)
failures = []


def work(number):
    try:
        host, _, port = address.partition(":")
        connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)
        connection.connect()
        ports[number] = connection.sock.getsockname()[1]
        for index in range(int(requests)):
            connection.request("GET", f"{prefix}/{number}/{index}/{name}")
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                raise RuntimeError(f"status {response.status}")
        connection.close()
    except Exception as error:
        failures.append(f"connection {number}: {error!r}")


threads = [threading.Thread(target=work, args=(number,)) for number in range(int(connections))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if failures:
    sys.exit("\n".join(failures))
print(json.dumps({"ports": ports}))
