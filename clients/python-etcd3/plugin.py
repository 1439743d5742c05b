"""A pytest plugin under which the tests of etcd3 run here and now.

etcd3.client() without arguments asks the member under test, which is not at etcd's usual port; and the version of tenacity
that the package was written for finds a decorator that Python has dropped since.
"""

import asyncio
import os
import types
from urllib.parse import urlparse

asyncio.coroutine = types.coroutine

import etcd3  # noqa: E402

url = urlparse(os.environ["PYTHON_ETCD_HTTP_URL"])
etcd3.client.__defaults__ = (url.hostname, url.port) + etcd3.client.__defaults__[2:]
