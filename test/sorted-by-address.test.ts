import { AddressRanges } from '../lib/address-ranges';
import { SortedByAddress } from '../lib/sorted-by-address';
import { seeded } from './fixtures/seeded';

interface Item {
  readonly address: bigint;
  readonly name: number;
}

const sorted = () => new SortedByAddress<Item>(({ address }) => address);

describe.each([
  ['ascending addresses', (i: number) => i],
  ['descending addresses', (i: number) => 5000 - i],
  ['addresses in no order', (i: number) => (i * 1987) % 5003],
])('items with %s', (_, addressOf) => {
  const items = Array.from({ length: 5000 }, (_value, i) => ({ address: BigInt(10 * addressOf(i)), name: i }));

  test('are found as in a plain sorted list', () => {
    const list = sorted();
    for (const item of items) list.add(item);
    const plain = [...items].sort((a, b) => Number(a.address - b.address));
    expect(list.toArray()).toEqual(plain);
    expect(list.size).toBe(5000);
    for (const address of [0n, 9n, 10n, 5115n, 5120n, 25_005n, 50_000n, 60_000n]) {
      expect(list.lastUpTo(address)).toBe(plain.findLast((item) => item.address <= address));
      expect([...list.from(address)]).toEqual(plain.filter((item) => item.address >= address));
    }
  });

  test('leave the others where they are', () => {
    const list = sorted();
    for (const item of items) list.add(item);
    for (const item of items) if (item.name % 3 !== 0) expect(list.delete(item)).toBe(true);
    expect(list.delete(items[1]!)).toBe(false);
    const left = items.filter(({ name }) => name % 3 === 0).sort((a, b) => Number(a.address - b.address));
    expect(list.toArray()).toEqual(left);
    for (const item of left) list.delete(item);
    expect([list.size, list.toArray(), list.lastUpTo(1n << 60n)]).toEqual([0, [], undefined]);
  });
});

test('items of one address are all kept, and each is removed by itself', () => {
  const list = sorted();
  const items = Array.from({ length: 2000 }, (_, name) => ({ address: 7n, name }));
  for (const item of items) list.add(item);
  expect([...list.from(7n)]).toEqual(items);
  expect([...list.from(8n)]).toEqual([]);
  expect(list.delete(items[3]!)).toBe(true);
  expect(list.delete(items[1999]!)).toBe(true);
  expect(list.toArray()).toEqual(items.filter(({ name }) => name !== 3 && name !== 1999));
});

test('one of many items of an address is found by its order, without a look at the others', () => {
  let looks = 0;
  const addressOf = ({ address }: Item) => {
    looks += 1;
    return address;
  };
  const list = new SortedByAddress(addressOf, ({ name }: Item) => name);
  const items = Array.from({ length: 4096 }, (_, name) => ({ address: 7n, name }));
  for (const item of items) list.add(item);
  looks = 0;
  for (const item of items) expect(list.delete(item)).toBe(true);
  expect(list.size).toBe(0);
  expect(looks).toBeLessThan(4096 * 40);
});

test('tensors that all begin at one address are given back one by one', () => {
  const owners = [1, 2, 3].map(() => ({ addrs: new BigUint64Array(2000).fill(64n) }));
  const ranges = new AddressRanges<(typeof owners)[number]>();
  for (const owner of owners) ranges.add(owner, 8n);
  for (const [i, owner] of owners.entries()) {
    ranges.remove(owner);
    expect(new Set(ranges.ownersWithin(64n, 65n))).toEqual(new Set(owners.slice(i + 1)));
  }
});

test('an item that is not there removes nothing', () => {
  const list = sorted();
  expect(list.delete({ address: 1n, name: 0 })).toBe(false);
  list.add({ address: 5n, name: 0 });
  expect(list.delete({ address: 5n, name: 0 })).toBe(false);
  expect(list.delete({ address: 1n, name: 0 })).toBe(false);
  list.clear();
  expect([list.size, [...list.from(0n)]]).toEqual([0, []]);
});

test('random changes give the same as a plain list', () => {
  const random = seeded(11);
  const list = sorted();
  let plain: Item[] = [];
  for (let name = 0; name < 4000; name++) {
    if (random() < 0.4 && plain.length > 0) {
      const item = plain[Math.floor(random() * plain.length)]!;
      plain = plain.filter((each) => each !== item);
      expect(list.delete(item)).toBe(true);
    } else {
      const item = { address: BigInt(Math.floor(random() * 900)), name };
      plain.push(item);
      list.add(item);
    }
  }
  plain.sort((a, b) => Number(a.address - b.address) || a.name - b.name);
  expect(list.toArray()).toEqual(plain);
});

test('half a million changes in any order cost no more each than a thousand do', () => {
  const list = sorted();
  const items = Array.from({ length: 250_000 }, (_, i) => ({ address: BigInt((i * 104_729) % 250_007), name: i }));
  for (const item of items) list.add(item);
  for (const item of items) list.delete(item);
  // In one array each change moves all that is behind it: that takes minutes, and this a second.
  expect(list.size).toBe(0);
});

test('a range that begins before some memory and reaches into it holds it', () => {
  const ranges = new AddressRanges<{ addrs: BigUint64Array }>();
  const owner = { addrs: BigUint64Array.of(100n, 300n) };
  ranges.add(owner, 50n);
  expect([...ranges.ownersWithin(149n, 200n)]).toEqual([owner]);
  expect([...ranges.ownersWithin(150n, 300n)]).toEqual([]);
  expect([...ranges.ownersWithin(0n, 400n)]).toEqual([owner, owner]);
  expect(ranges.findOverlap(BigUint64Array.of(349n), 1n)).toEqual({ address: 349n, owner });
  expect(ranges.findOverlap(BigUint64Array.of(0n, 400n), 100n)).toBeUndefined();
  ranges.remove(owner);
  expect([...ranges.ownersWithin(0n, 400n)]).toEqual([]);
});
