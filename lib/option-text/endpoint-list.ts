import { isIpv4, isIpv6 } from './listen-address';
import { memberOf, type JsonValue } from './json';
import { optionalString, readJsonOption, requiredString } from './json-option';
import { OptionError, quote } from './option-error';

const OPTION = 'llm.LocalCommRes';

/** One entry of the `endpoint_list` of a `llm.LocalCommRes` of version 1.3. */
interface Endpoint {
  readonly protocol: string;
  readonly commId: string;
  readonly placement: string;
}

const PLACEMENTS: ReadonlyMap<string, readonly string[]> = new Map([
  ['roce', ['host', 'device']],
  ['hccs', ['host', 'device']],
  ['ub_ctp', ['host', 'device']],
  ['uboe', ['device']],
  ['ub_rtp', ['device']],
]);

/**
 * The checks that the newer HIXL engine makes of its endpoints at Initialize.
 *
 * Without a usable list in the text the engine asks the device for its endpoints; the mock's devices have those of an
 * Atlas A2 or A3: RoCE and HCCS.
 * @param text `llm.LocalCommRes`; empty when the engine was chosen by `protocol_desc`
 * @param roceOnly whether `HCCL_INTRA_ROCE_ENABLE` is 1
 * @throws OptionError
 */
export function checkEndpointList(text: string, protocolDesc: readonly string[], roceOnly: boolean): void {
  const given = text === '' ? [] : readEndpointList(readJsonOption(OPTION, text));
  const all = given.length > 0 ? given : deviceEndpoints(roceOnly);
  const described = filterByProtocolDesc(all, protocolDesc);
  const used = described.filter((endpoint) => !roceOnly || endpoint.protocol === 'roce');
  if (used.length === 0) {
    throw new OptionError(`${OPTION} lists no RoCE endpoint, and HCCL_INTRA_ROCE_ENABLE=1 allows no other.`);
  }
  used.forEach(checkAddress);
}

/** What a device says about itself, when the text does not. */
function deviceEndpoints(roceOnly: boolean): readonly Endpoint[] {
  const roce = { protocol: 'roce', commId: '127.0.0.1', placement: 'device' };
  const hccs = { protocol: 'hccs', commId: '0', placement: 'device' };
  return roceOnly ? [roce] : [roce, hccs];
}

/** Empty when the text has no `net_instance_id` or no `endpoint_list`, which is allowed. */
function readEndpointList(config: JsonValue): readonly Endpoint[] {
  const list = memberOf(config, 'endpoint_list');
  if (memberOf(config, 'net_instance_id')?.kind !== 'string' || list?.kind !== 'array') return [];
  const endpoints = list.items.map(readEndpoint);
  const has = (protocol: string): boolean => endpoints.some((endpoint) => endpoint.protocol === protocol);
  if (has('ub_rtp') && has('uboe')) {
    throw new OptionError(`${OPTION}: "endpoint_list" must not have both ub_rtp and uboe endpoints.`);
  }
  return endpoints;
}

function readEndpoint(item: JsonValue, index: number): Endpoint {
  const name = `endpoint ${index} of ${OPTION}`;
  const protocol = requiredString(name, item, 'protocol');
  const commId = requiredString(name, item, 'comm_id');
  const placement = requiredString(name, item, 'placement');
  if (!isSupported(protocol, placement)) {
    throw new OptionError(`${name} has ${quote(`${protocol}:${placement}`)}; ${SUPPORTED}`);
  }
  for (const key of ['plane', 'dst_eid', 'server_id']) optionalString(name, item, key);
  return { protocol, commId, placement };
}

const isSupported = (protocol: string, placement: string): boolean =>
  PLACEMENTS.get(protocol)?.includes(placement) ?? false;

const SUPPORTED = `supported are ${[...PLACEMENTS]
  .flatMap(([protocol, placements]) => placements.map((placement) => `${protocol}:${placement}`))
  .join(', ')}.`;

function filterByProtocolDesc(endpoints: readonly Endpoint[], protocolDesc: readonly string[]): readonly Endpoint[] {
  if (protocolDesc.length === 0) return endpoints;
  for (const description of protocolDesc) {
    const [protocol, placement, ...more] = description.split(':');
    if (protocol === undefined || placement === undefined || more.length > 0 || !isSupported(protocol, placement)) {
      throw new OptionError(`comm_resource_config.protocol_desc has ${quote(description)}; ${SUPPORTED}`);
    }
  }
  const described = endpoints.filter(({ protocol, placement }) => protocolDesc.includes(`${protocol}:${placement}`));
  if (described.length > 0) return described;
  throw new OptionError(`no endpoint is left by comm_resource_config.protocol_desc ${quote(protocolDesc.join(', '))}.`);
}

const DEVICE_NUMBER = /^[0-9]{1,10}$/;
const EID = /^[0-9a-fA-F]{32}$/;
const MAX_UINT32 = 4_294_967_295;

/** The form of `comm_id` depends on the protocol. */
function checkAddress({ protocol, commId }: Endpoint): void {
  switch (protocol) {
    case 'roce':
    case 'uboe':
      if (isIpv4(commId) || isIpv6(commId)) return;
      throw addressError(protocol, commId, 'an IPv4 or IPv6 address');
    case 'hccs':
      if (DEVICE_NUMBER.test(commId) && Number(commId) <= MAX_UINT32) return;
      throw addressError(protocol, commId, 'a device number from 0 to 4294967295');
    default:
      if (EID.test(commId)) return;
      throw addressError(protocol, commId, 'an EID of 32 hexadecimal digits');
  }
}

function addressError(protocol: string, commId: string, wanted: string): OptionError {
  return new OptionError(`a ${protocol} endpoint of ${OPTION} has comm_id ${quote(commId)}; it must be ${wanted}.`);
}
