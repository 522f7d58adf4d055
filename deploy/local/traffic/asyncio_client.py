"""One request by asyncio, TLS through memory: asyncio_client.py METHOD URL CA_FILE BODY_FILE OUTPUT_FILE ("-" for no body)."""

import asyncio
import mimetypes
import pathlib
import ssl
import sys
import urllib.parse

TIMEOUT_SECONDS = 30

method, url, ca_file, body_file, output_file = sys.argv[1:]
target = urllib.parse.urlsplit(url)
lines = [f"{method} {target._replace(scheme='', netloc='').geturl()} HTTP/1.1", f"Host: {target.netloc}"]
body = b""
if body_file != "-":
    body = pathlib.Path(body_file).read_bytes()
    media_type = mimetypes.guess_type(body_file)[0] or "application/octet-stream"
    lines += [f"Content-Type: {media_type}", f"Content-Length: {len(body)}"]


async def main():
    context = ssl.create_default_context(cafile=ca_file)
    reader, writer = await asyncio.open_connection(target.hostname, target.port, ssl=context)
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()
    status, *headers = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    if status.split()[1] != "200":
        sys.exit(status)
    fields = dict(line.lower().split(": ", 1) for line in headers if line)
    pathlib.Path(output_file).write_bytes(await reader.readexactly(int(fields["content-length"])))
    # The client ends the connection: a server that does so first resets it if it never reads the answering alert.
    writer.close()
    await writer.wait_closed()


asyncio.run(asyncio.wait_for(main(), TIMEOUT_SECONDS))
