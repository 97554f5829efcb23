import { memberOf, type JsonValue } from './json';
import { optionalString, readJsonOption, requiredArray, requiredString } from './json-option';
import { OptionError, brokenRule, quote } from './option-error';

/** The communication resource of one end of a HCCL link: what `llm.LocalCommRes` gives or Initialize generates. */
export interface CommResource {
  /** JSON of version 1.0 or 1.2; empty while there is none. */
  readonly text: string;
  /** The device of the instance. The mock's logical and physical device ids are the same. */
  readonly deviceId: number;
}

/** Longer texts are refused. */
export const MAX_RESOURCE_BYTES = 65_536;

/**
 * The resource that the library generates where `llm.LocalCommRes` is absent or empty.
 * @param serverId the listen address, or the one local address of the link call
 */
export function generateCommResource(serverId: string, deviceId: number): CommResource {
  const server = { server_id: serverId, device: [{ device_id: String(deviceId) }] };
  const resource = { version: '1.0', server_count: '1', server_list: [server], status: 'completed' };
  return { text: JSON.stringify(resource), deviceId };
}

/**
 * Builds the two-rank table of a link as one of its ends does; each end does so for itself.
 * @returns the rule that is broken (the end then answers `LLM_PARAM_INVALID`), or `undefined`
 */
export function checkCommResources(own: CommResource, peer: CommResource): string | undefined {
  return brokenRule(() => {
    const ownText = readCommResource('the own llm.LocalCommRes', own);
    const peerText = readCommResource("the peer's llm.LocalCommRes", peer);
    // Both are read by the rules of the smaller version.
    const version = ownText.version === '1.0' ? '1.0' : peerText.version;
    const ownServers = readServers(ownText, version);
    const peerServers = readServers(peerText, version);
    for (const server of ownServers) {
      const deviceId = onlyDevice(ownText.name, server);
      if (deviceId !== String(own.deviceId)) {
        throw new OptionError(
          `${ownText.name} names device ${quote(deviceId)}; it must be "${own.deviceId}", the device of this cluster.`,
        );
      }
    }
    for (const server of peerServers) onlyDevice(peerText.name, server);
    if (ownServers.length === 0) throw new OptionError(`${ownText.name} must list a server.`);
  });
}

type Version = '1.0' | '1.2';

interface VersionedText {
  readonly name: string;
  readonly version: Version;
  readonly value: JsonValue;
}

function readCommResource(name: string, { text }: CommResource): VersionedText {
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_RESOURCE_BYTES)
    throw new OptionError(`${name} has ${bytes} bytes; at most ${MAX_RESOURCE_BYTES} are allowed.`);
  const value = readJsonOption(name, text);
  const version = requiredString(name, value, 'version');
  if (version !== '1.0' && version !== '1.2') {
    throw new OptionError(`${name} has version ${quote(version)}; a HCCL link needs "1.0" or "1.2".`);
  }
  return { name, version, value };
}

type DeviceIds = readonly string[];

/** The device ids of each server, after all fields of the version were checked. */
function readServers({ name, value }: VersionedText, version: Version): readonly DeviceIds[] {
  const servers = requiredArray(name, value, 'server_list').map((server): DeviceIds => {
    const serverName = `a server of ${name}`;
    requiredString(serverName, server, 'server_id');
    return requiredArray(serverName, server, 'device').map((device) =>
      readDevice(`a device of ${name}`, device, version),
    );
  });
  if (version === '1.2' && memberOf(value, 'super_pod_list') !== undefined) checkSuperPods(name, value);
  return servers;
}

function readDevice(name: string, device: JsonValue, version: Version): string {
  const deviceId = requiredString(name, device, 'device_id');
  if (version === '1.2') requiredString(name, device, 'super_device_id');
  optionalString(name, device, 'device_ip');
  optionalString(name, device, 'device_port');
  return deviceId;
}

function checkSuperPods(name: string, value: JsonValue): void {
  for (const pod of requiredArray(name, value, 'super_pod_list')) {
    const podName = `a super pod of ${name}`;
    requiredString(podName, pod, 'super_pod_id');
    for (const server of requiredArray(podName, pod, 'server_list')) {
      requiredString(`a server of ${podName}`, server, 'server_id');
    }
  }
}

function onlyDevice(name: string, devices: DeviceIds): string {
  const [deviceId, ...more] = devices;
  if (deviceId === undefined || more.length > 0) {
    throw new OptionError(`${name} has a server with ${devices.length} devices; each must have exactly one.`);
  }
  return deviceId;
}
