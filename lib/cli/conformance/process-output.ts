/** More is not kept of one scenario: libraries can be talkative. */
const MAX_LINES = 100;

/** What the processes of scenarios have printed, until it is known whether anybody wants to read it. */
export class ProcessOutput {
  readonly #lines = new Map<string, string[]>();

  add(line: string, scenario: string, nodes: readonly string[]): void {
    const lines = this.#lines.get(scenario) ?? [];
    lines.push(`${scenario}: ${nodes.join(', ')}: ${line}`);
    if (lines.length > MAX_LINES) lines.shift();
    this.#lines.set(scenario, lines);
  }

  /** The last lines of a scenario, which are forgotten then. */
  take(scenario: string): readonly string[] {
    const lines = this.#lines.get(scenario) ?? [];
    this.#lines.delete(scenario);
    return lines;
  }
}
