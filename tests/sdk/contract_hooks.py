"""What schemathesis does beside its own: it comes from many addresses and with several keys, so that no limit answers in place of
an endpoint, and names things that are there; contract.test.mjs says which."""

import atexit
import collections
import itertools
import json
import os
import zlib

import requests
import schemathesis

# Of this machine: each may sign in ten times at once.
ADDRESSES = [f"127.0.1.{number}" for number in range(1, 101)]
CALLER = json.loads(os.environ["STARLING_CALLER"])
KEYS = itertools.cycle(CALLER["keys"] or [None])


class FromOneAddress(requests.adapters.HTTPAdapter):
    def __init__(self, address):
        self.address = address
        super().__init__()

    def init_poolmanager(self, *arguments, **settings):
        super().init_poolmanager(*arguments, source_address=(self.address, 0), **settings)


class FromManyAddresses(requests.adapters.HTTPAdapter):
    def __init__(self):
        super().__init__()
        self.adapters = [FromOneAddress(address) for address in ADDRESSES]
        self.turn = itertools.cycle(self.adapters)

    def send(self, *arguments, **settings):
        return next(self.turn).send(*arguments, **settings)

    def close(self):
        for adapter in self.adapters:
            adapter.close()
        super().close()


# What a session of the library opens connections with.
requests.sessions.HTTPAdapter = FromManyAddresses


def is_chosen(value):
    """Every other value, and the same ones in every run."""
    return zlib.crc32(repr(value).encode()) % 2 == 0


@schemathesis.hook
def before_call(context, case, kwargs):
    key = next(KEYS)
    if key is not None:
        case.headers["Authorization"] = f"Bearer {key}"
    for part, value in dict(case.path_parameters or {}).items():
        for beginning, known in CALLER["known"].get(part, {}).items():
            if context.operation.path.startswith(beginning) and is_chosen(value):
                case.path_parameters[part] = known
    if isinstance(case.body, dict) and isinstance(case.body.get("model"), str) and is_chosen(case.body):
        case.body["model"] = CALLER["model"]


STATUSES = collections.Counter()


@schemathesis.hook
def after_call(context, case, response):
    STATUSES[response.status_code] += 1


atexit.register(lambda: print("answers by status:", json.dumps(dict(sorted(STATUSES.items()))), flush=True))
