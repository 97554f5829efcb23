import type { OperationKind } from './status';

/** A text in English and in Chinese, in this order. */
export type Bilingual = readonly [en: string, zh: string];

/**
 * What a user reads about one status. A meaning is a clause (it stands inside a sentence of an exception), a remedy is
 * one or two sentences.
 */
export interface StatusText {
  readonly meaning: Bilingual;
  readonly remedy: Bilingual;
  /** Where the operation makes a difference. */
  readonly on?: Readonly<Partial<Record<OperationKind, Bilingual>>>;
}

// Advice is followed by many requests at once, and after the restart of a peer. So a relink is one for all calls of the peer:
// each relink of one more request would tear down the link that the others have made. And it needs a new key: the peer may be
// another process, in which an old cache id names other memory.
const FORCED_UNLINK: Bilingual = [
  'Unlink that cluster with force: true, once for all its calls: this drops the local link without asking the peer; a peer that lives must unlink too.',
  '请以 force: true 断链，对端的所有调用共用这一次断链；这会直接释放本端链路而不通知对端，若对端仍存活，也须在对端断链。',
];
const RELINK_TRANSFER: Bilingual = [
  'Relink that cluster once, for all its calls together: let its running transfers end, unlink with force: true, link with the life that the peer reports now, and repeat the transfer with a new key of the peer; until then treat the destination as undefined.',
  '请为该集群重新建链一次，由其所有调用共用：等待其正在运行的传输结束，以 force: true 断链，按对端当前报告的 life 建链，再向对端获取新的 key 重试传输；在此之前目的端数据不可信。',
];
/** Of a cache that a key names and the link does not know, where nothing says that it was registered late. */
const STALE_KEY: Bilingual = [
  'Check both cache ids, and ask the peer for a new key; do not unlink, because other transfers with this peer are not concerned. Where a key that the peer has just given fails too, it registered the cache after the link was made: then relink once, for all calls of the peer together.',
  '请检查两端的缓存 ID，并向对端获取新的 key；不要断链，因为与该对端的其他传输不受影响。若对端刚给出的 key 也失败，说明该缓存在建链之后才注册：此时重新建链一次，由该对端的所有调用共用。',
];
/** Of a cache that was registered after the link had copied the peer's table. */
export const LATE_CACHE: Bilingual = [
  'The peer registered this cache after the link was made, and its table is copied once per link. Relink once, for all calls of the peer together: let its running transfers end, unlink, link again with the life that the peer reports now, and repeat the transfer with a new key.',
  '对端在建链之后才注册该缓存，而每条链路只获取一次缓存表。请重新建链一次，由该对端的所有调用共用：等待其正在运行的传输结束，断链，按对端当前报告的 life 重新建链，再向对端获取新的 key 重试传输。',
];
const LOST_INSTANCE: Bilingual = [
  'The call may never return and this instance must not be used again: keep the logs and start the process anew.',
  '该调用可能永远不会返回，此实例不能再使用：请保存日志并重启进程。',
];
const TIMEOUT_ON: StatusText['on'] = {
  transfer: [
    `${RELINK_TRANSFER[0]} If the peer was merely slow, raise llm.SyncKvCacheWaitTime.`,
    `${RELINK_TRANSFER[1]}若对端只是较慢，请调大 llm.SyncKvCacheWaitTime。`,
  ],
  link: [
    'Check that the peer answers, then link again, once for all calls of that cluster, with a larger timeout (at least 2000 ms where TLS is on).',
    '请确认对端可以响应，然后加大超时时间（启用 TLS 时至少 2000 毫秒）重新建链一次，由该集群的所有调用共用。',
  ],
  unlink: [
    'Unlink again with a larger timeout, once for all calls of that cluster, or with force: true if the peer may be dead.',
    '请加大超时时间重新断链，由该集群的所有调用共用这一次；对端可能失效时使用 force: true。',
  ],
  init: LOST_INSTANCE,
  finalize: LOST_INSTANCE,
  switchRole: LOST_INSTANCE,
};

