import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkCommResources, generateCommResource, type CommResource } from '../lib/option-text/comm-resource';
import { brokenRule } from '../lib/option-text/option-error';

const given = (deviceId: number, resource: unknown): CommResource => ({
  deviceId,
  text: typeof resource === 'string' ? resource : JSON.stringify(resource),
});

const DEVICE = { device_id: '1', super_device_id: '11' };
const SERVER = { server_id: '10.0.0.1', device: [DEVICE] };
const PODS = [{ super_pod_id: '0', server_list: [{ server_id: '10.0.0.1' }] }];
const V10 = { version: '1.0', server_list: [SERVER] };
const V12 = { version: '1.2', server_list: [SERVER], super_pod_list: PODS };

const PEER = generateCommResource('10.0.0.2', 0);
const PEER_12 = given(0, { ...V12, server_list: [{ ...SERVER, device: [{ ...DEVICE, device_id: '0' }] }] });

describe('two resources that fit', () => {
  test.each<[string, CommResource, CommResource]>([
    ['both generated', generateCommResource('10.0.0.1', 1), PEER],
    ['generated and given', given(1, V10), PEER],
    ['both of version 1.2', given(1, V12), PEER_12],
    ['1.2 with 1.0', given(1, V12), PEER],
    ['1.0 with 1.2', given(1, V10), PEER_12],
    ['1.2 without super pods', given(1, { ...V12, super_pod_list: undefined }), PEER_12],
    ['optional fields', given(1, withDevice({ device_ip: '1.2.3.4', device_port: '16666' })), PEER],
    ['unknown fields of any type', given(1, { ...V10, status: 5, server_count: [] }), PEER],
    ['the same device listed by two servers', given(1, { ...V10, server_list: [SERVER, SERVER] }), PEER],
    ['exactly 64 KiB', given(1, JSON.stringify(V10).padEnd(65_536)), PEER],
    ['a peer that lists no server, which is for the peer to notice', given(1, V10), given(0, noServers())],
    ['a peer whose device is not its own, likewise', given(1, V10), given(5, V10)],
  ])('%s', (_name, own, peer) => {
    expect(checkCommResources(own, peer)).toBeUndefined();
  });
});

describe('a resource that breaks a rule, on either side', () => {
  test.each<[string, unknown, string]>([
    ['none at all', '', 'not JSON'],
    ['no JSON', 'not json', 'not JSON'],
    ['no object', '[]', 'must have a string "version"'],
    ['no version', '{}', 'must have a string "version"'],
    ['a version that is a number', { ...V10, version: 1 }, 'must have a string "version"'],
    ['version 1.3', { ...V10, version: '1.3' }, 'has version "1.3"; a HCCL link needs "1.0" or "1.2"'],
    ['version 1.9', { ...V10, version: '1.9' }, 'has version "1.9"'],
    ['more than 64 KiB', JSON.stringify(V10).padEnd(65_537), 'has 65537 bytes; at most 65536'],
    ['more than 64 KiB in UTF-8', `"${'é'.repeat(32_768)}"`, 'has 65538 bytes; at most 65536'],
    ['no server list', { version: '1.0' }, 'must have an array "server_list"'],
    ['a server list that is no array', { ...V10, server_list: {} }, 'must have an array "server_list"'],
    ['a server that is no object', { ...V10, server_list: [1] }, 'must have a string "server_id"'],
    ['a server without id', { ...V10, server_list: [{ device: [DEVICE] }] }, 'must have a string "server_id"'],
    ['a server without devices', { ...V10, server_list: [{ server_id: 'a' }] }, 'must have an array "device"'],
    ['a device without id', { ...V10, server_list: [{ ...SERVER, device: [{}] }] }, 'must have a string "device_id"'],
    ['a device id that is a number', withDevice({ device_id: 1 }), 'must have a string "device_id"'],
    ['a device ip that is a number', withDevice({ device_ip: 1 }), 'must have a string "device_ip"'],
    ['a device port that is a number', withDevice({ device_port: 1 }), 'must have a string "device_port"'],
    ['no device', { ...V10, server_list: [{ ...SERVER, device: [] }] }, 'a server with 0 devices'],
    ['two devices', { ...V10, server_list: [{ ...SERVER, device: [DEVICE, DEVICE] }] }, 'a server with 2 devices'],
  ])('%s', (_name, resource, rule) => {
    expect(checkCommResources(given(1, resource), PEER)).toContain(rule);
    expect(checkCommResources(given(1, resource), PEER)).toContain('the own llm.LocalCommRes');
    expect(checkCommResources(PEER, given(1, resource))).toContain(rule);
    expect(checkCommResources(PEER, given(1, resource))).toContain("the peer's llm.LocalCommRes");
  });
});

