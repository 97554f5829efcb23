import { checkEndpointList } from './endpoint-list';
import { checkChannelPool, parseGlobalResourceConfig, type GlobalResourceConfig } from './global-resource-config';
import { memberOf } from './json';
import { readJsonOption } from './json-option';
import { isIpv4, type ListenAddress } from './listen-address';
import { readLocalCommResFile } from './local-comm-res-file';
import { parseInt32 } from './number-text';
import { OptionError, quote } from './option-error';
import type { Options } from './options';

/** Which engine of the hixl backend the options choose: the communicator engine or the newer one. */
export interface HixlOptions {
  readonly engine: 'comm' | 'hixl';
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The checks of the hixl backend, in the library's order: listen address, RDMA values, `llm.GlobalResourceConfig`,
 * `llm.LocalCommRes`, then those of the chosen engine. All of them precede the engine's attempt to listen.
 * @throws OptionError
 */
export function checkHixlOptions(
  options: Options,
  listen: ListenAddress | undefined,
  environment: Environment = process.env,
): HixlOptions {
  if (listen === undefined) throw new OptionError('llm.ListenIpInfo is missing; the hixl backend cannot do without.');
  checkTrafficClass(options, environment);
  checkServiceLevel(options, environment);
  const configText = options['llm.GlobalResourceConfig'];
  const config = configText === undefined || configText === '' ? undefined : parseGlobalResourceConfig(configText);
  const localCommRes = readLocalCommRes(options, config);
  const engine = chooseEngine(localCommRes, config);
  if (engine === 'hixl') {
    checkEndpointList(localCommRes, config?.protocolDesc ?? [], environment.HCCL_INTRA_ROCE_ENABLE === '1');
    checkListenAddress(listen, 65_535);
  } else {
    if (configText === '') throw new OptionError('llm.GlobalResourceConfig is empty; leave it out or give an object.');
    if (config !== undefined) checkChannelPool(config);
    checkListenAddress(listen, 2_147_483_647);
  }
  return { engine };
}

function checkTrafficClass(options: Options, environment: Environment): void {
  const [source, text] = rdmaValue(options, 'llm.RdmaTrafficClass', environment, 'HCCL_RDMA_TC');
  if (text === '') return;
  const value = parseInt32(text);
  if (value === undefined || value < 0 || value > 255 || value % 4 !== 0) {
    throw new OptionError(`${source} is ${quote(text)}; it must be a multiple of 4 from 0 to 252.`);
  }
}

function checkServiceLevel(options: Options, environment: Environment): void {
  const [source, text] = rdmaValue(options, 'llm.RdmaServiceLevel', environment, 'HCCL_RDMA_SL');
  if (text === '') return;
  const value = parseInt32(text);
  if (value === undefined || value < 0 || value > 7) {
    throw new OptionError(`${source} is ${quote(text)}; it must be a number from 0 to 7.`);
  }
}

/** An option that is absent or empty is looked up in the environment; an empty text is no value. */
function rdmaValue(
  options: Options,
  option: string,
  environment: Environment,
  variable: string,
): readonly [source: string, text: string] {
  const given = options[option] ?? '';
  return given === '' ? [`the environment variable ${variable}`, environment[variable] ?? ''] : [option, given];
}

/** Empty when neither the option nor a file says anything. */
function readLocalCommRes(options: Options, config: GlobalResourceConfig | undefined): string {
  const given = options['llm.LocalCommRes'] ?? '';
  if (given !== '' || config?.localCommResPath === undefined) return given;
  return readLocalCommResFile(config.localCommResPath);
}

function chooseEngine(localCommRes: string, config: GlobalResourceConfig | undefined): HixlOptions['engine'] {
  if (localCommRes !== '') {
    const version = memberOf(readJsonOption('llm.LocalCommRes', localCommRes), 'version');
    return version?.kind === 'string' && version.value === '1.3' ? 'hixl' : 'comm';
  }
  return config !== undefined && config.protocolDesc.length > 0 ? 'hixl' : 'comm';
}

/** The engines are handed `ip:port` without brackets and take it apart again, which no IPv6 address survives. */
function checkListenAddress({ ip, port }: ListenAddress, maxPort: number): void {
  if (!isIpv4(ip)) throw new OptionError(`llm.ListenIpInfo has the address ${quote(ip)}; the hixl backend needs IPv4.`);
  if (port > maxPort) {
    throw new OptionError(`llm.ListenIpInfo has the port ${port}; this engine takes ports up to ${maxPort}.`);
  }
}
