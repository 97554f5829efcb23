"""Drives the pybind11 module, as asyncio programs drive blocking libraries: through the loop's default executor.

drive.py FOLDER RUNTIME: the module is in FOLDER, RUNTIME is the stand-in's runtime library. Each line of the input is
MODE PAIRS OPERATIONS, each answer the milliseconds that so many pulls of so many block pairs took.
"""

import asyncio
import ctypes
import gc
import sys
import time

BLOCKS = 1024
BLOCK_BYTES = 64
UINT8 = 4
IN_FLIGHT = 64

OWNER, PULLER = 1, 2
# Of the stand-in's own network, which reaches no further than the process.
IP = "127.0.0.1"
OWNER_PORT, PULLER_PORT = 26_000, 26_001
TIMEOUT_MS = 3000


def check(status):
    if status != 0:
        raise RuntimeError(f"the library returned {status:#x}")


class Node:
    """An instance with a cache."""

    def __init__(self, rival, cluster_id, device, port):
        self._rival = rival
        self.cluster_id = cluster_id
        self.dist = rival.LlmDataDist(cluster_id)
        check(self.dist.initialize({"llm.DeviceId": str(device), "llm.ListenIpInfo": f"{IP}:{port}"}))
        status, address = rival.malloc(BLOCKS * BLOCK_BYTES)
        check(status)
        desc = rival.CacheDesc(1, UINT8, [BLOCKS, BLOCK_BYTES])
        status, self._cache_id = self.dist.register_kv_cache(desc, [address])
        check(status)
        self.cache = rival.Cache(self._cache_id, [address], desc)

    def key(self):
        return self._rival.CacheIndex(self.cluster_id, self._cache_id, 0)


class Puller:
    """Pulls from one of two linked nodes into the other one."""

    def __init__(self, rival):
        owner = Node(rival, OWNER, 0, OWNER_PORT)
        puller = Node(rival, PULLER, 1, PULLER_PORT)
        check(puller.dist.link(OWNER, IP, OWNER_PORT, TIMEOUT_MS))
        self._dist = puller.dist
        self._src = owner.key()
        self._dst = puller.cache
        self._ext = rival.KvCacheExtParam()

    def pull(self, src_blocks, dst_blocks):
        check(self._dist.pull_kv_blocks(self._src, self._dst, src_blocks, dst_blocks, self._ext))


async def one_by_one(pull, src_blocks, dst_blocks, operations):
    loop = asyncio.get_running_loop()
    for _ in range(operations):
        await loop.run_in_executor(None, pull, src_blocks, dst_blocks)


async def in_flight(pull, src_blocks, dst_blocks, operations):
    each, rest = divmod(operations, IN_FLIGHT)
    counts = (each + (i < rest) for i in range(IN_FLIGHT))
    await asyncio.gather(*(one_by_one(pull, src_blocks, dst_blocks, count) for count in counts))


async def blocking(pull, src_blocks, dst_blocks, operations):
    for _ in range(operations):
        pull(src_blocks, dst_blocks)


MODES = {"serial": one_by_one, "in-flight": in_flight, "blocking": blocking}


async def answer(pull):
    # Nothing else is under way while a line is waited for.
    for line in sys.stdin:
        mode, pairs, operations = line.split()
        src_blocks = list(range(int(pairs)))
        dst_blocks = src_blocks[::-1]
        gc.collect()
        start = time.perf_counter()
        await MODES[mode](pull, src_blocks, dst_blocks, int(operations))
        print((time.perf_counter() - start) * 1000, flush=True)


def main(folder, runtime):
    sys.path.insert(0, folder)
    import datadist_rival as rival

    check(rival.init_runtime())
    check(rival.set_device(1))
    puller = Puller(rival)
    # In earnest, and refused where it is wrong: from then on the stand-in looks at nothing.
    blocks = list(range(BLOCKS))
    puller.pull(blocks, blocks[::-1])
    if ctypes.CDLL(runtime).standin_command(b"answer_at_once on") != 0:
        raise SystemExit("the stand-in does not know answer_at_once")
    asyncio.run(answer(puller.pull))


main(*sys.argv[1:])
