"""One request by urllib: urllib_client.py METHOD URL CA_FILE BODY_FILE OUTPUT_FILE ("-" for no body)."""

import mimetypes
import pathlib
import ssl
import sys
import urllib.request

method, url, ca_file, body_file, output_file = sys.argv[1:]
media_type = mimetypes.guess_type(body_file)[0] or "application/octet-stream"
body = None if body_file == "-" else pathlib.Path(body_file).read_bytes()
request = urllib.request.Request(url, data=body, method=method)
if body is not None:
    request.add_header("Content-Type", media_type)
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}),
    urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)),
)
with opener.open(request, timeout=30) as response:
    pathlib.Path(output_file).write_bytes(response.read())