/** The texts by name of status; the numbers are in status.ts. */
export const STATUS_TEXT = {
  LLM_SUCCESS: { meaning: ['the call succeeded', '调用成功'], remedy: ['Nothing to do.', '无需处理。'] },
  LLM_FAILED: {
    meaning: ['general failure of the library or of what lies below it', '通用失败，由库自身或其下层引起'],
    remedy: [
      'Check that init has succeeded. If it has, keep the host and device logs, finalize and start the process anew.',
      '请确认 init 已成功；若已成功，请保存 Host 和 Device 日志，执行 finalize 并重启进程。',
    ],
    on: {
      init: [
        'Check that the device exists and is visible to this process, that the listen address belongs to this host and that its port is free.',
        '请检查设备是否存在且对本进程可见，监听地址是否属于本机，端口是否空闲。',
      ],
      switchRole: [
        'Check that init has succeeded, that the new listen address belongs to this host and that its port is free. After a failed switch the library does not listen any more; with guards this package listens on the old address again, and warns where that fails too.',
        '请确认 init 已成功、新的监听地址属于本机且端口空闲；切换失败后库不再监听；启用 guards 时，本包会在原地址上重新监听，若仍失败则发出警告。',
      ],
      link: [
        'Check that this instance and the peer are initialized and that the peer listens on this ip and port, then link again, once for all calls of that cluster; the logs of both ends show which step failed.',
        '请确认本端和对端均已初始化，且对端正在监听该 IP 和端口，然后重新建链一次，由该集群的所有调用共用；失败步骤见两端日志。',
      ],
      unlink: FORCED_UNLINK,
      allocate: [
        'Check that init has succeeded and how much memory is free; drivers limit how much memory may be registered.',
        '请确认 init 已成功，并检查剩余内存；驱动对可注册的内存总量有限制。',
      ],
      register: [
        'Check that init has succeeded, that each address is live memory of the stated placement, and that the limits of the driver (240 addresses in all) are kept.',
        '请确认 init 已成功、每个地址都是所声明位置上的有效内存，且未超过驱动限制（地址总数不超过 240）。',
      ],
      release: [
        'If init has succeeded, a link still uses the memory: when its transfers have ended, unlink each cluster once that was linked while the cache was registered, then repeat the call.',
        '若 init 已成功，则仍有链路在使用该内存：请等待其传输结束，将该缓存注册期间建链的每个集群各断链一次，再重试。',
      ],
      transfer: RELINK_TRANSFER,
    },
  },
  LLM_WAIT_PROC_TIMEOUT: {
    meaning: ['the request was not processed in time', '请求未能在限定时间内处理完成'],
    remedy: ['Repeat the call with a larger timeout.', '请加大超时时间后重试。'],
    on: TIMEOUT_ON,
  },
  LLM_KV_CACHE_NOT_EXIST: {
    meaning: ['there is no cache with that id, here or at the peer', '本端或对端不存在该 ID 的缓存'],
    remedy: [
      'Check the cache id, and whether the cache has been released already.',
      '请检查缓存 ID 是否正确，以及该缓存是否已被释放。',
    ],
    on: {
      transfer: STALE_KEY,
    },
  },
  LLM_PARAM_INVALID: {
    meaning: ['an argument or an option is invalid', '参数或配置项无效'],
    remedy: ['Correct the argument; the log names what was refused.', '请修正参数；被拒绝的内容见日志。'],
    on: {
      init: [
        'Correct the options: device id, listen address (ip:port), transfer backend and the JSON texts. If they are right, check that libhcomm.so and the network configuration of the device (/etc/hccn.conf) can be found.',
        '请修正配置项：设备 ID、监听地址（ip:port）、传输后端以及各 JSON 文本。若均正确，请确认可以找到 libhcomm.so 和设备网络配置（/etc/hccn.conf）。',
      ],
      link: [
        'Correct the cluster description: exactly one remote IPv4 address, and one local ip where there is neither LocalCommRes nor a listen address. Read the log of the peer too, which may have refused its own communication resources.',
        '请修正集群描述：远端必须恰有一个 IPv4 地址；既无 LocalCommRes 又无监听地址时还需一个本端 IP。对端也可能因自身通信资源无效而拒绝，请一并查看对端日志。',
      ],
      transfer: [
        'Correct the block numbers, row, layer ranges or size, and check that both caches have the same number of tensors and rows of the same size, registered before the link was made.',
        '请修正块号、行号、层范围或大小，并确认两端缓存的张量数量和行大小一致，且均在建链之前注册。',
      ],
    },
  },
  LLM_NOT_YET_LINK: {
    meaning: ['there is no link to that cluster', '与该集群尚未建链'],
    remedy: [
      'Link that cluster once, for all its calls together (linkClusters), with the life that the peer reports now; then repeat the call with a new key of the peer.',
      '请为该集群建链一次（linkClusters），由其所有调用共用，并使用对端当前报告的 life；再向对端获取新的 key 后重试。',
    ],
    on: {
      link: [
        'The connection was lost while the link was being made: check that the peer is alive, then link again, once for all calls of that cluster.',
        '建链过程中连接中断：请确认对端存活，然后重新建链一次，由该集群的所有调用共用。',
      ],
      unlink: ['Nothing to do: the link is gone.', '无需处理：链路已不存在。'],
    },
  },
  LLM_ALREADY_LINK: {
    meaning: ['a link to that cluster exists already', '与该集群的链路已存在'],
    remedy: [
      'If another call of this process has just linked that cluster with the life that the cluster reports now, use that link; otherwise, once for all calls of that cluster, let its running transfers end, unlink it, and repeat the call.',
      '若本进程的另一个调用刚刚按该集群当前报告的 life 与其建链，请直接使用该链路；否则由该集群的所有调用共用一次：等待其正在运行的传输结束，断链，再重试。',
    ],
    on: {
      link: [
        'If another call of this process has just linked that cluster with the life that the cluster reports now, use that link. If not, the peer may have restarted, and the link leads nowhere: once for all calls of that cluster, let its running transfers end, unlink with force: true, and link with the life that the peer reports now. With the hixl backend, check under which cluster id the address is linked.',
        '若本进程的另一个调用刚刚按该集群当前报告的 life 与其建链，请直接使用该链路。否则对端可能已重启，该链路已失效：由该集群的所有调用共用一次，等待其正在运行的传输结束，以 force: true 断链，再按对端当前报告的 life 建链。使用 hixl 后端时，请检查该地址以哪个集群 ID 建链。',
      ],
      transfer: RELINK_TRANSFER,
    },
  },
  LLM_LINK_FAILED: {
    meaning: ['the link could not be made', '建链失败'],
    remedy: [
      'Check that the peer listens on that address, that the device links are up, that TLS is set alike on both ends and that registered memory is still allocated, then link again, once for all calls of that cluster.',
      '请检查对端是否在该地址监听、设备网口是否正常、两端 TLS 设置是否一致、已注册的内存是否仍然有效，然后重新建链一次，由该集群的所有调用共用。',
    ],
    on: { unlink: FORCED_UNLINK, transfer: RELINK_TRANSFER },
  },
  LLM_UNLINK_FAILED: {
    meaning: ['the link could not be taken down cleanly', '断链失败'],
    remedy: [
      'Unlink that cluster with force: true, once for all its calls, then repeat the call.',
      '请以 force: true 断链一次，由该集群的所有调用共用，再重试。',
    ],
    on: { unlink: FORCED_UNLINK, transfer: RELINK_TRANSFER },
  },
  LLM_NOTIFY_PROMPT_UNLINK_FAILED: {
    meaning: [
      'the local end is unlinked, but the Prompt side could not be notified',
      '本端已断链，但未能通知 Prompt 侧',
    ],
    remedy: [
      'Check the network, and unlink once on the Prompt side as well; then link again, once for all calls of that cluster.',
      '请检查网络，并在 Prompt 侧也断链一次；然后重新建链一次，由该集群的所有调用共用。',
    ],
  },
  LLM_CLUSTER_NUM_EXCEED_LIMIT: {
    meaning: ['the call names too many clusters', '单次调用的集群数量超过上限'],
    remedy: ['Pass at most 16 clusters per call.', '每次调用最多传入 16 个集群。'],
  },
  LLM_PROCESSING_LINK: {
    meaning: ['another link or unlink is still running', '另一个建链或断链操作正在进行'],
    remedy: ['Wait until it has finished, then repeat the call.', '请等待其完成后重试。'],
  },
  LLM_DEVICE_OUT_OF_MEMORY: {
    meaning: ['the device has too little free memory', 'Device 内存不足'],
    remedy: [
      'Free device memory or use smaller caches, then repeat the call.',
      '请释放 Device 内存或使用更小的缓存，然后重试。',
    ],
  },
  LLM_EXIST_LINK: {
    meaning: ['links exist that must be gone before this call', '仍存在链路，必须先断开才能执行此调用'],
    remedy: [
      'Unlink each cluster once, on both sides, when its transfers have ended; then repeat the call.',
      '请等待传输结束，在两端将每个集群各断链一次，再重试。',
    ],
  },
  LLM_FEATURE_NOT_ENABLED: {
    meaning: ['the feature is switched off or not supported here', '特性未启用，或当前环境不支持'],
    remedy: [
      'Check the options given to init, or use a call that this library and this product support.',
      '请检查 init 的配置项，或改用当前库和产品支持的接口。',
    ],
    on: {
      switchRole: [
        'The older engine (libllm_engine.so) switches roles only where init was given enableSwitchRole: true (llm.EnableSwitchRole set to 1): finalize, and init with it.',
        '旧版引擎（libllm_engine.so）仅在 init 时设置 enableSwitchRole: true（llm.EnableSwitchRole 为 1）后才能切换角色：请执行 finalize，并在 init 时设置该项。',
      ],
      register: [
        'The older engine (libllm_engine.so) registers no memory of the caller: use allocateCache(), whose memory is its own.',
        '旧版引擎（libllm_engine.so）不支持注册调用方的内存：请使用 allocateCache()，其内存由引擎自行分配。',
      ],
      link: [
        'This product or driver lacks the transport: check the transfer backend, LocalCommRes and the network between the devices.',
        '当前产品或驱动不支持该传输方式：请检查传输后端、LocalCommRes 以及设备之间的网络。',
      ],
      transfer: [
        'This product or driver cannot move this memory: use device memory on both sides, or RDMA (HCCL_INTRA_ROCE_ENABLE=1) for host memory.',
        '当前产品或驱动不能传输此类内存：请两端均使用 Device 内存，或对 Host 内存使用 RDMA（HCCL_INTRA_ROCE_ENABLE=1）。',
      ],
    },
  },
  LLM_TIMEOUT: {
    meaning: ['the call ran into its time limit', '调用超时'],
    remedy: ['Repeat the call with a larger timeout.', '请加大超时时间后重试。'],
    on: TIMEOUT_ON,
  },
  LLM_LINK_BUSY: {
    meaning: ['another call is using the link', '链路正被其他调用占用'],
    remedy: [
      'Wait for the other call on this link, then repeat the call; leave the link as it is.',
      '请等待该链路上的其他调用完成后重试；保持该链路不变。',
    ],
  },
  LLM_OUT_OF_MEMORY: {
    meaning: ['a memory pool or the host is out of memory', '内存池或 Host 内存不足'],
    remedy: [
      'Enlarge the memory pool, free memory or use smaller caches, then repeat the call.',
      '请扩大内存池、释放内存或使用更小的缓存，然后重试。',
    ],
  },
  LLM_REPEAT_REQUEST: {
    meaning: ['the same request is being processed already', '相同的请求已在处理中'],
    remedy: ['Send each request once, or wait for the first one.', '同一请求只发送一次，或等待前一次完成。'],
  },
  LLM_REQUEST_ALREADY_COMPLETED: {
    meaning: ['the request has been completed already', '该请求已经完成'],
    remedy: ['Do not use a request id after its completion.', '请求完成后不要再使用其请求 ID。'],
  },
  LLM_ENGINE_FINALIZED: {
    meaning: ['the engine has been finalized', '引擎已经去初始化'],
    remedy: ['Call init again, or stop using this instance.', '请重新执行 init，或不再使用该实例。'],
  },
  LLM_PREFIX_ALREADY_EXIST: {
    meaning: ['a prefix with that id is loaded already', '该 ID 的公共前缀已加载'],
    remedy: ['Release that prefix first, or use another id.', '请先释放该前缀，或使用其他 ID。'],
  },
  LLM_PREFIX_NOT_EXIST: {
    meaning: ['no prefix with that id is loaded', '该 ID 的公共前缀未加载'],
    remedy: ['Load the prefix first, and check its id.', '请先加载该前缀，并检查其 ID。'],
  },
  LLM_SEQ_LEN_OVER_LIMIT: {
    meaning: ['the sequence is longer than allowed', '序列长度超过上限'],
    remedy: ['Shorten the sequence, or configure a larger limit.', '请缩短序列，或配置更大的上限。'],
  },
  LLM_NO_FREE_BLOCK: {
    meaning: ['no cache block is free', '没有空闲的缓存块'],
    remedy: ['Wait until requests release blocks, then repeat the call.', '请等待其他请求释放缓存块后重试。'],
  },
  LLM_BLOCKS_OUT_OF_MEMORY: {
    meaning: ['there is too little memory for the cache blocks', '缓存块所需的内存不足'],
    remedy: ['Configure fewer or smaller blocks, or free memory.', '请减少或缩小缓存块，或释放内存。'],
  },
  LLM_CACHE_INCOMPATIBLE: {
    meaning: ['the two caches do not fit each other', '两个缓存互不兼容'],
    remedy: [
      'Give both caches the same number of tensors and the same row size.',
      '请使两个缓存的张量数量和行大小保持一致。',
    ],
  },
  LLM_CACHE_KEY_ALREADY_EXIST: {
    meaning: ['the cache key is bound already', '该缓存键已被绑定'],
    remedy: ['Remove the key first, or use another one.', '请先移除该键，或使用其他键。'],
  },
  LLM_COPY_CACHE_FAILED: {
    meaning: ['copying between caches failed', '缓存之间的拷贝失败'],
    remedy: [
      'Treat the destination as undefined, keep the host and device logs, finalize and start the process anew.',
      '目的端数据不可信；请保存 Host 和 Device 日志，执行 finalize 并重启进程。',
    ],
    on: { transfer: RELINK_TRANSFER },
  },
  LLM_CACHE_ID_ALREADY_EXIST: {
    meaning: ['a cache with that id exists already', '该 ID 的缓存已存在'],
    remedy: ['Release that cache first, or use another id.', '请先释放该缓存，或使用其他 ID。'],
  },
  LLM_DEVICE_MEM_ERROR: {
    meaning: ['the device reports an uncorrectable memory error (UCE)', '设备上报不可纠正的内存错误（UCE）'],
    remedy: [
      'Do not use that memory again: keep the logs, end the process and have the device reset or checked.',
      '不要再使用该内存：请保存日志，结束进程，并复位或检修设备。',
    ],
  },
  LLM_SUSPECT_REMOTE_ERROR: {
    meaning: ['the device suspects a memory error at the peer', '疑似对端发生内存错误'],
    remedy: [
      `Check the health of the peer, and restart it if its device has failed. ${RELINK_TRANSFER[0]}`,
      `请检查对端是否健康，若其设备故障则重启对端。${RELINK_TRANSFER[1]}`,
    ],
    on: { unlink: FORCED_UNLINK },
  },
  HIXL_PARAM_INVALID: {
    meaning: ['HIXL: invalid argument; surfaces as LLM_PARAM_INVALID', 'HIXL：参数无效；对外为 LLM_PARAM_INVALID'],
    remedy: ['Correct the argument; the log names what was refused.', '请修正参数；被拒绝的内容见日志。'],
  },
  HIXL_TIMEOUT: {
    meaning: ['HIXL: time limit reached; surfaces as LLM_TIMEOUT', 'HIXL：超时；对外为 LLM_TIMEOUT'],
    remedy: RELINK_TRANSFER,
  },
  HIXL_NOT_CONNECTED: {
    meaning: ['HIXL: no connection; surfaces as LLM_NOT_YET_LINK', 'HIXL：未连接；对外为 LLM_NOT_YET_LINK'],
    remedy: [
      'Link that cluster once, for all its calls together, with the life that the peer reports now; then repeat the call with a new key of the peer.',
      '请为该集群建链一次，由其所有调用共用，并使用对端当前报告的 life；再向对端获取新的 key 后重试。',
    ],
  },
  HIXL_ALREADY_CONNECTED: {
    meaning: [
      'HIXL: the address is connected already; surfaces as LLM_ALREADY_LINK',
      'HIXL：该地址已连接；对外为 LLM_ALREADY_LINK',
    ],
    remedy: [
      'If another call of this process has just linked that cluster with the life that the cluster reports now, use that link; otherwise, once for all calls of that cluster, let its running transfers end, unlink it, and link with that life.',
      '若本进程的另一个调用刚刚按该集群当前报告的 life 与其建链，请直接使用该链路；否则由该集群的所有调用共用一次：等待其正在运行的传输结束，断链，再按该 life 建链。',
    ],
  },
  HIXL_NOTIFY_FAILED: {
    meaning: ['HIXL: a notification failed; surfaces as LLM_FAILED', 'HIXL：通知失败；对外为 LLM_FAILED'],
    remedy: [
      `Keep the host and device logs. ${RELINK_TRANSFER[0]}`,
      `请保存 Host 和 Device 日志。${RELINK_TRANSFER[1]}`,
    ],
  },
  HIXL_UNSUPPORTED: {
    meaning: [
      'HIXL: not supported here; surfaces as LLM_FEATURE_NOT_ENABLED',
      'HIXL：当前环境不支持；对外为 LLM_FEATURE_NOT_ENABLED',
    ],
    remedy: ['Use options and calls that this product supports.', '请使用当前产品支持的配置项和接口。'],
  },
  HIXL_RESOURCE_EXHAUSTED: {
    meaning: ['HIXL: out of streams; surfaces as LLM_FAILED', 'HIXL：stream 资源耗尽；对外为 LLM_FAILED'],
    remedy: ['Wait until streams are released, then repeat the call.', '请等待 stream 释放后重试。'],
  },
  HIXL_FAILED: {
    meaning: ['HIXL: general failure; surfaces as LLM_FAILED', 'HIXL：通用失败；对外为 LLM_FAILED'],
    remedy: ['Keep the host and device logs; finalize and init again.', '请保存 Host 和 Device 日志，并重新初始化。'],
  },
} as const satisfies Readonly<Record<string, StatusText>>;

