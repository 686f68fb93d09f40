"""Where does the server of a project listen? Prints its address once it answers, else fails."""

import json
import pathlib
import sys
import urllib.request

note = pathlib.Path(sys.argv[1], ".sextant", "server.json")
try:
    values = json.loads(note.read_text()).values()
    texts = [value for value in values if isinstance(value, str)]
    found = [text for text in texts if "127.0.0.1:" in text or "[::1]:" in text]
    url = found[0] if found[0].startswith("http") else "http://" + found[0]
    url = url.rstrip("/")
    with urllib.request.urlopen(url + "/livez", timeout=2) as response:
        assert response.status == 200
except (OSError, ValueError, IndexError, AssertionError):
    sys.exit(1)
print(url)
