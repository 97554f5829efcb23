'use strict';

// The stand-in's control functions for JavaScript, over standin.node. control.d.ts says what each of them does, control.h
// what the words mean.

const fs = require('node:fs');
const path = require('node:path');

const PLAIN = /^[^\s;"\\]+$/;

function word(text) {
  if (PLAIN.test(text)) return text;
  const escaped = text.replace(/["\\]/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\t', '\\t');
  return `"${escaped}"`;
}

function actionWords({ block, delay, error, cluster, inTransport, skip, times, ...outcome }) {
  const words = [];
  if (inTransport === true) words.push('in_transport');
  if (cluster !== undefined) words.push(`cluster=${cluster}`);
  if (block === true) words.push('block');
  if (delay !== undefined) words.push(`delay=${delay}`);
  if (error !== undefined) words.push(`error=${error}`);
  if (outcome.status !== undefined) words.push(`status=${outcome.status}`);
  if (outcome.throw !== undefined) words.push(`throw=${outcome.throw}`);
  if (outcome.throwInt !== undefined) words.push(`throw_int=${outcome.throwInt}`);
  for (const name of ['abort', 'segv', 'hang']) if (outcome[name] === true) words.push(name);
  if (outcome.throwBadAlloc === true) words.push('throw_bad_alloc');
  if (skip !== undefined) words.push(`skip=${skip}`);
  if (times !== undefined) words.push(`times=${times}`);
  return words;
}

/** One command in the language of control.h. */
function command(...words) {
  return words.map((each) => word(String(each))).join(' ');
}

function setCommand(method, action) {
  return command('set', method, ...actionWords(action));
}

function parseJournal(text) {
  const calls = new Map();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const { call, ...entry } = JSON.parse(line);
    if (call === undefined) continue;
    calls.set(call, { ...calls.get(call), ...entry });
  }
  return [...calls.values()];
}

class StandIn {
  #native;
  #addon;

  constructor(addon, runtime, load) {
    this.#addon = addon;
    this.#native = addon.open(runtime, load);
  }

  run(commands) {
    const problem = this.#native.command(commands);
    if (problem !== undefined) throw new Error(`the stand-in refuses ${problem}`);
  }

  set(method, action) {
    this.run(setCommand(method, action));
  }

  add(method, action) {
    this.run(command('add', method, ...actionWords(action)));
  }

  unset(method) {
    this.run(command('unset', method));
  }

  release(method, count = 0) {
    if (!this.#native.release(method, BigInt(count))) throw new Error(`the stand-in has no method ${method}`);
  }

  async waitEntered(method, count = 1, timeoutMs = 10_000) {
    const answer = await this.#native.waitEntered(method, BigInt(count), timeoutMs);
    if (answer < 0) throw new Error(`the stand-in has no method ${method}`);
    if (answer === 0) throw new Error(`${count} calls of ${method} have not come in within ${timeoutMs} ms`);
  }

  async waitHeld(method, count = 1, timeoutMs = 10_000) {
    const answer = await this.#native.waitHeld(method, BigInt(count), timeoutMs);
    if (answer < 0) throw new Error(`the stand-in has no method ${method}`);
    if (answer === 0) throw new Error(`${count} calls of ${method} were not held within ${timeoutMs} ms`);
  }

  result(call, clusterId, status) {
    this.run(command('result', call, clusterId, ...(status === undefined ? [] : [status])));
  }

  strict({ abort = false } = {}) {
    this.run(`strict on; abort ${abort ? 'on' : 'off'}`);
  }

  journal() {
    return parseJournal(this.#native.read('journal'));
  }

  violations() {
    return JSON.parse(this.#native.read('violations'));
  }

  counters() {
    return JSON.parse(this.#native.read('counters'));
  }

  reset() {
    this.run('reset');
  }

  listen() {
    return this.#addon.listen();
  }
}

function control(runtime, { load = false, addon = path.join(path.dirname(runtime), '..', 'standin.node') } = {}) {
  return new StandIn(require(addon), runtime, load);
}

function readJournal(file) {
  return parseJournal(fs.readFileSync(file, 'utf8'));
}

module.exports = { control, command, setCommand, readJournal, StandIn };