/** For every number that has no name. */
export const UNKNOWN_STATUS_TEXT: StatusText = {
  meaning: [
    'a number that LLM-DataDist does not name, probably a code of the Ascend runtime passed on unchanged',
    'LLM-DataDist 未命名的状态值，可能是原样透传的 Ascend 运行时错误码',
  ],
  remedy: [
    'Look the number up among the error codes of the Ascend runtime (aclError). Keep the host and device logs, finalize and start the process anew.',
    '请在 Ascend 运行时错误码（aclError）中查询该数值；保存 Host 和 Device 日志，执行 finalize 并重启进程。',
  ],
  on: {
    init: [
      'Look the number up among the error codes of the Ascend runtime (aclError), and check the device and the driver.',
      '请在 Ascend 运行时错误码（aclError）中查询该数值，并检查设备和驱动。',
    ],
    allocate: [
      'Look the number up among the error codes of the Ascend runtime (aclError), and check how much memory is free.',
      '请在 Ascend 运行时错误码（aclError）中查询该数值，并检查剩余内存。',
    ],
    link: [
      'Look the number up among the error codes of the Ascend runtime (aclError), check both devices, then link again, once for all calls of that cluster.',
      '请在 Ascend 运行时错误码（aclError）中查询该数值，检查两端设备后重新建链一次，由该集群的所有调用共用。',
    ],
    unlink: FORCED_UNLINK,
    transfer: RELINK_TRANSFER,
  },
};
