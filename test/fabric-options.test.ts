import { createFabric, createTcpFabric } from '../lib/testing';

const KIND = expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' }) as RangeError;

/** What a call is refused with, whether it throws or rejects. */
async function refusal(make: () => unknown): Promise<Error> {
  try {
    await make();
  } catch (error) {
    return error as Error;
  }
  throw new Error('it was not refused');
}

const memory = (options: object) => () => createFabric(options);
const shared = (options: object) => () => createFabric({ network: 'tcp', ...options });
const tcp = (options: object) => () => createTcpFabric(options);

test.each<[string, () => unknown, RegExp]>([
  ['an unknown one in memory', memory({ contrl: 1 }), /unknown option "contrl": the nearest is "\w+"/],
  ['a misspelt one in memory', memory({ stirct: false }), /unknown option "stirct": the nearest is "strict"/],
  ['an unknown one over TCP', shared({ contrl: 1 }), /unknown option "contrl": the nearest is "control"/],
  ['an unknown one of tcp', shared({ tcp: { patiense: 2 } }), /"options\.tcp" .*the nearest is "patience"/],
  ['an unknown one of control', shared({ control: { conect: 'x' } }), /"options\.control" .*the nearest is "connect"/],
  ['an unknown one of a network', tcp({ patiense: 2 }), /unknown option "patiense": the nearest is "patience"/],
  ['one that objects inherit', memory({ constructor: 1 }), /unknown option "constructor"/],
  ['control in memory', memory({ control: 5 }), /"control".* 'tcp'.* 'memory'/],
  ['tcp in memory', memory({ network: 'memory', tcp: {} }), /"tcp".* 'tcp'.* 'memory'/],
  ['controlTimeout in memory', memory({ controlTimeout: 1 }), /"controlTimeout".* 'tcp'.* 'memory'/],
  ['wire over TCP', shared({ wire: 'A3_HCCS' }), /"wire".* 'memory'.* 'tcp'/],
  ['patience of a fabric', memory({ patience: 2 }), /"patience".*createTcpFabric\(\), or to the option tcp/],
  ['strict of a network', tcp({ strict: false }), /"strict".*createFabric\(\), not createTcpFabric\(\)/],
])('%s is refused', async (_, make, message) => {
  const error = await refusal(make);
  expect(error).toEqual(KIND);
  expect(error.message).toMatch(message);
});

test('undefined is as good as left out', () => {
  const fabric = createFabric({ control: undefined, tcp: undefined } as object);
  fabric.close();
  expect(createTcpFabric({ strict: undefined } as object)).toBeDefined();
});