describe('fields that version 1.2 adds', () => {
  test.each<[string, object, string]>([
    ['no super device id', withoutSuperDevice(), 'must have a string "super_device_id"'],
    ['super pods that are no array', { ...V12, super_pod_list: 1 }, 'must have an array "super_pod_list"'],
    ['a super pod without id', { ...V12, super_pod_list: [{ server_list: [] }] }, 'must have a string "super_pod_id"'],
    ['a super pod without servers', { ...V12, super_pod_list: [{ super_pod_id: '0' }] }, 'an array "server_list"'],
    [
      'a super pod whose server has no id',
      { ...V12, super_pod_list: [{ super_pod_id: '0', server_list: [{}] }] },
      'must have a string "server_id"',
    ],
  ])('%s: refused between two of 1.2, not looked at when the other end has 1.0', (_name, resource, rule) => {
    expect(checkCommResources(given(1, resource), PEER_12)).toContain(rule);
    expect(checkCommResources(PEER_12, given(1, resource))).toContain(rule);
    expect(checkCommResources(given(1, resource), PEER)).toBeUndefined();
  });
});

describe('what only the own end is held to', () => {
  test('the device must be the one of the cluster', () => {
    expect(checkCommResources(given(3, V10), PEER)).toBe(
      'the own llm.LocalCommRes names device "1"; it must be "3", the device of this cluster.',
    );
    expect(checkCommResources(given(1, withDevice({ device_id: '01' })), PEER)).toContain('names device "01"');
  });

  test('there must be a server', () => {
    expect(checkCommResources(given(1, noServers()), PEER)).toBe('the own llm.LocalCommRes must list a server.');
  });
});

test('every resource that the recordings give to a cluster breaks the link they record', () => {
  const path = join(__dirname, 'conformance/recordings/scenarios/link-bad-local-comm-res.json');
  const { steps } = JSON.parse(readFileSync(path, 'utf8')) as {
    steps: { op: string; options?: Record<string, string>; status?: string }[];
  };
  const given1 = steps.map((step) => step.options?.['llm.LocalCommRes']).filter((text) => text !== undefined);
  const links = steps.filter((step) => step.op === 'link');
  expect(links.map((link) => link.status)).toEqual(given1.map(() => 'LLM_PARAM_INVALID'));
  expect(given1).toHaveLength(6);
  for (const text of given1) {
    expect(checkCommResources({ text, deviceId: 1 }, PEER)).toBeDefined();
    expect(checkCommResources(PEER, { text, deviceId: 1 })).toBeDefined();
  }
});

test('an error that is no broken rule is not mistaken for one', () => {
  const mistake = new TypeError('not a rule');
  expect(() =>
    brokenRule(() => {
      throw mistake;
    }),
  ).toThrow(mistake);
});

function withDevice(fields: object): object {
  return { ...V10, server_list: [{ ...SERVER, device: [{ ...DEVICE, ...fields }] }] };
}

function withoutSuperDevice(): object {
  return { ...V12, server_list: [{ ...SERVER, device: [{ device_id: '1' }] }] };
}

function noServers(): object {
  return { version: '1.0', server_list: [] };
}
