"""`helm test`: wait until robmon's /healthz answers, at most a minute. Arguments: its address; what is wrong else."""

import ssl
import sys
import time
import urllib.request

address, sentence = sys.argv[1:]
# Whether it lives, not who it is: name and authority of its certificate are known to its callers only.
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
deadline = time.monotonic() + 60
while True:
    try:
        with opener.open(address, timeout=5):
            sys.exit()
    except OSError as error:
        if time.monotonic() > deadline:
            sys.exit(f"{address}: {error}. {sentence}.")
    time.sleep(1)
