import type { ClusterInfo, IpInfo } from './backend/backend';
import {
  checkArray,
  checkElements,
  checkFields,
  checkInt32,
  checkString,
  checkUint16,
  checkUint64,
  measureArray,
} from './check';
import type { MeasuredArray, Names } from './check';
import { checkLife } from './life';
import type { LLMRole } from './role';
import { SumLimit } from './sum-limit';

/**
 * A cluster to link or unlink. One call takes up to 65,536 clusters, with up to 262,144 addresses of up to 4,194,304
 * characters in all of their lists together; more is a `RangeError`.
 *
 * C++ `ClusterInfo`, Python `LLMClusterInfo`.
 */
export interface LLMClusterInfo {
  /** The peer's cluster id, uint64. Links are kept under it (`hixl`) or under the id that the peer declares (default). */
  readonly remoteClusterId: bigint | number;
  /** Where the peer listens: exactly one IPv4 address and port to link; may be empty for a forced unlink. */
  readonly remoteIpInfos: readonly { readonly ip: string; readonly port: number }[];
  /**
   * One IPv4 address of this host, where `init` was given neither a listen address nor `localCommRes`. The port is
   * ignored, default 0.
   */
  readonly localIpInfos?: readonly { readonly ip: string; readonly port?: number }[];
  /** The library only logs it. */
  readonly remoteRole?: LLMRole;
  /**
   * {@link LLMDataDist.life} of the peer, as the peer reports it now. Take it from the peer when you link, with its address, and
   * never from a key. An unlink does not look at it.
   *
   * Rule `stale-key` compares lives, which have no order. A link has one life: the one stated here, else that of the first key
   * with a life that is used over it. Keys of another life are refused. After a link that ended by force, by a status that ends
   * it, or by the death of the peer, a link without a stated life also refuses the lives that were used over the old one. A
   * stated life is believed. After a graceful unlink nothing is refused. All this holds from the call of `linkClusters` on until it
   * has ended; the call waits for the transfers with its peers that were called before it, unless the link is known to exist.
   *
   * Without a stated life it refuses some good keys: keys of a peer that did not restart, and new keys that failed on a dead link.
   *
   * It lets through: a key that is first used after the relink; a restart after a graceful unlink, or before one that
   * the new life answers; a life that was copied from the stale key; keys without a life; a key over a link that the next life of
   * the peer has made itself. Only a check by the peer itself prevents these cases; the agent above these classes makes it.
   */
  readonly life?: string;
}

/**
 * The result of one cluster of a link or unlink call.
 *
 * C++: one element of `rets` of `LinkLlmClusters`/`UnlinkLlmClusters`; Python: one element of the list they return.
 */
export interface ClusterResult {
  /** The id that the caller gave, not the one the peer answered with. */
  remoteClusterId: bigint;
  /** The raw status; 0 is success. */
  statusCode: number;
  /** Its name, such as `LLM_LINK_FAILED`. */
  code: string;
}

/** The library takes any number; more than this is not a list of clusters. */
const MAX_CLUSTERS = 65_536;
/** Longer than any list the library takes (1), so that it can say so itself. */
const MAX_ADDRESSES = 1024;
/** In all clusters of a call: twice as many as it can have where each is as the library wants it. */
const MAX_ADDRESSES_IN_ALL = 262_144;
/** UTF-16 units of all addresses of a call; an IPv4 address has at most 15. What one of them means is the library's to say. */
const MAX_TEXT_IN_ALL = 16 * MAX_ADDRESSES_IN_ALL;

const CLUSTER: Names<LLMClusterInfo> = {
  remoteClusterId: true,
  remoteIpInfos: true,
  localIpInfos: true,
  remoteRole: true,
  life: true,
};
const ADDRESS: Names<LLMClusterInfo['remoteIpInfos'][number]> = { ip: true, port: true };

/** A cluster as the seam takes it, and the life that was stated of it. */
export interface CheckedCluster extends ClusterInfo {
  readonly life?: string;
}

/** A cluster whose lists were measured and not read yet. */
interface MeasuredCluster {
  readonly fields: Omit<CheckedCluster, 'remoteIpInfos' | 'localIpInfos'>;
  readonly remote: MeasuredArray;
  readonly local: MeasuredArray | undefined;
}

export function checkClusters(value: unknown, name: string): CheckedCluster[] {
  const addresses = new SumLimit(name, MAX_ADDRESSES_IN_ALL, 'addresses');
  const clusters = checkArray(value, name, (each, eachName) => measureCluster(each, eachName, addresses), MAX_CLUSTERS);
  const text = new SumLimit(name, MAX_TEXT_IN_ALL, 'characters in addresses');
  const counted = (info: IpInfo): IpInfo => {
    text.add(info.ip.length);
    return info;
  };
  return clusters.map(({ fields, remote, local }) => ({
    ...fields,
    remoteIpInfos: checkElements(remote, (info, infoName) => counted(checkIpInfo(info, infoName))),
    localIpInfos:
      local === undefined ? [] : checkElements(local, (info, infoName) => counted(checkLocalIpInfo(info, infoName))),
  }));
}

function measureCluster(value: unknown, name: string, addresses: SumLimit): MeasuredCluster {
  const { remoteClusterId, remoteIpInfos, localIpInfos, remoteRole, life } = checkFields(value, name, CLUSTER);
  const fields = {
    remoteClusterId: checkUint64(remoteClusterId, `${name}.remoteClusterId`),
    remoteRoleType: remoteRole === undefined ? 0 : checkInt32(remoteRole, `${name}.remoteRole`),
    ...(life !== undefined && { life: checkLife(life, `${name}.life`) }),
  };
  const remote = measureArray(remoteIpInfos, `${name}.remoteIpInfos`, MAX_ADDRESSES);
  const local =
    localIpInfos === undefined ? undefined : measureArray(localIpInfos, `${name}.localIpInfos`, MAX_ADDRESSES);
  addresses.add(remote.length + (local?.length ?? 0));
  return { fields, remote, local };
}

function checkIpInfo(value: unknown, name: string): IpInfo {
  const { ip, port } = checkFields(value, name, ADDRESS);
  return { ip: checkString(ip, `${name}.ip`), port: checkUint16(port, `${name}.port`) };
}

function checkLocalIpInfo(value: unknown, name: string): IpInfo {
  const { ip, port } = checkFields(value, name, ADDRESS);
  return {
    ip: checkString(ip, `${name}.ip`),
    port: port === undefined ? 0 : checkUint16(port, `${name}.port`),
  };
}
