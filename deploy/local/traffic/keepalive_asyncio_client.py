"""keepalive_client.py with asyncio, all connections on one thread and TLS through memory; same arguments, same output."""

import asyncio
import json
import ssl
import sys

TIMEOUT_SECONDS = 60

address, ca_file, prefix, connections, requests, name = sys.argv[1:]
host, _, port = address.partition(":")
context = ssl.create_default_context(cafile=ca_file)


async def work(number):
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    for index in range(int(requests)):
        writer.write(f"GET {prefix}/{number}/{index}/{name} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        await writer.drain()
        status, *headers = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        if status.split()[1] != "200":
            raise RuntimeError(status)
        fields = dict(line.lower().split(": ", 1) for line in headers if line)
        await reader.readexactly(int(fields["content-length"]))
    local_port = writer.get_extra_info("sockname")[1]
    writer.close()
    await writer.wait_closed()
    return local_port


async def main():
    return await asyncio.gather(*(work(number) for number in range(int(connections))))


print(json.dumps({"ports": asyncio.run(asyncio.wait_for(main(), TIMEOUT_SECONDS))}))
